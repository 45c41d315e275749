"""Fine-tuning on labels of nucleotides: splice sites and branchpoints, on the training loop of ``pretrain``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from splicebert_vep_spec import MASK

from ..errors import CorpusError, SettingsError, require
from ..files import whole_or_not
from ..genome.gene_table import GeneTable
from ..genome.reference import Reference
from ..model.bert import BertConfig, Encoder, SpliceBert, read_config
from ..model.checkpoint import load_checkpoint
from ..model.classifier import Classifier, FineTuned, save_classifier
from ..model.registry import DEFAULT_MODEL, resolve_model
from ..model.tuned import BranchpointModel, NucleotideModel, SpliceSiteModel
from ..sequence.tokens import Tokens, with_special
from ..sequence.windows import stitch
from .corpus import Ints, Source, WindowSampler
from .labels import UNLABELLED, FindSites, Labelled, Labels, Sites, TestSet, bed_positions, exon_edges, split_genes
from .loop import Loss, Machine, Optimisation, RunFolder, Task, step_rng, train
from .metrics import site_figures
from .pretrain import initialise
from .recipe import FineTuneRecipe, SequenceRecipe, StagePlan

RANDOM = "random"
"""Name of a start from random weights, with the sizes of the bundled model."""


def begin(base: str, labels: int, *, head: str, seed: int, pooled: bool = False) -> tuple[Classifier, str]:
    """Return a classifier on the encoder of a model, or on a random one of the bundled model's sizes, and the digest
    of the model's weights; ModelError if it cannot be loaded."""
    loaded = load_checkpoint(resolve_model(DEFAULT_MODEL if base == RANDOM else base))
    start: Encoder = loaded.model
    if base == RANDOM:
        fresh = SpliceBert(loaded.config)
        initialise(fresh, neighbour_layers=2, seed=seed)
        start = fresh
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(loaded.config, labels, head=head, pooled=pooled)
    encoder = {name: value for name, value in start.state_dict().items() if name in model.state_dict()}
    model.load_state_dict(model.state_dict() | encoder)
    return model, "none" if base == RANDOM else loaded.weights_sha256


def config_of(base: str) -> BertConfig:
    """Return the sizes of a model to begin as; ModelError if its config cannot be read."""
    return read_config(resolve_model(DEFAULT_MODEL if base == RANDOM else base) / "config.json").config


def train_head(
    model: Classifier,
    task: Task,
    how: Optimisation,
    about: FineTuned,
    path: Path,
    machine: Machine,
    *,
    recipe: FineTuneRecipe | SequenceRecipe,
    digests: tuple[str, str],
    finish: Callable[[Classifier], None],
) -> Path:
    """Train a classifier, or continue a run that was killed; return the folder of the model.

    Args:
        model: as ``begin`` gave it; changed in place.
        about: description of the model, for its folder.
        path: the run's folder, see ``RunFolder``.
        recipe: determines the run, with ``about`` and ``digests``.
        digests: SHA-256 of the data for training and for validation.
        finish: changes the best weights into those that are kept.

    Raises:
        SettingsError: there are several processes, or the run's folder or the training says no; see ``train``.
        OutputError: something cannot be written.
    """
    if machine.processes.count > 1:
        raise SettingsError("Fine-tuning runs in one process.", remedy="start it without torchrun")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not recipe.frozen or name.startswith(("head.", "classifier.")))
    model.to(machine.device).train()
    identity = {
        "recipe": msgspec.to_builtins(recipe), "task": about.task, "base": about.base, "base_sha256": about.base_sha256,
        "training_sha256": digests[0], "validation_sha256": digests[1],
    }  # fmt: skip
    with RunFolder(path, identity) as folder:
        train(model, task, how, folder, machine)
        folder.load_best(model)
        model.eval()
        with torch.no_grad():
            finish(model)
        save_classifier(model, about, folder.model)
    return folder.model


Floats = NDArray[np.float32]
Answer = Callable[[Tokens, Ints], NDArray[np.floating]]
"""Runs windows (N, W + 2) and answers at token positions (N, P): (N, P, K)."""


def answers(
    model: Answer,
    labelled: Labelled,
    *,
    width: int,
    batch: int = 16,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Floats, Labels]:
    """Return the answers (n, K) and labels (n,) of all stretches without their margins, in order.

    Every nucleotide is read from a window of W in whose middle W / 2 it lies.

    Args:
        width: W.
        batch: windows in one call.
        progress: receives how many nucleotides are done, and of how many.
    """
    values: list[Floats] = []
    total = len(labelled.bases) - 2 * labelled.margin * len(labelled.stretches)
    done = 0
    for starts, places, kept in _batches(labelled, width, batch):
        windows = labelled.bases[starts[:, None] + np.arange(width)]
        found = np.asarray(model(with_special(windows), places + 1), dtype=np.float32)  # after [CLS]
        values += [row[:count] for row, count in zip(found, kept, strict=True)]
        done += sum(kept)
        progress(done, total)
    inside = [labels[labelled.margin : len(labels) - labelled.margin] for _, labels, _ in labelled.pieces]
    return np.concatenate(values), np.concatenate(inside)


def _batches(labelled: Labelled, width: int, batch: int) -> Iterator[tuple[Ints, Ints, list[int]]]:
    """Yield starts of windows on the axis, (N,), the window indices to read, (N, P), and how many of these count."""
    keep, margin = max(1, width // 2), labelled.margin
    waiting = []
    last = len(labelled.stretches) - 1
    for number, (start, end) in enumerate(labelled.spans):
        length = end - start
        waiting += [
            (start + kept.window, kept.start - kept.window, kept.end - kept.start)
            for kept in stitch(margin, length - margin, length, width=width, keep=keep)
        ]
        while len(waiting) >= batch or waiting and number == last:
            now, waiting = waiting[:batch], waiting[batch:]
            longest = max(count for _, _, count in now)
            first = np.array([[at] for _, at, _ in now])
            places = np.minimum(first + np.arange(longest), width - 1)
            yield np.array([window for window, _, _ in now]), places, [count for _, _, count in now]


_SHORTEST_HIDDEN, _LONGEST_HIDDEN = 15, 30  # nt, as long as splice-switching oligos are
_VALIDATED, _CALIBRATED = 150_000, 1_000_000  # nucleotides, about
_LEAST_ROUNDS, _MOST_ROUNDS = 100, 2_000


def label_windows(labelled: Labelled, longest: int) -> WindowSampler:
    """Return a sampler of windows of labelled sequence; CorpusError if no stretch as long as ``longest`` has a site."""
    lengths = np.diff(labelled.offsets)
    sites = np.flatnonzero((labelled.labels > 0) & (labelled.labels != UNLABELLED))
    of = np.searchsorted(labelled.offsets, sites, side="right") - 1
    fits = lengths[of] >= longest
    if not fits.any():
        kinds = " or ".join(labelled.names[1:])
        problem = f"There is no site to learn: no {kinds} in a stretch of {longest} nt or more."
        found = f"{len(lengths)} stretches of at most {max(lengths, default=0)} nt with {len(sites)} sites"
        raise CorpusError(problem, found=found)
    return WindowSampler(labelled.offsets[:-1], labelled.offsets[1:], sites[fits], of[fits], first=0, name="stretch")


class LabelNucleotides(Task):
    """The task: predict the label of every nucleotide of a window; CorpusError if a part lacks a label."""

    def __init__(self, recipe: FineTuneRecipe, training: Labelled, validation: Labelled) -> None:
        for purpose, part in (("training", training), ("validation", validation)):
            for name in part.names:
                if not part.count(name):
                    remedy = "give more genes, or choose another --validation"
                    raise CorpusError(f"There is no {name} among the nucleotides for {purpose}.", remedy=remedy)
        self._recipe, self._plan, self._training = recipe, StagePlan(recipe), training
        self.steps, self.parts = self._plan.steps, recipe.parts
        self._windows = label_windows(training, recipe.window)
        self.validation = some_stretches(validation, _VALIDATED)

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw a micro-batch, from the seed, ``step`` and ``part`` alone, and run it."""
        recipe, rng = self._recipe, step_rng(self._recipe.seed, step, part)
        plan = self._plan.step(step)
        at = self._windows.draw(rng, plan.windows, plan.width, plan.stage.site_share)
        bases, labels = self._training.bases[at], self._training.labels[at]
        shown, targets = hide_stretches(rng, bases, labels, recipe.hidden_share)
        tokens = torch.from_numpy(with_special(shown).astype(np.int64)).to(device)
        logits: Tensor = model(tokens, first_position=plan.first_position)  # (B, W, K)
        truth = torch.from_numpy(targets.astype(np.int64)).to(device)
        weight = torch.full((logits.shape[-1],), recipe.site_weight, device=device)
        weight[0] = 1.0
        total = F.cross_entropy(
            logits.flatten(0, 1).float(), truth.flatten(), weight=weight, ignore_index=UNLABELLED, reduction="sum"
        )
        right = ((logits.argmax(dim=-1) == truth) & (truth > 0) & (truth != UNLABELLED)).sum()
        sites = int(np.count_nonzero((targets > 0) & (targets != UNLABELLED)))
        return Loss(total, right, int(np.count_nonzero(targets != UNLABELLED)), bases.size + 2 * len(bases), sites)

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Return the number of the stage, from 1, and the window length."""
        return self._plan.describe(step)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return AUPRC by kind of site on the validation genes, and their mean, ``auprc``."""
        logits, labels = answers(answer_of(model, device), self.validation, width=self._recipe.window)
        figures = site_figures(softmax(logits), labels, self.validation.names)
        measured = {f"auprc_{figure['label']}": round(figure["auprc"], 6) for figure in figures}
        return {**measured, "auprc": round(sum(measured.values()) / max(1, len(measured)), 6)}


def hide_stretches(rng: np.random.Generator, bases: Tokens, labels: Labels, share: float) -> tuple[Tokens, Labels]:
    """Mask a stretch of 15 to 30 nt in a share of the windows (B, W); its nucleotides lose their labels."""
    count, width = bases.shape
    length = rng.integers(_SHORTEST_HIDDEN, _LONGEST_HIDDEN + 1, size=(count, 1))
    start = rng.integers(width, size=(count, 1))
    at = np.arange(width)
    hidden = (rng.random((count, 1)) < share) & (at >= start) & (at < start + length)
    return np.where(hidden, np.uint8(MASK), bases), np.where(hidden, np.uint8(UNLABELLED), labels)


def answer_of(model: nn.Module, device: torch.device) -> Callable[[Tokens, Ints], Floats]:
    """Return an ``Answer`` of a classifier: its logits."""

    def answer(tokens: Tokens, positions: Ints) -> Floats:
        with torch.inference_mode():
            at = torch.from_numpy(positions).to(device)
            logits: Tensor = model(torch.from_numpy(tokens.astype(np.int64)).to(device), at)
            found: Floats = logits.float().cpu().numpy()
            return found

    return answer


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities (n, K) of logits (n, K), in float64."""
    found: NDArray[np.float64] = torch.softmax(torch.from_numpy(logits).double(), dim=-1).numpy()
    return found


def calibrated(logits: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Return an offset of the logits, (K,), after which every label is expected as often as it occurs.

    Training shows the model more sites than genes have, each with more weight, so it expects too many of them.

    Args:
        logits: (n, K); labels are (n,), and each of the K has to be there.
    """
    counted = labels != UNLABELLED
    z, truth = logits[counted].astype(np.float64), labels[counted]
    occurring = np.bincount(truth, minlength=z.shape[1])
    shift = np.zeros(z.shape[1])
    for number in range(_MOST_ROUNDS):  # a surer model takes smaller steps
        expected = softmax(z + shift).sum(axis=0)
        if number >= _LEAST_ROUNDS and np.allclose(expected, occurring, rtol=1e-3, atol=0):
            break
        shift += np.log(occurring / expected)
    found: NDArray[np.float64] = shift - shift[0]
    return found


def finetune(
    recipe: FineTuneRecipe, training: Labelled, validation: Labelled, base: str, path: Path, machine: Machine, task: str
) -> Path:
    """Fine-tune a model on labelled nucleotides, or continue a run that was killed; return the model's folder.

    Args:
        base: name or folder of the model to begin as, or ``random``.
        path: the run's folder, see ``RunFolder``.
        task: name of the task, for the model's folder.

    Raises:
        SpliceBertError: see ``finetune_splice_sites``.
    """
    learned = LabelNucleotides(recipe, training, validation)
    model, base_sha256 = begin(base, len(training.names), head=recipe.head, seed=recipe.seed)
    if recipe.window > model.config.longest_window:
        needed, found = f"at most {model.config.longest_window} nt", f"{recipe.window} nt"
        raise SettingsError("The window is wider than the model was trained for.", needed=needed, found=found)

    def finish(best: Classifier) -> None:
        held = some_stretches(validation, _CALIBRATED)
        logits, labels = answers(answer_of(best, machine.device), held, width=recipe.window)
        best.classifier.bias.add_(torch.from_numpy(calibrated(logits, labels)).to(best.classifier.bias))

    about = FineTuned(task, training.names, recipe.window, False, base, base_sha256, recipe.head)
    return train_head(
        model, learned, recipe.optimisation(), about, path, machine, recipe=recipe,
        digests=(training.digest, validation.digest), finish=finish,
    )  # fmt: skip


def some_stretches(labelled: Labelled, nucleotides: int) -> Labelled:
    """Return the first stretches, in a random order that is always the same, that have so many nucleotides in all and
    every label."""
    order = np.random.default_rng(0).permutation(len(labelled.stretches))
    lengths = np.diff(labelled.offsets)[order] - 2 * labelled.margin
    count = int(np.searchsorted(np.cumsum(lengths), nucleotides)) + 1
    labels = [labelled.pieces[row][1] for row in order]
    for label in range(len(labelled.names)):
        count = max(count, 1 + next(n for n, found in enumerate(labels) if (found == label).any()))
    return labelled.take(order[:count].tolist())


Rows = list[dict[str, Any]]


class GeneOptions(TypedDict, total=False):
    """Options of a fine-tuning on genes.

    Attributes:
        hold_out: ``SPECIES`` or ``SPECIES:CONTIG``, to test on and not to train on. Default: nothing.
        base: model to begin as, or ``random``. Default: the bundled one.
        recipe: settings of the training.
        validation_share: of the genes that are not held out, those that stop the training. Default: .05.
        test_nt: about how many nucleotides of a held-out contig are tested, in whole genes. Default: 3,000,000.
        machine: device and reports. Default: the CPU, silent.
    """

    hold_out: Sequence[str]
    base: str
    recipe: FineTuneRecipe
    validation_share: float
    test_nt: int
    machine: Machine


def finetune_splice_sites(sources: Sequence[Source], path: Path, **options: Unpack[GeneOptions]) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set and kind of site.

    Args:
        sources: genomes, of which protein-coding and lncRNA genes are taken.
        path: the run's folder; a run that is there is continued, and tested again. ``figures.json`` has the rows.
        options: see ``GeneOptions``.

    Raises:
        SettingsError: scikit-learn is not installed, a contig to hold out is not there, the folder holds another run,
            another process trains in it, or the training diverged.
        CorpusError: there is no gene, or no site of a kind, to train on or to stop by.
        ModelError: the model to begin as cannot be loaded.
        OutputError: something cannot be written.
        SpliceBertError: a reference or annotation cannot be read.
    """
    return _finetune_on_genes(SpliceSiteModel, lambda number, table, _: exon_edges(table), sources, path, **options)


def finetune_branchpoints(
    beds: Sequence[str], sources: Sequence[Source], path: Path, **options: Unpack[GeneOptions]
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set.

    Every nucleotide of the genes that no BED line names counts as none.

    Args:
        beds: a BED file of each of the sources, in their order, plain or gzip; a line is one base, column 6 its strand.
        sources, path, options: see ``finetune_splice_sites``.

    Raises:
        SettingsError: there are not as many BED files as genomes, or a line is longer than a base or has no strand.
        CorpusError: no line lies in a gene.
        SpliceBertError: see ``finetune_splice_sites``.
    """
    if len(beds) != len(sources):
        found = f"{len(beds)} BED files and {len(sources)} genomes"
        raise SettingsError("Every genome needs its branchpoints.", needed="a BED file for each", found=found)
    machine = options.setdefault("machine", Machine())

    def find_sites(number: int, table: GeneTable, reference: Reference) -> Sites:
        sites, counts = bed_positions(beds[number], table, reference)
        machine.say(counts)
        return sites

    return _finetune_on_genes(BranchpointModel, find_sites, sources, path, **options)


def _finetune_on_genes(
    kind: type[NucleotideModel],
    find_sites: FindSites,
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str] = (),
    base: str = DEFAULT_MODEL,
    recipe: FineTuneRecipe | None = None,
    validation_share: float = 0.05,
    test_nt: int = 3_000_000,
    machine: Machine | None = None,
) -> tuple[Path, Rows]:
    require("sklearn")
    recipe, machine = recipe or FineTuneRecipe(), machine or Machine()
    split = split_genes(
        sources, hold_out, validation_share=validation_share, margin=recipe.window // 2 + 1, test_nt=test_nt,
        find_sites=find_sites,
    )  # fmt: skip
    for name, part in (("training", split.training), ("validation", split.validation)):
        sites = ", ".join(f"{part.count(label):,} {label}s" for label in part.names[1:])
        machine.say(f"{name}: {len(part.stretches):,} stretches, {part.nucleotides:,} nt, {sites}")
    for test in split.tests:
        left_out = f"{test.paralogs} genes are left out as paralogs"
        machine.say(f"test {test.name}: {test.labelled.nucleotides:,} nt; {left_out}")
        for label in test.labelled.names[1:]:
            if not test.labelled.count(label):
                machine.say(f"test {test.name} has no {label}, so there will be no figure of it")
    for why in split.untested:
        machine.say(f"test {why}")
    if not split.tests:
        machine.say("nothing is held out that can be tested: there will be no figures")
    folder = finetune(recipe, split.training, split.validation, base, path, machine, kind.task)
    model = kind(folder, machine.device)
    rows = [row for test in split.tests for row in _tested(model, test, machine)]
    write_figures(path, rows)
    return folder, rows


def _tested(model: NucleotideModel, test: TestSet, machine: Machine) -> Rows:
    """Return a row of figures per kind of site; see ``site_figures`` for its columns, and ``test`` for the name."""
    found, labels = answers(
        model.probabilities, test.labelled, width=model.window,
        progress=lambda done, of: machine.progress(f"testing on {test.name}", done, of),
    )  # fmt: skip
    return [{"test": test.name, **figure} for figure in site_figures(found, labels, test.labelled.names)]


def write_figures(path: Path, rows: Rows) -> None:
    """Write ``figures.json`` of a run's folder; OutputError if it cannot be written."""
    with whole_or_not(path / "figures.json") as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")

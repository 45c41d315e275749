"""Fine-tuning: the encoder learns labels of nucleotides, on the training loop of ``pretrain``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from splicebert_vep_spec import MASK

from ..errors import CorpusError, SettingsError, require
from ..files import whole_or_not
from ..genome.contigs import ContigNames
from ..genome.gene_table import GeneTable
from ..genome.places import BedLine, bed_lines
from ..genome.reference import Reference
from ..model.backend import choose_device
from ..model.bert import BertConfig, Encoder, SpliceBert, read_config
from ..model.checkpoint import load_checkpoint
from ..model.classifier import Classifier, FineTuned, save_classifier
from ..model.registry import DEFAULT_MODEL, resolve_model
from ..model.tuned import BRANCHPOINT_LABELS as LABELS
from ..model.tuned import BranchpointModel, NucleotideModel, SpliceSiteModel
from ..sequence.tokens import Tokens, with_special
from ..sequence.windows import stitch
from .corpus import Source, gene_rows
from .labels import UNLABELLED, FindSites, Ints, Labelled, Labels, Stretch, TestSet, between, exon_edges, split_genes
from .loop import Loss, Optimisation, RunFolder, Task, anywhere, step_rng, train
from .metrics import site_figures
from .pretrain import initialise
from .recipe import FineTuneRecipe, SequenceRecipe, StagePlan

RANDOM = "random"
"""Name of a start from random weights, with the sizes of the bundled model."""


def begin(base: str, labels: int, *, head: str, seed: int, pooled: bool = False) -> tuple[Classifier, str]:
    """Return a classifier on the encoder of a model, or on a random one of the bundled model's sizes, and the digest
    of the model's weights.

    Raises:
        ModelError: the model cannot be loaded.
    """
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


def machine(device: str, precision: str, threads: int | None) -> tuple[torch.device, bool]:
    """Return the device for a name of ``choose_device``, and whether to train in bf16: ``auto`` does on a CUDA GPU.

    Args:
        precision: ``auto``, ``fp32`` or ``bf16``.
        threads: CPU threads; None leaves torch's.

    Raises:
        SettingsError: the device is not there.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    return chosen, precision == "bf16" or precision == "auto" and chosen.type == "cuda"


def config_of(base: str) -> BertConfig:
    """Return the sizes of a model to begin as.

    Raises:
        ModelError: there is no such model, or its config cannot be read.
    """
    return read_config(resolve_model(DEFAULT_MODEL if base == RANDOM else base) / "config.json").config


def train_head(
    model: Classifier,
    learned: Task,
    how: Optimisation,
    about: FineTuned,
    path: Path,
    *,
    recipe: FineTuneRecipe | SequenceRecipe,
    digests: tuple[str, str],
    finish: Callable[[Classifier], None],
    device: torch.device,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Train a classifier, or go on with a run that was broken off; return the folder of the model.

    Args:
        model: as ``begin`` gave it; changed in place.
        about: what the model's folder says of it.
        path: the run's folder, see ``run_folder.py``.
        recipe: with ``about`` and ``digests``, what determines the run.
        digests: SHA-256 of what is trained on, and of what stops it.
        finish: changes the best weights into those that are kept.
        half: run the network in bf16.
        say: told how it goes.
        progress: told which step is done, and of how many.

    Raises:
        SettingsError: the folder holds another run, another process trains in it, or the training diverged.
        OutputError: something cannot be written.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not recipe.frozen or name.startswith(("head.", "classifier.")))
    model.to(device).train()
    training, validation = digests
    identity = {
        "recipe": asdict(recipe), "task": about.task, "base": about.base, "base_sha256": about.base_sha256,
        "training_sha256": training, "validation_sha256": validation,
    }  # fmt: skip
    with RunFolder(path, json.dumps(identity, indent=1) + "\n") as folder:
        train(model, learned, how, folder, device=device, half=half, say=say, progress=progress)
        folder.load_best(model)
        model.eval()
        with torch.no_grad():
            finish(model)
        save_classifier(model, about, folder.model)
    return folder.model


Floats = NDArray[np.float32]
Answer = Callable[[Tokens, NDArray[np.int64]], NDArray[np.floating]]
"""Run windows (N, W + 2) and answer at token positions (N, P): (N, P, K)."""


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
        progress: told how many nucleotides are done, and of how many.
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
    spans = zip(labelled.offsets[:-1].tolist(), labelled.offsets[1:].tolist(), strict=True)
    inside = [labelled.labels[start + labelled.margin : end - labelled.margin] for start, end in spans]
    return np.concatenate(values), np.concatenate(inside)


def _batches(
    labelled: Labelled, width: int, batch: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], list[int]]]:
    """Yield starts of windows on the axis, (N,), the window indices to read, (N, P), and how many of these count."""
    keep, margin = max(1, width // 2), labelled.margin
    waiting = []
    spans = list(zip(labelled.offsets[:-1].tolist(), labelled.offsets[1:].tolist(), strict=True))
    for number, (start, end) in enumerate(spans):
        length = end - start
        waiting += [
            (start + kept.window, kept.start - kept.window, kept.end - kept.start)
            for kept in stitch(margin, length - margin, length, width=width, keep=keep)
        ]
        while len(waiting) >= batch or waiting and number == len(spans) - 1:
            now, waiting = waiting[:batch], waiting[batch:]
            longest = max(count for _, _, count in now)
            first = np.array([[at] for _, at, _ in now])
            places = np.minimum(first + np.arange(longest), width - 1)
            yield np.array([window for window, _, _ in now]), places, [count for _, _, count in now]


_SHORTEST_HIDDEN, _LONGEST_HIDDEN = 15, 30  # nt, as long as splice-switching oligos are
_VALIDATED, _CALIBRATED = 150_000, 1_000_000  # nucleotides, about
_LEAST_ROUNDS, _MOST_ROUNDS = 100, 2_000


class LabelWindows:
    """Draw windows of labelled sequence: around sites, or anywhere with equal chance.

    Args:
        longest: of the windows.

    Raises:
        CorpusError: there is no site in a stretch as long as a window.
    """

    def __init__(self, labelled: Labelled, longest: int) -> None:
        self._labelled = labelled
        lengths = np.diff(labelled.offsets)
        sites = np.flatnonzero((labelled.labels > 0) & (labelled.labels != UNLABELLED))
        of = np.searchsorted(labelled.offsets, sites, side="right") - 1
        fits = lengths[of] >= longest
        self._sites, self._of = sites[fits], of[fits]
        if not len(self._sites):
            raise CorpusError(
                "There is no site to learn.",
                needed=f"at least one {' or '.join(labelled.names[1:])} in a stretch of {longest} nt or more",
                found=f"{len(lengths)} stretches of at most {max(lengths, default=0)} nt with {len(sites)} sites",
            )

    def draw(self, rng: np.random.Generator, count: int, width: int, site_share: float) -> tuple[Tokens, Labels]:
        """Return windows and their labels, (count, width) uint8 each."""
        near = int(np.count_nonzero(rng.random(count) < site_share))
        starts = np.concatenate([self._anywhere(rng, count - near, width), self._around(rng, near, width)])
        at = starts[:, None] + np.arange(width)
        return self._labelled.bases[at], self._labelled.labels[at]

    def _anywhere(self, rng: np.random.Generator, count: int, width: int) -> NDArray[np.int64]:
        room = np.maximum(np.diff(self._labelled.offsets) - width + 1, 0)
        return anywhere(rng, self._labelled.offsets[:-1], room, count)

    def _around(self, rng: np.random.Generator, count: int, width: int) -> NDArray[np.int64]:
        chosen = rng.integers(len(self._sites), size=count)
        row = self._of[chosen]
        low, high = self._labelled.offsets[row], self._labelled.offsets[row + 1] - width
        starts: NDArray[np.int64] = np.clip(self._sites[chosen] - rng.integers(width, size=count), low, high)
        return starts


class LabelNucleotides:
    """The task: tell the label of every nucleotide of a window.

    Args:
        training, validation: with the same labels.

    Raises:
        CorpusError: one of them lacks a label, or no site lies in a stretch as long as a window.
    """

    def __init__(self, recipe: FineTuneRecipe, training: Labelled, validation: Labelled) -> None:
        for what, part in (("training", training), ("validation", validation)):
            for name in part.names:
                if not part.count(name):
                    raise CorpusError(
                        f"There is no {name} among the nucleotides for {what}.",
                        needed=f"each of {', '.join(part.names)}",
                        found=", ".join(f"{part.count(other):,} {other}" for other in part.names),
                        remedy="give more genes, or choose another --validation",
                    )
        self._recipe = recipe
        self._plan = StagePlan(recipe.stages, batch_tokens=recipe.batch_tokens, parts=recipe.parts, seed=recipe.seed)
        self._windows = LabelWindows(training, recipe.window)
        self.validation = _about(validation, _VALIDATED)

    @property
    def steps(self) -> int:
        """Steps of the recipe."""
        return self._plan.steps

    @property
    def parts(self) -> int:
        """Micro-batches of a step."""
        return self._recipe.parts

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw a micro-batch, from the seed, ``step`` and ``part`` alone, and run it."""
        recipe, rng = self._recipe, step_rng(self._recipe.seed, step, part)
        plan = self._plan.step(step)
        bases, labels = self._windows.draw(rng, plan.windows, plan.width, plan.stage.site_share)
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
        """Name the stage, from 1, and the window length."""
        return self._plan.describe(step)

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return AUPRC by kind of site on the validation genes, and their mean, ``auprc``."""
        logits, labels = answers(answer_of(model, device), self.validation, width=self._recipe.window)
        figures = site_figures(softmax(logits), labels, self.validation.names)
        measured = {f"auprc_{figure.label}": round(figure.auprc, 6) for figure in figures}
        return {**measured, "auprc": round(sum(measured.values()) / max(1, len(measured)), 6)}


def hide_stretches(rng: np.random.Generator, bases: Tokens, labels: Labels, share: float) -> tuple[Tokens, Labels]:
    """Mask a stretch of 15 to 30 nt in some of the windows; what is hidden has no label.

    Args:
        bases, labels: (B, W).
        share: of the windows, 0 to 1.
    """
    count, width = bases.shape
    length = rng.integers(_SHORTEST_HIDDEN, _LONGEST_HIDDEN + 1, size=(count, 1))
    start = rng.integers(width, size=(count, 1))
    at = np.arange(width)
    hidden = (rng.random((count, 1)) < share) & (at >= start) & (at < start + length)
    return np.where(hidden, np.uint8(MASK), bases), np.where(hidden, np.uint8(UNLABELLED), labels)


def answer_of(model: nn.Module, device: torch.device) -> Callable[[Tokens, NDArray[np.int64]], NDArray[np.float32]]:
    """Return what runs windows (N, W + 2) through a classifier and gives logits (N, P, K) at token positions (N, P)."""

    def answer(tokens: Tokens, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            at = torch.from_numpy(positions).to(device)
            logits: Tensor = model(torch.from_numpy(tokens.astype(np.int64)).to(device), at)
            found: NDArray[np.float32] = logits.float().cpu().numpy()
            return found

    return answer


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities (n, K) of logits (n, K), in float64."""
    found: NDArray[np.float64] = torch.softmax(torch.from_numpy(logits).double(), dim=-1).numpy()
    return found


def calibrated(logits: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Return what to add to the logits, (K,), so that every label is expected as often as it is there.

    A model that was shown more sites than a gene has, each with more weight, expects too many of them.

    Args:
        logits: (n, K).
        labels: (n,); each of the K has to be there.
    """
    counted = labels != UNLABELLED
    z, truth = logits[counted].astype(np.float64), labels[counted]
    there = np.bincount(truth, minlength=z.shape[1])
    shift = np.zeros(z.shape[1])
    for number in range(_MOST_ROUNDS):  # the surer the model, the smaller the steps
        expected = softmax(z + shift).sum(axis=0)
        if number >= _LEAST_ROUNDS and np.allclose(expected, there, rtol=1e-3, atol=0):
            break
        shift += np.log(there / expected)
    found: NDArray[np.float64] = shift - shift[0]
    return found


def finetune(
    recipe: FineTuneRecipe,
    training: Labelled,
    validation: Labelled,
    base: str,
    path: Path,
    *,
    task: str,
    device: torch.device,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Fine-tune a model on labelled nucleotides, or go on with a run that was broken off; return the model's folder.

    Args:
        base: name or folder of the model to begin as, or ``random``.
        path: the run's folder, see ``run_folder.py``.
        task: what the folder says that it is for.
        half: run the network in bf16.
        say: told how it goes.
        progress: told which step is done, and of how many.

    Raises:
        SettingsError: the folder holds another run, another process trains in it, or the training diverged.
        CorpusError: there is no site to learn.
        ModelError: the model to begin as cannot be loaded.
        OutputError: something cannot be written.
    """
    learned = LabelNucleotides(recipe, training, validation)
    model, base_sha256 = begin(base, len(training.names), head=recipe.head, seed=recipe.seed)
    if recipe.window > model.config.longest_window:
        raise SettingsError(
            "The window is wider than the model was trained for.", needed=f"at most {model.config.longest_window} nt",
            found=f"{recipe.window} nt",
        )  # fmt: skip

    def finish(best: Classifier) -> None:
        logits, labels = answers(answer_of(best, device), _about(validation, _CALIBRATED), width=recipe.window)
        best.classifier.bias.add_(torch.from_numpy(calibrated(logits, labels)).to(best.classifier.bias))

    about = FineTuned(task, training.names, recipe.window, False, base, base_sha256, recipe.head)
    return train_head(
        model, learned, recipe.optimisation(), about, path, recipe=recipe,
        digests=(training.digest, validation.digest), finish=finish, device=device, half=half, say=say,
        progress=progress,
    )  # fmt: skip


def _about(labelled: Labelled, nucleotides: int) -> Labelled:
    """Return the first stretches that have so many nucleotides in all and every label, in an order of their own."""
    order = np.random.default_rng(0).permutation(len(labelled.stretches))
    lengths = np.diff(labelled.offsets)[order] - 2 * labelled.margin
    count = int(np.searchsorted(np.cumsum(lengths), nucleotides)) + 1
    spans = [slice(int(labelled.offsets[row]), int(labelled.offsets[row + 1])) for row in order]
    for label in range(len(labelled.names)):
        count = max(count, 1 + next(n for n, span in enumerate(spans) if (labelled.labels[span] == label).any()))
    return labelled.take(order[:count].tolist())


FIGURES = "figures.json"
Rows = list[dict[str, Any]]


def finetune_on_genes(
    kind: type[NucleotideModel],
    find_sites: FindSites,
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str],
    base: str,
    recipe: FineTuneRecipe | None,
    validation_share: float,
    test_nt: int,
    device: torch.device | None,
    half: bool,
    say: Callable[[str], None],
    progress: Callable[[str, int, int], None] | None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set and kind of site.

    Args:
        kind: of model.
        find_sites: the sites of a genome.

    The others are those of ``finetune_splice_sites``.

    Raises:
        SettingsError: scikit-learn is not installed.
        SpliceBertError: see ``split_genes`` and ``finetune``.
    """
    require("sklearn")
    recipe, device = recipe or FineTuneRecipe(), device or torch.device("cpu")
    split = split_genes(
        sources, hold_out, validation_share=validation_share, margin=recipe.window // 2 + 1, test_nt=test_nt,
        find_sites=find_sites,
    )  # fmt: skip
    for name, part in (("training", split.training), ("validation", split.validation)):
        sites = ", ".join(f"{part.count(label):,} {label}s" for label in part.names[1:])
        say(f"{name}: {len(part.stretches):,} stretches, {part.nucleotides:,} nt, {sites}")
    for test in split.tests:
        say(f"test {test.name}: {test.labelled.nucleotides:,} nt; {test.paralogs} genes are left out as paralogs")
        for label in test.labelled.names[1:]:
            if not test.labelled.count(label):
                say(f"test {test.name} has no {label}, so there will be no figure of it")
    for why in split.untested:
        say(f"test {why}")
    if not split.tests:
        say("nothing is held out that can be tested: there will be no figures")
    folder = finetune(
        recipe, split.training, split.validation, base, path, task=kind.task, device=device, half=half, say=say,
        progress=progress,
    )  # fmt: skip
    model = kind(folder, device)
    rows = [row for test in split.tests for row in tested(model, test, progress)]
    write_figures(path, rows)
    return folder, rows


def tested(
    model: NucleotideModel, test: TestSet, progress: Callable[[str, int, int], None] | None = None
) -> list[dict[str, Any]]:
    """Return a row of figures per kind of site; see ``SiteFigures`` for its columns, and ``test`` for the name."""
    told = partial(progress, f"testing on {test.name}") if progress else lambda done, of: None
    found, labels = answers(model.probabilities, test.labelled, width=model.window, progress=told)
    return [{"test": test.name, **asdict(figure)} for figure in site_figures(found, labels, test.labelled.names)]


def write_figures(path: Path, rows: Rows) -> None:
    """Write ``figures.json`` of a run's folder.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_or_not(path / FIGURES) as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def finetune_splice_sites(
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str] = (),
    base: str = DEFAULT_MODEL,
    recipe: FineTuneRecipe | None = None,
    validation_share: float = 0.05,
    test_nt: int = 3_000_000,
    device: torch.device | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set and kind of site.

    Args:
        sources: genomes, of which protein-coding and lncRNA genes are taken.
        path: the run's folder; a run that is there is gone on with, and tested again. ``figures.json`` has the rows.
        hold_out: ``SPECIES`` or ``SPECIES:CONTIG``.
        base: model to begin as, or ``random``.
        recipe: how it is trained; None for the default.
        validation_share: of the genes that are not held out, those that stop the training.
        test_nt: about how many nucleotides of a held-out contig are tested, in whole genes.
        device: None for the CPU.
        half: train in bf16.
        say, progress: told how it goes.

    Raises:
        SettingsError: scikit-learn is not installed, what is to be held out is not there, the folder holds another run,
            another process trains in it, or the training diverged.
        CorpusError: there is no gene, or no site of a kind, to train on or to stop by.
        ModelError: the model to begin as cannot be loaded.
        OutputError: something cannot be written.
        SpliceBertError: a reference or annotation cannot be read.
    """
    return finetune_on_genes(
        SpliceSiteModel, exon_edges, sources, path, hold_out=hold_out, base=base, recipe=recipe,
        validation_share=validation_share, test_nt=test_nt, device=device, half=half, say=say, progress=progress,
    )  # fmt: skip


_STRANDS = ("+", "-")


class BedPositions:
    """The branchpoints of a BED file that lie in protein-coding or lncRNA genes of their strand.

    Args:
        bed: path, plain or gzip; a line is one base, column 6 its strand.

    Raises:
        SettingsError: the file or a line cannot be read, a line is longer than a base or has no strand.
        CorpusError: no line lies in a gene.
    """

    names: tuple[str, ...] = LABELS

    def __init__(self, bed: str, table: GeneTable, reference: Reference) -> None:
        genes = _Genes(table, reference)
        names = ContigNames(table.contigs)
        found: dict[tuple[int, bool], set[int]] = {}
        lines = in_no_gene = on_no_contig = 0
        for line in bed_lines(bed):
            position, minus = _position(line)
            lines += 1
            contig = names.find(line.contig)
            number = table.contigs.index(contig) if contig else -1
            if number < 0 or reference.find(line.contig) is None:
                on_no_contig += 1
            elif not genes.hold(number, minus, position):
                in_no_gene += 1
            else:
                found.setdefault((number, minus), set()).add(position)
        self._found = {key: np.array(sorted(at), dtype=np.int64) for key, at in found.items()}
        count = sum(map(len, self._found.values()))
        self.told = (
            f"{bed}: {lines:,} lines; {in_no_gene:,} lie in no protein-coding or lncRNA gene of their strand, "
            f"{on_no_contig:,} on no contig of FASTA and annotation"
        )
        if not count:
            raise CorpusError(
                "No branchpoint lies in a gene.", needed="positions of the assembly and the strand of the genes",
                found=self.told, remedy="check assembly, strand, and that starts are 0-based",
            )  # fmt: skip
        self.told += f"; {count:,} positions are left, {self._adenines(table, reference) / count:.0%} of them A"

    def within(self, number: int, stretch: Stretch, name: str) -> Ints:
        """Return the branchpoints in a stretch of the table's contig ``number``."""
        return between(self._found.get((number, stretch.minus), np.empty(0, dtype=np.int64)), stretch)

    def _adenines(self, table: GeneTable, reference: Reference) -> int:
        """Count the positions that read A on their strand: most branchpoints do, and few bases beside one."""
        count = 0
        for (number, minus), positions in self._found.items():
            contig = reference.find(table.contigs[number])
            assert contig is not None
            bases = b"".join(reference.fetch(contig, at, at + 1) for at in positions.tolist())
            count += bases.count(b"T" if minus else b"A")
        return count


class _Genes:
    """Which positions lie in the genes that sequence is taken from, by the table's number of the contig and strand."""

    def __init__(self, table: GeneTable, reference: Reference) -> None:
        nothing = np.empty(0, dtype=np.int64)
        self._starts = {(number, minus): nothing for number in range(len(table.contigs)) for minus in (False, True)}
        self._reach = dict(self._starts)
        for number, _, rows in gene_rows(table, reference):
            for minus in (False, True):
                of = rows[(table.gene_strand[rows] < 0) == minus]
                self._starts[number, minus] = table.gene_start[of]  # ascending, as the table is
                self._reach[number, minus] = np.maximum.accumulate(table.gene_end[of])

    def hold(self, number: int, minus: bool, position: int) -> bool:
        """Tell whether a position lies in a gene of its strand."""
        before = int(np.searchsorted(self._starts[number, minus], position, side="right"))
        return before > 0 and position < int(self._reach[number, minus][before - 1])


def _position(line: BedLine) -> tuple[int, bool]:
    if line.end - line.start != 1:
        raise SettingsError(
            "A line of the BED file is longer than a base.", needed="the branchpoint alone: end is start + 1",
            found=f"{line.start}-{line.end}", where=line.where,
        )  # fmt: skip
    if line.strand not in _STRANDS:
        raise SettingsError(
            "A line of the BED file has no strand.", needed="+ or - in column 6",
            found="nothing" if line.strand is None else repr(line.strand), where=line.where,
        )  # fmt: skip
    return line.start, line.strand == "-"


def finetune_branchpoints(
    beds: Sequence[str],
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str] = (),
    base: str = DEFAULT_MODEL,
    recipe: FineTuneRecipe | None = None,
    validation_share: float = 0.05,
    test_nt: int = 3_000_000,
    device: torch.device | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set.

    Every nucleotide of the genes that no BED line names is taken for none.

    Args:
        beds: a BED file of each of the sources, in their order, plain or gzip; a line is one base, column 6 its strand.

    The others are those of ``finetune_splice_sites``.

    Raises:
        SettingsError: there are not as many BED files as genomes, or a line is longer than a base or has no strand.
        CorpusError: no line lies in a gene.
        SpliceBertError: see ``finetune_splice_sites``.
    """
    if len(beds) != len(sources):
        raise SettingsError(
            "Every genome needs its branchpoints.", needed="a BED file for each genome, in their order",
            found=f"{len(beds)} BED files and {len(sources)} genomes",
        )  # fmt: skip

    def find_sites(number: int, table: GeneTable, reference: Reference) -> BedPositions:
        found = BedPositions(beds[number], table, reference)
        say(found.told)
        return found

    return finetune_on_genes(
        BranchpointModel, find_sites, sources, path, hold_out=hold_out, base=base, recipe=recipe,
        validation_share=validation_share, test_nt=test_nt, device=device, half=half, say=say, progress=progress,
    )  # fmt: skip

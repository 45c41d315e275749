"""Fine-tuning: the encoder learns labels of nucleotides, on the training loop of ``pretrain``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.model.classifier import Classifier, FineTuned
from splicebert_vep.sequence.tokens import Tokens, with_special
from splicebert_vep_spec import MASK

from .heads import begin, train_head
from .labelled import UNLABELLED, Labelled, Labels
from .loop import Loss
from .recipe import FineTuneRecipe
from .sampling import anywhere, step_rng
from .site_metrics import site_figures
from .stages import StagePlan
from .stitched import answers

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

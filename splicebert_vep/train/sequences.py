"""Fine-tuning on whole sequences: a TSV of sequences, each with a class or a value, and the task on it."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import LabelError, require
from ..files import whole_or_not
from ..model.classifier import Classifier, FineTuned
from ..model.registry import DEFAULT_MODEL
from ..model.tuned import SEQUENCES, VALUE, SequenceModel, of_one_length, sequence_tokens
from ..sequence.tokens import Tokens
from .corpus import draw
from .finetune import Rows, begin, calibrated, config_of, softmax, train_head, write_figures
from .labels import Labels
from .loop import Loss, Machine, Task, step_rng
from .metrics import Floats, class_figures, value_figures
from .recipe import SequenceRecipe

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
_MOST_CLASSES = 100
_SEQUENCE, _LABEL, _SPLIT = "sequence", "label", "split"


@dataclass(frozen=True, eq=False)
class LabelledSequences:
    """n sequences with their classes or values.

    Args:
        labels: names of the classes, sorted; ``("value",)`` of values.
        texts: as they are in the file.
        tokens: (L,) each.
        targets: (n,) float64: numbers of classes, or values.
        lines: in the file, from 1.
    """

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    tokens: tuple[Tokens, ...]
    targets: NDArray[np.float64]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def classes(self) -> bool:
        """True where the targets are classes, False where they are values."""
        return self.labels != (VALUE,)

    @property
    def longest(self) -> int:
        """Length of the longest, nt."""
        return max(map(len, self.tokens), default=0)

    def count(self, label: int) -> int:
        """Return the number of sequences of a class."""
        return int(np.count_nonzero(self.targets == label))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that training reads."""
        whole = hashlib.sha256(f"sequences {','.join(self.labels)}".encode())
        for tokens in self.tokens:
            whole.update(len(tokens).to_bytes(4, "little") + tokens.tobytes())
        whole.update(self.targets.astype("<f8").tobytes())
        return whole.hexdigest()

    def take(self, rows: Sequence[int]) -> LabelledSequences:
        """Return some of the sequences."""
        return LabelledSequences(
            self.labels, tuple(self.texts[row] for row in rows), tuple(self.tokens[row] for row in rows),
            self.targets[list(rows)], tuple(self.lines[row] for row in rows),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SequenceSplit:
    """Sequences to train on, to stop by, and to test on.

    Args:
        leaked: number of sequences of validation or test that the file has for training too; 0 where a hash decides.
    """

    training: LabelledSequences
    validation: LabelledSequences
    test: LabelledSequences
    leaked: int


def read_sequences(path: Path, longest: int, *, validation_share: float, test_share: float) -> SequenceSplit:
    """Read a TSV with the columns ``sequence``, ``label`` or ``value``, and ``split`` (train, validation or test).

    Without a column ``split`` a hash of the sequence decides, so that equal sequences go together.

    Args:
        longest: nt that a sequence may have.
        validation_share, test_share: of the different sequences, where there is no column ``split``.

    Raises:
        LabelError: unreadable, a column is missing, a line cannot be read, there is one class only, all values are
            equal, or a part has nothing, or lacks a class.
    """
    column, rows = _read(path)
    classes = column == _LABEL
    labels = tuple(sorted({row[column] for row in rows.values()})) if classes else (VALUE,)
    if classes and not 2 <= len(labels) <= _MOST_CLASSES:
        problem = f"The number of classes is {len(labels):,}, not 2 to {_MOST_CLASSES}."
        raise LabelError(problem, where=str(path), remedy=f"name the column {VALUE} if it holds numbers")
    tokens: list[Tokens] = []
    targets: list[float] = []
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for number, (line, row) in enumerate(rows.items()):
        text, where = row[_SEQUENCE], f"{path}:{line}"
        try:
            tokens.append(sequence_tokens(text, longest))
        except ValueError as error:
            raise LabelError("A sequence cannot be read.", found=str(error), where=where) from error
        targets.append(labels.index(row[column]) if classes else _number(row[column], where))
        parts[row.get(_SPLIT) or _drawn(text, validation_share, test_share)].append(number)
    texts = tuple(row[_SEQUENCE] for row in rows.values())
    whole = LabelledSequences(labels, texts, tuple(tokens), np.array(targets, dtype=np.float64), tuple(rows))
    training, validation, test = (whole.take(parts[part]) for part in PARTS)
    _check_part(TRAIN, training, path)
    _check_part(VALIDATION, validation, path)
    known = {text.upper() for text in training.texts}
    leaked = sum(text.upper() in known for part in (validation, test) for text in part.texts)
    return SequenceSplit(training, validation, test, leaked)


def _read(path: Path) -> tuple[str, dict[int, dict[str, str]]]:
    """Return the name of the column with the targets, and the rows by line."""
    rows: dict[int, dict[str, str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = next(lines, [])
            targets = [name for name in (_LABEL, VALUE) if name in header]
            if _SEQUENCE not in header or len(targets) != 1 or len(set(header)) < len(header):
                needed = f"{_SEQUENCE}, either {_LABEL} (classes) or {VALUE} (numbers), and optionally {_SPLIT}"
                found = ", ".join(header) or "an empty file"
                problem = "The columns are not those of labelled sequences."
                raise LabelError(problem, needed=needed, found=found, where=f"{path}:1")
            column = targets[0]
            for cells in lines:
                if cells:
                    rows[lines.line_num] = _row(header, column, cells, f"{path}:{lines.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise LabelError("The sequences cannot be read as a TSV in UTF-8.", found=found, where=str(path)) from error
    if not rows:
        raise LabelError("The file has no sequence below its header.", where=str(path))
    return column, rows


def _row(header: Sequence[str], column: str, cells: Sequence[str], where: str) -> dict[str, str]:
    if len(cells) != len(header):
        raise LabelError(f"A line has not as many cells as the header: {len(cells)} of {len(header)}.", where=where)
    row = dict(zip(header, cells, strict=True))
    row[column], row[_SEQUENCE] = row[column].strip(), row[_SEQUENCE].strip()
    if not row[column]:
        raise LabelError(f"A {column} is empty.", where=where)
    if _SPLIT in row and row[_SPLIT] not in PARTS:
        raise LabelError("A split is not known.", needed=", ".join(PARTS), found=repr(row[_SPLIT]), where=where)
    return row


def _drawn(text: str, validation_share: float, test_share: float) -> str:
    at = draw(f"sequence:{text.upper()}")
    return TEST if at < test_share else VALIDATION if at < test_share + validation_share else TRAIN


def _check_part(name: str, part: LabelledSequences, path: Path) -> None:
    """Refuse a part that lacks a class, or whose values are all equal."""
    different = len(np.unique(part.targets))
    if different < (len(part.labels) if part.classes else 2):
        found = f"{len(part):,} sequences with {different} different targets"
        needed = f"each of {', '.join(part.labels)}" if part.classes else "two different values or more"
        remedy = "give more sequences, other shares (--validation, --test), or a column split of your own"
        problem = f"The part {name!r} lacks a class or a second value."
        raise LabelError(problem, needed=needed, found=found, where=str(path), remedy=remedy)


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError("A value is not a finite number.", found=repr(text), where=where)
    return value


_BATCH = 8192  # tokens in one call that trains nothing


class AnswerSequences(Task):
    """The task: predict the class, or the value, of a sequence.

    Classes weigh the same in the loss, however many sequences they have. Values are learned as distances from the mean,
    in standard deviations of the training sequences.
    """

    def __init__(self, recipe: SequenceRecipe, training: LabelledSequences, validation: LabelledSequences) -> None:
        self._recipe, self._training, self._validation = recipe, training, validation
        self._epoch = recipe.epoch(len(training))
        self.steps = recipe.epochs * self._epoch
        self.watch = "auprc" if training.classes else "spearman"
        self.mean, self.scale = 0.0, 1.0
        self._weights = torch.ones(1)
        if training.classes:
            counts = [training.count(number) for number in range(len(training.labels))]
            self._weights = torch.tensor([len(training) / (len(counts) * count) for count in counts])
        else:
            self.mean, self.scale = float(training.targets.mean()), float(training.targets.std())

    def loss(self, model: nn.Module, step: int, part: int, device: torch.device) -> Loss:
        """Draw sequences, from the seed and ``step`` alone, and run those of one length at a time."""
        rng = step_rng(self._recipe.seed, step, part)
        chosen = self._training.take(rng.integers(len(self._training), size=self._recipe.batch).tolist())
        targets = torch.from_numpy((chosen.targets - self.mean) / self.scale).to(device)
        total, right = torch.zeros((), device=device), torch.zeros((), device=device)
        tokens = 0
        for rows, windows in of_one_length(chosen.tokens, _BATCH):
            tokens += windows.size
            logits: Tensor = model(torch.from_numpy(windows.astype(np.int64)).to(device)).float()  # (N, K)
            wanted = targets[torch.from_numpy(rows).to(device)]
            if chosen.classes:
                weights = self._weights.to(device)
                total = total + F.cross_entropy(logits, wanted.long(), weight=weights, reduction="sum")
                right = right + (logits.detach().argmax(dim=1) == wanted).sum()
            else:
                total = total + F.mse_loss(logits[:, 0], wanted.float(), reduction="sum")
        return Loss(total, right, len(chosen), tokens, len(chosen) if chosen.classes else 0)

    def describe(self, step: int) -> dict[str, float | int | str]:
        """Return the epoch, from 1."""
        return {"epoch": step // self._epoch + 1}

    def validate(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Return AUPRC by class and their mean, ``auprc``; of values ``spearman`` and ``r2``."""
        truth = self._validation.targets
        found = answers_of(model, self._validation, device)
        if self._validation.classes:
            figures = class_figures(softmax(found), truth, self._validation.labels)
            measured = {f"auprc_{figure['label']}": round(figure["auprc"], 6) for figure in figures}
            return {**measured, "auprc": round(sum(measured.values()) / len(measured), 6)}
        figure = value_figures(found[:, 0] * self.scale + self.mean, truth)  # there are two different values or more
        return {name: round(figure[name], 6) for name in ("spearman", "r2")}

    def finish(self, model: Classifier, device: torch.device) -> None:
        """Calibrate the probabilities, or give values the unit of the file."""
        if self._validation.classes:
            found = answers_of(model, self._validation, device)
            truth: Labels = self._validation.targets.astype(np.uint8)
            model.classifier.bias.add_(torch.from_numpy(calibrated(found, truth)).to(model.classifier.bias))
        else:
            model.classifier.weight.mul_(self.scale)
            model.classifier.bias.mul_(self.scale).add_(self.mean)


def answers_of(model: nn.Module, sequences: LabelledSequences, device: torch.device) -> Floats:
    """Return a classifier's logits, (n, K) float32."""
    found = np.empty((len(sequences), 1 if not sequences.classes else len(sequences.labels)), dtype=np.float32)
    with torch.inference_mode():
        for rows, windows in of_one_length(sequences.tokens, _BATCH):
            found[rows] = model(torch.from_numpy(windows.astype(np.int64)).to(device)).float().cpu().numpy()
    return found


def finetune_sequences(
    file: Path,
    path: Path,
    *,
    base: str = DEFAULT_MODEL,
    recipe: SequenceRecipe | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.1,
    machine: Machine | None = None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per class, or one for the values.

    Args:
        file: TSV with the columns ``sequence``, either ``label`` (classes) or ``value`` (numbers), and optionally
            ``split`` (train, validation or test).
        path: the run's folder; a run that is there is continued, and tested again. ``figures.json`` has the rows,
            ``predictions.tsv`` the predictions for every sequence of the test part.
        base: model to begin as, or ``random``.
        recipe: settings of the training; None for the default.
        validation_share, test_share: of the different sequences, where the file has no column ``split``.
        machine: device and reports; None for the CPU, silent.

    Raises:
        LabelError: the file is no such table, a line cannot be read, or a part has nothing to learn from.
        SettingsError: scikit-learn is not installed, the folder holds another run, another process trains in it, or the
            training diverged.
        ModelError: the model to begin as cannot be loaded.
        OutputError: something cannot be written.
    """
    require("sklearn")
    recipe, machine = recipe or SequenceRecipe(), machine or Machine()
    longest = config_of(base).longest_window
    split = read_sequences(file, longest, validation_share=validation_share, test_share=test_share)
    _describe(split, machine)
    learned = AnswerSequences(recipe, split.training, split.validation)
    labels = split.training.labels
    model, base_sha256 = begin(base, len(labels), head=recipe.head, seed=recipe.seed, pooled=True)
    window = max(part.longest for part in (split.training, split.validation, split.test))
    about = FineTuned(SEQUENCES, labels, window, True, base, base_sha256, recipe.head)
    folder = train_head(
        model, learned, recipe.optimisation(len(split.training), learned.watch), about, path, machine, recipe=recipe,
        digests=(split.training.digest, split.validation.digest),
        finish=lambda best: learned.finish(best, machine.device),
    )  # fmt: skip
    rows = _tested(SequenceModel(folder, machine.device), split.test, path) if len(split.test) else []
    write_figures(path, rows)
    return folder, rows


def _describe(split: SequenceSplit, machine: Machine) -> None:
    for name, part in (("training", split.training), ("validation", split.validation), ("test", split.test)):
        classes = [f", {part.count(number):,} {label}" for number, label in enumerate(part.labels) if part.classes]
        machine.say(f"{name}: {len(part):,} sequences{''.join(classes)}")
    if split.leaked:
        machine.say(f"{split.leaked:,} sequences of validation or test are also in training: the figures flatter")
    if not len(split.test):
        machine.say("no sequence is set apart for the test: there will be no figures")
    for number, label in enumerate(split.test.labels):
        if split.test.classes and len(split.test) and not split.test.count(number):
            machine.say(f"test has no {label}, so there will be no figure of it")


def _tested(model: SequenceModel, test: LabelledSequences, path: Path) -> Rows:
    """Write the predictions for the sequences, and return the figures."""
    if test.classes:
        found = model.probabilities(test.texts)
        header = ["line", "sequence", "label", "predicted", *(f"p_{label}" for label in test.labels)]
        names = [test.labels[number] for number in found.argmax(axis=1)]
        truth = [test.labels[number] for number in test.targets.astype(int)]
        predicted = [[name, *(f"{p:.6f}" for p in row)] for name, row in zip(names, found, strict=True)]
        rows = class_figures(found, test.targets, test.labels)
    else:
        values = model.values(test.texts)
        header = ["line", "sequence", VALUE, "predicted"]
        truth = [repr(value) for value in test.targets.tolist()]
        predicted = [[f"{value:.6g}"] for value in values.tolist()]
        rows = [value_figures(values, test.targets)]
    file = path / "predictions.tsv"
    with whole_or_not(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        handle.write("\t".join(header) + "\n")
        for line, text, known, cells in zip(test.lines, test.texts, truth, predicted, strict=True):
            handle.write("\t".join([str(line), text, known, *cells]) + "\n")
    return rows

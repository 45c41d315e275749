"""Labelled sequences: a TSV of sequences, each with a class or a value, and which part of them is for what."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.errors import LabelError
from splicebert_vep.model.sequences import VALUE, sequence_tokens
from splicebert_vep.sequence.tokens import Tokens

from .corpus import draw

TRAIN, VALIDATION, TEST = PARTS = ("train", "validation", "test")
_MOST_CLASSES = 100
_SEQUENCE, _LABEL, _SPLIT = "sequence", "label", "split"


@dataclass(frozen=True, eq=False)
class LabelledSequences:
    """Hold n sequences.

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
        """Whether the targets are classes."""
        return self.labels != (VALUE,)

    @property
    def longest(self) -> int:
        """Length of the longest, nt."""
        return max(map(len, self.tokens), default=0)

    def count(self, label: int) -> int:
        """How many are of a class."""
        return int(np.count_nonzero(self.targets == label))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that training reads."""
        whole = hashlib.sha256(f"sequences {','.join(self.labels)}".encode())
        for one in self.tokens:
            whole.update(len(one).to_bytes(4, "little") + one.tobytes())
        whole.update(self.targets.astype("<f8").tobytes())
        return whole.hexdigest()

    def take(self, rows: Sequence[int]) -> LabelledSequences:
        """Return some of them."""
        return LabelledSequences(
            self.labels, tuple(self.texts[row] for row in rows), tuple(self.tokens[row] for row in rows),
            self.targets[list(rows)], tuple(self.lines[row] for row in rows),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class SequenceSplit:
    """Sequences to train on, to stop by, and to test on.

    Args:
        leaked: sequences of validation or test that the file has for training too; none where a hash decides.
    """

    training: LabelledSequences
    validation: LabelledSequences
    test: LabelledSequences
    leaked: int

    @property
    def longest(self) -> int:
        """Length of the longest, nt."""
        return max(part.longest for part in (self.training, self.validation, self.test))


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    text: str
    target: str
    part: str | None


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
    texts, tokens, targets, lines = [], [], [], []
    labels = tuple(sorted({row.target for row in rows})) if classes else (VALUE,)
    if classes and len(labels) < 2:
        raise LabelError("There is one class only.", needed="two classes or more", found=labels[0], where=str(path))
    if len(labels) > _MOST_CLASSES:
        raise LabelError(
            "There are too many classes.", needed=f"at most {_MOST_CLASSES}", found=f"{len(labels):,}", where=str(path),
            remedy=f"name the column {VALUE} if it holds numbers",
        )  # fmt: skip
    parts: dict[str, list[int]] = {part: [] for part in PARTS}
    for number, row in enumerate(rows):
        where = f"{path}:{row.line}"
        try:
            tokens.append(sequence_tokens(row.text, longest))
        except ValueError as error:
            raise LabelError(
                "A sequence cannot be read.", needed=f"1 to {longest:,} letters A, C, G, T or N", found=str(error),
                where=where,
            ) from error  # fmt: skip
        targets.append(labels.index(row.target) if classes else _number(row.target, where))
        texts.append(row.text)
        lines.append(row.line)
        parts[row.part or _drawn(row.text, validation_share, test_share)].append(number)
    whole = LabelledSequences(labels, tuple(texts), tuple(tokens), np.array(targets, dtype=np.float64), tuple(lines))
    training, validation, test = (whole.take(parts[part]) for part in PARTS)
    for name, part in ((TRAIN, training), (VALIDATION, validation)):
        _check(name, part, path)
    known = {text.upper() for text in training.texts}
    leaked = sum(text.upper() in known for part in (validation, test) for text in part.texts)
    return SequenceSplit(training, validation, test, leaked)


def _read(path: Path) -> tuple[str, list[_Row]]:
    """Return which column has the targets, and the rows."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            lines = csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
            header = next(lines, [])
            column = _target_column(header, path)
            rows = [_row(header, column, cells, path, lines.line_num) for cells in lines if cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(
            "The sequences cannot be read.", needed="a TSV in UTF-8",
            found=getattr(error, "strerror", None) or str(error), where=str(path),
        ) from error  # fmt: skip
    if not rows:
        raise LabelError("The file has no sequence.", needed="a line per sequence below the header", where=str(path))
    return column, rows


def _target_column(header: Sequence[str], path: Path) -> str:
    targets = [name for name in (_LABEL, VALUE) if name in header]
    doubled = [name for name, count in Counter(header).items() if count > 1]
    if _SEQUENCE not in header or len(targets) != 1 or doubled:
        raise LabelError(
            "The columns are not those of labelled sequences.",
            needed=f"{_SEQUENCE}, either {_LABEL} (classes) or {VALUE} (numbers), and {_SPLIT} if there is one",
            found=", ".join(header) or "an empty file", where=f"{path}:1",
            remedy="name the columns in the first line, separated by tabs",
        )  # fmt: skip
    return targets[0]


def _row(header: Sequence[str], column: str, cells: Sequence[str], path: Path, line: int) -> _Row:
    where = f"{path}:{line}"
    if len(cells) != len(header):
        raise LabelError(
            "A line has not as many cells as the header.", needed=f"{len(header)}", found=f"{len(cells)}", where=where
        )
    row = dict(zip(header, cells, strict=True))
    target, part = row[column].strip(), row.get(_SPLIT)
    if not target:
        raise LabelError(f"A {column} is empty.", needed=f"a {column} on every line", where=where)
    if part is not None and part not in PARTS:
        raise LabelError("A split is not known.", needed=", ".join(PARTS), found=repr(part), where=where)
    return _Row(line, row[_SEQUENCE].strip(), target, part)


def _drawn(text: str, validation_share: float, test_share: float) -> str:
    at = draw(f"sequence:{text.upper()}")
    return TEST if at < test_share else VALIDATION if at < test_share + validation_share else TRAIN


def _check(name: str, part: LabelledSequences, path: Path) -> None:
    """Refuse a part that nothing can be learned or stopped by."""
    remedy = "give more sequences, other shares (--validation, --test), or a column split of your own"
    if part.classes:
        counts = Counter(part.targets.astype(int).tolist())
        if len(counts) < len(part.labels):
            raise LabelError(
                f"The part {name!r} lacks a class.", needed=f"each of {', '.join(part.labels)}",
                found=", ".join(f"{counts[number]:,} {label}" for number, label in enumerate(part.labels)),
                where=str(path), remedy=remedy,
            )  # fmt: skip
    elif len(set(part.targets.tolist())) < 2:
        raise LabelError(
            f"The part {name!r} has nothing to tell apart.", needed="two different values or more",
            found=f"{len(part):,} sequences with {len(set(part.targets.tolist()))} different values", where=str(path),
            remedy=remedy,
        )  # fmt: skip


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise LabelError("A value is not a number.", needed="a finite number", found=repr(text), where=where)
    return value

"""Tell what changed between two runs of a cohort: alleles, genes and their context, statuses, scores.

A row of one table is compared with the row of the other that has the same contig under any of its names, position,
REF, ALT and gene. Work goes by columns; only rows that changed are ever looked at one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..errors import SettingsError
from ..genome.ids import stable_id
from ..outputs.flat import CONTEXT_FIELDS
from .diff_tables import About, CohortTable, Floats, Ints, Kind, Words, contigs, positions, words

#: Columns about the gene, in the order of the table.
CONTEXT = (*(field.id for field in CONTEXT_FIELDS), "TRANSCRIPT_CHOICE", "BIOTYPE")
_STATUS = "STATUS"
# 0.51 - 0.50 is a little more than 0.01 in binary, and yet no more than 0.01.
_ROUNDING = 1e-9


class Change(IntEnum):
    """What happened to a row, in the order in which changes of one gene are listed."""

    NEW_ALLELE = 0
    GONE_ALLELE = 1
    NEW_GENE = 2
    GONE_GENE = 3
    STATUS = 4
    CONTEXT = 5
    SCORE = 6


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of OLD, then those of NEW.

    Args:
        split: number of OLD's rows.
        words: columns of words by name; contigs under one name each.
        pos: 1-based.
        allele: the same number for the same contig, position, REF and ALT.
    """

    split: int
    words: Mapping[str, Words]
    pos: Ints
    allele: Ints


@dataclass(frozen=True, slots=True)
class Changes:
    """Changes in the order of position, each of one field; arrays of one length.

    Args:
        left, right: rows of ``Rows`` that were compared; -1 where there is none.
        kind: values of ``Change``.
        field: index into ``Comparison.fields``.
        old, new: numbers of a score; NaN where missing, and for words.
    """

    left: Ints
    right: Ints
    kind: NDArray[np.int8]
    field: NDArray[np.int16]
    old: Floats
    new: Floats

    def __len__(self) -> int:
        return len(self.left)

    def of(self, chosen: Ints | NDArray[np.bool_] | slice) -> Changes:
        """Return some of the changes."""
        return Changes(
            self.left[chosen], self.right[chosen], self.kind[chosen], self.field[chosen], self.old[chosen],
            self.new[chosen],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of distinct alleles: in each run, and with changes. ``genes``: a gene or its context changed."""

    old: int
    new: int
    appeared: int
    gone: int
    status: int
    genes: int
    scores: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two runs have and what changed between them.

    Args:
        old, new: the runs.
        threshold: by more than how much a score has to move.
        fields: STATUS, the columns about the gene and the scores of both runs; and what their values are.
        only_old, only_new: scores of one run alone, which are not compared.
        unlike: scores that are numbers in one run and words in the other, which are not compared.
        rows: of both runs.
        changes: between them.
    """

    old: About
    new: About
    threshold: float
    fields: Mapping[str, Kind]
    only_old: Sequence[str]
    only_new: Sequence[str]
    unlike: Sequence[str]
    rows: Rows
    changes: Changes

    @property
    def names(self) -> tuple[str, ...]:
        """Names of ``fields``."""
        return tuple(self.fields)

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that were compared."""
        return self.names[1 + len(CONTEXT) :]

    def differs(self, key: str) -> bool:
        """Tell whether the runs' provenance says different things under a key."""
        return self.old.provenance.get(key) != self.new.provenance.get(key)

    def counts(self) -> Counts:
        """Count distinct alleles."""
        changed = {kind: self._alleles(kind) for kind in Change}
        genes = np.concatenate([changed[kind] for kind in (Change.NEW_GENE, Change.GONE_GENE, Change.CONTEXT)])
        return Counts(
            len(np.unique(self.rows.allele[: self.rows.split])),
            len(np.unique(self.rows.allele[self.rows.split :])),
            len(changed[Change.NEW_ALLELE]),
            len(changed[Change.GONE_ALLELE]),
            len(changed[Change.STATUS]),
            len(np.unique(genes)),
            len(changed[Change.SCORE]),
        )

    def _alleles(self, kind: Change) -> Ints:
        return np.unique(self.rows.allele[shown(self.changes.of(self.changes.kind == kind), self.rows)])


def compare(old: str | Path, new: str | Path, threshold: float) -> Comparison:
    """Compare two runs.

    Args:
        old, new: folders of runs, or their tables.
        threshold: by more than how much a score has to move.

    Raises:
        CohortError: there is no table, or it is no table of a cohort.
        SettingsError: the threshold is no number of at least 0.
    """
    if not 0 <= threshold < math.inf:
        raise SettingsError(
            "The threshold cannot be used.", needed="a finite number of at least 0", found=str(threshold)
        )
    with CohortTable(old) as before, CohortTable(new) as after:
        both = [name for name in after.scores if name in before.scores]
        like = [name for name in both if (before.scores[name] == "word") == (after.scores[name] == "word")]
        kinds: dict[str, Kind] = dict.fromkeys((_STATUS, *CONTEXT), "word")
        kinds |= {name: after.scores[name] if before.scores[name] == "whole" else before.scores[name] for name in like}
        rows = _rows(before, after, [name for name, kind in kinds.items() if kind == "word"])
        left, right, lone_left, lone_right = _paired(rows)
        found = list(_lone(rows, lone_left, lone_right))
        for number, (name, kind) in enumerate(kinds.items()):
            if kind == "word":
                codes = rows.words[name].codes
                moved = np.flatnonzero(codes[left] != codes[right])
                what = Change.STATUS if name == _STATUS else Change.CONTEXT if name in CONTEXT else Change.SCORE
                found.append(_changes(what, left[moved], right[moved], number))
            else:
                values = before.numbers(name)[left], after.numbers(name)[right - rows.split]
                moved = _moved(*values, threshold)
                numbers = values[0][moved], values[1][moved]
                found.append(_changes(Change.SCORE, left[moved], right[moved], number, *numbers))
        return Comparison(
            before.about,
            after.about,
            threshold,
            kinds,
            [name for name in before.scores if name not in after.scores],
            [name for name in after.scores if name not in before.scores],
            [name for name in both if name not in like],
            rows,
            _in_order(found, rows),
        )


def shown(changes: Changes, rows: Rows) -> Ints:
    """Return the row that says where each change is: NEW's, unless OLD's alone is there or alone has a gene."""
    genes = rows.words["GENE"]
    no_gene = np.array([value is None for value in genes.values], np.bool_)[genes.codes]
    gene_in_old_only = (changes.left >= 0) & no_gene[changes.right] & ~no_gene[changes.left]
    return np.where((changes.right < 0) | gene_in_old_only, changes.left, changes.right)


def _rows(old: CohortTable, new: CohortTable, names: Sequence[str]) -> Rows:
    split = old.rows
    found = {name: words(old, new, name) for name in ("CHROM", "REF", "ALT", *names)}
    found["CHROM"] = contigs(found["CHROM"], split)
    pos = positions(old, new)
    place = _joined(found["CHROM"].codes, _dense(pos))
    return Rows(split, found, pos, _joined(place, _joined(found["REF"].codes, found["ALT"].codes)))


def _paired(rows: Rows) -> tuple[Ints, Ints, Ints, Ints]:
    """Pair rows of the same allele and gene; returns both sides of the pairs, and the rows that have no other.

    A key may be there more than once: annotations have a gene id twice, and files write a contig in two ways. Such
    rows are paired with what has the same transcript and status first, and each with one other at most.
    """
    key = _joined(rows.allele, rows.words["GENE"].merged(stable_id))
    with_transcript = _joined(key, rows.words["TRANSCRIPT"].codes)
    left, right = np.arange(rows.split), np.arange(rows.split, len(rows.pos))
    pairs = []
    for level in (_joined(with_transcript, rows.words[_STATUS].codes), with_transcript, key):
        one, other = _numbered(level[left], level[right])
        _, i, j = np.intersect1d(one, other, assume_unique=True, return_indices=True)
        pairs.append((left[i], right[j]))
        left, right = np.delete(left, i), np.delete(right, j)
    return np.concatenate([one for one, _ in pairs]), np.concatenate([other for _, other in pairs]), left, right


def _numbered(*sides: Ints) -> list[Ints]:
    """Return keys that are unique on each side: the n-th row of a key has the same one on both."""
    turns = []
    for keys in sides:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(keys)])
        turn = np.empty(len(keys), np.int64)
        turn[order] = np.arange(len(keys)) - np.repeat(first, np.diff(np.append(first, len(keys))))
        turns.append(turn)
    most = 1 + max((int(turn.max()) for turn in turns if len(turn)), default=0)
    return [keys * most + turn for keys, turn in zip(sides, turns, strict=True)]


def _lone(rows: Rows, left: Ints, right: Ints) -> Iterator[Changes]:
    """Yield changes of rows that have no other: of alleles, of genes, and of alleles that a gene came to or left."""
    genes = rows.words["GENE"]
    in_gene = np.array([value is not None for value in genes.values], np.bool_)[genes.codes]
    first = _first_rows(rows)
    for side, lone, of_allele, of_gene in (
        (0, left, Change.GONE_ALLELE, Change.GONE_GENE),
        (1, right, Change.NEW_ALLELE, Change.NEW_GENE),
    ):
        other = first[1 - side][rows.allele[lone]]
        for kind, chosen in ((of_allele, other < 0), (of_gene, (other >= 0) & in_gene[lone])):
            none = np.full(np.count_nonzero(chosen), -1)
            yield _changes(kind, *((none, lone[chosen]) if side else (lone[chosen], none)))
        without = (other >= 0) & ~in_gene[lone]
        pair = (other[without], lone[without]) if side else (lone[without], other[without])
        status = rows.words[_STATUS].codes
        differ = status[pair[0]] != status[pair[1]]
        yield _changes(Change.STATUS, pair[0][differ], pair[1][differ])


def _first_rows(rows: Rows) -> tuple[Ints, Ints]:
    """Return each run's first row of every allele, which is the one that flat output shows; -1 where it has none."""
    found = []
    for numbers in (np.arange(rows.split), np.arange(rows.split, len(rows.pos))):
        first = np.full(int(rows.allele.max(initial=-1)) + 1, -1)
        first[rows.allele[numbers[::-1]]] = numbers[::-1]
        found.append(first)
    return found[0], found[1]


def _moved(old: Floats, new: Floats, threshold: float) -> Ints:
    gone_or_come = np.isnan(old) != np.isnan(new)
    return np.flatnonzero(gone_or_come | (np.abs(new - old) > threshold * (1 + _ROUNDING)))


def _changes(
    kind: Change, left: Ints, right: Ints, field: int = 0, old: Floats | None = None, new: Floats | None = None
) -> Changes:
    missing = np.full(len(left), np.nan)
    return Changes(
        left,
        right,
        np.full(len(left), kind, np.int8),
        np.full(len(left), field, np.int16),
        missing if old is None else old,
        missing if new is None else new,
    )


def _in_order(found: Sequence[Changes], rows: Rows) -> Changes:
    names = ("left", "right", "kind", "field", "old", "new")
    every = Changes(*(np.concatenate([getattr(part, name) for part in found]) for name in names))
    at = shown(every, rows)
    contig, gene = rows.words["CHROM"].codes[at], rows.words["GENE"].codes[at]
    return every.of(np.lexsort((every.field, every.kind, gene, rows.allele[at], rows.pos[at], contig)))


def _joined(one: Ints, other: Ints) -> Ints:
    """Return codes of pairs; both are below the number of rows or of words, so that their product fits."""
    return _dense(one * (int(other.max(initial=0)) + 1) + other)


def _dense(numbers: Ints) -> Ints:
    """Return codes from 0 by first appearance; hashing is several times as fast as sorting."""
    codes: Ints = pa.array(numbers).dictionary_encode().indices.to_numpy().astype(np.int64)
    return codes

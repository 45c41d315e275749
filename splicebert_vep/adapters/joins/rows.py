"""Find the rows of indexed files that mean an allele, however they write it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from splicebert_vep_spec import Allele, Bases, IndexedTable, JoinRequest

_LOOK_AHEAD = 256
_TRIED_AROUND, _TRIED = 5_000, 100  # nt and rows by which a contig of a file is tried on the FASTA before it is used


@dataclass(frozen=True, slots=True)
class Row:
    """One row: ``pos`` is 1-based, ``cells`` its columns."""

    pos: int
    ref: str
    alts: tuple[str, ...]
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Match:
    """A row that holds an allele as its ALT number ``alt``; ``source`` is the place of its file among the files."""

    row: Row
    alt: int
    source: int


class AlleleRows:
    """Rows of files by normalised allele.

    Args:
        tables: the files, each of which may hold a part of the alleles.
        request: what normalises alleles.
        read: makes a row of a line.
        padding: how many bases before the allele a row may begin, where the index of a file knows no more of a row
            than its position.
    """

    def __init__(
        self, tables: Sequence[IndexedTable], request: JoinRequest, read: Callable[[str], Row], padding: int = 0
    ) -> None:
        self._tables = tables
        self._normalise = request.normalise
        self._bases = request.bases
        self._read = read
        self._padding = padding
        self._tried: set[tuple[int, str]] = set()

    def find(self, allele: Allele) -> list[Match] | None:
        """Return the rows that hold the allele; None when no file has its contig."""
        start, end = reach(allele, self._bases)
        found: list[Match] = []
        known = False
        for source, table in enumerate(self._tables):
            lines = table.fetch(allele.contig, start - self._padding, end)
            if lines is None:
                continue
            known = True
            self._try(source, table, allele)
            for row in map(self._read, lines):
                found += [Match(row, alt, source) for alt in self._alts(row, allele)]
        return found if known else None

    def others_near(self, match: Match, allele: Allele, distance: int) -> Iterator[Row]:
        """Yield the rows of the match's file that begin within a distance and whose first ALT is another allele."""
        at = match.row.pos - 1
        lines = self._tables[match.source].fetch(allele.contig, at - distance, at + distance + 1) or ()
        for row in map(self._read, lines):
            if self._normalise(allele.contig, row.pos, row.ref, row.alts[0]) not in (allele, None):
                yield row

    def _alts(self, row: Row, allele: Allele) -> list[int]:
        return [
            i
            for i, alt in enumerate(row.alts)
            if len(row.ref) - len(alt) == allele.shift
            and self._normalise(allele.contig, row.pos, row.ref, alt) == allele
        ]

    def _try(self, source: int, table: IndexedTable, allele: Allele) -> None:
        """Have rows near the first allele of a contig compared with the FASTA, so that a wrong build shows at once."""
        if (source, allele.contig) in self._tried:
            return
        self._tried.add((source, allele.contig))
        lines = table.fetch(allele.contig, allele.start - _TRIED_AROUND, allele.end + _TRIED_AROUND) or ()
        for row in map(self._read, islice(lines, _TRIED)):
            for alt in row.alts[:1]:
                self._normalise(allele.contig, row.pos, row.ref, alt)


def reach(allele: Allele, bases: Bases) -> tuple[int, int]:
    """Return the stretch, 0-based half-open, that a row of this allele overlaps wherever it places and pads it.

    A normalised insertion or deletion is left-aligned; a row may have it anywhere up to as far right as the reference
    lets it move, and has the base before it or after it too.
    """
    if allele.ref and allele.alt:
        return allele.start, allele.end
    return max(0, allele.start - 1), allele.end + _moves_right(allele, bases) + 1


def _moves_right(allele: Allele, bases: Bases) -> int:
    """Return by how many bases an insertion or deletion can be shifted to the right without changing the result."""
    moved = allele.ref or allele.alt
    shift = 0
    while after := bases.fetch(allele.contig, allele.end + shift, allele.end + shift + _LOOK_AHEAD).decode("ascii"):
        for base in after:
            if base != moved[shift % len(moved)]:
                return shift
            shift += 1
    return shift

"""Find an allele in other programs' files however it is written, and combine its rows into one answer for a gene."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, islice
from operator import itemgetter
from typing import TypeVar

from splicebert_vep_spec import (
    Allele,
    Bases,
    FieldSpec,
    GeneContext,
    IndexedTable,
    JoinQuery,
    JoinRequest,
    OpenJoin,
    Value,
)

from ..genome.ids import stable_id
from ..sequence.alleles import trim

_N = TypeVar("_N")


class Joined(StrEnum):
    """The words of ``<NAME>_STATUS``: the source's answer for an allele in a gene."""

    FOUND = "FOUND"
    MISSING = "MISSING"
    OTHER_GENE = "OTHER_GENE"
    NO_RECORD = "NO_RECORD"
    NO_CONTIG = "NO_CONTIG"
    NO_KEY = "NO_KEY"
    AMBIGUOUS = "AMBIGUOUS"
    UNREADABLE = "UNREADABLE"


MEANINGS: Mapping[Joined, str] = {
    Joined.FOUND: "values are there",
    Joined.MISSING: "the source has the allele, with missing values",
    Joined.OTHER_GENE: "it has the allele in other genes only",
    Joined.NO_RECORD: "it has no such allele",
    Joined.NO_CONTIG: "it has no such contig",
    Joined.NO_KEY: "its record of the allele lacks the key",
    Joined.AMBIGUOUS: "its entries disagree or cannot be told apart",
    Joined.UNREADABLE: "its entry is not of the known form",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Values for one gene in the order of the join's fields; ``gene`` None is any gene."""

    gene: str | None
    values: tuple[Value, ...]


Entries = Sequence[Entry] | Joined
"""Entries of an allele in one record, or the word that says why there are none."""


class UnreadableError(ValueError):
    """An entry is not of the form that its program writes."""


def number(text: str, kind: Callable[[str], _N]) -> _N:
    """Read a number by ``float`` or ``int``.

    Raises:
        UnreadableError: it is none; nor is 1_0, which Python takes for 10.
    """
    try:
        if "_" not in text:
            return kind(text)
    except ValueError:
        pass
    raise UnreadableError(text)


def position(text: str) -> int | None:
    """Read a position of a row; None where it is no number of up to ten digits, as an index holds."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def fields_with_status(name: str, fields: Sequence[FieldSpec], source: str) -> tuple[FieldSpec, ...]:
    """Return a join's fields under the name of the join, and its ``STATUS`` last."""
    own = [FieldSpec(f"{name}_{f.id}", "A", f.type, f.description, f.direction) for f in fields]
    words = "; ".join(f"{word} {meaning}" for word, meaning in MEANINGS.items())
    return (*own, FieldSpec(f"{name}_STATUS", "A", "String", f"What {source} has of the allele in the gene: {words}"))


def gene_names(context: GeneContext) -> frozenset[str]:
    """Return the names that entries may give a gene: its symbol, or its id without version."""
    return frozenset(stable_id(name) for name in (context.symbol, context.gene_id) if name)


def answer(
    fields: Sequence[FieldSpec], groups: Iterable[Sequence[Entries]] | None, names: Collection[str]
) -> dict[str, Value]:
    """Return values by field id: the answer of all records of an allele for a gene together.

    Args:
        fields: see ``fields_with_status``.
        groups: the entries of each record that holds the allele. A group counts only where those before it have
            nothing of the gene. None where the source lacks the contig.
        names: see ``gene_names``.
    """
    status, values = (Joined.NO_CONTIG, ()) if groups is None else _first(groups, names)
    *own, last = fields
    return {**dict(zip((field.id for field in own), values, strict=False)), last.id: str(status)}


def _first(groups: Iterable[Sequence[Entries]], names: Collection[str]) -> tuple[Joined, tuple[Value, ...]]:
    """Return the answer of the first group that may have values of the gene, else that of all together."""
    seen: list[Entries] = []
    for group in groups:
        found = _combined(group, names)
        if found[0] in (Joined.FOUND, Joined.AMBIGUOUS, Joined.UNREADABLE):
            return found
        seen += group
    return _combined(seen, names)


def _combined(records: Sequence[Entries], names: Collection[str]) -> tuple[Joined, tuple[Value, ...]]:
    """Return the status, and the values where it is FOUND.

    Entries of the gene without a value are ignored if another has values; two that have values have to be equal.
    """
    words = {record for record in records if isinstance(record, Joined)}
    for word in (Joined.AMBIGUOUS, Joined.UNREADABLE):  # such an entry may be this gene's, with another value
        if word in words:
            return word, ()
    entries = [entry for record in records if not isinstance(record, Joined) for entry in record]
    mine = [entry.values for entry in entries if entry.gene is None or stable_id(entry.gene) in names]
    present = {values for values in mine if any(value is not None for value in values)}
    if len(present) == 1:
        return Joined.FOUND, present.pop()
    if present:
        return Joined.AMBIGUOUS, ()
    if mine:
        return Joined.MISSING, ()
    if entries:
        return Joined.OTHER_GENE, ()
    return next((word for word in (Joined.MISSING, Joined.NO_KEY) if word in words), Joined.NO_RECORD), ()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: ``pos`` is 1-based, ``cells`` its columns."""

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


_LOOK_AHEAD = 256
_TRIED_AROUND, _TRIED = 5_000, 100  # nt and rows near a contig's first allele whose REF is compared with the FASTA


class AlleleRows:
    """Rows of files by normalised allele.

    Args:
        tables: the files, each of which may hold a part of the alleles.
        request: normalises alleles.
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
                for i, alt in enumerate(row.alts):
                    same_change = len(row.ref) - len(alt) == allele.shift
                    if same_change and self._normalise(allele.contig, row.pos, row.ref, alt) == allele:
                        found.append(Match(row, i, source))
        return found if known else None

    def others_near(self, match: Match, allele: Allele, distance: int, text: str) -> Iterator[Row]:
        """Yield the rows with a text that begin within a distance of a match and whose first ALT is another allele."""
        at = match.row.pos - 1
        lines = self._tables[match.source].fetch(allele.contig, at - distance, at + distance + 1) or ()
        for row in map(self._read, (line for line in lines if text in line)):
            if self._normalise(allele.contig, row.pos, row.ref, row.alts[0]) not in (allele, None):
                yield row

    def _try(self, source: int, table: IndexedTable, allele: Allele) -> None:
        """Have rows near the first allele of a contig compared with the FASTA, so that a wrong build shows at once."""
        if (source, allele.contig) in self._tried:
            return
        self._tried.add((source, allele.contig))
        lines = table.fetch(allele.contig, allele.start - _TRIED_AROUND, allele.end + _TRIED_AROUND) or ()
        for row in map(self._read, islice(lines, _TRIED)):
            self._normalise(allele.contig, row.pos, row.ref, row.alts[0])


def reach(allele: Allele, bases: Bases) -> tuple[int, int]:
    """Return the stretch, 0-based half-open, that a row of this allele overlaps wherever it places and pads it.

    A normalised insertion or deletion is left-aligned; a row may have it anywhere up to as far right as the reference
    lets it move, and has the base before it or after it too.
    """
    if allele.ref and allele.alt:
        return allele.start, allele.end
    moved = allele.ref or allele.alt
    shift = 0
    while after := bases.fetch(allele.contig, allele.end + shift, allele.end + shift + _LOOK_AHEAD).decode("ascii"):
        for base in after:
            if base != moved[shift % len(moved)]:
                return max(0, allele.start - 1), allele.end + shift + 1
            shift += 1
    return max(0, allele.start - 1), allele.end + shift + 1


def _nearness(match: Match, query: JoinQuery) -> int:
    """Say how near a row's writing of an allele is to the record's, 0 to 3.

    A file may list an indel at each place of a repeat, with a value of its own at each: the record's own POS, REF and
    ALT come first, then the record's own place however it is padded, then the left-aligned place, then the others.
    """
    row, alt = match.row, match.row.alts[match.alt]
    if (row.pos, row.ref, alt) == (query.pos, query.ref.upper(), query.alt.upper()):
        return 0
    place, allele = trim(row.pos, row.ref, alt), query.allele
    if place == trim(query.pos, query.ref, query.alt):
        return 1
    return 2 if place == (allele.start, allele.ref, allele.alt) else 3


class FileJoin(OpenJoin):
    """Indexed files, open. A subclass reads the entries of a row.

    Args:
        fields: see ``fields_with_status``.
        rows: of the files.
    """

    def __init__(self, fields: Sequence[FieldSpec], rows: AlleleRows) -> None:
        self.fields = fields
        self.rows = rows

    @abstractmethod
    def entries(self, match: Match, query: JoinQuery) -> Entries:
        """Return the entries of a row; places count from the query's POS."""

    def names(self, context: GeneContext) -> frozenset[str]:
        """Return the names that rows may give a gene."""
        return gene_names(context)

    def look_up(self, queries: Sequence[JoinQuery]) -> list[Mapping[str, Value]]:
        """Return values for every query; the files are read once per allele."""
        known: dict[Allele, list[Match] | None] = {}
        found: list[Mapping[str, Value]] = []
        for query in queries:
            if query.allele not in known:
                known[query.allele] = self.rows.find(query.allele)
            matches = known[query.allele]
            groups = None if matches is None else self._groups(matches, query)
            found.append(answer(self.fields, groups, self.names(query.context)))
        return found

    def _groups(self, matches: Sequence[Match], query: JoinQuery) -> Iterator[list[Entries]]:
        """Yield the entries of the rows, those nearest to the record's own writing first."""
        ranked = sorted(((_nearness(match, query), match) for match in matches), key=itemgetter(0))
        for _, group in groupby(ranked, key=itemgetter(0)):
            yield [self.entries(match, query) for _, match in group]

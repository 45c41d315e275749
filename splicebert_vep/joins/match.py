"""Join programs that write entries into INFO: from the record's own INFO, or from an indexed VCF."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from typing import Protocol, TypeVar

from splicebert_vep_spec import (
    Allele,
    Bases,
    FieldSpec,
    GeneContext,
    IndexedTable,
    InfoField,
    JoinAdapter,
    JoinQuery,
    JoinRequest,
    OpenJoin,
    Refused,
    Value,
)

from ..errors import SettingsError, suggestion
from ..genome.ids import stable_id

_N = TypeVar("_N")


class Joined(StrEnum):
    """What was found of an allele in a gene; the words of ``<NAME>_STATUS``."""

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


Said = Sequence[Entry] | Joined
"""Entries of an allele in one record, or the word that says why there are none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A word, and the values where it is FOUND."""

    status: Joined
    values: tuple[Value, ...] = ()


class UnreadableError(ValueError):
    """An entry is not of the form that its program writes."""


def number(text: str) -> float:
    """Read a number.

    Raises:
        UnreadableError: it is none; nor is 1_0, which Python takes for 10.
    """
    return _read(text, float)


def whole(text: str) -> int:
    """Read a whole number; raises as ``number``."""
    return _read(text, int)


def _read(text: str, kind: Callable[[str], _N]) -> _N:
    if "_" in text:
        raise UnreadableError(text)
    try:
        return kind(text)
    except ValueError:
        raise UnreadableError(text) from None


def outcome_of(said: Iterable[Said], names: Collection[str]) -> Outcome:
    """Return what all records of an allele say for a gene together.

    Entries for the gene that have no value say nothing beside one that has; two that have values have to be equal.

    Args:
        said: of each record that holds the allele.
        names: what the gene may be called; see ``gene_names``.
    """
    records = list(said)
    words = {record for record in records if isinstance(record, Joined)}
    for word in (Joined.AMBIGUOUS, Joined.UNREADABLE):  # what cannot be read may be this gene's, with another value
        if word in words:
            return Outcome(word)
    entries = [entry for record in records if not isinstance(record, Joined) for entry in record]
    mine = [entry.values for entry in entries if entry.gene is None or stable_id(entry.gene) in names]
    present = {values for values in mine if any(value is not None for value in values)}
    if present:
        return Outcome(Joined.FOUND, present.pop()) if len(present) == 1 else Outcome(Joined.AMBIGUOUS)
    if mine:
        return Outcome(Joined.MISSING)
    if entries:
        return Outcome(Joined.OTHER_GENE)
    return Outcome(next((word for word in (Joined.MISSING, Joined.NO_KEY) if word in words), Joined.NO_RECORD))


def gene_names(context: GeneContext) -> frozenset[str]:
    """Return what entries may call a gene: its symbol, or its id with or without version."""
    return frozenset(stable_id(name) for name in (context.symbol, context.gene_id) if name)


def fields_with_status(name: str, fields: Sequence[FieldSpec], source: str) -> tuple[FieldSpec, ...]:
    """Return a join's fields under the name of the join, and its ``STATUS``."""
    own = [FieldSpec(f"{name}_{f.id}", "A", f.type, f.description, f.direction) for f in fields]
    words = "; ".join(f"{word} {meaning}" for word, meaning in MEANINGS.items())
    return (*own, FieldSpec(f"{name}_STATUS", "A", "String", f"What {source} has of the allele in the gene: {words}"))


def values_by_field(fields: Sequence[FieldSpec], outcome: Outcome) -> dict[str, Value]:
    """Return values by field id, the last field being the status."""
    *own, status = fields
    values = dict(zip((field.id for field in own), outcome.values, strict=False))
    return {**values, status.id: str(outcome.status)}


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


_NEAR = 1_000  # nt within which the parts of a split record lie
_DESCRIPTION = re.compile(r'[<,]Description="((?:[^"\\]|\\.)*)"')
_ANY_CHANGE = re.compile(r":-?[\d.]*[1-9]")


class Reader(Protocol):
    """Read a program's entries; Integer fields are places, nt from the record's POS."""

    def read(self, text: str, ref: str, alt: str, alts: Sequence[str]) -> Said:
        """Return the entries of an ALT.

        Args:
            text: the value of the INFO key, not ``.``.
            ref, alt, alts: REF, the ALT and every ALT of the record that holds it.

        Raises:
            UnreadableError: an entry is not of the program's form.
        """


class EntriesJoin(JoinAdapter):
    """Join one program.

    Args:
        label: what ids of fields begin with, and the usual INFO key; the name is the same in lower case.
        program: for messages and descriptions.
        fields: what an entry holds, without the label.
        reader: makes a reader from the definition of the INFO key.
        once: whether entries name no ALT, so that a record that repeats another's is not to be believed.
    """

    version = "1"

    def __init__(
        self, label: str, fields: Sequence[FieldSpec], reader: Callable[[InfoField], Reader], *, once: bool = False
    ) -> None:
        self.name = label.lower()
        self.label = label
        self._fields = tuple(fields)
        self._reader = reader
        self._once = once

    def join(self, request: JoinRequest) -> InfoEntries | FileEntries:
        """Open the source.

        Raises:
            SettingsError: the key is not declared.
            Refused: its format is another, or a file is not of the program.
        """
        fields = fields_with_status(request.name, self._fields, self.label)
        if request.info_key is not None:
            key = request.info_key
            if key not in request.info:
                raise SettingsError(
                    f"The header of the input declares no INFO key {key}, so there is nothing to join.",
                    needed="one that it declares",
                    found=", ".join(sorted(request.info)) or "none",
                    remedy=suggestion([key], request.info),
                )
            reader = self._reader(request.info[key])
            return InfoEntries(key, reader, fields, _first_words(request.info[key]), once=self._once)
        tables, readers, about = [], [], []
        for path in request.files:
            table = request.open_table(path)
            field = _declared(table.head, self.label)
            if field is None:
                raise Refused(
                    f"{path} is no VCF of {self.label}: its header has no ##INFO=<ID={self.label},...>. Give the "
                    "program's own VCF, bgzipped and indexed with tabix -p vcf."
                )
            tables.append(table)
            readers.append(self._reader(field))
            about.append(_first_words(field))
        rows = AlleleRows(tables, request, vcf_row)
        return FileEntries(self.label, rows, readers, fields, about, once=self._once)


class InfoEntries(OpenJoin):
    """Entries in the input's own records."""

    def __init__(self, key: str, reader: Reader, fields: Sequence[FieldSpec], about: str, *, once: bool) -> None:
        self.fields = tuple(fields)
        self.about = f"INFO {key}: {about}"
        self._key = key
        self._reader = reader
        self._shared = _Shared() if once else None

    def look_up(self, queries: Sequence[JoinQuery]) -> list[Mapping[str, Value]]:
        """Return values for every query."""
        texts = [query.info.get(self._key) for query in queries]
        shared = self._shared.among(texts, queries) if self._shared else frozenset()
        outcomes = [self._outcome(*one, shared=i in shared) for i, one in enumerate(zip(texts, queries, strict=True))]
        return [values_by_field(self.fields, outcome) for outcome in outcomes]

    def _outcome(self, text: str | None, query: JoinQuery, *, shared: bool) -> Outcome:
        said = _said(self._reader, text, query.ref, query.alt, query.alts)  # places are from the query's own POS
        if shared and not isinstance(said, Joined):
            said = Joined.AMBIGUOUS
        return outcome_of([said], gene_names(query.context))

    def close(self) -> None:
        """Nothing is open."""


class FileEntries(OpenJoin):
    """Entries in indexed VCFs."""

    def __init__(
        self,
        key: str,
        rows: AlleleRows,
        readers: Sequence[Reader],
        fields: Sequence[FieldSpec],
        about: Sequence[str],
        *,
        once: bool,
    ) -> None:
        self.fields = tuple(fields)
        self.about = "; ".join(dict.fromkeys(about))
        self._key = key
        self._rows = rows
        self._readers = readers
        self._once = once

    def look_up(self, queries: Sequence[JoinQuery]) -> list[Mapping[str, Value]]:
        """Return values for every query; the files are read once per allele."""
        known: dict[Allele, list[Said] | None] = {}
        found: list[Mapping[str, Value]] = []
        for query in queries:
            if query.allele not in known:
                matches = self._rows.find(query.allele)
                known[query.allele] = (
                    None if matches is None else [self._said(match, query.allele) for match in matches]
                )
            said = known[query.allele]
            outcome = Outcome(Joined.NO_CONTIG) if said is None else outcome_of(said, gene_names(query.context))
            found.append(values_by_field(self.fields, Outcome(outcome.status, self._moved(outcome.values, -query.pos))))
        return found

    def _moved(self, values: Sequence[Value], by: int) -> tuple[Value, ...]:
        """Return values with places moved: a file may write an allele at another POS than the input does."""
        return tuple(
            value + by if isinstance(value, int) and field.type == "Integer" else value
            for value, field in zip(values, self.fields, strict=False)
        )

    def _said(self, match: Match, allele: Allele) -> Said:
        """Return what a row says of an allele, with places on the genome."""
        text = self._text(match.row)
        row = match.row
        said = _said(self._readers[match.source], text, row.ref, row.alts[match.alt], row.alts)
        if isinstance(said, Joined):
            return said
        if self._once and text and _ANY_CHANGE.search(text):
            others = self._rows.others_near(match, allele, _NEAR)
            if any(self._text(other) == text for other in others):  # see _Shared
                return Joined.AMBIGUOUS
        return [Entry(entry.gene, self._moved(entry.values, match.row.pos)) for entry in said]

    def _text(self, row: Row) -> str | None:
        return next((item[len(self._key) + 1 :] for item in row.cells[7].split(";") if self._is_key(item)), None)

    def _is_key(self, item: str) -> bool:
        return item.startswith(self._key) and item[len(self._key) : len(self._key) + 1] in ("=", "")

    def close(self) -> None:
        """The program closes the files."""


class _Shared:
    """Tell records whose entries are those of another allele near by too.

    A program that writes no ALT into its entries writes them for the first ALT of a record. When such a record is
    split later (``bcftools norm -m-``), each of its parts gets the entries of the first, and may come before it.
    """

    def __init__(self) -> None:
        self._before: dict[str, dict[Allele, int]] = {}  # POS of the alleles that had a text, those of the last place

    def among(self, texts: Sequence[str | None], queries: Sequence[JoinQuery]) -> frozenset[int]:
        """Return which queries share their entries with another allele, of these or of those asked for just before."""
        holders = {text: dict(known) for text, known in self._before.items()}
        for text, query in zip(texts, queries, strict=True):
            of_first = query.alt == query.alts[0]
            if text and of_first and _ANY_CHANGE.search(text):  # that nothing changes is true of many alleles
                holders.setdefault(text, {})[query.allele] = query.pos
        shared = {text: _near_another(known) for text, known in holders.items() if len(known) > 1}
        if queries:
            last = queries[-1]
            near = {text: {a: pos for a, pos in known.items() if _is_near(a, pos, last.allele, last.pos)}
                    for text, known in holders.items()}  # fmt: skip
            self._before = {text: known for text, known in near.items() if known}
        both = enumerate(zip(texts, queries, strict=True))
        return frozenset(i for i, (text, query) in both if text and query.allele in shared.get(text, ()))


def _near_another(alleles: Mapping[Allele, int]) -> set[Allele]:
    """Return those alleles, given with their POS, that lie near another of them."""
    placed = sorted(alleles.items(), key=lambda one: (one[0].contig, one[1]))
    return {allele for one, other in pairwise(placed) if _is_near(*one, *other) for allele in (one[0], other[0])}


def _is_near(one: Allele, pos: int, other: Allele, other_pos: int) -> bool:
    return one.contig == other.contig and abs(pos - other_pos) <= _NEAR


def vcf_row(line: str) -> Row:
    """Read a row of a VCF.

    Raises:
        Refused: it has too few columns.
    """
    cells = line.split("\t", 8)
    if len(cells) < 8 or not cells[1].isdigit():
        raise Refused(f"A row of a joined VCF is not whole: {line[:60]!r}. Get the file again.")
    return Row(int(cells[1]), cells[3].upper(), tuple(cells[4].upper().split(",")), cells)


def _said(reader: Reader, text: str | None, ref: str, alt: str, alts: Sequence[str]) -> Said:
    if text is None:
        return Joined.NO_KEY
    if text in ("", "."):
        return Joined.MISSING
    try:
        return reader.read(text, ref.upper(), alt.upper(), [one.upper() for one in alts])
    except UnreadableError:
        return Joined.UNREADABLE


def _first_words(field: InfoField) -> str:
    """Return what a definition says before its formats: the program, and its version where it tells."""
    return " ".join(field.description.partition("Format:")[0].partition(". ")[0].split())


def _declared(head: Sequence[str], key: str) -> InfoField | None:
    """Return the definition of an INFO key in a VCF's header."""
    line = next((line for line in head if line.startswith(f"##INFO=<ID={key},")), None)
    if line is None:
        return None
    description = _DESCRIPTION.search(line)
    return InfoField(key, ".", "String", description[1] if description else "")

"""Join programs that write entries into INFO, SpliceAI, OpenSpliceAI and Pangolin: from INFO, or from indexed VCFs."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from splicebert_vep_spec import (
    Allele,
    FieldSpec,
    InfoField,
    JoinAdapter,
    JoinQuery,
    JoinRequest,
    OpenJoin,
    Refused,
    Value,
)

from ..errors import SettingsError, suggestion
from .match import (
    AlleleRows,
    Entries,
    Entry,
    FileJoin,
    Joined,
    Match,
    Row,
    UnreadableError,
    answer,
    fields_with_status,
    gene_names,
    number,
    position,
)

Read = Callable[[str, str, str, Sequence[str]], Entries]
"""Read the value of an INFO key, with REF, the ALT asked for and every ALT of its record, upper-case. Integers are
places, nt from the record's POS. Raises UnreadableError."""

_NEAR = 1_000  # nt within which the parts of a split record lie
_DESCRIPTION = re.compile(r'[<,]Description="((?:[^"\\]|\\.)*)"')
_ANY_CHANGE = re.compile(r":-?[\d.]*[1-9]")


class EntriesJoin(JoinAdapter):
    """Join one program's entries. The label is the usual INFO key; the name is the same in lower case.

    Attributes:
        entry_fields: the values of an entry, without the label.
        names_no_alt: entries name no ALT, so that a record which repeats another's cannot be believed.
    """

    version = "1"
    entry_fields: Sequence[FieldSpec]
    names_no_alt = False

    @abstractmethod
    def reader(self, field: InfoField) -> Read:
        """Return a function that reads entries of an INFO key with this definition.

        Raises:
            Refused: its format is another.
        """

    def join(self, request: JoinRequest) -> OpenJoin:
        """Open the source.

        Raises:
            SettingsError: the key is not declared.
            Refused: its format is another, or a file is not of the program.
        """
        fields = fields_with_status(request.name, self.entry_fields, self.label)
        if request.info_key is not None:
            key = request.info_key
            if key not in request.info:
                raise SettingsError(
                    f"The header of the input declares no INFO key {key}, so there is nothing to join.",
                    found=", ".join(sorted(request.info)) or "none",
                    remedy=suggestion([key], request.info),
                )
            about = f"INFO {key}: {_first_words(request.info[key])}"
            return InfoEntries(key, self.reader(request.info[key]), fields, about, once=self.names_no_alt)
        tables, readers, programs = [], [], []
        for path in request.files:
            table = request.open_table(path)
            field = _declared(table.head, self.label)
            if field is None:
                raise Refused(
                    f"{path} is no VCF of {self.label}: its header has no ##INFO=<ID={self.label},...>. Give the "
                    "program's own VCF, bgzipped and indexed with tabix -p vcf."
                )
            tables.append(table)
            readers.append(self.reader(field))
            programs.append(_first_words(field))
        about = "; ".join(dict.fromkeys(programs))
        rows = AlleleRows(tables, request, vcf_row)
        return FileEntries(self.label, rows, readers, fields, about, once=self.names_no_alt)


class InfoEntries(OpenJoin):
    """Entries in the input's own records."""

    def __init__(self, key: str, read: Read, fields: Sequence[FieldSpec], about: str, *, once: bool) -> None:
        self.fields = fields
        self.about = about
        self._key = key
        self._read = read
        self._split = _SplitRecords() if once else None

    def look_up(self, queries: Sequence[JoinQuery]) -> list[Mapping[str, Value]]:
        """Return values for every query."""
        texts = [query.info.get(self._key) for query in queries]
        shared = self._split.among(texts, queries) if self._split else frozenset()
        found: list[Mapping[str, Value]] = []
        for i, (text, query) in enumerate(zip(texts, queries, strict=True)):
            entries = _read(self._read, text, query.ref, query.alt, query.alts)
            if i in shared and not isinstance(entries, Joined):
                entries = Joined.AMBIGUOUS
            found.append(answer(self.fields, [[entries]], gene_names(query.context)))
        return found


class FileEntries(FileJoin):
    """Entries in indexed VCFs."""

    def __init__(
        self,
        key: str,
        rows: AlleleRows,
        readers: Sequence[Read],
        fields: Sequence[FieldSpec],
        about: str,
        *,
        once: bool,
    ) -> None:
        super().__init__(fields, rows)
        self.about = about
        self._key = key
        self._readers = readers
        self._once = once

    def entries(self, match: Match, query: JoinQuery) -> Entries:
        """Return the entries of a row. It may write the allele at another POS than the input: places are moved."""
        row, text = match.row, self._text(match.row)
        entries = _read(self._readers[match.source], text, row.ref, row.alts[match.alt], row.alts)
        if isinstance(entries, Joined):
            return entries
        if self._once and text and _ANY_CHANGE.search(text):
            others = self.rows.others_near(match, query.allele, _NEAR, text)
            if any(self._text(other) == text for other in others):  # see _SplitRecords
                return Joined.AMBIGUOUS
        return [Entry(entry.gene, self._moved(entry.values, row.pos - query.pos)) for entry in entries]

    def _moved(self, values: Sequence[Value], by: int) -> tuple[Value, ...]:
        return tuple(
            value + by if isinstance(value, int) and field.type == "Integer" else value
            for value, field in zip(values, self.fields, strict=False)
        )

    def _text(self, row: Row) -> str | None:
        for item in row.cells[7].split(";"):
            key, _, value = item.partition("=")
            if key == self._key:
                return value
        return None


class _SplitRecords:
    """Find records whose entries are those of another allele near by too.

    A program that writes no ALT into its entries writes them for the first ALT of a record. When such a record is
    split later (``bcftools norm -m-``), each of its parts gets the entries of the first, and may come before it.
    """

    def __init__(self) -> None:
        self._before: dict[str, dict[Allele, int]] = {}  # text -> POS of the last place's alleles that had it

    def among(self, texts: Sequence[str | None], queries: Sequence[JoinQuery]) -> frozenset[int]:
        """Return which queries share their entries with another allele, of these or of those asked for just before."""
        holders = {text: dict(known) for text, known in self._before.items()}
        for text, query in zip(texts, queries, strict=True):
            of_first = query.alt == query.alts[0]
            if text and of_first and _ANY_CHANGE.search(text):  # many alleles have entries without any change
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
    if len(cells) < 8 or (pos := position(cells[1])) is None:
        raise Refused(f"A row of a joined VCF is not whole: {line[:60]!r}. Get the file again.")
    return Row(pos, cells[3].upper(), tuple(cells[4].upper().split(",")), cells)


def _read(read: Read, text: str | None, ref: str, alt: str, alts: Sequence[str]) -> Entries:
    if text is None:
        return Joined.NO_KEY
    if text in ("", "."):
        return Joined.MISSING
    try:
        return read(text, ref.upper(), alt.upper(), [one.upper() for one in alts])
    except UnreadableError:
        return Joined.UNREADABLE


def _first_words(field: InfoField) -> str:
    """Return the words of a definition before its formats: the program, and its version where it tells."""
    return " ".join(field.description.partition("Format:")[0].partition(". ")[0].split())


def _declared(head: Sequence[str], key: str) -> InfoField | None:
    """Return the definition of an INFO key in a VCF's header."""
    line = next((line for line in head if line.startswith(f"##INFO=<ID={key},")), None)
    if line is None:
        return None
    description = _DESCRIPTION.search(line)
    return InfoField(key, ".", "String", description[1] if description else "")


_EVENTS = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}
_DELTAS = tuple(f"DS_{event}" for event in _EVENTS)
_PLACES = tuple(f"DP_{event}" for event in _EVENTS)
_USUAL = ("ALLELE", "SYMBOL", *_DELTAS, *_PLACES)
_FARTHEST = 1_000_000  # nt; a place beyond is no place


class SpliceAiJoin(EntriesJoin):
    """Entries ``ALLELE|SYMBOL|DS_AG|DS_AL|DS_DG|DS_DL|DP_AG|DP_AL|DP_DG|DP_DL``."""

    name, label = "spliceai", "SpliceAI"

    def __init__(self) -> None:
        program = self.label
        self.entry_fields = (
            *(
                FieldSpec(f"DS_{event}", "A", "Float", f"{program} delta score of {meaning}", "higher")
                for event, meaning in _EVENTS.items()
            ),
            *(
                FieldSpec(f"DP_{event}", "A", "Integer", f"{program} position of {meaning}, nt from POS")
                for event, meaning in _EVENTS.items()
            ),
            FieldSpec(
                "DS_MAX", "A", "Float", f"Largest {program} delta score; missing unless all four are there", "higher"
            ),
        )

    def reader(self, field: InfoField) -> Read:
        """Return a reader of subfields in the order that the header gives after ``Format:``, else in the usual one.

        Raises:
            Refused: the order lacks a subfield.
        """
        text = field.description.partition("Format: ")[2]
        names = [name.strip(" \"'.") for name in text.split("|")] if text else list(_USUAL)
        lacking = [name for name in _USUAL if name not in names]
        if lacking:
            raise Refused(
                f"Entries of {field.key} are not those of SpliceAI: the Format of its header line lacks "
                f"{', '.join(lacking)}. It says: {text}"
            )
        at = {name: names.index(name) for name in _USUAL}

        def read(text: str, ref: str, alt: str, alts: Sequence[str]) -> Entries:
            """Return the entries of an ALT.

            ALLELE is the ALT of the record that the program scored; it has entries for every ALT of bases, in the
            record's order. Where entries are of other ALTs than the record's, it has been split, merged or trimmed
            since: an ALT of the same letters may be another allele, unless REF and all of them are single bases,
            which are left alone.
            """
            entries = [entry.split("|") for entry in text.split(",")]
            if any(len(cells) != len(names) for cells in entries):
                raise UnreadableError(text)
            named = list(dict.fromkeys(cells[at["ALLELE"]].upper() for cells in entries))
            if named != [one for one in alts if one.isalpha()] and any(len(one) != 1 for one in (ref, alt, *named)):
                return Joined.AMBIGUOUS
            mine = [cells for cells in entries if cells[at["ALLELE"]].upper() == alt]
            return [_delta_entry(cells, at) for cells in mine] or Joined.NO_RECORD

        return read


class OpenSpliceAiJoin(SpliceAiJoin):
    """OpenSpliceAI writes SpliceAI's entries under its own key."""

    name, label = "openspliceai", "OpenSpliceAI"


def _delta_entry(cells: Sequence[str], at: Mapping[str, int]) -> Entry:
    deltas = [_delta(cells[at[name]]) for name in _DELTAS]
    places = [_place(cells[at[name]]) for name in _PLACES]
    places = [None if delta is None else place for delta, place in zip(deltas, places, strict=True)]
    present = [delta for delta in deltas if delta is not None]
    largest = max(present) if len(present) == len(deltas) else None
    return Entry(cells[at["SYMBOL"]], (*deltas, *places, largest))


def _delta(text: str) -> float | None:
    value = None if text in ("", ".") else number(text, float)
    if value is None or value != value:  # a GPU that gives NaN
        return None
    if abs(value) > 1:
        raise UnreadableError(text)
    return value + 0.0  # -0.00 is 0


def _place(text: str) -> int | None:
    value = None if text in ("", ".") else number(text, int)
    if value is not None and abs(value) > _FARTHEST:
        raise UnreadableError(text)
    return value


_CHANGE = r"(-?\d+):(-?\d+(?:\.\d+)?|nan)"
_PANGOLIN = re.compile(
    rf"([A-Za-z][^|,:]*)\|{_CHANGE}\|{_CHANGE}"
    r"(?:\|Warnings:(?:NoAnnotatedSitesToMaskForThisGene(?=[A-Za-z])|(?=[A-Za-z][^|,:]*\|)|[^|,]*))?(?:,|\Z|(?=[A-Za-z]))"
)


class PangolinJoin(EntriesJoin):
    """Entries ``gene|pos:score_change|pos:score_change|Warnings:``; they name no ALT and are of the first."""

    name, label = "pangolin", "Pangolin"
    names_no_alt = True
    entry_fields = (
        FieldSpec("INCREASE", "A", "Float", "Pangolin's largest increase of a splice score", "higher"),
        FieldSpec("INCREASE_POS", "A", "Integer", "Where that is, nt from POS"),
        FieldSpec("DECREASE", "A", "Float", "Pangolin's largest decrease of a splice score, not positive", "negative"),
        FieldSpec("DECREASE_POS", "A", "Integer", "Where that is, nt from POS"),
        FieldSpec("SCORE_MAX", "A", "Float", "Larger of Pangolin's increase and decrease, without sign", "higher"),
    )

    def reader(self, field: InfoField) -> Read:
        """Return ``read_pangolin``; the definition does not matter."""
        return read_pangolin


def read_pangolin(text: str, ref: str, alt: str, alts: Sequence[str]) -> Entries:
    """Return the entries of the first ALT."""
    if alt != alts[0]:
        return Joined.NO_RECORD
    entries = []
    at = 0
    while at < len(text):
        match = _PANGOLIN.match(text, at)
        if match is None:
            raise UnreadableError(text[at:])
        gene, gain_at, gain_text, loss_at, loss_text = match.groups()
        gain, loss = float(gain_text) + 0.0, float(loss_text) + 0.0
        if gain != gain or loss != loss:
            entries.append(Entry(gene, (None,) * 5))
        elif 0 <= gain <= 1 and -1 <= loss <= 0:
            entries.append(Entry(gene, (gain, _place(gain_at), loss, _place(loss_at), max(gain, -loss))))
        else:  # of -s, which lists every site above a cutoff
            raise UnreadableError(match[0])
        at = match.end()
    return entries

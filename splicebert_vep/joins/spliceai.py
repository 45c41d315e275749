"""Entries of SpliceAI and OpenSpliceAI: ``ALLELE|SYMBOL|DS_AG|DS_AL|DS_DG|DS_DL|DP_AG|DP_AL|DP_DG|DP_DL``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from splicebert_vep_spec import FieldSpec, InfoField, Refused, Value

from .match import EntriesJoin, Entry, Joined, Said, UnreadableError, number, whole

_EVENTS = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}
_DELTAS = tuple(f"DS_{event}" for event in _EVENTS)
_PLACES = tuple(f"DP_{event}" for event in _EVENTS)
_USUAL = ("ALLELE", "SYMBOL", *_DELTAS, *_PLACES)
_MARK = "Format: "


def _fields(program: str) -> tuple[FieldSpec, ...]:
    return (
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


class SpliceAiReader:
    """Read entries in the order that the header gives after ``Format:``, else in the usual one.

    Args:
        field: the definition of the INFO key.

    Raises:
        Refused: the order lacks a subfield.
    """

    def __init__(self, field: InfoField) -> None:
        text = field.description.partition(_MARK)[2]
        names = [name.strip(" \"'.") for name in text.split("|")] if text else list(_USUAL)
        lacking = [name for name in _USUAL if name not in names]
        if lacking:
            raise Refused(
                f"Entries of {field.key} are not those of SpliceAI: the Format of its header line lacks "
                f"{', '.join(lacking)}. It says: {text}"
            )
        self._count = len(names)
        self._allele, self._symbol = names.index("ALLELE"), names.index("SYMBOL")
        self._deltas = [names.index(name) for name in _DELTAS]
        self._places = [names.index(name) for name in _PLACES]

    def read(self, text: str, ref: str, alt: str, alts: Sequence[str]) -> Said:
        """Return the entries of an ALT.

        ALLELE is the ALT of the record that the program scored; it has entries for every ALT of bases, in the record's
        order. Where entries are of other ALTs than the record's, it has been split, merged or trimmed since: an ALT of
        the same letters may be another allele, unless REF and all of them are single bases, which are left alone.
        """
        entries = [self._cells(entry) for entry in text.split(",")]
        named = list(dict.fromkeys(cells[self._allele].upper() for cells in entries))
        if named != [one for one in alts if one.isalpha()] and any(len(one) != 1 for one in (ref, alt, *named)):
            return Joined.AMBIGUOUS
        mine = [cells for cells in entries if cells[self._allele].upper() == alt]
        return [self._entry(cells) for cells in mine] or Joined.NO_RECORD

    def _cells(self, entry: str) -> list[str]:
        cells = entry.split("|")
        if len(cells) != self._count:
            raise UnreadableError(entry)
        return cells

    def _entry(self, cells: Sequence[str]) -> Entry:
        deltas = [_delta(cells[i]) for i in self._deltas]
        places = [_place(cells[i]) for i in self._places]
        places = [None if delta is None else place for delta, place in zip(deltas, places, strict=True)]
        present = [delta for delta in deltas if delta is not None]
        largest: Value = max(present) if len(present) == len(deltas) else None
        return Entry(cells[self._symbol], (*deltas, *places, largest))


def _delta(text: str) -> float | None:
    if text in ("", "."):
        return None
    value = number(text)
    if value != value:  # a GPU that gives NaN
        return None
    if abs(value) > 1:
        raise UnreadableError(text)
    return value + 0.0  # -0.00 is 0


def _place(text: str) -> int | None:
    if text in ("", "."):
        return None
    value = whole(text)
    if abs(value) > 1_000_000:
        raise UnreadableError(text)
    return value


def spliceai_joins() -> list[EntriesJoin]:
    """Return the joins with programs that write SpliceAI's entries."""
    return [EntriesJoin(program, _fields(program), SpliceAiReader) for program in ("SpliceAI", "OpenSpliceAI")]


_CHANGE = r"(-?\d+):(-?\d+(?:\.\d+)?|nan)"
_ENTRY = re.compile(
    rf"([A-Za-z][^|,:]*)\|{_CHANGE}\|{_CHANGE}"
    r"(?:\|Warnings:(?:NoAnnotatedSitesToMaskForThisGene(?=[A-Za-z])|(?=[A-Za-z][^|,:]*\|)|[^|,]*))?(?:,|\Z|(?=[A-Za-z]))"
)

_FIELDS = (
    FieldSpec("INCREASE", "A", "Float", "Pangolin's largest increase of a splice score", "higher"),
    FieldSpec("INCREASE_POS", "A", "Integer", "Where that is, nt from POS"),
    FieldSpec("DECREASE", "A", "Float", "Pangolin's largest decrease of a splice score, not positive", "negative"),
    FieldSpec("DECREASE_POS", "A", "Integer", "Where that is, nt from POS"),
    FieldSpec("SCORE_MAX", "A", "Float", "Larger of Pangolin's increase and decrease, without sign", "higher"),
)


class PangolinReader:
    """Read entries; they name no ALT and are of the first of their record.

    Args:
        field: the definition of the INFO key.
    """

    def __init__(self, field: InfoField) -> None:
        self.key = field.key

    def read(self, text: str, ref: str, alt: str, alts: Sequence[str]) -> Said:
        """Return the entries of the first ALT."""
        if alt != alts[0]:
            return Joined.NO_RECORD
        entries = []
        at = 0
        while at < len(text):
            match = _ENTRY.match(text, at)
            if match is None:
                raise UnreadableError(text[at:])
            entries.append(_entry(*match.groups()))
            at = match.end()
        return entries


def _entry(gene: str, increase_pos: str, increase: str, decrease_pos: str, decrease: str) -> Entry:
    gain, loss = float(increase) + 0.0, float(decrease) + 0.0
    if gain != gain or loss != loss:
        return Entry(gene, (None,) * len(_FIELDS))
    if not 0 <= gain <= 1 or not -1 <= loss <= 0:  # of -s, which lists every site above a cutoff
        raise UnreadableError(f"{increase}, {decrease}")
    return Entry(gene, (gain, int(increase_pos), loss, int(decrease_pos), max(abs(gain), abs(loss))))


def pangolin_join() -> EntriesJoin:
    """Return the join with Pangolin."""
    return EntriesJoin("Pangolin", _FIELDS, PangolinReader, once=True)

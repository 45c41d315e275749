"""Entries of Pangolin: ``gene|pos:score_change|pos:score_change|Warnings:``, the largest increase and decrease.

Releases differ in what stands between the entries of two genes: a comma, or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from splicebert_vep_spec import FieldSpec, InfoField

from .entries import EntriesJoin
from .outcome import Entry, Joined, Said, UnreadableError

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

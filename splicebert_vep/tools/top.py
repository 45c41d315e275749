"""The most disturbing alleles of an annotated file, each with its reason in a sentence."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import VcfError
from ..scoring.delta import MAXIMUM, NOT_JUDGEABLE, OTHER, REPORTED
from .report.collect import NOT_ANNOTATED, AnnotatedVcf, Row

_KINDS = {"A": "acceptor", "D": "donor"}
_OF = {REPORTED: "annotated", OTHER: "of another transcript", "novel": "not annotated"}
LEAST = 0.05  # smaller changes are no reason


@dataclass(slots=True)
class Ranking:
    """The alleles of a file with the largest DS_MAX, one row each, that of the gene which they disturb most.

    Args:
        rows: the largest first; of equal ones the first of the file.
        alleles: ALTs of the file.
        without: ALTs that have no DS_MAX, by status.
    """

    rows: list[Row] = field(default_factory=list)
    alleles: int = 0
    without: Counter[str] = field(default_factory=Counter)


def rank(vcf: AnnotatedVcf, count: int) -> Ranking:
    """Read a file to its end and return the ``count`` alleles with the largest DS_MAX.

    Raises:
        VcfError: the file has no DS_MAX, or a malformed record.
    """
    if MAXIMUM not in vcf.fields:
        remedy = "annotate it again with the default scores, or with --scores delta"
        raise VcfError(f"The file has no {MAXIMUM}.", where=vcf.name, remedy=remedy)
    found, heap = Ranking(), list[tuple[float, int, Row]]()
    for alleles in vcf.records():
        for rows in alleles:
            found.alleles += 1
            scored = [(value, row) for row in rows if (value := row.number(MAXIMUM)) is not None]
            if not scored:
                found.without[rows[0].fields.get("STATUS", NOT_ANNOTATED)] += 1
                continue
            value, row = max(scored, key=lambda one: one[0])
            entry = (value, -found.alleles, row)
            (heapq.heappush if len(heap) < count else heapq.heappushpop)(heap, entry)
    found.rows = [row for _, _, row in sorted(heap, reverse=True)]
    return found


def place(row: Row) -> str:
    """Return where an allele lies in its gene: region and offset, e.g. ``intron +2``."""
    return " ".join(filter(None, (row.fields.get("REGION"), row.fields.get("SITE_OFFSET"))))


def reason(row: Row) -> str:
    """Say in a sentence what an allele does: EFFECT_TEXT, else the sites it takes or makes, with p of REF and ALT."""
    if (text := row.fields.get("EFFECT_TEXT")) is not None:
        return (
            text.replace("&", ",").replace("_", " ").replace("%3B", ";").replace("%3D", "=")
        )  # as INFO has it, see ``escape_info``
    parts = [text for change, letter in (("LOSS", "L"), ("GAIN", "G")) if (text := _change(row, change, letter))]
    if row.fields.get("LOSS_JUDGED") == NOT_JUDGEABLE:
        parts.append("the model does not see the nearest annotated site: its loss cannot be judged")
    return "; ".join(parts) or f"no site changes by {LEAST:g} or more"


def _change(row: Row, change: str, letter: str) -> str:
    scores: Mapping[str, float] = {
        kind: value for kind in _KINDS if (value := row.number(f"DS_{kind}{letter}")) is not None
    }
    if not scores or max(scores.values()) < LEAST:
        return ""
    kind = max(scores, key=lambda one: scores[one])
    known = _OF.get(row.fields.get(f"{change}_ANNOTATED", ""))
    words = [f"{_KINDS[kind]} {'lost' if change == 'LOSS' else 'gained'}"]
    before, after = row.number(f"{change}_P_REF"), row.number(f"{change}_P_ALT")
    words.append(f"{scores[kind]:.2f}" if before is None or after is None else f"({before:.2f} to {after:.2f})")
    if (offset := row.number(f"DP_{kind}{letter}")) is not None:
        words.append(f"at {row.pos + int(offset):,}")
    others = [
        f"{_KINDS[one]} too, by {value:.2f}" for one, value in scores.items() if one != kind and value >= LEAST
    ]  # fmt: skip
    return ", ".join(filter(None, (" ".join(words), known, *others)))

"""The columns of the page's table, and what is said of each in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from splicebert_vep.joining.evidence import EVIDENCE, SPLICEAI

from .collecting import NEGATIVE, gene_of
from .drawing import cut
from .places import position_words
from .reading import Row

_SCORES = ("KL_CTX", "PCTL_KL_CTX", "KL_SS", "LLR", "PCTL_LLR", "PLLR")
#: Scores that another is the sum of, shown small under it, with their names.
_PARTS = {"KL_SS": (("KL_DONOR", "donor"), ("KL_ACCEPTOR", "acceptor"))}
_NOTES = {
    "KL_SS": "Of one site and of two it is not on one scale: KL_DONOR and KL_ACCEPTOR under it say which are in it.",
    "PLLR": "Compare it among alleles of one length only: a deletion's is large whatever it disturbs.",
}
_EVIDENCE = {
    "both": "both",
    "splicebert_only": "SpliceBERT only",
    "spliceai_only": "SpliceAI only",
    "neither": "neither",
    "not_scored": "not scored",
}
_DELTAS = ("AG", "AL", "DG", "DL")
_STATUS = "SpliceAI_STATUS"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Args:
        id: field id, or a name of our own.
        label: its heading.
        note: what a high or low value means, under the heading.
        kind: how it sorts; numbers sort the more disturbed ones first.
        meaning: a sentence for the legend.
    """

    id: str
    label: str
    note: str
    kind: Literal["text", "high", "low"]
    meaning: str


def direction(score: str) -> str:
    """Say what the direction of a score means."""
    if score.startswith("PCTL_"):
        return "higher = more unusual in its region class"
    if score.startswith("SpliceAI_"):
        return "0 to 1, higher = more likely"
    if score in NEGATIVE:
        return "negative = ALT less expected"
    return "higher = more disturbed"


def columns(fields: Mapping[str, str], score: str) -> list[Column]:
    """Return the columns for a file's fields, given with their descriptions; ``score`` is that which chose the rows."""
    found = [
        Column("variant", "Variant", "", "text", "Contig, 1-based position, REF and ALT as in the VCF, and its ID."),
        Column("gene", "Gene", "", "text", "Gene, and the transcript that is reported for it."),
        Column(
            "place", "Place", "", "text",
            "Region, and the distance to the nearest exon: +5 or -12 in an intron as in HGVS; in an exon its "
            "bases counted from the nearest splice site, base 1 beside it. Then the splice site whose dinucleotide the "
            "allele touches.",
        ),
        Column("STATUS", "Status", "", "text", "OK, or why the allele has no scores; see Statuses."),
    ]  # fmt: skip
    for name in dict.fromkeys((score, *_SCORES)):
        if name in fields and name != SPLICEAI:  # which has its own column
            kind: Literal["high", "low"] = "low" if name in NEGATIVE else "high"
            found.append(Column(name, name, direction(name), kind, _meaning(name, fields)))
    if EVIDENCE in fields:
        found.append(Column(EVIDENCE, "Seen by", "", "text", fields[EVIDENCE]))
    if SPLICEAI in fields:
        meaning = ". ".join(text for text in (fields[SPLICEAI], fields.get(_STATUS)) if text)
        found.append(Column(SPLICEAI, "SpliceAI max", direction(SPLICEAI), "high", meaning))
    if any(f"SpliceAI_DS_{delta}" in fields for delta in _DELTAS):
        meaning = (
            "SpliceAI's delta scores of acceptor gain and loss (AG, AL) and donor gain and loss (DG, DL), and in "
            "brackets where, in nt from POS along the genome, whatever the strand; those of 0 are left out."
        )
        found.append(Column("deltas", "SpliceAI deltas", "score (nt from POS)", "text", meaning))
    return found


def evidence_words(word: str) -> str:
    """Return the word that sets SpliceBERT beside SpliceAI as a reader knows it."""
    return _EVIDENCE.get(word, word)


def _meaning(name: str, fields: Mapping[str, str]) -> str:
    return ". ".join(part for part in (fields[name], _NOTES.get(name, "")) if part)


def type_of(row: Row) -> str:
    """Return SNV or other; a spanning deletion has one character, and is none."""
    return "SNV" if all(len(bases) == 1 and bases in "ACGTacgt" for bases in (row.ref, row.alt)) else "other"


def cells(row: Row, shown: list[Column]) -> list[str]:
    """Return a row's cells; numbers as the VCF prints them, empty where missing."""
    return [_cell(row, column.id) for column in shown]


def parts(row: Row, column: Column) -> list[str]:
    """Return what is shown small under a score: the scores that it is the sum of."""
    return [f"{word} {row.fields[name]}" for name, word in _PARTS.get(column.id, ()) if name in row.fields]


def _cell(row: Row, column: str) -> str:
    fields = row.fields
    if column == "variant":
        return name_of(row)
    if column == "gene":
        return gene_of(row) or ""
    if column == "place":
        return position_words(fields["REGION"], fields.get("SITE_OFFSET")) if "REGION" in fields else ""
    if column == EVIDENCE:
        return evidence_words(fields.get(EVIDENCE, ""))
    if column == "deltas":
        return _deltas(fields)
    if column == SPLICEAI:
        return fields.get(SPLICEAI) or _why_none(fields)
    return fields.get(column, "")


def name_of(row: Row) -> str:
    """Return an allele as a reader knows it, long ones cut."""
    return f"{row.chrom}-{row.pos}-{cut(row.ref)}-{cut(row.alt)}"


def _why_none(fields: Mapping[str, str]) -> str:
    status = fields.get(_STATUS, "")
    return "" if status == "FOUND" else status


def _deltas(fields: Mapping[str, str]) -> str:
    parts = []
    for delta in _DELTAS:
        score, place = fields.get(f"SpliceAI_DS_{delta}"), fields.get(f"SpliceAI_DP_{delta}", "")
        if score is not None and score.strip("0."):
            parts.append(f"{delta} {score} ({place})" if place else f"{delta} {score}")
    return ", ".join(parts)

"""Made-up outcomes and batches of every kind that a plugin meets."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from .._adapters import RunInfo
from .._backends import A, C, G, N, T
from .._fields import FieldSpec
from .._scorers import NEEDS, NEEDS_HIDDEN, NEEDS_MASKED, NEEDS_PAIRS, AlignedBatch, MaskedSite, Side
from .._types import Allele, AlleleReport, GeneContext, Interval, RecordReport, ScoredContext, Status, Value

HIDDEN = 4
_VOCABULARY = 10
_SPAN = 3
#: REF and ALT span of each allele of ``sample_batch``: two SNVs, an MNV, an insertion, a deletion, a delins.
ALLELES = ("C>T", "G>A", "AC>GT", ">GA", "TT>", "ACG>T")
_TOKEN = {"A": A, "C": C, "G": G, "T": T}


def sample_batch(
    tensor: Callable[[Any], Any],
    *,
    flank: int = 5,
    needs: frozenset[str] = NEEDS,
    rows: Sequence[int] = range(len(ALLELES)),
) -> AlignedBatch:
    """Return the outputs of a made-up model for ``ALLELES``, the same at every call.

    The second allele has no splice site in its window and an N in its flank.

    Args:
        tensor: ``torch.tensor`` or what else turns nested lists into arrays.
        flank: F.
        needs: what the batch holds; the rest is None, as in a run where nobody asked for it.
        rows: which of ``ALLELES``.
    """
    made = [_row(number, flank) for number in rows]

    def stacked(name: str) -> Any:
        return tensor([row[name] for row in made])

    def side(which: str) -> Side:
        hidden = stacked(f"{which}_hidden") if NEEDS_HIDDEN in needs else None
        return Side(stacked(f"{which}_tokens"), stacked(f"{which}_logits"), hidden)

    pairs = NEEDS_PAIRS in needs
    any_valid = any(any(row["valid"]) for row in made)
    masked = MaskedSite(*(stacked(name) for name in ("site_ref", "site_alt", "site_logits", "valid")))
    return AlignedBatch(
        flank=flank,
        ref=side("ref") if pairs else None,
        alt=side("alt") if pairs else None,
        paired=stacked("paired"),
        donor=stacked("donor"),
        acceptor=stacked("acceptor"),
        in_ref=stacked("in_ref"),
        in_alt=stacked("in_alt"),
        snv=stacked("snv"),
        masked=masked if NEEDS_MASKED in needs and any_valid else None,
    )


def _row(number: int, flank: int) -> dict[str, Any]:
    """Return one allele's columns: 2 F of the flanks, four of the sites, three of the span."""
    rng = random.Random(f"{number}-{flank}")
    ref, alt = ALLELES[number].split(">")
    columns = 2 * flank + 4 + _SPAN
    equal = len(ref) == len(alt)
    sites = number != 1

    def spread(flanks: bool, site: bool, span: list[bool]) -> list[bool]:
        return [flanks] * (2 * flank) + [site] * 4 + span

    def logits(count: int) -> list[list[float]]:
        return [[rng.gauss(0, 1) for _ in range(_VOCABULARY)] for _ in range(count)]

    tokens = [rng.choice((A, C, G, T)) for _ in range(columns)]
    if not sites:
        tokens[1] = N
    row: dict[str, Any] = {}
    for name, span in (("ref", ref), ("alt", alt)):
        own = [_TOKEN[base] for base in span] + [N] * (_SPAN - len(span))
        row[f"{name}_tokens"] = tokens[: columns - _SPAN] + own
        row[f"{name}_logits"] = logits(columns)
        row[f"{name}_hidden"] = [[rng.gauss(0, 1) for _ in range(HIDDEN)] for _ in range(columns)]
        row[f"in_{name}"] = spread(True, False, [i < len(span) for i in range(_SPAN)])
    row["paired"] = spread(True, sites, [equal and i < len(ref) for i in range(_SPAN)])
    row["donor"] = [sites and 2 * flank <= i < 2 * flank + 2 for i in range(columns)]
    row["acceptor"] = [sites and 2 * flank + 2 <= i < 2 * flank + 4 for i in range(columns)]
    row["snv"] = len(ref) == len(alt) == 1
    row["valid"] = [equal and i < len(ref) for i in range(_SPAN)]
    row["site_ref"] = [_TOKEN[ref[i]] if row["valid"][i] else A for i in range(_SPAN)]
    row["site_alt"] = [_TOKEN[alt[i]] if row["valid"][i] else A for i in range(_SPAN)]
    row["site_logits"] = logits(_SPAN)
    return row


def sample_run(*fields: FieldSpec) -> RunInfo:
    """Return a run that computes some fields; KL_SS, KL_MAX, KL_MAX_POS and N_SITES when none is given."""
    usual = (
        FieldSpec("KL_SS", "A", "Float", "Splice-site score", "higher"),
        FieldSpec("KL_MAX", "A", "Float", "Largest KL in the flanks", "higher"),
        FieldSpec("KL_MAX_POS", "A", "Integer", "Its offset in transcript direction"),
        FieldSpec("N_SITES", "A", "Integer", "Number of splice sites"),
    )
    return RunInfo(fields or usual, {"Version": "0", "Model": "made-up", "Note": 'a "quoted" word'})


def sample_reports(run: RunInfo | None = None) -> list[RecordReport]:
    """Return made-up outcomes: two genes, several ALTs, values present and missing, ALTs and records without scores."""
    fields = (run or sample_run()).fields

    def values(share: float) -> dict[str, Value]:
        made: dict[str, Value] = {}
        for i, field in enumerate(fields):
            of_type: dict[str, Value] = {"Float": share + i, "Integer": -(i + 1), "String": "a word"}
            made[field.id] = of_type[field.type]
        return made

    def gene(name: str, strand: str) -> GeneContext:
        return GeneContext(
            f"ENSG{name}.1", name, f"ENST{name}.2", "MANE_Select", "protein_coding", strand, "intron", "+2", "donor",
            Interval(102, 104), None, True,
        )  # fmt: skip

    nameless = GeneContext(
        "ENSG3", None, "ENST3", "longest_CDS", "lncRNA", "+", "exon", None, None, None, None, False
    )  # fmt: skip
    both = (
        ScoredContext(gene("ONE", "-"), Status.OK, "", values(0.25)),
        ScoredContext(gene("TWO", "+"), Status.OK, "", values(1e-7)),
    )
    missing = (ScoredContext(nameless, Status.OK, "", {field.id: None for field in fields}),)
    failed = (ScoredContext(nameless, Status.FAILED, "out of memory; tried, twice|all", {}),)

    def none(status: Status, reason: str) -> tuple[ScoredContext, ...]:
        return (ScoredContext(None, status, reason, {}),)

    return [
        RecordReport("chr1", 103, "rs1", "G", (AlleleReport("A", Allele("chr1", 102, "G", "A"), both),)),
        RecordReport(
            "chr1",
            110,
            ".",
            "ACG",
            (
                AlleleReport("A", Allele("chr1", 110, "CG", ""), both),
                AlleleReport("ACGTT", Allele("chr1", 113, "", "TT"), missing),
                AlleleReport("<DEL>", None, none(Status.SYMBOLIC, "ALT <DEL> is symbolic")),
                AlleleReport("*", None, none(Status.SPANNING_DELETION, "ALT '*' stands for a deletion")),
            ),
        ),
        RecordReport("HLA-A*01:01", 5, "a;b", "T", (AlleleReport("C", Allele("HLA-A*01:01", 4, "T", "C"), failed),)),
        RecordReport(
            "chrX", 7, ".", "T", (AlleleReport("G", Allele("chrX", 6, "T", "G"), none(Status.NO_GENE, "no gene")),)
        ),
        RecordReport("chrX", 9, ".", "T", ()),
    ]

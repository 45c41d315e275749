"""What a row of a table holds: one per allele x gene, an ALT without scores included."""

from __future__ import annotations

from collections.abc import Iterator

from splicebert_vep_spec import RecordReport, RunInfo, Value

from .flat import CONTEXT_FIELDS, context_values, score_ids
from .per_run import per_run


@per_run
def columns(run: RunInfo) -> tuple[str, ...]:
    """Return the names of a table's columns."""
    before = ("CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT")
    gene = tuple(field.id for field in CONTEXT_FIELDS)
    return (*before, *gene, "TRANSCRIPT_CHOICE", "BIOTYPE", *score_ids(run), "STATUS", "REASON")


def rows(report: RecordReport, run: RunInfo) -> Iterator[tuple[Value, ...]]:
    """Yield the rows of a record in the order of ``columns``.

    POS is 1-based as in VCF, START the 0-based start of the span; None is missing.
    """
    ids = score_ids(run)
    for allele in report.alleles:
        change = allele.allele
        head: tuple[Value, ...] = (report.chrom, report.pos, report.id, report.ref, allele.alt)
        head += (change.start, change.ref, change.alt) if change else (None, None, None)
        for outcome in allele.contexts:
            gene = outcome.context
            yield (
                *head,
                *context_values(gene),
                gene.transcript_choice if gene else None,
                gene.biotype if gene else None,
                *map(outcome.values.get, ids),
                str(outcome.status),
                outcome.reason or None,
            )


def objects(report: RecordReport, run: RunInfo) -> Iterator[dict[str, Value]]:
    """Yield the rows of a record as JSON objects by column."""
    names = columns(run)
    for row in rows(report, run):
        yield dict(zip(names, map(utf8, row), strict=True))


def utf8(value: Value) -> Value:
    """Return text that formats of Unicode can hold: bytes of the VCF that are no UTF-8 become U+FFFD."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return value

"""``splicebert-vep score``: one variant, or a few, as a readable table on the terminal."""

from __future__ import annotations

from typing import Any

import click

from splicebert_vep_spec import AlleleReport, RecordReport, RunInfo, ScoredContext, format_value

from .options import model_options, open_annotator

_EPILOG = """\b
Example:
  splicebert-vep score chr17-43071077-T-C 17:43049195:C:T -R GRCh38.fa
"""


@click.command(epilog=_EPILOG)
@click.argument("variants", metavar="CHROM-POS-REF-ALT...", nargs=-1, required=True)
@model_options
def score(variants: tuple[str, ...], **model: Any) -> None:
    """Score variants given by hand.

    POS is 1-based as in VCF; chr17, 17 and NC_000017.11 are the same contig.
    """
    with open_annotator(**model) as annotator:
        reports = annotator.score(variants)
        info = annotator.backend.info
        click.echo(f"model {info.model}; {info.quality or 'quality not measured'}", err=True)
        for report in reports:
            for allele in report.alleles:
                click.echo(_table(report, allele, annotator.run))


def _table(report: RecordReport, allele: AlleleReport, run: RunInfo) -> str:
    lines = [f"{report.chrom}-{report.pos}-{report.ref}-{allele.alt}"]
    for outcome in allele.contexts:
        lines += [f"  {name:<12} {value:<24} {meaning}".rstrip() for name, value, meaning in _rows(outcome, run)]
        lines.append("")
    return "\n".join(lines)


def _rows(outcome: ScoredContext, run: RunInfo) -> list[tuple[str, str, str]]:
    rows = []
    gene = outcome.context
    if gene:
        rows.append(
            (
                "gene",
                f"{gene.symbol or gene.gene_id} ({gene.strand})",
                f"{gene.gene_id} {gene.transcript_id} ({gene.transcript_choice})",
            )
        )
        place = gene.region if gene.site_offset is None else f"{gene.region} {gene.site_offset}"
        rows.append(("place", place, f"hits the {gene.site_hit} dinucleotide" if gene.site_hit else ""))
    for field in run.fields:
        value = outcome.values.get(field.id)
        if value is not None:
            rows.append((field.id, format_value(value), field.description))
    rows.append(("status", str(outcome.status), outcome.reason))
    return rows

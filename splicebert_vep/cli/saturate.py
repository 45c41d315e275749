"""``saturate``: every SNV (and small indel) of genes or regions into a precomputed file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cloup

from .complete import PATH
from .console import clock, introduce, progress_line, say, warn
from .options import (
    annotation_option,
    computed_options,
    machine_options,
    opening_of,
    reference_option,
    scheduler_option,
)

_EPILOG = """\b
Examples:
  splicebert-vep saturate --gene BRCA1 -R GRCh38.fa -A grch38 -O BRCA1.vcf.gz
  splicebert-vep saturate --gene BRCA1 --gene BRCA2 --indels -R GRCh38.fa -O brca.vcf.gz --dry-run
  splicebert-vep saturate --region chr17:43044295-43125364 -R GRCh38.fa -O region.vcf.gz
  splicebert-vep saturate --bed exons.bed.gz -R GRCh38.fa -O exons.vcf.gz --scheduler local:8
"""


@cloup.command(epilog=_EPILOG)
@cloup.option_group(
    "Which alleles",
    cloup.option(
        "--gene",
        "genes",
        multiple=True,
        metavar="SYMBOL|ID",
        help="All of a gene's span, with records for every gene that overlaps it; may be repeated.",
    ),
    cloup.option(
        "--region", "regions", multiple=True, metavar="CHROM:START-END", help="1-based with both ends; may be repeated."
    ),
    cloup.option("--bed", type=PATH, metavar="FILE", help="Intervals, 0-based half-open, plain or gzip."),
    cloup.option("--indels", is_flag=True, help="Insertions of 1 nt and deletions of 1 to 4 nt as well as SNVs."),
)
@cloup.option_group(
    "Input and output",
    cloup.option(
        "-O",
        "--output",
        required=True,
        type=PATH,
        metavar="OUT.vcf.gz",
        help="Sites-only VCF with its index; OUT.vcf.gz.work beside it holds work in progress.",
    ),
    reference_option,
    annotation_option,
)
@cloup.option_group(
    "How it runs",
    cloup.option("--dry-run", is_flag=True, help="Say how many alleles there are and what they will cost; no more."),
    scheduler_option,
)
@computed_options
@machine_options
def saturate(
    genes: tuple[str, ...], regions: tuple[str, ...], bed: str | None, indels: bool, output: str, dry_run: bool,
    scheduler: str | None, **model: Any,
) -> None:  # fmt: skip
    """Score every SNV of genes or regions into one file.

    The file has one record per ALT and gene, as VEP's --custom and vcfanno read it, with exact numbers: 'store import'
    takes it. Positions that are not A, C, G or T, or in no gene, have no record. A run that was killed goes on with the
    same command and ends with the same bytes.
    """
    from splicebert_vep.cohort.places import Places
    from splicebert_vep.cohort.run import Planned, decided
    from splicebert_vep.cohort.saturate import Saturation
    from splicebert_vep.cohort.saturate import dry_run as planned_only
    from splicebert_vep.cohort.saturate import saturate as run

    if scheduler and model["threads"] is None:
        model["threads"] = 1  # of each worker
    opening, info = decided(opening_of(**model))
    introduce(info)
    asked = Saturation(Places(genes, regions, bed), opening, indels)
    if dry_run:
        with progress_line() as progress:
            found, warnings = planned_only(asked, progress)
        for text in warnings:
            warn(text)
        _say_counts(found.counts, "dry run")
        assert found.rate is not None
        cost = f"{found.rate:,.1f} alleles/s, measured on {found.measured}"
        say(f"about {clock(found.seconds)} to score them on this machine ({cost})")
        return

    def planned(found: Planned) -> None:
        if found.note:
            say(found.note)
        _say_counts(found.counts, "plan taken up" if found.resumed else "planned")

    with progress_line() as progress:
        done = run(output, asked, scheduler=scheduler, progress=progress, planned=planned)
    for text in done.warnings:
        warn(text)
    status = ", ".join(f"{word} {count:,}" for word, count in done.status.items())
    say(f"{done.records:,} records in {output}; by status: {status}")
    if failed := done.status.get("FAILED"):
        warn(
            f"{failed:,} records FAILED and have no scores; SpliceBERT_REASON says why, 'store import' leaves them out"
        )


def _say_counts(counts: Mapping[str, int], what: str) -> None:
    say(
        f"{what}: {counts['positions']:,} positions, {counts['not_acgt']:,} of them not A, C, G or T and "
        f"{counts['no_gene']:,} in no gene; {counts['distinct']:,} alleles in {counts['units']:,} units"
    )

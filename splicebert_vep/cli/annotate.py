"""``splicebert-vep annotate``: a VCF or BCF in, the same records with scores out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from splicebert_vep_spec import Status

from .options import model_options, open_annotator, split_words

if TYPE_CHECKING:
    from splicebert_vep.annotator import Summary

STRICT_CODE = 8
_KINDS = {"v": "vcf", "z": "vcf.gz", "b": "bcf"}
_EPILOG = """\b
Examples:
  splicebert-vep annotate in.vcf.gz -R GRCh38.fa -A grch38 -O out.vcf.gz
  bcftools view -f PASS,. in.bcf | splicebert-vep annotate -R GRCh38.fa | bcftools view -i 'SpliceBERT_KL_SS>1'
  splicebert-vep annotate in.vcf -R GRCh37.fa -A grch37 --emit flat,vep,parquet=scores.parquet -O out.bcf
  splicebert-vep annotate in.vcf -R GRCh38.fa --emit tsv > scores.tsv
"""


@click.command(epilog=_EPILOG)
@click.argument("source", metavar="[IN]", required=False)
@click.option("-I", "--input", "source_option", metavar="IN", help="Input VCF or BCF, '-' is stdin (default), as IN.")
@click.option("-O", "--output", "target", default="-", metavar="OUT", help="Output; '-' is stdout (default).")
@click.option(
    "--output-type", type=click.Choice(list(_KINDS)), help="v VCF, z bgzipped VCF, b BCF; default: by OUT's suffix."
)
@click.option(
    "--emit", multiple=True, callback=split_words, metavar="WHAT,...",
    help="flat (default), vep, tsv[=FILE], parquet=FILE; several at once.",
)  # fmt: skip
@click.option(
    "--region", metavar="CHROM[:START-END]", help="Only records that lie in it, 1-based; others are not written."
)
@click.option(
    "--strict", multiple=True, callback=split_words, metavar="STATUS,...",
    help=f"Exit with {STRICT_CODE} when an ALT has one of these statuses, e.g. REF_MISMATCH,FAILED.",
)  # fmt: skip
@click.option("--summary", "summary_file", metavar="FILE", help="Write counts by status and provenance as JSON.")
@click.option("-D", "distance", metavar="INT", help="Accepted for SpliceAI's command lines; has no effect.")
@click.option("-M", "mask", metavar="INT", help="Accepted for SpliceAI's command lines; has no effect.")
@model_options
def annotate(
    source: str | None, source_option: str | None, target: str, output_type: str | None, emit: tuple[str, ...],
    region: str | None, strict: tuple[str, ...], summary_file: str | None, distance: str | None, mask: str | None,
    **model: Any,
) -> int:  # fmt: skip
    """Annotate a VCF or BCF with SpliceBERT scores.

    Records come out as they came in, in the same order; only INFO grows. Every ALT gets a status; counts by status
    end the run on stderr.
    """
    if source is not None and source_option is not None:
        raise click.UsageError("give the input once, as IN or with -I")
    unknown = sorted(set(strict) - {str(status) for status in Status})
    if unknown:
        raise click.UsageError(
            f"--strict: {', '.join(unknown)} is no status; one of {', '.join(str(s) for s in Status)}"
        )
    ignored = [flag for flag, value in (("-D", distance), ("-M", mask)) if value is not None]
    if ignored:
        _say(f"{' and '.join(ignored)}: accepted for SpliceAI's command lines, no effect here")
    if summary_file:
        others = (source or source_option or "-", target, model["reference"], model["annotation"])
        if os.path.realpath(summary_file) in map(os.path.realpath, others):
            raise click.UsageError("--summary would replace another file of the run")
        if not os.path.isdir(os.path.dirname(os.path.realpath(summary_file))):
            raise click.UsageError(f"--summary: there is no folder for {summary_file}")
    with open_annotator(**model) as annotator:
        info = annotator.backend.info
        _say(f"model {info.model} on {info.device}, {info.precision}; {info.quality or 'quality not measured'}")
        progress = _Progress() if sys.stderr.isatty() else None
        kind: Any = _KINDS[output_type] if output_type else None
        summary: Summary = annotator.annotate(
            source or source_option or "-", target, emit=emit or ("flat",), kind=kind, region=region, progress=progress
        )
        if progress:
            progress.end()
        provenance = annotator.run.provenance
    _report(summary)
    if summary_file:
        _write_summary(summary_file, summary, provenance)
    return _check_strict(summary, strict)


class _Progress:
    """One line on the terminal, rewritten at most four times a second."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last = 0.0

    def __call__(self, summary: Summary, share: float | None) -> None:
        now = time.monotonic()
        if now - self._last < 0.25:
            return
        self._last = now
        spent = now - self._began
        text = f"{summary.records:,} records, {summary.alleles / max(spent, 1e-9):,.1f} alleles/s"
        if share:
            left = int(spent * (1 - share) / share)
            text += f", {share:.0%}, about {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        click.echo(f"\r\033[K{text}", err=True, nl=False)

    def end(self) -> None:
        """Clear the line."""
        click.echo("\r\033[K", err=True, nl=False)


def _report(summary: Summary) -> None:
    for warning in summary.warnings:
        _say(f"warning: {warning}")
    counts = ", ".join(f"{status} {count:,}" for status, count in summary.by_status().items()) or "none"
    rate = summary.alleles / max(summary.seconds, 1e-9)
    _say(f"{summary.records:,} records, {summary.alleles:,} ALTs in {summary.seconds:.1f} s ({rate:,.1f}/s)")
    _say(f"by status: {counts}")


def _write_summary(path: str, summary: Summary, provenance: Any) -> None:
    from splicebert_vep.files import whole_or_not

    content = {
        "records": summary.records,
        "alleles": summary.alleles,
        "records_without_alt": summary.records_without_alt,
        "status": summary.by_status(),
        "seconds": round(summary.seconds, 3),
        "warnings": summary.warnings,
        "provenance": dict(provenance),
    }
    with whole_or_not(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _check_strict(summary: Summary, strict: Sequence[str]) -> int:
    counts = summary.by_status()
    met = {word: counts[word] for word in strict if word in counts}
    if met:
        _say("--strict: " + ", ".join(f"{word} {count:,}" for word, count in met.items()))
        return STRICT_CODE
    return 0


def _say(text: str) -> None:
    click.echo(f"splicebert-vep: {text}", err=True)

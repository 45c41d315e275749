"""``splicebert-vep annotate``: a VCF or BCF in, the same records with scores out."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import cloup

from splicebert_vep_spec import Status

from ..errors import suggestion, visible
from ..files import check_outputs
from ..progress import progress_bar
from ..variants import Variant, words_of
from .options import (
    PATH,
    annotation_option,
    check_targets,
    computed_options,
    failed_code,
    introduce,
    join_option,
    json_option,
    machine_options,
    open_annotator,
    print_json,
    reference_option,
    say,
    split_words,
    store_option,
    warn,
)

if TYPE_CHECKING:
    from ..results import Summary


STRICT_CODE = 8
_KINDS = {"v": "vcf", "z": "vcf.gz", "b": "bcf"}
_ANNOTATE_EPILOG = """\b
Examples:
  splicebert-vep annotate in.vcf.gz -R GRCh38.fa -A grch38 -O out.vcf.gz
  splicebert-vep annotate in.vcf -R GRCh37.fa -A grch37 --emit flat,vep,parquet=scores.parquet -O out.bcf
  splicebert-vep annotate in.vcf -R GRCh38.fa --emit tsv > scores.tsv
\b
In a pipe, keeping what disturbs splicing; the run's last line says what the bound finds:
  bcftools view -f PASS,. in.bcf | splicebert-vep annotate -R GRCh38.fa | bcftools view -i 'SpliceBERT_DS_MAX>=0.2'
\b
Beside SpliceAI's precomputed scores:
  splicebert-vep annotate in.vcf -R GRCh38.fa --join spliceai=snv.vcf.gz --join spliceai=indel.vcf.gz -O out.vcf
\b
Stop a workflow when the input does not fit the reference:
  splicebert-vep annotate in.vcf -R GRCh38.fa -O out.vcf --strict REF_MISMATCH,FAILED --summary run.json
"""


@cloup.command(epilog=_ANNOTATE_EPILOG)
@cloup.argument("source", metavar="[IN]", required=False, type=PATH)
@cloup.option_group(
    "Input and output",
    cloup.option(
        "-I", "--input", "source_option", type=PATH, metavar="IN", help="Input VCF or BCF; '-' is stdin (default)."
    ),
    cloup.option("-O", "--output", "target", default="-", type=PATH, metavar="OUT", help="'-' is stdout (default)."),
    cloup.option(
        "--output-type", type=click.Choice(list(_KINDS)), help="v VCF, z bgzipped VCF, b BCF. Default: by OUT's suffix."
    ),
    cloup.option(
        "--emit", multiple=True, callback=split_words, metavar="WHAT,...",
        help="flat (default), vep, spliceai-layout or csq (into VEP's CSQ or SnpEff's ANN) into the VCF; tsv[=FILE], "
        "jsonl[=FILE], parquet=FILE as tables; or a plugin's. Several at once.",
    ),
    join_option,
    reference_option,
    annotation_option,
    store_option,
    cloup.option(
        "--region", metavar="CHROM[:START-END]", help="Only records that lie in it, 1-based; others are not written."
    ),
    cloup.option(
        "--strict", multiple=True, callback=split_words, metavar="STATUS,...",
        help=f"Exit with {STRICT_CODE} when an ALT has one of these statuses, e.g. REF_MISMATCH,FAILED.",
    ),
    cloup.option(
        "--summary", "summary_file", type=PATH, metavar="FILE", help="Write counts by status and provenance as JSON."
    ),
)  # fmt: skip
@computed_options
@machine_options
def annotate(
    source: str | None, source_option: str | None, target: str, output_type: str | None, emit: tuple[str, ...],
    join: tuple[str, ...], region: str | None, strict: tuple[str, ...],
    summary_file: str | None, **model: Any,
) -> int:  # fmt: skip
    """Annotate a VCF or BCF: what each ALT does to splicing.

    Records come out as they came in, in the same order; only INFO grows. Every ALT gets a status. The run ends on
    stderr with counts by status, and how many ALTs reach the measured bound of DS_MAX, the column to sort by.
    """
    if source is not None and source_option is not None:
        raise click.UsageError("give the input once, as IN or with -I")
    _check_statuses(strict)
    given = source or source_option or "-"
    if given == "-" and sys.stdin.isatty():
        raise click.UsageError("no input: give a VCF or BCF as IN, or pipe one in")
    if given != "-" and (os.path.isdir(given) or not os.path.exists(given)):
        from ..vcf.read import open_vcf

        open_vcf(given)  # says what is wrong, before the seconds that model and reference take
    files = [*filter(None, (word.partition("=")[2] for word in emit)), *([summary_file] if summary_file else [])]
    check_targets([target, *files], model, *_joined(join))
    check_outputs(files, [given])  # the VCF may replace the input VCF
    with open_annotator(**model) as annotator:
        introduce(annotator.backend.info, annotator.note)
        kind: Any = _KINDS[output_type] if output_type else None
        with progress_bar() as bar:
            summary = annotator.annotate(
                given, target, emit=emit or ("flat",), kind=kind, region=region, join=join, progress=bar,
            )  # fmt: skip
    if annotator.stored_scoring:
        about = annotator.stored_scoring
        say(f"store {model['store']}: {about.known:,} alleles known, {about.scored:,} scored")
    said = annotator.delta.outcome(summary.disturbed, summary.judged)
    _report(summary)
    if said:
        say(said)
    if summary_file:
        _write_summary(summary_file, summary)
    return _check_strict(summary, strict) or failed_code(summary.status)


def _joined(words: Sequence[str]) -> Iterator[str]:
    """Yield the files that joins read: those named, and the tables that they declare."""
    from ..joins.table import read_declaration

    for word in words:
        path = word.partition("=")[2]
        yield from (path, *(read_declaration(path).files if path.endswith(".toml") else ()))


def _check_statuses(asked: Sequence[str]) -> None:
    known = [str(status) for status in Status]
    unknown = sorted(set(asked) - set(known))
    if unknown:
        hint = suggestion(unknown, known) or f"one of {', '.join(known)}"
        raise click.UsageError(f"--strict: {', '.join(unknown)} is no status; {hint}")


def _report(summary: Summary) -> None:
    for warning in summary.warnings:
        warn(warning)
    counts = ", ".join(f"{status} {count:,}" for status, count in summary.by_status().items()) or "none"
    rate = summary.alleles / max(summary.seconds, 1e-9)
    say(f"{summary.records:,} records, {summary.alleles:,} ALTs in {summary.seconds:.1f} s ({rate:,.1f}/s)")
    say(f"by status: {counts}")


def _write_summary(path: str, summary: Summary) -> None:
    from ..files import whole_or_not

    content = {
        "records": summary.records,
        "alleles": summary.alleles,
        "records_without_alt": summary.records_without_alt,
        "status": summary.by_status(),
        "ds_max": summary.ds_max(),
        "seconds": round(summary.seconds, 3),
        "warnings": summary.warnings,
        "provenance": dict(summary.provenance),
    }
    with whole_or_not(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _check_strict(summary: Summary, strict: Sequence[str]) -> int:
    counts = summary.by_status()
    met = {word: counts[word] for word in strict if word in counts}
    if met:
        say("--strict: " + ", ".join(f"{word} {count:,}" for word, count in met.items()))
        return STRICT_CODE
    return 0


_SCORE_EPILOG = """\b
Examples:
  splicebert-vep score chr17-43071077-T-C 17:43049195:C:T -R GRCh38.fa
  splicebert-vep score 'NM_007294.4:c.5467+2T>G' 'BRCA1:c.4096+3A>G' -R GRCh38.fa
  splicebert-vep score 17-41197701-G-A -R GRCh37.fa -A grch37 --scores LLR,KL_SS
  splicebert-vep score 17-43047641-A-C -R GRCh38.fa --json | jq '.rows[0].DS_MAX'
  splicebert-vep score 17-43047641-A-C -R GRCh38.fa --join spliceai=spliceai_scores.vcf.gz
"""


@cloup.command(epilog=_SCORE_EPILOG)
@cloup.argument("variants", metavar="VARIANT...", nargs=-1, required=True)
@cloup.option_group("Input and output", reference_option, annotation_option, join_option, store_option, json_option)
@computed_options
@machine_options
def score(variants: tuple[str, ...], join: tuple[str, ...], as_json: bool, **model: Any) -> int:
    """Score variants given by hand.

    A VARIANT is CHROM-POS-REF-ALT, POS 1-based as in VCF, so do not give SPDI; chr17, 17 and NC_000017.11 are the
    same contig. Or it is an HGVS name, in quotes: c. or n. of a reported transcript by its RefSeq or Ensembl id or by
    the gene's symbol, or g. of a chromosome. JSON has the columns of 'annotate --emit tsv' in full precision.
    """
    from ..consequence.hgvs import FoundName, read_variant

    # before the seconds that a model takes
    read = [read_variant(word) for given in variants for word in words_of(given)]
    with open_annotator(**model) as annotator, annotator.open_joins(join) as joins:
        introduce(annotator.backend.info, annotator.note)
        found = [FoundName(one, "") if isinstance(one, Variant) else annotator.lookup(one) for one in read]
        asked = [one.variant for one in found]
        for note in dict.fromkeys(one.note for one in found if one.note):
            say(note)
        rows: list[object] = []
        status: Counter[Status] = Counter()
        for result in annotator.score(asked, joins=joins):
            status[result.status] += 1
            if as_json:
                from ..outputs.tables import objects

                rows += objects(result.report, joins.run)
            else:
                click.echo(visible(str(result)))
        if as_json:
            print_json({"provenance": {**annotator.run.provenance, **joins.run.provenance}, "rows": rows})
        for warning in joins.warnings():
            warn(warning)
    return failed_code(status)

"""``splicebert-vep score``: one variant, or a few, as a readable table on the terminal or as JSON."""

from __future__ import annotations

from typing import Any

import click
import cloup

from splicebert_vep.variants import Variant

from .console import introduce, print_json, say, warn
from .options import (
    annotation_option,
    computed_options,
    evidence_option,
    join_option,
    json_option,
    machine_options,
    open_annotator,
    reference_option,
    store_option,
)

_EPILOG = """\b
Examples:
  splicebert-vep score chr17-43071077-T-C 17:43049195:C:T -R GRCh38.fa
  splicebert-vep score 17-41197701-G-A -R GRCh37.fa -A grch37 --scores LLR,KL_SS
  splicebert-vep score 17-43047641-A-C -R GRCh38.fa --json | jq '.rows[0].KL_SS'
  splicebert-vep score 17-43047641-A-C -R GRCh38.fa --join spliceai=spliceai_scores.vcf.gz
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("variants", metavar="CHROM-POS-REF-ALT...", nargs=-1, required=True)
@cloup.option_group(
    "Input and output", reference_option, annotation_option, join_option, evidence_option, store_option, json_option
)
@computed_options
@machine_options
def score(
    variants: tuple[str, ...], join: tuple[str, ...], evidence: tuple[str, ...], as_json: bool, **model: Any
) -> None:
    """Score variants given by hand.

    POS is 1-based as in VCF, so do not give SPDI; chr17, 17 and NC_000017.11 are the same contig. JSON has the
    columns of 'annotate --emit tsv' in full precision.
    """
    asked = [Variant.parse(variant) for variant in variants]  # before the seconds that a model takes
    with open_annotator(**model) as annotator, annotator.beside(join, evidence) as beside:
        introduce(annotator.backend.info, annotator.note)
        results = annotator.score(asked, beside=beside)
        if as_json:
            from splicebert_vep.adapters.rows import objects

            content = [row for result in results for row in objects(result.report, beside.run)]
            print_json({"provenance": {**annotator.run.provenance, **beside.run.provenance}, "rows": content})
        else:
            for result in results:
                click.echo(result)
        for warning in beside.warnings():
            warn(warning)
        for note in beside.notes:
            say(note)

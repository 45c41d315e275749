"""``splicebert-vep calibrate``: a table of what random SNVs score, for percentiles."""

from __future__ import annotations

import os
from typing import Any

import click
import cloup

from splicebert_vep.calibration.classes import LEAST

from .complete import PATH
from .console import introduce, progress_line, say, warn
from .options import (
    annotation_option,
    machine_options,
    opening_of,
    reference_option,
    split_words,
    window_options,
)

_EPILOG = """\b
Examples:
  splicebert-vep calibrate -R GRCh38.fa -A grch38 --model SpliceBERT.510nt -o SpliceBERT.510nt.calibration.json.gz
  splicebert-vep calibrate -R GRCh38.fa --contigs chr19,chr22 --mode local -o local.calibration.json.gz
  splicebert-vep annotate in.vcf.gz -R GRCh38.fa --mode local --calibration local.calibration.json.gz -O out.vcf.gz
"""


@cloup.command(epilog=_EPILOG)
@cloup.option_group(
    "Input and output",
    cloup.option("-o", "-O", "--output", required=True, type=PATH, metavar="TABLE", help="The table, a small file."),
    reference_option,
    annotation_option,
)
@cloup.option_group(
    "Which SNVs",
    cloup.option(
        "--per-class", type=click.IntRange(LEAST), default=2000, show_default=True, metavar="N",
        help="SNVs of each region class; a class in which fewer are found gets these.",
    ),
    cloup.option("--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N", help="Of the draw."),
    cloup.option(
        "--contigs", multiple=True, callback=split_words, metavar="CHROM,...",
        help="Draw from genes on these only. Default: every contig of the FASTA.",
    ),
)  # fmt: skip
@window_options
@machine_options
def calibrate(output: str, per_class: int, seed: int, contigs: tuple[str, ...], **model: Any) -> None:
    """Score random SNVs, for percentiles.

    The table holds KL_CTX and LLR of random SNVs of each region class. It is bound to the model, the window and the
    mode, not to the FASTA or the annotation: 'annotate --calibration' takes it wherever these are the same.
    """
    from splicebert_vep.calibration.background import SCORES, calibrate_into
    from splicebert_vep.genome.annotation import is_built_in

    annotation = model["annotation"]
    if not is_built_in(annotation) and os.path.realpath(annotation) == os.path.realpath(output):
        raise click.UsageError("the table would replace the gene annotation")
    with opening_of(**model, scores=SCORES).open() as annotator:
        introduce(annotator.backend.info)
        with progress_line() as progress:
            counts = calibrate_into(
                output, annotator, per_class=per_class, seed=seed, contigs=contigs, progress=progress
            )  # fmt: skip
        digest = annotator.run.provenance["ScoreDigest"]
    say(f"{sum(counts.values()):,} random SNVs in {output}, for scores of digest {digest[:12]}")
    fewer = [f"{name} {count:,}" for name, count in counts.items() if count < per_class]
    if fewer:
        warn(f"not every class has {per_class:,}: {', '.join(fewer)}")

"""``splicebert-vep map``: in-silico mutagenesis of a region, as a table and as pictures."""

from __future__ import annotations

import os
from typing import Any

import click
import cloup

from .complete import PATH, complete_scores
from .console import introduce, progress_line, say, warn
from .options import (
    annotation_option,
    computed_options,
    machine_options,
    open_annotator,
    reference_option,
    split_words,
)

_EPILOG = """\b
Examples:
  splicebert-vep map chr17:43047640-43047650 -R GRCh38.fa -o map.tsv --picture map.png
  splicebert-vep map chr17:43047640-43047650 -R GRCh38.fa -o map.parquet --gene BRCA1 --score KL_CTX
  splicebert-vep map chr17:43047640-43047650 -R GRCh38.fa -o map.tsv --dependency pairs.parquet
"""


@cloup.command("map", epilog=_EPILOG)
@cloup.argument("region", metavar="CHROM:START-END")
@cloup.option_group(
    "Input and output",
    reference_option,
    annotation_option,
    cloup.option("-o", "--output", "table", required=True, type=PATH, metavar="FILE",
                 help=".tsv or .parquet: one row per SNV."),
    cloup.option("--picture", type=PATH, metavar="FILE", help="Heat maps over exons and logo: .png, .svg or .pdf."),
    cloup.option("--dependency", type=PATH, metavar="FILE",
                 help=".tsv or .parquet: KL divergence at every position when another is mutated."),
    cloup.option("--dependency-picture", type=PATH, metavar="FILE", help="The same as .png, .svg or .pdf."),
    cloup.option("--gene", metavar="SYMBOL|ID",
                 help="Where the region touches several. Default: the only one, or the only protein-coding one."),
    cloup.option("--score", multiple=True, callback=split_words, metavar="FIELD,...", shell_complete=complete_scores,
                 help="Scores in --picture. Default: KL_SS (KL_CTX where no SNV has it) and LLR."),
)  # fmt: skip
@computed_options
@machine_options
def map_(
    region: str, table: str, picture: str | None, dependency: str | None, dependency_picture: str | None,
    gene: str | None, score: tuple[str, ...], **model: Any,
) -> None:  # fmt: skip
    """Score every SNV of a region: in-silico mutagenesis.

    The region is 1-based with both ends, at most 5,000 nt (1,000 with a dependency map), and lies in one gene.
    Scores are those of 'score'. An SNV that has none has a row with its status. Pictures run in transcript
    direction, on the transcribed strand.
    """
    outputs = [path for path in (table, picture, dependency, dependency_picture) if path is not None]
    real = [os.path.realpath(path) for path in outputs]
    inputs = {os.path.realpath(model[name]) for name in ("reference", "annotation", "calibration") if model[name]}
    if len(set(real)) < len(real) or inputs & set(real):
        raise click.UsageError("every output needs a name of its own, which no input has")
    from splicebert_vep.extras import require
    from splicebert_vep.files import check_place
    from splicebert_vep.mutagenesis.dependency import check_length, dependency_of
    from splicebert_vep.mutagenesis.region_map import check_scores, map_region, stretch_of
    from splicebert_vep.mutagenesis.tables import check_table, write_dependency, write_map
    from splicebert_vep.report.drawing import check_picture, save
    from splicebert_vep.report.map_picture import draw_dependency, draw_map

    for path in filter(None, (table, dependency)):
        check_table(path)
    for path in filter(None, (picture, dependency_picture)):
        check_picture(path)
        require("matplotlib", extra="report")
    for path in outputs:
        check_place(path)
    pairs = dependency is not None or dependency_picture is not None
    with open_annotator(**model) as annotator:
        check_scores(score, annotator.plan.fields)
        if pairs:
            stretch = stretch_of(region, annotator)
            check_length(stretch.end - stretch.start)
        introduce(annotator.backend.info, annotator.note)
        with progress_line() as progress:
            found = map_region(annotator, region, gene, progress=progress)
            followed = dependency_of(annotator, found, progress=progress) if pairs else None
        run = annotator.run
        drawn = [(draw_map(found, score), picture)] if picture is not None else []
        if followed is not None and dependency_picture is not None:
            drawn.append((draw_dependency(found, followed), dependency_picture))
        write_map(found, table, run)
        if followed is not None and dependency is not None:
            write_dependency(found, followed, dependency, run)
        for figure, path in drawn:
            save(figure, path)
    for path in outputs:
        say(f"wrote {path}")
    counts = found.statuses()
    say(
        f"{found.gene.symbol or found.gene.gene_id}: {len(found.results):,} SNVs; by status: "
        + ", ".join(f"{word} {count:,}" for word, count in counts.items())
    )
    if picture is not None and found.expected() is None:
        warn("the picture has no logo: p(base) is read from LLR, which --scores left out")

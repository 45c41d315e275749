"""``splicebert-vep oligo``: where an oligo could move a splice site, as a table and as a picture."""

from __future__ import annotations

import os
from typing import Any

import click
import cloup

from splicebert_vep.model.registry import DEFAULT_SPLICE_MODEL

from .complete import PATH
from .console import introduce, progress_line, say, warn
from .options import annotation_option, machine_options, open_annotator, reference_option

_EPILOG = """\b
Examples:
  splicebert-vep oligo --exon 18 --gene BRCA1 -R GRCh38.fa -o oligos.tsv --picture oligos.png
  splicebert-vep oligo --exon chr17:43063874-43063951 -R GRCh38.fa --goal include --length 20
  splicebert-vep oligo --site chr17:43063874 --kind donor -R GRCh38.fa --no-off-target
"""
_FLANK = 100  # of scores, which nothing computes here; a small window has room for less


@cloup.command(epilog=_EPILOG)
@cloup.option_group(
    "Target",
    cloup.option("--exon", metavar="CHROM:START-END|N",
                 help="An exon by its ends, 1-based; or by its number in the reported transcript of --gene."),
    cloup.option("--gene", metavar="SYMBOL|ID", help="Gene, or its reported transcript."),
    cloup.option("--site", metavar="CHROM:POS",
                 help="A single splice site, by the exon's nucleotide beside the intron; needs --kind."),
    cloup.option("--kind", type=click.Choice(["donor", "acceptor"]), help="Of --site."),
    cloup.option("--strand", type=click.Choice(["+", "-"]), help="Default: what the annotation says."),
    cloup.option("--goal", type=click.Choice(["skip", "include", "block"]),
                 help="What ranks first: a site made weaker (skip an exon, block a site) or stronger (include). "
                 "Default: skip or block."),
)  # fmt: skip
@cloup.option_group(
    "Oligos",
    cloup.option("--region", metavar="CHROM:START-END", help="What is tiled. Default: the target and --around."),
    cloup.option("--around", type=click.IntRange(0), default=150, show_default=True, metavar="NT",
                 help="Nucleotides on both sides of the target."),
    cloup.option("--length", "lengths", default="18-25", show_default=True, metavar="NT[-NT]",
                 help="Lengths, within 15 to 30."),
    cloup.option("--step", type=click.IntRange(1), default=1, show_default=True, metavar="NT",
                 help="Between the starts of neighbours."),
    cloup.option("--rank-by", type=click.Choice(["zero-shot", "head"]),
                 help="Default: head where there is a splice-site model."),
    cloup.option("--no-off-target", "off_targets", is_flag=True, flag_value=False, default=True,
                 help="Do not search the FASTA for other places of the same sequence."),
)  # fmt: skip
@cloup.option_group(
    "Input and output",
    reference_option,
    annotation_option,
    cloup.option("-o", "--output", "table", default="-", type=PATH, metavar="FILE",
                 help=".tsv or .parquet. Default: TSV on stdout."),
    cloup.option("--picture", type=PATH, metavar="FILE", help="The tiling over exons and sites: .png, .svg or .pdf."),
)  # fmt: skip
@cloup.option_group(
    "What is computed",
    cloup.option("--window", default=510, show_default=True, metavar="NT", help="Bases that the model sees at once."),
    cloup.option("--splice-model", default=DEFAULT_SPLICE_MODEL, show_default=True, metavar="NAME|FOLDER|none",
                 help="Model of 'finetune splice-sites': its p of each site is reported too, and ranked by."),
)  # fmt: skip
@machine_options
def oligo(
    lengths: str, rank_by: str | None, table: str, picture: str | None, reference: str, window: int,
    exon: str | None, gene: str | None, site: str | None, kind: str | None, strand: str | None, goal: str | None,
    region: str | None, around: int, step: int, off_targets: bool, splice_model: str, **model: Any,
) -> None:  # fmt: skip
    """Rank oligos that could move a splice site.

    Every k-mer around the target is hidden from the model, and what that does to its splice sites is reported, with
    the oligo that would cover it. A hidden k-mer is no bound oligo: these are hypotheses to test. Oligos over a site of
    the target are listed and not ranked, because hiding a site weakens it by construction.
    """
    outputs = [path for path in (table, picture) if path not in (None, "-")]
    real = [os.path.realpath(str(path)) for path in outputs]
    inputs = {os.path.realpath(path) for path in (reference, model["annotation"])}
    if len(set(real)) < len(real) or inputs & set(real):
        raise click.UsageError("every output needs a name of its own, which no input has")
    from splicebert_vep.extras import require
    from splicebert_vep.files import check_place, is_stdout
    from splicebert_vep.model.splice_sites import SpliceSiteModel
    from splicebert_vep.oligos.oligos import oligos_of
    from splicebert_vep.oligos.tables import check_table, text, write_oligos
    from splicebert_vep.report.drawing import check_picture, save
    from splicebert_vep.report.oligo_picture import draw_oligos

    check_table(table)
    if picture is not None:
        check_picture(picture)
        require("matplotlib", extra="report")
    for path in outputs:
        check_place(str(path))
    computed: dict[str, Any] = {
        "window": window, "flank": min(_FLANK, (window - 1) // 2), "window_mode": "centred", "mode": "exact",
        "radius": _FLANK, "scores": (),
    }  # fmt: skip
    with open_annotator(reference=reference, **computed, **model) as annotator:
        head, note = None, ""
        if splice_model != "none":
            head = SpliceSiteModel.open(splice_model, model["device"], model["threads"])
            note = (
                f"splice-site model {head.name}, {head.weights_sha256[:12]}; {head.quality or 'quality not measured'}"
            )
        introduce(annotator.backend.info, note)
        with progress_line() as progress:
            found = oligos_of(
                annotator, exon=exon, gene=gene, site=site, kind=kind, strand=strand, region=region, around=around,
                lengths=_lengths(lengths), step=step, goal=goal, splice_model=head, measure=rank_by,
                off_targets=off_targets, progress=progress,
            )  # fmt: skip
    for warning in found.warnings:
        warn(warning)
    figure = draw_oligos(found) if picture is not None else None
    if is_stdout(table):
        click.echo("".join(text(found)), nl=False)
    else:
        write_oligos(found, table)
    if picture is not None:
        save(figure, picture)
    for path in outputs:
        say(f"wrote {path}")
    counts = ", ".join(f"{word} {count:,}" for word, count in found.statuses().items())
    say(f"{found.aim.name}, to {found.goal}: {len(found):,} oligos; by status: {counts}")


def _lengths(words: str) -> tuple[int, int]:
    """Read ``18-25`` or ``20``."""
    low, dash, high = words.partition("-")
    if not low.isdecimal() or not (high.isdecimal() if dash else not high):
        raise click.UsageError(f"--length takes one number or two with a dash between, not {words!r}")
    return int(low), int(high or low)

"""``splicebert-vep embed``, ``oligo`` and ``calibrate``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click
import cloup

from .. import files
from ..progress import progress_bar
from ..settings import LEAST
from .options import (
    PATH,
    annotation_option,
    check_targets,
    introduce,
    knob,
    machine_options,
    open_annotator,
    reference_option,
    say,
    split_words,
    warn,
    window_options,
)

if TYPE_CHECKING:
    from ..annotator import Annotator

_EMBED_EPILOG = """\b
Examples:
  splicebert-vep embed --gene BRCA1 -R GRCh38.fa -A grch38 -o BRCA1.h5
  splicebert-vep embed --bed exons.bed --layers all -R GRCh38.fa -o exons.parquet
  splicebert-vep embed --region chr17:43047603-43047802 --strand - -R GRCh38.fa -o donor.h5 -o donor.parquet
  splicebert-vep embed --fasta transcripts.fa --layers 4 -o transcripts.h5
  splicebert-vep embed --vcf in.vcf.gz -R GRCh38.fa -o alleles.parquet
  splicebert-vep embed --region chr17:43047603-43047802 --strand - --attention -R GRCh38.fa -o attention.h5
"""


def _without_scores(window: int, **options: Any) -> Annotator:
    """Open an Annotator that computes no scores; a small window has room for a smaller flank than that of scores."""
    return open_annotator(window=window, flank=min(100, (window - 1) // 2), scores=(), **options)


@cloup.command(epilog=_EMBED_EPILOG)
@cloup.option_group(
    "What is embedded",
    cloup.option("--gene", "genes", multiple=True, metavar="SYMBOL|ID", help="All of a gene's span; may be repeated."),
    cloup.option("--region", "regions", multiple=True, metavar="CHROM:START-END",
                 help="1-based with both ends, needs --strand; may be repeated."),
    cloup.option("--bed", type=PATH, metavar="FILE",
                 help="Intervals, 0-based half-open, plain or gzip; column 4 is the name, column 6 the strand."),
    cloup.option("--fasta", type=PATH, metavar="FILE",
                 help="Every record of a FASTA, as it is, instead of -R and the others."),
    cloup.option("--vcf", type=PATH, metavar="FILE",
                 help="REF and ALT windows of every allele in every gene, those of the scores; without the others."),
    cloup.option("--strand", type=click.Choice(["+", "-"]), help="Strand of regions, and of BED lines that name none."),
)  # fmt: skip
@cloup.option_group(
    "Input and output",
    cloup.option("-R", "--reference", type=PATH, metavar="FASTA", help="Reference, plain or bgzip-compressed."),
    annotation_option,
    cloup.option("-o", "--output", "outputs", required=True, multiple=True, type=PATH, metavar="FILE",
                 help=".h5 has every nucleotide; .parquet and .h5ad (AnnData) means of regions or windows; may be "
                 "repeated."),
)  # fmt: skip
@cloup.option_group(
    "What is computed",
    cloup.option("--layers", default="last", show_default=True, metavar="last|all|N,...",
                 help="Layers: 0 is what enters the first layer, 1 what leaves it, and so on."),
    knob("window"),
    cloup.option("--keep", type=click.IntRange(1), metavar="NT",
                 help="Longest part in the middle of a window that is kept. Default: half of the window."),
    cloup.option("--attention", is_flag=True,
                 help="Also attention weights of these layers, into .h5; each region has to fit one window."),
)  # fmt: skip
@machine_options
def embed(
    genes: tuple[str, ...], regions: tuple[str, ...], bed: str | None, fasta: str | None, vcf: str | None,
    strand: str | None, reference: str | None, outputs: tuple[str, ...], layers: str, window: int, keep: int | None,
    attention: bool, **model: Any,
) -> None:  # fmt: skip
    """Write embeddings of genes, regions, sequences or alleles.

    An embedding is what a layer of the model says of a nucleotide. All run 5' to 3' of the transcript. Regions longer
    than a window are read from overlapping ones, each nucleotide from the window in whose middle it lies.
    """
    from ..tools.embed import check_formats
    from ..tools.embed import embed as embed_with

    if fasta and (reference or genes or regions or bed or strand or vcf):
        raise click.UsageError("--fasta goes without -R, --gene, --region, --bed, --strand and --vcf")
    if vcf and (genes or regions or bed or strand or keep):
        raise click.UsageError("--vcf goes without --gene, --region, --bed, --strand and --keep")
    source = fasta or reference
    if source is None:
        raise click.UsageError("no sequence: give a reference with -R, or records with --fasta")
    check_formats(outputs, attention=attention)
    check_targets(outputs, model, source, bed, vcf)
    with _without_scores(reference=source, window=window, **model) as annotator:
        introduce(annotator.backend.info)
        found = embed_with(
            annotator, genes=genes, regions=regions, bed=bed, records=fasta is not None, strand=strand, vcf=vcf,
            layers=_layers(layers), keep=keep, attention=attention,
        )  # fmt: skip
        for text in found.warnings:
            warn(text)
        with progress_bar() as progress:
            found.save(*outputs, progress=progress)
    if found.statuses:
        say("ALTs by status: " + ", ".join(f"{status} {count:,}" for status, count in found.statuses.items()))
    written = sum(1 for target in found.targets if len(target))
    say(f"{written:,} embedded into {' and '.join(outputs)}; layers {', '.join(found.layer_names)}")


def _layers(text: str) -> str | tuple[int, ...]:
    """Read ``last``, ``all`` or numbers separated by commas."""
    if text in ("last", "all"):
        return text
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise click.UsageError(f"--layers takes last, all, or numbers separated by commas, not {text!r}")
    return tuple(map(int, words))


_OLIGO_EPILOG = """\b
Examples:
  splicebert-vep oligo --exon 18 --gene BRCA1 -R GRCh38.fa -o oligos.tsv --picture oligos.png
  splicebert-vep oligo --exon chr17:43063874-43063951 -R GRCh38.fa --goal include --length 20
  splicebert-vep oligo --site chr17:43063874 --kind donor -R GRCh38.fa --no-off-target
"""


@cloup.command(epilog=_OLIGO_EPILOG)
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
    knob("window"),
    knob("splice_model", metavar="NAME|FOLDER|none", help="Its p of each site is reported too, and ranked by."),
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
    check_targets(outputs, {**model, "splice_model": splice_model}, reference)
    from ..scoring.delta import open_splice_model
    from ..tools.drawing import check_picture, save
    from ..tools.oligo import oligos_of, table_of
    from ..tools.oligo_picture import draw_oligos
    from ..tools.tables import check_table, lines_of, write_table

    if not files.is_stdout(table):
        check_table(table)
    if picture is not None:
        check_picture(picture)
    with _without_scores(reference=reference, window=window, **model) as annotator:
        head, note = None, ""
        if splice_model != "none":
            head = open_splice_model(annotator.plugins, replace(annotator.settings, splice_model=splice_model))
            quality = head.info.quality or "quality not measured"
            note = f"splice-site model {head.info.model}, {head.info.sha256[:12]}; {quality}"
        introduce(annotator.backend.info, note)
        with progress_bar() as progress:
            found = oligos_of(
                annotator, exon=exon, gene=gene, site=site, kind=kind, strand=strand, region=region, around=around,
                lengths=_lengths(lengths), step=step, goal=goal, splice_model=head, measure=rank_by,
                off_targets=off_targets, progress=progress,
            )  # fmt: skip
    for warning in found.warnings:
        warn(warning)
    figure = draw_oligos(found) if picture is not None else None
    if files.is_stdout(table):
        click.echo("".join(lines_of(*table_of(found))), nl=False)
    else:
        write_table(table, *table_of(found))
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


_CALIBRATE_EPILOG = """\b
Examples:
  splicebert-vep calibrate -R GRCh38.fa -A grch38 --model SpliceBERT.510nt -o SpliceBERT.510nt.calibration.json.gz
  splicebert-vep calibrate -R GRCh38.fa --contigs chr19,chr22 --window 400 -o 400nt.calibration.json.gz
  splicebert-vep annotate in.vcf.gz -R GRCh38.fa --window 400 --calibration 400nt.calibration.json.gz \
    --scores zero-shot,PCTL_LLR -O out.vcf.gz
"""


@cloup.command(epilog=_CALIBRATE_EPILOG)
@cloup.option_group(
    "Input and output",
    cloup.option("-o", "-O", "--output", required=True, type=PATH, metavar="TABLE", help="The table, a small file."),
    reference_option,
    annotation_option,
)  # fmt: skip
@cloup.option_group(
    "Which SNVs",
    cloup.option("--per-class", type=click.IntRange(LEAST), default=2000, show_default=True, metavar="N",
                 help="SNVs of each region class; a class in which fewer are found gets these."),
    cloup.option("--seed", type=click.IntRange(0), default=1, show_default=True, metavar="N", help="Of the draw."),
    cloup.option("--contigs", multiple=True, callback=split_words, metavar="CHROM,...",
                 help="Draw from genes on these only. Default: every contig of the FASTA."),
)  # fmt: skip
@window_options
@machine_options
def calibrate(output: str, per_class: int, seed: int, contigs: tuple[str, ...], **model: Any) -> None:
    """Score random SNVs, for percentiles.

    The table holds KL_CTX and LLR of random SNVs of each region class. It is bound to the model, the window and the
    mode, not to the FASTA or the annotation: 'annotate --calibration' takes it wherever these are the same.
    """
    from ..tools.calibrate import SCORES, calibrate_into

    check_targets([output], model)
    with open_annotator(**model, scores=SCORES) as annotator:
        introduce(annotator.backend.info)
        with progress_bar() as progress:
            counts = calibrate_into(
                output, annotator, per_class=per_class, seed=seed, contigs=contigs, progress=progress
            )  # fmt: skip
        digest = annotator.run.provenance["ScoreDigest"]
    say(f"{sum(counts.values()):,} random SNVs in {output}, for scores of digest {digest[:12]}")
    fewer = [f"{name} {count:,}" for name, count in counts.items() if count < per_class]
    if fewer:
        warn(f"not every class has {per_class:,}: {', '.join(fewer)}")

"""``embed``: hidden states of genes, regions, FASTA records or the windows of a VCF."""

from __future__ import annotations

import os
from typing import Any

import click
import cloup

from .complete import PATH
from .console import introduce, progress_line, say, warn
from .options import annotation_option, machine_options, open_annotator

_EPILOG = """\b
Examples:
  splicebert-vep embed --gene BRCA1 -R GRCh38.fa -A grch38 -o BRCA1.h5
  splicebert-vep embed --bed exons.bed --layers all -R GRCh38.fa -o exons.parquet
  splicebert-vep embed --region chr17:43047603-43047802 --strand - -R GRCh38.fa -o donor.h5 -o donor.parquet
  splicebert-vep embed --fasta transcripts.fa --layers 4 -o transcripts.h5
  splicebert-vep embed --vcf in.vcf.gz -R GRCh38.fa -o alleles.parquet
  splicebert-vep embed --region chr17:43047603-43047802 --strand - --attention -R GRCh38.fa -o attention.h5
"""
_FLANK = 100  # of scores, which nothing computes here; a small window has room for less


@cloup.command(epilog=_EPILOG)
@cloup.option_group(
    "What is embedded",
    cloup.option(
        "--gene", "genes", multiple=True, metavar="SYMBOL|ID", help="All of a gene's span; may be repeated."
    ),
    cloup.option(
        "--region", "regions", multiple=True, metavar="CHROM:START-END",
        help="1-based with both ends, needs --strand; may be repeated.",
    ),
    cloup.option(
        "--bed", type=PATH, metavar="FILE",
        help="Intervals, 0-based half-open, plain or gzip; column 4 is the name, column 6 the strand.",
    ),
    cloup.option(
        "--fasta", type=PATH, metavar="FILE", help="Every record of a FASTA, as it is, instead of -R and the others."
    ),
    cloup.option(
        "--vcf", type=PATH, metavar="FILE",
        help="REF and ALT windows of every allele in every gene, those of the scores; without the others.",
    ),
    cloup.option(
        "--strand", type=click.Choice(["+", "-"]), help="Strand of regions, and of BED lines that name none.",
    ),
)  # fmt: skip
@cloup.option_group(
    "Input and output",
    cloup.option("-R", "--reference", type=PATH, metavar="FASTA", help="Reference, plain or bgzip-compressed."),
    annotation_option,
    cloup.option(
        "-o", "--output", "outputs", required=True, multiple=True, type=PATH, metavar="FILE",
        help=".h5 has every nucleotide; .parquet and .h5ad (AnnData) means of regions or windows; may be repeated.",
    ),
)  # fmt: skip
@cloup.option_group(
    "What is computed",
    cloup.option(
        "--layers", default="last", show_default=True, metavar="last|all|N,...",
        help="Layers: 0 is what enters the first layer, 1 what leaves it, and so on.",
    ),
    cloup.option("--window", default=510, show_default=True, metavar="NT", help="Bases that the model sees at once."),
    cloup.option(
        "--keep", type=click.IntRange(1), metavar="NT",
        help="Longest part in the middle of a window that is kept. Default: half of the window.",
    ),
    cloup.option(
        "--attention", is_flag=True,
        help="Also attention weights of these layers, into .h5; each region has to fit one window.",
    ),
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
    from splicebert_vep.embedding.files import check_outputs

    if fasta and (reference or genes or regions or bed or strand or vcf):
        raise click.UsageError("--fasta goes without -R, --gene, --region, --bed, --strand and --vcf")
    if vcf and (genes or regions or bed or strand or keep):
        raise click.UsageError("--vcf goes without --gene, --region, --bed, --strand and --keep")
    source = fasta or reference
    if source is None:
        raise click.UsageError("no sequence: give a reference with -R, or records with --fasta")
    check_outputs(outputs, attention=attention)
    read = {os.path.realpath(path) for path in (source, bed, vcf, model["annotation"]) if path}
    if read & set(map(os.path.realpath, outputs)):
        raise click.UsageError("an output would replace the FASTA, the BED file, the VCF or the gene annotation")
    computed: dict[str, Any] = {
        "window": window, "flank": min(_FLANK, (window - 1) // 2), "window_mode": "centred", "mode": "exact",
        "radius": _FLANK, "scores": (),
    }  # fmt: skip
    with open_annotator(reference=source, **computed, **model) as annotator:
        introduce(annotator.backend.info)
        found = annotator.embed(
            genes=genes, regions=regions, bed=bed, records=fasta is not None, strand=strand, vcf=vcf,
            layers=_layers(layers), keep=keep, attention=attention,
        )  # fmt: skip
        for text in found.warnings:
            warn(text)
        with progress_line() as progress:
            found.save(*outputs, progress=progress)
    if found.statuses:
        say("ALTs by status: " + ", ".join(f"{status} {count:,}" for status, count in found.statuses.items()))
    written = sum(1 for target in found.targets if len(target))
    say(f"{written:,} embedded into {' and '.join(outputs)}; layers {', '.join(found.plan.layer_names)}")


def _layers(text: str) -> str | tuple[int, ...]:
    """Read ``last``, ``all`` or numbers separated by commas."""
    if text in ("last", "all"):
        return text
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise click.UsageError(f"--layers takes last, all, or numbers separated by commas, not {text!r}")
    return tuple(map(int, words))

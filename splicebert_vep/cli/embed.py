"""``embed``: hidden states of genes, regions or FASTA records."""

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
        "--strand", type=click.Choice(["+", "-"]), help="Strand of regions, and of BED lines that name none.",
    ),
)  # fmt: skip
@cloup.option_group(
    "Input and output",
    cloup.option("-R", "--reference", type=PATH, metavar="FASTA", help="Reference, plain or bgzip-compressed."),
    annotation_option,
    cloup.option(
        "-o", "--output", "outputs", required=True, multiple=True, type=PATH, metavar="FILE",
        help=".h5 has every nucleotide, .parquet the mean of each region; repeat for both.",
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
)  # fmt: skip
@machine_options
def embed(
    genes: tuple[str, ...], regions: tuple[str, ...], bed: str | None, fasta: str | None, strand: str | None,
    reference: str | None, outputs: tuple[str, ...], layers: str, window: int, keep: int | None, **model: Any,
) -> None:  # fmt: skip
    """Write embeddings of genes, regions or sequences.

    An embedding is what a layer of the model says of a nucleotide. All run 5' to 3' of the transcript. Regions longer
    than a window are read from overlapping ones, each nucleotide from the window in whose middle it lies.
    """
    from splicebert_vep.embedding.files import check_outputs

    if fasta and (reference or genes or regions or bed or strand):
        raise click.UsageError("--fasta goes without -R, --gene, --region, --bed and --strand")
    source = fasta or reference
    if source is None:
        raise click.UsageError("no sequence: give a reference with -R, or records with --fasta")
    check_outputs(outputs)
    read = {os.path.realpath(path) for path in (source, bed, model["annotation"]) if path}
    if read & set(map(os.path.realpath, outputs)):
        raise click.UsageError("an output would replace the FASTA, the BED file or the gene annotation")
    computed: dict[str, Any] = {
        "window": window, "flank": min(_FLANK, (window - 1) // 2), "window_mode": "centred", "mode": "exact",
        "radius": _FLANK, "scores": (),
    }  # fmt: skip
    with open_annotator(reference=source, **computed, **model) as annotator:
        introduce(annotator.backend.info)
        found = annotator.embed(
            genes=genes, regions=regions, bed=bed, records=fasta is not None, strand=strand, layers=_layers(layers),
            keep=keep,
        )  # fmt: skip
        for text in found.warnings:
            warn(text)
        with progress_line() as progress:
            found.save(*outputs, progress=progress)
    say(f"{len(found):,} embedded into {' and '.join(outputs)}; layers {', '.join(found.plan.layer_names)}")


def _layers(text: str) -> str | tuple[int, ...]:
    """Read ``last``, ``all`` or numbers separated by commas."""
    if text in ("last", "all"):
        return text
    words = text.split(",")
    if not all(word.isdecimal() for word in words):
        raise click.UsageError(f"--layers takes last, all, or numbers separated by commas, not {text!r}")
    return tuple(map(int, words))

"""``splicebert-vep corpus``: whole genes of any number of species in one compact file, to train on."""

from __future__ import annotations

from pathlib import Path

import click
import cloup

from .complete import PATH
from .console import say

_EPILOG = """\b
Examples:
  splicebert-vep corpus --genome human GRCh38.fa grch38 -O human.corpus
  splicebert-vep corpus --genome human GRCh38.fa grch38 --genome mouse GRCm39.fa mouse.gtf.gz -O two.corpus
"""


@cloup.command(epilog=_EPILOG)
@cloup.option(
    "--genome", "genomes", nargs=3, type=(str, PATH, str), multiple=True, required=True,
    metavar="SPECIES FASTA ANNOTATION",
    help="A genome to take genes from; may be repeated, also for one species. ANNOTATION is what -A takes elsewhere.",
)  # fmt: skip
@cloup.option("-O", "--output", required=True, type=PATH, metavar="FILE", help="Corpus to write.")
@cloup.option(
    "--held-out", type=click.FloatRange(0, 1, max_open=True), default=0.05,
    show_default=True, metavar="SHARE", help="Share of the genes kept for validation.",
)  # fmt: skip
def corpus(genomes: tuple[tuple[str, str, str], ...], output: str, held_out: float) -> None:
    """Pack genes for 'pretrain'.

    Taken are protein-coding and lncRNA genes, introns included, on the transcribed strand, as far as the FASTA holds
    them; two bits per base.
    """
    from splicebert_vep.training.corpus import Source, build_corpus

    sources = [Source(species, Path(fasta), annotation) for species, fasta, annotation in genomes]
    built = build_corpus(sources, held_out)
    built.save(Path(output))
    say(
        f"{len(built.names):,} genes, {len(built):,} nt; {int(built.held_out.sum()):,} genes are held out; "
        f"SHA-256 of the content {built.digest}"
    )

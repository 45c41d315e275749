"""Small genomes and models for the tests of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from corpora import write_genome
from splicebert_vep.model.bert import BertConfig, SpliceBert
from splicebert_vep.model.checkpoint import save_checkpoint
from splicebert_vep.train.corpus import Source
from splicebert_vep.train.pretrain import initialise
from splicebert_vep.train.recipe import FineTuneRecipe, Stage

DONOR, ACCEPTOR = "GTAAGTACGT", "TTTCTTTTCTTTGCAG"  # planted: a tiny model can learn them

RECIPE = FineTuneRecipe(
    stages=(Stage(20, 40, 5000, 0.8, anywhere=True), Stage(60, 60, 5000, 0.5)),
    batch_tokens=500, head="linear", warmup_steps=3, learning_rate=3e-3, validate_every=5,
)  # fmt: skip


def genome(
    folder: Path, contigs: Mapping[str, str], *, name: str = "genome", first: int = 0, donor: str = DONOR,
    acceptor: str = ACCEPTOR, coding: bool = True,
) -> tuple[Path, Path]:  # fmt: skip
    """Write a FASTA and a GTF with several contigs; a contig's value are the strands of its genes."""
    fasta, gtf = folder / f"{name}.fa", folder / f"{name}.gtf"
    bases, lines = "", ""
    for contig, strands in contigs.items():
        one = write_genome(
            folder, strands, name="part", contig_name=contig, first=first, coding=coding, donor=donor, acceptor=acceptor
        )
        first += len(strands)
        bases, lines = bases + one[0].read_text(), lines + one[1].read_text()
    fasta.write_text(bases)
    gtf.write_text(lines)
    return fasta, gtf


def source(folder: Path, contigs: Mapping[str, str], species: str = "test", **options) -> Source:
    fasta, gtf = genome(folder, contigs, name=species, **options)
    return Source(species, fasta, str(gtf))


def tiny_model(folder: Path, *, longest: int = 60, trained: int | None = 60) -> Path:
    """Write a model of 2 layers and 32 hidden units that begins as training does."""
    config = BertConfig(10, 32, 2, 4, 64, longest + 2, 2, 1e-5, trained)
    model = SpliceBert(config)
    initialise(model, neighbour_layers=2, seed=5)
    save_checkpoint(model, folder)
    return folder

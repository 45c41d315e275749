"""Precomputed files for tests: a genome small enough to check by hand, and runs that stop half-way."""

from __future__ import annotations

import gzip
from pathlib import Path

from splicebert_vep.opening import Opening
from test_cli import FASTA, records

NULL = ["-R", FASTA, "--backend", "null"]
TWO_GENES = "chr17:43125424-43125433"  # BRCA1 on -, NBR2 on +
REGION = "chr17:43045600-43045749"  # BRCA1 alone: 450 SNVs, so two units


def text_of(path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def body(path) -> list[list[str]]:
    return records(text_of(path))


class StoppedError(Exception):
    """Stands for the process being killed: nothing of the program catches it."""


def opening(**changes):
    values = dict(
        reference=str(FASTA), annotation="grch38", model="splicebert-mini", backend="null", device="auto",
        precision="fp32", threads=1, batch_tokens=None, window=510, flank=100, window_mode="centred", scores=(),
        mode="exact", radius=240,
    )  # fmt: skip
    return Opening(**{**values, **changes})


def stop_at(wanted, count):
    def progress(task, done, of):
        if (task, done) == (wanted, count):
            raise StoppedError

    return progress


GTF = """\
c1\tx\tgene\t41\t190\t.\t+\t.\tgene_id "A"; gene_name "ALPHA"; gene_biotype "protein_coding";
c1\tx\ttranscript\t41\t190\t.\t+\t.\tgene_id "A"; transcript_id "TA"; gene_biotype "protein_coding";
c1\tx\texon\t41\t190\t.\t+\t.\tgene_id "A"; transcript_id "TA";
c1\tx\tCDS\t41\t190\t.\t+\t0\tgene_id "A"; transcript_id "TA";
c1\tx\tgene\t101\t210\t.\t-\t.\tgene_id "B b,%"; gene_name "BETA"; gene_biotype "protein_coding";
c1\tx\ttranscript\t101\t210\t.\t-\t.\tgene_id "B b,%"; transcript_id "TB"; gene_biotype "protein_coding";
c1\tx\texon\t101\t210\t.\t-\t.\tgene_id "B b,%"; transcript_id "TB";
c1\tx\tCDS\t101\t210\t.\t-\t0\tgene_id "B b,%"; transcript_id "TB";
"""
# 1-based 101 to 112 of c1, after a T
REPEAT = "GCAAAATCNTTG"


def write_tiny(folder: Path):
    """Write a genome with two genes of both strands on c1; returns options that suit it, and the bases of c1."""
    around = "ACGTTGCATCAGGTCTACTGATCGGATCTTAGCATCGACT" * 3
    bases = around[:99] + "T" + REPEAT + around[:108]
    (folder / "tiny.fa").write_text(f">c0\n{around}\n>c1\n{bases.lower()}\n")
    (folder / "tiny.gtf").write_text(GTF)
    small = ["--window", "41", "--flank", "5", "--backend", "null"]
    return ["-R", folder / "tiny.fa", "-A", folder / "tiny.gtf", *small], bases

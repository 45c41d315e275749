"""Cohorts for tests: files that share most of their alleles, and the whole of what a run leaves."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

from splicebert_vep.genome.reference import Reference
from test_cli import FASTA

FIRST, LENGTH = 43045600, 150  # 1-based; within BRCA1: 450 SNVs, so two units


def snvs(first=FIRST, length=LENGTH):
    """All SNVs of a stretch of chr17 as (pos, ref, alt)."""
    with Reference(FASTA) as reference:
        bases = reference.fetch("chr17", first - 1, first - 1 + length).decode()
    return [(first + i, base, alt) for i, base in enumerate(bases) for alt in "ACGT" if alt != base]


def write_cohort(folder: Path, files=3, seed=1, share=0.8, **stretch) -> Path:
    """Write single-sample VCFs: one with all SNVs, the others with most of them; returns the manifest."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    everything = snvs(**stretch)
    for number in range(files):
        lines = [
            "##fileformat=VCFv4.2",
            "##contig=<ID=chr17,length=83257441>",
            '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
            f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS{number}",
        ]
        for pos, ref, alt in everything:
            if number == 0 or rng.random() < share:
                lines.append(f"chr17\t{pos}\t.\t{ref}\t{alt}\t.\tPASS\tX=1\tGT\t{rng.choice(['0/1', '1|1', '0/0'])}")
        (folder / f"s{number}.vcf").write_text("\n".join(lines) + "\n")
    manifest = folder / "manifest.tsv"
    manifest.write_text("".join(f"s{number}.vcf\tsample{number}\n" for number in range(files)))
    return manifest


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a run is for, and its summary but for what it says of the plan."""
    kept = [*sorted((folder / "annotated").iterdir()), folder / "cohort.parquet"]
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
    summary = json.loads((folder / "cohort.json").read_text())
    del summary["plan"]  # which knows where the store lies
    return {**found, "cohort.json": json.dumps(summary)}

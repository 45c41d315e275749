"""The same change of an RNA has one place and one score, whichever strand its gene lies on."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from factories import EXAMPLES
from splicebert_vep import Annotator, Variant
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.gene_table import GeneTable
from splicebert_vep.sequence.tokens import other_strand

LOW, HIGH = 43_044_000, 43_126_000  # of chr17 in the example FASTA: BRCA1, on -
PLACE = (
    "region", "site_offset", "distance", "site_hit", "exon", "intron", "other_region", "other_offset", "other_site_hit",
)  # fmt: skip


def write_both_ways(folder: Path, bases: str, low: int = LOW) -> tuple[Path, Path]:
    """Write a piece of chr17 as contig ``there``, its reverse complement as ``back``, and BRCA1's table on both."""
    whole, length = load_table("grch38"), len(bases)
    row = whole.symbols.index("BRCA1")
    rows = slice(int(whole.exon_offsets[row]), int(whole.exon_offsets[row + 1]))
    kept = (whole.exon_start[rows] >= low) & (whole.exon_end[rows] <= low + length)
    start, end = (column[rows][kept] - low for column in (whole.exon_start, whole.exon_end))
    flags = whole.exon_flags[rows][kept]
    order = np.lexsort((length - start, length - end))
    cds = whole.cds_start[row] - low, whole.cds_end[row] - low
    twice = {
        name: (getattr(whole, name)[row],) * 2
        for name in ("gene_ids", "symbols", "biotypes", "transcript_ids", "refseq_ids")
    }
    table = GeneTable(
        name="both ways", source="BRCA1 of grch38", assembly=None, contig_lengths={}, contigs=("back", "there"),
        gene_contig=np.array([0, 1]), gene_strand=np.array([1, -1]), choice=whole.choice[[row, row]], **twice,
        gene_start=np.array([length - end.max(), start.min()]), gene_end=np.array([length - start.min(), end.max()]),
        cds_start=np.array([length - cds[1], cds[0]]), cds_end=np.array([length - cds[0], cds[1]]),
        exon_offsets=np.array([0, len(start), 2 * len(start)]),
        exon_start=np.concatenate([(length - end)[order], start]),
        exon_end=np.concatenate([(length - start)[order], end]), exon_flags=np.concatenate([flags[order], flags]),
    )  # fmt: skip
    fasta, genes = folder / "both.fa", folder / "both.genes.parquet"
    fasta.write_text(f">there\n{bases}\n>back\n{other_strand(bases)}\n")
    table.save(genes)
    return fasta, genes


def both_ways(bases: str, pos: int, ref: str, alt: str, low: int = LOW) -> tuple[Variant, Variant]:
    """Return a change of chr17, POS 1-based, REF padded, on both contigs: the other one padded on its other side."""
    start = pos - 1 - low
    assert bases[start : start + len(ref)] == ref
    end = start + len(ref)
    after = bases[end]  # the base before the change on the other contig
    there = Variant("there", start + 1, ref, alt)
    back = Variant("back", len(bases) - end, other_strand(ref[1:] + after), other_strand(alt[1:] + after))
    return there, back


# 1-based POS on GRCh38 chr17 and what changes: all in or beside exons, many in repeats of their own bases.
CASES = [
    (43045691, "T", "TG"),  # ClinVar 37683
    (43045675, "CAGTCAGTAGTGGCTGT", "C"),  # 1748398
    (43047638, 1, ""),  # at the donor of exon 22
    (43047642, 1, "GGA"),
    (43047640, 0, "dup"),  # duplications around a donor's +1
    (43047641, 0, "dup"),
    (43047642, 0, "dup"),
    (43063873, 0, "dup"),
    (43063951, 2, ""),  # around an acceptor
    (43063952, 1, ""),
    (43070926, 3, ""),  # a repeat
]
SCORES = ("PLLR", "KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "N_SITES", "EMB_COS", "EMB_L2")  # and DS_* in time


@pytest.fixture(scope="module")
def bases() -> str:
    with gzip.open(EXAMPLES / "brca1.fa.gz", "rt") as fasta:
        text = fasta.read().partition("\n")[2].replace("\n", "")
    return text[LOW:HIGH].upper()


def written(bases: str, case: tuple[int, object, str]) -> tuple[int, str, str]:
    pos, what, alt = case
    if isinstance(what, str):
        return pos, what, alt
    ref = bases[pos - 1 - LOW : pos + what - LOW]
    return pos, ref, ref[0] + (ref[0] if alt == "dup" else alt)


def test_indels_of_a_mirrored_gene(bases: str, tmp_path: Path) -> None:
    fasta, genes = write_both_ways(tmp_path, bases)
    pairs = [both_ways(bases, *written(bases, case)) for case in CASES]
    with Annotator(fasta, genes, scores=",".join(SCORES), trust_build=True, threads=1) as annotator:
        results = list(annotator.score([one for pair in pairs for one in pair]))
    for there, back in zip(results[::2], results[1::2], strict=True):
        assert (there.gene.strand, back.gene.strand) == ("-", "+")
        assert [getattr(there.gene, name) for name in PLACE] == [getattr(back.gene, name) for name in PLACE]
        for name in SCORES:
            assert there[name] == pytest.approx(back[name], abs=1e-4), (there.variant, name)
    hits = [one.gene.site_hit for one in results[::2]]
    assert "donor" in hits and "acceptor" in hits and None in hits

"""benchmarks/embedding_picture.py takes the sites and pairs that it says it takes."""

import importlib.util
import random
import sys

import pytest

from factories import ROOT
from oracle import revcomp

SCRIPT = ROOT / "benchmarks" / "embedding_picture.py"
# 5' to 3': an exon of 20, an intron of 100 with a GT at 50 and an AG 40 nt behind it, an exon of 30
EXON, LAST = "C" * 20, "C" * 30
INTRON = "GT" + "C" * 28 + "GT" + "C" * 38 + "AG" + "C" * 26 + "AG"
GENE = EXON + INTRON + LAST
GENES = "##gff-version 3\n" + "".join(
    f"c1\tx\tgene\t{start}\t{start + 149}\t.\t{strand}\t.\tID=gene:{name};gene_id={name};biotype=protein_coding\n"
    f"c1\tx\tmRNA\t{start}\t{start + 149}\t.\t{strand}\t.\tID=transcript:T{name};Parent=gene:{name}\n"
    + "".join(f"c1\tx\texon\t{a}\t{b}\t.\t{strand}\t.\tParent=transcript:T{name}\n" for a, b in exons)
    for name, start, strand, exons in (
        ("P", 101, "+", ((101, 120), (221, 250))),
        ("M", 401, "-", ((401, 430), (531, 550))),
    )
)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("embedding_picture", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def genes(script, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    bases = "A" * 100 + GENE + "A" * 150 + revcomp(GENE) + "A" * 100
    (tmp_path / "c.fa").write_text(f">c1\n{bases}\n")
    (tmp_path / "genes.gff3").write_text(GENES)
    found = script.held_out_genes(tmp_path / "c.fa", str(tmp_path / "genes.gff3"), (), 1.0)
    assert script.held_out_genes(tmp_path / "c.fa", str(tmp_path / "genes.gff3"), (), 0.0) == []
    return bases, found


def test_sites_and_introns_of_both_strands(genes):
    bases, found = genes
    assert [(gene.name, gene.strand) for gene in found] == [("P", "+"), ("M", "-")]
    for gene in found:
        assert gene.introns == [(20, 120)]
        assert gene.sites == {"GT": [20], "random GT": [50], "AG": [118], "random AG": [90]}
        for at, word in ((20, "GT"), (50, "GT"), (90, "AG"), (118, "AG")):
            contig, start, end, _, _, strand = gene.bed(at, at + 2, "x").split()
            piece = bases[int(start) : int(end)]
            assert (contig, piece if strand == "+" else revcomp(piece)) == ("c1", word)


def test_pairs_have_the_distance_and_the_sites_that_they_should(script, genes):
    _, found = genes
    within = script.inside_introns(found)

    def drawn(apart, alike=lambda gene, at: True):
        return script.controls(within, apart, alike, random.Random(1))

    assert set(drawn(40)) == {(0, 50), (1, 50)}  # a GT and an AG 40 nt apart, neither of them a site
    assert {at for _, at in drawn(70)} == {20}  # from a donor to no acceptor
    assert {at for _, at in drawn(68)} == {50}  # to an acceptor from no donor
    assert drawn(98) == []  # that is the intron itself
    assert drawn(40, lambda gene, at: gene == 1) == [(1, 50)]
    assert found[0].gc(20, 23) == 2 / 3  # GTC
    assert found[1].gc(0, 120) == 116 / 120

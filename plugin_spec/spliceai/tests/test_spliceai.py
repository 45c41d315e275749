"""The plugin with a stand-in for SpliceAI, whose numbers are: POS % 100 / 100, -0.00, G of 106 bases / 1000, gene."""

import signal
import sys

import pytest
from splicebert_vep_spliceai import SITE, SpliceAi, anchored, introns_fit, values

from splicebert_vep_spec import Allele, GeneContext, Refused
from splicebert_vep_spec.testing import MadeUpBases, SequenceScorerConformance

GRCH38 = {"SPLICEAI_VEP_ANNOTATION": "grch38"}
ALL = frozenset(field.id for field in SpliceAi({}).fields)


class TestSpliceAi(SequenceScorerConformance):
    scorer = SpliceAi(GRCH38)


class Bases:
    def __init__(self, text, contig="chr1"):
        self.text, self.lengths = text, {contig: len(text)}

    def fetch(self, contig, start, end):
        assert contig in self.lengths
        return self.text[max(0, start) : max(0, end)].encode()


def context(symbol, strand="+"):
    return GeneContext(
        "ENSG", symbol, "ENST", "MANE_Select", "protein_coding", strand, "intron", None, None, None, None, False
    )


def scored(allele, *genes, bases=None, settings=GRCH38):
    return SpliceAi(settings).score_alleles([(allele, gene) for gene in genes], bases or MadeUpBases(), ALL)


def changed(start=15_050):
    ref = MadeUpBases().fetch("chr1", start, start + 1).decode()
    return Allele("chr1", start, ref, "A" if ref != "A" else "C")


def test_a_value_is_that_of_the_context_s_own_gene():
    found = scored(changed(), context("GENE+"), context("GENE-", "-"))
    assert found["SpliceAI_DS_AG"] == [0.51, 0.51]  # POS is 15051
    assert found["SpliceAI_DS_DL"] == [0.4, 0.9]
    assert found["SpliceAI_DS_MAX"] == [0.51, 0.9]
    assert found["SpliceAI_DS_AL"] == [0.0, 0.0] and str(found["SpliceAI_DS_AL"][0]) == "0.0"
    guanines = MadeUpBases().fetch("chr1", 15_045, 15_151).count(b"G")
    assert found["SpliceAI_DS_DG"] == [float(f"{guanines / 1000:.2f}")] * 2
    assert [found[f"SpliceAI_DP_{site}"][0] for site in SITE] == [1, 1, -50, 0]


@pytest.mark.parametrize("name", ["1", "NC_000001.10", "NC_000001.11"])
def test_a_contig_has_the_same_values_under_its_other_names(name):
    """A store knows it by its sequence: what is missing under one name would be missing under all."""
    here, genes = changed(), (context("GENE+"), context("GENE-", "-"))
    bases = Bases(MadeUpBases().fetch("chr1", 0, 40_000).decode(), name)
    there = Allele(name, here.start, here.ref, here.alt)
    assert scored(there, *genes, bases=bases) == scored(here, *genes)


def test_contigs_are_known_as_in_spliceai_s_table():
    names = ["NC_000009.12", "NC_000022.10", "NC_000023.11", "NC_000024.9", "NC_012920.1", "NC_000067.7", "chrX", "7"]
    known = [anchored(Allele(name, 5, "A", "C"), None).chrom for name in names]
    assert known == ["9", "22", "X", "Y", "NC_012920.1", "NC_000067.7", "chrX", "7"]


@pytest.mark.parametrize("gene", [context("OTHER"), context(None), context("GENE+", "-")])
def test_never_another_gene_s(gene):
    assert set(map(tuple, scored(changed(), gene).values())) == {(None,)}


def test_what_spliceai_does_not_score_is_missing():
    start = 15_050
    two = MadeUpBases().fetch("chr1", start, start + 2).decode()
    delins = Allele("chr1", start, two, "A" if two[0] != "A" else "C")
    assert scored(delins, context("GENE+"))["SpliceAI_DS_MAX"] == [0.51]  # one base on a side: it does
    mnv = Allele("chr1", start, two, two.translate(str.maketrans("ACGT", "CGTA")))
    for allele in (mnv, changed(3)):  # and none near the contig's ends
        assert scored(allele, context("GENE+"))["SpliceAI_DS_MAX"] == [None]
    unknown = scored(Allele("chr9", 7, "A", "C"), context("GENE+"), bases=Bases("A" * 99, "chr9"))
    assert unknown["SpliceAI_DP_AG"] == [None]


def test_an_indel_has_the_base_before_it():
    bases = Bases("GATTACA")
    assert anchored(Allele("chr1", 4, "A", "C"), bases) == ("chr1", 5, "A", ("C",))
    assert anchored(Allele("chr1", 4, "AC", ""), bases) == ("chr1", 4, "TAC", ("T",))
    assert anchored(Allele("chr1", 4, "", "GG"), bases) == ("chr1", 4, "T", ("TGG",))
    assert anchored(Allele("chr1", 4, "A", "GG"), bases) == ("chr1", 5, "A", ("GG",))
    assert anchored(Allele("chr1", 0, "G", ""), bases) == ("chr1", 1, "G", ("",))


def test_an_entry_is_read_as_spliceai_writes_it():
    found = values("CA|TTN|0.07|1.00|-0.00|0.00|-7|-1|35|-29")  # the example of its README
    assert found.pop("SpliceAI_DS_MAX") == 1.0
    assert list(found.values()) == [0.07, 1.0, 0.0, 0.0, -7, -1, 35, -29]
    assert [type(value) for value in found.values()] == [float] * 4 + [int] * 4
    assert values("AC|TTN|.|.|.|.|.|.|.|.") == {}


def test_introns_tell_the_build():
    exon, plus, minus, wrong = "A" * 10, "GT" + "C" * 38, "CT" + "C" * 38, "CC" * 20
    starts, ends = [1, 51, 101, 151, 201], [10, 60, 110, 160, 210]  # 1-based, inclusive

    def fit(introns, strand, starts=starts, ends=ends):
        return introns_fit("chr1", starts, ends, strand, Bases(exon.join(["", *introns, ""])))

    assert fit([plus] * 4, "+") and not fit([plus] * 4, "-")
    assert fit([minus] * 4, "-") and not fit([minus] * 4, "+")
    assert fit([plus, wrong, plus, wrong], "+") and not fit([plus, wrong, wrong, wrong], "+")
    assert fit(["N" * 40, wrong, wrong, wrong], "+")  # three are too few to tell
    assert fit([wrong] * 4, "+", starts=[1, 12, 23, 34, 201], ends=[10, 21, 32, 43, 210])  # gaps of 1 nt are no introns


def test_settings_reach_spliceai_and_the_version():
    settings = {**GRCH38, "SPLICEAI_VEP_DISTANCE": "200", "SPLICEAI_VEP_MASK": "1"}
    found = scored(changed(), context("GENE+"), settings=settings)
    assert (found["SpliceAI_DP_DG"], found["SpliceAI_DP_DL"]) == ([-200], [1])
    scorer = SpliceAi(settings)
    assert scorer.version == "1.3.1+grch38-D200-M1"
    assert all(scorer.version in field.description for field in scorer.fields)


def test_a_table_of_ones_own_is_known_by_its_content(tmp_path):
    table = tmp_path / "genes.txt"
    table.write_bytes(b"")
    # SHA-256 of nothing begins e3b0c44298fc
    assert SpliceAi({"SPLICEAI_VEP_ANNOTATION": str(table)}).version == "1.3.1+e3b0c44298fc-D50-M0"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "no default build"),
        ({**GRCH38, "SPLICEAI_VEP_DISTANCE": "5000"}, "0 to 4999"),
        ({**GRCH38, "SPLICEAI_VEP_DISTANCE": "far"}, "0 to 4999"),
        ({**GRCH38, "SPLICEAI_VEP_MASK": "2"}, "0 or 1"),
        ({"SPLICEAI_VEP_ANNOTATION": "genes.txt"}, "cannot read genes.txt"),
    ],
)
def test_what_cannot_be_is_refused(settings, said):
    with pytest.raises(Refused, match=said):
        scored(changed(), context("GENE+"), settings=settings)


def test_a_gene_twice_is_refused():
    with pytest.raises(Refused, match="a gene twice: TWICE, TWICE at chr2"):
        scored(Allele("chr2", 60, "A", "C"), context("TWICE"), bases=Bases("A" * 100, "chr2"))


def test_a_table_of_another_build_is_refused(monkeypatch):
    import spliceai.utils

    many = ("MANY", "3", "+", 1, 400, [1, 51, 101, 151, 201], [10, 60, 110, 160, 210])
    monkeypatch.setattr(spliceai.utils, "GENES", [many])
    with pytest.raises(Refused, match="not of the FASTA's build: see MANY"):
        scored(Allele("chr3", 60, "A", "C"), context("MANY"), bases=Bases("A" * 400, "chr3"))


def test_another_spliceai_or_none_is_refused(monkeypatch):
    scorer = SpliceAi(GRCH38)
    for found in ("2.0.0", "none"):
        scorer.installed = found
        with pytest.raises(Refused, match=f"SpliceAI 1.3.1, found {found}"):
            scorer.score_alleles([(changed(), context("GENE+"))], MadeUpBases(), ALL)
    monkeypatch.setitem(sys.modules, "keras", None)  # as if it were not installed
    with pytest.raises(Refused, match="cannot be imported: .*keras"):
        scored(changed(), context("GENE+"))


def test_ctrl_c_stays_what_it_was(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "spliceai"]:
        monkeypatch.delitem(sys.modules, name)
    before = signal.getsignal(signal.SIGINT)
    scored(changed(), context("GENE+"))
    assert "spliceai.utils" in sys.modules
    assert signal.getsignal(signal.SIGINT) is before


def test_nothing_asked_nothing_opened():
    assert SpliceAi({}).score_alleles([], MadeUpBases(), ALL) == {field: [] for field in ALL}

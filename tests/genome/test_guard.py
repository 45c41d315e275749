"""The build guard: a wrong build ends the run, a right one never does."""

import random
from collections import namedtuple
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factories import FakeReference
from splicebert_vep.errors import BuildError
from splicebert_vep.genome.contigs import ContigNames
from splicebert_vep.genome.guard import BuildGuard
from splicebert_vep_spec import Interval

RNG = random.Random(2)
CHR = "".join(RNG.choice("ACGT") for _ in range(5000))
Site = namedtuple("Site", "kind strand interval")


@dataclass
class Reference(FakeReference):
    path: Path = Path("g.fa")

    def find(self, contig):
        return ContigNames(self.sequences).find(contig)


@dataclass
class Genes:
    sites: list

    lengths: dict = field(default_factory=dict)

    def site_intervals(self, contig, start, end):
        return self.sites

    def contig_length(self, name):
        return self.lengths.get(name)

    def has_contig(self, name):
        return name != "unannotated"


REFERENCE = Reference({"chr1": CHR, "chrM": "ACGT" * 100})
NO_SITES = Genes([])


def guard(header=None, reference=REFERENCE, genes=NO_SITES):
    return BuildGuard(header or {}, reference, genes, "table")


def right(n, chrom="1"):
    return [(chrom, pos, CHR[pos - 1]) for pos in range(100, 100 + n)]


def wrong(n, chrom="1"):
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    return [(chrom, pos, other[CHR[pos - 1]]) for pos in range(500, 500 + n)]


def test_lengths_that_differ_stop_the_run():
    with pytest.raises(BuildError, match=r"differs in length(.|\n)*1 of 4,999 nt(.|\n)*chr1 of 5,000 nt"):
        guard({"1": 4999})
    guard({"1": 5000, "2": 77})  # contigs that the FASTA lacks decide nothing
    guard({"1": None})
    guard({"1": 5000, "MT": 16571})  # hg19's chrM has another length than rCRS


def test_no_contig_in_common_stops_the_run():
    with pytest.raises(BuildError, match=r"no contig in common(.|\n)*one of 5, 6(.|\n)*chr1, chrM"):
        guard({"5": None, "6": 12})
    strangers = guard()
    strangers.observe([("5", 10, "A")])
    with pytest.raises(BuildError, match="no contig in common"):
        strangers.finish()
    both = guard()
    both.observe([("5", 10, "A"), *right(1)])
    both.finish()
    guard().finish()  # an empty VCF is fine


def test_mismatches_over_a_tenth_of_at_least_twenty_stop_the_run():
    guard().observe(wrong(19))
    with pytest.raises(BuildError, match=r"20 of 20 compared REF bases differ, first 1:500"):
        guard().observe(wrong(20))
    guard().observe(right(90) + wrong(10))
    with pytest.raises(BuildError, match="at most 10% mismatches"):
        guard().observe(right(90) + wrong(11))


def test_chunks_add_up():
    watching = guard()
    watching.observe(wrong(15))
    assert not watching.decided
    with pytest.raises(BuildError):
        watching.observe(wrong(5))


def test_after_a_thousand_bases_nothing_is_compared():
    watching = guard()
    watching.observe([("1", 1 + i, CHR[i : i + 50]) for i in range(0, 1000, 50)])
    assert watching.decided
    watching.observe(wrong(500))


def test_n_lower_case_and_mitochondria_never_decide():
    hidden = Reference({"chr1": "N" * 5000, "chrM": "A" * 400})
    guard(reference=hidden).observe(wrong(100))
    guard().observe([("1", pos, CHR[pos - 1].lower()) for pos in range(100, 130)])
    guard().observe([("MT", pos, "T") for pos in range(1, 61, 4)] * 3)


def test_one_long_record_does_not_speak_for_the_file():
    mismatched = "".join({"A": "C", "C": "G", "G": "T", "T": "A"}[base] for base in CHR[:1000])
    with pytest.raises(BuildError, match="of 50 compared"):
        guard().observe([("1", 1, mismatched)])


def test_positions_beyond_the_contig_are_mismatches():
    with pytest.raises(BuildError):
        guard().observe([("1", 6000 + i, "A") for i in range(20)])


@pytest.mark.parametrize("strand", "+-")
def test_sites_that_are_not_gt_ag_stop_the_run(strand):
    donor, acceptor = ("GT", "AG") if strand == "+" else ("AC", "CT")
    good = Reference({"chr1": (donor + "CCCC" + acceptor + "CCCC") * 100})
    sites = [
        Site(kind, strand, Interval(start + shift, start + shift + 2))
        for start in range(0, 1000, 12)
        for kind, shift in (("donor", 0), ("acceptor", 6))
    ]
    guard(reference=good, genes=Genes(sites)).observe([("1", 3, "C")])
    moved = [Site(site.kind, strand, Interval(site.interval.start + 3, site.interval.end + 3)) for site in sites]
    with pytest.raises(BuildError, match=r"splice sites are not GT-AG(.|\n)*table on g.fa(.|\n)*-A grch37"):
        guard(reference=good, genes=Genes(moved)).observe([("1", 3, "C")])
    guard(reference=good, genes=Genes(moved[:19])).observe([("1", 3, "C")])  # too few to tell


def test_a_contig_of_another_length_than_the_annotations_stops_the_run():
    other = Genes([], {"1": 4999, "MT": 1})
    with pytest.raises(
        BuildError, match=r"annotation and the FASTA(.|\n)*1 of 4,999 nt(.|\n)*chr1 of 5,000 nt, 0 sites"
    ):
        guard(genes=other).observe(right(1))
    guard(genes=other).observe([("MT", 1, "A")])
    guard(genes=Genes([], {"1": 5000, "2": 3})).observe(right(1))


def test_a_fasta_cut_from_a_longer_contig_is_known_by_its_sites():
    good = Reference({"chr1": "GTCCCCAGCCCC" * 100})
    sites = [Site("donor", "+", Interval(start, start + 2)) for start in range(0, 600, 12)]
    guard(reference=good, genes=Genes(sites, {"1": 10**8})).observe([("1", 3, "C")])
    with pytest.raises(BuildError, match="19 sites to compare"):
        guard(reference=good, genes=Genes(sites[:19], {"1": 10**8})).observe([("1", 3, "C")])


def test_an_annotation_without_the_contigs_is_warned_of():
    strange = guard(reference=Reference({"unannotated": "ACGT" * 100}))
    strange.observe([("unannotated", 1, "A")])
    assert "has none of the contigs" in strange.finish()[0]
    known = guard()
    known.observe(right(1))
    assert known.finish() == []


def test_a_first_chunk_that_satisfies_the_guard_is_judged_all_the_same():
    """Enough bases and enough sites in one chunk once ended the comparison without a verdict."""
    good = [Site("donor", "+", Interval(at, at + 2)) for at in range(5000) if CHR[at : at + 2] == "GT"]
    assert len(good) >= 200
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    with pytest.raises(BuildError, match="1000 of 1000 compared REF bases differ"):
        guard(genes=Genes(good)).observe([("1", pos, other[CHR[pos - 1]]) for pos in range(1, 2000)])
    odd = [Site("donor", "+", Interval(at, at + 2)) for at in range(5000) if CHR[at : at + 2] == "CC"]
    with pytest.raises(BuildError, match="200 of 200 annotated sites"):
        guard(genes=Genes(odd)).observe(right(1500))

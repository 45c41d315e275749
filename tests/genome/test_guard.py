"""The build guard: a wrong build ends the run, a right one never does."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factories import FakeReference
from splicebert_vep.errors import BuildError
from splicebert_vep.genome.contigs import ContigNames
from splicebert_vep.genome.gene_index import SpliceSite
from splicebert_vep.genome.guard import BuildGuard
from splicebert_vep_spec import Interval

CHR = "".join(random.Random(2).choices("ACGT", k=5000))
OTHER = CHR.translate(str.maketrans("ACGT", "CGTA"))


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


def guard(header=None, genes=None, bases=CHR, **options):
    reference = Reference({"chr1": bases, "chrM": "ACGT" * 100})
    return BuildGuard(header or {}, reference, genes or Genes([]), "table", **options)


def records(bases, first, count):
    return [("1", pos, bases[pos - 1]) for pos in range(first, first + count)]


def right(count, first=100):
    return records(CHR, first, count)


def wrong(count, first=500):
    return records(OTHER, first, count)


def sites(kind, starts, strand="+"):
    return [SpliceSite(kind, strand, Interval(at, at + 2)) for at in starts]


def test_lengths_that_differ_stop_the_run():
    with pytest.raises(BuildError, match="4,999"):
        guard({"1": 4999})
    guard({"1": 5000, "2": 77})  # contigs that the FASTA lacks decide nothing
    guard({"1": None})
    guard({"1": 5000, "MT": 16571})  # hg19's chrM has another length than rCRS


def test_a_person_may_vouch_for_lengths_but_not_for_bases_or_sites():
    bases, lengths = "GTCCCCAGCCCC" * 100, {"1": 10**8}
    vouched = guard({"1": 10**8}, Genes(sites("donor", range(0, 60, 12)), lengths), bases, lengths_trusted=True)
    vouched.observe([("1", 3, "C")])
    assert vouched.finish() == []
    with pytest.raises(BuildError, match="REF bases"):
        guard({"1": 10**8}, lengths_trusted=True).observe(wrong(20))
    with pytest.raises(BuildError, match="GT-AG"):
        odd = Genes(sites("donor", range(3, 600, 12)), lengths)
        guard(genes=odd, bases=bases, lengths_trusted=True).observe([("1", 3, "C")])
    with pytest.raises(BuildError, match="--trust-build"):
        guard({"1": 10**8})


def test_mitochondrial_contigs_alone_are_no_other_build():
    reference = Reference({"chr1": CHR})
    for header in ({"MT": 16569}, {"chrM": None}):
        seen = BuildGuard(header, reference, Genes([]), "table")
        seen.observe([("MT", 10, "A")])
        assert "mitochondrial" in seen.finish()[0]
        mixed = BuildGuard(header, reference, Genes([]), "table")  # a header that lacks what the records need
        mixed.observe([("MT", 10, "A"), *right(30)])
        assert mixed.finish() == []


def test_no_contig_in_common_stops_the_run():
    with pytest.raises(BuildError):
        guard({"5": None, "6": 12})
    strangers, by_hand, both = guard(), guard(whole_file=False), guard()
    strangers.observe([("5", 10, "A")])
    with pytest.raises(BuildError):
        strangers.finish()
    by_hand.observe([("5", 10, "A")])
    both.observe([("5", 10, "A"), *right(1)])
    for fine in (by_hand, both, guard()):  # an empty VCF too
        assert fine.finish() == []


@pytest.mark.parametrize(
    ("chunks", "stops"),
    [
        ([wrong(19)], False),
        ([wrong(20)], True),
        ([right(90) + wrong(10)], False),  # a tenth
        ([right(90) + wrong(11)], True),
        ([wrong(15), wrong(5)], True),  # chunks add up
        (
            [[("1", at, CHR[at - 1 : at + 49]) for at in range(1, 1001, 50)], wrong(500)],
            False,
        ),  # 1,000 bases are enough
        ([wrong(1000)], True),  # in one chunk too
        ([[("1", pos, base.lower()) for _, pos, base in right(30)]], False),
        ([[("MT", pos, "T") for pos in range(1, 61, 4)] * 3], False),
        ([[("1", 0, "A")] * 30], False),  # the telomere has no base
        ([[("1", 6000 + i, "A") for i in range(20)]], True),  # beyond the contig
    ],
)
def test_mismatches_over_a_tenth_of_at_least_twenty_stop_the_run(chunks, stops):
    watching = guard()
    for chunk in chunks[:-1]:
        watching.observe(chunk)
    if stops:
        with pytest.raises(BuildError):
            watching.observe(chunks[-1])
    else:
        watching.observe(chunks[-1])


def test_n_of_the_fasta_decides_nothing():
    hidden = guard(bases="N" * 5000)
    hidden.observe(wrong(100))
    assert not hidden.decided


def test_one_long_record_does_not_speak_for_the_file():
    with pytest.raises(BuildError, match="of 50 compared"):
        guard().observe([("1", 1, OTHER[:1000])])


@pytest.mark.parametrize("strand", "+-")
def test_sites_that_are_not_gt_ag_stop_the_run(strand):
    donor, acceptor = ("GT", "AG") if strand == "+" else ("AC", "CT")
    bases = (donor + "CCCC" + acceptor + "CCCC") * 100
    for shift, count, stops in ((0, 200, False), (3, 200, True), (3, 19, False)):  # 19 are too few to tell
        found = [
            *sites("donor", range(shift, 1000, 12), strand),
            *sites("acceptor", range(6 + shift, 1000, 12), strand),
        ][:count]
        for check in (
            lambda guard: guard.observe([("1", 3, "C")]),
            lambda guard: guard.check_stretches([("chr1", 3, 1200)]),
        ):
            if stops:
                with pytest.raises(BuildError, match="GT-AG"):
                    check(guard(bases=bases, genes=Genes(found)))
            else:
                check(guard(bases=bases, genes=Genes(found)))


def test_enough_bases_do_not_keep_sites_from_being_judged():
    odd = sites("donor", [at for at in range(5000) if CHR[at : at + 2] == "CC"])
    with pytest.raises(BuildError, match="200 of 200 annotated sites"):
        guard(genes=Genes(odd)).observe(right(1500))


def test_a_contig_of_another_length_than_the_annotations_stops_the_run():
    other = Genes([], {"1": 4999, "MT": 1})
    with pytest.raises(BuildError, match="4,999"):
        guard(genes=other).observe(right(1))
    guard(genes=other).observe([("MT", 1, "A")])
    guard(genes=Genes([], {"1": 5000, "2": 3})).observe(right(1))


def test_a_fasta_cut_from_a_longer_contig_is_known_by_its_sites():
    bases, found = "GTCCCCAGCCCC" * 100, sites("donor", range(0, 600, 12))
    guard(bases=bases, genes=Genes(found, {"1": 10**8})).observe([("1", 3, "C")])
    with pytest.raises(BuildError, match="19 sites"):
        guard(bases=bases, genes=Genes(found[:19], {"1": 10**8})).observe([("1", 3, "C")])


def test_an_annotation_without_the_contigs_is_warned_of():
    strange = BuildGuard({}, Reference({"unannotated": "ACGT" * 100}), Genes([]), "table")
    strange.observe([("unannotated", 1, "A")])
    assert len(strange.finish()) == 1
    known = guard()
    known.observe(right(1))
    assert known.finish() == []

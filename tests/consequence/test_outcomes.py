"""Outcomes of a transcript made by hand, so that every size, frame, stop and name can be counted on paper.

Exons of the gene, whose protein has 54 amino acids:

1. 10 nt of UTR, ``ATG``, five ``AAA``: c.1 to c.18, M and five K
2. ten ``GCT``: c.19 to c.48, ten A, numbers 7 to 16
3. six ``GAC``, ``GA``: c.49 to c.68, six D, numbers 17 to 22
4. ``C``, 28 ``CTG``: c.69 to c.153; D (``GA`` and ``C``), number 23, then 28 L
5. three ``TGG``, ``TAA``: c.154 to c.165, three W and the stop; ``CCTGACC`` and more of UTR

Introns are ``GTAAGT``, C and ``CAG``. Behind exon 4 a frame that begins with its first base goes on as
``CCT``, 27 ``GCT``, three ``GTG``, ``GTA``, ``ACC``, ``TGA``: 33 codons and a stop.
"""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from factories import REACH, StandIn
from factories import gene as gene_context
from splicebert_vep.consequence.outcomes import (
    THRESHOLD,
    Answers,
    Consequence,
    Effect,
    SplicedTranscript,
    consequence,
    consequences,
    sentence,
)
from splicebert_vep.genome.gene_index import Transcript
from splicebert_vep.scoring.delta import look_around
from splicebert_vep.sequence.alleles import normalise, placements
from splicebert_vep.sequence.tokens import other_strand
from splicebert_vep_spec import Allele, Interval

EXONS = [
    "CCCCCCCCCC" + "ATG" + "AAA" * 5,
    "GCT" * 10,
    "GAC" * 6 + "GA",
    "C" + "CTG" * 28,
    "TGG" * 3 + "TAA" + "CCTGACC" + "CCCCC" * 4,
]
INTRONS = [80, 300, 80, 80]
BEFORE = 60  # bases before the transcript, and behind it
SEEN = 0.95
#: What the transcript's sites are called here: A2 is the acceptor of exon 2.
SITES = ("D1", "A2", "D2", "A3", "D3", "A4", "D4", "A5")


def intron(length: int) -> str:
    return "GTAAGT" + "C" * (length - 9) + "CAG"


class Gene:
    """The gene on one strand of a contig; ``at`` and alleles count along the gene, from the contig's other end on -."""

    def __init__(self, strand: str = "+", exons: list[str] = EXONS, coding: tuple[int, int] = (10, 175)) -> None:
        text, self.exons = "C" * BEFORE, []
        for number, bases in enumerate(exons):
            self.exons.append((len(text), len(text) + len(bases)))
            text += bases + (intron(INTRONS[number]) if number < len(exons) - 1 else "")
        self.text = text + "C" * BEFORE
        self.plus = strand == "+"
        self.contig = (self.text if self.plus else other_strand(self.text)).encode()
        along = [place for start, end in self.exons for place in range(start, end)]
        cds = self._interval(along[coding[0]], along[coding[1] - 1] + 1)
        exons_there = tuple(Interval(*self._interval(*exon)) for exon in self.exons)
        self.transcript = Transcript("G", "G", "T.1", "1", strand, exons_there, Interval(*cds))

    def _interval(self, start: int, end: int) -> tuple[int, int]:
        return (start, end) if self.plus else (len(self.text) - end, len(self.text) - start)

    def fetch(self, start: int, end: int) -> bytes:
        return self.contig[max(0, start) : max(0, end)]

    def base(self, site: str) -> int:
        """Return the exonic base of a site."""
        start, end = self.exons[int(site[1:]) - 1]
        return start if site[0] == "A" else end - 1

    def allele(self, at: int, ref: str, alt: str) -> Allele:
        """Return a normalised allele; ``at`` is its first base along the gene."""
        assert self.text[at : at + len(ref)] == ref
        start, end = self._interval(at, at + len(ref))
        if not self.plus:
            ref, alt = other_strand(ref), other_strand(alt)
        anchor = self.fetch(start - 1, start).decode()
        return normalise("1", start, anchor + ref, anchor + alt, self.fetch)

    def spliced(self, known: tuple[tuple[str, int], ...] = ()) -> SplicedTranscript:
        """Return the transcript prepared; ``known`` are sites of other transcripts, by kind and base along REF."""
        sites = {"acceptor": set(), "donor": set()}
        for kind, place in [*((site[0], self.base(site)) for site in SITES[: 2 * len(self.exons) - 2]), *known]:
            sites["acceptor" if kind == "A" else "donor"].add(self._interval(place, place + 1)[0])
        return SplicedTranscript(self.transcript, sites, self.fetch)

    def run(
        self,
        allele: tuple[int, str, str],
        changes: dict[str, float],
        gains: dict[tuple[str, int], float] | None = None,
        *,
        before: dict[str, float] | None = None,
        known: tuple[tuple[str, int], ...] = (),
        others: dict[tuple[str, int], tuple[float, float]] | None = None,
        within: tuple[int, int] | None = None,
    ) -> Consequence:
        """Return the consequence of an allele.

        Args:
            changes: p(ALT) of the transcript's sites that change.
            gains: p(ALT) of new sites, by kind (A, D) and exonic base along ALT.
            before: p(REF) of the transcript's sites where it is not ``SEEN``.
            known: sites of other transcripts, by kind and base along REF.
            others: p(REF) and p(ALT) of places that both have, before the allele.
            within: start and end, along REF, of the answers; all of the contig unless given.
        """
        at, old, new = allele
        ref, alt = np.zeros((len(self.text), 2)), np.zeros((len(self.text) - len(old) + len(new), 2))
        for site in SITES[: 2 * len(self.exons) - 2]:
            p, place, column = (before or {}).get(site, SEEN), self.base(site), "AD".index(site[0])
            ref[place, column] = p
            if not at <= place < at + len(old) or len(old) == len(new):
                alt[place if place < at else place - len(old) + len(new), column] = changes.get(site, p)
        for (kind, place), p in (gains or {}).items():
            alt[place, "AD".index(kind)] = p
        for (kind, place), (p, q) in (others or {}).items():
            ref[place, "AD".index(kind)], alt[place, "AD".index(kind)] = p, q
        low, high = within or (0, len(ref))
        ref, alt = ref[low:high], alt[low : high + len(alt) - len(ref)]
        if not self.plus:
            ref, alt = ref[::-1], alt[::-1]
        case = self.spliced(known), self.allele(*allele), Answers(self._interval(low, high)[0], ref, alt)
        found = consequence(*case)
        assert consequences([case]) == [found]
        return found


@pytest.fixture(params=["+", "-"])
def gene(request) -> Gene:
    return Gene(request.param)


def first(found: Consequence) -> tuple:
    one = found.outcomes[0]
    protein = one.protein and (one.protein.frame.value, one.protein.name, one.protein.stop, one.protein.decays)
    return found.effect, one.exons, one.size, one.hgvs, protein


def donor_snv(gene: Gene, exon: int) -> tuple[int, str, str]:
    """Return the substitution of the first base of an intron."""
    return gene.exons[exon - 1][1], "G", "T"


def acceptor_snv(gene: Gene, exon: int) -> tuple[int, str, str]:
    """Return the substitution of the last base of an intron."""
    return gene.exons[exon - 1][0] - 1, "G", "T"


def names(found: Consequence) -> list[tuple]:
    return [(one.kind.value, one.exons, one.size, one.hgvs) for one in found.outcomes]


def test_skipped_exons(gene):
    found = gene.run(donor_snv(gene, 2), {"A2": 0.05, "D2": 0.0})
    expected = ("in_frame", "p.(Ala7_Ala16del)", None, False)
    assert first(found) == ("exon_skipping", (2, 2), -30, "r.19_48del", expected)
    assert found.outcomes[0].protein.length == 44
    assert found.outcomes[0].support == pytest.approx(1 - 0.05 / SEEN)

    found = gene.run(acceptor_snv(gene, 3), {"A3": 0.0, "D3": 0.0})
    expected = ("frameshift", "p.(Asp17Profs*34)", 50, False)
    assert first(found) == ("exon_skipping", (3, 3), -20, "r.49_68del", expected)
    assert (found.outcomes[0].protein.new, found.outcomes[0].protein.length) == (33, 49)


def test_neighbouring_exons_are_skipped_together_where_both_are_lost(gene):
    found = gene.run(acceptor_snv(gene, 3), {"A2": 0.2, "D2": 0.3, "A3": 0.0, "D3": 0.0})
    assert names(found)[0] == ("exon_skipping", (2, 3), -50, "r.19_68del")
    assert found.outcomes[0].support == pytest.approx(1 - 0.3 / SEEN)
    # Exon 3 alone is skipped where exon 2 is used still: its donor keeps .3 of .95.
    alone = next(one for one in found.outcomes if one.exons == (3, 3))
    assert (alone.hgvs, alone.support) == ("r.49_68del", pytest.approx(0.3 / SEEN))


def test_deleted_exons_are_skipped(gene):
    start, end = gene.exons[1][0] - 10, gene.exons[2][1] + 10
    found = gene.run((start, gene.text[start:end], ""), {})
    expected = ("frameshift", "p.(Ala7Profs*34)", 40, False)  # as where exon 3 alone is skipped, ten codons earlier
    assert first(found) == ("exon_skipping", (2, 3), -50, "r.19_68del", expected)
    assert found.outcomes[0].support == 1.0


@pytest.mark.parametrize(
    ("exon", "site", "allele", "size", "name", "protein"),
    [
        (2, ("D", 6), (0, "G", "T"), 6, "r.48_49ins[u;48+2_48+6]",
         ("in_frame", "p.(Ala16_Asp17insLeuSer)", None, False)),
        (3, ("D", 6), (0, "G", "T"), 6, "r.68_69ins[u;68+2_68+6]", ("stop_gained", "p.(Leu24*)", 24, True)),
        (2, ("D", -6), (0, "G", "T"), -6, "r.43_48del", ("in_frame", "p.(Ala15_Ala16del)", None, False)),
        # a deletion in a repeat is named at its 3' end, which is the exon's
        (2, ("A", 3), (-1, "G", "T"), -3, "r.46_48del", ("in_frame", "p.(Ala16del)", None, False)),
        (4, ("A", -4), (-1, "G", "T"), 4, "r.68_69ins[69-4_69-2;u]", ("frameshift", "p.(Leu24Hisfs*35)", 58, False)),
        (5, ("A", 1), (-1, "G", "T"), -1, "r.154del", ("frameshift", "p.(Trp52Glyfs*?)", None, None)),
    ],
)  # fmt: skip
def test_site_beside_the_lost_one(gene, exon, site, allele, size, name, protein):
    kind, offset = site
    own = f"{kind}{exon}"
    edge = gene.exons[exon - 1][kind == "D"]
    found = gene.run((edge + allele[0], *allele[1:]), {own: 0.0}, {(kind, gene.base(own) + offset): 0.8})
    effect = "exon_extension" if size > 0 else "exon_truncation"
    assert first(found) == (effect, (exon, exon), size, name, protein)
    lost, gained = found.outcomes[0].sites
    assert (lost.known, lost.before, lost.after) == ("reported", SEEN, 0.0)
    assert (gained.known, gained.before, gained.after) == ("new", 0.0, 0.8)


@pytest.mark.parametrize(("codons", "decays"), [(16, True), (15, False)])
def test_stop_decays_50_nt_before_the_last_junction(gene, codons, decays):
    # The stop of GA+TTAA leaves 2 nt of the extension and 1 + 3n of exon 4 before the junction: 51 and 48.
    plus = "+" if gene.plus else "-"
    gene = Gene(plus, [*EXONS[:3], "C" + "CTG" * codons, EXONS[4]], (10, 175 - 3 * (28 - codons)))
    found = gene.run(donor_snv(gene, 3), {"D3": 0.0}, {("D", gene.base("D3") + 6): 0.8})
    assert found.outcomes[0].protein.decays is decays


def test_pseudoexon(gene):
    end = gene.exons[1][1]
    gains = {("A", end + 100): 0.6, ("D", end + 141): 0.7}
    found = gene.run((end + 142, "C", "G"), {}, gains)
    expected = ("in_frame", f"p.(Ala16_Asp17ins{'Pro' * 14})", None, False)
    assert first(found) == ("pseudoexon", (2, 3), 42, "r.48_49ins[48+101_48+142]", expected)
    assert found.outcomes[0].support == 0.6


def test_sites_beyond_the_answers_neither_support_nor_hide_an_outcome(gene):
    start, end = gene.exons[3]
    found = gene.run((start + 41, "T", "A"), {}, {("D", start + 40): 0.7}, within=(start + 10, end - 10))
    assert names(found) == [("exon_truncation", (4, 4), -44, "r.110_153del")]
    assert (found.outcomes[0].support, len(found.outcomes[0].sites)) == (0.7, 1)
    # seen without its partner, a lost donor skips the exon as far as the donor says
    start, end = gene.exons[1]
    found = gene.run(donor_snv(gene, 2), {"A2": 0.9, "D2": 0.1}, within=(start + 10, end + 20))
    assert names(found) == [("exon_skipping", (2, 2), -30, "r.19_48del")]
    assert found.outcomes[0].support == pytest.approx(1 - 0.1 / SEEN)


def test_retained_intron(gene):
    found = gene.run(donor_snv(gene, 1), {"D1": 0.1, "A2": 0.2})
    expected = ("frameshift", "p.(Ala7Leufs*?)", None, None)  # no stop in that frame: 23 CCC, CTG, ACG, TGC, GGT
    assert first(found) == ("intron_retention", (1, 2), 80, "r.18_19ins[u;18+2_19-1]", expected)
    assert found.outcomes[0].support == pytest.approx(1 - 0.2 / SEEN)


def test_retained_intron_whose_donor_is_deleted(gene):
    # AA GTAAGT: AAGTA goes, and stands farthest 3' as the last A and GTAA; 76 nt of the intron stay for 1 of the exon.
    found = gene.run((gene.exons[0][1] - 2, "AAGTA", ""), {"A2": 0.0})
    retained = next(one for one in found.outcomes if one.kind is Effect.INTRON_RETENTION)
    assert (retained.size, retained.hgvs, retained.support) == (75, "r.18delins[18+5_19-1]", 1.0)


def test_nothing_is_made_of_an_exon_that_is_deleted(gene):
    start, end = gene.exons[0][0] - 5, gene.exons[0][1] + 5
    found = gene.run((start, gene.text[start:end], ""), {"A2": 0.0}, {("D", start + 10): 0.8})
    assert found.effect is Effect.SITE_LOSS
    assert {one.kind for one in found.outcomes} <= {Effect.SITE_LOSS, Effect.EXON_SKIPPING}


@pytest.mark.parametrize(("site", "at"), [("D1", donor_snv), ("A5", acceptor_snv), ("D3", donor_snv)])
def test_loss_without_anything_in_its_place(gene, site, at):
    found = gene.run(at(gene, int(site[1:])), {site: 0.0})
    assert found.effect is Effect.SITE_LOSS
    assert found.outcomes[0].protein is None
    assert [one.exon for one in found.outcomes[0].sites] == [int(site[1:])]
    assert "exon_skipping" in [name for name, *_ in names(found)] if site == "D3" else True


def test_new_site_without_an_exon(gene):
    start = gene.exons[4][0]
    found = gene.run((start + 20, "C", "G"), {}, {("D", start + 19): 0.7})
    assert found.effect is Effect.SITE_GAIN


def test_small_changes_are_no_effect_and_unseen_sites_not_judgeable(gene):
    allele = donor_snv(gene, 2)
    assert gene.run(allele, {"D2": SEEN - 0.19}).effect is Effect.NO_EFFECT
    found = gene.run(allele, {"D2": 0.0}, before={"D2": 0.19})
    assert found.effect is Effect.NOT_JUDGEABLE
    assert [(site.kind, site.exon) for site in found.unseen] == [("donor", 2)]
    far = gene.exons[1][1] + 100
    assert gene.run((far, "C", "G"), {}, before={"D2": 0.19}).effect is Effect.NO_EFFECT
    # A partner that the model does not see neither makes nor hides a skipped exon.
    assert gene.run(allele, {"D2": 0.0}, before={"A2": 0.1}).effect is Effect.EXON_SKIPPING


def test_intron_from_at_to_ac_is_like_any_other(gene):
    start, end = gene.exons[1][1], gene.exons[2][0]
    gene.text = gene.text[:start] + "AT" + gene.text[start + 2 : end - 2] + "AC" + gene.text[end:]
    gene.contig = (gene.text if gene.plus else other_strand(gene.text)).encode()
    found = gene.run((start, "A", "C"), {"D2": 0.0, "A2": 0.0})
    assert names(found)[0] == ("exon_skipping", (2, 2), -30, "r.19_48del")


def test_single_exon(gene):
    gene = Gene("+" if gene.plus else "-", ["".join(EXONS)])
    assert gene.run((BEFORE + 10, "A", "C"), {}).effect is Effect.NO_EFFECT


@pytest.mark.parametrize(("p", "effect"), [(0.3, "exon_truncation"), (0.1, "site_loss"), (0.04, "site_loss")])
def test_site_of_another_transcript_takes_over(gene, p, effect):
    place = gene.base("D2") - 6
    found = gene.run(donor_snv(gene, 2), {"D2": 0.0}, known=(("D", place),), others={("D", place): (p, p)})
    assert found.effect == effect
    site = next((site for one in found.outcomes for site in one.sites if site.known == "other"), None)
    assert (site is None) == (p < 0.05)
    # its own loss is told, and is no effect on the reported transcript
    found = gene.run(donor_snv(gene, 2), {}, known=(("D", place),), others={("D", place): (0.9, 0.1)})
    assert found.effect is Effect.NO_EFFECT
    assert [(site.known, site.before, site.after) for site in found.changed] == [("other", 0.9, 0.1)]


def test_deletion_within_the_extension(gene):
    end = gene.exons[1][1]  # GTAAGT loses GTA, the exon goes on to AGT
    found = gene.run((end, "GTA", ""), {"D2": 0.0}, {("D", end + 2): 0.8})
    expected = ("in_frame", "p.(Ala16_Asp17insSer)", None, False)
    assert first(found) == ("exon_extension", (2, 2), 3, "r.48_49ins[48+4_48+6]", expected)


def test_deletion_of_one_of_two_equal_bases_at_a_donor():
    # G of exon 2 and G of GT: by the 3' rule the intron's is deleted, and the exon ends one base earlier.
    for strand in "+-":
        gene = Gene(strand, [EXONS[0], "GCT" * 9 + "GCG", *EXONS[2:]])
        end = gene.exons[1][1]
        found = gene.run((end - 1, "G", ""), {}, {("D", end - 2): 0.9})
        expected = ("frameshift", "p.(Asp17Thrfs*?)", None, None)
        assert first(found) == ("exon_truncation", (2, 2), -1, "r.48del", expected)


def test_duplication_at_an_acceptor_makes_a_second_one(gene):
    start = gene.exons[2][0]  # CAG CAG|GAC
    found = gene.run((start, "", "CAG"), {}, {("A", start): 0.6})
    expected = ("in_frame", "p.(Ala16_Asp17insGln)", None, False)
    assert first(found) == ("exon_extension", (3, 3), 3, "r.48_49ins[cag]", expected)
    assert found.outcomes[0].support == pytest.approx(0.6 / (0.6 + SEEN))


def test_donor_within_an_insertion(gene):
    start = gene.exons[1][0]  # GCT GCT + AGGT + GCT ...: the exon ends after AG, c.25 and more are missing
    found = gene.run((start + 6, "", "AGGT"), {"D2": 0.1}, {("D", start + 7): 0.8})
    expected = ("frameshift", "p.(Ala9Argfs*?)", None, None)  # AG+G, then ACG
    assert first(found) == ("exon_truncation", (2, 2), -26, "r.25_48delins[ag]", expected)


def test_deletion_across_an_exon_end(gene):
    end = gene.exons[1][1]  # the last T and GT go; GC AAGT remains
    found = gene.run((end - 1, "TGT", ""), {"D2": 0.0}, {("D", end + 1): 0.8})
    expected = ("frameshift", "p.(Asp17Argfs*?)", None, None)  # GC+A, AG+G, then ACG
    assert first(found) == ("exon_extension", (2, 2), 2, "r.48delins[48+3_48+5]", expected)


def test_acceptor_at_the_joint_of_a_deletion_that_takes_the_old_one(gene):
    # AG of the intron and GA of exon 3, c.49_50, are gone; the exon begins with the C behind them. From codon 17 on
    # there are six CGA, the 33 codons named above, and the stop.
    start = gene.base("A3")
    found = gene.run((start - 2, "AGGA", ""), {"A3": 0}, {("A", start - 2): 0.9}).outcomes[0]
    assert (found.kind, found.size, found.hgvs) == (Effect.EXON_TRUNCATION, -2, "r.49_50del")
    assert found.protein.name == "p.(Asp17Argfs*40)"


def test_exonic_change_of_the_allele_stands_beside_the_outcome(gene):
    start = gene.exons[3][0]
    found = gene.run((start + 2, "T", ""), {"A2": 0.0, "D2": 0.0})
    expected = ("frameshift", "p.(Ala7Aspfs*?)", None, None)
    assert first(found) == ("exon_skipping", (2, 2), -30, "r.[19_48del;71del]", expected)
    # within the exon that is skipped there is nothing to add
    found = gene.run((gene.exons[1][0] + 3, "G", "A"), {"A2": 0.0, "D2": 0.0})
    assert found.outcomes[0].hgvs == "r.19_48del"


@pytest.mark.parametrize(
    ("exons", "coding", "exon", "protein"),
    [
        (["C" * 28, "ATG" + "GCT" * 9, *EXONS[2:]], (28, 175), 2, ("start_lost", "p.(Met1?)", None, None)),
        ([*EXONS[:3], "C" + "CTG" * 27 + "TAA", EXONS[4]], (10, 163), 4, ("stop_lost", "p.?", None, None)),
        (["C" * 28, "C" * 30, "ATG" + EXONS[2], *EXONS[3:]], (58, 178), 2, ("non_coding", "p.(=)", None, None)),
        # a CDS that does not begin with ATG is known in part: only its length tells the frame
        (["C" * 10 + "AAG" + "AAA" * 5, *EXONS[1:]], (10, 175), 2, ("in_frame", "", None, None)),
    ],
)  # fmt: skip
def test_ends_of_the_coding_sequence(gene, exons, coding, exon, protein):
    gene = Gene("+" if gene.plus else "-", exons, coding)
    found = gene.run(donor_snv(gene, exon), {f"A{exon}": 0.0, f"D{exon}": 0.0})
    assert first(found)[-1] == protein


def test_mrna_that_ends_within_the_last_codon_has_no_name_of_its_protein(gene):
    gene = Gene("+" if gene.plus else "-", [*EXONS[:4], "TAA"], (10, 166))
    found = gene.run(acceptor_snv(gene, 5), {"A5": 0.0}, {("A", gene.base("A5") + 1): 0.8})
    assert first(found)[-1] == ("stop_lost", "p.?", None, None)


def test_cds_of_two_bases_is_no_cds(gene):
    gene = Gene("+" if gene.plus else "-", coding=(10, 12))
    found = gene.run(donor_snv(gene, 2), {"A2": 0.0, "D2": 0.0})
    assert found.effect is Effect.EXON_SKIPPING
    assert found.outcomes[0].protein is None


def test_transcript_without_a_cds(gene):
    gene.transcript = gene.transcript._replace(cds=None)
    found = gene.run(donor_snv(gene, 2), {"A2": 0.0, "D2": 0.0})
    assert first(found) == ("exon_skipping", (2, 2), -30, "r.29_58del", ("non_coding", "", None, None))


def test_both_strands_give_the_same_outcomes_of_random_answers():
    rng = random.Random(7)
    kinds = set()
    for _ in range(150):
        length = len(Gene().text)
        at = rng.randrange(BEFORE + 5, length - BEFORE - 20)
        old = Gene().text[at : at + rng.choice([0, 1, 1, 2, 5])]
        new = "".join(rng.choice("ACGT") for _ in range(rng.choice([0, 1, 1, 3])))
        if old == new:
            continue
        changes = {site: rng.choice([0.0, 0.3, 0.9]) for site in SITES if rng.random() < 0.4}
        low, high = BEFORE + 1, length - len(old) + len(new) - BEFORE - 1
        gains = {(rng.choice("AD"), rng.randrange(low, high)): rng.random() for _ in range(rng.randrange(4))}
        plus, minus = (Gene(strand).run((at, old, new), changes, gains) for strand in "+-")
        turned = [
            replace(one, sites=tuple(site._replace(position=position(site.position, length)) for site in one.sites))
            for one in minus.outcomes
        ]
        assert (plus.effect, list(plus.outcomes)) == (minus.effect, turned)
        kinds |= {one.kind for one in plus.outcomes}
    assert kinds >= set(Effect) - {Effect.NO_EFFECT, Effect.NOT_JUDGEABLE}


def test_many_alleles_together_have_the_consequences_that_each_has_alone(gene):
    rng = np.random.default_rng(3)
    spliced, cases = gene.spliced([("D", 200)]), []
    while len(cases) < 300:
        at = int(rng.integers(BEFORE + 2, len(gene.text) - BEFORE - 20))
        old = gene.text[at : at + rng.choice([0, 1, 1, 1, 3])]
        new = "".join(rng.choice(list("ACGT"), rng.choice([0, 1, 1, 1, 2])))
        if old == new:
            continue
        low, high = rng.integers(0, at), rng.integers(at + len(old), len(gene.text))
        left, right = placements(allele := gene.allele(at, old, new), gene.fetch)
        start, end = gene._interval(low, high)
        if not start < left.start or not right.end < end:
            continue
        ref = rng.choice([0.0, 0.1, THRESHOLD, 0.9], (high - low, 2))
        kept = np.delete(ref, np.s_[at - low : at - low + len(old)], axis=0)
        alt = np.insert(kept, [at - low] * len(new), rng.choice([0.0, 0.19, 0.3], (len(new), 2)), axis=0)
        changes = np.where(rng.random(alt.shape) < 1 / len(alt), rng.choice([-0.3, 0.1, 0.19, THRESHOLD]), 0)
        alt = np.clip(alt + changes, 0, 1)
        if not gene.plus:
            ref, alt = ref[::-1], alt[::-1]
        cases.append((spliced, allele, Answers(start, ref, alt)))
    found = consequences(cases)
    assert found == [consequence(*case) for case in cases]
    assert min(sum(one.effect == effect for one in found) for effect in ("NO_EFFECT", "NOT_JUDGEABLE")) > 10
    assert sum(len(one.outcomes) > 0 for one in found) > 100
    assert consequences([]) == []


def cag_and_gtaagt(bases: str) -> tuple[float, float]:
    """Return p(acceptor) behind CAG and p(donor) before GTAAGT, for the middle one of the bases that a model sees."""
    return 0.9 * (bases[REACH - 3 : REACH] == "CAG"), 0.9 * (bases[REACH + 1 : REACH + 7] == "GTAAGT")


@pytest.mark.parametrize(
    ("exon", "offset", "ref", "alt", "expected"),
    [
        (2, 30, "G", "T", ("site_loss", (2, 2), 0, "")),
        (4, 40, "", "GTAAGT", ("exon_truncation", (4, 4), -51, "r.109_153del")),
        (3, 0, "", "CAG", ("exon_extension", (3, 3), 3, "r.48_49ins[cag]")),
        (3, -3, "CAG", "", ("site_loss", (3, 3), 0, "")),
        (2, 40, "CCC", "CAG", ("exon_extension", (3, 3), 287, "r.48_49ins[48+14_49-1]")),
    ],
)  # fmt: skip
def test_answers_of_a_model_around_an_allele(gene, exon, offset, ref, alt, expected):
    bases = SimpleNamespace(lengths={"1": len(gene.contig)}, fetch=lambda contig, start, end: gene.fetch(start, end))
    allele = gene.allele(gene.exons[exon - 1][0] + offset, ref, alt)
    asked = [(allele, gene_context(strand=gene.transcript.strand))]
    [around] = look_around(StandIn(cag_and_gtaagt), asked, bases, None, 300, outside=True)
    found = consequence(gene.spliced(), allele, Answers(around.start, around.ref, around.alt))
    assert (found.effect, *first(found)[1:4]) == expected


def position(there: int | None, length: int) -> int | None:
    return None if there is None else length - 1 - there


def test_answers_that_do_not_fit(gene):
    spliced = SplicedTranscript(gene.transcript, {"acceptor": set(), "donor": set()}, gene.fetch)
    allele = gene.allele(gene.exons[1][1], "G", "T")
    with pytest.raises(ValueError, match="ALT"):
        consequence(spliced, allele, Answers(0, np.zeros((700, 2)), np.zeros((699, 2))))
    with pytest.raises(ValueError, match="hold"):
        consequence(spliced, allele, Answers(0, np.zeros((9, 2)), np.zeros((9, 2))))


def test_sentences(gene):
    end = gene.exons[1][1]
    found = gene.run(donor_snv(gene, 2), {"D2": 0.01}, {("D", end + 5): 0.71})
    assert sentence(found) == (
        "Donor of exon 2 lost (.95 to .01); cryptic donor 6 nt downstream gained (.00 to .71): "
        "exon 2 longer by 6 nt, in frame"
    )
    found = gene.run(donor_snv(gene, 2), {"D2": 0.0}, before={"D2": 0.1})
    assert sentence(found).startswith("Not judgeable: the model hardly sees the donor of exon 2 (p .10)")
    assert sentence(gene.run(donor_snv(gene, 2), {})) == "No splice site of the transcript is lost or gained"

"""Delta scores: what they are, beside a second implementation on strings and cases worked out by hand."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from factories import REACH, FakeReference, StandIn, gene, mixed, placings, plain, reverse_complement, spelled
from splicebert_vep.errors import BackendError, OutOfMemory, PluginError, SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.plugins import GuardedSpliceModel, Origin, load_plugins
from splicebert_vep.scoring.delta import APART, CONSEQUENCES, STRETCH, DeltaScorer
from splicebert_vep.scoring.plan import plan_scores
from splicebert_vep.sequence.alleles import normalise
from splicebert_vep.settings import Settings
from splicebert_vep_spec import FieldSpec, Refused, Skipped, Status
from splicebert_vep_spec.testing import SequenceScorerConformance

EVENTS = "AG", "AL", "DG", "DL"
DS, DP = tuple(f"DS_{event}" for event in EVENTS), tuple(f"DP_{event}" for event in EVENTS)
FIELDS = frozenset(field.id for field in DeltaScorer().fields) - frozenset(CONSEQUENCES)


def annotated(sites, reported=None, extent=(0, 10_000)):
    """Genes with these positions of acceptors and donors, of all transcripts and of the reported one."""

    def named(pair):
        return dict(zip(("acceptor", "donor"), pair, strict=True))

    transcript = SimpleNamespace(site_bases=lambda: named(reported or sites))
    found = SimpleNamespace(start=extent[0], end=extent[1], sites=named(sites), transcript=transcript)
    return SimpleNamespace(gene=lambda *_: found)


def scorer(model=None, distance=50, *, genes=None, **settings):
    known = Settings(delta_distance=distance, **settings)
    return DeltaScorer(known, model or StandIn(), (lambda: genes) if genes else None)


class TestDeltaScorer(SequenceScorerConformance):
    scorer = scorer()


def bases(length, seed):
    return "".join(random.Random(seed).choices("ACGT", k=length))


def normal(genome, pos, ref, alt):
    """The normalised allele, and the record as bcftools norm writes it."""
    allele = normalise("c", pos, ref, alt, lambda low, high: genome[max(0, low) : high].encode())
    if allele.ref and allele.alt:
        return allele, (allele.start + 1, allele.ref, allele.alt)
    before = genome[allele.start - 1]
    return allele, (allele.start, before + allele.ref, before + allele.alt)


def an_snv(genome, at):
    """Any SNV at a 0-based place."""
    return normal(genome, at + 1, genome[at], "A" if genome[at] != "A" else "C")


def random_changes(genome, count, seed):
    """SNVs, MNVs, delins, and insertions and deletions of which half stand in a repeat of their own bases."""
    rng = random.Random(seed)
    found = []
    while len(found) < count:
        size_ref, size_alt = rng.choice([(1, 1), (3, 3), (0, 1), (0, 2), (0, 12), (1, 0), (20, 0), (3, 1), (2, 7)])
        start = rng.randrange(1, len(genome) - 61)
        ref = genome[start : start + size_ref]
        copied = rng.random() < 0.5 and not size_ref
        alt = genome[start : start + size_alt] if copied else "".join(rng.choices("ACGT", k=size_alt))
        if ref == alt or (ref and alt and (ref[0] == alt[0] or ref[-1] == alt[-1])):
            continue
        before = "" if ref and alt else genome[start - 1]
        found.append((start + 1 - len(before), before + ref, before + alt))
    return found


def with_repeats(seed):
    """A genome of 2,500 nt, every tenth base of which begins a run of one or two bases."""
    rng = random.Random(seed)
    return "".join(
        rng.choice("ACGT") if rng.random() < 0.9 else rng.choice(["A", "C", "GT", "CA"]) * 6 for _ in range(1650)
    )[:2500]


@pytest.mark.parametrize("mask", ["none", "after", "before"])
@pytest.mark.parametrize(("strand", "distance"), [("+", 1), ("-", 7), ("+", 50), ("-", 50)])
def test_it_is_what_a_plain_reading_of_the_definition_gives(strand, distance, mask):
    genome, rng = with_repeats(distance), random.Random(f"{strand}{distance}")
    changes = [normal(genome, *change) for change in random_changes(genome, 90, f"{strand}{distance}")]
    sites = [frozenset(rng.sample(range(len(genome)), 800)) for _ in range(2)]
    reported = [frozenset(at for at in some if at % 3) for some in sites]
    about = {"sites": sites, "reported": reported, "mask": mask}
    scoring = scorer(distance=distance, mask=mask, genes=annotated(sites, reported))
    asked = [(allele, gene(strand=strand)) for allele, _ in changes]
    found = scoring.score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    kinds, moving, words = set(), 0, set()
    for i, (allele, written) in enumerate(changes):
        expected = plain(genome, *written, strand, distance=distance, **about)
        got = {field: found[field][i] for field in FIELDS if found[field][i] is not None}
        assert got == pytest.approx(expected, abs=1e-12), written
        kinds.add((bool(allele.ref), bool(allele.alt), allele.shift == 0))
        moving += len(placings(genome, allele.start, allele.ref, allele.alt)) > 1
        words |= {got.get("GAIN_ANNOTATED"), got.get("LOSS_ANNOTATED"), got["LOSS_JUDGED"]}
    assert len(kinds) == 4 and moving > 20
    assert {"reported", "other_transcript", "novel", "JUDGED", "NOT_JUDGEABLE"} <= words


@pytest.mark.parametrize("rule", [mixed, spelled])
def test_a_change_of_an_rna_has_the_same_scores_on_both_strands(rule):
    genome = with_repeats("mirror")
    mirror = reverse_complement(genome)
    changes = [normal(genome, *change) for change in random_changes(genome, 150, "mirror")]
    mirrored = [
        normal(
            mirror, len(mirror) - allele.end, "N" + reverse_complement(allele.ref), "N" + reverse_complement(allele.alt)
        )
        if not (allele.ref and allele.alt)
        else normal(mirror, len(mirror) - allele.end + 1, *map(reverse_complement, (allele.ref, allele.alt)))
        for allele, _ in changes
    ]
    fields = frozenset((*DS, "DS_MAX", "LOSS_P_REF", "LOSS_P_ALT", "GAIN_P_REF", "GAIN_P_ALT"))
    one, other = (
        scorer(StandIn(rule)).score_alleles([(a, gene(strand=s)) for a, _ in some], FakeReference({"c": text}), fields)
        for some, s, text in ((changes, "+", genome), (mirrored, "-", mirror))
    )
    for field in fields:
        assert one[field] == pytest.approx(other[field], abs=1e-12)


# One exon end, written by hand: ...CCTACT | GTAAGTCC..., the exon's last base is index 600 of the plus genome.
LEFT, RIGHT = "CCTC" * 150 + "T", "GTAAGTCC" + "TCCC" * 150
PLUS = LEFT[:-3] + "ACT" + RIGHT
MINUS = reverse_complement(PLUS)
LAST = 600  # 0-based, on PLUS
LAST_MINUS = len(PLUS) - 1 - LAST
ON_BOTH = [(PLUS, "+", LAST), (MINUS, "-", LAST_MINUS)]


def scored(genome, strand, pos, ref, alt, rule=spelled, **options):
    allele, written = normal(genome, pos, ref, alt)
    assert written == (pos, ref, alt), "the case is written as bcftools norm does"
    asked = [(allele, gene("G", strand))]
    found = scorer(StandIn(rule), **options).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    return {field: values[0] for field, values in found.items()}


def test_the_cases_by_hand_are_what_they_say():
    assert PLUS[LAST - 2 : LAST + 7] == "ACTGTAAGT" and MINUS[LAST_MINUS - 6 : LAST_MINUS + 3] == "ACTTACAGT"


def test_a_base_within_the_donor_on_plus():
    # ACT G^C TAAGT: POS is the G, index 601. GTAAGT is gone, and with it the donor at the T before the G: POS - 1.
    found = scored(PLUS, "+", LAST + 2, "G", "GC")
    assert found["DS_DL"] == pytest.approx(0.89)
    assert found["DP_DL"] == -1 and LAST + 2 + found["DP_DL"] == LAST + 1
    assert (found["DS_DG"], found["DS_AG"], found["DS_AL"]) == (0, 0, 0)
    assert found["DS_MAX"] == found["DS_DL"]
    assert (found["LOSS_P_REF"], found["LOSS_P_ALT"]) == (0.9, 0.01)
    assert found["GAIN_P_REF"] is None and found["LOSS_ANNOTATED"] is None  # no gain; no annotation


def test_the_same_change_on_minus():
    # The same molecule, reversed: ACTTA^G C AGT. The base that was put in has C on its right, and VCF names the base on
    # its left, an A that lies one base deeper in the intron: the exon's last base is two to the right of POS.
    pos = LAST_MINUS - 1
    assert MINUS[pos - 1 : pos + 2] == "ACA"
    found = scored(MINUS, "-", pos, "A", "AG")
    assert found["DS_DL"] == pytest.approx(0.89)
    assert found["DP_DL"] == 2 and pos + found["DP_DL"] == LAST_MINUS + 1
    assert (found["DS_DG"], found["DS_AG"], found["DS_AL"]) == (0, 0, 0)


@pytest.mark.parametrize(("genome", "strand", "site"), ON_BOTH)
def test_a_base_between_exon_and_donor_counts_with_the_base_that_changes_less(genome, strand, site):
    # ACT^A GTAAGT: the donor is now at the A that was put in. Counted with the T before it, which was the donor,
    # nothing is lost; counted with the G behind it, a donor would be lost at T and gained at G.
    pos = site + (1 if strand == "+" else 0)  # the base before what is put in, on the forward strand
    before, new = genome[pos - 1], "A" if strand == "+" else "T"
    found = scored(genome, strand, pos, before, before + new)
    assert {field: found[field] for field in DS} == dict.fromkeys(DS, 0)


@pytest.mark.parametrize(("genome", "strand", "site"), ON_BOTH)
def test_a_second_g_of_a_donor_is_no_loss_on_either_strand(genome, strand, site):
    # ACT GTAAGT -> ACT GGTAAGT: one G more at the donor, the two places of which are one change. Put behind the first
    # G, the donor at T would be lost and one at G gained; put before it and counted with T, the donor stays T's.
    pos, before, new = (site + 1, "T", "G") if strand == "+" else (site - 1, "A", "C")  # left-aligned: ACTTA^C C AGT
    found = scored(genome, strand, pos, before, before + new)
    assert {field: found[field] for field in DS} == dict.fromkeys(DS, 0)


@pytest.mark.parametrize(("genome", "strand", "site"), ON_BOTH)
def test_a_donor_that_is_deleted_is_lost_where_it_was(genome, strand, site):
    # A[CTG]TAAGT: the exon's last two bases and the G after them; on minus ACTTA[CAG]T. VCF names the A before either.
    pos = site - 1
    deleted = "CTG" if strand == "+" else "CAG"
    found = scored(genome, strand, pos, f"A{deleted}", "A")
    assert (found["DS_DL"], found["DP_DL"]) == (pytest.approx(0.9 - 0.0), 2)
    assert pos + 2 == site + 1  # 1-based


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize(
    ("ref", "alt", "left", "right"),
    [
        ("G", "T", 20, 20),
        ("GC", "TT", 20, 20),
        ("G", "GT", 21, 21),  # 20 before the base before it, and 20 behind the base behind it
        ("GCG", "G", 24, 21),  # A[GC]GCGA, AG[CG]CGA, AGC[GC]GA, AGCG[CG]A
    ],
)
def test_as_many_nucleotides_are_compared_before_every_place_as_behind(strand, ref, alt, left, right):
    class Asked(StandIn):
        def alternatives(self, tokens, edits):
            self.edits = edits
            return super().alternatives(tokens, edits)

    genome = "ATTC" * 30 + "AGCGCGA" + "TACC" * 30
    genome = genome if strand == "+" else reverse_complement(genome)
    at = 121 if strand == "+" else len(genome) - 121 - len(ref)
    assert genome[at : at + len(ref)] in (ref, reverse_complement(ref))
    if strand == "-":
        ref, alt = reverse_complement(ref), reverse_complement(alt)
    if len(ref) != len(alt) and strand == "-":
        at, ref, alt = at - 1, genome[at - 1] + ref, genome[at - 1] + alt
    model = Asked()
    asked = [(normal(genome, at + 1, ref, alt)[0], gene(strand=strand))]
    scorer(model, 20).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    [edit] = model.edits
    assert (edit.left, edit.right) == (left, right)


def test_nothing_of_an_annotation_is_said_without_one():
    found = scored(PLUS, "+", LAST + 2, "G", "GC")
    assert {found[name] for name in ("LOSS_ANNOTATED", "GAIN_ANNOTATED", "LOSS_JUDGED")} == {None}


# What gains and losses are of. The donor of PLUS is at LAST.
NEAR = LAST + 12


@pytest.mark.parametrize(
    ("sites", "reported", "told"),
    [
        (([], [LAST]), ([], [LAST]), "reported"),
        (([], [LAST, NEAR]), ([], [NEAR]), "other_transcript"),
        (([], [NEAR]), ([], [NEAR]), "novel"),
        (([LAST], [NEAR]), ([LAST], [NEAR]), "novel"),  # an acceptor's place is no donor's
    ],
)
def test_a_lost_site_is_told_to_be_annotated_or_novel(sites, reported, told):
    assert scored(PLUS, "+", LAST + 2, "G", "GC", genes=annotated(sites, reported))["LOSS_ANNOTATED"] == told


def test_a_weak_annotated_donor_that_gains_is_told_to_be_annotated():
    # The donor of an AT-AC intron, ATATCC, which a rule for GT gives .01; a change to GTAAGT gains at that very place.
    genome = LEFT[:-3] + "ACT" + "ATATCC" + "TCCC" * 150
    found = scored(genome, "+", LAST + 2, "ATATCC", "GTAAGT", genes=annotated(([], [LAST])))
    assert (found["DS_DG"], found["DP_DG"]) == (pytest.approx(0.89), -1)
    assert (found["GAIN_ANNOTATED"], found["GAIN_P_REF"], found["GAIN_P_ALT"]) == ("reported", 0.01, 0.9)
    assert found["LOSS_JUDGED"] == "NOT_JUDGEABLE"  # the model does not see this site in REF


@pytest.mark.parametrize(
    ("reported", "told"),
    [
        (([], [LAST]), "JUDGED"),  # p(REF) .9
        (([LAST], []), "NOT_JUDGEABLE"),  # as an acceptor .01
        (([LAST + 50], [LAST]), "JUDGED"),  # the nearer one counts
        (([LAST + 1], [LAST - 20]), "NOT_JUDGEABLE"),
        (([], [LAST + 51]), "NOT_JUDGEABLE"),  # 50 nt from the SNV
        (([], [LAST + 52]), "NO_SITE"),
        (([], []), "NO_SITE"),
    ],
)
def test_a_loss_is_judged_by_the_nearest_reported_site(reported, told):
    genes = annotated(([LAST], [LAST]), reported)
    assert scored(PLUS, "+", LAST + 2, "G", "C", genes=genes)["LOSS_JUDGED"] == told


def test_a_cryptic_gain_is_not_hidden_behind_an_annotated_one_when_masked_before():
    """An SNV that strengthens an annotated donor by .6 and makes a cryptic one of .3."""

    def rule(seen):
        strong, cryptic = seen[REACH + 1 : REACH + 5] == "GTAC", seen[REACH + 4 : REACH + 7] == "TAC"
        return 0.0, 0.7 if strong else 0.4 if cryptic and seen[REACH] == "A" else 0.1

    genome = "TTTT" * 50 + "AACGTAA" + "TTTT" * 50
    site = 202  # C | GT; the A two before it is the cryptic place
    genes = annotated(([], [site]))
    shown = {
        mask: scored(genome, "+", 207, "A", "C", rule, genes=genes, mask=mask) for mask in ("none", "after", "before")
    }
    assert [shown[mask]["DS_DG"] for mask in shown] == pytest.approx([0.6, 0.0, 0.3])
    assert [shown[mask]["POS_DG"] for mask in shown] == [site + 1, site + 1, site - 2 + 1]
    assert shown["before"]["GAIN_ANNOTATED"] == "novel" and shown["after"]["GAIN_ANNOTATED"] is None


def test_masked_scores_need_an_annotation():
    with pytest.raises(Refused, match="annotation"):
        scored(PLUS, "+", LAST + 2, "G", "C", mask="after")


def test_annotated_sites_are_the_exonic_bases_beside_them(tmp_path):
    gtf = tmp_path / "two.gtf"
    lines = []
    for name, strand, transcripts in (
        ("P", "+", [[(101, 200), (301, 400), (501, 600)], [(101, 220), (501, 600)]]),
        ("M", "-", [[(101, 200), (301, 400)]]),
    ):
        for number, exons in enumerate(transcripts):
            about = f'gene_id "{name}"; transcript_id "{name}{number}"; gene_biotype "protein_coding";'
            for first, last in exons:
                lines.append(f"c\tx\texon\t{first}\t{last}\t.\t{strand}\t.\t{about}")
    gtf.write_text("\n".join(lines) + "\n")
    genes = GeneIndex(load_table(str(gtf)))
    # 1-based first and last bases of exons, by hand; outer ends are no sites
    minus, plus = genes.contexts("c", 350, 351)
    assert genes.gene(plus, "c", 350, 351).sites == {
        "acceptor": {301 - 1, 501 - 1},
        "donor": {200 - 1, 220 - 1, 400 - 1},
    }
    assert genes.gene(minus, "c", 350, 351).sites == {"acceptor": {200 - 1}, "donor": {301 - 1}}
    # of the reported transcript: the longer of P, the only one of M
    assert genes.gene(plus, "c", 350, 351).transcript.site_bases() == {
        "acceptor": {301 - 1, 501 - 1},
        "donor": {200 - 1, 400 - 1},
    }
    assert genes.gene(minus, "c", 350, 351).transcript.site_bases() == {"acceptor": {200 - 1}, "donor": {301 - 1}}


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize("outside", [False, True])
def test_a_model_made_for_genes_sees_n_outside_of_the_gene_and_the_contig(strand, outside):
    genome = bases(400, "ends")
    model = StandIn()
    model.sees_gene_only = True
    asked = [(an_snv(genome, 20)[0], gene(strand=strand))]
    genes = annotated(([], []), extent=(18, 40))
    scorer(model, 50, genes=genes, outside=outside).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    shown = model.shown[0] if strand == "+" else reverse_complement(model.shown[0])
    low, high = (0, 21 + 50 + REACH) if outside else (18, 40)
    assert shown == "N" * (50 + REACH - 20 + low) + genome[low:high] + "N" * (21 + 50 + REACH - high)


@pytest.mark.parametrize("at_once", [1, 2, 50])
@pytest.mark.parametrize("error", [RuntimeError, BackendError])
def test_an_allele_that_the_model_fails_on_fails_alone(error, at_once, monkeypatch):
    monkeypatch.setattr(StandIn, "at_once", at_once)
    genome = bases(3000, "failing")
    changes = [an_snv(genome, at) for at in [*range(900, 1100, 20), 2800, 2900]]
    bad = normal(genome, 1000, genome[999], genome[999] + "ACGTACGTACGTACGT")
    asked = [(allele, gene()) for allele, _ in [*changes, bad]]
    with_bad = scorer(StandIn(fails_on="ACGTACGTACGTACG", error=error))
    found = with_bad.score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    alone = scorer().score_alleles(asked[:-1], FakeReference({"c": genome}), FIELDS)
    for field in FIELDS:
        assert found[field][-1] == Skipped(Status.FAILED, "delta scores: the device went away")
        assert found[field][:-1] == alone[field]


def test_short_memory_ends_the_run_and_no_allele_fails():
    genome = bases(1500, "short")
    allele, _ = an_snv(genome, 600)
    model = StandIn(fails_on=genome[590:600], error=OutOfMemory)
    with pytest.raises(OutOfMemory):
        scorer(model).score_alleles([(allele, gene())], FakeReference({"c": genome}), FIELDS)


def test_an_allele_that_the_model_does_not_take_is_missing_and_costs_nothing():
    genome = bases(1500, "long")
    model = StandIn()
    model.takes = lambda edit: edit.end - edit.start < 300
    asked = [(normal(genome, 600, genome[599 : 600 + size], genome[599])[0], gene()) for size in (299, 300)]
    found = scorer(model).score_alleles(asked, FakeReference({"c": genome}), frozenset(["DS_MAX"]))["DS_MAX"]
    assert found[0] is not None and found[1] is None


@pytest.mark.parametrize(
    ("sites", "passes"),
    [
        (range(700, 700 + STRETCH + 1, APART), 1),
        (range(700, 700 + 2 * STRETCH, APART), 2),
        (range(700, 700 + 5 * (APART + 1), APART + 1), 5),
    ],
)
def test_one_ref_pass_serves_neighbours_of_a_stretch_and_strand(sites, passes):
    genome = bases(3 * STRETCH, "once")
    asked = [(an_snv(genome, at)[0], gene(name)) for at in sites for name in "ab"]
    model = StandIn()
    scorer(model).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    assert len(model.shown) == passes  # two genes of a strand share them


def broken_models():
    """Answers that must not become scores, with the error that each ends in."""
    return [
        (lambda pairs: [(ref, alt * np.nan) for ref, alt in pairs], RuntimeError),
        (lambda pairs: [(ref * np.nan, alt) for ref, alt in pairs], RuntimeError),
        (lambda pairs: [(ref, alt + 45) for ref, alt in pairs], PluginError),
        (lambda pairs: [(ref[:-1], alt) for ref, alt in pairs], PluginError),
        (lambda pairs: [(ref, alt[:-1]) for ref, alt in pairs], PluginError),
        (lambda pairs: pairs[:-1], PluginError),
        (lambda pairs: [(*pair, pair[0]) for pair in pairs], PluginError),
    ]


@pytest.mark.parametrize("short", [True, False])  # they are checked together or each alone
@pytest.mark.parametrize(("spoil", "error"), broken_models())
def test_an_answer_that_is_no_probability_never_becomes_a_score(spoil, error, short):
    class Broken(StandIn):
        def alternatives(self, tokens, edits):
            return spoil(super().alternatives(tokens, edits))

    genome = bases(3000, "broken")
    asked = [(an_snv(genome, 1500)[0], gene())]
    distance = 50 if short else 1000
    guarded = GuardedSpliceModel(Broken(), Origin("mine", "register_splice_models", "splice model", "broken"))
    scoring = scorer(guarded, distance)
    if error is PluginError:
        with pytest.raises(PluginError, match="mine"):
            scoring.score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    else:
        found = scoring.score_alleles(asked, FakeReference({"c": genome}), FIELDS)
        assert {one.status for column in found.values() for one in column} == {Status.FAILED}


def test_a_version_names_whatever_changes_a_value():
    other = StandIn()
    other.info = type(other.info)("stand-in 1", "6" * 64, "BSD-3-Clause", "none", "", "cpu")
    of_genes = StandIn()
    of_genes.sees_gene_only = True
    genes = annotated(([], []))
    versions = {
        scorer().version,
        scorer(distance=51).version,
        scorer(mask="after", genes=genes).version,
        scorer(mask="before", genes=genes).version,
        scorer(of_genes, genes=genes).version,
        scorer(other).version,
    }
    assert len(versions) == 6
    assert scorer().version == "2+555555555555-D50-M0-O1"
    assert scorer(of_genes, genes=genes, outside=True).version == scorer().version


def test_without_a_model_it_refuses():
    with pytest.raises(Refused, match="splice-site model"):
        DeltaScorer().score_alleles([], FakeReference({}), FIELDS)


@pytest.mark.parametrize("settings", [{"delta_distance": d} for d in (0, 5001, -5)] + [{"mask": "1"}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(SettingsError, match=r"1 to 5000|mask"):
        Settings(**settings)


def test_group_words_stand_for_their_fields():
    plugins = load_plugins()

    def planned(*names):
        plan = plan_scores(plugins.scorers, plugins.origins("scorer"), Settings(scores=names))
        return [field.id for field in plan.fields if field.id != "N_FRAC"]

    assert set(planned("delta")) == (FIELDS | set(CONSEQUENCES)) - {f"POS_{event}" for event in EVENTS}
    assert planned() == planned("zero-shot", "delta") == [*planned("delta"), *planned("zero-shot")]
    assert planned()[0] == "DS_MAX"
    assert set(planned("zero-shot")).isdisjoint(FIELDS)
    assert planned("delta", "KL_MAX")[-1] == "KL_MAX"
    with pytest.raises(SettingsError, match="did you mean delta"):
        planned("detla")


def test_an_offset_from_pos_is_a_whole_number():
    with pytest.raises(ValueError, match="an offset from POS is an Integer, not Float"):
        FieldSpec("X", "A", "Float", "x", from_pos=True)


GTF = "".join(
    f'c\tx\texon\t{first}\t{last}\t.\t+\t.\tgene_id "G"; transcript_id "T"; gene_biotype "protein_coding";\n'
    for first, last in ((201, 300), (601, 690), (1001, 1100))
)


def test_a_consequence_stands_on_answers_that_reach_the_ends_of_its_exon(tmp_path):
    """Exon 2 of three, 0-based [600, 690); the donor of it is lost. Its acceptor lies 90 nt away, D is 20."""
    (tmp_path / "genes.gtf").write_text(GTF)
    genes = GeneIndex(load_table(tmp_path / "genes.gtf"))
    letters = list("C" * 1300)
    for start in (600, 1000):
        letters[start - 6 : start] = "TTTCAG"
    for end in (300, 690):
        letters[end : end + 6] = "GTAAGT"
    genome = "".join(letters)
    allele, _ = normal(genome, 691, "G", "A")
    [context] = genes.contexts("c", allele.start, allele.end)
    scoring = scorer(StandIn(spelled), 20, genes=genes)
    asked = frozenset(("DS_MAX", *CONSEQUENCES))
    found = {
        field: values[0]
        for field, values in scoring.score_alleles([(allele, context)], FakeReference({"c": genome}), asked).items()
    }
    # The acceptor, 90 nt before, keeps its p: no skip; nothing else is a donor, and the intron's other end is too far.
    assert (found["EFFECT"], found["DS_MAX"]) == ("site_loss", pytest.approx(0.89))
    assert found["EFFECT_SITES"] == "donor:690:reported:0.90>0.01"
    assert found["EFFECT_TEXT"].startswith("Donor of exon 2 lost (.90 to .01)")
    # The same values when nothing asks for more than the scores: the answers beyond D do not enter them.
    alone = scoring.score_alleles([(allele, context)], FakeReference({"c": genome}), frozenset(("DS_MAX",)))
    assert alone["DS_MAX"][0] == found["DS_MAX"]

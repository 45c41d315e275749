"""Delta scores: what they are, beside a second implementation on strings and cases worked out by hand."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from factories import EVENTS, SPELLED, FakeReference, StandIn, gene, mixed, plain, spelled
from splicebert_vep.errors import BackendError, OutOfMemory, PluginError, SettingsError
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.plugins import GuardedSpliceModel, Origin
from splicebert_vep.scoring.delta import DeltaScorer, SpliceModelName
from splicebert_vep.scoring.plan import plan_scores
from splicebert_vep.sequence.alleles import normalise
from splicebert_vep.settings import Settings
from splicebert_vep_spec import FieldSpec, Refused, Skipped, SpliceModel, SpliceModelInfo, Status
from splicebert_vep_spec.testing import SequenceScorerConformance

ABOUT = SpliceModelName("stand-in", "5" * 64, "stand-in")
DS, DP = tuple(EVENTS), tuple(event.replace("DS", "DP") for event in EVENTS)
FIELDS = frozenset((*DS, *DP, "DS_MAX"))


def scorer(model=None, distance=50, *, masked=False, sites=None, extent=None, **options):
    genes = SimpleNamespace(site_bases=sites, extent=lambda *_: extent)
    return DeltaScorer(distance, masked, ABOUT, model or StandIn(), lambda: genes, **options)


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


def random_changes(genome, count, seed):
    """SNVs, MNVs, insertions, deletions and delins, some of them near the ends."""
    rng = random.Random(seed)
    found = []
    while len(found) < count:
        size_ref, size_alt = rng.choice([(1, 1), (3, 3), (0, 1), (0, 12), (1, 0), (20, 0), (60, 0), (3, 1), (2, 7)])
        # of three, one near the left end, one near the right
        low, high = rng.choice([(1, 320), (330, len(genome) - 400), (len(genome) - 400, len(genome) - 61)])
        start = rng.randrange(low, high)
        ref = genome[start : start + size_ref]
        alt = "".join(rng.choices("ACGT", k=size_alt))
        if ref == alt or (ref and alt and (ref[0] == alt[0] or ref[-1] == alt[-1])):
            continue
        before = "" if ref and alt else genome[start - 1]
        found.append((start + 1 - len(before), before + ref, before + alt))
    return found


@pytest.mark.parametrize("distance", [1, 50, 99, 100])
def test_it_is_what_a_plain_reading_of_the_definition_gives(distance):
    genome = bases(2000, "genome")
    changes = [normal(genome, *change) for change in random_changes(genome, 120, distance)]
    asked = [(allele, gene("G", "+-"[i % 2])) for i, (allele, _) in enumerate(changes)]
    found = scorer(distance=distance).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    kinds, missing = set(), 0
    for i, (allele, written) in enumerate(changes):
        expected = plain(genome, *written, "+-"[i % 2], distance=distance)
        got = {field: found[field][i] for field in FIELDS}
        if expected is None:
            assert set(got.values()) == {None}, written
            missing += 1
            continue
        kinds.add((bool(allele.ref), bool(allele.alt), allele.shift == 0))
        assert {field: got[field] for field in DP} == {field: expected[field] for field in DP}, written
        assert got == pytest.approx(expected, abs=1e-12), written
    assert len(kinds) == 4 and 0 < missing < 60


def test_a_base_within_100_nt_that_is_not_known_leaves_it_missing():
    genome = bases(1200, "n")
    near, far = genome[:680] + "N" + genome[681:], genome[:720] + "N" + genome[721:]
    allele, written = normal(genome, 601, genome[600], "A" if genome[600] != "A" else "C")
    for text in (near, far):
        found = scorer().score_alleles([(allele, gene())], FakeReference({"c": text}), FIELDS)
        expected = plain(text, *written, "+")
        assert (expected is None) == (text is near)
        got = {field: values[0] for field, values in found.items()}
        assert got == (dict.fromkeys(FIELDS) if expected is None else pytest.approx(expected, abs=1e-12))


def test_a_span_that_leaves_no_room_is_missing():
    genome = bases(2000, "long")
    longest = 510 - 200
    rows = [(normal(genome, 800, genome[799 : 800 + size], genome[799])[0], gene()) for size in (longest, longest + 1)]
    found = scorer().score_alleles(rows, FakeReference({"c": genome}), frozenset(["DS_MAX"]))["DS_MAX"]
    assert found[0] is not None and found[1] is None


# One exon end, written by hand: ...CCTACT | GTAAGTCC..., the exon's last base is index 600 of the plus genome.
LEFT, RIGHT = "CCTC" * 150 + "T", "GTAAGTCC" + "TCCC" * 150
PLUS = LEFT[:-3] + "ACT" + RIGHT
MINUS = PLUS[::-1].translate(str.maketrans("ACGT", "TGCA"))
LAST = 600  # 0-based, on PLUS
LAST_MINUS = len(PLUS) - 1 - LAST


def scored(genome, strand, pos, ref, alt, **options):
    allele, written = normal(genome, pos, ref, alt)
    assert written == (pos, ref, alt), "the case is written as bcftools norm does"
    found = scorer(StandIn(spelled), **options).score_alleles(
        [(allele, gene("G", strand))], FakeReference({"c": genome}), FIELDS
    )
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


def test_the_same_change_on_minus():
    # The same molecule, reversed: ACTTA^G C AGT. The base that was put in has C on its right, and VCF names the base on
    # its left, an A that lies one base deeper in the intron: the exon's last base is two to the right of POS.
    pos = LAST_MINUS - 1
    assert MINUS[pos - 1 : pos + 2] == "ACA"
    found = scored(MINUS, "-", pos, "A", "AG")
    assert found["DS_DL"] == pytest.approx(0.89)
    assert found["DP_DL"] == 2 and pos + found["DP_DL"] == LAST_MINUS + 1
    assert (found["DS_DG"], found["DS_AG"], found["DS_AL"]) == (0, 0, 0)


def test_a_base_between_exon_and_donor_counts_with_the_base_before_it():
    # ACT^A GTAAGT on plus: the donor is now at the A that was put in. A is counted with the base before it, which is
    # the T that was the donor: nothing is lost, nothing gained.
    found = scored(PLUS, "+", LAST + 1, "T", "TA")
    assert {field: found[field] for field in DS} == dict.fromkeys(DS, 0)
    # On minus the base before it is the first of the intron, so the same change is a gain there, POS, and a loss at the
    # exon's last base, POS + 1: where nucleotides have no place in REF, the definition depends on the strand.
    pos = LAST_MINUS
    assert MINUS[pos - 1 : pos + 1] == "CA"
    found = scored(MINUS, "-", pos, "C", "CT")
    assert (found["DS_DG"], found["DP_DG"]) == (pytest.approx(0.89), 0)
    assert (found["DS_DL"], found["DP_DL"]) == (pytest.approx(0.89), 1)


@pytest.mark.parametrize(("genome", "strand", "site"), [(PLUS, "+", LAST), (MINUS, "-", LAST_MINUS)])
def test_a_donor_that_is_deleted_is_lost_where_it_was(genome, strand, site):
    # A[CTG]TAAGT: the exon's last two bases and the G after them; on minus ACTTA[CAG]T. VCF names the A before either.
    pos = site - 1
    deleted = "CTG" if strand == "+" else "CAG"
    found = scored(genome, strand, pos, f"A{deleted}", "A")
    assert (found["DS_DL"], found["DP_DL"]) == (pytest.approx(0.9 - 0.0), 2)
    assert pos + 2 == site + 1  # 1-based


def test_masked_hides_gains_at_annotated_sites_and_losses_elsewhere():
    genome = bases(2000, "masked")
    rng = random.Random("sites")
    changes = [normal(genome, *change) for change in random_changes(genome, 150, "masked")]
    unmasked = scorer().score_alleles([(a, gene()) for a, _ in changes], FakeReference({"c": genome}), FIELDS)
    # Half of the positions where something was found are annotated, so that every case occurs.
    found = {(w[0] - 1 + unmasked[f][i]) for i, (_, w) in enumerate(changes) for f in DP if unmasked[f][i] is not None}
    annotated = [frozenset(rng.sample(sorted(found), len(found) // 2)) for _ in range(2)]

    def sites(gene, contig, start, end):
        assert (gene.gene_id, contig) == ("G1", "c")
        return dict(zip(("acceptor", "donor"), annotated, strict=True))

    masked = scorer(masked=True, sites=sites).score_alleles(
        [(a, gene()) for a, _ in changes], FakeReference({"c": genome}), FIELDS
    )
    hidden = kept = 0
    for i, (_, written) in enumerate(changes):
        expected = plain(genome, *written, "+", sites=annotated)
        if expected is not None:
            assert {field: masked[field][i] for field in FIELDS} == pytest.approx(expected, abs=1e-12)
            hidden += sum(masked[field][i] == 0 < unmasked[field][i] for field in DS)
            kept += sum(masked[field][i] == unmasked[field][i] > 0 for field in DS)
    assert hidden > 50 and kept > 50


def test_annotated_sites_are_the_exonic_bases_beside_them(tmp_path):
    from splicebert_vep.genome.gene_build import load_table

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
    assert genes.site_bases(plus, "c", 350, 351) == {
        "acceptor": {301 - 1, 501 - 1},
        "donor": {200 - 1, 220 - 1, 400 - 1},
    }
    assert genes.site_bases(minus, "c", 350, 351) == {"acceptor": {200 - 1}, "donor": {301 - 1}}


def test_a_window_that_the_model_fails_on_costs_its_own_alleles_only():
    genome = bases(1500, "fail")
    alleles = [
        normal(genome, at, genome[at - 1], "A" if genome[at - 1] != "A" else "C")[0] for at in range(600, 640, 4)
    ]
    alt = alleles[3]
    window = genome[alt.start - 20 : alt.start] + alt.alt + genome[alt.end : alt.end + 20]
    asked = [(allele, gene()) for allele in alleles]
    whole = scorer().score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    found = scorer(StandIn(fails_on=window)).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    for field in FIELDS:
        [failed] = [i for i, value in enumerate(found[field]) if isinstance(value, Skipped)]
        assert failed == 3
        assert found[field][3] == Skipped(Status.FAILED, "delta scores: the device went away")
        assert [*found[field][:3], *found[field][4:]] == [*whole[field][:3], *whole[field][4:]]


def test_short_memory_ends_the_run_and_no_allele_fails(monkeypatch):
    genome, model = bases(1500, "short"), StandIn()

    def short(tokens, positions=None):
        raise OutOfMemory("can't allocate memory")

    monkeypatch.setattr(model, "probabilities", short)
    with pytest.raises(OutOfMemory):
        asked = [(normal(genome, 600, genome[599], "A" if genome[599] != "A" else "C")[0], gene())]
        scorer(model).score_alleles(asked, FakeReference({"c": genome}), FIELDS)


def test_windows_that_are_the_same_run_once_in_calls_that_suit():
    genome = bases(1500, "once")
    asked = [
        (normal(genome, 700, genome[699], alt)[0], gene(name)) for alt in "ACGT" if alt != genome[699] for name in "ab"
    ]
    model = StandIn()
    scorer(model).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    assert model.calls == [4]  # one REF and three ALTs; two genes of a strand share them
    model = StandIn()
    scorer(model, batch_tokens=1024).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    assert sorted(model.calls) == [2, 2]


def test_a_version_names_whatever_changes_a_value():
    versions = {
        scorer().version,
        scorer(distance=51).version,
        scorer(masked=True, sites=lambda *_: {}).version,
        DeltaScorer(about=SpliceModelName("stand-in", "6" * 64, "stand-in")).version,
    }
    assert len(versions) == 4
    assert scorer().version == "1+555555555555-D50-M0"


def test_without_a_model_it_refuses():
    with pytest.raises(Refused, match="splice-site model"):
        DeltaScorer().score_alleles([], FakeReference({}), FIELDS)


@pytest.mark.parametrize("distance", [0, 5001, -5])
def test_a_distance_that_cannot_be_is_refused(distance):
    with pytest.raises(SettingsError, match="1 to 5000"):
        Settings(delta_distance=distance)


def test_group_words_stand_for_their_fields():
    from splicebert_vep.plugins import load_plugins

    plugins = load_plugins()

    def planned(*names):
        plan = plan_scores(plugins.scorers, plugins.origins("scorer"), Settings(scores=names))
        return [field.id for field in plan.fields if field.id != "N_FRAC"]

    assert set(planned("delta")) == FIELDS
    assert planned("zero-shot") == planned()
    assert planned("zero-shot", "delta") == [*planned(), *planned("delta")]
    assert planned("delta", "KL_MAX")[0] == "KL_MAX"
    with pytest.raises(SettingsError, match="did you mean delta"):
        planned("detla")


def test_an_offset_from_pos_is_a_whole_number():
    with pytest.raises(ValueError, match="an offset from POS is an Integer, not Float"):
        FieldSpec("X", "A", "Float", "x", from_pos=True)


def anywhere(window, at):
    """p(acceptor) and p(donor) from seven bases, wherever they stand."""
    return mixed(window[at - 3 : at + 4], 3)


class Convolutions(SpliceModel):
    """A model of one rule with a reach of 3 nt, which remembers the sequences that it was shown."""

    name, version, reach = "convolutions", "1", 3
    info = SpliceModelInfo("convolutions 1", "7" * 64, "BSD-3-Clause", "none", "", "cpu")

    def __init__(self, fails_on=None, error=RuntimeError):
        self.shown, self.fails_on, self.error = [], fails_on, error

    def alternatives(self, tokens, edits):
        ref = "".join(SPELLED[token] for token in tokens)
        self.shown.append(ref)
        alts = [ref[: e.start] + "".join(SPELLED[base] for base in e.bases) + ref[e.end :] for e in edits]
        if self.fails_on and any(self.fails_on in alt for alt in alts):
            raise RuntimeError("the device went away")
        for edit, alt in zip(edits, alts, strict=True):
            assert edit.first >= 3 and edit.first + edit.count <= len(alt) - 3
        return self.answers(ref, 3, len(ref) - 6), [
            self.answers(alt, edit.first, edit.count) for edit, alt in zip(edits, alts, strict=True)
        ]

    def answers(self, text, first, count):
        return np.array([anywhere(text, at) for at in range(first, first + count)])


@pytest.mark.parametrize("strand", "+-")
@pytest.mark.parametrize("distance", [1, 7, 50])
def test_along_stretches_every_kind_of_change_has_the_scores_of_the_definition(strand, distance):
    genome = bases(6000, f"stretches {strand}")
    changes = [normal(genome, *change) for change in random_changes(genome, 120, f"{strand}{distance}")]
    model = Convolutions()
    asked = [(allele, gene(strand=strand)) for allele, _ in changes]
    found = scorer(model, distance, extent=(0, 6000)).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    compared = 0
    for i, (_, written) in enumerate(changes):
        expected = plain(genome, *written, strand, rule=anywhere, distance=distance)
        if expected is not None:  # where the windows of the second implementation fit
            assert {field: found[field][i] for field in FIELDS} == pytest.approx(expected, abs=1e-12), written
            compared += 1
    assert compared > 60
    assert len(model.shown) <= 3  # one REF pass for each stretch of 2,000 nt


@pytest.mark.parametrize("strand", "+-")
def test_along_stretches_the_model_sees_n_outside_of_the_gene_and_the_contig(strand):
    genome = bases(400, "ends")
    model = Convolutions()
    asked = [(normal(genome, 21, genome[20], "A" if genome[20] != "A" else "C")[0], gene(strand=strand))]
    scorer(model, 50, extent=(18, 40)).score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    shown = model.shown[0] if strand == "+" else model.shown[0][::-1]
    inside = genome[18:40] if strand == "+" else genome[18:40].translate(str.maketrans("ACGT", "TGCA"))
    assert shown == "N" * (53 - 20 + 18) + inside + "N" * (20 + 54 - 40)


@pytest.mark.parametrize("error", [RuntimeError, BackendError])
def test_along_stretches_an_allele_fails_alone(error):
    genome = bases(3000, "failing")
    changes = [normal(genome, at, genome[at - 1], "A" if genome[at - 1] != "A" else "C") for at in range(900, 1100, 20)]
    bad = normal(genome, 1000, genome[999], genome[999] + "ACGTACGTACGTACGT")
    asked = [(allele, gene()) for allele, _ in [*changes, bad]]
    with_bad = scorer(Convolutions("ACGTACGTACGTACG", error), extent=(0, 3000))
    found = with_bad.score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    assert isinstance(found["DS_MAX"][-1], Skipped) and found["DS_MAX"][-1].status is Status.FAILED
    alone = scorer(Convolutions(), extent=(0, 3000)).score_alleles(asked[:-1], FakeReference({"c": genome}), FIELDS)
    assert found["DS_MAX"][:-1] == alone["DS_MAX"]


def broken_models():
    """Answers that must not become scores, with the error that each ends in."""
    return [
        (lambda ref, alts: (ref, [alt * np.nan for alt in alts]), RuntimeError),
        (lambda ref, alts: (ref * np.nan, alts), RuntimeError),
        (lambda ref, alts: (ref, [alt + 45 for alt in alts]), PluginError),
        (lambda ref, alts: (ref[:-1], alts), PluginError),
        (lambda ref, alts: (ref, alts[:-1]), PluginError),
        (lambda ref, alts: (ref, [alt[:-1] for alt in alts]), PluginError),
    ]


@pytest.mark.parametrize(("spoil", "error"), broken_models())
def test_an_answer_that_is_no_probability_never_becomes_a_score(spoil, error):
    class Broken(Convolutions):
        def alternatives(self, tokens, edits):
            return spoil(*super().alternatives(tokens, edits))

    genome = bases(3000, "broken")
    asked = [(normal(genome, 1500, genome[1499], "A" if genome[1499] != "A" else "C")[0], gene())]
    guarded = GuardedSpliceModel(Broken(), Origin("mine", "register_splice_models", "splice model", "broken"))
    scoring = scorer(guarded, extent=(0, 3000))
    if error is PluginError:
        with pytest.raises(PluginError, match="mine"):
            scoring.score_alleles(asked, FakeReference({"c": genome}), FIELDS)
    else:
        found = scoring.score_alleles(asked, FakeReference({"c": genome}), FIELDS)
        assert {one.status for column in found.values() for one in column} == {Status.FAILED}

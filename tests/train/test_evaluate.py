"""Labelled SNVs: read from both layouts, scored as an independent calculation does, and judged."""

import dataclasses
import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from factories import FASTA, SHARED, FakeReference
from oracle import Oracle, random_transformers, revcomp
from splicebert_vep import Annotator
from splicebert_vep.consequence.outcomes import Consequence, Effect, Outcome, Site
from splicebert_vep.errors import LabelError, SettingsError
from splicebert_vep.model.backend import TorchBackend
from splicebert_vep.model.bert import VOCABULARY
from splicebert_vep.plugins import load_plugins
from splicebert_vep.scoring.plan import plan_scores
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.settings import Settings
from splicebert_vep.train.evaluate import (
    DISTANCE,
    EVERYTHING,
    WITHOUT_SITES,
    BenchRow,
    LabelledVariant,
    compare_consequences,
    judge,
    operating_shares,
    read_labelled,
    read_observed,
    read_validated,
    score_labelled,
)
from splicebert_vep_spec import BackendOptions, FieldSpec, Interval, Skipped, Status

GENOME = "".join(random.Random(4).choice("ACGT") for _ in range(1200))
EXON = (560, 640)
WIDTH, FLANK = 200, 20
SCORES = ("LLR", "PLLR", "DELTA_P", "KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "EMB_COS", "EMB_L2")
GENOME_HEAD = "chrom\tpos\tref\talt\tdelta_psi\tassembly\texon_start\texon_end\tstrand\n"
SEQUENCE_HEAD = (
    "chrom\tpos_hg19\tref\talt\tstrand\tseq_start_1based\texon_start\texon_end\tdelta_psi\t"
    "ref_sequence_transcript_strand\n"
)


def plan(width=WIDTH, flank=FLANK):
    plugins = load_plugins()
    settings = Settings(window=width, flank=flank, scores=SCORES)
    return plan_scores(plugins.scorers, plugins.origins("scorer"), settings)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    theirs = random_transformers()
    theirs.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    return theirs, TorchBackend(BackendOptions(str(folder), device="cpu"))


def variant(start, strand="+", effect=0.0, **changes):
    ref = GENOME[start]
    alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
    given = {"line": 2, "chrom": "1", "start": start, "ref": ref, "alt": alt, "strand": strand,
             "exon": Interval(*EXON), "effect": effect, "assembly": "X"} | changes  # fmt: skip
    return LabelledVariant(**given)


def sites(strand):
    before, after = (EXON[0] - 2, EXON[0] - 1), (EXON[1], EXON[1] + 1)
    return (after, before) if strand == "+" else (before, after)


@pytest.mark.parametrize("protocol", ["published", "own"])
@pytest.mark.parametrize(
    "start", [560, 561]
)  # an exon of even or odd length; the middle of 561..640 is 600.5, down 600
def test_scores_equal_an_independent_calculation(model, protocol, start):
    theirs, backend = model
    exon = Interval(start, 640)
    variants = [variant(at, strand, exon=exon) for at in (558, 561, 600, 641, 655) for strand in "+-"]
    rows = score_labelled(
        variants, {"X": [FakeReference({"1": GENOME})]}, backend, plan(), protocol, shape=WindowShape(WIDTH, FLANK)
    )
    oracle = Oracle(theirs, GENOME, WIDTH, FLANK)
    assert [row.variant for row in rows] == variants
    for row in rows:
        one = row.variant
        before, after = (start - 2, start - 1), (640, 641)
        donor, acceptor = (after, before) if one.strand == "+" else (before, after)
        window = 600 - WIDTH // 2 if protocol == "published" else None
        expected = oracle.score(one.start, one.ref, one.alt, one.strand, donor, acceptor, window_start=window)
        for field in SCORES:
            assert row.values[field] == pytest.approx(expected[field], abs=1e-4), (one, field)


@pytest.mark.parametrize("strand", "+-")
def test_a_row_with_its_own_sequence_equals_an_independent_calculation(model, tmp_path, strand):
    theirs, backend = model
    first, last, at = 530, 690, 575
    bases = GENOME[first:last]
    path = tmp_path / "v.tsv"
    path.write_text(
        SEQUENCE_HEAD
        + f"1\t{at + 1}\t{GENOME[at]}\t{'C' if GENOME[at] != 'C' else 'G'}\t{strand}\t{first + 1}"
        + f"\t{EXON[0] + 1}\t{EXON[1]}"
        + f"\t-30.5\t{bases if strand == '+' else revcomp(bases)}\n"
    )
    [one] = read_labelled(path)
    assert (one.start, one.exon, one.effect) == (at, Interval(*EXON), -30.5)
    [row] = score_labelled([one], {}, backend, plan(), "published")
    donor, acceptor = sites(strand)
    oracle = Oracle(theirs, GENOME, last - first, at - first)  # the shorter side is the flank
    expected = oracle.score(at, one.ref, one.alt, strand, donor, acceptor, window_start=first)
    for field in SCORES:
        assert row.values[field] == pytest.approx(expected[field], abs=1e-4), field


def test_what_cannot_be_scored_says_why(model):
    _, backend = model
    variants = [
        variant(600), variant(600, chrom="9"), variant(600, assembly="Y"),
        variant(600, ref="A" if GENOME[600] != "A" else "C"), variant(600, ref=GENOME[600:602], alt="A"),
        variant(600, alt="N"), variant(600, exon=Interval(690, 700)),  # the window would not hold the flanks
        variant(30, exon=Interval(20, 40)), variant(600, sequence=GENOME[595:700].encode(), sequence_start=595),
    ]  # fmt: skip
    contigs = ({"2": GENOME}, {"1": "N" * 1200}, {"1": GENOME}, {"1": "A" * 1200})
    references = {"X": [FakeReference(bases) for bases in contigs]}
    rows = score_labelled(variants, references, backend, plan(), "published", shape=WindowShape(WIDTH, FLANK))
    assert [row.skipped and row.skipped.status for row in rows] == [
        None, Status.NO_CONTIG, Status.NO_CONTIG, Status.REF_MISMATCH, Status.NOT_APPLICABLE, Status.NOT_APPLICABLE,
        Status.N_CONTEXT, Status.N_CONTEXT, Status.N_CONTEXT,
    ]  # fmt: skip
    assert all(bool(row.values) != bool(row.skipped) for row in rows)


@pytest.mark.parametrize(
    ("start", "distance", "in_site"),
    [(557, 3, False), (558, 2, True), (559, 1, True), (560, 1, False), (561, 2, False), (599, 40, False),
     (600, 40, False), (639, 1, False), (640, 1, True), (641, 2, True), (642, 3, False)],
)  # fmt: skip
def test_distance_counts_from_the_nearer_edge_of_the_exon(start, distance, in_site):
    one = variant(start)
    assert (one.distance, one.in_site) == (distance, in_site)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("chrom\tpos\n1\t2\n", "lack columns"),
        (GENOME_HEAD + "1\tx\tA\tC\t0\tX\t1\t2\t+\n", "line 2"),
        (GENOME_HEAD + "1\t5\tA\tC\t0\tX\t1\t2\t.\n", "strand"),
        (GENOME_HEAD + "1\t5\tA\tC\tlow\tX\t1\t2\t+\n", "low"),
        (GENOME_HEAD + "1\t5\tA\n", "line 2"),
        (GENOME_HEAD + "1\t0\tA\tC\t0\tX\t1\t2\t+\n", "position 0"),
        (GENOME_HEAD + "1\t5\tA\tC\t0\tX\t7\t7\t+\n", "exon 7 to 7"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(tmp_path, text, said):
    if text:
        (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(LabelError, match=said):
        read_labelled(tmp_path / "t.tsv")


def rows_of(effects, scores, starts):
    return [
        BenchRow(variant(start, effect=effect), {"S": score, "D": None if score is None else -score})
        for effect, score, start in zip(effects, scores, starts, strict=True)
    ]


FIELDS = (
    FieldSpec("S", "A", "Float", "a score", direction="higher"),
    FieldSpec("D", "A", "Float", "the same, turned", direction="negative"),
    FieldSpec("N", "A", "Integer", "no score"),
)


def test_figures_equal_a_calculation_by_hand():
    # sorted by score: harmful, not, harmful, not -> precision at the hits 1/1 and 2/3
    rows = rows_of([-1, 0, -1, 0], [4.0, 3.0, 2.0, 1.0], [600, 610, 559, 620])
    figures = {(f.subset, f.score): f for f in judge(rows, FIELDS, "own", -0.5, resamples=200)}
    found = figures[EVERYTHING, "S"]
    assert found.average_precision.value == pytest.approx((1 + 2 / 3) / 2)
    assert found.auroc.value == pytest.approx(3 / 4)
    assert (found.variants, found.positives, found.missing, found.base_rate) == (4, 2, 0, 0.5)
    # distances 40, 30, 1, 20: harmful at rank 1 and rank 4
    assert figures[EVERYTHING, DISTANCE].average_precision.value == pytest.approx((1 + 2 / 4) / 2)
    assert found.ratio.value == pytest.approx((1 + 2 / 3) / (1 + 2 / 4))
    assert figures[EVERYTHING, "D"].average_precision == found.average_precision
    assert figures[EVERYTHING, "D"].ratio == found.ratio
    assert figures[WITHOUT_SITES, "S"].variants == 3
    assert figures[WITHOUT_SITES, "S"].average_precision.value == 1
    assert {score for _, score in figures} == {DISTANCE, "S", "D"}


def test_chance_is_the_base_rate_and_intervals_hold_it():
    rng = np.random.default_rng(0)
    effects = np.where(rng.random(2000) < 0.1, -1.0, 0.0)
    rows = rows_of(effects.tolist(), rng.random(2000).tolist(), rng.integers(570, 630, size=2000).tolist())
    [found] = [
        f for f in judge(rows, FIELDS[:1], "own", -0.5, resamples=100) if (f.subset, f.score) == (EVERYTHING, "S")
    ]
    assert found.average_precision.low < found.base_rate * 1.1
    assert found.average_precision.low < found.average_precision.value < found.average_precision.high
    assert found.auroc.low < 0.5 < found.auroc.high
    again = judge(rows, FIELDS[:1], "own", -0.5, resamples=100)
    assert again == judge(rows, FIELDS[:1], "own", -0.5, resamples=100)


def test_rows_without_score_or_effect_do_not_count_and_are_counted():
    rows = rows_of([-1, 0, -1, 0, None], [4.0, 3.0, None, 1.0, 9.0], [600, 610, 611, 612, 613])
    rows.append(BenchRow(variant(600, effect=-1), {}, Skipped(Status.N_CONTEXT, "")))
    figures = {f.score: f for f in judge(rows, FIELDS[:1], "own", -0.5, resamples=10) if f.subset == EVERYTHING}
    assert (figures["S"].variants, figures["S"].missing) == (3, 1)
    assert (figures[DISTANCE].variants, figures[DISTANCE].missing) == (4, 0)
    assert judge(rows[:1], FIELDS[:1], "own", -0.5) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="the assay's rows may not be copied here")
def test_distance_on_the_real_rows_gives_the_known_figure():
    rows = [BenchRow(one, {}) for one in read_labelled(SHARED / "data/labelled/mfass.dev.tsv")]
    figures = judge(rows, (), "published", -0.5, resamples=10)
    assert (figures[0].variants, figures[0].positives) == (1073, 37)
    assert figures[0].average_precision.value == pytest.approx(0.198, abs=5e-4)  # known before this code was written
    vexseq = read_labelled(SHARED / "data/labelled/vexseq.dev.tsv")
    assert sum(one.snv for one in vexseq) == 764
    # every acceptor reads AG and nearly every donor GT, so coordinates and strand are read rightly
    motifs = Counter()
    for one in vexseq:
        for kind, site in zip(("donor", "acceptor"), one.sites, strict=True):
            text = one.sequence[site.start - one.sequence_start : site.end - one.sequence_start].decode()
            motifs[kind, text if one.strand == "+" else revcomp(text)] += 1
    assert motifs["acceptor", "AG"] == len(vexseq)
    assert motifs["donor", "GT"] > 0.9 * len(vexseq)


def test_no_effect_is_no_number(tmp_path):
    words = ("", "NA", "nan", " NaN")
    (tmp_path / "t.tsv").write_text(GENOME_HEAD + "".join(f"1\t5\tA\tC\t{word}\tX\t1\t2\t+\n" for word in words))
    assert [one.effect for one in read_labelled(tmp_path / "t.tsv")] == [None] * 4


def test_a_model_of_one_window_length_does_not_score_rows_of_another(model):
    _, backend = model
    fixed = dataclasses.replace(backend.info, fixed_window=510)
    with pytest.raises(SettingsError, match="one length"):
        score_labelled(
            [variant(600, sequence=GENOME[500:700].encode(), sequence_start=500)], {},
            SimpleNamespace(info=fixed, forward=backend.forward), plan(), "own",
        )  # fmt: skip


OBSERVED_HEAD = (
    "hgvs\tchrom\tpos\tref\talt\tstrand\taffects_splicing\teffect\tobservation\tacceptor_gained\tdonor_gained\n"
)
#: A skip; a new site given by position and one by words; a kind in words only; two of normal RNA.
OBSERVED = [
    ("a", "1", "skip", "Exon 2 skipped", "", ""),
    ("b", "1", "alternative donor", "Use of a cryptic site 22 nt upstream from 5' ss", "", "101.0"),
    ("c", "1", "alternative acceptor", "Use of a cryptic site 7 nt upstream from 3' ss", "", ""),
    ("d", "1", "normal", "Exonic Alternative 5' Splice Site", "", ""),
    ("e", "0", "normal", "No change", "", ""),
    ("f", "0", "normal", "", "", ""),
]


def test_consequences_are_compared_with_rna(tmp_path):
    path = tmp_path / "seen.tsv"
    rows = ("\t".join([name, "1", "90", "A", "C", "+", *rest]) + "\n" for name, *rest in OBSERVED)
    path.write_text(OBSERVED_HEAD + "".join(rows))
    seen = read_observed(path)
    assert [(one.label, one.site, one.size) for one in seen[:4]] == [
        ("skip", None, None), ("alternative donor", 100, -22), ("alternative acceptor", None, 7),
        ("alternative donor", None, None),
    ]  # fmt: skip

    def found(kind: Effect, size: int, position: int = 0) -> Consequence:
        site = Site("donor", position, 2, "new", 0.0, 0.9)
        return Consequence(kind, (Outcome(kind, 0.9, (2, 2), size, (site,), None, ""),))

    skip, none = found(Effect.EXON_SKIPPING, -30), Consequence(Effect.NO_EFFECT)
    answers = [skip, found(Effect.EXON_TRUNCATION, -21, 100), found(Effect.EXON_EXTENSION, 8), skip, none, skip]
    lines = compare_consequences(list(zip(seen, answers, strict=True))).splitlines()
    assert lines[:4] == [
        "the right kind is the first outcome: 3 of 4 (75.0%)",
        "the right kind is among the outcomes: 3 of 4 (75.0%)",
        "the very site is among the outcomes: 1 of 2 (50.0%)",
        "no effect where RNA is normal: 1 of 2 (50.0%)",
    ]
    assert lines[5:10] == [
        "seen in RNA\texon_skipping\texon_extension\texon_truncation\tNO_EFFECT",
        "none\t1\t0\t0\t1",
        "skip\t1\t0\t0\t0",
        "alternative donor\t1\t0\t1\t0",
        "alternative acceptor\t0\t1\t0\t0",
    ]
    assert [line.partition("\t")[0] for line in lines[11:]] == ["c", "d", "f"]
    path.write_text(OBSERVED_HEAD.replace("\teffect", ""))
    with pytest.raises(LabelError):
        read_observed(path)


SIGN = FieldSpec("OTHER_MAX", "A", "Float", "x", "higher")
RNA = "chrom\tpos\tref\talt\taffects_splicing\teffect\tother_max\n"


def test_variants_with_rna_evidence_are_read_and_their_shares_counted(tmp_path):
    rows = "".join(
        f"17\t{pos}\tA\tC\t{affects}\t{kind}\t{other}\n"
        for pos, affects, kind, other in ((5, 1, "skip", "0.9"), (6, 1, "skip", ""), (7, 1, "retention", "0.2"),
                                          (8, 0, "normal", "0.2"), (9, 0, "normal", "0.01"))
    )  # fmt: skip
    (tmp_path / "t.tsv").write_text(RNA + rows)
    found = read_validated(tmp_path / "t.tsv", ["other_max"])
    assert [(one.variant.pos, one.affects, one.kind) for one in found[:4:3]] == [
        (5, True, "skip"),
        (8, False, "normal"),
    ]
    assert [one.others for one in found[:2]] == [{"OTHER_MAX": 0.9}, {}]
    shares = operating_shares([BenchRow(one, one.others) for one in found], "OTHER_MAX")
    by_kind = {(one.kind, one.harmful): (one.variants, one.missing, one.shares[0.2], one.shares[0.5]) for one in shares}
    assert by_kind == {  # of three harmful ones two have .2 or more; the one without score is below every threshold
        ("all", True): (3, 1, pytest.approx(2 / 3), pytest.approx(1 / 3)), ("all", False): (2, 0, 0.5, 0),
        ("skip", True): (2, 1, 0.5, 0.5), ("retention", True): (1, 0, 1, 0), ("normal", False): (2, 0, 0.5, 0),
    }  # fmt: skip
    figures = judge([BenchRow(one, one.others) for one in found], (SIGN,), "own", 0, resamples=10)
    [auroc] = [one.auroc.value for one in figures if (one.score, one.subset) == ("OTHER_MAX", EVERYTHING)]
    assert auroc == pytest.approx(3.5 / 4)  # of .9 and .2 against .2 and .01: three pairs right and one tie


def test_a_table_without_the_label_is_none_of_these_and_a_bad_row_is_told(tmp_path):
    (tmp_path / "t.tsv").write_text(GENOME_HEAD)
    assert read_validated(tmp_path / "t.tsv") is None
    (tmp_path / "t.tsv").write_text(RNA + "17\t5\tA\tC\tmaybe\tskip\t\n")
    with pytest.raises(LabelError, match="line 2"):
        read_validated(tmp_path / "t.tsv")


def test_variants_with_rna_evidence_are_scored_as_annotate_does(run, tmp_path):
    lines = ["17\t43047641\tA\tC\t1\tskip\t0.9", "17\t43047703\tC\tCT\t0\tnormal\t0.1"]
    lines += ["17\t43070000\tN\tC\t0\tnormal\t"]
    (tmp_path / "t.tsv").write_text(RNA + "\n".join(lines) + "\n")
    code, out, err = run(
        "evaluate", tmp_path / "t.tsv", "-R", FASTA, "--scores", "KL_SS", "--beside", "other_max", "--resamples", "10",
        "--rows", tmp_path / "rows.tsv",
    )  # fmt: skip
    assert code == 0 and "2 of 3 rows count" in err
    with Annotator(FASTA, scores="KL_SS") as annotator:
        expected = [annotator.score(one) for one in ("17-43047641-A-C", "17-43047703-C-CT")]
    rows = [line.split("\t") for line in (tmp_path / "rows.tsv").read_text().splitlines()]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [float(row["KL_SS"]) for row in table[:2]] == pytest.approx([one["KL_SS"] for one in expected], rel=1e-3)
    assert (table[0]["distance"], table[0]["in_site"], float(table[0]["OTHER_MAX"])) == ("2", "1", 0.9)  # c.5467+2T>G
    assert table[2]["status"] != "OK"
    assert "OTHER_MAX" in out

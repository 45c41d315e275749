"""SpliceBERT and SpliceAI side by side: one word per allele and gene, by thresholds that are stated."""

from types import SimpleNamespace

import pytest

from factories import annotated, gene, open_annotator, tabixed, vcf, words
from splicebert_vep.errors import SettingsError
from splicebert_vep.joining.evidence import SPLICEAI, plan_evidence
from splicebert_vep_spec import AlleleReport, FieldSpec, RecordReport, RunInfo, ScoredContext, Status

DS_MAX = FieldSpec(SPLICEAI, "A", "Float", "x", "higher")
KL, LLR, SITES = (
    FieldSpec("KL_CTX", "A", "Float", "x", "higher"), FieldSpec("LLR", "A", "Float", "x", "negative"),
    FieldSpec("N_SITES", "A", "Integer", "x"),
)  # fmt: skip
RUN = RunInfo((KL, LLR, SITES), {})


def planned(*texts, joined=(DS_MAX,), run=RUN, scorers=()):
    return plan_evidence(texts, run, joined, scorers)


GENE = gene()


def word(evidence, context=GENE, **values):
    outcome = ScoredContext(context, Status.OK, "", values)
    report = RecordReport("1", 1, ".", "A", (AlleleReport("C", None, (outcome,)),))
    [found] = evidence.add([report])
    return found.alleles[0].contexts[0].values["EVIDENCE"]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"KL_CTX": -6.0, SPLICEAI: 0.9}, "both"),
        ({"KL_CTX": -6.5, SPLICEAI: 0.2}, "both"),  # a value on its threshold is called
        ({"KL_CTX": -6.0, SPLICEAI: 0.19}, "splicebert_only"),
        ({"KL_CTX": -6.51, SPLICEAI: 0.2}, "spliceai_only"),
        ({"KL_CTX": -7.0, SPLICEAI: 0}, "neither"),
        ({"KL_CTX": None, SPLICEAI: 0.9}, "not_scored"),
        ({"KL_CTX": -6.0, SPLICEAI: None}, "not_scored"),
        ({"KL_CTX": -6.0}, "not_scored"),
        ({}, "not_scored"),
    ],
)
def test_the_word_of_an_allele(values, wanted):
    assert word(planned("KL_CTX=-6.5"), **values) == wanted


def test_a_negative_score_calls_downwards():
    evidence = planned("LLR=-2", "SpliceAI_DS_MAX=0.5")
    assert word(evidence, LLR=-2.5, **{SPLICEAI: 0.4}) == "splicebert_only"
    assert word(evidence, LLR=-1.5, **{SPLICEAI: 0.5}) == "spliceai_only"
    assert evidence.about == "LLR <= -2.0, SpliceAI_DS_MAX >= 0.5"
    [field] = evidence.fields
    assert field.id == "EVIDENCE" and evidence.about in field.description


def test_an_alt_without_gene_is_not_scored():
    assert word(planned("KL_CTX=-6.5"), context=None) == "not_scored"


def test_without_a_threshold_of_spliceberts_there_is_no_field_and_a_note():
    evidence = planned("SpliceAI_DS_MAX=0.5")
    assert evidence.fields == () and evidence.about == ""
    assert "--evidence KL_CTX=VALUE" in evidence.notes[0]
    assert planned(joined=()).notes == ()


@pytest.mark.parametrize(
    ("texts", "joined", "problem"),
    [
        (["KL_CTX=-6"], (), r"no SpliceAI(.|\n)*--join SpliceAI="),
        (["KL_CTX"], (DS_MAX,), "SCORE=NUMBER"),
        (["KL_CTX=nan"], (DS_MAX,), "SCORE=NUMBER"),
        (["KL_CTX=-6_5"], (DS_MAX,), "SCORE=NUMBER"),
        (["=1"], (DS_MAX,), "SCORE=NUMBER"),
        (["KL_CTXX=1"], (DS_MAX,), "did you mean KL_CTX"),
        (["KL_CTX=1", "LLR=1"], (DS_MAX,), "one threshold for each side"),
        (["KL_CTX=1", "KL_CTX=2"], (DS_MAX,), "each once"),
        (["N_SITES=1"], (DS_MAX,), "one of KL_CTX, LLR"),  # it has no direction
        (["CADD_PHRED=1"], (DS_MAX, FieldSpec("CADD_PHRED", "A", "Float", "x", "higher")), "one of KL_CTX, LLR"),
    ],
)
def test_thresholds_that_cannot_be_are_told(texts, joined, problem):
    with pytest.raises(SettingsError, match=problem):
        planned(*texts, joined=joined)


def test_a_live_scorer_of_the_same_field_is_spliceais_side():
    """And no side of SpliceBERT is a score of the sequence alone."""
    live = SimpleNamespace(
        name="spliceai", version="1", fields=(DS_MAX, FieldSpec("MAXENT", "A", "Float", "x", "higher")),
        score_alleles=lambda alleles, bases, asked: {},
    )  # fmt: skip
    run = RunInfo((*RUN.fields, *live.fields), {})
    evidence = planned("KL_CTX=-6.5", joined=(), run=run, scorers=[live])
    assert word(evidence, KL_CTX=-6, **{SPLICEAI: 0.3}) == "both"
    with pytest.raises(SettingsError):
        planned("MAXENT=1", joined=(), run=run, scorers=[live])


@pytest.fixture
def annotator(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    with open_annotator(tmp_path, scores=("KL_CTX",)) as opened:
        yield opened


def test_it_is_in_every_output_and_in_the_provenance(annotator, tmp_path):
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C,<DEL>", "chr1 360 G T"])
    file = tabixed(tmp_path / "s.vcf", ["1 350 A C SpliceAI=C|ALPHA|0.9|0|0|0|1|2|3|4"])
    options = {"evidence": ["KL_CTX=-1000"], "join": [f"spliceai={file}"]}
    summary = annotator.annotate(source, tmp_path / "o.vcf", emit=["flat", "vep", f"tsv={tmp_path / 't'}"], **options)
    assert summary.provenance["Evidence"] == "KL_CTX >= -1000.0, SpliceAI_DS_MAX >= 0.2"
    text = (tmp_path / "o.vcf").read_text()
    assert "##INFO=<ID=SpliceBERT_EVIDENCE,Number=A,Type=String" in text and "KL_CTX >= -1000.0" in text
    first, second = [line.split("\t")[7] for line in text.splitlines() if line[0] != "#"]
    assert "SpliceBERT_EVIDENCE=both,not_scored" in first and "SpliceBERT_EVIDENCE=not_scored" in second
    assert "SpliceBERT_SpliceAI_STATUS=FOUND,." in first and "SpliceBERT_SpliceAI_STATUS=NO_RECORD" in second
    [names] = [line.split("Format: ")[1].split('"')[0].split("|") for line in text.splitlines() if "Format: " in line]
    entry = dict(zip(names, first.split("SpliceBERT=")[1].split(",")[0].split("|"), strict=True))
    assert (entry["SYMBOL"], entry["SpliceAI_DS_MAX"], entry["EVIDENCE"]) == ("ALPHA", "0.9000", "both")
    table = [line.split("\t") for line in (tmp_path / "t").read_text().splitlines() if not line.startswith("##")]
    assert [dict(zip(table[0], row, strict=True))["EVIDENCE"] for row in table[1:]] == [
        "both", "not_scored", "not_scored", "not_scored", "not_scored",
    ]  # fmt: skip
    assert not summary.notes
    assert annotator.annotate(source, tmp_path / "p.vcf", join=[f"spliceai={file}"]).notes
    rows = annotated(annotator, source, f"spliceai={file}", evidence=["KL_CTX=1000"])
    assert words(rows, "SYMBOL", "EVIDENCE")[:2] == [("ALPHA", "spliceai_only"), ("GAMMA", "not_scored")]

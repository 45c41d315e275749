"""Scorers that read the sequence alone: through the same door, into the same outputs and the same store."""

import pytest

from factories import EXAMPLES, Counting, FakeGenes, FakeRecord, FakeReference, Point, gene, pipeline, plugin
from splicebert_vep.annotator import Annotator
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.model.null import NullBackend
from splicebert_vep.settings import Settings
from splicebert_vep_spec import FieldSpec, Refused, SequenceScorer, Status
from splicebert_vep_spec.testing import SequenceScorerConformance

VARIANTS = ["chr17-43045061-C-T", "chr17-43045061-CC-TT", "chr17-43045061-C-CA"]


class Purines(SequenceScorer):
    """Purines in the 20 bases before the span, and what share of them; missing for an insertion."""

    name = "purines"
    version = "3"
    fields = (
        FieldSpec("Purine_COUNT", "A", "Integer", "Purines in the 20 bases before the span", default=False),
        FieldSpec("Purine_SHARE", "A", "Float", "Their share", default=False),
    )

    def __init__(self):
        self.asked = []

    def score_alleles(self, alleles, bases, fields):
        self.asked.append([allele for allele, _ in alleles])
        counts = [
            sum(base in b"AG" for base in bases.fetch(allele.contig, allele.start - 20, allele.start))
            if allele.ref
            else None
            for allele, _ in alleles
        ]
        columns = {"Purine_COUNT": counts, "Purine_SHARE": [None if n is None else n / 20 for n in counts]}
        return {field: columns[field] for field in fields}


class TestPurines(SequenceScorerConformance):
    scorer = Purines()


def opened(install, scorer, scores, **options):
    install(Point("mine", plugin(register_scorers=lambda: [scorer])))
    return Annotator(EXAMPLES / "brca1.fa.gz", backend="null", settings=Settings(scores=scores), **options)


def expected(variant):
    """The same count, from the FASTA as text."""
    import gzip

    text = gzip.decompress((EXAMPLES / "brca1.fa.gz").read_bytes()).decode()
    bases = "".join(text.split("\n")[1:])
    start = int(variant.split("-")[1]) - 1
    return sum(base in "AG" for base in bases[start - 20 : start].upper())


def test_values_stand_beside_those_of_the_model(install):
    with opened(install, Purines(), ("KL_CTX", "Purine_COUNT", "Purine_SHARE")) as annotator:
        snv, mnv, insertion = annotator.score(VARIANTS)
    count = expected(VARIANTS[0])
    assert (snv["Purine_COUNT"], mnv["Purine_COUNT"]) == (count, count)
    assert snv["Purine_SHARE"] == count / 20
    assert isinstance(snv["KL_CTX"], float)
    assert (insertion.status, insertion["Purine_COUNT"]) == (Status.OK, None)


def test_the_model_does_not_run_for_the_sequence_alone(install):
    reference = FakeReference({"c": "ACGT" * 300})
    install(Point("mine", plugin(register_scorers=lambda: [Purines()])))
    backend = Counting(NullBackend())
    line = pipeline(reference, FakeGenes([gene()]), backend, scores=("Purine_COUNT",))
    [report] = line.report([FakeRecord("c", 501, "A", ("C",))])
    assert report.alleles[0].contexts[0].values["Purine_COUNT"] == 10  # ACGT five times
    assert backend.windows == []


@pytest.mark.parametrize(("scores", "variant"), [(None, VARIANTS[0]), ("Purine_COUNT", "chr17-43045061-C-<DEL>")])
def test_it_is_asked_only_when_it_is_named_and_for_alleles_that_can_be_scored(scores, variant, install):
    scorer = Purines()
    with opened(install, scorer, scores) as annotator:
        result = annotator.score(variant)
    assert (result.status, "Purine_COUNT" in result) == ((Status.SYMBOLIC, True) if scores else (Status.OK, False))
    assert scorer.asked == []


def test_a_score_store_keeps_the_values(install, tmp_path):
    scores = ("KL_CTX", "Purine_COUNT", "Purine_SHARE")
    with opened(install, Purines(), scores, store=tmp_path / "s.sqlite") as annotator:
        first = [result.values for result in annotator.score(VARIANTS)]
    again = Purines()
    with opened(install, again, scores, store=tmp_path / "s.sqlite") as annotator:
        second = [result.values for result in annotator.score(VARIANTS)]
    assert second == first
    assert again.asked == []
    other = Purines()
    other.version = "4"
    with opened(install, other, scores, store=tmp_path / "s.sqlite") as annotator:
        list(annotator.score(VARIANTS))
    assert len(other.asked) == 1  # values of another version answer nothing


@pytest.mark.parametrize(
    ("answer", "needed"),
    [
        ({}, "1 values for each of Purine_COUNT"),
        ({"Purine_COUNT": [1, 2]}, "1 values for each"),
        ({"Purine_COUNT": [1], "Purine_SHARE": [0.1]}, "1 values for each"),
        ({"Purine_COUNT": [float("nan")]}, "finite numbers"),
        ({"Purine_COUNT": ["7"]}, "finite numbers"),
        ({"Purine_COUNT": [True]}, "finite numbers"),
        ({"Purine_COUNT": [1.5]}, "whole numbers"),
        ({"Purine_COUNT": [2**31]}, "whole numbers"),
    ],
)
def test_what_breaks_the_contract_ends_the_run(install, answer, needed):
    scorer = Purines()
    scorer.score_alleles = lambda alleles, bases, fields: answer
    with opened(install, scorer, ("Purine_COUNT",)) as annotator, pytest.raises(PluginError) as ended:
        annotator.score(VARIANTS[0])
    assert needed in str(ended.value)
    assert "score_alleles" in str(ended.value)


def test_a_refusal_is_shown_as_it_is(install):
    def refuse(alleles, bases, fields):
        raise Refused("Set PURINES first.")

    scorer = Purines()
    scorer.score_alleles = refuse
    with opened(install, scorer, ("Purine_COUNT",)) as annotator, pytest.raises(SettingsError, match="Set PURINES"):
        annotator.score(VARIANTS[0])

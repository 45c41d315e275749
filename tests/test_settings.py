"""The knobs of a run: read from one place by Python, the command line and the digest."""

from dataclasses import fields
from pathlib import Path

import pytest

from factories import FASTA
from splicebert_vep import Annotator, Settings
from splicebert_vep.cli.annotate import annotate
from splicebert_vep.errors import SettingsError
from splicebert_vep.provenance import score_digest


@pytest.mark.parametrize("scores", ["LLR,KL_SS", ["LLR", "KL_SS"], ("LLR", "KL_SS"), "KL_SS"], ids=repr)
def test_scores_are_a_list_in_any_form(scores):
    assert Settings(scores=scores).scores == (("KL_SS",) if scores == "KL_SS" else ("LLR", "KL_SS"))


def test_no_scores_are_the_default():
    assert Settings(scores=None).scores == Settings(scores="").scores == Settings().scores == ()


def test_a_path_is_never_the_name_of_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = Settings(model=Path("splicebert-mini"))
    assert settings.model == str(tmp_path / "splicebert-mini")


@pytest.mark.parametrize(
    "wrong",
    [{"window": 200}, {"flank": 0}, {"batch_tokens": 0}, {"chunk_records": 0}, {"delta_distance": 0},
     {"delta_distance": 5001}], ids=str,
)  # fmt: skip
def test_settings_that_cannot_work_are_errors(wrong):
    with pytest.raises(SettingsError):
        Settings(**wrong)


def test_every_knob_is_an_option_with_its_default():
    options = {option.name: option for option in annotate.params}
    for knob in fields(Settings):
        if knob.metadata["help"]:
            assert options[knob.name].default in (knob.default, None)
            assert options[knob.name].help.startswith(knob.metadata["help"][:20])


def test_keywords_replace_settings_and_unknown_ones_are_errors(session_cache):
    with Annotator(FASTA, settings=Settings(scores="LLR"), backend="null", flank=50) as annotator:
        assert (annotator.settings.scores, annotator.settings.flank) == (("LLR",), 50)
        assert annotator.run.provenance["Flank"] == "50"
        with Annotator(**annotator.to_json()) as again:
            assert again.space == annotator.space
    with pytest.raises(SettingsError, match="genes"):
        Annotator(FASTA, genes="grch38")


def test_the_digest_of_stores_made_before_stays():
    """The digest of version 0.1, of the bundled model with default settings: a store is worth hours of work."""
    provenance = {
        "Backend": "torch/1", "Window": "510", "Flank": "100", "Precision": "fp32", "ScoreVersion": "2",
        "WeightsSHA256": "57a58704d2cd1633385f815d61b5cb614343ae116f90e63d8c8f7832884c3433",
        "Architecture": "6x128 heads=8 ff=512 positions=1026 eps=1e-05",
    }  # fmt: skip
    assert score_digest(provenance) == "d77f17d6146da538a990c2b6af15b0938c47c45036cba4cc15923a8bf8346a7b"

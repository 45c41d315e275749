"""Recipes travel as JSON, scale with the tokens, and refuse values that cannot be followed."""

import math

import pytest
from msgspec.structs import replace

from factories import RECIPE, TINY
from splicebert_vep.errors import SettingsError
from splicebert_vep.train.recipe import MINI, PRESETS, FineTuneRecipe, SequenceRecipe, Stage, load_recipe, scaled


def test_recipes_travel_as_json(tmp_path):
    for recipe in PRESETS.values():
        (tmp_path / "r.json").write_text(recipe.to_json())
        assert load_recipe(str(tmp_path / "r.json")) == recipe
        assert load_recipe(recipe.name) == recipe


def test_stages_and_warm_up_are_scaled_with_the_tokens():
    tenth = scaled(MINI, MINI.tokens // 10)
    assert tenth.tokens == pytest.approx(MINI.tokens // 10, abs=5)
    assert tenth.warmup_steps == MINI.warmup_steps // 10


PRETRAINING = [
    ({"stages": ()}, "stages"),
    ({"heads": 3}, "heads"),
    ({"stages": (Stage(40, 50, 100, 0.5),), "batch_tokens": 100}, "batch_tokens"),
    ({"heads": 0}, "heads"),
    ({"layers": 0}, "layers"),
    ({"validate_every": 0}, "validate_every"),
    ({"batch_tokens": 400.5}, "batch_tokens"),
    ({"learning_rate": "x"}, "learning_rate"),
    ({"selected": 1.5}, "selected"),
    ({"seed": 2**64}, "seed"),
    ({"seed": True}, "seed"),
    ({"betas": (0.9,)}, "betas"),
    ({"neighbour_layers": 3}, "neighbour_layers"),
]
FINE_TUNING = [
    ({"stages": ()}, "stages"),
    ({"stages": (Stage(20, 80, 100, 0.5), Stage(60, 60, 100, 0.5))}, "last stage"),
    ({"batch_tokens": 50}, "batch_tokens"),
    ({"site_weight": 0.0}, "site_weight"),
    ({"hidden_share": 1.5}, "hidden_share"),
    ({"patience": -1}, "patience"),
    ({"learning_rate": math.nan}, "learning_rate"),
    ({"clip": math.inf}, "clip"),
    ({"validate_every": 0}, "validate_every"),
    ({"head": "pooler"}, "head"),
]
SEQUENCES = [({"epochs": 0}, "epochs"), ({"warmup_share": 1.0}, "warmup_share"), ({"head": "pooler"}, "head")]


@pytest.mark.parametrize(
    ("recipe", "change", "name"),
    [(TINY, *case) for case in PRETRAINING]
    + [(RECIPE, *case) for case in FINE_TUNING]
    + [(SequenceRecipe(), *case) for case in SEQUENCES],
)
def test_a_recipe_that_cannot_be_followed_is_refused(recipe, change, name):
    with pytest.raises(SettingsError, match=name):
        replace(recipe, **change)
    with pytest.raises(SettingsError, match=name):  # the same by the constructor
        type(recipe)(**{field: getattr(recipe, field) for field in recipe.__struct_fields__} | change)


@pytest.mark.parametrize("values", [(50, 40, 100, 0.5), (0, 40, 100, 0.5), (40, 40, 0, 0.5), (40, 40, 100, 1.5)])
def test_a_stage_that_cannot_be_followed_is_refused(values):
    with pytest.raises(SettingsError):
        Stage(*values)


def test_every_wrong_value_is_named():
    with pytest.raises(SettingsError, match=r"(?s)patience.*|seed") as told:
        FineTuneRecipe(patience=-1, seed=-1)
    assert "patience" in told.value.found and "seed" in told.value.found


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"name": "x"}', '{"stages": [{"longest": 3}], "betas": [0, 0]}', MINI.to_json()[:-3] + ',"x":1}'],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_recipe(str(tmp_path / "r.json"))


def test_a_name_of_no_preset_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="mini, base"):
        load_recipe(str(tmp_path / "none.json"))

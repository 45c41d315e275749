"""The plugin manager tells what is wrong with a plugin, by name."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from splicebert_vep import plugins
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.settings import Settings, check_window, plan_scores
from splicebert_vep_spec import BackendInfo, FieldSpec, hookimpl


@dataclass
class Echo:
    """A scorer that does nothing, under any name and with any field."""

    name: str = "echo"
    version: str = "1"
    fields: tuple = (FieldSpec("ECHO", "A", "Float", "Nothing"),)

    def needs(self, fields):
        return frozenset()

    def score(self, batch, fields):
        return {}


class Point:
    """Stand in for an entry point."""

    dist = SimpleNamespace(version="2.5")

    def __init__(self, name, plugin):
        self.name, self.value, self.plugin = name, f"{name}_module", plugin

    def load(self):
        if isinstance(self.plugin, Exception):
            raise self.plugin
        return self.plugin


@pytest.fixture
def install(monkeypatch):
    def put(*points):
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)

    monkeypatch.delenv(plugins.ALLOW_VARIABLE, raising=False)
    return put


def plugin(**hooks):
    return SimpleNamespace(**{name: hookimpl(hook) for name, hook in hooks.items()})


def scorers(*items):
    def register_scorers():
        return list(items)

    return plugin(register_scorers=register_scorers)


def test_built_ins_come_first_and_plugins_after(install):
    install(Point("mine", scorers(Echo())))
    loaded = plugins.load_plugins()
    assert [scorer.name for scorer in loaded.scorers] == ["likelihood", "divergence", "embedding", "echo"]
    assert loaded.versions == {"mine": "2.5"}
    assert set(loaded.backends) >= {"torch", "null"}
    assert set(loaded.adapters) >= {"flat", "vep", "tsv", "parquet"}


def test_a_misspelled_hook_is_told(install):
    def register_scorer():
        return []

    install(Point("mine", plugin(register_scorer=register_scorer)))
    with pytest.raises(PluginError, match=r"hook that does not exist(.|\n)*register_scorers(.|\n)*register_scorer"):
        plugins.load_plugins()


def test_a_name_registered_twice_is_told(install):
    install(Point("mine", scorers(Echo(name="embedding"))))
    with pytest.raises(PluginError, match=r"Two scorers have the same name(.|\n)*embedding"):
        plugins.load_plugins()


def test_a_field_offered_twice_is_told(install):
    install(Point("mine", scorers(Echo(fields=(FieldSpec("LLR", "A", "Float", "Mine"),)))))
    with pytest.raises(PluginError, match="LLR of likelihood and of echo"):
        plugins.load_plugins()


def test_a_plugin_that_raises_on_import_is_told(install):
    install(Point("mine", ImportError("no module named gpu")))
    with pytest.raises(
        PluginError, match=r"Plugin mine cannot be imported(.|\n)*no module named gpu(.|\n)*mine_module"
    ):
        plugins.load_plugins()


def test_plugins_can_be_switched_off_and_chosen(install, monkeypatch):
    install(Point("broken", ImportError("x")), Point("mine", scorers(Echo())))
    monkeypatch.setenv(plugins.ALLOW_VARIABLE, "none")
    assert plugins.load_plugins().versions == {}
    monkeypatch.setenv(plugins.ALLOW_VARIABLE, "mine")
    assert list(plugins.load_plugins().versions) == ["mine"]
    monkeypatch.setenv(plugins.ALLOW_VARIABLE, "mine,other")
    with pytest.raises(SettingsError, match=r"not installed(.|\n)*broken, mine(.|\n)*other"):
        plugins.load_plugins()


def test_fields_are_checked_when_they_are_made():
    with pytest.raises(ValueError, match="upper-case"):
        FieldSpec("llr", "A", "Float", "x")
    with pytest.raises(ValueError, match="one non-empty line"):
        FieldSpec("LLR", "A", "Float", "")


def test_a_plan_computes_what_is_asked(install):
    install()
    offered = plugins.load_plugins().scorers
    plan = plan_scores(offered, Settings(scores=("KL_MAX", "LLR")))
    assert [field.id for field in plan.fields] == ["LLR", "KL_MAX", "N_FRAC"]
    assert plan.needs == {"masked", "pairs"}
    default = plan_scores(offered, Settings())
    assert {field.id for field in default.fields}.isdisjoint({"DELTA_P", "KL_MAX", "KL_MAX_POS"})
    with pytest.raises(SettingsError, match=r"unknown score(.|\n)*KL_CTX(.|\n)*XYZ"):
        plan_scores(offered, Settings(scores=("LLR", "XYZ")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(window=WindowShape(200, 100)), "no room for the flanks"),
        (dict(window=WindowShape(510, 0)), "no room for the flanks"),
        (dict(window=WindowShape(510, 100, "tiled", 0)), "stride"),
        (dict(batch_tokens=0), "at least 1"),
    ],
)
def test_settings_that_cannot_work_are_told(settings, message):
    with pytest.raises(SettingsError, match=message):
        Settings(**settings)


def test_a_window_the_model_was_not_trained_for_is_refused():
    def info(longest, fixed):
        return BackendInfo("m", "0", longest, fixed, 8, "a", "fp32", "cpu")

    check_window(WindowShape(510), info(510, 510))
    check_window(WindowShape(300), info(510, None))
    with pytest.raises(SettingsError, match=r"one length only(.|\n)*--window 510"):
        check_window(WindowShape(300), info(510, 510))
    with pytest.raises(SettingsError, match=r"wider than model m(.|\n)*at most 510"):
        check_window(WindowShape(511), info(510, None))


def test_a_hook_with_the_wrong_arguments_is_told(install):
    def register_scorers(wrong):
        return []

    install(Point("mine", plugin(register_scorers=register_scorers)))
    with pytest.raises(PluginError, match=r"Plugin mine implements a hook with the wrong arguments(.|\n)*wrong"):
        plugins.load_plugins()


def test_a_hook_that_raises_is_told(install):
    def register_adapters():
        raise KeyError("gone")

    install(Point("mine", plugin(register_adapters=register_adapters)))
    with pytest.raises(PluginError, match=r"failed in hook register_adapters(.|\n)*KeyError: 'gone'(.|\n)*mine"):
        plugins.load_plugins()


def test_two_entry_points_of_one_name_are_told(install):
    install(Point("mine", scorers(Echo())), Point("mine", scorers()))
    with pytest.raises(PluginError, match="Two plugins have the same name"):
        plugins.load_plugins()
    install(Point("builtin", scorers()))
    with pytest.raises(PluginError, match="the built-ins"):
        plugins.load_plugins()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (FieldSpec("STATUS", "A", "Float", "Mine"), "STATUS of the built-in adapters and of echo"),
        (FieldSpec("ECHO", "1", "Float", "Mine"), "no number per ALT"),
        (FieldSpec("ECHO", "A", "String", "Mine"), "no number per ALT"),
    ],
)
def test_a_field_that_cannot_be_written_is_told(install, field, message):
    install(Point("mine", scorers(Echo(fields=(field,)))))
    with pytest.raises(PluginError, match=message):
        plugins.load_plugins()

"""The plugin manager tells what is wrong with a plugin, by name."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pluggy
import pytest

import splicebert_vep_spec
from factories import Point, plugin
from splicebert_vep import plugins
from splicebert_vep.cli import main as program
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.plugins import PLUGINS_VARIABLE
from splicebert_vep.scoring.plan import plan_scores
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.settings import Settings, check_window
from splicebert_vep_spec import PROJECT, BackendInfo, FieldSpec, Refused, RunInfo, hookspec


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


def scorers(*items):
    return plugin(register_scorers=lambda: list(items))


def message_of(*points, install):
    """The error of a run; the same plugin is named at listing time, and everything else is there all the same."""
    install(*points)
    with pytest.raises(PluginError) as caught:
        plugins.load_plugins()
    listed = plugins.inspect_plugins()
    assert str(caught.value) in [str(one.error) for one in listed.installed if one.state == "broken"]
    assert {"likelihood", "divergence", "embedding"} <= {scorer.name for scorer in listed.scorers}
    return str(caught.value)


def test_built_ins_come_first_and_plugins_after(install):
    install(Point("mine", scorers(Echo())))
    loaded = plugins.load_plugins()
    assert [scorer.name for scorer in loaded.scorers] == ["likelihood", "divergence", "embedding", "delta", "echo"]
    assert loaded.versions == {"mine": "2.5"}
    assert {"torch", "null"} <= set(loaded.backends)
    assert {"flat", "vep", "tsv", "jsonl", "parquet"} <= set(loaded.adapters)
    builtin, mine = loaded.installed
    assert (builtin.name, mine.name, mine.distribution, mine.hooks) == (
        "builtin", "mine", "mine-package", ("register_scorers",)
    )  # fmt: skip


def test_a_misspelled_hook_is_told(install):
    message = message_of(Point("mine", plugin(register_scorer=lambda: [])), install=install)
    assert "Plugin mine implements a hook that does not exist" in message
    assert "found:  register_scorer; did you mean register_scorers?" in message
    assert "remedy: rename the function; " in message
    assert f"{PLUGINS_VARIABLE}=-mine" in message


def test_a_name_registered_twice_is_told(install):
    message = message_of(Point("mine", scorers(Echo(name="embedding"))), install=install)
    assert "Plugin mine registers the scorer embedding, a name that is taken" in message
    assert "embedding of scorer embedding of plugin builtin and of scorer embedding of plugin mine" in message
    assert "where:  hook register_scorers" in message
    assert f"{PLUGINS_VARIABLE}=-mine" in message
    twice = message_of(
        Point("a", scorers(Echo())),
        Point(
            "b",
            scorers(Echo(fields=())),
        ),
        install=install,
    )
    assert "echo of scorer echo of plugin a and of scorer echo of plugin b" in twice


def test_a_field_offered_twice_is_told(install):
    mine = scorers(Echo(fields=(FieldSpec("LLR", "A", "Float", "Mine"),)))
    message = message_of(Point("mine", mine), install=install)
    assert "LLR of scorer likelihood of plugin builtin and of scorer echo of plugin mine" in message
    assert "hook register_scorers" in message


@pytest.mark.parametrize("error", [ImportError("no module named gpu"), SystemExit("no module named gpu")])
def test_a_plugin_that_raises_on_import_is_told(error, install):
    message = message_of(Point("mine", error), install=install)
    assert "Plugin mine cannot be imported" in message
    assert f"found:  {type(error).__name__}: no module named gpu" in message
    assert "entry point mine_module, before any hook" in message
    assert f"{PLUGINS_VARIABLE}=-mine" in message


def test_a_plugin_without_a_marked_hook_is_told(install):
    unmarked = ModuleType("mine")
    unmarked.register_scorers = lambda: []
    message = message_of(Point("mine", unmarked), install=install)
    assert "Plugin mine implements a hook without a mark" in message
    assert "Plugin mine implements no hook" in message_of(Point("mine", ModuleType("mine")), install=install)
    assert "mark its functions with splicebert_vep_spec.hookimpl" in message


def test_one_forgotten_mark_is_told(install):
    half = scorers(Echo())
    half.register_adapters = lambda: []
    message = message_of(Point("mine", half), install=install)
    assert "Plugin mine implements a hook without a mark" in message
    assert "found:  no mark at register_adapters" in message


def test_plugins_can_be_switched_off_and_chosen(install, monkeypatch):
    install(Point("broken", ImportError("x")), Point("mine", scorers(Echo())))
    for value, loaded in (("none", []), ("mine", ["mine"]), ("-broken", ["mine"]), ("-mine , -broken", [])):
        monkeypatch.setenv(PLUGINS_VARIABLE, value)
        assert list(plugins.load_plugins().versions) == loaded
    states = {one.name: one.state for one in plugins.inspect_plugins().installed}
    assert states == {"builtin": "loaded", "broken": "off", "mine": "off"}
    for value in ("mine,other", "-other"):
        monkeypatch.setenv(PLUGINS_VARIABLE, value)
        with pytest.raises(SettingsError, match=r"not installed(.|\n)*broken, mine(.|\n)*other"):
            plugins.load_plugins()
    for value in ("mine,-broken", "none,mine"):
        monkeypatch.setenv(PLUGINS_VARIABLE, value)
        with pytest.raises(SettingsError, match=r"cannot be read(.|\n)*-a,-b"):
            plugins.load_plugins()
    monkeypatch.setenv(PLUGINS_VARIABLE, "")  # as if it were not set
    assert plugins.inspect_plugins().installed[1].state == "broken"


def test_a_broken_plugin_leaves_nothing_behind(install):
    """Its good scorer goes with its bad one, and its name is free for others."""
    bad = scorers(Echo(), Echo(name="other", fields=(FieldSpec("LLR", "A", "Float", "Mine"),)))
    install(Point("a", bad), Point("b", scorers(Echo())))
    listed = plugins.inspect_plugins()
    assert [one.state for one in listed.installed] == ["loaded", "broken", "loaded"]
    assert listed.origins("scorer")["echo"].plugin == "b"


def test_fields_are_checked_when_they_are_made():
    with pytest.raises(ValueError, match="needed a capital"):
        FieldSpec("llr", "A", "Float", "x")
    with pytest.raises(ValueError, match="one non-empty line"):
        FieldSpec("LLR", "A", "Float", "")


def test_a_plan_computes_what_is_asked(install):
    install()
    loaded = plugins.load_plugins()
    offered, origins = loaded.scorers, loaded.origins("scorer")
    plan = plan_scores(offered, origins, Settings(scores=("KL_MAX", "LLR")))
    assert [field.id for field in plan.fields] == ["LLR", "KL_MAX", "N_FRAC"]
    assert plan.needs == {"masked", "pairs"}
    default = plan_scores(offered, origins, Settings())
    assert {field.id for field in default.fields}.isdisjoint({"DELTA_P", "KL_MAX", "KL_MAX_POS"})
    with pytest.raises(SettingsError, match=r"unknown score(.|\n)*KL_CTX(.|\n)*XYZ(.|\n)*splicebert-vep plugins"):
        plan_scores(offered, origins, Settings(scores=("LLR", "XYZ")))
    with pytest.raises(SettingsError, match=r"did you mean KL_CTX\?"):
        plan_scores(offered, origins, Settings(scores=("kl_ctx",)))


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
    message = message_of(Point("mine", plugin(register_scorers=lambda wrong: [])), install=install)
    assert "Plugin mine cannot be registered" in message
    assert "register_scorers" in message
    assert "wrong" in message.split("found:")[1]


def test_a_hook_that_raises_is_told(install):
    def register_adapters():
        raise KeyError("gone")

    message = message_of(Point("mine", plugin(register_adapters=register_adapters)), install=install)
    assert "Plugin mine failed in hook register_adapters" in message
    assert re.search(r"KeyError: 'gone' \(test_plugins\.py:\d+\)", message)


def test_two_entry_points_of_one_name_are_told(install):
    message = message_of(Point("mine", scorers(Echo())), Point("mine", scorers()), install=install)
    assert "Two plugins have the name mine" in message
    message = message_of(Point("builtin", scorers()), install=install)
    assert "builtin_module and splicebert_vep.builtin" in message


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (FieldSpec("STATUS", "A", "Float", "Mine"), "STATUS of the built-in adapters and of scorer echo"),
        (FieldSpec("ECHO", "1", "Float", "Mine"), "number A and type Float or Integer"),
        (FieldSpec("ECHO", "A", "String", "Mine"), "number A and type Float or Integer"),
        ("ECHO", "found:  'ECHO'"),
        (None, "a tuple or list of FieldSpec, not empty"),
    ],
)
def test_a_field_that_cannot_be_written_is_told(install, field, message):
    fields = (f for f in ()) if field is None else (field,)
    assert message in message_of(Point("mine", scorers(Echo(fields=fields))), install=install)


class NoNeeds:
    name, version, fields = "lazy", "1", ()

    def score(self, batch, fields):
        return {}


@pytest.mark.parametrize(
    ("hook", "result", "message"),
    [
        ("register_scorers", [NoNeeds()], r"Scorer lazy of plugin mine(.|\n)*Scorer with fields, .*needs"),
        ("register_scorers", [NoNeeds()], "NoNeeds without needs"),
        ("register_scorers", [Echo], r"needed: an object: Echo\(\)(.|\n)*the class Echo"),
        ("register_scorers", Echo(), "returned no list from hook register_scorers"),
        ("register_scorers", None, "returned no list from hook register_scorers"),  # a forgotten return
        ("register_adapters", [Echo()], r"InfoAdapter with (.|\n)* or TextAdapter with (.|\n)* or TableAdapter with"),
        (
            "register_backends",
            [SimpleNamespace(name="", version="1", open=print)],
            r"lower-case letters, digits(.|\n)*found:  ''",
        ),
        ("register_commands", [SimpleNamespace(name="x", version="1")], "without run, summary"),
    ],
)
def test_an_object_that_does_not_fulfil_its_protocol_is_told(install, hook, result, message):
    point = Point("mine", plugin(**{hook: lambda: result}))
    assert re.search(message, message_of(point, install=install))


def test_life_hooks_are_told_of_the_run_and_named_when_they_fail(install):
    seen = []

    def run_finished(status_counts):
        raise ValueError("no room for the log")

    install(
        Point("a", plugin(run_started=lambda run: seen.append(run.provenance["Model"]))),
        Point("b", plugin(run_finished=run_finished)),
    )
    loaded = plugins.load_plugins()
    loaded.run_started(RunInfo((), {"Model": "m"}))
    assert seen == ["m"]
    with pytest.raises(PluginError, match=r"Plugin b failed in hook run_finished(.|\n)*no room for the log(.|\n)*=-b"):
        loaded.run_finished(RunInfo((), {}), {"OK": 1})


def test_a_plugin_that_takes_no_part_in_a_run_is_not_in_its_provenance(install):
    command = SimpleNamespace(name="count", version="1", summary="Count.", run=lambda words: 0)
    install(Point("a", plugin(register_commands=lambda: [command])), Point("b", plugin(run_started=lambda run: None)))
    assert list(plugins.load_plugins().versions) == ["b"]


def test_a_refusal_is_the_user_s_to_mend(install):
    def run_started():
        raise Refused("set MY_TOKEN first")

    install(Point("a", plugin(run_started=run_started)))
    with pytest.raises(SettingsError, match=r"set MY_TOKEN first(.|\n)*run_started of plugin a"):
        plugins.load_plugins().run_started(RunInfo((), {}))


def test_hooks_of_the_contract_are_added_to_and_never_changed():
    """Every hook and argument that a released contract had; lines are added here and never taken away."""
    promised = {
        "register_backends": (),
        "register_scorers": (),
        "register_adapters": (),
        "register_commands": (),
        "run_started": ("run",),
        "run_finished": ("run", "status_counts"),
    }
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(splicebert_vep_spec.hooks)
    for name, arguments in promised.items():
        assert set(arguments) <= set(getattr(manager.hook, name).spec.argnames), name


def test_what_will_go_warns_a_plugin_that_still_uses_it():
    class Next:
        @hookspec(warn_on_impl=FutureWarning("register_scorers goes in 2.0; implement register_scores"))
        def register_scorers(self):
            """Go soon."""

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(Next)
    with pytest.warns(FutureWarning, match=r"goes in 2\.0; implement register_scores"):
        manager.register(scorers(Echo()), name="mine")


class Misshapen(Echo):
    def needs(self, fields):
        return frozenset(("pairs",))

    def score(self, batch, fields):
        return {"ECHO": batch.snv.double().repeat(2)}


@pytest.mark.parametrize(
    ("broken", "hook"),
    [
        (lambda: plugin(register_scorer=lambda: []), "register_scorer; did you mean register_scorers"),
        (lambda: scorers(Echo(name="embedding")), "hook register_scorers"),
        (lambda: ImportError("no module named gpu"), "before any hook"),
        (lambda: scorers(Misshapen()), "hook register_scorers, scorer echo, score"),
    ],
    ids=["misspelled hook", "duplicate name", "raises on import", "wrong shape"],
)
def test_a_broken_plugin_ends_a_run_and_no_listing(broken, hook, install, tmp_path, capfd, monkeypatch):
    """From the command line: exit code 7, plugin, hook and remedy on stderr, no output."""
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    install(Point("mine", broken()))
    examples = Path(__file__).resolve().parents[1] / "example_vcfs"
    words = ["annotate", str(examples / "brca1.vcf"), "-R", str(examples / "brca1.fa.gz"), "--backend", "null"]
    assert program._run([*words, "-O", str(tmp_path / "out.vcf")]) == 7
    err = capfd.readouterr().err
    assert "lugin mine" in err
    assert hook in err
    assert f"remedy: {'rename the function; ' if 'did you mean' in hook else ''}mend or update plugin mine" in err
    assert f"{PLUGINS_VARIABLE}=-mine" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out.vcf").exists()
    assert program._run(["plugins"]) == 0
    assert "mine" in capfd.readouterr().out
    monkeypatch.setenv(PLUGINS_VARIABLE, "-mine")  # the remedy works
    assert program._run([*words, "-O", str(tmp_path / "out.vcf")]) == 0

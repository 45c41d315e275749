"""The plugin manager loads what is sound, and says by name what is wrong with the rest."""

from types import ModuleType

import pluggy
import pytest

import splicebert_vep_spec
from factories import EXAMPLES, Point, plugin
from splicebert_vep import plugins
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.plugins import PLUGINS_VARIABLE
from splicebert_vep.scoring.plan import plan_scores
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.settings import Settings, check_window
from splicebert_vep_spec import (
    PROJECT,
    Backend,
    BackendInfo,
    Command,
    FieldSpec,
    Refused,
    RunInfo,
    Scorer,
)

ECHO = (FieldSpec("ECHO", "A", "Float", "Nothing"),)


class Echo(Scorer):
    """A scorer that does nothing, under any name and with any field."""

    version = "1"

    def __init__(self, name="echo", fields=ECHO):
        self.name, self.fields = name, fields

    def score(self, batch, fields):
        return {}


class Count(Command):
    name, version, summary = "count", "1", "Count."

    def run(self, arguments):
        return 0


def scorers(*items):
    return plugin(register_scorers=lambda: list(items))


def broken(install, *points):
    """The error of a run; the same plugin is named at listing time, and everything else is there all the same."""
    install(*points)
    with pytest.raises(PluginError) as caught:
        plugins.load_plugins()
    listed = plugins.inspect_plugins()
    assert str(caught.value) in [str(one.error) for one in listed.installed if one.state == "broken"]
    assert {"likelihood", "divergence", "embedding"} <= {scorer.name for scorer in listed.scorers}
    assert caught.value.where and caught.value.remedy
    return str(caught.value)


def test_built_ins_come_first_and_plugins_after(install):
    install(Point("mine", scorers(Echo())))
    loaded = plugins.load_plugins()
    assert [scorer.name for scorer in loaded.scorers] == ["delta", "likelihood", "divergence", "embedding", "echo"]
    assert loaded.versions == {"mine": "2.5"}
    assert {"torch", "null"} <= set(loaded.backends)
    assert {"flat", "vep", "tsv", "jsonl", "parquet"} <= set(loaded.adapters)
    builtin, mine = loaded.installed
    assert (builtin.name, mine.name, mine.distribution, mine.hooks) == (
        "builtin", "mine", "mine-package", ("register_scorers",)
    )  # fmt: skip


def unmarked(**functions):
    module = ModuleType("mine")
    vars(module).update(functions)
    return module


def half_marked():
    module = scorers(Echo())
    module.register_adapters = lambda: []
    return module


def failing():
    raise KeyError("gone")


class Lazy(Scorer):
    name, version, fields = "lazy", "1", ()


class Unnamed(Backend):
    name, version = "", "1"

    def forward(self, tokens, positions):
        raise RuntimeError


LLR = (FieldSpec("LLR", "A", "Float", "Mine"),)
ITSELF = "hook register_scorers, scorer Echo, itself"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: plugin(register_scorer=lambda: []), ["register_scorer; did you mean register_scorers?", "rename"]),
        (lambda: scorers(Echo(name="embedding")), ["embedding of scorer embedding of plugin builtin and of scorer"]),
        (lambda: scorers(Echo(fields=LLR)), ["LLR of scorer likelihood of plugin builtin and of scorer echo"]),
        (lambda: ImportError("no module named gpu"), ["ImportError: no module named gpu", "before any hook"]),
        (lambda: SystemExit("no module named gpu"), ["SystemExit: no module named gpu", "entry point mine_module"]),
        (lambda: unmarked(register_scorers=lambda: []), ["no mark at register_scorers", "hookimpl"]),
        (lambda: unmarked(), ["implements no hook"]),
        (half_marked, ["no mark at register_adapters"]),
        (lambda: plugin(register_scorers=lambda wrong: []), ["cannot be registered", "register_scorers", "wrong"]),
        (lambda: plugin(register_adapters=failing), ["failed in hook register_adapters", "KeyError: 'gone' (test_pl"]),
        (lambda: plugin(register_scorers=lambda: 7), ["returned no list from hook register_scorers"]),
        (lambda: plugin(register_scorers=lambda: None), ["returned no list from hook register_scorers"]),
        (lambda: plugin(register_scorers=lambda: [Lazy()]), ["hook register_scorers", "Lazy", "score"]),
        (lambda: scorers(Echo), [ITSELF, "an object of a subclass of Scorer or SequenceScorer", "the class Echo"]),
        (lambda: plugin(register_adapters=lambda: [Echo()]), ["a subclass of Adapter", "an object of Echo"]),
        (lambda: plugin(register_backends=lambda: [Unnamed]), ["lower-case letters", "found:  ''"]),
        (lambda: plugin(register_backends=lambda: [Backend]), ["the class Backend without forward"]),
        (lambda: plugin(register_backends=lambda: [Unnamed()]), ["the class of a subclass of Backend"]),
        (
            lambda: scorers(Echo(fields=(FieldSpec("STATUS", "A", "Float", "Mine"),))),
            ["STATUS of the built-in adapters and of scorer echo"],
        ),
        (lambda: scorers(Echo(fields=(FieldSpec("ECHO", "1", "Float", "Mine"),))), ["number A and type Float or"]),
        (lambda: scorers(Echo(fields=(FieldSpec("ECHO", "A", "String", "x"),))), ["number A and type Float or"]),
        (lambda: scorers(Echo(fields=("ECHO",))), ["found:  'ECHO'"]),
        (lambda: scorers(Echo(fields=iter(()))), ["a tuple or list of FieldSpec, not empty"]),
    ],
)
def test_a_plugin_that_breaks_the_contract_is_named(install, made, said):
    message = broken(install, Point("mine", made()))
    for words in ["lugin mine", f"{PLUGINS_VARIABLE}=-mine", *said]:
        assert words in message


def test_names_are_unique_among_plugins_and_entry_points(install):
    message = broken(install, Point("a", scorers(Echo())), Point("b", scorers(Echo(fields=()))))
    assert "echo of scorer echo of plugin a and of scorer echo of plugin b" in message
    assert "Two plugins have the name mine" in broken(install, Point("mine", scorers(Echo())), Point("mine", scorers()))
    assert "builtin_module and splicebert_vep.builtin" in broken(install, Point("builtin", scorers()))


def test_plugins_can_be_switched_off_and_chosen(install, monkeypatch):
    install(Point("broken", ImportError("x")), Point("mine", scorers(Echo())))
    for value, loaded in (("none", []), ("mine", ["mine"]), ("-broken", ["mine"]), ("-mine , -broken", [])):
        monkeypatch.setenv(PLUGINS_VARIABLE, value)
        assert list(plugins.load_plugins().versions) == loaded
    states = {one.name: one.state for one in plugins.inspect_plugins().installed}
    assert states == {"builtin": "loaded", "broken": "off", "mine": "off"}
    for value in ("mine,other", "-other"):
        monkeypatch.setenv(PLUGINS_VARIABLE, value)
        with pytest.raises(SettingsError, match=r"not installed: other(.|\n)*broken, mine"):
            plugins.load_plugins()
    for value in ("mine,-broken", "none,mine"):
        monkeypatch.setenv(PLUGINS_VARIABLE, value)
        with pytest.raises(SettingsError, match="cannot be read"):
            plugins.load_plugins()
    monkeypatch.setenv(PLUGINS_VARIABLE, "")  # as if it were not set
    assert plugins.inspect_plugins().installed[1].state == "broken"


def test_a_broken_plugin_leaves_nothing_behind(install):
    """Its good scorer goes with its bad one, and its name is free for others."""
    bad = scorers(Echo(), Echo(name="other", fields=LLR))
    install(Point("a", bad), Point("b", scorers(Echo())))
    listed = plugins.inspect_plugins()
    assert [one.state for one in listed.installed] == ["loaded", "broken", "loaded"]
    assert listed.origins("scorer")["echo"].plugin == "b"


@pytest.mark.parametrize("given", [("llr", "A", "Float", "x"), ("LLR", "A", "Float", ""), ("LLR", "A", "Float", "a\n")])
def test_fields_are_checked_when_they_are_made(given):
    with pytest.raises(ValueError, match="FieldSpec"):
        FieldSpec(*given)
    with pytest.raises(ValueError, match="Integer"):
        FieldSpec("AT", "A", "Float", "x", from_pos=True)


def test_a_plan_computes_what_is_asked(install):
    install()
    loaded = plugins.load_plugins()
    offered, origins = loaded.scorers, loaded.origins("scorer")
    plan = plan_scores(offered, origins, Settings(scores=("KL_MAX", "LLR")))
    assert [field.id for field in plan.fields] == ["LLR", "KL_MAX", "N_FRAC"]
    assert plan.needs == {"masked", "pairs"}
    default = plan_scores(offered, origins, Settings())
    assert {field.id for field in default.fields}.isdisjoint({"DELTA_P", "KL_MAX", "KL_MAX_POS"})
    with pytest.raises(SettingsError, match=r"XYZ(.|\n)*splicebert-vep plugins"):
        plan_scores(offered, origins, Settings(scores=("LLR", "XYZ")))
    with pytest.raises(SettingsError, match=r"did you mean KL_CTX\?"):
        plan_scores(offered, origins, Settings(scores=("kl_ctx",)))


def test_a_window_the_model_was_not_trained_for_is_refused():
    def info(longest, fixed):
        return BackendInfo("m", "0", longest, fixed, 8, "a", "fp32", "cpu")

    check_window(WindowShape(510), info(510, 510))
    check_window(WindowShape(300), info(510, None))
    with pytest.raises(SettingsError, match="--window 510"):
        check_window(WindowShape(300), info(510, 510))
    with pytest.raises(SettingsError, match="at most 510"):
        check_window(WindowShape(511), info(510, None))


def test_life_hooks_learn_of_the_run_and_are_named_when_they_fail(install):
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
    with pytest.raises(PluginError, match=r"Plugin b failed in hook run_finished(.|\n)*=-b"):
        loaded.run_finished(RunInfo((), {}), {"OK": 1})


def test_a_plugin_that_takes_no_part_in_a_run_is_not_in_its_provenance(install):
    install(Point("a", plugin(register_commands=lambda: [Count()])), Point("b", plugin(run_started=lambda run: None)))
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
        "register_joins": (),
        "register_commands": (),
        "run_started": ("run",),
        "run_finished": ("run", "status_counts"),
    }
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(splicebert_vep_spec.hooks)
    for name, arguments in promised.items():
        assert set(arguments) <= set(getattr(manager.hook, name).spec.argnames), name


class Misshapen(Echo):
    def score(self, batch, fields):
        return {"ECHO": batch.snv.double().repeat(2)}


@pytest.mark.parametrize(
    ("made", "hook"),
    [
        (lambda: plugin(register_scorer=lambda: []), "did you mean register_scorers"),
        (lambda: scorers(Misshapen()), "hook register_scorers, scorer echo, score"),
    ],
    ids=["on loading", "in the run"],
)
def test_a_broken_plugin_ends_a_run_and_no_listing(made, hook, install, tmp_path, run, monkeypatch):
    """From the command line: exit code 7, plugin, hook and remedy on stderr, no output."""
    install(Point("mine", made()))
    words = ["annotate", EXAMPLES / "brca1.vcf", "-R", EXAMPLES / "brca1.fa.gz", "--backend", "null"]
    code, _, err = run(*words, "-O", tmp_path / "out.vcf")
    assert code == 7
    assert "lugin mine" in err and hook in err and f"{PLUGINS_VARIABLE}=-mine" in err and "Traceback" not in err
    assert not (tmp_path / "out.vcf").exists()
    code, out, _ = run("plugins")
    assert code == 0 and "mine" in out
    monkeypatch.setenv(PLUGINS_VARIABLE, "-mine")  # the remedy works
    assert run(*words, "-O", tmp_path / "out.vcf")[0] == 0

"""Plugins on the command line: the listing, and commands that come from plugins."""

import argparse
import json
import re

import click
import pytest

from factories import Point, plugin
from splicebert_vep.cli import main as program
from splicebert_vep.cli.main import cli
from splicebert_vep.plugins import PLUGINS_VARIABLE
from splicebert_vep.settings import RESERVED_COMMANDS
from splicebert_vep_spec import Command, FieldSpec, Refused, Scorer, TextAdapter


class Count(Command):
    """A command that prints its arguments and returns how many there are; or does as it is told."""

    version = "3"

    def __init__(self, name="count", summary="Count the words", act=None):
        self.name, self.summary, self.act = name, summary, act

    def run(self, arguments):
        if self.act:
            return self.act(arguments)
        click.echo(repr(list(arguments)))
        return len(arguments)


class Echo(Scorer):
    name, version = "echo", "1"
    fields = (FieldSpec("ECHO", "A", "Float", "The same again", "higher", False),)

    def score(self, batch, fields):
        return {}


class Lines(TextAdapter):
    name, version = "lines", "4"

    def lines(self, report, run):
        return ()


def commands(*items):
    return plugin(register_commands=lambda: list(items))


def acting(act):
    return Point("mine", commands(Count(act=act)))


def raising(error):
    def fail(arguments):
        raise error

    return acting(fail)


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["-h", "x"], ["--", "--json"], ["a", "--", "-b"], ["--version", ""]], ids=str
)
def test_every_word_after_the_name_goes_to_the_command(install, run, words):
    install(Point("mine", commands(Count())))
    code, out, err = run("count", *words)
    assert (code, out, err) == (len(words), f"{words!r}\n", "")


@pytest.mark.parametrize("answer", [None, "0", 1.0, True])
def test_a_command_that_returns_no_exit_code_is_named(install, run, answer):
    install(acting(lambda arguments: answer))
    code, _, err = run("count")
    assert code == 7
    for words in (repr(answer), "hook register_commands, command count, run", f"{PLUGINS_VARIABLE}=-mine"):
        assert words in err


def test_a_command_that_fails_or_refuses_is_named(install, run):
    install(raising(KeyError("gone")))
    code, _, err = run("count")
    assert code == 7 and "KeyError: 'gone'" in err and "hook register_commands" in err
    install(raising(SystemExit("no number")))
    assert run("count")[0] == 7
    install(raising(Refused("No such cohort; try 'all'.")))
    code, _, err = run("count")
    assert code == 3 and "error: No such cohort; try 'all'." in err and "command count of plugin mine" in err


def test_a_command_may_end_as_argparse_does(install, run):
    install(acting(lambda words: argparse.ArgumentParser(prog="splicebert-vep count").parse_args(list(words)) and 0))
    code, out, _ = run("count", "--help")
    assert code == 0 and "usage: splicebert-vep count" in out
    assert run("count", "--wrong")[0] == 2


def test_signals_inside_a_plugin_end_the_run_as_everywhere(install, run):
    install(acting(lambda words: program._terminated(15, None)))
    with pytest.raises(program.Terminated) as ended:
        program._run(["count"])
    assert ended.value.code == 143
    install(raising(KeyboardInterrupt()))
    code, _, err = run("count")
    assert code == 130 and "interrupted" in err


def test_help_lists_commands_of_plugins_with_the_plugin(install, run):
    install(Point("mine", commands(Count())), Point("other", commands(Count("recount", "Count again"))))
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    section = out.split("Commands of plugins:\n")[1].split("\n\n")[0]
    assert [line.split(maxsplit=1) for line in section.splitlines()] == [
        ["count", "Count the words (plugin mine)"],
        ["recount", "Count again (plugin other)"],
    ]
    assert run("coun")[0] == 2
    assert "Did you mean" in run("recoun")[2]


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (commands(Count("score")), "score of splicebert-vep itself"),
        (commands(Count("help me")), r"lower-case letters(.|\n)*'help me'"),
        (commands(Count("two", "a\nb")), r"one line(.|\n)*'a\\nb'"),
        (ImportError("no module named gpu"), "no module named gpu"),
    ],
    ids=["name", "spelling", "summary", "import"],
)
def test_a_broken_plugin_breaks_neither_help_nor_the_listing(install, run, plugin, message):
    install(Point("bad", plugin), Point("good", commands(Count())))
    code, out, err = run("--help")
    assert code == 0 and "count  " in out
    assert len(err.splitlines()) == 1 and "plugin bad is broken" in err
    assert run("count", "x")[0] == 1
    code, out, err = run("plugins")
    assert (code, err) == (0, "")
    assert re.search(r"^bad +broken +mine-package +2.5 +-$", out, re.MULTILINE)
    assert re.search(message, out) and f"{PLUGINS_VARIABLE}=-bad" in out
    answer = json.loads(run("plugins", "--json")[1])
    bad = next(plugin for plugin in answer["plugins"] if plugin["name"] == "bad")
    assert bad["state"] == "broken" and "plugin bad" in bad["error"]["remedy"]
    assert list(bad["error"]) == ["problem", "needed", "found", "where", "remedy"]
    code, _, err = run("nothing")
    assert code == 2 and "plugin bad is broken" in err


def test_our_own_commands_do_not_import_plugins(monkeypatch, run):
    def fail(group):
        raise AssertionError("plugins were imported")

    monkeypatch.setattr("splicebert_vep.plugins.entry_points", fail)
    assert run("models", "list")[0] == 0
    assert run("annotate", "--help")[0] == 0


def test_an_environment_that_cannot_be_read_is_an_error_where_plugins_matter(install, run, monkeypatch):
    install(Point("mine", commands(Count())))
    monkeypatch.setenv(PLUGINS_VARIABLE, "absent")
    code, _, err = run("count")
    assert code == 3 and PLUGINS_VARIABLE in err
    code, out, err = run("--help")
    assert code == 0 and "Commands of plugins" not in out
    assert len(err.splitlines()) == 1 and PLUGINS_VARIABLE in err


def test_the_listing_has_the_objects_of_each_plugin(install, run, monkeypatch):
    mine = plugin(
        register_scorers=lambda: [Echo()],
        register_adapters=lambda: [Lines()],
        register_commands=lambda: [Count()],
        run_started=lambda run: None,
    )
    install(Point("mine", mine), Point("other", commands(Count("recount"))))
    monkeypatch.setenv(PLUGINS_VARIABLE, "-other")
    code, out, _ = run("plugins", "--json")
    assert code == 0
    builtin, listed, other = json.loads(out)["plugins"]
    assert builtin["name"] == "builtin"
    assert [backend["name"] for backend in builtin["backends"]] == ["torch", "null"]
    assert {adapter["name"]: adapter["kind"] for adapter in builtin["adapters"]} == {
        "flat": "info", "vep": "info", "spliceai-layout": "info", "csq": "merging",
        "tsv": "text", "jsonl": "text", "parquet": "table",
    }  # fmt: skip
    field = {
        "id": "ECHO", "number": "A", "type": "Float", "description": "The same again", "direction": "higher",
        "default": False,
    }  # fmt: skip
    assert listed == {
        "name": "mine",
        "distribution": "mine-package",
        "version": "2.5",
        "module": "mine_module",
        "state": "loaded",
        "hooks": ["register_adapters", "register_commands", "register_scorers", "run_started"],
        "backends": [],
        "splice models": [],
        "joins": [],
        "scorers": [{"name": "echo", "version": "1", "fields": [field]}],
        "adapters": [{"name": "lines", "version": "4", "kind": "text"}],
        "commands": [{"name": "count", "version": "3", "summary": "Count the words"}],
        "error": None,
    }
    assert (other["state"], other["commands"], other["error"]) == ("off", [], None)
    code, out, _ = run("plugins")
    assert code == 0
    for row in (
        "mine +loaded +mine-package +2.5 +1 scorer, 1 adapter, 1 command",
        "other +off .*",
        "    ECHO +Float +The same again",
        r"    LLR +\* +Float +Masked-marginal.*",
        "  count +mine +3 +Count the words",
    ):
        assert re.search(f"^{row}$", out, re.MULTILINE), row
    assert max(map(len, out.splitlines())) <= 110


def test_an_object_that_breaks_when_it_is_looked_at_does_not_take_the_listing_down(install, run):
    class Shy(Echo):
        looked = 0

        @property
        def fields(self):
            Shy.looked += 1
            if Shy.looked > 1:
                raise OSError("not again")
            return Echo.fields

    install(Point("mine", plugin(register_scorers=lambda: [Shy()])))
    code, out, _ = run("plugins", "--json")
    [_, mine] = json.loads(out)["plugins"]
    assert code == 0 and mine["state"] == "broken" and "not again" in mine["error"]["found"]


def test_every_command_of_ours_is_reserved():
    assert set(cli.commands) == set(RESERVED_COMMANDS)

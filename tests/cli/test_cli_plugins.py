"""Plugins on the command line: what is listed, and commands that come from plugins."""

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
    """A command that prints its arguments and returns how many there are."""

    version = "3"

    def __init__(self, name="count", summary="Count the words"):
        self.name, self.summary = name, summary

    def run(self, arguments):
        click.echo(repr(list(arguments)))
        return len(arguments)


class Echo(Scorer):
    name, version = "echo", "1"
    fields = (FieldSpec("ECHO", "A", "Float", "What comes back", "higher", False),)

    def score(self, batch, fields):
        return {}


class Lines(TextAdapter):
    name, version = "lines", "4"

    def lines(self, report, run):
        return ()


def commands(*items):
    return plugin(register_commands=lambda: list(items))


def returning(answer):
    command = Count()
    command.run = lambda arguments: answer
    return command


def raising(error):
    def fail(arguments):
        raise error

    command = Count()
    command.run = fail
    return command


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["-h", "x"], ["--", "--json"], ["a", "--", "-b"], ["--version", ""]], ids=str
)
def test_every_word_after_the_name_goes_to_the_command(install, run, words):
    install(Point("mine", commands(Count())))
    code, out, err = run("count", *words)
    assert (code, out, err) == (len(words), f"{words!r}\n", "")


@pytest.mark.parametrize("answer", [None, "0", 1.0, True])
def test_a_command_that_returns_no_exit_code_is_told(install, run, answer):
    install(Point("mine", commands(returning(answer))))
    code, _, err = run("count")
    assert code == 7
    assert "Command count of plugin mine broke the contract" in err
    assert f"found:  {answer!r}" in err
    assert "hook register_commands, command count, run" in err
    assert f"{PLUGINS_VARIABLE}=-mine" in err


def test_a_command_that_fails_or_refuses_is_told(install, run):
    install(Point("mine", commands(raising(KeyError("gone")))))
    code, _, err = run("count")
    assert code == 7
    assert re.search(r"KeyError: 'gone'(.|\n)*hook register_commands(.|\n)*remedy", err)
    install(Point("mine", commands(raising(Refused("No such cohort; try 'all'.")))))
    code, _, err = run("count")
    assert code == 3
    assert "error: No such cohort; try 'all'." in err
    assert "command count of plugin mine" in err


def test_a_command_may_end_as_argparse_does(install, run):
    class Parsed(Count):
        def run(self, arguments):
            argparse.ArgumentParser(prog="splicebert-vep count").parse_args(list(arguments))
            return 0

    install(Point("mine", commands(Parsed())))
    code, out, _ = run("count", "--help")
    assert code == 0
    assert "usage: splicebert-vep count" in out
    assert run("count", "--wrong")[0] == 2
    install(Point("mine", commands(raising(SystemExit("no number")))))
    assert run("count")[0] == 7


def test_a_signal_inside_a_plugin_is_no_fault_of_the_plugin(install):
    class Stopped(Count):
        def run(self, arguments):
            program._terminated(15, None)

    install(Point("mine", commands(Stopped())))
    with pytest.raises(program.Terminated) as ended:
        program._run(["count"])
    assert ended.value.code == 143


def test_an_interrupt_inside_a_plugin_ends_the_run_as_everywhere(install, run):
    install(Point("mine", commands(raising(KeyboardInterrupt()))))
    code, _, err = run("count")
    assert code == 130
    assert "interrupted" in err


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
        (commands(Count("two", "a\nb")), r"needed: one line(.|\n)*'a\\nb'"),
        (ImportError("no module named gpu"), "no module named gpu"),
    ],
    ids=["name", "spelling", "summary", "import"],
)
def test_a_broken_plugin_breaks_neither_help_nor_the_listing(install, run, plugin, message):
    install(Point("bad", plugin), Point("good", commands(Count())))
    code, out, err = run("--help")
    assert code == 0
    assert err.splitlines() == [
        "splicebert-vep: warning: plugin bad is broken, and its commands are missing; 'splicebert-vep plugins' says why"
    ]
    assert "count  " in out
    assert run("count", "x")[0] == 1
    code, out, err = run("plugins")
    assert (code, err) == (0, "")
    assert re.search(r"^bad +broken +mine-package +2.5 +-$", out, re.MULTILINE)
    assert re.search(message, out)
    assert f"{PLUGINS_VARIABLE}=-bad" in out
    answer = json.loads(run("plugins", "--json")[1])
    bad = next(plugin for plugin in answer["plugins"] if plugin["name"] == "bad")
    assert bad["state"] == "broken"
    assert list(bad["error"]) == ["problem", "needed", "found", "where", "remedy"]
    assert "plugin bad" in bad["error"]["remedy"]
    code, _, err = run("nothing")
    assert code == 2
    assert "plugin bad is broken" in err


def test_our_own_commands_do_not_import_plugins(monkeypatch, run):
    def fail(group):
        raise AssertionError("nobody asked for plugins")

    monkeypatch.setattr("splicebert_vep.plugins.entry_points", fail)
    assert run("models", "list")[0] == 0
    assert run("annotate", "--help")[0] == 0


def test_an_environment_that_cannot_be_read_is_told_where_plugins_matter(install, run, monkeypatch):
    install(Point("mine", commands(Count())))
    monkeypatch.setenv(PLUGINS_VARIABLE, "absent")
    code, _, err = run("count")
    assert code == 3
    assert f"{PLUGINS_VARIABLE} names a plugin that is not installed" in err
    code, out, err = run("--help")
    assert code == 0
    assert err.count("\n") == 1
    assert f"{PLUGINS_VARIABLE} names a plugin that is not installed" in err
    assert "Commands of plugins" not in out


def test_the_listing_says_what_each_plugin_offers(install, run, monkeypatch):
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
    kinds = {adapter["name"]: adapter["kind"] for adapter in builtin["adapters"]}
    assert kinds == {
        "flat": "info",
        "vep": "info",
        "csq": "merging",
        "tsv": "text",
        "jsonl": "text",
        "parquet": "table",
    }
    field = {
        "id": "ECHO", "number": "A", "type": "Float", "description": "What comes back", "direction": "higher",
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
        "joins": [],
        "scorers": [{"name": "echo", "version": "1", "fields": [field]}],
        "adapters": [{"name": "lines", "version": "4", "kind": "text"}],
        "commands": [{"name": "count", "version": "3", "summary": "Count the words"}],
        "error": None,
    }
    assert (other["state"], other["commands"], other["error"]) == ("off", [], None)
    code, out, _ = run("plugins")
    assert code == 0
    assert re.search(r"^mine +loaded +mine-package +2.5 +1 scorer, 1 adapter, 1 command$", out, re.MULTILINE)
    assert re.search(r"^other +off ", out, re.MULTILINE)
    assert re.search(r"^    ECHO +Float +What comes back$", out, re.MULTILINE)
    assert re.search(r"^    LLR +\* +Float +Masked-marginal", out, re.MULTILINE)
    assert re.search(r"^  count +mine +3 +Count the words$", out, re.MULTILINE)
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
    assert code == 0
    assert json.loads(out)["plugins"][1]["state"] == "broken"
    assert "not again" in json.loads(out)["plugins"][1]["error"]["found"]


def test_every_command_of_ours_is_reserved():
    assert set(cli.commands) == set(RESERVED_COMMANDS)

"""What a user sees of the program: help, errors on one screen, colour on a terminal only."""

import errno
import json
import os
import pty
import re
import subprocess
import sys

import click
import pytest

from factories import COMMAND, FASTA, VCF
from splicebert_vep.cli import main as program
from splicebert_vep.cli import options as console
from splicebert_vep.errors import SettingsError


def commands(group: click.Group = program.cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.fixture
def no_plugins(monkeypatch):
    monkeypatch.setenv("SPLICEBERT_VEP_PLUGINS", "none")


def test_help_shows_commands_by_task_and_every_exit_code(run, no_plugins):
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    sections = re.findall(r"^(\w[\w ]+):\n((?:  .*\n)+)", out, re.MULTILINE)
    words = {title: [line.split()[0] for line in body.splitlines()] for title, body in sections}
    assert words["Annotate and score"] == ["annotate", "score"]
    assert words["Genes and models"] == ["genes", "models"]
    assert words["Look around"] == ["plugins", "doctor"]
    assert len(words["Examples"]) >= 3
    assert "Commands of plugins" not in words
    codes = {int(code) for code in re.findall(r"(?:^| ) *(\d+)  \S", dict(sections)["Exit codes"], re.MULTILINE)}
    assert codes == {0, 1, 2, 3, 4, 5, 6, 7, 8, 70, 130, 141, 143}


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_the_help_of_every_command_has_examples_that_it_understands(run, path):
    code, out, _ = run(*path, "--help")
    assert code == 0
    assert re.search(r"^Examples.*:\n  \S*.*splicebert-vep " + " ".join(path), out, re.MULTILINE)
    command: click.Command = program.cli
    for word in path:
        command = command.commands[word]
    assert not command.get_short_help_str(60).endswith("...")  # as the list of commands shows it
    shown_commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    known = {option for one in shown_commands for parameter in one.params for option in parameter.opts}
    shown = re.findall(rf"splicebert-vep {' '.join(path)}( [^|#>\n]*)", out)
    assert {word for line in shown for word in line.split() if re.match(r"--?[A-Za-z]", word)} <= known


@pytest.mark.parametrize("command", ["annotate", "score"])
def test_options_come_in_groups(run, command):
    _, out, _ = run(command, "--help")
    titles = re.findall(r"^(\w[\w ]+):\n  +-", out, re.MULTILINE)
    wanted = ["Input and output", "What is computed", "Model and machine"]
    assert titles == [*wanted, "Other options"]
    assert command == "score" or "jsonl" in out


@pytest.mark.parametrize("words", ["--help", "annotate -h", "models list", "pretrain -h"])
def test_what_is_asked_often_does_not_wait_for_torch(words):
    code = (
        "import sys\nfrom splicebert_vep.cli.main import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("words", "offered"), [("splicebert-vep ann", "annotate"), ("splicebert-vep score --dev", "--device")]
)
def test_click_completes_commands_and_options(words, offered):
    asked = {"_SPLICEBERT_VEP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(COMMAND, env={**os.environ, **asked}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"plain,{offered}\n")


@pytest.mark.parametrize("words", [("completion", "bash"), ("annotate", "-", "-R", "x.fa", "--evidence", "KL_SS=1")])
def test_a_removed_command_or_option_names_its_replacement(run, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "is gone" in err and len(err.splitlines()) <= 3


def test_an_error_of_any_length_stays_on_one_screen():
    names = [f"FIELD_{number}" for number in range(100)]
    error = SettingsError(
        "An unknown score was asked for.", needed=f"some of {', '.join(names)}", found="x" * 5000, where="here",
        remedy="splicebert-vep\nplugins",
    )  # fmt: skip
    text = console.describe(error)
    lines = text.splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["needed", "found", "where", "remedy"]
    assert re.search(r"FIELD_0, FIELD_1, .*FIELD_\d+ and (\d+) more$", lines[1])
    kept = lines[1].count("FIELD_")
    assert f"and {100 - kept} more" in lines[1]
    assert "splicebert-vep plugins" in lines[-1]
    assert sum(-(-len(line) // 100) for line in lines) <= 12
    short = SettingsError("Short.", needed="a, b", remedy="c")
    assert console.describe(short) == str(short)


def test_a_path_in_an_error_is_never_cut():
    path = "/data/" + "folder, with a comma/" * 30 + "genome.fa"
    error = SettingsError("It cannot be read.", where=path, remedy=f"samtools faidx {path}")
    assert console.describe(error).count(path) == 2


def test_a_usage_error_has_the_form_of_the_others(run):
    code, out, err = run("annotate", VCF)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "splicebert-vep: error: Missing option '-R' / '--reference'.",
        "  needed: splicebert-vep annotate [OPTIONS] [IN]",
        "  remedy: splicebert-vep annotate --help shows more",
    ]


def on_terminal(*words: object, **variables: str) -> bytes:
    """Run with stderr on a terminal and stdout in a pipe; return what reached the terminal."""
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    command = [*COMMAND, *map(str, words)]
    with subprocess.Popen(
        command, env={**environment, "TERM": "xterm", **variables}, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        assert process.stdout is not None
        seen = b""
        while True:
            try:
                got = os.read(ours, 4096)
            except OSError:  # Linux: the other end is closed
                break
            if not got:
                break
            seen += got
        assert b"\033" not in process.stdout.read()
        process.wait(120)
    os.close(ours)
    return seen


def test_colour_is_for_terminals_that_want_it():
    assert b"\033[31merror:\033[0m Missing option" in on_terminal("annotate")
    assert b"\033[31merror:\033[0m Missing option" in on_terminal("annotate", NO_COLOR="")
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        seen = on_terminal("annotate", **variables)
        assert b"error: Missing option" in seen
        assert b"\033" not in seen
    piped = subprocess.run(
        [*COMMAND, "annotate"], env={**os.environ, "TERM": "xterm"}, capture_output=True, check=False
    )
    assert piped.returncode == 2
    assert b"\033" not in piped.stderr


def test_a_warning_is_yellow_on_a_terminal_with_colours(tmp_path):
    words = ("annotate", VCF, "-R", FASTA, "--backend", "null", "--region", "17:1-2", "-O", tmp_path / "o.vcf")
    assert b"\033[33mwarning:\033[0m no record lies in the region" in on_terminal(*words)
    assert b"\033[33m" not in on_terminal(*words, NO_COLOR="1")
    assert b"\033" not in on_terminal(*words, TERM="dumb")


def test_a_bar_of_alleles_needs_a_terminal_that_rewrites_lines(tmp_path):
    words = ("annotate", VCF, "-R", FASTA, "--backend", "null", "-O", tmp_path / "o.vcf")
    assert b"\ralleles: " in on_terminal(*words)
    assert b"\ralleles: " not in on_terminal(*words, TERM="dumb")


def test_a_warning_of_a_library_does_not_carry_the_name_of_this_program():
    code = """
import logging
from splicebert_vep.cli.main import main
try:
    main(["--version"])
finally:
    logging.getLogger("splicebert_vep.scoring.pipeline").warning("FAILED %s", "chr1:5")
    logging.getLogger("tensorflow.core").warning("retracing")
    logging.warning("Skipping record")
    logging.getLogger("tensorflow").info("nothing")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == [
        "splicebert-vep: warning: FAILED chr1:5", "tensorflow: warning: retracing", "warning: Skipping record"
    ]  # fmt: skip


def test_tables_are_text_by_default_and_json_when_asked(run):
    code, out, _ = run("genes", "info", "grch38")
    assert code == 0
    assert re.search(r"^genes +55,171$", out, re.MULTILINE)
    assert len(out.splitlines()) < 20
    answer = json.loads(run("genes", "info", "grch38", "--json")[1])
    assert answer["genes"] == 55171
    assert answer["contig_lengths"]["17"] == 83257441
    _, out, _ = run("models", "info", "splicebert-mini")
    assert re.search(r"^parameters +1,339,530$", out, re.MULTILINE)
    assert re.search(r"^quality +Measured: ", out, re.MULTILINE)
    assert max(len(line) for line in out.splitlines() if not line.startswith("folder")) <= 110  # a path is never cut
    _, out, _ = run("models", "verify", "splicebert-mini")
    assert re.search(r"^verified +yes\nchecksum from +registry$", out, re.MULTILINE)


@pytest.mark.parametrize(
    "words",
    ["--help", "plugins", "doctor", f"score 17-43047641-A-C -R {FASTA} --backend null"],
    ids=lambda words: words[:6],
)
def test_a_full_device_is_an_output_that_could_not_be_written(words):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COMMAND, *words.split()], stdout=full, stderr=subprocess.PIPE, check=False, timeout=120)
    assert done.returncode == 5
    assert b"Traceback" not in done.stderr


def test_control_characters_of_others_are_shown_as_such(run, monkeypatch, capfd):
    odd, shown = "a\x07\x9b2J\u202e\udcffb", r"a\x07\x9b2J\u202e\udcffb"
    told = str(SettingsError(odd, needed=odd, found=odd, where=odd, remedy=odd))
    assert told.count(shown) == len(told.splitlines()) == 5
    for printed in (console.say, console.warn, console.fail, lambda text: console.print_table([("x", text)])):
        printed(odd)
        assert shown in "".join(capfd.readouterr())
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "a\\x1b[2Jb" in run("genes", "info", "a\x1b[2Jb")[2]
    assert r"a\x1b[2Jb" in run("score", "--a\x1b[2Jb")[2]


def test_a_table_shows_control_characters_of_every_column_and_colours_words_only(capsys, monkeypatch):
    monkeypatch.setattr(console, "put", lambda text: print(text))
    console.print_table([("ok", "a\x1b[2J", "b\r"), ("o\x1b[31mk", "c", "d")], colours={"ok": "green"})
    first, second = capsys.readouterr().out.splitlines()
    assert first == click.style("ok", fg="green") + "          a\\x1b[2J  b\\r"
    assert second == "o\\x1b[31mk  c         d"


def test_too_long_a_name_of_a_file_that_is_read_is_an_input_error(run, monkeypatch):
    def read(*_, **__):
        raise OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300)

    monkeypatch.setattr(program.cli, "main", read)
    code, _, err = run("score")
    assert code == 3 and "too long" in err


def test_a_fault_of_the_program_is_told_with_a_code_of_its_own(run, monkeypatch):
    monkeypatch.setattr(program.cli.commands["doctor"], "callback", lambda **_: 1 // 0)
    code, out, err = run("doctor")
    assert (code, out) == (70, "")
    assert "ZeroDivisionError" in err and "please report" in err and "Traceback" not in err
    monkeypatch.setenv("SPLICEBERT_VEP_TRACEBACK", "1")
    assert "Traceback" in run("doctor")[2]


def test_too_little_memory_is_no_fault_of_the_program(run, monkeypatch):
    def exhausted(**_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(program.cli.commands["doctor"], "callback", exhausted)
    assert run("doctor")[0] == 3

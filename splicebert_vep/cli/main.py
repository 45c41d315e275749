"""The program: its commands, and how every way of ending becomes an exit code."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click
import cloup

from splicebert_vep_spec import Command

from ..errors import OutOfMemory, OutputError, SettingsError, SpliceBertError, folded, model_failure
from ..plugins import Origin, inspect_plugins, one_line
from ..version import __version__
from .annotate import annotate, score
from .cohort import cohort
from .genes import genes
from .models import models
from .options import REMOVED, describe, describe_usage, fail, say, warn
from .plugins import doctor, plugins
from .report import map_, plot, report, top
from .serve import serve
from .store import saturate, store
from .tools import calibrate, embed, oligo
from .tracks import tracks
from .train import corpus, evaluate, finetune, pretrain, validate

_SIGPIPE_CODE = 128 + signal.SIGPIPE
_MEMORY = "splicebert_vep.cli.main"


class Program(cloup.Group):
    """A group whose commands come from this program and, by name, from plugins.

    Plugins are imported only for a word that is no command of the program's own, for ``--help``, and when the shell
    asks for the commands there are.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed pipe ends with the code a shell gives for SIGPIPE, as Unix filters do."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            _forget_stdout()
            ctx.exit(_SIGPIPE_CODE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of the program's own, else of a plugin.

        Raises:
            SettingsError: the environment names a plugin that is not installed.
        """
        return super().get_command(ctx, cmd_name) or self._plugin_commands(ctx)[0].get(cmd_name)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands; without those of plugins when the environment does not tell which."""
        try:
            return [*super().list_commands(ctx), *self._plugin_commands(ctx)[0]]
        except SpliceBertError:
            return super().list_commands(ctx)

    def handle_bad_command_name(
        self, bad_name: str, valid_names: list[str], error: click.UsageError
    ) -> click.UsageError:
        """Suggest a similar name, and say which plugins are broken: the command may be one of theirs."""
        ctx = click.get_current_context()
        if gone := REMOVED.get(bad_name):
            return click.UsageError(f"{bad_name} is gone: {gone}", ctx)
        commands, broken = self._plugin_commands(ctx)
        for name in broken:
            warn(_broken(name))
        return super().handle_bad_command_name(bad_name, [*valid_names, *commands], error)

    def list_sections(self, ctx: click.Context, include_default_section: bool = True) -> list[cloup.Section]:
        """Return the sections of the help page; a plugin that is broken is named on stderr and left out."""
        sections = super().list_sections(ctx, include_default_section)
        try:
            commands, broken = self._plugin_commands(ctx)
        except SpliceBertError as error:
            warn(f"{folded(error.problem)} See 'splicebert-vep plugins'.")
            return sections
        for name in broken:
            warn(_broken(name))
        return [*sections, cloup.Section("Commands of plugins", list(commands.values()))]

    def _plugin_commands(self, ctx: click.Context) -> tuple[dict[str, PluginCommand], list[str]]:
        """Return the commands of plugins, and the names of broken plugins; looked up once for a command line."""
        if _MEMORY not in ctx.meta:
            plugins = inspect_plugins(commands_only=True)
            origins = plugins.origins("command")
            commands = {name: PluginCommand(origins[name], item) for name, item in plugins.commands.items()}
            ctx.meta[_MEMORY] = commands, [plugin.name for plugin in plugins.installed if plugin.error]
        found: tuple[dict[str, PluginCommand], list[str]] = ctx.meta[_MEMORY]
        return found


def _forget_stdout() -> None:
    """Send what is left in stdout's buffer nowhere: it would fail once more at exit and be reported then."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _broken(name: str) -> str:
    return f"plugin {name} is broken, and its commands are missing; 'splicebert-vep plugins' says why"


class PluginCommand(click.Command):
    """A command of a plugin; every word after its name goes to it untouched, ``--help`` too.

    Args:
        origin: where it comes from.
        command: what it does.
    """

    def __init__(self, origin: Origin, command: Command) -> None:
        super().__init__(origin.name, short_help=f"{command.summary} (plugin {origin.plugin})", add_help_option=False)
        self._origin, self._command = origin, command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave the words to the plugin."""
        ctx.args = list(args)
        return ctx.args

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command and return its exit code.

        Raises:
            SettingsError: it refused what the user asked for.
            PluginError: it raised anything else, or returned no exit code.
        """
        with self._origin.guarding("run"):
            try:
                code: object = self._command.run(ctx.args)
            except SystemExit as ended:  # as argparse ends after --help and after wrong usage
                code = 0 if ended.code is None else ended.code
        if not isinstance(code, int) or isinstance(code, bool):
            raise self._origin.broken("run", needed="an exit code, an int", found=repr(code))
        return code


#: Exit code of a fault of this program (EX_SOFTWARE of sysexits.h).
FAULT_CODE = 70
#: Why stdout or a file cannot take what is written. Outputs of too long a name are told by ``check_targets``.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}
_SIGINT_CODE = 128 + signal.SIGINT
_EPILOG = """\b
Examples:
  splicebert-vep annotate in.vcf.gz -R GRCh38.fa -A grch38 -O out.vcf.gz
  splicebert-vep score chr17-43071077-T-C -R GRCh38.fa
  splicebert-vep models pull SpliceBERT.1024nt
  splicebert-vep doctor -R GRCh38.fa -A grch38
\b
Exit codes:
    0  done                                   6  'models pull' failed
    1  'doctor', 'store verify': found fault;  7  a plugin breaks the contract
       most ALTs FAILED in a run
    2  wrong usage                            8  'annotate --strict': a chosen status occurred
    3  unusable input, model or settings    130  interrupted
    4  genome builds differ                 141  the reader of stdout went away
    5  an output could not be written       143  terminated
                                             70  a fault of this program
"""


@cloup.group(
    cls=Program,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    sections=[
        cloup.Section("Annotate and score", [annotate, score]),
        cloup.Section("Look at results", [top, report, plot, serve, tracks]),
        cloup.Section("Regions, embeddings, oligos", [map_, embed, finetune, oligo]),
        cloup.Section("Cohorts", [cohort, saturate, store]),
        cloup.Section("Genes and models", [genes, models]),
        cloup.Section("Train and measure", [corpus, pretrain, validate, evaluate, calibrate]),
        cloup.Section("Look around", [plugins, doctor]),
    ],
)
@click.version_option(__version__, prog_name="splicebert-vep")
def cli() -> None:
    """Splice sites and transcripts that the alleles of a VCF change, by splice-site networks and a language model.

    Every command has --help with examples.
    """


class Terminated(BaseException):
    """A signal asked the program to end; no ``except`` but the outermost may take it for a failure of its own.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number


class _Warning(logging.Formatter):
    """Print a warning with the name of who warns: this program, or a library that it or a plugin uses."""

    def format(self, record: logging.LogRecord) -> str:
        """Return ``NAME: warning: TEXT``, without a name where the root logger was used."""
        package = record.name.partition(".")[0]
        who = {"splicebert_vep": "splicebert-vep: ", "root": ""}.get(package, f"{package}: ")
        return f"{who}warning: {super().format(record)}"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit."""
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, stream) is None:  # closed by the caller (>&-): without this every use of it would crash
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, stream, os.fdopen(number, "r" if number == 0 else "w"))
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait for each other by spinning for long stand still where another process has the core.
        os.environ.setdefault("GOMP_SPINCOUNT", "100000")  # read when torch is imported
    handler = logging.StreamHandler()
    handler.setFormatter(_Warning())
    logging.basicConfig(handlers=[handler])  # level WARNING
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _terminated)
        code = _run(arguments)
    except Terminated as ended:
        code = ended.code
        if code == 128 + signal.SIGTERM:  # SIGHUP: the terminal may be gone
            say("terminated; nothing unfinished was left under its final name")
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="splicebert-vep", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.Abort:
        say("interrupted; nothing unfinished was left under its final name")
        return _SIGINT_CODE
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        option = error.option_name if isinstance(error, click.NoSuchOption) else ""
        gone = REMOVED.get(option)
        fail(f"{option} is gone: {gone}" if gone else describe_usage(error))
        return error.exit_code
    except SpliceBertError as error:
        fail(describe(error))
        return error.exit_code
    except MemoryError:
        fail("There is not enough memory. Use smaller batches (--batch-tokens), or a machine with more.")
        return SettingsError.exit_code
    except Exception as error:  # the outermost net: nothing ends in a traceback
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _forget_stdout()
            fail(describe(OutputError("The output could not be written.", found=str(error))))
            return OutputError.exit_code
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            fail(describe(SettingsError("The name of a file that is to be read is too long.", found=str(error))))
            return SettingsError.exit_code
        if isinstance(failure := model_failure(error), OutOfMemory):  # torch's own error is a RuntimeError
            fail(describe(failure))
            return failure.exit_code
        return _fault(error)


def _fault(error: Exception) -> int:
    """Say that this program is at fault; ``SPLICEBERT_VEP_TRACEBACK=1`` shows where."""
    if os.environ.get("SPLICEBERT_VEP_TRACEBACK"):
        traceback.print_exception(error)
    fail(f"This is a fault of splicebert-vep {__version__}, please report it: {folded(one_line(error))}")
    say("run it again with SPLICEBERT_VEP_TRACEBACK=1 and add what it prints to the report")
    return FAULT_CODE


def _terminated(number: int, frame: FrameType | None) -> None:
    """End as an exception does, so that temporary files go away."""
    raise Terminated(number)


if __name__ == "__main__":  # torchrun starts a module
    main()

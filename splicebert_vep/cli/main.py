"""The program: its commands, and how every way of ending becomes an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from splicebert_vep import __version__
from splicebert_vep.errors import SpliceBertError

from .annotate import annotate
from .genes import genes
from .models import models
from .score import score

_SIGPIPE_CODE = 128 + signal.SIGPIPE
_SIGINT_CODE = 128 + signal.SIGINT


class Program(click.Group):
    """A click group that ends quietly when the reader of its stdout goes away, as Unix filters do."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a closed pipe ends with the code a shell gives for SIGPIPE."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # What is left in Python's buffer would fail once more at exit and be reported then.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(_SIGPIPE_CODE)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="splicebert-vep")
def cli() -> None:
    """Zero-shot splicing scores of a pre-mRNA language model for every allele of a VCF.

    Exit codes: 0 done, 2 wrong usage, 3 unusable input, 4 genome builds differ, 5 output not written, 6 download
    failed, 7 broken plugin, 8 --strict, 130 interrupted, 141 reader of stdout went away.
    """


for command in (annotate, score, genes, models):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit."""
    for number, stream in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, stream) is None:  # closed by the caller (>&-): without this every use of it would crash
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, stream, os.fdopen(number, "r" if number == 0 else "w"))
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="splicebert-vep: %(message)s")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _terminated)
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="splicebert-vep", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.Abort:
        click.echo("splicebert-vep: interrupted; no output was left under its final name", err=True)
        return _SIGINT_CODE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SpliceBertError as error:
        click.echo(f"splicebert-vep: error: {error}", err=True)
        return error.exit_code


def _terminated(number: int, frame: FrameType | None) -> None:
    """End as an exception does, so that temporary files go away."""
    sys.exit(128 + number)

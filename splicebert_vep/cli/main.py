"""The program: its commands, and how every way of ending becomes an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click
import cloup

from splicebert_vep import __version__
from splicebert_vep.errors import SpliceBertError

from .annotate import annotate
from .calibrate import calibrate
from .cohort import cohort
from .completion import completion
from .console import describe, describe_usage, fail, say
from .corpus import corpus
from .doctor import doctor
from .embed import embed
from .evaluate import evaluate
from .finetune import finetune
from .genes import genes
from .map import map_
from .models import models
from .oligo import oligo
from .plot import plot
from .plugins import plugins
from .pretrain import pretrain
from .program import Program
from .report import report
from .saturate import saturate
from .score import score
from .store import store
from .validate import validate

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
    1  'doctor' or 'store verify' found fault  7  a plugin breaks the contract
    2  wrong usage                            8  'annotate --strict': a chosen status occurred
    3  unusable input, model or settings    130  interrupted
    4  genome builds differ                 141  the reader of stdout went away
    5  an output could not be written       143  terminated
"""


@cloup.group(
    cls=Program,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    sections=[
        cloup.Section("Annotate and score", [annotate, score]),
        cloup.Section("Look at results", [report, plot]),
        cloup.Section("Beyond zero-shot", [map_, embed, finetune, oligo]),
        cloup.Section("Cohorts", [cohort, saturate, store]),
        cloup.Section("Genes and models", [genes, models]),
        cloup.Section("Train and measure", [corpus, pretrain, validate, evaluate, calibrate]),
        cloup.Section("Look around", [plugins, doctor, completion]),
    ],
)
@click.version_option(__version__, prog_name="splicebert-vep")
def cli() -> None:
    """Zero-shot splicing scores of a pre-mRNA language model for every allele of a VCF.

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
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(args=arguments, prog_name="splicebert-vep", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.Abort:
        say("interrupted; nothing unfinished was left under its final name")
        return _SIGINT_CODE
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        fail(describe_usage(error))
        return error.exit_code
    except SpliceBertError as error:
        fail(describe(error))
        return error.exit_code


def _terminated(number: int, frame: FrameType | None) -> None:
    """End as an exception does, so that temporary files go away."""
    raise Terminated(number)


if __name__ == "__main__":  # torchrun starts a module
    main()

"""Options that several commands share."""

from __future__ import annotations

import gc
import json
import os
import shutil
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click
import cloup

from splicebert_vep_spec import BackendInfo, Status

from ..errors import SpliceBertError, folded, shortened, visible
from ..files import check_outputs, check_place
from ..model.registry import MODELS
from ..progress import dumb_terminal
from ..settings import Settings

if TYPE_CHECKING:
    from ..annotator import Annotator


_WIDEST, _NARROWEST = 110, 30  # columns of a terminal that are used; columns that wrapped text gets at least


def put(text: str, *, err: bool = False) -> None:
    """Print text; colours are kept on a terminal only, and never with NO_COLOR or on a dumb terminal."""
    plain = os.environ.get("NO_COLOR") or dumb_terminal()
    click.echo(text, err=err, color=False if plain else None)


def say(text: str) -> None:
    """Print a line on stderr."""
    put(f"splicebert-vep: {visible(text)}", err=True)


def warn(text: str) -> None:
    """Print a warning."""
    put(f"splicebert-vep: {click.style('warning:', fg='yellow')} {visible(text)}", err=True)


def fail(text: str) -> None:
    """Print an error."""
    put(f"splicebert-vep: {click.style('error:', fg='red')} {visible(text)}", err=True)


def introduce(info: BackendInfo, note: str = "") -> None:
    """Say which model speaks, in a sentence how good it was measured to be, and a note about this run."""
    first, dot, rest = info.quality.partition(". ")
    command = f"splicebert-vep models info {info.model if info.model in MODELS else 'FOLDER'}"
    quality = f"{first}; '{command}' has the figures" if dot and rest else info.quality
    say(f"model {info.model} on {info.device}, {info.precision}; {quality or 'quality not measured'}")
    if note:
        say(note)


def failed_code(status: Mapping[Any, int]) -> int:
    """Return the exit code of a run by its counts: 1, with an error, where more ALTs FAILED than have scores."""
    if status.get(Status.FAILED, 0) <= status.get(Status.OK, 0):
        return 0
    fail("most ALTs FAILED; the reasons are in the output. See to the cause and run the command again")
    return 1


def clock(seconds: float) -> str:
    """Return a duration as H:MM:SS."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def describe(error: SpliceBertError) -> str:
    """Return an error's message, long lists and foreign messages shortened so that it stays on one screen."""
    needed, found, where, remedy = shortened(error.needed), shortened(error.found), folded(error.where), error.remedy
    return str(SpliceBertError(error.problem, needed=needed, found=found, where=where, remedy=folded(remedy)))


def describe_usage(error: click.ClickException) -> str:
    """Return a usage error in the form of all others: what is wrong, how it is written, where to read more."""
    context = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    usage = " ".join((context.command_path, *context.command.collect_usage_pieces(context)))
    remedy = f"{context.command_path} --help shows more"
    return str(SpliceBertError(error.format_message(), needed=usage, remedy=remedy))


#: A path; the code that reads it tells, with a remedy, what is wrong with it.
PATH = click.Path(readable=False)


def print_json(value: Any) -> None:
    """Print data as JSON."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def print_table(
    rows: Iterable[Sequence[str]], indent: str = "", *, wrap: bool = False, colours: Mapping[str, str] = {}
) -> None:
    """Print rows in columns as wide as they need to be.

    Args:
        wrap: break the last column at the terminal's edge.
        colours: of words in the first column.
    """
    cells = [tuple(map(visible, row)) for row in rows]  # any may be of others
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = [f"{cell:<{width + 2}}" for cell, width in zip(row[:-1], widths, strict=False)]
        used = len(indent) + sum(map(len, padded))
        if padded and row[0] in colours:
            padded[0] = click.style(row[0], fg=colours[row[0]]) + padded[0][len(row[0]) :]
        head = indent + "".join(padded)
        lines = [row[-1]]
        if wrap:
            room = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST) - used
            lines = textwrap.wrap(row[-1], max(room, _NARROWEST), break_long_words=False, break_on_hyphens=False)
        put((head + f"\n{' ' * used}".join(lines)).rstrip())


def split_words(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Join repeated and comma-separated values of an option."""
    return tuple(word for value in values for word in value.split(",") if word)


#: Option or command that is gone -> what to do in its place; ``main`` ends with it.
REMOVED = {
    "--scheduler": "give the address to --dask",
    "--summary": "'cohort diff' prints its table on stdout; --summary is an option of 'annotate' only",
    "cohort merge": "run 'cohort run' again; it goes on from the store",
    "cohort plan": "'cohort run --dry-run' counts what is new; other machines score parts, see docs/recipes",
    "cohort work": "'cohort run' scores; give --dask for many machines, or split the sites as docs/recipes do",
    "--evidence": "no threshold of a zero-shot score was measured; read its value beside SpliceAI_DS_MAX (--join)",
    "--masked": "--mask after masks as SpliceAI does, --mask before ahead of the maximum",
    "--mode": "every window runs whole; leave it out",
    "--radius": "every window runs whole; leave it out",
    "--window-mode": "every window is centred on its allele; leave it out",
    "completion": 'click itself completes commands: eval "$(_SPLICEBERT_VEP_COMPLETE=bash_source splicebert-vep)"',
}


json_option = cloup.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")

reference_option = cloup.option(
    "-R", "--reference", required=True, type=PATH, metavar="FASTA", help="Reference, plain or bgzip-compressed."
)
annotation_option = cloup.option(
    "-A", "--annotation", default="grch38", show_default=True, metavar="NAME|FILE",
    help="Genes: grch38, grch37, a table of 'genes build', GFF3, GTF, or SpliceAI's table.",
)  # fmt: skip


def knob(name: str, **changes: Any) -> Callable[[Any], Any]:
    """Return the option of a field of ``Settings``; changes replace arguments of the click option."""
    field = _KNOBS[name]
    about = dict(field.metadata)
    words, least, is_path = about.pop("choices", None), about.pop("least", None), about.pop("path", False)
    short, other_words = about.pop("short", None), about.pop("words", {})
    del about["provenance"]
    about |= {"default": field.default, "show_default": field.default not in (None, False)}
    if words:
        about["type"] = _Choice(words, other_words)
    elif least is not None:
        about["type"] = click.IntRange(least)
    elif is_path:
        about["type"] = PATH
    elif isinstance(field.default, bool):
        about |= {"is_flag": True, "show_default": False}
    elif isinstance(field.default, tuple):
        about |= {"multiple": True, "callback": split_words, "show_default": False}
    names = [f"--{name.replace('_', '-')}", *([short] if short else [])]
    option: Callable[[Any], Any] = cloup.option(*names, **about | changes)
    return option


class _Choice(click.Choice[str]):
    """A choice that other programs' words for it are understood of, too."""

    def __init__(self, choices: Sequence[str], others: Mapping[str, str]) -> None:
        super().__init__(choices)
        self._others = others

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(self._others.get(value, value), param, ctx)


_KNOBS = {field.name: field for field in fields(Settings)}
model_option, device_option = knob("model"), knob("device")
splice_model_option = knob("splice_model")
delta_options = [splice_model_option, knob("delta_distance"), knob("mask"), knob("outside")]

#: For commands that know which scores they need.
window_options = cloup.option_group("What is computed", knob("window"), knob("flank"), knob("trust_build"))
computed_options = cloup.option_group(
    "What is computed", knob("scores"), *delta_options, knob("calibration"), knob("window"), knob("flank"),
    knob("trust_build"),
)  # fmt: skip
machine_options = cloup.option_group(
    "Model and machine", model_option, knob("backend"), device_option, knob("precision"), knob("batch_tokens"),
    knob("threads"),
)  # fmt: skip


join_option = cloup.option(
    "--join", multiple=True, metavar="NAME=SOURCE",
    help="Add another program's scores: NAME is spliceai, openspliceai or pangolin and SOURCE a tabixed VCF, or "
    "info:KEY of the input; or any NAME and a .toml that declares a table. Repeat for several.",
)  # fmt: skip
store_option = cloup.option(
    "--store", type=PATH, metavar="FILE",
    help="Score store on a local disk: what it knows is not scored again, what it does not is added. Made if absent.",
)  # fmt: skip


dask_option = cloup.option(
    "--dask", metavar="ADDRESS", help="Score on Dask workers: local:N, or tcp://HOST:PORT of a scheduler."
)


def check_targets(targets: Iterable[str], options: Mapping[str, Any], *inputs: str | None) -> None:
    """See, before hours of work, that outputs can be made, and that none replaces what a run reads.

    Args:
        options: the shared options by name, of which some are inputs.
        inputs: more of them.

    Raises:
        SettingsError: an output would.
        OutputError: its folder is not there, read-only or full, or its name too long.
    """
    from ..genome.gene_build import is_built_in
    from ..model.registry import model_folders

    genes = options.get("annotation")
    read = [
        *inputs,
        *map(options.get, ("reference", "calibration", "store")),
        genes if genes and not is_built_in(genes) else None,
    ]
    targets = list(targets)
    check_outputs(targets, filter(None, read), model_folders(options.get("model"), options.get("splice_model")))
    for path in targets:
        check_place(path)


def open_annotator(**options: Any) -> Annotator:
    """Return the Annotator that the shared options describe; torch is imported here, not for ``--help``."""
    # Modules, model and genes stay for the whole run: looking for garbage among them took .3 s here, and more later.
    gc.disable()
    try:
        from ..annotator import Annotator

        annotator = Annotator(**options)
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)  # a chunk of records makes as many objects, and all of them go with it
    finally:
        gc.enable()
    return annotator

"""What the program prints: data on stdout as text or JSON; notes, warnings and errors on stderr, on one screen."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from splicebert_vep.errors import SpliceBertError
from splicebert_vep_spec import BackendInfo

_LONGEST = 280  # characters of a list or of a foreign message: three lines of a terminal
_LISTED = 8  # so many items make a list that may lose its end; a shorter text loses its middle
_HEAD, _TAIL = 180, 90
_WIDEST, _NARROWEST = 110, 30  # columns of a terminal that are used; columns that wrapped text gets at least


def dumb_terminal() -> bool:
    """Tell whether the terminal cannot rewrite a line."""
    return os.environ.get("TERM") == "dumb"


def put(text: str, *, err: bool = False) -> None:
    """Print text; colours are kept on a terminal only, and never with NO_COLOR or on a dumb terminal."""
    plain = os.environ.get("NO_COLOR") or dumb_terminal()
    click.echo(text, err=err, color=False if plain else None)


def say(text: str) -> None:
    """Print a line on stderr."""
    put(f"splicebert-vep: {text}", err=True)


def warn(text: str) -> None:
    """Print a warning."""
    say(f"{click.style('warning:', fg='yellow')} {text}")


def fail(text: str) -> None:
    """Print an error."""
    say(f"{click.style('error:', fg='red')} {text}")


def introduce(info: BackendInfo, note: str = "") -> None:
    """Say which model speaks, in a sentence how good it was measured to be, and a note about this run."""
    first, dot, rest = info.quality.partition(". ")
    quality = f"{first}; 'splicebert-vep models info' has the figures" if dot and rest else info.quality
    say(f"model {info.model} on {info.device}, {info.precision}; {quality or 'quality not measured'}")
    if note:
        say(note)


@contextmanager
def progress_line() -> Iterator[Callable[[str, int, int], None] | None]:
    """Show how much of a task is done, and about how long the rest takes, on a terminal that can rewrite a line."""
    if not sys.stderr.isatty() or dumb_terminal():
        yield None
        return
    line = _ProgressLine()
    try:
        yield line
    finally:
        click.echo("\r\033[K", err=True, nl=False)


class _ProgressLine:
    """One line on the terminal, rewritten at most four times a second; a new task starts the clock again."""

    def __init__(self) -> None:
        self._task = ""
        self._began = self._last = 0.0
        self._first = 0

    def __call__(self, task: str, done: int, of: int) -> None:
        now = time.monotonic()
        if task != self._task:
            self._task, self._began, self._first = task, now, done
        elif now - self._last < 0.25:
            return
        self._last = now
        text = f"{task}: {done:,} of {of:,}"
        if done > self._first and now > self._began:
            text += f", about {clock((of - done) * (now - self._began) / (done - self._first))} left"
        click.echo(f"\r\033[K{text}", err=True, nl=False)


def clock(seconds: float) -> str:
    """Return a duration as H:MM:SS."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def describe(error: SpliceBertError) -> str:
    """Return an error's message, long lists and foreign messages shortened so that it stays on one screen."""
    return str(
        SpliceBertError(
            error.problem,
            needed=shortened(error.needed),
            found=shortened(error.found),
            where=folded(error.where),
            remedy=folded(error.remedy),
        )
    )


def describe_usage(error: click.ClickException) -> str:
    """Return a usage error in the form of all others: what is wrong, how it is written, where to read more."""
    context = getattr(error, "ctx", None)
    if context is None:
        return error.format_message()
    usage = " ".join((context.command_path, *context.command.collect_usage_pieces(context)))
    return str(
        SpliceBertError(error.format_message(), needed=usage, remedy=f"{context.command_path} --help shows more")
    )


def folded(text: str) -> str:
    """Return text on one line."""
    return " ".join(text.split())


def shortened(text: str) -> str:
    """Return text on one line and not longer than three lines of a terminal: a list cut at its end, or a cut middle."""
    text = folded(text)
    if len(text) <= _LONGEST:
        return text
    items = text.split(", ")
    if len(items) >= _LISTED:
        kept, used = 0, 0
        while used + len(items[kept]) + 2 <= _LONGEST - len(" and 99999 more"):
            used += len(items[kept]) + 2
            kept += 1
        if kept:
            return f"{', '.join(items[:kept])} and {len(items) - kept:,} more"
    return f"{text[:_HEAD]} ... {text[-_TAIL:]}"


def print_json(value: Any) -> None:
    """Print data as JSON."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def print_table(rows: Iterable[Sequence[str]], indent: str = "", *, wrap: bool = False) -> None:
    """Print rows in columns as wide as they need to be; ``wrap`` breaks the last column at the terminal's edge."""
    cells = [tuple(row) for row in rows]
    widths = [max(len(click.unstyle(cell)) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        head = indent + "".join(_padded(cell, width) for cell, width in zip(row[:-1], widths, strict=False))
        used = len(click.unstyle(head))
        lines = [row[-1]]
        if wrap:
            room = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST) - used
            lines = textwrap.wrap(row[-1], max(room, _NARROWEST), break_long_words=False, break_on_hyphens=False)
        put((head + f"\n{' ' * used}".join(lines)).rstrip())


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width + 2 - len(click.unstyle(cell)))

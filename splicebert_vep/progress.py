"""Show the progress of a command: a bar on a terminal that can rewrite a line, a line a minute elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from .errors import visible

if TYPE_CHECKING:
    from tqdm import tqdm

_EVERY = 60.0  # seconds between two lines
_listener: ContextVar[Callable[[float], None] | None] = ContextVar("listener", default=None)


def advance(alleles: float) -> None:
    """Tell whoever listens that a model has finished its part of the work on so many alleles x genes."""
    if listener := _listener.get():
        listener(alleles)


@contextmanager
def listening(listener: Callable[[float], None]) -> Iterator[None]:
    """Hear of every ``advance`` within the block, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


class ProgressLog:
    """Print a line a minute, where nobody looks but a log is kept; a new task starts anew."""

    def __init__(self) -> None:
        self._task, self._done, self._at = "", 0, ""
        self._of: int | None = None
        self._first, self._began, self._due = 0, 0.0, 0.0

    def __call__(self, task: str, done: int, of: int | None, at: str = "") -> None:
        """Take note of ``done`` of ``of`` steps; ``of`` may change, and is None where nobody knows it.

        Args:
            at: the place up to which all is done.
        """
        now = time.monotonic()
        if task != self._task:
            self._task, self._first, self._began, self._due = task, done, now, now + _EVERY
        self._done, self._of, self._at = done, of, at
        if now >= self._due:
            self._due = now + _EVERY
            _say(self.state())

    def state(self) -> str:
        """Return how far the task is, in words; empty where nothing is known."""
        if not self._task:
            return ""
        seconds = time.monotonic() - self._began
        rate = (self._done - self._first) / seconds if seconds else 0.0
        said = f"{self._task}: {self._done:,}"
        if self._of:
            said += f" of {self._of:,} ({self._done / self._of:.0%})"
        if self._at:
            said += f", up to {self._at}"
        if rate:
            said += f", {rate:,.1f}/s"
            said += f", {max(0, self._of - self._done) / rate / 60:,.0f} min left" if self._of else ""
        return said

    def close(self) -> None:
        """Do nothing: what was printed stays."""


class ProgressBar(ProgressLog):
    """Show how much of a task is done and how long the rest takes; a new task starts a new bar."""

    def __init__(self) -> None:
        super().__init__()
        self._bar: tqdm[None] | None = None

    def __call__(self, task: str, done: int, of: int | None, at: str = "") -> None:
        """Show ``done`` of ``of`` steps; see ``ProgressLog``."""
        from tqdm import tqdm  # only where there is a terminal to show it on

        if self._bar is None or self._task != task:
            self.close()
            columns, lines = shutil.get_terminal_size()  # 80 x 24 where the terminal does not say
            self._bar = tqdm(
                desc=task, total=of, initial=done, file=sys.stderr, leave=False, ncols=columns, nrows=lines
            )
            self._first, self._began = done, time.monotonic()
        self._task, self._done, self._of, self._at = task, done, of, at
        self._bar.total = of
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Clear the line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def dumb_terminal() -> bool:
    """Tell whether the terminal cannot rewrite a line."""
    return os.environ.get("TERM") == "dumb"


@contextmanager
def progress_bar() -> Iterator[ProgressLog]:
    """Give a bar for the length of the block, or a log where stderr is no terminal that can rewrite a line.

    A block that a signal ends, Ctrl-C among them, says how far it got.
    """
    shown = ProgressBar() if sys.stderr.isatty() and not dumb_terminal() else ProgressLog()
    try:
        yield shown
    except BaseException as error:
        shown.close()
        if not isinstance(error, Exception) and (state := shown.state()):
            _say(f"stopped at {state}")
        raise
    finally:
        shown.close()


def _say(text: str) -> None:
    with suppress(OSError):  # a terminal that is gone must not end the run
        sys.stderr.write(f"splicebert-vep: {visible(text)}\n")
        sys.stderr.flush()

"""One progress bar for every command: on a terminal that can rewrite a line, and nowhere else."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm


class ProgressBar:
    """Show how much of a task is done and how long the rest takes; a new task starts a new bar."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def __call__(self, task: str, done: int, of: int | None) -> None:
        """Show ``done`` of ``of`` steps; ``of`` may change, and is None where nobody knows it."""
        from tqdm import tqdm  # only where there is a terminal to show it on

        if self._bar is None or self._bar.desc != f"{task}: ":
            self.close()
            columns, lines = shutil.get_terminal_size()  # 80 x 24 where the terminal does not say
            self._bar = tqdm(
                desc=task, total=of, initial=done, file=sys.stderr, leave=False, ncols=columns, nrows=lines
            )
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
def progress_bar() -> Iterator[ProgressBar | None]:
    """Give a bar for the length of the block; None where stderr is no terminal that can rewrite a line."""
    if not sys.stderr.isatty() or dumb_terminal():
        yield None
        return
    bar = ProgressBar()
    try:
        yield bar
    finally:
        bar.close()

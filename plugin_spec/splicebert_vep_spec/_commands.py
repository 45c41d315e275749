"""What a command offers: a word after ``splicebert-vep``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Command(Protocol):
    """Run as ``splicebert-vep NAME ARGUMENTS...``.

    Args:
        name: lower-case word, with hyphens where needed.
        version: of the command.
        summary: one line for ``splicebert-vep --help``.
    """

    name: str
    version: str
    summary: str

    def run(self, arguments: Sequence[str]) -> int:
        """Run with the words after the name, ``--help`` included, and return an exit code: 0 done, 2 wrong usage.

        Data goes to stdout, everything else to stderr.

        Raises:
            Refused: the input or the options cannot be used; the message is shown, exit code 3.
            SystemExit: as argparse ends after ``--help`` or wrong usage; its code is the program's.
        """

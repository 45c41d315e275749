"""Hooks register objects; the objects do the work.

Versioning policy: from one release of this distribution to the next, hooks and arguments of hooks are added, never
changed and never taken away within a major version; a plugin implements the hooks and names the arguments that it
needs. A hook that is going to go is marked with pluggy's ``warn_on_impl`` or ``warn_on_impl_args`` for at least one
release, so that a plugin that still uses it is named.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import pluggy

from .joins import JoinAdapter
from .models import Backend, Scorer, SequenceScorer, SpliceModel
from .outputs import Adapter, RunInfo
from .values import Named

#: Name of the entry-point group and of the pluggy project.
PROJECT = "splicebert_vep"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Command(Named):
    """Run as ``splicebert-vep NAME ARGUMENTS...``.

    Attributes:
        summary: one line for ``splicebert-vep --help``.
    """

    summary: str

    @abstractmethod
    def run(self, arguments: Sequence[str]) -> int:
        """Run with the words after the name, ``--help`` included, and return an exit code: 0 done, 2 wrong usage.

        Data goes to stdout, everything else to stderr.

        Raises:
            Refused: the input or the options cannot be used; the message is shown, exit code 3.
            SystemExit: as argparse ends after ``--help`` or wrong usage; its code is the program's.
        """


@hookspec
def register_backends() -> Sequence[type[Backend]]:  # type: ignore[empty-body]
    """Return the backend classes that this plugin offers."""


@hookspec
def register_scorers() -> Sequence[Scorer | SequenceScorer]:  # type: ignore[empty-body]
    """Return the scorers that this plugin offers."""


@hookspec
def register_splice_models() -> Sequence[type[SpliceModel]]:  # type: ignore[empty-body]
    """Return the classes of splice-site models that this plugin offers."""


@hookspec
def register_adapters() -> Sequence[Adapter]:  # type: ignore[empty-body]
    """Return the INFO, merging, text and table adapters that this plugin offers."""


@hookspec
def register_joins() -> Sequence[JoinAdapter]:  # type: ignore[empty-body]
    """Return the joins with other programs' scores that this plugin offers."""


@hookspec
def register_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Return the commands that this plugin adds to ``splicebert-vep``."""


@hookspec
def run_started(run: RunInfo) -> None:
    """Learn that ``annotate`` begins, before its first record is scored."""


@hookspec
def run_finished(run: RunInfo, status_counts: Mapping[str, int]) -> None:
    """Learn that ``annotate`` ended well and every output is in place, with the number of ALTs by status word.

    ``NO_ALT`` counts records without ALT.
    """

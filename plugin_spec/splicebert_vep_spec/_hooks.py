"""Hook specifications. Hooks register objects; the objects do the work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pluggy

from ._protocols import Adapter, BackendFactory, RunInfo, Scorer

#: Name of the entry-point group and of the pluggy project.
PROJECT = "splicebert_vep"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def register_backends() -> Sequence[BackendFactory]:  # type: ignore[empty-body]
    """Return the backends that this plugin offers."""


@hookspec
def register_scorers() -> Sequence[Scorer]:  # type: ignore[empty-body]
    """Return the scorers that this plugin offers."""


@hookspec
def register_adapters() -> Sequence[Adapter]:  # type: ignore[empty-body]
    """Return the INFO and table adapters that this plugin offers."""


@hookspec
def run_started(run: RunInfo) -> None:
    """Learn that a run begins, before its first record."""


@hookspec
def run_finished(run: RunInfo, status_counts: Mapping[str, int]) -> None:
    """Learn that a run ended well, with the number of ALTs by status."""

"""What an adapter works out once a run and not for every record."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from splicebert_vep_spec import RunInfo

T = TypeVar("T")


def per_run(make: Callable[[RunInfo], T]) -> Callable[[RunInfo], T]:
    """Remember what a function returned for the last run it was called with.

    Runs are told apart by identity, because they hold mappings and have no hash. Threads may share the function.
    """
    last: tuple[RunInfo, T] | None = None

    @wraps(make)
    def of_run(run: RunInfo) -> T:
        nonlocal last
        known = last  # read once: another thread may put another run there
        if known is None or known[0] is not run:
            known = last = run, make(run)
        return known[1]

    return of_run

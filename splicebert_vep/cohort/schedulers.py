"""Where units are scored: in this process, or on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from ..errors import InputError, OutputError, PluginError, SettingsError
from .plan import Plan
from .work import Worker, give_up, work_anywhere

#: What is wrong with the machine or the request and not with a unit: it ends the run.
_ENDS_THE_RUN = (InputError, OutputError, PluginError)
_LOCAL = "local:"
_PATIENCE = 20  # seconds for a scheduler to answer

Progress = Callable[[str, int, int], None]


class Scheduler(Protocol):
    """Scores units somewhere."""

    def attempt(self, plan: Plan, units: Sequence[int]) -> Iterator[tuple[int, str | None]]:
        """Score units, each into its shard; yield each with None, or why it failed, as they are done."""
        ...


def work_all(plan: Plan, units: Sequence[int], scheduler: Scheduler, progress: Progress | None = None) -> list[int]:
    """Score units; one that fails is tried once more, by itself, and is then written down as FAILED. Returns those.

    Raises:
        SpliceBertError: what is wrong with the machine or the settings; finished units stay.
    """
    again: list[int] = []
    given_up: list[int] = []
    done = 0
    for unit, reason in scheduler.attempt(plan, units):
        if reason is None:
            done += 1
            if progress:
                progress("units scored", done, len(units))
        else:
            again.append(unit)
    for unit in sorted(again):
        for _, reason in scheduler.attempt(plan, [unit]):
            if reason is not None:
                give_up(plan, unit, reason)
                given_up.append(unit)
            done += 1
            if progress:
                progress("units scored", done, len(units))
    return given_up


class InProcess:
    """Score units here, one after the other."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def attempt(self, plan: Plan, units: Sequence[int]) -> Iterator[tuple[int, str | None]]:
        """Score units."""
        for unit in units:
            try:
                self._worker.work(unit)
            except _ENDS_THE_RUN:
                raise
            except Exception as error:  # whatever a unit provokes costs that unit only
                yield unit, told(error)
            else:
                yield unit, None


class OnDask:
    """Score units on the workers of a Dask cluster, which share the plan's folder and the reference with this machine.

    Args:
        client: a ``distributed.Client``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def attempt(self, plan: Plan, units: Sequence[int]) -> Iterator[tuple[int, str | None]]:
        """Score units; one whose worker is lost goes to another, as often as the scheduler allows."""
        from distributed import KilledWorker, as_completed

        folder = str(plan.folder.absolute())
        futures = {self._client.submit(work_anywhere, folder, plan.identity, unit, pure=False): unit for unit in units}
        try:
            for future in as_completed(list(futures)):
                unit = futures[future]
                error = future.exception()
                if isinstance(error, _ENDS_THE_RUN):
                    raise error
                if isinstance(error, KilledWorker):
                    yield unit, "the worker process died while it scored the unit"
                else:
                    yield unit, None if error is None else told(error)
                future.release()
        finally:
            self._client.cancel(list(futures))


def told(error: BaseException) -> str:
    """Return a failure in one line that does not depend on where it happened."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


@contextmanager
def dask(address: str) -> Iterator[OnDask]:
    """Connect to a scheduler at ``tcp://HOST:PORT``, or start ``local:N`` workers of one thread each.

    Raises:
        SettingsError: Dask is not installed, or nobody answers.
    """
    try:
        import dask as settings
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise SettingsError(
            "--scheduler needs Dask, which is not installed.",
            found=str(error),
            remedy="pip install 'splicebert-vep[dask]'",
        ) from error
    count = address.removeprefix(_LOCAL)
    if address.startswith(_LOCAL) and not (count.isdigit() and int(count)):
        raise SettingsError("--scheduler could not be read.", needed="local:N or tcp://HOST:PORT", found=address)
    # A unit that kills its worker would otherwise take three workers with it, and units that wait beside it.
    careful = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}
    with settings.config.set(careful):
        if not address.startswith(_LOCAL):
            try:
                client = Client(address, timeout=_PATIENCE)
            except (OSError, ValueError) as error:
                raise SettingsError(
                    "No Dask scheduler answers.",
                    needed="local:N or tcp://HOST:PORT of a running 'dask scheduler'",
                    found=str(error).splitlines()[0] if str(error) else type(error).__name__,
                    where=address,
                ) from error
            with client:
                yield OnDask(client)
            return
        cluster = LocalCluster(
            n_workers=int(count), threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        )
        with cluster, Client(cluster) as client:
            yield OnDask(client)

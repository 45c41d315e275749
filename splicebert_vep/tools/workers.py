"""Score the alleles that a store lacks: in this process, or on the workers of a Dask cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from splicebert_vep_spec import Allele, Skipped, Status

from ..annotator import Annotator
from ..errors import SettingsError, SpliceBertError
from ..scoring.cache import BATCH, Outcomes
from ..scoring.pipeline import genes_of, skipped_outcomes

_LOCAL = "local:"
_PATIENCE = 20  # seconds for a scheduler to answer
_MEASURED, _WARM_UP = 64, 8  # alleles

Progress = Callable[[str, int, int], None]


def score_missing(
    annotator: Annotator,
    blocks: Iterable[Sequence[Allele]],
    total: int,
    workers: DaskWorkers | None = None,
    progress: Progress | None = None,
) -> None:
    """Score and commit the alleles that the annotator's store lacks.

    Args:
        annotator: opened with a store.
        blocks: ``total`` alleles, sorted by position.
        workers: score them instead of this process.
        progress: called with the task, the alleles that are done, and ``total``.
    """
    assert annotator.stored_scoring is not None
    stored, done = annotator.stored_scoring, 0
    stored.unstored = {}  # what fails here must not be scored again while the outputs are written
    if workers is None:
        for block in blocks:
            stored.outcomes(block)
            done += len(block)
            if progress:
                progress("alleles scored", done, total)
        return

    def batches() -> Iterator[list[Allele]]:
        nonlocal done
        waiting: list[Allele] = []
        for block in blocks:
            waiting += missing_of(annotator, block)
            done += len(block)
            while len(waiting) >= BATCH:
                yield waiting[:BATCH]
                waiting = waiting[BATCH:]
        if waiting:
            yield waiting

    for alleles, outcomes in workers.score(batches()):
        stored.keep(alleles, outcomes)
        if progress:
            progress("alleles scored", done, total)


def missing_of(annotator: Annotator, alleles: Sequence[Allele]) -> list[Allele]:
    """Return the alleles that have to be scored."""
    assert annotator.stored_scoring is not None
    known = annotator.stored_scoring.find_known(alleles)
    return [allele for allele, outcome in zip(alleles, known, strict=True) if outcome is None]


def alleles_per_second(annotator: Annotator, alleles: Sequence[Allele]) -> float:
    """Score a few alleles and return the speed; store nothing."""
    sample = alleles[:_MEASURED]
    annotator.scoring.outcomes(sample[:_WARM_UP])
    began = time.monotonic()
    annotator.scoring.outcomes(sample)
    return len(sample) / (time.monotonic() - began)


class DaskWorkers:
    """Score batches of alleles on a Dask cluster whose workers see the reference under the same path.

    Args:
        client: a ``distributed.Client``.
        annotator: the client's own, which must compute the same scores.
    """

    def __init__(self, client: Any, annotator: Annotator) -> None:
        self._client, self._annotator = client, annotator
        space = annotator.space
        self._asked = annotator.to_json()
        self._space = (space.score_digest, space.annotation_digest, space.columns)

    def score(self, batches: Iterator[list[Allele]]) -> Iterator[tuple[list[Allele], list[Outcomes]]]:
        """Yield batches with their outcomes as workers finish them.

        A batch whose worker dies, or that raises, is tried once more by itself; then its alleles are FAILED.

        Raises:
            SpliceBertError: a worker cannot score for this run.
        """
        from distributed import as_completed

        running: dict[Any, list[Allele]] = {}
        again: list[list[Allele]] = []
        completed = as_completed()
        try:
            self._submit(batches, running, completed)
            for future in completed:
                batch = running.pop(future)
                outcomes, _ = self._result(future)
                self._submit(batches, running, completed)
                if outcomes is None:
                    again.append(batch)
                else:
                    yield batch, outcomes
            for batch in again:
                future = self._task(batch)
                running[future] = batch
                outcomes, reason = self._result(future)
                yield batch, outcomes or [self._failed(allele, reason) for allele in batch]
        finally:
            self._client.cancel(list(running))

    def _submit(self, batches: Iterator[list[Allele]], running: dict[Any, list[Allele]], completed: Any) -> None:
        """Keep two batches ready for every thread of the workers that are there now."""
        wanted = 2 * max(1, sum(self._client.nthreads().values()))
        while len(running) < wanted and (batch := next(batches, None)):
            future = self._task(batch)
            running[future] = batch
            completed.add(future)

    def _task(self, batch: list[Allele]) -> Any:
        md5 = {contig: self._annotator.reference.md5(contig) for contig in {allele.contig for allele in batch}}
        return self._client.submit(score_batch, self._asked, self._space, md5, batch, pure=False)

    def _result(self, future: Any) -> tuple[list[Outcomes] | None, str]:
        error = future.exception()
        if error is None:
            outcomes: list[Outcomes] = future.result()
            return outcomes, ""
        if isinstance(error, SpliceBertError):
            raise error
        if type(error).__name__ == "KilledWorker":
            return None, "the worker process died while it scored the batch"
        return None, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"

    def _failed(self, allele: Allele, reason: str) -> Outcomes:
        here = self._annotator
        found = genes_of(allele, here.genes, here.reference, here.settings.shape)
        return skipped_outcomes(found.genes, Skipped(Status.FAILED, reason))


def score_batch(
    asked: Mapping[str, Any], space: tuple[str, str, tuple[str, ...]], md5: Mapping[str, str], alleles: list[Allele]
) -> list[Outcomes]:
    """Score alleles in a worker process, which loads the model once.

    Args:
        asked: arguments of its annotator.
        space: score digest, annotation digest and columns that the client computes.
        md5: of each contig in the client's reference.

    Raises:
        SettingsError: the worker would compute other scores.
    """
    with _LOCK:  # a worker of several threads still has one model
        annotator = _annotator(tuple(sorted(asked.items())))
        here = annotator.space
        found = (here.score_digest, here.annotation_digest, here.columns)
        if found != space or any(annotator.reference.md5(contig) != digest for contig, digest in md5.items()):
            problem = "A Dask worker would compute other scores: install the same model, plugins and reference there."
            needed, found_there = (
                f"score digest {score[:12]}, annotation {annotation[:12]}, {', '.join(columns)}"
                for score, annotation, columns in (space, found)
            )
            raise SettingsError(problem, needed=needed, found=found_there)
        return annotator.scoring.outcomes(alleles)


_LOCK = threading.Lock()


@lru_cache(maxsize=1)
def _annotator(asked: tuple[tuple[str, Any], ...]) -> Annotator:
    return Annotator(**dict(asked))


@contextmanager
def dask_workers(address: str | None, annotator: Annotator) -> Iterator[DaskWorkers | None]:
    """Connect to a scheduler at ``tcp://HOST:PORT``, or start ``local:N`` workers of one thread each.

    Raises:
        SettingsError: Dask is not installed, or nobody answers.
    """
    if address is None:
        yield None
        return
    try:
        import dask as settings
        from distributed import Client, LocalCluster
    except ImportError as error:
        remedy = "pip install 'splicebert-vep[dask]'"
        raise SettingsError("--dask needs Dask, which is not installed.", found=str(error), remedy=remedy) from error
    count = address.removeprefix(_LOCAL)
    if address.startswith(_LOCAL) and not (count.isdigit() and int(count)):
        raise SettingsError("--dask cannot be read: give local:N or tcp://HOST:PORT.", found=address)
    # A batch that kills its worker would otherwise take three workers with it, and batches that wait beside it.
    careful = {"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}
    with settings.config.set(careful):
        if address.startswith(_LOCAL):
            about = {"n_workers": int(count), "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
            cluster = LocalCluster(processes=True, **about)
            with cluster, Client(cluster) as client:
                yield DaskWorkers(client, annotator)
            return
        try:
            client = Client(address, timeout=_PATIENCE)
        except (OSError, ValueError) as error:
            problem = "No Dask scheduler answers: give local:N, or tcp://HOST:PORT of a running 'dask scheduler'."
            raise SettingsError(problem, found=str(error), where=address) from error
        with client:
            yield DaskWorkers(client, annotator)

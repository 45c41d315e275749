"""Cut a stream of records into chunks, none of which is handed out before the genome build is settled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

from .genome.guard import BuildGuard, Observed
from .pipeline import Record

_CHUNKS_HELD = 8  # read at most so far ahead of the first score to tell the build

R = TypeVar("R", bound=Record)


class GuardedChunks(Generic[R]):
    """Chunks of records that the build guard has seen.

    Reads ahead until the guard has seen enough to tell the build, or the input ends, or enough is held; it goes on
    watching after that.

    Args:
        records: in their order.
        size: records in a chunk.
        guard: the build guard; None where the records have passed one before.

    Raises:
        BuildError: FASTA, annotation and records are not of one build.
    """

    def __init__(self, records: Iterable[R], size: int, guard: BuildGuard | None) -> None:
        self._records = iter(records)
        self._size = size
        self._guard = guard
        self._held: list[list[R]] = []
        for chunk in islice(self._read(), _CHUNKS_HELD):
            self._held.append(chunk)
            if guard is None or guard.decided:
                return
        if guard and len(self._held) < _CHUNKS_HELD:
            guard.finish()

    def held(self) -> Sequence[R]:
        """Return the records read ahead of the first chunk."""
        return [record for chunk in self._held for record in chunk]

    def __iter__(self) -> Iterator[list[R]]:
        """Yield every chunk once; those held are let go one by one."""
        while self._held:
            yield self._held.pop(0)
        yield from self._read()

    def finish(self) -> list[str]:
        """Return the guard's sentences for the user, once all chunks have been read."""
        return self._guard.finish() if self._guard else []

    def _read(self) -> Iterator[list[R]]:
        while chunk := list(islice(self._records, self._size)):
            if self._guard:
                self._guard.observe(Observed(record.chrom, record.pos, record.ref) for record in chunk)
            yield chunk

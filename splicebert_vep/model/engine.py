"""The engine: window pairs in, aligned outputs of the model out, batch by batch.

Every distinct window of a run goes through the network once: the ALTs of a site share its REF pass and its masked
pass, and so do genes of one strand. Only the columns that a score reads leave the last layer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep_spec import (
    MASK,
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    AlignedBatch,
    Backend,
    MaskedSite,
    Side,
    T,
)  # fmt: skip

from ..errors import BackendError, OutOfMemory, model_failure
from ..progress import advance
from ..sequence.alignment import Columns, Differences, align, differences
from ..sequence.tokens import Tokens, with_special
from ..sequence.windows import Index, Mask, WindowPairs

log = logging.getLogger(__name__)


class ReadBack:
    """Columns on their way to the host.

    On CUDA they are copied into pinned memory behind the work that makes them, and ``wait`` waits for that copy alone,
    not for work that was started after it.

    Args:
        columns: tensors (B,) of any numeric type, on one device.
    """

    def __init__(self, columns: Sequence[torch.Tensor]) -> None:
        together = torch.stack([column.double() for column in columns])  # (columns, B): one transfer
        self._event: torch.cuda.Event | None = None
        if together.is_cuda:
            self._host = torch.empty(together.shape, dtype=together.dtype, pin_memory=True)
            self._host.copy_(together, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._host = together.cpu()

    def wait(self) -> list[list[float]]:
        """Return the values of each column."""
        if self._event is not None:
            self._event.synchronize()
        values: list[list[float]] = self._host.tolist()
        return values


_CALLS_KEPT = 8
"""The newest calls that later batches still need are kept; windows of older ones are run again."""


class Passes:
    """Distinct windows of one kind (REF, ALT or masked), and the outputs of those that were run.

    Args:
        backend: the model.
        tokens: (n, W) windows, some of them equal.
        at: (n,) place of each window in the order of work; its outputs are let go after the last of its places.
        index, read: (n, C) window indices that each window is read at, and which of these count.
    """

    def __init__(self, backend: Backend, tokens: Tokens, at: Index, index: Index, read: Mask) -> None:
        self._backend = backend
        self.ids, first = distinct(tokens)
        self.tokens = tokens[first]
        n, width = self.tokens.shape
        self._last_use = np.zeros(n, dtype=np.int64)
        np.maximum.at(self._last_use, self.ids, at)
        self._wanted = np.zeros((n, width), dtype=np.bool_)
        rows, columns = np.nonzero(read)
        self._wanted[self.ids[rows], index[rows, columns]] = True
        self._slot = np.zeros((n, width), dtype=np.min_scalar_type(width))  # where a call's outputs hold a window index
        self._call = np.full(n, -1)  # the call that ran each window; -1 before, and once its outputs are gone
        self._row = np.zeros(n, dtype=np.int64)  # of the window in that call
        self._calls: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}  # logits, hidden, finite
        self._made = 0

    def run(self, ids: Index, per_call: int) -> None:
        """Run those of some windows whose outputs are not there, so many in a call.

        Raises:
            BackendError: the model failed; torch reports device faults as RuntimeError.
            OutOfMemory: the windows of a call do not fit into memory.
        """
        ids = np.unique(ids)
        missing = ids[self._call[ids] < 0]
        for start in range(0, len(missing), per_call):
            self._run(missing[start : start + per_call])

    def _run(self, ids: Index) -> None:
        wanted = self._wanted[ids]
        # A window's wanted indices first, in order; 0 fills the row up and is never read.
        slot = np.cumsum(wanted, axis=1, dtype=np.int32) - 1
        rows, columns = np.nonzero(wanted)
        positions = np.zeros((len(ids), max(1, int(slot[:, -1].max()) + 1)), dtype=np.int64)
        positions[rows, slot[rows, columns]] = columns
        try:
            out = self._backend.forward(with_special(self.tokens[ids]), positions + 1)  # past [CLS]
        except (RuntimeError, MemoryError) as error:
            raise model_failure(error) from error
        # A sum is finite where all its terms are, and quicker than a test of each.
        finite = torch.isfinite(out.logits.sum(dim=(1, 2))) & torch.isfinite(out.hidden.sum(dim=(1, 2)))
        self._slot[ids], self._call[ids], self._row[ids] = np.maximum(slot, 0), self._made, np.arange(len(ids))
        self._calls[self._made] = (out.logits, out.hidden, finite)
        self._made += 1

    def finite(self, ids: Index) -> torch.Tensor:
        """Tell for which windows, (B,), all outputs are finite; a bool tensor on the device."""
        numbers, at = self._calls_of(ids)
        parts = [self._calls[number][2] for number in numbers]
        starts = np.cumsum([0, *map(len, parts)])[:-1]
        return _joined(parts)[_to(starts[at] + self._row[ids], parts[0].device)]

    def read(self, ids: Index, index: Index, *, hidden: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return logits (B, C, V) and, where asked, hidden (B, C, H) of windows (B, C) at window indices (B, C)."""
        numbers, at = self._calls_of(ids)
        calls = [self._calls[number] for number in numbers]
        positions = np.array([logits.shape[1] for logits, _, _ in calls])
        starts = np.cumsum([0, *(len(logits) * logits.shape[1] for logits, _, _ in calls)])[:-1]
        flat = starts[at] + self._row[ids] * positions[at] + self._slot[ids, index]
        place = _to(flat, calls[0][0].device)
        logits = _joined([logits.flatten(0, 1) for logits, _, _ in calls])[place]
        return logits, _joined([states.flatten(0, 1) for _, states, _ in calls])[place] if hidden else None

    def _calls_of(self, ids: Index) -> tuple[list[int], Index]:
        """Return the calls that ran some windows, and for each window which of these it was."""
        of_window = self._call[ids]
        used = np.zeros(self._made + 1, dtype=np.bool_)  # a window that was not run, -1, is in no call
        used[of_window] = True
        return np.flatnonzero(used).tolist(), (np.cumsum(used) - 1)[of_window]

    def forget(self, done: int) -> None:
        """Let go of outputs that no place of the work from ``done`` on reads, and of the oldest beyond those kept."""
        needed = np.unique(self._call[(self._last_use >= done) & (self._call >= 0)])[-_CALLS_KEPT:]
        self._calls = {number: self._calls[number] for number in needed.tolist()}
        self._call[~np.isin(self._call, needed)] = -1


def distinct(tokens: Tokens) -> tuple[Index, Index]:
    """Number equal rows of (n, W) alike, by first appearance; returns (n,) numbers and where each appears first."""
    width, data = tokens.shape[1], tokens.tobytes()
    number: dict[bytes, int] = {}
    ids = [number.setdefault(data[at : at + width], len(number)) for at in range(0, len(data), width)]
    return np.array(ids, dtype=np.int64), np.unique(ids, return_index=True)[1]


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


_BATCH_BYTES = 1 << 24
"""Outputs of one batch take about this much, so that scorers find them in the processor's cache."""


@dataclass(frozen=True, slots=True)
class EngineBatch:
    """Outputs for some of the pairs.

    Args:
        rows: B indices into the pairs given to ``run``.
        batch: aligned outputs of these rows, or None when there are none.
        finite: (B,) bool, on the device: all outputs of the row are finite. Outputs of other rows are 0 in ``batch``,
            so that no scorer meets NaN, and their scores mean nothing.
        failed: reason by index, for rows the model failed on; they are not in ``rows``.
    """

    rows: list[int]
    batch: AlignedBatch | None
    finite: torch.Tensor | None
    failed: dict[int, str]


class Engine:
    """Run window pairs through a backend.

    Args:
        backend: the model.
        flank: F.
        batch_tokens: upper bound of tokens in one forward call, except that a single window always runs; None takes
            the number that suits the backend.
    """

    def __init__(self, backend: Backend, *, flank: int, batch_tokens: int | None = None) -> None:
        self.backend = backend
        self.flank = flank
        self.batch_tokens: int = batch_tokens or backend.info.batch_tokens

    def run(self, pairs: WindowPairs, needs: frozenset[str]) -> Iterator[EngineBatch]:
        """Yield aligned outputs of all pairs, in batches.

        Args:
            pairs: window pairs of one width.
            needs: outputs that the scorers read; nothing else is computed.
        """
        if not len(pairs):
            return
        work = _Work(self, pairs, needs)
        for start, end in work.batches():
            for found in self._attempt(work, start, end):
                yield found
                if needs:  # else no pass was made
                    advance(len(found.rows) + len(found.failed))

    def _attempt(self, work: _Work, start: int, end: int) -> Iterator[EngineBatch]:
        """Run one batch; when the model fails, halve it until the allele that it fails on stands alone.

        When memory is short, calls are smaller from there on, also in later runs.

        Raises:
            OutOfMemory: one window does not fit.
        """
        found, reason = None, ""
        try:
            found = work.batch(start, end)
        except OutOfMemory:
            if work.per_call == 1:
                raise
            work.per_call //= 2
            self.batch_tokens = work.per_call * work.window_tokens
            log.warning("memory is short: %d windows in a call from here on", work.per_call)
        except BackendError as error:
            reason = str(error)
        # Out of the handlers, so that the failed attempt's tensors are let go before the next.
        middle = (start + end) // 2
        if found is not None:
            yield found
        elif not reason:
            yield from self._attempt(work, start, end)
        elif end - start == 1:
            yield EngineBatch([], None, None, {int(work.order[start]): reason})
        else:
            yield from self._attempt(work, start, middle)
            yield from self._attempt(work, middle, end)


class _Work:
    """All pairs of a run in the order of work: by length of span, then by REF window."""

    def __init__(self, engine: Engine, pairs: WindowPairs, needs: frozenset[str]) -> None:
        self._engine, self._needs = engine, needs
        self.window_tokens = int(pairs.ref.shape[1] + 2)
        self.per_call = max(1, engine.batch_tokens // self.window_tokens)  # windows; smaller once memory is short
        bucket = _bucket(pairs)
        self.order = np.lexsort((distinct(pairs.ref)[0], bucket))
        self._ends = np.flatnonzero(np.diff(bucket[self.order], append=np.inf)) + 1
        self._pairs = pairs = pairs.take(self.order)
        self._columns = columns = align(pairs, engine.flank)
        self._changed = changed = differences(pairs)
        self._ref = self._alt = self._masked = None
        place = np.arange(len(pairs))
        if NEEDS_PAIRS in needs:
            shifted = np.flatnonzero(~pairs.equal_length)
            self._ref = Passes(
                engine.backend,
                np.concatenate([pairs.ref, pairs.ref_right[shifted]]),
                np.concatenate([place, shifted]),
                np.concatenate([columns.ref_index, columns.ref_index[shifted]]),
                np.concatenate([columns.ref_read & ~columns.right, (columns.ref_read & columns.right)[shifted]]),
            )
            self._left_ids = self._ref.ids[: len(pairs)]
            self._right_ids = self._left_ids.copy()
            self._right_ids[shifted] = self._ref.ids[len(pairs) :]
            self._alt = Passes(engine.backend, pairs.alt, place, columns.alt_index, columns.alt_read)
        if NEEDS_MASKED in needs:
            self._masked = Passes(engine.backend, masked(pairs), place, changed.index, changed.valid)

    def batches(self) -> Iterator[tuple[int, int]]:
        """Cut the order of work into batches, each of one bucket of lengths and of some full calls."""
        start = 0
        for end in self._ends.tolist():
            columns = self._columns.needed(np.arange(start, end))
            row_bytes = int(3 * 4 * columns * (self._engine.backend.info.hidden_size + T + 1))  # of three passes
            rows = self.per_call * max(1, _BATCH_BYTES // (row_bytes * self.per_call))
            for first in range(start, end, rows):
                yield first, min(first + rows, end)
            start = end

    def batch(self, start: int, end: int) -> EngineBatch:
        """Run rows ``start`` to ``end`` of the order.

        Raises:
            BackendError: the model failed.
        """
        rows = np.arange(start, end)
        pairs, columns, changed = self._pairs.take(rows), self._columns.take(rows), self._changed.take(rows)
        ref = alt = site = None
        finite: list[torch.Tensor] = []
        if self._ref and self._alt:
            left, right, alt_ids = self._left_ids[rows], self._right_ids[rows], self._alt.ids[rows]
            self._ref.run(np.concatenate([left, right]), self.per_call)
            self._alt.run(alt_ids, self.per_call)
            finite += [self._ref.finite(left), self._ref.finite(right), self._alt.finite(alt_ids)]
        equal = np.asarray(changed.valid.any(axis=1))
        if self._masked and equal.any():
            self._masked.run(self._masked.ids[rows[equal]], self.per_call)
            # Rows of other alleles read somebody else's outputs and are never valid.
            masked_ids = np.where(equal, self._masked.ids[rows], self._masked.ids[rows[equal.argmax()]])
            found = self._masked.finite(masked_ids)
            finite += [found | _to(~equal, found.device)]
        every = torch.stack(finite).all(dim=0) if finite else torch.ones(len(rows), dtype=torch.bool)
        if self._ref and self._alt:
            ref, alt = self._sides(self._ref, self._alt, rows, pairs, columns, every)
        if self._masked and equal.any():
            site = self._site(self._masked, masked_ids, changed, every)
        names = ("paired", "donor", "acceptor", "in_ref", "in_alt")
        masks = {name: _to(getattr(columns, name), every.device) for name in names}
        snv = _to((pairs.ref_length == 1) & (pairs.alt_length == 1), every.device)
        batch = AlignedBatch(flank=self._engine.flank, ref=ref, alt=alt, snv=snv, masked=site, **masks)
        for passes in (self._ref, self._alt, self._masked):
            if passes:
                passes.forget(end)
        return EngineBatch(self.order[rows].tolist(), batch, every, {})

    def _sides(
        self, ref: Passes, alt: Passes, rows: Index, pairs: WindowPairs, columns: Columns, finite: torch.Tensor
    ) -> tuple[Side, Side]:
        """Lay the outputs of REF, shifted REF and ALT windows out in columns."""
        ref_ids = np.where(columns.right, self._right_ids[rows, None], self._left_ids[rows, None])
        alt_ids = np.broadcast_to(alt.ids[rows, None], columns.alt_index.shape)
        ref_tokens = ref.tokens[ref_ids, columns.ref_index]
        alt_tokens = np.take_along_axis(pairs.alt, columns.alt_index, 1)
        return (
            self._side(ref, ref_ids, columns.ref_index, ref_tokens, finite),
            self._side(alt, alt_ids, columns.alt_index, alt_tokens, finite),
        )

    def _side(self, passes: Passes, ids: Index, index: Index, tokens: Tokens, finite: torch.Tensor) -> Side:
        logits, states = passes.read(ids, index, hidden=NEEDS_HIDDEN in self._needs)
        states = None if states is None else _where_finite(states, finite)
        return Side(_to(tokens, logits.device), _where_finite(logits, finite), states)

    def _site(self, passes: Passes, ids: Index, changed: Differences, finite: torch.Tensor) -> MaskedSite:
        """Read the masked positions."""
        logits, _ = passes.read(np.broadcast_to(ids[:, None], changed.index.shape), changed.index)
        device = logits.device
        logits = _where_finite(logits, finite)
        return MaskedSite(_to(changed.ref, device), _to(changed.alt, device), logits, _to(changed.valid, device))


def masked(pairs: WindowPairs) -> Tokens:
    """Return REF windows, (B, W), with the differing positions of equal-length alleles masked."""
    return np.where((pairs.ref != pairs.alt) & pairs.equal_length[:, None], np.uint8(MASK), pairs.ref)


def _bucket(pairs: WindowPairs) -> NDArray[np.float64]:
    """Group spans by length, up to 8 nt, 16, 32, ...: a long one would make all rows of its batch long."""
    buckets: NDArray[np.float64] = np.ceil(np.log2(np.maximum(np.maximum(pairs.ref_length, pairs.alt_length), 8)))
    return buckets


def _to(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _where_finite(outputs: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Put 0 for the outputs (B, ...) of rows that are not finite."""
    return outputs.masked_fill_(~finite.view(-1, *[1] * (outputs.dim() - 1)), 0.0)

"""The engine: window pairs in, aligned outputs of the model out, batch by batch.

Every distinct window of a run goes through the network once: the ALTs of a site share its REF pass and its masked
pass, and so do sites of one tile and genes of one strand. Only the columns that a score reads leave the last layer.
In local mode, windows that differ from a REF window in a few tokens are computed again around these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep_spec import (
    MASK,
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    AlignedBatch,
    BackendOutput,
    MaskedSite,
    Side,
    T,
)

from ..errors import BackendError
from ..sequence.alignment import Columns, Differences, align, differences
from ..sequence.tokens import Tokens, with_special
from ..sequence.windows import Index, Mask, WindowPairs
from .local import Local, around, count_around


class ReadBack:
    """Columns on their way to the host.

    On CUDA they are copied into pinned memory behind the work that makes them, and ``wait`` waits for that copy alone,
    not for what was started after it.

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
"""Of calls that later batches of a run still need, so many are kept; windows of older ones are run again."""

Forward = Callable[[Index, Index], tuple[BackendOutput, Any]]
"""Run windows (N,) and read them at window indices (N, P); returns the outputs and what ``local`` needs of them."""


@dataclass(frozen=True, slots=True)
class _Call:
    """Outputs of one forward call: logits (N, P, V), hidden (N, P, H), finite (N,), and the backend's memory of it."""

    logits: torch.Tensor
    hidden: torch.Tensor
    finite: torch.Tensor
    memory: Any


class Passes:
    """Distinct windows of one kind.

    Args:
        tokens: (n, W) windows, some of them equal.
        at: (n,) place of each in the order of work, non-decreasing along it; a window's outputs are let go once the
            work has passed the last of its places.
        index, read: (n, C) window indices that each of them is read at, and which of these count.
        beside: (n,) windows are one only where these numbers are equal too; None for windows alone.
    """

    def __init__(self, tokens: Tokens, at: Index, index: Index, read: Mask, beside: Index | None = None) -> None:
        self.ids, self.first = distinct(tokens, beside)
        self.tokens = tokens[self.first]
        n, width = self.tokens.shape
        self._last_use = np.zeros(n, dtype=np.int64)
        np.maximum.at(self._last_use, self.ids, at)
        wanted = np.zeros((n, width), dtype=np.bool_)
        rows, columns = np.nonzero(read)
        wanted[self.ids[rows], index[rows, columns]] = True
        self._wanted = wanted
        self._slot = np.zeros((n, width), dtype=np.int32)
        self._call = np.full(n, -1)
        self._row = np.zeros(n, dtype=np.int64)
        self._calls: dict[int, _Call] = {}
        self._made = 0

    def missing(self, ids: Index) -> Index:
        """Return which of some windows have not been run, or not been kept."""
        ids = np.unique(ids)
        return ids[self._call[ids] < 0]

    def wanted(self, ids: Index) -> Mask:
        """Return the window indices (N, W) that some windows are read at."""
        return self._wanted[ids]

    def run(self, ids: Index, forward: Forward) -> None:
        """Run windows in one call.

        Raises:
            BackendError: the model failed; torch reports out-of-memory and device faults as RuntimeError.
        """
        wanted = self._wanted[ids]
        count = wanted.sum(axis=1)
        # A window's wanted indices first, in order; what is left fills the row up and is read by nobody.
        positions = np.argsort(~wanted, axis=1, kind="stable")[:, : max(1, count.max())]
        try:
            out, memory = forward(ids, positions)
        except RuntimeError as error:
            raise BackendError(one_line(error)) from error
        slot = np.zeros(wanted.shape, dtype=np.int32)
        np.put_along_axis(slot, positions, np.arange(positions.shape[1], dtype=np.int32)[None, :], 1)
        # A sum is finite where all its terms are, and quicker than a test of each.
        finite = torch.isfinite(out.logits.sum(dim=(1, 2))) & torch.isfinite(out.hidden.sum(dim=(1, 2)))
        self._slot[ids] = slot
        self._call[ids], self._row[ids] = self._made, np.arange(len(ids))
        self._calls[self._made] = _Call(out.logits, out.hidden, finite, memory)
        self._made += 1

    def finite(self, ids: Index) -> torch.Tensor:
        """Tell of which windows, (B,), all outputs are finite; a bool tensor on the device."""
        calls, number = self._read_from(ids)
        starts = np.cumsum([0, *(len(call.finite) for call in calls)])[:-1]
        return _joined([call.finite for call in calls])[self._at(starts[number] + self._row[ids])]

    def read(self, ids: Index, index: Index, *, hidden: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return logits (B, C, V) and, where asked, hidden (B, C, H) of windows (B, C) at window indices (B, C)."""
        calls, number = self._read_from(ids)
        positions = np.array([call.logits.shape[1] for call in calls])
        starts = np.cumsum([0, *(len(call.finite) * call.logits.shape[1] for call in calls)])[:-1]
        at = self._at(starts[number] + self._row[ids] * positions[number] + self._slot[ids, index])
        logits = _joined([call.logits.flatten(0, 1) for call in calls])[at]
        return logits, _joined([call.hidden.flatten(0, 1) for call in calls])[at] if hidden else None

    def _read_from(self, ids: Index) -> tuple[list[_Call], Index]:
        """Return the calls that some windows were run in, and which of these each was."""
        numbers = np.unique(self._call[ids])
        return [self._calls[number] for number in numbers.tolist()], np.searchsorted(numbers, self._call[ids])

    def _at(self, flat: Index) -> torch.Tensor:
        return torch.from_numpy(flat).to(next(iter(self._calls.values())).finite.device)

    def remembered(self, ids: Index) -> Iterator[tuple[Any, Index, Index]]:
        """Group windows by the call that ran them: its memory, places in ``ids``, and rows of the memory."""
        for number in np.unique(self._call[ids]).tolist():
            places = np.flatnonzero(self._call[ids] == number)
            in_call = np.flatnonzero(self._call == number)  # ids in ascending order, as ``run`` was given them
            yield self._calls[number].memory, places, np.searchsorted(in_call, ids[places])

    def forget(self, done: int) -> None:
        """Let go of what no place of the work from ``done`` on reads, and of the oldest beyond what may be kept."""
        needed = np.unique(self._call[(self._last_use >= done) & (self._call >= 0)])[-_CALLS_KEPT:]
        self._calls = {number: self._calls[number] for number in needed.tolist()}
        self._call[~np.isin(self._call, needed)] = -1


def one_line(error: Exception) -> str:
    """Return an exception's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def distinct(tokens: Tokens, beside: Index | None = None) -> tuple[Index, Index]:
    """Number equal rows of (n, W) alike, by first appearance; returns (n,) numbers and where each appears first."""
    width, data = tokens.shape[1], tokens.tobytes()
    rows = [data[at : at + width] for at in range(0, len(data), width)]
    number: dict[object, int] = {}
    keys = rows if beside is None else zip(rows, beside.tolist(), strict=True)
    ids = [number.setdefault(key, len(number)) for key in keys]
    return np.array(ids, dtype=np.int64), np.unique(ids, return_index=True)[1]


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


_BATCH_BYTES = 1 << 24
"""Outputs of one batch take about this much, so that scorers find them in the processor's cache."""

_SITE_POSITIONS = 4
"""Room for a donor and an acceptor that lie beyond the radius of local mode."""


@dataclass(frozen=True, slots=True)
class EngineBatch:
    """Outputs for some of the pairs.

    Args:
        rows: B indices into the pairs given to ``run``.
        batch: aligned outputs of these rows, or None when there are none.
        finite: (B,) bool, on the device: all outputs of the row are finite. Those of other rows are 0 in ``batch``, so
            that no scorer meets them, and their scores mean nothing.
        failed: reason by index, for rows the model failed on; they are not in ``rows``.
    """

    rows: list[int]
    batch: AlignedBatch | None
    finite: torch.Tensor | None
    failed: dict[int, str]


class Engine:
    """Run window pairs through a backend.

    Args:
        backend: the model; for local mode one that can compute a part of a window.
        flank: F.
        batch_tokens: upper bound of tokens in one forward call; one window is run whatever it takes. None is what suits
            the backend.
        local: how far around a change the network is computed again; None for whole passes.
    """

    def __init__(
        self,
        backend: Any,
        *,
        flank: int,
        batch_tokens: int | None = None,
        local: Local | None = None,
    ) -> None:
        self.backend: Any = backend
        self.flank = flank
        self.batch_tokens: int = batch_tokens or backend.info.batch_tokens
        self.local = local

    def run(self, pairs: WindowPairs, needs: frozenset[str]) -> Iterator[EngineBatch]:
        """Yield aligned outputs of all pairs, in batches; rows of a batch say whose.

        Args:
            pairs: window pairs of one width.
            needs: what the scorers read; nothing else is computed.
        """
        if not len(pairs):
            return
        work = _Work(self, pairs, needs)
        for start, end in work.batches():
            yield from self._attempt(work, start, end)

    def _attempt(self, work: _Work, start: int, end: int) -> Iterator[EngineBatch]:
        """Run one batch; when the model fails, halve it until the allele that it fails on stands alone."""
        try:
            yield work.batch(start, end)
        except BackendError as error:
            if end - start == 1:
                yield EngineBatch([], None, None, {int(work.order[start]): str(error)})
                return
            middle = (start + end) // 2
            yield from self._attempt(work, start, middle)
            yield from self._attempt(work, middle, end)


class _Work:
    """All pairs of a run in the order in which they are worked off: by length of span, then by REF window."""

    def __init__(self, engine: Engine, pairs: WindowPairs, needs: frozenset[str]) -> None:
        self._engine, self._needs = engine, needs
        bucket = _bucket(pairs)
        self.order = np.lexsort((distinct(pairs.ref)[0], bucket))
        self._ends = np.flatnonzero(np.diff(bucket[self.order], append=np.inf)) + 1
        self._pairs = pairs = pairs.take(self.order)
        self._columns = columns = align(pairs, engine.flank)
        self._changed = changed = differences(pairs)
        self._ref = self._alt = self._masked = None
        place, beside = np.arange(len(pairs)), None
        if NEEDS_PAIRS in needs or engine.local:
            shifted = np.flatnonzero(~pairs.equal_length)
            windows = np.concatenate([pairs.ref, pairs.ref_right[shifted]])
            index = np.concatenate([columns.ref_index, columns.ref_index[shifted]])
            read = np.concatenate([columns.ref_read & ~columns.right, (columns.ref_read & columns.right)[shifted]])
            self._ref = Passes(windows, np.concatenate([place, shifted]), index, read & (NEEDS_PAIRS in needs))
            self._left_ids = self._ref.ids[: len(pairs)]
            self._right_ids = self._left_ids.copy()
            self._right_ids[shifted] = self._ref.ids[len(pairs) :]
        if engine.local:  # where a changed window's outputs depend on the REF window that they are computed from
            beside = self._left_ids
        if NEEDS_PAIRS in needs:
            self._alt = Passes(pairs.alt, place, columns.alt_index, columns.alt_read, beside)
        if NEEDS_MASKED in needs:
            self._masked = Passes(masked(pairs), place, changed.index, changed.valid, beside)

    def batches(self) -> Iterator[tuple[int, int]]:
        """Cut the order of work into batches, each of one bucket of lengths."""
        start = 0
        for end in self._ends.tolist():
            rows = self._batch_rows(self._columns.needed(np.arange(start, end)))
            for first in range(start, end, rows):
                yield first, min(first + rows, end)
            start = end

    def _batch_rows(self, columns: int) -> int:
        """Return how many rows make a batch, by the memory that it takes: some full calls."""
        if self._engine.local:  # which remembers keys and values of every REF window of the batch
            return 4 * self._windows_per_call
        row = int(3 * 4 * columns * (self._engine.backend.info.hidden_size + T + 1))  # bytes of three passes
        return self._windows_per_call * max(1, _BATCH_BYTES // (row * self._windows_per_call))

    @property
    def _windows_per_call(self) -> int:
        return max(1, self._engine.batch_tokens // int(self._pairs.ref.shape[1] + 2))

    def batch(self, start: int, end: int) -> EngineBatch:
        """Run rows ``start`` to ``end`` of the order.

        Raises:
            BackendError: the model failed.
        """
        rows = np.arange(start, end)
        pairs, columns, changed = self._pairs.take(rows), self._columns.take(rows), self._changed.take(rows)
        ref = alt = site = None
        finite: list[torch.Tensor] = []
        if self._ref:
            self._run_whole(self._ref, np.concatenate([self._left_ids[rows], self._right_ids[rows]]))
        if self._ref and self._alt:
            self._run_changed(self._alt, rows, lambda local: local.radius)
            finite += [self._ref.finite(self._left_ids[rows]), self._ref.finite(self._right_ids[rows])]
            finite += [self._alt.finite(self._alt.ids[rows])]
        equal = np.asarray(changed.valid.any(axis=1))
        if self._masked and equal.any():
            self._run_changed(self._masked, rows[equal], lambda local: local.masked_radius)
            # Rows of other alleles read somebody else's outputs and are never valid.
            masked_ids = np.where(equal, self._masked.ids[rows], self._masked.ids[rows[equal.argmax()]])
            found = self._masked.finite(masked_ids)
            finite += [found | _to(~equal, found.device)]
        every = torch.stack(finite).all(dim=0) if finite else torch.ones(len(rows), dtype=torch.bool)
        if self._ref and self._alt:
            ref, alt = self._sides(self._ref, self._alt, rows, pairs, columns, every)
        if self._masked and equal.any():
            site = self._site(self._masked, masked_ids, changed, every)
        batch = AlignedBatch(
            flank=self._engine.flank,
            ref=ref,
            alt=alt,
            paired=_to(columns.paired, every.device),
            donor=_to(columns.donor, every.device),
            acceptor=_to(columns.acceptor, every.device),
            in_ref=_to(columns.in_ref, every.device),
            in_alt=_to(columns.in_alt, every.device),
            snv=_to((pairs.ref_length == 1) & (pairs.alt_length == 1), every.device),
            masked=site,
        )
        for passes in (self._ref, self._alt, self._masked):
            if passes:
                passes.forget(end)
        return EngineBatch(self.order[rows].tolist(), batch, every, {})

    def _run_whole(self, passes: Passes, ids: Index) -> None:
        """Run what is missing of some windows, whole."""
        remember = self._engine.local is not None and passes is self._ref

        def forward(ids: Index, positions: Index) -> tuple[BackendOutput, Any]:
            tokens, positions = with_special(passes.tokens[ids]), positions + 1  # past [CLS]
            if remember:
                done: tuple[BackendOutput, Any] = self._engine.backend.remember(tokens, positions)
                return done
            return self._engine.backend.forward(tokens, positions), None

        for part in _parts(passes.missing(ids), self._windows_per_call):
            passes.run(part, forward)

    def _run_changed(self, passes: Passes, rows: Index, radius: Callable[[Local], int]) -> None:
        """Run what is missing of the ALT or masked windows of some rows: in local mode around the change alone."""
        ids = passes.missing(passes.ids[rows])
        local = self._engine.local
        if self._ref is None or local is None:
            self._run_whole(passes, ids)
            return
        wanted, ref_ids = passes.wanted(ids), self._left_ids[passes.first[ids]]
        differ = passes.tokens[ids] != self._ref.tokens[ref_ids]
        first = differ.argmax(axis=1)
        length = differ.shape[1] - differ[:, ::-1].argmax(axis=1) - first
        count = count_around(length, wanted, radius(local), _SITE_POSITIONS)
        whole = ~self._pairs.equal_length[passes.first[ids]] | (count == differ.shape[1])
        self._run_whole(passes, ids[whole])
        for k in np.unique(count[~whole]).tolist():
            these = np.flatnonzero(~whole & (count == k))
            index = around(first[these], length[these], wanted[these], k)
            for memory, places, memory_rows in self._ref.remembered(ref_ids[these]):
                for part in _parts(np.arange(len(places)), max(1, self._engine.batch_tokens // (k + 2))):
                    update = partial(self._update, passes, memory, memory_rows[part], index[places[part]])
                    passes.run(ids[these[places[part]]], update)

    def _update(
        self, passes: Passes, memory: Any, rows: Index, index: Index, ids: Index, positions: Index
    ) -> tuple[BackendOutput, Any]:
        """Compute positions ``index``, (M, K), of windows again, and read them at window indices, (M, P)."""
        slot = np.zeros((len(ids), passes.tokens.shape[1]), dtype=np.int64)
        np.put_along_axis(slot, index, np.arange(index.shape[1])[None, :], 1)
        tokens = with_special(np.take_along_axis(passes.tokens[ids], index, 1))
        # Every position reads [CLS] and [SEP], which carry a change farther than its neighbours do.
        index = np.pad(index + 1, ((0, 0), (1, 1)), constant_values=((0, 0), (0, slot.shape[1] + 1)))
        places = np.take_along_axis(slot, positions, 1) + 1
        return self._engine.backend.update(memory, rows, index, tokens, places), None

    def _sides(
        self, ref: Passes, alt: Passes, rows: Index, pairs: WindowPairs, columns: Columns, finite: torch.Tensor
    ) -> tuple[Side, Side]:
        """Lay the outputs of REF, shifted REF and ALT windows out in columns."""
        hidden = NEEDS_HIDDEN in self._needs
        ref_ids = np.where(columns.right, self._right_ids[rows, None], self._left_ids[rows, None])
        alt_ids = np.broadcast_to(alt.ids[rows, None], columns.alt_index.shape)
        ref_tokens = ref.tokens[ref_ids, columns.ref_index]
        alt_tokens = np.take_along_axis(pairs.alt, columns.alt_index, 1)
        sides = []
        for passes, ids, index, tokens in (
            (ref, ref_ids, columns.ref_index, ref_tokens),
            (alt, alt_ids, columns.alt_index, alt_tokens),
        ):
            logits, states = passes.read(ids, index, hidden=hidden)
            states = None if states is None else _where_finite(states, finite)
            sides.append(Side(_to(tokens, logits.device), _where_finite(logits, finite), states))
        return sides[0], sides[1]

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


def _parts(ids: Index, size: int) -> Iterator[Index]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def _to(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def _where_finite(outputs: torch.Tensor, finite: torch.Tensor) -> torch.Tensor:
    """Put 0 for the outputs (B, ...) of rows that are not finite."""
    return outputs.masked_fill_(~finite.view(-1, *[1] * (outputs.dim() - 1)), 0.0)

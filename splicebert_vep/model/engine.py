"""The engine: window pairs in, aligned outputs of the model out, batch by batch to a token budget.

A batch runs every distinct window once: the ALTs of a site share its REF pass and its masked pass, and so do sites of
one tile and genes of one strand. Only the columns that a score reads leave the last layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep.errors import BackendError
from splicebert_vep.sequence.alignment import Columns, Differences, align, differences
from splicebert_vep.sequence.tokens import with_special
from splicebert_vep.sequence.windows import WindowPair
from splicebert_vep_spec import (
    MASK,
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    AlignedBatch,
    Backend,
    BackendOutput,
    MaskedSite,
    Side,
)


@dataclass(frozen=True, slots=True)
class EngineBatch:
    """Outputs for some of the pairs.

    Args:
        rows: B indices into the pairs given to ``run``.
        batch: aligned outputs of these rows, or None when the model failed on all of them.
        failed: reason by index, for rows the model failed on; they are not in ``rows``.
    """

    rows: list[int]
    batch: AlignedBatch | None
    failed: dict[int, str]


class _Passes:
    """Distinct windows of one forward call; every window runs once, read at all positions that anyone asks for."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._row: dict[bytes, int] = {}
        self._tokens: list[NDArray[np.uint8]] = []
        self._wanted: list[NDArray[np.bool_]] = []

    def add(self, tokens: NDArray[np.uint8], index: NDArray[np.int64]) -> int:
        """Return the row of a window (W,), to be read at some window indices."""
        row = self._row.setdefault(tokens.tobytes(), len(self._tokens))
        if row == len(self._tokens):
            self._tokens.append(tokens)
            self._wanted.append(np.zeros(self._width, dtype=np.bool_))
        self._wanted[row][index] = True
        return row

    def run(self, backend: Backend) -> _PassOutput:
        """Run all windows.

        Raises:
            BackendError: the model failed; torch reports out-of-memory and device faults as RuntimeError.
        """
        tokens, wanted = with_special(np.stack(self._tokens)), np.stack(self._wanted)
        count = wanted.sum(axis=1)
        # A window's wanted indices first, in order; what is left fills the row up and is read by nobody.
        positions = np.argsort(~wanted, axis=1, kind="stable")[:, : count.max()]
        slot = np.zeros(wanted.shape, dtype=np.int64)
        np.put_along_axis(slot, positions, np.arange(positions.shape[1])[None, :], 1)
        positions = positions + 1  # past [CLS]
        try:
            out = backend.forward(tokens, positions)
        except RuntimeError as error:
            raise BackendError(_one_line(error)) from error
        finite = torch.isfinite(out.logits).flatten(1).all(dim=1) & torch.isfinite(out.hidden).flatten(1).all(dim=1)
        return _PassOutput(out, slot, finite.cpu().numpy())


@dataclass(frozen=True, slots=True)
class _PassOutput:
    """Outputs of the windows of a call, and where in them a window index is found.

    Args:
        out: logits (N, P, V) and hidden (N, P, H).
        slot: (N, W) place of a window index on the P axis.
        finite: (N,) whether all values of a window are finite.
    """

    out: BackendOutput
    slot: NDArray[np.int64]
    finite: NDArray[np.bool_]

    @property
    def device(self) -> torch.device:
        """Where the outputs lie."""
        device: torch.device = self.out.logits.device
        return device

    def read(self, rows: NDArray[np.int64], index: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits (B, C, V) and hidden (B, C, H) of windows (B,) or (B, C) at window indices (B, C)."""
        rows = np.broadcast_to(rows[:, None] if rows.ndim == 1 else rows, index.shape).copy()
        at = _to(rows, self.device), _to(self.slot[rows, index], self.device)
        return self.out.logits[at], self.out.hidden[at]


class Engine:
    """Run window pairs through a backend.

    Args:
        backend: the model.
        width: W of every pair.
        flank: F.
        batch_tokens: upper bound of tokens in one forward call; one allele is run whatever it takes.
    """

    def __init__(self, backend: Backend, *, width: int, flank: int, batch_tokens: int) -> None:
        self.backend = backend
        self.width = width
        self.flank = flank
        self._passes_per_batch = max(1, batch_tokens // (width + 2))

    def run(self, pairs: Sequence[WindowPair], needs: frozenset[str]) -> Iterator[EngineBatch]:
        """Yield aligned outputs of all pairs, in batches in the given order.

        Args:
            pairs: window pairs of width W.
            needs: what the scorers read; nothing else is computed.
        """
        for start, end in self._batches(pairs, needs):
            yield from self._attempt(pairs, start, end, needs)

    def _batches(self, pairs: Sequence[WindowPair], needs: frozenset[str]) -> Iterator[tuple[int, int]]:
        """Cut the pairs into runs whose distinct windows fill the budget of a forward call."""
        start = 0
        windows: set[bytes] = set()
        for i, pair in enumerate(pairs):
            if NEEDS_PAIRS in needs:
                new = {array.tobytes() for array in (pair.ref, pair.ref_right, pair.alt)}
            else:
                new = {masked(pair).tobytes()}
            if i > start and len(windows | new) > self._passes_per_batch:
                yield start, i
                start, windows = i, set()
            windows |= new
        if start < len(pairs):
            yield start, len(pairs)

    def _attempt(
        self, pairs: Sequence[WindowPair], start: int, end: int, needs: frozenset[str]
    ) -> Iterator[EngineBatch]:
        """Run one batch; when the model fails, halve it until the allele that it fails on stands alone."""
        try:
            yield self._forward(pairs, start, end, needs)
        except BackendError as error:
            if end - start == 1:
                yield EngineBatch([], None, {start: _one_line(error)})
                return
            middle = (start + end) // 2
            yield from self._attempt(pairs, start, middle, needs)
            yield from self._attempt(pairs, middle, end, needs)

    def _forward(self, all_pairs: Sequence[WindowPair], start: int, end: int, needs: frozenset[str]) -> EngineBatch:
        pairs = all_pairs[start:end]
        columns = align(pairs, self.width, self.flank)
        changed = differences(pairs)
        finite = np.ones(len(pairs), dtype=np.bool_)
        ref = alt = masked_site = None
        if NEEDS_PAIRS in needs:
            ref, alt, ok = self._pairs(pairs, columns, needs)
            finite &= ok
        if NEEDS_MASKED in needs and changed.valid.any():
            masked_site, ok = self._masked(pairs, changed)
            finite &= ok
        device = next((side.logits.device for side in (ref, masked_site) if side is not None), torch.device("cpu"))
        batch = AlignedBatch(
            flank=self.flank,
            ref=ref,
            alt=alt,
            paired=_to(columns.paired, device),
            donor=_to(columns.donor, device),
            acceptor=_to(columns.acceptor, device),
            in_ref=_to(columns.in_ref, device),
            in_alt=_to(columns.in_alt, device),
            snv=_to(np.array([p.ref_length == p.alt_length == 1 for p in pairs]), device),
            masked=masked_site,
        )
        bad = np.flatnonzero(~finite).tolist()
        failed = {start + i: "the model returned values that are not finite" for i in bad}
        if failed:
            batch = _select(batch, _to(np.flatnonzero(finite), device))
        good = np.flatnonzero(finite).tolist()
        return EngineBatch([start + i for i in good], batch if good else None, failed)

    def _pairs(
        self, pairs: Sequence[WindowPair], columns: Columns, needs: frozenset[str]
    ) -> tuple[Side, Side, NDArray[np.bool_]]:
        """Run REF, shifted REF and ALT windows and lay their outputs out in columns."""
        passes = _Passes(self.width)
        left, right = columns.ref_read & ~columns.right, columns.ref_read & columns.right
        ref_row = np.array([passes.add(p.ref, columns.ref_index[i, left[i]]) for i, p in enumerate(pairs)])
        right_row = np.array([passes.add(p.ref_right, columns.ref_index[i, right[i]]) for i, p in enumerate(pairs)])
        alt_row = np.array([passes.add(p.alt, columns.alt_index[i, columns.alt_read[i]]) for i, p in enumerate(pairs)])
        done = passes.run(self.backend)
        rows = np.where(columns.right, right_row[:, None], ref_row[:, None])
        ref_tokens = np.where(
            columns.right,
            np.take_along_axis(np.stack([p.ref_right for p in pairs]), columns.ref_index, 1),
            np.take_along_axis(np.stack([p.ref for p in pairs]), columns.ref_index, 1),
        )
        alt_tokens = np.take_along_axis(np.stack([p.alt for p in pairs]), columns.alt_index, 1)
        ref = _side(ref_tokens, done, rows, columns.ref_index, needs)
        alt = _side(alt_tokens, done, alt_row, columns.alt_index, needs)
        return ref, alt, done.finite[ref_row] & done.finite[right_row] & done.finite[alt_row]

    def _masked(self, pairs: Sequence[WindowPair], changed: Differences) -> tuple[MaskedSite, NDArray[np.bool_]]:
        """Run the REF window of every equal-length allele with its differing positions masked together."""
        passes = _Passes(self.width)
        equal = np.flatnonzero(changed.valid.any(axis=1))
        rows = np.zeros(len(pairs), dtype=np.int64)  # rows of other alleles read pass 0 and are never valid
        for i in equal.tolist():
            rows[i] = passes.add(masked(pairs[i]), changed.index[i, changed.valid[i]])
        done = passes.run(self.backend)
        logits, _ = done.read(rows, changed.index)
        site = MaskedSite(
            ref=_to(changed.ref, done.device),
            alt=_to(changed.alt, done.device),
            logits=logits,
            valid=_to(changed.valid, done.device),
        )
        ok = np.ones(len(pairs), dtype=np.bool_)
        ok[equal] = done.finite[rows[equal]]
        return site, ok


def _side(
    tokens: NDArray[np.uint8],
    done: _PassOutput,
    rows: NDArray[np.int64],
    index: NDArray[np.int64],
    needs: frozenset[str],
) -> Side:
    logits, hidden = done.read(rows, index)
    return Side(_to(tokens, done.device), logits, hidden if NEEDS_HIDDEN in needs else None)


def masked(pair: WindowPair) -> NDArray[np.uint8]:
    """Return the REF window (W,) of an equal-length allele with its differing positions masked."""
    return np.where(pair.ref != pair.alt, np.uint8(MASK), pair.ref) if pair.ref_length == pair.alt_length else pair.ref


def _to(array: NDArray[np.generic], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(array).to(device)


def _select(batch: AlignedBatch, keep: torch.Tensor) -> AlignedBatch:
    def side(value: Side | None) -> Side | None:
        if value is None:
            return None
        return Side(value.tokens[keep], value.logits[keep], None if value.hidden is None else value.hidden[keep])

    masked = batch.masked
    return AlignedBatch(
        flank=batch.flank,
        ref=side(batch.ref),
        alt=side(batch.alt),
        paired=batch.paired[keep],
        donor=batch.donor[keep],
        acceptor=batch.acceptor[keep],
        in_ref=batch.in_ref[keep],
        in_alt=batch.in_alt[keep],
        snv=batch.snv[keep],
        masked=None
        if masked is None
        else MaskedSite(masked.ref[keep], masked.alt[keep], masked.logits[keep], masked.valid[keep]),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

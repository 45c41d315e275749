"""The engine: window pairs in, aligned outputs of the model out, batch by batch to a token budget.

A batch runs every distinct window once: the ALTs of a site share its REF pass and its masked pass. Only the columns
that a score reads leave the last layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from splicebert_vep.errors import BackendError, PluginError
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
    """Distinct (window, positions) rows of one forward call."""

    def __init__(self) -> None:
        self.tokens: list[NDArray[np.uint8]] = []
        self.positions: list[NDArray[np.int64]] = []
        self._row: dict[tuple[bytes, bytes], int] = {}

    def add(self, tokens: NDArray[np.uint8], positions: NDArray[np.int64]) -> int:
        """Return the row of a window (W,) read at window indices (P,), adding it when it is new."""
        key = (tokens.tobytes(), positions.tobytes())
        row = self._row.get(key)
        if row is None:
            row = self._row[key] = len(self.tokens)
            self.tokens.append(tokens)
            self.positions.append(positions)
        return row

    def run(self, backend: Backend) -> BackendOutput:
        """Run all rows; positions become token positions, past [CLS].

        Raises:
            BackendError: the model failed; torch reports out-of-memory and device faults as RuntimeError.
            PluginError: the backend returned arrays of another shape than the contract's.
        """
        tokens, positions = with_special(np.stack(self.tokens)), np.stack(self.positions) + 1
        try:
            out = backend.forward(tokens, positions)
        except RuntimeError as error:
            raise BackendError(_one_line(error)) from error
        if out.logits.shape[:2] != positions.shape or out.hidden.shape[:2] != positions.shape:
            raise PluginError(
                "A backend returned outputs of the wrong shape.",
                needed=f"logits and hidden of {positions.shape} x ...",
                found=f"{tuple(out.logits.shape)} and {tuple(out.hidden.shape)}",
                where=f"backend of model {backend.info.model}",
            )
        return out


class Engine:
    """Run window pairs through a backend.

    Args:
        backend: the model.
        width: W of every pair.
        flank: F.
        batch_tokens: upper bound of tokens in one forward call; one allele is run whatever it takes.
        needs: what the scorers read; nothing else is computed.
    """

    def __init__(self, backend: Backend, *, width: int, flank: int, batch_tokens: int, needs: frozenset[str]) -> None:
        self.backend = backend
        self.width = width
        self.flank = flank
        self.needs = needs
        self._passes_per_batch = max(1, batch_tokens // (width + 2))

    def run(self, pairs: Sequence[WindowPair]) -> Iterator[EngineBatch]:
        """Yield aligned outputs of all pairs, in batches in the given order."""
        for start, end in self._batches(pairs):
            yield from self._attempt(pairs, start, end)

    def _batches(self, pairs: Sequence[WindowPair]) -> Iterator[tuple[int, int]]:
        """Cut the pairs into runs whose distinct windows fill the budget."""
        start = 0
        windows: set[bytes] = set()
        for i, pair in enumerate(pairs):
            new = {array.tobytes() for array in (pair.ref, pair.ref_right, pair.alt)}
            if i > start and len(windows | new) > self._passes_per_batch:
                yield start, i
                start, windows = i, set()
            windows |= new
        if start < len(pairs):
            yield start, len(pairs)

    def _attempt(self, pairs: Sequence[WindowPair], start: int, end: int) -> Iterator[EngineBatch]:
        """Run one batch; when the model fails, halve it until the allele that it fails on stands alone."""
        try:
            yield self._forward(pairs, start, end)
        except BackendError as error:
            if end - start == 1:
                yield EngineBatch([], None, {start: _one_line(error)})
                return
            middle = (start + end) // 2
            yield from self._attempt(pairs, start, middle)
            yield from self._attempt(pairs, middle, end)

    def _forward(self, all_pairs: Sequence[WindowPair], start: int, end: int) -> EngineBatch:
        pairs = all_pairs[start:end]
        columns = align(pairs, self.width, self.flank)
        changed = differences(pairs)
        finite = np.ones(len(pairs), dtype=np.bool_)
        ref = alt = masked = None
        if NEEDS_PAIRS in self.needs:
            ref, alt, ok = self._pairs(pairs, columns)
            finite &= ok
        if NEEDS_MASKED in self.needs and changed.valid.any():
            masked, ok = self._masked(pairs, changed)
            finite &= ok
        device = next((side.logits.device for side in (ref, masked) if side is not None), torch.device("cpu"))
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
            masked=masked,
        )
        bad = np.flatnonzero(~finite).tolist()
        failed = {start + i: "the model returned values that are not finite" for i in bad}
        if failed:
            batch = _select(batch, _to(np.flatnonzero(finite), device))
        good = np.flatnonzero(finite).tolist()
        return EngineBatch([start + i for i in good], batch if good else None, failed)

    def _pairs(self, pairs: Sequence[WindowPair], columns: Columns) -> tuple[Side, Side, NDArray[np.bool_]]:
        """Run REF, shifted REF and ALT windows and lay their outputs out in columns."""
        passes = _Passes()
        left = np.where(columns.right, 0, columns.ref_index)
        right = np.where(columns.right, columns.ref_index, 0)
        ref_row = np.array([passes.add(p.ref, left[i]) for i, p in enumerate(pairs)])
        right_row = np.array(
            [passes.add(p.ref_right, right[i]) if columns.right[i].any() else ref_row[i] for i, p in enumerate(pairs)]
        )
        alt_row = np.array([passes.add(p.alt, columns.alt_index[i]) for i, p in enumerate(pairs)])
        out = passes.run(self.backend)
        device = out.logits.device
        use_right = _to(columns.right, device)

        def from_ref(values: torch.Tensor) -> torch.Tensor:
            here = values[_to(ref_row, device)]
            if not columns.right.any():
                return here
            return torch.where(use_right[..., None], values[_to(right_row, device)], here)

        def tokens_of(arrays: Sequence[NDArray[np.uint8]], index: NDArray[np.int64]) -> torch.Tensor:
            return _to(np.take_along_axis(np.stack(arrays), index, 1), device)

        ref_tokens = tokens_of([p.ref for p in pairs], left)
        right_tokens = tokens_of([p.ref_right for p in pairs], right)
        hidden = out.hidden if NEEDS_HIDDEN in self.needs else None
        ref = Side(
            torch.where(use_right, right_tokens, ref_tokens),
            from_ref(out.logits),
            None if hidden is None else from_ref(hidden),
        )
        to_alt = _to(alt_row, device)
        alt_tokens = tokens_of([p.alt for p in pairs], columns.alt_index)
        alt = Side(alt_tokens, out.logits[to_alt], None if hidden is None else hidden[to_alt])
        finite = torch.isfinite(out.logits).flatten(1).all(dim=1).cpu().numpy()
        return ref, alt, finite[ref_row] & finite[right_row] & finite[alt_row]

    def _masked(self, pairs: Sequence[WindowPair], changed: Differences) -> tuple[MaskedSite, NDArray[np.bool_]]:
        """Run the REF window of every equal-length allele with its differing positions masked together."""
        passes = _Passes()
        equal = np.flatnonzero(changed.valid.any(axis=1))
        rows = np.zeros(len(pairs), dtype=np.int64)  # rows of other alleles read pass 0 and are never valid
        for i in equal.tolist():
            tokens = pairs[i].ref.copy()
            tokens[changed.index[i][changed.valid[i]]] = MASK
            rows[i] = passes.add(tokens, changed.index[i])
        out = passes.run(self.backend)
        device = out.logits.device
        finite = torch.isfinite(out.logits).flatten(1).all(dim=1).cpu().numpy()
        ok = np.ones(len(pairs), dtype=np.bool_)
        ok[equal] = finite[rows[equal]]
        site = MaskedSite(
            ref=_to(changed.ref, device),
            alt=_to(changed.alt, device),
            logits=out.logits[_to(rows, device)],
            valid=_to(changed.valid, device),
        )
        return site, ok


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

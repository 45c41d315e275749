"""Passes: distinct windows of one kind (REF, ALT or masked), run at most once, and where their outputs are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from splicebert_vep.errors import BackendError
from splicebert_vep.sequence.tokens import Tokens
from splicebert_vep.sequence.windows import Index, Mask
from splicebert_vep_spec import BackendOutput

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

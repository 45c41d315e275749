"""Bring scores to the host without stopping the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch


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

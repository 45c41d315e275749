"""What a model says of every labelled nucleotide, read from the middle of windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.sequence.stitching import stitch
from splicebert_vep.sequence.tokens import Tokens, with_special

from .labelled import Labelled, Labels

Floats = NDArray[np.float32]
Answer = Callable[[Tokens, NDArray[np.int64]], NDArray[np.floating]]
"""Run windows (N, W + 2) and answer at token positions (N, P): (N, P, K)."""


def answers(
    model: Answer,
    labelled: Labelled,
    *,
    width: int,
    batch: int = 16,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[Floats, Labels]:
    """Return the answers (n, K) and labels (n,) of all stretches without their margins, in order.

    Every nucleotide is read from a window of W in whose middle W / 2 it lies.

    Args:
        width: W.
        batch: windows in one call.
        progress: told how many nucleotides are done, and of how many.
    """
    values: list[Floats] = []
    total = len(labelled.bases) - 2 * labelled.margin * len(labelled.stretches)
    done = 0
    for starts, places, kept in _batches(labelled, width, batch):
        windows = labelled.bases[starts[:, None] + np.arange(width)]
        found = np.asarray(model(with_special(windows), places + 1), dtype=np.float32)  # after [CLS]
        values += [row[:count] for row, count in zip(found, kept, strict=True)]
        done += sum(kept)
        progress(done, total)
    spans = zip(labelled.offsets[:-1].tolist(), labelled.offsets[1:].tolist(), strict=True)
    inside = [labelled.labels[start + labelled.margin : end - labelled.margin] for start, end in spans]
    return np.concatenate(values), np.concatenate(inside)


def _batches(
    labelled: Labelled, width: int, batch: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], list[int]]]:
    """Yield starts of windows on the axis, (N,), the window indices to read, (N, P), and how many of these count."""
    keep, margin = max(1, width // 2), labelled.margin
    waiting = []
    spans = list(zip(labelled.offsets[:-1].tolist(), labelled.offsets[1:].tolist(), strict=True))
    for number, (start, end) in enumerate(spans):
        length = end - start
        waiting += [
            (start + kept.window, kept.start - kept.window, kept.end - kept.start)
            for kept in stitch(margin, length - margin, length, width=width, keep=keep)
        ]
        while len(waiting) >= batch or waiting and number == len(spans) - 1:
            now, waiting = waiting[:batch], waiting[batch:]
            longest = max(count for _, _, count in now)
            first = np.array([[at] for _, at, _ in now])
            places = np.minimum(first + np.arange(longest), width - 1)
            yield np.array([window for window, _, _ in now]), places, [count for _, _, count in now]

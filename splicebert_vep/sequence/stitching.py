"""Stitching: which window each nucleotide of a long region is read from.

A model sees W nucleotides at once and knows little of what lies beside a nucleotide at a window's edge. So the region
is cut, from its 5' end, into blocks of ``keep`` nucleotides (the last may be shorter); each block is read from a window
of its own in whose middle it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Kept(NamedTuple):
    """A window and the part of it that is kept; 0-based half-open on the strand, 5' to 3'."""

    window: int  # where it starts
    start: int
    end: int


def stitch(start: int, end: int, length: int, *, width: int, keep: int) -> Iterator[Kept]:
    """Yield the windows of a region in order; their kept parts are the region, each nucleotide once.

    ``(width - block) // 2`` nucleotides precede a block. A window that would reach beyond an end of the sequence is
    moved until it fits; blocks that come to lie in the same window are one.

    Args:
        start, end: the region, 0-based half-open, not empty.
        length: of the sequence that it lies on, at least ``width``.
        width: W.
        keep: longest block, from 1 to W.
    """
    last: Kept | None = None
    for first in range(start, end, keep):
        block = min(keep, end - first)
        window = min(max(first - (width - block) // 2, 0), length - width)
        if last and last.window == window:
            last = Kept(window, last.start, first + block)
            continue
        if last:
            yield last
        last = Kept(window, first, first + block)
    if last:
        yield last

"""The stretches of a region that are hidden one at a time, and what can be said of an oligo from its letters alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from splicebert_vep.errors import SettingsError
from splicebert_vep.sequence.windows import Index

SHORTEST, LONGEST = 15, 30  # nt of an oligo
LOOP = 3  # nt: a hairpin has at least so many between its stems
_COMPLEMENT = str.maketrans("ACGT", "TGCA")
_Find = Callable[[int, int, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """T stretches of a region, by length and then 5' to 3' of the transcript.

    Args:
        first: (T,) nt of the region that lie 5' of the stretch.
        length: (T,) nt.
    """

    first: Index
    length: Index

    def __len__(self) -> int:
        return len(self.first)


def lay_tiles(region: int, lengths: tuple[int, int], step: int) -> Tiles:
    """Return the stretches of a region of so many nt.

    Args:
        lengths: the shortest and the longest, nt.
        step: nt between the starts of neighbours of one length.

    Raises:
        SettingsError: lengths outside 15 to 30 nt, a step below 1, or a region shorter than the shortest.
    """
    low, high = lengths
    if not SHORTEST <= low <= high <= LONGEST or step < 1:
        raise SettingsError(
            "Oligos of such lengths or steps are not tiled.",
            needed=f"lengths from {SHORTEST} to {LONGEST} nt, the shorter first; a step of 1 nt or more",
            found=f"{low}-{high} nt in steps of {step}",
        )
    if region < low:
        raise SettingsError("The region is shorter than an oligo.", needed=f"at least {low} nt", found=f"{region} nt")
    starts = [np.arange(0, region - length + 1, step, dtype=np.int64) for length in range(low, high + 1)]
    counts = [len(one) for one in starts]
    return Tiles(np.concatenate(starts), np.repeat(np.arange(low, high + 1, dtype=np.int64), counts))


def complement(bases: str) -> str:
    """Return the other strand of A, C, G, T, read 5' to 3'."""
    return bases[::-1].translate(_COMPLEMENT)


def gc_content(bases: str) -> float:
    """Return the share of G and C."""
    return (bases.count("G") + bases.count("C")) / len(bases)


def self_complementarity(bases: str) -> int:
    """Return the length of the longest stretch whose reverse complement is also in the sequence.

    There two copies of the sequence can pair without a gap. Watson-Crick pairs only.
    """
    return _longest(bases, lambda at, length, other: bases.find(other))


def longest_stem(bases: str) -> int:
    """Return the length of the longest hairpin stem: two stretches that pair, with a loop of at least 3 nt between."""
    return _longest(bases, lambda at, length, other: bases.find(other, at + length + LOOP))


def _longest(bases: str, find: _Find) -> int:
    """Return the largest length of a stretch that ``find`` finds a partner of.

    Where a stretch of some length has a partner, one of every smaller length has, so that the first failure is the end.
    """
    for length in range(1, len(bases) + 1):
        stretches = (bases[at : at + length] for at in range(len(bases) - length + 1))
        if all(find(at, length, complement(one)) < 0 for at, one in enumerate(stretches)):
            return length - 1
    return len(bases)

"""REF against ALT, position by position: the largest gain and loss of a splice site near an allele.

The definition is that of SpliceAI's delta scores (Jaganathan et al. 2019, 10.1016/j.cell.2018.12.015). Positions are
absolute in this model, so REF is read where it has the token indices of ALT, as all scores of this program do.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.sequence.alleles import written_pos
from splicebert_vep.sequence.windows import Index, Mask
from splicebert_vep_spec import Allele

Probabilities = NDArray[np.float64]

#: The four events, and the kind of site that each is of.
EVENTS = {"AG": "acceptor", "AL": "acceptor", "DG": "donor", "DL": "donor"}
#: Columns of a comparison.
KINDS = ("acceptor", "donor")


@dataclass(frozen=True, slots=True)
class Places:
    """Where REF and ALT are read for the 2 D + 1 positions around POS, by genomic position.

    Args:
        position: (2D+1,) genomic, 0-based.
        index: (2D+1,) window index, 0..W-1, of REF, and of ALT where the base is not deleted.
        right: (2D+1,) REF is read from the shifted REF window.
        deleted: (2D+1,) ALT has no such base.
        inserted: window indices of ALT's bases that have no place in REF; none for alleles of equal length.
        anchor: which of the positions is the base before the span, that the inserted bases are counted with.
    """

    position: Index
    index: Index
    right: Mask
    deleted: Mask
    inserted: Index
    anchor: int


@dataclass(frozen=True, slots=True)
class Extreme:
    """The largest gain or loss: its size, 0 where there is none, and nt from POS towards larger coordinates."""

    score: float
    offset: int


def places_of(allele: Allele, start: int, width: int, distance: int, *, minus: bool) -> Places:
    """Say where to read the positions POS - D to POS + D of an allele whose windows of W bases start at ``start``.

    Args:
        minus: the gene is on the reverse strand, and its windows are turned.
    """
    pos = written_pos(allele) - 1
    position = np.arange(pos - distance, pos + distance + 1, dtype=np.int64)
    changes_length = allele.shift != 0
    right = changes_length & (position >= allele.end)
    deleted = changes_length & (position >= allele.start) & (position < allele.end)
    index = position - start - np.where(right, allele.shift, 0)
    inserted = allele.start - start + np.arange(len(allele.alt) if changes_length else 0, dtype=np.int64)
    if minus:
        index, inserted = width - 1 - index, width - 1 - inserted
    return Places(position, index, right, deleted, inserted, allele.start - 1 - pos + distance)


def gains(places: Places, ref: Probabilities, ref_right: Probabilities, alt: Probabilities) -> Probabilities:
    """Return p in ALT minus p in REF of acceptor and donor at every position, (2D+1, 2).

    Args:
        ref, ref_right, alt: (W, 2) p(acceptor) and p(donor) along each window, transcript orientation.
    """
    before = np.where(places.right[:, None], ref_right[places.index], ref[places.index])
    after = np.where(places.deleted[:, None], 0.0, alt[places.index])
    if len(places.inserted):
        after[places.anchor] = np.maximum(after[places.anchor], alt[places.inserted].max(axis=0))
    found: Probabilities = after - before
    return found


def extremes(places: Places, change: Probabilities, annotated: Mapping[str, Set[int]] | None) -> dict[str, Extreme]:
    """Return the largest gain and loss of either kind of site, by event; of equal ones the smallest coordinate's.

    Args:
        change: of ``gains``.
        annotated: positions of annotated sites by kind. Where one is given, the largest gain counts 0 if it is at such
            a site, and the largest loss if it is not; None is unmasked.
    """
    middle = len(places.position) // 2
    found = {}
    for event, kind in EVENTS.items():
        gain = event.endswith("G")
        sizes = change[:, KINDS.index(kind)] * (1 if gain else -1)
        at = int(sizes.argmax())
        at_site = annotated is not None and int(places.position[at]) in annotated[kind]
        hidden = annotated is not None and at_site == gain
        found[event] = Extreme(0.0 if hidden else max(0.0, float(sizes[at])), at - middle)
    return found

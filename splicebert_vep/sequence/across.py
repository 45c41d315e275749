"""Every base of the windows of one allele, REF beside ALT: what a picture shows, where a score reads the flanks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splicebert_vep_spec import Allele

from .windows import Index, Mask


@dataclass(frozen=True, slots=True)
class Across:
    """P columns, 5' to 3' of the transcript: the pairs before the span, the span, the pairs after it.

    Pairs are those of ``alignment``. The bases of a span that changes length have no counterpart; REF's and ALT's
    share columns only to save room.

    Args:
        index: (P,) window index, 0..W-1, on either side.
        right: (P,) the REF side is read from the shifted REF window.
        position: (P,) genomic position of the REF base; read it where ``in_ref``.
        offset: (P,) nt from the span in transcript direction: -1 the last base 5' of it, +1 the first 3', 0 within.
        in_ref, in_alt: (P,) that side has a base.
        paired: (P,) both have, and they are each other's counterpart.
    """

    index: Index
    right: Mask
    position: Index
    offset: Index
    in_ref: Mask
    in_alt: Mask
    paired: Mask


def across(allele: Allele, start: int, width: int, *, minus: bool) -> Across:
    """Lay out the columns of an allele whose windows of W bases start at ``start``.

    Args:
        minus: the gene is on the reverse strand, and its windows are turned.
    """
    span, ref_length, alt_length = allele.start - start, len(allele.ref), len(allele.alt)
    before = np.arange(span, dtype=np.int64)
    within = span + np.arange(max(ref_length, alt_length), dtype=np.int64)
    after = np.arange(span + alt_length, width, dtype=np.int64)
    index = np.concatenate([before, within, after])
    in_span = np.repeat([False, True, False], [len(before), len(within), len(after)])
    right = np.repeat([False, False, True], [len(before), len(within), len(after)])
    in_ref = ~in_span | (index < span + ref_length)
    in_alt = ~in_span | (index < span + alt_length)
    position = start + index + np.where(right, allele.shift, 0)
    offset = np.concatenate([before - span, np.zeros_like(within), after - span - alt_length + 1])
    paired = ~in_span | (allele.shift == 0)
    if minus:
        index, offset = width - 1 - index, -offset
    turn = slice(None, None, -1 if minus else 1)
    return Across(
        index=index[turn],
        right=right[turn] & (allele.shift != 0),
        position=position[turn],
        offset=offset[turn],
        in_ref=in_ref[turn],
        in_alt=in_alt[turn],
        paired=paired[turn],
    )

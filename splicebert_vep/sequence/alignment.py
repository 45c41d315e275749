"""Pair the tokens of REF and ALT.

Positions are absolute in this model, so a base that moved to another token index differs for that reason alone. For
a length change the genomic left flank is therefore compared with the REF window of the same start and the genomic
right flank with a REF window shifted so that the flank has the same token indices as in ALT.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from .windows import Index, Mask, WindowPairs

_OTHER_WAY = [1, 0, 3, 2]  # two nt of the donor and two of the acceptor, each in turn


@dataclass(frozen=True, slots=True)
class Columns:
    """The aligned columns of a batch, in transcript orientation; P = 2 F + 4 + longest span of the batch.

    The first F columns are the flank 5' of the span, the next F the flank 3' of it, both nearest first; then
    donor nt 1 and 2, acceptor nt 1 and 2 and the bases of the span, each of these 5' to 3', the span from the left on.

    Args:
        ref_index, alt_index: (B, P) window indices, 0..W-1; 0 where the column is empty on that side.
        ref_read, alt_read: (B, P) the column is not empty on that side.
        right: (B, P) the REF side is read from the shifted REF window.
        paired: (B, P) both sides hold a base and the bases are each other's counterpart.
        donor, acceptor: (B, P) paired nucleotides of that site.
        in_ref, in_alt: (B, P) base of flank or span on that side, each once.
    """

    ref_index: Index
    alt_index: Index
    ref_read: Mask
    alt_read: Mask
    right: Mask
    paired: Mask
    donor: Mask
    acceptor: Mask
    in_ref: Mask
    in_alt: Mask

    def take(self, rows: Index) -> Columns:
        """Return some of the rows, without span columns that none of them needs."""
        last = self.needed(rows)
        return Columns(*(getattr(self, field.name)[rows, :last] for field in fields(self)))

    def needed(self, rows: Index) -> int:
        """Return how many columns hold all that some of the rows read."""
        read = self.ref_read[rows] | self.alt_read[rows]
        return int(read.shape[1] - read[:, ::-1].any(axis=0).argmax())


def align(pairs: WindowPairs, flank: int) -> Columns:
    """Lay out the columns of a batch of window pairs.

    Args:
        pairs: B window pairs of width W with at least F bases on both sides of the span.
        flank: F.
    """
    width = pairs.ref.shape[1]
    offset, ref_length, alt_length = (x[:, None] for x in (pairs.offset, pairs.ref_length, pairs.alt_length))  # (B, 1)
    shift = ref_length - alt_length
    minus = pairs.minus[:, None]
    has_site = np.where(minus, pairs.has_site[:, _OTHER_WAY], pairs.has_site)  # of the genome's order made the
    site = np.where(minus, pairs.sites[:, _OTHER_WAY], pairs.sites)  # transcript's

    distance = np.arange(1, flank + 1, dtype=np.int64)[None, :]  # (1, F)
    left = offset - distance  # genomic left flank: same indices on both sides
    right = offset + alt_length - 1 + distance  # genomic right flank: ALT's indices; REF is read shifted

    site_left = site < offset
    site_right = site >= offset + ref_length
    site_index = np.where(site_right, site - shift, site)
    inside = ~site_left & ~site_right
    site_paired = has_site & (site_index >= 0) & (site_index < width) & (~inside | (shift == 0))

    longest = int(np.maximum(ref_length, alt_length).max())
    step = np.arange(longest, dtype=np.int64)[None, :]  # (1, S)
    span_ref = step < ref_length
    span_alt = step < alt_length
    span_ref_index = offset + np.where(minus, ref_length - 1 - step, step)
    span_alt_index = offset + np.where(minus, alt_length - 1 - step, step)

    five, three = np.where(minus, right, left), np.where(minus, left, right)
    yes = np.ones((len(pairs), flank), dtype=np.bool_)
    no_site = np.zeros_like(site_paired)
    no_span = np.zeros_like(span_ref)
    shifted = shift != 0

    def columns(flank_5: Mask, flank_3: Mask, sites: Mask, span: Mask) -> Mask:
        return np.concatenate([flank_5, flank_3, sites, span], axis=1)

    in_ref = columns(yes, yes, no_site, span_ref)
    in_alt = columns(yes, yes, no_site, span_alt)
    no_flank = ~yes
    donor_side = np.array([[True, True, False, False]])
    ref_read = in_ref | columns(no_flank, no_flank, site_paired, no_span)
    alt_read = in_alt | columns(no_flank, no_flank, site_paired, no_span)

    def indices(span_index: Index, read: Mask) -> Index:
        index = np.concatenate([five, three, site_index, span_index], axis=1)
        return np.where(read, np.where(minus, width - 1 - index, index), 0)

    return Columns(
        ref_index=indices(span_ref_index, ref_read),
        alt_index=indices(span_alt_index, alt_read),
        ref_read=ref_read,
        alt_read=alt_read,
        right=columns(yes & minus & shifted, yes & ~minus & shifted, site_right & shifted & site_paired, no_span),
        paired=columns(yes, yes, site_paired, span_ref & span_alt & ~shifted),
        donor=columns(no_flank, no_flank, site_paired & donor_side, no_span),
        acceptor=columns(no_flank, no_flank, site_paired & ~donor_side, no_span),
        in_ref=in_ref,
        in_alt=in_alt,
    )


@dataclass(frozen=True, slots=True)
class Differences:
    """Differing positions of equal-length alleles, in transcript orientation; M = most of any row, at least 1.

    Args:
        index: (B, M) window index; 0 where not valid.
        ref, alt: (B, M) tokens.
        valid: (B, M); rows of alleles that change length have none.
    """

    index: Index
    ref: NDArray[np.uint8]
    alt: NDArray[np.uint8]
    valid: Mask

    def take(self, rows: Index) -> Differences:
        """Return some of the rows, without columns that none of them needs."""
        most = max(1, int(self.valid[rows].sum(axis=1).max()))
        return Differences(*(getattr(self, field.name)[rows, :most] for field in fields(self)))


def differences(pairs: WindowPairs) -> Differences:
    """Find the positions that a masked-marginal score masks together (Meier et al. 2021, 10.1101/2021.07.09.450648)."""
    differ = (pairs.ref != pairs.alt) & pairs.equal_length[:, None]
    row, at = np.nonzero(differ)
    count = differ.sum(axis=1)
    index = np.zeros((len(pairs), max(1, int(count.max()))), dtype=np.int64)
    valid = np.arange(index.shape[1]) < count[:, None]
    index[valid] = at  # rows in order, and within a row from the left on
    return Differences(index, np.take_along_axis(pairs.ref, index, 1), np.take_along_axis(pairs.alt, index, 1), valid)

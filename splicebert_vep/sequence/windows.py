"""Windows: which stretch of the genome stands around an allele, and its REF and ALT tokens.

Many alleles at a time, as arrays with one row each. Everything here is on the forward genomic strand, 0-based
half-open; ``WindowPairs`` turn to transcript orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import Allele, GeneContext, Interval, N, Skipped, Status

from .tokens import Tokens, encode, reverse_complement

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class WindowShape:
    """Width and flank of windows.

    Args:
        width: W, nucleotides in a window.
        flank: F, aligned pairs on each side of the span that a score reads.
    """

    width: int = 510
    flank: int = 100

    @property
    def longest_span(self) -> int:
        """Longest REF or ALT span that leaves F on both sides."""
        return self.width - 2 * self.flank


@dataclass(frozen=True, slots=True)
class Placements:
    """Where the windows of n alleles start.

    Args:
        start: (n,) genomic start of the REF (and ALT) window; -1 where none fits.
        fits: (n,) whether a window fits on the contig at all.
    """

    start: Index
    fits: Mask


@dataclass(frozen=True, slots=True)
class Windows:
    """Tokens of the windows of n alleles on the forward strand.

    Args:
        start: (n,) genomic start of the REF (and ALT) window.
        offset: (n,) span start within the window.
        ref_length, alt_length: (n,) lengths of the spans.
        ref: (n, W) REF window from ``start``.
        ref_right: (n, W) REF window from ``start + allele.shift``: there the genomic right flank has the token indices
            it has in ALT. Equal to ``ref`` for equal-length alleles.
        alt: (n, W) ALT window from ``start``.
        n_frac: (n,) share of ``ref`` that is not A, C, G or T.
        clean: (n,) every base within F of the span is A, C, G or T.
    """

    start: Index
    offset: Index
    ref_length: Index
    alt_length: Index
    ref: Tokens
    ref_right: Tokens
    alt: Tokens
    n_frac: NDArray[np.float64]
    clean: Mask


@dataclass(frozen=True, slots=True)
class WindowPairs:
    """B alleles x genes, ready for the model: windows in transcript orientation, geometry on the genome.

    Args:
        ref, ref_right, alt: (B, W) tokens, reverse-complemented for genes on ``-``.
        minus: (B,) whether they are.
        offset: (B,) span start within the forward-strand window.
        ref_length, alt_length: (B,) lengths of the spans.
        sites: (B, 4) donor nt 1, donor nt 2, acceptor nt 1, acceptor nt 2 as offsets from the window's genomic start,
            in REF coordinates; they may lie outside the window.
        has_site: (B, 4) whether the nearest exon has such a site.
    """

    ref: Tokens
    ref_right: Tokens
    alt: Tokens
    minus: Mask
    offset: Index
    ref_length: Index
    alt_length: Index
    sites: Index
    has_site: Mask

    def __len__(self) -> int:
        return len(self.offset)

    @property
    def equal_length(self) -> Mask:
        """Return which alleles, (B,), replace bases by as many: SNV and MNV."""
        equal: Mask = self.ref_length == self.alt_length
        return equal

    def take(self, rows: Index) -> WindowPairs:
        """Return some of the rows, in the order given."""
        return WindowPairs(*(getattr(self, field.name)[rows] for field in fields(self)))


def check_length(longest: int, shape: WindowShape) -> Skipped | None:
    """Tell that a span, whose longer side has so many nt, leaves no room for the flanks, or None when it does."""
    if longest <= shape.longest_span:
        return None
    return Skipped(
        Status.TOO_LONG,
        f"span of {longest} nt; at most {shape.longest_span} fit a window of {shape.width} with flank {shape.flank}",
    )


def place(alleles: Sequence[Allele], contig_lengths: Sequence[int], shape: WindowShape) -> Placements:
    """Choose where the windows of n alleles start.

    ``(W - max(len ref, len alt)) // 2`` genomic bases precede the span, moved at a contig end until REF,
    ALT and the shifted REF window lie on the contig with F bases on both sides of the span.
    """
    start, ref_length, alt_length = _geometry(alleles)
    contig = np.array(contig_lengths, dtype=np.int64)
    end, shift, longest = start + ref_length, ref_length - alt_length, np.maximum(ref_length, alt_length)
    # On the right the flank is read from ALT and from the shifted REF window, which both hold len(alt) bases before it.
    right = start + alt_length + shape.flank - shape.width
    low = np.maximum.reduce([np.zeros_like(start), -shift, end - shape.width, right])
    high = np.minimum(contig - shape.width - np.maximum(0, shift), start - shape.flank)
    fits = (low <= high) & (end + shape.flank <= contig)
    placed = np.minimum(np.maximum(start - (shape.width - longest) // 2, low), high)
    return Placements(np.where(fits, placed, -1), fits)


def no_room(allele: Allele, contig_length: int, shape: WindowShape) -> Skipped:
    """Say that no window fits."""
    return Skipped(
        Status.N_CONTEXT,
        f"no window of {shape.width} nt with {shape.flank} nt on both sides fits on {allele.contig} "
        f"({contig_length} nt) at {allele.start + 1}",
    )


def not_clean(shape: WindowShape) -> Skipped:
    """Say that a base near the span is not known."""
    return Skipped(Status.N_CONTEXT, f"a base within {shape.flank} nt of the span is not A, C, G or T")


def region(allele: Allele, start: int, width: int) -> tuple[int, int]:
    """Return the genomic interval that holds every window of an allele whose REF window starts at ``start``."""
    return start + min(0, allele.shift), start + width + max(0, allele.shift)


def cut(alleles: Sequence[Allele], start: Index, bases: Sequence[bytes], shape: WindowShape) -> Windows:
    """Cut the windows of n alleles out of the bases of each one's ``region``.

    Args:
        alleles: normalised, with a window that fits.
        start: (n,) where the REF windows start.
        bases: the bases of each ``region``, upper case.
    """
    span_start, ref_length, alt_length = _geometry(alleles)
    shift, offset = ref_length - alt_length, span_start - start
    tokens = encode(b"".join(bases) or b"N" * shape.width)  # of no allele there are no windows
    ends = np.cumsum(shape.width + np.abs(shift))
    first = ends - shape.width - np.maximum(0, shift)  # where in `tokens` each REF window starts
    every = np.lib.stride_tricks.sliding_window_view(tokens, shape.width)
    ref = every[first]
    if shift.any():
        ref_right = every[first + shift]  # where ALT is REF, moved: everything behind its span
        alt = np.where(np.arange(shape.width) < (offset + alt_length)[:, None], ref, ref_right)
    else:
        ref_right, alt = ref, ref.copy()
    rows = np.repeat(np.arange(len(alleles)), alt_length)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(alt_length) - alt_length, alt_length)
    alt[rows, offset[rows] + within] = encode("".join([allele.alt for allele in alleles]).encode("ascii"))
    n_frac, clean = _n_context(tokens, first, offset, ref_length, ref, shape.flank)
    return Windows(start, offset, ref_length, alt_length, ref, ref_right, alt, n_frac, clean)


def place_and_cut(
    alleles: Sequence[Allele], lengths: Mapping[str, int], fetch: Callable[[str, int, int], bytes], shape: WindowShape
) -> tuple[Placements, Windows]:
    """Choose where the windows of n alleles start, and cut those that fit: rows of the windows are the places that do.

    Args:
        lengths: of the contigs.
        fetch: returns the upper-case bases of a contig's interval, 0-based half-open.
    """
    placed = place(alleles, [lengths[allele.contig] for allele in alleles], shape)
    fits = np.flatnonzero(placed.fits)
    fitting, start = [alleles[i] for i in fits.tolist()], placed.start[fits]
    bases = [
        fetch(allele.contig, *region(allele, at, shape.width))
        for allele, at in zip(fitting, start.tolist(), strict=True)
    ]
    return placed, cut(fitting, start, bases, shape)


def pair(windows: Windows, rows: Sequence[int], contexts: Sequence[GeneContext]) -> WindowPairs:
    """Turn windows to the transcript orientation of genes, and place the genes' sites.

    Args:
        windows: of n alleles.
        rows: B indices of alleles, one for each allele x gene.
        contexts: the B genes.
    """
    of = np.array(rows, dtype=np.int64)
    window_start = windows.start[of]
    minus = np.array([context.strand == "-" for context in contexts], dtype=np.bool_)
    sites = np.array([(*_site(context.donor), *_site(context.acceptor)) for context in contexts], dtype=np.int64)
    sites = sites.reshape(-1, 4)
    has_site = sites >= 0

    def turned(tokens: Tokens) -> Tokens:
        tokens = tokens[of]
        tokens[minus] = reverse_complement(tokens[minus])
        return tokens

    ref = turned(windows.ref)
    return WindowPairs(
        ref=ref,
        ref_right=ref if windows.ref_right is windows.ref else turned(windows.ref_right),
        alt=turned(windows.alt),
        minus=minus,
        offset=windows.offset[of],
        ref_length=windows.ref_length[of],
        alt_length=windows.alt_length[of],
        sites=np.where(has_site, sites - window_start[:, None], 0),
        has_site=has_site,
    )


def _geometry(alleles: Sequence[Allele]) -> tuple[Index, Index, Index]:
    """Return start and lengths of REF and ALT spans, (n,) each."""
    start = np.array([allele.start for allele in alleles], dtype=np.int64)
    ref = np.array([len(allele.ref) for allele in alleles], dtype=np.int64)
    alt = np.array([len(allele.alt) for allele in alleles], dtype=np.int64)
    return start, ref, alt


def _site(site: Interval | None) -> tuple[int, int]:
    """Return the genomic positions of a site's two nucleotides; -1 where there is none."""
    return (-1, -1) if site is None else (site.start, site.end - 1)


def _n_context(
    tokens: Tokens, first: Index, offset: Index, ref_length: Index, ref: Tokens, flank: int
) -> tuple[NDArray[np.float64], Mask]:
    """Return the share of N in each REF window, and whether there is none within F of the span."""
    unknown = tokens == N
    if not unknown.any():
        return np.zeros(len(first)), np.ones(len(first), dtype=np.bool_)
    before = np.concatenate([[0], np.cumsum(unknown)])  # N before each index of `tokens`
    low, high = first + offset - flank, first + offset + ref_length + flank
    return (ref == N).mean(axis=1), before[high] == before[low]


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

"""Windows: which stretch of the genome stands around an allele, and its REF and ALT tokens.

Everything here is on the forward genomic strand, 0-based half-open; ``WindowPair`` turns to transcript orientation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from splicebert_vep_spec import Allele, GeneContext, N, Skipped, Status

from .tokens import Tokens, encode, reverse_complement

WindowMode = Literal["centred", "tiled"]


@dataclass(frozen=True, slots=True)
class WindowShape:
    """How windows are laid out.

    Args:
        width: W, nucleotides in a window.
        flank: F, aligned pairs on each side of the span that a score reads.
        mode: ``centred`` or ``tiled``.
        stride: distance of neighbouring tiles in nucleotides; read in tiled mode only.
    """

    width: int = 510
    flank: int = 100
    mode: WindowMode = "centred"
    stride: int = 128

    @property
    def longest_span(self) -> int:
        """Longest REF or ALT span that leaves F on both sides."""
        return self.width - 2 * self.flank


@dataclass(frozen=True, slots=True)
class Placement:
    """Where an allele's window starts, and the mode that put it there (tiled falls back to centred)."""

    start: int
    mode: WindowMode


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens of one allele's windows on the forward strand.

    Args:
        placement: start of the REF (and ALT) window, and the mode used.
        ref: (W,) REF window from ``placement.start``.
        ref_right: (W,) REF window from ``placement.start + allele.shift``: there the genomic right flank has the
            token indices it has in ALT. The same array as ``ref`` for equal-length alleles.
        alt: (W,) ALT window from ``placement.start``.
        n_frac: share of ``ref`` that is not A, C, G or T.
    """

    placement: Placement
    ref: Tokens
    ref_right: Tokens
    alt: Tokens
    n_frac: float


@dataclass(frozen=True, slots=True)
class WindowPair:
    """One allele x gene, ready for the model: windows in transcript orientation, geometry on the genome.

    Args:
        ref, ref_right, alt: (W,) tokens, reverse-complemented for genes on ``-``.
        minus: whether they are.
        offset: span start within the forward-strand window.
        ref_length, alt_length: lengths of the spans.
        sites: donor nt 1, donor nt 2, acceptor nt 1, acceptor nt 2 as offsets from the window's genomic start,
            in REF coordinates; None where the nearest exon has no such site.
    """

    ref: Tokens
    ref_right: Tokens
    alt: Tokens
    minus: bool
    offset: int
    ref_length: int
    alt_length: int
    sites: tuple[int | None, int | None, int | None, int | None]


def check_length(allele: Allele, shape: WindowShape) -> Skipped | None:
    """Tell that a span leaves no room for the flanks, or None when it does."""
    longest = max(len(allele.ref), len(allele.alt))
    if longest <= shape.longest_span:
        return None
    return Skipped(
        Status.TOO_LONG,
        f"span of {longest} nt; at most {shape.longest_span} fit a window of {shape.width} with flank {shape.flank}",
    )


def place(allele: Allele, contig_length: int, shape: WindowShape) -> Placement | Skipped:
    """Choose where the window of an allele starts.

    Centred: ``(W - max(len ref, len alt)) // 2`` genomic bases precede the span, moved at a contig end until REF,
    ALT and the shifted REF window lie on the contig with F bases on both sides of the span. Tiled: the grid point
    ``stride * floor((start - F) / stride)`` where F + span + F fits from there, else centred.

    Returns:
        The placement, or N_CONTEXT when no window fits.
    """
    longest = max(len(allele.ref), len(allele.alt))
    # On the right the flank is read from ALT and from the shifted REF window, which both hold len(alt) bases before it.
    right = allele.start + len(allele.alt) + shape.flank - shape.width
    low = max(0, -allele.shift, allele.end - shape.width, right)
    high = min(contig_length - shape.width - max(0, allele.shift), allele.start - shape.flank)
    if low > high or allele.end + shape.flank > contig_length:
        return Skipped(
            Status.N_CONTEXT,
            f"no window of {shape.width} nt with {shape.flank} nt on both sides fits on {allele.contig} "
            f"({contig_length} nt) at {allele.start + 1}",
        )
    if shape.mode == "tiled":
        tile = shape.stride * ((allele.start - shape.flank) // shape.stride)
        if low <= tile <= high and allele.start - tile + longest + shape.flank <= shape.width:
            return Placement(tile, "tiled")
    centred = allele.start - (shape.width - longest) // 2
    return Placement(min(max(centred, low), high), "centred")


def region(allele: Allele, placement: Placement, shape: WindowShape) -> tuple[int, int]:
    """Return the genomic interval that holds every window of the allele."""
    return placement.start + min(0, allele.shift), placement.start + shape.width + max(0, allele.shift)


def cut(allele: Allele, placement: Placement, bases: bytes, shape: WindowShape) -> Window | Skipped:
    """Cut the windows of an allele out of the bases of its ``region``.

    Returns:
        The windows, or N_CONTEXT when a base within F of the span is not A, C, G or T.
    """
    shift = allele.shift
    tokens = encode(bases)
    at_start = -min(0, shift)  # index in `bases` of the window's start
    span = at_start + allele.start - placement.start
    span_end = span + len(allele.ref)
    if (tokens[span - shape.flank : span_end + shape.flank] == N).any():
        return Skipped(Status.N_CONTEXT, f"a base within {shape.flank} nt of the span is not A, C, G or T")
    ref = tokens[at_start : at_start + shape.width]
    if shift == 0:
        ref_right = ref
        alt = ref.copy()
        alt[span - at_start : span_end - at_start] = encode(allele.alt.encode("ascii"))
    else:
        right_start = max(0, shift)
        ref_right = tokens[right_start : right_start + shape.width]
        pieces = (tokens[at_start:span], encode(allele.alt.encode("ascii")), tokens[span_end:])
        alt = np.concatenate(pieces)[: shape.width]
    return Window(placement, ref, ref_right, alt, float((ref == N).mean()))


def pair(allele: Allele, window: Window, context: GeneContext) -> WindowPair:
    """Turn the windows of an allele to the transcript orientation of one gene and place the gene's sites."""
    minus = context.strand == "-"
    ref, ref_right, alt = window.ref, window.ref_right, window.alt
    if minus:
        same = ref_right is ref
        ref, alt = reverse_complement(ref), reverse_complement(alt)
        ref_right = ref if same else reverse_complement(ref_right)
    start = window.placement.start
    donor, acceptor = context.donor, context.acceptor
    return WindowPair(
        ref=ref,
        ref_right=ref_right,
        alt=alt,
        minus=minus,
        offset=allele.start - start,
        ref_length=len(allele.ref),
        alt_length=len(allele.alt),
        sites=(
            None if donor is None else donor.start - start,
            None if donor is None else donor.end - 1 - start,
            None if acceptor is None else acceptor.start - start,
            None if acceptor is None else acceptor.end - 1 - start,
        ),
    )

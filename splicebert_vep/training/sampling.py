"""Which windows a training step sees: drawn afresh for every step from the seed and the step's number alone.

So a run that is resumed, or that another number of processes shares, draws what the unbroken run would have drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splicebert_vep.errors import CorpusError
from splicebert_vep.genome.gene_table import HAS_ACCEPTOR, HAS_DONOR
from splicebert_vep.sequence.tokens import Tokens, with_special
from splicebert_vep_spec import MASK, A, N, T

from .corpus import Corpus, Ints

_SPECIAL = 1  # [CLS] stands before the first nucleotide


@dataclass(frozen=True, eq=False)
class MaskedBatch:
    """What one forward and backward pass reads: B windows, P selected nucleotides in each.

    Args:
        tokens: (B, W + 2) uint8, ``[CLS] x1..xW [SEP]`` with selected nucleotides hidden, changed or kept.
        positions: (B, P) int64, token indices of the selected nucleotides, ascending.
        targets: (B, P) int64, what was there; -100 where the window had too few nucleotides to select.
    """

    tokens: Tokens
    positions: Ints
    targets: Ints


IGNORED = -100
"""Target that no loss counts; torch's own default."""


class WindowSampler:
    """Draw windows of the genes that are, or are not, held out.

    A window lies inside one gene. A share of them hold a splice site, at any place in the window; the others start
    anywhere with equal chance.

    Args:
        corpus: the genes.
        held_out: draw from the held-out genes instead of the others.
    """

    def __init__(self, corpus: Corpus, *, held_out: bool = False) -> None:
        self._kind = "held-out gene" if held_out else "gene to train on"
        self._bases = corpus.bases
        chosen = np.flatnonzero(corpus.held_out == held_out)
        self._starts, self._lengths = corpus.offsets[:-1][chosen], np.diff(corpus.offsets)[chosen]
        donor = corpus.exon_end[(corpus.exon_flags & HAS_DONOR) > 0]
        acceptor = corpus.exon_start[(corpus.exon_flags & HAS_ACCEPTOR) > 0]
        junctions = np.unique(np.concatenate([donor, acceptor]))
        gene = np.searchsorted(corpus.offsets, junctions, side="right") - 1
        kept = corpus.held_out[gene] == held_out
        self._junctions = junctions[kept]
        self._junction_start = corpus.offsets[gene[kept]]
        self._junction_end = corpus.offsets[gene[kept] + 1]

    def draw(self, rng: np.random.Generator, count: int, width: int, site_share: float) -> Tokens:
        """Return windows, (count, width) uint8.

        Args:
            site_share: of the windows, those drawn around a splice site, 0 to 1.

        Raises:
            CorpusError: no gene is as long as a window.
        """
        near = int(np.count_nonzero(rng.random(count) < site_share))
        starts = np.concatenate([self._anywhere(rng, count - near, width), self._around(rng, near, width)])
        return self._bases[starts[:, None] + np.arange(width)]

    def _anywhere(self, rng: np.random.Generator, count: int, width: int) -> Ints:
        room = np.maximum(self._lengths - width + 1, 0)
        if not room.any():
            raise CorpusError(
                f"No {self._kind} of the corpus is as long as a window.",
                needed=f"one of at least {width} nt",
                found=f"{len(room)} of at most {max(self._lengths, default=0)} nt",
                remedy="make the corpus from more sequence or with another --held-out, or choose shorter windows",
            )
        return anywhere(rng, self._starts, room, count)

    def _around(self, rng: np.random.Generator, count: int, width: int) -> Ints:
        fits = np.flatnonzero(self._junction_end - self._junction_start >= width)
        if count and not len(fits):
            raise CorpusError(
                f"No {self._kind} of the corpus with a splice site is as long as a window.",
                needed=f"one of at least {width} nt",
                found=f"{len(self._junctions)} splice sites in shorter genes",
                remedy="make the corpus from more sequence or with another --held-out, or choose shorter windows",
            )
        if not count:
            return np.empty(0, dtype=np.int64)
        row = fits[rng.integers(len(fits), size=count)]
        start = self._junctions[row] - rng.integers(1, width, size=count)
        starts: Ints = np.clip(start, self._junction_start[row], self._junction_end[row] - width)
        return starts


def anywhere(rng: np.random.Generator, starts: Ints, room: Ints, count: int) -> Ints:
    """Draw starts of windows, (count,), each with equal chance.

    Args:
        starts: (S,) where each stretch of an axis starts.
        room: (S,) how many windows it has room for; not 0 for all.
    """
    reach = np.cumsum(room)
    at = rng.integers(reach[-1], size=count)
    row = np.searchsorted(reach, at, side="right")
    drawn: Ints = starts[row] + at - (reach[row] - room[row])
    return drawn


def step_rng(seed: int, step: int, part: int) -> np.random.Generator:
    """Return the random numbers of one part (a micro-batch) of one step."""
    return np.random.Generator(np.random.Philox(key=[seed, (step << 20) + part]))


def mask_windows(
    rng: np.random.Generator, windows: Tokens, *, selected: float = 0.15, unknown: float = 0.005
) -> MaskedBatch:
    """Select nucleotides and hide them as BERT does: of the selected, 80 % become [MASK], 10 % a random nucleotide
    (which may be the same), 10 % stay (Devlin et al. 2019, 10.18653/v1/N19-1423, 3.1).

    The number selected is the same in every window of a batch, W x ``selected`` rounded up or down by chance so that
    it is right on average. N is never selected.

    Args:
        windows: (B, W) uint8.
        selected: share of nucleotides selected.
        unknown: share of the nucleotides that are not selected turned to N, so that N's embedding is trained.
    """
    count, width = windows.shape
    places = max(1, int(np.floor(width * selected + rng.random())))
    order = rng.random(windows.shape, dtype=np.float32)
    order[windows == N] = 2.0  # after every nucleotide
    positions = np.sort(np.argpartition(order, places - 1, axis=1)[:, :places], axis=1).astype(np.int64)
    truth = np.take_along_axis(windows, positions, axis=1)

    shown = np.where(rng.random(windows.shape, dtype=np.float32) < unknown, np.uint8(N), windows)
    chance = rng.random(truth.shape, dtype=np.float32)
    random = rng.integers(A, T + 1, size=truth.shape, dtype=np.uint8)
    hidden = np.where(chance < 0.8, np.uint8(MASK), np.where(chance < 0.9, random, truth))
    np.put_along_axis(shown, positions, np.where(truth == N, np.uint8(N), hidden), axis=1)
    targets = np.where(truth == N, IGNORED, truth.astype(np.int64))
    return MaskedBatch(with_special(shown), positions + _SPECIAL, targets)

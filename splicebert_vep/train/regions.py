"""The region table: accuracy of guessing hidden nucleotides of held-out genes, by region of the gene.

One nucleotide of a window is hidden at a time, so the two bases of a splice site see each other; so they do in the
count model that is compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import MASK, A, Backend, G, N, T

from ..errors import CorpusError
from ..genome.gene_table import HAS_ACCEPTOR, HAS_DONOR, REPORTED
from ..scoring.scorers import log_p
from ..sequence.tokens import Tokens, with_special
from .corpus import Corpus, Ints

REACH = 4
"""Neighbours on either side, nt."""

_NUCLEOTIDES = 25_000_000  # counted
_BATCH = 5_000  # windows drawn at a time
_CONTEXTS = 4 ** (2 * REACH)
_PRIOR = 4.0  # nucleotides of the overall frequencies added to each context, so that a rare one is not certain


class CountModel:
    """Frequencies of a nucleotide given its neighbours.

    Args:
        corpus: the windows counted lie around splice sites of its training genes, where the model is to be beaten.
        width: of these windows, nt, as long as those that the model is measured on: the shorter they are, the less rare
            is a splice site.
        nucleotides: to count.
    """

    def __init__(self, corpus: Corpus, width: int, *, nucleotides: int = _NUCLEOTIDES, seed: int = 0) -> None:
        windows, sampler = -(-nucleotides // width), corpus.windows()
        rng = np.random.default_rng(seed)
        counts = np.zeros(_CONTEXTS * 4, dtype=np.int64)
        for done in range(0, windows, _BATCH):
            drawn = corpus.bases[sampler.draw(rng, min(_BATCH, windows - done), width, site_share=1.0)]
            view = np.lib.stride_tricks.sliding_window_view(drawn, 2 * REACH + 1, axis=1).reshape(-1, 2 * REACH + 1)
            view = view[(view != N).all(axis=1)]
            counts += np.bincount(_context(view) * 4 + (view[:, REACH] - A), minlength=len(counts))
        table = counts.reshape(_CONTEXTS, 4)
        overall = table.sum(axis=0) / table.sum()
        smoothed = table + _PRIOR * overall
        self._log_p = np.log(smoothed / smoothed.sum(axis=1, keepdims=True))

    def log_p(self, around: Tokens) -> NDArray[np.float64]:
        """Return ln p of A, C, G, T, (n, 4), from a nucleotide and its neighbours (n, 9); the middle is not read.

        Raises:
            ValueError: a neighbour is N.
        """
        if (around == N).any():
            raise ValueError("a neighbour is N")
        found: NDArray[np.float64] = self._log_p[_context(around)]
        return found


def _context(around: Tokens) -> NDArray[np.int64]:
    """Number the neighbours, (n, 9) to (n,)."""
    neighbours = np.delete(around, REACH, axis=1).astype(np.int64) - A
    powers: NDArray[np.int64] = 4 ** np.arange(2 * REACH, dtype=np.int64)
    numbered: NDArray[np.int64] = neighbours @ powers
    return numbered


_NONE, _EXON, _NEAR, _DEEP, _TRACT, _BRANCH, _DONOR_G, _DONOR_T, _ACCEPTOR_A, _ACCEPTOR_G = range(10)
_TRACT_END, _BRANCH_END, _NEAR_END = 17, 44, 100  # nt from the exon

REGIONS: Mapping[str, tuple[int, ...]] = {
    "exon": (_EXON,),
    "near intron": (_NEAR,),
    "deep intron": (_DEEP,),
    "donor GT": (_DONOR_G, _DONOR_T),
    "donor G": (_DONOR_G,),
    "donor T": (_DONOR_T,),
    "acceptor AG": (_ACCEPTOR_A, _ACCEPTOR_G),
    "acceptor A": (_ACCEPTOR_A,),
    "acceptor G": (_ACCEPTOR_G,),
    "polypyrimidine tract": (_TRACT,),
    "branchpoint region": (_BRANCH,),
}
"""Rows of the table, and the classes of nucleotides of each.

Sites are those of reported transcripts that read GT and AG. The tract is -3 to -17 and the branchpoint region -18 to
-44 of such an acceptor; a near intron lies within 100 nt of an exon of any transcript and is none of these, a deep
intron farther away. What is exon in any transcript of the gene is exon, but for the sites; exons of other genes of the
same strand are not seen.
"""


@dataclass(frozen=True, slots=True)
class RegionRow:
    """One line of the table.

    Args:
        nucleotides: number that was hidden.
        accuracy: share that the model guessed right, among A, C, G and T.
        perplexity: exp of the mean of -ln p(truth); 4 for a blind guess, 1 for certainty.
        count_accuracy, count_perplexity: of the count model on the same nucleotides.
    """

    region: str
    nucleotides: int
    accuracy: float
    perplexity: float
    count_accuracy: float
    count_perplexity: float

    @property
    def beats_counts(self) -> bool:
        """True when the model is less surprised than the counts."""
        return self.perplexity < self.count_perplexity


def measure_regions(
    backend: Backend, corpus: Corpus, counts: CountModel, *, nucleotides: int = 1000, width: int = 510, batch: int = 32
) -> list[RegionRow]:
    """Hide nucleotides of held-out genes one by one and return how well they are guessed.

    Args:
        nucleotides: of each class, or all there are; the same ones for every model.
        width: W of the windows, which lie within their gene and are centred where it has room.
        batch: windows in one forward pass.

    Raises:
        CorpusError: no held-out gene has a nucleotide of a class.
    """
    guesses = {}
    for label, places in _draw(corpus, nucleotides, width).items():
        around = corpus.bases[places[0][:, None] + np.arange(-REACH, REACH + 1)]
        truth = around[:, REACH].astype(np.int64) - A  # 0..3 for A, C, G, T
        ours, theirs = _guess(backend, corpus, places, width, batch), counts.log_p(around)
        at = np.arange(len(truth)), truth
        guesses[label] = np.stack([ours[at], ours.argmax(1) == truth, theirs[at], theirs.argmax(1) == truth])
    rows = []
    for region, labels in REGIONS.items():
        found = np.concatenate([guesses[label] for label in labels], axis=1)
        mean = found.mean(axis=1)
        rows.append(RegionRow(region, found.shape[1], mean[1], math.exp(-mean[0]), mean[3], math.exp(-mean[2])))
    return rows


def _guess(backend: Backend, corpus: Corpus, places: Ints, width: int, batch: int) -> NDArray[np.float64]:
    """Return ln p of A, C, G, T at hidden nucleotides, (n, 4); ``places`` as ``_draw`` returns them."""
    place, gene_start, gene_end = places
    start = np.clip(place - width // 2, gene_start, gene_end - width)
    found = []
    for first in range(0, len(place), batch):
        at = slice(first, first + batch)
        windows, index = corpus.bases[start[at, None] + np.arange(width)], (place - start)[at, None]
        np.put_along_axis(windows, index, np.uint8(MASK), axis=1)
        out = backend.forward(with_special(windows), index + 1)
        found.append(log_p(out.logits)[:, 0].cpu().numpy())
    return np.concatenate(found)


def _draw(corpus: Corpus, nucleotides: int, width: int) -> dict[int, Ints]:
    """Draw nucleotides of every class, the same ones at every call: (3, n) place, start and end of its gene."""
    found: dict[int, list[Ints]] = {}
    for gene in np.flatnonzero(corpus.held_out & (np.diff(corpus.offsets) >= width)).tolist():
        start, end = corpus.offsets[gene : gene + 2].tolist()
        labels = _labels(corpus, start, end)
        for label in range(_EXON, _ACCEPTOR_G + 1):
            places = start + np.flatnonzero(labels == label)
            columns = np.stack([places, np.full_like(places, start), np.full_like(places, end)])
            found.setdefault(label, []).append(columns)
    drawn = {}
    for label, parts in found.items():
        columns = np.concatenate(parts, axis=1)
        chosen = np.random.default_rng(label).permutation(columns.shape[1])[:nucleotides]
        drawn[label] = columns[:, np.sort(chosen)]
    if not drawn or any(columns.shape[1] == 0 for columns in drawn.values()):
        needed = f"held-out genes of at least {width} nt with {', '.join(REGIONS)}"
        remedy = "make the corpus with a larger --held-out, or from more sequence"
        problem = f"The {int(corpus.held_out.sum())} held-out genes lack some kind of region."
        raise CorpusError(problem, needed=needed, remedy=remedy)
    return drawn


def _labels(corpus: Corpus, start: int, end: int) -> NDArray[np.uint8]:
    """Return the class of every nucleotide of a gene; those beside an N or the gene's end have none."""
    bases = corpus.bases[start:end]
    rows = slice(*np.searchsorted(corpus.exon_start, [start, end]).tolist())
    edges = (corpus.exon_start[rows] - start, corpus.exon_end[rows] - start, corpus.exon_flags[rows])
    exons = list(zip(*(column.tolist() for column in edges), strict=True))
    labels = np.full(len(bases), _DEEP, dtype=np.uint8)
    for first, last, _ in exons:
        labels[max(0, first - _NEAR_END) : last + _NEAR_END] = _NEAR
    text, gt, ag = bases.tobytes(), bytes((G, T)), bytes((A, G))
    reported = [exon for exon in exons if exon[2] & REPORTED]
    acceptors = [first for first, _, flags in reported if flags & HAS_ACCEPTOR and text.endswith(ag, 0, first)]
    donors = [last for _, last, flags in reported if flags & HAS_DONOR and text.startswith(gt, last)]
    for far, near, label in ((_BRANCH_END, _TRACT_END, _BRANCH), (_TRACT_END, 2, _TRACT)):
        for first in acceptors:
            labels[max(0, first - far) : max(0, first - near)] = label
    for first, last, _ in exons:
        labels[first:last] = _EXON
    for last in donors:
        labels[last : last + 2] = (_DONOR_G, _DONOR_T)
    for first in acceptors:
        labels[first - 2 : first] = (_ACCEPTOR_A, _ACCEPTOR_G)
    known = np.convolve(bases != N, np.ones(2 * REACH + 1, dtype=np.int64), mode="same") == 2 * REACH + 1
    return np.where(known, labels, np.uint8(_NONE))

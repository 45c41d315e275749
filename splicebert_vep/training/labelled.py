"""Labelled sequence: stretches of a genome on the transcribed strand, with a label for every nucleotide.

All stretches lie one after the other on one axis, each 5' to 3'. A stretch is a gene, or genes of one strand that
overlap, with a margin of sequence on both sides that a model may see and nobody is asked about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.errors import CorpusError
from splicebert_vep.genome.gene_table import HAS_ACCEPTOR, HAS_DONOR, GeneTable
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.splice_sites import ACCEPTOR, DONOR, LABELS
from splicebert_vep.sequence.tokens import Tokens, encode, reverse_complement
from splicebert_vep_spec import N

from .corpus import overlapping

Ints = NDArray[np.int64]
Labels = NDArray[np.uint8]

UNLABELLED = 255
"""Label of a nucleotide that does not count."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where labelled sequence lies: 0-based half-open on the forward strand, without the margin.

    Args:
        genes: ids of the genes in it.
    """

    contig: str
    start: int
    end: int
    minus: bool
    genes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Hold S stretches of L nucleotides in all, margins included.

    Args:
        names: of the labels, in their order.
        bases: (L,) tokens.
        labels: (L,) numbers of labels, or UNLABELLED; N has no label.
        offsets: (S + 1,) where each stretch starts on the axis, its margin included.
        margin: nucleotides before and after each stretch; N beyond the contig.
        stretches: where they lie.
    """

    names: tuple[str, ...]
    bases: Tokens
    labels: Labels
    offsets: Ints
    margin: int
    stretches: tuple[Stretch, ...]

    @property
    def nucleotides(self) -> int:
        """How many count."""
        return int(np.count_nonzero(self.labels != UNLABELLED))

    def count(self, label: str) -> int:
        """How many have a label."""
        return int(np.count_nonzero(self.labels == self.names.index(label)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that training reads."""
        whole = hashlib.sha256(f"labelled {','.join(self.names)} {self.margin}".encode())
        for array in (self.offsets.astype("<i8"), self.bases, self.labels):
            whole.update(np.ascontiguousarray(array).data)
        return whole.hexdigest()

    def take(self, rows: Iterable[int]) -> Labelled:
        """Return some of the stretches."""
        rows = list(rows)
        spans = [slice(int(self.offsets[row]), int(self.offsets[row + 1])) for row in rows]
        lengths = [span.stop - span.start for span in spans]
        return Labelled(
            self.names,
            np.concatenate([self.bases[span] for span in spans] or [self.bases[:0]]),
            np.concatenate([self.labels[span] for span in spans] or [self.labels[:0]]),
            np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            self.margin,
            tuple(self.stretches[row] for row in rows),
        )


def joined(parts: Sequence[Labelled]) -> Labelled:
    """Put labelled sequence of one kind and margin together."""
    first = parts[0]
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Labelled(
        first.names,
        np.concatenate([part.bases for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        first.margin,
        tuple(stretch for part in parts for stretch in part.stretches),
    )


class Sites(Protocol):
    """Where the nucleotides of each kind are on a genome.

    Attributes:
        names: of the labels; the first is that of a nucleotide that is none of the others.
    """

    names: tuple[str, ...]

    def within(self, number: int, stretch: Stretch, name: str) -> Ints:
        """Return the positions of a kind that lie in a stretch of the table's contig ``number``, ascending."""


def label_genes(table: GeneTable, reference: Reference, rows: Iterable[int], margin: int, sites: Sites) -> Labelled:
    """Label all sites, of whatever gene, in the stretches of some genes.

    A nucleotide that is of two kinds has no label.

    Args:
        rows: genes to take, numbers of rows of the table.

    Raises:
        CorpusError: the genes have no base.
    """
    bases, labels, stretches = [], [], []
    for number, stretch in _stretches(table, reference, rows):
        start, end = stretch.start - margin, stretch.end + margin
        tokens = _fetch(reference, stretch.contig, start, end)
        found = np.zeros(len(tokens), dtype=np.uint8)
        for label, name in enumerate(sites.names[1:], start=1):
            at = sites.within(number, stretch, name) - start
            found[at] = np.where(found[at] == 0, label, UNLABELLED)
        found[:margin] = found[len(found) - margin :] = UNLABELLED
        if stretch.minus:
            tokens, found = reverse_complement(tokens), found[::-1]
        found = np.where(tokens == N, np.uint8(UNLABELLED), found)
        if (found == UNLABELLED).all():
            continue
        bases.append(tokens)
        labels.append(found)
        stretches.append(stretch)
    if not stretches:
        raise CorpusError(
            "There is no gene to take sequence from.",
            needed="genes of the asked kind on the contigs of the FASTA",
            found=f"none of {table.name} on {reference.path}",
            remedy="check that both are of the same assembly, and what is held out",
        )
    lengths = [len(part) for part in bases]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Labelled(sites.names, np.concatenate(bases), np.concatenate(labels), offsets, margin, tuple(stretches))


def _fetch(reference: Reference, contig: str, start: int, end: int) -> Tokens:
    """Return tokens of [start, end), N beyond the contig."""
    inside = encode(reference.fetch(contig, start, end))
    before = max(0, -start)
    tokens = np.full(end - start, N, dtype=np.uint8)
    tokens[before : before + len(inside)] = inside
    return tokens


def _stretches(table: GeneTable, reference: Reference, rows: Iterable[int]) -> Iterator[tuple[int, Stretch]]:
    """Join genes that overlap on one strand, in the table's order of contigs, ``+`` before ``-``."""
    chosen = np.array(sorted(rows), dtype=np.int64)
    for number, contig in enumerate(table.contigs):
        name = reference.find(contig)
        if name is None:
            continue
        for strand in (1, -1):
            here = (table.gene_contig[chosen] == number) & (table.gene_strand[chosen] == strand)
            for group in overlapping(table, chosen[here]):
                start, end = int(table.gene_start[group[0]]), int(table.gene_end[group].max())
                genes = tuple(table.gene_ids[row] for row in group)
                yield number, Stretch(name, start, end, strand < 0, genes)


class ExonEdges:
    """The splice sites of all transcripts of all genes of a table.

    An acceptor is the first nucleotide of an exon that an intron precedes, a donor the last of one that an intron
    follows; an exon of one base is both.
    """

    names: tuple[str, ...] = LABELS

    def __init__(self, table: GeneTable) -> None:
        contig = np.repeat(table.gene_contig, np.diff(table.exon_offsets))
        plus = np.repeat(table.gene_strand, np.diff(table.exon_offsets)) > 0
        first = np.where(plus, table.exon_start, table.exon_end - 1)
        last = np.where(plus, table.exon_end - 1, table.exon_start)
        self._found: dict[tuple[int, bool, str], Ints] = {}
        for name, at, flag in ((ACCEPTOR, first, HAS_ACCEPTOR), (DONOR, last, HAS_DONOR)):
            flagged = (table.exon_flags & flag) > 0
            for number in range(len(table.contigs)):
                for minus in (False, True):
                    kept = flagged & (contig == number) & (plus != minus)
                    self._found[number, minus, name] = np.unique(at[kept])

    def within(self, number: int, stretch: Stretch, name: str) -> Ints:
        """Return the acceptors or donors in a stretch of the table's contig ``number``."""
        return between(self._found[number, stretch.minus, name], stretch)


def between(positions: Ints, stretch: Stretch) -> Ints:
    """Return those of ascending positions that lie in a stretch."""
    return positions[np.searchsorted(positions, stretch.start) : np.searchsorted(positions, stretch.end)]

"""Which genes a model is fine-tuned on, which stop it, and which it is tested on: by contig, by chance, by likeness."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import A, N

from ..errors import CorpusError, SettingsError
from ..genome.contigs import ContigNames
from ..genome.gene_build import load_table
from ..genome.gene_table import HAS_ACCEPTOR, HAS_DONOR, REPORTED, GeneTable
from ..genome.reference import Reference
from ..model.tuned import ACCEPTOR, DONOR
from ..model.tuned import SPLICE_LABELS as LABELS
from ..sequence.tokens import Tokens, encode, reverse_complement
from .corpus import Source, draw, gene_rows, kinds, overlapping

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


_WORD = 7  # amino acids
_LIKENESS = 0.02
_AMINO_ACIDS = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"  # by codon, AAA AAC AAG AAT ACA ...


@dataclass(frozen=True, slots=True)
class TestSet:
    """Held-out protein-coding genes of one contig.

    Args:
        name: species and contig; and the FASTA, where a species has two with that contig.
        paralogs: genes that were left out since their protein is like that of a gene that is trained on.
    """

    name: str
    labelled: Labelled
    paralogs: int

    __test__ = False  # no test of pytest


@dataclass(frozen=True, slots=True)
class Split:
    """Sequence to train on, to stop by, and to test on.

    Args:
        untested: what was held out and has no gene that can be tested, a sentence each.
    """

    training: Labelled
    validation: Labelled
    tests: tuple[TestSet, ...]
    untested: tuple[str, ...]


@dataclass(slots=True)
class _Open:
    source: Source
    table: GeneTable
    reference: Reference
    sites: Sites

    def label(self, rows: Sequence[int], margin: int) -> Labelled:
        return label_genes(self.table, self.reference, rows, margin, self.sites)


FindSites = Callable[[int, GeneTable, Reference], Sites]
"""Return the sites of a genome, from its number among the sources, its genes and its bases."""


def exon_edges(_: int, table: GeneTable, __: Reference) -> Sites:
    """Return the splice sites of a genome; see ``FindSites``."""
    return ExonEdges(table)


def split_genes(
    sources: Sequence[Source], hold_out: Sequence[str], *, validation_share: float, margin: int, test_nt: int,
    find_sites: FindSites = exon_edges,
) -> Split:  # fmt: skip
    """Divide the protein-coding and lncRNA genes of genomes.

    Genes that overlap, on either strand, go together. Of what is not held out, a hash of species, contig and start
    decides between training and validation, so it does not depend on what else is there. Tested are protein-coding
    genes, without those of which more than 2 % of the words of seven amino acids stand in a protein that is trained on.

    Args:
        hold_out: ``SPECIES`` or ``SPECIES:CONTIG``, the contig under any of its names.
        validation_share: of the groups of overlapping genes, between 0 and 1.
        margin: see ``Labelled``.
        test_nt: about how many nucleotides a test set has; whole genes, in the order of a hash.
        find_sites: what is labelled.

    Raises:
        SettingsError: nothing is called what is to be held out, or no FASTA has it.
        CorpusError: there is no gene to train on or to stop by.
        SpliceBertError: a reference or annotation cannot be read.
    """
    opened: list[_Open] = []
    try:
        for number, source in enumerate(sources):
            table, reference = load_table(source.annotation), Reference(source.reference)
            opened.append(_Open(source, table, reference, find_sites(number, table, reference)))
        held = _held_out(opened, hold_out)
        rows = [_divide(one, held[number], validation_share) for number, one in enumerate(opened)]
        trained = np.unique(np.concatenate([_words(o, r) for o, (t, _, _) in zip(opened, rows, strict=True) for r in t]
                                           or [np.empty(0, dtype=np.int64)]))  # fmt: skip
        training = [one.label(some, margin) for one, (some, _, _) in zip(opened, rows, strict=True) if some]
        validation = [one.label(some, margin) for one, (_, some, _) in zip(opened, rows, strict=True) if some]
        if not training or not validation:
            raise CorpusError(
                f"There is no gene to {'stop by' if training else 'train on'}.",
                needed="genes on contigs that are not held out, some of them for validation",
                found=f"{len(training)} genomes with genes to train on, {len(validation)} with genes for validation",
                remedy="hold out less, or choose another --validation",
            )
        named = Counter(_name(one, number) for one, (_, _, c) in zip(opened, rows, strict=True) for number in c)
        tests: list[TestSet] = []
        untested: list[str] = []
        for one, (_, _, contigs) in zip(opened, rows, strict=True):
            for number, genes in contigs.items():
                name = _name(one, number)
                if named[name] > 1:
                    name += f" ({one.source.reference.name})"
                found = _test(one, name, genes, trained, margin, test_nt)
                if isinstance(found, TestSet):
                    tests.append(found)
                else:
                    untested.append(found)
        return Split(joined(training), joined(validation), tuple(tests), tuple(untested))
    finally:
        for one in opened:
            one.reference.close()


def _held_out(opened: Sequence[_Open], asked: Sequence[str]) -> list[set[int]]:
    """Return the numbers of held-out contigs of each genome's table."""
    held: list[set[int]] = [set() for _ in opened]
    for word in asked:
        species, colon, contig = word.partition(":")
        matched = False
        for number, one in enumerate(opened):
            if one.source.species != species:
                continue
            contigs = one.table.contigs
            found = ContigNames(contigs).find(contig) if colon else None
            chosen = range(len(contigs)) if not colon else [contigs.index(found)] if found else []
            held[number].update(chosen)
            matched |= any(one.reference.find(contigs[row]) for row in chosen)
        if not matched:
            raise SettingsError(
                "What is to be held out is not there.",
                needed="SPECIES or SPECIES:CONTIG of a genome given, with the contig in both FASTA and annotation",
                found=word,
                where=f"genomes of {', '.join(sorted({one.source.species for one in opened}))}",
            )
    return held


def _divide(one: _Open, held: set[int], share: float) -> tuple[list[int], list[int], dict[int, list[int]]]:
    """Return rows to train on, rows for validation, and rows to test on by contig."""
    table = one.table
    coding, _ = kinds(table)
    training: list[int] = []
    validation: list[int] = []
    tests: dict[int, list[int]] = {}
    for number, _, rows in gene_rows(table, one.reference):
        if number in held:
            tests[number] = [row for row in rows.tolist() if coding[row]]
            continue
        for group in overlapping(table, rows):
            chosen = draw(f"{one.source.species}:{table.contigs[number]}:{table.gene_start[group[0]]}") < share
            (validation if chosen else training).extend(group)
    return training, validation, tests


def _name(one: _Open, number: int) -> str:
    return f"{one.source.species} {one.table.contigs[number]}"


def _test(
    one: _Open, name: str, rows: Sequence[int], trained: NDArray[np.int64], margin: int, limit: int
) -> TestSet | str:
    """Return what is tested of a held-out contig, or why nothing is."""
    kept, taken, paralogs = [], 0, 0
    for row in sorted(rows, key=lambda row: draw(f"{one.source.species}:{one.table.gene_ids[row]}")):
        start, end = int(one.table.gene_start[row]), int(one.table.gene_end[row])
        if taken >= limit:
            break
        words = _words(one, row)
        if not len(words):  # N, or no reading frame
            continue
        if np.isin(words, trained, assume_unique=True).mean() > _LIKENESS:
            paralogs += 1
            continue
        kept.append(row)
        taken += end - start
    if kept:
        return TestSet(name, one.label(kept, margin), paralogs)
    genes = f"none of {len(rows):,} protein-coding genes can be tested"
    return f"{name}: {genes}, {paralogs:,} are like a gene trained on"


def _words(one: _Open, row: int) -> NDArray[np.int64]:
    """Return the distinct words of seven amino acids of a gene's reported coding sequence, as sorted numbers."""
    table = one.table
    first, last = int(table.cds_start[row]), int(table.cds_end[row])
    contig = one.reference.find(table.contigs[int(table.gene_contig[row])])
    assert contig is not None
    exons = range(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1]))
    pieces = (
        [
            one.reference.fetch(contig, max(first, int(table.exon_start[exon])), min(last, int(table.exon_end[exon])))
            for exon in exons
            if table.exon_flags[exon] & REPORTED
        ]
        if first >= 0
        else []
    )
    tokens = encode(b"".join(pieces) or b"N")
    if table.gene_strand[row] < 0:
        tokens = reverse_complement(tokens)
    codons = tokens[: len(tokens) // 3 * 3].reshape(-1, 3).astype(np.int64) - A
    known = (codons >= 0).all(axis=1)
    protein = np.frombuffer(_AMINO_ACIDS.encode(), dtype=np.uint8)[np.where(known, codons @ [16, 4, 1], 0)].astype(
        np.int64
    )
    if len(protein) < _WORD:
        return np.empty(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(protein - ord("*"), _WORD)
    whole = np.lib.stride_tricks.sliding_window_view(known, _WORD).all(axis=1)
    return np.unique(windows[whole] @ (49 ** np.arange(_WORD, dtype=np.int64)))

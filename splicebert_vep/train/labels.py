"""Labelled nucleotides: sites of genomes, and genes to train on, to stop by and to test on."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import A, N, T

from ..errors import CorpusError, SettingsError
from ..genome.contigs import ContigNames
from ..genome.gene_build import load_table
from ..genome.gene_table import HAS_ACCEPTOR, HAS_DONOR, REPORTED, GeneTable
from ..genome.places import bed_lines
from ..genome.reference import Reference
from ..model.tuned import ACCEPTOR, BRANCHPOINT_LABELS, DONOR, SPLICE_LABELS
from ..sequence.tokens import Tokens, encode, reverse_complement
from .corpus import Ints, Source, draw, gene_rows, kinds, overlapping

Labels = NDArray[np.uint8]

UNLABELLED = 255
"""Label of a nucleotide that does not count."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A place of labelled sequence, without the margin: 0-based half-open on the forward strand, and its genes' ids."""

    contig: str
    start: int
    end: int
    minus: bool
    genes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Labelled:
    """S stretches of L nucleotides in all, margins included.

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
        """Number of nucleotides that count."""
        return int(np.count_nonzero(self.labels != UNLABELLED))

    def count(self, label: str) -> int:
        """Return the number of nucleotides with a label."""
        return int(np.count_nonzero(self.labels == self.names.index(label)))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that training reads."""
        whole = hashlib.sha256(f"labelled {','.join(self.names)} {self.margin}".encode())
        for array in (self.offsets.astype("<i8"), self.bases, self.labels):
            whole.update(np.ascontiguousarray(array).data)
        return whole.hexdigest()

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Start and end of each stretch on the axis, margins included."""
        return list(pairwise(self.offsets.tolist()))

    @property
    def pieces(self) -> list[Piece]:
        """Bases, labels and place of each stretch."""
        parts = zip(self.spans, self.stretches, strict=True)
        return [(self.bases[start:end], self.labels[start:end], stretch) for (start, end), stretch in parts]

    def take(self, rows: Iterable[int]) -> Labelled:
        """Return some of the stretches."""
        pieces = self.pieces
        return _labelled(self.names, self.margin, [pieces[row] for row in rows])


Piece = tuple[Tokens, Labels, Stretch]


def _labelled(names: tuple[str, ...], margin: int, pieces: Sequence[Piece]) -> Labelled:
    bases, labels = [piece[0] for piece in pieces], [piece[1] for piece in pieces]
    offsets = np.cumsum([0, *map(len, bases)], dtype=np.int64)
    stretches = tuple(stretch for _, _, stretch in pieces)
    return Labelled(names, np.concatenate(bases), np.concatenate(labels), offsets, margin, stretches)


def joined(parts: Sequence[Labelled]) -> Labelled:
    """Put labelled sequence of one kind and margin together."""
    return _labelled(parts[0].names, parts[0].margin, [piece for part in parts for piece in part.pieces])


@dataclass(frozen=True, slots=True)
class Sites:
    """The nucleotides of each kind on a genome.

    Args:
        names: of the labels; the first is that of a nucleotide that is none of the others.
        found: ascending positions by the table's number of the contig, strand (True is minus), and label.
    """

    names: tuple[str, ...]
    found: Mapping[tuple[int, bool, str], Ints]


def exon_edges(table: GeneTable) -> Sites:
    """Return the splice sites of all transcripts of all genes of a table.

    An acceptor is the first nucleotide of an exon that an intron precedes, a donor the last of an exon that an intron
    follows; an exon of one base is both.
    """
    contig = np.repeat(table.gene_contig, np.diff(table.exon_offsets))
    plus = np.repeat(table.gene_strand, np.diff(table.exon_offsets)) > 0
    first = np.where(plus, table.exon_start, table.exon_end - 1)
    last = np.where(plus, table.exon_end - 1, table.exon_start)
    found: dict[tuple[int, bool, str], Ints] = {}
    for name, at, flag in ((ACCEPTOR, first, HAS_ACCEPTOR), (DONOR, last, HAS_DONOR)):
        flagged = (table.exon_flags & flag) > 0
        for number in range(len(table.contigs)):
            for minus in (False, True):
                found[number, minus, name] = np.unique(at[flagged & (contig == number) & (plus != minus)])
    return Sites(SPLICE_LABELS, found)


def bed_positions(bed: str, table: GeneTable, reference: Reference) -> tuple[Sites, str]:
    """Return the branchpoints of a BED file that lie in protein-coding or lncRNA genes of their strand, and counts.

    Args:
        bed: path, plain or gzip; a line is one base, column 6 its strand.

    Returns:
        The sites, and a sentence that counts the lines that were taken and left out.

    Raises:
        SettingsError: the file or a line cannot be read, a line is longer than a base or has no strand.
        CorpusError: no line lies in a gene.
    """
    names, genes = ContigNames(table.contigs), _genes_by_strand(table, reference)
    label, none = BRANCHPOINT_LABELS[1], np.empty(0, dtype=np.int64)
    positions: dict[tuple[int, bool, str], set[int]] = defaultdict(set)
    lines = in_no_gene = on_no_contig = 0
    for line in bed_lines(bed):
        minus, width = line.strand == "-", line.end - line.start
        if width != 1 or line.strand not in ("+", "-"):
            problem = f"A line of the BED file {'is longer than a base' if width != 1 else 'has no strand'}."
            needed, found_ = "end is start + 1, and + or - in column 6", f"{line.start}-{line.end} {line.strand}"
            raise SettingsError(problem, needed=needed, found=found_, where=line.where)
        lines += 1
        contig = names.find(line.contig)
        if contig is None or reference.find(line.contig) is None:
            on_no_contig += 1
            continue
        number = table.contigs.index(contig)
        starts, reach = genes.get((number, minus), (none, none))
        before = int(np.searchsorted(starts, line.start, side="right"))  # genes that begin here or earlier
        if before == 0 or line.start >= reach[before - 1]:
            in_no_gene += 1
        else:
            positions[number, minus, label].add(line.start)
    found = {key: np.array(sorted(at), dtype=np.int64) for key, at in positions.items()}
    counts = (
        f"{bed}: {lines:,} lines; {in_no_gene:,} lie in no protein-coding or lncRNA gene of their strand, "
        f"{on_no_contig:,} on no contig of FASTA and annotation"
    )
    if not found:
        remedy = "check assembly, strand, and that starts are 0-based"
        raise CorpusError("No branchpoint lies in a gene.", found=counts, remedy=remedy)
    adenines = 0  # most branchpoints read A, and few bases beside one do
    for (number, minus, _), at in found.items():
        name = str(reference.find(table.contigs[number]))
        adenines += sum(encode(reference.fetch(name, one, one + 1))[0] == (T if minus else A) for one in at.tolist())
    count = sum(map(len, found.values()))
    return Sites(BRANCHPOINT_LABELS, found), f"{counts}; {count:,} positions are left, {adenines / count:.0%} of them A"


def _genes_by_strand(table: GeneTable, reference: Reference) -> dict[tuple[int, bool], tuple[Ints, Ints]]:
    """Return starts of the genes that sequence is taken from, and the farthest end up to each, by contig and strand."""
    genes = {}
    for number, _, rows in gene_rows(table, reference):
        for minus in (False, True):
            of = rows[(table.gene_strand[rows] < 0) == minus]  # ascending by start, as the table is
            genes[number, minus] = table.gene_start[of], np.maximum.accumulate(table.gene_end[of])
    return genes


def label_genes(table: GeneTable, reference: Reference, rows: Iterable[int], margin: int, sites: Sites) -> Labelled:
    """Label all sites in the stretches of some genes, those of other genes too.

    A nucleotide that is of two kinds has no label.

    Args:
        rows: genes to take, numbers of rows of the table.

    Raises:
        CorpusError: the genes have no base.
    """
    pieces: list[Piece] = []
    for number, stretch in _stretches(table, reference, rows):
        start, end = stretch.start - margin, stretch.end + margin
        tokens = np.full(end - start, N, dtype=np.uint8)  # N beyond the contig
        inside = encode(reference.fetch(stretch.contig, start, end))
        tokens[max(0, -start) : max(0, -start) + len(inside)] = inside
        found = np.zeros(len(tokens), dtype=np.uint8)
        for label, name in enumerate(sites.names[1:], start=1):
            at = sites.found.get((number, stretch.minus, name), np.empty(0, dtype=np.int64))
            at = at[np.searchsorted(at, stretch.start) : np.searchsorted(at, stretch.end)] - start
            found[at] = np.where(found[at] == 0, label, UNLABELLED)
        found[:margin] = found[len(found) - margin :] = UNLABELLED
        if stretch.minus:
            tokens, found = reverse_complement(tokens), found[::-1]
        found = np.where(tokens == N, np.uint8(UNLABELLED), found)
        if (found != UNLABELLED).any():
            pieces.append((tokens, found, stretch))
    if not pieces:
        remedy = "check that both are of the same assembly, and --hold-out"
        problem = f"There is no gene of {table.name} to take sequence from on {reference.path}."
        raise CorpusError(problem, remedy=remedy)
    return _labelled(sites.names, margin, pieces)


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


_WORD = 7  # amino acids
_LIKENESS = 0.02
_AMINO_ACIDS = "KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"  # by codon, AAA AAC AAG AAT ACA ...


@dataclass(frozen=True, slots=True)
class TestSet:
    """Held-out protein-coding genes of one contig.

    Args:
        name: species and contig; and the FASTA, where a species has two with that contig.
        paralogs: genes that were left out because their protein is like that of a gene that is trained on.
    """

    name: str
    labelled: Labelled
    paralogs: int

    __test__ = False  # no test of pytest


@dataclass(frozen=True, slots=True)
class Split:
    """Sequence to train on, to stop by, and to test on.

    Args:
        untested: held-out contigs without a gene that can be tested, a sentence each.
    """

    training: Labelled
    validation: Labelled
    tests: tuple[TestSet, ...]
    untested: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Genome:
    source: Source
    table: GeneTable
    reference: Reference
    sites: Sites

    def label(self, rows: Sequence[int], margin: int) -> Labelled:
        return label_genes(self.table, self.reference, rows, margin, self.sites)

    def name(self, number: int) -> str:
        return f"{self.source.species} {self.table.contigs[number]}"


FindSites = Callable[[int, GeneTable, Reference], Sites]
"""Returns the sites of a genome, from its number among the sources, its genes and its bases."""


def split_genes(
    sources: Sequence[Source],
    hold_out: Sequence[str],
    *,
    validation_share: float,
    margin: int,
    test_nt: int,
    find_sites: FindSites = lambda number, table, reference: exon_edges(table),
) -> Split:
    """Divide the protein-coding and lncRNA genes of genomes.

    Genes that overlap, on either strand, go together. Of those that are not held out, a hash of species, contig and
    start decides between training and validation, so the choice does not depend on the other genes. Protein-coding
    genes are tested, without those of which more than 2 % of the words of seven amino acids stand in a protein that is
    trained on.

    Args:
        hold_out: ``SPECIES`` or ``SPECIES:CONTIG``, the contig under any of its names.
        validation_share: of the groups of overlapping genes, between 0 and 1.
        margin: see ``Labelled``.
        test_nt: about how many nucleotides a test set has; whole genes, in the order of a hash.
        find_sites: returns the sites of a genome.

    Raises:
        SettingsError: a contig or genome to hold out does not exist, or no FASTA has it.
        CorpusError: there is no gene to train on or to stop by.
        SpliceBertError: a reference or annotation cannot be read.
    """
    with ExitStack() as stack:
        genomes: list[_Genome] = []
        for number, source in enumerate(sources):
            table, reference = load_table(source.annotation), stack.enter_context(Reference(source.reference))
            genomes.append(_Genome(source, table, reference, find_sites(number, table, reference)))
        held = _held_out(genomes, hold_out)
        divided = [(one, *_divide(one, held[number], validation_share)) for number, one in enumerate(genomes)]
        words = [_words(genome, row) for genome, trained, _, _ in divided for row in trained]
        known = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *words]))
        training = [genome.label(rows, margin) for genome, rows, _, _ in divided if rows]
        validation = [genome.label(rows, margin) for genome, _, rows, _ in divided if rows]
        if not training or not validation:
            problem = f"There is no gene to {'stop by' if training else 'train on'}."
            raise CorpusError(problem, remedy="hold out less, or choose another --validation")
        names = Counter(genome.name(number) for genome, _, _, contigs in divided for number in contigs)
        tests: list[TestSet] = []
        untested: list[str] = []
        for genome, _, _, contigs in divided:
            for number, genes in contigs.items():
                name = genome.name(number)
                if names[name] > 1:
                    name += f" ({genome.source.reference.name})"
                found = _test(genome, name, genes, known, margin, test_nt)
                if isinstance(found, TestSet):
                    tests.append(found)
                else:
                    untested.append(found)
        return Split(joined(training), joined(validation), tuple(tests), tuple(untested))


def _held_out(genomes: Sequence[_Genome], asked: Sequence[str]) -> list[set[int]]:
    """Return the numbers of held-out contigs of each genome's table."""
    held: list[set[int]] = [set() for _ in genomes]
    for word in asked:
        species, colon, contig = word.partition(":")
        matched = False
        for number, genome in enumerate(genomes):
            if genome.source.species != species:
                continue
            contigs = genome.table.contigs
            found = ContigNames(contigs).find(contig) if colon else None
            chosen = range(len(contigs)) if not colon else [contigs.index(found)] if found else []
            held[number].update(chosen)
            matched |= any(genome.reference.find(contigs[row]) for row in chosen)
        if not matched:
            needed = "SPECIES or SPECIES:CONTIG of a genome given, with the contig in both FASTA and annotation"
            where = f"genomes of {', '.join(sorted({genome.source.species for genome in genomes}))}"
            raise SettingsError("There is no such place to hold out.", needed=needed, found=word, where=where)
    return held


def _divide(genome: _Genome, held: set[int], share: float) -> tuple[list[int], list[int], dict[int, list[int]]]:
    """Return rows to train on, rows for validation, and rows to test on by contig."""
    table = genome.table
    coding, _ = kinds(table)
    training: list[int] = []
    validation: list[int] = []
    tests: dict[int, list[int]] = {}
    for number, _, rows in gene_rows(table, genome.reference):
        if number in held:
            tests[number] = [row for row in rows.tolist() if coding[row]]
            continue
        for group in overlapping(table, rows):
            chosen = draw(f"{genome.source.species}:{table.contigs[number]}:{table.gene_start[group[0]]}") < share
            (validation if chosen else training).extend(group)
    return training, validation, tests


def _test(
    genome: _Genome, name: str, rows: Sequence[int], trained: NDArray[np.int64], margin: int, limit: int
) -> TestSet | str:
    """Return the test set of a held-out contig, or the reason why there is none."""
    kept, taken, paralogs = [], 0, 0
    for row in sorted(rows, key=lambda row: draw(f"{genome.source.species}:{genome.table.gene_ids[row]}")):
        start, end = int(genome.table.gene_start[row]), int(genome.table.gene_end[row])
        if taken >= limit:
            break
        words = _words(genome, row)
        if not len(words):  # N, or no reading frame
            continue
        if np.isin(words, trained, assume_unique=True).mean() > _LIKENESS:
            paralogs += 1
            continue
        kept.append(row)
        taken += end - start
    if kept:
        return TestSet(name, genome.label(kept, margin), paralogs)
    genes = f"none of {len(rows):,} protein-coding genes can be tested"
    return f"{name}: {genes}, {paralogs:,} are like a gene trained on"


def _words(genome: _Genome, row: int) -> NDArray[np.int64]:
    """Return the distinct words of seven amino acids of a gene's reported coding sequence, as sorted numbers."""
    table = genome.table
    first, last = int(table.cds_start[row]), int(table.cds_end[row])
    contig = genome.reference.find(table.contigs[int(table.gene_contig[row])])
    assert contig is not None
    pieces = []
    for exon in range(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1])):
        if first >= 0 and table.exon_flags[exon] & REPORTED:
            start, end = max(first, int(table.exon_start[exon])), min(last, int(table.exon_end[exon]))
            pieces.append(genome.reference.fetch(contig, start, end))
    tokens = encode(b"".join(pieces) or b"N")
    if table.gene_strand[row] < 0:
        tokens = reverse_complement(tokens)
    codons = tokens[: len(tokens) // 3 * 3].reshape(-1, 3).astype(np.int64) - A
    known = (codons >= 0).all(axis=1)
    letters = np.frombuffer(_AMINO_ACIDS.encode(), dtype=np.uint8).astype(np.int64)
    protein = letters[np.where(known, codons @ [16, 4, 1], 0)]
    if len(protein) < _WORD:
        return np.empty(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(protein - ord("*"), _WORD)
    whole = np.lib.stride_tricks.sliding_window_view(known, _WORD).all(axis=1)
    return np.unique(windows[whole] @ (49 ** np.arange(_WORD, dtype=np.int64)))

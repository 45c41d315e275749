"""Which genes a model is fine-tuned on, which stop it, and which it is tested on: by contig, by chance, by likeness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.genome.annotation import load_table
from splicebert_vep.genome.contigs import ContigNames
from splicebert_vep.genome.gene_table import REPORTED, GeneTable
from splicebert_vep.genome.reference import Reference
from splicebert_vep.sequence.tokens import encode, reverse_complement
from splicebert_vep_spec import A

from .corpus import Source, draw, gene_rows, kinds, overlapping
from .labelled import ExonEdges, Labelled, Sites, joined, label_genes

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

"""Compile an annotation's text into a gene table: choose the reported transcript, unite the exons."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from splicebert_vep.errors import AnnotationError

from .contigs import ContigNames
from .gene_columns import UNSPECIFIED_BIOTYPE, UNTAGGED, Columns, Gene, Rows, stable_id
from .gene_table import CHOICES, HAS_ACCEPTOR, HAS_DONOR, REPORTED, GeneTable, Ints
from .gene_text import read_columns

DEFAULT_BIOTYPES = ("protein_coding", "lncRNA")
#: nt. Annotations hold gaps of 1 to 5 nt between exons of a transcript, which keep a reading frame or follow an
#: alignment and never have GT-AG; the shortest introns known in any eukaryote have 15 nt.
SHORTEST_INTRON = 10
_MANE_SELECT = CHOICES.index("MANE_Select")
_LONGEST_CDS = CHOICES.index("longest_CDS")
_SMALLEST_ID = CHOICES.index("smallest_id")
_log = logging.getLogger(__name__)


def compile_genes(
    path: str | Path,
    *,
    name: str | None = None,
    source: str | None = None,
    assembly: str | None = None,
    biotypes: Collection[str] = DEFAULT_BIOTYPES,
    mane_from: GeneTable | None = None,
    contig_lengths: Mapping[str, int] | None = None,
) -> GeneTable:
    """Compile a GFF3, a GTF or SpliceAI's table, plain or gzip, into a gene table.

    Args:
        path: the annotation; its format is told from its contents.
        name: the table's name; the file's name up to the first dot by default.
        source: what it is, in words; the file's name by default.
        assembly: the assembly's name; by default what the file says, None when it says nothing.
        biotypes: gene biotypes to keep, literally as in the file. SpliceAI's table has none, all its genes are kept.
        mane_from: a transcript that is the MANE Select one in this table (by id without version) counts as such.
        contig_lengths: nt by contig under any naming; they win over the file's own.

    Raises:
        AnnotationError: unreadable, malformed, of an unknown format, or without a gene of the wanted biotypes.
    """
    path = Path(path)
    columns = read_columns(path)
    transcripts = _transcript_genes(columns, frozenset(biotypes) | {UNSPECIFIED_BIOTYPE})
    exons = _rows(columns.exons, transcripts)
    genes = _sorted_genes(columns.genes, exons, path)
    if not genes.rows:
        raise _nothing_kept(columns.genes, biotypes, path)
    row_of = np.full(len(columns.genes) + 1, -1, dtype=np.int64)
    row_of[genes.rows] = np.arange(len(genes.rows))
    transcripts, exons.gene = row_of[transcripts], row_of[exons.gene]
    coding = _rows(columns.coding, transcripts)
    _warn_of_genes_left_out(columns.genes, frozenset(biotypes), genes.rows, path)

    reported, choice = _choose(columns, transcripts, exons, coding, mane_from)
    first, last = _extent(coding.start, coding.end, coding.transcript, len(transcripts))
    kept = [columns.genes[row] for row in genes.rows]
    contigs = sorted({gene.contig for gene in kept})
    contig_row = {contig: row for row, contig in enumerate(contigs)}
    strand = np.array([gene.strand for gene in kept], dtype=np.int64)
    lengths = {**columns.contig_lengths, **_renamed(contig_lengths or {}, [*columns.contig_lengths, *contigs])}
    union = _unite(exons, reported, strand)
    return GeneTable(
        name=name or path.name.split(".")[0],
        source=source or path.name,
        assembly=assembly or columns.assembly,
        contig_lengths=lengths,
        contigs=tuple(contigs),
        gene_contig=np.array([contig_row[gene.contig] for gene in kept], dtype=np.int64),
        gene_start=genes.start,
        gene_end=genes.end,
        gene_strand=strand,
        gene_ids=tuple(gene.id for gene in kept),
        symbols=tuple(gene.symbol for gene in kept),
        biotypes=tuple(gene.biotype for gene in kept),
        transcript_ids=tuple(columns.transcripts[row].id for row in reported.tolist()),
        choice=choice,
        cds_start=first[reported],
        cds_end=last[reported],
        exon_offsets=np.searchsorted(union.gene, np.arange(len(kept) + 1)),
        exon_start=union.start,
        exon_end=union.end,
        exon_flags=union.flags,
    )


def read_contig_lengths(path: str | Path) -> dict[str, int]:
    """Read contig lengths from the first two columns of a ``.fai`` or another TAB-separated file.

    Raises:
        AnnotationError: unreadable, or a line without a name and a length.
    """
    lengths: dict[str, int] = {}
    number = 0
    try:
        with Path(path).open(encoding="utf-8") as handle:
            for line in handle:
                number += 1
                name, length = line.rstrip("\n").split("\t")[:2]
                lengths[name] = int(length)
    except (OSError, ValueError) as error:
        raise AnnotationError(
            "The contig lengths cannot be read.",
            needed="lines of name, TAB, length, as in a .fai",
            found=str(error),
            where=f"{path}, line {number}",
            remedy="give the .fai of the FASTA",
        ) from error
    return lengths


@dataclass(slots=True)
class _Intervals:
    """Intervals with the rows of their transcript and gene; flags are those of gene_table."""

    transcript: Ints
    gene: Ints
    start: Ints
    end: Ints
    flags: Ints

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> _Intervals:
        return _Intervals(self.transcript[rows], self.gene[rows], self.start[rows], self.end[rows], self.flags[rows])


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Genes with exons in the table's order: rows of ``Columns.genes``, start, end (0-based half-open)."""

    rows: list[int]
    start: Ints
    end: Ints


def _transcript_genes(columns: Columns, wanted: frozenset[str]) -> Ints:
    """Return the gene's row for each transcript, -1 for a transcript of no wanted gene."""
    keep = [gene.biotype in wanted for gene in columns.genes]
    rows = (item.gene if item.gene >= 0 and keep[item.gene] else -1 for item in columns.transcripts)
    return np.fromiter(rows, dtype=np.int64, count=len(columns.transcripts))


def _rows(rows: Rows, transcript_gene: Ints) -> _Intervals:
    """Return the intervals of transcripts that have a gene, sorted by transcript, start and end."""
    transcript = np.array(rows.transcript, dtype=np.int64)
    everything = _Intervals(
        transcript=transcript,
        gene=transcript_gene[transcript],
        start=np.array(rows.start, dtype=np.int64),
        end=np.array(rows.end, dtype=np.int64),
        flags=np.zeros(len(transcript), dtype=np.int64),
    )
    kept = everything.take(everything.gene >= 0)
    return kept.take(np.lexsort((kept.end, kept.start, kept.transcript)))


def _extent(start: Ints, end: Ints, group: Ints, count: int) -> tuple[Ints, Ints]:
    """Return the smallest start and the largest end of each group, -1 for groups without intervals."""
    far = np.iinfo(np.int64).max
    first, last = np.full(count, far, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    np.minimum.at(first, group, start)
    np.maximum.at(last, group, end)
    first[first == far] = -1
    return first, last


def _sorted_genes(genes: list[Gene], exons: _Intervals, path: Path) -> _Sorted:
    first, last = _extent(exons.start, exons.end, exons.gene, len(genes))
    order: list[tuple[str, int, int, str, int]] = []
    for row in np.unique(exons.gene).tolist():
        gene = genes[row]
        if gene.strand == 0:
            raise AnnotationError(
                "A gene of the annotation has no strand.",
                needed="+ or -",
                found=f"gene {gene.id} on {gene.contig}",
                where=str(path),
                remedy="correct its line, or choose other biotypes",
            )
        # A gene reaches over all its exons even where its own line (or none) says less.
        start = min(int(first[row]), gene.start) if gene.start >= 0 else int(first[row])
        order.append((gene.contig, start, max(int(last[row]), gene.end), gene.id, row))
    order.sort()
    return _Sorted(
        rows=[item[4] for item in order],
        start=np.array([item[1] for item in order], dtype=np.int64),
        end=np.array([item[2] for item in order], dtype=np.int64),
    )


def _choose(
    columns: Columns, transcript_gene: Ints, exons: _Intervals, coding: _Intervals, mane_from: GeneTable | None
) -> tuple[Ints, Ints]:
    """Return the reported transcript's row and the index into CHOICES of each gene.

    Best tag first, then most coding nucleotides, then smallest id.
    """
    elsewhere: set[str] = set()
    if mane_from is not None:
        chosen = zip(mane_from.transcript_ids, mane_from.choice.tolist(), strict=True)
        elsewhere = {stable_id(identifier) for identifier, choice in chosen if choice == _MANE_SELECT}
    count = len(columns.transcripts)
    coding_nt = np.bincount(coding.transcript, weights=coding.end - coding.start, minlength=count).astype(np.int64)
    candidates = []
    for row in np.unique(exons.transcript).tolist():
        item, length = columns.transcripts[row], int(coding_nt[row])
        rank = _MANE_SELECT if elsewhere and stable_id(item.id) in elsewhere else item.rank
        if rank == UNTAGGED:
            rank = _LONGEST_CDS if length else _SMALLEST_ID
        candidates.append((int(transcript_gene[row]), rank, -length, item.id, row))
    candidates.sort()
    reported, choice, last = [], [], -1
    for gene, rank, _, _, row in candidates:
        if gene != last:
            reported.append(row)
            choice.append(rank)
            last = gene
    return np.array(reported, dtype=np.int64), np.array(choice, dtype=np.int64)


def _unite(exons: _Intervals, reported: Ints, strand: Ints) -> _Intervals:
    """Return each gene's distinct exons with the flags of all transcripts that have them."""
    joined = exons.transcript[1:] == exons.transcript[:-1]
    intron = joined & (exons.start[1:] - exons.end[:-1] >= SHORTEST_INTRON)
    left, right = np.append(False, intron), np.append(intron, False)
    plus = strand[exons.gene] > 0
    exons.flags = (
        HAS_ACCEPTOR * np.where(plus, left, right)
        + HAS_DONOR * np.where(plus, right, left)
        + REPORTED * (reported[exons.gene] == exons.transcript)
    )
    ordered = exons.take(np.lexsort((exons.end, exons.start, exons.gene)))
    differs = np.diff(ordered.gene) | np.diff(ordered.start) | np.diff(ordered.end)
    firsts = np.append(0, np.flatnonzero(differs) + 1)
    union = ordered.take(firsts)
    union.flags = np.bitwise_or.reduceat(ordered.flags, firsts)
    return union


def _renamed(lengths: Mapping[str, int], names: list[str]) -> dict[str, int]:
    """Return lengths under the annotation's own contig names, where it has that contig."""
    own = ContigNames(names)
    return {own.find(name) or name: length for name, length in lengths.items()}


def _warn_of_genes_left_out(genes: list[Gene], wanted: frozenset[str], kept: list[int], path: Path) -> None:
    without = len([gene for gene in genes if gene.biotype in wanted]) - len(kept)
    if without > 0:
        _log.warning("%s: %d genes of the wanted biotypes have no exons and are left out", path.name, without)


def _nothing_kept(genes: list[Gene], biotypes: Collection[str], path: Path) -> AnnotationError:
    seen = Counter(gene.biotype or "(none)" for gene in genes).most_common()
    return AnnotationError(
        "The gene annotation holds no gene of the wanted biotypes with exons.",
        needed=f"genes of biotype {', '.join(biotypes)} outside the mitochondrial genome",
        found=", ".join(f"{word} ({count})" for word, count in seen) if seen else "no genes at all",
        where=str(path),
        remedy="name the biotypes to keep, as the file writes them (genes build --biotype)",
    )

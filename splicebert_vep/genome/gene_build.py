"""Compile an annotation's text into a gene table: choose the reported transcript, unite the exons."""

from __future__ import annotations

import gzip
import io
import logging
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from ..errors import AnnotationError, suggestion
from .contigs import ContigNames, is_mitochondrial
from .gene_table import (
    CHOICES,
    HAS_ACCEPTOR,
    HAS_DONOR,
    REPORTED,
    UNSPECIFIED_BIOTYPE,
    UNTAGGED,
    ZIP_MAGIC,
    Columns,
    Gene,
    GeneTable,
    Ints,
    Rows,
    Transcript,
    gene_symbol,
    strand_sign,
    tag_rank,
    unreadable,
    with_version,
)
from .ids import stable_id

_GZIP_MAGIC = b"\x1f\x8b"
_LONGEST_LINE = 1 << 20
_SPLICEAI_HEADER = [b"#NAME", b"CHROM", b"STRAND", b"TX_START", b"TX_END", b"EXON_START", b"EXON_END"]
#: GFF3 features that are neither gene nor transcript; everything else with an ID and a Parent may be a transcript.
_NEITHER = frozenset(
    b"five_prime_UTR three_prime_UTR start_codon stop_codon stop_codon_redefined_as_selenocysteine intron "
    b"biological_region region chromosome scaffold supercontig contig match cDNA_match protein_match".split()
)
_GTF_PAIR = re.compile(rb'(\w+) "([^"]*)"')
_ENTREZ = re.compile(rb"\bGeneID:(\d+)")
_ASSEMBLY_IN_WORDS = re.compile(r"genome \(([^)]+)\)")


def read_columns(path: Path) -> Columns:
    """Read an annotation, plain or gzip, whose format is told from its contents.

    Raises:
        AnnotationError: unreadable, of an unknown format, or a line is malformed (file and line are named).
    """
    columns = Columns()
    with _open(path) as handle:
        read = _detect(handle, path)
    with _open(path) as handle:
        lines = _Lines(handle)
        try:
            read(lines, columns)
        except (ValueError, KeyError) as error:
            raise AnnotationError(
                "A line of the gene annotation is malformed.",
                needed="a complete GFF3, GTF or SpliceAI table line, start not after end",
                found=str(error),
                where=f"{path}, line {lines.number}",
                remedy="download the annotation again, or correct the line",
            ) from error
    return columns


class _Lines:
    """Iterate over lines and remember the number of the last one, 1-based."""

    def __init__(self, handle: BinaryIO) -> None:
        self.number = 0
        self._handle = handle

    def __iter__(self) -> Iterator[bytes]:
        for line in self._handle:
            self.number += 1
            yield line


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as raw:
            if raw.read(2) == _GZIP_MAGIC:
                raw.seek(0)
                yield cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20))
            else:
                raw.seek(0)
                yield raw
    except (OSError, EOFError, zlib.error) as error:
        raise AnnotationError(
            "The gene annotation cannot be read to its end.",
            needed="a readable text file, plain or gzip",
            found=str(error),
            where=str(path),
            remedy="check the path, or download the file again",
        ) from error


def _detect(handle: BinaryIO, path: Path) -> Callable[[_Lines, Columns], None]:
    """Return the reader for the format of the first line that tells it."""
    line = b""
    while line := handle.readline(_LONGEST_LINE):
        fields = line.rstrip(b"\r\n").split(b"\t")
        if fields == _SPLICEAI_HEADER:
            return _read_spliceai
        if line.startswith(b"#") or not line.strip():
            continue
        if len(fields) == 9 and re.match(rb"\s*\w+ \"", fields[8]):
            return _read_gtf
        if len(fields) == 9 and b"=" in fields[8]:
            return _read_gff3
        break
    raise AnnotationError(
        "The gene annotation is of an unknown format." if line else "The gene annotation holds no features.",
        needed="GFF3 or GTF (Ensembl, GENCODE, RefSeq), or SpliceAI's table with its header "
        + "\\t".join(word.decode() for word in _SPLICEAI_HEADER),
        found=repr(line[:80].decode(errors="replace")) if line else "no line but comments",
        where=str(path),
        remedy="give an annotation in one of these formats",
    )


def _read_gff3(lines: _Lines, columns: Columns) -> None:
    # Ids are looked up per contig: files that repeat the pseudoautosomal genes on Y may repeat their ids.
    genes: dict[bytes, dict[bytes, int]] = {}
    transcripts: dict[bytes, dict[bytes, int]] = {}
    contig, name, left_out = b"", "", True
    for line in lines:
        if line.startswith(b"#"):
            if line.startswith(b"##FASTA"):
                break
            _read_directive(line, columns)
            continue
        fields = line.split(b"\t")
        if len(fields) != 9:
            _allow_blank(line, len(fields))
            continue
        kind = fields[2]
        if kind in _NEITHER:
            continue
        if fields[0] != contig:
            contig = fields[0]
            name = contig.decode()
            left_out = is_mitochondrial(name)
            gene_rows = genes.setdefault(contig, {})
            rows = transcripts.setdefault(contig, {})
        if left_out:
            continue
        start, end = _interval(fields[3], fields[4])
        if kind == b"exon" or kind == b"CDS":
            target = columns.exons if kind == b"exon" else columns.coding
            for parent in _parents(fields[8]):
                row = rows.get(parent)
                if row is None:
                    row = rows[parent] = len(columns.transcripts)
                    columns.transcripts.append(Transcript(parent.decode()))
                target.add(row, start, end)
            continue
        attributes = dict(pair.split(b"=", 1) for pair in fields[8].strip().split(b";") if b"=" in pair)
        identifier = attributes.get(b"ID")
        if kind == b"gene" or kind == b"pseudogene" or kind.endswith(b"_gene"):
            if identifier is None:
                raise ValueError("a gene without ID")
            if identifier not in gene_rows:
                gene_rows[identifier] = len(columns.genes)
                columns.genes.append(_gff3_gene(name, start, end, fields[6], attributes))
        elif identifier is not None and b"Parent" in attributes:
            row = rows.get(identifier)
            if row is None:
                row = rows[identifier] = len(columns.transcripts)
                columns.transcripts.append(Transcript(""))
            transcript = columns.transcripts[row]
            transcript.id = _gff3_id(attributes, b"transcript_id")
            transcript.parent = attributes[b"Parent"].split(b",")[0]
            transcript.rank = tag_rank(attributes.get(b"tag", b"").split(b","))
    for contig, rows in transcripts.items():
        _resolve(rows, genes[contig], columns)


def _resolve(rows: dict[bytes, int], gene_rows: dict[bytes, int], columns: Columns) -> None:
    """Find the gene of each transcript of a contig: its parent, its parent's parent, or itself a gene with exons."""
    for identifier, row in rows.items():
        transcript = columns.transcripts[row]
        above: bytes | None = identifier
        seen: set[bytes] = set()
        while above is not None and above not in gene_rows and above not in seen:
            seen.add(above)
            above = columns.transcripts[rows[above]].parent if above in rows else None
        if above is None or above not in gene_rows:
            continue
        transcript.gene = gene_rows[above]
        if above == identifier:
            transcript.id = columns.genes[transcript.gene].id


def _gff3_gene(contig: str, start: int, end: int, strand: bytes, attributes: dict[bytes, bytes]) -> Gene:
    entrez = _ENTREZ.search(attributes.get(b"Dbxref", b""))
    # RefSeq's stable gene id is the NCBI GeneID; its GFF3 ids are made of the symbol.
    identifier = entrez[1].decode() if entrez else _gff3_id(attributes, b"gene_id")
    label = attributes.get(b"gene_name") or attributes.get(b"Name") or attributes.get(b"gene")
    biotype = attributes.get(b"biotype") or attributes.get(b"gene_biotype") or attributes.get(b"gene_type") or b""
    return Gene(contig, identifier, gene_symbol(label, identifier), biotype.decode(), strand_sign(strand), start, end)


def _gff3_id(attributes: dict[bytes, bytes], key: bytes) -> str:
    """Return the id with its version: Ensembl's ``gene_id=X;version=7``; GENCODE and RefSeq have it in the id."""
    identifier = unquote((attributes.get(key) or attributes[b"ID"]).decode())
    return with_version(identifier, attributes.get(b"version"))


def _parents(attributes: bytes) -> list[bytes]:
    if attributes.startswith(b"Parent="):
        at = 7
    else:
        at = attributes.find(b";Parent=") + 8
        if at == 7:
            raise ValueError("an exon or CDS without Parent")
    stop = attributes.find(b";", at)
    return (attributes[at:].strip() if stop < 0 else attributes[at:stop]).split(b",")


def _read_gtf(lines: _Lines, columns: Columns) -> None:
    # Ensembl 75 gives a pseudoautosomal gene the same ids on X and Y, hence the look-up per contig.
    genes: dict[bytes, dict[bytes, int]] = {}
    transcripts: dict[bytes, dict[bytes, int]] = {}
    # In GTF the stop codon is no part of the CDS; in GFF3 it is. Here it always is.
    targets = {b"exon": columns.exons, b"CDS": columns.coding, b"stop_codon": columns.coding}
    contig, name, left_out = b"", "", True
    for line in lines:
        if line.startswith(b"#"):
            _read_directive(line, columns)
            continue
        fields = line.split(b"\t")
        if len(fields) != 9:
            _allow_blank(line, len(fields))
            continue
        kind = fields[2]
        target = targets.get(kind)
        if target is None and kind != b"transcript" and kind != b"gene":
            continue
        if fields[0] != contig:
            contig = fields[0]
            name = contig.decode()
            left_out = is_mitochondrial(name)
            gene_rows = genes.setdefault(contig, {})
            rows = transcripts.setdefault(contig, {})
        if left_out:
            continue
        start, end = _interval(fields[3], fields[4])
        if kind == b"gene":
            gene = columns.genes[_gtf_gene(name, fields, _GTF_PAIR.findall(fields[8]), gene_rows, columns)]
            gene.start, gene.end = start, end
            continue
        at = fields[8].find(b'transcript_id "') + 15
        if at == 14:
            raise ValueError(f"{kind.decode()} without transcript_id")
        identifier = fields[8][at : fields[8].index(b'"', at)]
        row = rows.get(identifier)
        if row is None or target is None:
            pairs = _GTF_PAIR.findall(fields[8])
            if row is None:
                row = rows[identifier] = len(columns.transcripts)
                owner = _gtf_gene(name, fields, pairs, gene_rows, columns)
                columns.transcripts.append(Transcript(_gtf_id(dict(pairs), b"transcript"), gene=owner))
            tags = [value for key, value in pairs if key == b"tag"]
            columns.transcripts[row].rank = min(columns.transcripts[row].rank, tag_rank(tags))
        if target is not None:
            target.add(row, start, end)


def _gtf_gene(
    contig: str, fields: list[bytes], pairs: list[tuple[bytes, bytes]], rows: dict[bytes, int], columns: Columns
) -> int:
    """Return the row of a line's gene, made from the line when it is the first of that gene."""
    attributes = dict(pairs)
    row = rows.get(attributes[b"gene_id"])
    if row is None:
        row = rows[attributes[b"gene_id"]] = len(columns.genes)
        identifier = _gtf_id(attributes, b"gene")
        biotype = (attributes.get(b"gene_biotype") or attributes.get(b"gene_type") or b"").decode()
        symbol = gene_symbol(attributes.get(b"gene_name") or attributes.get(b"gene"), identifier)
        columns.genes.append(Gene(contig, identifier, symbol, biotype, strand_sign(fields[6])))
    return row


def _gtf_id(attributes: dict[bytes, bytes], kind: bytes) -> str:
    return with_version(attributes[kind + b"_id"].decode(), attributes.get(kind + b"_version"))


def _read_spliceai(lines: _Lines, columns: Columns) -> None:
    """Read SpliceAI's table: starts 0-based, ends exclusive, as in UCSC's genePred (SpliceAI itself adds 1 to starts).

    A row is one transcript of one gene, without ids, biotype or coding sequence.
    """
    for line in lines:
        if line.startswith(b"#") or not line.strip():
            continue
        fields = line.rstrip(b"\r\n").split(b"\t")
        if len(fields) != len(_SPLICEAI_HEADER):
            raise ValueError(f"{len(fields)} columns instead of {len(_SPLICEAI_HEADER)}")
        name, contig = fields[0].decode(), fields[1].decode()
        if is_mitochondrial(contig):
            continue
        starts, ends = ([int(part) for part in text.split(b",") if part] for text in fields[5:7])
        row = len(columns.transcripts)
        for start, end in zip([int(fields[3]), *starts], [int(fields[4]), *ends], strict=True):
            if not 0 <= start < end:
                raise ValueError(f"start {start}, end {end}")
        columns.transcripts.append(Transcript(name, gene=len(columns.genes)))
        columns.genes.append(
            Gene(contig, name, name, UNSPECIFIED_BIOTYPE, strand_sign(fields[2]), int(fields[3]), int(fields[4]))
        )
        for start, end in zip(starts, ends, strict=True):
            columns.exons.add(row, start, end)


def _read_directive(line: bytes, columns: Columns) -> None:
    words = line.decode().split()
    if words[0] == "##sequence-region":
        if len(words) != 4:
            raise ValueError("a ##sequence-region without name, start and end")
        columns.contig_lengths[words[1]] = int(words[3])
    elif words[0] in ("#!genome-version", "#!genome-build") and len(words) == 2:
        # Ensembl's build line of human is a sentence; its version line is one word.
        columns.assembly = words[1]
    elif words[0].endswith("#description:"):
        found = _ASSEMBLY_IN_WORDS.search(line.decode())
        columns.assembly = found[1] if found else columns.assembly


def _interval(first: bytes, last: bytes) -> tuple[int, int]:
    """Return 0-based half-open coordinates from 1-based inclusive ones."""
    start, end = int(first) - 1, int(last)
    if not 0 <= start < end:
        raise ValueError(f"start {start + 1}, end {end}")
    return start, end


def _allow_blank(line: bytes, columns: int) -> None:
    if line.strip():
        raise ValueError(f"{columns} columns instead of 9")


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


BUILT_IN = ("grch37", "grch38")
_ALIASES = {"hg38": "grch38", "hg19": "grch37"}
_TABLES = Path(__file__).parent / "tables"


def is_built_in(name: str) -> bool:
    """Tell whether a name is that of a built-in table, whatever files there are."""
    return _ALIASES.get(name.lower(), name.lower()) in BUILT_IN


def load_table(name_or_path: str | Path) -> GeneTable:
    """Return a gene table: a built-in one, a compiled one, or one compiled on the fly from an annotation's text.

    Args:
        name_or_path: ``grch38`` (``hg38``) or ``grch37`` (``hg19``), in any case and before files of that name; or the
            path of a file made by ``genes build``, of a GFF3, a GTF or a SpliceAI table, plain or gzip.

    Raises:
        AnnotationError: neither a known name nor a readable annotation.
    """
    name = str(name_or_path)
    known = _ALIASES.get(name.lower(), name.lower())
    if known in BUILT_IN:
        return GeneTable.load(_TABLES / f"{known}.genes.npz")
    path = Path(name_or_path)
    if not path.is_file():
        raise AnnotationError(
            f"No gene annotation is called {name!r}, and no file has that path.",
            needed=f"one of {', '.join(BUILT_IN)}, or the path of a compiled table (*.genes.npz), a GFF3, a GTF or "
            "SpliceAI's annotation table, plain or gzip",
            found=name,
            remedy=suggestion([name], BUILT_IN).replace("?", "? ") + "check the path, or give -A grch38 or -A grch37",
        )
    try:
        with path.open("rb") as handle:
            compiled = handle.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    except OSError as error:
        raise unreadable(path, error) from error
    if compiled:
        return GeneTable.load(path)
    return compile_genes(path)

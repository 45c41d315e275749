"""Compile an annotation's text into a gene table: choose the reported transcript, unite the exons."""

from __future__ import annotations

import gzip
import io
import logging
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO, cast
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ..errors import AnnotationError, suggestion
from .contigs import ContigNames, is_mitochondrial
from .gene_table import CHOICES, HAS_ACCEPTOR, HAS_DONOR, REPORTED, GeneTable, Ints, is_table
from .ids import stable_id

DEFAULT_BIOTYPES = ("protein_coding", "lncRNA")
#: SpliceAI's table does not say what its genes are.
UNSPECIFIED_BIOTYPE = "unspecified"
#: nt. Annotations hold gaps of 1 to 5 nt between exons of a transcript, which keep a reading frame or follow an
#: alignment and never have GT-AG; the shortest introns known in any eukaryote have 15 nt.
SHORTEST_INTRON = 10

_MANE_SELECT, _LONGEST_CDS, _SMALLEST_ID = map(CHOICES.index, ("MANE_Select", "longest_CDS", "smallest_id"))
_TAGS = CHOICES[:_LONGEST_CDS]
_STRANDS = {"+": 1, "-": -1}
_LONGEST_LINE = 1 << 20
_SPLICEAI_HEADER = ["#NAME", "CHROM", "STRAND", "TX_START", "TX_END", "EXON_START", "EXON_END"]
_GTF_TYPES = frozenset(["gene", "transcript", "exon", "CDS", "stop_codon"])
#: GFF3 features that are neither gene nor transcript; everything else with an ID and a Parent may be a transcript.
_NEITHER = frozenset({
    "five_prime_UTR", "three_prime_UTR", "start_codon", "stop_codon", "stop_codon_redefined_as_selenocysteine",
    "intron", "biological_region", "region", "chromosome", "scaffold", "supercontig", "contig", "match", "cDNA_match",
    "protein_match",
})  # fmt: skip
_PARENT = re.compile(r"(?:^|;)Parent=([^;\n]*)")
_TRANSCRIPT_ID = re.compile(r'\btranscript_id "([^"]*)"')
_GTF_PAIR = re.compile(r'(\w+) "([^"]*)"')
_ENTREZ = re.compile(r"\bGeneID:(\d+)")
_ASSEMBLY_IN_WORDS = re.compile(r"genome \(([^)]+)\)")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Intervals:
    """Intervals, 0-based half-open, with the row of their transcript."""

    transcript: Ints
    start: Ints
    end: Ints

    def take(self, rows: Ints | NDArray[np.bool_]) -> _Intervals:
        return _Intervals(self.transcript[rows], self.start[rows], self.end[rows])


@dataclass(slots=True)
class _Gene:
    """A gene as read: 0-based half-open; start and end are -1 when the file has no line for the gene itself."""

    contig: str
    id: str
    symbol: str | None
    biotype: str
    strand: int  # 1, -1, or 0 for unknown, an error only in a gene that is kept
    start: int = -1
    end: int = -1


@dataclass(slots=True)
class _Transcript:
    """A transcript as read.

    Args:
        id: with its version.
        gene: row of its gene, -1 unknown.
        rank: index into CHOICES by tag; _LONGEST_CDS without a tag.
        parent: contig and id of the feature that its line names as its parent.
    """

    id: str
    gene: int = -1
    rank: int = _LONGEST_CDS
    parent: tuple[str, str] | None = None


class _Annotation:
    """Everything read from one annotation, wanted or not; mitochondrial contigs are left out."""

    def __init__(self) -> None:
        self.genes: list[_Gene] = []
        self.transcripts: list[_Transcript] = []
        self.contig_lengths: dict[str, int] = {}
        self.assembly: str | None = None
        self.line = 0  # number of the line being read, 1-based
        self._intervals = array("q")  # transcript, start, end, coding of each exon and CDS

    def add(self, transcript: int, start: int, end: int, coding: bool) -> None:
        self._intervals.extend((transcript, start, end, coding))

    def intervals(self, gene_of: Ints) -> tuple[_Intervals, _Intervals]:
        """Return exons and CDS of the transcripts that have a gene, sorted by transcript, start and end."""
        transcript, start, end, coding = np.array(self._intervals, dtype=np.int64).reshape(-1, 4).T
        order = np.lexsort((end, start, transcript))
        order = order[gene_of[transcript[order]] >= 0]
        everything = _Intervals(transcript, start, end)
        return everything.take(order[coding[order] == 0]), everything.take(order[coding[order] == 1])

    def features(self, lines: Iterable[str], *, gtf: bool) -> Iterator[tuple[str, str, int, int, str, str]]:
        """Yield contig, type, start, end (0-based half-open), strand and attributes of every feature that matters."""
        types = _GTF_TYPES if gtf else _NEITHER
        known: dict[str, bool] = {}
        for self.line, line in enumerate(lines, 1):
            if line.startswith("#"):
                if line.startswith("##FASTA"):
                    return
                self._read_comment(line)
                continue
            fields = line.split("\t")
            if len(fields) != 9:
                if line.strip():
                    raise ValueError(f"{len(fields)} columns instead of 9")
                continue
            contig, _, kind, first, last, _, strand, _, attributes = fields
            if (kind in types) is not gtf:
                continue
            if contig not in known:
                known[contig] = not is_mitochondrial(contig)
            if known[contig]:
                start, end = int(first) - 1, int(last)
                if not 0 <= start < end:
                    raise ValueError(f"start {first}, end {last}")
                yield contig, kind, start, end, strand, attributes

    def _read_comment(self, line: str) -> None:
        words = line.split()
        if words[0] == "##sequence-region":
            if len(words) != 4:
                raise ValueError("a ##sequence-region without name, start and end")
            self.contig_lengths[words[1]] = int(words[3])
        elif words[0] in ("#!genome-version", "#!genome-build") and len(words) == 2:
            # Ensembl's build line of human is a sentence; its version line is one word.
            self.assembly = words[1]
        elif words[0].endswith("#description:") and (found := _ASSEMBLY_IN_WORDS.search(line)):
            self.assembly = found[1]


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
        source: description in words; the file's name by default.
        assembly: the assembly's name; by default as the file says, None when it says nothing.
        biotypes: gene biotypes to keep, literally as in the file. SpliceAI's table has none, all its genes are kept.
        mane_from: a transcript that is the MANE Select one in this table (by id without version) counts as such.
        contig_lengths: nt by contig under any naming; they win over the file's own.

    Raises:
        AnnotationError: unreadable, malformed, of an unknown format, or without a gene of the wanted biotypes.
    """
    path = Path(path)
    found = _read(path)
    rows, start, end = _kept_genes(found, {*biotypes, UNSPECIFIED_BIOTYPE}, path)
    if not rows:
        raise _nothing_kept(found.genes, biotypes, path)
    without = sum(gene.biotype in biotypes for gene in found.genes) - len(rows)
    if without > 0:
        _log.warning("%s: %d genes of the wanted biotypes have no exons and are left out", path.name, without)

    row_of = np.full(len(found.genes) + 1, -1, dtype=np.int64)
    row_of[rows] = np.arange(len(rows))
    gene_of = row_of[[transcript.gene for transcript in found.transcripts]]
    exons, coding = found.intervals(gene_of)
    reported, choice = _choose(found, gene_of, exons, coding, mane_from)
    cds_start, cds_end = _extent(coding, coding.transcript, len(gene_of))

    genes = [found.genes[row] for row in rows]
    contigs = sorted({gene.contig for gene in genes})
    strand = np.array([gene.strand for gene in genes], dtype=np.int64)
    exon_gene, exon_start, exon_end, exon_flags = _unite(exons, gene_of[exons.transcript], reported, strand)
    own = ContigNames([*found.contig_lengths, *contigs])
    given = {own.find(contig) or contig: length for contig, length in (contig_lengths or {}).items()}
    return GeneTable(
        name=name or path.name.split(".")[0],
        source=source or path.name,
        assembly=assembly or found.assembly,
        contig_lengths={**found.contig_lengths, **given},
        contigs=tuple(contigs),
        gene_contig=np.searchsorted(contigs, [gene.contig for gene in genes]),
        gene_start=start,
        gene_end=end,
        gene_strand=strand,
        gene_ids=tuple(gene.id for gene in genes),
        symbols=tuple(gene.symbol for gene in genes),
        biotypes=tuple(gene.biotype for gene in genes),
        transcript_ids=tuple(found.transcripts[row].id for row in reported.tolist()),
        choice=choice,
        cds_start=cds_start[reported],
        cds_end=cds_end[reported],
        exon_offsets=np.searchsorted(exon_gene, np.arange(len(genes) + 1)),
        exon_start=exon_start,
        exon_end=exon_end,
        exon_flags=exon_flags,
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
            "The contig lengths cannot be read.", needed="lines of name, TAB, length, as in a .fai", found=str(error),
            where=f"{path}, line {number}", remedy="give the .fai of the FASTA",
        ) from error  # fmt: skip
    return lengths


# ---- text ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> _Annotation:
    """Read an annotation in the format that its first feature tells."""
    with _open(path) as handle:
        read = _detect(handle, path)
    found = _Annotation()
    with _open(path) as handle:
        try:
            read(handle, found)
        except (ValueError, KeyError) as error:
            raise AnnotationError(
                "A line of the gene annotation is malformed.",
                needed="a complete GFF3, GTF or SpliceAI table line, start not after end", found=str(error),
                where=f"{path}, line {found.line}", remedy="download the annotation again, or correct the line",
            ) from error  # fmt: skip
    return found


@contextmanager
def _open(path: Path) -> Iterator[TextIO]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            binary = cast(BinaryIO, io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20)) if packed else raw
            yield io.TextIOWrapper(binary, encoding="utf-8", errors="replace")
    except (OSError, EOFError, zlib.error) as error:
        raise AnnotationError(
            "The gene annotation cannot be read to its end.", found=str(error), where=str(path),
            remedy="check the path, or download the file again",
        ) from error  # fmt: skip


def _detect(handle: TextIO, path: Path) -> Callable[[TextIO, _Annotation], None]:
    """Return the reader for the format of the first line that tells it."""
    line = ""
    while line := handle.readline(_LONGEST_LINE):
        fields = line.rstrip("\n").split("\t")
        if fields == _SPLICEAI_HEADER:
            return _read_spliceai
        if line.startswith("#") or not line.strip():
            continue
        if len(fields) == 9 and re.match(r"\s*\w+ \"", fields[8]):
            return _read_gtf
        if len(fields) == 9 and "=" in fields[8]:
            return _read_gff3
        break
    raise AnnotationError(
        "The gene annotation is of an unknown format." if line else "The gene annotation holds no features.",
        needed="GFF3 or GTF (Ensembl, GENCODE, RefSeq), or SpliceAI's table: " + "\\t".join(_SPLICEAI_HEADER),
        found=repr(line[:80]) if line else "no line but comments", where=str(path),
        remedy="give an annotation in one of these formats",
    )  # fmt: skip


def _read_gff3(lines: Iterable[str], found: _Annotation) -> None:
    # Ids are looked up with their contig: files that repeat the pseudoautosomal genes on Y may repeat their ids.
    genes: dict[tuple[str, str], int] = {}
    transcripts: dict[tuple[str, str], int] = {}

    def transcript_row(key: tuple[str, str]) -> int:
        if key not in transcripts:
            transcripts[key] = len(found.transcripts)
            found.transcripts.append(_Transcript(key[1]))
        return transcripts[key]

    for contig, kind, start, end, strand, text in found.features(lines, gtf=False):
        if kind in ("exon", "CDS"):
            parents = _PARENT.search(text)
            if parents is None:
                raise ValueError("an exon or CDS without Parent")
            for parent in parents[1].strip().split(","):
                found.add(transcript_row((contig, parent)), start, end, kind == "CDS")
            continue
        attributes = dict(pair.split("=", 1) for pair in text.strip().split(";") if "=" in pair)
        key = contig, attributes.get("ID", "")
        if kind in ("gene", "pseudogene") or kind.endswith("_gene"):
            if not key[1]:
                raise ValueError("a gene without ID")
            if key not in genes:
                genes[key] = len(found.genes)
                # RefSeq's stable gene id is the NCBI GeneID; its GFF3 ids are made of the symbol.
                entrez = _ENTREZ.search(attributes.get("Dbxref", ""))
                identifier = entrez[1] if entrez else _gff3_id(attributes, "gene_id")
                found.genes.append(_gene(contig, identifier, strand, attributes, start, end))
        elif key[1] and "Parent" in attributes:
            transcript = found.transcripts[transcript_row(key)]
            transcript.id = _gff3_id(attributes, "transcript_id")
            transcript.parent = contig, attributes["Parent"].split(",")[0]
            transcript.rank = _rank(attributes.get("tag", "").split(","))

    # The gene of a transcript is its parent, its parent's parent, or itself a gene with exons.
    for key, row in transcripts.items():
        transcript, above, seen = found.transcripts[row], key, {key}
        while above not in genes and above in transcripts and (parent := found.transcripts[transcripts[above]].parent):
            if parent in seen:
                break
            seen.add(above := parent)
        transcript.gene = genes.get(above, -1)
        if above == key and transcript.gene >= 0:
            transcript.id = found.genes[transcript.gene].id


def _read_gtf(lines: Iterable[str], found: _Annotation) -> None:
    # Ensembl 75 gives a pseudoautosomal gene the same ids on X and Y, hence the look-up with the contig.
    genes: dict[tuple[str, str], int] = {}
    transcripts: dict[tuple[str, str], int] = {}
    for contig, kind, start, end, strand, text in found.features(lines, gtf=True):
        named = None if kind == "gene" else _TRANSCRIPT_ID.search(text)
        if named is None and kind != "gene":
            raise ValueError(f"{kind} without transcript_id")
        row = transcripts.get((contig, named[1])) if named else None
        if row is None or kind == "transcript":  # a gene or transcript is described by its first line
            pairs = _GTF_PAIR.findall(text)
            attributes = dict(pairs)
            key = contig, attributes["gene_id"]
            if key not in genes:
                genes[key] = len(found.genes)
                identifier = _with_version(attributes["gene_id"], attributes.get("gene_version"))
                found.genes.append(_gene(contig, identifier, strand, attributes))
            if named is None:
                found.genes[genes[key]].start, found.genes[genes[key]].end = start, end
                continue
            if row is None:
                row = transcripts[contig, named[1]] = len(found.transcripts)
                identifier = _with_version(named[1], attributes.get("transcript_version"))
                found.transcripts.append(_Transcript(identifier, genes[key]))
            rank = _rank([value for key, value in pairs if key == "tag"])
            found.transcripts[row].rank = min(found.transcripts[row].rank, rank)
        if kind != "transcript":  # a GTF's CDS ends before the stop codon, a GFF3's after it, as here
            found.add(row, start, end, kind != "exon")


def _read_spliceai(lines: Iterable[str], found: _Annotation) -> None:
    """Read SpliceAI's table: starts 0-based, ends exclusive, as in UCSC's genePred (SpliceAI itself adds 1 to starts).

    A row is one transcript of one gene, without ids, biotype or coding sequence.
    """
    for found.line, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        name, contig, strand, start, end, starts, ends = line.rstrip("\n").split("\t")
        if is_mitochondrial(contig):
            continue
        gene = _Gene(contig, name, name, UNSPECIFIED_BIOTYPE, _STRANDS.get(strand, 0), int(start), int(end))
        edges = [[int(part) for part in text.split(",") if part] for text in (starts, ends)]
        for first, last in [(gene.start, gene.end), *zip(*edges, strict=True)]:
            if not 0 <= first < last:
                raise ValueError(f"start {first}, end {last}")
        for first, last in zip(*edges, strict=True):
            found.add(len(found.transcripts), first, last, False)
        found.transcripts.append(_Transcript(name, len(found.genes)))
        found.genes.append(gene)


def _gene(
    contig: str, identifier: str, strand: str, attributes: Mapping[str, str], start: int = -1, end: int = -1
) -> _Gene:
    symbol: str | None = unquote(_first_of(attributes, "gene_name", "Name", "gene"))
    if symbol in ("", identifier, stable_id(identifier)):  # the source repeats the id for want of a symbol
        symbol = None
    biotype = _first_of(attributes, "biotype", "gene_biotype", "gene_type")
    return _Gene(contig, identifier, symbol, biotype, _STRANDS.get(strand, 0), start, end)


def _first_of(attributes: Mapping[str, str], *keys: str) -> str:
    return next((attributes[key] for key in keys if attributes.get(key)), "")


def _gff3_id(attributes: Mapping[str, str], key: str) -> str:
    """Return the id with its version: Ensembl's ``gene_id=X;version=7``; GENCODE and RefSeq have it in the id."""
    return _with_version(unquote(_first_of(attributes, key, "ID")), attributes.get("version"))


def _with_version(identifier: str, version: str | None) -> str:
    return f"{identifier}.{version}" if version and not re.search(r"\.\d+$", identifier) else identifier


def _rank(tags: Iterable[str]) -> int:
    """Return the index into CHOICES of the best tag; RefSeq writes the tags with spaces."""
    found = [_TAGS.index(tag) for word in tags if (tag := word.replace(" ", "_")) in _TAGS]
    return min(found, default=_LONGEST_CDS)


# ---- arrays --------------------------------------------------------------------------------------------------------


def _kept_genes(found: _Annotation, wanted: Collection[str], path: Path) -> tuple[list[int], Ints, Ints]:
    """Return rows, starts and ends of the wanted genes with exons, by contig, start, end and id."""
    keep = np.array([*(gene.biotype in wanted for gene in found.genes), False])
    gene_of = np.array([transcript.gene for transcript in found.transcripts], dtype=np.int64)
    exons, _ = found.intervals(np.where(keep[gene_of], gene_of, -1))
    first, last = _extent(exons, gene_of[exons.transcript], len(found.genes))
    order = []
    for row in np.flatnonzero(last >= 0).tolist():
        gene = found.genes[row]
        if gene.strand == 0:
            raise AnnotationError(
                "A gene of the annotation has no strand.", needed="+ or -", found=f"gene {gene.id} on {gene.contig}",
                where=str(path), remedy="correct its line, or choose other biotypes",
            )  # fmt: skip
        # A gene reaches over all its exons even where its own line (or none) says less.
        start = min(int(first[row]), gene.start) if gene.start >= 0 else int(first[row])
        order.append((gene.contig, start, max(int(last[row]), gene.end), gene.id, row))
    order.sort()
    return [item[4] for item in order], np.array([item[1] for item in order]), np.array([item[2] for item in order])


def _extent(intervals: _Intervals, group: Ints, count: int) -> tuple[Ints, Ints]:
    """Return the smallest start and the largest end of each group, -1 for groups without intervals."""
    far = np.iinfo(np.int64).max
    first, last = np.full(count, far, dtype=np.int64), np.full(count, -1, dtype=np.int64)
    np.minimum.at(first, group, intervals.start)
    np.maximum.at(last, group, intervals.end)
    first[first == far] = -1
    return first, last


def _choose(
    found: _Annotation, gene_of: Ints, exons: _Intervals, coding: _Intervals, mane_from: GeneTable | None
) -> tuple[Ints, Ints]:
    """Return the reported transcript's row and the index into CHOICES of each gene.

    Best tag first, then most coding nucleotides, then smallest id.
    """
    rows = np.unique(exons.transcript)
    ids = [found.transcripts[row].id for row in rows.tolist()]
    lengths = np.bincount(coding.transcript, weights=coding.end - coding.start, minlength=len(gene_of))[rows]
    rank = np.array([found.transcripts[row].rank for row in rows.tolist()], dtype=np.int64)
    if mane_from is not None:
        chosen = zip(mane_from.transcript_ids, mane_from.choice.tolist(), strict=True)
        elsewhere = {stable_id(identifier) for identifier, choice in chosen if choice == _MANE_SELECT}
        rank[[stable_id(identifier) in elsewhere for identifier in ids]] = _MANE_SELECT
    rank[(rank == _LONGEST_CDS) & (lengths == 0)] = _SMALLEST_ID
    by_id = np.unique(ids, return_inverse=True)[1]
    order = np.lexsort((by_id, -lengths, rank, gene_of[rows]))
    first = order[np.unique(gene_of[rows][order], return_index=True)[1]]
    return rows[first], rank[first]


def _unite(exons: _Intervals, gene: Ints, reported: Ints, strand: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Return gene, start, end and flags of each gene's distinct exons; flags are those of all transcripts with it.

    Args:
        exons: sorted by transcript, start and end.
        gene: of each exon.
    """
    joined = exons.transcript[1:] == exons.transcript[:-1]
    intron = joined & (exons.start[1:] - exons.end[:-1] >= SHORTEST_INTRON)
    left, right = np.append(False, intron), np.append(intron, False)
    plus = strand[gene] > 0
    flags = (
        HAS_ACCEPTOR * np.where(plus, left, right)
        + HAS_DONOR * np.where(plus, right, left)
        + REPORTED * (reported[gene] == exons.transcript)
    )
    order = np.lexsort((exons.end, exons.start, gene))
    columns = np.stack([gene, exons.start, exons.end])[:, order]
    firsts = np.append(0, np.flatnonzero(np.diff(columns).any(axis=0)) + 1)
    return *columns[:, firsts], np.bitwise_or.reduceat(flags[order], firsts)


def _nothing_kept(genes: list[_Gene], biotypes: Collection[str], path: Path) -> AnnotationError:
    seen = Counter(gene.biotype or "(none)" for gene in genes).most_common()
    return AnnotationError(
        "The gene annotation holds no gene of the wanted biotypes with exons.",
        needed=f"genes of biotype {', '.join(biotypes)} outside the mitochondrial genome",
        found=", ".join(f"{word} ({count})" for word, count in seen) if seen else "no genes at all",
        where=str(path), remedy="name the biotypes to keep, as the file writes them (genes build --biotype)",
    )  # fmt: skip


# ---- named tables --------------------------------------------------------------------------------------------------

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
        return GeneTable.load(_TABLES / f"{known}.genes.parquet")
    path = Path(name_or_path)
    if not path.is_file():
        raise AnnotationError(
            f"No gene annotation is called {name!r}, and no file has that path.",
            needed=f"one of {', '.join(BUILT_IN)}, or the path of a compiled table (*.genes.parquet), a GFF3, a GTF or "
            "SpliceAI's annotation table, plain or gzip",
            remedy=suggestion([name], BUILT_IN).replace("?", "? ") + "check the path, or give -A grch38 or -A grch37",
        )  # fmt: skip
    return GeneTable.load(path) if is_table(path) else compile_genes(path)

"""Compile an annotation's text into a gene table: choose the reported transcript, unite the exons."""

from __future__ import annotations

import gzip
import io
import logging
import os
import re
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, TextIO, cast
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from ..errors import AnnotationError, suggestion
from .contigs import ContigNames, accession_assembly, canonical_name, is_mitochondrial
from .gene_table import CHOICES, HAS_ACCEPTOR, HAS_DONOR, REPORTED, SHORTEST_INTRON, GeneTable, Ints, is_table
from .ids import DEFAULT_BIOTYPES, is_accession, stable_id

#: SpliceAI's table, StringTie, PacBio and UCSC do not say what their genes are.
UNSPECIFIED_BIOTYPE = "unspecified"

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
_PARENT = re.compile(r"(?:^|;)\s*Parent=([^;\n]*)")
_GENE_ID, _TRANSCRIPT_ID = (
    re.compile(rf'\b{name} "([^"]{count})"') for name, count in (("gene_id", "+"), ("transcript_id", "*"))
)
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
class BuildReport:
    """Count what of an annotation was kept, and what was left out and why, by kind of line."""

    kept: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return feature, number and fate: read, kept, and left out by reason."""
        rows = []
        for unit in _UNITS:
            reasons = {why: count for (kind, why), count in self.left_out.most_common() if kind == unit}
            others = {why: count for why, count in reasons.items() if not why.startswith(_BIOTYPE)}
            if unwanted := [(why[len(_BIOTYPE) :], reasons[why]) for why in reasons if why not in others]:
                listed = ", ".join(f"{word} {count:,}" for word, count in unwanted)
                others[f"not of a wanted biotype: {listed}"] = sum(count for _, count in unwanted)
            rows.append((unit, f"{self.kept[unit] + sum(reasons.values()):,}", "read"))
            rows.append((unit, f"{self.kept[unit]:,}", "kept"))
            rows += [(unit, f"{count:,}", f"left out: {why}") for why, count in others.items()]
        return rows

    def warnings(self) -> list[str]:
        """Return a sentence for each fault of the annotation."""
        faults = [(*key, count) for key, count in self.left_out.items() if not key[1].startswith(_EXPECTED)]
        return [*self.notes, *(f"{count:,} {unit} left out: {why}" for unit, why, count in faults)]


#: Kinds of lines in the order of a report.
_UNITS = ("genes", "transcripts", "exons", "CDS")
_BIOTYPE, _ABOVE = "biotype ", "what they belong to is left out"
_MITOCHONDRIAL = "on the mitochondrial genome"
_EXPECTED = (_BIOTYPE, _ABOVE, _MITOCHONDRIAL)  # reasons that are no fault of the annotation
_NO_GENE, _NO_EXONS, _TWO_STRANDS = "their gene is not in the file", "no exons", "exons on two strands"


def _is_gene(kind: str) -> bool:
    return kind in ("gene", "pseudogene") or kind.endswith("_gene")


def _unit(kind: str) -> str:
    if kind in ("CDS", "stop_codon"):
        return "CDS"
    return "exons" if kind == "exon" else "genes" if _is_gene(kind) else "transcripts"


@dataclass(slots=True)
class _Gene:
    """A gene as read; what its own line says overrules what lines of its transcripts say."""

    contig: str
    id: str
    symbol: str | None
    biotype: str


@dataclass(slots=True)
class _Transcript:
    """A transcript as read.

    Args:
        id: with its version.
        gene: row of its gene, -1 unknown.
        rank: index into CHOICES by tag; _LONGEST_CDS without a tag.
        parent: contig and id of the feature that its line names as its parent.
        line: start, end and strand of its own line, where it has one.
        fault: why it is left out.
    """

    id: str
    gene: int = -1
    rank: int = _LONGEST_CDS
    parent: tuple[str, str] | None = None
    line: tuple[int, int, int] | None = None
    fault: str = ""

    def read_line(self, start: int, end: int, strand: str) -> None:
        """Take note of a line of its own; a second one elsewhere makes its exons ambiguous."""
        line = start, end, _STRANDS.get(strand, 0)
        if self.line and (self.line[2] != line[2] or start >= self.line[1] or end <= self.line[0]):
            self.fault = "one id at two places"
        self.line = line


class _Annotation:
    """Everything read from one annotation, wanted or not; mitochondrial contigs are left out."""

    def __init__(self, report: BuildReport) -> None:
        self.genes: list[_Gene] = []
        self.transcripts: list[_Transcript] = []
        self.contig_lengths: dict[str, int] = {}
        self.assembly: str | None = None
        self.line = 0  # number of the line being read, 1-based
        self.report = report
        self.gene_lines = array("q")  # gene, start, end, strand of each
        self._contigs: dict[str, str | None] = {}
        self._canonical: dict[str, str] = {}
        self._parts = array("q")  # transcript, start, end, coding, strand of each exon and CDS

    def add(self, transcript: int, start: int, end: int, coding: bool, strand: str) -> None:
        self._parts.extend((transcript, start, end, coding, _STRANDS.get(strand, 0)))

    def add_gene(self, row: int, gene: _Gene, line: tuple[int, int, str] | None) -> None:
        """Take note of a gene; ``line`` is start, end and strand of its own line, None for what another line says."""
        if row == len(self.genes):
            self.genes.append(gene)
        known = self.genes[row]
        first, second = (gene, known) if line else (known, gene)
        known.id, known.symbol, known.biotype = (
            first.id, first.symbol or second.symbol, first.biotype or second.biotype
        )  # fmt: skip
        if line:
            self.gene_lines.extend((row, *line[:2], _STRANDS.get(line[2], 0)))

    def leave_out(self, unit: str, why: str, count: int = 1) -> None:
        if count:
            self.report.left_out[unit, why] += count

    def parts(self) -> tuple[Ints, Ints]:
        """Return exons and CDS, each once: transcript, start, end and strand, (4, n), by transcript, start and end."""
        transcript, start, end, coding, strand = np.array(self._parts, dtype=np.int64).reshape(-1, 5).T
        order = np.lexsort((strand, end, start, transcript, coding))
        columns = np.stack([coding, transcript, start, end, strand])[:, order]
        columns = columns[:, np.append(True, np.diff(columns).any(axis=0))[: columns.shape[1]]]
        exons = int(np.count_nonzero(columns[0] == 0))
        return columns[1:, :exons], columns[1:, exons:]

    def contig(self, name: str) -> str | None:
        """Return the name that a contig's genes get, None for the mitochondrial genome.

        Where the file writes one contig in two ways, chr17 and 17, the first stands for both.
        """
        if name in self._contigs:
            return self._contigs[name]
        if is_mitochondrial(name):
            self._contigs[name] = None
        else:
            first = self._canonical.setdefault(canonical_name(name), name)
            if first != name and accession_assembly(first) and accession_assembly(name):
                first = name  # of two assemblies
            if first != name:
                self.report.notes.append(f"{first} and {name} are one contig, which is called {first} in the table")
            self._contigs[name] = first
        return self._contigs[name]

    def features(self, lines: Iterable[str], *, gtf: bool) -> Iterator[tuple[str, str, int, int, str, str]]:
        """Yield contig, type, start, end (0-based half-open), strand and attributes of every feature that matters."""
        types = _GTF_TYPES if gtf else _NEITHER
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
            known = self.contig(contig)
            if known is None:
                self.leave_out(_unit(kind), _MITOCHONDRIAL)
                continue
            start, end = int(first) - 1, int(last)
            if not 0 <= start < end:
                raise ValueError(f"start {first}, end {last}")
            yield known, kind, start, end, strand, attributes

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
    refseq: Mapping[str, str] | None = None,
    contig_lengths: Mapping[str, int] | None = None,
    report: BuildReport | None = None,
) -> GeneTable:
    """Compile a GFF3, a GTF or SpliceAI's table, plain or gzip, into a gene table.

    Args:
        path: the annotation; its format is told from its contents.
        name: the table's name; the file's name up to the first dot by default.
        source: description in words; the file's name by default.
        assembly: the assembly's name; by default as the file says, None when it says nothing.
        biotypes: gene biotypes to keep, literally as in the file. Where the file has none, all genes are kept.
        mane_from: a transcript that is the MANE Select one in this table (by id without version) counts as such.
        refseq: RefSeq's transcript by that of Ensembl, both with versions, from ``read_mane``; others come from
            ``mane_from``, for transcripts that have the same positions there, of any version.
        contig_lengths: nt by contig under any naming; they win over the file's own.
        report: gets the counts of what was kept and left out.

    Raises:
        AnnotationError: unreadable, malformed, of an unknown format, or without a gene of the wanted biotypes.
    """
    path = Path(path)
    found = _read(path, report or BuildReport())
    if found.genes and not any(gene.biotype for gene in found.genes):
        found.report.notes.append("no gene has a biotype: all are kept")
        for gene in found.genes:
            gene.biotype = UNSPECIFIED_BIOTYPE
    loci, exons, coding = _kept_genes(found, {*biotypes, UNSPECIFIED_BIOTYPE})
    if not loci.row:
        raise _nothing_kept(found, biotypes, path)
    for warning in found.report.warnings():
        _log.warning("%s: %s", path.name, warning)

    gene_of = loci.gene_of
    reported, choice = _choose(found, gene_of, exons, coding, mane_from)
    cds_start, cds_end = _extent(coding, coding.transcript, len(gene_of))

    genes = [found.genes[row] for row in loci.row]
    contigs = sorted({gene.contig for gene in genes})
    exon_gene, exon_start, exon_end, exon_flags = _unite(exons, gene_of[exons.transcript], reported, loci.strand)
    own = ContigNames([*found.contig_lengths, *contigs])
    given = {own.find(contig) or contig: length for contig, length in (contig_lengths or {}).items()}
    table = GeneTable(
        name=name or path.name.split(".")[0],
        source=source or path.name,
        assembly=assembly or found.assembly,
        contig_lengths={**found.contig_lengths, **given},
        contigs=tuple(contigs),
        gene_contig=np.searchsorted(contigs, [gene.contig for gene in genes]),
        gene_start=loci.start,
        gene_end=loci.end,
        gene_strand=loci.strand,
        gene_ids=tuple(gene.id for gene in genes),
        symbols=tuple(gene.symbol for gene in genes),
        biotypes=tuple(gene.biotype for gene in genes),
        transcript_ids=tuple(found.transcripts[row].id for row in reported.tolist()),
        refseq_ids=(None,) * len(genes),
        choice=choice,
        cds_start=cds_start[reported],
        cds_end=cds_end[reported],
        exon_offsets=np.searchsorted(exon_gene, np.arange(len(genes) + 1)),
        exon_start=exon_start,
        exon_end=exon_end,
        exon_flags=exon_flags,
    )
    return replace(table, refseq_ids=_refseq_ids(table, refseq or {}, mane_from))


def read_mane(path: str | Path) -> dict[str, str]:
    """Read RefSeq's transcript by Ensembl's from MANE's summary (MANE.GRCh38.v1.5.summary.txt.gz), plain or gzip.

    Raises:
        AnnotationError: unreadable, or without the two columns.
    """
    path = Path(path)
    pairs: dict[str, str] = {}
    with _open(path) as handle:
        columns = handle.readline().lstrip("#").rstrip("\n").split("\t")
        try:
            ensembl, refseq = columns.index("Ensembl_nuc"), columns.index("RefSeq_nuc")
            for line in handle:
                cells = line.rstrip("\n").split("\t")
                pairs[cells[ensembl]] = cells[refseq]
        except (ValueError, IndexError) as error:
            raise AnnotationError(
                "The file is not MANE's summary.", needed="columns Ensembl_nuc and RefSeq_nuc", found=str(error),
                where=f"{path}, line {len(pairs) + 2}", remedy="give MANE.GRCh38.vN.summary.txt.gz of NCBI",
            ) from error  # fmt: skip
    return pairs


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


def _read(path: Path, report: BuildReport) -> _Annotation:
    """Read an annotation in the format that its first feature tells."""
    with _open(path) as handle:
        read = _detect(handle, path)
    found = _Annotation(report)
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
            parents = _PARENT.findall(text)
            if len(parents) != 1:
                found.leave_out(_unit(kind), "no Parent, or several")
                continue
            for parent in parents[0].strip().split(","):
                found.add(transcript_row((contig, parent)), start, end, kind == "CDS", strand)
            continue
        pairs = [pair.strip().split("=", 1) for pair in text.strip().split(";") if "=" in pair]
        attributes = dict(pairs)
        ids = [value for name, value in pairs if name == "ID"]
        if len(ids) > 1 or (not ids and _is_gene(kind)):
            found.leave_out(_unit(kind), "no ID, or several")
            continue
        key = contig, ids[0] if ids else ""
        if _is_gene(kind):
            # RefSeq's stable gene id is the NCBI GeneID; its GFF3 ids are made of the symbol.
            gene = _gene(contig, _entrez(text) or _gff3_id(attributes, "gene_id"), attributes)
            found.add_gene(genes.setdefault(key, len(found.genes)), gene, (start, end, strand))
            continue
        parent = attributes.get("Parent", "").split(",")[0]
        above = parent or _first_of(attributes, "geneID", "gene_id")  # gffread has geneID in place of gene lines
        if ids and (above or kind.endswith(("RNA", "transcript"))):
            transcript = found.transcripts[transcript_row(key)]
            transcript.id = _gff3_id(attributes, "transcript_id")
            transcript.parent = (contig, above) if above else None
            transcript.rank = _rank(attributes.get("tag", "").split(","))
            transcript.read_line(start, end, strand)
            if above and not parent:
                gene = _gene(contig, above, attributes)
                found.add_gene(genes.setdefault((contig, above), len(found.genes)), gene, None)

    # The gene of a transcript is its parent, its parent's parent, or itself a gene with exons.
    for key, row in transcripts.items():
        transcript, top, seen = found.transcripts[row], key, {key}
        while top not in genes and top in transcripts and (over := found.transcripts[transcripts[top]].parent):
            if over in seen:
                break
            seen.add(top := over)
        transcript.gene = genes.get(top, -1)
        if top == key and transcript.gene >= 0:
            transcript.id = found.genes[transcript.gene].id


def _read_gtf(lines: Iterable[str], found: _Annotation) -> None:
    # Ensembl 75 gives a pseudoautosomal gene the same ids on X and Y, hence the look-up with the contig.
    genes: dict[tuple[str, str], int] = {}
    transcripts: dict[tuple[str, str, str], int] = {}
    for contig, kind, start, end, strand, text in found.features(lines, gtf=True):
        gene_id, name = _GENE_ID.search(text), _TRANSCRIPT_ID.search(text)
        several = f" {text}".count(' gene_id "') > 1 or f" {text}".count(' transcript_id "') > 1
        if gene_id is None or several or (kind != "gene" and name is None):
            found.leave_out(_unit(kind), "no gene_id or transcript_id, or several")
            continue
        key = contig, gene_id[1], name[1] if name else ""
        row = None if kind == "gene" else transcripts.get(key)
        if row is None or kind == "transcript":
            pairs = _GTF_PAIR.findall(text)
            attributes = dict(pairs)
            identifier = _entrez(text) or _with_version(key[1], attributes.get("gene_version"))
            gene = genes.setdefault(key[:2], len(found.genes))
            found.add_gene(
                gene, _gene(contig, identifier, attributes), (start, end, strand) if kind == "gene" else None
            )
            if kind == "gene":
                continue
            if row is None:
                row = transcripts[key] = len(found.transcripts)
                identifier = _with_version(key[2], attributes.get("transcript_version"))
                found.transcripts.append(_Transcript(identifier or found.genes[gene].id, gene))
            transcript = found.transcripts[row]
            transcript.rank = min(transcript.rank, _rank([value for name, value in pairs if name == "tag"]))
        if kind == "transcript":
            transcript.read_line(start, end, strand)
        else:  # a GTF's CDS ends before the stop codon, a GFF3's after it, as here
            found.add(row, start, end, kind != "exon", strand)


def _read_spliceai(lines: Iterable[str], found: _Annotation) -> None:
    """Read SpliceAI's table: starts 0-based, ends exclusive, as in UCSC's genePred (SpliceAI itself adds 1 to starts).

    A row is one transcript of one gene, without ids, biotype or coding sequence.
    """
    for found.line, line in enumerate(lines, 1):
        if line.startswith("#") or not line.strip():
            continue
        name, contig, strand, start, end, starts, ends = line.rstrip("\n").split("\t")
        known = found.contig(contig)
        if known is None:
            found.leave_out("genes", _MITOCHONDRIAL)
            continue
        edges = [[int(part) for part in text.split(",") if part] for text in (starts, ends)]
        for first, last in [(int(start), int(end)), *zip(*edges, strict=True)]:
            if not 0 <= first < last:
                raise ValueError(f"start {first}, end {last}")
        for first, last in zip(*edges, strict=True):
            found.add(len(found.transcripts), first, last, False, strand)
        row = len(found.genes)
        found.transcripts.append(_Transcript(name, row))
        found.add_gene(row, _Gene(known, name, name, UNSPECIFIED_BIOTYPE), (int(start), int(end), strand))


def _gene(contig: str, identifier: str, attributes: Mapping[str, str]) -> _Gene:
    symbol: str | None = unquote(_first_of(attributes, "gene_name", "Name", "gene", "ref_gene_name"))
    if not symbol or (symbol in (identifier, stable_id(identifier)) and is_accession(identifier)):
        symbol = None  # the source repeats the id for want of a symbol
    biotype = _first_of(attributes, "biotype", "gene_biotype", "gene_type")
    return _Gene(contig, identifier, symbol, biotype)


def _entrez(text: str) -> str:
    found = _ENTREZ.search(text)
    return found[1] if found else ""


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


@dataclass(frozen=True, slots=True)
class _Loci:
    """The genes that are kept, sorted by contig, start, end and id.

    Args:
        row: of the gene as read; a gene id at two places is two loci.
        gene_of: index of each transcript's locus, -1 for a transcript that is left out.
    """

    row: list[int]
    start: Ints
    end: Ints
    strand: Ints
    gene_of: Ints


def _kept_genes(found: _Annotation, wanted: Collection[str]) -> tuple[_Loci, _Intervals, _Intervals]:
    """Return the wanted genes with exons, and the exons and CDS of their transcripts.

    A gene is a set of lines and transcripts of one gene id and strand that overlap each other: it reaches over all its
    exons even where its own line (or none) says less.
    """
    exons, coding = found.parts()
    count = len(found.transcripts)
    gene = np.array([transcript.gene for transcript in found.transcripts], dtype=np.int64)
    parts = _Intervals(*exons[:3])
    start, end = _extent(parts, parts.transcript, count)
    signs = [np.bincount(parts.transcript, exons[3] == sign, minlength=count) > 0 for sign in (1, -1)]
    usable = _usable_transcripts(found, end >= 0, signs[0] & signs[1])
    keep = np.array([*(gene.biotype in wanted for gene in found.genes), False])
    for one in found.genes:
        if one.biotype not in wanted:
            found.leave_out("genes", _BIOTYPE + (one.biotype or "(none)"))

    # Lines of genes, then transcripts: gene, start, end, strand, transcript (-1 for a line).
    lines = np.array(found.gene_lines, dtype=np.int64).reshape(-1, 4).T
    lines = np.vstack([lines, np.full(lines.shape[1], -1)])[:, keep[lines[0]]]
    taken = np.flatnonzero(usable & keep[gene])
    strand = signs[0][taken].astype(np.int64) - signs[1][taken]
    items = np.hstack([lines, np.stack([gene[taken], start[taken], end[taken], strand, taken])])
    items = _with_strand(items, len(found.genes))
    items = items[:, np.lexsort((items[1], items[3], items[0]))]
    far = 1 << 40
    group = np.cumsum(np.append(0, np.diff(items[[0, 3]]).any(axis=0))) if items.size else items[0]
    reach = np.maximum.accumulate(items[2] + group * far)
    firsts = np.flatnonzero(np.append(True, items[1, 1:] + group[1:] * far >= reach[:-1])[: items.shape[1]])
    locus = np.repeat(np.arange(len(firsts)), np.diff(np.append(firsts, items.shape[1])))
    first = np.minimum.reduceat(items[1], firsts) if len(firsts) else items[1]
    last = np.maximum.reduceat(items[2], firsts) if len(firsts) else items[2]
    exons_of = np.bincount(parts.transcript, minlength=count + 1)  # the last is that of lines
    number = np.bincount(locus, exons_of[items[4]], minlength=len(firsts))

    order, by_gene = [], Counter[int]()
    overlapping = _overlapping(items[0, firsts], first, last, number)
    for at, row in enumerate(items[0, firsts].tolist()):
        if not number[at]:
            found.leave_out("genes", _NO_EXONS)
        elif items[3, firsts[at]] == 0:
            found.leave_out("genes", "no strand")
        elif at in overlapping:
            found.leave_out("genes", "they overlap a gene of the same id on the other strand")
        else:
            by_gene[row] += 1
            order.append((found.genes[row].contig, int(first[at]), int(last[at]), found.genes[row].id, at))
    order.sort()
    if several := sum(places > 1 for places in by_gene.values()):
        found.report.notes.append(f"{several:,} gene ids lie at several places, each of which is a gene of its own")
    kept = np.array([item[4] for item in order], dtype=np.int64)
    gene_of = np.full(count, -1, dtype=np.int64)
    where = np.full(len(firsts), -1, dtype=np.int64)
    where[kept] = np.arange(len(kept))
    gene_of[items[4, items[4] >= 0]] = where[locus[items[4] >= 0]]
    loci = _Loci(items[0, firsts[kept]].tolist(), first[kept], last[kept], items[3, firsts[kept]], gene_of)
    return loci, *_count_parts(found, usable, gene_of, exons, coding)


def _usable_transcripts(found: _Annotation, with_exons: NDArray[np.bool_], two: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which transcripts can be used, and count the others."""
    usable = np.zeros(len(found.transcripts), dtype=bool)
    for row, transcript in enumerate(found.transcripts):
        if transcript.gene < 0 and transcript.line is None:
            continue  # no transcript: a parent of exons that the file lacks
        why = transcript.fault or (_TWO_STRANDS if two[row] else "" if with_exons[row] else _NO_EXONS)
        why = why if transcript.gene >= 0 else _NO_GENE
        if why:
            found.leave_out("transcripts", why)
        usable[row] = not why
    return usable


def _with_strand(items: Ints, genes: int) -> Ints:
    """Return the items of genes; those without strand get the one strand of the gene's others, where there is one."""
    plus, minus = (np.bincount(items[0], items[3] == sign, minlength=genes)[items[0]] > 0 for sign in (1, -1))
    unknown = items[3] == 0
    items[3, unknown] = plus[unknown].astype(np.int64) - minus[unknown]
    return items[:, ~(unknown & plus & minus)]


def _overlapping(row: Ints, start: Ints, end: Ints, exons: Ints) -> set[int]:
    """Return the loci that overlap one with more exons of the same gene id, which is on the other strand."""
    left_out: set[int] = set()
    for at in np.flatnonzero(np.diff(row) == 0).tolist():
        same = np.flatnonzero(row == row[at])
        kept: list[int] = []
        for one in same[np.argsort(-exons[same], kind="stable")].tolist():
            if any(start[one] < end[other] and start[other] < end[one] for other in kept):
                left_out.add(one)
            elif exons[one]:
                kept.append(one)
    return left_out


def _count_parts(
    found: _Annotation, usable: NDArray[np.bool_], gene_of: Ints, exons: Ints, coding: Ints
) -> tuple[_Intervals, _Intervals]:
    """Return exons and CDS of the transcripts that are kept, and count all of them."""
    known = np.array([one.gene >= 0 or one.line is not None for one in found.transcripts], dtype=bool)
    kept = found.report.kept
    kept["genes"], kept["transcripts"] = int(gene_of.max(initial=-1)) + 1, int(np.count_nonzero(gene_of >= 0))
    found.leave_out("transcripts", _ABOVE, int(np.count_nonzero(usable)) - kept["transcripts"])
    intervals = []
    for unit, columns in (("exons", exons), ("CDS", coding)):
        chosen = gene_of[columns[0]] >= 0
        orphans = int(np.count_nonzero(~known[columns[0]]))
        kept[unit] = int(np.count_nonzero(chosen))
        found.leave_out(unit, "their Parent is not in the file", orphans)
        found.leave_out(unit, _ABOVE, len(chosen) - kept[unit] - orphans)
        intervals.append(_Intervals(*columns[:3, chosen]))
    return intervals[0], intervals[1]


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


def _refseq_ids(table: GeneTable, refseq: Mapping[str, str], like: GeneTable | None) -> tuple[str | None, ...]:
    """Return RefSeq's name of each reported transcript.

    A transcript whose exons leave out a base or two, as Ensembl writes a ribosome's frameshift, gets none: RefSeq's
    sequence has these bases, and its positions count them.

    Args:
        refseq: names by transcript id.
        like: a table whose names are taken for transcripts of equal id without version and equal positions.
    """
    other = dict(zip(map(stable_id, like.transcript_ids), range(len(like)), strict=True)) if like else {}

    def name_of(row: int) -> str | None:
        identifier = table.transcript_ids[row]
        name, twin = refseq.get(identifier), other.get(stable_id(identifier))
        if name is None and like and twin is not None and like.refseq_ids[twin]:
            name = like.refseq_ids[twin] if _positions(table, row) == _positions(like, twin) else None
        return name if name and (_introns(table, row) >= SHORTEST_INTRON).all() else None

    return tuple(map(name_of, range(len(table))))


def _introns(table: GeneTable, row: int) -> Ints:
    start, end = table.reported_exons(row)
    return start[1:] - end[:-1]


def _positions(table: GeneTable, row: int) -> tuple[bool, list[int]]:
    """Return where c. positions (n., where it is not coding) meet introns and the end of the coding sequence.

    Transcripts of equal positions have equal names; the ends of c.-1 and c.*1 onwards need not be the same.
    """
    start, end = table.reported_exons(row)
    first, last = int(table.cds_start[row]), int(table.cds_end[row])
    if table.gene_strand[row] < 0:
        start, end, first, last = -end[::-1], -start[::-1], -last, -first
    coding = bool(table.cds_start[row] >= 0)
    ends = np.cumsum(end - start)
    if not coding:
        return False, ends[:-1].tolist()
    inside = [int(np.clip(np.minimum(end, at) - start, 0, None).sum()) for at in (first, last)]
    return True, [*(ends[:-1] - inside[0]).tolist(), inside[1] - inside[0]]


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


def _nothing_kept(found: _Annotation, biotypes: Collection[str], path: Path) -> AnnotationError:
    """Return the error of an annotation without a gene to keep: it names the cause."""
    seen = Counter(gene.biotype or "(none)" for gene in found.genes)
    reasons = ", ".join(f"{count:,} {unit} left out: {why}" for (unit, why), count in found.report.left_out.items())
    listed = ", ".join(f"{word} ({count})" for word, count in seen.most_common())
    remedy = "give an annotation with lines of genes, transcripts and exons, e.g. Ensembl's, GENCODE's or RefSeq's"
    if not found.genes:
        problem, needed = "The gene annotation has no genes.", "genes outside the mitochondrial genome"
        shown = reasons or "lines of neither genes, transcripts nor exons"
    elif not found.parts()[0].size:
        problem, needed, shown = "The gene annotation has no exons.", "exon lines", f"genes without exons: {listed}"
    elif seen.keys() & {*biotypes, UNSPECIFIED_BIOTYPE}:
        problem, needed, shown = "No gene of the annotation can be used.", "genes with strand and exons", reasons
    else:
        problem = "The gene annotation holds no gene of the wanted biotypes."
        needed, shown = f"genes of biotype {', '.join(biotypes)}", listed
        remedy = "name the biotypes to keep, as the file writes them (genes build --biotype)"
    return AnnotationError(problem, needed=needed, found=shown, where=str(path), remedy=remedy)


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
    if not os.path.isfile(path):  # of a name that is too long, Path.is_file raises
        raise AnnotationError(
            f"No gene annotation is called {name!r}, and no file has that path.",
            needed=f"one of {', '.join(BUILT_IN)}, or the path of a compiled table (*.genes.parquet), a GFF3, a GTF or "
            "SpliceAI's annotation table, plain or gzip",
            remedy=suggestion([name], BUILT_IN).replace("?", "? ") + "check the path, or give -A grch38 or -A grch37",
        )  # fmt: skip
    return GeneTable.load(path) if is_table(path) else compile_genes(path)

"""Read the lines of an annotation's text (GFF3, GTF, SpliceAI's table) into columns; ``gene_build`` makes the table.

One pass over 4 million lines: a line is split once, and attributes are parsed for genes and transcripts only.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import unquote

from splicebert_vep.errors import AnnotationError

from .contigs import is_mitochondrial
from .gene_columns import (
    UNSPECIFIED_BIOTYPE,
    Columns,
    Gene,
    Transcript,
    gene_symbol,
    strand_sign,
    tag_rank,
    with_version,
)

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

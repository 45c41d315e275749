"""The gene table: genes, their reported transcript and the union of their exons, as arrays in one Parquet file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AnnotationError
from ..files import whole_or_not

Ints = NDArray[np.int64]

#: Why a transcript is the reported one, best first; ``GeneTable.choice`` holds indices into this.
CHOICES = ("MANE_Select", "MANE_Plus_Clinical", "Ensembl_canonical", "longest_CDS", "smallest_id")
#: Bits of ``GeneTable.exon_flags``.
HAS_ACCEPTOR, HAS_DONOR, REPORTED = 1, 2, 4
#: nt. Annotations hold gaps of 1 to 5 nt between exons of a transcript, which keep a reading frame or follow an
#: alignment and never have GT-AG; the shortest introns known in any eukaryote have 15 nt.
SHORTEST_INTRON = 10

_KIND = "splicebert-vep gene table"
_FORMAT = 2
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"  # what a table begins with; format 1 was an npz
_TEXTS = ("contig", "gene_id", "symbol", "biotype", "transcript_id", "choice")
_REFSEQ = "refseq"  # column of later tables; no gene context holds it, so that the digest leaves it out
_NUMBERS = ("start", "end", "strand", "cds_start", "cds_end")
_LISTS = ("exon_offset", "exon_length", "exon_flags")


@dataclass(frozen=True, eq=False)
class GeneTable:
    """Hold G genes and the E distinct exons of all their transcripts.

    Coordinates are 0-based half-open on the forward strand. Genes are sorted by contig, start, end and id; the exons
    of gene g are rows ``exon_offsets[g]:exon_offsets[g + 1]``, sorted by start and end. An exon has an acceptor (a
    donor) when in some transcript of the gene an intron lies on its 5' (3') side.

    Args:
        name: short name for provenance, e.g. ``grch38``.
        source: what it was made from, in words.
        assembly: name of the genome assembly, None when the source does not say.
        contig_lengths: nt by contig, for the contigs whose length the source gives; contigs without genes included.
        contigs: names as in the source, sorted; only those with genes.
        gene_contig: (G,) indices into ``contigs``.
        gene_start, gene_end: (G,).
        gene_strand: (G,) 1 or -1.
        gene_ids, symbols, biotypes, transcript_ids: G each.
        refseq_ids: RefSeq's transcript with its version (MANE), G, whose c. (n., where it is not coding) positions are
            those of the reported one; None where there is none or none is known.
        choice: (G,) indices into ``CHOICES``.
        cds_start, cds_end: (G,) from the first to the last coding base (stop codon included) of the reported
            transcript; both -1 when it is not coding.
        exon_offsets: (G + 1,).
        exon_start, exon_end: (E,).
        exon_flags: (E,) bits HAS_ACCEPTOR, HAS_DONOR, REPORTED (an exon of the reported transcript).
    """

    name: str
    source: str
    assembly: str | None
    contig_lengths: Mapping[str, int]
    contigs: tuple[str, ...]
    gene_contig: Ints
    gene_start: Ints
    gene_end: Ints
    gene_strand: Ints
    gene_ids: tuple[str, ...]
    symbols: tuple[str | None, ...]
    biotypes: tuple[str, ...]
    transcript_ids: tuple[str, ...]
    refseq_ids: tuple[str | None, ...]
    choice: Ints
    cds_start: Ints
    cds_end: Ints
    exon_offsets: Ints
    exon_start: Ints
    exon_end: Ints
    exon_flags: Ints

    def __len__(self) -> int:
        return len(self.gene_ids)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that can change a gene context: genes, transcripts, exons and contig names.

        Name, source, assembly, contig lengths, RefSeq's ids, the kind of file and the order of the source's lines do
        not enter.
        """
        whole = hashlib.sha256(f"{_KIND} 1".encode())
        texts = {
            "biotypes": self.biotypes,
            "choice": [CHOICES[row] for row in self.choice.tolist()],
            "contigs": self.contigs,
            "gene_ids": self.gene_ids,
            "symbols": [symbol or "" for symbol in self.symbols],
            "transcript_ids": self.transcript_ids,
        }
        parts = {label: "\n".join(values).encode() for label, values in texts.items()}
        for label in (
            "gene_contig", "gene_start", "gene_end", "gene_strand", "cds_start", "cds_end",
            "exon_offsets", "exon_start", "exon_end", "exon_flags",
        ):  # fmt: skip
            parts[label] = getattr(self, label).astype("<i8").tobytes()
        for label, data in parts.items():
            whole.update(f"\n{label} {len(data)}\n".encode())
            whole.update(data)
        return whole.hexdigest()

    def reported_exons(self, row: int) -> tuple[Ints, Ints]:
        """Return starts and ends of the exons of a gene's reported transcript, by position."""
        rows = slice(int(self.exon_offsets[row]), int(self.exon_offsets[row + 1]))
        own = (self.exon_flags[rows] & REPORTED) > 0
        return self.exon_start[rows][own], self.exon_end[rows][own]

    def splice_sites(self) -> Ints:
        """Return every distinct donor and acceptor dinucleotide, (4, S).

        The rows are the index into ``contigs``, the start (0-based, forward strand), the strand (1 or -1), and 1 for a
        donor, 0 for an acceptor.
        """
        contig = np.repeat(self.gene_contig, np.diff(self.exon_offsets))
        strand = np.repeat(self.gene_strand, np.diff(self.exon_offsets))
        found: list[Ints] = []
        for donor, flag in ((1, HAS_DONOR), (0, HAS_ACCEPTOR)):
            # The donor follows the exon and the acceptor precedes it, in transcript direction.
            start = np.where((strand > 0) == bool(donor), self.exon_end, self.exon_start - 2)
            kept = (self.exon_flags & flag) > 0
            found.append(np.stack([contig, start, strand, np.full_like(start, donor)])[:, kept])
        return np.unique(np.concatenate(found, axis=1), axis=1)

    def save(self, path: str | Path) -> None:
        """Write the table to one file, whole or not at all; the same table gives the same bytes.

        Raises:
            OutputError: the file cannot be written.
        """
        import pyarrow as pa  # here, so that --help stays fast
        import pyarrow.parquet as pq

        offsets = pa.array(self.exon_offsets, pa.int32())
        gene_start = np.repeat(self.gene_start, np.diff(self.exon_offsets))
        values = (
            [self.contigs[row] for row in self.gene_contig.tolist()], self.gene_ids, self.symbols, self.biotypes,
            self.transcript_ids, [CHOICES[row] for row in self.choice.tolist()], self.refseq_ids,
            self.gene_start, self.gene_end, self.gene_strand, self.cds_start, self.cds_end,
            *(
                pa.ListArray.from_arrays(offsets, pa.array(column, pa.int32()))
                # relative to the gene's start, which makes the file a third smaller
                for column in (self.exon_start - gene_start, self.exon_end - self.exon_start, self.exon_flags)
            ),
        )  # fmt: skip
        kinds = (
            [pa.string()] * len((*_TEXTS, _REFSEQ))
            + [pa.int32()] * len(_NUMBERS)
            + [pa.list_(pa.int32())] * len(_LISTS)
        )
        about = {
            "format": _FORMAT, "name": self.name, "source": self.source, "assembly": self.assembly,
            "digest": self.digest, _REFSEQ: _digest(self.refseq_ids), "contig_lengths": dict(self.contig_lengths),
        }  # fmt: skip
        fields = [pa.field(*pair) for pair in zip((*_TEXTS, _REFSEQ, *_NUMBERS, *_LISTS), kinds, strict=True)]
        text = json.dumps(about)
        schema = pa.schema(fields, {_KIND: text, "seal": hashlib.sha256(text.encode()).hexdigest()})
        numbers = (*_NUMBERS, *(f"{label}.list.element" for label in _LISTS))
        with whole_or_not(path) as temporary, temporary.open("wb") as out:  # pyarrow takes no path that is not UTF-8
            pq.write_table(
                pa.table(list(values), schema=schema),
                out,
                compression="zstd",
                compression_level=19,
                use_dictionary=["contig", "biotype", "choice"],
                column_encoding=dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
                row_group_size=max(1, len(self)),
                data_page_size=1 << 26,
                write_statistics=False,
            )

    @classmethod
    def load(cls, path: str | Path) -> GeneTable:
        """Read a file that ``save`` wrote.

        Raises:
            AnnotationError: the file is missing, is not a gene table, or is of another format version.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = Path(path)
        data = _bytes(path)
        try:
            table = None if data.startswith(_ZIP) else pq.ParquetFile(pa.BufferReader(data)).read()
            written = {} if table is None else table.schema.metadata
            text = b'{"format": 1}' if table is None else written[_KIND.encode()]
            about = json.loads(text)
            if table is None or about["format"] != _FORMAT:
                raise AnnotationError(
                    "The gene table was written by another version of splicebert-vep.", needed=f"format {_FORMAT}",
                    found=f"format {about['format']}", where=str(path),
                    remedy="compile it again from the annotation: splicebert-vep genes build",
                )  # fmt: skip
            found = _decode(table, about)
            seal = hashlib.sha256(text).hexdigest().encode()  # older tables, as the built-in ones, have none
            same = found.digest == about["digest"] and about.get(_REFSEQ) in (None, _digest(found.refseq_ids))
            if not same or written.get(b"seal", seal) != seal:
                raise ValueError("contents that differ from the digest written with them")
        except (
            pa.ArrowException, KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError, MemoryError,
            OSError,
        ) as error:  # fmt: skip
            raise AnnotationError(
                "The file is not a compiled gene table.",
                needed="a file made by splicebert-vep genes build (*.genes.parquet)",
                found=f"{type(error).__name__}: {error}", where=str(path),
                remedy="compile the annotation again, or give its GFF3 or GTF",
            ) from error  # fmt: skip
        return found


def is_table(path: Path) -> bool:
    """Tell from the first bytes of a file whether it is a gene table, of this or an earlier format.

    Raises:
        AnnotationError: the file cannot be read.
    """
    return _bytes(path, 4) in (_PARQUET, _ZIP)


def _bytes(path: Path, count: int = -1) -> bytes:
    try:
        with path.open("rb") as handle:
            return handle.read(count)
    except OSError as error:
        found = error.strerror or str(error)
        remedy = "check the path and its permissions"
        raise AnnotationError(
            "The gene annotation cannot be read.", found=found, where=str(path), remedy=remedy
        ) from error


def _digest(identifiers: Sequence[str | None]) -> str:
    return hashlib.sha256("\n".join(one or "" for one in identifiers).encode()).hexdigest()


def _decode(table: Any, about: Mapping[str, Any]) -> GeneTable:
    contigs, gene_ids, symbols, biotypes, transcript_ids, choices = (table[label].to_pylist() for label in _TEXTS)
    refseq_ids = table[_REFSEQ].to_pylist() if _REFSEQ in table.column_names else [None] * len(gene_ids)
    start, end, strand, cds_start, cds_end = (table[label].to_numpy().astype(np.int64) for label in _NUMBERS)
    lists = [table[label].combine_chunks() for label in _LISTS]
    offset, length, flags = (column.values.to_numpy().astype(np.int64) for column in lists)
    offsets = lists[0].offsets.to_numpy().astype(np.int64)
    names, gene_contig = np.unique(contigs, return_inverse=True)
    exon_start = np.repeat(start, np.diff(offsets)) + offset
    return GeneTable(
        name=about["name"],
        source=about["source"],
        assembly=about["assembly"],
        contig_lengths=about["contig_lengths"],
        contigs=tuple(names.tolist()),
        gene_contig=gene_contig,
        gene_start=start,
        gene_end=end,
        gene_strand=strand,
        gene_ids=tuple(gene_ids),
        symbols=tuple(symbols),
        biotypes=tuple(biotypes),
        transcript_ids=tuple(transcript_ids),
        refseq_ids=tuple(refseq_ids),
        choice=np.array([CHOICES.index(word) for word in choices], dtype=np.int64),
        cds_start=cds_start,
        cds_end=cds_end,
        exon_offsets=offsets,
        exon_start=exon_start,
        exon_end=exon_start + length,
        exon_flags=flags,
    )

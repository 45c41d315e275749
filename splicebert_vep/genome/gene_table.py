"""The gene table: genes, their reported transcript and the union of their exons, as arrays in one Parquet file."""

from __future__ import annotations

import contextlib
import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import AnnotationError
from ..files import whole_or_not

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

Ints = NDArray[np.int64]

#: Why a transcript is the reported one, best first; ``GeneTable.choice`` holds indices into this.
CHOICES = ("MANE_Select", "MANE_Plus_Clinical", "Ensembl_canonical", "longest_CDS", "smallest_id")
#: Bits of ``GeneTable.exon_flags``.
HAS_ACCEPTOR, HAS_DONOR, REPORTED = 1, 2, 4
#: nt. Annotations hold gaps of 1 to 5 nt between exons of a transcript, which keep a reading frame or follow an
#: alignment and never have GT-AG; the shortest introns known in any eukaryote have 15 nt.
SHORTEST_INTRON = 10

_KIND = "splicebert-vep gene table"
_FORMAT = 3
_PARQUET, _ZIP = b"PAR1", b"PK\x03\x04"  # what a table begins with; format 1 was an npz
_GROUP = 512  # genes: a row group of the file has whole contigs, small ones together
# Columns of the file, and what they are here.
_TEXTS = {
    "gene_id": "gene_ids", "symbol": "symbols", "biotype": "biotypes", "transcript_id": "transcript_ids",
    "refseq": "refseq_ids",
}  # fmt: skip
_NUMBERS = {
    "start": "gene_start", "end": "gene_end", "strand": "gene_strand", "cds_start": "cds_start", "cds_end": "cds_end",
}  # fmt: skip
_LISTS = ("exon_offset", "exon_length", "exon_flags")
_OF_GENES = (*_TEXTS.values(), "choice", *_NUMBERS.values())
_OF_EXONS = ("exon_offsets", "exon_start", "exon_end", "exon_flags")
_OF_ALL = ("name", "source", "assembly", "contig_lengths", "contigs")


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
        return len(self.gene_contig)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that can change a gene context: genes, transcripts, exons and contig names.

        Name, source, assembly, contig lengths, RefSeq's ids, the kind of file and the order of the source's lines do
        not enter.
        """
        texts = {
            "biotypes": self.biotypes,
            "choice": [CHOICES[row] for row in self.choice.tolist()],
            "contigs": self.contigs,
            "gene_ids": self.gene_ids,
            "symbols": self.symbols,
            "transcript_ids": self.transcript_ids,
        }
        numbers = ("gene_contig", "gene_start", "gene_end", "gene_strand", "cds_start", "cds_end", *_OF_EXONS)
        return _digest({**texts, **{label: getattr(self, label) for label in numbers}})

    def part(self, first: int, last: int) -> GeneTable:
        """Return the genes in rows [first, last) as a table of their own, with all contigs."""
        offsets = self.exon_offsets[first : last + 1]
        exons = slice(int(offsets[0]), int(offsets[-1]))
        return GeneTable(
            **{label: getattr(self, label) for label in _OF_ALL},
            **{label: getattr(self, label)[first:last] for label in ("gene_contig", *_OF_GENES)},
            exon_offsets=offsets - offsets[0],
            **{label: getattr(self, label)[exons] for label in _OF_EXONS[1:]},
        )

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

        gene_start = np.repeat(self.gene_start, np.diff(self.exon_offsets))
        # relative to the gene's start, which makes the file a third smaller
        of_exons = (self.exon_start - gene_start, self.exon_end - self.exon_start, self.exon_flags)
        offsets = pa.array(self.exon_offsets, pa.int32())
        columns = {
            "contig": pa.array([self.contigs[row] for row in self.gene_contig.tolist()], pa.string()),
            **{name: pa.array(getattr(self, label), pa.string()) for name, label in _TEXTS.items()},
            "choice": pa.array([CHOICES[row] for row in self.choice.tolist()], pa.string()),
            **{name: pa.array(getattr(self, label), pa.int32()) for name, label in _NUMBERS.items()},
            **{
                name: pa.ListArray.from_arrays(offsets, pa.array(column, pa.int32()))
                for name, column in zip(_LISTS, of_exons, strict=True)
            },
        }
        counts = np.bincount(self.gene_contig, minlength=len(self.contigs)).tolist()
        bounds = [0]
        for end in accumulate(counts):
            if end == len(self) or end - bounds[-1] >= _GROUP:
                bounds.append(end)
        about = {
            "format": _FORMAT, "name": self.name, "source": self.source, "assembly": self.assembly,
            "digest": self.digest, "contig_lengths": dict(self.contig_lengths),
            "genes": dict(zip(self.contigs, counts, strict=True)),
            "row_groups": [
                [len(part), *(_digest({one: getattr(part, one) for one in kind}) for kind in (_OF_GENES, _OF_EXONS))]
                for part in (self.part(*pair) for pair in pairwise(bounds))
            ],
        }  # fmt: skip
        text = json.dumps(about)
        table = pa.table(columns, metadata={_KIND: text, "seal": hashlib.sha256(text.encode()).hexdigest()})
        numbers = (*_NUMBERS, *(f"{label}.list.element" for label in _LISTS))
        with (
            whole_or_not(path) as temporary,
            temporary.open("wb") as out,  # pyarrow takes no path that is not UTF-8
            pq.ParquetWriter(
                out, table.schema, compression="zstd", compression_level=19,
                use_dictionary=["contig", "biotype", "choice"],
                column_encoding=dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
                data_page_size=1 << 26, write_statistics=False,
            ) as writer,
        ):  # fmt: skip
            for first, last in pairwise(bounds):
                writer.write_table(table.slice(first, last - first), row_group_size=last - first)

    @staticmethod
    def load(path: str | Path) -> GeneTable:
        """Open a file that ``save`` wrote; genes and exons are read, and checked, where they are asked for.

        Raises:
            AnnotationError: the file is missing, is not a gene table, or is of another format version. The table raises
                it as well, for what is read later.
        """
        path = Path(path)
        data = _bytes(path)
        with _reading(path):
            return _StoredTable(path, data)


class _StoredTable(GeneTable):
    """A gene table in a file, of which only what is asked for is read: columns of genes, those of exons, a contig.

    Args:
        path: for messages.
        data: the whole file.
    """

    _parts: dict[int, GeneTable]  # row groups that were read

    def __init__(self, path: Path, data: bytes) -> None:
        written = {} if data.startswith(_ZIP) else _parquet(data).schema_arrow.metadata or {}
        text = b'{"format": 1}' if data.startswith(_ZIP) else written[_KIND.encode()]
        about = json.loads(text)
        if about["format"] != _FORMAT:
            raise AnnotationError(
                "The gene table was written by another version of splicebert-vep.", needed=f"format {_FORMAT}",
                found=f"format {about['format']}", where=str(path),
                remedy="compile it again from the annotation: splicebert-vep genes build",
            )  # fmt: skip
        if hashlib.sha256(text).hexdigest().encode() != written[b"seal"]:
            raise ValueError("a header that differs from the digest written with it")
        counts = list(about["genes"].values())
        groups = [tuple(group) for group in about["row_groups"]]
        vars(self).update(
            {label: about[label] for label in ("name", "source", "assembly", "contig_lengths", "digest")},
            contigs=tuple(about["genes"]), gene_contig=np.repeat(np.arange(len(counts)), counts),
            _path=path, _data=data, _groups=groups, _starts=[0, *accumulate(count for count, *_ in groups)], _parts={},
        )  # fmt: skip

    def __getattr__(self, label: str) -> Any:  # a column that was not read yet
        if label not in (*_OF_GENES, *_OF_EXONS):
            raise AttributeError(label)
        read = self._genes if label in _OF_GENES else self._exons
        parts = [read(number) for number in range(len(self._groups))]
        for name in parts[0]:
            columns = [part[name] for part in parts]
            if name == "exon_offsets":
                starts = accumulate((int(column[-1]) for column in columns), initial=0)
                columns = [columns[0][:1], *(column[1:] + at for column, at in zip(columns, starts, strict=False))]
            vars(self)[name] = tuple(chain(*columns)) if isinstance(columns[0], tuple) else np.concatenate(columns)
        _release()
        return vars(self)[label]

    def part(self, first: int, last: int) -> GeneTable:
        """Return the genes in some rows; where these are of one contig, other contigs are not read."""
        number = bisect_right(self._starts, first) - 1
        start, end = self._starts[number : number + 2]
        if last > end:
            return super().part(first, last)
        group = self._parts.get(number)
        if group is None:
            about = {label: getattr(self, label) for label in _OF_ALL}
            columns = {"gene_contig": self.gene_contig[start:end], **self._genes(number), **self._exons(number)}
            group = self._parts[number] = GeneTable(**about, **columns)
            _release()
        return group.part(first - start, last - start)

    def _genes(self, number: int) -> dict[str, Any]:
        with _reading(self._path):
            table = self._read(number, [*_TEXTS, "choice", *_NUMBERS])
            found: dict[str, Any] = {label: tuple(table[name].to_pylist()) for name, label in _TEXTS.items()}
            found["choice"] = np.array(list(map(CHOICES.index, table["choice"].to_pylist())), np.int64)
            found |= {label: _ints(table[name].combine_chunks()) for name, label in _NUMBERS.items()}
            return _checked(found, self._groups[number][1])

    def _exons(self, number: int) -> dict[str, Any]:
        with _reading(self._path):
            table = self._read(number, ["start", *_LISTS])
            lists = [table[label].combine_chunks() for label in _LISTS]
            offset, length, flags = (_ints(column.values) for column in lists)
            offsets = _ints(lists[0].offsets)
            start = np.repeat(_ints(table["start"].combine_chunks()), np.diff(offsets)) + offset
            found = {"exon_offsets": offsets, "exon_start": start, "exon_end": start + length, "exon_flags": flags}
            return _checked(found, self._groups[number][2])

    def _read(self, number: int, columns: Sequence[str]) -> pa.Table:
        return _parquet(self._data).read_row_group(number, columns=columns, use_threads=False)


def _release() -> None:
    """Have pyarrow give back what it read into: it keeps 15 MB a contig otherwise."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _parquet(data: bytes) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn the errors of a damaged file into AnnotationError."""
    import pyarrow as pa

    try:
        yield
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


def _ints(column: pa.Array) -> Ints:
    return np.from_dlpack(column).astype(np.int64)  # not to_numpy, which imports pandas where it is installed


def _digest(columns: Mapping[str, Sequence[str | None] | Ints]) -> str:
    whole = hashlib.sha256(f"{_KIND} 1".encode())
    for label, column in columns.items():
        if isinstance(column, np.ndarray):
            data = column.astype("<i8").tobytes()
        else:
            data = "\n".join(one or "" for one in column).encode()
        whole.update(f"\n{label} {len(data)}\n".encode())
        whole.update(data)
    return whole.hexdigest()


def _checked(columns: dict[str, Any], digest: str) -> dict[str, Any]:
    if _digest(columns) != digest:
        raise ValueError("contents that differ from the digest written with them")
    return columns


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

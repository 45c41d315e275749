"""The gene table: genes, their reported transcript and the union of their exons, as arrays in one compact file."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt

from ..errors import AnnotationError
from ..files import whole_or_not
from .ids import stable_id

#: Best first, as in gene_table.CHOICES; RefSeq writes the tags with spaces.
_TAGS = (b"MANE_Select", b"MANE_Plus_Clinical", b"Ensembl_canonical")
UNTAGGED = len(_TAGS)

#: SpliceAI's table does not say what its genes are.
UNSPECIFIED_BIOTYPE = "unspecified"


@dataclass(slots=True)
class Gene:
    """A gene as read: 0-based half-open; start and end are -1 when the file has no line for the gene itself."""

    contig: str
    id: str
    symbol: str | None
    biotype: str
    strand: int
    start: int = -1
    end: int = -1


@dataclass(slots=True)
class Transcript:
    """A transcript as read. ``parent`` is what its line names; ``gene`` is a row of ``Columns.genes``, -1 unknown.

    ``rank`` indexes gene_table.CHOICES for a tagged transcript and is UNTAGGED for others.
    """

    id: str
    parent: bytes | None = None
    gene: int = -1
    rank: int = UNTAGGED


@dataclass(slots=True)
class Rows:
    """Intervals of transcripts: row of ``Columns.transcripts``, start, end (0-based half-open)."""

    transcript: array[int] = field(default_factory=lambda: array("q"))
    start: array[int] = field(default_factory=lambda: array("q"))
    end: array[int] = field(default_factory=lambda: array("q"))

    def add(self, transcript: int, start: int, end: int) -> None:
        self.transcript.append(transcript)
        self.start.append(start)
        self.end.append(end)


@dataclass(slots=True)
class Columns:
    """All that is read from one annotation, wanted or not; mitochondrial contigs are left out."""

    genes: list[Gene] = field(default_factory=list)
    transcripts: list[Transcript] = field(default_factory=list)
    exons: Rows = field(default_factory=Rows)
    coding: Rows = field(default_factory=Rows)
    contig_lengths: dict[str, int] = field(default_factory=dict)
    assembly: str | None = None


def strand_sign(sign: bytes) -> int:
    """Return 1, -1, or 0 for unknown, which is an error only in a gene that is kept."""
    return {b"+": 1, b"-": -1}.get(sign, 0)


def gene_symbol(name: bytes | None, identifier: str) -> str | None:
    """Return the symbol; None where the source repeats the gene id for want of one."""
    if not name:
        return None
    symbol = unquote(name.decode())
    return None if symbol == stable_id(identifier) or symbol == identifier else symbol


def tag_rank(tags: list[bytes]) -> int:
    """Return the place of the best of a transcript's tags, UNTAGGED without any that counts."""
    found = [_TAGS.index(tag) for tag in (word.replace(b" ", b"_") for word in tags) if tag in _TAGS]
    return min(found, default=UNTAGGED)


def with_version(identifier: str, version: bytes | None) -> str:
    """Return an id with its version, where the source gives one apart from the id."""
    return f"{identifier}.{version.decode()}" if version and not re.search(r"\.\d+$", identifier) else identifier


Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

#: Why a transcript is the reported one, best first; ``GeneTable.choice`` holds indices into this.
CHOICES = ("MANE_Select", "MANE_Plus_Clinical", "Ensembl_canonical", "longest_CDS", "smallest_id")
#: Bits of ``GeneTable.exon_flags``.
HAS_ACCEPTOR, HAS_DONOR, REPORTED = 1, 2, 4

_FORMAT = 1
_KIND = "splicebert-vep gene table"
ZIP_MAGIC = b"PK\x03\x04"
_TEXT_COLUMNS = ("gene_ids", "symbols", "transcript_ids")


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

        Name, source, assembly, contig lengths, compression and the order of the source's lines do not enter.
        """
        whole = hashlib.sha256(f"{_KIND} {_FORMAT}".encode())
        texts: dict[str, tuple[str | None, ...]] = {
            "contigs": self.contigs,
            "biotypes": self.biotypes,
            "choice": tuple(CHOICES[row] for row in self.choice.tolist()),
            **{label: getattr(self, label) for label in _TEXT_COLUMNS},
        }
        parts = {label: _join(values).encode() for label, values in sorted(texts.items())}
        for label in ("gene_contig", "gene_start", "gene_end", "gene_strand", "cds_start", "cds_end"):
            parts[label] = getattr(self, label).astype("<i8").tobytes()
        for label in ("exon_offsets", "exon_start", "exon_end", "exon_flags"):
            parts[label] = getattr(self, label).astype("<i8").tobytes()
        for label, data in parts.items():
            whole.update(f"\n{label} {len(data)}\n".encode())
            whole.update(data)
        return whole.hexdigest()

    def splice_sites(self) -> SpliceSites:
        """Return every distinct donor and acceptor dinucleotide of the table."""
        contig = np.repeat(self.gene_contig, np.diff(self.exon_offsets))
        plus = np.repeat(self.gene_strand, np.diff(self.exon_offsets)) > 0
        rows: list[Ints] = []
        for donor, flag in ((1, HAS_DONOR), (0, HAS_ACCEPTOR)):
            kept = (self.exon_flags & flag) > 0
            # The donor follows the exon and the acceptor precedes it, in transcript direction.
            start = np.where(plus == bool(donor), self.exon_end, self.exon_start - 2)
            strand = np.where(plus, 1, -1)
            rows.append(np.stack([contig, start, strand, np.full_like(start, donor)])[:, kept])
        columns = np.unique(np.concatenate(rows, axis=1), axis=1)
        return SpliceSites(columns[0], columns[1], columns[2], columns[3].astype(bool))

    def save(self, path: str | Path) -> None:
        """Write the table to one file, whole or not at all; the same table gives the same bytes.

        Raises:
            OutputError: the file cannot be written.
        """
        path = Path(path)
        data = _encode(self)
        with whole_or_not(path) as temporary:
            temporary.write_bytes(data)

    @classmethod
    def load(cls, path: str | Path) -> GeneTable:
        """Read a file that ``save`` wrote.

        Raises:
            AnnotationError: the file is missing, is not a gene table, or is of another format version.
        """
        path = Path(path)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise unreadable(path, error) from error
        if not data.startswith(ZIP_MAGIC):
            raise _not_a_table(path, "a file of another kind")
        try:
            return _decode(data, path)
        except (
            zipfile.BadZipFile,
            KeyError,
            ValueError,
            IndexError,
            TypeError,
            EOFError,
            zlib.error,
            OSError,
        ) as error:
            raise _not_a_table(path, f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, eq=False)
class SpliceSites:
    """Hold S distinct dinucleotides: [start, start + 2) on the forward strand, 0-based.

    Args:
        contig: (S,) indices into the table's ``contigs``.
        start: (S,).
        strand: (S,) 1 or -1.
        is_donor: (S,) donor, else acceptor.
    """

    contig: Ints
    start: Ints
    strand: Ints
    is_donor: npt.NDArray[np.bool_]


def _encode(table: GeneTable) -> bytes:
    """Return the file's bytes. Deltas and byte planes are what makes deflate halve the file."""
    genes = np.searchsorted(table.gene_contig, np.arange(len(table.contigs) + 1))
    coding = table.cds_start >= 0
    vocabulary = sorted(set(table.biotypes))
    codes = {word: code for code, word in enumerate(vocabulary)}
    columns = {
        "contig_offsets": genes,
        "gene_start": _delta(table.gene_start, genes),
        "gene_length": table.gene_end - table.gene_start,
        "minus": (table.gene_strand < 0).astype(np.int64),
        "biotype": np.array([codes[word] for word in table.biotypes], dtype=np.int64),
        "choice": table.choice,
        # 0 says "not coding", hence the 1 more.
        "cds_start": np.where(coding, table.cds_start - table.gene_start + 1, 0),
        "cds_length": np.where(coding, table.cds_end - table.cds_start, 0),
        "exon_count": np.diff(table.exon_offsets),
        "exon_start": _delta(table.exon_start - _per_exon(table.gene_start, table.exon_offsets), table.exon_offsets),
        "exon_length": table.exon_end - table.exon_start,
        "exon_flags": table.exon_flags,
    }
    members: dict[str, Bytes] = {label: _planes(values) for label, values in columns.items()}
    for label in _TEXT_COLUMNS:
        members[label] = _text(_join(getattr(table, label)))
    meta = {
        "kind": _KIND,
        "format": _FORMAT,
        "name": table.name,
        "source": table.source,
        "assembly": table.assembly,
        "digest": table.digest,
        "contigs": table.contigs,
        "contig_lengths": dict(table.contig_lengths),
        "biotypes": vocabulary,
        "choices": CHOICES,
    }
    members["meta"] = _text(json.dumps(meta, sort_keys=True))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for label, array in sorted(members.items()):
            # A fixed date and system, so that the bytes depend on the contents alone.
            entry = zipfile.ZipInfo(f"{label}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            npy = io.BytesIO()
            np.lib.format.write_array(npy, array, version=(1, 0), allow_pickle=False)
            archive.writestr(entry, npy.getvalue())
    return buffer.getvalue()


def _decode(data: bytes, path: Path) -> GeneTable:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        meta: dict[str, Any] = json.loads(archive["meta"].tobytes())
        if meta.get("kind") != _KIND:
            raise _not_a_table(path, "another kind of npz")
        if meta.get("format") != _FORMAT:
            raise AnnotationError(
                "The gene table was written by another version of splicebert-vep.",
                needed=f"format {_FORMAT}",
                found=f"format {meta.get('format')}",
                where=str(path),
                remedy="compile it again from the annotation: splicebert-vep genes build",
            )
        members = {label: archive[label] for label in archive.files}
    ints = {label: _integers(array) for label, array in members.items() if array.ndim == 2}
    texts = {label: members[label].tobytes().decode().split("\n") for label in _TEXT_COLUMNS}
    contigs = tuple(meta["contigs"])
    genes = ints["contig_offsets"]
    start = _undelta(ints["gene_start"], genes)
    coding = ints["cds_start"] > 0
    cds_start = np.where(coding, start + ints["cds_start"] - 1, -1)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(ints["exon_count"])])
    exon_start = _undelta(ints["exon_start"], offsets) + _per_exon(start, offsets)
    to_choice = np.array([CHOICES.index(word) for word in meta["choices"]], dtype=np.int64)
    table = GeneTable(
        name=meta["name"],
        source=meta["source"],
        assembly=meta["assembly"],
        contig_lengths=meta["contig_lengths"],
        contigs=contigs,
        gene_contig=np.repeat(np.arange(len(contigs)), np.diff(genes)),
        gene_start=start,
        gene_end=start + ints["gene_length"],
        gene_strand=1 - 2 * ints["minus"],
        gene_ids=tuple(texts["gene_ids"]),
        symbols=tuple(symbol or None for symbol in texts["symbols"]),
        biotypes=tuple(meta["biotypes"][code] for code in ints["biotype"].tolist()),
        transcript_ids=tuple(texts["transcript_ids"]),
        choice=to_choice[ints["choice"]],
        cds_start=cds_start,
        cds_end=np.where(coding, cds_start + ints["cds_length"], -1),
        exon_offsets=offsets,
        exon_start=exon_start,
        exon_end=exon_start + ints["exon_length"],
        exon_flags=ints["exon_flags"],
    )
    if table.digest != meta["digest"]:
        raise _not_a_table(path, "contents that differ from the digest written with them")
    return table


def _per_exon(values: Ints, offsets: Ints) -> Ints:
    return np.repeat(values, np.diff(offsets))


def _delta(values: Ints, offsets: Ints) -> Ints:
    """Return differences within each group; the first of a group stays. Groups are never empty."""
    steps = np.diff(values, prepend=0)
    steps[offsets[:-1]] = values[offsets[:-1]]
    return steps


def _undelta(steps: Ints, offsets: Ints) -> Ints:
    total = np.cumsum(steps)
    first = offsets[:-1]
    return total - np.repeat(total[first] - steps[first], np.diff(offsets))


def _planes(values: Ints) -> Bytes:
    """Return non-negative integers as (planes, n) bytes, lowest byte first, no plane more than needed."""
    count = max(1, (int(values.max(initial=0)).bit_length() + 7) // 8)
    return np.ascontiguousarray(values.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :count].T)


def _integers(planes: Bytes) -> Ints:
    wide = np.zeros((planes.shape[1], 8), dtype=np.uint8)
    wide[:, : planes.shape[0]] = planes.T
    return wide.view("<i8").reshape(-1).astype(np.int64)


def _join(values: tuple[str | None, ...]) -> str:
    return "\n".join(value or "" for value in values)


def _text(text: str) -> Bytes:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _not_a_table(path: Path, found: str) -> AnnotationError:
    return AnnotationError(
        "The file is not a compiled gene table.",
        needed="a file made by splicebert-vep genes build (*.genes.npz)",
        found=found,
        where=str(path),
        remedy="compile the annotation again, or give its GFF3 or GTF",
    )


def unreadable(path: Path, error: OSError) -> AnnotationError:
    return AnnotationError(
        "The gene annotation cannot be read.",
        needed="a readable file",
        found=error.strerror or str(error),
        where=str(path),
        remedy="check the path and its permissions",
    )

"""The corpus: whole genes, introns included, on the transcribed strand, two bits per nucleotide, in one file; windows.

All genes lie one after the other on one axis, each 5' to 3'. An interval on this axis is 0-based half-open; ``N`` is
kept as runs, so that unpacking returns the bases of the FASTA (upper case; any letter but A, C, G, T is N).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import A, N

from ..errors import CorpusError
from ..files import whole_or_not
from ..genome.gene_build import load_table
from ..genome.gene_table import HAS_ACCEPTOR, HAS_DONOR, GeneTable
from ..genome.ids import stable_id
from ..genome.reference import Reference
from ..sequence.tokens import Tokens, encode, reverse_complement

_LNCRNA = {  # and its old names
    "lncRNA", "lincRNA", "antisense", "processed_transcript", "sense_intronic", "sense_overlapping",
    "3prime_overlapping_ncRNA", "bidirectional_promoter_lncRNA", "macro_lncRNA",
}  # fmt: skip
_DAMAGED = (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)  # of a zip file
_KIND, _FORMAT = "splicebert-vep corpus", 1

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Source:
    """One genome to take genes from: a FASTA and the annotation whose contigs it holds, all or some of them."""

    species: str
    reference: Path
    annotation: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """G genes of L nucleotides in all, and the E exons of their reported and other transcripts.

    Args:
        packed: (ceil(L / 4),) uint8, first nucleotide in the lowest two bits; A 0, C 1, G 2, T 3, N as A.
        n_start, n_end: runs of N on the axis.
        offsets: (G + 1,) where each gene starts on the axis.
        held_out: (G,) bool, for validation, never for training.
        coding: (G,) bool, protein-coding.
        exon_start, exon_end: (E,) on the axis, sorted by start.
        exon_flags: (E,) as ``GeneTable.exon_flags``: HAS_ACCEPTOR, HAS_DONOR, REPORTED.
        names: ``species:gene_id`` by gene.
        sources: species, FASTA and annotation of each, in words.
    """

    packed: NDArray[np.uint8]
    n_start: Ints
    n_end: Ints
    offsets: Ints
    held_out: NDArray[np.bool_]
    coding: NDArray[np.bool_]
    exon_start: Ints
    exon_end: Ints
    exon_flags: Ints
    names: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        """Return L."""
        return int(self.offsets[-1])

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that training reads."""
        whole = hashlib.sha256(f"{_KIND} {_FORMAT}".encode())
        for label in _ARRAYS:
            array = getattr(self, label)
            whole.update(f"\n{label} {array.dtype.str} {array.size}\n".encode())
            whole.update(np.ascontiguousarray(array).data)
        return whole.hexdigest()

    @cached_property
    def bases(self) -> Tokens:
        """The whole axis unpacked, (L,) uint8 tokens A, C, G, T and N; made once, a byte per nucleotide."""
        fours = (self.packed[:, None] >> np.array([0, 2, 4, 6], dtype=np.uint8)) & np.uint8(3)
        bases: Tokens = fours.reshape(-1)[: len(self)] + np.uint8(A)
        for start, end in zip(self.n_start.tolist(), self.n_end.tolist(), strict=True):
            bases[start:end] = N
        return bases

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all; OutputError if it cannot be written."""
        about = {"kind": _KIND, "format": _FORMAT, "names": self.names, "sources": self.sources}
        with whole_or_not(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            _write(archive, "about.json", json.dumps(about).encode(), zipfile.ZIP_DEFLATED)
            for label in _ARRAYS:
                buffer = io.BytesIO()
                np.save(buffer, getattr(self, label))
                method = zipfile.ZIP_STORED if label == "packed" else zipfile.ZIP_DEFLATED  # bases do not compress
                _write(archive, f"{label}.npy", buffer.getvalue(), method)

    @classmethod
    def load(cls, path: Path) -> Corpus:
        """Read a file that ``save`` wrote.

        Raises:
            CorpusError: missing, damaged or no corpus.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                about = json.loads(archive.read("about.json"))
                if (about.get("kind"), about.get("format")) != (_KIND, _FORMAT):
                    raise ValueError(f"{about.get('kind')!r}, format {about.get('format')!r}")
                arrays = {
                    name: np.load(io.BytesIO(archive.read(f"{name}.npy")), allow_pickle=False) for name in _ARRAYS
                }
            return cls(**arrays, names=tuple(about["names"]), sources=tuple(about["sources"]))
        except (*_DAMAGED, KeyError, ValueError, AttributeError) as error:
            found, remedy = str(error) or type(error).__name__, "make it again with 'splicebert-vep corpus'"
            raise CorpusError("The corpus cannot be read.", found=found, where=str(path), remedy=remedy) from error

    def windows(self, *, held_out: bool = False) -> WindowSampler:
        """Return a sampler of windows within genes, of those held out or of the others, around splice sites or not."""
        chosen = np.flatnonzero(self.held_out == held_out)
        donor = self.exon_end[(self.exon_flags & HAS_DONOR) > 0]
        acceptor = self.exon_start[(self.exon_flags & HAS_ACCEPTOR) > 0]
        junctions = np.unique(np.concatenate([donor, acceptor]))
        gene = np.searchsorted(self.offsets, junctions, side="right") - 1
        kept = self.held_out[gene] == held_out
        return WindowSampler(
            self.offsets[:-1][chosen], self.offsets[1:][chosen], junctions[kept],
            np.searchsorted(chosen, gene[kept]), first=1, name="held-out gene" if held_out else "gene to train on",
        )  # fmt: skip


_ARRAYS = [field.name for field in fields(Corpus) if field.name not in ("names", "sources")]


class WindowSampler:
    """Draw windows within stretches of an axis: a share of them around sites, the others anywhere with equal chance.

    Args:
        starts, ends: (S,) of the stretches, 0-based half-open.
        sites: (n,) places; a window around one of them holds it at any index from ``first`` on.
        of: (n,) the stretch of each site.
        first: 1 where a site is the boundary before a nucleotide, 0 where it is a nucleotide.
        name: of a stretch, for messages.
    """

    def __init__(self, starts: Ints, ends: Ints, sites: Ints, of: Ints, *, first: int, name: str) -> None:
        self._starts, self._ends, self._sites, self._of, self._first, self._name = starts, ends, sites, of, first, name

    def draw(self, rng: np.random.Generator, count: int, width: int, site_share: float) -> Ints:
        """Return the places of the nucleotides of windows, (count, width).

        Args:
            site_share: of the windows, those drawn around a site, 0 to 1.

        Raises:
            CorpusError: no stretch, or none with a site, is as long as a window.
        """
        near = int(np.count_nonzero(rng.random(count) < site_share))
        starts = np.concatenate([self._anywhere(rng, count - near, width), self._around(rng, near, width)])
        places: Ints = starts[:, None] + np.arange(width)
        return places

    def _anywhere(self, rng: np.random.Generator, count: int, width: int) -> Ints:
        room = np.maximum(self._ends - self._starts - width + 1, 0)  # windows that fit in each stretch
        if not room.any():
            raise self._too_short(width, "")
        reach = np.cumsum(room)
        at = rng.integers(reach[-1], size=count)
        row = np.searchsorted(reach, at, side="right")
        starts: Ints = self._starts[row] + at - (reach[row] - room[row])
        return starts

    def _around(self, rng: np.random.Generator, count: int, width: int) -> Ints:
        fits = np.flatnonzero((self._ends - self._starts)[self._of] >= width)
        if not count:
            return np.empty(0, dtype=np.int64)
        if not len(fits):
            raise self._too_short(width, " with a splice site")
        chosen = fits[rng.integers(len(fits), size=count)]
        start = self._sites[chosen] - rng.integers(self._first, width, size=count)
        row = self._of[chosen]
        starts: Ints = np.clip(start, self._starts[row], self._ends[row] - width)
        return starts

    def _too_short(self, width: int, having: str) -> CorpusError:
        found = f"{len(self._starts)} of at most {max(self._ends - self._starts, default=0)} nt"
        remedy = "take more sequence, hold out another share, or choose shorter windows"
        problem = f"No {self._name}{having} is as long as a window of {width} nt."
        return CorpusError(problem, found=found, remedy=remedy)


def build_corpus(sources: Sequence[Source], held_out_share: float, *, least: int = 64) -> Corpus:
    """Take every protein-coding and lncRNA gene whose bases the references hold.

    A gene inside another of the same strand is left out, since its bases are there already, and so is one whose id the
    species has already. Genes that overlap, on either strand, are held out together, so that no held-out base is
    trained on. A hash of species, contig and start of the first gene decides, so the choice does not depend on the rest
    of the corpus. That holds within an assembly: a species should not come with one region in two of them.

    Args:
        held_out_share: of the groups of overlapping genes, 0 to 1.
        least: shortest gene taken, nt.

    Raises:
        CorpusError: a source has no gene.
        SpliceBertError: a reference or annotation cannot be read.
    """
    genes: list[_Gene] = []
    known: set[tuple[str, str]] = set()
    for source in sources:
        for gene in _genes(source, held_out_share, least):
            species, _, gene_id = gene.name.partition(":")
            identity = species, stable_id(gene_id)
            if identity not in known:
                known.add(identity)
                genes.append(gene)
    lengths = np.array([len(gene.bases) for gene in genes], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    bases = np.concatenate([gene.bases for gene in genes])
    exons = np.concatenate([gene.exons + [[at], [at], [0]] for gene, at in zip(genes, offsets, strict=False)], axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bases == N, [False]]).astype(np.int8)))
    return Corpus(
        pack(bases), edges[::2].astype(np.int64), edges[1::2].astype(np.int64), offsets,
        np.array([gene.held_out for gene in genes], dtype=bool), np.array([gene.coding for gene in genes], dtype=bool),
        exons[0], exons[1], exons[2], tuple(gene.name for gene in genes),
        tuple(f"{source.species}: {source.reference.name}, {source.annotation}" for source in sources),
    )  # fmt: skip


def pack(bases: Tokens) -> NDArray[np.uint8]:
    """Pack tokens (L,) to (ceil(L / 4),) bytes; N becomes A, and the last byte is filled up with A."""
    codes = np.where(bases == N, np.uint8(0), bases - np.uint8(A))
    fours = np.pad(codes, (0, -len(bases) % 4)).reshape(-1, 4)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(fours << np.array([0, 2, 4, 6], dtype=np.uint8), axis=1)
    return packed


@dataclass(frozen=True, slots=True)
class _Gene:
    name: str
    bases: Tokens
    exons: Ints  # (3, E) start, end, flags; sorted, 0 is the gene's 5' end
    held_out: bool
    coding: bool


def _genes(source: Source, held_out_share: float, least: int) -> Iterator[_Gene]:
    table = load_table(source.annotation)
    coding, _ = kinds(table)
    taken = 0
    with Reference(source.reference) as reference:
        for number, name, rows in gene_rows(table, reference):
            for group in overlapping(table, rows):
                first = f"{source.species}:{table.contigs[number]}:{table.gene_start[group[0]]}"
                held_out = draw(first) < held_out_share
                for row in _outermost(table, group):
                    bases = encode(reference.fetch(name, int(table.gene_start[row]), int(table.gene_end[row])))
                    if len(bases) < least or np.count_nonzero(bases == N) > len(bases) // 2:
                        continue
                    taken += 1
                    yield _gene(table, row, bases, f"{source.species}:{table.gene_ids[row]}", held_out, coding[row])
    if not taken:
        raise CorpusError(
            "No protein_coding or lncRNA gene of the annotation lies on the reference.", where=source.species,
            found=f"{source.annotation} and {source.reference}", remedy="check that both are of the same assembly",
        )  # fmt: skip


def kinds(table: GeneTable) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return two masks of the genes, (G,): protein-coding, and lncRNA."""
    coding = np.array([biotype == "protein_coding" for biotype in table.biotypes], dtype=np.bool_)
    return coding, np.array([biotype in _LNCRNA for biotype in table.biotypes], dtype=np.bool_)


def gene_rows(table: GeneTable, reference: Reference) -> Iterator[tuple[int, str, Ints]]:
    """Yield, for each of the table's contigs that the FASTA has, its number, the FASTA's name of it, and the rows of
    the protein-coding and lncRNA genes that lie wholly on it, ascending."""
    coding, noncoding = kinds(table)
    for number, contig in enumerate(table.contigs):
        name = reference.find(contig)
        if name is not None:
            inside = table.gene_end <= reference.lengths[name]
            yield number, name, np.flatnonzero((table.gene_contig == number) & (coding | noncoding) & inside)


def _gene(table: GeneTable, row: int, bases: Tokens, name: str, held_out: bool, coding: bool) -> _Gene:
    start, end = int(table.gene_start[row]), int(table.gene_end[row])
    rows = slice(int(table.exon_offsets[row]), int(table.exon_offsets[row + 1]))
    starts, ends = table.exon_start[rows] - start, table.exon_end[rows] - start
    if table.gene_strand[row] < 0:
        bases = reverse_complement(bases)
        starts, ends = (end - start) - ends, (end - start) - starts
    exons = np.stack([starts, ends, table.exon_flags[rows].astype(np.int64)])
    return _Gene(name, bases, exons[:, np.lexsort((ends, starts))], held_out, bool(coding))


def overlapping(table: GeneTable, rows: Ints) -> Iterator[list[int]]:
    """Divide genes of one contig, sorted by start, in groups that do not overlap one another on either strand."""
    starts, reach = table.gene_start[rows], np.maximum.accumulate(table.gene_end[rows])
    for group in np.split(rows, np.flatnonzero(starts[1:] >= reach[:-1]) + 1):
        if len(group):
            yield group.tolist()


def _outermost(table: GeneTable, group: list[int]) -> Iterable[int]:
    """Leave out genes that lie inside another of their strand; of equal ones the first stays."""
    reach = {1: -1, -1: -1}
    for row in sorted(group, key=lambda row: (table.gene_start[row], -table.gene_end[row], row)):
        strand = 1 if table.gene_strand[row] > 0 else -1
        if table.gene_end[row] > reach[strand]:
            reach[strand] = int(table.gene_end[row])
            yield row


def draw(text: str) -> float:
    """Return a number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64


def _write(archive: zipfile.ZipFile, name: str, data: bytes, method: int) -> None:
    info = zipfile.ZipInfo(name)  # its default date is fixed, so the same corpus gives the same bytes
    info.compress_type = method
    archive.writestr(info, data)

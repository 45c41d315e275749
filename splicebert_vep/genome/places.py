"""Genes, regions and the lines of a BED file, as stretches of the reference."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import SettingsError, suggestion
from ..variants import MAX_POS, Region
from .gene_table import GeneTable
from .ids import stable_id
from .reference import Reference

_NOT_INTERVALS = ("#", "track", "browser")


class Stretch(NamedTuple):
    """A piece of a contig under the FASTA's name, 0-based half-open."""

    contig: str
    start: int
    end: int


class GenePlace(NamedTuple):
    """A gene's stretch and its row in the table."""

    stretch: Stretch
    row: int


class BedLine(NamedTuple):
    """An interval of a BED file under the file's own name of the contig, 0-based half-open.

    Args:
        name, strand: columns 4 and 6; None where the line has none.
        where: file and line, for messages.
    """

    contig: str
    start: int
    end: int
    name: str | None
    strand: str | None
    where: str


@dataclass(frozen=True, slots=True)
class Places:
    """Places that a user names.

    Args:
        genes: symbols or ids, with or without version.
        regions: ``chr17:43044295-43125364``, 1-based with both ends.
        bed: path of a BED file, plain or gzip.
    """

    genes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    bed: str | None = None


def find_places(places: Places, reference: Reference, table: GeneTable) -> tuple[list[Stretch], list[str]]:
    """Return stretches in the order of the FASTA, which neither overlap nor abut, and warnings.

    Raises:
        SettingsError: nothing was asked for; a gene, contig or position that is not there; a line of the BED file that
            cannot be read.
    """
    warnings: list[str] = []
    found = [place.stretch for place in gene_places(places.genes, reference, table, warnings)]
    found += region_stretches(places.regions, reference)
    if places.bed is not None:
        found += [stretch for stretch, _ in bed_places(places.bed, reference)]
    if not found:
        found_in = f"no interval in {places.bed}" if places.bed else ""
        raise SettingsError("There is nothing to score.", needed="--gene, --region or --bed", found=found_in)
    return list(merged(found, list(reference.lengths))), warnings


def merged(stretches: Iterable[Stretch], contigs: Sequence[str]) -> Iterator[Stretch]:
    """Yield the union of stretches, in the order of the contigs."""
    number = {name: i for i, name in enumerate(contigs)}
    last: Stretch | None = None
    for one in sorted(stretches, key=lambda stretch: (number[stretch.contig], stretch.start, stretch.end)):
        if last and one.contig == last.contig and one.start <= last.end:
            last = Stretch(last.contig, last.start, max(last.end, one.end))
        else:
            if last:
                yield last
            last = one
    if last:
        yield last


def gene_places(
    names: Sequence[str], reference: Reference, table: GeneTable, warnings: list[str]
) -> Iterator[GenePlace]:
    """Yield the genes of each name, by symbol or id with or without version.

    Args:
        warnings: gets a sentence for each gene that the FASTA has a part of only.

    Raises:
        SettingsError: a gene is not in the annotation, or not on the FASTA.
    """
    rows = _rows_of(names, table)
    unknown = [name for name in names if not rows[name]]
    if unknown:
        known = [*filter(None, table.symbols), *table.gene_ids]
        remedy = suggestion(unknown, known) or "give the region instead, or an annotation (-A) that has the gene"
        raise SettingsError(f"{table.name} has no such gene.", found=", ".join(unknown), remedy=remedy)
    for name in names:
        for row in rows[name]:
            start, end = int(table.gene_start[row]), int(table.gene_end[row])
            contig = reference.find(table.contigs[table.gene_contig[row]])
            length = reference.lengths[contig] if contig else 0
            if contig is None or start >= length:
                raise SettingsError(
                    f"Gene {name} does not lie on the FASTA: give a FASTA (-R) and an annotation (-A) of one build.",
                    needed=f"{table.contigs[table.gene_contig[row]]}:{start + 1}-{end}",
                    found=f"{contig} of {length:,} nt" if contig else "no such contig",
                    where=str(reference.path),
                )
            if end > length:
                beyond = f"{name} ends {end - length:,} nt beyond {contig} of the FASTA"
                warnings.append(f"{beyond}: only what it has is used")
            yield GenePlace(Stretch(contig, start, min(end, length)), row)


def _rows_of(names: Sequence[str], table: GeneTable) -> Mapping[str, Sequence[int]]:
    """Return the genes of each name: by symbol or id, else by an id whose version was left out."""
    exact: dict[str, list[int]] = {name: [] for name in names}
    versioned: dict[str, list[int]] = {name: [] for name in names}
    for row, (symbol, gene) in enumerate(zip(table.symbols, table.gene_ids, strict=True)):
        for name in {symbol, gene}:
            if name in exact:
                exact[name].append(row)
        if (bare := stable_id(gene)) in versioned:
            versioned[bare].append(row)
    return {name: exact[name] or versioned[name] for name in names}


def read_region(text: str, reference: Reference) -> Region:
    """Read a region; the reference knows a contig whose own name holds a colon (HLA-A*01:01)."""
    return Region(text, 1, MAX_POS) if reference.find(text) else Region.parse(text)


def region_stretches(texts: Sequence[str], reference: Reference) -> Iterator[Stretch]:
    """Yield the stretch of each region.

    Raises:
        SettingsError: a region cannot be read, or does not lie on the FASTA.
    """
    for text in texts:
        region = read_region(text, reference)
        contig = _contig(region.chrom, reference, f"region {text}")
        length = reference.lengths[contig]
        last = length if region.last == MAX_POS else region.last
        if region.first < 1:
            raise SettingsError("The first position of a contig is 1.", found=text, where=f"region {text}")
        yield _within(Stretch(contig, region.first - 1, last), length, f"region {text}")


def bed_places(path: str, reference: Reference) -> Iterator[tuple[Stretch, BedLine]]:
    """Yield the stretch and the line of each interval of a BED file, plain or gzip.

    Raises:
        SettingsError: the file or a line cannot be read, or an interval does not lie on the FASTA.
    """
    for line in bed_lines(path):
        contig = _contig(line.contig, reference, line.where)
        stretch = _within(Stretch(contig, line.start, line.end), reference.lengths[contig], line.where)
        yield stretch, line


def bed_lines(path: str) -> Iterator[BedLine]:
    """Yield the intervals of a BED file, plain or gzip, whether the FASTA has them or not.

    Raises:
        SettingsError: the file or a line cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            packed = handle.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip() and not line.startswith(_NOT_INTERVALS):
                    yield _interval(line, f"{path}:{number}")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        found = getattr(error, "strerror", None) or str(error)
        raise SettingsError("The BED file cannot be read.", found=found, where=path) from error


def _interval(line: str, where: str) -> BedLine:
    cells = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
    if len(cells) < 3 or not (cells[1].isdecimal() and cells[2].isdecimal()) or int(cells[1]) >= int(cells[2]):
        needed = "contig, start and end, separated by tabs; 0-based, start before end"
        raise SettingsError("A line of the BED file cannot be read.", needed=needed, found=repr(line[:60]), where=where)
    name, strand = (cells[at] if len(cells) > at else None for at in (3, 5))
    return BedLine(cells[0], int(cells[1]), int(cells[2]), name, strand, where)


def _contig(name: str, reference: Reference, where: str) -> str:
    contig = reference.find(name)
    if contig is None:
        known = list(reference.lengths)
        shown = ", ".join(known[:5]) + (f" and {len(known) - 5:,} more" if len(known) > 5 else "")
        remedy = suggestion([name], known)
        raise SettingsError("The FASTA has no such contig.", needed=shown, found=name, where=where, remedy=remedy)
    return contig


def _within(stretch: Stretch, length: int, where: str) -> Stretch:
    if stretch.end > length:
        found = f"{stretch.contig}:{stretch.start + 1:,}-{stretch.end:,}"
        needed = f"{stretch.contig} up to {length:,}"
        raise SettingsError("The region reaches beyond its contig.", needed=needed, found=found, where=where)
    return stretch

"""What is embedded: stretches of one strand, from genes, regions, a BED file or the records of a FASTA."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from splicebert_vep.cohort.places import Stretch, bed_places, gene_places, region_stretches
from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.gene_table import GeneTable
from splicebert_vep.genome.reference import Reference

_STRANDS = ("+", "-")


@dataclass(frozen=True, slots=True)
class Target:
    """A stretch of one strand.

    Args:
        name: a gene's symbol or id, a region as it was given, column 4 of the BED line, a FASTA record's name.
        contig: under the FASTA's name.
        start, end: 0-based half-open on the forward strand.
        strand: ``+`` or ``-``; embeddings run 5' to 3' of it.
        gene: id of the gene; None for what was not given as a gene.
    """

    name: str
    contig: str
    start: int
    end: int
    strand: str
    gene: str | None = None

    COLUMNS: ClassVar[Mapping[str, type]] = {
        "name": str, "contig": str, "start": int, "end": int, "strand": str, "gene": str,
    }  # fmt: skip

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks for.

    Args:
        genes: symbols or ids, with or without version.
        regions: ``chr17:43044295-43125364``, 1-based with both ends.
        bed: path of a BED file, plain or gzip; column 6 is the strand.
        records: every record of the FASTA, as it is.
        strand: of regions, and of BED lines that name none.
        vcf: path of a VCF or BCF, whose REF and ALT windows go without anything else; ``-`` is stdin.
    """

    genes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    bed: str | None = None
    records: bool = False
    strand: str | None = None
    vcf: str | None = None


def find_targets(wanted: Wanted, reference: Reference, table: GeneTable, warnings: list[str]) -> list[Target]:
    """Return the targets in the order in which they were given: genes, regions, BED lines, records.

    Args:
        warnings: gets a sentence for each gene that the FASTA has a part of only.

    Raises:
        SettingsError: nothing was asked for; a gene, contig or position that is not there; a region or BED line whose
            strand nobody told; a line of the BED file that cannot be read; an empty FASTA record.
    """
    if wanted.strand not in (None, *_STRANDS):
        raise SettingsError("An unknown strand was asked for.", needed="+ or -", found=str(wanted.strand))
    found = [*_genes(wanted, reference, table, warnings), *_regions(wanted, reference), *_bed(wanted, reference)]
    if wanted.records:
        found += _records(reference)
    if not found:
        raise SettingsError(
            "There is nothing to embed." if wanted.bed else "Nothing to embed was asked for.",
            needed="genes, regions, a BED file with intervals, the records of a FASTA, or a VCF",
            found=f"no interval in {wanted.bed}" if wanted.bed else "",
        )
    return found


def _genes(wanted: Wanted, reference: Reference, table: GeneTable, warnings: list[str]) -> Iterator[Target]:
    for (contig, start, end), row in gene_places(wanted.genes, reference, table, warnings):
        gene = table.gene_ids[row]
        strand = "+" if table.gene_strand[row] > 0 else "-"
        yield Target(table.symbols[row] or gene, contig, start, end, strand, gene)


def _regions(wanted: Wanted, reference: Reference) -> Iterator[Target]:
    for text, stretch in zip(wanted.regions, region_stretches(wanted.regions, reference), strict=True):
        yield Target(text, *stretch, _strand(wanted.strand, f"region {text}"))


def _bed(wanted: Wanted, reference: Reference) -> Iterator[Target]:
    if wanted.bed is None:
        return
    for stretch, name, own, where in bed_places(wanted.bed, reference):
        strand = _strand(wanted.strand if own in (None, ".") else own, where)
        yield Target(name or _named(stretch), *stretch, strand)


def _records(reference: Reference) -> Iterator[Target]:
    for name, length in reference.lengths.items():
        if not length:
            raise SettingsError(
                "A FASTA record is empty.", needed="at least one base", found=name, where=str(reference.path)
            )
        yield Target(name, name, 0, length, "+")


def _strand(strand: str | None, where: str) -> str:
    """Return the strand; a pre-mRNA model read along the wrong one gives numbers that look right."""
    if strand in _STRANDS:
        return str(strand)
    raise SettingsError(
        "The strand of a region is not known.",
        needed="+ or -, in column 6 of the BED file or by --strand",
        found="none" if strand is None else repr(strand),
        where=where,
        remedy="give --strand + or --strand -, whichever the transcript is on",
    )


def _named(stretch: Stretch) -> str:
    return f"{stretch.contig}:{stretch.start + 1}-{stretch.end}"

"""Values that travel from the reader to the writer.

Coordinates are 0-based half-open on the forward genomic strand unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

Value = float | int | str | None
"""One output value; ``None`` is missing. Never a default number for a missing one."""


class Status(StrEnum):
    """Why an ALT has, or has no, scores: the first that applies, in this order."""

    NO_ALT = "NO_ALT"
    SYMBOLIC = "SYMBOLIC"
    SPANNING_DELETION = "SPANNING_DELETION"
    NON_ACGT = "NON_ACGT"
    NO_CHANGE = "NO_CHANGE"
    NO_CONTIG = "NO_CONTIG"
    REF_MISMATCH = "REF_MISMATCH"
    TOO_LONG = "TOO_LONG"
    NO_GENE = "NO_GENE"
    N_CONTEXT = "N_CONTEXT"
    FAILED = "FAILED"
    NOT_APPLICABLE = "NOT_APPLICABLE"
    OK = "OK"


@dataclass(frozen=True, slots=True)
class Skipped:
    """Take the place of a value that could not be made: a status word and the reason in a sentence."""

    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Allele:
    """A normalised allele: shared suffix, then shared prefix trimmed, left-aligned on the reference.

    ``ref`` and ``alt`` are upper-case and hold the differing bases only; the VCF anchor base is never in
    them, so ``ref`` is empty for an insertion and ``alt`` for a deletion. ``contig`` is the FASTA's name.
    """

    contig: str
    start: int
    ref: str
    alt: str

    @property
    def end(self) -> int:
        """End of the REF span, exclusive; equals ``start`` for an insertion."""
        return self.start + len(self.ref)

    @property
    def shift(self) -> int:
        """``len(ref) - len(alt)``: how far the genomic right flank moves in the ALT window."""
        return len(self.ref) - len(self.alt)


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of the forward strand, 0-based half-open."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class GeneContext:
    """One gene that an allele overlaps, and the splice sites the allele is measured against.

    Args:
        gene_id: stable id with version where the annotation has one.
        symbol: gene symbol, or None.
        transcript_id: the reported transcript, with version where the annotation has one.
        transcript_choice: why that one (``MANE_Select``, ``MANE_Plus_Clinical``, ``Ensembl_canonical``,
            ``longest_CDS``, ``smallest_id``).
        biotype: gene biotype as annotated, e.g. ``protein_coding``.
        strand: ``+`` or ``-``.
        region: ``CDS``, ``5_prime_UTR``, ``3_prime_UTR``, ``exon`` or ``intron``.
        site_offset: ``+5`` / ``-12`` (intronic, HGVS-like) or ``3`` (exonic distance to the nearest splice
            site's edge, 1 = the edge base); None when the nearest edge is no splice site.
        site_hit: ``donor``, ``acceptor``, ``both`` or None: the span touches an annotated dinucleotide of
            any transcript of the gene.
        donor: the two intronic nt after the nearest exon, or None when that exon has no donor.
        acceptor: the two intronic nt before the nearest exon, or None when that exon has no acceptor.
        near_site: the span lies in an exon or within 50 nt of a splice site of the gene.
    """

    gene_id: str
    symbol: str | None
    transcript_id: str
    transcript_choice: str
    biotype: str
    strand: str
    region: str
    site_offset: str | None
    site_hit: str | None
    donor: Interval | None
    acceptor: Interval | None
    near_site: bool


@dataclass(frozen=True, slots=True)
class ScoredContext:
    """The outcome for one allele in one gene: a status and, when it is OK, values by field id."""

    context: GeneContext | None
    status: Status
    reason: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class AlleleReport:
    """The outcome for one ALT of a record, as the caller wrote it; ``contexts`` is never empty.

    The first context is the one that flat output reports.
    """

    alt: str
    allele: Allele | None
    contexts: tuple[ScoredContext, ...]


@dataclass(frozen=True, slots=True)
class RecordReport:
    """The outcome for one VCF record: the caller's own writing and one AlleleReport per ALT.

    ``pos`` is 1-based as in VCF. ``alleles`` is empty when ALT is ``.``.
    """

    chrom: str
    pos: int
    id: str
    ref: str
    alleles: tuple[AlleleReport, ...]

"""Values that travel from the reader to the writer, and the rules that names, fields and values keep.

Coordinates are 0-based half-open on the forward genomic strand unless a name says otherwise.
"""

from __future__ import annotations

import math
import re
from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

Value = float | int | str | None
"""One output value; ``None`` is missing. Never a default number for a missing one."""


class Refused(Exception):
    """The user's request cannot be met; the message, one or two sentences with the remedy, is shown as it is.

    The run ends with exit code 3. Any other exception of a plugin counts as its own fault: the message names plugin
    and hook, and the run ends with exit code 7.
    """


class Named(ABC):
    """An object that a plugin registers.

    Attributes:
        name: lower-case letters, digits, ``-`` and ``_``; no other object of its kind may have it.
        version: goes into the provenance; raise it with every change of a value that the object writes.
    """

    name: str
    version: str


class Status(StrEnum):
    """Tell why an ALT has, or has no, scores: the first word that applies, in this order."""

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
    """A status word and the reason in a sentence, in place of a value that could not be computed."""

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
        region: ``CDS``, ``5_prime_UTR``, ``3_prime_UTR``, ``exon`` or ``intron`` of the reported transcript;
            ``upstream`` or ``downstream`` of it where only other transcripts of the gene reach.
        site_offset: ``+5`` / ``-12`` (intronic, HGVS-like) or ``3`` (exonic distance to the nearest splice
            site's edge, 1 = the edge base), in the reported transcript; None when the nearest edge is no splice site.
        site_hit: ``donor``, ``acceptor``, ``both`` or None: the span touches an annotated dinucleotide of
            the reported transcript, at any of the places where the same insertion or deletion can stand.
        donor: the two intronic nt after the reported transcript's nearest exon, or None when that exon has no donor.
        acceptor: the two intronic nt before it, or None when that exon has no acceptor.
        near_site: the span lies in an exon or within 50 nt of a splice site of any transcript of the gene.
        distance: nt to the reported transcript's nearest splice site: 1 for the bases beside the edge of an exon, on
            either side, 0 when the span lies across the edge; None when the transcript has no splice site.
        exon, intron: number along the reported transcript and how many there are, ``20/23``, ``20-21/23``.
        other_region, other_offset: ``exon`` or ``intron``, and the offset, in another transcript of the gene, where
            its exon or its nearer splice site says more than the reported one.
        other_site_hit: as ``site_hit``, of sites that the reported transcript does not have.
        hgvsc: c. or n. name of the allele on the reported transcript; None where it does not lie within it whole.
        hgvsg: g. name of the allele; None where no accession of its contig is known.
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
    distance: int | None = None
    exon: str | None = None
    intron: str | None = None
    other_region: str | None = None
    other_offset: str | None = None
    other_site_hit: str | None = None
    hgvsc: str | None = None
    hgvsg: str | None = None


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


class Bases(Protocol):
    """Bases of the run's FASTA by contig and interval."""

    @property
    def lengths(self) -> Mapping[str, int]:
        """Length of every contig, by the FASTA's own names, which ``Allele.contig`` holds."""

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        """Return upper-case bases of the forward strand, [start, end) 0-based half-open, cut at the contig's ends.

        Raises:
            KeyError: ``contig`` is not the FASTA's own name of a contig.
        """


FieldType = Literal["Float", "Integer", "String"]
FieldNumber = Literal["A", "1", "."]
Direction = Literal["higher", "negative", "none"]

_ID = re.compile(r"[A-Z][A-Za-z0-9_]*\Z")


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Describe one output field.

    Args:
        id: name without prefix, e.g. ``KL_CTX`` or ``SpliceAI_DS_AG``; the VCF key is ``SpliceBERT_<id>``.
        number: VCF ``Number``; ``A`` is one value per ALT.
        type: VCF ``Type``.
        description: one line; it becomes the VCF header ``Description``.
        direction: ``higher`` when larger means more disturbed, ``negative`` when more negative means
            that ALT is less expected, ``none`` for fields without a direction.
        default: whether the field is computed when the user names no scores.
        from_pos: the value is an offset, nt towards larger coordinates, from the POS that ``bcftools norm`` gives the
            allele: the base before an insertion or deletion, else the first base of the span. For a record with another
            POS, outputs count from the record's own, so that POS plus the value is the same nucleotide.

    Raises:
        ValueError: the id is not ``[A-Z][A-Za-z0-9_]*``, the description is empty or has a line break, or an offset is
            no Integer.
    """

    id: str
    number: FieldNumber
    type: FieldType
    description: str
    direction: Direction = "none"
    default: bool = True
    from_pos: bool = False

    def __post_init__(self) -> None:
        if not _ID.match(self.id):
            raise ValueError(
                f"FieldSpec id {self.id!r}: needed a capital, then letters, digits and underscores, e.g. KL_CTX"
            )
        if not self.description or "\n" in self.description:
            raise ValueError(f"FieldSpec {self.id}: the description must be one non-empty line")
        if self.from_pos and self.type != "Integer":
            raise ValueError(f"FieldSpec {self.id}: an offset from POS is an Integer, not {self.type}")


@dataclass(frozen=True, slots=True)
class InfoField:
    """One INFO header line of an adapter.

    Args:
        key: full VCF key. ``SpliceBERT`` and keys that begin with ``SpliceBERT_`` are replaced when a file is
            annotated again; another key replaces that key where it stands.
        number: VCF ``Number``: ``A`` (one value per ALT) or ``.``.
        type: VCF ``Type``: ``Float``, ``Integer`` or ``String``.
        description: one line. One that holds ``Format: A|B`` announces entries, whose ``|`` is kept.
        entries: whether values are such entries although the description does not say so (SnpEff's ANN).
    """

    key: str
    number: str
    type: str
    description: str
    entries: bool = False


_ESCAPES = {",": "&", "|": "&", ";": "%3B", "=": "%3D", **dict.fromkeys(" \t\n\r\v\f\x1c\x1d\x1e\x1f", "_")}
_SPECIAL = re.compile(r"[,|;=\s]")
_SPACE = re.compile(r"\s")


def escape_info(text: str) -> str:
    """Return text that can stand inside an INFO value: ``,`` and ``|`` become ``&``, as in VEP; ``;`` becomes ``%3B``,
    ``=`` ``%3D`` and white space ``_``.
    """
    if not _SPECIAL.search(text):
        return text
    for special, written in _ESCAPES.items():
        text = text.replace(special, written)
    return text if text.isascii() else _SPACE.sub("_", text)


def format_number(value: float) -> str:
    """Return 4 decimals, or 6 significant digits below 0.001.

    Raises:
        ValueError: NaN or infinite; a missing value is None.
    """
    size = abs(value)
    if 0.001 <= size < math.inf:  # first, because nearly all scores are such
        return f"{value:.4f}"
    if size < 0.001:
        return f"{value:.6g}" if size else "0"
    raise ValueError(f"{value} is no score; a missing value is None")


def format_value(value: Value, missing: str = "") -> str:
    """Return any value as text: ``missing`` for None, numbers by ``format_number``, strings as they are."""
    if value is None:
        return missing
    if isinstance(value, float):
        return format_number(value)
    return str(value)


#: Range of a VCF Integer: 32 bits without the lowest eight values (VCF 4.3, section 1.3).
INTEGER_MIN, INTEGER_MAX = -(2**31) + 8, 2**31 - 1
#: The largest Float of BCF, which has 32 bits.
FLOAT_MAX = 3.4028234663852886e38
NAME_NEEDED = "lower-case letters, digits, '-' and '_'"
INFO_FIELD_NEEDED = "InfoField with a VCF key, number A or '.', type Float, Integer or String"

_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")  # VCF 4.3, section 1.6.1
_SURROGATE = re.compile("[\\ud800-\\udc7f\\udd00-\\udfff]")  # but those that stand for bytes which are no UTF-8


def is_name(name: object) -> bool:
    """Tell whether an object may have this name."""
    return isinstance(name, str) and bool(_NAME.match(name))


def is_info_field(field: object) -> bool:
    """Tell whether an adapter may declare this."""
    return (
        isinstance(field, InfoField)
        and bool(_KEY.match(field.key))
        and field.type in _FITS
        and field.number in ("A", ".")
    )


def info_problem(field: InfoField | None, values: object, alts: int) -> str:
    """Return the values that a key needs where its values are wrong, or nothing; field None is an undeclared key."""
    if field is None:
        return "keys that its header declares"
    if not isinstance(values, tuple) or (field.number == "A" and len(values) != alts):
        return f"a tuple of {alts} values, one per ALT" if field.number == "A" else "a tuple of values"
    fits = _FITS[field.type]
    if not all(value is None or fits(value) for value in values):
        return f"finite values of type {field.type}, None where missing"
    return ""


def _is_float(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) <= FLOAT_MAX  # false for NaN


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and INTEGER_MIN <= value <= INTEGER_MAX


def is_text(value: object) -> bool:
    """Tell whether a VCF can hold this text."""
    return isinstance(value, str) and "\0" not in value and (value.isascii() or not _SURROGATE.search(value))


_FITS: Mapping[str, Callable[[object], bool]] = {"Float": _is_float, "Integer": _is_integer, "String": is_text}


def fits(kind: str, value: object) -> bool:
    """Tell whether a value is of a VCF type, and in the range that a VCF can hold."""
    return _FITS[kind](value)

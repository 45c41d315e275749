"""Labelled variants: a TSV of SNVs, each with the exon that an assay measured and how much of its inclusion was lost.

Two layouts are known by their columns:

========  =====================================================================================================
genome    ``chrom pos ref alt strand exon_start exon_end delta_psi [assembly]``; exon 0-based half-open (MFASS)
sequence  ``pos_hg19 ref alt strand exon_start exon_end delta_psi seq_start_1based ref_sequence_transcript_strand``;
          exon 1-based with both ends, and a row's window is the sequence it carries (Vex-seq)
========  =====================================================================================================

``pos``, ``ref`` and ``alt`` are those of a VCF: 1-based, forward strand.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from splicebert_vep.errors import LabelError
from splicebert_vep_spec import Interval

_COMPLEMENT = str.maketrans("ACGTNacgtn", "TGCANtgcan")
_COMMON = ("ref", "alt", "strand", "exon_start", "exon_end", "delta_psi")
_GENOME = (*_COMMON, "chrom", "pos")
_SEQUENCE = (*_COMMON, "pos_hg19", "seq_start_1based", "ref_sequence_transcript_strand")


@dataclass(frozen=True, slots=True)
class LabelledVariant:
    """One row.

    Args:
        line: in the file, from 1.
        start: of REF, 0-based.
        exon: 0-based half-open on the genome.
        effect: delta PSI in the unit of the file; None where the assay has no number.
        assembly: of ``chrom``; None when the file does not say.
        sequence: bases of the forward strand around the variant, when the row carries its own.
        sequence_start: of ``sequence`` on the genome, 0-based.
    """

    line: int
    chrom: str
    start: int
    ref: str
    alt: str
    strand: str
    exon: Interval
    effect: float | None
    assembly: str | None = None
    sequence: bytes | None = None
    sequence_start: int = 0

    @property
    def snv(self) -> bool:
        """Whether one base replaces one other."""
        return len(self.ref) == len(self.alt) == 1 and self.ref != self.alt

    @property
    def donor(self) -> Interval:
        """The two intronic nt 3' of the exon in transcript direction, 0-based half-open."""
        return self._after if self.strand == "+" else self._before

    @property
    def acceptor(self) -> Interval:
        """The two intronic nt 5' of the exon in transcript direction, 0-based half-open."""
        return self._before if self.strand == "+" else self._after

    @property
    def distance(self) -> int:
        """From the exon's nearest edge: 1 for the bases on either side of it."""
        if self.exon.start <= self.start < self.exon.end:
            return min(self.start - self.exon.start, self.exon.end - 1 - self.start) + 1
        return self.exon.start - self.start if self.start < self.exon.start else self.start - self.exon.end + 1

    @property
    def in_site(self) -> bool:
        """Whether it lies in the donor or acceptor dinucleotide of the exon."""
        return not self.exon.start <= self.start < self.exon.end and self.distance <= 2

    @property
    def _before(self) -> Interval:
        return Interval(self.exon.start - 2, self.exon.start)

    @property
    def _after(self) -> Interval:
        return Interval(self.exon.end, self.exon.end + 2)


def read_labelled(path: Path) -> list[LabelledVariant]:
    """Read a TSV of either layout; further columns are left alone.

    Raises:
        LabelError: not such a file, or a row that cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t")
            columns = reader.fieldnames or ()
            needed = _SEQUENCE if _SEQUENCE[-1] in columns else _GENOME
            _check_columns(columns, needed, path)
            return [_row(row, number, needed is _SEQUENCE, path) for number, row in enumerate(reader, start=2)]
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(
            "The labelled variants cannot be read.", needed="a TSV file", found=str(error), where=str(path)
        ) from error


def _check_columns(columns: Sequence[str], needed: Sequence[str], path: Path) -> None:
    missing = [column for column in needed if column not in columns]
    if missing:
        raise LabelError(
            "The labelled variants lack columns.",
            needed=", ".join(needed),
            found=f"no {', '.join(missing)}",
            where=str(path),
        )


def _row(row: dict[str, str], line: int, carries_sequence: bool, path: Path) -> LabelledVariant:
    try:
        strand = row["strand"]
        if strand not in ("+", "-"):
            raise ValueError(f"strand {strand!r} is neither + nor -")
        effect = None if row["delta_psi"].strip().upper() in ("", "NA", "NAN") else float(row["delta_psi"])
        first = 1 if carries_sequence else 0
        exon = Interval(int(row["exon_start"]) - first, int(row["exon_end"]))
        start = int(row["pos_hg19" if carries_sequence else "pos"]) - 1
        if exon.start < 0 or exon.start >= exon.end or start < 0:
            raise ValueError(f"position {start + 1}, exon {row['exon_start']} to {row['exon_end']}")
        if not carries_sequence:
            return LabelledVariant(
                line, row["chrom"], start, row["ref"].upper(), row["alt"].upper(), strand,
                exon, effect, row.get("assembly") or None,
            )  # fmt: skip
        bases = row[_SEQUENCE[-1]].upper()
        forward = bases if strand == "+" else bases.translate(_COMPLEMENT)[::-1]
        return LabelledVariant(
            line, row.get("chrom", ""), start, row["ref"].upper(), row["alt"].upper(), strand,
            exon, effect, None, forward.encode("ascii"), int(row["seq_start_1based"]) - 1,
        )  # fmt: skip
    except (ValueError, TypeError, AttributeError) as error:
        raise LabelError(
            "A labelled variant cannot be read.",
            needed="positions from 1, an exon with a base, a number or NA for delta_psi, + or - for the strand",
            found=str(error),
            where=f"{path}, line {line}",
        ) from error

"""What an output field is: its id, its VCF type and which way it points."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

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
            POS, what is written counts from the record's own, so that POS plus the value is the same nucleotide.

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

"""Variants and regions given by hand."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from .errors import SettingsError

MAX_POS = 2**31 - 1  # of VCF
_VARIANT = re.compile(
    r"(?P<chrom>[^\s,]+?)\s*[-:\s]\s*(?:g\.)?(?P<pos>\d[\d,]*)[-:\s]?"
    r"(?P<ref>[^-:>,\s\d]+)[-:>\s](?P<alt>[^-:,\s]+)\Z"
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant given by hand, with one ALT.

    Args:
        chrom: contig under any known name: ``chr17``, ``17``, ``NC_000017.11``.
        pos: 1-based as in VCF.
        ref, alt: alleles as in VCF, padded by a base where the other would be empty.
    """

    chrom: str
    pos: int
    ref: str
    alt: str

    @property
    def id(self) -> str:
        """VCF's missing ID."""
        return "."

    @property
    def alts(self) -> tuple[str, ...]:
        """The one ALT, as records have several."""
        return (self.alt,)

    @property
    def size(self) -> int:
        """The letters of REF and ALT."""
        return len(self.ref) + len(self.alt)

    def info(self) -> dict[str, str]:
        """Nothing, where records have INFO."""
        return {}

    def __str__(self) -> str:
        return f"{self.chrom}-{self.pos}-{self.ref}-{self.alt}"

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read ``chr17-43071077-T-C``; the position is 1-based.

        ``17:43071077:T:C``, ``17:43071077T>C``, ``NC_000017.11:g.43071077T>C`` and white space between are fine.
        SPDI looks like the first of these and is 0-based; it cannot be told apart, so do not give it.

        Raises:
            SettingsError: any other form.
        """
        match = _VARIANT.match(text.strip())
        if match is None:
            needed = "CHROM-POS-REF-ALT with one ALT and a 1-based position, e.g. chr17-43071077-T-C"
            remedy = "CHROM:POS:REF:ALT, CHROM:POSREF>ALT and, by score and plot, HGVS names are read too; SPDI is not"
            raise SettingsError("A variant could not be read.", needed=needed, found=repr(text), remedy=remedy)
        return cls(match["chrom"], int(match["pos"].replace(",", "")), match["ref"], match["alt"])


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a contig; 1-based, both ends included, as in ``chr17:43044295-43125364``."""

    chrom: str
    first: int
    last: int

    def __str__(self) -> str:
        return self.chrom if self.last == MAX_POS and self.first == 1 else f"{self.chrom}:{self.first}-{self.last}"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``chr17``, ``chr17:100``, ``chr17:100-`` or ``chr17:100-200``; thousands commas are fine.

        Raises:
            SettingsError: any other form.
        """
        match = re.fullmatch(r"(.+?)(?::(\d[\d,]*)(-(\d[\d,]*)?)?)?", text.strip())
        if match is None:
            needed = "CHROM or CHROM:START-END, 1-based"
            raise SettingsError("A region could not be read.", needed=needed, found=repr(text))
        chrom, first, dash, last = match.groups()
        low = int(first.replace(",", "")) if first else 1
        high = int(last.replace(",", "")) if last else low if first and not dash else MAX_POS
        if high < low:
            raise SettingsError("The region ends before it starts.", found=text)
        return cls(chrom, low, high)


def words_of(text: str) -> list[str]:
    """Return the words of a list that is parted by commas, which 43,047,641 is not."""
    return [word for word in re.split(r"(?<=[^\d\s]),\s*", text) if word]


VariantLike = str | Variant | tuple[str, int, str, str]
"""``"chr17-43071077-T-C"``, an HGVS name, a ``Variant``, or (chrom, 1-based pos, ref, alt)."""


def each_of(given: Iterable[VariantLike]) -> Iterable[VariantLike]:
    """Return variants one by one; of a DataFrame, whose iterator gives names, the rows of CHROM, POS, REF, ALT.

    Raises:
        SettingsError: a DataFrame has no such columns.
    """
    if (names := getattr(given, "columns", None)) is None:
        return given
    columns, table = {str(name).lstrip("#").upper(): name for name in names}, cast(Any, given)
    needed = ("CHROM", "POS", "REF", "ALT")
    if missing := [name for name in needed if name not in columns]:
        problem = f"The table has no column {missing[0]}."
        raise SettingsError(problem, needed=", ".join(needed), found=", ".join(map(str, names)))
    return zip(*(table[columns[name]] for name in needed), strict=True)


def as_variant(given: VariantLike) -> Variant:
    """Return a variant however it was given.

    Raises:
        SettingsError: it cannot be read.
    """
    if isinstance(given, Variant):
        return given
    if isinstance(given, str):
        return Variant.parse(given)
    with contextlib.suppress(TypeError, ValueError):
        chrom, pos, ref, alt = given
        if isinstance(chrom, str) and isinstance(ref, str) and isinstance(alt, str):
            return Variant(chrom, operator.index(pos), ref, alt)  # a pos of numpy is fine, 7.0 is not
    needed = "'chr17-43071077-T-C', a Variant, or a tuple (chrom, 1-based pos, ref, alt)"
    raise SettingsError("A variant could not be read.", needed=needed, found=repr(given))

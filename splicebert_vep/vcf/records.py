"""One VCF record: as a line of text, or as a BCF record."""

from __future__ import annotations

from typing import Protocol

import pysam

from splicebert_vep.errors import VcfError

from .bcf import FloatFields, line_of
from .info import info_items


class VcfRecord(Protocol):
    """What the pipeline may know of a record, whatever the file's format.

    ``pos`` is 1-based as in VCF; ``alts`` is empty when ALT is ``.``; ``number`` is the 1-based place of
    the record in its file; ``where`` names file and line or record, for messages.
    """

    @property
    def chrom(self) -> str: ...
    @property
    def pos(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def ref(self) -> str: ...
    @property
    def alts(self) -> tuple[str, ...]: ...
    @property
    def number(self) -> int: ...
    @property
    def where(self) -> str: ...

    def columns(self) -> list[bytes]:
        """Return the first 8 columns and, where there are more, the rest as one, without line end."""
        ...

    def info(self) -> dict[str, str]:
        """Return the INFO items by key, as text; a flag is the empty string."""
        ...


class TextRecord:
    """A line of VCF text, split no further than its INFO column."""

    __slots__ = ("_columns", "_header_lines", "_source", "alts", "chrom", "eol", "id", "number", "pos", "ref")

    def __init__(self, line: bytes, number: int, source: str = "", header_lines: int = 0) -> None:
        """Split a line.

        Args:
            line: the line with its end (``\\n``, ``\\r\\n`` or, at the end of a file, none).
            number: 1-based place among the records.
            source: file name, for messages.
            header_lines: lines before the first record, for messages.

        Raises:
            VcfError: fewer than 8 columns, or POS is not a whole number.
        """
        self.number = number
        self._source = source
        self._header_lines = header_lines
        self.eol = b"\r\n" if line.endswith(b"\r\n") else b"\n"
        columns = line.rstrip(b"\r\n").split(b"\t", 8)
        if len(columns) < 8:
            raise VcfError(
                "A record is not whole: it has too few columns.",
                needed="at least 8 columns separated by tabs",
                found=f"{len(columns)}: {_excerpt(line)}",
                where=self.where,
                remedy="the file may be cut off or edited by hand: get it again, or mend the line",
            )
        self._columns = columns
        if not columns[1].isdigit():
            raise VcfError(
                "A record has no usable position.",
                needed="a whole number in the POS column",
                found=_excerpt(columns[1]),
                where=self.where,
                remedy="mend the line; columns of a VCF are separated by tabs",
            )
        self.pos = int(columns[1])
        self.chrom = columns[0].decode("utf-8", "surrogateescape")
        self.id = columns[2].decode("utf-8", "surrogateescape")
        self.ref = columns[3].decode("utf-8", "surrogateescape")
        alt = columns[4].decode("utf-8", "surrogateescape")
        self.alts: tuple[str, ...] = () if alt in (".", "") else tuple(alt.split(","))

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self._source}:{self._header_lines + self.number}"

    def columns(self) -> list[bytes]:
        """Return the first 8 columns and, where there are more, the rest as one, without line end."""
        return self._columns.copy()

    def info(self) -> dict[str, str]:
        """Return the INFO items by key, as text; a flag is the empty string."""
        return info_items(self._columns[7])


class BcfRecord:
    """A BCF record as htslib holds it."""

    __slots__ = ("_floats", "_source", "alts", "chrom", "id", "native", "number", "pos", "ref")

    def __init__(self, native: pysam.VariantRecord, number: int, floats: FloatFields, source: str = "") -> None:
        """Wrap an htslib record; ``number`` is its 1-based place, ``source`` the file's name for messages."""
        self._floats = floats
        self.native = native
        self.number = number
        self._source = source
        self.pos: int = native.pos
        try:
            self.chrom: str = native.chrom
            self.id: str = native.id or "."
            self.ref: str = native.ref or "."
            self.alts: tuple[str, ...] = tuple(native.alts or ())
        except UnicodeDecodeError:  # pysam reads UTF-8 only; the bytes are kept as they are
            text = TextRecord(line_of(native, floats), number, source)
            self.chrom, self.id, self.ref, self.alts = text.chrom, text.id, text.ref, text.alts

    @property
    def where(self) -> str:
        """File and record number."""
        return f"{self._source}: record {self.number}"

    def columns(self) -> list[bytes]:
        """Return the first 8 columns and, where there are more, the rest as one, without line end."""
        return line_of(self.native, self._floats).split(b"\t", 8)

    def info(self) -> dict[str, str]:
        """Return the INFO items by key, as text; a flag is the empty string."""
        return info_items(self.columns()[7])


def _excerpt(text: bytes) -> str:
    return repr(text[:60].decode("utf-8", "replace"))

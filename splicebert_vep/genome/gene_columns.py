"""What one annotation says, in columns: genes, transcripts, exon and coding intervals."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass, field
from urllib.parse import unquote

_VERSION = re.compile(r"\.\d+(_PAR_Y)?$")
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
    return f"{identifier}.{version.decode()}" if version and not _VERSION.search(identifier) else identifier


def stable_id(identifier: str) -> str:
    """Return an id without its version: ENST00000357654.9 -> ENST00000357654."""
    return _VERSION.sub("", identifier)

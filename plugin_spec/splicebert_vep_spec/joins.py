"""Joins add scores that another program has made, found by allele and gene.

A join reads the record's INFO, or an indexed file, and answers for every allele x gene. It tells apart a value that
the source has as missing, and an allele that the source does not have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .values import Allele, Bases, FieldSpec, GeneContext, InfoField, Named, Value


class IndexedTable(Protocol):
    """A bgzipped, tabix-indexed VCF or table."""

    @property
    def head(self) -> Sequence[str]:
        """Lines before the first row, without line ends: comments, and lines that the index skips."""

    @property
    def contigs(self) -> Sequence[str]:
        """Contigs that have rows, by the file's own names."""

    def fetch(self, contig: str, start: int, end: int) -> Iterator[str] | None:
        """Return the rows that overlap [start, end), 0-based half-open, or None when the file lacks the contig.

        Args:
            contig: any name of the contig: chr17, 17 and NC_000017.11 are one.
        """


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """One ``--join NAME=SOURCE``, and the host's means to answer it.

    Args:
        name: ids of the fields begin with ``<name>_``: the adapter's label, or NAME where it has none.
        files: the files of this NAME, in order; empty when it is read from INFO.
        info_key: the INFO key of ``--join NAME=info:KEY``, else None.
        info: INFO definitions of the input, by key.
        open_table: opens an indexed file.
        normalise: the normalised allele of contig (any name), pos (1-based), REF and ALT; None when the FASTA has
            another REF there, or one of them is not made of A, C, G, T. Ask it for every row whose allele counts: the
            program stops the run when the REFs asked for are mostly not those of the FASTA.
        bases: the reference.
    """

    name: str
    files: tuple[str, ...]
    info_key: str | None
    info: Mapping[str, InfoField]
    open_table: Callable[[str], IndexedTable]
    normalise: Callable[[str, int, str, str], Allele | None]
    bases: Bases


@dataclass(frozen=True, slots=True)
class JoinQuery:
    """One allele in one gene of one record.

    Args:
        pos: 1-based, as the record has it.
        ref, alt: as the record has them.
        alts: every ALT of the record.
        info: the record's INFO by key, as text; a flag is the empty string.
        allele: the normalised allele.
        context: the gene.
    """

    pos: int
    ref: str
    alt: str
    alts: tuple[str, ...]
    info: Mapping[str, str]
    allele: Allele
    context: GeneContext


class JoinAdapter(Named):
    """Open a source of another program's scores (``--join NAME=SOURCE``, where NAME is this name in any case).

    Attributes:
        label: ids of its fields begin with it, e.g. ``SpliceAI``: a capital, then letters, digits and underscores;
            empty where they begin with the user's NAME.
    """

    label: str = ""

    @abstractmethod
    def join(self, request: JoinRequest) -> OpenJoin:
        """Open the source.

        Raises:
            Refused: this adapter does not read such a source; the message says which it reads.
        """


class OpenJoin(ABC):
    """A source that is open for the length of one run.

    Attributes:
        fields: fields that it adds, number A, ids beginning with the request's name and an underscore.
        about: one line on the source for the provenance: file names, versions.
    """

    fields: Sequence[FieldSpec]
    about: str = ""

    @abstractmethod
    def look_up(self, queries: Sequence[JoinQuery]) -> Sequence[Mapping[str, Value]]:
        """Return values by field id for every query, in their order; an absent id is missing.

        The result for a query must not depend on the other queries.

        Raises:
            Refused: the source does not fit, e.g. it is of another genome build.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of the source; also called when the run has failed. Files of ``open_table`` are closed by the host."""

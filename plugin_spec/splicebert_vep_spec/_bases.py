"""The reference, as plugins see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
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

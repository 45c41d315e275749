"""Several FASTAs at once, by the assembly they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from splicebert_vep.genome.reference import Reference


@contextmanager
def open_references(given: Sequence[str]) -> Iterator[dict[str | None, list[Reference]]]:
    """Open references given as ``FASTA`` or ``ASSEMBLY=FASTA``; those of one assembly stay together, in order.

    Raises:
        FastaError: one cannot be opened.
    """
    with ExitStack() as stack:
        opened: dict[str | None, list[Reference]] = {}
        for text in given:
            assembly, equals, path = text.partition("=")
            reference = stack.enter_context(Reference(path if equals else text))
            opened.setdefault(assembly if equals else None, []).append(reference)
        yield opened

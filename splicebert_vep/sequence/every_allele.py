"""Every small allele of a stretch of the reference: all SNVs, and all insertions and deletions of a few bases."""

from __future__ import annotations

from collections.abc import Iterator

from splicebert_vep_spec import Allele

from .alleles import Fetch

LONGEST_DELETION = 4  # nt
_BASES = "ACGT"


def every_allele(
    contig: str, start: int, end: int, fetch: Fetch, *, indels: bool = False, longest: int = LONGEST_DELETION
) -> Iterator[Allele]:
    """Yield every allele whose normalised start lies in [start, end), each once, by start.

    Those whose REF column of a VCF would hold a letter outside ACGT are left out. An insertion or deletion that stands
    for others of a repeat is normalised: of a run of A, the deletion of one A comes once, at its first.

    Args:
        contig: name that the alleles get.
        start, end: 0-based half-open.
        fetch: of the contig.
        indels: whether insertions of one base and deletions of 1 to ``longest`` bases come too.
    """
    low = max(0, start - 1)
    bases = fetch(low, end + longest).decode("ascii")
    for at in range(start, end):
        i = at - low
        ref = bases[i]
        if ref in _BASES:
            for alt in _BASES:
                if alt != ref:
                    yield Allele(contig, at, ref, alt)
        if indels:
            before = bases[i - 1] if at else ""  # what VCF writes before the change; at the first base, what follows
            if (before or ref) in _BASES:
                for alt in _BASES:
                    if alt != before:
                        yield Allele(contig, at, "", alt)
            if before in _BASES:  # the empty text too
                yield from _deletions(contig, at, before, bases[i : i + longest + 1], longest)


def _deletions(contig: str, at: int, before: str, bases: str, longest: int) -> Iterator[Allele]:
    for size in range(1, longest + 1):
        deleted = bases[:size]
        if len(deleted) < size or deleted[-1] not in _BASES:
            return
        if not before and bases[size : size + 1] not in tuple(_BASES):
            continue
        if deleted[-1] != before:
            yield Allele(contig, at, deleted, "")

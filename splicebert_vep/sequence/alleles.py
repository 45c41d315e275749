"""Normalised alleles: the same change has one however it is written: padded, not left-aligned, multi-allelic or split.

Trimming and left alignment follow ``bcftools norm`` (Tan et al. 2015, 10.1093/bioinformatics/btv112).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from os.path import commonprefix

from splicebert_vep_spec import Allele, Skipped, Status

_ACGT = frozenset("ACGT")
_LOOK_BACK = 256  # nt fetched at a time
_BASES = "ACGT"
_SPANNING = re.compile(r"<(DEL|DUP|INV|CNV|INS)[:>]", re.IGNORECASE)
_NUMBER = re.compile(r"-?[0-9]{1,10}")
LONGEST_DELETION = 4  # nt, of ``every_allele``

Fetch = Callable[[int, int], bytes]
"""Upper-case reference bases of [start, end), 0-based half-open, on the forward strand of one contig."""


def is_snv(ref: str, alt: str) -> bool:
    """Tell whether a REF/ALT pair is two upper-case bases that differ, as most are."""
    return ref in _ACGT and alt in _ACGT and ref != alt


def classify(ref: str, alt: str) -> Skipped | None:
    """Tell why a REF/ALT pair cannot be scored whatever the reference says, or None when it can.

    Case is ignored. The order of the checks is that of ``Status``.
    """
    if is_snv(ref, alt):
        return None
    if alt == ".":
        return Skipped(Status.NO_ALT, "ALT is '.'")
    if alt[:1] in ("<", ".") or alt[-1:] in (">", ".") or "[" in alt or "]" in alt:
        return Skipped(Status.SYMBOLIC, f"ALT {_short(alt)} is symbolic or a breakend")
    if alt == "*":
        return Skipped(Status.SPANNING_DELETION, "ALT '*' stands for a deletion in another record")
    for name, bases, odd in (("REF", ref, _odd_in_ref(ref)), ("ALT", alt, _odd(alt))):
        if odd or not bases:
            return Skipped(Status.NON_ACGT, f"{name} {_short(bases)} has letters outside ACGT: {odd}")
    if len(ref) == len(alt) and ref.upper() == alt.upper():
        return Skipped(Status.NO_CHANGE, "REF and ALT are the same")
    return None


def _odd(bases: str) -> str:
    return "".join(sorted(set(bases.upper()) - _ACGT))


_odd_in_ref = lru_cache(maxsize=1)(_odd)  # a REF of a million bases may have thousands of ALTs


def shared_ends(ref: str, alt: str) -> tuple[int, int]:
    """Return how many bases a REF/ALT pair shares at its begin and at its end, in any case; the end comes first.

    Neither text is copied as a whole: a REF of a million bases may have thousands of ALTs.
    """
    shorter = min(len(ref), len(alt))
    ends = [bases[len(bases) - shorter :][::-1].upper() for bases in (ref, alt)]
    suffix = len(commonprefix(ends))
    begins = [bases[: shorter - suffix].upper() for bases in (ref, alt)]
    return len(commonprefix(begins)), suffix


def symbolic_span(pos: int, alts: Sequence[str], number: int, info: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the bases that a symbolic ALT removes, copies or turns, 0-based half-open; None where they are not told.

    They follow POS, the base before them, and END is the last of them. Where a record has several ALTs, END is that of
    the longest, and SVLEN, their number, counts before it. Of ``<INS>`` they are the empty span after POS.

    Args:
        pos: 1-based, of the record.
        number: of the ALT among the record's, from 0.
        info: of the record.
    """
    found = _SPANNING.match(alts[number])
    if found is None:
        return None
    if found[1].upper() == "INS":
        return pos, pos
    lengths = info.get("SVLEN", "").split(",")
    length = _count(lengths[number]) if len(lengths) == len(alts) else None
    end = _count(info.get("END", ""))
    if length and (end is None or len(alts) > 1):
        end = pos + length
    return (pos, end) if end is not None and end > pos else None


def _count(text: str) -> int | None:
    """Read a number of INFO; a deletion's SVLEN is negative, or not, as versions of VCF have it."""
    return abs(int(text)) if _NUMBER.fullmatch(text) else None


def trim(pos: int, ref: str, alt: str) -> tuple[int, str, str]:
    """Trim the shared suffix, then the shared prefix, of a REF/ALT pair.

    Args:
        pos: 1-based position of REF's first base, as in VCF.
        ref: bases A, C, G, T in any case.
        alt: bases A, C, G, T in any case, different from ``ref``.

    Returns:
        The 0-based start and the upper-case bases that differ; one of the two may be empty.
    """
    prefix, suffix = shared_ends(ref, alt)
    return pos - 1 + prefix, ref[prefix : len(ref) - suffix].upper(), alt[prefix : len(alt) - suffix].upper()


def left_align(start: int, bases: str, fetch: Fetch) -> tuple[int, str]:
    """Shift deleted or inserted bases as far to the left as the reference allows; return their start and the bases."""
    shift = 0
    for base in _leftwards(start, fetch):
        if base != bases[-1 - shift % len(bases)]:
            break
        shift += 1
    turn = shift % len(bases)
    return start - shift, bases[-turn:] + bases[:-turn]


def normalise(contig: str, pos: int, ref: str, alt: str, fetch: Fetch) -> Allele:
    """Return the normalised allele of a REF/ALT pair whose REF has been found in the reference."""
    if ref in _ACGT and alt in _ACGT:
        return Allele(contig, pos - 1, ref, alt)
    start, ref, alt = trim(pos, ref, alt)
    if not alt:
        start, ref = left_align(start, ref, fetch)
    elif not ref:
        start, alt = left_align(start, alt, fetch)
    return Allele(contig, start, ref, alt)


def placements(allele: Allele, fetch: Fetch) -> tuple[Allele, Allele]:
    """Return the leftmost and the rightmost way to write a normalised allele: the same change, at every start between.

    Only an insertion or deletion within a repeat of its own bases can move: of ``CAAAT`` the deletion of any A of
    the three is one change. The work is one comparison per base that it moves by.

    Args:
        fetch: of the allele's contig.
    """
    if allele.ref and allele.alt:
        return allele, allele
    moving = (allele.ref or allele.alt).encode("ascii")
    if fetch(allele.end, allele.end + 1) != moving[:1]:
        return allele, allele
    size, step = len(moving), max(_LOOK_BACK, len(moving))
    shift, before, same = 0, moving, step
    while same == step:  # a piece of the reference that repeats, base by base, what stands `size` before it
        after = fetch(allele.end + shift, allele.end + shift + step)
        same = len(commonprefix([before + after, after]))
        shift, before = shift + same, (before + after)[-size:]
    turn = shift % size
    bases = (moving[turn:] + moving[:turn]).decode("ascii")
    start = allele.start + shift
    return allele, Allele(allele.contig, start, *((bases, "") if allele.ref else ("", bases)))


def in_transcript(allele: Allele, strand: str, fetch: Fetch) -> Allele:
    """Return a normalised allele as far 3' in a transcript on ``strand``, + or -, as it can stand: the 3' rule of HGVS.

    So the same change of an RNA has the same place in it whichever strand its gene lies on.
    """
    return allele if strand == "-" else placements(allele, fetch)[1]


def written_pos(allele: Allele) -> int:
    """Return the POS (1-based) that VCF gives an allele: of the base before an insertion or deletion, else its first.

    At the first base of a contig there is none before, and POS is 1.
    """
    return allele.start + (1 if allele.ref and allele.alt or not allele.start else 0)


def anchored(allele: Allele, fetch: Fetch) -> tuple[int, str, str]:
    """Return POS (1-based), REF and ALT as VCF writes an allele: an insertion or deletion with the base before it.

    At the first base of a contig it is the base after it, as the VCF specification has it.
    """
    pos = written_pos(allele)
    if allele.ref and allele.alt:
        return pos, allele.ref, allele.alt
    if allele.start:
        base = fetch(allele.start - 1, allele.start).decode("ascii")
        return pos, base + allele.ref, base + allele.alt
    base = fetch(allele.end, allele.end + 1).decode("ascii")
    return pos, allele.ref + base, allele.alt + base


def _leftwards(start: int, fetch: Fetch) -> Iterator[str]:
    """Yield the bases before a start, from right to left."""
    for high in range(start, 0, -_LOOK_BACK):
        yield from reversed(fetch(max(0, high - _LOOK_BACK), high).decode("ascii"))


def _short(bases: str) -> str:
    return bases if len(bases) <= 20 else f"{bases[:17]}... ({len(bases)} nt)"


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

"""Which ALT of a record an entry of another annotator is about, by the word that it calls the allele."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

MINIMAL_EMPTY = "-"


def vep_words(ref: str, alts: Sequence[str]) -> list[str]:
    """Return what Ensembl VEP calls each ALT of a record.

    As its VCF parser does: when an ALT differs from REF in length, and REF and all ALTs but those of ``*`` begin with
    the same base, that base is cut off, and ``-`` is what is empty then. SNVs and MNVs stay as they are.
    """
    bases = [alt for alt in alts if "*" not in alt]
    indel = any(len(alt) != len(ref) for alt in alts)
    if indel and all(alt[:1] == ref[:1] for alt in bases):
        alts = [alt if "*" in alt else alt[1:] or MINIMAL_EMPTY for alt in alts]
    return [alt.upper() for alt in alts]


def minimal_words(ref: str, alts: Sequence[str]) -> list[str]:
    """Return what Ensembl VEP calls each ALT with ``--minimal``: shared prefix, then shared suffix cut off."""
    return [_minimal(ref.upper(), alt.upper()) for alt in alts]


def _minimal(ref: str, alt: str) -> str:
    start, shorter = 0, min(len(ref), len(alt))
    while start < shorter and ref[start] == alt[start]:
        start += 1
    end = 0
    while end < shorter - start and ref[-1 - end] == alt[-1 - end]:
        end += 1
    return alt[start : len(alt) - end] or MINIMAL_EMPTY


def written_words(ref: str, alts: Sequence[str]) -> list[str]:
    """Return what SnpEff calls each ALT: as the record writes it."""
    return [alt.upper() for alt in alts]


def alts_of(
    words: Sequence[str],
    numbers: Sequence[str] | None,
    ref: str,
    alts: Sequence[str],
    ways: Sequence[Sequence[str]],
) -> list[int | None]:
    """Return the index of the ALT that each entry is about, None where that is not certain.

    All entries of a record are looked at together. A way of naming fits when it explains every word; a word has to
    mean the same in all ways that fit. Where none does, an ALT that the entries speak of is no longer in the record
    (``bcftools norm -m-`` leaves every entry in every part): then words are believed only when nothing can have been
    cut off, because REF, ALTs and words are of one length. A number (VEP's ALLELE_NUM) has to agree with the word. One
    that does not tells as well that an ALT is gone, and its word may be another's too (with ``--minimal`` all deletions
    in a repeat are ``-``): a word with two numbers is then of none.

    Args:
        words: the allele of each entry, upper-case; empty is no evidence.
        numbers: 1-based numbers of the ALTs, where the entries have them.
        ways: what each ALT is called, in every way that the annotator may have used.
    """
    changed, shared = False, set[str]()
    if numbers is not None:
        numbered = [_numbered(number, word, ways) for number, word in zip(numbers, words, strict=True)]
        if None not in numbered:
            return numbered
        given = [(word, number) for word, number in zip(words, numbers, strict=True) if word and number.isdecimal()]
        changed = any(_numbered(number, word, ways) is None for word, number in given)
        times = Counter(word for word, _ in set(given))
        shared = {word for word in times if times[word] > 1}
    there = {word for word in words if word}
    fitting = [way for way in ways if there.issubset(way)] if not changed else []
    if not fitting:
        lengths = {len(text) for text in (ref, *alts, *there)}
        if len(lengths) > 1 or MINIMAL_EMPTY in there:
            return [None] * len(words)
        fitting = [written_words(ref, alts)]
    known = [{word: i for i, word in enumerate(way) if way.count(word) == 1} for way in fitting]
    meant = {word: {one.get(word) for one in known} for word in there}
    certain = {word: indices.pop() for word, indices in meant.items() if len(indices) == 1 and word not in shared}
    return [certain.get(word) for word in words]


def _numbered(number: str, word: str, ways: Sequence[Sequence[str]]) -> int | None:
    if not (number.isdecimal() and 1 <= int(number) <= len(ways[0])):
        return None
    index = int(number) - 1
    return index if any(way[index] == word for way in ways) else None

"""VEP-style INFO: one pipe-separated entry per ALT x gene, as VEP's and SpliceAI's users know it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from splicebert_vep_spec import InfoAdapter, InfoField, RecordReport, RunInfo, Value, escape_info, format_value

from .flat import CONTEXT_FIELDS, context_values, score_ids

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


PREFIX = "SpliceBERT_pred_"

_VEP = re.compile(r"(.*Format: )(.*?)([\s'\".]*)\Z", re.DOTALL)
_SNPEFF = re.compile(r"(.*Functional annotations: *')([^']*)('.*)\Z", re.DOTALL)

Words = Callable[[str, Sequence[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """How an annotator writes: form of the Description, names of columns, and what it may call an allele."""

    description: re.Pattern[str]
    between: str
    gene: str
    symbol: str
    transcript: str
    number: str
    words: tuple[Words, ...]


KINDS = (
    Kind(_VEP, "|", "Gene", "SYMBOL", "Feature", "ALLELE_NUM", (vep_words, minimal_words)),
    Kind(_SNPEFF, " | ", "Gene_ID", "Gene_Name", "Feature_ID", "", (written_words,)),
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things stand in the entries of one INFO field.

    Args:
        field: the definition as it is from now on, with our subfields last.
        columns: subfields of the input.
        ours: the indices of those that an earlier run appended.
        allele: index of the allele.
        number, gene, symbol, transcript: indices, None where the entries do not have them.
        words: what the annotator may call an allele.
    """

    field: InfoField
    columns: int
    ours: frozenset[int]
    allele: int
    number: int | None
    gene: int | None
    symbol: int | None
    transcript: int | None
    words: tuple[Words, ...]


def layouts(info: Mapping[str, InfoField], added: Sequence[str]) -> list[Layout]:
    """Return the fields of an input that have an allele and a gene, symbol or transcript in every entry.

    Args:
        info: the definitions of the input.
        added: the names of our subfields.
    """
    return [found for field in info.values() for kind in KINDS for found in _layout(field, kind, added)]


def _layout(field: InfoField, kind: Kind, added: Sequence[str]) -> Iterator[Layout]:
    match = kind.description.match(field.description)
    if match is None:
        return
    before, text, after = match.groups()
    columns = text.split("|")
    names = [column.strip() for column in columns]
    kept = [column for column, name in zip(columns, names, strict=True) if not name.startswith(PREFIX)]
    at = {name: i for i, name in reversed(list(enumerate(names)))}  # of a name that comes twice the first counts
    gene, symbol, transcript = at.get(kind.gene), at.get(kind.symbol), at.get(kind.transcript)
    if "Allele" not in at or (gene is None and symbol is None and transcript is None):
        return
    description = before + kind.between.join(["|".join(kept).rstrip(), *added]) + after
    yield Layout(
        field=InfoField(field.key, ".", "String", description, entries=True),
        columns=len(columns),
        ours=frozenset(i for i, name in enumerate(names) if name.startswith(PREFIX)),
        allele=at["Allele"],
        number=at.get(kind.number),
        gene=gene,
        symbol=symbol,
        transcript=transcript,
        words=kind.words,
    )


KEY = "SpliceBERT"


class VepAdapter(InfoAdapter):
    """Write ``SpliceBERT=ALLELE|SYMBOL|...|STATUS``; empty is missing."""

    name = "vep"
    version = "1"

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return the one INFO line; its Description ends in the format."""
        columns = ["ALLELE", *(field.id for field in CONTEXT_FIELDS), *score_ids(run), "STATUS"]
        text = f"SpliceBERT zero-shot splicing scores, one entry per ALT and gene. Format: {'|'.join(columns)}"
        return [InfoField(KEY, ".", "String", text)]

    def render(self, report: RecordReport, run: RunInfo) -> Mapping[str, tuple[Value, ...]]:
        """Return one entry per ALT x gene."""
        ids = score_ids(run)
        entries: list[Value] = []
        for allele in report.alleles:
            for outcome in allele.contexts:
                cells = [escape_info(allele.alt)]
                cells += map(entry_cell, context_values(outcome.context))
                cells += map(entry_cell, map(outcome.values.get, ids))
                cells.append(outcome.status)
                entries.append("|".join(cells))
        return {KEY: tuple(entries)}


def entry_cell(value: Value) -> str:
    """Print a subfield of an entry."""
    return escape_info(value) if isinstance(value, str) else format_value(value)

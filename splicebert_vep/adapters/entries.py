"""The INFO fields of other annotators that hold one pipe-separated entry per allele and transcript."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from splicebert_vep_spec import InfoField

from .allele_words import minimal_words, vep_words, written_words

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

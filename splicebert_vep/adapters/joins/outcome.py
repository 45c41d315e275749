"""What a source says of an allele in a gene: a word, and values where it has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from splicebert_vep_spec import FieldSpec, GeneContext, Value

_N = TypeVar("_N")
_STABLE_ID = re.compile(r"(ENS[A-Z]*[GT]\d+|[NX][MR]_\d+)\.\d+(?:_\d+|_PAR_Y)?\Z")


class Joined(StrEnum):
    """What was found of an allele in a gene; the words of ``<NAME>_STATUS``."""

    FOUND = "FOUND"
    MISSING = "MISSING"
    OTHER_GENE = "OTHER_GENE"
    NO_RECORD = "NO_RECORD"
    NO_CONTIG = "NO_CONTIG"
    NO_KEY = "NO_KEY"
    AMBIGUOUS = "AMBIGUOUS"
    UNREADABLE = "UNREADABLE"


MEANINGS: Mapping[Joined, str] = {
    Joined.FOUND: "values are there",
    Joined.MISSING: "the source has the allele, with missing values",
    Joined.OTHER_GENE: "it has the allele in other genes only",
    Joined.NO_RECORD: "it has no such allele",
    Joined.NO_CONTIG: "it has no such contig",
    Joined.NO_KEY: "its record of the allele lacks the key",
    Joined.AMBIGUOUS: "its entries disagree or cannot be told apart",
    Joined.UNREADABLE: "its entry is not of the known form",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Values for one gene in the order of the join's fields; ``gene`` None is any gene."""

    gene: str | None
    values: tuple[Value, ...]


Said = Sequence[Entry] | Joined
"""Entries of an allele in one record, or the word that says why there are none."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A word, and the values where it is FOUND."""

    status: Joined
    values: tuple[Value, ...] = ()


class UnreadableError(ValueError):
    """An entry is not of the form that its program writes."""


def number(text: str) -> float:
    """Read a number.

    Raises:
        UnreadableError: it is none; nor is 1_0, which Python takes for 10.
    """
    return _read(text, float)


def whole(text: str) -> int:
    """Read a whole number; raises as ``number``."""
    return _read(text, int)


def _read(text: str, kind: Callable[[str], _N]) -> _N:
    if "_" in text:
        raise UnreadableError(text)
    try:
        return kind(text)
    except ValueError:
        raise UnreadableError(text) from None


def outcome_of(said: Iterable[Said], names: Collection[str]) -> Outcome:
    """Return what all records of an allele say for a gene together.

    Entries for the gene that have no value say nothing beside one that has; two that have values have to be equal.

    Args:
        said: of each record that holds the allele.
        names: what the gene may be called; see ``gene_names``.
    """
    records = list(said)
    words = {record for record in records if isinstance(record, Joined)}
    for word in (Joined.AMBIGUOUS, Joined.UNREADABLE):  # what cannot be read may be this gene's, with another value
        if word in words:
            return Outcome(word)
    entries = [entry for record in records if not isinstance(record, Joined) for entry in record]
    mine = [entry.values for entry in entries if entry.gene is None or plain(entry.gene) in names]
    present = {values for values in mine if any(value is not None for value in values)}
    if present:
        return Outcome(Joined.FOUND, present.pop()) if len(present) == 1 else Outcome(Joined.AMBIGUOUS)
    if mine:
        return Outcome(Joined.MISSING)
    if entries:
        return Outcome(Joined.OTHER_GENE)
    return Outcome(next((word for word in (Joined.MISSING, Joined.NO_KEY) if word in words), Joined.NO_RECORD))


def gene_names(context: GeneContext) -> frozenset[str]:
    """Return what entries may call a gene: its symbol, or its id with or without version."""
    return frozenset(plain(name) for name in (context.symbol, context.gene_id) if name)


def plain(name: str) -> str:
    """Return an Ensembl or RefSeq id without its version, any other name as it is."""
    match = _STABLE_ID.match(name)
    return match[1] if match else name


def fields_with_status(name: str, fields: Sequence[FieldSpec], source: str) -> tuple[FieldSpec, ...]:
    """Return a join's fields under the name of the join, and its ``STATUS``."""
    own = [FieldSpec(f"{name}_{f.id}", "A", f.type, f.description, f.direction) for f in fields]
    words = "; ".join(f"{word} {meaning}" for word, meaning in MEANINGS.items())
    return (*own, FieldSpec(f"{name}_STATUS", "A", "String", f"What {source} has of the allele in the gene: {words}"))


def values_by_field(fields: Sequence[FieldSpec], outcome: Outcome) -> dict[str, Value]:
    """Return values by field id, the last field being the status."""
    *own, status = fields
    values = dict(zip((field.id for field in own), outcome.values, strict=False))
    return {**values, status.id: str(outcome.status)}

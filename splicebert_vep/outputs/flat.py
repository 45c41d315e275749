"""Flat INFO: one key per field, one value per ALT, for bcftools, vcfanno, slivar and spreadsheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from operator import attrgetter
from typing import TypeVar

from splicebert_vep_spec import ColumnAdapter, GeneContext, InfoField, RecordReport, RunInfo, Value

from ..settings import CONTEXT_FIELDS

T = TypeVar("T")


def per_run(make: Callable[[RunInfo], T]) -> Callable[[RunInfo], T]:
    """Keep the result of a function for the last run it was called with.

    The run is compared by identity, because it holds mappings and has no hash. Threads may share the function.
    """
    last: tuple[RunInfo, T] | None = None

    @wraps(make)
    def of_run(run: RunInfo) -> T:
        nonlocal last
        known = last  # read once: another thread may put another run there
        if known is None or known[0] is not run:
            known = last = run, make(run)
        return known[1]

    return of_run


PREFIX = "SpliceBERT_"
CONTEXT_IDS = tuple(field.id for field in CONTEXT_FIELDS.values())
_shown = attrgetter(*CONTEXT_FIELDS)
_STATUS = "Why an ALT has or has no scores: OK or the reason word, see docs/formats.md"
_NO_GENE: tuple[Value, ...] = (None,) * len(CONTEXT_FIELDS)


def context_values(context: GeneContext | None) -> tuple[Value, ...]:
    """Return the values of ``CONTEXT_IDS``, all missing where there is no gene."""
    values: tuple[Value, ...] = _NO_GENE if context is None else _shown(context)
    return values


@per_run
def score_ids(run: RunInfo) -> tuple[str, ...]:
    """Return the ids of a run's scores, in output order."""
    return tuple(field.id for field in run.fields)


@per_run
def _lines(run: RunInfo) -> tuple[InfoField, ...]:
    """Return the INFO lines in the order of a record's values."""
    return (
        *(InfoField(f"{PREFIX}{f.id}", f.number, f.type, f.description) for f in run.fields),
        *(InfoField(f"{PREFIX}{f.id}", f.number, f.type, f.description) for f in CONTEXT_FIELDS.values()),
        InfoField(f"{PREFIX}NGENES", "A", "Integer", "Number of genes the allele overlaps; values are of one of them"),
        InfoField(f"{PREFIX}STATUS", "A", "String", _STATUS),
    )


@per_run
def _keys(run: RunInfo) -> tuple[str, ...]:
    return tuple(line.key for line in _lines(run))


class FlatAdapter(ColumnAdapter):
    """Write ``SpliceBERT_<FIELD>`` with Number=A; with several genes all values come from one of them."""

    name = "flat"
    version = "1"

    def header(self, run: RunInfo) -> Sequence[InfoField]:
        """Return one INFO line per field."""
        return _lines(run)

    def columns(self, reports: Sequence[RecordReport], run: RunInfo) -> Mapping[str, Sequence[Value]]:
        """Return one value per ALT for every key."""
        alleles = [allele for report in reports for allele in report.alleles]
        firsts = [allele.contexts[0] for allele in alleles]
        found = [first.values for first in firsts]
        places = zip(*[context_values(first.context) for first in firsts], strict=True)
        columns: list[Sequence[Value]] = [
            *([values.get(name) for values in found] for name in score_ids(run)),
            *(places if firsts else [()] * len(CONTEXT_IDS)),
            [None if one.contexts[0].context is None else len(one.contexts) for one in alleles],
            [first.status for first in firsts],
        ]
        return dict(zip(_keys(run), columns, strict=True))

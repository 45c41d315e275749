"""Reports of records that come again: the files of a cohort share most of theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from splicebert_vep_spec import RecordReport

from .pipeline import Pipeline, Record

_KEPT = 1 << 16  # records
_LETTERS = 1 << 25  # of their alleles, which may be thousands of bases long

Render = Callable[[Sequence[RecordReport]], list[bytes]]


class Recurring:
    """Remember the report of each distinct record, and the INFO items that were rendered of it.

    Args:
        pipeline: what makes reports; of what else a record holds, such as INFO and samples, they do not depend.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._reports: dict[tuple[str, int, str, str, tuple[str, ...]], RecordReport] = {}
        self._info: dict[int, bytes] = {}  # by identity of a report that is kept
        self._letters = 0

    def report(self, records: Sequence[Record]) -> list[RecordReport]:
        """Return one report per record, in order; the same object for the same record."""
        keys = [(record.chrom, record.pos, record.id, record.ref, record.alts) for record in records]
        if len(self._reports) > _KEPT or self._letters > _LETTERS:
            self._reports.clear()
            self._info.clear()
            self._letters = 0
        known = self._reports
        new = {key: record for key, record in zip(keys, records, strict=True) if key not in known}
        if new:
            self._letters += sum(len(record.ref) + sum(map(len, record.alts)) for record in new.values())
            known.update(zip(new, self._pipeline.report(list(new.values())), strict=True))
        return [known[key] for key in keys]

    def info(self, reports: Sequence[RecordReport], render: Render) -> list[bytes]:
        """Return the INFO items of reports that ``report`` gave last; all files of one run have the same outputs."""
        known = self._info
        new = {id(report): report for report in reports if id(report) not in known}
        if new:
            known.update(zip(new, render(list(new.values())), strict=True))
        return [known[id(report)] for report in reports]

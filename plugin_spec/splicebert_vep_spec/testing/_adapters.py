"""What every adapter has to do."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .._adapters import InfoAdapter, InfoField, Merger, MergingAdapter, RunInfo, TableAdapter, TextAdapter
from .._rules import INFO_FIELD_NEEDED, info_problem, is_info_field
from .._types import RecordReport
from ._named import check_named, subject
from ._samples import sample_reports, sample_run


class _AdapterConformance:
    """What holds for adapters of every kind."""

    run: RunInfo = sample_run()

    def test_it_has_a_name(self) -> None:
        check_named(_of(self))

    def test_it_leaves_outcomes_as_they_were(self) -> None:
        reports = sample_reports(self.run)
        self._use(reports)
        assert reports == sample_reports(self.run), "the adapter changed the outcomes it was given"

    def _use(self, reports: Sequence[RecordReport]) -> None:
        raise NotImplementedError


class InfoAdapterConformance(_AdapterConformance):
    """Subclass it and set ``adapter = MyAdapter()``; ``run``, where it needs scores of its own."""

    adapter: InfoAdapter

    def test_it_declares_valid_fields(self) -> None:
        _check_fields("header", list(_of(self).header(self.run)))

    def test_it_renders_what_it_declares(self) -> None:
        declared = {field.key: field for field in _of(self).header(self.run)}
        for report in sample_reports(self.run):
            for key, values in _of(self).render(report, self.run).items():
                problem = info_problem(declared.get(key), values, len(report.alleles))
                assert not problem, f"{key} is {values!r}; needed {problem}"

    def test_it_says_the_same_again(self) -> None:
        for report in sample_reports(self.run):
            first, second = _of(self).render(report, self.run), _of(self).render(report, self.run)
            assert dict(first) == dict(second), f"{report.chrom}:{report.pos} is rendered in two ways"

    def _use(self, reports: Sequence[RecordReport]) -> None:
        for report in reports:
            _of(self).render(report, self.run)


class MergingAdapterConformance(_AdapterConformance):
    """Subclass it, set ``adapter = MyAdapter()`` and ``info``, the INFO definitions of an input, and say what it holds.

    ``run``, where it needs scores of its own.
    """

    adapter: MergingAdapter
    info: Mapping[str, InfoField]

    def record(self, report: RecordReport) -> Mapping[str, str]:
        """Return the INFO of the input's record that a report is about, by key."""
        raise NotImplementedError("define record(report): the INFO of the input's record, by key")

    def test_it_declares_valid_fields(self) -> None:
        _check_fields("fields", list(self._merger().fields))

    def test_it_renders_what_it_declares(self) -> None:
        merger = self._merger()
        declared = {field.key: field for field in merger.fields}
        for report in sample_reports(self.run):
            for key, values in merger.render(report, self.record(report)).items():
                problem = info_problem(declared.get(key), values, len(report.alleles))
                assert not problem, f"{key} is {values!r}; needed {problem}"

    def test_it_says_the_same_again(self) -> None:
        merger, other = self._merger(), self._merger()
        for report in [*sample_reports(self.run), *reversed(sample_reports(self.run))]:
            first, second = merger.render(report, self.record(report)), other.render(report, self.record(report))
            assert dict(first) == dict(merger.render(report, self.record(report))) == dict(second), (
                f"{report.chrom}:{report.pos} is rendered in two ways"
            )
            other = self._merger()

    def test_it_leaves_the_input_as_it_was(self) -> None:
        definitions = dict(_info_of(self))
        merger = _of(self).merge(self.run, definitions)
        assert definitions == _info_of(self), "the adapter changed the definitions it was given"
        for report in sample_reports(self.run):
            record = dict(self.record(report))
            merger.render(report, record)
            assert record == self.record(report), "the adapter changed the record's INFO"

    def test_it_takes_a_record_without_info(self) -> None:
        merger = self._merger()
        for report in sample_reports(self.run):
            merger.render(report, {})

    def _use(self, reports: Sequence[RecordReport]) -> None:
        merger = self._merger()
        for report in reports:
            merger.render(report, self.record(report))

    def _merger(self) -> Merger:
        merger: Merger = _of(self).merge(self.run, _info_of(self))
        return merger


class TextAdapterConformance(_AdapterConformance):
    """Subclass it and set ``adapter = MyAdapter()``; ``run``, where it needs scores of its own."""

    adapter: TextAdapter

    def test_it_returns_lines_without_their_ends(self) -> None:
        lines = list(_of(self).head(self.run))
        for report in sample_reports(self.run):
            lines += _of(self).lines(report, self.run)
        for line in lines:
            assert isinstance(line, str), f"{line!r} is no line of text"
            assert "\n" not in line and "\r" not in line, f"{line!r} holds a line break; the program adds them"

    def _use(self, reports: Sequence[RecordReport]) -> None:
        for report in reports:
            list(_of(self).lines(report, self.run))

    def test_it_says_the_same_again(self) -> None:
        assert list(_of(self).head(self.run)) == list(_of(self).head(self.run))
        for report in sample_reports(self.run):
            first, second = list(_of(self).lines(report, self.run)), list(_of(self).lines(report, self.run))
            assert first == second, f"{report.chrom}:{report.pos} is rendered in two ways"


class TableAdapterConformance(_AdapterConformance):
    """Subclass it and set ``adapter = MyAdapter()``; ``run``, where it needs scores of its own."""

    adapter: TableAdapter

    def test_it_writes_the_file_it_is_told_to_and_no_other(self) -> None:
        outcomes: list[list[list[RecordReport]]] = [[sample_reports(self.run)] * 3, [[]], []]
        for chunks in outcomes:
            assert self._written(chunks), "the file is empty"

    def test_chunks_make_no_difference(self) -> None:
        reports = sample_reports(self.run)
        once, piecewise = self._written([reports]), self._written([[report] for report in reports])
        assert self.content(once) == self.content(piecewise), "the file depends on how records are cut into chunks"

    def _use(self, reports: Sequence[RecordReport]) -> None:
        self._written([list(reports)])

    def content(self, file: bytes) -> Any:
        """Return what is to be compared of a file; override it where bytes may differ and content may not."""
        return file

    def _written(self, chunks: list[list[RecordReport]]) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "table.tmp")
            writer = _of(self).open(str(path), self.run)
            for chunk in chunks:
                writer.write(chunk)
            writer.close()
            found = sorted(file.name for file in Path(folder).iterdir())
            assert found == [path.name], f"files in the folder: {found}; needed the one given to open, {path.name}"
            return path.read_bytes()


def _check_fields(where: str, fields: Sequence[InfoField]) -> None:
    assert fields, f"{where} is empty; needed at least one InfoField"
    for field in fields:
        assert is_info_field(field), f"{field!r} in {where}; needed {INFO_FIELD_NEEDED}"
        one_line = field.description and "\n" not in field.description
        assert one_line, f"{field.key} needs a description of one line"
    keys = [field.key for field in fields]
    assert len(set(keys)) == len(keys), f"a key occurs twice: {keys}"


def _info_of(test: object) -> Any:
    return subject(test, "info", '{"CSQ": InfoField(...)}')


def _of(test: object) -> Any:
    return subject(test, "adapter", "MyAdapter()")

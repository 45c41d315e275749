"""Join other programs' scores to those of a run: open the sources, ask them, and check their answers."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from splicebert_vep_spec import (
    Allele,
    AlleleReport,
    FieldSpec,
    InfoField,
    JoinAdapter,
    JoinQuery,
    JoinRequest,
    RecordReport,
    RunInfo,
    Skipped,
    Value,
)
from splicebert_vep_spec.values import fits

from ..errors import BuildError, SettingsError, suggestion
from ..genome.contigs import is_mitochondrial
from ..genome.guard import is_other_build
from ..genome.reference import Reference
from ..plugins import Origin, Plugins
from ..sequence import alleles as changes
from ..settings import RESERVED_FIELDS
from ..vcf.tabix import TabixTable

INFO = "info:"
#: Name of the join that reads tables which the user declares.
_DECLARED = "table"


class RecordWithInfo(Protocol):
    """A VCF record, or a variant given by hand: its ALTs, and its INFO as text by key; a flag is the empty string."""

    @property
    def alts(self) -> tuple[str, ...]: ...
    def info(self) -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class JoinWord:
    """All ``--join`` words of one NAME: the NAME as first written, and either files or the KEY of ``info:KEY``."""

    name: str
    files: tuple[str, ...]
    info_key: str | None

    def __str__(self) -> str:
        sources = [f"{INFO}{self.info_key}"] if self.info_key is not None else self.files
        return " ".join(f"--join {self.name}={source}" for source in sources)


def parse_joins(words: Sequence[str]) -> list[JoinWord]:
    """Read ``NAME=FILE`` and ``NAME=info:KEY``; words of one NAME, in any case, go together.

    Raises:
        SettingsError: a word is neither, or a NAME has both, or a source twice.
    """
    found: dict[str, JoinWord] = {}
    for word in words:
        name, _, source = word.partition("=")
        if not name or not source or source == INFO:
            raise SettingsError(f"--join {word} cannot be read; write NAME=FILE or NAME=info:KEY")
        key = source.removeprefix(INFO) if source.startswith(INFO) else None
        before = found.get(name.casefold(), JoinWord(name, (), None))
        if before.info_key is not None or source in before.files or (key is not None and before.files):
            raise SettingsError(f"{before} --join {word}: join one INFO key, or files that hold different alleles")
        files = before.files if key is not None else (*before.files, source)
        found[name.casefold()] = JoinWord(before.name, files, key)
    return list(found.values())


class RefCheck:
    """Normalise rows of a source, and count those whose REF is not that of the FASTA.

    Attributes:
        compared, mismatches: rows by contig. N in the FASTA is left out, and so is the mitochondrial contig.
        example: the first mismatch of a contig.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._seen: set[tuple[str, int, str]] = set()
        self.compared: Counter[str] = Counter()
        self.mismatches: Counter[str] = Counter()
        self.example: dict[str, str] = {}

    def normalise(self, contig: str, pos: int, ref: str, alt: str) -> Allele | None:
        """See ``JoinRequest.normalise``."""
        own = self._reference.find(contig)
        if own is None or pos < 1 or isinstance(changes.classify(ref, alt), Skipped):
            return None
        actual = self._reference.fetch(own, pos - 1, pos - 1 + len(ref))
        same = actual == ref.upper().encode("ascii", "replace")
        self._count(own, pos, ref, actual, same)
        if not same:
            return None
        return changes.normalise(own, pos, ref, alt, lambda low, high: self._reference.fetch(own, low, high))

    def next_chunk(self) -> None:
        """Forget which rows were compared, so that memory stays that of a chunk; the counts stay."""
        self._seen.clear()

    def _count(self, contig: str, pos: int, ref: str, actual: bytes, same: bool) -> None:
        row = (contig, pos, ref)
        if row in self._seen or b"N" in actual or is_mitochondrial(contig):
            return
        self._seen.add(row)
        self.compared[contig] += 1
        if not same:
            self.mismatches[contig] += 1
            shown = actual[:20].decode("ascii", "replace") or "nothing"
            self.example.setdefault(contig, f"{contig}:{pos} REF {ref[:20]}, FASTA {shown}")


class JoinSource:
    """One source, open, whose answers are checked against the contract and whose rows against the FASTA."""

    def __init__(
        self, word: JoinWord, adapter: JoinAdapter, origin: Origin, reference: Reference, info: Mapping[str, InfoField]
    ) -> None:
        self._word, self._adapter, self._origin = word, adapter, origin
        self._check = RefCheck(reference)
        self._tables: list[TabixTable] = []
        self._label = _label(word, adapter, origin)
        request = JoinRequest(
            self._label, word.files, word.info_key, info, self._open_table, self._check.normalise, reference
        )
        with contextlib.ExitStack() as undo:
            undo.callback(self._close_tables)
            with origin.guarding("join"):
                self._opened = adapter.join(request)
                undo.callback(self._close_opened)
                fields, about = self._opened.fields, self._opened.about
            self.fields = self._checked(fields)
            self.about = self._described(about)
            self._types = {field.id: field.type for field in self.fields}
            self.close = undo.pop_all().close

    def look_up(self, queries: Sequence[JoinQuery]) -> list[dict[str, Value]]:
        """Return checked values for every query."""
        with self._origin.guarding("look_up"):
            found = [dict(values) for values in self._opened.look_up(queries)]
        self._check_build()
        self._check.next_chunk()
        if len(found) != len(queries):
            raise self._origin.broken("look_up", needed=f"{len(queries)} mappings", found=str(len(found)))
        for values in found:
            for key, value in values.items():
                kind = self._types.get(key)
                if kind is None or not (value is None or fits(kind, value)):
                    needed = f"a value of type {kind}" if kind else f"some of {', '.join(self._types)}"
                    raise self._origin.broken("look_up", needed=needed, found=f"{key} with {value!r}")
        return found

    @property
    def files(self) -> list[str]:
        """Every file that is read, with its index."""
        return [*self._word.files, *(file for table in self._tables for file in (table.path, table.index))]

    def warnings(self) -> list[str]:
        """Return sentences for the user."""
        found = [warning for table in self._tables for warning in table.warnings]
        check = self._check
        if check.mismatches:
            found.append(
                f"{self._word}: {check.mismatches.total():,} of {check.compared.total():,} rows compared have another "
                f"REF than the FASTA and were not joined, first {next(iter(check.example.values()))}"
            )
        return found

    def _open_table(self, path: str) -> TabixTable:
        table = TabixTable(path)
        self._tables.append(table)
        return table

    def _close_tables(self) -> None:
        for table in self._tables:
            table.close()

    def _close_opened(self) -> None:
        with self._origin.guarding("close"):
            self._opened.close()

    def _checked(self, fields: object) -> tuple[FieldSpec, ...]:
        if not isinstance(fields, Sequence) or not fields:
            raise self._origin.broken("fields", needed="FieldSpec objects, not none", found=repr(fields))
        for field in fields:
            reserved = isinstance(field, FieldSpec) and field.id in RESERVED_FIELDS
            if reserved and not self._adapter.label:  # the user named the join
                raise SettingsError(f"{self._word} would add {field.id}, a column of the output; give it another NAME")
            good = isinstance(field, FieldSpec) and field.number == "A" and field.id.startswith(f"{self._label}_")
            if not good or reserved:
                needed = f"FieldSpec with number A and an id that begins with {self._label}_ and is not taken"
                raise self._origin.broken("fields", needed=needed, found=repr(field))
        ids = [field.id for field in fields]
        if len(set(ids)) < len(ids):
            raise self._origin.broken("fields", needed="an id once", found=", ".join(ids))
        return tuple(fields)

    def _described(self, about: object) -> str:
        if not isinstance(about, str) or "\n" in about:
            raise self._origin.broken("about", needed="one line", found=repr(about))
        files = [
            f"{os.path.basename(table.path)} ({os.path.getsize(table.path)} bytes, index SHA-256 {table.digest})"
            for table in self._tables
        ]
        return ", ".join(filter(None, (f"{self._label}: {self._adapter.name}/{self._adapter.version}", *files, about)))

    def _check_build(self) -> None:
        """Raise BuildError when the rows of a contig are not of the FASTA's build: files may hold a contig each."""
        for contig, mismatches in self._check.mismatches.items():
            compared = self._check.compared[contig]
            if is_other_build(mismatches, compared):
                raise BuildError(
                    f"{self._word} and the FASTA are of different genome builds: {mismatches} of {compared} rows "
                    f"compared, first {self._check.example[contig]}. Give the file of the FASTA's own build."
                )


def _label(word: JoinWord, adapter: JoinAdapter, origin: Origin) -> str:
    label = adapter.label or word.name
    try:
        FieldSpec(f"{label}_X", "A", "Float", "x")
    except (ValueError, TypeError) as error:
        needed = "a capital, then letters, digits and underscores"
        if adapter.label:
            raise origin.broken("label", needed=needed, found=repr(label)) from error
        raise SettingsError(f"{word}: NAME begins every field, so it needs {needed}, e.g. CADD") from error
    return label


class Joins:
    """The sources of a run, open; a context manager that closes them. For one thread at a time.

    Args:
        words: see ``parse_joins``.
        plugins: offer the joins.
        reference: the FASTA.
        info: INFO definitions of the input, by key; none where there is no VCF.
        run: fields and provenance of the scores.

    Attributes:
        run: the same with the fields and files of the joins.

    Raises:
        SettingsError: no such join, or a join cannot read its source.
        VcfError: a file cannot be read by place.
        PluginError: a join breaks the contract.
    """

    def __init__(
        self,
        words: Sequence[JoinWord],
        plugins: Plugins,
        reference: Reference,
        info: Mapping[str, InfoField],
        run: RunInfo,
    ) -> None:
        owners = {field.id: "a score of this run" for field in run.fields}
        self._with_info = any(word.info_key is not None for word in words)
        self._sources: list[JoinSource] = []
        with contextlib.ExitStack() as undo:
            for word in words:
                source = JoinSource(word, *_adapter(word, plugins), reference, info)
                undo.callback(source.close)
                self._sources.append(source)
                for field in source.fields:
                    if field.id in owners:
                        raise SettingsError(
                            f"{field.id} would come from two places, {owners[field.id]} and {word}",
                            remedy="give one join another NAME, or leave the score out (--scores) or its plugin "
                            "(SPLICEBERT_VEP_PLUGINS=-NAME)",
                        )
                    owners[field.id] = str(word)
            self._undo = undo.pop_all()
        self.run = run
        if words:
            fields = (field for source in self._sources for field in source.fields)
            about = "; ".join(source.about for source in self._sources)
            self.run = RunInfo((*run.fields, *fields), {**run.provenance, "Joins": about})

    def __enter__(self) -> Joins:
        return self

    def __exit__(self, *error: object) -> None:
        self._undo.close()

    @property
    def files(self) -> list[str]:
        """Every file that is read, with its index."""
        return [file for source in self._sources for file in source.files]

    def warnings(self) -> list[str]:
        """Return sentences for the user, complete after the last record."""
        return [warning for source in self._sources for warning in source.warnings()]

    def add(self, records: Sequence[RecordWithInfo], reports: Sequence[RecordReport]) -> list[RecordReport]:
        """Return the reports with the sources' values of every allele in a gene.

        Raises:
            BuildError: a file is of another genome build.
            PluginError, SettingsError, VcfError: as for opening.
        """
        if not self._sources:
            return list(reports)
        queries = list(_queries(records, reports, with_info=self._with_info))
        found: list[dict[str, Value]] = [{} for _ in queries]
        for source in self._sources:
            for values, more in zip(found, source.look_up(queries), strict=True):
                values.update(more)
        return _with_values(reports, iter(found))


def _with_values(reports: Sequence[RecordReport], values: Iterator[Mapping[str, Value]]) -> list[RecordReport]:
    """Return reports whose outcomes in a gene have more values, taken from an iterator in the order of ``_queries``."""

    def added(allele: AlleleReport) -> AlleleReport:
        contexts = tuple(
            one if one.context is None or allele.allele is None else replace(one, values={**one.values, **next(values)})
            for one in allele.contexts
        )
        return replace(allele, contexts=contexts)

    return [replace(report, alleles=tuple(map(added, report.alleles))) for report in reports]


def _queries(
    records: Sequence[RecordWithInfo], reports: Sequence[RecordReport], *, with_info: bool
) -> Iterator[JoinQuery]:
    """Yield a query per allele x gene. No other ALT is asked for: its status says why it has no values."""
    for record, report in zip(records, reports, strict=True):
        info = record.info() if with_info else {}
        for allele in report.alleles:
            for outcome in allele.contexts:
                if outcome.context is not None and allele.allele is not None:
                    yield JoinQuery(
                        report.pos, report.ref, allele.alt, record.alts, info, allele.allele, outcome.context
                    )


def _adapter(word: JoinWord, plugins: Plugins) -> tuple[JoinAdapter, Origin]:
    names = {name.casefold(): name for name in plugins.joins if name != _DECLARED}
    declared = any(file.endswith(".toml") for file in word.files)
    name = names.get(word.name.casefold(), _DECLARED if declared else None)
    if name is None:
        raise SettingsError(
            f"{word}: no such join; needed one of {', '.join(names)}, or any NAME=FILE.toml that declares a table",
            remedy=suggestion([word.name], names) or "docs/joins.md shows how a table is declared",
        )
    if declared and name != _DECLARED:
        raise SettingsError(f"{word}: {name} takes no declared table; give the table another NAME")
    return plugins.joins[name], plugins.origins("join")[name]

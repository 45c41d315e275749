"""What is set beside SpliceBERT's scores in one run: other programs' scores, and which of the two calls an allele."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
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
from splicebert_vep_spec._rules import fits

from ..errors import BuildError, SettingsError, suggestion
from ..genome.contigs import ContigNames, is_mitochondrial
from ..genome.reference import Reference
from ..joining.evidence import plan_evidence
from ..plugins import Origin, Plugins
from ..scoring.pipeline import Record
from ..sequence import alleles as changes
from ..settings import RESERVED_FIELDS
from ..vcf.tabix import TabixTable

INFO = "info:"

_REFS_NEEDED = 20
_MISMATCHES_ALLOWED = 0.10


@dataclass(frozen=True, slots=True)
class JoinWord:
    """What the ``--join`` words of one NAME ask for together.

    Args:
        name: NAME as it was written first.
        files: in their order.
        info_key: the KEY of ``info:KEY``.
    """

    name: str
    files: tuple[str, ...]
    info_key: str | None

    def __str__(self) -> str:
        sources = [f"{INFO}{self.info_key}"] if self.info_key is not None else self.files
        return " ".join(f"--join {self.name}={source}" for source in sources)


class _Table:
    """An indexed file whose contigs answer to any name."""

    def __init__(self, table: TabixTable) -> None:
        self._table = table
        self._names = ContigNames(table.contigs)

    @property
    def head(self) -> Sequence[str]:
        return self._table.head

    @property
    def contigs(self) -> Sequence[str]:
        return self._table.contigs

    def fetch(self, contig: str, start: int, end: int) -> Iterator[str] | None:
        own = self._names.find(contig)
        return None if own is None else self._table.rows(own, start, end)


class RefCheck:
    """Normalise rows of a source, and compare their REF with the FASTA."""

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
        """Forget which rows were compared, but not how they fared, so that memory stays that of a chunk."""
        self._seen.clear()

    def _count(self, contig: str, pos: int, ref: str, actual: bytes, same: bool) -> None:
        """Count a row once; N in the FASTA is ignored, and the mitochondrial contig never decides."""
        site = (contig, pos, ref)
        if site in self._seen or b"N" in actual or is_mitochondrial(contig):
            return
        self._seen.add(site)
        self.compared[contig] += 1
        if not same:
            self.mismatches[contig] += 1
            shown = actual[:20].decode("ascii", "replace") or "nothing"
            self.example.setdefault(contig, f"{contig}:{pos} REF {ref[:20]}, FASTA {shown}")


class Source:
    """One join, open, and what it has been found to be."""

    def __init__(
        self, word: JoinWord, adapter: JoinAdapter, origin: Origin, reference: Reference, info: Mapping[str, InfoField]
    ) -> None:
        self._word, self._adapter, self._origin = word, adapter, origin
        self._check = RefCheck(reference)
        self._tables: list[TabixTable] = []
        self.name = _label(word, adapter, origin)
        request = JoinRequest(
            self.name, word.files, word.info_key, info, self._open_table, self._check.normalise, reference
        )
        with contextlib.ExitStack() as undo:
            undo.callback(self._close_tables)
            with origin.guarding("join"):
                opened = adapter.join(request)
                self._opened = opened
                undo.callback(self._close_opened)
                fields = opened.fields
                about = opened.about
            self.fields = self._checked(fields)
            self.about = self._described(about)
            self._by_id = {field.id: field for field in self.fields}
            self._undo = undo.pop_all()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def look_up(self, queries: Sequence[JoinQuery]) -> list[Mapping[str, Value]]:
        """Return checked values for every query."""
        with self._origin.guarding("look_up"):
            found = [dict(values) for values in self._opened.look_up(queries)]
        self._judge()
        self._check.next_chunk()
        if len(found) != len(queries):
            needed = f"{len(queries)} mappings, one per query"
            raise self._origin.broken("look_up", needed=needed, found=str(len(found)))
        for values in found:
            for key, value in values.items():
                self._check_value(key, value)
        return list(found)

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

    def _open_table(self, path: str) -> _Table:
        table = TabixTable(path)
        self._tables.append(table)
        return _Table(table)

    def _close_tables(self) -> None:
        for table in self._tables:
            table.close()

    def _close_opened(self) -> None:
        with self._origin.guarding("close"):
            self._opened.close()

    def _checked(self, fields: object) -> tuple[FieldSpec, ...]:
        if not isinstance(fields, Sequence) or not fields:
            raise self._origin.broken("fields", needed="FieldSpec objects, not none", found=repr(fields))
        taken = [field.id for field in fields if isinstance(field, FieldSpec) and field.id in RESERVED_FIELDS]
        if taken and not self._adapter.label:  # else it is not the user who named them
            raise SettingsError(
                "A field of a join would have the name of another column.",
                needed="another NAME for the join, or another name for the field",
                found=", ".join(taken),
                where=str(self._word),
            )
        for field in fields:
            good = isinstance(field, FieldSpec) and field.number == "A" and field.id.startswith(f"{self.name}_")
            if not good or field.id in RESERVED_FIELDS:
                needed = f"FieldSpec with number A and an id that begins with {self.name}_ and is not taken"
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
        return ", ".join(filter(None, (f"{self.name}: {self._adapter.name}/{self._adapter.version}", *files, about)))

    def _check_value(self, key: str, value: Value) -> None:
        field = self._by_id.get(key)
        if field is None or not (value is None or fits(field.type, value)):
            needed = f"a value of type {field.type}" if field else f"some of {', '.join(self._by_id)}"
            raise self._origin.broken("look_up", needed=needed, found=f"{key} with {value!r}")

    def _judge(self) -> None:
        """Raise BuildError when the rows of a contig are not of the FASTA's build: files may hold a contig each."""
        check = self._check
        for contig, mismatches in check.mismatches.items():
            compared = check.compared[contig]
            if compared >= _REFS_NEEDED and mismatches > _MISMATCHES_ALLOWED * compared:
                raise BuildError(
                    f"What is joined as {self.name} and the FASTA are of different genome builds.",
                    needed=f"at most {_MISMATCHES_ALLOWED:.0%} of the rows of a contig with another REF",
                    found=f"{mismatches} of {compared} rows compared, first {check.example[contig]}",
                    where=str(self._word),
                    remedy="give the file of the FASTA's own build",
                )


def _label(word: JoinWord, adapter: JoinAdapter, origin: Origin) -> str:
    label = adapter.label or word.name
    try:
        FieldSpec(f"{label}_X", "A", "Float", "x")
    except (ValueError, TypeError) as error:
        if adapter.label:
            raise origin.broken("label", needed="a capital, then letters and digits", found=repr(label)) from error
        raise SettingsError(
            "The name of a join is what its fields begin with, and cannot be this.",
            needed="a capital, then letters, digits and underscores, e.g. CADD",
            found=word.name,
            where=str(word),
        ) from error
    return label


_DECLARED = "table"


class Informed(Record, Protocol):
    """A record with its INFO by key, as text; a flag is the empty string."""

    def info(self) -> dict[str, str]: ...


def parse_joins(words: Sequence[str]) -> list[JoinWord]:
    """Read ``NAME=FILE`` and ``NAME=info:KEY``; words of one NAME, in any case, go together.

    Raises:
        SettingsError: a word is neither, or a NAME has both, or a source twice.
    """
    found: dict[str, JoinWord] = {}
    for word in words:
        name, _, source = word.partition("=")
        if not name or not source or source == INFO:
            raise SettingsError("A join cannot be read.", needed="NAME=FILE or NAME=info:KEY", found=f"--join {word}")
        before = found.get(name.casefold())
        key = source.removeprefix(INFO) if source.startswith(INFO) else None
        if before and (key is not None or before.info_key is not None or source in before.files):
            raise SettingsError(
                f"{before.name} is joined from INFO and a file, or twice from one source.",
                needed="one INFO key, or files that hold different alleles",
                found=f"{before} --join {word}",
            )
        files = before.files if before else ()
        own = before.name if before else name
        found[name.casefold()] = JoinWord(own, files if key is not None else (*files, source), key)
    return list(found.values())


class Joins:
    """The sources of a run, open.

    Args:
        words: what is joined.
        plugins: whose joins they are.
        reference: the FASTA.
        info: INFO definitions of the input, by key.
        taken: the fields of the run without joins.

    Raises:
        SettingsError: no such join, or a source is not what its join reads.
        VcfError: a file cannot be read by place.
        PluginError: a join breaks the contract.
    """

    def __init__(
        self,
        words: Sequence[JoinWord],
        plugins: Plugins,
        reference: Reference,
        info: Mapping[str, InfoField],
        taken: Sequence[FieldSpec],
    ) -> None:
        ids = {field.id: "" for field in taken}
        self._with_info = any(word.info_key is not None for word in words)
        self._sources: list[Source] = []
        with contextlib.ExitStack() as undo:
            for word in words:
                source = undo.enter_context(Source(word, *_adapter(word, plugins), reference, info))
                self._sources.append(source)
                for field in source.fields:
                    if field.id in ids:
                        raise _taken(field.id, ids[field.id], word)
                    ids[field.id] = str(word)
            self._undo = undo.pop_all()

    @property
    def fields(self) -> tuple[FieldSpec, ...]:
        """The fields of all joins, in the order of the words."""
        return tuple(field for source in self._sources for field in source.fields)

    @property
    def files(self) -> list[str]:
        """Every file that is read, with its index."""
        return [file for source in self._sources for file in source.files]

    @property
    def about(self) -> str:
        """What is joined, for the provenance."""
        return "; ".join(source.about for source in self._sources)

    def warnings(self) -> list[str]:
        """Return sentences for the user, complete after the last record."""
        return [warning for source in self._sources for warning in source.warnings()]

    def add(self, records: Sequence[Informed], reports: Sequence[RecordReport]) -> list[RecordReport]:
        """Return the reports with what the sources say of every allele in a gene.

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
        return with_values(reports, iter(found))

    def close(self) -> None:
        """Let go of every source."""
        self._undo.close()


def with_values(reports: Sequence[RecordReport], values: Iterator[Mapping[str, Value]]) -> list[RecordReport]:
    """Return reports whose outcomes in a gene have more values, taken from an iterator in their order."""

    def added(allele: AlleleReport) -> AlleleReport:
        contexts = tuple(
            one if one.context is None else replace(one, values={**one.values, **next(values)})
            for one in allele.contexts
        )
        return replace(allele, contexts=contexts)

    return [replace(report, alleles=tuple(map(added, report.alleles))) for report in reports]


def _queries(records: Sequence[Informed], reports: Sequence[RecordReport], *, with_info: bool) -> Iterator[JoinQuery]:
    """Yield a query per allele x gene; an ALT without gene is not asked for, its status says why it has no values."""
    for record, report in zip(records, reports, strict=True):
        info = record.info() if with_info else {}
        for allele in report.alleles:
            for outcome in allele.contexts:
                if outcome.context is not None and allele.allele is not None:
                    yield JoinQuery(
                        report.pos, report.ref, allele.alt, record.alts, info, allele.allele, outcome.context
                    )


def _adapter(word: JoinWord, plugins: Plugins) -> tuple[JoinAdapter, Origin]:
    known = plugins.joins
    by_folded = {name.casefold(): name for name in known}
    name = by_folded.get(word.name.casefold())
    declared = any(file.endswith(".toml") for file in word.files)
    if name is None and declared:
        name = _DECLARED
    if name is None or (name == _DECLARED and not declared):
        names = [name for name in known if name != _DECLARED]
        raise SettingsError(
            "An unknown join was asked for.",
            needed=f"one of {', '.join(names)}; or any NAME=FILE.toml that declares a table",
            found=str(word),
            remedy=suggestion([word.name], names) or "docs/joins.md shows how a table is declared",
        )
    if declared and name != _DECLARED:
        raise SettingsError(
            f"{word.name} is a join of its own and takes no declared table.",
            needed="the program's own file, or another NAME for the table",
            found=str(word),
        )
    return known[name], plugins.origins("join")[name]


def _taken(field: str, owner: str, word: JoinWord) -> SettingsError:
    return SettingsError(
        f"{field} would come from two places.",
        needed="one source of a score",
        found=f"{owner or 'a scorer of this run'}, and {word}",
        remedy="give another NAME to one of the joins"
        if owner
        else "leave the join out, or the score (--scores), or switch its plugin off (SPLICEBERT_VEP_PLUGINS=-NAME)",
    )


class Beside:
    """Joined sources, open, and thresholds; a context manager that closes the sources. For one thread at a time.

    Args:
        words: what is joined, see ``parse_joins``.
        evidence: thresholds, ``SCORE=VALUE``.
        plugins: whose joins they are.
        reference: the FASTA.
        info: INFO definitions of the input, by key; none where there is no VCF.
        run: fields and provenance of the scores.

    Raises:
        SettingsError, VcfError, PluginError: as ``Joins`` and ``plan_evidence``.
    """

    def __init__(
        self,
        words: Sequence[JoinWord],
        evidence: Sequence[str],
        plugins: Plugins,
        reference: Reference,
        info: Mapping[str, InfoField],
        run: RunInfo,
    ) -> None:
        self._joins = Joins(words, plugins, reference, info, run.fields)
        try:
            self._evidence = plan_evidence(evidence, run, self._joins.fields, plugins.scorers)
        except BaseException:
            self._joins.close()
            raise
        self.run = self._extended(run)

    @property
    def files(self) -> list[str]:
        """Every file that is read, with its index."""
        return self._joins.files

    @property
    def notes(self) -> Sequence[str]:
        """Sentences on what could be asked for."""
        return self._evidence.notes

    def warnings(self) -> list[str]:
        """Return sentences for the user, complete after the last record."""
        return self._joins.warnings()

    def add(self, records: Sequence[Informed], reports: Sequence[RecordReport]) -> list[RecordReport]:
        """Return the reports of records with all that is set beside their scores.

        Raises:
            BuildError, PluginError, SettingsError, VcfError: as ``Joins.add``.
        """
        return self._evidence.add(self._joins.add(records, reports))

    def _extended(self, run: RunInfo) -> RunInfo:
        added = (*self._joins.fields, *self._evidence.fields)
        if not added:
            return run
        about = {"Joins": self._joins.about, "Evidence": self._evidence.about}
        return RunInfo(
            (*run.fields, *added), {**run.provenance, **{name: text for name, text in about.items() if text}}
        )

    def __enter__(self) -> Beside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._joins.close()

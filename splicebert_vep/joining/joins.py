"""Join other programs' scores: open their sources once, ask them for every allele in a gene, check what they say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from splicebert_vep.contract import Origin
from splicebert_vep.errors import SettingsError, suggestion
from splicebert_vep.genome.reference import Reference
from splicebert_vep.pipeline import Record
from splicebert_vep.plugins import Plugins
from splicebert_vep_spec import (
    AlleleReport,
    FieldSpec,
    InfoField,
    JoinAdapter,
    JoinQuery,
    RecordReport,
    Value,
)

from .sources import INFO, JoinWord, Source

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

"""One source of another program's scores: open it, ask it, and hold it to the contract and to the FASTA's build."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

from splicebert_vep.contract import Origin
from splicebert_vep.errors import BuildError, SettingsError
from splicebert_vep.genome.contigs import ContigNames, is_mitochondrial
from splicebert_vep.genome.reference import Reference
from splicebert_vep.sequence import alleles as changes
from splicebert_vep.settings import RESERVED_FIELDS
from splicebert_vep.vcf.tabix import TabixTable
from splicebert_vep_spec import Allele, FieldSpec, InfoField, JoinAdapter, JoinQuery, JoinRequest, Skipped, Value
from splicebert_vep_spec._rules import fits

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

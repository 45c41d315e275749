"""The plan of a cohort on disk: which alleles there are, and the units in which the new ones are scored.

It is one SQLite file, written whole and never changed, so that any number of processes on any file system may read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from splicebert_vep_spec import Allele

from ..errors import CohortError, OutputError
from ..files import temporary_name
from ..opening import Opening
from ..provenance import Space

UNIT = 256  # alleles
PLAN, SHARDS = "plan.sqlite", "shards"
_FORMAT = 1
_READ = 2048
_SCHEMA = """
CREATE TABLE about (content TEXT NOT NULL);
CREATE TABLE contigs (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, md5 TEXT);
CREATE TABLE alleles (
    contig INTEGER NOT NULL, start INTEGER NOT NULL, ref TEXT NOT NULL, alt TEXT NOT NULL, files INTEGER NOT NULL,
    carriers INTEGER, last INTEGER, of_last INTEGER, unit INTEGER, PRIMARY KEY (contig, start, ref, alt)) WITHOUT ROWID;
CREATE TABLE skipped (
    chrom TEXT NOT NULL, pos INTEGER NOT NULL, ref TEXT NOT NULL, alt TEXT NOT NULL, status TEXT NOT NULL,
    reason TEXT NOT NULL, files INTEGER NOT NULL, carriers INTEGER, last INTEGER, of_last INTEGER,
    PRIMARY KEY (chrom, pos, ref, alt)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class About:
    """What a plan was made for, and what it came to.

    Args:
        kind: ``cohort`` or ``saturate``.
        version: of this program.
        opening: of the annotator.
        space: of the scores.
        settings: what else decides about outputs: formats, store and the like.
        inputs: signature of every input.
        counts: files, records, ALTs, distinct alleles, new ones, units.
        units: digest of which allele is in which unit; empty where they are not cut yet.
    """

    kind: str
    version: str
    opening: Opening
    space: Space
    settings: Mapping[str, Any]
    inputs: Sequence[Any]
    counts: Mapping[str, int]
    units: str = ""

    @property
    def output_digest(self) -> str:
        """What every output depends on besides its input."""
        settings = {key: value for key, value in self.settings.items() if key != "store"}  # which may be moved
        return _digest([self.version, dict(self.space.provenance), list(self.space.columns), settings])

    @property
    def identity(self) -> str:
        """What a command has to have in common with the one that made the plan, to go on with it."""
        about = [self.kind, self.output_digest, dict(self.settings), self.opening.to_json(), list(self.inputs)]
        return _digest(about)


class Known(NamedTuple):
    """An allele of the plan, the files that have it and the samples that carry it; None where no file has samples."""

    allele: Allele
    files: int
    carriers: int | None


class Turned(NamedTuple):
    """An ALT, as written, that has no normalised allele."""

    chrom: str
    pos: int
    ref: str
    alt: str
    status: str
    reason: str
    files: int
    carriers: int | None


class Plan:
    """Read a plan; a context manager.

    Args:
        folder: of the run.

    Raises:
        CohortError: there is none, or it is damaged or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / PLAN
        if not self._path.is_file():
            raise CohortError(
                "The folder has no plan.",
                needed="what 'cohort plan' or 'cohort run' has made",
                where=str(folder),
                remedy="run 'splicebert-vep cohort plan' first",
            )
        # Whole and never changed: no locks are needed, which network file systems may not have.
        self._connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?immutable=1", uri=True)
        self._connection.text_factory = lambda text: text.decode("utf-8", "surrogateescape")
        try:
            with self._reading():
                [[text]] = self._connection.execute("SELECT content FROM about").fetchall()
                self.about = _about(json.loads(text))
                rows = self._connection.execute("SELECT id, name, md5 FROM contigs").fetchall()
        except BaseException:
            self._connection.close()
            raise
        #: What shards of this plan carry: unlike the command's, it depends on what is in each unit.
        self.identity = _digest([self.about.identity, self.about.units])
        self._names = {number: name for number, name, _ in rows}
        self.md5 = {name: md5 for _, name, md5 in rows}

    def __enter__(self) -> Plan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @property
    def units(self) -> int:
        """How many units there are; they are numbered from 1."""
        return self.about.counts["units"]

    def shard(self, unit: int) -> Path:
        """Return where the scores of a unit go."""
        return self.folder / SHARDS / f"unit-{unit:06}.parquet"

    def missing(self) -> list[int]:
        """Return the units that have no shard yet."""
        there = {path.name for path in (self.folder / SHARDS).glob("unit-*.parquet")}
        return [unit for unit in range(1, self.units + 1) if self.shard(unit).name not in there]

    def unit(self, number: int) -> list[Allele]:
        """Return the alleles of a unit, sorted by position.

        Raises:
            CohortError: there is no such unit.
        """
        with self._reading():
            rows = self._connection.execute(
                "SELECT contig, start, ref, alt FROM alleles WHERE unit = ? ORDER BY contig, start, ref, alt", (number,)
            ).fetchall()
        if not rows:
            raise CohortError(
                "The plan has no such unit.", needed=f"1 to {self.units}", found=str(number), where=str(self._path)
            )
        return [Allele(self._names[contig], start, ref, alt) for contig, start, ref, alt in rows]

    def alleles(self) -> Iterator[list[Known]]:
        """Yield every distinct allele, in blocks, sorted by position."""
        with self._reading():
            cursor = self._connection.execute(
                "SELECT contig, start, ref, alt, files, carriers FROM alleles ORDER BY contig, start, ref, alt"
            )
            while rows := cursor.fetchmany(_READ):
                yield [Known(Allele(self._names[row[0]], *row[1:4]), *row[4:]) for row in rows]

    def known(self) -> Iterator[list[Allele]]:
        """Yield the alleles of no unit, which the store knew or that need no score, in blocks."""
        with self._reading():
            cursor = self._connection.execute(
                "SELECT contig, start, ref, alt FROM alleles WHERE unit IS NULL ORDER BY contig, start, ref, alt"
            )
            while rows := cursor.fetchmany(_READ):
                yield [Allele(self._names[row[0]], *row[1:]) for row in rows]

    def turned(self) -> Iterator[Turned]:
        """Yield every ALT without a normalised allele, by contig name and position."""
        with self._reading():
            yield from map(
                Turned._make,
                self._connection.execute(
                    "SELECT chrom, pos, ref, alt, status, reason, files, carriers FROM skipped "
                    "ORDER BY chrom, pos, ref, alt"
                ),
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, LookupError, TypeError, ValueError) as error:
            raise CohortError(
                "The plan cannot be read.",
                found=str(error),
                where=str(self._path),
                remedy="remove it and plan again; finished files are kept, shards that were not merged are not",
            ) from error


class PlanWriter:
    """Gather alleles into a new plan, which appears whole when ``publish`` is called; a context manager.

    Args:
        folder: of the run.
        contigs: names in the order of the FASTA.
    """

    def __init__(self, folder: Path, contigs: Sequence[str]) -> None:
        self._final = folder / PLAN
        self._temporary = temporary_name(self._final)
        self._contigs = {name: number for number, name in enumerate(contigs)}
        self._units = hashlib.sha256()
        with self._writing():
            self._connection = sqlite3.connect(
                f"{self._temporary.absolute().as_uri()}?mode=rwc&nolock=1", uri=True, isolation_level=None
            )
            self._connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)
            self._connection.execute("BEGIN")
            self._connection.executemany(
                "INSERT INTO contigs (id, name) VALUES (?, ?)", [(i, n) for n, i in self._contigs.items()]
            )

    def __enter__(self) -> PlanWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._temporary.unlink(missing_ok=True)

    def add(self, file: int, found: Iterable[tuple[Allele, int | None]]) -> None:
        """Count alleles of a file with the samples that carry them; one that a file has twice counts once."""
        rows = [(self._contigs[a.contig], a.start, a.ref, a.alt, n, file, n) for a, n in found]
        with self._writing():
            self._connection.executemany(
                f"INSERT INTO alleles (contig, start, ref, alt, files, carriers, last, of_last) "
                f"VALUES (?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT {_COUNTED.format(table='alleles')}",
                rows,
            )

    def turn(self, file: int, found: Iterable[tuple[str, int, str, str, str, str, int | None]]) -> None:
        """Count ALTs without a normalised allele: chrom, pos, ref, alt, status, reason, carriers."""
        rows = [(*map(_bytes, row[:6]), row[6], file, row[6]) for row in found]
        with self._writing():
            self._connection.executemany(
                f"INSERT INTO skipped (chrom, pos, ref, alt, status, reason, files, carriers, last, of_last) "
                f"VALUES ({_TEXT}, ?, {_TEXT}, {_TEXT}, {_TEXT}, {_TEXT}, 1, ?, ?, ?) "
                f"ON CONFLICT {_COUNTED.format(table='skipped')}",
                rows,
            )

    def alleles(self) -> Iterator[list[Allele]]:
        """Yield every distinct allele so far, in blocks of one contig, sorted by position."""
        names = list(self._contigs)
        with self._writing():
            for number, name in enumerate(names):
                last = (-1, "", "")
                while rows := self._connection.execute(
                    "SELECT start, ref, alt FROM alleles WHERE contig = ? AND (start, ref, alt) > (?, ?, ?) "
                    "ORDER BY start, ref, alt LIMIT ?",
                    (number, *last, _READ),
                ).fetchall():
                    last = rows[-1]
                    yield [Allele(name, *row) for row in rows]

    def assign(self, unit: int, alleles: Iterable[Allele]) -> None:
        """Put alleles into a unit."""
        alleles = list(alleles)
        self._units.update(repr([unit, *((a.contig, a.start, a.ref, a.alt) for a in alleles)]).encode())
        with self._writing():
            self._connection.executemany(
                "UPDATE alleles SET unit = ? WHERE contig = ? AND start = ? AND ref = ? AND alt = ?",
                [(unit, self._contigs[a.contig], a.start, a.ref, a.alt) for a in alleles],
            )

    def publish(self, about: About, md5: Mapping[str, str]) -> None:
        """Write the plan under its final name, in the place of an earlier one.

        Args:
            md5: MD5 of each contig that has alleles.
        """
        with self._writing():
            self._connection.executemany(
                "UPDATE contigs SET md5 = ? WHERE name = ?", [(value, name) for name, value in md5.items()]
            )
            whole = replace(about, units=self._units.hexdigest())
            self._connection.execute("INSERT INTO about VALUES (?)", (json.dumps(_to_json(whole)),))
            self._connection.execute("CREATE INDEX units ON alleles (unit) WHERE unit IS NOT NULL")
            self._connection.execute("COMMIT")
            self._connection.close()
            with self._temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(self._temporary, self._final)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, OSError) as error:
            raise OutputError(
                "The plan could not be written.",
                needed="a folder with enough room that may be written to",
                found=str(error),
                where=str(self._final),
                remedy="look after folder, permissions and disk space; then run it again",
            ) from error


_TEXT = "CAST(? AS TEXT)"  # of bytes: a VCF may hold some that are no UTF-8


def _bytes(value: object) -> object:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


# A file that has an allele twice (padded, or in two records) counts once, with the larger number of carriers.
_COUNTED = (
    "DO UPDATE SET files = files + (last <> excluded.last), last = excluded.last, of_last = CASE WHEN last = "
    "excluded.last THEN max(coalesce(of_last, 0), coalesce(excluded.of_last, 0)) ELSE excluded.of_last END, "
    "carriers = CASE WHEN {table}.carriers IS NULL THEN excluded.carriers WHEN excluded.carriers IS NULL THEN "
    "{table}.carriers WHEN last <> excluded.last THEN {table}.carriers + excluded.carriers ELSE "
    "{table}.carriers + max(0, excluded.carriers - coalesce(of_last, 0)) END"
)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _to_json(about: About) -> dict[str, Any]:
    space = about.space
    return {
        "format": _FORMAT,
        "kind": about.kind,
        "version": about.version,
        "opening": about.opening.to_json(),
        "space": {
            "score_digest": space.score_digest,
            "annotation_digest": space.annotation_digest,
            "columns": list(space.columns),
            "provenance": dict(space.provenance),
        },
        "settings": dict(about.settings),
        "inputs": list(about.inputs),
        "counts": dict(about.counts),
        "units": about.units,
    }


def _about(content: Mapping[str, Any]) -> About:
    if content["format"] != _FORMAT:
        raise ValueError(f"format {content['format']}, needed {_FORMAT}")
    space = content["space"]
    return About(
        content["kind"],
        content["version"],
        Opening.from_json(content["opening"]),
        Space(space["score_digest"], space["annotation_digest"], tuple(space["columns"]), space["provenance"]),
        content["settings"],
        content["inputs"],
        content["counts"],
        content["units"],
    )

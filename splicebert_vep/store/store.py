"""The score store: one SQLite file that keeps scores by space, contig sequence, normalised allele and gene.

Write-ahead mode lets many processes read while one writes. SQLite's locks do not hold on network file systems, so
a store on one is refused where ``/proc/self/mounts`` tells it (Linux); elsewhere the user has to see to it.
"""

from __future__ import annotations

import json
import math
import os
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from itertools import chain, groupby
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from ..errors import OutputError, StoreError
from ..provenance import Space, is_text

FORMAT = 1
_APPLICATION = 0x53424550  # "SBEP"
_MAGIC = b"SQLite format 3\x00"
_WAIT = 300.0  # seconds for another writer
_CACHE = 65536  # KiB: room for the inner pages of many millions of rows
_BLOCK = 512  # alleles in one statement
_NAMES_KEPT = 1 << 16  # of genes and of words of scores
_PROVEN = 1 << 46  # ids from here on are digests of what they stand for; those of version 0.1 count from 1
# AUTOINCREMENT: after a prune no new space gets an id that another process still holds.
_SCHEMA = """
CREATE TABLE spaces (
    id INTEGER PRIMARY KEY AUTOINCREMENT, score_digest TEXT NOT NULL, annotation_digest TEXT NOT NULL,
    columns TEXT NOT NULL, provenance TEXT NOT NULL, UNIQUE (score_digest, annotation_digest, columns));
CREATE TABLE contigs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, space INTEGER NOT NULL REFERENCES spaces, md5 TEXT NOT NULL,
    name TEXT NOT NULL, UNIQUE (space, md5));
CREATE TABLE genes (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE scores (
    contig INTEGER NOT NULL, start INTEGER NOT NULL, change TEXT NOT NULL, gene INTEGER NOT NULL, status TEXT NOT NULL,
    reason TEXT, data BLOB NOT NULL, seal INTEGER NOT NULL, PRIMARY KEY (contig, start, change, gene)) WITHOUT ROWID;
"""
#: File systems, by kernel or FUSE name, that several machines share.
_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "afpfs", "9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs",
    "fhgfs", "pvfs2", "orangefs", "panfs", "davfs", "davfs2", "webdav", "sshfs", "s3fs", "rclone", "gcsfuse", "juicefs",
    "mount-s3",
}  # fmt: skip
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """Open a store; make it when it is not there and ``writing``.

    Raises:
        StoreError: on a network file system, not there, not a store, of a newer format, or cut off.
        OutputError: it cannot be made.
    """
    folder = Path(os.path.realpath(path)).parent
    if not os.path.isdir(folder):
        raise OutputError("The folder of the score store is not there: make it.", where=str(folder))
    if (kind := file_system(folder)) in _NETWORK:
        remedy = "give a path on a disk of this machine; other machines score parts, 'store import' takes their Parquet"
        problem = f"SQLite cannot keep a score store safe on a network file system ({kind})."
        raise StoreError(problem, where=str(path), remedy=remedy)
    if os.path.exists(path):
        _check_file(path)
    elif not writing:
        raise StoreError("The score store is not there: check the path.", where=str(path))
    mode = "rwc" if writing else "ro"
    if not writing and not os.access(folder, os.W_OK) and not os.path.exists(f"{path}-wal"):
        mode += "&immutable=1"  # on a read-only disk SQLite cannot make the files beside it that readers share
    with guarding(path):
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, timeout=_WAIT, isolation_level=None, check_same_thread=False)
    try:
        with guarding(path):
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
            if writing:
                _prepare(connection)
            _check_format(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def file_system(folder: Path) -> str:
    """Return the kind of file system that a folder lies on, FUSE's by its own name; empty where Linux does not say."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    kinds = {}
    for line in lines:  # of two mounts at one point the last counts
        _, point, kind, *_ = line.split(" ")
        kinds[Path(re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), point))] = kind.lower()
    return next((kinds[at].removeprefix("fuse.") for at in (folder, *folder.parents) if at in kinds), "")


@contextmanager
def guarding(path: Path) -> Iterator[None]:
    """Turn errors of SQLite into OutputError (disk full, not permitted) or StoreError (damaged, or kept by another)."""
    try:
        yield
    except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite quotes the file in its messages
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _FULL:
            problem = "The score store could not be opened or written: see to disk space and permissions."
            raise OutputError(problem, found=str(error), where=str(path)) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            problem = f"Another process has kept the score store for {_WAIT:.0f} s: wait for it, or end it."
            raise StoreError(problem, where=str(path)) from error
        raise damaged(path, str(error)) from error


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Do all of the block or nothing; one process at a time."""
    with guarding(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if connection.in_transaction:  # SQLite itself rolls back where the disk is full
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a committed batch survives a power cut
    [[application]] = connection.execute("PRAGMA application_id").fetchall()
    count_tables = "SELECT count(*) FROM sqlite_schema"
    if application or connection.execute(count_tables).fetchone() != (0,):
        return
    connection.execute("BEGIN IMMEDIATE")  # two processes may make it at once
    if connection.execute(count_tables).fetchone() == (0,):
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    [[application]] = connection.execute("PRAGMA application_id").fetchall()
    [[version]] = connection.execute("PRAGMA user_version").fetchall()
    if application != _APPLICATION:
        raise StoreError("The SQLite database is no score store: give another path.", where=str(path))
    if version != FORMAT:
        problem = f"The score store has format {version}, this program reads format {FORMAT}."
        remedy = "use the version that made it, or 'store export' there and 'store import' here"
        raise StoreError(problem, where=str(path), remedy=remedy)


def _check_file(path: Path) -> None:
    """Raise StoreError for a file that is no whole SQLite database, before SQLite writes to it."""
    if not path.is_file():
        raise StoreError("The score store is a folder, pipe or device: give a file.", where=str(path))
    try:
        with path.open("rb") as handle:
            head = handle.read(100)
            size = os.fstat(handle.fileno()).st_size
    except OSError as error:
        raise StoreError("The score store cannot be opened.", found=str(error.strerror), where=str(path)) from error
    if not head:
        return  # as sqlite3 and mktemp leave it
    if not head.startswith(_MAGIC):
        raise StoreError("The file is no score store: give another path.", found=repr(head[:16]), where=str(path))
    page = int.from_bytes(head[16:18], "big")
    whole = (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
    log = Path(f"{path}-wal")
    # During a checkpoint, and after one that was killed, the first page may count pages that are still in the log.
    in_log = log.exists() and log.stat().st_size > 0
    if len(head) < 100 or (size < whole and not in_log and path.stat().st_size < whole):
        raise damaged(path, f"{size:,} bytes of {whole:,}")


def damaged(path: Path, found: str) -> StoreError:
    """Return the error for a store that is not as it was written."""
    remedy = "restore it from a backup, with its -wal file; 'store export' saves into a new store all that can be read"
    return StoreError("The score store is damaged or cut off.", found=found, where=str(path), remedy=remedy)


class AlleleKey(NamedTuple):
    """A normalised allele: MD5 of its contig's upper-case sequence (SAM's M5), 0-based start, differing bases."""

    md5: str
    start: int
    ref: str
    alt: str

    @property
    def change(self) -> str:
        """REF and ALT bases as the store writes them."""
        return f"{self.ref}>{self.alt}"


class StoredScores(NamedTuple):
    """Scores of one allele in one gene: ``values`` in the order of the space's columns, None is missing."""

    gene: str
    status: str
    reason: str
    values: tuple[float | str | None, ...]


class ScoreStore:
    """A score store; a context manager. Many processes may read while one writes.

    Args:
        path: of the SQLite file, on a disk of this machine.
        writing: whether it may be made and written to.

    Raises:
        StoreError: not a store, damaged, cut off, of another format, or on a network file system.
        OutputError: it cannot be made.
    """

    def __init__(self, path: str | Path, *, writing: bool = True) -> None:
        self.path = Path(path)
        self._connection = connect(self.path, writing=writing)
        self._space_ids: dict[Space, int] = {}
        self._contig_ids: dict[tuple[Space, str], int] = {}
        self._gene_ids: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def __enter__(self) -> ScoreStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def select(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows; raises as ``guarding``."""
        with guarding(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def spaces(self) -> list[Space]:
        """Return every space, oldest first."""
        rows = self.select("SELECT id, score_digest, annotation_digest, columns, provenance FROM spaces ORDER BY id")
        found = []
        for number, *texts in rows:
            try:
                score, annotation, columns, provenance = map(_text, texts)
                space = Space(score, annotation, tuple(map(_text, json.loads(columns))), json.loads(provenance))
                "".join(map(_text, (*space.provenance, *space.provenance.values())))
            except (ValueError, TypeError, AttributeError) as error:
                raise damaged(self.path, f"space {number} that is not as it was written") from error
            self._space_ids[space] = number
            found.append(space)
        return found

    def find(self, space: Space, keys: Sequence[AlleleKey]) -> list[list[StoredScores]]:
        """Return what is stored of each allele, one entry per gene; nothing where it is unknown.

        Fast where alleles are sorted by position.
        """
        found: list[list[StoredScores]] = [[] for _ in keys]
        if self._space_id(space) is None:
            return found
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for md5, group in groupby(order, key=lambda i: keys[i].md5):
            contig = self._contig_id(space, md5)
            if contig is None:
                continue
            of_contig = list(group)
            for first in range(0, len(of_contig), _BLOCK):
                self._find_block(contig, of_contig[first : first + _BLOCK], keys, space, found)
        return found

    def add(
        self, space: Space, rows: Iterable[tuple[AlleleKey, Sequence[StoredScores]]], contigs: dict[str, str]
    ) -> int:
        """Store scores, all of them or none; an allele that is there keeps its values. Returns how many were new.

        Args:
            space: made when it is new.
            rows: alleles, and for each all genes.
            contigs: name of each MD5 that occurs, for people.

        Raises:
            StoreError: an allele is there with another value.
            OutputError: disk full and the like; nothing of it is stored.
        """
        given = list(rows)
        if not given:
            return 0
        try:
            with transaction(self._connection, self.path):
                self._space_ids.clear()  # another process may have pruned
                self._contig_ids.clear()
                self._make_space(space)
                known = self.find(space, [key for key, _ in given])
                new = []
                for (key, scores), old in zip(given, known, strict=True):
                    by_gene = {one.gene: one for one in old}
                    for one in scores:
                        if len(one.values) != len(space.columns):
                            raise ValueError(f"{len(one.values)} values for {len(space.columns)} columns")
                        there = by_gene.get(one.gene)
                        if there is None:
                            new.append(self._encoded(self._made_contig(space, key.md5, contigs), key, one))
                        elif not _agree(there, one, space.tolerance):
                            raise self._another_value(space, key, contigs, there, one)
                self._connection.executemany("INSERT INTO scores VALUES (?, ?, ?, ?, ?, ?, ?, ?)", new)
        except BaseException:  # what was looked up inside may not be there any more
            self._space_ids.clear()
            self._contig_ids.clear()
            self._gene_ids.clear()
            self._names.clear()
            raise
        return len(new)

    def rows(self, space: Space) -> Iterator[tuple[str, AlleleKey, StoredScores]]:
        """Yield all of a space: contig name, allele and scores, by contig and position."""
        for contig, md5, name in self._contigs(space):
            last: tuple[int, str, int] = (-1, "", -1)
            while block := self.select(
                "SELECT start, change, gene, status, reason, data, seal, 0 FROM scores WHERE contig = ? "
                "AND (start, change, gene) > (?, ?, ?) ORDER BY start, change, gene LIMIT ?",
                (contig, *last, _BLOCK),
            ):
                values = self._decoded(contig, block, space)
                if block[0][:3] <= last:
                    raise damaged(self.path, f"a row at {block[0][0]} (0-based) in the wrong place")
                last = block[-1][:3]
                for (start, change, gene, status, reason, *_), row in zip(block, values, strict=True):
                    ref, _, alt = change.partition(">")
                    scores = StoredScores(self._gene(gene), status, reason or "", row)
                    yield name, AlleleKey(md5, start, ref, alt), scores

    def count(self, space: Space) -> int:
        """Return how many rows a space has."""
        [[count]] = self.select(
            "SELECT count(*) FROM scores WHERE contig IN (SELECT id FROM contigs WHERE space = ?)",
            (self._space_id(space),),
        )
        return int(count)

    def contigs(self, space: Space) -> dict[str, str]:
        """Return the name of each contig of a space by its MD5."""
        return {md5: name for _, md5, name in self._contigs(space)}

    def remove(self, spaces: Iterable[Space]) -> int:
        """Remove whole spaces and give their room back; returns how many rows went."""
        removed = 0
        with transaction(self._connection, self.path):
            for space in spaces:
                number = self._space_id(space)
                cursor = self._connection.execute(
                    "DELETE FROM scores WHERE contig IN (SELECT id FROM contigs WHERE space = ?)", (number,)
                )
                removed += cursor.rowcount
                self._connection.execute("DELETE FROM contigs WHERE space = ?", (number,))
                self._connection.execute("DELETE FROM spaces WHERE id = ?", (number,))
        self._space_ids.clear()
        self._contig_ids.clear()
        self.select("VACUUM")
        self.select("PRAGMA wal_checkpoint(TRUNCATE)")
        return removed

    def sample(self, space: Space, md5s: Sequence[str], count: int, random: Random) -> list[AlleleKey]:
        """Return up to ``count`` alleles of some contigs of a space, at random positions, sorted.

        Every contig counts by the number of its rows; along it positions are drawn evenly.
        """
        spans = []
        for md5 in md5s:
            contig = self._contig_id(space, md5)
            [[rows, low, high]] = self.select(
                "SELECT count(*), min(start), max(start) FROM scores WHERE contig = ?", (contig,)
            )
            if rows:
                spans.append((md5, contig, rows, low, high))
        found: set[AlleleKey] = set()
        weights = [rows for _, _, rows, _, _ in spans]
        for md5, contig, _, low, high in random.choices(spans, weights, k=count) if spans else ():
            near = self.select(
                "SELECT DISTINCT start, change FROM scores WHERE contig = ? AND start >= ? ORDER BY start LIMIT 16",
                (contig, random.randint(low, high)),
            )
            start, change = random.choice([row for row in near if row[0] == near[0][0]])
            ref, _, alt = change.partition(">")
            found.add(AlleleKey(md5, start, ref, alt))
        return sorted(found)

    def check(self) -> list[str]:
        """Read the whole file; return what is wrong with it, or raise StoreError."""
        told = [str(row[0]) for row in self.select("PRAGMA integrity_check")]
        for space in self.spaces():
            for _ in self.rows(space):  # the seal of every row
                pass
        return [] if told == ["ok"] else told

    def _find_block(
        self, contig: int, block: Sequence[int], keys: Sequence[AlleleKey], space: Space,
        found: list[list[StoredScores]],
    ) -> None:  # fmt: skip
        asked = [(keys[i].start, keys[i].change) for i in block]
        rows = self.select(_lookup(len(block)), (*chain.from_iterable(asked), contig))
        decoded, names = self._decoded(contig, rows, space), self._names
        for (start, change, gene, status, reason, _, _, i), row in zip(rows, decoded, strict=True):
            if (start, change) != asked[i]:  # a flipped bit in an inner page
                raise damaged(self.path, f"a row at {start} {change} (0-based) in the wrong place")
            name = names.get(gene) or self._gene(gene)
            found[block[i]].append(StoredScores(name, status, reason or "", row))

    def _encoded(self, contig: int, key: AlleleKey, one: StoredScores) -> tuple[object, ...]:
        values = one.values if any(value is not None for value in one.values) else ()
        numbers = [
            math.nan if value is None else float(self._made_gene(value)) if isinstance(value, str) else value
            for value in values
        ]
        data = np.array(numbers, "<f8").tobytes()
        reason, change = one.reason or None, key.change
        gene = self._made_gene(one.gene)
        # SQLite has no check sums of its own, and a flipped bit would be a wrong number that looks right.
        seal = crc32(data, crc32(f"{contig} {key.start} {change} {gene} {one.status} {reason}".encode()))
        return contig, key.start, change, gene, one.status, reason, data, seal

    def _decoded(
        self, contig: int, rows: Sequence[tuple[Any, ...]], space: Space
    ) -> list[tuple[float | str | None, ...]]:
        """Return the values of rows (start, change, gene, status, reason, data, seal, i); all missing where no data."""
        columns = len(space.columns)
        none, whole = (None,) * columns, 8 * columns
        texts = [i for i, column in enumerate(space.columns) if is_text(column)]
        for start, change, gene, status, reason, data, seal, _ in rows:
            if (
                not isinstance(data, bytes)
                or len(data) not in (0, whole)
                or crc32(data, crc32(f"{contig} {start} {change} {gene} {status} {reason}".encode())) != seal
            ):
                raise damaged(self.path, f"a row at {start} {change} (0-based) that is not as it was written")
        values = np.frombuffer(b"".join([row[5] for row in rows]), "<f8").reshape(-1, columns)
        missing = np.isnan(values)
        spelled = values.astype(object)
        for i in texts:
            there = np.flatnonzero(~missing[:, i])
            numbers = values[there, i].astype(np.int64).tolist()
            self._know_names(set(numbers))
            spelled[there, i] = [self._names[number] for number in numbers]
        spelled[missing] = None
        each = iter(spelled.tolist())
        return [tuple(next(each)) if row[5] else none for row in rows]

    def _space_id(self, space: Space) -> int | None:
        if space not in self._space_ids:
            self.spaces()
        return self._space_ids.get(space)

    def _make_space(self, space: Space) -> None:
        if self._space_id(space) is None:
            columns, provenance = json.dumps(space.columns), json.dumps(dict(space.provenance))
            self._connection.execute(
                "INSERT INTO spaces (score_digest, annotation_digest, columns, provenance) VALUES (?, ?, ?, ?)",
                (space.score_digest, space.annotation_digest, columns, provenance),
            )

    def _contigs(self, space: Space) -> list[tuple[int, str, str]]:
        """Return id, MD5 and name of each contig of a space."""
        rows = self.select("SELECT id, md5, name FROM contigs WHERE space = ? ORDER BY name", (self._space_id(space),))
        for number, *texts in rows:
            if not all(isinstance(text, str) for text in texts) or not _proves(number, *_words(space, texts[0])):
                raise damaged(self.path, f"contig {texts} that is not as it was written")
        return rows

    def _contig_id(self, space: Space, md5: str) -> int | None:
        if (space, md5) not in self._contig_ids:
            self._contig_ids.update({(space, there): number for number, there, _ in self._contigs(space)})
        return self._contig_ids.get((space, md5))

    def _made_contig(self, space: Space, md5: str, names: dict[str, str]) -> int:
        number = self._contig_id(space, md5)
        if number is None:
            number = self._contig_ids[space, md5] = _content_id(*_words(space, md5))
            self._connection.execute(
                "INSERT INTO contigs VALUES (?, ?, ?, ?)", (number, self._space_id(space), md5, names[md5])
            )
        return number

    def _gene(self, number: int) -> str:
        self._know_names({number})
        return self._names[number]

    def _know_names(self, numbers: Set[int]) -> None:
        """Read the names of genes, and words of scores, that are not at hand; raises StoreError for a damaged one."""
        if len(self._names) > _NAMES_KEPT:
            self._names.clear()
        unknown = sorted(number for number in numbers if number not in self._names)
        for first in range(0, len(unknown), _BLOCK):
            asked = unknown[first : first + _BLOCK]
            found = dict(self.select(f"SELECT id, name FROM genes WHERE id IN ({','.join('?' * len(asked))})", asked))
            for number in asked:
                name = found.get(number)
                if not isinstance(name, str) or not _proves(number, name):
                    raise damaged(self.path, f"gene {name} that is not as it was written")
            self._names.update(found)

    def _made_gene(self, name: str) -> int:
        if len(self._gene_ids) > _NAMES_KEPT:
            self._gene_ids.clear()
        if name not in self._gene_ids:
            row = self._connection.execute("SELECT id FROM genes WHERE name = ?", (name,)).fetchone()
            number = row[0] if row else _content_id(name)
            if not row:
                self._connection.execute("INSERT INTO genes VALUES (?, ?)", (number, name))
            elif not _proves(number, name):
                raise damaged(self.path, f"gene {name} that is not as it was written")
            self._gene_ids[name] = number
        return self._gene_ids[name]

    def _another_value(
        self, space: Space, key: AlleleKey, contigs: dict[str, str], old: StoredScores, new: StoredScores
    ) -> StoreError:
        def told(one: StoredScores) -> str:
            names = [column.partition("=")[0] for column in space.columns]
            shown = [(n, v) for n, v in zip(names, one.values, strict=True) if v is not None]
            values = ", ".join(f"{n} {v if isinstance(v, str) else f'{v:.6g}'}" for n, v in shown)
            return f"{one.status} {values}".strip()

        return StoreError(
            "The score store holds another value for an allele: 'store verify' compares it with this installation.",
            needed=f"{told(old)}, within {space.tolerance:g}",
            found=told(new),
            where=f"{contigs.get(key.md5, key.md5)}:{key.start + 1} {key.change} in {new.gene}, store {self.path}",
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _words(space: Space, md5: str) -> tuple[str, ...]:
    return (space.score_digest, space.annotation_digest, *space.columns, md5)


def _content_id(*words: str) -> int:
    """Return an id that is a digest of what it stands for.

    Seals of rows cover the ids of contig and gene: a flipped bit in a name cannot lend the scores to another.
    """
    return _PROVEN | int.from_bytes(sha256("\n".join(words).encode()).digest()[:6]) >> 2


def _proves(number: int, *words: str) -> bool:
    return number < _PROVEN or number == _content_id(*words)


@lru_cache(maxsize=_BLOCK)
def _lookup(count: int) -> str:
    """Return the statement that looks up so many alleles of a contig."""
    asked = ",".join(f"({i},?,?)" for i in range(count))
    return (
        f"WITH asked(i, start, change) AS (VALUES {asked}) "
        "SELECT s.start, s.change, gene, status, reason, data, seal, i FROM asked CROSS JOIN scores s "
        "WHERE s.contig = ? AND s.start = asked.start AND s.change = asked.change"
    )


def _agree(one: StoredScores, other: StoredScores, tolerance: float) -> bool:
    if one.status != other.status:
        return False
    return all(
        a == b or (isinstance(a, int | float) and isinstance(b, int | float) and abs(a - b) <= tolerance)
        for a, b in zip(one.values, other.values, strict=True)
    )

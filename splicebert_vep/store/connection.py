"""Open the SQLite file of a store: on a local disk, ours, whole, and in write-ahead mode."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from splicebert_vep.errors import OutputError, StoreError

FORMAT = 1
_APPLICATION = 0x53424550  # "SBEP"
_MAGIC = b"SQLite format 3\x00"
_HEADER = 100  # bytes
_WAIT = 300.0  # seconds for another writer
_CACHE = 65536  # KiB; the inner pages of a store of many millions of rows stay in it
# AUTOINCREMENT: an id that a process remembers is never given to another space or contig after a prune.
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
#: File systems on which processes of several machines would share the file, which write-ahead mode does not survive.
_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "fhgfs",
    "pvfs2", "orangefs", "panfs", "davfs", "webdav", "afpfs", "fuse.sshfs", "fuse.ceph", "fuse.glusterfs",
    "fuse.s3fs", "fuse.rclone", "fuse.gcsfuse", "fuse.davfs2", "fuse.juicefs", "fuse.mount-s3",
}  # fmt: skip
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}


def connect(path: Path, *, writing: bool) -> sqlite3.Connection:
    """Open a store; one that is not there is made when ``writing``.

    Raises:
        StoreError: on a network file system, not there, not a store, of a newer format, or cut off.
        OutputError: it cannot be made.
    """
    _refuse_network(path)
    new = not path.exists()
    if not new:
        _check_file(path)
    elif not writing:
        raise StoreError(
            "The score store is not there.",
            needed="a store that 'annotate --store', 'cohort' or 'store import' has made",
            where=str(path),
            remedy="check the path",
        )
    with guarding(path):
        mode = "rwc" if writing else "ro"
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_WAIT, isolation_level=None,
            check_same_thread=False,
        )  # fmt: skip
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


@contextmanager
def guarding(path: Path) -> Iterator[None]:
    """Tell what SQLite met in this program's words.

    Raises:
        OutputError: disk full, not permitted.
        StoreError: damaged, or another process keeps it.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _FULL:
            raise OutputError(
                "The score store could not be written.",
                needed="a folder with enough room that may be written to",
                found=str(error),
                where=str(path),
                remedy="look after folder, permissions and disk space, then run it again; what was stored is safe",
            ) from error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(
                "Another process keeps the score store.",
                needed=f"a turn within {_WAIT:.0f} s",
                found=str(error),
                where=str(path),
                remedy="wait for it, or end it",
            ) from error
        raise damaged(path, str(error)) from error


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Do all of the block or nothing; one process at a time."""
    with guarding(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if connection.in_transaction:  # SQLite itself goes back where the disk is full
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 8192")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # a unit that was committed is there after a power cut
    [[application]] = connection.execute("PRAGMA application_id").fetchall()
    [[tables]] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    if application or tables:
        return
    connection.execute("BEGIN IMMEDIATE")  # two processes may make it at once
    [[tables]] = connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    if not tables:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    [[application]] = connection.execute("PRAGMA application_id").fetchall()
    [[version]] = connection.execute("PRAGMA user_version").fetchall()
    if application != _APPLICATION:
        raise StoreError(
            "The file is an SQLite database, but no score store.", where=str(path), remedy="give another path"
        )
    if version != FORMAT:
        raise StoreError(
            "The score store has another format.",
            needed=f"format {FORMAT}",
            found=f"format {version}",
            where=str(path),
            remedy="use the version of splicebert-vep that made it, or 'store export' there and 'store import' here",
        )


def _check_file(path: Path) -> None:
    """Raise for what is no whole SQLite file, before SQLite writes to it."""
    if path.is_dir():
        raise StoreError("The score store is a folder.", needed="a file", where=str(path))
    try:
        with path.open("rb") as handle:
            head = handle.read(_HEADER)
            size = os.fstat(handle.fileno()).st_size
    except OSError as error:
        raise StoreError("The score store cannot be opened.", found=str(error.strerror), where=str(path)) from error
    if not head:
        return  # as sqlite3 and mktemp leave it
    if not head.startswith(_MAGIC):
        raise StoreError(
            "The file is no score store.",
            needed="a file made by 'annotate --store', 'cohort' or 'store import'",
            found=f"a file that begins with {head[:16]!r}",
            where=str(path),
            remedy="give another path",
        )
    page = int.from_bytes(head[16:18], "big") or 1
    page = 65536 if page == 1 else page
    pages = int.from_bytes(head[28:32], "big")
    if len(head) < _HEADER:
        raise damaged(path, f"{size:,} bytes")
    # While a checkpoint is under way, or was killed, the first page may count pages that are still in the log.
    if size < page * pages and not _has_log(path) and path.stat().st_size < page * pages:
        raise damaged(path, f"{size:,} bytes of {page * pages:,}")


def _has_log(path: Path) -> bool:
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def damaged(path: Path, found: str) -> StoreError:
    """Return the error for a store that is not as it was written."""
    return StoreError(
        "The score store is damaged or cut off.",
        needed="the whole file, with the -wal file beside it if there is one",
        found=found,
        where=str(path),
        remedy="copy it again from a backup; what 'store export' still reads of it can be imported into a new one",
    )


def _refuse_network(path: Path) -> None:
    folder = Path(os.path.realpath(path)).parent
    if not folder.is_dir():
        raise OutputError("The folder of the score store is not there.", where=str(folder), remedy="make it")
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}  # the last mount counts
    kind = next((mounts[parent] for parent in (folder, *folder.parents) if parent in mounts), "")
    if kind.lower() in _NETWORK:
        raise StoreError(
            "The score store would lie on a network file system, where it can be damaged.",
            needed="a disk of this machine",
            found=kind,
            where=str(path),
            remedy="give --store a local path; machines share work by 'cohort plan', 'work' and 'merge' without it",
        )

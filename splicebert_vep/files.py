"""Where files go: the per-user cache, and outputs that appear whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import OutputError, SettingsError


def cache_root() -> Path:
    """Return the per-user cache folder (``SPLICEBERT_VEP_CACHE``, else the XDG cache); it may not exist yet.

    Raises:
        SettingsError: no variable says where, and the user has no home folder.
    """
    if chosen := os.environ.get("SPLICEBERT_VEP_CACHE"):
        return Path(chosen).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    # The XDG base directory specification has relative paths ignored.
    if shared and os.path.isabs(shared):
        return Path(shared) / "splicebert-vep"
    try:
        return Path.home() / ".cache" / "splicebert-vep"
    except RuntimeError as error:  # a user without HOME and without an entry in the password database
        raise SettingsError("There is no home folder for the cache.", remedy="set SPLICEBERT_VEP_CACHE") from error


def temporary_name(final: Path) -> Path:
    """Return a name in the folder of ``final`` that nobody else uses, so that a rename is atomic."""
    return final.with_name(f".{final.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an output goes."""

    name: str  # as the user gave it, for messages
    final: Path | None  # the file, symbolic links followed; a pipe or device as given; None for stdout
    temporary: Path | None  # where a file is written until it is whole; None for what is written directly

    @property
    def path(self) -> Path | None:
        """The path to open for writing; None is stdout."""
        return self.temporary or self.final

    def claim(self) -> Path:
        """Return the path to write, locked while this process lives; remove what killed processes left beside it."""
        assert self.final is not None
        if self.temporary is None:
            return self.final
        _claim(self.temporary, self.final)
        return self.temporary

    def sync(self) -> None:
        """Have the system put a file's last bytes on the disk."""
        if self.temporary is not None:
            with self.temporary.open("rb+") as handle:
                os.fsync(handle.fileno())

    def publish(self) -> None:
        """Put the whole file under its final name."""
        if self.temporary is not None and self.final is not None:
            with reporting(self.name):
                os.replace(self.temporary, self.final)
            self.release()

    def release(self) -> None:
        """Let go of the temporary name, whose file has another one now or is gone."""
        if self.temporary in _CLAIMED:
            os.close(_CLAIMED.pop(self.temporary))

    def discard(self) -> None:
        """Remove what was written under the temporary name."""
        if self.temporary is not None:
            with suppress(OSError):  # nothing is there, or whoever wrote it has met and told the same error
                self.temporary.unlink()
            self.release()


_CLAIMED: dict[Path, int] = {}  # temporary file -> descriptor that holds its lock
_INDEX_AGE = 60  # seconds for which an index may stand without the temporary file that was just renamed


def _claim(temporary: Path, final: Path) -> None:
    """Make and lock a temporary file: the system unlocks it however this process ends, and the next run removes it."""
    with suppress(OSError):  # who opens the file meets the same error and reports it
        name = re.compile(rf"(\.{re.escape(final.name)}\.\d+-[0-9a-f]{{8}}\.tmp)(.*)")
        used: dict[str, bool] = {}
        # A temporary file before its indexes; a cohort's folder has thousands of other names.
        beside = sorted(one for one in os.listdir(final.parent) if one.startswith(f".{final.name}."))
        for match in filter(None, map(name.fullmatch, beside)):
            left = final.with_name(match[0])
            if match[1] not in used:
                used[match[1]] = _in_use(left.with_name(match[1]), left)
            if not used[match[1]]:
                left.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT, 0o666)
        _CLAIMED[temporary] = handle
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _in_use(temporary: Path, left: Path) -> bool:
    """Tell whether a process writes a temporary file; ``left`` is the file or an index beside it."""
    if temporary in _CLAIMED:
        return True
    try:
        handle = os.open(temporary, os.O_RDWR)
    except FileNotFoundError:
        return time.time() - left.stat().st_mtime < _INDEX_AGE
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or the file system has no locks
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Keep a folder to this process, however the process ends; it is made where it is not there.

    SettingsError if another process holds the file ``lock`` in it; ``doing`` is for the message.
    """
    with reporting(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / "lock").open("w", encoding="utf-8")
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            remedy = "wait for it, or end it; the same command then goes on where it was"
            raise SettingsError(f"Another process is {doing} in folder {folder}.", remedy=remedy) from error
        yield


def remove_left_over(folder: Path) -> None:
    """Remove what a process left that was killed while it wrote; nobody else may be writing in the folder."""
    for left in folder.glob(".*.tmp*"):
        left.unlink(missing_ok=True)


def is_stdout(path: str) -> bool:
    """Tell whether a path is the program's stdout; by the other names it would be opened, and cut, a second time."""
    return path in ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


def destination(path: str | Path) -> Destination:
    """Tell where an output path leads; ``-`` is stdout; OutputError if it is a folder."""
    name = str(path)
    if is_stdout(name):
        return Destination("<stdout>", None, None)
    if os.path.isdir(name):
        raise OutputError("The output path is a folder.", where=name, remedy="give a file name")
    if os.path.exists(name) and not os.path.isfile(name) or name.startswith(("/dev/", "/proc/")):
        return Destination(name, Path(name), None)  # /dev/fd/63 of a shell's >(...) has no real path to rename to
    final = Path(os.path.realpath(name))
    return Destination(name, final, temporary_name(final))


def check_place(path: str | Path) -> None:
    """See that a file can be made where an output goes, before hours are spent on what it is to hold."""
    to = destination(path)
    if to.temporary is not None:
        with reporting(to.name):
            to.temporary.touch()
            to.discard()


@contextmanager
def whole_or_not(path: str | Path) -> Iterator[Path]:
    """Give a path to write; a file gets its final name on success and leaves nothing on any failure."""
    to = destination(path)
    if to.path is None:
        raise OutputError("This output cannot go to stdout.", remedy="give a file name")
    try:
        with reporting(to.name):
            yield to.claim()
            to.sync()
        to.publish()
    finally:
        to.discard()


@contextmanager
def reporting(where: Path | str) -> Iterator[None]:
    """Turn OSError into OutputError about an output; a closed pipe (BrokenPipeError) passes as it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        found, remedy = error.strerror or str(error), "check folder, permissions and disk space, or give another path"
        raise OutputError("The output could not be written.", found=found, where=str(where), remedy=remedy) from error


class Output:
    """An output of a run: ``finish`` completes it, ``publish_all`` gives it its name, ``abort`` removes what has none.

    All outputs of a run are finished before the first is published, so that an output that fails leaves none behind.
    """

    def __init__(self, path: str | Path) -> None:
        self.to = destination(path)
        self.name = self.to.name

    def finish(self) -> None:
        """Write the last bytes to the disk; the file is whole then, under its temporary name."""
        with reporting(self.name):
            self.to.sync()

    def renames(self) -> list[tuple[Path | None, Path]]:
        """Return what publishing does: a file and its final name, or None and the name of a file that goes away."""
        if self.to.temporary is None or self.to.final is None:
            return []  # a pipe or a device has all of it already
        return [(self.to.temporary, self.to.final)]

    def abort(self) -> None:
        """Remove what is not published."""
        self.to.discard()


class ByteOutput(Output):
    """Bytes on their way to a file, a pipe or stdout, without a buffer that could fail again at exit."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        if self.to.path is None:
            sys.stdout.flush()
            buffer: Any = sys.stdout.buffer
            self._raw: Any = getattr(buffer, "raw", buffer)
        else:
            with reporting(self.name):
                self._raw = io.FileIO(self.to.claim(), "w")

    def write_bytes(self, data: bytes) -> None:
        """Write all bytes; OutputError for a full disk and the like, BrokenPipeError if a pipe's reader has gone."""
        view = memoryview(data)
        with reporting(self.name):
            while view:
                view = view[self._raw.write(view) or 0 :]

    def finish(self) -> None:
        """Write the last bytes to the disk and close; raises as ``write_bytes``."""
        with reporting(self.name):
            self._raw.flush()
            if self.to.temporary is not None:
                os.fsync(self._raw.fileno())
            if self.to.path is not None:
                self._raw.close()

    def abort(self) -> None:
        """Close, and remove what is not published."""
        if self.to.path is not None:
            with suppress(OSError):  # the disk may be what failed, and that error is on its way to the user
                self._raw.close()
        super().abort()


def publish_all(outputs: Sequence[Output]) -> None:
    """Give the files of finished outputs their final names: all of them or, where one cannot be renamed, none.

    Files that had the names before come back then; a process that is killed between two renames leaves the first.

    Raises:
        OutputError: a file could not be renamed. It names the files that the file system, without hard links, could
            not bring back.
    """
    done: list[tuple[Path, Path, bool]] = []  # a final name, another name of the file that had it, whether one had it
    links: list[Path] = []
    try:
        for output in outputs:
            with reporting(output.name):
                for temporary, final in output.renames():
                    had, before = final.exists(), temporary_name(final)
                    links.append(before)
                    with suppress(OSError):
                        os.link(final, before)
                    if temporary is None:
                        final.unlink(missing_ok=True)
                    else:
                        os.replace(temporary, final)
                    done.append((final, before, had))
    except OutputError as error:
        if replaced := _undone(done):
            error.found += f"; replaced already: {', '.join(replaced)}"
        raise
    except BaseException:
        _undone(done)
        raise
    finally:
        for before in links:
            before.unlink(missing_ok=True)
    for output in outputs:
        output.to.release()


def _undone(done: Sequence[tuple[Path, Path, bool]]) -> list[str]:
    """Put back the files that had final names before; return the names where that failed."""
    failed = []
    for final, before, had in reversed(done):
        try:
            if had:
                os.replace(before, final)
            else:
                final.unlink(missing_ok=True)
        except OSError:
            failed.append(str(final))
    return failed


_BESIDE = (".tbi", ".csi", ".fai", ".gzi", "-wal", "-shm")  # indexes, and the parts of an open store


def check_outputs(
    outputs: Iterable[str | Path], inputs: Iterable[str | Path] = (), folders: Iterable[str | Path] = ()
) -> None:
    """See that no output replaces an input, another output, or a file that belongs to either; ``-`` is stdout.

    Args:
        folders: of models; every file in them is an input.

    Raises:
        SettingsError: an output would.
    """
    outputs = list(outputs)
    real = ["-" if is_stdout(str(path)) else os.path.realpath(path) for path in outputs]
    read = [os.path.realpath(path) for path in inputs if str(path) != "-"]
    twice = next((path for path in real if real.count(path) > 1), None)
    if twice is not None:
        raise SettingsError("Two outputs would go to the same place.", found=twice, remedy="give each its own file")
    within = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in folders)
    for path in real:
        in_model = path.startswith(within) and os.path.exists(path)
        if in_model or path in read or path in (f"{file}{suffix}" for file in (*read, *real) for suffix in _BESIDE):
            problem = "An output would replace an input, an index of a file or a part of a model."
            raise SettingsError(problem, found=path, remedy="give the output another name")


def open_regular(path: str | Path) -> BinaryIO:
    """Open a file to read that is no pipe, device or folder, which may never end or never begin.

    Raises:
        OSError: it is not there, or no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # or a pipe waits for its writer
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "no regular file, but a pipe, device or folder", str(path))
    return os.fdopen(handle, "rb")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in lower-case hex, without holding the file in memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Where files go: the per-user cache, and files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


def cache_root() -> Path:
    """Return the per-user cache folder (``SPLICEBERT_VEP_CACHE``, else the XDG cache); it may not exist yet."""
    if chosen := os.environ.get("SPLICEBERT_VEP_CACHE"):
        return Path(chosen).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    # The XDG base directory specification has relative paths ignored.
    base = Path(shared) if shared and os.path.isabs(shared) else Path.home() / ".cache"
    return base / "splicebert-vep"


def temporary_name(final: Path) -> Path:
    """Return a name in the folder of ``final`` that no other process uses, so that a rename is atomic."""
    return final.with_name(f".{final.name}.{os.getpid()}.tmp")


@contextmanager
def whole_or_not(final: Path) -> Iterator[Path]:
    """Give a temporary path to write; rename it to ``final`` on success, remove it on any failure.

    Raises:
        OutputError: the disk is full, the folder is missing or not writable.
    """
    temporary = temporary_name(final)
    try:
        with reporting(final):
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reporting(where: Path | str) -> Iterator[None]:
    """Turn OSError into OutputError about an output; a closed pipe (BrokenPipeError) passes as it is.

    Raises:
        OutputError: disk full, quota, no such folder, not permitted.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            "The output could not be written; nothing was left under its final name.",
            needed="a place with enough room that may be written to",
            found=error.strerror or str(error),
            where=str(where),
            remedy="free disk space or give another path, then run the same command again",
        ) from error

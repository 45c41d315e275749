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
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, final)
    except OSError as error:
        raise cannot_write(final, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(path: Path | str, error: OSError) -> OutputError:
    """Return the error for a file that could not be written whole."""
    return OutputError(
        "The output could not be written; nothing was left under its final name.",
        found=f"{error.strerror or error}",
        where=str(path),
        remedy="free disk space or choose another folder, then run the same command again",
    )

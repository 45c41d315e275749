"""Pull a known model into the cache: whole, proven and at once, or not at all."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from splicebert_vep.errors import DownloadError, ModelError
from splicebert_vep.model.checkpoint import load_checkpoint, sha256_of
from splicebert_vep.model.registry import (
    KnownModel,
    PullRecord,
    check_known,
    find_model,
    model_folder,
    read_record,
    write_record,
)

Progress = Callable[[str, int, "int | None"], None]
"""Called now and then with the file's name, the bytes so far and, where the server tells, the bytes in all."""

_CHUNK = 1 << 20  # bytes
_TIMEOUT = 60.0  # seconds without a byte
_SCHEMES = ("https", "http", "file")


def pull(
    name: str,
    *,
    cache: Path,
    base_url: str | None = None,
    sha256: str | None = None,
    unverified: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Download a model into ``cache`` and return its folder; the bundled one has nothing to download.

    A model that is there already, with the wanted checksum, is not downloaded again. Everything happens in a
    temporary folder of the cache, which goes away whatever happens; the last step is a rename.

    Args:
        base_url: a mirror: the folder below which the files lie under their usual names.
        sha256: the weights file's, in hex. Needed where this program does not know it, unless ``unverified``.
        unverified: take weights that nothing can be held against; ``pulled.json`` keeps that on record.

    Raises:
        ModelError: no model has that name.
        DownloadError: no checksum to go by, the server or the disk failed, or what came is not the model.
    """
    model = find_model(name)
    target = model_folder(model, cache)
    if model.base_url is None:
        return target
    wanted = _wanted_checksum(model, sha256, unverified)
    if _is_there(target, model, wanted):
        return target
    url = (base_url or model.base_url).rstrip("/") + "/"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=cache) as scratch:
            folder = Path(scratch) / "new"
            folder.mkdir()
            if model.archive is not None:
                archive = Path(scratch) / "archive"
                _fetch(url + model.archive, archive, progress)
                _extract(archive, model, folder, url + model.archive)
            else:
                for file in (*model.other_files, model.weights_file):
                    _fetch(url + file, folder / file, progress)
            found = _check_weights(folder / model.weights_file, model, wanted, url)
            _prove(folder, model, url)
            date = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            taken = url + (model.archive or model.weights_file)
            verified = wanted is not None
            write_record(folder, PullRecord(name, taken, date, model.weights_file, found, verified))
            _swap_in(folder, target, Path(scratch) / "old")
    except OSError as error:  # the network's own are turned into DownloadError where they arise
        raise DownloadError(
            f"The model {name} could not be written to the cache.",
            needed="a folder with room that can be written to",
            found=str(error),
            where=str(cache),
            remedy="make room, or set SPLICEBERT_VEP_CACHE to another folder",
        ) from error
    return target


def _wanted_checksum(model: KnownModel, given: str | None, unverified: bool) -> str | None:
    if given is not None:
        given = given.strip().lower()
        if len(given) != 64 or set(given) - set("0123456789abcdef"):
            raise DownloadError("The given SHA-256 is none.", needed="64 hex digits", found=given, remedy="check it")
        if model.sha256 is not None and given != model.sha256:
            raise DownloadError(
                f"The given SHA-256 is not that of {model.name}.",
                needed=model.sha256,
                found=given,
                remedy="leave the checksum out; this program knows it",
            )
        return given
    if model.sha256 is None and not unverified:
        raise DownloadError(
            f"The checksum of {model.name} is not known to this program.",
            needed=f"the SHA-256 of its {model.weights_file} from a source you trust",
            found="none",
            where=model.source,
            remedy=f"splicebert-vep models pull {model.name} --sha256 HEX, or --unverified to take what comes",
        )
    return model.sha256


def _is_there(target: Path, model: KnownModel, wanted: str | None) -> bool:
    """True when an earlier pull left these very weights, held against a checksum if one is wanted now."""
    try:
        record = read_record(target)
        found = sha256_of(target / model.weights_file)
    except (OSError, ModelError):
        return False
    if record is None or found != record.sha256:
        return False
    return wanted is None or (record.verified and found == wanted)


def _fetch(url: str, file: Path, progress: Progress | None) -> None:
    """Stream a URL to a file, and check that all of it came."""
    if urllib.parse.urlsplit(url).scheme not in _SCHEMES:
        raise DownloadError(
            "The address cannot be downloaded from.",
            needed=" or ".join(f"{scheme}://" for scheme in _SCHEMES),
            found=url,
            remedy="give the folder's address in full",
        )
    request = urllib.request.Request(url, headers={"User-Agent": "splicebert-vep"})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: the address itself is malformed
        _network_failed(url, error)
    name = PurePosixPath(urllib.parse.urlsplit(url).path).name
    with response, file.open("wb") as out:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
        _need_room(file.parent, total or 0)
        done = 0
        while chunk := _read(response, url):
            out.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(name, done, total)
    if total is not None and done != total:
        raise DownloadError(
            f"The download of {name} broke off.",
            needed=f"{total} bytes",
            found=f"{done} bytes",
            where=url,
            remedy="try again; nothing was kept",
        )


def _read(response: IO[bytes], url: str) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        _network_failed(url, error)


def _network_failed(url: str, error: Exception) -> NoReturn:
    if isinstance(error, urllib.error.HTTPError):
        error.close()  # it holds the connection
        found = f"HTTP {error.code} {error.reason}"
    else:
        found = str(getattr(error, "reason", None) or error) or type(error).__name__
    raise DownloadError(
        "The server did not give the file.",
        needed="a whole answer",
        found=found,
        where=url,
        remedy="check the connection and the address, or name a mirror with --url",
    ) from error


def _need_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise DownloadError(
            "There is not enough room on the disk.",
            needed=f"{size} bytes",
            found=f"{free} bytes free",
            where=str(folder.parent.parent if folder.name == "new" else folder.parent),
            remedy="make room, or set SPLICEBERT_VEP_CACHE to a folder on another disk",
        )


def _extract(archive: Path, model: KnownModel, folder: Path, url: str) -> None:
    """Copy the wanted files out of the archive, wherever in it the folder of the model's name lies.

    No path of the archive is ever used on disk: a file is written under the name that we asked for.
    """
    wanted = {model.weights_file, *model.other_files}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if path.parent.name != model.name or path.name not in wanted:
                    continue
                source = tar.extractfile(member) if member.isreg() else None
                if source is None or path.is_absolute() or ".." in path.parts:
                    raise DownloadError(
                        "The archive is not safe to unpack.",
                        needed="plain files below the archive's own folder",
                        found=f"{member.name}, a link or a path that leads out of it",
                        where=url,
                        remedy="do not use this archive; get it from " + model.source,
                    )
                _need_room(folder, member.size)
                with source, (folder / path.name).open("wb") as out:
                    shutil.copyfileobj(source, out, _CHUNK)
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DownloadError(
            "The archive is damaged.",
            needed="a whole .tar.gz",
            found=str(error) or type(error).__name__,
            where=url,
            remedy="try again, or name another mirror with --url",
        ) from error
    if not (folder / model.weights_file).is_file():
        raise DownloadError(
            "The archive does not hold the model.",
            needed=f"{model.name}/{model.weights_file}",
            found=", ".join(sorted(path.name for path in folder.iterdir())) or "no folder of that name",
            where=url,
            remedy="name another mirror with --url",
        )


def _check_weights(file: Path, model: KnownModel, wanted: str | None, url: str) -> str:
    """Return the file's SHA-256 once size and checksum are found right; before anything reads the file's inside."""
    if model.size is not None and (size := file.stat().st_size) != model.size:
        raise DownloadError(
            f"The weights of {model.name} have the wrong size.",
            needed=f"{model.size} bytes",
            found=f"{size} bytes",
            where=url,
            remedy="try again, or name another mirror with --url; nothing was kept",
        )
    found = sha256_of(file)
    if wanted is not None and found != wanted:
        raise DownloadError(
            f"The weights of {model.name} have the wrong SHA-256.",
            needed=wanted,
            found=found,
            where=url,
            remedy="do not use this source; nothing was kept",
        )
    return found


def _prove(folder: Path, model: KnownModel, url: str) -> None:
    try:
        check_known(load_checkpoint(folder), model)
    except ModelError as error:
        raise DownloadError(
            f"What was downloaded is not the model {model.name}. {error.problem}",
            needed=error.needed,
            found=error.found,
            where=url,
            remedy="do not use this source; nothing was kept",
        ) from error


def _swap_in(folder: Path, target: Path, old: Path) -> None:
    """Put the new folder in the target's place; an older one comes back if that fails."""
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(folder, target)
    except OSError:
        if old.exists():
            os.replace(old, target)
        raise

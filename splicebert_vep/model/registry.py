"""Know the models by name: where they come from, under which licence, and where they lie on this machine."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, NoReturn

from ..errors import DownloadError, ModelError, suggestion
from ..files import cache_root, sha256_of

if TYPE_CHECKING:
    from .checkpoint import LoadedModel


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
        from .checkpoint import load_checkpoint  # torch takes seconds, and listing models does without

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


DEFAULT_MODEL = "splicebert-mini"
DEFAULT_SPLICE_MODEL = "splicebert-mini-splice-sites"

_BUNDLED = Path(__file__).parent / "bundled"
_RECORD = "pulled.json"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """Describe a model that has a name.

    Args:
        source: page to read about it.
        base_url: folder below which the files to download lie, ending in ``/``; None for the bundled model.
        archive: the tar file that holds the model in a folder of the model's name; None when the files lie open.
        weights_file: its name in the model's folder.
        other_files: what else is taken; an archive may lack ``vocab.txt``.
        size: of the weights file in bytes, None when not known to us.
        sha256: of the weights file, lower-case hex, None when not known to us.
        expected: settings its config must have. The weights alone do not prove them: another number of attention
            heads fits the same shapes and gives other scores.
    """

    name: str
    summary: str
    source: str
    licence: str
    base_url: str | None
    archive: str | None
    weights_file: str
    other_files: tuple[str, ...]
    size: int | None
    sha256: str | None
    expected: Mapping[str, int | float]

    @property
    def folder_name(self) -> str:
        """Name of its folder in the cache; a hub name has a slash in it."""
        return self.name.replace("/", "--")


@dataclass(frozen=True, slots=True)
class PullRecord:
    """Keep where pulled weights came from; lies beside them as ``pulled.json``.

    Args:
        url: the file that was downloaded.
        date: ISO 8601, UTC.
        file: the weights file's name.
        sha256: of the weights file, lower-case hex.
        verified: whether that was held against a checksum of the registry's or the user's.
    """

    name: str
    url: str
    date: str
    file: str
    sha256: str
    verified: bool


def _sizes(hidden: int, heads: int, inner: int, positions: int, eps: float) -> Mapping[str, int | float]:
    return MappingProxyType(
        {
            "hidden_size": hidden,
            "num_hidden_layers": 6,
            "num_attention_heads": heads,
            "intermediate_size": inner,
            "max_position_embeddings": positions,
            "type_vocab_size": 2,
            "layer_norm_eps": eps,
        }
    )


def _official(
    name: str, summary: str, positions: int, size: int | None = None, sha256: str | None = None
) -> KnownModel:
    return KnownModel(
        name=name,
        summary=summary,
        source="https://zenodo.org/records/7995778",
        licence="CC BY 4.0 (weights), BSD-3-Clause (code)",
        base_url="https://zenodo.org/records/7995778/files/",
        archive="models.tar.gz",
        weights_file="pytorch_model.bin",
        other_files=("config.json", "vocab.txt"),
        size=size,
        sha256=sha256,
        expected=_sizes(512, 16, 2048, positions, 1e-12),
    )


def _multimolecule(name: str, summary: str, positions: int) -> KnownModel:
    return KnownModel(
        name=name,
        summary=summary,
        source=f"https://huggingface.co/{name}",
        licence="AGPL-3.0",
        base_url=f"https://huggingface.co/{name}/resolve/main/",
        archive=None,
        weights_file="model.safetensors",
        other_files=("config.json", "vocab.txt"),
        size=None,
        sha256=None,
        expected=_sizes(512, 16, 2048, positions, 1e-12),
    )


_MODELS = (
    KnownModel(
        name=DEFAULT_MODEL,
        summary="small model of this project, bundled; for trying things out, see its quality note",
        source="bundled with splicebert-vep",
        licence="BSD-3-Clause",
        base_url=None,
        archive=None,
        weights_file="model.safetensors",
        other_files=("config.json", "vocab.txt", "README.md"),
        size=5_370_048,
        sha256="57a58704d2cd1633385f815d61b5cb614343ae116f90e63d8c8f7832884c3433",
        expected=_sizes(128, 8, 512, 1026, 1e-5),
    ),
    _official(
        "SpliceBERT.1024nt",
        "72 vertebrates, windows of 64 to 1024 nt",
        1026,
        size=78_883_755,
        sha256="2ad91428c318e6c49233154073ca7a35f5f7899c9f4be3444775bae3dba0149d",
    ),
    _official("SpliceBERT.510nt", "72 vertebrates, windows of 510 nt only", 512),
    _official("SpliceBERT-human.510nt", "human, windows of 510 nt only", 512),
    _multimolecule("multimolecule/splicebert", "SpliceBERT.1024nt, converted by multimolecule", 1026),
    _multimolecule("multimolecule/splicebert.510", "SpliceBERT.510nt, converted by multimolecule", 512),
    _multimolecule("multimolecule/splicebert-human.510", "SpliceBERT-human.510nt, converted by multimolecule", 512),
)

MODELS: Mapping[str, KnownModel] = MappingProxyType({model.name: model for model in _MODELS})
"""Every model that has a name, the default first."""


def cache_dir() -> Path:
    """Return the folder of pulled models, ``models`` in the program's cache; it may not exist yet."""
    return cache_root() / "models"


def find_model(name: str) -> KnownModel:
    """Return what is known of a model by its name.

    Raises:
        ModelError: no model has that name; the message lists those that there are.
    """
    if name not in MODELS:
        raise _unknown(name)
    return MODELS[name]


def model_folder(model: KnownModel, cache: Path) -> Path:
    """Return where a model lies, or would lie once pulled."""
    return _BUNDLED / model.name if model.base_url is None else cache / model.folder_name


def resolve_model(name_or_path: str | Path) -> Path:
    """Return the folder of a model, given by name or by path.

    A name wins over a folder of the same name in the working directory, so that a command means the same
    everywhere; ``./NAME`` is the folder. A ``Path`` object is never a name.

    Raises:
        ModelError: the name is not known and no folder, or the model was not pulled yet.
    """
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or name not in MODELS:
        if not Path(name_or_path).is_dir():
            raise _unknown(name)
        return Path(name_or_path)
    folder = model_folder(MODELS[name], cache_dir())
    if not folder.is_dir():
        raise ModelError(
            f"The model {name} is not on this machine.",
            needed=str(folder),
            found="no such folder",
            remedy=f"splicebert-vep models pull {name}",
        )
    return folder


def resolve_splice_model(name_or_path: str | Path) -> Path:
    """Return the folder of a splice-site model: the bundled one by its name, any other by path.

    A ``Path`` object is never a name.

    Raises:
        ModelError: there is no such folder.
    """
    named = not isinstance(name_or_path, Path) and name_or_path == DEFAULT_SPLICE_MODEL
    folder = _BUNDLED / DEFAULT_SPLICE_MODEL if named else Path(name_or_path)
    if not folder.is_dir():
        raise ModelError(
            "The splice-site model is not there.",
            needed=f"{DEFAULT_SPLICE_MODEL}, or a folder that 'finetune splice-sites' wrote",
            found=f"no folder {folder}",
            remedy="give the folder 'model' of a run of 'finetune splice-sites'",
        )
    return folder


def _unknown(name: str) -> ModelError:
    return ModelError(
        f"No model is called {name!r}, and no folder either.",
        needed="a model folder, or one of " + ", ".join(MODELS),
        found=name,
        remedy=suggestion([name], MODELS).replace("?", "? ")
        + "check the spelling or the path; `splicebert-vep models list` shows what can be pulled",
    )


def check_known(loaded: LoadedModel, model: KnownModel) -> None:
    """Prove that a loaded folder is the model it is called by: settings, and size and checksum where known.

    Raises:
        ModelError: it is not; the message names what differs.
    """

    def error(problem: str, needed: object, found: object) -> ModelError:
        return ModelError(
            f"The folder is not the model {model.name}: {problem}.",
            needed=str(needed),
            found=str(found),
            where=str(loaded.weights_file.parent),
            remedy="pull the model again, or give the folder by its path if another model is meant",
        )

    for key, wanted in model.expected.items():
        if (found := getattr(loaded.config, key)) != wanted:
            raise error(f"{key} differs", wanted, found)
    if model.size is not None and (size := loaded.weights_file.stat().st_size) != model.size:
        raise error(f"{loaded.weights_file.name} has another size", f"{model.size} bytes", f"{size} bytes")
    if model.sha256 is not None and loaded.weights_sha256 != model.sha256:
        raise error(f"{loaded.weights_file.name} has another SHA-256", model.sha256, loaded.weights_sha256)


def check_pulled(loaded: LoadedModel, record: PullRecord) -> None:
    """Prove that pulled weights are still those that were pulled.

    Raises:
        ModelError: the checksum is another.
    """
    if loaded.weights_sha256 != record.sha256:
        raise ModelError(
            f"The weights of {record.name} changed since they were pulled.",
            needed=record.sha256,
            found=loaded.weights_sha256,
            where=str(loaded.weights_file),
            remedy=f"splicebert-vep models pull {record.name}",
        )


def write_record(folder: Path, record: PullRecord) -> None:
    """Write ``pulled.json`` into a model's folder."""
    (folder / _RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_record(folder: Path) -> PullRecord | None:
    """Return what ``pulled.json`` says, None when the model was not pulled.

    Raises:
        ModelError: the file is damaged.
    """
    file = folder / _RECORD
    if not file.is_file():
        return None
    try:
        return PullRecord(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelError(
            "The record of the download is damaged.",
            needed="JSON as `splicebert-vep models pull` writes it",
            found=str(error),
            where=str(file),
            remedy="pull the model again",
        ) from error


def quality_note(folder: Path) -> str | None:
    """Return how good a model was measured to be: the paragraph of its ``README.md`` that has ``Measured:`` in it.

    None when the folder has no such paragraph. White space is folded, so the note is one line.
    """
    readme = folder / "README.md"
    if not readme.is_file():
        return None
    for paragraph in readme.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        if "Measured:" in paragraph:
            return " ".join(paragraph.split())
    return None

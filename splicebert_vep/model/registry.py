"""Models by name: their sources, licences and checksums, their folders on this machine, and ``models pull``."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from gzip import BadGzipFile
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING

import msgspec

from ..errors import DownloadError, ModelError, suggestion, visible
from ..files import cache_root, sha256_of

if TYPE_CHECKING:
    from .checkpoint import LoadedModel

DEFAULT_MODEL = "splicebert-mini"
DEFAULT_SPLICE_MODEL = "splicebert-mini-splice-sites"
#: The splice-site model that is taken where its plugin is installed.
PREFERRED_SPLICE_MODEL = "cispliceai"

_BUNDLED = Path(__file__).parent / "bundled"
_RECORD = "pulled.json"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that has a name.

    Args:
        source: page to read about it.
        base_url: folder below which the files to download lie, ending in ``/``; None for the bundled model.
        archive: the tar file that holds the model in a folder of the model's name; None when the files lie open.
        weights_file: its name in the model's folder.
        other_files: further files of the model; an archive may lack ``vocab.txt``.
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
    """The source of pulled weights; lies beside them as ``pulled.json``.

    Args:
        url: the file that was downloaded.
        date: ISO 8601, UTC.
        file: the weights file's name.
        sha256: of the weights file, lower-case hex.
        verified: True when a checksum of the registry or of the user confirmed it.
    """

    name: str
    url: str
    date: str
    file: str
    sha256: str
    verified: bool


def _expected(hidden: int, heads: int, inner: int, positions: int, eps: float) -> Mapping[str, int | float]:
    return MappingProxyType(
        {
            "hidden_size": hidden, "num_hidden_layers": 6, "num_attention_heads": heads, "intermediate_size": inner,
            "max_position_embeddings": positions, "type_vocab_size": 2, "layer_norm_eps": eps,
        }
    )  # fmt: skip


def _official(
    name: str, summary: str, positions: int, size: int | None = None, sha256: str | None = None
) -> KnownModel:
    return KnownModel(
        name, summary, "https://zenodo.org/records/7995778", "CC BY 4.0 (weights), BSD-3-Clause (code)",
        "https://zenodo.org/records/7995778/files/", "models.tar.gz", "pytorch_model.bin", ("config.json", "vocab.txt"),
        size, sha256, _expected(512, 16, 2048, positions, 1e-12),
    )  # fmt: skip


def _multimolecule(name: str, summary: str, positions: int) -> KnownModel:
    return KnownModel(
        name, summary, f"https://huggingface.co/{name}", "AGPL-3.0", f"https://huggingface.co/{name}/resolve/main/",
        None, "model.safetensors", ("config.json", "vocab.txt"), None, None, _expected(512, 16, 2048, positions, 1e-12),
    )  # fmt: skip


_MODELS = (
    KnownModel(
        DEFAULT_MODEL, "small model of this project, bundled; for trying things out, see its quality note",
        "bundled with splicebert-vep", "BSD-3-Clause", None, None, "model.safetensors",
        ("config.json", "vocab.txt", "README.md"), 5_370_048,
        "57a58704d2cd1633385f815d61b5cb614343ae116f90e63d8c8f7832884c3433", _expected(128, 8, 512, 1026, 1e-5),
    ),
    _official(
        "SpliceBERT.1024nt", "72 vertebrates, windows of 64 to 1024 nt", 1026, 78_883_755,
        "2ad91428c318e6c49233154073ca7a35f5f7899c9f4be3444775bae3dba0149d",
    ),
    _official("SpliceBERT.510nt", "72 vertebrates, windows of 510 nt only", 512),
    _official("SpliceBERT-human.510nt", "human, windows of 510 nt only", 512),
    _multimolecule("multimolecule/splicebert", "SpliceBERT.1024nt, converted by multimolecule", 1026),
    _multimolecule("multimolecule/splicebert.510", "SpliceBERT.510nt, converted by multimolecule", 512),
    _multimolecule("multimolecule/splicebert-human.510", "SpliceBERT-human.510nt, converted by multimolecule", 512),
)  # fmt: skip

MODELS: Mapping[str, KnownModel] = MappingProxyType({model.name: model for model in _MODELS})
"""Every model that has a name, the default first."""


def cache_dir() -> Path:
    """Return the folder of pulled models, ``models`` in the program's cache; it may not exist yet."""
    return cache_root() / "models"


def find_model(name: str) -> KnownModel:
    """Return the entry of a model by its name.

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
        if not os.path.isdir(name_or_path):  # of a name that is too long, Path.is_dir raises
            raise _unknown(name)
        return Path(name_or_path)
    folder = model_folder(MODELS[name], cache_dir())
    if not folder.is_dir():
        problem, remedy = f"The model {name} is not on this machine.", f"splicebert-vep models pull {name}"
        raise ModelError(problem, needed=str(folder), remedy=remedy)
    return folder


def resolve_splice_model(name_or_path: str | Path) -> Path:
    """Return the folder of a splice-site model: the bundled one by its name, any other by path.

    A ``Path`` object is never a name.

    Raises:
        ModelError: there is no such folder.
    """
    named = not isinstance(name_or_path, Path) and name_or_path == DEFAULT_SPLICE_MODEL
    folder = _BUNDLED / DEFAULT_SPLICE_MODEL if named else Path(name_or_path)
    if not os.path.isdir(folder):
        needed = f"{DEFAULT_SPLICE_MODEL}, or the folder 'model' of a run of 'finetune splice-sites'"
        raise ModelError("The splice-site model is not there.", needed=needed, found=f"no folder {folder}")
    return folder


def model_folders(*models: str | None) -> list[Path]:
    """Return the folders that a run may read of models given by name or path, and that of the bundled ones."""
    named = (model_folder(MODELS[one], cache_dir()) if one in MODELS else Path(one) for one in models if one)
    return [_BUNDLED, *named]


def _unknown(name: str) -> ModelError:
    remedy = suggestion([name], MODELS).replace("?", "? ") + "check the spelling or the path"
    needed = "a model folder, or one of " + ", ".join(MODELS)
    return ModelError(f"No model is called {name!r}, and no folder either.", needed=needed, remedy=remedy)


def check_known(loaded: LoadedModel, model: KnownModel) -> None:
    """Compare a loaded folder with the model it is called by: settings, and size and checksum where known.

    Raises:
        ModelError: it is another model; the message names the difference.
    """
    size = loaded.weights_file.stat().st_size
    facts: list[tuple[str, object, object]] = [
        (key, wanted, getattr(loaded.config, key)) for key, wanted in model.expected.items()
    ]
    facts += [("size", model.size or size, size), ("SHA-256", model.sha256 or "", loaded.weights_sha256)]
    for key, wanted, found in facts:
        if wanted not in ("", found):
            raise ModelError(
                f"The folder is not the model {model.name}: {key} differs.", needed=str(wanted), found=str(found),
                where=str(loaded.weights_file.parent), remedy="pull the model again, or give the folder by its path",
            )  # fmt: skip


def check_pulled(loaded: LoadedModel, record: PullRecord) -> None:
    """Check that pulled weights are still those that were pulled.

    Raises:
        ModelError: the checksum is another.
    """
    if loaded.weights_sha256 != record.sha256:
        raise ModelError(
            f"The weights of {record.name} changed since they were pulled.", needed=record.sha256,
            found=loaded.weights_sha256, where=str(loaded.weights_file),
            remedy=f"splicebert-vep models pull {record.name}",
        )  # fmt: skip


def write_record(folder: Path, record: PullRecord) -> None:
    """Write ``pulled.json`` into a model's folder."""
    (folder / _RECORD).write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_record(folder: Path) -> PullRecord | None:
    """Return the content of ``pulled.json``, None when the model was not pulled.

    Raises:
        ModelError: the file is damaged.
    """
    file = folder / _RECORD
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=PullRecord)
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        problem, remedy = "The record of the download is damaged.", "pull the model again"
        raise ModelError(problem, found=str(error), where=str(file), remedy=remedy) from error


def quality_note(folder: Path) -> str | None:
    """Return how good a model was measured to be: the paragraph of its ``README.md`` that has ``Measured:`` in it.

    None when the folder has no such paragraph. White space is folded, so the note is one line, and
    control characters are spelled out.
    """
    readme = folder / "README.md"
    if not readme.is_file():
        return None
    for paragraph in readme.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        if "Measured:" in paragraph:
            return visible(" ".join(paragraph.split()))
    return None


def worth_of(folder: Path) -> dict[str, str]:
    """Return what a model's scores were measured to be worth, in words by field: of its ``worth.json``.

    The file has ``measured`` (the figure and on which variants), ``baseline`` (in words) and ``scores`` (figure by
    field). Empty where there is none.

    Raises:
        ModelError: the file cannot be read.
    """
    path = folder / "worth.json"
    if not path.is_file():
        return {}
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_Worth)
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelError(
            "The file of a model's measured worth cannot be read.", found=str(error), where=str(path)
        ) from error
    words = {name: f"{found.measured} {value:.3f} ({found.baseline})" for name, value in found.scores.items()}
    return {name: visible(" ".join(text.split())) for name, text in words.items()}


class _Worth(msgspec.Struct):
    measured: str
    baseline: str
    scores: dict[str, float]


Progress = Callable[[str, int, int | None], None]
"""Called now and then with the file's name, the bytes so far, and the bytes in all, None where unknown."""

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

    A model that is there already, with the wanted checksum, is not downloaded again. Files are written to a temporary
    folder of the cache, which is removed on any failure; the last step is a rename.

    Args:
        base_url: a mirror: the folder below which the files lie under their usual names.
        sha256: of the weights file, in hex. Needed where this program does not know it, unless ``unverified``.
        unverified: accept weights without a checksum; ``pulled.json`` records it.

    Raises:
        ModelError: no model has that name.
        DownloadError: no checksum, the server or the disk failed, or the files are not the model.
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
                _download(url + model.archive, Path(scratch) / "archive", progress)
                _extract(Path(scratch) / "archive", model, folder, url + model.archive)
            else:
                for file in (*model.other_files, model.weights_file):
                    _download(url + file, folder / file, progress)
            digest = _check_weights(folder / model.weights_file, model, wanted, url)
            _check_model(folder, model, url)
            date, taken = (
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                url + (model.archive or model.weights_file),
            )
            write_record(folder, PullRecord(name, taken, date, model.weights_file, digest, wanted is not None))
            _swap_in(folder, target, Path(scratch) / "old")
    except OSError as error:  # of the disk; _download turns the network's into a DownloadError
        remedy = "make room, or set SPLICEBERT_VEP_CACHE to another folder"
        problem = f"The model {name} could not be written to the cache."
        raise DownloadError(problem, found=str(error), where=str(cache), remedy=remedy) from error
    return target


def _wanted_checksum(model: KnownModel, given: str | None, unverified: bool) -> str | None:
    given = given.strip().lower() if given is not None else None
    if given is not None and (len(given) != 64 or set(given) - set("0123456789abcdef")):
        raise DownloadError("The given SHA-256 is not one.", needed="64 hex digits", found=given)
    if None not in (given, model.sha256) and given != model.sha256:
        problem, remedy = f"The given SHA-256 is not that of {model.name}.", "leave it out; this program knows it"
        raise DownloadError(problem, needed=str(model.sha256), found=str(given), remedy=remedy)
    if given is None and model.sha256 is None and not unverified:
        problem = f"The checksum of {model.name} is not known to this program."
        needed = f"the SHA-256 of its {model.weights_file} from a source you trust"
        remedy = f"splicebert-vep models pull {model.name} --sha256 HEX, or --unverified to go without"
        raise DownloadError(problem, needed=needed, where=model.source, remedy=remedy)
    return given or model.sha256


def _is_there(target: Path, model: KnownModel, wanted: str | None) -> bool:
    """Return True when an earlier pull left these very weights, with a checksum if one is wanted now."""
    try:
        record = read_record(target)
        found = sha256_of(target / model.weights_file)
    except (OSError, ModelError):
        return False
    if record is None or found != record.sha256:
        return False
    return wanted is None or (record.verified and found == wanted)


def _download(url: str, file: Path, progress: Progress | None) -> None:
    """Stream a URL to a file, and check that all of it came."""
    from http.client import HTTPException  # these here, so that --help stays fast
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    if url.partition(":")[0].lower() not in _SCHEMES:
        raise DownloadError("The address has an unknown scheme.", needed=", ".join(_SCHEMES), found=url)
    name = url.rpartition("/")[2]
    done = total = 0
    try:
        response = urlopen(Request(url, headers={"User-Agent": "splicebert-vep"}), timeout=_TIMEOUT)
    except (OSError, HTTPException, ValueError) as error:  # ValueError: the address itself is malformed
        if isinstance(error, HTTPError):
            error.close()  # it holds the connection
        raise _not_downloaded(name, url, str(error)) from error
    with response, file.open("wb") as out:
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else 0
        while True:
            try:
                chunk = response.read(_CHUNK)
            except (OSError, HTTPException) as error:
                raise _not_downloaded(name, url, str(error) or type(error).__name__) from error
            if not chunk:
                break
            out.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(name, done, total or None)
    if total and done != total:
        raise _not_downloaded(name, url, f"{done} of {total} bytes")


def _not_downloaded(name: str, url: str, found: str) -> DownloadError:
    remedy = "check the connection and the address, or name a mirror with --url; nothing was kept"
    return DownloadError(f"{name} could not be downloaded.", found=found, where=url, remedy=remedy)


def _extract(archive: Path, model: KnownModel, folder: Path, url: str) -> None:
    """Copy the wanted files out of the folder of the model's name, wherever in the archive it lies.

    No path of the archive is used on disk, and no link is followed: a file is written under the name of the registry.
    """
    wanted = {model.weights_file, *model.other_files}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                source = tar.extractfile(member) if member.isreg() else None
                if source is not None and path.parent.name == model.name and path.name in wanted:
                    with source, (folder / path.name).open("wb") as out:
                        shutil.copyfileobj(source, out, _CHUNK)
    except (tarfile.TarError, EOFError, zlib.error, BadGzipFile) as error:
        found = str(error) or type(error).__name__
        raise DownloadError("The archive is damaged.", found=found, where=url, remedy="try again, or --url") from error
    if not (folder / model.weights_file).is_file():
        needed = f"{model.name}/{model.weights_file}"
        raise DownloadError(
            "The archive does not hold the model.", needed=needed, where=url, remedy="try another --url"
        )


def _check_weights(file: Path, model: KnownModel, wanted: str | None, url: str) -> str:
    """Return the SHA-256 of the weights once size and checksum are right; before any program reads their inside."""
    size, found = file.stat().st_size, sha256_of(file)
    if model.size not in (None, size):
        problem = f"The weights of {model.name} have the wrong size."
        raise DownloadError(problem, needed=f"{model.size} bytes", found=f"{size} bytes", where=url)
    if wanted not in (None, found):
        problem, remedy = f"The weights of {model.name} have the wrong SHA-256.", "do not use this source"
        raise DownloadError(problem, needed=str(wanted), found=found, where=url, remedy=remedy)
    return found


def _check_model(folder: Path, model: KnownModel, url: str) -> None:
    from .checkpoint import load_checkpoint  # torch takes seconds to import, and listing models does without

    try:
        check_known(load_checkpoint(folder), model)
    except ModelError as error:
        problem = f"The downloaded files are not the model {model.name}. {error.problem}"
        raise DownloadError(problem, needed=error.needed, found=error.found, where=url) from error


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

"""Models by name: facts, folders, and downloads, each of them from a server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splicebert_vep.errors import DownloadError, ModelError
from splicebert_vep.model import registry
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.registry import MODELS, pull, read_record, resolve_model

ARCHIVED, OPEN, UNKNOWN = "SpliceBERT.1024nt", "multimolecule/splicebert", "SpliceBERT.510nt"
BUNDLED = resolve_model("splicebert-mini")
FACTS = dict(MODELS)  # as they are, while tests put small weights in their place


@dataclasses.dataclass
class Answer:
    """What the server says: an honest one declares the length of its body."""

    body: bytes
    declared: int | None = None
    says_length: bool = True


class Server:
    """A local web server with a few answers, which counts how often it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                answer = outer.answers.get(self.path)
                if answer is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                if answer.says_length:
                    length = len(answer.body) if answer.declared is None else answer.declared
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing on stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a proxy of the machine's from being asked for 127.0.0.1."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(scope="module")
def weights() -> bytes:
    """The bundled weights as an official file has them."""
    file = io.BytesIO()
    torch.save(load_file(BUNDLED / "model.safetensors"), file)
    return file.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def known(weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry, with the small weights in place of the large ones."""
    small = MODELS["splicebert-mini"].expected
    digest = hashlib.sha256(weights).hexdigest()
    models = {name: dataclasses.replace(model, expected=small) for name, model in MODELS.items()}
    models[ARCHIVED] = dataclasses.replace(models[ARCHIVED], size=len(weights), sha256=digest)
    monkeypatch.setattr(registry, "MODELS", models)


Members = dict[str, bytes | tarfile.TarInfo]


def members(weights: bytes, name: str = ARCHIVED) -> Members:
    """Return the files of the official archive, among other things it holds."""
    return {
        "models/README.md": b"# weights",
        f"models/{name}/config.json": (BUNDLED / "config.json").read_bytes(),
        f"models/{name}/vocab.txt": (BUNDLED / "vocab.txt").read_bytes(),
        f"models/{name}/tokenizer_config.json": b"{}",
        f"models/{name}/pytorch_model.bin": weights,
        "models/another/pytorch_model.bin": b"not this one",
    }


def pack(files: Members) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def serve_open(server: Server, folder: Path = BUNDLED) -> None:
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        server.answers["/" + name] = Answer((folder / name).read_bytes())


def refused(cache: Path, word: str, name: str = ARCHIVED, **options: object) -> None:
    """Check that a pull fails with a word in the message, and that nothing was left in the cache."""
    with pytest.raises(DownloadError, match=re.escape(word)):
        pull(name, cache=cache, **options)  # type: ignore[arg-type]
    assert not cache.exists() or not list(cache.iterdir())


def test_pull_of_an_archive(server: Server, cache: Path, weights: bytes) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights)))
    told: list[tuple[str, int, int]] = []
    folder = pull(ARCHIVED, cache=cache, base_url=server.url, progress=lambda *args: told.append(args))
    assert folder == cache / ARCHIVED == resolve_model(ARCHIVED)
    assert [path.name for path in cache.iterdir()] == [ARCHIVED]
    assert {path.name for path in folder.iterdir()} == {"config.json", "vocab.txt", "pytorch_model.bin", "pulled.json"}
    assert load_checkpoint(folder).weights_sha256 == hashlib.sha256(weights).hexdigest()
    record = read_record(folder)
    assert record is not None
    assert (record.verified, record.url) == (True, server.url + "models.tar.gz")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record.date)
    length = len(server.answers["/models.tar.gz"].body)
    assert told[-1] == ("models.tar.gz", length, length)


def test_pull_of_open_files(server: Server, cache: Path) -> None:
    serve_open(server)
    digest = hashlib.sha256((BUNDLED / "model.safetensors").read_bytes()).hexdigest()
    folder = pull(OPEN, cache=cache, base_url=server.url.rstrip("/"), sha256=digest.upper())
    assert folder == cache / "multimolecule--splicebert" == resolve_model(OPEN)
    assert server.asked == ["/config.json", "/vocab.txt", "/model.safetensors"]
    assert load_checkpoint(folder).parameters == load_checkpoint(BUNDLED).parameters


def test_pull_from_a_folder_on_disk(cache: Path) -> None:
    folder = pull(OPEN, cache=cache, base_url=BUNDLED.as_uri(), unverified=True)
    assert load_checkpoint(folder).layout == "splicebert-vep"


def test_pull_of_the_bundled_model_downloads_nothing(cache: Path) -> None:
    assert pull("splicebert-mini", cache=cache) == BUNDLED
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "sha256", "word"),
    [(UNKNOWN, None, "--unverified"), (UNKNOWN, "abc", "64 hex digits"), (ARCHIVED, "0" * 64, "0" * 64)],
    ids=["unknown", "malformed", "other than known"],
)
def test_nothing_is_downloaded_without_a_checksum(
    server: Server, cache: Path, name: str, sha256: str | None, word: str
) -> None:
    refused(cache, word, name, base_url=server.url, sha256=sha256)
    assert server.asked == []


def test_unverified_goes_on_record(server: Server, cache: Path, weights: bytes) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights, UNKNOWN)))
    record = read_record(pull(UNKNOWN, cache=cache, base_url=server.url, unverified=True))
    assert record is not None
    assert (record.verified, record.sha256) == (False, hashlib.sha256(weights).hexdigest())


def test_a_model_that_is_there_is_not_downloaded_again_and_a_damaged_one_is(
    server: Server, cache: Path, weights: bytes
) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights)))
    first = pull(ARCHIVED, cache=cache, base_url=server.url)
    assert pull(ARCHIVED, cache=cache, base_url=server.url) == first
    assert len(server.asked) == 1
    (first / "pytorch_model.bin").write_bytes(b"rotten")
    pull(ARCHIVED, cache=cache, base_url=server.url)
    assert (first / "pytorch_model.bin").read_bytes() == weights
    assert [path.name for path in cache.iterdir()] == [ARCHIVED]


def test_an_unverified_model_is_replaced_by_a_verified_one(server: Server, cache: Path) -> None:
    serve_open(server)
    pull(OPEN, cache=cache, base_url=server.url, unverified=True)
    digest = hashlib.sha256((BUNDLED / "model.safetensors").read_bytes()).hexdigest()
    record = read_record(pull(OPEN, cache=cache, base_url=server.url, sha256=digest))
    assert record is not None
    assert record.verified
    assert len(server.asked) == 6


def test_a_failed_pull_keeps_the_model_that_was_there(server: Server, cache: Path) -> None:
    serve_open(server)
    folder = pull(OPEN, cache=cache, base_url=server.url, unverified=True)
    before = sorted(path.name for path in folder.iterdir())
    server.answers.clear()
    with pytest.raises(DownloadError, match="404"):
        pull(OPEN, cache=cache, base_url=server.url, sha256="0" * 64)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in cache.iterdir()] == [folder.name]


def flipped(weights: bytes) -> bytes:
    """Return the weights with one bit of one number changed: they still load."""
    middle = len(weights) // 2
    return weights[:middle] + bytes([weights[middle] ^ 1]) + weights[middle + 1 :]


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"models/{ARCHIVED}/pytorch_model.bin")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def changed(weights: bytes, name: str, body: bytes | None) -> Members:
    """Return the archive with a file of the model replaced or, for None, left out."""
    path = f"models/{ARCHIVED}/{name}"
    files = {other: content for other, content in members(weights).items() if other != path}
    return files if body is None else {**files, path: body}


CONFIG = (BUNDLED / "config.json").read_text()
FOUR_HEADS = CONFIG.replace('"num_attention_heads": 8', '"num_attention_heads": 4').encode()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda w: changed(w, "pytorch_model.bin", flipped(w)), "wrong SHA-256"),
        (lambda w: changed(w, "pytorch_model.bin", w + b"\0"), "wrong size"),
        (lambda w: changed(w, "config.json", FOUR_HEADS), "num_attention_heads"),
        (lambda w: changed(w, "config.json", b"{}"), "model_type"),
        (lambda w: changed(w, "vocab.txt", b"A\nC\nG\nT\n"), "vocabulary"),
        (lambda w: changed(w, "config.json", None), "config"),
        (lambda w: changed(w, "pytorch_model.bin", None), "does not hold"),
        (lambda w: {"README.md": b""}, "does not hold"),
        (lambda w: {"link": link(tarfile.SYMTYPE)}, "does not hold"),
        (lambda w: {"link": link(tarfile.LNKTYPE)}, "does not hold"),
    ],
    ids=["flipped bit", "size", "heads", "empty config", "vocabulary", "no config", "no weights", "no folder",
         "symbolic link", "hard link"],
)  # fmt: skip
def test_archive_that_is_not_the_model(
    server: Server, cache: Path, weights: bytes, make: Callable[[bytes], Members], word: str
) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(make(weights)))
    refused(cache, word, base_url=server.url)


@pytest.mark.parametrize("prefix", ["/", "../"])
def test_no_path_of_the_archive_is_used_on_disk(server: Server, cache: Path, weights: bytes, prefix: str) -> None:
    files = {path.replace("models/", prefix): body for path, body in members(weights).items() if ARCHIVED in path}
    server.answers["/models.tar.gz"] = Answer(pack(files))
    pull(ARCHIVED, cache=cache, base_url=server.url)
    assert [path.name for path in cache.parent.iterdir()] == ["models"]
    assert [path.name for path in cache.iterdir()] == [ARCHIVED]
    assert not Path("/", ARCHIVED).exists()


def test_tampered_open_file(server: Server, cache: Path) -> None:
    serve_open(server)
    honest = server.answers["/model.safetensors"].body
    server.answers["/model.safetensors"] = Answer(flipped(honest))
    digest = hashlib.sha256(honest).hexdigest()
    refused(cache, digest, OPEN, base_url=server.url, sha256=digest)


def test_download_that_breaks_off(server: Server, cache: Path, weights: bytes) -> None:
    whole = pack(members(weights))
    server.answers["/models.tar.gz"] = Answer(whole[:-1000], declared=len(whole))
    refused(cache, f"{len(whole) - 1000} of {len(whole)} bytes", base_url=server.url)


@pytest.mark.parametrize("keep", [slice(0, -1000), slice(0, 5), slice(100, None)], ids=["end", "start", "no head"])
def test_damaged_archive_without_a_declared_length(server: Server, cache: Path, weights: bytes, keep: slice) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights))[keep], says_length=False)
    refused(cache, "damaged", base_url=server.url)


def test_server_or_address_that_does_not_answer(server: Server, cache: Path) -> None:
    refused(cache, "404", base_url=server.url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    refused(cache, closed, base_url=closed)
    refused(cache, "https, http, file", base_url="ftp://127.0.0.1/")
    refused(cache, "http://[/", base_url="http://[/")


def test_cache_that_is_a_file(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="SPLICEBERT_VEP_CACHE"):
        pull(ARCHIVED, cache=tmp_path / "file" / "models", base_url=server.url)


def test_name_of_no_model(cache: Path) -> None:
    with pytest.raises(ModelError, match=r"SpliceBERT\.1024nt"):
        pull("SpliceBERT", cache=cache)


def test_resolve(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model(str(tmp_path)) == resolve_model(tmp_path) == tmp_path
    with pytest.raises(ModelError, match="models pull SpliceBERT.1024nt"):
        resolve_model(ARCHIVED)
    with pytest.raises(ModelError, match="splicebert-mini"):
        resolve_model("/no/such")
    with pytest.raises(ModelError, match="No model"):
        resolve_model(Path(ARCHIVED))
    # A folder of the working directory does not hide a model of the same name, unless it is asked for as a path.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "splicebert-mini").mkdir()
    assert resolve_model("splicebert-mini") == BUNDLED
    assert resolve_model("./splicebert-mini") == resolve_model(Path("splicebert-mini")) == Path("splicebert-mini")


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"SPLICEBERT_VEP_CACHE": "/own", "XDG_CACHE_HOME": "/xdg"}, "/own/models"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/splicebert-vep/models"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/splicebert-vep/models"),
        ({}, "/home/me/.cache/splicebert-vep/models"),
    ],
    ids=["own", "XDG", "XDG relative", "home"],
)
def test_cache_dir(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], wanted: str) -> None:
    for name in ("SPLICEBERT_VEP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**variables, "HOME": "/home/me"}.items():
        monkeypatch.setenv(name, value)
    assert registry.cache_dir() == Path(wanted)


def test_registry_facts() -> None:
    model = FACTS[ARCHIVED]
    assert (model.size, model.sha256) == (
        78_883_755,
        "2ad91428c318e6c49233154073ca7a35f5f7899c9f4be3444775bae3dba0149d",
    )
    mini = FACTS["splicebert-mini"]
    registry.check_known(load_checkpoint(BUNDLED), mini)
    with pytest.raises(ModelError, match="hidden_size"):
        registry.check_known(load_checkpoint(BUNDLED), model)

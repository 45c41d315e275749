"""A pulled model is whole and proven, or the cache stays as it was; every transfer here is on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from splicebert_vep.errors import DownloadError, ModelError, SpliceBertError
from splicebert_vep.model import registry
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.registry import MODELS, pull, read_record, resolve_model

ARCHIVED, OPEN, UNKNOWN = "SpliceBERT.1024nt", "multimolecule/splicebert", "SpliceBERT.510nt"
BUNDLED = resolve_model("splicebert-mini")


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


def expect(cache: Path, error: SpliceBertError, *parts: str) -> None:
    """Hold that the message has these parts in this order, and that nothing was left in the cache."""
    assert re.search(".*".join(map(re.escape, parts)), str(error), re.DOTALL), str(error)
    assert error.remedy
    assert not cache.exists() or not list(cache.iterdir())


def test_pull_of_an_archive(server: Server, cache: Path, weights: bytes) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights)))
    told: list[tuple[str, int, int | None]] = []
    folder = pull(ARCHIVED, cache=cache, base_url=server.url, progress=lambda *args: told.append(args))
    assert folder == cache / ARCHIVED == resolve_model(ARCHIVED)
    assert [path.name for path in cache.iterdir()] == [ARCHIVED]
    assert {path.name for path in folder.iterdir()} == {"config.json", "vocab.txt", "pytorch_model.bin", "pulled.json"}
    assert load_checkpoint(folder).weights_sha256 == hashlib.sha256(weights).hexdigest()
    record = read_record(folder)
    assert record is not None
    assert record.verified
    assert record.url == server.url + "models.tar.gz"
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


def test_unknown_checksum_is_not_taken_silently(server: Server, cache: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        pull(UNKNOWN, cache=cache, base_url=server.url)
    expect(cache, caught.value, "not known to this program", "pytorch_model.bin", "--sha256 HEX", "--unverified")
    assert server.asked == []


def test_unverified_goes_on_record(server: Server, cache: Path, weights: bytes) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights, UNKNOWN)))
    record = read_record(pull(UNKNOWN, cache=cache, base_url=server.url, unverified=True))
    assert record is not None
    assert (record.verified, record.sha256) == (False, hashlib.sha256(weights).hexdigest())


@pytest.mark.parametrize(
    ("name", "given", "parts"),
    [
        (UNKNOWN, "abc", ["given SHA-256 is none", "64 hex digits", "abc"]),
        (ARCHIVED, "0" * 64, ["not that of SpliceBERT.1024nt", "0" * 64]),
    ],
    ids=["malformed", "other than known"],
)
def test_given_checksum_that_cannot_be(server: Server, cache: Path, name: str, given: str, parts: list[str]) -> None:
    with pytest.raises(DownloadError) as caught:
        pull(name, cache=cache, base_url=server.url, sha256=given)
    expect(cache, caught.value, *parts)
    assert server.asked == []


def test_a_model_that_is_there_is_not_downloaded_again(server: Server, cache: Path, weights: bytes) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights)))
    first = pull(ARCHIVED, cache=cache, base_url=server.url)
    assert pull(ARCHIVED, cache=cache, base_url=server.url) == first
    assert len(server.asked) == 1


def test_a_damaged_model_is_replaced(server: Server, cache: Path, weights: bytes) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights)))
    file = pull(ARCHIVED, cache=cache, base_url=server.url) / "pytorch_model.bin"
    file.write_bytes(b"rotten")
    pull(ARCHIVED, cache=cache, base_url=server.url)
    assert file.read_bytes() == weights
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
    with pytest.raises(DownloadError, match="HTTP 404"):
        pull(OPEN, cache=cache, base_url=server.url, sha256="0" * 64)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in cache.iterdir()] == [folder.name]


def flipped(weights: bytes) -> bytes:
    """Return the weights with one bit of one number changed: it still loads."""
    middle = len(weights) // 2
    return weights[:middle] + bytes([weights[middle] ^ 1]) + weights[middle + 1 :]


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"models/{ARCHIVED}/pytorch_model.bin")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def renamed(weights: bytes, folder: str) -> Members:
    return {f"{folder}/{name.rsplit('/', 1)[1]}": body for name, body in members(weights).items() if ARCHIVED in name}


def changed(weights: bytes, name: str, body: bytes) -> Members:
    return {**members(weights), f"models/{ARCHIVED}/{name}": body}


def dropped(weights: bytes, name: str) -> Members:
    return {path: body for path, body in members(weights).items() if path != f"models/{ARCHIVED}/{name}"}


CONFIG = (BUNDLED / "config.json").read_text()
FOUR_HEADS = CONFIG.replace('"num_attention_heads": 8', '"num_attention_heads": 4').encode()


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda w: changed(w, "pytorch_model.bin", flipped(w)), ["wrong SHA-256", "nothing was kept"]),
        (lambda w: changed(w, "pytorch_model.bin", w + b"\0"), ["wrong size", "bytes"]),
        (lambda w: changed(w, "config.json", FOUR_HEADS), ["num_attention_heads differs", "8", "4"]),
        (lambda w: changed(w, "config.json", b"{}"), ["not the model", "model_type", "nothing"]),
        (lambda w: changed(w, "vocab.txt", b"A\nC\nG\nT\n"), ["not the model", "vocabulary", "A C G T"]),
        (lambda w: dropped(w, "config.json"), ["not the model", "config cannot be read"]),
        (lambda w: dropped(w, "pytorch_model.bin"), ["does not hold the model", "config.json, vocab.txt"]),
        (lambda w: {"README.md": b""}, ["does not hold the model", "no folder of that name"]),
        (lambda w: {"link": link(tarfile.SYMTYPE)}, ["not safe", "a link"]),
        (lambda w: {"link": link(tarfile.LNKTYPE)}, ["not safe", "a link"]),
        (lambda w: renamed(w, f"/{ARCHIVED}"), ["not safe", f"/{ARCHIVED}/"]),
        (lambda w: renamed(w, f"../{ARCHIVED}"), ["not safe", f"../{ARCHIVED}/"]),
    ],
    ids=[
        "flipped bit",
        "size",
        "heads",
        "empty config",
        "vocabulary",
        "no config",
        "no weights",
        "no folder",
        "symbolic link",
        "hard link",
        "absolute",
        "upwards",
    ],
)
def test_archive_that_is_not_the_model(
    server: Server, cache: Path, weights: bytes, request: pytest.FixtureRequest, make: object, parts: list[str]
) -> None:
    assert callable(make)
    server.answers["/models.tar.gz"] = Answer(pack(make(weights)))
    with pytest.raises(DownloadError) as caught:
        pull(ARCHIVED, cache=cache, base_url=server.url)
    expect(cache, caught.value, *parts)


def test_tampered_open_file(server: Server, cache: Path) -> None:
    serve_open(server)
    honest = server.answers["/model.safetensors"].body
    server.answers["/model.safetensors"] = Answer(flipped(honest))
    with pytest.raises(DownloadError) as caught:
        pull(OPEN, cache=cache, base_url=server.url, sha256=hashlib.sha256(honest).hexdigest())
    expect(cache, caught.value, "wrong SHA-256", hashlib.sha256(honest).hexdigest())


def test_download_that_breaks_off(server: Server, cache: Path, weights: bytes) -> None:
    whole = pack(members(weights))
    server.answers["/models.tar.gz"] = Answer(whole[:-1000], declared=len(whole))
    with pytest.raises(DownloadError) as caught:
        pull(ARCHIVED, cache=cache, base_url=server.url)
    expect(cache, caught.value, "broke off", f"{len(whole)} bytes", f"{len(whole) - 1000} bytes", "/models.tar.gz")


@pytest.mark.parametrize("keep", [slice(0, -1000), slice(0, 5), slice(100, None)], ids=["end", "start", "no head"])
def test_damaged_archive_without_a_declared_length(server: Server, cache: Path, weights: bytes, keep: slice) -> None:
    server.answers["/models.tar.gz"] = Answer(pack(members(weights))[keep], says_length=False)
    with pytest.raises(DownloadError) as caught:
        pull(ARCHIVED, cache=cache, base_url=server.url)
    expect(cache, caught.value, "archive is damaged", "/models.tar.gz")


def test_file_larger_than_the_disk(server: Server, cache: Path) -> None:
    server.answers["/models.tar.gz"] = Answer(b"", declared=10**18)
    with pytest.raises(DownloadError) as caught:
        pull(ARCHIVED, cache=cache, base_url=server.url)
    expect(cache, caught.value, "not enough room", f"{10**18} bytes", "bytes free", str(cache), "SPLICEBERT_VEP_CACHE")


def test_file_that_is_not_there(server: Server, cache: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        pull(ARCHIVED, cache=cache, base_url=server.url)
    expect(cache, caught.value, "HTTP 404", server.url + "models.tar.gz", "--url")


def test_server_that_does_not_answer(cache: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    with pytest.raises(DownloadError) as caught:
        pull(ARCHIVED, cache=cache, base_url=url)
    expect(cache, caught.value, "did not give the file", "refused", url)


def test_address_of_another_kind(cache: Path) -> None:
    with pytest.raises(DownloadError) as caught:
        pull(ARCHIVED, cache=cache, base_url="ftp://127.0.0.1/")
    expect(cache, caught.value, "cannot be downloaded from", "https:// or http:// or file://", "ftp://")


def test_cache_that_is_a_file(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match=r"could not be written(.|\n)*SPLICEBERT_VEP_CACHE"):
        pull(ARCHIVED, cache=tmp_path / "file" / "models", base_url=server.url)


def test_name_of_no_model(cache: Path) -> None:
    with pytest.raises(ModelError, match=r"No model is called 'SpliceBERT'(.|\n)*SpliceBERT.1024nt(.|\n)*models list"):
        pull("SpliceBERT", cache=cache)

"""Models by name: facts, folders, and downloads, each of them from this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
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


@pytest.fixture(scope="module")
def weights() -> bytes:
    """The bundled weights as an official file has them."""
    file = io.BytesIO()
    torch.save(load_file(BUNDLED / "model.safetensors"), file)
    return file.getvalue()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache/models"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror"


@pytest.fixture(autouse=True)
def known(weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry, with the small weights in place of the large ones."""
    small, digest = MODELS["splicebert-mini"].expected, hashlib.sha256(weights).hexdigest()
    models = {name: dataclasses.replace(model, expected=small) for name, model in MODELS.items()}
    models[ARCHIVED] = dataclasses.replace(models[ARCHIVED], size=len(weights), sha256=digest)
    monkeypatch.setattr(registry, "MODELS", models)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):  # none of them knows 127.0.0.1
        monkeypatch.delenv(name, raising=False)


Members = dict[str, bytes | tarfile.TarInfo]


def members(weights: bytes, name: str = ARCHIVED) -> Members:
    """Return the files of the official archive, among others."""
    return {
        "models/README.md": b"# weights",
        f"models/{name}/config.json": (BUNDLED / "config.json").read_bytes(),
        f"models/{name}/vocab.txt": (BUNDLED / "vocab.txt").read_bytes(),
        f"models/{name}/pytorch_model.bin": weights,
        "models/another/pytorch_model.bin": b"not this one",
    }


def pack(files: Members) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
        for name, content in files.items():
            member = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return file.getvalue()


def serve(mirror: Path, files: Members) -> str:
    (mirror / "models.tar.gz").write_bytes(pack(files))
    return mirror.as_uri()


def serve_open(mirror: Path) -> str:
    for name in ("config.json", "vocab.txt", "model.safetensors"):
        (mirror / name).write_bytes((BUNDLED / name).read_bytes())
    return mirror.as_uri() + "/"


def refused(cache: Path, word: str, url: str, name: str = ARCHIVED, sha256: str | None = None) -> None:
    """Check that a pull fails with a word in the message, and that nothing was left in the cache."""
    with pytest.raises(DownloadError, match=re.escape(word)):
        pull(name, cache=cache, base_url=url, sha256=sha256)
    assert not cache.exists() or not list(cache.iterdir())


def test_pull_of_an_archive(mirror: Path, cache: Path, weights: bytes) -> None:
    url = serve(mirror, members(weights))
    told: list[tuple[str, int, int | None]] = []
    folder = pull(ARCHIVED, cache=cache, base_url=url, progress=lambda *args: told.append(args))
    assert folder == cache / ARCHIVED == resolve_model(ARCHIVED)
    assert [path.name for path in cache.iterdir()] == [ARCHIVED]
    assert {path.name for path in folder.iterdir()} == {"config.json", "vocab.txt", "pytorch_model.bin", "pulled.json"}
    assert load_checkpoint(folder).weights_sha256 == hashlib.sha256(weights).hexdigest()
    record = read_record(folder)
    assert record is not None
    assert (record.verified, record.url) == (True, f"{url}/models.tar.gz")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record.date)
    length = (mirror / "models.tar.gz").stat().st_size
    assert told[-1] == ("models.tar.gz", length, length)


def test_pull_of_open_files(mirror: Path, cache: Path) -> None:
    digest = hashlib.sha256((BUNDLED / "model.safetensors").read_bytes()).hexdigest()
    folder = pull(OPEN, cache=cache, base_url=serve_open(mirror), sha256=digest.upper())
    assert folder == cache / "multimolecule--splicebert" == resolve_model(OPEN)
    assert load_checkpoint(folder).parameters == load_checkpoint(BUNDLED).parameters


def test_pull_of_the_bundled_model_downloads_nothing(cache: Path) -> None:
    assert pull("splicebert-mini", cache=cache) == BUNDLED
    assert not cache.exists()


@pytest.mark.parametrize(
    ("name", "sha256", "word"),
    [(UNKNOWN, None, "--unverified"), (UNKNOWN, "abc", "64 hex digits"), (ARCHIVED, "0" * 64, "0" * 64)],
    ids=["unknown", "malformed", "other than known"],
)
def test_nothing_is_downloaded_without_a_checksum(cache: Path, name: str, sha256: str | None, word: str) -> None:
    refused(cache, word, "http://127.0.0.1:9/", name, sha256)


def test_unverified_goes_on_record_and_is_replaced_by_a_verified_one(mirror: Path, cache: Path) -> None:
    url = serve_open(mirror)
    record = read_record(pull(OPEN, cache=cache, base_url=url, unverified=True))
    digest = hashlib.sha256((BUNDLED / "model.safetensors").read_bytes()).hexdigest()
    assert record is not None
    assert (record.verified, record.sha256) == (False, digest)
    record = read_record(pull(OPEN, cache=cache, base_url=url, sha256=digest))
    assert record is not None
    assert record.verified


def test_a_model_that_is_there_is_not_downloaded_again_and_a_damaged_one_is(
    mirror: Path, cache: Path, weights: bytes
) -> None:
    url = serve(mirror, members(weights))
    first = pull(ARCHIVED, cache=cache, base_url=url)
    (mirror / "models.tar.gz").unlink()
    assert pull(ARCHIVED, cache=cache, base_url=url) == first
    (first / "pytorch_model.bin").write_bytes(b"rotten")
    serve(mirror, members(weights))
    pull(ARCHIVED, cache=cache, base_url=url)
    assert (first / "pytorch_model.bin").read_bytes() == weights
    assert [path.name for path in cache.iterdir()] == [ARCHIVED]


def test_a_failed_pull_keeps_the_model_that_was_there(mirror: Path, cache: Path) -> None:
    url = serve_open(mirror)
    folder = pull(OPEN, cache=cache, base_url=url, unverified=True)
    before = sorted(path.name for path in folder.iterdir())
    (mirror / "vocab.txt").unlink()
    with pytest.raises(DownloadError, match=r"vocab\.txt"):
        pull(OPEN, cache=cache, base_url=url, sha256="0" * 64)
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
    mirror: Path, cache: Path, weights: bytes, make: Callable[[bytes], Members], word: str
) -> None:
    refused(cache, word, serve(mirror, make(weights)))


@pytest.mark.parametrize("keep", [slice(0, -1000), slice(0, 5), slice(100, None)], ids=["end", "start", "no head"])
def test_damaged_archive(mirror: Path, cache: Path, weights: bytes, keep: slice) -> None:
    url = serve(mirror, members(weights))
    (mirror / "models.tar.gz").write_bytes((mirror / "models.tar.gz").read_bytes()[keep])
    refused(cache, "damaged", url)


@pytest.mark.parametrize("prefix", ["/", "../"])
def test_no_path_of_the_archive_is_used_on_disk(mirror: Path, cache: Path, weights: bytes, prefix: str) -> None:
    files = {path.replace("models/", prefix): body for path, body in members(weights).items() if ARCHIVED in path}
    pull(ARCHIVED, cache=cache, base_url=serve(mirror, files))
    assert [path.name for path in cache.parent.iterdir()] == ["models"]
    assert [path.name for path in cache.iterdir()] == [ARCHIVED]
    assert not Path("/", ARCHIVED).exists()


def test_tampered_open_file(mirror: Path, cache: Path) -> None:
    url, honest = serve_open(mirror), (BUNDLED / "model.safetensors").read_bytes()
    (mirror / "model.safetensors").write_bytes(flipped(honest))
    digest = hashlib.sha256(honest).hexdigest()
    refused(cache, digest, url, OPEN, digest)


@pytest.fixture
def server(mirror: Path) -> Iterator[str]:
    """A web server of the mirror that breaks off 1,000 bytes before the end."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = mirror / self.path[1:]
            if not file.is_file():
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(file.stat().st_size))
            self.end_headers()
            self.wfile.write(file.read_bytes()[:-1000])

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing on stderr."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}/"
    running.shutdown()
    thread.join()
    running.server_close()


def test_server_or_address_that_does_not_answer(server: str, mirror: Path, cache: Path, weights: bytes) -> None:
    refused(cache, "404", server)
    serve(mirror, members(weights))
    length = (mirror / "models.tar.gz").stat().st_size
    refused(cache, f"{length - 1000} of {length} bytes", server)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/"
    refused(cache, closed, closed)
    refused(cache, "https, http, file", "ftp://127.0.0.1/")
    refused(cache, "http://[/", "http://[/")


def test_cache_that_is_a_file(tmp_path: Path, mirror: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="SPLICEBERT_VEP_CACHE"):
        pull(ARCHIVED, cache=tmp_path / "file" / "models", base_url=mirror.as_uri())


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


def test_control_characters_of_a_card_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# x\n\nMeasured: \x1b[31mgood\x07 \u202eback\x9b.\n\nrest")
    assert registry.quality_note(tmp_path) == r"Measured: \x1b[31mgood\x07 \u202eback\x9b."


def test_worth_is_told_in_words_and_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    assert registry.worth_of(tmp_path) == {}
    worth = {"measured": "AUROC on 9 variants", "baseline": "distance\nalone .8\x1b", "scores": {"LLR": 0.5774}}
    (tmp_path / "worth.json").write_text(json.dumps(worth))
    assert registry.worth_of(tmp_path) == {"LLR": r"AUROC on 9 variants 0.577 (distance alone .8\x1b)"}
    for text in ("{", '{"measured": "", "baseline": ""}', '{"measured": "", "baseline": "", "scores": {"LLR": "x"}}'):
        (tmp_path / "worth.json").write_text(text)
        with pytest.raises(ModelError):
            registry.worth_of(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"name": ["a"]}', "[" * 10**6, "\0"])
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    fields = dataclasses.asdict(registry.PullRecord("a", "b", "c", "d", "e", True))
    (tmp_path / "pulled.json").write_text(json.dumps(fields | json.loads(text)) if "name" in text else text)
    with pytest.raises(ModelError, match="damaged"):
        read_record(tmp_path)

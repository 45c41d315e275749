"""Checks of ``splicebert-vep doctor``: a group of findings for each part that a run needs."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from ..errors import AnnotationError, SettingsError, SpliceBertError, folded, shortened, suggestion
from ..files import cache_root
from ..plugins import PLUGINS_VARIABLE, inspect_plugins
from ..version import __version__

State = Literal["ok", "note", "warn", "FAIL"]

_PACKAGES = (
    "splicebert-vep-spec", "torch", "numpy", "pysam", "pyarrow", "click", "cloup", "pluggy", "safetensors",
)  # fmt: skip
_OURS = ("SPLICEBERT_VEP_CACHE", PLUGINS_VARIABLE)
_OTHERS = ("XDG_CACHE_HOME", "NO_COLOR", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "TMPDIR")
_FORCE_TF32 = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
_ROOM_WANTED = 1_000_000_000  # bytes: a pulled model and the index of a genome, with room for an output
_PLACES = 100  # genes at which splice sites are compared with the reference
_WIDTH = 256  # nt of the window that is run through the model once


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Args:
        group: the part of the installation.
        name: what was looked at.
        state: ok, note (neither good nor bad), warn (works, with a drawback) or FAIL.
        found: what there is.
        remedy: what to do about it; empty when ok.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""


#: A finding without its group.
Found = tuple[str, State, str] | tuple[str, State, str, str]


def examine(*, model: str, device: str, annotation: str, reference: str | None) -> Iterator[tuple[str, list[Finding]]]:
    """Yield the findings of each group; what goes wrong inside a check is a finding too.

    Args:
        model, device, annotation, reference: as the options of ``annotate``.
    """
    groups: dict[str, Iterable[Found]] = {
        "versions": _versions(),
        "device": _device(device),
        "model": _model(model, device),
        "genes": _genes(annotation),
        "reference": () if reference is None else _reference(reference, annotation),
        "plugins": _plugins(),
        "disk": _disk(),
        "environment": _environment(),
    }
    for group, check in groups.items():
        findings = []
        try:
            for found in check:
                findings.append(Finding(group, *found))
        except (SpliceBertError, OSError, ImportError) as error:
            findings.append(Finding(group, *_failed(group, error)))
        if findings:
            yield group, findings


def _failed(name: str, error: SpliceBertError | OSError | ImportError) -> Found:
    if not isinstance(error, SpliceBertError):
        remedy = "reinstall splicebert-vep in a fresh environment" if isinstance(error, ImportError) else ""
        return name, "FAIL", f"{type(error).__name__}: {folded(str(error))}", remedy
    wanted_instead = error.needed and error.remedy and f"needed: {shortened(error.needed)}"
    parts = (error.problem.rstrip("."), wanted_instead, error.found and f"found: {shortened(error.found)}", error.where)
    wanted = error.remedy or (error.needed and f"needed: {shortened(error.needed)}")
    return name, "FAIL", folded("; ".join(filter(None, parts))), folded(wanted)


def _versions() -> Iterator[Found]:
    yield "python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "splicebert-vep", "ok", __version__
    for package in _PACKAGES:
        try:
            yield package, "ok", metadata.version(package)
        except metadata.PackageNotFoundError:
            yield package, "warn", "not installed as a package", "install splicebert-vep with pip"
    from pysam.version import __htslib_version__

    yield "htslib", "ok", __htslib_version__


def _device(asked: str) -> Iterator[Found]:
    from ..model.backend import choose_device, devices

    for name, there in devices().items():
        yield name, "ok", there or "not available"
    yield "chosen", "ok", f"{choose_device(asked).type} (--device {asked})"


def _model(model: str, device: str) -> Iterator[Found]:
    import numpy as np

    from splicebert_vep_spec import BackendOptions

    from ..model.backend import TorchBackend, choose_device
    from ..sequence.tokens import encode, with_special

    try:
        choose_device(device)
    except SettingsError:  # told under "device"
        device = "cpu"
    backend = TorchBackend(BackendOptions(model, device))
    info = backend.info
    window = f"{info.fixed_window} nt only" if info.fixed_window else f"up to {info.max_window} nt"
    yield info.model, "ok", f"{info.architecture}, windows of {window}"
    yield "weights", "ok", f"SHA-256 {info.weights_sha256}"
    yield "quality", "note", info.quality or "not measured"
    width = info.fixed_window or min(_WIDTH, info.max_window)
    tokens = with_special(encode(b"ACGT" * width)[None, :width])
    positions = np.arange(1, width + 1)[None]
    try:
        outputs = [backend.forward(tokens, positions) for _ in range(2)]  # the first pass warms the device up
        began = time.perf_counter()
        outputs.append(backend.forward(tokens, positions))
        seconds = time.perf_counter() - began
        finite = all(bool(out.logits.isfinite().all()) for out in outputs)
    except RuntimeError as error:  # what a backend raises when a pass fails
        yield "forward pass", "FAIL", shortened(str(error)), "--device cpu, or update torch and driver"
        return
    where = f"on {info.device}, {info.precision}, {width} nt in {seconds * 1000:.1f} ms"
    if finite:
        yield "forward pass", "ok", where
    else:
        yield "forward pass", "FAIL", f"infinite or NaN outputs {where}", "--device cpu, or update torch"


def _genes(annotation: str) -> Iterator[Found]:
    from ..genome.gene_build import load_table

    table = load_table(annotation)
    found = f"{len(table):,} genes on {len(table.contigs):,} contigs, assembly {table.assembly or 'not said'}"
    yield table.name, "ok", found


def _reference(reference: str, annotation: str) -> Iterator[Found]:
    from ..genome.gene_build import load_table
    from ..genome.gene_index import GeneIndex
    from ..genome.guard import BuildGuard
    from ..genome.reference import Reference

    with Reference(reference) as fasta:
        bases = sum(fasta.lengths.values())
        yield fasta.path.name, "ok", f"{len(fasta.lengths):,} contigs, {bases:,} nt"
        yield "index", "ok" if fasta.index else "warn", str(fasta.index or "made in every run: no cache can be written")
        try:
            table = load_table(annotation)
        except AnnotationError:  # told under "genes"
            return
        known = [contig for contig in table.contigs if fasta.find(contig)]
        names = f"{len(known):,} of {len(table.contigs):,} contigs of {table.name} are in it"
        if not known:
            remedy = "give the FASTA (-R) and the annotation (-A) of one species"
            yield "contigs", "FAIL", f"{names}; it has {shortened(', '.join(fasta.lengths))}", remedy
            return
        yield "contigs", "ok", names
        genes = zip(table.gene_contig.tolist(), table.gene_start.tolist(), strict=True)
        places = [(table.contigs[at], start, start + 1) for at, start in genes if table.contigs[at] in known]
        guard = BuildGuard({}, fasta, GeneIndex(table), table.name)
        guard.check_stretches(places[:: max(1, len(places) // _PLACES)])
        yield "build", "ok", f"nothing says that {table.name} is of another build than the FASTA"


def _plugins() -> Iterator[Found]:
    for plugin in inspect_plugins().installed:
        package = f"{plugin.distribution} {plugin.version}"
        if plugin.error:
            yield _failed(plugin.name, plugin.error)
        elif plugin.state == "off":
            yield plugin.name, "ok", f"{package}, off by {PLUGINS_VARIABLE}"
        else:
            yield plugin.name, "ok", package


def _disk() -> Iterator[Found]:
    folders = {}
    try:
        folders["temporary files"] = Path(tempfile.gettempdir())
    except FileNotFoundError:
        remedy = "set TMPDIR to a folder of yours, or write VCF"
        yield "temporary files", "warn", "no folder for them, which BCF output needs", remedy
    with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
        folders["this folder"] = Path.cwd()
    try:
        cache = cache_root()
    except SettingsError as error:
        remedy = "set SPLICEBERT_VEP_CACHE to a folder of yours, or keep a .fai beside every FASTA"
        yield "cache", "warn", folded(error.problem), remedy
    else:
        there = _nearest(cache)
        yield _cache(cache, there)
        folders["cache"] = there if there.is_dir() else there.parent
    for name, folder in folders.items():
        free = shutil.disk_usage(folder).free
        enough = free >= _ROOM_WANTED
        remedy = "" if enough else f"free {_ROOM_WANTED / 1e9:.0f} GB, or use another folder"
        yield f"free: {name}", "ok" if enough else "warn", f"{free / 1e9:,.1f} GB in {folder}", remedy


def _cache(cache: Path, there: Path) -> Found:
    """Return the finding about a cache; ``there`` is the nearest part of its path that exists."""
    found = f"{cache}, {_size(cache) / 1e6:,.1f} MB used" if cache.is_dir() else f"{cache}, made when it is needed"
    if not there.is_dir():
        remedy = "move that file away, or set SPLICEBERT_VEP_CACHE to a folder of yours"
        return "cache", "FAIL", f"{found}; {there} is a file", remedy
    if not _writable(there):
        remedy = "set SPLICEBERT_VEP_CACHE to a folder of yours, or keep a .fai beside every FASTA"
        return "cache", "warn", f"{found}; {there} may not be written to", remedy
    return "cache", "ok", found


def _writable(folder: Path) -> bool:
    """Try it: permissions alone do not tell of read-only file systems, nor what the superuser may."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _nearest(path: Path) -> Path:
    """Return the path itself or its nearest parent that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _size(folder: Path) -> int:
    """Return the bytes of all files below a folder; what goes away meanwhile counts nothing."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _environment() -> Iterator[Found]:
    for name in (*_OURS, *(name for name in _OTHERS if name in os.environ)):
        yield name, "ok", os.environ.get(name, "not set")
    if os.environ.get(_FORCE_TF32) == "1":
        yield _FORCE_TF32, "warn", "1, which makes CUDA round fp32 to 10 bits", f"unset {_FORCE_TF32}"
    for name in sorted(os.environ):
        if name.startswith("SPLICEBERT_VEP_") and name not in _OURS:
            hint = suggestion([name], _OURS) or f"those there are: {', '.join(_OURS)}"
            yield name, "warn", "not a variable of this program", hint

"""``splicebert-vep models``: list, pull, verify and describe models."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from splicebert_vep.model.registry import (
    MODELS,
    KnownModel,
    PullRecord,
    cache_dir,
    check_known,
    check_pulled,
    model_folder,
    quality_note,
    read_record,
    resolve_model,
)

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` and `list` do without
    from splicebert_vep.model.checkpoint import LoadedModel


@click.group("models")
def models() -> None:
    """List, download and check the models that can speak."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_models(as_json: bool) -> None:
    """List the models that have a name, and which of them are on this machine."""
    cache = cache_dir()
    rows = [_listed(model, cache) for model in MODELS.values()]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    table = [("NAME", "HERE", "MB", "LICENCE", "WHAT IT IS")]
    for row, model in zip(rows, MODELS.values(), strict=True):
        megabytes = f"{model.size / 1e6:.1f}" if model.size is not None else "?"
        table.append((model.name, str(row["here"]), megabytes, model.licence, model.summary))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


@models.command("pull")
@click.argument("name")
@click.option("--sha256", metavar="HEX", help="SHA-256 of the weights file, for a model whose checksum is not known.")
@click.option("--unverified", is_flag=True, help="Take a model whose checksum is not known without one.")
@click.option("--url", metavar="URL", help="Mirror: folder that holds the files under their usual names.")
def pull_model(name: str, sha256: str | None, unverified: bool, url: str | None) -> None:
    """Download the model NAME into the cache, prove it, and print its folder."""
    from splicebert_vep.model.download import pull

    folder = pull(
        name, cache=cache_dir(), base_url=url, sha256=sha256, unverified=unverified, progress=_Progress().report
    )
    if (model := MODELS[name]).sha256 is None and sha256 is None:
        click.echo(f"warning: {name} was taken without a checksum", err=True)
    click.echo(f"{name}: {model.licence}", err=True)
    click.echo(str(folder))


@models.command("verify")
@click.argument("model", metavar="NAME|FOLDER")
def verify_model(model: str) -> None:
    """Prove a model: layout, config, every weight, and the checksum where it is known; print JSON."""
    folder, loaded, known, record = _load(model)
    held_against = []
    if known is not None:
        check_known(loaded, known)
        held_against += ["registry"] if known.sha256 is not None else []
    if record is not None:
        check_pulled(loaded, record)
        held_against += ["pull"] if record.verified else []
    answer = {
        "model": model,
        "ok": True,
        "verified": bool(held_against),
        "checksum_from": held_against,
        "folder": str(folder),
        "layout": loaded.layout,
        "weights_file": loaded.weights_file.name,
        "sha256": loaded.weights_sha256,
    }
    click.echo(json.dumps(answer, indent=1))


@models.command("info")
@click.argument("model", metavar="NAME|FOLDER")
def describe_model(model: str) -> None:
    """Describe a model as JSON: its size, the windows it takes, its checksum, licence and measured quality."""
    folder, loaded, known, record = _load(model)
    config = loaded.config
    answer = {
        "model": model,
        "folder": str(folder),
        "layout": loaded.layout,
        "parameters": loaded.parameters,
        "hidden": config.hidden_size,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "feed_forward": config.intermediate_size,
        "max_window": loaded.max_window,
        "fixed_window": loaded.fixed_window,
        "weights_file": loaded.weights_file.name,
        "sha256": loaded.weights_sha256,
        "licence": known.licence if known is not None else None,
        "source": known.source if known is not None else None,
        "pulled": asdict(record) if record is not None else None,
        "quality": quality_note(folder),
    }
    click.echo(json.dumps(answer, indent=1))


def _load(name_or_folder: str) -> tuple[Path, LoadedModel, KnownModel | None, PullRecord | None]:
    """Load a model and find out which known one it is: by its name, by its record, or by its checksum."""
    from splicebert_vep.model.checkpoint import load_checkpoint

    folder = resolve_model(name_or_folder)
    loaded = load_checkpoint(folder)
    record = read_record(folder)
    known = MODELS.get(name_or_folder) or (MODELS.get(record.name) if record is not None else None)
    if known is None:
        known = next((model for model in MODELS.values() if model.sha256 == loaded.weights_sha256), None)
    return folder, loaded, known, record


def _listed(model: KnownModel, cache: Path) -> dict[str, object]:
    there = "bundled" if model.base_url is None else "pulled"
    return {
        "name": model.name,
        "here": there if model_folder(model, cache).is_dir() else "no",
        "size": model.size,
        "sha256": model.sha256,
        "licence": model.licence,
        "source": model.source,
        "summary": model.summary,
    }


class _Progress:
    """Tell on stderr how far a download is, a line per tenth, so that a log stays short."""

    def __init__(self) -> None:
        self.told: tuple[str, int] | None = None

    def report(self, file: str, done: int, total: int | None) -> None:
        """Take the bytes so far of a file, and print a line when another tenth, or another 10 MB, is there."""
        step = done * 10 // total if total else done // 10_000_000
        if (file, step) == self.told:
            return
        self.told = (file, step)
        of = f" of {total / 1e6:.1f}" if total else ""
        click.echo(f"{file}: {done / 1e6:.1f}{of} MB", err=True)

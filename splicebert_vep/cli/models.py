"""``splicebert-vep models``: list, pull, verify and describe models."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from ..model.registry import (
    MODELS,
    KnownModel,
    PullRecord,
    cache_dir,
    check_known,
    check_pulled,
    model_folder,
    pull,
    quality_note,
    read_record,
    resolve_model,
)
from ..progress import progress_bar
from .options import json_option, print_json, print_table, say, warn

if TYPE_CHECKING:  # torch takes seconds to import, and `--help` and `list` do without
    from ..model.checkpoint import LoadedModel


_EPILOG = """\b
Examples:
  splicebert-vep models list
  splicebert-vep models pull SpliceBERT.1024nt
  splicebert-vep models verify SpliceBERT.1024nt
"""
_LIST_EPILOG = """\b
Examples:
  splicebert-vep models list
  splicebert-vep models list --json | jq -r '.[] | select(.here != "no") | .name'
"""
_PULL_EPILOG = """\b
Examples:
  splicebert-vep models pull SpliceBERT.1024nt
  splicebert-vep models pull SpliceBERT.510nt --sha256 HEX
  splicebert-vep models pull SpliceBERT.1024nt --url file:///mnt/mirror
"""
_VERIFY_EPILOG = """\b
Examples:
  splicebert-vep models verify splicebert-mini
  splicebert-vep models verify ./my-model --json | jq .sha256
"""
_INFO_EPILOG = """\b
Examples:
  splicebert-vep models info SpliceBERT.1024nt
  splicebert-vep models info ./my-model --json | jq .max_window
"""


@cloup.group("models", epilog=_EPILOG)
def models() -> None:
    """List, download and check models."""


@models.command("list", epilog=_LIST_EPILOG)
@json_option
def list_models(as_json: bool) -> None:
    """List the models that have a name.

    HERE says which of them are on this machine.
    """
    cache = cache_dir()
    rows = [_listed(model, cache) for model in MODELS.values()]
    if as_json:
        print_json(rows)
        return
    table = [("NAME", "HERE", "MB", "LICENCE", "WHAT IT IS")]
    for row, model in zip(rows, MODELS.values(), strict=True):
        megabytes = f"{model.size / 1e6:.1f}" if model.size is not None else "?"
        table.append((model.name, str(row["here"]), megabytes, model.licence, model.summary))
    print_table(table)


@models.command("pull", epilog=_PULL_EPILOG)
@cloup.argument("name", metavar="NAME")
@cloup.option("--sha256", metavar="HEX", help="SHA-256 of the weights file, for a model whose checksum is not known.")
@cloup.option("--unverified", is_flag=True, help="Take a model whose checksum is not known without one.")
@cloup.option("--url", metavar="URL", help="Mirror: folder that holds the files under their usual names.")
def pull_model(name: str, sha256: str | None, unverified: bool, url: str | None) -> None:
    """Download the model NAME and print its folder.

    It goes into the cache, and is proven on the way.
    """
    with progress_bar() as bar:
        folder = pull(name, cache=cache_dir(), base_url=url, sha256=sha256, unverified=unverified, progress=bar)
    if (model := MODELS[name]).sha256 is None and sha256 is None:
        warn(f"{name} was taken without a checksum")
    say(f"{name}: {model.licence}")
    click.echo(str(folder))


@models.command("verify", epilog=_VERIFY_EPILOG)
@cloup.argument("model", metavar="NAME|FOLDER")
@json_option
def verify_model(model: str, as_json: bool) -> None:
    """Prove that a model is whole and genuine.

    Looks at its layout, its config, every weight, and the checksum where it is known.
    """
    folder, loaded, known, record = _load(model)
    checksums = []
    if known is not None:
        check_known(loaded, known)
        checksums += ["registry"] if known.sha256 is not None else []
    if record is not None:
        check_pulled(loaded, record)
        checksums += ["pull"] if record.verified else []
    about = {
        "model": model, "ok": True, "verified": bool(checksums), "checksum_from": checksums, "folder": str(folder),
        "layout": loaded.layout, "weights_file": loaded.weights_file.name, "sha256": loaded.weights_sha256,
    }  # fmt: skip
    _print(about, as_json)


@models.command("info", epilog=_INFO_EPILOG)
@cloup.argument("model", metavar="NAME|FOLDER")
@json_option
def describe_model(model: str, as_json: bool) -> None:
    """Describe a model.

    Prints its size, the windows it takes, its checksum, licence and measured quality.
    """
    folder, loaded, known, record = _load(model)
    config = loaded.config
    about = {
        "model": model, "folder": str(folder), "layout": loaded.layout, "parameters": loaded.parameters,
        "hidden": config.hidden_size, "layers": config.num_hidden_layers, "heads": config.num_attention_heads,
        "feed_forward": config.intermediate_size, "max_window": loaded.max_window, "fixed_window": loaded.fixed_window,
        "weights_file": loaded.weights_file.name, "sha256": loaded.weights_sha256,
        "licence": known.licence if known is not None else None, "source": known.source if known is not None else None,
        "pulled": asdict(record) if record is not None else None, "quality": quality_note(folder),
    }  # fmt: skip
    _print(about, as_json)


def _print(about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(about)
    else:
        print_table(((key.replace("_", " "), _shown(value)) for key, value in about.items()), wrap=True)


def _shown(value: Any) -> str:
    """Return a value in a line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)


def _load(name_or_folder: str) -> tuple[Path, LoadedModel, KnownModel | None, PullRecord | None]:
    """Load a model and find out which known one it is: by its name, by its record, or by its checksum."""
    from ..model.checkpoint import load_checkpoint

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
        "name": model.name, "here": there if model_folder(model, cache).is_dir() else "no", "size": model.size,
        "sha256": model.sha256, "licence": model.licence, "source": model.source, "summary": model.summary,
    }  # fmt: skip

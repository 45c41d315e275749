"""``splicebert-vep plugins``: what is installed, what it offers, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click
import cloup

from splicebert_vep.contract import Origin
from splicebert_vep.errors import PluginError
from splicebert_vep.plugins import Installed, inspect_plugins
from splicebert_vep_spec import InfoAdapter, MergingAdapter, TextAdapter

from .console import describe, print_json, print_table
from .options import json_option

_KINDS = ("backend", "scorer", "adapter", "join", "command")
_EPILOG = """\b
Examples:
  splicebert-vep plugins
  splicebert-vep plugins --json | jq '.plugins[] | select(.state == "broken") | .name, .error.remedy'
  SPLICEBERT_VEP_PLUGINS=none splicebert-vep plugins        # none but the built-ins
  SPLICEBERT_VEP_PLUGINS=-mine splicebert-vep plugins       # all but the plugin called mine
"""


@cloup.command(epilog=_EPILOG)
@json_option
def plugins(as_json: bool) -> None:
    """List the installed plugins and what they offer.

    That is backends, scores, outputs, joins and commands. A plugin is loaded, off (SPLICEBERT_VEP_PLUGINS says so) or
    broken, and then the reason is shown.
    """
    found = [_described(plugin) for plugin in inspect_plugins().installed]
    if as_json:
        print_json({"plugins": [plugin for plugin, _ in found]})
    else:
        _print(found)


def _described(plugin: Installed) -> tuple[dict[str, Any], PluginError | None]:
    """Return a plugin as data, and its error; whatever its objects do when they are looked at, it can be listed."""
    state, hooks, error = plugin.state, plugin.hooks, plugin.error
    offers: dict[str, list[dict[str, Any]]] = {f"{kind}s": [] for kind in _KINDS}
    try:
        for origin, item in plugin.offers.items():
            with origin.guarding("itself"):
                offers[f"{origin.kind}s"].append(_offer(origin, item))
    except PluginError as problem:
        state, hooks, error = "broken", (), problem
        offers = {f"{kind}s": [] for kind in _KINDS}
    about = {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "module": plugin.module,
        "state": state,
        "hooks": list(hooks),
        **offers,
        "error": None if error is None else _fields(error, ("problem", "needed", "found", "where", "remedy")),
    }
    return about, error


def _offer(origin: Origin, item: Any) -> dict[str, Any]:
    about = {"name": origin.name, "version": str(item.version)}
    if origin.kind == "scorer":
        keys = ("id", "number", "type", "description", "direction", "default")
        return {**about, "fields": [_fields(field, keys) for field in item.fields]}
    if origin.kind == "adapter":
        kind = _output_kind(item)
        return {**about, "kind": kind}
    return {**about, "summary": item.summary} if origin.kind == "command" else about


def _output_kind(adapter: Any) -> str:
    kinds = {"info": InfoAdapter, "merging": MergingAdapter, "text": TextAdapter}
    return next((kind for kind, protocol in kinds.items() if isinstance(adapter, protocol)), "table")


def _fields(thing: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(thing, name) for name in names}


def _print(found: list[tuple[dict[str, Any], PluginError | None]]) -> None:
    head = ("PLUGIN", "STATE", "DISTRIBUTION", "VERSION", "OFFERS")
    listed = [(p["name"], p["state"], p["distribution"], p["version"], _counts(p)) for p, _ in found]
    print_table([head, *listed])
    for title, kind, columns in (
        ("Backends (--backend)", "backends", ("version",)),
        (
            "Outputs (--emit): info and merging go into the VCF, text and table into a file",
            "adapters",
            ("kind", "version"),
        ),
        ("Joins (--join)", "joins", ("version",)),
        ("Commands", "commands", ("version", "summary")),
    ):
        rows = [(o["name"], p["name"], *(o[c] for c in columns)) for p, _ in found for o in p[kind]]
        if rows:
            click.echo(f"\n{title}")
            print_table([("NAME", "PLUGIN", *(column.upper() for column in columns)), *rows], "  ")
    _print_fields([plugin for plugin, _ in found])
    for plugin, error in found:
        if error is not None:
            click.echo(f"\nPlugin {plugin['name']} is broken\n{_indented(describe(error))}")


def _print_fields(found: list[dict[str, Any]]) -> None:
    scorers = [(plugin, scorer) for plugin in found for scorer in plugin["scorers"]]
    if not scorers:
        return
    click.echo("\nScores (--scores); those with * are computed unless others are named")
    width = max(len(field["id"]) for _, scorer in scorers for field in scorer["fields"])
    for plugin, scorer in scorers:
        click.echo(f"  {scorer['name']} {scorer['version']} of plugin {plugin['name']}")
        fields = [(f["id"].ljust(width), "*" if f["default"] else " ", f) for f in scorer["fields"]]
        print_table([(*head, f"{f['type']:<7}", f["description"]) for *head, f in fields], "    ", wrap=True)


def _counts(plugin: Mapping[str, Any]) -> str:
    numbers = {kind: len(plugin[f"{kind}s"]) for kind in _KINDS}
    return ", ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in numbers.items() if n) or "-"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())

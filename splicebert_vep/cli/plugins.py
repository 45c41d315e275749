"""``splicebert-vep plugins`` lists plugins, their objects and their errors; ``doctor`` checks the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
import cloup

from splicebert_vep_spec import InfoAdapter, MergingAdapter, TextAdapter

from ..errors import PluginError
from ..plugins import KINDS, Installed, Origin, inspect_plugins
from .options import (
    PATH,
    annotation_option,
    describe,
    device_option,
    json_option,
    model_option,
    print_json,
    print_table,
    put,
)

if TYPE_CHECKING:
    from .checks import Finding


_KINDS = [kind for kind, _ in KINDS.values()]
_PLUGINS_EPILOG = """\b
Examples:
  splicebert-vep plugins
  splicebert-vep plugins --json | jq '.plugins[] | select(.state == "broken") | .name, .error.remedy'
  SPLICEBERT_VEP_PLUGINS=none splicebert-vep plugins        # none but the built-ins
  SPLICEBERT_VEP_PLUGINS=-mine splicebert-vep plugins       # all but the plugin called mine
"""


@cloup.command(epilog=_PLUGINS_EPILOG)
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
    about = _fields(plugin, ("name", "distribution", "version", "module"))
    said = None if error is None else _fields(error, ("problem", "needed", "found", "where", "remedy"))
    return {**about, "state": state, "hooks": list(hooks), **offers, "error": said}, error


def _offer(origin: Origin, item: Any) -> dict[str, Any]:
    about = {"name": origin.name, "version": str(item.version)}
    if origin.kind == "scorer":
        keys = ("id", "number", "type", "description", "direction", "default")
        return {**about, "fields": [_fields(field, keys) for field in item.fields]}
    if origin.kind == "adapter":
        kinds = {"info": InfoAdapter, "merging": MergingAdapter, "text": TextAdapter}
        return {**about, "kind": next((kind for kind, base in kinds.items() if isinstance(item, base)), "table")}
    return {**about, "summary": item.summary} if origin.kind == "command" else about


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


_COLOURS = {"ok": "green", "note": "cyan", "warn": "yellow", "FAIL": "red"}
_BROKEN_CODE = 1
_DOCTOR_EPILOG = """\b
Examples:
  splicebert-vep doctor
  splicebert-vep doctor -R GRCh38.fa -A grch38 --model SpliceBERT.1024nt --device cuda
  splicebert-vep doctor --json | jq '.checks[] | select(.state != "ok")'
"""


@cloup.command(epilog=_DOCTOR_EPILOG)
@cloup.option("-R", "--reference", type=PATH, metavar="FASTA", help="Look at this reference too.")
@annotation_option
@model_option
@device_option
@json_option
def doctor(reference: str | None, annotation: str, model: str, device: str, as_json: bool) -> int:
    """Check whether this installation can work.

    Looks at versions, device, model, genes, reference, plugins, cache, disk and environment. Nothing goes over a
    network. Exit code 1 when a check fails; a warning is no failure.
    """
    from .checks import examine

    found: list[Finding] = []
    for group, findings in examine(model=model, device=device, annotation=annotation, reference=reference):
        found += findings
        if not as_json:
            put(click.style(group, bold=True))
            rows = ((finding.state, finding.name, _text(finding)) for finding in findings)
            print_table(rows, "  ", wrap=True, colours=_COLOURS)
    failed = [finding for finding in found if finding.state == "FAIL"]
    warned = [finding for finding in found if finding.state == "warn"]
    if as_json:
        print_json({"ok": not failed, "checks": [asdict(finding) for finding in found]})
    else:
        put(f"{len(found)} checks: {len(failed)} failed, {len(warned)} with a warning")
    return _BROKEN_CODE if failed else 0


def _text(finding: Finding) -> str:
    return f"{finding.found}; {finding.remedy}" if finding.remedy else finding.found

"""The plugin manager: built-ins and entry points, checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, TypeVar

import pluggy

import splicebert_vep_spec
from splicebert_vep_spec import PROJECT, Adapter, BackendFactory, RunInfo, Scorer

from .errors import PluginError, SettingsError
from .settings import RESERVED_FIELDS

#: ``none`` loads no external plugin; a comma-separated list of entry-point names loads only these.
ALLOW_VARIABLE = "SPLICEBERT_VEP_PLUGINS"
BUILTIN = "builtin"


class _Named(Protocol):
    name: str
    version: str


_N = TypeVar("_N", bound=_Named)


@dataclass(frozen=True, slots=True)
class Plugins:
    """Everything that plugins offer, by name, and the hooks of a run's life.

    Args:
        backends, adapters: by their names.
        scorers: in registration order, built-ins first.
        versions: of the external distributions, by entry-point name.
    """

    backends: Mapping[str, BackendFactory]
    scorers: Sequence[Scorer]
    adapters: Mapping[str, Adapter]
    versions: Mapping[str, str]
    manager: pluggy.PluginManager

    def run_started(self, run: RunInfo) -> None:
        """Tell every plugin that a run begins."""
        self.manager.hook.run_started(run=run)

    def run_finished(self, run: RunInfo, status_counts: Mapping[str, int]) -> None:
        """Tell every plugin that a run ended well."""
        self.manager.hook.run_finished(run=run, status_counts=status_counts)


def load_plugins() -> Plugins:
    """Load built-ins and the entry points of group ``splicebert_vep`` that the environment allows.

    Raises:
        PluginError: a plugin cannot be imported, implements a hook that does not exist, or registers a name twice.
        SettingsError: the environment names a plugin that is not installed.
    """
    from . import builtin

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(splicebert_vep_spec._hooks)
    manager.register(builtin, name=BUILTIN)
    versions = _load_external(manager)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(
            "A plugin implements a hook that does not exist.",
            needed=", ".join(sorted(name for name in vars(manager.hook) if not name.startswith("_"))),
            found=str(error),
            remedy=f"mend the hook's name, or load no plugin: {ALLOW_VARIABLE}=none",
        ) from error
    scorers: list[Scorer] = _registered(manager, "register_scorers")
    _by_name("scorer", scorers)
    _check_fields(scorers)
    return Plugins(
        backends=_by_name("backend", _registered(manager, "register_backends")),
        scorers=scorers,
        adapters=_by_name("adapter", _registered(manager, "register_adapters")),
        versions=versions,
        manager=manager,
    )


def _load_external(manager: pluggy.PluginManager) -> dict[str, str]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=PROJECT):
        if point.name in (*found, BUILTIN):
            raise PluginError(
                "Two plugins have the same name.",
                needed=f"one entry point named {point.name}",
                found=f"{point.value} and {found[point.name].value if point.name in found else 'the built-ins'}",
                where=f"entry-point group {PROJECT}",
                remedy="uninstall one of them",
            )
        found[point.name] = point
    allowed = os.environ.get(ALLOW_VARIABLE)
    if allowed is not None:
        wanted = [name for name in allowed.split(",") if name and name != "none"]
        missing = sorted(set(wanted) - set(found))
        if missing:
            raise SettingsError(
                f"{ALLOW_VARIABLE} names a plugin that is not installed.",
                needed=", ".join(found) or "none",
                found=", ".join(missing),
            )
        found = {name: found[name] for name in wanted}
    versions = {}
    for name, point in sorted(found.items()):
        try:
            manager.register(point.load(), name=name)
        except pluggy.PluginValidationError as error:
            raise PluginError(
                f"Plugin {name} implements a hook with the wrong arguments.",
                found=str(error),
                where=point.value,
                remedy=f"update or remove it, or load no plugin: {ALLOW_VARIABLE}=none",
            ) from error
        except Exception as error:  # a plugin is other people's code and may raise anything on import
            raise PluginError(
                f"Plugin {name} cannot be imported.",
                found=f"{type(error).__name__}: {error}",
                where=point.value,
                remedy=f"update or remove it, or load no plugin: {ALLOW_VARIABLE}=none",
            ) from error
        versions[name] = point.dist.version if point.dist else "unknown"
    return versions


def _registered(manager: pluggy.PluginManager, hook: str) -> list[Any]:
    """Join what a hook returns, in registration order (pluggy calls the last registered first)."""
    try:
        results = getattr(manager.hook, hook)()
        return [item for result in reversed(results) for item in result]
    except Exception as error:  # a plugin is other people's code and may raise anything
        raise PluginError(
            f"A plugin failed in hook {hook}.",
            needed="a sequence of objects",
            found=f"{type(error).__name__}: {error}",
            where=", ".join(name for name, _ in manager.list_name_plugin() if name != BUILTIN),
            remedy=f"switch plugins off one by one with {ALLOW_VARIABLE}",
        ) from error


def _by_name(kind: str, items: Sequence[_N]) -> dict[str, _N]:
    named: dict[str, _N] = {}
    for item in items:
        if item.name in named:
            raise PluginError(
                f"Two {kind}s have the same name.",
                needed=f"one {kind} named {item.name}",
                found=f"{type(named[item.name]).__qualname__} and {type(item).__qualname__}",
                where=f"hook register_{kind}s",
                remedy=f"switch one plugin off with {ALLOW_VARIABLE}",
            )
        named[item.name] = item
    return named


def _check_fields(scorers: Sequence[Scorer]) -> None:
    owner: dict[str, str] = dict.fromkeys(RESERVED_FIELDS, "the built-in adapters")
    for scorer in scorers:
        for field in scorer.fields:
            if field.number != "A" or field.type == "String":
                raise PluginError(
                    f"Scorer {scorer.name} offers a field that is no number per ALT.",
                    needed="Number=A and Type=Float or Integer",
                    found=f"{field.id} with Number={field.number}, Type={field.type}",
                    where="hook register_scorers",
                    remedy="mend the FieldSpec",
                )
            if field.id in owner:
                raise PluginError(
                    "A field is offered twice.",
                    found=f"{field.id} of {owner[field.id]} and of {scorer.name}",
                    where="hook register_scorers",
                    remedy=f"switch one plugin off with {ALLOW_VARIABLE}",
                )
            owner[field.id] = scorer.name

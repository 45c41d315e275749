"""The plugin manager: built-ins and entry points, checked before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Protocol, TypeVar

import pluggy

import splicebert_vep_spec
from splicebert_vep_spec import PROJECT, Adapter, BackendFactory, RunInfo, Scorer

from .errors import PluginError, SettingsError

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
    scorers = _flat(manager.hook.register_scorers())
    _by_name("scorer", scorers)
    _check_fields(scorers)
    return Plugins(
        backends=_by_name("backend", _flat(manager.hook.register_backends())),
        scorers=scorers,
        adapters=_by_name("adapter", _flat(manager.hook.register_adapters())),
        versions=versions,
        manager=manager,
    )


def _load_external(manager: pluggy.PluginManager) -> dict[str, str]:
    found = {point.name: point for point in entry_points(group=PROJECT)}
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
            plugin = point.load()
        except Exception as error:  # a plugin is other people's code and may raise anything on import
            raise PluginError(
                f"Plugin {name} cannot be imported.",
                found=f"{type(error).__name__}: {error}",
                where=point.value,
                remedy=f"update or remove it, or load no plugin: {ALLOW_VARIABLE}=none",
            ) from error
        manager.register(plugin, name=name)
        versions[name] = point.dist.version if point.dist else "unknown"
    return versions


def _flat(results: Sequence[Sequence[_N]]) -> list[_N]:
    """Join what the hooks returned, in registration order (pluggy calls the last registered first)."""
    return [item for result in reversed(results) for item in result]


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
    owner: dict[str, str] = {}
    for scorer in scorers:
        for field in scorer.fields:
            if field.id in owner:
                raise PluginError(
                    "Two scorers offer the same field.",
                    found=f"{field.id} of {owner[field.id]} and of {scorer.name}",
                    where="hook register_scorers",
                    remedy=f"switch one plugin off with {ALLOW_VARIABLE}",
                )
            owner[field.id] = scorer.name

"""The plugin manager: built-ins and entry points come through the same door, each checked on its way in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

import pluggy

import splicebert_vep_spec
from splicebert_vep_spec import (
    PROJECT,
    Adapter,
    BackendFactory,
    BackendOptions,
    Command,
    JoinAdapter,
    Refused,
    RunInfo,
    Scorer,
    SequenceScorer,
)

from . import __version__
from .contract import BUILTIN, KINDS, PLUGINS_VARIABLE, GuardedBackend, Origin, claim, origin_of, remedy, told
from .errors import PluginError, SettingsError, suggestion
from .settings import RESERVED_COMMANDS, RESERVED_FIELDS

_OUTSIDE_RUNS = {"register_commands"}
State = Literal["loaded", "off", "broken"]


@dataclass(frozen=True, slots=True)
class Installed:
    """One plugin of this installation.

    Args:
        name: entry-point name, ``builtin`` for our own.
        module: what the entry point leads to.
        distribution: the package that brought it, where known.
        version: of that package.
        state: loaded, off (by the environment) or broken.
        error: why it is broken.
        offers: what it registered, by origin; empty unless loaded.
        hooks: the hooks it implements.
    """

    name: str
    module: str
    distribution: str
    version: str
    state: State
    error: PluginError | None = None
    offers: Mapping[Origin, Any] = field(default_factory=dict)
    hooks: tuple[str, ...] = ()


class Plugins:
    """Everything that the loaded plugins offer, by name, and the hooks of a run's life.

    Args:
        installed: every plugin, built-ins first, broken and switched-off ones too.
        manager: the pluggy manager, in which the loaded ones are registered.
    """

    def __init__(self, installed: Sequence[Installed], manager: pluggy.PluginManager) -> None:
        self.installed = tuple(installed)
        self._manager = manager
        self._offers = {origin: item for plugin in installed for origin, item in plugin.offers.items()}

    @property
    def backends(self) -> dict[str, BackendFactory]:
        """Backends by name."""
        return self._of("backend")

    @property
    def scorers(self) -> tuple[Scorer | SequenceScorer, ...]:
        """Scorers in registration order, built-ins first."""
        return tuple(self._of("scorer").values())

    @property
    def adapters(self) -> dict[str, Adapter]:
        """Adapters by name."""
        return self._of("adapter")

    @property
    def joins(self) -> dict[str, JoinAdapter]:
        """Joins by name."""
        return self._of("join")

    @property
    def commands(self) -> dict[str, Command]:
        """Commands by name; the program's own are not among them."""
        return self._of("command")

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the loaded external plugins that take part in a run, by entry-point name."""
        return {plugin.name: plugin.version for plugin in self.installed[1:] if set(plugin.hooks) - _OUTSIDE_RUNS}

    def origins(self, kind: str) -> dict[str, Origin]:
        """Return by name where the objects of a kind come from."""
        return {origin.name: origin for origin in self._offers if origin.kind == kind}

    def open_backend(self, name: str, options: BackendOptions) -> GuardedBackend:
        """Return the backend of that name, ready to run.

        Raises:
            SettingsError: no backend has that name, or it refused the options.
            PluginError: it broke the contract.
        """
        known = self.backends
        if name not in known:
            raise SettingsError(
                "An unknown backend was asked for.",
                needed=f"one of {', '.join(known)}",
                found=name,
                remedy=suggestion([name], known),
            )
        origin = self.origins("backend")[name]
        with origin.guarding("open"):
            return GuardedBackend(known[name].open(options), origin)

    def run_started(self, run: RunInfo) -> None:
        """Tell every plugin that a run begins."""
        self._tell("run_started", run=run)

    def run_finished(self, run: RunInfo, status_counts: Mapping[str, int]) -> None:
        """Tell every plugin that a run ended well."""
        self._tell("run_finished", run=run, status_counts=status_counts)

    def _tell(self, hook: str, **arguments: Any) -> None:
        for plugin in self.installed:
            if hook in plugin.hooks:
                _call(self._manager, plugin.name, hook, **arguments)

    def _of(self, kind: str) -> dict[str, Any]:
        return {origin.name: item for origin, item in self._offers.items() if origin.kind == kind}


def load_plugins() -> Plugins:
    """Load built-ins and the entry points of group ``splicebert_vep`` that the environment allows.

    Raises:
        PluginError: a plugin cannot be imported, implements a hook that does not exist, registers what is no such
            object, or a name that is taken.
        SettingsError: the environment names a plugin that is not installed.
    """
    plugins = inspect_plugins()
    for plugin in plugins.installed:
        if plugin.error:
            raise plugin.error
    return plugins


def inspect_plugins(*, builtins: bool = True) -> Plugins:
    """Load what can be loaded; a plugin that is broken is left out and says why.

    Args:
        builtins: whether to load our own too, which takes the seconds that torch takes to import.

    Raises:
        SettingsError: the environment names a plugin that is not installed.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(splicebert_vep_spec._hooks)
    taken: dict[tuple[str, str], str] = {("field", name): "the built-in adapters" for name in RESERVED_FIELDS}
    taken |= {("command", name): "splicebert-vep itself" for name in RESERVED_COMMANDS}
    ours = "splicebert_vep.builtin"
    offers: dict[Origin, Any] = {}
    hooks: tuple[str, ...] = ()
    if builtins:
        from . import builtin

        offers, hooks = _admit(manager, BUILTIN, ours, builtin, taken)
    installed = [Installed(BUILTIN, ours, "splicebert-vep", __version__, "loaded", None, offers, hooks)]
    points = sorted(entry_points(group=PROJECT), key=lambda point: point.name)
    allowed = _allowed([point.name for point in points])
    seen = {BUILTIN: ours}
    for point in points:
        package, version = (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")
        state: State = "loaded"
        problem, offers, hooks = None, {}, ()
        if point.name not in allowed:
            state = "off"
        else:
            try:
                _check_name(point, seen)
                offers, hooks = _admit(manager, point.name, point.value, _imported(point), taken)
            except PluginError as error:
                state, problem = "broken", error
        seen.setdefault(point.name, point.value)
        installed.append(Installed(point.name, point.value, package, version, state, problem, offers, hooks))
    return Plugins(installed, manager)


def _allowed(names: Sequence[str]) -> set[str]:
    """Read the environment's allow-list or deny-list."""
    words = [word for word in os.environ.get(PLUGINS_VARIABLE, "").replace(" ", "").split(",") if word]
    if not words:
        return set(names)
    if words == ["none"]:
        return set()
    denied = {word[1:] for word in words if word.startswith("-")}
    if denied and len(denied) < len(words) or "none" in words:
        raise SettingsError(
            f"{PLUGINS_VARIABLE} cannot be read.",
            needed="none, or names to load (a,b), or names to leave out (-a,-b)",
            found=",".join(words),
        )
    wanted = denied or set(words)
    missing = sorted(wanted - set(names))
    if missing:
        raise SettingsError(
            f"{PLUGINS_VARIABLE} names a plugin that is not installed.",
            needed=f"some of {', '.join(names)}" if names else "no name: no plugin is installed",
            found=", ".join(missing),
        )
    return set(names) - denied if denied else wanted


def _check_name(point: EntryPoint, seen: Mapping[str, str]) -> None:
    if point.name in seen:
        raise PluginError(
            f"Two plugins have the name {point.name}.",
            needed="one entry point of a name",
            found=f"{point.value} and {seen[point.name]}",
            where=f"entry-point group {PROJECT}",
            remedy="uninstall or rename one of them",
        )


def _imported(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a plugin is other people's code and may raise anything on import
        raise PluginError(
            f"Plugin {point.name} cannot be imported.",
            found=told(error),
            where=f"entry point {point.value}, before any hook",
            remedy=remedy(point.name),
        ) from error


def _admit(
    manager: pluggy.PluginManager, name: str, module: str, plugin: Any, taken: dict[tuple[str, str], str]
) -> tuple[dict[Origin, Any], tuple[str, ...]]:
    """Register a plugin and everything it offers, or nothing of it.

    Raises:
        PluginError: it breaks the contract.
    """
    try:
        _register(manager, name, module, plugin)
        hooks = tuple(sorted(caller.name for caller in manager.get_hookcallers(plugin) or ()))
        known = _hook_names(manager)
        unmarked = [hook for hook in known if hook not in hooks and callable(getattr(plugin, hook, None))]
        if unmarked or not hooks:
            raise PluginError(
                f"Plugin {name} implements {'a hook without a mark' if unmarked else 'no hook'}.",
                needed=f"functions marked @hookimpl: {', '.join(unmarked or known)}",
                found=f"no mark at {', '.join(unmarked)}" if unmarked else f"none in {module}",
                where=f"entry point {module}",
                remedy=f"mark its functions with splicebert_vep_spec.hookimpl; {remedy(name)}",
            )
        offers, names = {}, dict(taken)
        for hook in hooks:
            for origin, item in _offered(manager, name, hook) if hook in KINDS else ():
                claim(names, origin, item)
                offers[origin] = item
    except PluginError:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        raise
    taken.update(names)
    return offers, hooks


def _register(manager: pluggy.PluginManager, name: str, module: str, plugin: Any) -> None:
    try:
        hash(plugin)  # pluggy keeps plugins in sets
        manager.register(plugin, name=name)
    except (pluggy.PluginValidationError, TypeError, ValueError) as error:
        raise PluginError(
            f"Plugin {name} cannot be registered: no such hook arguments, or no module.",
            needed="a module whose hooks take arguments of the contract only",
            found=" ".join(str(error).split()),
            where=f"entry point {module}",
            remedy=remedy(name),
        ) from error
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        unknown = [caller.name for caller in manager.get_hookcallers(plugin) or () if not caller.has_spec()]
        known = _hook_names(manager)
        raise PluginError(
            f"Plugin {name} implements a hook that does not exist.",
            needed=f"some of {', '.join(known)}",
            found=f"{', '.join(unknown)}; {suggestion(unknown, known)}".rstrip("; "),
            where=f"entry point {module}",
            remedy=f"rename the function; {remedy(name)}",
        ) from error


def _hook_names(manager: pluggy.PluginManager) -> list[str]:
    return sorted(name for name, caller in vars(manager.hook).items() if not name.startswith("_") and caller.has_spec())


def _call(manager: pluggy.PluginManager, name: str, hook: str, **arguments: Any) -> list[Any]:
    """Call a hook of one plugin only, so that whatever goes wrong has a name."""
    others = [plugin for other, plugin in manager.list_name_plugin() if other != name and plugin is not None]
    try:
        results: list[Any] = manager.subset_hook_caller(hook, others)(**arguments)
    except Refused as refusal:
        raise SettingsError(str(refusal), where=f"hook {hook} of plugin {name}") from refusal
    except (Exception, SystemExit) as error:  # a plugin is other people's code and may raise anything
        raise PluginError(
            f"Plugin {name} failed in hook {hook}.",
            needed="no exception",
            found=told(error),
            where=f"hook {hook} of plugin {name}",
            remedy=remedy(name),
        ) from error
    return results


def _offered(manager: pluggy.PluginManager, name: str, hook: str) -> Iterator[tuple[Origin, Any]]:
    """Yield what a plugin registers through a hook.

    Raises:
        PluginError: it is no sequence of objects that fulfil the protocol.
    """
    for result in _call(manager, name, hook) or [None]:  # pluggy leaves None out
        if not isinstance(result, Sequence) or isinstance(result, str):
            raise PluginError(
                f"Plugin {name} returned no list from hook {hook}.",
                needed="a list, empty when there is nothing to register",
                found=repr(result),
                where=f"hook {hook} of plugin {name}",
                remedy=remedy(name),
            )
        for item in result:
            yield origin_of(item, name, hook), item

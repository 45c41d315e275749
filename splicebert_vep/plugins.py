"""The plugin manager: built-ins and entry points come through the same door, each checked on its way in."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

import pluggy

import splicebert_vep_spec
from splicebert_vep_spec import (
    PROJECT,
    Adapter,
    AttentiveBackend,
    Backend,
    BackendFactory,
    BackendInfo,
    BackendOptions,
    BackendOutput,
    Command,
    FieldSpec,
    InfoAdapter,
    JoinAdapter,
    LayeredBackend,
    LocalBackend,
    MergingAdapter,
    Refused,
    RunInfo,
    Scorer,
    SequenceScorer,
    T,
    TableAdapter,
    TextAdapter,
)
from splicebert_vep_spec._rules import NAME_NEEDED, is_name

from . import __version__
from .errors import PluginError, SettingsError, SpliceBertError, suggestion
from .settings import RESERVED_COMMANDS, RESERVED_FIELDS

#: ``none`` loads no external plugin; names, comma-separated, load only these; with ``-`` before each, all but these.
PLUGINS_VARIABLE = "SPLICEBERT_VEP_PLUGINS"
BUILTIN = "builtin"

#: Hook -> kind of object, and the protocols of which an object has to fulfil one.
KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "register_backends": ("backend", (BackendFactory,)),
    "register_scorers": ("scorer", (Scorer, SequenceScorer)),
    "register_adapters": ("adapter", (InfoAdapter, MergingAdapter, TextAdapter, TableAdapter)),
    "register_joins": ("join", (JoinAdapter,)),
    "register_commands": ("command", (Command,)),
}


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object of a plugin comes from.

    Args:
        plugin: entry-point name, ``builtin`` for our own.
        hook: the hook that registered it.
        kind: backend, scorer, adapter, join or command.
        name: its own.
    """

    plugin: str
    hook: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of plugin {self.plugin}"

    def broken(self, method: str, *, needed: str, found: str) -> PluginError:
        """Return the error that says what this object's method did wrong."""
        return PluginError(
            f"{self.kind.capitalize()} {self.name} of plugin {self.plugin} broke the contract.",
            needed=needed,
            found=found,
            where=f"hook {self.hook}, {self.kind} {self.name}, {method}",
            remedy=remedy(self.plugin),
        )

    @contextmanager
    def guarding(self, method: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Run other people's code; this program's own errors and what is ``passing`` pass.

        Errors of a built-in pass too: they are bugs of ours, and the traceback says where.

        Raises:
            SettingsError: it refused what the user asked for.
            PluginError: it raised anything else.
        """
        try:
            yield
        except SpliceBertError:
            raise
        except passing:
            raise
        except Refused as refusal:
            raise SettingsError(str(refusal), where=str(self)) from refusal
        except (Exception, SystemExit) as error:  # a plugin is other people's code and may raise anything
            if self.plugin == BUILTIN:
                raise
            raise self.broken(method, needed="no exception but Refused", found=told(error)) from error


class GuardedBackend:
    """A backend whose answers are checked.

    Args:
        backend: the one that answers.
        origin: where it comes from.
    """

    def __init__(self, backend: Backend, origin: Origin) -> None:
        self._backend = backend
        self._origin = origin
        if not isinstance(backend, Backend) or not isinstance(backend.info, BackendInfo):
            raise origin.broken("open", needed="a Backend with info and forward", found=type(backend).__qualname__)
        self.info = backend.info

    @property
    def local(self) -> bool:
        """Whether it can compute a part of a window again."""
        return isinstance(self._backend, LocalBackend)

    def forward(self, tokens: Any, positions: Any) -> BackendOutput:
        """Return logits (N, P, V) and hidden (N, P, H).

        Raises:
            RuntimeError: the pass failed.
            PluginError: the backend raised anything else, or returned another shape.
        """
        with self._origin.guarding("forward", passing=(RuntimeError,)):
            return self._checked("forward", self._backend.forward(tokens, positions), positions)

    def remember(self, tokens: Any, positions: Any) -> tuple[BackendOutput, Any]:
        """Do as ``forward``, and return the memory; raises as ``forward``."""
        with self._origin.guarding("remember", passing=(RuntimeError,)):
            out, memory = self._backend.remember(tokens, positions)  # type: ignore[attr-defined]
            return self._checked("remember", out, positions), memory

    def update(self, memory: Any, rows: Any, index: Any, tokens: Any, positions: Any) -> BackendOutput:
        """Return outputs of changed windows; raises as ``forward``."""
        with self._origin.guarding("update", passing=(RuntimeError,)):
            out = self._backend.update(memory, rows, index, tokens, positions)  # type: ignore[attr-defined]
            return self._checked("update", out, positions)

    @property
    def layers(self) -> int | None:
        """Number of layers whose hidden states it shows; None when it shows the last layer's only."""
        return self._backend.layers if isinstance(self._backend, LayeredBackend) else None

    def hidden_states(self, tokens: Any, positions: Any, layers: Sequence[int]) -> Any:
        """Return hidden states (layers, N, P, H); raises as ``forward``."""
        with self._origin.guarding("hidden_states", passing=(RuntimeError,)):
            hidden = self._backend.hidden_states(tokens, positions, layers)  # type: ignore[attr-defined]
        return self._shaped("hidden_states", hidden, (len(layers), *positions.shape, self.info.hidden_size))

    @property
    def heads(self) -> int | None:
        """Number of attention heads in a layer; None when it shows no attention weights."""
        return self._backend.heads if isinstance(self._backend, AttentiveBackend) else None

    def attention(self, tokens: Any, positions: Any, layers: Sequence[int]) -> Any:
        """Return attention weights (layers, N, heads, P, W + 2); raises as ``forward``."""
        with self._origin.guarding("attention", passing=(RuntimeError,)):
            weights = self._backend.attention(tokens, positions, layers)  # type: ignore[attr-defined]
        count, asked = positions.shape
        return self._shaped("attention", weights, (len(layers), count, self.heads, asked, tokens.shape[1]))

    def _shaped(self, method: str, answer: Any, needed: tuple[int | None, ...]) -> Any:
        if not hasattr(answer, "isfinite") or tuple(answer.shape) != needed:
            found = f"{type(answer).__qualname__} of shape {tuple(getattr(answer, 'shape', ()))}"
            raise self._origin.broken(method, needed=f"a torch tensor of shape {needed}", found=found)
        return answer

    def _checked(self, method: str, out: BackendOutput, positions: Any) -> BackendOutput:
        for name, tensor in (("logits", out.logits), ("hidden", out.hidden)):
            if not hasattr(tensor, "isfinite"):  # a numpy array has a shape too
                needed_type = f"{name} as a torch tensor"
                raise self._origin.broken(method, needed=needed_type, found=type(tensor).__qualname__)
        found = tuple(out.logits.shape), tuple(out.hidden.shape)
        needed = (*positions.shape, T + 1), (*positions.shape, self.info.hidden_size)
        if found != needed:
            raise self._origin.broken(
                method,
                needed=f"logits of shape {needed[0]} and hidden of shape {needed[1]}",
                found=f"{found[0]} and {found[1]}",
            )
        return out


def told(error: BaseException) -> str:
    """Return an exception of other people's code on one line, with the place in the code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def remedy(plugin: str) -> str:
    """Return what a user can do about a broken plugin."""
    if plugin == BUILTIN:
        return "this is a bug of splicebert-vep; please report it"
    return f"mend or update plugin {plugin}, uninstall it, or run without it: {PLUGINS_VARIABLE}=-{plugin}"


def origin_of(item: Any, plugin: str, hook: str) -> Origin:
    """Check an object that a hook returned, and say where it comes from.

    Raises:
        PluginError: it lacks a name, or an attribute or method of the protocol.
    """
    kind, protocols = KINDS[hook]
    name = getattr(item, "name", None)
    origin = Origin(plugin, hook, kind, name if isinstance(name, str) and name else type(item).__qualname__)
    if isinstance(item, type):
        raise origin.broken(
            "itself", needed=f"an object: {item.__qualname__}()", found=f"the class {item.__qualname__}"
        )
    lacking = min((sorted(_members(protocol) - set(dir(item))) for protocol in protocols), key=len)
    if lacking or not isinstance(name, str):
        wanted = (f"{protocol.__name__} with {', '.join(sorted(_members(protocol)))}" for protocol in protocols)
        raise origin.broken(
            "itself",
            needed=" or ".join(wanted),
            found=f"{type(item).__qualname__} without {', '.join(lacking) or 'a name'}",
        )
    if not is_name(name):
        raise origin.broken("name", needed=NAME_NEEDED, found=repr(name))
    if not isinstance(item.version, str) or not item.version:
        raise origin.broken("version", needed="a non-empty string", found=repr(item.version))
    if kind == "command" and (not isinstance(item.summary, str) or not item.summary or "\n" in item.summary):
        raise origin.broken("summary", needed="one line", found=repr(item.summary))
    return origin


def claim(taken: dict[tuple[str, str], str], origin: Origin, item: Any) -> None:
    """Take an object's name, and those of a scorer's fields.

    Args:
        taken: (kind, name) -> who has it.

    Raises:
        PluginError: a name is taken, or a field is no number per ALT.
    """
    _take(taken, origin.kind, origin.name, origin)
    if origin.kind != "scorer":
        return
    with origin.guarding("fields"):
        fields = item.fields
    if not isinstance(fields, Sequence) or not fields:
        raise origin.broken("fields", needed="a tuple or list of FieldSpec, not empty", found=repr(fields))
    for spec in fields:
        if not isinstance(spec, FieldSpec) or spec.number != "A" or spec.type == "String":
            raise origin.broken("fields", needed="FieldSpec with number A and type Float or Integer", found=repr(spec))
        _take(taken, "field", spec.id, origin)


def _take(taken: dict[tuple[str, str], str], kind: str, name: str, origin: Origin) -> None:
    if (kind, name) in taken:
        raise PluginError(
            f"Plugin {origin.plugin} registers the {kind} {name}, a name that is taken.",
            needed=f"a {kind} name of its own",
            found=f"{name} of {taken[kind, name]} and of {origin}",
            where=f"hook {origin.hook}",
            remedy=remedy(origin.plugin),
        )
    taken[kind, name] = str(origin)


def _members(protocol: type) -> set[str]:
    """Return the names that an object has to have."""
    names = {name for base in protocol.__mro__ for name in (*vars(base), *vars(base).get("__annotations__", ()))}
    return {name for name in names if not name.startswith("_")}


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

"""Load plugins, built-ins and entry points alike, and check their objects on their way in."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from pathlib import Path
from typing import Any, Literal

import pluggy

from splicebert_vep_spec import (
    PROJECT,
    Adapter,
    Backend,
    BackendInfo,
    BackendOptions,
    BackendOutput,
    Command,
    Edit,
    FieldSpec,
    JoinAdapter,
    Refused,
    RunInfo,
    Scorer,
    SequenceScorer,
    SpliceModel,
    SpliceModelInfo,
    T,
    hooks,
)
from splicebert_vep_spec.values import NAME_NEEDED, is_name

from .errors import PluginError, SettingsError, SpliceBertError, suggestion
from .model.registry import DEFAULT_SPLICE_MODEL, PREFERRED_SPLICE_MODEL
from .settings import RESERVED_COMMANDS, RESERVED_FIELDS
from .version import __version__

#: ``none`` loads no external plugin; names, comma-separated, load only these; with ``-`` before each, all but these.
PLUGINS_VARIABLE = "SPLICEBERT_VEP_PLUGINS"
BUILTIN = "builtin"
#: Imported by name when it is needed: it takes the seconds that torch takes.
_BUILTIN_MODULE = "splicebert_vep.builtin"

#: Hook -> kind of object, and the base classes of which an object has one.
KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "register_backends": ("backend", (Backend,)),
    "register_scorers": ("scorer", (Scorer, SequenceScorer)),
    "register_splice_models": ("splice model", (SpliceModel,)),
    "register_adapters": ("adapter", (Adapter,)),
    "register_joins": ("join", (JoinAdapter,)),
    "register_commands": ("command", (Command,)),
}
#: Kinds of which a plugin registers the class, not an object.
_AS_CLASS = {"backend", "splice model"}
_OUTSIDE_RUNS = {"register_commands"}
State = Literal["loaded", "off", "broken"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A plugin's object by plugin (entry-point name, ``builtin`` for our own), hook, kind and its own name."""

    plugin: str
    hook: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} of plugin {self.plugin}"

    def broken(self, method: str, *, needed: str, found: str) -> PluginError:
        """Return the error that says how this object's method broke the contract."""
        return PluginError(
            f"{self.kind.capitalize()} {self.name} of plugin {self.plugin} broke the contract.",
            needed=needed,
            found=found,
            where=f"hook {self.hook}, {self.kind} {self.name}, {method}",
            remedy=remedy(self.plugin),
        )

    @contextmanager
    def guarding(self, method: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Run other people's code; this program's own errors pass, and so do those of ``passing``.

        Errors of a built-in pass too: they are bugs of ours, and the traceback says where.

        Raises:
            SettingsError: the object refused the user's request.
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
            raise self.broken(method, needed="no exception but Refused", found=one_line(error)) from error


class GuardedBackend(Backend):
    """A backend whose answers are checked; ``layers`` and ``heads`` are those of the backend."""

    def __init__(self, backend: Backend, origin: Origin) -> None:
        self._backend, self._origin = backend, origin
        info = getattr(backend, "info", None)
        if not isinstance(backend, Backend) or not isinstance(info, BackendInfo):
            raise origin.broken("open", needed="a Backend with a BackendInfo", found=type(backend).__qualname__)
        self.info, self.layers, self.heads = info, backend.layers, backend.heads

    def forward(self, tokens: Any, positions: Any) -> BackendOutput:
        """Return logits (N, P, V) and hidden (N, P, H).

        Raises:
            RuntimeError, MemoryError: the pass failed.
            PluginError: the backend raised anything else, or returned another shape.
        """
        with self._origin.guarding("forward", passing=(RuntimeError, MemoryError)):
            out = self._backend.forward(tokens, positions)
            logits, hidden = out.logits, out.hidden
        self._check("forward", "logits", logits, (*positions.shape, T + 1))
        self._check("forward", "hidden", hidden, (*positions.shape, self.info.hidden_size))
        return out

    def hidden_states(self, tokens: Any, positions: Any, layers: Sequence[int]) -> Any:
        """Return hidden states (layers, N, P, H); raises as ``forward``."""
        with self._origin.guarding("hidden_states", passing=(RuntimeError,)):
            hidden = self._backend.hidden_states(tokens, positions, layers)
        return self._check(
            "hidden_states", "hidden states", hidden, (len(layers), *positions.shape, self.info.hidden_size)
        )

    def attention(self, tokens: Any, positions: Any, layers: Sequence[int]) -> Any:
        """Return attention weights (layers, N, heads, P, W + 2); raises as ``forward``."""
        with self._origin.guarding("attention", passing=(RuntimeError,)):
            weights = self._backend.attention(tokens, positions, layers)
        windows, asked = positions.shape
        return self._check("attention", "weights", weights, (len(layers), windows, self.heads, asked, tokens.shape[1]))

    def _check(self, method: str, name: str, answer: Any, needed: tuple[int | None, ...]) -> Any:
        shape = tuple(getattr(answer, "shape", ()))
        if not hasattr(answer, "isfinite") or shape != needed:  # a numpy array has a shape too
            found = f"{type(answer).__qualname__} of shape {shape}"
            raise self._origin.broken(method, needed=f"{name} of shape {needed}, a torch tensor", found=found)
        return answer


class GuardedSpliceModel(SpliceModel):
    """A splice-site model whose answers are checked: a value that is no probability must never become a score."""

    def __init__(self, model: SpliceModel, origin: Origin) -> None:
        self._model, self._origin = model, origin
        if not isinstance(model, SpliceModel) or not isinstance(getattr(model, "info", None), SpliceModelInfo):
            found = type(model).__qualname__
            raise origin.broken("open", needed="a SpliceModel with a SpliceModelInfo", found=found)
        self.info, self.reach, self.name, self.version = model.info, model.reach, model.name, model.version
        self.farthest, self.distance, self.sees_gene_only = model.farthest, model.distance, model.sees_gene_only
        self.at_once = model.at_once

    def takes(self, edit: Edit) -> bool:
        """Tell whether the model can answer for an edit."""
        if getattr(self._model.takes, "__func__", None) is SpliceModel.takes:
            return super().takes(edit)
        with self._origin.guarding("takes"):
            return self._model.takes(edit)

    def along(self, tokens: Any) -> Any:
        """Return the model's answers along a sequence; raises as ``alternatives``."""
        import numpy as np

        with self._origin.guarding("along", passing=(RuntimeError, MemoryError)):
            found = np.asarray(self._model.along(tokens), dtype=np.float64)
        return self._checked([found], [(len(tokens) - 2 * self.reach, 2)], "along")[0]

    def alternatives(self, tokens: Any, edits: Sequence[Edit]) -> list[tuple[Any, Any]]:
        """Return the model's answers around edits.

        Raises:
            RuntimeError, MemoryError: the pass failed, or gave values that are not finite.
            PluginError: the model raised anything else, or returned other shapes or values below 0 or above 1.
        """
        with self._origin.guarding("alternatives", passing=(RuntimeError, MemoryError)):
            pairs = [tuple(pair) for pair in self._model.alternatives(tokens, edits)]
        return self._pairs(pairs, edits, "alternatives")

    def each(self, sequences: Sequence[tuple[Any, Sequence[Edit]]]) -> list[list[tuple[Any, Any]]]:
        """Return the model's answers for several sequences with edits; raises as ``alternatives``."""
        with self._origin.guarding("each", passing=(RuntimeError, MemoryError)):
            found = [[tuple(pair) for pair in pairs] for pairs in self._model.each(sequences)]
        if len(found) != len(sequences):
            raise self._origin.broken("each", needed=f"answers for {len(sequences)} sequences", found=str(len(found)))
        return [self._pairs(pairs, edits, "each") for pairs, (_, edits) in zip(found, sequences, strict=True)]

    def _pairs(self, pairs: Sequence[tuple[Any, ...]], edits: Sequence[Edit], method: str) -> list[tuple[Any, Any]]:
        import numpy as np  # here and below, so that --help stays fast

        with self._origin.guarding(method):
            answers = [np.asarray(answer, dtype=np.float64) for pair in pairs for answer in pair]
        found = self._checked(answers, [(count, 2) for edit in edits for count in edit.counts], method)
        return list(zip(found[::2], found[1::2], strict=True))

    def _checked(self, answers: list[Any], shapes: list[tuple[int, int]], method: str) -> list[Any]:
        import numpy as np

        if [answer.shape for answer in answers] != shapes:
            found = ", ".join(str(answer.shape) for answer in answers[:5])
            raise self._origin.broken(method, needed=f"arrays of shapes {shapes[:5]}", found=found)
        extremes = np.array([extreme for part in _parts(answers) for extreme in (part.min(), part.max())])
        if not np.isfinite(extremes).all():  # NaN is the smallest and the largest of its part
            raise RuntimeError("the splice-site model returned values that are not finite")
        if (extremes < -1e-6).any() or (extremes > 1 + 1e-6).any():
            raise self._origin.broken(method, needed="probabilities, 0 to 1", found="values outside of that")
        return answers


_AT_ONCE = 1 << 12  # answers joined for a check; longer ones stand alone


def _parts(answers: Sequence[Any]) -> Iterator[Any]:
    """Yield all values of arrays of shape (n, 2), short ones together."""
    import numpy as np

    short: list[Any] = []
    rows = 0
    for answer in answers:
        if len(answer) >= _AT_ONCE // 4:
            yield answer.ravel(order="K")
        elif len(answer):
            short.append(answer)
            rows += len(answer)
        if rows >= _AT_ONCE:
            yield np.concatenate(short).ravel()
            short, rows = [], 0
    if short:
        yield np.concatenate(short).ravel()


def one_line(error: BaseException) -> str:
    """Return an exception of other people's code on one line, with the place in the code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def remedy(plugin: str) -> str:
    """Return the user's way out of a broken plugin."""
    if plugin == BUILTIN:
        return "this is a bug of splicebert-vep; please report it"
    return f"mend or update plugin {plugin}, uninstall it, or run without it: {PLUGINS_VARIABLE}=-{plugin}"


def _broken(
    plugin: str, problem: str, where: str, *, needed: str = "", found: str = "", first: str = ""
) -> PluginError:
    return PluginError(
        f"Plugin {plugin} {problem}", needed=needed, found=found, where=where, remedy=first + remedy(plugin)
    )


@dataclass(frozen=True, slots=True)
class Installed:
    """One plugin of this installation.

    Args:
        name: entry-point name, ``builtin`` for our own.
        module: target of the entry point.
        distribution: the package that brought it, where known.
        version: of that package.
        state: loaded, off (by the environment) or broken.
        error: why it is broken.
        offers: its objects, by origin; empty unless loaded.
        hooks: the hooks that it implements.
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
    """The objects of the loaded plugins, and the hooks of a run's life.

    Args:
        installed: every plugin, built-ins first, broken and switched-off ones too.
        manager: the pluggy manager, in which the loaded ones are registered.

    Attributes:
        backends, splice_models, adapters, joins, commands: by name; the program's own commands are not among them.
        scorers: in registration order, built-ins first.
    """

    def __init__(self, installed: Sequence[Installed], manager: pluggy.PluginManager) -> None:
        self.installed = tuple(installed)
        self._manager = manager
        self._offers = {origin: item for plugin in installed for origin, item in plugin.offers.items()}
        self.backends: dict[str, type[Backend]] = self._of("backend")
        self.scorers: tuple[Scorer | SequenceScorer, ...] = tuple(self._of("scorer").values())
        self.splice_models: dict[str, type[SpliceModel]] = self._of("splice model")
        self.adapters: dict[str, Adapter] = self._of("adapter")
        self.joins: dict[str, JoinAdapter] = self._of("join")
        self.commands: dict[str, Command] = self._of("command")

    def _of(self, kind: str) -> dict[str, Any]:
        return {origin.name: item for origin, item in self._offers.items() if origin.kind == kind}

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the loaded external plugins that take part in a run, by entry-point name."""
        return {plugin.name: plugin.version for plugin in self.installed[1:] if set(plugin.hooks) - _OUTSIDE_RUNS}

    def origins(self, kind: str) -> dict[str, Origin]:
        """Return the origins of the objects of a kind, by name."""
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
                f"No backend is called {name}; needed one of {', '.join(known)}", remedy=suggestion([name], known)
            )
        origin = self.origins("backend")[name]
        with origin.guarding("open"):
            return GuardedBackend(known[name].open(options), origin)

    def open_splice_model(self, name: str, options: BackendOptions) -> SpliceModel:
        """Return a splice-site model, ready to run.

        Args:
            name: of a plugin's or a built-in model; ``auto`` is CI-SpliceAI where its plugin is installed, else the
                bundled model; any other is the folder of a model of ``finetune splice-sites``.
            options: device and threads.

        Raises:
            ModelError: there is no such folder, or it holds no such model.
            SettingsError: the model refused the options.
            PluginError: it broke the contract.
        """
        if name == "auto":
            name = PREFERRED_SPLICE_MODEL if PREFERRED_SPLICE_MODEL in self.splice_models else DEFAULT_SPLICE_MODEL
        kind = name if name in self.splice_models else DEFAULT_SPLICE_MODEL
        origin = self.origins("splice model")[kind]
        with origin.guarding("open"):
            return GuardedSpliceModel(self.splice_models[kind].open(replace(options, model=name)), origin)

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


def load_plugins() -> Plugins:
    """Load built-ins and the entry points of group ``splicebert_vep`` that the environment allows.

    Raises:
        PluginError: a plugin cannot be imported, implements a hook that does not exist, registers an object of no
            kind, or a name that is taken.
        SettingsError: the environment names a plugin that is not installed.
    """
    plugins = inspect_plugins()
    for plugin in plugins.installed:
        if plugin.error:
            raise plugin.error
    return plugins


def inspect_plugins(*, commands_only: bool = False) -> Plugins:
    """Load every plugin that can be loaded; a broken one is left out and says why.

    Args:
        commands_only: whether to ask for commands alone, and not our own: a model takes the second that torch takes to
            be imported.

    Raises:
        SettingsError: the environment names a plugin that is not installed.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hooks)
    taken = {("field", name): "the built-in adapters" for name in RESERVED_FIELDS}
    taken |= {("command", name): "splicebert-vep itself" for name in RESERVED_COMMANDS}
    kinds = _OUTSIDE_RUNS if commands_only else set(KINDS)
    ours = None if commands_only else import_module(_BUILTIN_MODULE)
    offered = _admit(manager, BUILTIN, _BUILTIN_MODULE, ours, taken, kinds) if ours else ({}, ())
    installed = [Installed(BUILTIN, _BUILTIN_MODULE, "splicebert-vep", __version__, "loaded", None, *offered)]
    points = sorted(entry_points(group=PROJECT), key=lambda point: point.name)
    allowed = _allowed([point.name for point in points])
    seen = {BUILTIN: _BUILTIN_MODULE}
    for point in points:
        about = (point.name, point.value, *((point.dist.name, point.dist.version) if point.dist else ("unknown",) * 2))
        if point.name not in allowed:
            installed.append(Installed(*about, "off"))
        else:
            try:
                plugin = _imported(point, seen)
                offered = _admit(manager, point.name, point.value, plugin, taken, kinds)
                installed.append(Installed(*about, "loaded", None, *offered))
            except PluginError as error:
                installed.append(Installed(*about, "broken", error))
        seen.setdefault(point.name, point.value)
    return Plugins(installed, manager)


def _allowed(names: Sequence[str]) -> set[str]:
    """Read the environment's allow-list or deny-list."""
    words = [word for word in os.environ.get(PLUGINS_VARIABLE, "").replace(" ", "").split(",") if word]
    denied = {word[1:] for word in words if word.startswith("-")}
    if words == ["none"]:
        return set()
    if "none" in words or (denied and len(denied) < len(words)):
        raise SettingsError(
            f"{PLUGINS_VARIABLE}={','.join(words)} cannot be read; needed none, or names to load (a,b), or names to "
            "leave out (-a,-b)"
        )
    missing = sorted((denied or set(words)) - set(names))
    if missing:
        raise SettingsError(
            f"{PLUGINS_VARIABLE} names a plugin that is not installed: {', '.join(missing)}",
            remedy=f"installed are {', '.join(names) or 'none'}",
        )
    return set(words) if words and not denied else set(names) - denied


def _imported(point: EntryPoint, seen: Mapping[str, str]) -> Any:
    if point.name in seen:
        raise PluginError(
            f"Two plugins have the name {point.name}: {point.value} and {seen[point.name]}",
            where=f"entry-point group {PROJECT}",
            remedy="uninstall or rename one of them",
        )
    try:
        return point.load()
    except (Exception, SystemExit) as error:  # a plugin is other people's code and may raise anything on import
        where = f"entry point {point.value}, before any hook"
        raise _broken(point.name, f"cannot be imported: {one_line(error)}", where) from error


def _admit(
    manager: pluggy.PluginManager,
    name: str,
    module: str,
    plugin: Any,
    taken: dict[tuple[str, str], str],
    kinds: Set[str],
) -> tuple[dict[Origin, Any], tuple[str, ...]]:
    """Register a plugin and all its objects, or nothing of it; return the objects and the hooks that it implements.

    Args:
        taken: (kind, name) -> the object that has the name.
        kinds: hooks that are asked for objects.

    Raises:
        PluginError: it breaks the contract.
    """
    offers: dict[Origin, Any] = {}
    names = dict(taken)
    try:
        implemented = _register(manager, name, f"entry point {module}", plugin)
        for hook in implemented:
            for item in _registered(manager, name, hook) if hook in kinds else ():
                origin = _checked(item, name, hook)
                _claim(names, origin, origin.kind, origin.name)
                for spec in _fields(item, origin) if origin.kind == "scorer" else ():
                    _claim(names, origin, "field", spec.id)
                offers[origin] = item
    except PluginError:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        raise
    taken.update(names)
    return offers, implemented


def _claim(names: dict[tuple[str, str], str], origin: Origin, kind: str, name: str) -> None:
    if (kind, name) in names:
        found = f"{name} of {names[kind, name]} and of {origin}"
        problem = f"registers the {kind} {name}, a name that is taken."
        raise _broken(origin.plugin, problem, f"hook {origin.hook}", found=found)
    names[kind, name] = str(origin)


def _register(manager: pluggy.PluginManager, name: str, where: str, plugin: Any) -> tuple[str, ...]:
    """Register a plugin with pluggy and return the hooks that it implements."""
    try:
        hash(plugin)  # pluggy keeps plugins in sets
        manager.register(plugin, name=name)
    except (pluggy.PluginValidationError, TypeError, ValueError) as error:
        problem = "cannot be registered: no such hook arguments, or no module."
        raise _broken(name, problem, where, found=" ".join(str(error).split())) from error
    callers = manager.get_hookcallers(plugin) or ()
    known = sorted(hook for hook, caller in vars(manager.hook).items() if hook[0] != "_" and caller.has_spec())
    unknown = [caller.name for caller in callers if not caller.has_spec()]
    implemented = tuple(sorted(caller.name for caller in callers))
    unmarked = [hook for hook in known if hook not in implemented and callable(getattr(plugin, hook, None))]
    needed, mark = f"some of {', '.join(known)}", "mark its functions with splicebert_vep_spec.hookimpl; "
    if unknown:
        found = f"{', '.join(unknown)}; {suggestion(unknown, known)}".rstrip("; ")
        problem, first = "implements a hook that does not exist.", "rename the function; "
        raise _broken(name, problem, where, needed=needed, found=found, first=first)
    if unmarked or not implemented:
        problem = "implements a hook without a mark." if unmarked else "implements no hook."
        found = f"no mark at {', '.join(unmarked)}" if unmarked else "no function marked @hookimpl"
        raise _broken(name, problem, where, needed=needed, found=found, first=mark)
    return implemented


def _call(manager: pluggy.PluginManager, name: str, hook: str, **arguments: Any) -> list[Any]:
    """Call a hook of one plugin only, so that an error has a name."""
    others = [plugin for other, plugin in manager.list_name_plugin() if other != name and plugin is not None]
    where = f"hook {hook} of plugin {name}"
    try:
        results: list[Any] = manager.subset_hook_caller(hook, others)(**arguments)
    except Refused as refusal:
        raise SettingsError(str(refusal), where=where) from refusal
    except (Exception, SystemExit) as error:  # a plugin is other people's code and may raise anything
        raise _broken(name, f"failed in hook {hook}: {one_line(error)}", where) from error
    return results


def _registered(manager: pluggy.PluginManager, name: str, hook: str) -> Iterator[Any]:
    """Yield the objects that a plugin registers through a hook."""
    for result in _call(manager, name, hook) or [None]:  # pluggy leaves None out
        if not isinstance(result, Sequence) or isinstance(result, str):
            problem = f"returned no list from hook {hook}: {result!r}; an empty one where there is nothing to register."
            raise _broken(name, problem, f"hook {hook} of plugin {name}")
        yield from result


def _checked(item: Any, plugin: str, hook: str) -> Origin:
    """Check an object that a hook returned, and return its origin."""
    kind, bases = KINDS[hook]
    own = item if isinstance(item, type) else type(item)
    name = getattr(item, "name", None)
    origin = Origin(plugin, hook, kind, name if isinstance(name, str) and name else own.__qualname__)
    as_class = kind in _AS_CLASS
    lacking = f" without {', '.join(sorted(vars(own)['__abstractmethods__']))}" if isabstract(own) else ""
    if isinstance(item, type) != as_class or not issubclass(own, bases) or lacking:
        shape = "the class" if as_class else "an object"
        raise origin.broken(
            "itself",
            needed=f"{shape} of a subclass of {' or '.join(base.__name__ for base in bases)}",
            found=f"{'the class' if isinstance(item, type) else 'an object of'} {own.__qualname__}{lacking}",
        )
    if not is_name(name):
        raise origin.broken("name", needed=NAME_NEEDED, found=repr(name))
    version = getattr(item, "version", None)
    if not isinstance(version, str) or not version:
        raise origin.broken("version", needed="a non-empty string", found=repr(version))
    summary = getattr(item, "summary", None)
    if kind == "command" and (not isinstance(summary, str) or not summary or "\n" in summary):
        raise origin.broken("summary", needed="one line", found=repr(summary))
    return origin


def _fields(scorer: Scorer | SequenceScorer, origin: Origin) -> Sequence[FieldSpec]:
    """Return the fields of a scorer, each a value per ALT; of a scorer of the model's outputs a number."""
    with origin.guarding("fields"):
        fields = scorer.fields
    if not isinstance(fields, Sequence) or not fields:
        raise origin.broken("fields", needed="a tuple or list of FieldSpec, not empty", found=repr(fields))
    for spec in fields:
        texts = isinstance(scorer, SequenceScorer)
        if not isinstance(spec, FieldSpec) or spec.number != "A" or (spec.type == "String" and not texts):
            types = "Float, Integer or String" if texts else "Float or Integer"
            raise origin.broken("fields", needed=f"FieldSpec with number A and type {types}", found=repr(spec))
    return fields

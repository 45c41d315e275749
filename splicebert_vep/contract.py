"""What happens when a plugin breaks the contract: a message that names plugin, hook and remedy."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splicebert_vep_spec import (
    AttentiveBackend,
    Backend,
    BackendFactory,
    BackendInfo,
    BackendOutput,
    Command,
    FieldSpec,
    InfoAdapter,
    JoinAdapter,
    LayeredBackend,
    LocalBackend,
    MergingAdapter,
    Refused,
    Scorer,
    SequenceScorer,
    T,
    TableAdapter,
    TextAdapter,
)
from splicebert_vep_spec._rules import NAME_NEEDED, is_name

from .errors import PluginError, SettingsError, SpliceBertError

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
    for field in fields:
        if not isinstance(field, FieldSpec) or field.number != "A" or field.type == "String":
            raise origin.broken("fields", needed="FieldSpec with number A and type Float or Integer", found=repr(field))
        _take(taken, "field", field.id, origin)


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

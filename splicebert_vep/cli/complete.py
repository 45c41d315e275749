"""What the shell offers after an option: names that the program knows, and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from splicebert_vep_spec import Status

from ..errors import SpliceBertError
from ..model.registry import MODELS

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

#: A path that the shell completes. Whether it can be read is told by the code that reads it, with a remedy.
PATH = click.Path(readable=False)


def complete_models(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the models that have a name, and folders."""
    return _names_or("dir", MODELS, incomplete)


def complete_annotations(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the built-in gene tables, and files."""
    from ..genome.gene_build import BUILT_IN

    return _names_or("file", BUILT_IN, incomplete)


def complete_backends(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the backends, those of plugins too."""
    return _plain(_offered("backend"), incomplete)


def complete_outputs(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the adapters, those of plugins too."""
    return _next_word(_offered("adapter"), incomplete)


def complete_scores(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the score fields, those of plugins too."""
    return _next_word(_offered("field"), incomplete)


def complete_statuses(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the statuses."""
    return _next_word(map(str, Status), incomplete)


def _offered(kind: str) -> list[str]:
    """Return names of what is installed; nothing when that cannot be told, because nobody would read the reason."""
    from ..plugins import inspect_plugins
    from ..settings import GROUPS, PERCENTILES

    try:
        plugins = inspect_plugins()
    except SpliceBertError:
        return []
    if kind == "field":
        return [*(field.id for scorer in plugins.scorers for field in scorer.fields), *PERCENTILES, *GROUPS]
    return list(plugins.origins(kind))


def _plain(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _names_or(kind: str, names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    # The path comes first: bash forgets what stands before it.
    return [CompletionItem(incomplete, type=kind), *_plain(names, incomplete)]


def _next_word(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Complete the last word of a comma-separated list with a name that is not in it yet."""
    before, comma, last = incomplete.rpartition(",")
    left = [name for name in names if name not in before.split(",")]
    return [CompletionItem(f"{before}{comma}{name}") for name in left if name.startswith(last)]

"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from splicebert_vep.model.registry import DEFAULT_MODEL

F = TypeVar("F", bound=Callable[..., Any])


def split_words(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Join repeated and comma-separated values of an option."""
    return tuple(word for value in values for word in value.split(",") if word)


_SHARED = (
    click.option("-R", "--reference", required=True, metavar="FASTA", help="Reference, plain or bgzip-compressed."),
    click.option(
        "-A", "--annotation", default="grch38", show_default=True, metavar="NAME|FILE",
        help="Genes: grch38, grch37, a table of 'genes build', GFF3, GTF, or SpliceAI's table.",
    ),
    click.option("--model", default=DEFAULT_MODEL, show_default=True, metavar="NAME|FOLDER", help="See 'models list'."),
    click.option("--window", default=510, show_default=True, metavar="NT", help="Window W."),
    click.option("--flank", default=100, show_default=True, metavar="NT", help="Flank F on each side of the span."),
    click.option(
        "--window-mode", type=click.Choice(["centred", "tiled"]), default="centred", show_default=True,
        help="Centre each window on its allele, or lay windows on a grid of 128 nt.",
    ),
    click.option(
        "--scores", multiple=True, callback=split_words, metavar="FIELD,...",
        help="Scores to compute, e.g. LLR,KL_CTX; default: all but DELTA_P, KL_MAX and KL_MAX_POS.",
    ),
    click.option(
        "--backend", default="torch", show_default=True, metavar="NAME", help="'null' is no model, for tests of speed.",
    ),
    click.option(
        "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True,
        help="Where the model runs.",
    ),
    click.option(
        "--batch-tokens", type=click.IntRange(1), default=16384, show_default=True, help="Tokens in one forward pass.",
    ),
    click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads of the model; default: torch's."),
)  # fmt: skip


def model_options(command: F) -> F:
    """Add the options that say what is computed, and on what."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


def open_annotator(
    *, reference: str, annotation: str, model: str, window: int, flank: int, window_mode: str, scores: tuple[str, ...],
    backend: str, device: str, batch_tokens: int, threads: int | None,
) -> Any:  # fmt: skip
    """Return the Annotator that the shared options describe; torch is imported here, not for ``--help``."""
    from splicebert_vep.annotator import Annotator
    from splicebert_vep.sequence.windows import WindowShape
    from splicebert_vep.settings import Settings

    mode: Any = window_mode
    settings = Settings(window=WindowShape(window, flank, mode), scores=scores or None, batch_tokens=batch_tokens)
    return Annotator(
        reference, annotation, model=model, backend=backend, device=device, threads=threads, settings=settings
    )

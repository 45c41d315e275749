"""Plan embeddings: what is asked for, held against reference, annotation and model before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from splicebert_vep.contract import GuardedBackend
from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.guard import Observed

from .embed import Embeddings, EmbedPlan
from .targets import Target, Wanted, find_targets
from .variants import AlleleWindows
from .windows import Source, Stretches

if TYPE_CHECKING:
    from splicebert_vep.annotator import Annotator

Layers = str | Sequence[int]
"""``last``, ``all``, or numbers: 0 is what enters the first layer, 1 what leaves it."""

#: Provenance of an annotator that also determines embeddings.
_PROVENANCE = (
    "Version", "Backend", "Model", "WeightsSHA256", "Architecture", "Precision", "BatchTokens", "Device", "Reference",
    "ReferenceSHA256", "Plugins", "Quality",
)  # fmt: skip
_OF_GENES = ("Annotation", "AnnotationDigest")
_OF_ALLELES = (*_OF_GENES, "Flank", "WindowMode", "Stride")
_APART = 500_000  # nt between the places at which the builds are compared
_COMPARED = 50  # nt


def embeddings_of(
    wanted: Wanted,
    layers: Layers,
    keep: int | None,
    attention: bool,
    annotator: Annotator,
    lock: AbstractContextManager[object],
) -> Embeddings:
    """Return what computes the embeddings when it is read; see ``Annotator.embed``.

    Args:
        lock: held while the annotator's model runs.
    """
    settings, backend = annotator.settings, annotator.backend
    width = settings.window.width
    batch_tokens = settings.batch_tokens or backend.info.batch_tokens
    chosen = choose_layers(layers, backend)
    whole = attention or wanted.vcf is not None
    plan = EmbedPlan(
        chosen, width, check_keep(keep, width, whole=whole), batch_tokens,
        choose_attention(chosen, backend) if attention else (),
    )  # fmt: skip
    warnings: list[str] = []
    source: Source
    more: tuple[str, ...]
    if wanted.vcf is not None:
        source, more = _alleles(wanted, keep, annotator, warnings), _OF_ALLELES
    else:
        targets = find_targets(wanted, annotator.reference, annotator.genes.table, warnings)
        if wanted.genes:
            warnings += _check_build(annotator, [target for target in targets if target.gene])
        fixed = None if backend.info.fixed_window is None else backend.info.model
        source = Stretches(
            targets, annotator.reference, width=width, keep=plan.keep, whole=attention, fixed=fixed
        )  # fmt: skip
        more = _OF_GENES if wanted.genes else ()

    def provenance() -> dict[str, str]:
        known = annotator.run.provenance
        return {key: known[key] for key in (*_PROVENANCE, *more)}

    return Embeddings(source, plan, backend=backend, lock=lock, provenance=provenance, warnings=warnings)


def _alleles(wanted: Wanted, keep: int | None, annotator: Annotator, warnings: list[str]) -> AlleleWindows:
    if wanted != Wanted(vcf=wanted.vcf) or keep is not None:
        raise SettingsError(
            "The windows of a VCF go without anything else.",
            needed="a VCF without genes, regions, a BED file, records, strand or keep",
            found=", ".join(key for key in ("genes", "regions", "bed", "records", "strand") if getattr(wanted, key))
            or "keep",
        )
    assert wanted.vcf is not None
    return AlleleWindows(wanted.vcf, annotator, warnings)


def _check_build(annotator: Annotator, targets: Sequence[Target]) -> Sequence[str]:
    """Return warnings; raises BuildError where annotation and FASTA are of different builds."""
    guard = annotator.files().guard({})
    guard.observe(
        Observed(target.contig, at + 1, annotator.reference.fetch(target.contig, at, at + _COMPARED).decode("ascii"))
        for target in targets
        for at in range(target.start, target.end, _APART)
    )
    return guard.finish()


def choose_layers(asked: Layers, backend: GuardedBackend) -> tuple[int, ...] | None:
    """Return the numbers of the asked layers; None for the last of a backend that shows no other.

    Raises:
        SettingsError: the model has no such layer, or the backend shows the last layer only.
    """
    last = backend.layers
    if last is None:
        if asked == "last":
            return None
        raise SettingsError(
            "The backend shows the hidden states of its last layer only.",
            needed="--layers last, or a backend that offers hidden_states",
            found=f"--layers {_told(asked)}",
            where=f"model {backend.info.model}",
        )
    if asked == "last":
        return (last,)
    if asked == "all":
        return tuple(range(last + 1))
    numbers = () if isinstance(asked, str) else tuple(asked)
    known = all(number in range(last + 1) for number in numbers)
    if not numbers or not known or len(set(numbers)) < len(numbers):
        raise SettingsError(
            "There are no such layers, or one was asked for twice.",
            needed=f"last, all, or some of 0 (the embeddings) to {last}, each once",
            found=_told(asked),
            where=f"model {backend.info.model}",
        )
    return tuple(int(number) for number in numbers)


def choose_attention(layers: tuple[int, ...] | None, backend: GuardedBackend) -> tuple[int, ...]:
    """Return which of the asked layers attend: all but the embeddings.

    Raises:
        SettingsError: none does, or the backend shows no attention weights.
    """
    if backend.heads is None or layers is None:
        raise SettingsError(
            "The backend shows no attention weights.",
            needed="a backend that offers attention",
            found=f"model {backend.info.model}",
            remedy="leave --attention out, or choose --backend torch",
        )
    attend = tuple(layer for layer in layers if layer)
    if not attend:
        raise SettingsError(
            "The embeddings, layer 0, attend to nothing.", needed=f"a layer from 1 to {backend.layers}", found="0"
        )
    return attend


def _told(asked: Layers) -> str:
    return asked if isinstance(asked, str) else ",".join(map(str, asked)) or "none"


def check_keep(keep: int | None, width: int, *, whole: bool = False) -> int:
    """Return how much of a window is kept, half of it when nothing is said.

    Args:
        whole: keep all of it when nothing is said.

    Raises:
        SettingsError: it is less than one nucleotide or more than the window.
    """
    chosen = (width if whole else max(1, width // 2)) if keep is None else keep
    if not 1 <= chosen <= width:
        raise SettingsError(
            "The kept part does not fit the window.", needed=f"--keep from 1 to {width}", found=f"--keep {chosen}"
        )
    return chosen

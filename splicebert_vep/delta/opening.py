"""Give the delta scorer its model where a run asks for delta scores: nothing is loaded for any other run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from splicebert_vep.errors import ModelError
from splicebert_vep.model.registry import resolve_splice_model
from splicebert_vep.model.splice_sites import SpliceSiteModel
from splicebert_vep.settings import Settings, asked_scores
from splicebert_vep_spec import Scorer, SequenceScorer

from .scorer import DeltaScorer, SiteBases, SpliceModelName, shape_of

NAME, SHA256 = "SpliceModel", "SpliceModelSHA256"

AnyScorer = Scorer | SequenceScorer


@dataclass(frozen=True, slots=True)
class Delta:
    """The scorers of a run, the delta scorer with its model among them, and what is told of that.

    Args:
        scorers: in their order.
        provenance: of delta scores; empty where none are asked for.
    """

    scorers: tuple[AnyScorer, ...]
    provenance: Mapping[str, str]

    @property
    def note(self) -> str:
        """Say which model the delta scores come from; empty where none are asked for."""
        if not self.provenance:
            return ""
        masked = ", masked" if self.provenance["DeltaMasked"] == "yes" else ""
        first, dot, rest = self.provenance["SpliceModelQuality"].partition(". ")
        quality = f"{first}; docs/models.md has the figures" if dot and rest else first
        within = f"within {self.provenance['DeltaDistance']} nt{masked}"
        return f"delta scores by {self.provenance[NAME]}, {within}; {quality}"


def open_delta(
    scorers: Sequence[AnyScorer],
    settings: Settings,
    model: str,
    *,
    device: str,
    threads: int | None,
    sites: SiteBases | None = None,
) -> Delta:
    """Open the splice-site model where one of its scores is asked for.

    Args:
        model: name of the bundled one, or a folder of ``finetune splice-sites``.
        device, threads: as for the model of the other scores.
        sites: annotated sites; read for masked scores only.

    Raises:
        ModelError: the folder does not hold such a model, or one of narrow windows.
        SettingsError: the device is not there.
    """
    if not _is_asked(scorers, settings):
        return Delta(tuple(scorers), {})
    folder = resolve_splice_model(model)
    opened = SpliceSiteModel.open(folder, device, threads)
    shape = shape_of(opened.window, settings.delta)
    if shape.longest_span < 1:
        raise ModelError(
            "The splice-site model sees too little for delta scores.",
            needed=f"windows of at least {2 * shape.flank + 1} nt",
            found=f"{opened.window} nt",
            where=str(folder),
        )
    about = SpliceModelName(opened.name, opened.weights_sha256)
    provenance = {
        NAME: about.name,
        SHA256: about.weights_sha256,
        "SpliceModelQuality": opened.quality or "quality not measured",
        "DeltaDistance": str(settings.delta.distance),
        "DeltaMasked": "yes" if settings.delta.masked else "no",
    }
    scorer = DeltaScorer(settings.delta, about, opened, sites, settings.batch_tokens)
    return Delta(_with(scorers, scorer), provenance)


def recalled_delta(
    scorers: Sequence[AnyScorer], settings: Settings, provenance: Mapping[str, str]
) -> tuple[AnyScorer, ...]:
    """Return the scorers of a run whose values are in a store already: they have its names and versions, and no model.

    Args:
        provenance: of the run that scored.
    """
    if not _is_asked(scorers, settings):
        return tuple(scorers)
    return _with(scorers, DeltaScorer(settings.delta, SpliceModelName(provenance[NAME], provenance[SHA256])))


def _is_asked(scorers: Sequence[AnyScorer], settings: Settings) -> bool:
    asked = asked_scores(scorers, settings)
    return any(field.id in asked for scorer in scorers if isinstance(scorer, DeltaScorer) for field in scorer.fields)


def _with(scorers: Sequence[AnyScorer], scorer: DeltaScorer) -> tuple[AnyScorer, ...]:
    return tuple(scorer if isinstance(one, DeltaScorer) else one for one in scorers)

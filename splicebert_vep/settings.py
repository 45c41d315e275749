"""All knobs that change a score, and the version of the scores themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from splicebert_vep_spec import NEEDS, BackendInfo, FieldSpec, Scorer, SequenceScorer

from .contract import Origin
from .errors import SettingsError, suggestion
from .model.local import Local
from .sequence.windows import WindowShape

#: Raised by one whenever the same input can give another score; named under "Scores" in CHANGELOG.md.
SCORE_VERSION = 2

DISCLAIMER = "zero-shot scores, not calibrated to ACMG/AMP evidence, no PP3/BP4 threshold"

#: The score by which flat output chooses between genes that are otherwise equal.
CHOICE = "KL_CTX"

#: Fields about the window that every run reports after the scores.
N_FRAC = FieldSpec("N_FRAC", "A", "Float", "Share of the REF window that is not A, C, G or T in the reference")
WINDOW_MODE = FieldSpec("WINDOW_MODE", "A", "String", "How the allele's window was placed: tiled or centred")

#: Percentiles, which come from a calibration table, and the score that each is of.
PERCENTILES = {"PCTL_KL_CTX": "KL_CTX", "PCTL_LLR": "LLR"}
REGION_CLASS = FieldSpec("REGION_CLASS", "A", "String", "Region class that the percentiles are of, see docs/scores.md")

#: Names of output columns that no scorer may take.
RESERVED_FIELDS = (
    "ALLELE", "SYMBOL", "GENE", "TRANSCRIPT", "STRAND", "REGION", "SITE_OFFSET", "SITE_HIT", "NGENES", "STATUS",
    "CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT", "TRANSCRIPT_CHOICE", "BIOTYPE", "REASON",
    "GENE_KEY", "EVIDENCE", *PERCENTILES, REGION_CLASS.id, N_FRAC.id, WINDOW_MODE.id,
)  # fmt: skip


#: Names of the program's own commands, which no plugin may take.
RESERVED_COMMANDS = (
    "annotate", "score", "cohort", "store", "saturate", "genes", "models", "calibrate", "corpus", "pretrain",
    "validate", "evaluate", "plugins", "doctor", "completion", "report", "plot", "map", "embed", "finetune",
    "oligo",
)  # fmt: skip


EngineMode = Literal["exact", "local"]

#: How far around masked positions local mode computes again, nt: a masked site needs less than an ALT, for which see
#: docs/performance.md.
MASKED_RADIUS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user chooses of a run.

    Args:
        window: how windows are laid out.
        scores: field ids to compute, or None for every default field; a percentile computes its score too.
        mode: ``exact`` runs every window whole; ``local`` computes an equal-length ALT and a masked site only around
            the change, from what the REF pass left, and all else whole.
        radius: how far around the span local mode computes an ALT, nt on each side; read in local mode only.
        batch_tokens: upper bound of tokens in one forward call; None takes what suits the backend.
        chunk_records: records that flow through the pipeline together; bounds memory.
    """

    window: WindowShape = WindowShape()
    scores: tuple[str, ...] | None = None
    mode: EngineMode = "exact"
    radius: int = 240
    batch_tokens: int | None = None
    chunk_records: int = 1024

    @property
    def local(self) -> Local | None:
        """The radii of local mode; None for exact."""
        return Local(self.radius, MASKED_RADIUS) if self.mode == "local" else None

    def __post_init__(self) -> None:
        shape = self.window
        if shape.flank < 1 or shape.width < 2 * shape.flank + 1:
            raise SettingsError(
                "The window has no room for the flanks.",
                needed="--flank of at least 1 and --window of at least 2 x flank + 1",
                found=f"--window {shape.width} --flank {shape.flank}",
            )
        if shape.mode == "tiled" and shape.stride < 1:
            raise SettingsError("The tile stride is not positive.", needed="at least 1", found=str(shape.stride))
        if self.mode == "local" and self.radius < shape.flank:
            raise SettingsError(
                "The radius of local mode does not reach the flanks that the scores read.",
                needed=f"--radius of at least {shape.flank}",
                found=f"--radius {self.radius}",
            )
        if (self.batch_tokens is not None and self.batch_tokens < 1) or self.chunk_records < 1:
            raise SettingsError("Batch tokens and chunk records must be at least 1.")


@dataclass(frozen=True, slots=True)
class PlannedScorer:
    """A scorer, the fields asked of it, and where it comes from."""

    scorer: Scorer | SequenceScorer
    asked: frozenset[str]
    origin: Origin

    @property
    def fields(self) -> list[str]:
        """Ids of the asked fields, in the scorer's order."""
        return [field.id for field in self.scorer.fields if field.id in self.asked]

    def is_integer(self, field: str) -> bool:
        """Tell whether a field's values are whole numbers."""
        return any(known.id == field and known.type == "Integer" for known in self.scorer.fields)

    def needs(self) -> frozenset[str]:
        """Return what the engine has to compute for these fields; nothing for what reads the sequence alone.

        Raises:
            PluginError: the scorer failed.
        """
        if not isinstance(self.scorer, Scorer):
            return frozenset()
        with self.origin.guarding("needs"):
            needs = self.scorer.needs(self.asked)
        if not isinstance(needs, Set) or not needs <= NEEDS:
            raise self.origin.broken("needs", needed=f"a set of some of {', '.join(sorted(NEEDS))}", found=repr(needs))
        return frozenset(needs)


@dataclass(frozen=True, slots=True)
class ScorePlan:
    """Which scorer computes which of the asked fields.

    Args:
        scorers: the scorers to run.
        fields: every field of the output, scores first, in the scorers' order.
        needs: what the engine has to compute for them.
    """

    scorers: tuple[PlannedScorer, ...]
    fields: tuple[FieldSpec, ...]
    needs: frozenset[str]


def plan_scores(
    scorers: Sequence[Scorer | SequenceScorer], origins: Mapping[str, Origin], settings: Settings
) -> ScorePlan:
    """Choose scorers and fields for a run; origins are by the scorers' names.

    Of a percentile its score is planned; ``calibration.percentiles`` adds the percentile itself.

    Raises:
        SettingsError: a score was asked for that no scorer offers.
    """
    known = {field.id: field for scorer in scorers for field in scorer.fields}
    named = settings.scores or tuple(field.id for field in known.values() if field.default)
    asked = {PERCENTILES.get(name, name) for name in named}
    unknown = sorted(asked - set(known))
    if unknown:
        raise SettingsError(
            "An unknown score was asked for.",
            needed=f"some of {', '.join((*known, *PERCENTILES))}",
            found=", ".join(unknown),
            remedy=suggestion(unknown, (*known, *PERCENTILES))
            or "see 'splicebert-vep plugins' for every score and its description",
        )
    chosen = []
    for scorer in scorers:
        mine = frozenset(field.id for field in scorer.fields) & asked
        if mine:
            chosen.append(PlannedScorer(scorer, mine, origins[scorer.name]))
    window = (N_FRAC, WINDOW_MODE) if settings.window.mode == "tiled" else (N_FRAC,)
    needs = frozenset[str]().union(*(planned.needs() for planned in chosen))
    return ScorePlan(tuple(chosen), (*(known[i] for i in known if i in asked), *window), needs)


def with_choice(
    plan: ScorePlan, scorers: Sequence[Scorer | SequenceScorer], origins: Mapping[str, Origin]
) -> ScorePlan:
    """Return the plan that also computes KL_CTX, by which flat output chooses between genes; output fields stay."""
    owner = next((scorer for scorer in scorers if any(field.id == CHOICE for field in scorer.fields)), None)
    if owner is None or any(CHOICE in planned.asked for planned in plan.scorers):
        return plan
    asked = {planned.scorer.name: planned.asked for planned in plan.scorers}
    asked[owner.name] = asked.get(owner.name, frozenset()) | {CHOICE}
    chosen = tuple(PlannedScorer(s, asked[s.name], origins[s.name]) for s in scorers if s.name in asked)
    needs = plan.needs.union(*(planned.needs() for planned in chosen))
    return ScorePlan(chosen, plan.fields, needs)


def check_window(shape: WindowShape, info: BackendInfo) -> None:
    """Raise SettingsError when the model was not trained for windows of this width."""
    if info.fixed_window is not None and shape.width != info.fixed_window:
        raise SettingsError(
            f"Model {info.model} takes windows of one length only.",
            needed=f"--window {info.fixed_window}",
            found=f"--window {shape.width}",
        )
    if shape.width > info.max_window:
        raise SettingsError(
            f"The window is wider than model {info.model} was trained for.",
            needed=f"--window of at most {info.max_window}",
            found=f"--window {shape.width}",
        )

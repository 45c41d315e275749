"""Add percentiles to outcomes, whether they were scored now or remembered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from splicebert_vep.errors import CalibrationError, SettingsError
from splicebert_vep.identity import score_digest
from splicebert_vep.pipeline import ScoringLike
from splicebert_vep.settings import N_FRAC, PERCENTILES, REGION_CLASS, WINDOW_MODE, ZERO_SHOT, ScorePlan, Settings
from splicebert_vep_spec import Allele, FieldSpec, ScoredContext, Status, Value

from .classes import region_class
from .table import CalibrationTable

#: Tables of the models that come with the program; each lies beside its weights.
_BUNDLED = Path(__file__).parents[1] / "model" / "bundled"
_SUFFIX = ".calibration.json.gz"
_MAKE = "make one with 'splicebert-vep calibrate' and the same model and window options, and give it as --calibration"


@dataclass(frozen=True, slots=True)
class Percentiles:
    """The percentiles of a run.

    Args:
        table: that they come from; None where the run has none.
        fields: that they are written to.
        note: why there are none, for the user; empty where there are, or nobody asked.
    """

    table: CalibrationTable | None
    fields: tuple[FieldSpec, ...]
    note: str = ""

    @property
    def digest(self) -> str:
        """What provenance says of the table."""
        return self.table.digest if self.table else "none"

    def shown_in(self, plan: ScorePlan) -> ScorePlan:
        """Return the plan with these fields after the scores."""
        window = tuple(field for field in plan.fields if field in (N_FRAC, WINDOW_MODE))
        scores = tuple(field for field in plan.fields if field not in window)
        return replace(plan, fields=(*scores, *self.fields, *window))

    def over(self, scoring: ScoringLike) -> ScoringLike:
        """Return what gives the outcomes of ``scoring`` with percentiles."""
        return _WithPercentiles(scoring, self) if self.table else scoring

    def added(self, allele: Allele, outcome: ScoredContext) -> ScoredContext:
        """Return an outcome with its percentiles; only an SNV that is OK, in a gene where it has a class, has any."""
        if self.table is None or outcome.status != Status.OK or not len(allele.ref) == len(allele.alt) == 1:
            return outcome
        name = None if outcome.context is None else region_class(outcome.context)
        if name is None:
            return outcome
        more: dict[str, Value] = {REGION_CLASS.id: name}
        for field in self.fields:
            value = outcome.values.get(PERCENTILES.get(field.id, ""))
            if isinstance(value, float):
                more[field.id] = self.table.percentile(PERCENTILES[field.id], name, value)
        return replace(outcome, values={**outcome.values, **more})


@dataclass(frozen=True, slots=True)
class _WithPercentiles:
    scoring: ScoringLike
    percentiles: Percentiles

    def outcomes(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]:
        added = self.percentiles.added
        return [
            tuple(added(allele, outcome) for outcome in outcomes)
            for allele, outcomes in zip(alleles, self.scoring.outcomes(alleles), strict=True)
        ]


def plan_percentiles(
    plan: ScorePlan, settings: Settings, provenance: Mapping[str, str], path: str | Path | None
) -> Percentiles:
    """Choose the percentiles of a run and the table that they come from.

    Args:
        plan: the scores.
        settings: which of them the user named.
        provenance: what of the run determines its scores.
        path: the user's table; None looks among those of the bundled models.

    Raises:
        CalibrationError: the table cannot be read or is of other scores; percentiles were asked for and no table fits.
        SettingsError: a table was given and no percentile was asked for.
    """
    there = {field.id for field in plan.fields}
    named = settings.scores or (ZERO_SHOT,)
    asked = [field for field in _FIELDS if ZERO_SHOT in named or field.id in named]
    wanted = tuple(field for field in asked if PERCENTILES[field.id] in there)
    if not wanted:
        if path is not None:
            raise SettingsError(
                "A calibration table was given, and no percentile was asked for.",
                needed=f"{' or '.join(PERCENTILES)} among the scores, or {ZERO_SHOT}, or no list of scores",
                found=", ".join(named),
            )
        return Percentiles(None, ())
    table, note = _fitting(provenance, path)
    if table is None:
        if any(name in PERCENTILES for name in named):
            raise CalibrationError(
                "Percentiles were asked for, and there is no calibration table for these scores.",
                needed=f"a table of score digest {score_digest(provenance)[:12]}",
                found=note,
                remedy=_MAKE,
            )
        return Percentiles(None, (), f"no percentiles: {note}; 'splicebert-vep calibrate' makes a table that fits")
    return Percentiles(table, (*wanted, REGION_CLASS))


_FIELDS = tuple(
    FieldSpec(
        name, "A", "Float",
        f"Percentile of {'-' if score == 'LLR' else ''}{score} among random SNVs of the same REGION_CLASS: "
        "100 (less + equal/2)/n; SNVs only; says how unusual the score is, not how harmful the allele",
        "higher",
    )
    for name, score in PERCENTILES.items()
)  # fmt: skip


def _fitting(provenance: Mapping[str, str], path: str | Path | None) -> tuple[CalibrationTable | None, str]:
    """Return the table of a run's scores, or None and why there is none."""
    needed = score_digest(provenance)
    if path is not None:
        table = CalibrationTable.load(path)
        if table.score_digest != needed:
            raise CalibrationError(
                "The calibration table is of other scores.",
                needed=f"score digest {needed[:12]}",
                found=f"{table.score_digest[:12]}: {_differences(table, provenance)}",
                where=str(path),
                remedy=_MAKE,
            )
        return table, ""
    bundled = [CalibrationTable.load(path) for path in sorted(_BUNDLED.glob(f"*/*{_SUFFIX}"))]
    for table in bundled:
        if table.score_digest == needed:
            return table, ""
    near = [table for table in bundled if table.scored_by["WeightsSHA256"] == provenance["WeightsSHA256"]]
    if not near:
        return None, f"there is no calibration table for model {provenance['Model']}"
    return None, f"the calibration table of {near[0].scored_by['Model']} is of other scores: " + _differences(
        near[0], provenance
    )


def _differences(table: CalibrationTable, provenance: Mapping[str, str]) -> str:
    return ", ".join(
        f"{key} {value} instead of {provenance[key]}"
        for key, value in table.scored_by.items()
        if provenance[key] != value
    )

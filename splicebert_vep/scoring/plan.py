"""Run the scorers and check what they return: it may be other people's code. Those of the model run one batch ahead."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splicebert_vep_spec import (
    NEEDS,
    AlignedBatch,
    Allele,
    BackendInfo,
    Bases,
    FieldSpec,
    FieldType,
    GeneContext,
    Scorer,
    SequenceScorer,
    Skipped,
    Status,
    Value,
)
from splicebert_vep_spec.values import INTEGER_MAX, INTEGER_MIN

from ..errors import SettingsError, suggestion
from ..model.engine import EngineBatch, ReadBack
from ..plugins import Origin
from ..settings import CHOICE, DELTA, GROUPS, N_FRAC, PERCENTILES, Settings


@dataclass(frozen=True, slots=True)
class PlannedScorer:
    """A scorer, the fields asked of it, and where it comes from."""

    scorer: Scorer | SequenceScorer
    asked: frozenset[str]
    origin: Origin

    def __post_init__(self) -> None:
        if not isinstance(self.scorer, Scorer | SequenceScorer):  # no step would run it: its fields would be missing
            found = type(self.scorer).__qualname__
            raise self.origin.broken("itself", needed="a Scorer or SequenceScorer", found=found)

    @property
    def fields(self) -> list[str]:
        """Ids of the asked fields, in the scorer's order."""
        return [field.id for field in self.scorer.fields if field.id in self.asked]

    def is_integer(self, field: str) -> bool:
        """Tell whether a field's values are whole numbers."""
        return self.type_of(field) == "Integer"

    def type_of(self, field: str) -> FieldType:
        """Return the type of a field's values."""
        return next(known.type for known in self.scorer.fields if known.id == field)

    def needs(self) -> frozenset[str]:
        """Return the outputs of the model that these fields need; none for a SequenceScorer.

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
    """The scorers of a run, with the fields asked of each.

    Args:
        scorers: the scorers to run.
        fields: every field of the output, scores first, in the scorers' order.
        needs: outputs that the engine has to compute for them.
    """

    scorers: tuple[PlannedScorer, ...]
    fields: tuple[FieldSpec, ...]
    needs: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the scores with who computes them, ``FIELD=scorer/version`` or ``FIELD:String=...``: store columns."""
        return tuple(
            f"{name}{':String' if one.type_of(name) == 'String' else ''}={one.scorer.name}/{one.scorer.version}"
            for one in self.scorers
            for name in one.fields
        )

    @property
    def offsets(self) -> frozenset[str]:
        """Return the ids of fields that count from POS."""
        return frozenset(field.id for field in self.fields if field.from_pos)


def asked_scores(scorers: Sequence[Scorer | SequenceScorer], settings: Settings) -> frozenset[str]:
    """Return the names that a run asks for, known or not: groups are taken apart, of a percentile it is the score."""
    default = {
        group: {
            field.id for scorer in scorers if (scorer.name == DELTA) == (group == DELTA)
            for field in scorer.fields if field.default
        }
        for group in GROUPS
    }  # fmt: skip
    asked = set[str]()
    for name in settings.scores or GROUPS:
        asked |= default.get(name, {PERCENTILES.get(name, name)})
    return frozenset(asked)


def plan_scores(
    scorers: Sequence[Scorer | SequenceScorer], origins: Mapping[str, Origin], settings: Settings
) -> ScorePlan:
    """Choose scorers and fields for a run; origins are by the scorers' names.

    Of a percentile its score is planned; ``percentiles.plan_percentiles`` adds the percentile itself.

    Raises:
        SettingsError: a score was asked for that no scorer offers.
    """
    known = {field.id: field for scorer in scorers for field in scorer.fields}
    asked = asked_scores(scorers, settings)
    unknown = sorted(asked - set(known))
    if unknown:
        offered = (*known, *PERCENTILES, *GROUPS)
        remedy = suggestion(unknown, offered) or "see 'splicebert-vep plugins' for every score and its description"
        needed, found = f"some of {', '.join(offered)}", ", ".join(unknown)
        raise SettingsError("An unknown score was asked for.", needed=needed, found=found, remedy=remedy)
    chosen = []
    for scorer in scorers:
        mine = frozenset(field.id for field in scorer.fields) & asked
        if mine:
            chosen.append(PlannedScorer(scorer, mine, origins[scorer.name]))
    needs = frozenset[str]().union(*(planned.needs() for planned in chosen))
    return ScorePlan(tuple(chosen), (*(known[i] for i in known if i in asked), N_FRAC), needs)


def with_worth(plan: ScorePlan, info: BackendInfo) -> ScorePlan:
    """Return the plan whose fields of the model's outputs say what the loaded model was measured to be worth."""
    of_model = {name for one in plan.scorers if isinstance(one.scorer, Scorer) for name in one.fields}

    def told(field: FieldSpec) -> FieldSpec:
        if field.id not in of_model or field.direction == "none":
            return field
        worth = info.worth.get(field.id, "worth not measured")
        return replace(field, description=f"{field.description}; {info.model}: {worth}")

    return replace(plan, fields=tuple(map(told, plan.fields)))


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


_NOT_FINITE = "the model returned values that are not finite"


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """Values by field for each row that was scored, and the reasons of the others."""

    values: Mapping[int, dict[str, Value]]
    failed: Mapping[int, str]


def scored(batches: Iterable[EngineBatch], plan: ScorePlan) -> Iterator[ScoredBatch]:
    """Score batches; while one is read back, the device is at work on the next.

    NaN becomes None, and so does a field that a scorer leaves out because no allele of the batch has it.

    Raises:
        PluginError: a scorer returned a field it was not asked for, another number of values, or no numbers.
    """
    waiting: _Launched | None = None
    for batch in batches:
        launched = _Launched(batch, plan)
        if waiting is not None:
            yield waiting.collect()
        waiting = launched
    if waiting is not None:
        yield waiting.collect()


def scored_by_sequence(
    alleles: Sequence[tuple[Allele, GeneContext]], bases: Bases, plan: ScorePlan
) -> list[dict[str, Value] | Skipped]:
    """Return the values of scorers that read the sequence alone, by field, for each allele x gene; or how it failed.

    Raises:
        SettingsError: a scorer refused.
        PluginError: it returned a field it was not asked for, another number of values, or values of another type.
    """
    failed: dict[int, Skipped] = {}
    checked: dict[str, list[Value]] = {}
    for planned in plan.scorers if alleles else ():
        if not isinstance(planned.scorer, SequenceScorer):
            continue
        with planned.origin.guarding("score_alleles"):
            columns = {
                field: list(values)
                for field, values in planned.scorer.score_alleles(alleles, bases, planned.asked).items()
            }
        if columns.keys() != planned.asked or any(len(values) != len(alleles) for values in columns.values()):
            raise planned.origin.broken(
                "score_alleles",
                needed=f"{len(alleles)} values for each of {', '.join(planned.fields)}",
                found=", ".join(f"{len(values)} of {field}" for field, values in columns.items()) or "nothing",
            )
        for field in planned.fields:
            checked[field] = _checked(columns[field], field, planned, failed)
    rows = zip(*checked.values(), strict=True) if checked else itertools.repeat((), len(alleles))
    found: list[dict[str, Value] | Skipped] = [dict(zip(checked, row, strict=True)) for row in rows]
    for i, why in failed.items():
        found[i] = why
    return found


def _checked(column: Sequence[object], field: str, planned: PlannedScorer, failed: dict[int, Skipped]) -> list[Value]:
    """Return a column whose values are of the field's type; those that failed are missing, and told in ``failed``."""
    type_ = planned.type_of(field)
    there = [value for value in column if value is not None]
    if set(map(type, there)) <= {_PLAIN[type_]} and (type_ == "String" or _is_plain(there, type_)):
        return list(column)  # type: ignore[arg-type]
    values: list[Value] = []
    for i, value in enumerate(column):
        if isinstance(value, Skipped) and value.status == Status.FAILED:
            failed.setdefault(i, value)
            value = None
        values.append(None if value is None else _value(value, field, type_, planned.origin))
    return values


_PLAIN = {"String": str, "Integer": int, "Float": float}


def _is_plain(numbers: Sequence[Any], type_: str) -> bool:
    """Tell whether all numbers, of the type's own class, are values as they are."""
    if type_ == "Integer":
        return not numbers or INTEGER_MIN <= min(numbers) <= max(numbers) <= INTEGER_MAX
    return bool(np.isfinite(numbers).all())


def _value(value: object, field: str, type_: str, origin: Origin) -> Value:
    if type_ == "String":
        if not isinstance(value, str):
            raise origin.broken("score_alleles", needed="words, None where missing", found=f"{field} is {value!r}")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise origin.broken("score_alleles", needed="finite numbers, None where missing", found=f"{field} is {value!r}")
    return _whole(float(value), field, origin, "score_alleles") if type_ == "Integer" else float(value)


class _Launched:
    """A batch whose scores the device is computing."""

    def __init__(self, done: EngineBatch, plan: ScorePlan) -> None:
        self._rows, self._failed = done.rows, done.failed
        self._columns: list[tuple[PlannedScorer, list[str], ReadBack]] = []
        if done.batch is None or done.finite is None:
            return
        self._finite = ReadBack([done.finite])
        written = _writes(done.batch)
        planned_scorers = [(planned, planned.scorer) for planned in plan.scorers if isinstance(planned.scorer, Scorer)]
        for planned, scorer in planned_scorers:
            with planned.origin.guarding("score"):
                found = dict(scorer.score(done.batch, planned.asked))
                self._check(planned, found)
                if found:
                    self._columns.append((planned, list(found), ReadBack(list(found.values()))))
            if _writes(done.batch) != written:
                needed = "a batch left as it was: others read it"
                raise planned.origin.broken("score", needed=needed, found="tensors written into")
        self._fields = {field: None for planned, _ in planned_scorers for field in planned.fields}

    def _check(self, planned: PlannedScorer, found: Mapping[str, Any]) -> None:
        origin, asked, size = planned.origin, planned.asked, len(self._rows)
        for field, tensor in found.items():
            if not hasattr(tensor, "double") or tensor.is_complex():
                raise origin.broken("score", needed=f"a torch tensor for {field}", found=type(tensor).__qualname__)
            if field not in asked or tuple(tensor.shape) != (size,):
                raise origin.broken(
                    "score",
                    needed=f"tensors of shape ({size},), one value per allele x gene, for {', '.join(sorted(asked))}",
                    found=f"{field} of shape {tuple(tensor.shape)}",
                )

    def collect(self) -> ScoredBatch:
        """Return the batch's values, once they are there."""
        failed = dict(self._failed)
        if not self._rows:
            return ScoredBatch({}, failed)
        [finite] = self._finite.wait()
        good = [i for i, one in enumerate(finite) if one]
        failed.update((row, _NOT_FINITE) for row, one in zip(self._rows, finite, strict=True) if not one)
        columns: dict[str, list[Value]] = {field: [None] * len(good) for field in self._fields}
        for planned, names, there in self._columns:
            for field, found in zip(names, there.wait(), strict=True):
                columns[field] = _values([found[i] for i in good], field, planned)
        rows = zip(*columns.values(), strict=True) if columns else itertools.repeat((), len(good))
        values = {self._rows[i]: dict(zip(columns, row, strict=True)) for i, row in zip(good, rows, strict=True)}
        return ScoredBatch(values, failed)


def _values(values: Sequence[float], field: str, planned: PlannedScorer) -> list[Value]:
    if any(map(math.isinf, values)):
        raise planned.origin.broken("score", needed="finite numbers, NaN where missing", found=f"{field} is infinite")
    if planned.is_integer(field):
        return [None if math.isnan(value) else _whole(value, field, planned.origin) for value in values]
    return [None if math.isnan(value) else value for value in values]


def _writes(batch: AlignedBatch) -> list[int]:
    """Return how often each tensor of a batch has been written to, as torch counts it."""
    parts = (batch, batch.ref, batch.alt, batch.masked)
    values = (getattr(part, name) for part in parts if part is not None for name in part.__dataclass_fields__)
    return [value._version for value in values if hasattr(value, "_version")]


def _whole(value: float, field: str, origin: Origin, method: str = "score") -> int:
    if not value.is_integer() or not INTEGER_MIN <= value <= INTEGER_MAX:
        raise origin.broken(method, needed=f"whole numbers of 32 bits: {field} is an Integer", found=f"{value}")
    return int(value)

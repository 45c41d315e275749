"""``cohort run``: plan, work, merge; started again, it goes on where it was."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from splicebert_vep_spec import BackendInfo, BackendOptions

from ..annotator import Annotator
from ..errors import CohortError
from ..files import locked, remove_left_over
from ..opening import Opening
from ..plugins import load_plugins
from .merge import ANNOTATED, Merged, commit, forget_failed, has_failed, is_done, merge
from .plan import PLAN, SHARDS, Plan
from .planning import Cohort, plan_cohort
from .schedulers import InProcess, Progress, Scheduler, dask, work_all
from .work import Worker

STORE = "scores.sqlite"
_CALIBRATION = 64  # alleles
_WARM_UP = 8


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that is on disk, whether it was there already, why it has no percentiles, and warnings for the user."""

    counts: Mapping[str, int]
    resumed: bool
    note: str
    warnings: Sequence[str] = ()


def make_plan(folder: Path, cohort: Cohort, annotator: Annotator, progress: Progress | None = None) -> Planned:
    """Make the plan, or take up the one that is there when nothing has changed. The folder is to be ours alone.

    Where a finished run has FAILED alleles, they are planned again.

    Raises:
        SpliceBertError: as ``plan_cohort``; and what an earlier plan's shards cannot be stored for.
    """
    outputs = os.path.realpath(folder / ANNOTATED)
    for one in cohort.inputs:
        if os.path.dirname(os.path.realpath(one.path)) == outputs:
            raise CohortError("An output of the run would replace an input.", needed="another -O", found=one.path)
    if (folder / PLAN).is_file():
        with Plan(folder) as plan:
            if plan.about.kind != "cohort":
                raise CohortError("The folder belongs to a run of another kind.", where=str(folder))
            same = plan.about.identity == cohort.about(annotator, {}).identity
            if same and not has_failed(plan) and (is_done(plan) or _store_still_knows(plan, annotator)):
                return Planned(plan.about.counts, True, annotator.note)
            commit(plan, cohort.store)  # what was scored for it is not scored again
    forget_failed(folder)
    remove_left_over(folder)
    # The plan goes before its shards, and they before the new plan: it never meets shards of another.
    (folder / PLAN).unlink(missing_ok=True)
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    counts, warnings = plan_cohort(folder, cohort, annotator, progress)
    return Planned(counts, False, annotator.note, warnings)


def _store_still_knows(plan: Plan, annotator: Annotator) -> bool:
    """Tell whether the store knows what it knew when the plan was made."""
    assert annotator.remembered is not None
    return all(None not in annotator.remembered.recall(block) for block in plan.known())


def run_cohort(
    folder: Path,
    cohort: Cohort,
    *,
    scheduler: str | None = None,
    progress: Progress | None = None,
    planned: Callable[[Planned], None] | None = None,
) -> Merged:
    """Plan, score and annotate a cohort.

    Args:
        folder: of the run.
        cohort: its files and settings.
        scheduler: ``tcp://HOST:PORT`` or ``local:N``; None scores in this process.
        progress: called with what is being done, how much of it is done, and how much there is.
        planned: called once the plan is there.

    Raises:
        SpliceBertError: whatever ends the run; the same call goes on from there.
    """
    with locked(folder, "running a cohort"), ExitStack() as stack:
        annotator = stack.enter_context(cohort.opening.open(store=cohort.store))
        found = make_plan(folder, cohort, annotator, progress)
        if planned:
            planned(found)
        with Plan(folder) as plan:
            missing = plan.missing()
            if missing:
                work_all(plan, missing, open_scheduler(scheduler, plan, annotator, stack), progress)
        return merge(folder, progress)


def open_scheduler(address: str | None, plan: Plan, annotator: Annotator, stack: ExitStack) -> Scheduler:
    """Return what scores units: Dask at an address, which ends with the stack, or this process.

    Raises:
        SettingsError, CohortError: Dask cannot be had; this machine would not compute the plan's scores.
    """
    return stack.enter_context(dask(address)) if address else InProcess(Worker(plan, annotator))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What scoring would cost on this machine: ``rate`` is alleles a second, None where nothing is new."""

    counts: Mapping[str, int]
    measured: int
    rate: float | None

    @property
    def seconds(self) -> float:
        """Time to score what is new."""
        return self.counts["new"] / self.rate if self.rate else 0.0


def estimate(folder: Path, annotator: Annotator) -> Estimate:
    """Score a few of a plan's new alleles and tell how long all of them would take; nothing is stored."""
    with Plan(folder) as plan:
        if not plan.units:
            return Estimate(plan.about.counts, 0, None)
        alleles = plan.unit((plan.units + 1) // 2)[:_CALIBRATION]
        annotator.scoring.outcomes(alleles[:_WARM_UP])
        began = time.monotonic()
        annotator.scoring.outcomes(alleles)
        return Estimate(plan.about.counts, len(alleles), len(alleles) / (time.monotonic() - began))


def decided(opening: Opening) -> tuple[Opening, BackendInfo]:
    """Return what opens the same annotator anywhere, and the model that it has here.

    Raises:
        SpliceBertError: there is no such model or device.
    """
    options = BackendOptions(opening.model, opening.device, opening.threads, opening.precision)
    info = load_plugins().open_backend(opening.backend, options).info
    return opening.fixed(info.precision), info


def missing_units(folder: Path) -> list[int]:
    """Return the units of a plan that have no shard."""
    with Plan(folder) as plan:
        return plan.missing()


def work_units(folder: Path, units: Sequence[int], progress: Progress | None = None) -> int:
    """Score some units of a plan, those that have no shard yet; returns how many. Any number of processes may do so.

    Raises:
        SpliceBertError: as ``Worker`` and ``Plan.unit``.
    """
    with Plan(folder) as plan:
        for unit in units:
            if not 1 <= unit <= plan.units:
                raise CohortError(
                    "The plan has no such unit.",
                    needed=f"1 to {plan.units}" if plan.units else "none: nothing has to be scored",
                    found=str(unit),
                    where=str(folder),
                )
        missing = sorted(set(units) & set(plan.missing()))
        if not missing:
            return 0
        with plan.about.opening.open() as annotator:
            work_all(plan, missing, InProcess(Worker(plan, annotator)), progress)
        return len(missing)

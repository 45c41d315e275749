"""Score units of a plan into shards; needs the plan's folder and the reference, never the store."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from .. import __version__
from ..annotator import Annotator
from ..errors import CohortError
from ..files import reporting
from ..genome.reference import Reference
from ..provenance import Space
from ..scoring.cache import Columns, gene_keys
from .plan import Plan
from .shards import Scored, failed, write_shard


class Worker:
    """Score units with one annotator.

    Args:
        plan: open.
        annotator: opened as the plan says.

    Raises:
        CohortError: this machine would not compute the plan's scores.
    """

    def __init__(self, plan: Plan, annotator: Annotator) -> None:
        self._plan = plan
        self._annotator = annotator
        self._columns = Columns(plan.about.space, annotator.plan)
        check_version(plan)
        check_space(plan, annotator.space)
        check_reference(plan, annotator.reference)

    def work(self, unit: int) -> int:
        """Score a unit and write its shard, if it is not there; returns how many alleles were scored.

        A unit is scored in one go and by itself, so that its scores do not depend on what else is done.
        """
        shard = self._plan.shard(unit)
        if shard.is_file():
            return 0
        alleles = self._plan.unit(unit)
        outcomes = self._annotator.scoring.outcomes(alleles)
        scored: list[Scored] = []
        for allele, outcome in zip(alleles, outcomes, strict=True):
            contexts = [one.context for one in outcome if one.context]
            names = gene_keys(contexts)
            scored.append((allele, [self._columns.row(name, one) for name, one in zip(names, outcome, strict=True)]))
        with reporting(shard):
            shard.parent.mkdir(exist_ok=True)
        write_shard(shard, self._plan.identity, self._plan.about.space, scored)
        return len(alleles)


def give_up(plan: Plan, unit: int, reason: str) -> None:
    """Write the shard of a unit that cannot be scored: its alleles are FAILED, and why."""
    shard, space = plan.shard(unit), plan.about.space
    with reporting(shard):
        shard.parent.mkdir(exist_ok=True)
    write_shard(shard, plan.identity, space, [failed(allele, reason, space) for allele in plan.unit(unit)])


def work_anywhere(folder: str, identity: str, unit: int) -> int:
    """Score a unit in a process that knows nothing yet: the model is loaded once and kept."""
    with _LOCK:  # a worker of several threads still has one model
        return _worker(folder, identity).work(unit)


_LOCK = threading.Lock()


@lru_cache(maxsize=1)
def _worker(folder: str, identity: str) -> Worker:
    plan = Plan(Path(folder))
    if plan.identity != identity:
        raise CohortError("The folder holds another plan than the scheduler's.", where=folder)
    return Worker(plan, plan.about.opening.open())


def check_version(plan: Plan) -> None:
    """Raise CohortError where another version of this program made the plan."""
    if plan.about.version != __version__:
        raise CohortError(
            "Another version of splicebert-vep made the plan.",
            needed=plan.about.version,
            found=__version__,
            where=str(plan.folder),
            remedy="install that version here, or plan again with this one",
        )


def check_space(plan: Plan, here: Space) -> None:
    """Raise CohortError where this installation would compute other scores than the plan is for."""
    there = plan.about.space
    if there != here:
        differ = _differences(there.provenance, here.provenance) or f"columns {', '.join(here.columns)}"
        raise CohortError(
            "This machine would not compute the scores of the plan.",
            needed="model, settings, annotation and plugins as where it was planned",
            found=differ,
            where=str(plan.folder),
            remedy="install the same there and here, or plan again",
        )


def check_reference(plan: Plan, reference: Reference) -> None:
    """Raise CohortError where a contig's sequence is not that of the plan."""
    for name, md5 in plan.md5.items():
        if md5 and (name not in reference.lengths or reference.md5(name) != md5):
            raise CohortError(
                "The reference has changed since the plan was made.",
                needed=f"{name} with MD5 {md5}",
                found=f"MD5 {reference.md5(name)}" if name in reference.lengths else "no such contig",
                where=str(reference.path),
                remedy="give the reference back, or plan again",
            )


def _differences(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    ignored = {"Device", "BatchTokens", "Store", "Reference", "ReferenceSHA256", "ScoreDigest"}
    return ", ".join(
        f"{key} {value} instead of {there.get(key)}"
        for key, value in here.items()
        if key not in ignored and there.get(key) != value
    )

"""Bring a plan to its end: shards into the store, every file annotated from it, and the table of the cohort."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from splicebert_vep_spec import Allele, RunInfo, ScoredContext, Status

from ..annotator import FileAnnotator
from ..errors import CohortError
from ..files import remove_left_over, reporting, whole_or_not
from ..genome.gene_build import load_table
from ..genome.gene_index import GeneIndex
from ..genome.reference import Reference
from ..plugins import load_plugins
from ..scoring.cache import STORED, Columns, Recurring, Remembered
from ..scoring.delta import recalled_delta
from ..scoring.percentiles import plan_percentiles
from ..scoring.pipeline import Pipeline, in_order
from ..scoring.plan import plan_scores
from ..store.store import AlleleKey, ScoreStore, StoredScores
from ..vcf.read import open_vcf
from .inputs import signature_of
from .names import SUMMARY, TABLE
from .plan import SHARDS, Plan
from .shards import outcomes_of, read_shard
from .table import write_table
from .work import check_reference, check_version

ANNOTATED, DONE = "annotated", "done"
_SHOWN = 10

Failed = Mapping[Allele, Sequence[StoredScores]]


@dataclass(frozen=True, slots=True)
class Merged:
    """What came of a merge.

    Args:
        summary: what ``cohort.json`` holds.
        stale: files in ``annotated/`` that an earlier plan made of what this one does not have.
        records: annotated by this call; those of files that were finished before are not counted.
        seconds: that took.
    """

    summary: Mapping[str, Any]
    stale: Sequence[str]
    records: int
    seconds: float


def merge(folder: Path, progress: Callable[[str, int, int], None] | None = None) -> Merged:
    """Store what shards hold, annotate every file that is not finished, write the table.

    Doing it again changes nothing. The folder is to be this process's alone.

    Args:
        folder: of the run.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        CohortError: shards are missing, damaged or of another plan; an input changed since it was planned.
        StoreError, OutputError: the store or an output cannot be written.
    """
    with Plan(folder) as plan:
        if plan.about.kind != "cohort":
            raise CohortError("The folder belongs to a run of another kind.", found=plan.about.kind, where=str(folder))
        summary = folder / SUMMARY
        if is_done(plan):
            return Merged(_read_json(summary), _stale(plan), 0, 0.0)
        check_version(plan)
        check_complete(plan)
        if not Path(plan.about.settings["store"]).is_file():
            raise CohortError(
                "The score store of the plan is not there.",
                needed="the store that the plan was made with",
                where=plan.about.settings["store"],
                remedy="give it back, or plan again",
            )
        for left in (folder, folder / SHARDS, folder / ANNOTATED, folder / DONE):
            remove_left_over(left)
        failed = commit(plan, plan.about.settings["store"], progress)
        with _Merging(plan, failed) as merging:
            began = time.monotonic()
            records = merging.annotate(progress)
            seconds = time.monotonic() - began
            write_table(folder / TABLE, plan, merging.run, merging.scoring, merging.reference)
        content = _summary(plan, folder)
        _write_json(summary, content)
        return Merged(content, _stale(plan), records, seconds)


def check_complete(plan: Plan) -> None:
    """Raise CohortError when shards are missing, and name them."""
    missing = plan.missing()
    if missing:
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        units = " ".join(map(str, missing[:_SHOWN]))
        raise CohortError(
            f"{len(missing):,} of {plan.units:,} shards are missing.",
            needed=f"the scores of unit {units}{more}",
            where=str(plan.shard(missing[0])),
            remedy=f"splicebert-vep cohort work {plan.folder} {units}{' ...' if more else ''}",
        )


def commit(plan: Plan, path: str, progress: Callable[[str, int, int], None] | None = None) -> Failed:
    """Put the shards that are there into the store at ``path``, each whole; return what failed, which is not stored.

    Raises:
        CohortError: a shard is damaged or of another plan.
        StoreError, OutputError: as the store.
    """
    space, failed = plan.about.space, dict[Allele, Sequence[StoredScores]]()
    there = sorted(set(range(1, plan.units + 1)) - set(plan.missing()))
    if not there:
        return failed
    names = {md5: name for name, md5 in plan.md5.items() if md5}
    with ScoreStore(path) as store:
        for done, unit in enumerate(there, start=1):
            rows = []
            for allele, scores in read_shard(plan.shard(unit), plan.identity, space):
                if all(one.status in STORED for one in scores):
                    rows.append((AlleleKey(plan.md5[allele.contig], allele.start, allele.ref, allele.alt), scores))
                else:
                    failed[allele] = scores
            store.add(space, rows, names)
            if progress:
                progress("units stored", done, len(there))
    return failed


@dataclass(frozen=True, slots=True)
class _FromShards:
    """Outcomes of what failed: it is in the shards, not in the store."""

    failed: Failed
    genes: GeneIndex
    columns: Columns
    folder: Path

    def outcomes(self, alleles: Sequence[Allele]) -> list[tuple[ScoredContext, ...]]:
        return [self._outcome(allele) for allele in alleles]

    def _outcome(self, allele: Allele) -> tuple[ScoredContext, ...]:
        rows = self.failed.get(allele)
        contexts = self.genes.contexts(allele.contig, allele.start, allele.end)
        if rows is None:
            raise CohortError(
                "An allele is neither in the store nor among the scored units.",
                needed="the files as they were planned, and a store that nobody prunes meanwhile",
                found=f"{allele.contig}:{allele.start + 1} {allele.ref}>{allele.alt}",
                where=str(self.folder),
                remedy="plan again: run the same command with 'cohort plan' or 'cohort run'",
            )
        return in_order([outcome for _, outcome in outcomes_of(contexts, rows, self.columns)])


class _Merging:
    """What annotating from the store needs: everything but the model."""

    def __init__(self, plan: Plan, failed: Failed) -> None:
        self._plan = plan
        about, opening = plan.about, plan.about.opening
        settings = opening.settings
        plugins = load_plugins()
        scorers = recalled_delta(plugins.scorers, settings, about.space.provenance)
        scores = plan_scores(scorers, plugins.origins("scorer"), settings)
        percentiles = plan_percentiles(settings, about.space.provenance, opening.calibration)
        if percentiles.digest != about.space.provenance["Calibration"]:
            raise CohortError(
                "The calibration table has changed since the plan was made.",
                needed=about.space.provenance["Calibration"],
                found=percentiles.digest,
                where=opening.calibration or "the bundled model's",
                remedy="give it back, or plan again",
            )
        scores = percentiles.shown_in(scores)
        table = load_table(opening.annotation)
        if table.digest != about.space.annotation_digest:
            raise CohortError(
                "The annotation has changed since the plan was made.",
                needed=about.space.annotation_digest,
                found=table.digest,
                where=opening.annotation,
                remedy="give it back, or plan again",
            )
        genes = GeneIndex(table)
        self.run = RunInfo(scores.fields, MappingProxyType(dict(about.space.provenance)))
        self._store = ScoreStore(about.settings["store"])
        self.reference = Reference(opening.reference)
        check_reference(plan, self.reference)
        from_shards = _FromShards(failed, genes, Columns(about.space, scores), plan.folder)
        remembered = Remembered(
            self._store, about.space, scores, genes=genes, shape=settings.window, md5=self.reference.md5,
            scoring=from_shards, keeps=False,
        )  # fmt: skip
        self.scoring = percentiles.over(remembered)
        self._recurring = Recurring(Pipeline(self.reference, self.scoring, scores.offsets))
        self._files = FileAnnotator(self.reference, genes, table.name, plugins, self.run, settings.chunk_records)

    def __enter__(self) -> _Merging:
        return self

    def __exit__(self, *ended: object) -> None:
        self._store.close()
        self.reference.close()

    def annotate(self, progress: Callable[[str, int, int], None] | None) -> int:
        """Annotate every file that is not finished; returns how many records that were."""
        records = 0
        about, folder = self._plan.about, self._plan.folder
        with reporting(folder):
            for name in (ANNOTATED, DONE):
                (folder / name).mkdir(exist_ok=True)
        for number, (*signature, name) in enumerate(about.inputs, start=1):
            path = signature[0]
            if not _is_finished(folder, name, signature, self._plan):
                records += self._annotate(path, name, signature)
            if progress:
                progress("files annotated", number, len(about.inputs))
        return records

    def _annotate(self, path: str, name: str, signature: Sequence[Any]) -> int:
        about = self._plan.about
        try:
            now = signature_of(path)
        except OSError as error:
            raise CohortError(
                "A file of the cohort is not there any more.", found=str(error.strerror), where=path
            ) from error
        if now != signature:
            raise CohortError(
                "A file of the cohort has changed since it was planned.",
                needed="the file as it was",
                where=path,
                remedy="plan again: run 'cohort plan' or 'cohort run' with the same arguments",
            )
        with open_vcf(path) as reader:
            suffix = "bcf" if reader.kind == "bcf" else "vcf.gz"
        output = self._plan.folder / ANNOTATED / f"{name}.{suffix}"
        before = _read_json(self._plan.folder / DONE / f"{name}.json")
        if before and before["output"][0] != output.name:  # BCF became VCF, or the other way
            for end in ("", ".tbi", ".csi"):
                (output.parent / f"{before['output'][0]}{end}").unlink(missing_ok=True)
        recurring, emit = self._recurring, about.settings["emit"]
        summary = self._files.annotate(
            path, str(output), recurring.report, emit=emit, recurring=recurring, planned=True
        )
        written = output.stat()
        marker = {
            "input": list(signature),
            "output": [output.name, written.st_size, written.st_mtime_ns],
            "indexed": any(Path(f"{output}{end}").is_file() for end in (".tbi", ".csi")),
            "outputs": about.output_digest,
            "plan": self._plan.identity,
            "records": summary.records,
            "alleles": summary.alleles,
            "status": summary.by_status(),
            "failed": summary.failed,
            "warnings": summary.warnings,
        }
        _write_json(self._plan.folder / DONE / f"{name}.json", marker)
        return summary.records


def _stale(plan: Plan) -> list[str]:
    names = {name for *_, name in plan.about.inputs}
    left = [path for path in sorted((plan.folder / DONE).glob("*.json")) if path.name[: -len(".json")] not in names]
    return [str(_read_json(path)["output"][0]) for path in left]


def _is_finished(folder: Path, name: str, signature: Sequence[Any], plan: Plan) -> bool:
    """Tell whether a file's output is what this plan would make of it."""
    marker = _read_json(folder / DONE / f"{name}.json")
    if not marker or marker["input"] != list(signature) or marker["outputs"] != plan.about.output_digest:
        return False
    output, size, modified = marker["output"]
    try:
        there = (folder / ANNOTATED / output).stat()
    except OSError:
        return False
    indexed = any((folder / ANNOTATED / f"{output}{end}").is_file() for end in (".tbi", ".csi"))
    return (there.st_size, there.st_mtime_ns) == (size, modified) and (indexed or not marker["indexed"])


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def has_failed(plan: Plan) -> bool:
    """Tell whether a run came to its end with alleles that FAILED."""
    summary = _read_json(plan.folder / SUMMARY)
    return bool(summary) and summary["plan"] == plan.identity and summary["failed"] > 0


def forget_failed(folder: Path) -> None:
    """Forget that a run came to its end, and which of its files did with alleles that FAILED."""
    (folder / SUMMARY).unlink(missing_ok=True)
    for path in (folder / DONE).glob("*.json"):
        if _read_json(path)["failed"]:
            path.unlink()


def is_done(plan: Plan) -> bool:
    """Tell whether all that a plan is for is there."""
    content = _read_json(plan.folder / SUMMARY)
    return (
        bool(content)
        and content["plan"] == plan.identity
        and _size(plan.folder / TABLE) == content["table_bytes"]
        and all(_is_finished(plan.folder, name, signature, plan) for *signature, name in plan.about.inputs)
    )


def _summary(plan: Plan, folder: Path) -> dict[str, Any]:
    status: Counter[str] = Counter()
    files, failed = list[dict[str, Any]](), 0
    for path, *_, name in plan.about.inputs:
        marker = _read_json(folder / DONE / f"{name}.json")
        status.update(marker["status"])
        output = f"{ANNOTATED}/{marker['output'][0]}"
        failed += marker["failed"]
        counts = {key: marker[key] for key in ("records", "alleles", "status", "warnings")}
        files.append({"name": name, "input": path, "output": output, **counts})
    return {
        "plan": plan.identity,
        "counts": dict(plan.about.counts),
        "status": {str(word): status[str(word)] for word in Status if status[str(word)]},
        "failed": failed,
        "table_bytes": (folder / TABLE).stat().st_size,
        "provenance": dict(plan.about.space.provenance),
        "files": files,
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with whole_or_not(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CohortError(
            "A file of the run is damaged.", found=str(error), where=str(path), remedy="remove it"
        ) from error
    return found

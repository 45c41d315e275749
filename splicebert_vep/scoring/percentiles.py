"""Add percentiles to outcomes, whether they were scored now or stored before."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from splicebert_vep_spec import Allele, FieldSpec, GeneContext, ScoredContext, Status, Value

from ..errors import CalibrationError, SettingsError
from ..files import whole_or_not
from ..genome.gene_index import DOWNSTREAM, NEAR_SITE, UPSTREAM
from ..provenance import SCORED_BY, score_digest
from ..settings import N_FRAC, PERCENTILES, REGION_CLASS, Settings
from .pipeline import ScoringLike
from .plan import ScorePlan
from .scorers import DIVERGENCE_FIELDS, LLR

EXON_CORE, EXON_EDGE, CANONICAL, DEEP_INTRON, UTR = "exon_core", "exon_edge", "canonical", "deep_intron", "utr"


_EDGE = 3  # nt
_UTR_REGIONS = ("5_prime_UTR", "3_prime_UTR")

#: Intronic classes by the first and last site offset that belongs to them; the first that matches wins.
_BY_OFFSET = (
    (CANONICAL, -2, 2),
    ("donor_3_6", 3, 6),
    ("acceptor_3_20", -20, -3),
    ("branchpoint_18_44", -44, -18),
    ("near_intron", -100, 100),
)

REGION_CLASSES = (EXON_CORE, EXON_EDGE, *(name for name, _, _ in _BY_OFFSET), DEEP_INTRON, UTR)


def region_class(context: GeneContext) -> str | None:
    """Return the class of an SNV's place in a gene; None where it has none.

    An SNV in an annotated dinucleotide of any transcript is canonical, even where another transcript has an exon there.
    Farther than 50 nt from the reported transcript's exons and splice sites another transcript's nearer place counts.
    Within 3 nt of the exon's nearest splice site it is exon_edge, coding or not; the rest of the untranslated regions
    is utr, the rest of all other exons exon_core. In an intron the site offset decides; one whose nearest edge is the
    end of a transcript has none, and no class.
    """
    if context.site_hit is not None or context.other_site_hit is not None:
        return CANONICAL
    region, site_offset = context.region, context.site_offset
    far = context.exon is None and (context.distance is None or context.distance > NEAR_SITE)
    if context.other_region is not None and (far or region in (UPSTREAM, DOWNSTREAM)):
        region, site_offset = context.other_region, context.other_offset
    if region in (UPSTREAM, DOWNSTREAM):
        return None
    offset = None if site_offset is None else int(site_offset)
    if region != "intron":
        if offset is not None and offset <= _EDGE:
            return EXON_EDGE
        return UTR if region in _UTR_REGIONS else EXON_CORE
    if offset is None:
        return None
    return next((name for name, first, last in _BY_OFFSET if first <= offset <= last), DEEP_INTRON)


#: Scores that a table has, and the sign that makes larger mean more disturbed.
SIGNS = {spec.id: -1 if spec.direction == "negative" else 1 for spec in (DIVERGENCE_FIELDS[0], LLR)}

_KIND, _FORMAT = "splicebert-vep calibration", 1
_STEPS = 10_000  # of 1: scores are compared to four decimals, as they are printed and as far as they hold


def steps(score: str, value: float) -> int:
    """Return a score in steps of 0.0001, larger = more disturbed; all that is compared is brought to this."""
    return round(SIGNS[score] * value * _STEPS)


@dataclass(frozen=True, eq=False)
class CalibrationTable:
    """Hold the scores of the background.

    Args:
        values: by score and region class: the background's scores in ``steps``, ascending, one at least.
        score_digest: of the scores.
        scored_by: the provenance that the digest is of, and the model's name.
        about: how the table was made: seed, FASTA, annotation, contigs and the like.
        digest: SHA-256 (hex) of the file.
    """

    values: Mapping[str, Mapping[str, Sequence[int]]]
    score_digest: str
    scored_by: Mapping[str, str]
    about: Mapping[str, Any]
    digest: str

    def percentile(self, score: str, region_class: str, value: float) -> float:
        """Return 100 (n_less + n_equal / 2) / n among the background of a class."""
        background, asked = self.values[score][region_class], steps(score, value)
        less, not_more = bisect_left(background, asked), bisect_right(background, asked)
        return 50 * (less + not_more) / len(background)

    @classmethod
    def load(cls, path: str | Path) -> CalibrationTable:
        """Read a file of ``splicebert-vep calibrate``.

        Raises:
            CalibrationError: it cannot be read, is damaged or no such table.
        """
        try:
            data = Path(path).read_bytes()
            return cls._of(json.loads(gzip.decompress(data)), hashlib.sha256(data).hexdigest())
        except (
            OSError, EOFError, zlib.error, KeyError, ValueError, TypeError, AttributeError, RecursionError
        ) as error:  # fmt: skip
            found = getattr(error, "strerror", None) or str(error) or type(error).__name__
            needed = f"a file of 'splicebert-vep calibrate', format {_FORMAT}"
            remedy = "give another, or make it again with 'splicebert-vep calibrate'"
            problem = "The calibration table cannot be read."
            raise CalibrationError(problem, needed=needed, found=found, where=str(path), remedy=remedy) from error

    @classmethod
    def _of(cls, content: Mapping[str, Any], digest: str) -> CalibrationTable:
        if (content.get("kind"), content.get("format")) != (_KIND, _FORMAT):
            raise ValueError(f"it says {content.get('kind')!r}, format {content.get('format')!r}")
        values = content["values"]
        for score in SIGNS:
            for name in REGION_CLASSES:
                column = values[score][name]
                if not column or column != sorted(column) or any(type(value) is not int for value in column):
                    raise ValueError(f"{score} of {name} is not a list of ascending whole numbers")
        scored_by = {key: str(content["scored_by"][key]) for key in ("Model", *SCORED_BY)}
        told = str(content["score_digest"])
        if told != score_digest(scored_by):
            raise ValueError(f"its score digest is {told[:12]}, and its provenance gives another")
        return cls(values, told, scored_by, content["about"], digest)


def write_table(
    path: str | Path,
    values: Mapping[str, Mapping[str, Iterable[int]]],
    provenance: Mapping[str, str],
    about: Mapping[str, Any],
) -> None:
    """Write a table, whole or not at all; the same contents give the same bytes.

    Args:
        values: as of ``CalibrationTable``, in any order.
        provenance: of the run that scored them.
        about: notes that are kept with them, as JSON.

    Raises:
        OutputError: it cannot be written.
    """
    content = {
        "kind": _KIND,
        "format": _FORMAT,
        "score_digest": provenance["ScoreDigest"],
        "scored_by": {key: provenance[key] for key in ("Model", *SCORED_BY)},
        "about": about,
        "values": {
            score: {name: sorted(column) for name, column in by_class.items()} for score, by_class in values.items()
        },
    }
    text = json.dumps(content, separators=(",", ":"))
    with whole_or_not(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode("utf-8"), mtime=0))


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
    """

    table: CalibrationTable | None
    fields: tuple[FieldSpec, ...]

    @property
    def digest(self) -> str:
        """The digest of the table; ``none`` without one."""
        return self.table.digest if self.table else "none"

    def shown_in(self, plan: ScorePlan) -> ScorePlan:
        """Return the plan with these fields after the scores."""
        scores = tuple(field for field in plan.fields if field != N_FRAC)
        return replace(plan, fields=(*scores, *self.fields, N_FRAC))

    def over(self, scoring: ScoringLike) -> ScoringLike:
        """Return a scoring that adds percentiles to the outcomes of ``scoring``."""
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


def plan_percentiles(settings: Settings, provenance: Mapping[str, str]) -> Percentiles:
    """Choose the percentiles of a run and the table that they come from.

    Args:
        settings: name the percentiles, and the table; without one it is a bundled model's.
        provenance: the part that determines scores.

    Raises:
        CalibrationError: the table cannot be read or is of other scores; percentiles were asked for and no table fits.
        SettingsError: a table was given and no percentile was asked for.
    """
    named = settings.scores
    wanted = tuple(field for field in _FIELDS if field.id in named)
    if not wanted:
        if settings.calibration is not None:
            needed = f"{' or '.join(PERCENTILES)} among the scores, e.g. --scores zero-shot,PCTL_LLR"
            problem = "A calibration table was given, and no percentile was asked for."
            raise SettingsError(problem, needed=needed, found=", ".join(named) or "no list of scores")
        return Percentiles(None, ())
    table, note = _fitting(provenance, settings.calibration)
    if table is None:
        needed = f"a table of score digest {score_digest(provenance)[:12]}"
        problem = "Percentiles were asked for, and there is no calibration table for these scores."
        raise CalibrationError(problem, needed=needed, found=note, remedy=_MAKE)
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
            told, found = f"score digest {needed[:12]}", f"{table.score_digest[:12]}: {_differences(table, provenance)}"
            problem = "The calibration table is of other scores."
            raise CalibrationError(problem, needed=told, found=found, where=str(path), remedy=_MAKE)
        return table, ""
    bundled = [CalibrationTable.load(path) for path in sorted(_BUNDLED.glob(f"*/*{_SUFFIX}"))]
    for table in bundled:
        if table.score_digest == needed:
            return table, ""
    near = [table for table in bundled if table.scored_by["WeightsSHA256"] == provenance["WeightsSHA256"]]
    if not near:
        return None, f"there is no calibration table for model {provenance['Model']}"
    about = _differences(near[0], provenance)
    return None, f"the calibration table of {near[0].scored_by['Model']} is of other scores: {about}"


def _differences(table: CalibrationTable, provenance: Mapping[str, str]) -> str:
    return ", ".join(
        f"{key} {value} instead of {provenance[key]}"
        for key, value in table.scored_by.items()
        if provenance[key] != value
    )

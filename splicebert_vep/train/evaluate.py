"""Labelled variants: read those of splicing assays and of RNA evidence, score them, and judge how scores rank them."""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import Allele, Backend, FieldSpec, GeneContext, Interval, Skipped, Status, Value

from ..annotator import Annotator
from ..consequence.outcomes import Consequence, Effect, Outcome, sentence
from ..errors import LabelError, SpliceBertError, require
from ..files import whole_or_not
from ..genome.reference import Reference
from ..model.engine import Engine
from ..scoring.plan import ScorePlan, scored, scored_by_sequence
from ..sequence import windows
from ..sequence.tokens import other_strand
from ..sequence.windows import WindowShape
from ..settings import check_window
from ..variants import Variant


@contextmanager
def open_references(given: Sequence[str]) -> Iterator[dict[str | None, list[Reference]]]:
    """Open references given as ``FASTA`` or ``ASSEMBLY=FASTA``; those of one assembly stay together, in order."""
    with ExitStack() as stack:
        opened: dict[str | None, list[Reference]] = {}
        for text in given:
            assembly, equals, path = text.partition("=")
            reference = stack.enter_context(Reference(path if equals else text))
            opened.setdefault(assembly if equals else None, []).append(reference)
        yield opened


_COMMON = ("ref", "alt", "strand", "exon_start", "exon_end", "delta_psi")
_GENOME = (*_COMMON, "chrom", "pos")
_SEQUENCE = (*_COMMON, "pos_hg19", "seq_start_1based", "ref_sequence_transcript_strand")


@dataclass(frozen=True, slots=True)
class LabelledVariant:
    """An SNV with its measured effect.

    Args:
        line: in the file, from 1.
        start: of REF, 0-based.
        exon: 0-based half-open on the genome.
        effect: delta PSI in the unit of the file; None where the assay has no number.
        assembly: of ``chrom``; None when the file does not say.
        sequence: bases of the forward strand around the variant, when the row carries its own.
        sequence_start: of ``sequence`` on the genome, 0-based.
    """

    line: int
    chrom: str
    start: int
    ref: str
    alt: str
    strand: str
    exon: Interval
    effect: float | None
    assembly: str | None = None
    sequence: bytes | None = None
    sequence_start: int = 0

    @property
    def snv(self) -> bool:
        """True where one base replaces another."""
        return len(self.ref) == len(self.alt) == 1 and self.ref != self.alt

    @property
    def sites(self) -> tuple[Interval, Interval]:
        """Donor and acceptor: the two intronic nt 3' and 5' of the exon in transcript direction, 0-based half-open."""
        before = Interval(self.exon.start - 2, self.exon.start)
        after = Interval(self.exon.end, self.exon.end + 2)
        return (after, before) if self.strand == "+" else (before, after)

    @property
    def distance(self) -> int:
        """Distance from the exon's nearest edge: 1 for the bases on either side of it."""
        from_start, to_end = self.start - self.exon.start, self.exon.end - 1 - self.start
        return min(from_start, to_end) + 1 if min(from_start, to_end) >= 0 else max(-from_start, -to_end)

    @property
    def in_site(self) -> bool:
        """True in the donor or acceptor dinucleotide of the exon."""
        return not self.exon.start <= self.start < self.exon.end and self.distance <= 2


def read_labelled(path: Path) -> list[LabelledVariant]:
    """Read a TSV of either layout; further columns are left alone.

    Raises:
        LabelError: not such a file, or a row that cannot be read.
    """
    with _reading(path, "labelled variants") as reader:
        needed = _SEQUENCE if _SEQUENCE[-1] in (reader.fieldnames or ()) else _GENOME
        _check_columns(reader, needed, path, "labelled variants")
        return [_row(row, number, needed is _SEQUENCE, path) for number, row in enumerate(reader, start=2)]


@contextmanager
def _reading(path: Path, what: str) -> Iterator[csv.DictReader[str]]:
    """Open a TSV with a line of column names; LabelError where it is none."""
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            yield csv.DictReader(handle, delimiter="\t")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"The {what} cannot be read.", found=str(error), where=str(path)) from error


def _check_columns(reader: csv.DictReader[str], needed: Sequence[str], path: Path, what: str) -> None:
    if missing := [column for column in needed if column not in (reader.fieldnames or ())]:
        problem = f"The {what} lack columns: {', '.join(missing)}."
        raise LabelError(problem, needed=", ".join(needed), where=str(path))


def _row(row: dict[str, str], line: int, carries_sequence: bool, path: Path) -> LabelledVariant:
    try:
        strand = row["strand"]
        if strand not in ("+", "-"):
            raise ValueError(f"strand {strand!r}")
        effect = None if row["delta_psi"].strip().upper() in ("", "NA", "NAN") else float(row["delta_psi"])
        first = 1 if carries_sequence else 0
        exon = Interval(int(row["exon_start"]) - first, int(row["exon_end"]))
        start = int(row["pos_hg19" if carries_sequence else "pos"]) - 1
        if exon.start < 0 or exon.start >= exon.end or start < 0:
            raise ValueError(f"position {start + 1}, exon {row['exon_start']} to {row['exon_end']}")
        assembly, sequence, sequence_start = row.get("assembly") or None, None, 0
        if carries_sequence:
            bases = row[_SEQUENCE[-1]].upper()
            assembly, sequence = None, (bases if strand == "+" else other_strand(bases)).encode("ascii")
            sequence_start = int(row["seq_start_1based"]) - 1
        return LabelledVariant(
            line, row.get("chrom", ""), start, row["ref"].upper(), row["alt"].upper(), strand, exon, effect, assembly,
            sequence, sequence_start,
        )  # fmt: skip
    except (ValueError, TypeError, AttributeError) as error:
        needed = "positions from 1, an exon with a base, a number or NA for delta_psi, + or - for the strand"
        where = f"{path}, line {line}"
        raise LabelError("A labelled variant cannot be read.", needed=needed, found=str(error), where=where) from error


@dataclass(frozen=True, slots=True)
class ValidatedVariant:
    """A variant of any kind of which RNA evidence says whether it affects splicing.

    Args:
        line: in the file, from 1.
        variant: as written.
        affects: it affects splicing.
        kind: how, e.g. ``skip``, in the file's words; ``normal`` where not.
        others: scores of other programs by column in capitals; those missing left out.
    """

    line: int
    variant: Variant
    affects: bool
    kind: str
    others: Mapping[str, float]


_VALIDATED = ("chrom", "pos", "ref", "alt", "affects_splicing")


def read_validated(path: Path, others: Sequence[str] = ()) -> list[ValidatedVariant] | None:
    """Read a TSV of variants with RNA evidence; None where it is no such table: it has no column affects_splicing.

    Args:
        others: columns with scores of other programs, higher = more harmful.

    Raises:
        LabelError: a column is missing, or a row cannot be read.
    """
    with _reading(path, "labelled variants") as reader:
        if _VALIDATED[-1] not in (reader.fieldnames or ()):
            return None
        _check_columns(reader, (*_VALIDATED, *others), path, "labelled variants")
        return [_validated(row, number, others, path) for number, row in enumerate(reader, start=2)]


def _validated(row: dict[str, str], line: int, others: Sequence[str], path: Path) -> ValidatedVariant:
    try:
        variant = Variant(row["chrom"], int(row["pos"]), row["ref"], row["alt"])
        affects = {"1": True, "0": False}[row["affects_splicing"]]
        kind = row.get("effect") or ("affected" if affects else "normal")
        return ValidatedVariant(
            line, variant, affects, kind, {name.upper(): float(row[name]) for name in others if row[name]}
        )
    except (ValueError, KeyError, TypeError, SpliceBertError) as error:
        needed = "a position from 1, bases, 1 or 0 for affects_splicing, numbers or nothing for scores"
        where = f"{path}, line {line}"
        raise LabelError("A labelled variant cannot be read.", needed=needed, found=str(error), where=where) from error


BenchProtocol = Literal["published", "own"]
PROTOCOLS: tuple[BenchProtocol, ...] = ("published", "own")
_BASES = (b"A", b"C", b"G", b"T")
_SHAPE = WindowShape()

LEAST_FLANK = 10
"""Shortest flank, nt, with which a row that carries its own sequence is scored."""


@dataclass(frozen=True, slots=True)
class BenchRow:
    """A variant with its scores by field id, or the reason why it was not scored.

    Args:
        gene: that a variant with RNA evidence was scored in.
    """

    variant: LabelledVariant | ValidatedVariant
    values: Mapping[str, Value]
    skipped: Skipped | None = None
    gene: GeneContext | None = None

    @property
    def distance(self) -> int | None:
        """Nt from the nearest edge of an assay's exon, or from the nearest splice site of the reported transcript."""
        if isinstance(self.variant, LabelledVariant):
            return self.variant.distance
        return self.gene.distance if self.gene else None

    @property
    def in_site(self) -> bool:
        """True in a dinucleotide of an assay's exon, or of the reported transcript."""
        if isinstance(self.variant, LabelledVariant):
            return self.variant.in_site
        return self.gene is not None and self.gene.site_hit is not None

    @property
    def written(self) -> tuple[Value, ...]:
        """Line of the file, contig, POS, REF, ALT and effect: a number, or in the words of RNA evidence."""
        one = self.variant
        if isinstance(one, ValidatedVariant):
            return one.line, one.variant.chrom, one.variant.pos, one.variant.ref, one.variant.alt, one.kind
        return one.line, one.chrom, one.start + 1, one.ref, one.alt, one.effect

    def harmful(self, threshold: float) -> bool | None:
        """Tell whether the variant is harmful, of an assay's by an effect below the threshold; None: nobody knows."""
        if isinstance(self.variant, ValidatedVariant):
            return self.variant.affects
        return None if self.variant.effect is None else self.variant.effect < threshold


def score_validated(variants: Sequence[ValidatedVariant], annotator: Annotator) -> list[BenchRow]:
    """Score variants as ``annotate`` does, in the gene that flat output reports; one row each, in order."""
    rows = []
    for one, result in zip(variants, annotator.score([one.variant for one in variants]), strict=True):
        skipped = None if result.status == Status.OK else Skipped(result.status, result.reason)
        rows.append(BenchRow(one, {**result.values, **one.others}, skipped, result.gene))
    return rows


@dataclass(frozen=True, slots=True)
class OperatingShare:
    """Share of the variants of a kind whose score is at or above a threshold; ``harmful`` says what the kind is."""

    score: str
    kind: str
    harmful: bool
    variants: int
    missing: int
    median: float
    shares: Mapping[float, float]


THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.5)


def operating_shares(rows: Sequence[BenchRow], score: str) -> list[OperatingShare]:
    """Return the shares of all harmful and harmless variants with RNA evidence, then of each kind.

    A variant without the score is below every threshold, and counted as missing.
    """
    groups: dict[tuple[str, bool], list[float | None]] = {("all", True): [], ("all", False): []}
    for row in rows:
        if isinstance(row.variant, ValidatedVariant):
            value = row.values.get(score)
            number = float(value) if isinstance(value, int | float) else None
            for kind in ("all", row.variant.kind):
                groups.setdefault((kind, row.variant.affects), []).append(number)
    found = []
    for (kind, harmful), values in groups.items():
        if values:
            numbers = np.array([-np.inf if value is None else value for value in values])
            shares = {at: float((numbers >= at).mean()) for at in THRESHOLDS}
            median = float(np.median(numbers))
            found.append(OperatingShare(score, kind, harmful, len(values), values.count(None), median, shares))
    return found


@dataclass(frozen=True, slots=True)
class _Prepared:
    """The window of a row; rows of one shape are cut and run together.

    Args:
        start: of the window, in the coordinates of the allele.
        reference: that it was cut from; None for a row that carries its own sequence.
    """

    allele: Allele
    start: int
    bases: bytes
    shape: WindowShape
    reference: Reference | None = None


def score_labelled(
    variants: Sequence[LabelledVariant],
    references: Mapping[str | None, Sequence[Reference]],
    backend: Backend,
    plan: ScorePlan,
    protocol: BenchProtocol,
    *,
    shape: WindowShape = _SHAPE,
) -> list[BenchRow]:
    """Score variants; one row each, in order.

    Args:
        references: FASTAs by the assembly that the variants name; under None those for variants that name none.
        shape: of the windows of rows that do not carry their own sequence.

    Raises:
        SettingsError: the model was not trained for windows as long as the rows', or takes those of one length only.
    """
    prepared = [
        _own_sequence(variant) if variant.sequence is not None else _on_genome(variant, references, protocol, shape)
        for variant in variants
    ]
    of_shape: dict[WindowShape, list[int]] = defaultdict(list)
    for i, found in enumerate(prepared):
        if isinstance(found, _Prepared):
            of_shape[found.shape].append(i)
    for one in of_shape:
        check_window(one, backend.info)
    rows = [BenchRow(v, {}, p if isinstance(p, Skipped) else None) for v, p in zip(variants, prepared, strict=True)]
    for one, members in of_shape.items():
        ready = [found for i in members if isinstance(found := prepared[i], _Prepared)]
        alleles = [found.allele for found in ready]
        cut = windows.cut(alleles, np.array([found.start for found in ready]), [found.bases for found in ready], one)
        for row in np.flatnonzero(~cut.clean).tolist():
            rows[members[row]] = BenchRow(variants[members[row]], {}, windows.not_clean(one))
        clean = np.flatnonzero(cut.clean).tolist()
        pairs = windows.pair(cut, clean, [_labelled_exon(variants[members[i]]) for i in clean])
        engine = Engine(backend, flank=one.flank)
        for done in scored(engine.run(pairs, plan.needs), plan):
            for row, reason in done.failed.items():
                at = members[clean[row]]
                rows[at] = BenchRow(variants[at], {}, Skipped(Status.FAILED, reason))
            for row, values in done.values.items():
                at = members[clean[row]]
                rows[at] = BenchRow(variants[at], values)
    _add_by_sequence(rows, variants, prepared, plan)
    return rows


def _add_by_sequence(
    rows: list[BenchRow], variants: Sequence[LabelledVariant], prepared: Sequence[_Prepared | Skipped], plan: ScorePlan
) -> None:
    """Add scores from the reference alone to scored rows; a row that carries its own sequence gets none."""
    of_reference: dict[int, list[int]] = defaultdict(list)
    for at, (row, found) in enumerate(zip(rows, prepared, strict=True)):
        if row.skipped is None and isinstance(found, _Prepared) and found.reference is not None:
            of_reference[id(found.reference)].append(at)
    for members in of_reference.values():
        ready = [found for at in members if isinstance(found := prepared[at], _Prepared)]
        assert ready[0].reference is not None
        asked = [(found.allele, _labelled_exon(variants[at])) for at, found in zip(members, ready, strict=True)]
        for at, added in zip(members, scored_by_sequence(asked, ready[0].reference, plan), strict=True):
            variant, values = variants[at], rows[at].values
            if isinstance(added, Skipped):
                rows[at] = BenchRow(variant, {}, added)
            else:
                rows[at] = BenchRow(variant, {**values, **added})


def _on_genome(
    variant: LabelledVariant,
    references: Mapping[str | None, Sequence[Reference]],
    protocol: BenchProtocol,
    shape: WindowShape,
) -> _Prepared | Skipped:
    known = references.get(variant.assembly, ())
    found = [(one, contig) for one in known if (contig := one.find(variant.chrom)) is not None]
    if not found:
        return Skipped(Status.NO_CONTIG, f"{variant.chrom} of {variant.assembly or 'the reference'} is not at hand")
    # Several FASTAs may each hold a part of an assembly: the first with a base at the position counts.
    there = [(one, contig) for one, contig in found if one.fetch(contig, variant.start, variant.start + 1) in _BASES]
    reference, contig = (there or found)[0]
    allele = Allele(contig, variant.start, variant.ref, variant.alt)
    mismatch = _check(variant, reference.fetch(contig, variant.start, variant.start + len(variant.ref)))
    if mismatch:
        return mismatch
    length = reference.lengths[contig]
    if protocol == "own":
        placed = windows.place([allele], [length], shape)
        if not placed.fits[0]:
            return windows.no_room(allele, length, shape)
        start = int(placed.start[0])
    else:
        start = (variant.exon.start + variant.exon.end) // 2 - shape.width // 2
        offset = variant.start - start
        if not shape.flank <= offset < shape.width - shape.flank or start < 0 or start + shape.width > length:
            return Skipped(Status.N_CONTEXT, f"less than {shape.flank} nt to an end of the exon-centred window")
    bases = reference.fetch(contig, *windows.region(allele, start, shape.width))
    return _Prepared(allele, start, bases, shape, reference)


def _own_sequence(variant: LabelledVariant) -> _Prepared | Skipped:
    sequence = variant.sequence or b""
    at = variant.start - variant.sequence_start
    mismatch = _check(variant, sequence[at : at + len(variant.ref)] if at >= 0 else b"")
    if mismatch:
        return mismatch
    flank = min(at, len(sequence) - at - len(variant.ref))
    if flank < LEAST_FLANK:
        return Skipped(Status.N_CONTEXT, f"less than {LEAST_FLANK} nt to an end of the row's own sequence")
    shape = WindowShape(len(sequence), flank)
    return _Prepared(Allele("", variant.start, variant.ref, variant.alt), variant.sequence_start, sequence, shape)


def _check(variant: LabelledVariant, found: bytes) -> Skipped | None:
    if not variant.snv or set(variant.ref + variant.alt) - set("ACGT"):
        return Skipped(Status.NOT_APPLICABLE, "the benches are of SNVs")
    if found != variant.ref.encode("ascii"):
        shown = found.decode("ascii") or "nothing"
        return Skipped(Status.REF_MISMATCH, f"REF {variant.ref}, reference {shown}")
    return None


def _labelled_exon(variant: LabelledVariant) -> GeneContext:
    donor, acceptor = variant.sites
    return GeneContext(
        gene_id="labelled exon", symbol=None, transcript_id="", transcript_choice="", biotype="", strand=variant.strand,
        region="", site_offset=None, site_hit=None, donor=donor, acceptor=acceptor, near_site=True,
    )  # fmt: skip


DISTANCE = "distance"
"""Name of the baseline: the nearer to an edge of the exon, the more harmful."""

_FAR = 1e9  # nt: a gene without splice sites
EVERYTHING, WITHOUT_SITES = "all", "without splice-site SNVs"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval: the middle 95 % of its bootstrap values."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BenchFigure:
    """The figures of a score on a subset of the rows.

    Args:
        subset: ``all``, or without the SNVs in the two nt of a donor or acceptor.
        variants, positives: with this score; ``missing`` more of the subset have none.
        average_precision, auroc: of harmful against other variants, the score turned so that higher is more harmful.
        ratio: average precision by that of the distance baseline on the same rows, resampled together.
    """

    protocol: BenchProtocol
    score: str
    subset: str
    variants: int
    positives: int
    missing: int
    average_precision: Estimate
    auroc: Estimate
    ratio: Estimate

    @property
    def base_rate(self) -> float:
        """Average precision of chance."""
        return self.positives / self.variants


def judge(
    rows: Sequence[BenchRow],
    fields: Sequence[FieldSpec],
    protocol: BenchProtocol,
    threshold: float,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> list[BenchFigure]:
    """Return a figure for the distance baseline and every field that has a direction, on both subsets.

    A subset in which a score has no harmful or no other variant gives no figure.

    Args:
        threshold: an effect below it is harmful; rows without effect or scores do not count.
        resamples: of the rows, with replacement, for the intervals.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    require("sklearn")
    figures = []
    for subset in (EVERYTHING, WITHOUT_SITES):
        chosen = in_subset(rows, subset)
        known: dict[tuple[int, ...], _Resamples] = {}
        for score, sign in directed(fields).items():
            having = tuple(i for i, row in enumerate(chosen) if value_of(row, score) is not None)
            scored = [chosen[i] for i in having]
            if not _both(harmful_rows(scored, threshold)):
                continue
            if having not in known:
                known[having] = _Resamples(scored, threshold, resamples, seed)
            drawn = known[having]
            values = sign * np.array([value_of(row, score) for row in scored], dtype=np.float64)
            precision, auroc, ratio = drawn.estimates(values)
            counts = len(having), int(drawn.harmful.sum()), len(chosen) - len(having)
            figures.append(BenchFigure(protocol, score, subset, *counts, precision, auroc, ratio))
    return figures


def directed(fields: Sequence[FieldSpec]) -> dict[str, float]:
    """Return the scores that have a direction: 1 where higher is more harmful, -1 where lower is."""
    signs = {field.id: -1.0 if field.direction == "negative" else 1.0 for field in fields if field.direction != "none"}
    return {DISTANCE: -1.0} | signs


def in_subset(rows: Sequence[BenchRow], subset: str) -> list[BenchRow]:
    """Return the rows of a subset that count: scored, and with an effect."""
    counting = [row for row in rows if row.skipped is None and row.harmful(0) is not None]
    return [row for row in counting if subset == EVERYTHING or not row.in_site]


def value_of(row: BenchRow, score: str) -> Value:
    """Return a row's score, or its distance; None is missing."""
    return row.distance if score == DISTANCE else row.values.get(score)


def harmful_rows(rows: Sequence[BenchRow], threshold: float) -> NDArray[np.bool_]:
    """Return True for each harmful row; see ``BenchRow.harmful``."""
    return np.array([bool(row.harmful(threshold)) for row in rows], dtype=bool)


class _Resamples:
    """Rows drawn with replacement, the same for every score, and the precision of the distance on them."""

    def __init__(self, rows: Sequence[BenchRow], threshold: float, resamples: int, seed: int) -> None:
        self.harmful = harmful_rows(rows, threshold)
        distances = -np.array([_FAR if row.distance is None else row.distance for row in rows], dtype=np.float64)
        rng = np.random.default_rng(seed)
        drawn = (rng.integers(len(rows), size=len(rows)) for _ in range(resamples))
        self.draws = [np.arange(len(rows)), *(at for at in drawn if _both(self.harmful[at]))]
        self._baseline = [_precision(self.harmful[at], distances[at]) for at in self.draws]

    def estimates(self, scores: Floats) -> tuple[Estimate, Estimate, Estimate]:
        """Return average precision, AUROC and ratio of a score."""
        from sklearn.metrics import roc_auc_score

        values = np.empty((len(self.draws), 3))
        for row, (at, baseline) in enumerate(zip(self.draws, self._baseline, strict=True)):
            harmful, drawn = self.harmful[at], scores[at]
            precision = _precision(harmful, drawn)
            values[row] = precision, roc_auc_score(harmful, drawn), precision / baseline
        low, high = np.quantile(values[1:], [0.025, 0.975], axis=0) if len(values) > 1 else np.full((2, 3), math.nan)
        first, second, third = (Estimate(float(values[0, i]), float(low[i]), float(high[i])) for i in range(3))
        return first, second, third


def _precision(harmful: NDArray[np.bool_], scores: Floats) -> float:
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(harmful, scores))


def _both(harmful: NDArray[np.bool_]) -> bool:
    return bool(harmful.any() and not harmful.all())


def draw_precision_recall(
    path: Path, rows: Mapping[BenchProtocol, Sequence[BenchRow]], figures: Sequence[BenchFigure],
    signs: Mapping[str, float], threshold: float,
) -> None:  # fmt: skip
    """Draw a panel for every protocol and subset, with a curve for every score that has a figure there.

    Args:
        rows: by protocol.
        signs: 1 where a higher score is more harmful, else -1.

    Raises:
        SettingsError: matplotlib or scikit-learn is not installed.
        OutputError: it cannot be written.
    """
    require("matplotlib", "sklearn")
    from matplotlib.figure import Figure
    from sklearn.metrics import precision_recall_curve

    panels = list(dict.fromkeys((figure.protocol, figure.subset) for figure in figures))
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    figure_ = Figure(figsize=(6 * across, 4.6 * down), layout="constrained")
    grid = figure_.subplots(down, across, squeeze=False).flatten()
    for axes, (protocol, subset) in zip(grid, panels, strict=False):
        shown = [figure for figure in figures if (figure.protocol, figure.subset) == (protocol, subset)]
        for figure in shown:
            having = [row for row in in_subset(rows[protocol], subset) if value_of(row, figure.score) is not None]
            scores = signs[figure.score] * np.array([value_of(row, figure.score) for row in having], dtype=np.float64)
            precision, recall, _ = precision_recall_curve(harmful_rows(having, threshold), scores)
            style = {"color": "black", "linewidth": 2.0} if figure.score == DISTANCE else {"linewidth": 1.0}
            label = f"{figure.score} {figure.average_precision.value:.3f}"
            axes.step(recall, precision, where="post", label=label, **style)
        axes.axhline(shown[0].base_rate, color="grey", linestyle=":", linewidth=1)
        axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1), title=f"{protocol}, {subset}")
        axes.legend(fontsize=7, title="average precision", title_fontsize=7)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    with whole_or_not(path) as temporary:
        figure_.savefig(temporary, format="png", dpi=120)


# ---- consequences against what was seen in RNA ---------------------------------------------------------------------

_ALTERNATIVE = frozenset({Effect.EXON_EXTENSION, Effect.EXON_TRUNCATION})
_KINDS_SEEN = {
    "skip": frozenset({Effect.EXON_SKIPPING}),
    "alternative donor": _ALTERNATIVE,
    "alternative acceptor": _ALTERNATIVE,
    "retention": frozenset({Effect.INTRON_RETENTION}),
    "multiple": _ALTERNATIVE | {Effect.EXON_SKIPPING},
}
_SITE_SEEN = re.compile(r"(\d+) ?nt (up|down)stream from (?:the )?([35])' ?ss")
_OBSERVED = ("hgvs", "chrom", "pos", "ref", "alt", "strand", "affects_splicing", "effect", "observation",
             "acceptor_gained", "donor_gained")  # fmt: skip


class ObservedSplicing(NamedTuple):
    """A variant and what was seen in RNA, as Strauch et al. 2022 (10.1371/journal.pone.0269159) collected it.

    Args:
        pos: 1-based, as in VCF.
        label: ``none`` where splicing is normal, else the file's word for the effect.
        site: 0-based exonic base of the new site that was used; None where none is given.
        size: nt that the exon gains by it, as the observation has it; None where none is given.
    """

    name: str
    chrom: str
    pos: int
    ref: str
    alt: str
    strand: str
    label: str
    observation: str
    site: int | None
    size: int | None

    def right(self, outcome: Outcome) -> bool:
        """Tell whether an outcome is of the kind that was seen."""
        return outcome.kind in _KINDS_SEEN[self.label]

    def exact(self, outcome: Outcome) -> bool:
        """Tell whether an outcome uses the new site that was seen."""
        by_site = self.site is not None and any(site.position == self.site for site in outcome.sites)
        return outcome.kind in _ALTERNATIVE and (by_site or (self.size is not None and outcome.size == self.size))


def read_observed(path: Path) -> list[ObservedSplicing]:
    """Read a TSV of variants with RNA evidence; further columns are left alone.

    Raises:
        LabelError: not such a file, or a row that cannot be read.
    """
    with _reading(path, "observed effects") as reader:
        _check_columns(reader, _OBSERVED, path, "observed effects")
        return [_observed(row, number, path) for number, row in enumerate(reader, start=2)]


def _observed(row: dict[str, str], line: int, path: Path) -> ObservedSplicing:
    label = row["effect"] if row["affects_splicing"] == "1" else "none"
    if label == "normal" and (found := re.search("Alternative ([35])'", row["observation"])):
        label = "alternative donor" if found[1] == "5" else "alternative acceptor"
    gained = row["acceptor_gained"] or row["donor_gained"]
    try:
        if label != "none" and label not in _KINDS_SEEN:
            raise ValueError(f"effect {label!r}")
        site = int(float(gained)) - 1 if gained and label in ("alternative donor", "alternative acceptor") else None
        size = None
        if label != "multiple" and (seen := _SITE_SEEN.search(row["observation"])):
            size = int(seen[1]) * (1 if (seen[2] == "down") == (seen[3] == "5") else -1)
        return ObservedSplicing(
            row["hgvs"], row["chrom"], int(row["pos"]), row["ref"], row["alt"], row["strand"], label,
            row["observation"], site, size,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise LabelError(
            "A row of the observed effects cannot be read.", needed=f"an effect of {', '.join(_KINDS_SEEN)} or normal",
            found=str(error), where=f"{path}, line {line}",
        ) from error  # fmt: skip


def compare_consequences(pairs: Sequence[tuple[ObservedSplicing, Consequence]]) -> str:
    """Return how consequences agree with RNA: figures, a table of effects by label, and every disagreement."""
    affected = [(seen, found) for seen, found in pairs if seen.label != "none"]
    normal = [found for seen, found in pairs if seen.label == "none"]
    sites = [(seen, found) for seen, found in affected if seen.site is not None or seen.size is not None]
    counts = {
        "the right kind is the first outcome": [bool(f.outcomes) and s.right(f.outcomes[0]) for s, f in affected],
        "the right kind is among the outcomes": [any(map(s.right, f.outcomes)) for s, f in affected],
        "the very site is among the outcomes": [any(map(s.exact, f.outcomes)) for s, f in sites],
        "no effect where RNA is normal": [found.effect is Effect.NO_EFFECT for found in normal],
    }
    lines = [
        f"{what}: {sum(hits)} of {len(hits)} ({sum(hits) / len(hits):.1%})" for what, hits in counts.items() if hits
    ]
    effects = [effect for effect in Effect if any(found.effect is effect for _, found in pairs)]
    lines += ["", "\t".join(["seen in RNA", *effects])]
    for label in ("none", *_KINDS_SEEN):
        row = [found.effect for seen, found in pairs if seen.label == label]
        if row:
            lines.append("\t".join([label, *(str(row.count(effect)) for effect in effects)]))
    lines.append("")
    for seen, found in pairs:
        if seen.label == "none":
            agrees = found.effect is Effect.NO_EFFECT
        else:
            agrees = bool(found.outcomes) and seen.right(found.outcomes[0])
            if seen.site is not None or seen.size is not None:
                agrees = agrees and any(map(seen.exact, found.outcomes))
        if not agrees:
            lines.append(f"{seen.name}\tseen: {seen.label}, {seen.observation or '-'}\tfound: {sentence(found)}")
    return "\n".join(lines)

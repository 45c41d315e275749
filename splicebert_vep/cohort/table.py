"""The table of a cohort: every distinct allele with its scores, and how many files and samples have it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from splicebert_vep_spec import AlleleReport, RecordReport, RunInfo, ScoredContext, Status, Value

from ..files import whole_or_not
from ..genome.reference import Reference
from ..outputs.tables import RowsWriter, rows, schema_of
from ..scoring.pipeline import ScoringLike
from ..sequence.alleles import anchored
from .names import COUNTS
from .plan import Known, Plan


def write_table(path: Path, plan: Plan, run: RunInfo, scoring: ScoringLike, reference: Reference) -> None:
    """Write one row per distinct allele x gene, by position, then the ALTs that have no normalised allele.

    CHROM, POS, REF and ALT are of the normalised allele under the FASTA's name of the contig; of an ALT without one, as
    written. FILES is the number of files that have it, CARRIERS of samples with it in their genotype, missing where no
    file has genotypes; a sample that is in several files counts in each.

    Raises:
        OutputError: disk full and the like; no table is left then.
    """
    with whole_or_not(path) as temporary:
        schema = schema_of(run)
        for name in COUNTS:
            schema = schema.append(pa.field(name, pa.int64()))
        writer = RowsWriter(str(temporary), schema)
        try:
            for block in plan.alleles():
                outcomes = scoring.outcomes([known.allele for known in block])
                writer.append(_of_alleles(zip(block, outcomes, strict=True), run, reference))
            writer.append(_of_turned(plan, run))
        finally:
            writer.close()


def _of_alleles(
    found: Iterable[tuple[Known, tuple[ScoredContext, ...]]], run: RunInfo, reference: Reference
) -> Iterator[tuple[Value, ...]]:
    for known, outcome in found:
        allele, contig = known.allele, known.allele.contig
        pos, ref, alt = anchored(allele, partial(reference.fetch, contig))
        report = RecordReport(contig, pos, ".", ref, (AlleleReport(alt, allele, outcome),))
        for row in rows(report, run):
            yield (*row, known.files, known.carriers)


def _of_turned(plan: Plan, run: RunInfo) -> Iterator[tuple[Value, ...]]:
    for one in plan.turned():
        outcome = ScoredContext(None, Status(one.status), one.reason, {})
        report = RecordReport(one.chrom, one.pos, ".", one.ref, (AlleleReport(one.alt, None, (outcome,)),))
        for row in rows(report, run):
            yield (*row, one.files, one.carriers)

"""Benches: score labelled SNVs with the library's own windows, engine and scorers, in two protocols.

``published``
    One window of W nucleotides centred on the labelled exon, as in Chen et al. 2024 (10.1093/bib/bbae163).
``own``
    A window centred on the variant, as ``annotate`` takes it.

In both the splice sites are those of the labelled exon, on the strand of its transcript. A row that carries its own
sequence has that as its window in either protocol, and the largest flank that fits: comparable with nothing published.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from splicebert_vep.model.engine import Engine
from splicebert_vep.model.local import Local
from splicebert_vep.pipeline import ReferenceLike
from splicebert_vep.scores import scored, scored_by_sequence
from splicebert_vep.sequence import windows
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep.settings import ScorePlan, check_window
from splicebert_vep_spec import Allele, Backend, GeneContext, Skipped, Status, Value

from .labelled import LabelledVariant

BenchProtocol = Literal["published", "own"]

PROTOCOLS: tuple[BenchProtocol, ...] = ("published", "own")

_BASES = (b"A", b"C", b"G", b"T")

_SHAPE = WindowShape()

LEAST_FLANK = 10
"""Shortest flank, nt, with which a row that carries its own sequence is scored."""


@dataclass(frozen=True, slots=True)
class BenchRow:
    """One variant with its scores by field id, none when it was not scored, and why."""

    variant: LabelledVariant
    values: Mapping[str, Value]
    skipped: Skipped | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What a row's windows are cut from; rows of one shape are cut and run together.

    Args:
        allele: the SNV.
        start: where its window starts, in the coordinates of the allele.
        bases: of the window.
        shape: of the window.
        reference: that it was cut from; None for a row that carries its own sequence.
    """

    allele: Allele
    start: int
    bases: bytes
    shape: WindowShape
    reference: ReferenceLike | None = None


def score_labelled(
    variants: Sequence[LabelledVariant],
    references: Mapping[str | None, Sequence[ReferenceLike]],
    backend: Backend,
    plan: ScorePlan,
    protocol: BenchProtocol,
    *,
    shape: WindowShape = _SHAPE,
    local: Local | None = None,
) -> list[BenchRow]:
    """Score variants; one row each, in order.

    Args:
        references: FASTAs by the assembly that the variants name; under None those for variants that name none.
        shape: of the windows of rows that do not carry their own sequence; its mode is that of the protocol ``own``.
        local: the radii of local mode; None for exact.

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
        engine = Engine(backend, flank=one.flank, local=local)
        for done in scored(engine.run(pairs, plan.needs), plan):
            for row, reason in done.failed.items():
                at = members[clean[row]]
                rows[at] = BenchRow(variants[at], {}, Skipped(Status.FAILED, reason))
            for row, values in done.values.items():
                at = members[clean[row]]
                rows[at] = BenchRow(variants[at], values)
    _add_by_sequence(rows, prepared, plan)
    return rows


def _add_by_sequence(rows: list[BenchRow], prepared: Sequence[_Prepared | Skipped], plan: ScorePlan) -> None:
    """Add to scored rows what is scored by the reference alone; a row that carries its own sequence has none of it."""
    of_reference: dict[int, list[int]] = defaultdict(list)
    for at, (row, found) in enumerate(zip(rows, prepared, strict=True)):
        if row.skipped is None and isinstance(found, _Prepared) and found.reference is not None:
            of_reference[id(found.reference)].append(at)
    for members in of_reference.values():
        ready = [found for at in members if isinstance(found := prepared[at], _Prepared)]
        assert ready[0].reference is not None
        asked = [(found.allele, _labelled_exon(rows[at].variant)) for at, found in zip(members, ready, strict=True)]
        for at, added in zip(members, scored_by_sequence(asked, ready[0].reference, plan), strict=True):
            variant, values = rows[at].variant, rows[at].values
            if isinstance(added, Skipped):
                rows[at] = BenchRow(variant, {}, added)
            else:
                rows[at] = BenchRow(variant, {**values, **added})


def _on_genome(
    variant: LabelledVariant,
    references: Mapping[str | None, Sequence[ReferenceLike]],
    protocol: BenchProtocol,
    shape: WindowShape,
) -> _Prepared | Skipped:
    known = references.get(variant.assembly, ())
    found = [(one, contig) for one in known if (contig := one.find(variant.chrom)) is not None]
    if not found:
        return Skipped(Status.NO_CONTIG, f"{variant.chrom} of {variant.assembly or 'the reference'} is not at hand")
    # Several FASTAs may each hold a part of an assembly: the first that has a base there is the one to believe.
    there = [(one, contig) for one, contig in found if one.fetch(contig, variant.start, variant.start + 1) in _BASES]
    return _place(variant, *(there or found)[0], protocol, shape)


def _place(
    variant: LabelledVariant, reference: ReferenceLike, contig: str, protocol: BenchProtocol, shape: WindowShape
) -> _Prepared | Skipped:
    allele = Allele(contig, variant.start, variant.ref, variant.alt)
    mismatch = _check(variant, reference.fetch(contig, variant.start, variant.start + len(variant.ref)))
    if mismatch:
        return mismatch
    length = reference.lengths[contig]
    start = _own_window(allele, length, shape) if protocol == "own" else _exon_centred(variant, length, shape)
    if isinstance(start, Skipped):
        return start
    bases = reference.fetch(contig, *windows.region(allele, start, shape.width))
    return _Prepared(allele, start, bases, shape, reference)


def _own_window(allele: Allele, contig_length: int, shape: WindowShape) -> int | Skipped:
    placed = windows.place([allele], [contig_length], shape)
    return int(placed.start[0]) if placed.fits[0] else windows.no_room(allele, contig_length, shape)


def _exon_centred(variant: LabelledVariant, contig_length: int, shape: WindowShape) -> int | Skipped:
    start = (variant.exon.start + variant.exon.end) // 2 - shape.width // 2
    offset = variant.start - start
    if not shape.flank <= offset < shape.width - shape.flank or start < 0 or start + shape.width > contig_length:
        return Skipped(Status.N_CONTEXT, f"less than {shape.flank} nt to an end of the exon-centred window")
    return start


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
    return GeneContext(
        gene_id="labelled exon", symbol=None, transcript_id="", transcript_choice="", biotype="", strand=variant.strand,
        region="", site_offset=None, site_hit=None, donor=variant.donor, acceptor=variant.acceptor, near_site=True,
    )  # fmt: skip

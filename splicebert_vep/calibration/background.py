"""Score random SNVs of every region class, and keep what they score in a calibration table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from splicebert_vep.annotator import Annotator
from splicebert_vep.errors import CalibrationError, OutputError, SettingsError, suggestion
from splicebert_vep.files import check_place, destination
from splicebert_vep.genome.guard import Observed
from splicebert_vep.genome.reference import Reference
from splicebert_vep_spec import GeneContext, Status

from .classes import LEAST, REGION_CLASSES
from .draw import Drawn, Place, Sampler
from .table import SIGNS, steps, write_table

SCORES = tuple(SIGNS)
_CHUNK = 128
_APART = 500_000  # nt between the places at which the builds are compared
_COMPARED = 50  # nt

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ScoredSnv:
    """A random SNV with its scores by name."""

    drawn: Drawn
    scores: Mapping[str, float]


def calibrate_into(
    path: str | Path,
    annotator: Annotator,
    *,
    per_class: int = 2000,
    seed: int = 1,
    contigs: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write the calibration table of an annotator's scores; returns how many SNVs of each region class it has.

    Args:
        path: of the table, which appears whole or not at all.
        annotator: opened with the scores KL_CTX and LLR.
        per_class: SNVs of each region class; a class in which fewer are found gets these.
        seed: of the draw.
        contigs: to draw from, under any naming; all of the FASTA when none is given.
        progress: called with what is being done, how much of it is done, and how much there is.

    Raises:
        CalibrationError: a class has fewer than ``LEAST`` SNVs.
        SettingsError: an unknown contig, or fewer than ``LEAST`` asked for.
        BuildError: FASTA and annotation are of different builds.
        OutputError: the table cannot be written.
    """
    if per_class < LEAST:
        raise SettingsError("There would be too few SNVs.", needed=f"at least {LEAST} per class", found=str(per_class))
    if destination(path).final is None:
        raise OutputError("The table could not be written.", needed="the name of a file", found=str(path))
    check_place(path)
    if os.path.realpath(path) == os.path.realpath(annotator.reference.path):
        raise OutputError("The table would replace the reference.", needed="another file", found=str(path))
    names = contigs_of(annotator.reference, contigs)
    check_build(annotator, names)
    sampler = Sampler(annotator.genes, annotator.reference, names, seed)
    scored = score_random(annotator, sampler, per_class, progress)
    counts = counts_of(scored)
    few = [f"{name} {count}" for name, count in counts.items() if count < LEAST]
    if few:
        raise CalibrationError(
            "There are too few SNVs of a region class.",
            needed=f"at least {LEAST} with scores of every class",
            found=", ".join(few),
            where=f"{', '.join(names)} of {annotator.reference.path}",
            remedy="give a FASTA with more genes, more --contigs, or an annotation that tells coding sequence",
        )
    write_background(path, annotator, scored, seed=seed, per_class=per_class, contigs=names)
    return counts


def write_background(
    path: str | Path,
    annotator: Annotator,
    scored: Sequence[ScoredSnv],
    *,
    seed: int,
    per_class: int,
    contigs: Sequence[str],
) -> None:
    """Write what random SNVs scored; arguments and errors as for ``calibrate_into``."""
    values = {
        score: {
            name: [steps(score, one.scores[score]) for one in scored if one.drawn.region_class == name]
            for name in REGION_CLASSES
        }
        for score in SCORES
    }
    provenance = annotator.run.provenance
    kept = ("Version", "Reference", "ReferenceSHA256", "Annotation", "AnnotationDigest", "Device")
    about = {"seed": seed, "per_class": per_class, "contigs": list(contigs), **{key: provenance[key] for key in kept}}
    write_table(path, values, provenance, about)


def contigs_of(reference: Reference, asked: Sequence[str]) -> list[str]:
    """Return the FASTA's names of contigs, all where none is asked for.

    Raises:
        SettingsError: the FASTA lacks one.
    """
    unknown = [name for name in asked if reference.find(name) is None]
    if unknown:
        raise SettingsError(
            "The FASTA has no such contig.",
            needed=f"some of {', '.join(reference.lengths)}",
            found=", ".join(unknown),
            where=str(reference.path),
            remedy=suggestion(unknown, reference.lengths),
        )
    wanted = {reference.find(name) for name in asked}
    return [name for name in reference.lengths if not asked or name in wanted]


def check_build(annotator: Annotator, contigs: Sequence[str]) -> None:
    """Raise BuildError where the splice sites of the annotation are not those of the FASTA."""
    guard = annotator.files().guard({})
    reference = annotator.reference
    guard.observe(
        Observed(contig, at + 1, reference.fetch(contig, at, at + _COMPARED).decode("ascii"))
        for contig in contigs
        for at in range(0, reference.lengths[contig], _APART)
    )


def score_random(
    annotator: Annotator, sampler: Sampler, per_class: int, progress: Progress | None = None
) -> list[ScoredSnv]:
    """Draw and score SNVs until ``per_class`` of each class are OK; of a class that runs out, those there are."""
    scored: list[ScoredSnv] = []
    wanted = dict.fromkeys(REGION_CLASSES, per_class)
    while wanted:
        drawn = sampler.take(wanted)
        in_order = sorted(drawn, key=lambda one: (one.place, one.allele.alt))  # neighbours share what is read
        for at in range(0, len(in_order), _CHUNK):
            scored += _scored(annotator, in_order[at : at + _CHUNK])
            if progress:
                left = max(0, len(in_order) - at - _CHUNK)
                progress("random SNVs scored", len(scored), len(scored) + left)
        found, done = Counter(one.region_class for one in drawn), counts_of(scored)
        wanted = {
            name: per_class - done[name]
            for name, count in wanted.items()
            if found[name] == count and done[name] < per_class
        }
    return scored


def counts_of(scored: Iterable[ScoredSnv]) -> dict[str, int]:
    """Return the number of SNVs by region class."""
    counts = Counter(one.drawn.region_class for one in scored)
    return {name: counts[name] for name in REGION_CLASSES}


def _scored(annotator: Annotator, chunk: Sequence[Drawn]) -> list[ScoredSnv]:
    scoring = replace(annotator.scoring, genes=_OneGene({one.place: one.context for one in chunk}))
    outcomes = scoring.outcomes([one.allele for one in chunk])
    found = []
    for drawn, [outcome] in zip(chunk, outcomes, strict=True):
        scores = {name: outcome.values.get(name) for name in SCORES}
        numbers = {name: value for name, value in scores.items() if isinstance(value, float)}
        if outcome.status == Status.OK and len(numbers) == len(SCORES):
            found.append(ScoredSnv(drawn, numbers))
    return found


@dataclass(frozen=True, slots=True)
class _OneGene:
    """The gene that each place was drawn in, as an annotation."""

    at: Mapping[Place, GeneContext]

    def contexts(self, contig: str, start: int, end: int) -> Sequence[GeneContext]:
        return [self.at[contig, start]]

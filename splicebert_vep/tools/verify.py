"""Score a random sample of a store again, and compare."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from splicebert_vep_spec import Allele

from ..errors import StoreError
from ..opening import Opening
from ..provenance import ABOUT_WINDOW, Space, asked_columns, field_of
from ..scoring.cache import Columns, stored_rows
from ..store.store import ScoreStore, StoredScores


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it.

    Args:
        space: that was looked at.
        compared: alleles x genes.
        largest: the largest difference of a value.
        differing: what differs by more than the space's tolerance, in words.
        strange: contigs that this FASTA does not have.
    """

    space: Space
    compared: int
    largest: float
    differing: Sequence[str]
    strange: Sequence[str]


def verify(store: ScoreStore, opening: Opening, *, sample: int, seed: int) -> list[Verified]:
    """Score alleles of every space that this installation makes again.

    Args:
        store: to look at.
        opening: of the annotator whose scores the store should hold.
        sample: alleles of each space.
        seed: of the choice of alleles.

    Raises:
        StoreError: the store has no scores of this model, annotation and these settings.
    """
    with opening.open() as annotator:
        here = annotator.space
    found = [
        space
        for space in store.spaces()
        if (space.score_digest, space.annotation_digest) == (here.score_digest, here.annotation_digest)
    ]
    if not found:
        there = ", ".join(f"{one.score_digest[:12]} {one.annotation_digest[:12]}" for one in store.spaces())
        raise StoreError(
            "The store holds no scores of this model, annotation and these settings.",
            needed=f"score digest {here.score_digest[:12]}, annotation digest {here.annotation_digest[:12]}",
            found=there or "none",
            where=str(store.path),
            remedy="'splicebert-vep store info' shows how the scores were made; give the same options",
        )
    verified = [_verify_space(store, space, opening, sample, seed) for space in found]
    if not any(verified):
        raise StoreError(
            "The store holds these scores of other versions only.",
            needed=", ".join(column for column in here.columns if "=" in column),
            found="; ".join(", ".join(column for column in space.columns if "=" in column) for space in found),
            where=str(store.path),
            remedy="give the options that they were made with, such as --splice-model and --delta-distance",
        )
    return [one for one in verified if one]


def _verify_space(store: ScoreStore, space: Space, opening: Opening, sample: int, seed: int) -> Verified | None:
    """Return None for a space that other versions of the scorers made."""
    asked = tuple(
        field_of(column) for column in space.columns if not column.startswith("(") and column not in ABOUT_WINDOW
    )
    with replace(opening, scores=asked).open() as annotator:
        if not set(asked_columns(annotator.plan)) <= set(space.columns):
            return None
        columns = Columns(space, annotator.plan)
        names, strange = {}, []
        for md5, name in store.contigs(space).items():
            there = annotator.reference.find(name)
            if there is None or annotator.reference.md5(there) != md5:
                strange.append(name)
            else:
                names[md5] = there
        keys = store.sample(space, sorted(names), sample, random.Random(seed))
        alleles = [Allele(names[key.md5], key.start, key.ref, key.alt) for key in keys]
        outcomes = annotator.scoring.outcomes(alleles) if alleles else []
        compared, largest, differing = 0, 0.0, list[str]()
        for key, allele, outcome, old in zip(keys, alleles, outcomes, store.find(space, keys), strict=True):
            new = {row.gene: row for row in stored_rows(outcome, columns)}
            for row in old:
                compared += 1
                apart = _apart(row, new.get(row.gene))
                largest = max(largest, apart)
                if apart > space.tolerance:
                    where = f"{allele.contig}:{allele.start + 1} {key.change} in {row.gene}"
                    differing.append(f"{where}: {apart:.6g} apart")
        return Verified(space, compared, largest, differing, strange)


def _apart(old: StoredScores, new: StoredScores | None) -> float:
    """Return the largest difference of two rows; infinite where status or missing values differ."""
    if new is None or old.status != new.status:
        return float("inf")
    pairs = [(a, b) for a, b in zip(old.values, new.values, strict=True) if not (a is None and b is None)]
    return max((float("inf") if a is None or b is None else abs(a - b) for a, b in pairs), default=0.0)

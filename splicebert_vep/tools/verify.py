"""Score a random sample of a store again, and compare."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from splicebert_vep_spec import Allele

from ..annotator import Annotator
from ..errors import StoreError
from ..provenance import ABOUT_WINDOW, Space, field_of
from ..scoring.cache import RowCodec, stored_rows
from ..store.store import ScoreStore, StoredScores


class Verified(NamedTuple):
    """The comparison of one space."""

    space: Space
    compared: int  # rows, alleles x genes
    largest: float  # difference of a value
    differing: Sequence[str]  # a sentence for each row that differs by more than the space's tolerance
    strange: Sequence[str]  # contigs that this FASTA does not have


def verify(store: ScoreStore, options: Mapping[str, Any], *, sample: int, seed: int) -> list[Verified]:
    """Score alleles of every space that this installation makes again.

    Args:
        options: arguments of the Annotator whose scores the store should hold.
        sample: alleles of each space.
        seed: of the choice of alleles.

    Raises:
        StoreError: the store has no scores of this model, annotation and these settings.
    """
    with Annotator(**options) as annotator:
        here = annotator.space
    digests = here.score_digest, here.annotation_digest
    found = [space for space in store.spaces() if (space.score_digest, space.annotation_digest) == digests]
    verified = [one for space in found if (one := _verify_space(store, space, options, sample, seed))]
    if not verified:
        needed = f"score digest {digests[0][:12]}, annotation digest {digests[1][:12]}"
        there = [f"{one.score_digest[:12]}, {one.annotation_digest[:12]}" for one in store.spaces()]
        if found:  # of other versions of scorers
            needed = ", ".join(column for column in here.columns if "=" in column)
            there = [", ".join(column for column in one.columns if "=" in column) for one in found]
        problem = "The store holds no scores of this model, annotation and these settings."
        remedy = "'store info' shows how the scores were made; give the same options, such as --splice-model"
        found_there = "; ".join(there) or "none"
        raise StoreError(problem, needed=needed, found=found_there, where=str(store.path), remedy=remedy)
    return verified


def _verify_space(
    store: ScoreStore, space: Space, options: Mapping[str, Any], sample: int, seed: int
) -> Verified | None:
    """Compare one space; return None where other versions of the scorers made it."""
    asked = tuple(field_of(column) for column in space.columns if not column.startswith("("))
    scores = tuple(field for field in asked if field not in ABOUT_WINDOW)
    with Annotator(**{**options, "scores": scores}) as annotator:
        if not set(annotator.plan.columns) <= set(space.columns):
            return None
        codec = RowCodec(space, annotator.plan)
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
            new = {row.gene: row for row in stored_rows(outcome, codec)}
            for row in old:
                compared += 1
                apart = _apart(row, new.get(row.gene))
                largest = max(largest, apart)
                if apart > space.tolerance:
                    where = f"{allele.contig}:{allele.start + 1} {key.change} in {row.gene}"
                    differing.append(f"{where}: {apart:.6g} apart")
        return Verified(space, compared, largest, differing, strange)


def _apart(old: StoredScores, new: StoredScores | None) -> float:
    """Return the largest difference of two rows; infinite where status, words or missing values differ."""
    if new is None or old.status != new.status:
        return math.inf
    pairs = [(a, b) for a, b in zip(old.values, new.values, strict=True) if a != b]
    numbers = [(a, b) for a, b in pairs if isinstance(a, int | float) and isinstance(b, int | float)]
    return math.inf if len(numbers) < len(pairs) else max((abs(a - b) for a, b in numbers), default=0.0)

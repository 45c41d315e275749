"""Which bases the model sees in relation to which: how much its expectation of one changes when another is mutated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from splicebert_vep.annotator import Annotator
from splicebert_vep.errors import SettingsError
from splicebert_vep_spec import Status

from .region_map import Floats, Progress, RegionMap

LONGEST_DEPENDENCY = 1000  # nt: of a region of P nt there are 4 P x P numbers


@dataclass(frozen=True, slots=True, eq=False)
class Dependency:
    """KL divergence at every position of a region for every SNV of it; all axes 5' to 3' of the transcript.

    Args:
        kl: (P, 4, P) nats: mutated position, ALT as A, C, G, T of the transcribed strand, position that is read. NaN
            at REF, for an SNV without scores, and where the read position lies outside the SNV's window. The position
            that is itself mutated has a value too; it says how much the model sees of the base that stands there.
    """

    kl: Floats

    def mean(self) -> Floats:
        """Return the mean over the ALTs that were scored, (P, P): what an SNV at the first does to the second."""
        count = self.alts()
        total = np.nansum(self.kl, axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def largest(self) -> Floats:
        """Return the largest over the ALTs, (P, P), as published dependency maps have it."""
        largest: Floats = np.fmax.reduce(self.kl, axis=1)
        return largest

    def alts(self) -> Floats:
        """Return how many ALTs a pair of positions has a value of, (P, P)."""
        count: Floats = (~np.isnan(self.kl)).sum(axis=1)
        return count


def dependency_of(annotator: Annotator, found: RegionMap, *, progress: Progress | None = None) -> Dependency:
    """Return how every SNV of a map changes what the model expects of every base of its region.

    The numbers are those of ``Annotator.profile``: whole windows that are placed for each SNV as for its scores.

    Args:
        annotator: the one that made the map.
        found: of at most 1,000 nt.
        progress: as for ``map_region``.

    Raises:
        SettingsError: the region is too long.
        BackendError: the model failed.
    """
    check_length(len(found))
    kl = np.full((len(found), 4, len(found)), np.nan)
    for done, result in enumerate(found.results, start=1):
        if result.status == Status.OK:
            profile = annotator.profile(result)
            there = profile.in_ref & (profile.position >= found.start) & (profile.position < found.end)
            at = profile.position[there] - found.start
            column = len(found) - 1 - at if found.minus else at
            kl[(*found.cell(result), column)] = profile.kl[there]
        if progress:
            progress("SNVs followed to every base", done, len(found.results))
    return Dependency(kl)


def check_length(length: int) -> None:
    """See that a region of so many nt is not too long for a dependency map.

    Raises:
        SettingsError: it is.
    """
    if length > LONGEST_DEPENDENCY:
        raise SettingsError(
            "The region is too long for a dependency map.",
            needed=f"at most {LONGEST_DEPENDENCY:,} nt",
            found=f"{length:,} nt",
            remedy="give a smaller region; pairs further apart than half a window have no value anyway",
        )

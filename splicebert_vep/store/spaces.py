"""What scores of a store are comparable: those of one space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_TOLERANCE = {"fp32": 1e-4}
_HALF = 0.05


@dataclass(frozen=True, slots=True)
class Space:
    """Scores that one way of scoring gave.

    Args:
        score_digest: of model, window, engine and score version, see ``splicebert_vep.identity``.
        annotation_digest: of the gene annotation.
        columns: what a row holds: ``FIELD=scorer/version`` as it was asked for, in ``( )`` what was computed only where
            it had to choose between genes.
        provenance: of the run that made the space.
    """

    score_digest: str
    annotation_digest: str
    columns: tuple[str, ...]
    provenance: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)

    @property
    def tolerance(self) -> float:
        """How far two computations of a score may lie apart: 1e-4; .05 in half precision, where GPUs differ."""
        return _TOLERANCE.get(self.provenance.get("Precision", "fp32"), _HALF)

    def serves(self, columns: Sequence[str], of: Space) -> bool:
        """Tell whether rows of this space answer a run that asks for ``columns`` of space ``of``."""
        same = (self.score_digest, self.annotation_digest) == (of.score_digest, of.annotation_digest)
        return same and set(columns) <= set(self.columns)

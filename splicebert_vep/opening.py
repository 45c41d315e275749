"""What opens an Annotator, as a value: it goes into a plan on disk, and to workers on other machines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .annotator import Annotator
from .genome.gene_build import is_built_in
from .model.backend import default_threads
from .model.registry import DEFAULT_SPLICE_MODEL, MODELS
from .sequence.windows import WindowShape
from .settings import DeltaSettings, Settings


@dataclass(frozen=True, slots=True)
class Opening:
    """Arguments of ``Annotator`` and ``Settings`` as plain values; see there."""

    reference: str
    annotation: str
    model: str
    backend: str
    device: str
    precision: str
    threads: int | None
    batch_tokens: int | None
    window: int
    flank: int
    scores: tuple[str, ...]
    calibration: str | None = None
    splice_model: str = DEFAULT_SPLICE_MODEL
    delta_distance: int = 50
    masked: bool = False

    @property
    def settings(self) -> Settings:
        """The knobs that change a score."""
        return Settings(
            window=WindowShape(self.window, self.flank),
            scores=self.scores or None,
            batch_tokens=self.batch_tokens,
            delta=DeltaSettings(self.delta_distance, self.masked),
        )

    def open(self, store: str | None = None) -> Annotator:
        """Open the annotator.

        Raises:
            SpliceBertError: as ``Annotator``.
        """
        return Annotator(
            self.reference,
            self.annotation,
            model=self.model,
            backend=self.backend,
            device=self.device,
            threads=self.threads,
            precision=self.precision,
            settings=self.settings,
            calibration=self.calibration,
            splice_model=self.splice_model,
            store=store,
        )

    def fixed(self, precision: str) -> Opening:
        """Return what opens the same anywhere: absolute paths, the number of threads and the precision decided."""
        return replace(
            self,
            reference=os.path.abspath(self.reference),
            annotation=self.annotation if is_built_in(self.annotation) else os.path.abspath(self.annotation),
            model=os.path.abspath(self.model) if self.model not in MODELS and os.path.isdir(self.model) else self.model,
            calibration=None if self.calibration is None else os.path.abspath(self.calibration),
            splice_model=(
                self.splice_model if self.splice_model == DEFAULT_SPLICE_MODEL else os.path.abspath(self.splice_model)
            ),
            threads=self.threads or default_threads(),
            precision=precision,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Opening:
        """Return what ``to_json`` gave."""
        known = {name: values[name] for name in (field.name for field in fields(cls))}
        return cls(**{**known, "scores": tuple(known["scores"])})

"""The provenance line of every output, enough to reproduce every digit, and the digest that names a way of scoring."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from splicebert_vep_spec import BackendInfo

from .genome.reference import Reference
from .settings import DISCLAIMER, N_FRAC, SCORE_VERSION, Settings
from .version import __version__

_TOLERANCE = {"fp32": 1e-4}
_HALF = 0.05


@dataclass(frozen=True, slots=True)
class Space:
    """Scores that one way of scoring gave.

    Args:
        score_digest: of model, window, engine and score version, see ``splicebert_vep.provenance``.
        annotation_digest: of the gene annotation.
        columns: what a row holds: ``FIELD=scorer/version`` as it was asked for, ``FIELD:String=...`` for words, in
            ``( )`` what was computed only where it had to choose between genes.
        provenance: of the run that made the space.
    """

    score_digest: str
    annotation_digest: str
    columns: tuple[str, ...]
    provenance: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)

    @property
    def tolerance(self) -> float:
        """Largest difference between two computations of a score: 1e-4; .05 in half precision, where GPUs differ."""
        return _TOLERANCE.get(self.provenance.get("Precision", "fp32"), _HALF)

    def serves(self, columns: Sequence[str], of: Space) -> bool:
        """Tell whether rows of this space answer a run that asks for ``columns`` of space ``of``."""
        same = (self.score_digest, self.annotation_digest) == (of.score_digest, of.annotation_digest)
        return same and set(columns) <= set(self.columns)


#: What of a run's provenance determines its scores. Batch size, threads and the kind of device do not.
SCORED_BY = ("Backend", "WeightsSHA256", "Architecture", "Window", "Flank", "Precision", "ScoreVersion")

#: Hashed after Flank, so that stores of version 0.1 stay valid: it could place and compute windows in other ways too.
_HASHED_ONLY = {"WindowMode": "centred", "Stride": "none", "EngineMode": "exact", "Radius": "none"}

#: The column about the window that every stored score carries besides the fields asked for.
ABOUT_WINDOW = (N_FRAC.id,)


def score_digest(provenance: Mapping[str, str]) -> str:
    """Return the SHA-256 (hex) of the provenance that determines scores.

    A model without weights of its own (the null backend's, some plugin's) is known by its name.

    Raises:
        KeyError: the provenance lacks one of ``SCORED_BY``.
    """
    parts = []
    for key in SCORED_BY:
        parts.append((key, provenance[key]))
        if key == "Flank":
            parts += _HASHED_ONLY.items()
    if provenance["WeightsSHA256"] == "none":
        parts.append(("Model", provenance["Model"]))
    return hashlib.sha256("".join(f"{key}={value}\n" for key, value in parts).encode()).hexdigest()


def space_of(provenance: Mapping[str, str], asked: Sequence[str], computed: Sequence[str]) -> Space:
    """Return the space of a store that a run reads and fills.

    Args:
        asked: columns of the scores that the run asks for, ``FIELD=scorer/version``.
        computed: those it computes where it has to choose between genes.
    """
    choosing = tuple(f"({name})" for name in computed if name not in asked)
    columns = (*asked, *choosing, *ABOUT_WINDOW)
    return Space(provenance["ScoreDigest"], provenance["AnnotationDigest"], columns, dict(provenance))


def field_of(column: str) -> str:
    """Return the field that a column holds."""
    return column.strip("()").partition("=")[0].removesuffix(_TEXT)


def is_text(column: str) -> bool:
    """Tell whether a column holds words."""
    return column.strip("()").partition("=")[0].endswith(_TEXT)


_TEXT = ":String"


_NOT_ZERO_SHOT = "delta scores by a model trained on annotated splice sites"


def scored_by(info: BackendInfo, settings: Settings, backend: str) -> dict[str, str]:
    """Return the part of the provenance that determines the scores of the model.

    Args:
        backend: its name and version.
    """
    return {
        "ScoreVersion": str(SCORE_VERSION),
        "Backend": backend,
        "Model": info.model,
        "WeightsSHA256": info.weights_sha256,
        "Architecture": info.architecture,
        **settings.provenance("window", "flank"),
        "Precision": info.precision,
    }


def provenance_of(
    scored: Mapping[str, str],
    scores: Sequence[str],
    info: BackendInfo,
    *,
    delta: Mapping[str, str],
    calibration: str,
    batch_tokens: int,
    reference: Reference,
    store: str | None,
    annotation: tuple[str, str],
    plugins: Mapping[str, str],
) -> dict[str, str]:
    """Return the provenance of a run; reads the whole FASTA once for its digest.

    Args:
        scored: of ``scored_by``.
        scores: ids of the fields that the run gives.
        delta: the part that determines delta scores; empty without them.
        calibration: digest of the table, ``none`` without one.
        annotation: name and digest.
        plugins: versions by name.
    """
    return {
        "Version": __version__,
        "ScoreDigest": score_digest(scored),
        **scored,
        **delta,
        "Calibration": calibration,
        "Scores": ",".join(scores),
        "BatchTokens": str(batch_tokens),
        "Device": info.device,
        "Reference": reference.path.name,
        "ReferenceSHA256": reference.digest(),
        "Store": store or "none",
        "Annotation": annotation[0],
        "AnnotationDigest": annotation[1],
        "Plugins": ",".join(f"{name}={version}" for name, version in plugins.items()) or "none",
        "Quality": info.quality or "not measured",
        "Note": f"{DISCLAIMER}; {_NOT_ZERO_SHOT}" if delta else DISCLAIMER,
    }

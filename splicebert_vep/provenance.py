"""What a run says of itself in every output: enough to reproduce every digit."""

from __future__ import annotations

from collections.abc import Mapping

from splicebert_vep_spec import BackendInfo

from . import __version__
from .genome.reference import Reference
from .identity import score_digest
from .settings import DISCLAIMER, N_FRAC, SCORE_VERSION, WINDOW_MODE, ScorePlan, Settings

_NOT_ZERO_SHOT = "delta scores by a model fine-tuned on annotated splice sites"


def scored_by(info: BackendInfo, settings: Settings, backend: str) -> dict[str, str]:
    """Return what determines the scores of the model.

    Args:
        backend: its name and version.
    """
    shape, local = settings.window, settings.local
    return {
        "ScoreVersion": str(SCORE_VERSION),
        "Backend": backend,
        "Model": info.model,
        "WeightsSHA256": info.weights_sha256,
        "Architecture": info.architecture,
        "Window": str(shape.width),
        "Flank": str(shape.flank),
        "WindowMode": shape.mode,
        "Stride": str(shape.stride) if shape.mode == "tiled" else "none",
        "EngineMode": settings.mode,
        "Radius": f"{local.radius},{local.masked_radius}" if local else "none",
        "Precision": info.precision,
    }


def provenance_of(
    scored: Mapping[str, str],
    plan: ScorePlan,
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
        delta: what determines delta scores; empty where there are none.
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
        "Scores": ",".join(field.id for field in plan.fields if field not in (N_FRAC, WINDOW_MODE)),
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

"""All knobs that change a score, and the version of the scores themselves."""

from __future__ import annotations

from dataclasses import dataclass

from splicebert_vep_spec import BackendInfo, FieldSpec

from .errors import SettingsError
from .sequence.windows import WindowShape

#: Raised by one whenever the same input can give another score; named under "Scores" in CHANGELOG.md.
SCORE_VERSION = 2

DISCLAIMER = "zero-shot scores, not calibrated to ACMG/AMP evidence, no PP3/BP4 threshold"

#: The score by which flat output chooses between genes that are otherwise equal.
CHOICE = "KL_CTX"

#: The field about the window that every run reports after the scores.
N_FRAC = FieldSpec("N_FRAC", "A", "Float", "Share of the REF window that is not A, C, G or T in the reference")

#: Percentiles, which come from a calibration table, and the score that each is of.
PERCENTILES = {"PCTL_KL_CTX": "KL_CTX", "PCTL_LLR": "LLR"}
REGION_CLASS = FieldSpec("REGION_CLASS", "A", "String", "Region class that the percentiles are of, see docs/scores.md")

#: Names of output columns that no scorer may take.
RESERVED_FIELDS = (
    "ALLELE", "SYMBOL", "GENE", "TRANSCRIPT", "STRAND", "REGION", "SITE_OFFSET", "SITE_HIT", "NGENES", "STATUS",
    "CHROM", "POS", "ID", "REF", "ALT", "START", "SPAN_REF", "SPAN_ALT", "TRANSCRIPT_CHOICE", "BIOTYPE", "REASON",
    "GENE_KEY", *PERCENTILES, REGION_CLASS.id, N_FRAC.id,
)  # fmt: skip


#: Names of the program's own commands, which no plugin may take.
RESERVED_COMMANDS = (
    "annotate", "score", "cohort", "store", "saturate", "genes", "models", "calibrate", "corpus", "pretrain",
    "validate", "evaluate", "plugins", "doctor", "report", "plot", "map", "embed", "finetune",
    "oligo",
)  # fmt: skip


#: Words of ``--scores`` that stand for several fields: every default one, and all of the delta scorer.
ZERO_SHOT, DELTA = "zero-shot", "delta"
GROUPS = (ZERO_SHOT, DELTA)

#: Farthest that a delta score looks, nt: the model sees 510 nt, and what it says of a base needs those around it.
FARTHEST = 100

#: Random SNVs of a class that a table needs; with fewer a percentile means little.
LEAST = 100


@dataclass(frozen=True, slots=True)
class DeltaSettings:
    """What a user chooses of delta scores; see docs/delta.md.

    Args:
        distance: D, how far from POS the largest gain and loss are looked for, 1 to 100 nt.
        masked: a gain at an annotated site, and a loss where none is annotated, count 0.
    """

    distance: int = 50
    masked: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.distance <= FARTHEST:
            raise SettingsError(
                "Delta scores cannot look that far.",
                needed=f"--delta-distance of 1 to {FARTHEST} nt: the splice-site model sees no more around a base",
                found=f"--delta-distance {self.distance}",
            )


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user chooses of a run.

    Args:
        window: how windows are laid out.
        scores: field ids to compute, ``zero-shot`` for every default field, ``delta`` for all delta scores; or None for
            every default field. A percentile, only given when asked for, computes its score too.
        batch_tokens: upper bound of tokens in one forward call; None takes what suits the backend.
        chunk_records: records that flow through the pipeline together; bounds memory.
        delta: of delta scores; read where these are asked for.
    """

    window: WindowShape = WindowShape()
    scores: tuple[str, ...] | None = None
    batch_tokens: int | None = None
    chunk_records: int = 1024
    delta: DeltaSettings = DeltaSettings()

    def __post_init__(self) -> None:
        shape = self.window
        if shape.flank < 1 or shape.width < 2 * shape.flank + 1:
            raise SettingsError(
                "The window has no room for the flanks.",
                needed="--flank of at least 1 and --window of at least 2 x flank + 1",
                found=f"--window {shape.width} --flank {shape.flank}",
            )
        if (self.batch_tokens is not None and self.batch_tokens < 1) or self.chunk_records < 1:
            raise SettingsError("Batch tokens and chunk records must be at least 1.")


def check_window(shape: WindowShape, info: BackendInfo) -> None:
    """Raise SettingsError when the model was not trained for windows of this width."""
    if info.fixed_window is not None and shape.width != info.fixed_window:
        raise SettingsError(
            f"Model {info.model} takes windows of one length only.",
            needed=f"--window {info.fixed_window}",
            found=f"--window {shape.width}",
        )
    if shape.width > info.max_window:
        raise SettingsError(
            f"The window is wider than model {info.model} was trained for.",
            needed=f"--window of at most {info.max_window}",
            found=f"--window {shape.width}",
        )

"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import cloup
from click.core import ParameterSource

from splicebert_vep.model.registry import DEFAULT_MODEL, DEFAULT_SPLICE_MODEL

from .complete import PATH, complete_annotations, complete_backends, complete_models, complete_scores
from .console import say

if TYPE_CHECKING:  # torch takes seconds to import, and ``--help`` does without
    from splicebert_vep.annotator import Annotator
    from splicebert_vep.opening import Opening


def split_words(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Join repeated and comma-separated values of an option."""
    return tuple(word for value in values for word in value.split(",") if word)


json_option = cloup.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")

reference_option = cloup.option(
    "-R", "--reference", required=True, type=PATH, metavar="FASTA", help="Reference, plain or bgzip-compressed."
)
annotation_option = cloup.option(
    "-A", "--annotation", default="grch38", show_default=True, metavar="NAME|FILE", shell_complete=complete_annotations,
    help="Genes: grch38, grch37, a table of 'genes build', GFF3, GTF, or SpliceAI's table.",
)  # fmt: skip
model_option = cloup.option(
    "--model", default=DEFAULT_MODEL, show_default=True, metavar="NAME|FOLDER", shell_complete=complete_models,
    help="The model; 'models list' shows the names.",
)  # fmt: skip
device_option = cloup.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True,
    help="Where the model runs; auto is a CUDA GPU where there is one, else the CPU.",
)  # fmt: skip

_window_options = (
    cloup.option("--window", default=510, show_default=True, metavar="NT", help="Bases that the model sees at once."),
    cloup.option(
        "--flank", default=100, show_default=True, metavar="NT", help="Bases on each side of the allele that count.",
    ),
    cloup.option(
        "--window-mode", type=click.Choice(["centred", "tiled"]), default="centred", show_default=True,
        help="Centre each window on its allele, or lay windows on a grid of 128 nt.",
    ),
    cloup.option(
        "--mode", type=click.Choice(["exact", "local"]), default="exact", show_default=True,
        help="Run every window whole; or, faster and not quite the same, ALTs and masked sites only around the change.",
    ),
    cloup.option(
        "--radius", default=240, show_default=True, metavar="NT", help="How far around the change --mode local goes.",
    ),
)  # fmt: skip

splice_model_option = cloup.option(
    "--splice-model", default=DEFAULT_SPLICE_MODEL, show_default=True, metavar="NAME|FOLDER",
    help="What delta scores come from: the bundled model, or 'model' of a run of 'finetune splice-sites'.",
)  # fmt: skip
delta_distance_option = cloup.option(
    "--delta-distance", type=int, default=50, show_default=True, metavar="NT",
    help="How far from POS delta scores look, 1 to 100.",
)  # fmt: skip

#: For commands that know which scores they need.
window_options = cloup.option_group("What is computed", *_window_options)

computed_options = cloup.option_group(
    "What is computed",
    cloup.option(
        "--scores", multiple=True, callback=split_words, metavar="FIELD,...", shell_complete=complete_scores,
        help="Scores to compute, e.g. LLR,KL_CTX; 'plugins' shows all. PCTL_LLR, PCTL_KL_CTX: percentiles, with their "
        "scores. delta: all delta scores. zero-shot, the default: all but DELTA_P, KL_MAX, KL_MAX_POS and delta.",
    ),
    cloup.option(
        "--calibration", type=PATH, metavar="FILE",
        help="Table of 'calibrate', for percentiles. Default: the bundled model's own, where its scores are the same.",
    ),
    splice_model_option,
    delta_distance_option,
    cloup.option(
        "--masked", is_flag=True,
        help="Delta scores: a gain at an annotated site, and a loss where none is annotated, count 0.",
    ),
    *_window_options,
)  # fmt: skip

machine_options = cloup.option_group(
    "Model and machine",
    model_option,
    cloup.option(
        "--backend", default="torch", show_default=True, metavar="NAME", shell_complete=complete_backends,
        help="What runs the model; 'null' is no model, for tests of speed.",
    ),
    device_option,
    cloup.option(
        "--precision", type=click.Choice(["auto", "fp32", "fp16", "bf16"]), default="auto", show_default=True,
        help="auto is fp32 on a CPU; on a GPU half precision if a check at the start finds the same ranking.",
    ),
    cloup.option(
        "--batch-tokens", type=click.IntRange(1), default=None, metavar="N",
        help="Tokens in one forward pass. Default: what suits the device.",
    ),
    cloup.option(
        "--threads", type=click.IntRange(1), default=None, metavar="N", help="CPU threads. Default: torch's choice.",
    ),
)  # fmt: skip


join_option = cloup.option(
    "--join", multiple=True, metavar="NAME=SOURCE",
    help="Add another program's scores: NAME is spliceai, openspliceai or pangolin and SOURCE a tabixed VCF, or "
    "info:KEY of the input; or any NAME and a .toml that declares a table. Repeat for several.",
)  # fmt: skip
evidence_option = cloup.option(
    "--evidence", multiple=True, metavar="SCORE=VALUE",
    help="Threshold by which SpliceBERT_EVIDENCE sets a score beside SpliceAI, e.g. KL_CTX=-6.5; "
    "SpliceAI_DS_MAX=0.2 unless given.",
)  # fmt: skip
store_option = cloup.option(
    "--store", type=PATH, metavar="FILE",
    help="Score store on a local disk: what it knows is not scored again, what it does not is added. Made if absent.",
)  # fmt: skip


scheduler_option = cloup.option(
    "--scheduler", metavar="ADDRESS", help="Score on Dask workers: local:N, or tcp://HOST:PORT of a scheduler."
)


def opening_of(
    *, reference: str, annotation: str, model: str, window: int, flank: int, window_mode: str, scores: tuple[str, ...],
    mode: str, radius: int, backend: str, device: str, precision: str, batch_tokens: int | None, threads: int | None,
    calibration: str | None = None, splice_model: str = DEFAULT_SPLICE_MODEL, delta_distance: int = 50,
    masked: bool = False,
) -> Opening:  # fmt: skip
    """Return what the shared options say of the Annotator; torch is imported here, not for ``--help``."""
    from splicebert_vep.opening import Opening

    delta = any(name == "delta" or name.startswith(("DS_", "DP_")) for name in scores)
    if backend == "null":
        why = "with --backend null, which is no model and runs on the CPU"
        _say_without_effect(why, "model", *([] if delta else ["device"]), "precision")
    if not delta and "delta_distance" in click.get_current_context().params:
        _say_without_effect("without delta scores (--scores delta)", "splice-model", "delta-distance", "masked")
    return Opening(
        reference=reference, annotation=annotation, model=model, backend=backend, device=device, precision=precision,
        threads=threads, batch_tokens=batch_tokens, window=window, flank=flank, window_mode=window_mode, scores=scores,
        mode=mode, radius=radius, calibration=calibration, splice_model=splice_model, delta_distance=delta_distance,
        masked=masked,
    )  # fmt: skip


def open_annotator(store: str | None = None, **options: Any) -> Annotator:
    """Return the Annotator that the shared options describe."""
    return opening_of(**options).open(store=store)


def _say_without_effect(why: str, *names: str) -> None:
    source = click.get_current_context().get_parameter_source
    given = [f"--{name}" for name in names if source(name.replace("-", "_")) is ParameterSource.COMMANDLINE]
    if given:
        say(f"{' and '.join(given)}: no effect {why}")

"""``splicebert-vep validate``: how well a model guesses hidden nucleotides, by where in a gene they lie."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import cloup

from splicebert_vep.model.registry import DEFAULT_MODEL

from .complete import PATH, complete_models
from .console import print_json, print_table, say
from .options import device_option, json_option

if TYPE_CHECKING:
    from splicebert_vep.training.objective import Answers
    from splicebert_vep_spec import Backend

_WINDOWS = 512  # of each kind, for the loss: its standard error is then about .003 nat
_EPILOG = """\b
Examples:
  splicebert-vep validate human.corpus
  splicebert-vep validate human.corpus --model splicebert-mini --model run/model --nucleotides 300
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("corpus", metavar="CORPUS", type=PATH)
@cloup.option(
    "--model", "models", multiple=True, default=(DEFAULT_MODEL,), show_default=True, metavar="NAME|FOLDER",
    shell_complete=complete_models, help="A model to measure; may be repeated.",
)  # fmt: skip
@cloup.option(
    "--nucleotides", type=click.IntRange(1), default=1000, show_default=True, metavar="N", help="Hidden, of each kind."
)
@cloup.option(
    "--window", type=click.IntRange(9), default=510, show_default=True, metavar="NT",
    help="Bases that the model sees at once.",
)  # fmt: skip
@device_option
@cloup.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads. Default: torch's choice.")
@json_option
def validate(
    corpus: str, models: tuple[str, ...], nucleotides: int, window: int, device: str, threads: int | None, as_json: bool
) -> None:
    """Measure how well hidden nucleotides are guessed.

    Nucleotides of a corpus' held-out genes are hidden one at a time. Beside each model stands a count of what lies
    between the same four neighbours on either side, in the genes that are not held out. A model that is more
    surprised than that count, in any kind of region, is not trained.
    """
    from splicebert_vep.evaluation.counts import CountModel
    from splicebert_vep.evaluation.regions import measure_regions
    from splicebert_vep.plugins import load_plugins
    from splicebert_vep.sequence.windows import WindowShape
    from splicebert_vep.settings import check_window
    from splicebert_vep.training.corpus import Corpus
    from splicebert_vep.training.objective import held_out_batches, measure
    from splicebert_vep.training.sampling import WindowSampler
    from splicebert_vep_spec import BackendOptions

    packed = Corpus.load(Path(corpus))
    plugins = load_plugins()
    backends = [plugins.open_backend("torch", BackendOptions(name, device, threads)) for name in models]
    for backend in backends:
        check_window(WindowShape(window), backend.info)
    counts = CountModel(WindowSampler(packed), window)  # takes a minute, so all that can be wrong comes before
    batches = held_out_batches(WindowSampler(packed, held_out=True), window, _WINDOWS)
    found = []
    for backend in backends:
        rows = measure_regions(backend, packed, counts, nucleotides=nucleotides, width=window)
        whole = measure(_answers(backend), batches)
        found.append((backend.info, rows, whole))
    if as_json:
        print_json(
            {
                "corpus_sha256": packed.digest,
                "models": [
                    {"model": asdict(info), "regions": [asdict(row) for row in rows], "masked": whole}
                    for info, rows, whole in found
                ],
            }
        )
        return
    head = ("region", "nucleotides", "count", *(info.model for info, _, _ in found))
    first = found[0][1]
    say("accuracy and perplexity; * marks where the count model is less surprised")
    print_table(
        [
            head,
            *(
                (
                    row.region,
                    f"{row.nucleotides:,}",
                    f"{row.count_accuracy:.3f} {row.count_perplexity:.3f}",
                    *(
                        f"{rows[i].accuracy:.3f} {rows[i].perplexity:.3f}" + ("" if rows[i].beats_counts else " *")
                        for _, rows, _ in found
                    ),
                )
                for i, row in enumerate(first)
            ),
            *((name, "", "", *(f"{whole[name]:.4f}" for _, _, whole in found)) for name in found[0][2]),
        ]
    )


def _answers(backend: Backend) -> Answers:
    return lambda batch: backend.forward(batch.tokens, batch.positions).logits

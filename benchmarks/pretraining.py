"""What a pre-training run gains from its start, its size and its tokens: loss on held-out genes.

    python benchmarks/pretraining.py human.corpus --tokens 1000000,2000000 --folder trials

Every run is the preset ``mini`` in two stages, windows of 30 to 62 and then of 510 nt, on that many tokens in all, with
its learning rate decayed to the end. A run whose folder is there is not trained again.
"""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
import torch

from splicebert_vep.model.bert import SpliceBert
from splicebert_vep.train.corpus import Corpus
from splicebert_vep.train.loop import Machine, read_log
from splicebert_vep.train.pretrain import pretrain
from splicebert_vep.train.recipe import MINI, Recipe, Stage, scaled

HALVES = (Stage(30, 62, 1_000_000, site_share=1.0, anywhere=True), Stage(510, 510, 1_000_000, site_share=0.8))
TRIALS = {
    "mini": {},
    "mini without views of neighbours": {"neighbour_layers": 0},
    "mini with twice the batch": {"batch_tokens": 2 * MINI.batch_tokens, "warmup_steps": MINI.warmup_steps // 2},
    "half the width": {"hidden_size": 64, "intermediate_size": 256, "heads": 4},
}


@click.command()
@click.argument("corpus", type=click.Path(path_type=Path))
@click.option("--tokens", default="1000000,2000000")
@click.option("--only", default=None, help="Comma-separated names of trials.")
@click.option("--folder", default="trials", type=click.Path(path_type=Path))
@click.option("--threads", default=None, type=int)
def main(corpus: Path, tokens: str, only: str | None, folder: Path, threads: int | None) -> None:
    """Print the table."""
    if threads:
        torch.set_num_threads(threads)
    packed = Corpus.load(corpus)
    click.echo(f"{'trial':<32}{'parameters':>12}{'tokens':>12}{'anywhere':>10}{'sites':>10}{'tokens/s':>10}")
    for name in only.split(",") if only else TRIALS:
        for amount in map(int, tokens.split(",")):
            recipe = scaled(msgspec.structs.replace(MINI, stages=HALVES, name=name, **TRIALS[name]), amount)
            run = folder / f"{name.replace(' ', '-')}-{amount}"
            pretrain(recipe, packed, run, Machine(say=lambda line: click.echo(line, err=True)))
            measured, last = read_log(run / "validation.csv")[-1], read_log(run / "train.csv")[-1]
            click.echo(
                f"{name:<32}{_parameters(recipe):>12,}{int(last['tokens']):>12,}{float(measured['anywhere_loss']):>10.4f}"
                f"{float(measured['sites_loss']):>10.4f}{last['tokens_per_second']:>10}"
            )


def _parameters(recipe: Recipe) -> int:
    return sum(weight.numel() for weight in SpliceBert(recipe.config()).parameters())


if __name__ == "__main__":
    main()

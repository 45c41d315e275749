"""``splicebert-vep pretrain``: train a model by masked language modelling."""

from __future__ import annotations

from pathlib import Path

import click
import cloup

from .complete import PATH
from .console import say
from .options import device_option

_EPILOG = """\b
Examples:
  splicebert-vep pretrain human.corpus -O run --preset mini
  splicebert-vep pretrain human.corpus -O run --preset mini          (again: goes on where it was killed)
  torchrun --nproc-per-node 4 -m splicebert_vep.cli.main pretrain human.corpus -O run --preset base
  splicebert-vep pretrain --preset mini --print-recipe > mine.json
  splicebert-vep pretrain human.corpus -O run --preset mine.json
"""


@cloup.command(epilog=_EPILOG)
@cloup.argument("corpus", metavar="CORPUS", type=PATH, required=False)
@cloup.option("-O", "--output", type=PATH, metavar="FOLDER", help="Folder of the run; one that is there is resumed.")
@cloup.option(
    "--preset",
    "recipe",
    default="mini",
    show_default=True,
    metavar="mini|base|FILE.json",
    help="What is trained, and how; a file is a recipe of your own.",
)
@cloup.option(
    "--tokens", type=click.IntRange(1), metavar="N", help="Train on N tokens in all; stages keep their proportions."
)
@cloup.option("--seed", type=click.IntRange(0), metavar="N", help="Of weights, windows, masks. Default: the recipe's.")
@cloup.option("--print-recipe", is_flag=True, help="Print the recipe as JSON and stop.")
@device_option
@cloup.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Of the network's products; auto is bf16 on a CUDA GPU, else fp32.",
)
@cloup.option("--threads", type=click.IntRange(1), metavar="N", help="CPU threads. Default: torch's choice, all cores.")
def pretrain(
    corpus: str | None,
    output: str | None,
    recipe: str,
    tokens: int | None,
    seed: int | None,
    print_recipe: bool,
    device: str,
    precision: str,
    threads: int | None,
) -> None:
    """Train a model of your own on a file of 'corpus'.

    The same command goes on with a run that was killed, with the windows that it would have had. FOLDER/model is
    what --model takes; FOLDER/train.csv, validation.csv and curve.png show how it went.
    """
    import dataclasses

    from splicebert_vep.training.recipe import load_recipe, scaled

    chosen = load_recipe(recipe)
    if tokens is not None:
        chosen = scaled(chosen, tokens)
    if seed is not None:
        chosen = dataclasses.replace(chosen, seed=seed)
    if print_recipe:
        click.echo(chosen.to_json(), nl=False)
        return
    if corpus is None or output is None:
        raise click.UsageError("CORPUS and -O/--output are needed.")

    from splicebert_vep.extras import require
    from splicebert_vep.training.corpus import Corpus
    from splicebert_vep.training.curve import draw_curve
    from splicebert_vep.training.pretrain import pretrain as run
    from splicebert_vep.training.processes import joined

    require("matplotlib")
    with joined(device, threads) as (chosen_device, processes):
        half = precision == "bf16" or precision == "auto" and chosen_device.type == "cuda"
        packed, folder = Corpus.load(Path(corpus)), Path(output)
        model = run(chosen, packed, folder, device=chosen_device, processes=processes, half=half, say=say)
        if processes.first:
            draw_curve(folder)
            say(f"the model is in {model}")

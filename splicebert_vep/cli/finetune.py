"""``splicebert-vep finetune``: teach a model what nucleotides are."""

from __future__ import annotations

from pathlib import Path

import click
import cloup

from splicebert_vep.model.registry import DEFAULT_MODEL

from .complete import PATH, complete_models
from .console import print_json, print_table, progress_line, say
from .options import device_option, json_option

_EPILOG = """\b
Examples:
  splicebert-vep finetune splice-sites --genome human GRCh38.fa grch38 --hold-out human:chr22 -O sites
  splicebert-vep finetune splice-sites --genome human GRCh38.fa grch38 --genome mouse GRCm39.fa mouse.gtf.gz
    --hold-out human:chr22 --hold-out mouse -O sites                  (test on another species)
"""

_run_options = cloup.option_group(
    "How it is trained",
    cloup.option("--tokens", default=12_000_000, show_default=True, type=click.IntRange(1), metavar="N",
                 help="Tokens to train on at most."),
    cloup.option("--head", default="convolution", show_default=True, type=click.Choice(["convolution", "linear"]),
                 help="What stands on the encoder; 'linear' is transformers' layout."),
    cloup.option("--frozen", is_flag=True, help="Train the head only; the encoder stays as it was."),
    cloup.option("--site-weight", default=4.0, show_default=True, type=click.FloatRange(0, min_open=True), metavar="X",
                 help="Of a site's loss against another nucleotide's; probabilities are set right at the end."),
    cloup.option("--learning-rate", default=1e-3, show_default=True, type=click.FloatRange(0, 1, min_open=True)),
    cloup.option("--patience", default=10, show_default=True, type=click.IntRange(0), metavar="N",
                 help="Stop after N validations (each 400 steps) without a better AUPRC; 0 never stops."),
    cloup.option("--seed", default=1, show_default=True, type=click.IntRange(0)),
)  # fmt: skip
_machine_options = cloup.option_group(
    "Model and machine",
    cloup.option(
        "--model", default=DEFAULT_MODEL, show_default=True, metavar="NAME|FOLDER|random",
        shell_complete=complete_models, help="What it begins as; 'random' has the sizes of the bundled model.",
    ),
    device_option,
    cloup.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True,
                 help="Of the network's products; auto is bf16 on a CUDA GPU, else fp32."),
    cloup.option("--threads", type=click.IntRange(1), metavar="N",
                 help="CPU threads. Default: torch's choice, all cores."),
)  # fmt: skip


@cloup.group()
def finetune() -> None:
    """Fine-tune a model on labels of nucleotides.

    The same command goes on with a run that was killed. FOLDER/model is what it gives, FOLDER/train.csv and
    validation.csv show how it went, FOLDER/figures.json how good it is on what was held out.
    """


@finetune.command("splice-sites", epilog=_EPILOG)
@cloup.option(
    "--genome", "genomes", nargs=3, type=(str, PATH, str), multiple=True, required=True,
    metavar="SPECIES FASTA ANNOTATION",
    help="A genome to take genes from; may be repeated. ANNOTATION is what -A takes.",
)  # fmt: skip
@cloup.option(
    "--hold-out", multiple=True, metavar="SPECIES[:CONTIG]",
    help="Test on the protein-coding genes of a contig, or of a genome, and train on none of it. May be repeated.",
)  # fmt: skip
@cloup.option("--validation", default=0.05, show_default=True, type=click.FloatRange(0, 1, True, True), metavar="SHARE",
              help="Of the other genes, those that stop the training.")  # fmt: skip
@cloup.option("--test-nt", default=3_000_000, show_default=True, type=click.IntRange(1), metavar="N",
              help="About how many nucleotides of a held-out contig are tested, in whole genes.")  # fmt: skip
@cloup.option(
    "-O", "--output", required=True, type=PATH, metavar="FOLDER", help="The run; one that is there is resumed."
)
@_run_options
@_machine_options
@json_option
def splice_sites(
    genomes: tuple[tuple[str, str, str], ...], hold_out: tuple[str, ...], validation: float, test_nt: int, output: str,
    tokens: int, head: str, frozen: bool, site_weight: float, learning_rate: float, patience: int, seed: int,
    model: str, device: str, precision: str, threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Learn where acceptors and donors are.

    Labels are the exon edges of all transcripts; sequence is that of protein-coding and lncRNA genes.
    """
    import torch

    from splicebert_vep.extras import require
    from splicebert_vep.model.devices import choose_device
    from splicebert_vep.training.corpus import Source
    from splicebert_vep.training.recipe import FineTuneRecipe, scaled
    from splicebert_vep.training.splice_sites import finetune_splice_sites

    require("sklearn")
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = choose_device(device)
    recipe = FineTuneRecipe(
        head=head, frozen=frozen, site_weight=site_weight, learning_rate=learning_rate, patience=patience, seed=seed
    )
    recipe = scaled(recipe, tokens)
    with progress_line() as progress:
        folder, tested = finetune_splice_sites(
            [Source(species, Path(fasta), annotation) for species, fasta, annotation in genomes],
            Path(output), hold_out=hold_out, base=model, recipe=recipe, validation_share=validation, test_nt=test_nt,
            device=chosen, half=precision == "bf16" or precision == "auto" and chosen.type == "cuda", say=say,
            progress=progress,
        )  # fmt: skip
    if as_json:
        print_json(tested)
    else:
        print_table(
            [("held out", "site", "nucleotides", "sites", "AUPRC", "top-k", "MCC", "expected")]
            + [
                (row["test"], row["label"], f"{row['nucleotides']:,}", f"{row['sites']:,}", f"{row['auprc']:.4f}",
                 f"{row['top_k']:.4f}", f"{row['mcc']:.4f}", f"{row['expected']:,.0f}")
                for row in tested
            ]
        )  # fmt: skip
    say(f"the model is in {folder}")

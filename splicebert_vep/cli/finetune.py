"""``splicebert-vep finetune``: teach a model what nucleotides, or whole sequences, are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from splicebert_vep.model.registry import DEFAULT_MODEL

from .complete import PATH, complete_models
from .console import print_json, print_table, progress_line, say
from .options import device_option, json_option

if TYPE_CHECKING:  # torch takes seconds to import, and ``--help`` does without
    from splicebert_vep.training.corpus import Source
    from splicebert_vep.training.recipe import FineTuneRecipe

_EPILOG = """\b
Examples:
  splicebert-vep finetune splice-sites --genome human GRCh38.fa grch38 --hold-out human:chr22 -O sites
  splicebert-vep finetune branchpoints bp.bed --genome human GRCh38.fa grch38 --hold-out human:chr22 -O branchpoints
  splicebert-vep finetune sequence exons.tsv -O exons
"""
_SITES_EPILOG = """\b
Examples:
  splicebert-vep finetune splice-sites --genome human GRCh38.fa grch38 --hold-out human:chr22 -O sites
  splicebert-vep finetune splice-sites --genome human GRCh38.fa grch38 --genome mouse GRCm39.fa mouse.gtf.gz
    --hold-out human:chr22 --hold-out mouse -O sites                  (test on another species)
"""
_BRANCHPOINTS_EPILOG = """\b
Examples:
  splicebert-vep finetune branchpoints bp.bed --genome human GRCh38.fa grch38 --hold-out human:chr22 -O branchpoints
  splicebert-vep finetune branchpoints human.bed mouse.bed --genome human GRCh38.fa grch38
    --genome mouse GRCm39.fa mouse.gtf.gz --hold-out mouse -O branchpoints
"""
_SEQUENCE_EPILOG = """\b
Examples:
  splicebert-vep finetune sequence exons.tsv -O exons
  splicebert-vep finetune sequence exons.tsv --frozen -O probe        (a linear probe of the encoder)
"""

_genome_options = cloup.option_group(
    "Genes",
    cloup.option(
        "--genome", "genomes", nargs=3, type=(str, PATH, str), multiple=True, required=True,
        metavar="SPECIES FASTA ANNOTATION",
        help="A genome to take genes from; may be repeated. ANNOTATION is what -A takes.",
    ),
    cloup.option(
        "--hold-out", multiple=True, metavar="SPECIES[:CONTIG]",
        help="Test on the protein-coding genes of a contig, or of a genome, and train on none of it. May be repeated.",
    ),
    cloup.option("--validation", default=0.05, show_default=True, type=click.FloatRange(0, 1, True, True),
                 metavar="SHARE", help="Of the other genes, those that stop the training."),
    cloup.option("--test-nt", default=3_000_000, show_default=True, type=click.IntRange(1), metavar="N",
                 help="About how many nucleotides of a held-out contig are tested, in whole genes."),
)  # fmt: skip
_output_option = cloup.option(
    "-O", "--output", required=True, type=PATH, metavar="FOLDER", help="The run; one that is there is resumed."
)
_frozen_option = cloup.option(
    "--frozen", is_flag=True, help="Train the head only; the encoder stays as it was."
)  # fmt: skip
_seed_option = cloup.option("--seed", default=1, show_default=True, type=click.IntRange(0))
_run_options = cloup.option_group(
    "How it is trained",
    cloup.option("--tokens", default=12_000_000, show_default=True, type=click.IntRange(1), metavar="N",
                 help="Tokens to train on at most."),
    cloup.option("--head", default="convolution", show_default=True, type=click.Choice(["convolution", "linear"]),
                 help="What stands on the encoder; 'linear' is transformers' layout."),
    _frozen_option,
    cloup.option("--site-weight", default=4.0, show_default=True, type=click.FloatRange(0, min_open=True), metavar="X",
                 help="Of a site's loss against another nucleotide's; probabilities are set right at the end."),
    cloup.option("--learning-rate", default=1e-3, show_default=True, type=click.FloatRange(0, 1, True, True)),
    cloup.option("--patience", default=10, show_default=True, type=click.IntRange(0), metavar="N",
                 help="Stop after N validations (each 400 steps) without a better AUPRC; 0 never stops."),
    _seed_option,
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


@cloup.group(epilog=_EPILOG)
def finetune() -> None:
    """Fine-tune a model on labels of nucleotides or sequences.

    The same command goes on with a run that was killed. FOLDER/model is what it gives, FOLDER/train.csv and
    validation.csv show how it went, FOLDER/figures.json how good it is on what was held out.
    """


@finetune.command("splice-sites", epilog=_SITES_EPILOG)
@_genome_options
@_output_option
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
    from splicebert_vep.training.heads import machine
    from splicebert_vep.training.splice_sites import finetune_splice_sites

    chosen, half = machine(device, precision, threads)
    recipe = _recipe(tokens, head, frozen, site_weight, learning_rate, patience, seed)
    with progress_line() as progress:
        folder, rows = finetune_splice_sites(
            _sources(genomes), Path(output), hold_out=hold_out, base=model, recipe=recipe, validation_share=validation,
            test_nt=test_nt, device=chosen, half=half, say=say, progress=progress,
        )  # fmt: skip
    _print(rows, as_json)
    say(f"the model is in {folder}")


@finetune.command("branchpoints", epilog=_BRANCHPOINTS_EPILOG)
@cloup.argument("beds", metavar="BED...", type=PATH, nargs=-1, required=True)
@_genome_options
@_output_option
@_run_options
@_machine_options
@json_option
def branchpoints(
    beds: tuple[str, ...], genomes: tuple[tuple[str, str, str], ...], hold_out: tuple[str, ...], validation: float,
    test_nt: int, output: str, tokens: int, head: str, frozen: bool, site_weight: float, learning_rate: float,
    patience: int, seed: int, model: str, device: str, precision: str, threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Learn where branchpoints are, from BED files.

    One BED per --genome, in the same order. A line is one base (end is start + 1), column 6 its strand. Sequence is
    that of protein-coding and lncRNA genes; each of its nucleotides that no line names counts as none.
    """
    from splicebert_vep.training.branchpoints import finetune_branchpoints
    from splicebert_vep.training.heads import machine

    chosen, half = machine(device, precision, threads)
    recipe = _recipe(tokens, head, frozen, site_weight, learning_rate, patience, seed)
    with progress_line() as progress:
        folder, rows = finetune_branchpoints(
            beds, _sources(genomes), Path(output), hold_out=hold_out, base=model, recipe=recipe,
            validation_share=validation, test_nt=test_nt, device=chosen, half=half, say=say, progress=progress,
        )  # fmt: skip
    _print(rows, as_json)
    say(f"the model is in {folder}")


@finetune.command("sequence", epilog=_SEQUENCE_EPILOG)
@cloup.argument("tsv", metavar="TSV", type=PATH)
@_output_option
@cloup.option_group(
    "How it is trained",
    cloup.option("--validation", default=0.1, show_default=True, type=click.FloatRange(0, 1, True, True),
                 metavar="SHARE", help="Of the sequences, those that stop the training; without a column split."),
    cloup.option("--test", "test_share", default=0.1, show_default=True, type=click.FloatRange(0, 1, False, True),
                 metavar="SHARE", help="Of the sequences, those that are tested; without a column split."),
    cloup.option("--epochs", default=20, show_default=True, type=click.IntRange(1), metavar="N",
                 help="How often every sequence is seen at most, on average."),
    cloup.option("--batch", default=32, show_default=True, type=click.IntRange(1), metavar="N",
                 help="Sequences of a step."),
    cloup.option("--head", default="linear", show_default=True, type=click.Choice(["convolution", "linear"]),
                 help="What stands on the encoder."),
    _frozen_option,
    cloup.option("--learning-rate", default=3e-4, show_default=True, type=click.FloatRange(0, 1, True, True)),
    cloup.option("--patience", default=5, show_default=True, type=click.IntRange(0), metavar="N",
                 help="Stop after N epochs without a better AUPRC, or rank correlation; 0 never stops."),
    _seed_option,
)  # fmt: skip
@_machine_options
@json_option
def sequence(
    tsv: str, output: str, validation: float, test_share: float, epochs: int, batch: int, head: str,
    frozen: bool, learning_rate: float, patience: int, seed: int, model: str, device: str, precision: str,
    threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Learn a class or a value of whole sequences.

    TSV has the columns sequence, either label (classes) or value (numbers), and optionally split (train, validation,
    test). FOLDER/predictions.tsv has what the model says of the test sequences.
    """
    from splicebert_vep.training.heads import machine
    from splicebert_vep.training.recipe import SequenceRecipe
    from splicebert_vep.training.sequence_task import finetune_sequences

    chosen, half = machine(device, precision, threads)
    recipe = SequenceRecipe(
        epochs=epochs, batch=batch, head=head, frozen=frozen, learning_rate=learning_rate, patience=patience, seed=seed
    )
    with progress_line() as progress:
        folder, rows = finetune_sequences(
            Path(tsv), Path(output), base=model, recipe=recipe, validation_share=validation, test_share=test_share,
            device=chosen, half=half, say=say, progress=progress,
        )  # fmt: skip
    _print(rows, as_json)
    say(f"the model is in {folder}")


def _sources(genomes: Sequence[tuple[str, str, str]]) -> list[Source]:
    from splicebert_vep.training.corpus import Source

    return [Source(species, Path(fasta), annotation) for species, fasta, annotation in genomes]


def _recipe(
    tokens: int, head: str, frozen: bool, site_weight: float, learning_rate: float, patience: int, seed: int
) -> FineTuneRecipe:
    from splicebert_vep.training.recipe import FineTuneRecipe, scaled

    recipe = FineTuneRecipe(
        head=head, frozen=frozen, site_weight=site_weight, learning_rate=learning_rate, patience=patience, seed=seed
    )
    return scaled(recipe, tokens)


#: Columns of figures: key, heading, how a value is printed.
_HEADINGS = {
    "test": ("held out", "{}"), "label": ("label", "{}"), "nucleotides": ("nucleotides", "{:,}"),
    "sites": ("sites", "{:,}"), "sequences": ("sequences", "{:,}"), "members": ("members", "{:,}"),
    "auprc": ("AUPRC", "{:.4f}"), "top_k": ("top-k", "{:.4f}"), "mcc": ("MCC", "{:.4f}"),
    "expected": ("expected", "{:,.0f}"), "spearman": ("Spearman", "{:.4f}"), "r2": ("R2", "{:.4f}"),
}  # fmt: skip


def _print(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print figures; without any, an empty list or nothing."""
    if as_json:
        print_json(rows)
    elif rows:
        cells = [
            tuple("-" if row[key] is None else _HEADINGS[key][1].format(row[key]) for key in rows[0]) for row in rows
        ]
        print_table([tuple(_HEADINGS[key][0] for key in rows[0]), *cells])

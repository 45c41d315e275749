"""Commands that train models and measure them: ``corpus``, ``pretrain``, ``finetune``, ``validate``, ``evaluate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import cloup

from ..errors import LabelError, require
from ..files import whole_or_not
from ..model.registry import DEFAULT_MODEL
from ..progress import progress_bar
from . import options
from .options import PATH, device_option, json_option, print_json, print_table, say

if TYPE_CHECKING:
    from ..settings import Settings
    from ..train.corpus import Source
    from ..train.evaluate import BenchFigure, BenchProtocol, BenchRow, Estimate, ValidatedVariant

_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
_threads_option = cloup.option(
    "--threads", type=click.IntRange(1), metavar="N", help="CPU threads. Default: torch's choice, all cores."
)
_precision_option = cloup.option(
    "--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", show_default=True,
    help="Of the network's products; auto is bf16 on a CUDA GPU, else fp32.",
)  # fmt: skip
_genome_option = cloup.option(
    "--genome", "genomes", nargs=3, type=(str, PATH, str), multiple=True, required=True,
    metavar="SPECIES FASTA ANNOTATION",
    help="A genome to take genes from; may be repeated, also for one species. ANNOTATION is what -A takes elsewhere.",
)  # fmt: skip
_output_option = cloup.option(
    "-O", "--output", required=True, type=PATH, metavar="FOLDER", help="The run; one that is there is resumed."
)


def _sources(genomes: Sequence[tuple[str, str, str]]) -> list[Source]:
    from ..train.corpus import Source

    return [Source(species, Path(fasta), annotation) for species, fasta, annotation in genomes]


_CORPUS_EPILOG = """\b
Examples:
  splicebert-vep corpus --genome human GRCh38.fa grch38 -O human.corpus
  splicebert-vep corpus --genome human GRCh38.fa grch38 --genome mouse GRCm39.fa mouse.gtf.gz -O two.corpus
"""


@cloup.command(epilog=_CORPUS_EPILOG)
@_genome_option
@cloup.option("-O", "--output", required=True, type=PATH, metavar="FILE", help="Corpus to write.")
@cloup.option(
    "--held-out", type=click.FloatRange(0, 1, max_open=True), default=0.05,
    show_default=True, metavar="SHARE", help="Share of the genes kept for validation.",
)  # fmt: skip
def corpus(genomes: tuple[tuple[str, str, str], ...], output: str, held_out: float) -> None:
    """Pack genes for 'pretrain'.

    Taken are protein-coding and lncRNA genes, introns included, on the transcribed strand, as far as the FASTA holds
    them; two bits per base.
    """
    from ..train.corpus import build_corpus

    built = build_corpus(_sources(genomes), held_out)
    built.save(Path(output))
    say(
        f"{len(built.names):,} genes, {len(built):,} nt; {int(built.held_out.sum()):,} genes are held out; "
        f"SHA-256 of the content {built.digest}"
    )


_PRETRAIN_EPILOG = """\b
Examples:
  splicebert-vep pretrain human.corpus -O run --preset mini
  splicebert-vep pretrain human.corpus -O run --preset mini          (again: goes on where it was killed)
  torchrun --nproc-per-node 4 -m splicebert_vep.cli.main pretrain human.corpus -O run --preset base
  splicebert-vep pretrain --preset mini --print-recipe > mine.json
  splicebert-vep pretrain human.corpus -O run --preset mine.json
"""


@cloup.command(epilog=_PRETRAIN_EPILOG)
@cloup.argument("corpus", metavar="CORPUS", type=PATH, required=False)
@cloup.option("-O", "--output", type=PATH, metavar="FOLDER", help="Folder of the run; one that is there is resumed.")
@cloup.option(
    "--preset", "recipe", default="mini", show_default=True, metavar="mini|base|FILE.json",
    help="What is trained, and how; a file is a recipe of your own.",
)  # fmt: skip
@cloup.option(
    "--tokens", type=click.IntRange(1), metavar="N", help="Train on N tokens in all; stages keep their proportions."
)
@cloup.option("--seed", type=click.IntRange(0), metavar="N", help="Of weights, windows, masks. Default: the recipe's.")
@cloup.option("--print-recipe", is_flag=True, help="Print the recipe as JSON and stop.")
@device_option
@_precision_option
@_threads_option
def pretrain(
    corpus: str | None, output: str | None, recipe: str, tokens: int | None, seed: int | None, print_recipe: bool,
    device: str, precision: str, threads: int | None,
) -> None:  # fmt: skip
    """Train a model of your own on a file of 'corpus'.

    The same command goes on with a run that was killed, with the windows that it would have had. FOLDER/model is
    what --model takes; FOLDER/train.csv, validation.csv and curve.png show how it went.
    """
    import msgspec

    from ..train.recipe import load_recipe, scaled

    chosen = load_recipe(recipe)
    if tokens is not None:
        chosen = scaled(chosen, tokens)
    if seed is not None:
        chosen = msgspec.structs.replace(chosen, seed=seed)
    if print_recipe:
        click.echo(chosen.to_json(), nl=False)
        return
    if corpus is None or output is None:
        raise click.UsageError("CORPUS and -O/--output are needed.")

    from ..train.corpus import Corpus
    from ..train.loop import open_machine
    from ..train.pretrain import draw_curve
    from ..train.pretrain import pretrain as run

    require("matplotlib")
    with open_machine(device, precision, threads, say) as machine:
        model = run(chosen, Corpus.load(Path(corpus)), Path(output), machine)
        if machine.processes.first:
            draw_curve(Path(output))
            say(f"the model is in {model}")


_FINETUNE_EPILOG = """\b
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

_frozen_option = cloup.option("--frozen", is_flag=True, help="Train the head only; the encoder stays as it was.")
_seed_option = cloup.option("--seed", default=1, show_default=True, type=click.IntRange(0))
_machine_options = cloup.option_group(
    "Model and machine",
    cloup.option(
        "--model", default=DEFAULT_MODEL, show_default=True, metavar="NAME|FOLDER|random",
        help="What it begins as; 'random' has the sizes of the bundled model.",
    ),
    device_option,
    _precision_option,
    _threads_option,
)  # fmt: skip


def _rate_option(default: float) -> Callable[[Any], Any]:
    return cloup.option("--learning-rate", default=default, show_default=True, type=_SHARE)


def _gene_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the tasks whose labels lie in genes."""
    genes = cloup.option_group(
        "Genes",
        _genome_option,
        cloup.option("--hold-out", multiple=True, metavar="SPECIES[:CONTIG]",
                     help="Test on the protein-coding genes of a contig, or of a genome, and train on none of it. "
                     "May be repeated."),
        cloup.option("--validation", default=0.05, show_default=True, type=_SHARE,
                     metavar="SHARE", help="Of the other genes, those that stop the training."),
        cloup.option("--test-nt", default=3_000_000, show_default=True, type=click.IntRange(1), metavar="N",
                     help="About how many nucleotides of a held-out contig are tested, in whole genes."),
    )  # fmt: skip
    training = cloup.option_group(
        "How it is trained",
        cloup.option("--tokens", default=12_000_000, show_default=True, type=click.IntRange(1), metavar="N",
                     help="Tokens to train on at most."),
        cloup.option("--head", default="convolution", show_default=True, type=click.Choice(["convolution", "linear"]),
                     help="What stands on the encoder; 'linear' is transformers' layout."),
        _frozen_option,
        cloup.option("--site-weight", default=4.0, show_default=True, type=click.FloatRange(0, min_open=True),
                     metavar="X", help="Of a site's loss against another nucleotide's; probabilities are set right at "
                     "the end."),
        _rate_option(1e-3),
        cloup.option("--patience", default=10, show_default=True, type=click.IntRange(0), metavar="N",
                     help="Stop after N validations (each 400 steps) without a better AUPRC; 0 never stops."),
        _seed_option,
    )  # fmt: skip
    return genes(_output_option(training(_machine_options(json_option(command)))))


@cloup.group(epilog=_FINETUNE_EPILOG)
def finetune() -> None:
    """Fine-tune a model on labels of nucleotides or sequences.

    The same command goes on with a run that was killed. FOLDER/model is what it gives, FOLDER/train.csv and
    validation.csv show how it went, FOLDER/figures.json how good it is on what was held out.
    """


@finetune.command("splice-sites", epilog=_SITES_EPILOG)
@_gene_options
def splice_sites(**given: Any) -> None:
    """Learn where acceptors and donors are.

    Labels are the exon edges of all transcripts; sequence is that of protein-coding and lncRNA genes.
    """
    from ..train.finetune import finetune_splice_sites

    _on_genes(finetune_splice_sites, **given)


@finetune.command("branchpoints", epilog=_BRANCHPOINTS_EPILOG)
@cloup.argument("beds", metavar="BED...", type=PATH, nargs=-1, required=True)
@_gene_options
def branchpoints(beds: tuple[str, ...], **given: Any) -> None:
    """Learn where branchpoints are, from BED files.

    One BED per --genome, in the same order. A line is one base (end is start + 1), column 6 its strand. Sequence is
    that of protein-coding and lncRNA genes; each of its nucleotides that no line names counts as none.
    """
    from ..train.finetune import finetune_branchpoints

    _on_genes(partial(finetune_branchpoints, beds), **given)


def _on_genes(
    train: Callable[..., tuple[Path, list[dict[str, Any]]]], *, genomes: tuple[tuple[str, str, str], ...],
    hold_out: tuple[str, ...], validation: float, test_nt: int, output: str, tokens: int, model: str, device: str,
    precision: str, threads: int | None, as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    from ..train.loop import open_machine
    from ..train.recipe import FineTuneRecipe, scaled

    with progress_bar() as progress, open_machine(device, precision, threads, say, progress) as machine:
        folder, rows = train(
            _sources(genomes), Path(output), hold_out=hold_out, base=model,
            recipe=scaled(FineTuneRecipe(**settings), tokens), validation_share=validation, test_nt=test_nt,
            machine=machine,
        )  # fmt: skip
    _print_rows(rows, as_json)
    say(f"the model is in {folder}")


@finetune.command("sequence", epilog=_SEQUENCE_EPILOG)
@cloup.argument("tsv", metavar="TSV", type=PATH)
@_output_option
@cloup.option_group(
    "How it is trained",
    cloup.option("--validation", default=0.1, show_default=True, type=_SHARE,
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
    _rate_option(3e-4),
    cloup.option("--patience", default=5, show_default=True, type=click.IntRange(0), metavar="N",
                 help="Stop after N epochs without a better AUPRC, or rank correlation; 0 never stops."),
    _seed_option,
)  # fmt: skip
@_machine_options
@json_option
def sequence(
    tsv: str, output: str, validation: float, test_share: float, model: str, device: str, precision: str,
    threads: int | None, as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Learn a class or a value of whole sequences.

    TSV has the columns sequence, either label (classes) or value (numbers), and optionally split (train, validation,
    test). FOLDER/predictions.tsv has what the model says of the test sequences.
    """
    from ..train.loop import open_machine
    from ..train.recipe import SequenceRecipe
    from ..train.sequences import finetune_sequences

    with progress_bar() as progress, open_machine(device, precision, threads, say, progress) as machine:
        folder, rows = finetune_sequences(
            Path(tsv), Path(output), base=model, recipe=SequenceRecipe(**settings), validation_share=validation,
            test_share=test_share, machine=machine,
        )  # fmt: skip
    _print_rows(rows, as_json)
    say(f"the model is in {folder}")


#: Columns of figures: key, heading, how a value is printed.
_HEADINGS = {
    "test": ("held out", "{}"), "label": ("label", "{}"), "nucleotides": ("nucleotides", "{:,}"),
    "sites": ("sites", "{:,}"), "sequences": ("sequences", "{:,}"), "members": ("members", "{:,}"),
    "auprc": ("AUPRC", "{:.4f}"), "top_k": ("top-k", "{:.4f}"), "mcc": ("MCC", "{:.4f}"),
    "expected": ("expected", "{:,.0f}"), "spearman": ("Spearman", "{:.4f}"), "r2": ("R2", "{:.4f}"),
}  # fmt: skip


def _print_rows(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print figures; without any, an empty list or nothing."""
    if as_json:
        print_json(rows)
    elif rows:
        cells = [["-" if row[key] is None else _HEADINGS[key][1].format(row[key]) for key in rows[0]] for row in rows]
        print_table([tuple(_HEADINGS[key][0] for key in rows[0]), *map(tuple, cells)])


_WINDOWS = 512  # of each kind, for the loss: its standard error is then about .003 nat
_VALIDATE_EPILOG = """\b
Examples:
  splicebert-vep validate human.corpus
  splicebert-vep validate human.corpus --model splicebert-mini --model run/model --nucleotides 300
"""


@cloup.command(epilog=_VALIDATE_EPILOG)
@cloup.argument("corpus", metavar="CORPUS", type=PATH)
@cloup.option(
    "--model", "models", multiple=True, default=(DEFAULT_MODEL,), show_default=True, metavar="NAME|FOLDER",
    help="A model to measure; may be repeated.",
)  # fmt: skip
@cloup.option(
    "--nucleotides", type=click.IntRange(1), default=1000, show_default=True, metavar="N", help="Hidden, of each kind."
)
@cloup.option(
    "--window", type=click.IntRange(9), default=510, show_default=True, metavar="NT",
    help="Bases that the model sees at once.",
)  # fmt: skip
@device_option
@_threads_option
@json_option
def validate(
    corpus: str, models: tuple[str, ...], nucleotides: int, window: int, device: str, threads: int | None, as_json: bool
) -> None:
    """Measure how well hidden nucleotides are guessed.

    Nucleotides of a corpus' held-out genes are hidden one at a time. Beside each model stands a count of what lies
    between the same four neighbours on either side, in the genes that are not held out. A model that is more
    surprised than that count, in any kind of region, is not trained.
    """
    from splicebert_vep_spec import BackendOptions

    from ..plugins import load_plugins
    from ..sequence.windows import WindowShape
    from ..settings import check_window
    from ..train.corpus import Corpus
    from ..train.pretrain import held_out_batches, measure
    from ..train.regions import CountModel, measure_regions

    packed, plugins = Corpus.load(Path(corpus)), load_plugins()
    backends = [plugins.open_backend("torch", BackendOptions(name, device, threads)) for name in models]
    for backend in backends:
        check_window(WindowShape(window), backend.info)
    counts = CountModel(packed, window)  # takes a minute, so all other checks come before
    batches = held_out_batches(packed, window, _WINDOWS)
    found = []
    for backend in backends:
        rows = measure_regions(backend, packed, counts, nucleotides=nucleotides, width=window)
        forward = backend.forward
        masked = measure(lambda batch, forward=forward: forward(batch.tokens, batch.positions).logits, batches)  # type: ignore[misc]
        found.append((backend.info, rows, masked))
    if as_json:
        measured = [
            {"model": asdict(info), "regions": [asdict(row) for row in rows], "masked": masked}
            for info, rows, masked in found
        ]
        print_json({"corpus_sha256": packed.digest, "models": measured})
        return
    table = [("region", "nucleotides", "count", *(info.model for info, _, _ in found))]
    for i, row in enumerate(found[0][1]):
        ours = [
            f"{rows[i].accuracy:.3f} {rows[i].perplexity:.3f}" + ("" if rows[i].beats_counts else " *")
            for _, rows, _ in found
        ]
        count = f"{row.count_accuracy:.3f} {row.count_perplexity:.3f}"
        table.append((row.region, f"{row.nucleotides:,}", count, *ours))
    for name in found[0][2]:
        table.append((name, "", "", *(f"{masked[name]:.4f}" for _, _, masked in found)))
    say("accuracy and perplexity; * marks where the count model is less surprised")
    print_table(table)


_EVALUATE_EPILOG = """\b
Examples:
  splicebert-vep evaluate mfass.tsv -R GRCh38=hg38.fa -R GRCh37=hg19.fa
  splicebert-vep evaluate mine.tsv -R hg38.fa --model run/model --picture curves.png --rows scores.tsv
  splicebert-vep evaluate vexseq.tsv --harmful-below -24
  splicebert-vep evaluate mfass.tsv -R GRCh38=hg38.fa -R GRCh37=hg19.fa --scores zero-shot,delta
  splicebert-vep evaluate rna_evidence.tsv -R hg38.fa --beside spliceai_max
"""


@cloup.command(epilog=_EVALUATE_EPILOG)
@cloup.argument("labelled", metavar="TSV", type=PATH)
@cloup.option(
    "-R", "--reference", "references", multiple=True, metavar="[ASSEMBLY=]FASTA",
    help="Reference of the rows that name this assembly, or of those that name none; may be repeated.",
)  # fmt: skip
@cloup.option(
    "--harmful-below", type=float, default=-0.5, show_default=True, metavar="X", help="A delta_psi below X is harmful."
)
@cloup.option(
    "--protocol", "protocols", multiple=True, type=click.Choice(["published", "own"]),
    help="Exon-centred windows as published, or variant-centred as 'annotate' takes them. Default: both.",
)  # fmt: skip
@cloup.option("--window", default=510, show_default=True, metavar="NT", help="Bases that the model sees at once.")
@cloup.option("--flank", default=100, show_default=True, metavar="NT", help="Bases on each side that count.")
@cloup.option(
    "--scores", "named", multiple=True, callback=options.split_words, metavar="FIELD,...",
    help="Scores to judge, e.g. DS_MAX,KL_SS; delta: the delta scores. Default: all of SpliceBERT with a direction.",
)  # fmt: skip
@cloup.option(
    "--beside", "others", multiple=True, callback=options.split_words, metavar="COLUMN,...",
    help="Columns of a table with affects_splicing that hold other programs' scores, higher = more harmful.",
)  # fmt: skip
@options.annotation_option
@options.splice_model_option
@options.knob("delta_distance")
@cloup.option("--resamples", type=click.IntRange(10), default=1000, show_default=True, help="For the intervals.")
@cloup.option("--picture", type=PATH, metavar="FILE.png", help="Draw the precision-recall curves.")
@cloup.option("--rows", "rows_file", type=PATH, metavar="FILE.tsv", help="Write every row's scores.")
@options.model_option
@device_option
@_threads_option
@json_option
def evaluate(
    labelled: str, references: tuple[str, ...], harmful_below: float, protocols: tuple[BenchProtocol, ...],
    window: int, flank: int, named: tuple[str, ...], others: tuple[str, ...], annotation: str, splice_model: str,
    delta_distance: int | None, resamples: int, picture: str | None, rows_file: str | None, model: str, device: str,
    threads: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Measure how well scores rank harmful variants.

    TSV with the columns chrom pos ref alt affects_splicing (1 or 0), and effect where it says how: variants of any kind
    with RNA evidence, scored as 'annotate' does, indels among them. Or SNVs of an assay of exon inclusion: TSV has the
    columns chrom pos ref alt strand exon_start exon_end delta_psi (exon 0-based half-open), assembly where rows are of
    several, or those of Vex-seq's, whose rows carry their sequence. Every figure stands beside that of the distance to
    the splice site on the same rows. Intervals are the middle 95 % of bootstrap values.
    """
    from splicebert_vep_spec import BackendOptions, Scorer

    from ..plugins import load_plugins
    from ..scoring.delta import open_delta
    from ..scoring.plan import plan_scores
    from ..settings import Settings
    from ..train import evaluate as bench

    require("sklearn", *(["matplotlib"] if picture else []))
    if (validated := bench.read_validated(Path(labelled), others)) is not None:
        settings = Settings(
            model=model, device=device, threads=threads, window=window, flank=flank, scores=named,
            splice_model=splice_model, delta_distance=delta_distance,
        )  # fmt: skip
        _evaluate_validated(validated, references, annotation, settings, others, resamples, picture, rows_file, as_json)
        return
    variants = bench.read_labelled(Path(labelled))
    plugins = load_plugins()
    of_model = [scorer for scorer in plugins.scorers if isinstance(scorer, Scorer)]
    every = tuple(field.id for scorer in of_model for field in scorer.fields if field.direction != "none")
    settings = Settings(  # outside: of an assay's row the exon is known, not its gene
        model=model, device=device, threads=threads, window=window, flank=flank, scores=named or every,
        splice_model=splice_model, delta_distance=delta_distance, outside=True,
    )  # fmt: skip
    delta = open_delta(plugins, settings)
    plan = plan_scores(delta.scorers, plugins.origins("scorer"), settings)
    scores = tuple(field.id for field in plan.fields if field.direction != "none")
    with bench.open_references(references) as opened:
        backend = plugins.open_backend("torch", BackendOptions(model, device, threads))
        options.introduce(backend.info, delta.note)
        rows: dict[BenchProtocol, list[BenchRow]] = {}
        figures: list[BenchFigure] = []
        for protocol in protocols or bench.PROTOCOLS:
            rows[protocol] = bench.score_labelled(variants, opened, backend, plan, protocol, shape=settings.shape)
            _report_skipped(protocol, rows[protocol])
            figures += bench.judge(rows[protocol], plan.fields, protocol, harmful_below, resamples=resamples)
    if any(variant.sequence is not None for variant in variants):
        options.warn("rows carry their own short sequence: these figures compare with nothing published")
    if not figures:
        assemblies = ", ".join(sorted({variant.assembly or "none" for variant in variants})) or "no rows"
        raise LabelError(
            "There is nothing to judge: no scored rows with an effect below --harmful-below and others without.",
            found=f"none; assemblies named by the rows: {assemblies}", where=labelled,
            remedy="name the assembly of a reference as the rows do: -R ASSEMBLY=FASTA",
        )  # fmt: skip
    if as_json:
        judged = [asdict(figure) for figure in figures]
        print_json({"model": asdict(backend.info), **delta.provenance, "figures": judged})
    else:
        _print_figures(figures)
    if picture:
        bench.draw_precision_recall(Path(picture), rows, figures, bench.directed(plan.fields), harmful_below)
    if rows_file:
        _write_rows(Path(rows_file), rows, scores)


def _evaluate_validated(
    variants: list[ValidatedVariant], references: tuple[str, ...], annotation: str, settings: Settings,
    others: tuple[str, ...], resamples: int, picture: str | None, rows_file: str | None, as_json: bool,
) -> None:  # fmt: skip
    from splicebert_vep_spec import FieldSpec

    from ..scoring.delta import MAXIMUM
    from ..train import evaluate as bench

    if len(references) != 1:
        raise click.UsageError("variants with RNA evidence take one reference: -R FASTA")
    named = [name.upper() for name in others]
    with options.open_annotator(reference=references[0], annotation=annotation, settings=settings) as annotator:
        options.introduce(annotator.backend.info, annotator.note)
        rows = bench.score_validated(variants, annotator)
        fields = (*annotator.plan.fields, *(FieldSpec(name, "A", "Float", "beside", "higher") for name in named))
        about = {"model": asdict(annotator.backend.info), **annotator.delta.provenance}
    _report_skipped("own", rows)
    figures = bench.judge(rows, fields, "own", 0, resamples=resamples)
    judged = {field.id for field in fields}
    shares = [share for name in (MAXIMUM, *named) if name in judged for share in bench.operating_shares(rows, name)]
    if as_json:
        print_json({**about, "figures": [asdict(one) for one in figures], "shares": [asdict(one) for one in shares]})
    else:
        _print_figures(figures)
        head = ("score", "effect", "harmful", "n", "missing", "median", *(f">= {at:g}" for at in bench.THRESHOLDS))
        print_table([head, *((
            one.score, one.kind, "yes" if one.harmful else "no", str(one.variants), str(one.missing),
            f"{one.median:.2f}", *(f"{share:.1%}" for share in one.shares.values()),
        ) for one in shares)])  # fmt: skip
    if picture:
        bench.draw_precision_recall(Path(picture), {"own": rows}, figures, bench.directed(fields), 0)
    if rows_file:
        _write_rows(Path(rows_file), {"own": rows}, [one.id for one in fields if one.direction != "none"])


def _report_skipped(protocol: str, rows: Sequence[BenchRow]) -> None:
    skipped = Counter(row.skipped.status.value for row in rows if row.skipped)
    unlabelled = sum(row.skipped is None and row.harmful(0) is None for row in rows)
    counts = [f"{word} {number:,}" for word, number in sorted(skipped.items())]
    counts += [f"without effect {unlabelled:,}"] if unlabelled else []
    scored = len(rows) - sum(skipped.values()) - unlabelled
    say(f"{protocol}: {scored:,} of {len(rows):,} rows count" + (f"; not: {', '.join(counts)}" if counts else ""))


def _print_figures(figures: Sequence[BenchFigure]) -> None:
    head = ("protocol", "rows", "score", "n", "harmful", "missing", "average precision", "AUROC", "by distance's")
    print_table([head, *((
        one.protocol, one.subset, one.score, str(one.variants), str(one.positives), str(one.missing),
        _interval(one.average_precision), _interval(one.auroc), _interval(one.ratio, 2),
    ) for one in figures)])  # fmt: skip


def _interval(estimate: Estimate, digits: int = 3) -> str:
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f}-{estimate.high:.{digits}f})"


def _write_rows(path: Path, rows: Mapping[BenchProtocol, Sequence[BenchRow]], scores: Sequence[str]) -> None:
    from splicebert_vep_spec import format_value

    head = ("protocol", "line", "chrom", "pos", "ref", "alt", "effect", "distance", "in_site", "status", *scores)
    with whole_or_not(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as handle:
        handle.write("\t".join(head) + "\n")
        for protocol, scored in rows.items():
            for row in scored:
                status = row.skipped.status.value if row.skipped else "OK"
                about = (protocol, *row.written, row.distance, int(row.in_site), status)
                cells = (*about, *(row.values.get(score) for score in scores))
                handle.write("\t".join(format_value(cell) for cell in cells) + "\n")

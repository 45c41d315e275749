"""Measure and train on a GPU for as long as it is lent.

    splicebert-vep corpus --genome human GRCh38.fa grch38 -O small.corpus
    python benchmarks/gpu.py run small.corpus --out back --budget 540
    python benchmarks/gpu.py join back -O run
    python benchmarks/gpu.py run small.corpus --out back2 --budget 540 --part train --resume back

``run`` needs this repository, its Python packages and the corpus, and no network. Genes of the corpus are the genome
that it scores. Every result is a JSON line of ``OUT/results.jsonl`` at once, so a run that is cut keeps what it has:

- ``zero-shot``: random weights of the official size (``base``) and the bundled model (``mini``); by window and
  precision the alleles/s of SNVs of which none has a window in common with another, the share of the peak of a large
  matrix product in bf16 (fp32 on a CPU), the share of the time that the GPU computed, and Spearman's correlation of
  every score with fp32. ``host`` is the same without a model.
- ``splice``: CI-SpliceAI: alleles/s of SNVs that share no pass over REF and of neighbours, and the largest difference
  of a delta score from the CPU's.
- ``train``: the recipe ``base`` for the time that is left. Weights come back in fp16 and the optimiser's moments in
  bf16, in pieces of at most 15 MiB, which ``join`` and ``--resume`` put together; without the pieces of the optimiser
  its moments begin at 0 again, which take a hundred steps to be right.

``--small`` runs the same on a CPU in a minute.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import torch
from common import machine, say
from roofline import flops, rate
from scipy.stats import spearmanr
from torch.profiler import ProfilerActivity, profile

from splicebert_vep import Annotator, ScoredVariant, Settings, Variant
from splicebert_vep.genome.gene_table import REPORTED
from splicebert_vep.model.bert import SpliceBert
from splicebert_vep.model.checkpoint import save_checkpoint
from splicebert_vep.model.registry import DEFAULT_MODEL
from splicebert_vep.scoring.delta import STRETCH, DeltaScorer
from splicebert_vep.sequence.tokens import letters
from splicebert_vep.train.corpus import Corpus
from splicebert_vep.train.loop import CHECKPOINT, RECIPE, STEPS, VALIDATIONS, open_machine
from splicebert_vep.train.pretrain import initialise, pretrain
from splicebert_vep.train.recipe import BASE, MINI, Recipe, Stage
from splicebert_vep_spec import Allele, BackendOptions, GeneContext

SCORES = ("LLR", "PLLR", "DELTA_P", "KL_CTX", "KL_SS", "EMB_COS", "EMB_L2")
EVENTS = ("DS_AG", "DS_AL", "DS_DG", "DS_DL")
PASSES = 3  # of an SNV: REF, ALT and REF masked
EDGE = 100  # nt at the ends of a gene without an SNV
PIECE = 15 << 20  # bytes
CONTIG = "corpus"
PARTS = ("zero-shot", "splice", "train")
RESULTS = "results.jsonl"
WEIGHTS, OPTIMISER = "weights", "optimiser"


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Args:
        bases: nt of the corpus that are the genome.
        widths: W of the zero-shot windows.
        compared: SNVs that are scored in two ways.
        batch: SNVs that are scored between two looks at the clock.
        seconds: of one measurement of speed.
        square: of the matrix product whose rate is the peak.
        recipe: of the training, and the size of the zero-shot network.
    """

    bases: int
    widths: tuple[int, ...]
    compared: int
    batch: int
    seconds: float
    square: int
    recipe: Recipe


FULL = Sizes(25_000_000, (510, 1022), 1000, 4096, 8.0, 8192, msgspec.structs.replace(BASE, save_every=100))
SMALL = Sizes(
    300_000, (210,), 24, 8, 0.2, 256,
    msgspec.structs.replace(
        BASE, name="small", hidden_size=32, layers=2, heads=4, intermediate_size=64, batch_tokens=600, parts=2,
        stages=(Stage(20, 40, 18_000, 1.0, anywhere=True), Stage(60, 210, 18_000, 0.5)), warmup_steps=3,
        validate_every=20, save_every=5,
    ),
)  # fmt: skip


class Report:
    """Lines of JSON in a file, each written to the disk before the next measurement, and on the terminal."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / RESULTS

    def __call__(self, part: str, **values: object) -> None:
        """Add a line; floats have four digits."""
        rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in values.items()}
        line = json.dumps({"part": part, **rounded})
        with self._file.open("a") as out:
            out.write(line + "\n")
        say(line)


@dataclass(frozen=True, slots=True)
class Genome:
    """Genes of a corpus, one after the other on one contig and strand, as FASTA and GTF; starts and ends by gene."""

    fasta: Path
    gtf: Path
    bases: str
    genes: tuple[tuple[int, int], ...]

    def snvs(self, step: int) -> Iterator[tuple[int, str, str]]:
        """Yield 0-based place, REF and ALT of SNVs at least ``step`` nt apart, away from the ends of genes."""
        last = -step
        for start, end in self.genes:
            for at in range(max(start + EDGE, last + step), end - EDGE, step):
                ref = self.bases[at]
                if ref != "N":
                    yield at, ref, "CGTA"["ACGT".index(ref)]
                    last = at

    def variants(self, step: int = 1) -> Iterator[Variant]:
        """Yield the SNVs as variants."""
        for at, ref, alt in self.snvs(step):
            yield Variant(CONTIG, at + 1, ref, alt)


def genome_of(corpus: Corpus, bases: int, folder: Path) -> Genome:
    """Write the first genes of a corpus, of so many nt or a gene more, as a genome."""
    count = min(len(corpus.names), int(np.searchsorted(corpus.offsets, bases)) + 1)
    bounds = corpus.offsets[: count + 1].tolist()
    text = "".join(letters(corpus.bases[: bounds[-1]]))
    lines = []
    for name, start, end in zip(corpus.names[:count], bounds[:-1], bounds[1:], strict=True):
        gene = f'gene_id "{name}"; gene_biotype "protein_coding";'
        transcript = f'{gene} transcript_id "T{name}"; transcript_biotype "protein_coding";'
        rows = slice(*np.searchsorted(corpus.exon_start, (start, end)).tolist())
        exons = zip(corpus.exon_start[rows], corpus.exon_end[rows], corpus.exon_flags[rows], strict=True)
        features = [("gene", start, end, gene), ("transcript", start, end, transcript)]
        features += [("exon", int(a), int(b), transcript) for a, b, flags in exons if flags & REPORTED]
        lines += [f"{CONTIG}\tx\t{kind}\t{a + 1}\t{b}\t.\t+\t.\t{about}" for kind, a, b, about in features]
    fasta, gtf = folder / "corpus.fa", folder / "corpus.gtf"
    wrapped = "\n".join(text[at : at + 60] for at in range(0, len(text), 60))
    fasta.write_text(f">{CONTIG}\n{wrapped}\n")
    gtf.write_text("\n".join(lines) + "\n")
    return Genome(fasta, gtf, text, tuple(zip(bounds[:-1], bounds[1:], strict=True)))


@dataclass(frozen=True, slots=True)
class Rate:
    """SNVs scored, the seconds that they took, and the seconds that the GPU computed; None on a CPU."""

    count: int
    seconds: float
    busy: float | None

    def report(self) -> dict[str, object]:
        """Return the values of a line."""
        busy = None if self.busy is None else self.busy / self.seconds
        return {"alleles": self.count, "alleles_per_s": self.count / self.seconds, "gpu_busy": busy}


def timed(score: Callable[[Sequence[Any]], object], snvs: Iterator[Any], sizes: Sizes, device: torch.device) -> Rate:
    """Score batches of SNVs for some seconds after two that are not timed, the second of them profiled."""
    score(list(islice(snvs, min(64, sizes.batch))))
    busy = None
    if device.type == "cuda":
        profiled = list(islice(snvs, sizes.batch))
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            score(profiled)
        busy = sum(event.self_device_time_total for event in found.key_averages()) / 1e6 / len(profiled)
    count, began = 0, time.perf_counter()
    while (spent := time.perf_counter() - began) < sizes.seconds:
        batch = list(islice(snvs, sizes.batch))
        if not batch:
            break
        score(batch)
        count += len(batch)
    return Rate(count, spent, None if busy is None else busy * count)


def zero_shot(genome: Genome, sizes: Sizes, device: torch.device, threads: int, report: Report) -> None:
    """Measure the zero-shot scores with random weights of the recipe's size, and with the bundled model."""
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(sizes.square, sizes.square, dtype=kind, device=device) for _ in range(2))
    peak = rate(2.0 * sizes.square**3, lambda: a @ b, device, min(2.0, sizes.seconds))
    report("peak", dtype=str(kind), tflops=peak / 1e12)
    with tempfile.TemporaryDirectory() as name:
        network = SpliceBert(sizes.recipe.config())
        initialise(network, neighbour_layers=sizes.recipe.neighbour_layers, seed=1)
        save_checkpoint(network, Path(name))
        for width in sizes.widths:
            settings = Settings(window=width, scores=SCORES)
            measure = partial(by_precision, genome, sizes, device, settings=settings, peak=peak, report=report)
            for model, recipe in ((name, sizes.recipe), (DEFAULT_MODEL, MINI)):
                measure(
                    partial(
                        Annotator, genome.fasta, str(genome.gtf), model=model, device=device.type, threads=threads,
                        settings=settings,
                    ),
                    recipe=recipe,
                )  # fmt: skip
            with Annotator(genome.fasta, str(genome.gtf), backend="null", settings=settings) as annotator:
                measured = timed(partial(scored, annotator), genome.variants(), sizes, torch.device("cpu"))
            report("host", window=width, **measured.report())


def by_precision(
    genome: Genome, sizes: Sizes, device: torch.device, opened: Callable[..., Annotator], *, settings: Settings,
    recipe: Recipe, peak: float, report: Report,
) -> None:  # fmt: skip
    """Measure one model at one width in every precision, fp32 first."""
    compared = list(islice(genome.variants(len(genome.bases) // sizes.compared), sizes.compared))
    exact: list[ScoredVariant] = []
    for precision in ("fp32", "auto", "fp16", "bf16") if device.type == "cuda" else ("fp32", "bf16"):
        with opened(precision=precision) as annotator:
            taken = annotator.backend.info.precision
            if precision == "auto":
                report("choice", model=recipe.name, window=settings.window, precision=taken)
                continue
            found = scored(annotator, compared)
            exact = exact or found
            measured = timed(partial(scored, annotator), genome.variants(), sizes, device)
        work = PASSES * flops(recipe.config(), settings.window + 2)
        report(
            "zero-shot", model=recipe.name, window=settings.window, precision=taken, **measured.report(),
            share_of_peak=measured.count / measured.seconds * work / peak, spearman=ranks(exact, found),
        )  # fmt: skip


def scored(annotator: Annotator, batch: Sequence[Variant]) -> list[ScoredVariant]:
    """Score variants."""
    return list(annotator.score(batch))


def ranks(exact: Sequence[ScoredVariant], found: Sequence[ScoredVariant]) -> dict[str, float | None]:
    """Return Spearman's correlation of every score, over the SNVs that have it in both; None where it is constant."""
    correlations: dict[str, float | None] = {}
    for field in SCORES:
        first, second = (np.array([one[field] for one in those], dtype=float) for those in (exact, found))
        both = ~np.isnan(first) & ~np.isnan(second)
        first, second = first[both], second[both]
        varies = min(len(set(first)), len(set(second))) > 1
        correlations[field] = round(float(spearmanr(first, second).statistic), 6) if varies else None
    return correlations


def splice(genome: Genome, sizes: Sizes, device: torch.device, threads: int, report: Report) -> None:
    """Measure the splice-site network."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "plugin_spec" / "cispliceai"))
    from splicebert_vep_cispliceai.network import CiSpliceAi

    models = [
        CiSpliceAi.open(BackendOptions("cispliceai", kind, threads)) for kind in dict.fromkeys((device.type, "cpu"))
    ]
    fields = frozenset(EVENTS)
    with Annotator(genome.fasta, str(genome.gtf), backend="null", threads=threads) as annotator:

        def asked(snvs: Sequence[tuple[int, str, str]]) -> list[tuple[Allele, GeneContext]]:
            alleles = [Allele(CONTIG, at, ref, alt) for at, ref, alt in snvs]
            return [(one, annotator.genes.contexts(CONTIG, one.start, one.end)[0]) for one in alleles]

        def deltas(scorer: DeltaScorer, snvs: Sequence[tuple[int, str, str]]) -> np.ndarray:
            found = scorer.score_alleles(asked(snvs), annotator.reference, fields)
            return np.array([found[event] for event in EVENTS], dtype=float)

        scorers = [DeltaScorer(Settings(), model, lambda: annotator.genes) for model in models]
        for words, step in (("scattered", STRETCH + 1), ("neighbours", 10)):
            few = replace(sizes, batch=max(2, sizes.batch // 32))
            measured = timed(partial(deltas, scorers[0]), genome.snvs(step), few, device)
            report("splice", snvs=words, apart=step, **measured.report())
        compared = list(islice(genome.snvs(997), max(2, sizes.compared // 20)))
        ours, theirs = (deltas(scorer, compared) for scorer in (scorers[0], scorers[-1]))
        report("splice", compared=len(compared), largest_difference=float(np.abs(ours - theirs).max()))


class _TimeIsUp(Exception):
    """No time is left for another checkpoint."""


def train(
    corpus: Corpus, run: Path, out: Path, sizes: Sizes, deadline: float, device: str, optimiser: bool, report: Report
) -> None:
    """Train until the deadline (of ``time.monotonic``) and pack the last checkpoint."""
    recipe, saved = sizes.recipe, [time.monotonic()] * 2

    def progress(_: str, step: int, steps: int) -> None:
        now = time.monotonic()
        if step % recipe.save_every == 0:
            saved.append(now)
        block = saved[-1] - saved[-2]  # of steps between two checkpoints; the next takes as long
        no_block = step % recipe.save_every == 0 and now + block > deadline
        if step < steps and (no_block or now > deadline):
            raise _TimeIsUp

    with open_machine(device, "auto", None, say, progress) as machine:
        try:
            pretrain(recipe, corpus, run, machine)
            done = True
        except _TimeIsUp:
            done = False
    if not (run / CHECKPOINT).is_file():
        report("train", done=False, step=0)
        return
    report("train", done=done, **pack(run, out, optimiser=optimiser))


def pack(run: Path, out: Path, *, optimiser: bool = True) -> dict[str, object]:
    """Write the checkpoint of a run's folder in pieces; returns its progress and the number of pieces."""
    state = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    texts = {name: file.read_text() for name in (RECIPE, STEPS, VALIDATIONS) if (file := run / name).is_file()}
    groups, moments = state["optimiser"]["param_groups"], state["optimiser"]["state"]
    halved = {name: value.half() for name, value in state["model"].items()}
    whole = {"model": halved, "groups": groups, "progress": state["progress"], "texts": texts}
    pieces = split(WEIGHTS, whole, out)
    if optimiser:
        short = {
            i: {name: value.bfloat16() if value.dim() else value for name, value in of.items()}
            for i, of in moments.items()
        }
        pieces += split(OPTIMISER, {"progress": state["progress"], "moments": short}, out)
    return {**state["progress"], "pieces": pieces}


def split(name: str, content: object, out: Path) -> int:
    """Save content in files ``NAME.DIGEST.NUMBER-of-COUNT``, and return how many."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = buffer.getvalue()
    digest, count = hashlib.sha256(data).hexdigest()[:12], -(-len(data) // PIECE)
    for number in range(count):
        (out / f"{name}.{digest}.{number + 1}-of-{count}").write_bytes(data[number * PIECE :][:PIECE])
    return count


def joined(name: str, folder: Path) -> Any:
    """Return the content that ``split`` saved; None where there is none of that name.

    Raises:
        click.ClickException: a piece is missing or damaged, or there are two contents.
    """
    files = sorted(folder.glob(f"{name}.*-of-*"), key=lambda file: int(file.suffix[1:].split("-")[0]))
    if not files:
        return None
    digests = {file.name.split(".")[1] for file in files}
    count = int(files[0].suffix.rsplit("-", 1)[1])
    data = b"".join(file.read_bytes() for file in files)
    if len(digests) > 1 or len(files) != count or hashlib.sha256(data).hexdigest()[:12] not in digests:
        found = ", ".join(file.name for file in files)
        raise click.ClickException(f"{folder} does not have every piece of one {name}, undamaged; found: {found}")
    return torch.load(io.BytesIO(data), weights_only=True)


def unpack(folder: Path, run: Path) -> None:
    """Make a run's folder of pieces: checkpoint, logs and model.

    Raises:
        click.ClickException: there are no weights, or pieces do not fit together.
    """
    whole, rest = joined(WEIGHTS, folder), joined(OPTIMISER, folder)
    if whole is None:
        raise click.ClickException(f"{folder} has no pieces of {WEIGHTS}")
    if rest and rest["progress"] != whole["progress"]:
        raise click.ClickException(f"{folder} has weights and an optimiser of different steps")
    run.mkdir(parents=True, exist_ok=True)
    for name, text in whole["texts"].items():
        (run / name).write_text(text)
    model = {name: value.float() for name, value in whole["model"].items()}
    moments = rest["moments"] if rest else {}
    full = {i: {name: value.float() for name, value in of.items()} for i, of in moments.items()}
    optimiser = {"state": full, "param_groups": whole["groups"]}
    torch.save({"model": model, "optimiser": optimiser, "progress": whole["progress"]}, run / CHECKPOINT)
    recipe = msgspec.convert(json.loads(whole["texts"][RECIPE])["recipe"], type=Recipe)
    network = SpliceBert(recipe.config())
    network.load_state_dict(model)
    save_checkpoint(network, run / "model")


@click.group()
def main() -> None:
    """Measure and train on a GPU."""


_PATH = click.Path(path_type=Path)


@main.command("run")
@click.argument("corpus", type=_PATH)
@click.option("--out", required=True, type=_PATH)
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), default=PARTS)
@click.option("--budget", default=540.0, help="Seconds in all.")
@click.option("--device", default="cuda")
@click.option("--threads", default=2, help="CPU cores, where the CPU computes.")
@click.option("--resume", type=_PATH, help="Folder of pieces to train on from.")
@click.option("--optimiser/--no-optimiser", default=True, help="Bring the optimiser's moments back.")
@click.option("--small", is_flag=True, help="Sizes for a trial.")
def run_command(
    corpus: Path, out: Path, parts: tuple[str, ...], budget: float, device: str, threads: int, resume: Path | None,
    optimiser: bool, small: bool,
) -> None:  # fmt: skip
    """Measure and train; exit code 1 where a part failed."""
    deadline = time.monotonic() + 0.95 * budget  # the rest is for pieces
    sizes, where, report = SMALL if small else FULL, torch.device(device), Report(out)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else machine()
    report("machine", device=name, torch=torch.__version__, corpus=corpus.name)
    genes = Corpus.load(corpus)
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if resume:
            unpack(resume, folder / "run")
        genome = genome_of(genes, sizes.bases, folder)
        steps: dict[str, Callable[[], None]] = {
            "zero-shot": partial(zero_shot, genome, sizes, where, threads, report),
            "splice": partial(splice, genome, sizes, where, threads, report),
            "train": partial(train, genes, folder / "run", out, sizes, deadline, device, optimiser, report),
        }
        for part in (part for part in PARTS if part in parts):
            if time.monotonic() > deadline:
                report(part, skipped="no time was left")
                continue
            began = time.monotonic()
            try:
                steps[part]()
            except Exception:  # whatever it is: the other parts are to have the rest of the time
                failed = True
                report(part, failed=traceback.format_exc())
            report(part, seconds=time.monotonic() - began)
    sys.exit(int(failed))


@main.command("join")
@click.argument("folder", type=_PATH)
@click.option("-O", "--output", "run", required=True, type=_PATH, help="The run's folder, as of pretrain.")
def join_command(folder: Path, run: Path) -> None:
    """Put pieces together to a run's folder, whose ``model`` the other commands read."""
    unpack(folder, run)
    say(f"the model is in {run / 'model'}")


if __name__ == "__main__":
    main()

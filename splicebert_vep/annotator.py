"""The Python face of the pipeline: open model, reference and genes once, then annotate files or score variants."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Generic, NoReturn, TypeVar, overload

from splicebert_vep_spec import BackendOptions, RecordReport, RunInfo, Value

from .consequence.hgvs import FoundName, HgvsName, Names, read_variant
from .errors import SettingsError
from .files import check_outputs
from .genome.gene_build import is_built_in, load_table
from .genome.gene_index import GeneIndex
from .genome.guard import BuildGuard
from .genome.places import read_region
from .genome.reference import Reference
from .joins.join import Joins, parse_joins
from .model.backend import default_threads
from .model.engine import Engine
from .model.registry import MODELS, model_folders
from .outputs.tables import columns, rows
from .outputs.write import Outputs, check_emit, plan_outputs
from .plugins import Plugins, load_plugins
from .progress import listening
from .provenance import Space, provenance_of, scored_by, space_of
from .results import ScoredVariant, Summary
from .scoring.cache import StoredScoring
from .scoring.delta import open_delta
from .scoring.percentiles import plan_percentiles
from .scoring.pipeline import Pipeline, Record, Scoring
from .scoring.plan import plan_scores, with_choice, with_worth
from .settings import N_FRAC, Settings, check_window
from .store.store import ScoreStore
from .variants import Region, Variant, VariantLike, as_variant, each_of
from .vcf.header import VcfHeader
from .vcf.read import chunked, open_vcf
from .vcf.write import Kind

#: Chunks that are read ahead of the first score, at most, to tell the build.
HELD = 8

R = TypeVar("R", bound=Record)
log = logging.getLogger(__name__)


class GuardedChunks(Generic[R]):
    """Chunks of records that the build guard has seen.

    Reads ahead until the guard has seen enough to tell the build, or the input ends, or enough is held; it goes on
    watching after that.

    Args:
        records: in their order.
        size: records in a chunk, which has fewer where they are long.
        guard: the build guard.

    Raises:
        BuildError: FASTA, annotation and records are not of one build.
    """

    def __init__(self, records: Iterable[R], size: int, guard: BuildGuard) -> None:
        self._records = iter(records)
        self._size = size
        self._guard = guard
        self._held: list[list[R]] = []
        for chunk in islice(self._read(), HELD):
            self._held.append(chunk)
            if guard.decided:
                return
        if len(self._held) < HELD:
            guard.finish()

    def held(self) -> Sequence[R]:
        """Return the records read ahead of the first chunk."""
        return [record for chunk in self._held for record in chunk]

    def __iter__(self) -> Iterator[list[R]]:
        """Yield every chunk once; those held are let go one by one."""
        while self._held:
            yield self._held.pop(0)
        yield from self._read()

    def finish(self) -> list[str]:
        """Return the guard's sentences for the user, once all chunks have been read."""
        return self._guard.finish()

    def _read(self) -> Iterator[list[R]]:
        for chunk in chunked(self._records, self._size):
            self._guard.observe((record.chrom, record.pos, record.ref) for record in chunk)
            yield chunk


class Meter:
    """Tell how far a run is, also within a chunk.

    Args:
        tell: as ``progress`` of ``Annotator.annotate``.
        share_read: gives the share of the input that was read, None where nobody knows.
        passes: models that each allele goes through.
    """

    def __init__(
        self, tell: Callable[[str, int, int | None, str], None] | None, share_read: Callable[[], float | None],
        passes: int,
    ) -> None:  # fmt: skip
        self._tell, self._share_read, self._passes = tell, share_read, max(1, passes)
        self._read = self._done = 0
        self._at = ""

    def count(self, records: Iterator[R]) -> Iterator[R]:
        """Pass records on and count their ALTs."""
        for record in records:
            self._read += len(record.alts)
            yield record

    @contextlib.contextmanager
    def during(self, chunk: Sequence[Record]) -> Iterator[None]:
        """Listen to the models while a chunk is scored; an allele in several genes counts early, to the chunk's end."""
        if self._tell is None:
            yield
            return
        alts, heard = sum(len(record.alts) for record in chunk), 0.0

        def hear(alleles: float) -> None:
            nonlocal heard
            heard += alleles
            self._show(self._done + min(alts, int(heard / self._passes)))

        with listening(hear):
            yield

    def finish(self, chunk: Sequence[Record]) -> None:
        """Take note that a chunk is written."""
        self._done += sum(len(record.alts) for record in chunk)
        self._at = f"{chunk[-1].chrom}:{chunk[-1].pos:,}"
        self._show(self._done)

    def _show(self, done: int) -> None:
        if self._tell is None:
            return
        share = self._share_read()
        of = None if not share else self._read if share >= 1 else max(done, int(float(f"{self._read / share:.2g}")))
        self._tell("alleles", done, of, self._at)


def _in_region(records: Iterable[R], region: Region, reference: Reference) -> Iterator[R]:
    contig = reference.find(region.chrom)
    for record in records:
        same = record.chrom == region.chrom or (contig is not None and reference.find(record.chrom) == contig)
        if same and record.pos <= region.last and record.pos + len(record.ref) - 1 >= region.first:
            yield record


class Annotator:
    """Score and annotate variants.

    May be shared between threads: their chunks are scored one at a time, so threads bring no speed. It does not survive
    a fork and cannot be pickled: open one in each process.

    Args:
        reference: FASTA, plain or bgzip-compressed.
        annotation: ``grch38``, ``grch37``, a table of ``genes build``, or GFF3, GTF or SpliceAI's table format.
        settings: the knobs of the run; None takes the defaults.
        store: score store (SQLite): known alleles are read from it, newly scored ones are added; made if absent.
        plugins: already loaded plugins; None loads them.
        knobs: fields of ``Settings`` by name, in place of those of ``settings``: ``model="SpliceBERT.510nt"``,
            ``scores="LLR,KL_SS"``, ``window=510``, ``device="cpu"``.

    Raises:
        SpliceBertError: any of its input errors, before anything is scored; see ``splicebert_vep.errors``.

    Example:
        >>> with Annotator("GRCh38.fa", "grch38") as annotator:
        ...     result = annotator.score("chr17-43047641-A-C")
        ...     result["KL_SS"], result.gene.symbol
    """

    def __init__(
        self,
        reference: str | Path,
        annotation: str | Path = "grch38",
        *,
        settings: Settings | None = None,
        store: str | Path | None = None,
        plugins: Plugins | None = None,
        **knobs: Any,
    ) -> None:
        names = [knob.name for knob in fields(Settings)]
        if unknown := sorted(knobs.keys() - names):
            needed = f"annotation, {', '.join(names)}, store or plugins"
            raise SettingsError(f"Annotator has no argument {unknown[0]}.", needed=needed)
        self.settings = settings = replace(settings or Settings(), **knobs)
        self.plugins = plugins or load_plugins()
        opened: list[GeneIndex] = []  # not self, which would keep models in memory until cycles are collected
        self.delta = open_delta(self.plugins, settings, lambda: opened[0])
        scorers, origins = self.delta.scorers, self.plugins.origins("scorer")
        self.plan = plan_scores(scorers, origins, settings)
        backend = self.plugins.backends.get(settings.backend)
        self._backend_version = f"{settings.backend}/{backend.version}" if backend else settings.backend
        options = BackendOptions(settings.model, settings.device, settings.threads, settings.precision)
        self.backend = self.plugins.open_backend(settings.backend, options)
        shape = settings.shape
        check_window(shape, self.backend.info)
        self.plan = with_worth(self.plan, self.backend.info)
        self.percentiles = plan_percentiles(settings, self._scored_by)
        self.plan = self.percentiles.shown_in(self.plan)
        table = load_table(annotation)
        self._annotation = annotation
        self._table_name, self._table_digest = table.name, table.digest
        self.genes = GeneIndex(table)
        opened.append(self.genes)
        self._engine = Engine(self.backend, flank=shape.flank, batch_tokens=settings.batch_tokens)
        self.reference = Reference(reference, assembly=table.assembly)  # last: a FASTA may take a minute to index
        self._names = Names(self.genes, self.reference)
        self.choice_plan = with_choice(self.plan, scorers, origins)
        self._run: RunInfo | None = None
        self.scoring = Scoring(self.reference, self.genes, shape, self._engine, self.plan, self.choice_plan)
        self._store: ScoreStore | None = None
        self.stored_scoring: StoredScoring | None = None
        if store is not None:
            with contextlib.ExitStack() as undo:
                undo.callback(self.reference.close)
                self._store = ScoreStore(store)
                undo.callback(self._store.close)
                self.stored_scoring = StoredScoring(
                    self._store, self.space, self.plan, genes=self.genes, reference=self.reference, shape=shape,
                    scoring=self.scoring,
                )  # fmt: skip
                undo.pop_all()
        scoring = self.percentiles.over(self.stored_scoring or self.scoring)
        self._pipeline = Pipeline(self.reference, scoring, self.genes, shape, self.plan.offsets)
        self.lock = threading.Lock()
        self._process: int | None = os.getpid()

    def __enter__(self) -> Annotator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("an Annotator cannot be pickled; open one in each process")

    @property
    def run(self) -> RunInfo:
        """Fields of the output and provenance of every score; reads the whole FASTA once for its digest."""
        if self._run is None:
            self._run = RunInfo(self.plan.fields, MappingProxyType(self._provenance()))
        return self._run

    def close(self) -> None:
        """Close the reference; the annotator cannot be used any more."""
        self._process = None
        self.reference.close()
        if self._store:
            self._store.close()

    @overload  # a str is an Iterable[str] too; the first signature wins
    def score(  # type: ignore[overload-overlap]
        self, variants: str | Variant, *, joins: Joins | None = None
    ) -> ScoredVariant: ...
    @overload
    def score(self, variants: Iterable[VariantLike], *, joins: Joins | None = None) -> Iterator[ScoredVariant]: ...
    def score(
        self, variants: str | Variant | Iterable[VariantLike], *, joins: Joins | None = None
    ) -> ScoredVariant | Iterator[ScoredVariant]:
        """Score variants given by hand.

        Args:
            variants: one, ``"chr17-43071077-T-C"``, an HGVS name as ``lookup`` takes it, or a ``Variant``; or any
                number of them, or of (chrom, 1-based pos, ref, alt), in an iterable; or a DataFrame with columns CHROM,
                POS, REF, ALT.
            joins: other programs' scores that are added, from ``open_joins``; they stay open.

        Returns:
            One result for one variant; for an iterable an iterator over results, one per variant and in their order,
            which reads and scores a chunk at a time.

        Raises:
            BuildError: FASTA and annotation, or FASTA and 20 or more variants, are not of one build.
            SettingsError: a variant cannot be read, or a name is not found.
        """
        if isinstance(variants, str | Variant):
            [result] = self._results([variants], joins)
            return result
        return self._results(variants, joins)

    def lookup(self, name: str | HgvsName) -> FoundName:
        """Return the variant that an HGVS name means, and a note where the name does not say its transcript exactly.

        Args:
            name: c. or n. of a reported transcript (``NM_007294.4:c.5467+2T>G``, ``NM_007294.4(BRCA1):c.``,
                ``ENST00000357654.9:c.``, ``BRCA1:c.``) or g. of a contig (``NC_000017.11:g.``).

        Raises:
            SettingsError: it cannot be read, its transcript or position is not there, or its bases are not the FASTA's.
            BuildError: its accession is of another assembly.
        """
        self.check_usable()
        return self._names.find(name)

    def open_joins(self, join: Sequence[str]) -> Joins:
        """Open other programs' scores for ``score``; close them with the block.

        Args:
            join: ``NAME=FILE``; there is no INFO to join.

        Raises:
            SettingsError: a join is unknown or cannot read its file.
            VcfError: a file cannot be read by place.

        Example:
            >>> with annotator.open_joins(["CADD=cadd.toml"]) as joins:
            ...     annotator.score("chr17-43047641-A-C", joins=joins)["CADD_PHRED"]
        """
        self.check_usable()
        run = RunInfo(self.plan.fields, {})  # provenance left empty: it would hash the whole FASTA
        return Joins(parse_joins(join), self.plugins, self.reference, {}, run)

    def score_frame(self, variants: str | Variant | Iterable[VariantLike]) -> dict[str, list[Value]]:
        """Score variants and return the columns of ``--emit tsv``: ``pandas.DataFrame(annotator.score_frame(...))``.

        Returns:
            Column name -> values, one row per variant x gene; POS is 1-based, START 0-based, None is missing.

        Raises:
            BuildError, SettingsError: as ``score``.
        """
        run = RunInfo(self.plan.fields, {})
        given = [variants] if isinstance(variants, str | Variant) else variants
        found = [row for result in self._results(given, None) for row in rows(result.report, run)]
        return {name: [row[i] for row in found] for i, name in enumerate(columns(run))}

    def annotate(
        self,
        source: str | Path,
        target: str | Path,
        *,
        emit: Sequence[str] = ("flat",),
        kind: Kind | None = None,
        region: str | None = None,
        join: Sequence[str] = (),
        progress: Callable[[str, int, int | None, str], None] | None = None,
    ) -> Summary:
        """Annotate a VCF or BCF.

        Args:
            source: input path, ``-`` is stdin.
            target: output path, ``-`` is stdout.
            emit: outputs, ``flat``, ``vep``, ``csq``, ``tsv[=FILE]``, ``jsonl[=FILE]``, ``parquet=FILE`` or a plugin's.
            kind: output format where the path's suffix does not say it.
            region: ``chr17``, ``chr17:100``, ``chr17:100-`` or ``chr17:100-200``, 1-based with both ends; only records
                that lie in it are read and written.
            join: other programs' scores to add, ``NAME=FILE`` or ``NAME=info:KEY``.
            progress: called after every batch of a model with the word ``alleles``, how many are done, about how many
                there are (None where the input is a pipe), and the place up to which all are written, ``CHROM:POS``.

        Raises:
            BuildError: VCF, FASTA and annotation are not of one build.
            VcfError, FastaError: the input cannot be read.
            OutputError: an output cannot be written whole; none is left under its final name.
            PluginError: a plugin breaks the contract.
        """
        self.check_usable()
        words, adapters, origins = parse_joins(join), self.plugins.adapters, self.plugins.origins("adapter")
        plan = plan_outputs(
            emit, str(target), kind, adapters, origins, source=str(source), reference=str(self.reference.path)
        )
        summary = Summary(self.delta.threshold)
        where = None if region is None else read_region(region, self.reference)
        began = time.monotonic()
        with (
            open_vcf(str(source)) as reader,
            Joins(words, self.plugins, self.reference, reader.header.infos(), self.run) as joins,
        ):
            self.check_targets(plan.targets, joins.files)
            run = joins.run
            contigs = reader.header.contigs()
            if where and where.chrom not in contigs and self.reference.find(where.chrom) is None:
                problem = "The region lies on a contig that neither the VCF's header nor the FASTA knows."
                raise SettingsError(problem, found=where.chrom)
            passes = bool(self.plan.needs) + bool(self.delta.provenance)
            meter = Meter(progress, reader.share_read, passes)
            records = meter.count(_in_region(reader, where, self.reference) if where else reader)
            chunks = GuardedChunks(records, self.settings.chunk_records, self.guard(contigs))
            self.plugins.run_started(run)
            held, lengths = chunks.held(), self.reference.lengths
            with Outputs(plan, run, reader.header, held, lengths) as outputs:
                for chunk in chunks:
                    with meter.during(chunk):
                        reports = tuple(joins.add(chunk, self.report(chunk)))
                    summary.add(reports)
                    outputs.write(chunk, reports)
                    meter.finish(chunk)
                summary.warnings += [*chunks.finish(), *joins.warnings(), *reader.warnings]
        if where and not summary.records:
            summary.warnings.append(f"no record lies in the region {region}")
        summary.warnings += summary.doubts()
        summary.provenance = run.provenance
        summary.seconds = time.monotonic() - began
        summary.warnings += outputs.warnings
        self.plugins.run_finished(run, summary.by_status())
        return summary

    def guard(self, header: Mapping[str, int | None] = MappingProxyType({})) -> BuildGuard:
        """Return the build guard for a file with these contigs in its header."""
        self.check_usable()
        trusted = self.settings.trust_build
        return BuildGuard(header, self.reference, self.genes, self._table_name, lengths_trusted=trusted)

    def check_targets(self, targets: Iterable[str], inputs: Iterable[str] = ()) -> None:
        """Raise SettingsError where an output would replace what this annotator reads, or one of these inputs."""
        asked, genes = self.settings, str(self._annotation)
        read = [str(self.reference.path), *([] if is_built_in(genes) else [genes]), *inputs]
        read += [asked.calibration] if asked.calibration else []
        read += [str(self._store.path)] if self._store else []
        check_outputs(targets, read, model_folders(asked.model, asked.splice_model))

    def check_emit(self, words: Sequence[str], header: VcfHeader) -> None:
        """Find out whether the outputs asked for take an input with this header; raises as ``annotate`` would."""
        check_emit(words, self.plugins.adapters, self.plugins.origins("adapter"), self.run, header)

    def _results(self, variants: Iterable[VariantLike], joins: Joins | None) -> Iterator[ScoredVariant]:
        if isinstance(variants, tuple) and len(variants) == 4 and not isinstance(variants[1], str | tuple | Variant):
            problem = "A variant as a tuple goes into a list."
            raise SettingsError(problem, needed=f"[{variants!r}]", found=repr(variants))
        self.check_usable()
        trusted = self.settings.trust_build
        guard = BuildGuard(
            {}, self.reference, self.genes, self._table_name, whole_file=False, lengths_trusted=trusted
        )  # fmt: skip
        chunks = GuardedChunks(map(self._as_variant, each_of(variants)), self.settings.chunk_records, guard)
        fields = tuple(joins.run.fields) if joins else self.plan.fields
        for chunk in chunks:
            reports = self.report(chunk)
            for report in joins.add(chunk, reports) if joins else reports:
                yield ScoredVariant(report, fields)

    def _as_variant(self, given: VariantLike) -> Variant:
        if not isinstance(given, str):
            return as_variant(given)
        read = read_variant(given)
        if isinstance(read, Variant):
            return read
        found = self.lookup(read)
        if found.note:
            log.warning("%s: %s", given, found.note)
        return found.variant

    def to_json(self) -> dict[str, Any]:
        """Return the arguments that open an annotator of the same scores on another machine that has the same files."""
        asked, given = self.settings, self._annotation
        model, splice_model = asked.model, asked.splice_model
        if splice_model == "auto" and self.delta.model:  # the other machine may have other plugins
            splice_model = self.delta.model.name
        return {
            **asdict(asked),
            "reference": os.path.abspath(self.reference.path),
            "annotation": given if isinstance(given, str) and is_built_in(given) else os.path.abspath(given),
            "model": os.path.abspath(model) if model not in MODELS and os.path.isdir(model) else model,
            "splice_model": os.path.abspath(splice_model) if os.path.isdir(splice_model) else splice_model,
            "calibration": asked.calibration and os.path.abspath(asked.calibration),
            "threads": asked.threads or default_threads(),
            "precision": self.backend.info.precision,
        }

    @property
    def space(self) -> Space:
        """The space of a score store that this annotator reads and fills."""
        return space_of(self.run.provenance, self.plan.columns, self.choice_plan.columns)

    def report(self, records: Sequence[Record]) -> list[RecordReport]:
        """Return one report per record, in order; all are in memory at a time."""
        self.check_usable()
        with self.lock:
            return self._pipeline.report(records)

    def check_usable(self) -> None:
        """Raise SettingsError where this process has not opened the annotator, or has closed it."""
        if self._process != os.getpid():  # two processes would move the position in one open FASTA
            problem = "is closed" if self._process is None else "belongs to another process"
            needed = "an Annotator that this process opened and has not closed"
            raise SettingsError(f"The annotator {problem}.", needed=needed)

    @property
    def note(self) -> str:
        """A sentence for the user about the splice-site model; empty without delta scores."""
        return self.delta.note

    @property
    def _scored_by(self) -> dict[str, str]:
        """The part of the provenance that determines scores."""
        return scored_by(self.backend.info, self.settings, self._backend_version)

    def _provenance(self) -> dict[str, str]:
        scores = [field.id for field in self.plan.fields if field != N_FRAC]
        trusted = self.settings.provenance("trust_build") if self.settings.trust_build else {}
        return trusted | provenance_of(
            self._scored_by, scores, self.backend.info, delta=self.delta.provenance,
            calibration=self.percentiles.digest, batch_tokens=self._engine.batch_tokens,
            reference=self.reference, store=self._store.path.name if self._store else None,
            annotation=(self._table_name, self._table_digest), plugins=self.plugins.versions,
        )  # fmt: skip

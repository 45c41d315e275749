"""The Python face of the pipeline: open model, reference and genes once, then annotate files or score variants."""

from __future__ import annotations

import contextlib
import operator
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NoReturn, TypeVar, overload

from splicebert_vep_spec import BackendOptions, RecordReport, RunInfo, Status, Value

from . import __version__
from .adapters.rows import columns, rows
from .chunks import GuardedChunks
from .errors import SettingsError
from .genome.annotation import load_table
from .genome.gene_index import GeneIndex
from .genome.guard import BuildGuard
from .genome.reference import Reference
from .model.engine import Engine
from .outputs import Outputs, plan_outputs
from .pipeline import Pipeline, Record
from .plugins import Plugins, load_plugins
from .results import ScoredVariant
from .settings import (
    DISCLAIMER,
    N_FRAC,
    SCORE_VERSION,
    WINDOW_MODE,
    Settings,
    check_window,
    plan_scores,
    with_choice,
)
from .summary import Summary
from .variants import MAX_POS, Region, Variant
from .vcf.reader import open_vcf
from .vcf.writer import Kind

_EXPECTED = 0.1  # share of ALTs; the build guard stops at as many mismatches, but cannot tell where the FASTA holds N
_DOUBTS = {
    Status.REF_MISMATCH: "is it the right FASTA",
    Status.NO_CONTIG: "does the FASTA lack contigs of the VCF",
}

_R = TypeVar("_R", bound=Record)

VariantLike = str | Variant | tuple[str, int, str, str]
"""``"chr17-43071077-T-C"``, a ``Variant``, or (chrom, 1-based pos, ref, alt)."""


class Annotator:
    """Score and annotate variants.

    May be shared between threads: their chunks are scored one at a time, so threads bring no speed. It does not survive
    a fork and cannot be pickled: open one in each process.

    Args:
        reference: FASTA, plain or bgzip-compressed.
        genes: ``grch38``, ``grch37``, a table of ``genes build``, or GFF3, GTF or SpliceAI's table format.
        model: model name or folder, see ``splicebert-vep models list``.
        backend: ``torch``, ``null`` or a plugin's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads of the model; None leaves torch's default.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``. ``auto`` is fp32 on a CPU; on a CUDA GPU half precision
            where a check at the start finds that it ranks as fp32 does.
        settings: window, scores and batches.
        plugins: already loaded plugins; None loads them.

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
        genes: str | Path = "grch38",
        *,
        model: str | Path = "splicebert-mini",
        backend: str = "torch",
        device: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        settings: Settings | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.plugins = plugins or load_plugins()
        scorers, origins = self.plugins.scorers, self.plugins.origins("scorer")
        self._plan = plan_scores(scorers, origins, self.settings)
        self.backend = self.plugins.open_backend(backend, BackendOptions(_model(model), device, threads, precision))
        shape = self.settings.window
        check_window(shape, self.backend.info)
        table = load_table(genes)
        self._table_name, self._table_digest = table.name, table.digest
        self.genes = GeneIndex(table)
        self._engine = self._open_engine()
        self.reference = Reference(reference)  # last: a FASTA may take a minute to index
        choice = with_choice(self._plan, scorers, origins)
        self._pipeline = Pipeline(self.reference, self.genes, shape, self._engine, self._plan, choice)
        self._run: RunInfo | None = None
        self._lock = threading.Lock()
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
            self._run = RunInfo(self._plan.fields, MappingProxyType(self._provenance()))
        return self._run

    def close(self) -> None:
        """Close the reference; the annotator cannot be used any more."""
        self._process = None
        self.reference.close()

    def region(self, text: str) -> Region:
        """Read a region; a contig whose own name holds a colon (HLA-A*01:01) is known by the reference.

        Raises:
            SettingsError: it cannot be read.
        """
        return Region(text, 1, MAX_POS) if self.reference.find(text) else Region.parse(text)

    @overload  # a str is an Iterable[str] too; the first signature wins
    def score(self, variants: str | Variant) -> ScoredVariant: ...  # type: ignore[overload-overlap]
    @overload
    def score(self, variants: Iterable[VariantLike]) -> Iterator[ScoredVariant]: ...
    def score(self, variants: str | Variant | Iterable[VariantLike]) -> ScoredVariant | Iterator[ScoredVariant]:
        """Score variants given by hand.

        Args:
            variants: one, ``"chr17-43071077-T-C"`` or a ``Variant``; or any number of them, or of
                (chrom, 1-based pos, ref, alt), in an iterable.

        Returns:
            One result for one variant; for an iterable an iterator over results, one per variant and in their order,
            which reads and scores a chunk at a time.

        Raises:
            BuildError: FASTA and annotation, or FASTA and 20 or more variants, are not of one build.
            SettingsError: a variant cannot be read.
        """
        if isinstance(variants, str | Variant):
            [result] = self._results([variants])
            return result
        return self._results(variants)

    def score_frame(self, variants: str | Variant | Iterable[VariantLike]) -> dict[str, list[Value]]:
        """Score variants and return the columns of ``--emit tsv``: ``pandas.DataFrame(annotator.score_frame(...))``.

        Returns:
            Column name -> values, one row per variant x gene; POS is 1-based, START 0-based, None is missing.

        Raises:
            BuildError, SettingsError: as ``score``.
        """
        run = RunInfo(self._plan.fields, {})
        given = [variants] if isinstance(variants, str | Variant) else variants
        found = [row for result in self._results(given) for row in rows(result.report, run)]
        return {name: [row[i] for row in found] for i, name in enumerate(columns(run))}

    def annotate(
        self,
        source: str | Path,
        target: str | Path,
        *,
        emit: Sequence[str] = ("flat",),
        kind: Kind | None = None,
        region: str | None = None,
        progress: Callable[[Summary, float | None], None] | None = None,
    ) -> Summary:
        """Annotate a VCF or BCF.

        Args:
            source: input path, ``-`` is stdin.
            target: output path, ``-`` is stdout.
            emit: outputs, ``flat``, ``vep``, ``tsv[=FILE]``, ``jsonl[=FILE]``, ``parquet=FILE`` or a plugin's.
            kind: output format where the path's suffix does not say it.
            region: ``chr17``, ``chr17:100``, ``chr17:100-`` or ``chr17:100-200``, 1-based with both ends; only records
                that lie in it are read and written.
            progress: called after every chunk with the counts so far and the share of the input read, where known.

        Raises:
            BuildError: VCF, FASTA and annotation are not of one build.
            VcfError, FastaError: the input cannot be read.
            OutputError: an output cannot be written whole; none is left under its final name.
            PluginError: a plugin breaks the contract.
        """
        source, target = str(source), str(target)
        plan = plan_outputs(
            emit,
            target,
            kind,
            self.plugins.adapters,
            self.plugins.origins("adapter"),
            source=source,
            reference=str(self.reference.path),
        )
        summary = Summary()
        where = None if region is None else self.region(region)
        began = time.monotonic()
        with open_vcf(source) as reader:
            contigs = reader.header.contigs()
            guard = self._guard(contigs)
            if where and where.chrom not in contigs and self.reference.find(where.chrom) is None:
                raise SettingsError(
                    "The region lies on a contig that neither the VCF's header nor the FASTA knows.", found=where.chrom
                )
            chunks = GuardedChunks(self._in_region(reader, where), self.settings.chunk_records, guard)
            self.plugins.run_started(self.run)
            with Outputs(plan, self.run, reader.header, chunks.held(), self.reference.lengths, __version__) as outputs:
                for chunk in chunks:
                    reports = tuple(self._report(chunk))  # which an adapter cannot take anything out of
                    summary.add(reports)
                    outputs.write(chunk, reports)
                    if progress:
                        progress(summary, reader.share_read())
                summary.warnings.extend(chunks.finish())
        if where and not summary.records:
            summary.warnings.append(f"no record lies in the region {region}")
        for status, doubt in _DOUBTS.items():
            if summary.status[status] > summary.alleles * _EXPECTED:
                share = f"{summary.status[status]:,} of {summary.alleles:,} ALTs are {status}"
                summary.warnings.append(f"{share}: {doubt}?")
        summary.seconds = time.monotonic() - began
        summary.warnings.extend(outputs.warnings)
        self.plugins.run_finished(self.run, summary.by_status())
        return summary

    def _results(self, variants: Iterable[VariantLike]) -> Iterator[ScoredVariant]:
        if isinstance(variants, tuple) and len(variants) == 4 and not isinstance(variants[1], str | tuple | Variant):
            raise SettingsError(
                "A variant as a tuple goes into a list.", needed=f"[{variants!r}]", found=repr(variants)
            )
        guard = self._guard({}, whole_file=False)
        chunks = GuardedChunks(map(_variant, variants), self.settings.chunk_records, guard)
        for chunk in chunks:
            for report in self._report(chunk):
                yield ScoredVariant(report, self._plan.fields)

    def _open_engine(self) -> Engine:
        settings = self.settings
        if settings.local and not self.backend.local:
            raise SettingsError(
                "The backend cannot compute a part of a window.", needed="--mode exact", found="--mode local"
            )
        return Engine(
            self.backend, flank=settings.window.flank, batch_tokens=settings.batch_tokens, local=settings.local
        )

    def _report(self, records: Sequence[Record]) -> list[RecordReport]:
        self._check_usable()
        with self._lock:
            return self._pipeline.report(records)

    def _guard(self, header: Mapping[str, int | None], *, whole_file: bool = True) -> BuildGuard:
        self._check_usable()
        return BuildGuard(header, self.reference, self.genes, self._table_name, whole_file=whole_file)

    def _check_usable(self) -> None:
        if self._process != os.getpid():  # two processes would move the position in one open FASTA
            raise SettingsError(
                "The annotator is closed." if self._process is None else "The annotator belongs to another process.",
                needed="an Annotator that this process opened and has not closed",
            )

    def _in_region(self, records: Iterable[_R], region: Region | None) -> Iterator[_R]:
        if region is None:
            yield from records
            return
        contig = self.reference.find(region.chrom)
        for record in records:
            same = record.chrom == region.chrom or (contig is not None and self.reference.find(record.chrom) == contig)
            if same and record.pos <= region.last and record.pos + len(record.ref) - 1 >= region.first:
                yield record

    def _provenance(self) -> dict[str, str]:
        info, shape, local = self.backend.info, self.settings.window, self.settings.local
        return {
            "Version": __version__,
            "ScoreVersion": str(SCORE_VERSION),
            "Model": info.model,
            "WeightsSHA256": info.weights_sha256,
            "Architecture": info.architecture,
            "Window": str(shape.width),
            "Flank": str(shape.flank),
            "WindowMode": shape.mode,
            "Stride": str(shape.stride) if shape.mode == "tiled" else "none",
            "EngineMode": self.settings.mode,
            "Radius": f"{local.radius},{local.masked_radius}" if local else "none",
            "Scores": ",".join(field.id for field in self._plan.fields if field not in (N_FRAC, WINDOW_MODE)),
            "BatchTokens": str(self._engine.batch_tokens),
            "Precision": info.precision,
            "Device": info.device,
            "Reference": self.reference.path.name,
            "ReferenceSHA256": self.reference.digest(),
            "Annotation": self._table_name,
            "AnnotationDigest": self._table_digest,
            "Plugins": ",".join(f"{name}={version}" for name, version in self.plugins.versions.items()) or "none",
            "Quality": info.quality or "not measured",
            "Note": DISCLAIMER,
        }


def _model(name_or_path: str | Path) -> str:
    """Return a model as the command line takes it; a ``Path`` is never a name."""
    return name_or_path if isinstance(name_or_path, str) else str(name_or_path.absolute())


def _variant(given: VariantLike) -> Variant:
    if isinstance(given, Variant):
        return given
    if isinstance(given, str):
        return Variant.parse(given)
    with contextlib.suppress(TypeError, ValueError):
        chrom, pos, ref, alt = given
        if isinstance(chrom, str) and isinstance(ref, str) and isinstance(alt, str):
            return Variant(chrom, operator.index(pos), ref, alt)  # a pos of numpy is fine, 7.0 is not
    raise SettingsError(
        "A variant could not be read.",
        needed="'chr17-43071077-T-C', a Variant, or a tuple (chrom, 1-based pos, ref, alt)",
        found=repr(given),
    )

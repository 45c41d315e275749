"""The Python face of the pipeline: open model, reference and genes once, then annotate files or score variants."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from types import TracebackType

from splicebert_vep_spec import BackendOptions, RecordReport, RunInfo, Status

from . import __version__
from .errors import SettingsError
from .genome.annotation import load_table
from .genome.gene_index import GeneIndex
from .genome.guard import BuildGuard, Observed
from .genome.reference import Reference
from .model.engine import Engine
from .outputs import Outputs, Record, plan_outputs
from .pipeline import Pipeline
from .plugins import Plugins, load_plugins
from .settings import DISCLAIMER, SCORE_VERSION, Settings, check_window, plan_scores, with_choice
from .vcf.reader import open_vcf
from .vcf.writer import Kind

MAX_POS = 2**31 - 1  # of VCF
_CHUNKS_HELD = 8  # read at most so far ahead of the first score to tell the build
_VARIANT = re.compile(r"(?P<chrom>.+?)[-:](?P<pos>\d+)[-:](?P<ref>[^-:]+)[-:>](?P<alt>[^-:]+)\Z")


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant given by hand; ``pos`` is 1-based as in VCF."""

    chrom: str
    pos: int
    ref: str
    alts: tuple[str, ...]
    id: str = "."

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read ``chr17-43071077-T-C`` or ``17:43071077:T:C``.

        Raises:
            SettingsError: any other form.
        """
        match = _VARIANT.match(text.strip())
        if match is None:
            raise SettingsError(
                "A variant could not be read.", needed="CHROM-POS-REF-ALT, e.g. chr17-43071077-T-C", found=repr(text)
            )
        return cls(match["chrom"], int(match["pos"]), match["ref"], tuple(match["alt"].split(",")))


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of a contig; 1-based, both ends included, as in ``chr17:43044295-43125364``."""

    chrom: str
    first: int
    last: int

    def __str__(self) -> str:
        return self.chrom if self.last == MAX_POS and self.first == 1 else f"{self.chrom}:{self.first}-{self.last}"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Read ``chr17``, ``chr17:100``, ``chr17:100-`` or ``chr17:100-200``; thousands commas are fine.

        Raises:
            SettingsError: any other form.
        """
        match = re.fullmatch(r"(.+?)(?::(\d[\d,]*)(-(\d[\d,]*)?)?)?", text.strip())
        if match is None:
            raise SettingsError(
                "A region could not be read.", needed="CHROM or CHROM:START-END, 1-based", found=repr(text)
            )
        chrom, first, dash, last = match.groups()
        low = int(first.replace(",", "")) if first else 1
        high = int(last.replace(",", "")) if last else low if first and not dash else MAX_POS
        if high < low:
            raise SettingsError("The region ends before it starts.", found=text)
        return cls(chrom, low, high)


@dataclass(slots=True)
class Summary:
    """What a run did: records and ALTs read, ALTs by status, seconds, and sentences for the user."""

    records: int = 0
    alleles: int = 0
    records_without_alt: int = 0
    status: Counter[Status] = field(default_factory=Counter)
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def add(self, reports: Sequence[RecordReport]) -> None:
        """Count a chunk; with several genes an ALT counts once, by the outcome that flat output shows."""
        self.records += len(reports)
        for report in reports:
            self.alleles += len(report.alleles)
            if not report.alleles:
                self.records_without_alt += 1
                self.status[Status.NO_ALT] += 1
            self.status.update(allele.contexts[0].status for allele in report.alleles)

    def by_status(self) -> dict[str, int]:
        """Return counts in the order of ``Status``, those of zero left out."""
        return {str(status): self.status[status] for status in Status if self.status[status]}


class Annotator:
    """Score and annotate variants.

    Not thread-safe: one annotator per thread or process.

    Args:
        reference: FASTA, plain or bgzip-compressed.
        genes: ``grch38``, ``grch37``, a table of ``genes build``, or GFF3, GTF or SpliceAI's table format.
        model: model name or folder, see ``splicebert-vep models list``.
        backend: ``torch``, ``null`` or a plugin's.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        threads: CPU threads of the model; None leaves torch's default.
        settings: window, scores and batches.
        plugins: already loaded plugins; None loads them.

    Raises:
        SpliceBertError: any of its input errors, before anything is scored; see ``splicebert_vep.errors``.
    """

    def __init__(
        self,
        reference: str | Path,
        genes: str | Path = "grch38",
        *,
        model: str = "splicebert-mini",
        backend: str = "torch",
        device: str = "auto",
        threads: int | None = None,
        settings: Settings | None = None,
        plugins: Plugins | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.plugins = plugins or load_plugins()
        self._plan = plan_scores(self.plugins.scorers, self.settings)
        if backend not in self.plugins.backends:
            raise SettingsError(
                "An unknown backend was asked for.", needed=f"one of {', '.join(self.plugins.backends)}", found=backend
            )
        table = load_table(genes)
        self._table_name, self._table_digest = table.name, table.digest
        self.genes = GeneIndex(table)
        self.backend = self.plugins.backends[backend].open(BackendOptions(model, device, threads))
        shape = self.settings.window
        check_window(shape, self.backend.info)
        engine = Engine(
            self.backend,
            width=shape.width,
            flank=shape.flank,
            batch_tokens=self.settings.batch_tokens,
        )
        self.reference = Reference(reference)  # last: a FASTA may take a minute to index
        self._pipeline = Pipeline(
            self.reference, self.genes, shape, engine, self._plan, with_choice(self._plan, self.plugins.scorers)
        )
        self.run = RunInfo(self._plan.fields, self._provenance())

    def __enter__(self) -> Annotator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the reference."""
        self.reference.close()

    def region(self, text: str) -> Region:
        """Read a region; a contig whose own name holds a colon (HLA-A*01:01) is known by the reference.

        Raises:
            SettingsError: it cannot be read.
        """
        return Region(text, 1, MAX_POS) if self.reference.find(text) else Region.parse(text)

    def score(self, variants: Iterable[str | Variant]) -> list[RecordReport]:
        """Score variants given by hand, ``chr17-43071077-T-C``, in their order.

        Raises:
            BuildError: FASTA and annotation are not of one build.
            SettingsError: a variant cannot be read.
        """
        records = [variant if isinstance(variant, Variant) else Variant.parse(variant) for variant in variants]
        self._guard({}).observe(_observed(records))
        return self._pipeline.report(records)

    def annotate(
        self,
        source: str,
        target: str,
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
            emit: outputs, ``flat``, ``vep``, ``tsv[=FILE]``, ``parquet=FILE`` or a plugin's.
            kind: output format where the path's suffix does not say it.
            region: ``chr17``, ``chr17:100``, ``chr17:100-`` or ``chr17:100-200``, 1-based with both ends; only records
                that lie in it are read and written.
            progress: called after every chunk with the counts so far and the share of the input read, where known.

        Raises:
            BuildError: VCF, FASTA and annotation are not of one build.
            VcfError, FastaError: the input cannot be read.
            OutputError: an output cannot be written whole; none is left under its final name.
        """
        plan = plan_outputs(
            emit, target, kind, self.plugins.adapters, source=source, reference=str(self.reference.path)
        )
        summary = Summary()
        where = None if region is None else self.region(region)
        began = time.monotonic()
        with open_vcf(source) as reader:
            guard = self._guard(reader.header.contigs())
            chunks = _chunks(self._in_region(reader, where), self.settings.chunk_records)
            held = _settle(guard, chunks)
            first = [record for chunk in held for record in chunk]
            self.plugins.run_started(self.run)
            with Outputs(plan, self.run, reader.header, first, self.reference.lengths, __version__) as outputs:
                del first  # held chunks are let go one by one
                for chunk in chain(_drained(held), _watched(guard, chunks)):
                    reports = self._pipeline.report(chunk)
                    outputs.write(chunk, reports)
                    summary.add(reports)
                    if progress:
                        progress(summary, reader.share_read())
                summary.warnings.extend(guard.finish())
        if where and not summary.records:
            summary.warnings.append(f"no record lies in the region {region}")
        summary.seconds = time.monotonic() - began
        summary.warnings.extend(outputs.warnings)
        self.plugins.run_finished(self.run, summary.by_status())
        return summary

    def _guard(self, header: Mapping[str, int | None]) -> BuildGuard:
        return BuildGuard(header, self.reference, self.genes, self._table_name)

    def _in_region(self, records: Iterable[Record], region: Region | None) -> Iterator[Record]:
        if region is None:
            yield from records
            return
        contig = self.reference.find(region.chrom)
        for record in records:
            same = record.chrom == region.chrom or (contig is not None and self.reference.find(record.chrom) == contig)
            if same and record.pos <= region.last and record.pos + len(record.ref) - 1 >= region.first:
                yield record

    def _provenance(self) -> Mapping[str, str]:
        info, shape = self.backend.info, self.settings.window
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
            "EngineMode": "exact",
            "Scores": ",".join(field.id for field in self._plan.fields),
            "BatchTokens": str(self.settings.batch_tokens),
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


def _observed(chunk: Sequence[Record | Variant]) -> list[Observed]:
    return [Observed(record.chrom, record.pos, record.ref) for record in chunk]


def _chunks(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while chunk := list(islice(records, size)):
        yield chunk


def _settle(guard: BuildGuard, chunks: Iterator[list[Record]]) -> list[list[Record]]:
    """Read ahead until the guard has seen enough to tell the build, or the input ends, or enough is held."""
    held = []
    for chunk in islice(chunks, _CHUNKS_HELD):
        guard.observe(_observed(chunk))
        held.append(chunk)
        if guard.decided:
            return held
    if len(held) < _CHUNKS_HELD:
        guard.finish()
    return held


def _drained(held: list[list[Record]]) -> Iterator[list[Record]]:
    while held:
        yield held.pop(0)


def _watched(guard: BuildGuard, chunks: Iterator[list[Record]]) -> Iterator[list[Record]]:
    for chunk in chunks:
        guard.observe(_observed(chunk))
        yield chunk

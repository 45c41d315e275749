"""Hidden states of every nucleotide of genes, regions, sequences or alleles; as HDF5, Parquet and AnnData."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from splicebert_vep_spec import Allele, GeneContext, N, Skipped, Status

from ..annotator import Annotator, GuardedChunks
from ..errors import SettingsError, require
from ..files import reporting, whole_or_not
from ..genome.places import bed_places, gene_places, region_stretches
from ..genome.reference import Reference
from ..outputs.tables import RowsWriter, utf8
from ..plugins import GuardedBackend
from ..scoring.pipeline import Pipeline, Record, Scoring, genes_of
from ..sequence import windows
from ..sequence.tokens import Tokens, encode, letters, with_special
from ..sequence.windows import Index, stitch
from ..vcf.read import open_vcf
from .windows import answers, check_width, strand_tokens

Floats = NDArray[np.float32]
Layers = str | Sequence[int]
"""``last``, ``all``, or numbers: 0 is the input of the first layer, 1 its output."""
Progress = Callable[[str, int, int], None]
"""Called with a task, how much of it is done, and how much there is."""

FORMAT = "splicebert-vep embeddings 1"
REF, ALT = "REF", "ALT"
_ROWS = 256  # of a row group of the Parquet
_TOGETHER = 256  # sides of alleles whose windows are cut at once
#: Provenance of an annotator that also determines embeddings.
_PROVENANCE = (
    "Version", "Backend", "Model", "WeightsSHA256", "Architecture", "Precision", "BatchTokens", "Device", "Reference",
    "ReferenceSHA256", "Plugins", "Quality",
)  # fmt: skip
_OF_GENES = ("Annotation", "AnnotationDigest")


@dataclass(frozen=True, slots=True)
class Target:
    """A stretch of one strand."""

    name: str  # a gene's symbol or id, a region as it was given, column 4 of the BED line, a FASTA record's name
    contig: str  # under the FASTA's name
    start: int  # 0-based half-open on the forward strand
    end: int
    strand: str  # + or -; embeddings run 5' to 3' of it
    gene: str | None = None  # id of the gene; None for what was not given as a gene

    #: Attributes that files show, and their types; None is missing.
    COLUMNS: ClassVar[Mapping[str, type]] = {
        "name": str, "contig": str, "start": int, "end": int, "strand": str, "gene": str,
    }  # fmt: skip

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class AlleleSide:
    """One side of an allele in one gene, or an ALT that has no windows."""

    chrom: str  # as the record has them; pos is 1-based
    pos: int
    ref: str
    alt: str
    status: Status  # OK where there is a window
    reason: str | None = None  # why there is none; None for OK
    context: GeneContext | None = None  # the gene; None where none was looked for or found
    side: str | None = None  # REF or ALT; None without a window, as the next two
    allele: Allele | None = None  # normalised, as far 3' in the transcript as it can stand
    start: int | None = None  # genomic start of the window, 0-based
    width: int = 0  # W; 0 without a window

    COLUMNS: ClassVar[Mapping[str, type]] = {
        "name": str, "chrom": str, "pos": int, "ref": str, "alt": str, "contig": str, "start": int, "end": int,
        "strand": str, "gene": str, "symbol": str, "transcript": str, "side": str, "span_start": int, "span_end": int,
        "status": str, "reason": str,
    }  # fmt: skip

    def __len__(self) -> int:
        return self.width

    @property
    def name(self) -> str:
        """The record's words, ``chr17-43047641-A-C``."""
        return f"{self.chrom}-{self.pos}-{self.ref}-{self.alt}"

    contig = property(lambda self: self.allele.contig if self.allele else None)
    strand = property(lambda self: self.context.strand if self.context else None)
    gene = property(lambda self: self.context.gene_id if self.context else None)
    symbol = property(lambda self: self.context.symbol if self.context else None)
    transcript = property(lambda self: self.context.transcript_id if self.context else None)

    @property
    def end(self) -> int | None:
        """Genomic end of the reference under the window; a deletion's ALT reaches farther than its REF."""
        if self.allele is None or self.start is None:
            return None
        return self.start + self.width + (self.allele.shift if self.side == ALT else 0)

    @property
    def span_start(self) -> int | None:
        """Start of the span in the window, 0-based, 5' to 3'; it is empty on one side of an indel."""
        return min(self._span) if self.width else None

    @property
    def span_end(self) -> int | None:
        """End of the span in the window, exclusive."""
        return max(self._span) if self.width else None

    @property
    def _span(self) -> tuple[int, int]:
        """The ends of the span in the window, counted from the strand's 5' end."""
        assert self.allele is not None and self.start is not None
        first = self.allele.start - self.start
        end = first + len(self.allele.ref if self.side == REF else self.allele.alt)
        return (first, end) if self.strand == "+" else (self.width - first, self.width - end)

    @property
    def position(self) -> Index:
        """Genomic position of each of the W nucleotides, 5' to 3'; -1 for ALT bases of a length change."""
        if self.allele is None or self.start is None:
            return np.empty(0, dtype=np.int64)
        along = np.arange(self.start, self.start + self.width, dtype=np.int64)
        if self.side == ALT and self.allele.shift:
            first = self.allele.start - self.start
            end = first + len(self.allele.alt)
            along[end:] += self.allele.shift
            along[first:end] = -1
        return along if self.strand == "+" else along[::-1]


Embedded = Target | AlleleSide


class Window(NamedTuple):
    """A window to run, and its part that is kept."""

    target: int  # its number
    first: int  # nucleotides of the target before those kept
    start: int  # genomic start, 0-based on the forward strand
    tokens: Tokens  # (W,), 5' to 3'; none for a target without a window
    kept: slice  # n of the W
    position: Index  # (n,) genomic position, 0-based; -1 for a base that has none


class Piece(NamedTuple):
    """The model's answer for the n nucleotides that are kept of one window, 5' to 3'."""

    target: int  # its number
    first: int  # nucleotides of the target before these
    window: int  # genomic start of the window, 0-based on the forward strand
    tokens: Tokens  # (n,)
    position: Index  # (n,) genomic, 0-based
    values: Floats  # (n, layers, H)
    attention: Floats | None  # (layers, heads, n, n), from a nucleotide (third axis) to a nucleotide (last axis)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Hidden states of the n nucleotides of a target, 5' to 3'."""

    target: Embedded  # where
    layers: tuple[str, ...]  # names of the layers
    sequence: str  # n letters A, C, G, T or N of the strand, as the model read them
    position: Index  # (n,) genomic position of each, 0-based; -1 for a base of ALT that has none
    window_start: Index  # (n,) genomic start of the window that each was read from, 0-based on the forward strand
    values: Floats  # (n, layers, H) float32
    # (attention layers, heads, n, n) float32, weights with which each nucleotide (third axis) attends to each (last
    # axis); the rest to 1 goes to what else is in the window. None when it was not asked for.
    attention: Floats | None

    @property
    def mean(self) -> Floats | None:
        """Mean over the nucleotides that are A, C, G or T, (layers, H) float32; None when there are none."""
        known = encode(self.sequence.encode("ascii")) != N
        return self.values[known].mean(axis=0, dtype=np.float64).astype(np.float32) if known.any() else None


class Embeddings:
    """Embeddings of targets, computed while they are read; read again, they are computed again.

    Args:
        annotator: gives the model; may be used by other threads meanwhile.
        targets: the rows of the outputs.
        cut: yields the windows along each target in turn.
        layers: numbers of the layers; None for the last of a backend that shows no other.
        keep: longest part of a window that is kept.
        attention: numbers of the layers whose attention weights are given, from 1.
        more: further names of the annotator's provenance that determine the numbers.
        statuses: ALTs by status; empty where no ALTs are read.
        warnings: sentences for the user.
    """

    def __init__(
        self, annotator: Annotator, targets: Sequence[Embedded], cut: Callable[[], Iterator[Window]], *,
        layers: tuple[int, ...] | None, keep: int, attention: tuple[int, ...] = (), more: Sequence[str] = (),
        statuses: Mapping[str, int] | None = None, warnings: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.targets, self.statuses, self.warnings = targets, statuses or {}, warnings
        self.layers, self.keep, self.attention = layers, keep, attention
        self.hidden_size, self.heads = annotator.backend.info.hidden_size, annotator.backend.heads or 0
        self._annotator, self._cut, self._more = annotator, cut, more

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers as files name them."""
        return ("last",) if self.layers is None else tuple(map(str, self.layers))

    def __iter__(self) -> Iterator[Embedding]:
        """Yield one embedding per target, each whole in memory; BackendError where the model failed."""
        for number, of_target in groupby(self.pieces(), key=lambda piece: piece.target):
            pieces = list(of_target)
            yield Embedding(
                target=self.targets[number],
                layers=self.layer_names,
                sequence="".join(letters(piece.tokens) for piece in pieces),
                position=np.concatenate([piece.position for piece in pieces]),
                window_start=np.repeat([piece.window for piece in pieces], [len(piece.tokens) for piece in pieces]),
                values=np.concatenate([piece.values for piece in pieces]),
                attention=pieces[0].attention,  # with attention a target is one window
            )

    @property
    def provenance(self) -> dict[str, str]:
        """Everything that determines the numbers, by name; reads the whole FASTA once for its digest."""
        known = self._annotator.run.provenance
        return {
            **{key: known[key] for key in (*_PROVENANCE, *self._more)},
            "Layers": ",".join(self.layer_names),
            "Window": str(self._annotator.settings.window),
            "Keep": str(self.keep),
            **({"Attention": ",".join(map(str, self.attention))} if self.attention else {}),
        }

    def save(self, *paths: str, progress: Progress | None = None) -> None:
        """Write files, whole or not at all, in one go: memory is bounded by a batch of windows.

        Args:
            paths: ``.h5`` or ``.hdf5`` for every nucleotide and attention weights, ``.parquet`` or ``.h5ad`` (AnnData)
                for the mean of each target.
            progress: called after every window.

        Raises:
            SettingsError: another suffix, a path given twice, no HDF5 for attention weights, or a library is missing.
            BackendError: the model failed.
            OutputError: a file cannot be written.
        """
        check_formats(paths, attention=bool(self.attention))
        provenance = {"format": FORMAT, **self.provenance}
        done, total = 0, sum(map(len, self.targets))
        with ExitStack() as stack:
            writers: dict[str, Write] = {}
            for path in paths:
                temporary = stack.enter_context(whole_or_not(path))
                writers[path] = stack.enter_context(_WRITERS[_suffix(path)](temporary, self, provenance))
            for piece in self.pieces():
                for path, write in writers.items():
                    with reporting(path):
                        write(piece)
                done += len(piece.tokens)
                if progress:
                    progress("nucleotides embedded", done, total)

    def pieces(self) -> Iterator[Piece]:
        """Yield the answers for the windows, along each target in turn; BackendError where the model failed."""
        for batch in self._batches():
            there = [window for window in batch if len(window.tokens)]
            values = iter(self._hidden(there) if there else ())  # (W, layers, H)
            nothing = np.empty((0, len(self.layer_names), self.hidden_size), dtype=np.float32)
            for number, first, start, tokens, kept, position in batch:
                found = next(values)[kept] if len(tokens) else nothing
                attention = self._attention(number, tokens, kept) if self.attention else None
                yield Piece(number, first, start, tokens[kept], position, found, attention)

    def _batches(self) -> Iterator[list[Window]]:
        """Yield windows of one length, as many as the batch holds, and with them targets that have none."""
        annotator = self._annotator
        most = annotator.settings.batch_tokens or annotator.backend.info.batch_tokens
        batch: list[Window] = []
        count = width = 0
        for window in self._cut():
            length = len(window.tokens)
            if length and count and ((count + 1) * (length + 2) > most or width != length):
                yield batch
                batch, count = [], 0
            batch.append(window)
            if length:
                count, width = count + 1, length
        if batch:
            yield batch

    def _hidden(self, there: Sequence[Window]) -> Floats:
        """Return hidden states, (B, W, layers, H), of B windows."""
        backend, layers = self._annotator.backend, self.layers
        framed = with_special(np.stack([window.tokens for window in there]))
        every = np.tile(np.arange(1, framed.shape[1] - 1), (len(there), 1))  # past [CLS]

        def ask() -> Any:
            with self._annotator.lock:
                if layers is None:
                    return backend.forward(framed, every).hidden[None].float().cpu().numpy()
                return backend.hidden_states(framed, every, layers).float().cpu().numpy()

        names = dict.fromkeys(self.targets[window.target].name for window in there)
        return np.moveaxis(answers(ask, ", ".join(names)), 0, 2)

    def _attention(self, number: int, tokens: Tokens, kept: slice) -> Floats:
        """Return the weights, (layers, heads, n, n), between nucleotides that are kept; one window at a time."""
        if not len(tokens):
            return np.empty((len(self.attention), self.heads, 0, 0), dtype=np.float32)
        at = np.arange(1, len(tokens) + 1)[None, kept]  # past [CLS]

        def ask() -> Any:
            with self._annotator.lock:
                found = self._annotator.backend.attention(with_special(tokens[None]), at, self.attention)
                return found[:, 0, :, :, 1:-1].float().cpu().numpy()

        found: Floats = answers(ask, self.targets[number].name)
        return found[..., kept]


def embed(
    annotator: Annotator, *, genes: Sequence[str] = (), regions: Sequence[str] = (), bed: str | None = None,
    records: bool = False, strand: str | None = None, vcf: str | None = None, layers: Layers = "last",
    keep: int | None = None, attention: bool = False,
) -> Embeddings:  # fmt: skip
    """Return hidden states of every nucleotide of genes, regions, FASTA records or a VCF's windows, 5' to 3'.

    Args:
        annotator: gives model, window, reference and genes.
        genes: symbols or ids.
        regions: ``chr17:43044295-43125364``, 1-based with both ends; they need ``strand``.
        bed: BED file whose column 6 is the strand.
        records: every record of the FASTA, as it is.
        strand: of regions, and of BED lines that name none.
        vcf: VCF or BCF, whose REF and ALT windows, those of the scores, go without anything else.
        layers: ``last``, ``all``, or numbers: 0 is what enters the first layer, 1 what leaves it.
        keep: longest part of a window that is kept, nt; None is half of the window, all of it with ``attention``.
        attention: also give the attention weights of these layers; each stretch has to lie in one window.

    Raises:
        SettingsError: nothing was asked for, or something that is not there.
        BuildError: FASTA and annotation, or the VCF, are not of one build.
        VcfError: the VCF cannot be read.

    Example:
        >>> embed(annotator, genes=["BRCA1"], layers="all").save("BRCA1.h5", "BRCA1.parquet")
    """
    annotator.check_usable()
    reference, width = annotator.reference, annotator.settings.window
    chosen = choose_layers(layers, annotator.backend)
    attending = _attending(chosen, annotator.backend) if attention else ()
    whole = attention or vcf is not None
    kept = (width if whole else max(1, width // 2)) if keep is None else keep
    if not 1 <= kept <= width:
        raise SettingsError("The kept part does not fit the window.", needed=f"1 to {width} nt", found=str(keep))
    warnings: list[str] = []
    if vcf is not None:
        given = {"genes": genes, "regions": regions, "bed": bed, "records": records, "strand": strand, "keep": keep}
        if others := [name for name, value in given.items() if value]:
            raise SettingsError("The windows of a VCF go without anything else.", found=", ".join(others))
        sides, statuses = _read_sides(vcf, annotator, warnings)
        return Embeddings(
            annotator, sides, lambda: _side_windows(sides, annotator.scoring), layers=chosen, keep=kept,
            attention=attending, more=(*_OF_GENES, "Flank"), statuses=statuses, warnings=warnings,
        )  # fmt: skip
    if strand not in (None, "+", "-"):
        raise SettingsError("An unknown strand was asked for.", needed="+ or -", found=strand)
    targets = [*_genes(genes, annotator, warnings), *_regions(regions, strand, reference)]
    targets += [*_bed(bed, strand, reference), *(_records(reference) if records else ())]
    if not targets:
        problem = f"There is nothing to embed: {bed} has no interval." if bed else "Nothing to embed was asked for."
        raise SettingsError(problem, remedy="give genes, regions, a BED file, the records of a FASTA, or a VCF")
    if genes:
        of_genes = ((one.contig, one.start, one.end) for one in targets if one.gene)
        warnings += annotator.guard().check_stretches(of_genes)
    info = annotator.backend.info
    for target in targets:
        if info.fixed_window is not None:
            length = reference.lengths[target.contig]
            check_width(length, width, info.model, f"{target.name}: {target.contig} of {length} nt")
        if attention and len({window for window, *_ in _blocks(target, reference, width, kept)}) > 1:
            raise SettingsError(
                "Attention is within one window, and a stretch is longer than what is kept of one.",
                needed=f"at most {kept} nt", found=f"{len(target):,} nt", where=target.name,
                remedy="give shorter regions, e.g. one intron each, or a larger --window where the model has one",
            )  # fmt: skip
    return Embeddings(
        annotator, targets, lambda: _stretch_windows(targets, reference, width, kept), layers=chosen, keep=kept,
        attention=attending, more=_OF_GENES if genes else (), warnings=warnings,
    )  # fmt: skip


def choose_layers(asked: Layers, backend: GuardedBackend) -> tuple[int, ...] | None:
    """Return the numbers of the asked layers; None for the last of a backend that shows no other."""
    last, model = backend.layers, f"model {backend.info.model}"
    found = asked if isinstance(asked, str) else ",".join(map(str, asked)) or "none"
    if last is None:
        if asked == "last":
            return None
        needed = "--layers last, or a backend that offers hidden_states"
        raise SettingsError(f"The backend of {model} shows its last layer only.", needed=needed, found=found)
    if asked == "last":
        return (last,)
    if asked == "all":
        return tuple(range(last + 1))
    numbers = () if isinstance(asked, str) else tuple(asked)
    if not numbers or not set(numbers) <= set(range(last + 1)) or len(set(numbers)) < len(numbers):
        needed = f"last, all, or some of 0 (the embeddings) to {last}, each once"
        raise SettingsError(f"There are no such layers in {model}.", needed=needed, found=found)
    return tuple(int(number) for number in numbers)


def _attending(layers: tuple[int, ...] | None, backend: GuardedBackend) -> tuple[int, ...]:
    """Return those of the asked layers that attend: all but the embeddings."""
    if backend.heads is None or layers is None:
        problem = f"The backend of model {backend.info.model} shows no attention weights."
        raise SettingsError(problem, remedy="leave --attention out, or choose --backend torch")
    attending = tuple(layer for layer in layers if layer)
    if not attending:
        raise SettingsError("Layer 0, the embeddings, attend to nothing.", needed=f"a layer from 1 to {backend.layers}")
    return attending


def _genes(names: Sequence[str], annotator: Annotator, warnings: list[str]) -> Iterator[Target]:
    table = annotator.genes.table
    for stretch, row in gene_places(names, annotator.reference, table, warnings):
        gene = table.gene_ids[row]
        yield Target(table.symbols[row] or gene, *stretch, "+" if table.gene_strand[row] > 0 else "-", gene)


def _regions(regions: Sequence[str], strand: str | None, reference: Reference) -> Iterator[Target]:
    for text, stretch in zip(regions, region_stretches(regions, reference), strict=True):
        yield Target(text, *stretch, _strand(strand, f"region {text}"))


def _bed(path: str | None, strand: str | None, reference: Reference) -> Iterator[Target]:
    for stretch, line in bed_places(path, reference) if path is not None else ():
        words = line.name or f"{stretch.contig}:{stretch.start + 1}-{stretch.end}"
        yield Target(words, *stretch, _strand(strand if line.strand in (None, ".") else line.strand, line.where))


def _records(reference: Reference) -> Iterator[Target]:
    for name, length in reference.lengths.items():
        if not length:
            raise SettingsError("A FASTA record is empty.", found=name, where=str(reference.path))
        yield Target(name, name, 0, length, "+")


def _strand(strand: str | None, where: str) -> str:
    """Return the strand; a pre-mRNA model read along the wrong one gives numbers that look right."""
    if strand in ("+", "-"):
        return str(strand)
    problem = f"The strand of a region is not known; it is {'none' if strand is None else repr(strand)}."
    remedy = "give that of the transcript, + or -, in column 6 of the BED file or by --strand"
    raise SettingsError(problem, where=where, remedy=remedy)


def _on_strand(start: int, end: int, length: int, strand: str) -> tuple[int, int]:
    """Turn an interval of the forward strand to one of ``strand``, counted from its 5' end, or back."""
    return (start, end) if strand == "+" else (length - end, length - start)


def _blocks(target: Target, reference: Reference, width: int, keep: int) -> Iterator[tuple[int, int, int]]:
    """Yield where windows and their kept parts lie on the target's strand; see ``stitch``."""
    length = reference.lengths[target.contig]
    start, end = _on_strand(target.start, target.end, length, target.strand)
    return stitch(start, end, length, width=min(width, length), keep=keep)


def _stretch_windows(targets: Sequence[Target], reference: Reference, width: int, keep: int) -> Iterator[Window]:
    """Yield the windows of each stretch, from its 5' end."""
    for number, target in enumerate(targets):
        contig, strand, length = target.contig, target.strand, reference.lengths[target.contig]
        size = min(width, length)
        first, _ = _on_strand(target.start, target.end, length, strand)
        for window, start, end in _blocks(target, reference, width, keep):
            at, _ = _on_strand(window, window + size, length, strand)
            along = np.arange(start - first, end - first, dtype=np.int64)
            position = target.start + along if strand == "+" else target.end - 1 - along
            tokens = strand_tokens(reference, contig, at, at + size, strand)
            yield Window(number, start - first, at, tokens, slice(start - window, end - window), position)


def _read_sides(path: str, annotator: Annotator, warnings: list[str]) -> tuple[list[AlleleSide], dict[str, int]]:
    """Return both sides of each allele of a VCF in each of its genes, and ALTs by status."""
    counts: Counter[Status] = Counter()
    sides: list[AlleleSide] = []
    pipeline = Pipeline(annotator.reference, annotator.scoring, annotator.genes, annotator.scoring.shape)
    with open_vcf(path) as reader:
        guard = annotator.guard(reader.header.contigs())
        chunks = GuardedChunks(reader, annotator.settings.chunk_records, guard)
        for chunk in chunks:
            sides += _sides(chunk, pipeline, annotator.scoring, counts)
        warnings += chunks.finish()
    if not sides:
        raise SettingsError("There is nothing to embed.", needed="a VCF with ALTs", found=f"no ALT in {path}")
    return sides, {str(status): counts[status] for status in Status if counts[status]}


def _sides(
    chunk: Sequence[Record], pipeline: Pipeline, scoring: Scoring, counts: Counter[Status]
) -> Iterator[AlleleSide]:
    """VCF record -> alleles -> gene & strand -> windows; their tokens are cut again when they are run."""
    found = [alt for record in chunk for alt in pipeline.alleles(record)]
    alleles = [allele for allele in found if isinstance(allele, Allele)]
    located = [genes_of(allele, scoring.genes, scoring.reference, scoring.shape) for allele in alleles]
    cut = scoring.cut(alleles, [() if why else genes for genes, why in located])
    starts, width = cut.windows.start.tolist(), scoring.shape.width
    every, numbers = iter(found), iter(range(len(alleles)))
    for record in chunk:
        for text in record.alts:
            words = (str(utf8(record.chrom)), record.pos, str(utf8(record.ref)), str(utf8(text)))
            allele = next(every)
            if isinstance(allele, Skipped):
                counts[allele.status] += 1
                yield AlleleSide(*words, allele.status, allele.reason)
                continue
            k = next(numbers)
            genes, too_long_or_nowhere = located[k]
            whys = [too_long_or_nowhere or cut.skipped.get((k, gene.strand)) for gene in genes] or [too_long_or_nowhere]
            counts[whys[0].status if whys[0] else Status.OK] += 1
            for context, why in zip(genes or (None,), whys, strict=True):
                if why or context is None:
                    assert why is not None  # an allele without gene has a reason
                    yield AlleleSide(*words, why.status, why.reason, context)
                    continue
                row = cut.row_of[k, context.strand]
                for side in (REF, ALT):
                    yield AlleleSide(*words, Status.OK, None, context, side, cut.alleles[row], starts[row], width)


def _side_windows(sides: Sequence[AlleleSide], scoring: Scoring) -> Iterator[Window]:
    """Yield one window for each side, and one without nucleotides for an ALT that has none."""
    every = iter(enumerate(sides))
    while part := list(islice(every, _TOGETHER)):
        there = [(side.allele, side.context) for _, side in part if side.allele and side.context]
        cut = scoring.cut([allele for allele, _ in there], [(context,) for _, context in there])
        of = [cut.row_of[k, context.strand] for k, (_, context) in enumerate(there)]
        pairs = windows.pair(cut.windows, of, [context for _, context in there])
        rows = iter(range(len(there)))
        for number, side in part:
            tokens = pairs.ref[:0].ravel()
            if side.width:
                tokens = (pairs.ref if side.side == REF else pairs.alt)[next(rows)]
            yield Window(number, 0, side.start or 0, tokens, slice(0, side.width), side.position)


def _filled(targets: Sequence[Embedded]) -> dict[str, list[Any]]:
    """Return the columns for a format that has no missing values: text without letters, the coordinate -1."""
    columns = {}
    for name, kind in targets[0].COLUMNS.items():
        values = [getattr(target, name) for target in targets]
        columns[name] = [(-1 if kind is int else "") if value is None else value for value in values]
    return columns


class _PatientFile(io.FileIO):
    """A file that keeps the first error of writing in ``error``.

    The HDF5 library ends the process when it cannot close its file, as on a full disk: it must not see the error.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        try:
            while view and not self.error:
                view = view[super().write(view) or 0 :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        """Raise the error of writing, if there was one."""
        if self.error:
            raise self.error


@contextmanager
def _hdf5(path: Path) -> Iterator[tuple[Any, _PatientFile]]:
    """Open a new HDF5 file, and the file under it; raise OSError at the end where it could not be written whole."""
    import h5py

    with _PatientFile(path, "w+b") as patient:
        file = h5py.File(patient, "w")
        try:
            yield file, patient
        finally:
            with suppress(OSError, RuntimeError) if patient.error else ExitStack():
                file.close()
        patient.check()


Write = Callable[[Piece], None]


@contextmanager
def _hdf5_writer(path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> Iterator[Write]:
    """Write every nucleotide of every target in a row: ``embedding``, ``sequence``, ``position``, ``window_start``."""
    import h5py

    targets, text = embeddings.targets, h5py.string_dtype()
    first = np.concatenate([[0], np.cumsum([len(target) for target in targets])]).tolist()
    total = first[-1]
    with _hdf5(path) as (file, patient):
        for key, value in provenance.items():
            file.attrs[key] = value
        file.create_dataset("layer", data=list(embeddings.layer_names), dtype=text)
        group = file.create_group("target")
        group.create_dataset("offset", data=np.array(first, dtype="<i8"))
        for name, values in _filled(targets).items():
            group.create_dataset(name, data=values, dtype="<i8" if targets[0].COLUMNS[name] is int else text)
        if embeddings.attention:
            file.create_dataset("attention_layer", data=list(map(str, embeddings.attention)), dtype=text)
            file.create_group("attention")
        file.create_dataset("embedding", (total, len(embeddings.layer_names), embeddings.hidden_size), "<f4")
        file.create_dataset("sequence", (total,), "S1")
        file.create_dataset("position", (total,), "<i8")
        file.create_dataset("window_start", (total,), "<i8")

        def write(piece: Piece) -> None:
            if not len(piece.tokens):
                return
            start = first[piece.target] + piece.first
            rows = slice(start, start + len(piece.tokens))
            file["embedding"][rows] = piece.values
            file["sequence"][rows] = np.array(list(letters(piece.tokens)), dtype="S1")
            file["position"][rows] = piece.position
            file["window_start"][rows] = piece.window
            if piece.attention is not None:
                file.create_dataset(f"attention/{piece.target}", data=piece.attention, dtype="<f4")
            patient.check()

        yield write


def _pooling(targets: Sequence[Embedded], add: Callable[[int, int, Floats | None], None]) -> Write:
    """Return what takes pieces, and adds the number of each target, its known nucleotides and their mean."""
    count, total = 0, np.zeros(())

    def write(piece: Piece) -> None:
        nonlocal count, total
        known = piece.tokens != N
        count, total = count + int(known.sum()), total + piece.values[known].sum(axis=0, dtype=np.float64)
        if piece.first + len(piece.tokens) == len(targets[piece.target]):
            add(piece.target, count, np.asarray(total / count, dtype=np.float32) if count else None)
            count, total = 0, np.zeros(())

    return write


@contextmanager
def _parquet_writer(path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> Iterator[Write]:
    """Write one row per target: where it lies, how many of its nucleotides are known, their mean of each layer."""
    targets, layers = embeddings.targets, embeddings.layer_names
    kinds = {**targets[0].COLUMNS, "length": int, "known": int}
    schema = pa.schema(
        [(name, pa.int64() if kind is int else pa.string()) for name, kind in kinds.items()]
        + [(f"layer_{layer}", pa.list_(pa.float32(), embeddings.hidden_size)) for layer in layers],
        metadata=dict(provenance),
    )
    writer = RowsWriter(str(path), schema, _ROWS)

    def add(number: int, known: int, mean: Floats | None) -> None:
        target = targets[number]
        vectors = [None] * len(layers) if mean is None else mean.tolist()
        row: tuple[Any, ...] = (*(getattr(target, name) for name in target.COLUMNS), len(target), known, *vectors)
        writer.append([row])

    try:
        yield _pooling(targets, add)
    finally:
        writer.close()


@contextmanager
def _anndata_writer(path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> Iterator[Write]:
    """Write one observation per target; the means are in memory until the end."""
    import anndata
    import pandas

    targets, layers, size = embeddings.targets, embeddings.layer_names, embeddings.hidden_size
    means: Floats = np.full((len(layers), len(targets), size), np.nan, dtype=np.float32)
    known_of = [0] * len(targets)

    def add(number: int, known: int, mean: Floats | None) -> None:
        known_of[number] = known
        if mean is not None:
            means[:, number] = mean

    yield _pooling(targets, add)
    columns = {**_filled(targets), "length": list(map(len, targets)), "known": known_of}
    several = {f"layer_{name}": mean for name, mean in zip(layers, means, strict=True)}
    data = anndata.AnnData(
        X=means[-1], obs=pandas.DataFrame(columns, index=list(map(str, range(len(targets))))),
        var=pandas.DataFrame(index=list(map(str, range(size)))), uns={"splicebert_vep": dict(provenance)},
        layers=several if len(layers) > 1 else None,
    )  # fmt: skip
    with _hdf5(path) as (file, _):
        anndata.io.write_elem(file, "/", data)


_WRITERS = {".h5": _hdf5_writer, ".hdf5": _hdf5_writer, ".parquet": _parquet_writer, ".h5ad": _anndata_writer}


def _suffix(path: str) -> str:
    return Path(path).suffix.lower()


def check_formats(paths: Sequence[str], *, attention: bool = False) -> None:
    """Raise SettingsError, before anything is computed, where embeddings cannot be written to these paths."""
    writers = {_WRITERS.get(_suffix(path)) for path in paths}
    if not paths or None in writers or len(set(map(os.path.realpath, paths))) < len(paths):
        needed = ".h5 or .hdf5 (every nucleotide), .parquet or .h5ad (means)"
        problem = "The outputs of embeddings need different names with a known suffix."
        raise SettingsError(problem, needed=needed, found=", ".join(paths) or "none")
    if attention and _hdf5_writer not in writers:
        raise SettingsError("Attention weights are written to HDF5 only.", remedy="add -o FILE.h5")
    if _hdf5_writer in writers:
        require("h5py", extra="embed")
    if _anndata_writer in writers:
        require("anndata", extra="anndata")

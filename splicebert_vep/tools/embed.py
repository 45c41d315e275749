"""Hidden states of every nucleotide of genes, regions, sequences or alleles; as HDF5, Parquet and AnnData."""

from __future__ import annotations

import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from splicebert_vep_spec import Allele, GeneContext, N, Skipped, Status

from ..annotator import Annotator, GuardedChunks
from ..errors import BackendError, SettingsError, require
from ..files import reporting, whole_or_not
from ..genome.gene_table import GeneTable
from ..genome.places import Stretch, bed_places, gene_places, region_stretches
from ..genome.reference import Reference
from ..outputs.tables import utf8
from ..plugins import GuardedBackend
from ..scoring.pipeline import Pipeline, Record, genes_of
from ..sequence import windows
from ..sequence.tokens import Tokens, encode, letters, reverse_complement, with_special
from ..sequence.windows import Index, stitch
from ..vcf.read import open_vcf


class Window(NamedTuple):
    """A window to run, and what is kept of it."""

    target: int  # its number
    first: int  # nucleotides of the target before those kept
    start: int  # genomic start, 0-based on the forward strand
    tokens: Tokens  # (W,), 5' to 3'; none for a target without a window
    kept: slice  # n of the W
    position: Index  # (n,) genomic position, 0-based; -1 for a base that has none


class Named(Protocol):
    """What is embedded: a row of the outputs' table of targets."""

    COLUMNS: ClassVar[Mapping[str, type]]
    """Names of the attributes that are written, and whether each is ``int`` or ``str``; None is missing."""

    @property
    def name(self) -> str: ...
    def __len__(self) -> int:
        """Return the number of nucleotides; 0 for what has no window."""


class Source(Protocol):
    """Gives the windows of targets, along each target in turn."""

    @property
    def targets(self) -> Sequence[Named]: ...
    @property
    def statuses(self) -> Mapping[str, int]:
        """ALTs by status; empty where no ALTs are read."""

    def windows(self) -> Iterator[Window]: ...


class Stretches:
    """Stretches of the reference, cut into blocks that are each read from a window of their own.

    Args:
        targets: the stretches.
        reference: where the bases are.
        width: W; a shorter contig is one window.
        keep: longest part of a window that is kept.
        whole: whether each stretch has to lie in one window.
        fixed: name of a model that takes windows of W only; None where it takes shorter ones.

    Raises:
        SettingsError: a contig is shorter than such a model's window, or a stretch longer than what is kept of one.
    """

    statuses: Mapping[str, int] = {}

    def __init__(
        self, targets: Sequence[Target], reference: Reference, *, width: int, keep: int, whole: bool, fixed: str | None
    ) -> None:
        self.targets = targets
        self._reference = reference
        self._width = width
        self._keep = keep
        for target in targets:
            length = reference.lengths[target.contig]
            if fixed is not None and length < width:
                raise SettingsError(
                    f"Model {fixed} takes windows of one length only, and a sequence is shorter.",
                    needed=f"at least {width} nt",
                    found=f"{target.contig} of {length} nt",
                    where=target.name,
                    remedy="choose a model that takes shorter windows, or give the sequence with what surrounds it",
                )
            if whole and len({window for window, *_ in self._blocks(target)}) > 1:
                raise SettingsError(
                    "Attention is within one window, and a stretch is longer than what is kept of one.",
                    needed=f"at most {keep} nt, for windows of {width} nt of which {keep} are kept",
                    found=f"{len(target):,} nt",
                    where=target.name,
                    remedy="give shorter regions, e.g. one intron each, or a larger --window where the model has one",
                )

    def windows(self) -> Iterator[Window]:
        """Yield the windows of each stretch, from its 5' end."""
        for number, target in enumerate(self.targets):
            length = self._reference.lengths[target.contig]
            width = min(self._width, length)
            first, _ = on_strand(target.start, target.end, length, target.strand)
            for window, start, end in self._blocks(target):
                at, _ = on_strand(window, window + width, length, target.strand)
                kept = slice(start - window, end - window)
                position = _positions(target, start - first, end - first)
                yield Window(number, start - first, at, self._tokens(target, at, at + width), kept, position)

    def _blocks(self, target: Target) -> Iterator[tuple[int, int, int]]:
        """Yield where windows and their kept parts lie on the target's strand; see ``stitch``."""
        length = self._reference.lengths[target.contig]
        start, end = on_strand(target.start, target.end, length, target.strand)
        return stitch(start, end, length, width=min(self._width, length), keep=self._keep)

    def _tokens(self, target: Target, start: int, end: int) -> Tokens:
        bases = self._reference.fetch(target.contig, start, end)
        if b"U" in bases:  # the model would read it as N, and its answer would look right
            raise SettingsError(
                "A sequence is written as RNA.", needed="T in place of U", found="U", where=target.contig,
                remedy="write U as T, e.g. seqkit seq --rna2dna in.fa",
            )  # fmt: skip
        tokens = encode(bases)
        return reverse_complement(tokens) if target.strand == "-" else tokens


def _positions(target: Target, first: int, end: int) -> Index:
    """Return the genomic positions, 0-based, of a target's nucleotides [first, end), counted from its 5' end."""
    along = np.arange(first, end, dtype=np.int64)
    return target.start + along if target.strand == "+" else target.end - 1 - along


def on_strand(start: int, end: int, length: int, strand: str) -> tuple[int, int]:
    """Turn an interval of the forward strand to one of ``strand``, counted from its 5' end, or back."""
    return (start, end) if strand == "+" else (length - end, length - start)


def columns(targets: Sequence[Named]) -> dict[str, list[Any]]:
    """Return what files say of targets, by name; None is missing."""
    return {name: [getattr(target, name) for target in targets] for name in targets[0].COLUMNS}


def filled(kind: type, values: Sequence[Any]) -> list[Any]:
    """Return a column for a format that has no missing values: text of no letters, the coordinate -1."""
    return [(-1 if kind is int else "") if value is None else value for value in values]


_STRANDS = ("+", "-")


@dataclass(frozen=True, slots=True)
class Target:
    """A stretch of one strand.

    Args:
        name: a gene's symbol or id, a region as it was given, column 4 of the BED line, a FASTA record's name.
        contig: under the FASTA's name.
        start, end: 0-based half-open on the forward strand.
        strand: ``+`` or ``-``; embeddings run 5' to 3' of it.
        gene: id of the gene; None for what was not given as a gene.
    """

    name: str
    contig: str
    start: int
    end: int
    strand: str
    gene: str | None = None

    COLUMNS: ClassVar[Mapping[str, type]] = {
        "name": str, "contig": str, "start": int, "end": int, "strand": str, "gene": str,
    }  # fmt: skip

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a user asks for.

    Args:
        genes: symbols or ids, with or without version.
        regions: ``chr17:43044295-43125364``, 1-based with both ends.
        bed: path of a BED file, plain or gzip; column 6 is the strand.
        records: every record of the FASTA, as it is.
        strand: of regions, and of BED lines that name none.
        vcf: path of a VCF or BCF, whose REF and ALT windows go without anything else; ``-`` is stdin.
    """

    genes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    bed: str | None = None
    records: bool = False
    strand: str | None = None
    vcf: str | None = None


def find_targets(wanted: Wanted, reference: Reference, table: GeneTable, warnings: list[str]) -> list[Target]:
    """Return the targets in the order in which they were given: genes, regions, BED lines, records.

    Args:
        warnings: gets a sentence for each gene that the FASTA has a part of only.

    Raises:
        SettingsError: nothing was asked for; a gene, contig or position that is not there; a region or BED line whose
            strand nobody told; a line of the BED file that cannot be read; an empty FASTA record.
    """
    if wanted.strand not in (None, *_STRANDS):
        raise SettingsError("An unknown strand was asked for.", needed="+ or -", found=str(wanted.strand))
    found = [*_genes(wanted, reference, table, warnings), *_regions(wanted, reference), *_bed(wanted, reference)]
    if wanted.records:
        found += _records(reference)
    if not found:
        raise SettingsError(
            "There is nothing to embed." if wanted.bed else "Nothing to embed was asked for.",
            needed="genes, regions, a BED file with intervals, the records of a FASTA, or a VCF",
            found=f"no interval in {wanted.bed}" if wanted.bed else "",
        )
    return found


def _genes(wanted: Wanted, reference: Reference, table: GeneTable, warnings: list[str]) -> Iterator[Target]:
    for (contig, start, end), row in gene_places(wanted.genes, reference, table, warnings):
        gene = table.gene_ids[row]
        strand = "+" if table.gene_strand[row] > 0 else "-"
        yield Target(table.symbols[row] or gene, contig, start, end, strand, gene)


def _regions(wanted: Wanted, reference: Reference) -> Iterator[Target]:
    for text, stretch in zip(wanted.regions, region_stretches(wanted.regions, reference), strict=True):
        yield Target(text, *stretch, _strand(wanted.strand, f"region {text}"))


def _bed(wanted: Wanted, reference: Reference) -> Iterator[Target]:
    if wanted.bed is None:
        return
    for stretch, name, own, where in bed_places(wanted.bed, reference):
        strand = _strand(wanted.strand if own in (None, ".") else own, where)
        yield Target(name or _named(stretch), *stretch, strand)


def _records(reference: Reference) -> Iterator[Target]:
    for name, length in reference.lengths.items():
        if not length:
            raise SettingsError(
                "A FASTA record is empty.", needed="at least one base", found=name, where=str(reference.path)
            )
        yield Target(name, name, 0, length, "+")


def _strand(strand: str | None, where: str) -> str:
    """Return the strand; a pre-mRNA model read along the wrong one gives numbers that look right."""
    if strand in _STRANDS:
        return str(strand)
    raise SettingsError(
        "The strand of a region is not known.",
        needed="+ or -, in column 6 of the BED file or by --strand",
        found="none" if strand is None else repr(strand),
        where=where,
        remedy="give --strand + or --strand -, whichever the transcript is on",
    )


def _named(stretch: Stretch) -> str:
    return f"{stretch.contig}:{stretch.start + 1}-{stretch.end}"


Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, slots=True)
class EmbedPlan:
    """What is computed.

    Args:
        layers: numbers of the layers; None for the last of a backend that shows no other.
        width: W.
        keep: longest part of a window that is kept.
        batch_tokens: upper bound of tokens in one forward call; one window is run whatever it takes.
        attention: numbers of the layers whose attention weights are given, from 1.
    """

    layers: tuple[int, ...] | None
    width: int
    keep: int
    batch_tokens: int
    attention: tuple[int, ...] = ()

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers as files name them."""
        return ("last",) if self.layers is None else tuple(map(str, self.layers))


class Piece(NamedTuple):
    """What one window says of the n nucleotides that are kept of it, 5' to 3'."""

    target: int  # its number
    first: int  # how many nucleotides of the target come before
    window: int  # genomic start of the window, 0-based on the forward strand
    tokens: Tokens  # (n,)
    position: Index  # (n,) genomic, 0-based
    values: Floats  # (n, layers, H)
    attention: Floats | None  # (layers, heads, n, n), from a nucleotide (third axis) to a nucleotide (last axis)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Hidden states of the n nucleotides of a target, 5' to 3'.

    Args:
        target: where.
        layers: names of the layers.
        sequence: n letters A, C, G, T or N of the strand, as the model read them.
        position: (n,) genomic position of each, 0-based; -1 for a base of ALT that has none.
        window_start: (n,) genomic start of the window that each was read from, 0-based on the forward strand.
        values: (n, layers, H) float32.
        attention: (attention layers, heads, n, n) float32, weights with which each nucleotide (third axis) attends to
            each (last axis); the rest to 1 goes to what else is in the window. None when it was not asked for.
    """

    target: Named
    layers: tuple[str, ...]
    sequence: str
    position: Index
    window_start: Index
    values: Floats
    attention: Floats | None

    @property
    def mean(self) -> Floats | None:
        """Mean over the nucleotides that are A, C, G or T, (layers, H) float32; None when there are none."""
        pool = Pool()
        pool.add(encode(self.sequence.encode("ascii")), self.values)
        return pool.mean


class Pool:
    """Mean of hidden states over the nucleotides that are known; summed in float64."""

    def __init__(self) -> None:
        self.known = 0
        self._sum: NDArray[np.float64] | None = None

    def add(self, tokens: Tokens, values: Floats) -> None:
        """Take n nucleotides: tokens (n,) and hidden states (n, layers, H)."""
        known = tokens != N
        total = values[known].sum(axis=0, dtype=np.float64)  # (layers, H)
        self._sum = total if self._sum is None else self._sum + total
        self.known += int(known.sum())

    @property
    def mean(self) -> Floats | None:
        """The mean, (layers, H); None when no nucleotide was known."""
        if self._sum is None or not self.known:
            return None
        return (self._sum / self.known).astype(np.float32)


class Embeddings:
    """Embeddings of targets, computed while they are read; read again, they are computed again.

    Args:
        source: gives the windows of what is embedded.
        plan: what is computed.
        backend: the model.
        lock: held while the model runs.
        provenance: returns what determines the numbers.
        warnings: sentences for the user.
    """

    def __init__(
        self,
        source: Source,
        plan: EmbedPlan,
        *,
        backend: GuardedBackend,
        lock: AbstractContextManager[object],
        provenance: Callable[[], Mapping[str, str]],
        warnings: Sequence[str] = (),
    ) -> None:
        self.targets = source.targets
        self.statuses = source.statuses
        self.plan = plan
        self.warnings = warnings
        self.hidden_size = backend.info.hidden_size
        self.heads = backend.heads or 0
        self._source = source
        self._backend = backend
        self._lock = lock
        self._provenance = provenance

    def __len__(self) -> int:
        return len(self.targets)

    def __iter__(self) -> Iterator[Embedding]:
        """Yield one embedding per target, each whole in memory.

        Raises:
            BackendError: the model failed.
        """
        for number, of_target in groupby(self.pieces(), key=lambda piece: piece.target):
            target, pieces = self.targets[number], list(of_target)
            yield Embedding(
                target=target,
                layers=self.plan.layer_names,
                sequence="".join(letters(piece.tokens) for piece in pieces),
                position=np.concatenate([piece.position for piece in pieces]),
                window_start=np.repeat([piece.window for piece in pieces], [len(piece.tokens) for piece in pieces]),
                values=np.concatenate([piece.values for piece in pieces]),
                attention=pieces[0].attention,  # with which a target is one window
            )

    @property
    def provenance(self) -> dict[str, str]:
        """What determines the numbers, by name; reads the whole FASTA once for its digest."""
        return {
            **self._provenance(),
            "Layers": ",".join(self.plan.layer_names),
            "Window": str(self.plan.width),
            "Keep": str(self.plan.keep),
            **({"Attention": ",".join(map(str, self.plan.attention))} if self.plan.attention else {}),
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
        save(self, paths, progress)

    def pieces(self) -> Iterator[Piece]:
        """Yield what the windows say, along each target in turn.

        Raises:
            BackendError: the model failed.
        """
        for batch in self._batches():
            yield from self._run(batch)

    def _batches(self) -> Iterator[list[Window]]:
        """Yield windows of one length, as many as the batch holds, and with them targets that have none."""
        batch: list[Window] = []
        count = width = 0
        for window in self._source.windows():
            length = len(window.tokens)
            full = (count + 1) * (length + 2) > self.plan.batch_tokens
            if length and count and (full or width != length):
                yield batch
                batch, count = [], 0
            batch.append(window)
            if length:
                count, width = count + 1, length
        if batch:
            yield batch

    def _run(self, batch: Sequence[Window]) -> Iterator[Piece]:
        there = [window for window in batch if len(window.tokens)]
        values = iter(self._hidden(np.stack([window.tokens for window in there])) if there else ())  # (W, layers, H)
        nothing = np.empty((0, len(self.plan.layer_names), self.hidden_size), dtype=np.float32)
        for window in batch:
            found = next(values)[window.kept] if len(window.tokens) else nothing
            attention = self._attention(window) if self.plan.attention else None
            if not np.isfinite(found).all() or (attention is not None and not np.isfinite(attention).all()):
                name = self.targets[window.target].name
                raise BackendError("The model answered with numbers that are not finite.", where=name)
            yield Piece(
                window.target, window.first, window.start, window.tokens[window.kept], window.position, found, attention
            )

    def _hidden(self, tokens: Tokens) -> Floats:
        """Return hidden states, (B, W, layers, H), of windows (B, W)."""
        count, width = tokens.shape
        every = np.tile(np.arange(1, width + 1), (count, 1))  # past [CLS]
        framed, layers = with_special(tokens), self.plan.layers
        if layers is None:
            return np.moveaxis(self._told(lambda: self._backend.forward(framed, every).hidden[None]), 0, 2)
        return np.moveaxis(self._told(lambda: self._backend.hidden_states(framed, every, layers)), 0, 2)

    def _attention(self, window: Window) -> Floats:
        """Return the weights, (layers, heads, n, n), between nucleotides that are kept; one window at a time."""
        n, layers = len(window.position), self.plan.attention
        if not n:
            return np.empty((len(layers), self.heads, 0, 0), dtype=np.float32)
        at = np.arange(1, len(window.tokens) + 1)[None, window.kept]  # past [CLS]
        framed = with_special(window.tokens[None])
        found = self._told(lambda: self._backend.attention(framed, at, layers)[:, 0, :, :, 1:-1])
        return found[..., window.kept]

    def _told(self, answer: Callable[[], Any]) -> Floats:
        """Return what the backend answers, float32.

        Raises:
            BackendError: it failed.
        """
        try:
            with self._lock:
                tensor = answer()
        except RuntimeError as error:
            raise BackendError(
                "The model failed.",
                found=" ".join(str(error).split()),
                remedy="a smaller --batch-tokens needs less room",
            ) from error
        found: Floats = tensor.float().cpu().numpy()
        return found


Layers = str | Sequence[int]
"""``last``, ``all``, or numbers: 0 is what enters the first layer, 1 what leaves it."""

#: Provenance of an annotator that also determines embeddings.
_PROVENANCE = (
    "Version", "Backend", "Model", "WeightsSHA256", "Architecture", "Precision", "BatchTokens", "Device", "Reference",
    "ReferenceSHA256", "Plugins", "Quality",
)  # fmt: skip
_OF_GENES = ("Annotation", "AnnotationDigest")
_OF_ALLELES = (*_OF_GENES, "Flank", "WindowMode", "Stride")


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
    wanted = Wanted(tuple(genes), tuple(regions), bed, records, strand, vcf)
    settings, backend = annotator.settings, annotator.backend
    width = settings.window.width
    batch_tokens = settings.batch_tokens or backend.info.batch_tokens
    chosen = choose_layers(layers, backend)
    whole = attention or wanted.vcf is not None
    plan = EmbedPlan(
        chosen, width, check_keep(keep, width, whole=whole), batch_tokens,
        choose_attention(chosen, backend) if attention else (),
    )  # fmt: skip
    warnings: list[str] = []
    source: Source
    more: tuple[str, ...]
    if wanted.vcf is not None:
        source, more = _alleles(wanted, keep, annotator, warnings), _OF_ALLELES
    else:
        targets = find_targets(wanted, annotator.reference, annotator.genes.table, warnings)
        if wanted.genes:
            warnings += _check_build(annotator, [target for target in targets if target.gene])
        fixed = None if backend.info.fixed_window is None else backend.info.model
        source = Stretches(
            targets, annotator.reference, width=width, keep=plan.keep, whole=attention, fixed=fixed
        )  # fmt: skip
        more = _OF_GENES if wanted.genes else ()

    def provenance() -> dict[str, str]:
        known = annotator.run.provenance
        return {key: known[key] for key in (*_PROVENANCE, *more)}

    return Embeddings(source, plan, backend=backend, lock=annotator.lock, provenance=provenance, warnings=warnings)


def _alleles(wanted: Wanted, keep: int | None, annotator: Annotator, warnings: list[str]) -> AlleleWindows:
    if wanted != Wanted(vcf=wanted.vcf) or keep is not None:
        raise SettingsError(
            "The windows of a VCF go without anything else.",
            needed="a VCF without genes, regions, a BED file, records, strand or keep",
            found=", ".join(key for key in ("genes", "regions", "bed", "records", "strand") if getattr(wanted, key))
            or "keep",
        )
    assert wanted.vcf is not None
    return AlleleWindows(wanted.vcf, annotator, warnings)


def _check_build(annotator: Annotator, targets: Sequence[Target]) -> Sequence[str]:
    """Return warnings; raises BuildError where annotation and FASTA are of different builds."""
    return annotator.files().guard({}).check_stretches((one.contig, one.start, one.end) for one in targets)


def choose_layers(asked: Layers, backend: GuardedBackend) -> tuple[int, ...] | None:
    """Return the numbers of the asked layers; None for the last of a backend that shows no other.

    Raises:
        SettingsError: the model has no such layer, or the backend shows the last layer only.
    """
    last = backend.layers
    if last is None:
        if asked == "last":
            return None
        raise SettingsError(
            "The backend shows the hidden states of its last layer only.",
            needed="--layers last, or a backend that offers hidden_states",
            found=f"--layers {_told(asked)}",
            where=f"model {backend.info.model}",
        )
    if asked == "last":
        return (last,)
    if asked == "all":
        return tuple(range(last + 1))
    numbers = () if isinstance(asked, str) else tuple(asked)
    known = all(number in range(last + 1) for number in numbers)
    if not numbers or not known or len(set(numbers)) < len(numbers):
        raise SettingsError(
            "There are no such layers, or one was asked for twice.",
            needed=f"last, all, or some of 0 (the embeddings) to {last}, each once",
            found=_told(asked),
            where=f"model {backend.info.model}",
        )
    return tuple(int(number) for number in numbers)


def choose_attention(layers: tuple[int, ...] | None, backend: GuardedBackend) -> tuple[int, ...]:
    """Return which of the asked layers attend: all but the embeddings.

    Raises:
        SettingsError: none does, or the backend shows no attention weights.
    """
    if backend.heads is None or layers is None:
        raise SettingsError(
            "The backend shows no attention weights.",
            needed="a backend that offers attention",
            found=f"model {backend.info.model}",
            remedy="leave --attention out, or choose --backend torch",
        )
    attend = tuple(layer for layer in layers if layer)
    if not attend:
        raise SettingsError(
            "The embeddings, layer 0, attend to nothing.", needed=f"a layer from 1 to {backend.layers}", found="0"
        )
    return attend


def _told(asked: Layers) -> str:
    return asked if isinstance(asked, str) else ",".join(map(str, asked)) or "none"


def check_keep(keep: int | None, width: int, *, whole: bool = False) -> int:
    """Return how much of a window is kept, half of it when nothing is said.

    Args:
        whole: keep all of it when nothing is said.

    Raises:
        SettingsError: it is less than one nucleotide or more than the window.
    """
    chosen = (width if whole else max(1, width // 2)) if keep is None else keep
    if not 1 <= chosen <= width:
        raise SettingsError(
            "The kept part does not fit the window.", needed=f"--keep from 1 to {width}", found=f"--keep {chosen}"
        )
    return chosen


REF, ALT = "REF", "ALT"
_TOGETHER = 256  # sides whose windows are cut at once


@dataclass(frozen=True, slots=True)
class AlleleSide:
    """One side of an allele in one gene, or an ALT that has no windows.

    Args:
        chrom, pos, ref, alt: as the record has them; pos is 1-based.
        status: OK where there is a window.
        reason: why there is none; None for OK.
        context: the gene; None where none was looked for or found.
        side: ``REF`` or ``ALT``; None without a window.
        allele: normalised; None without a window.
        start: genomic start of the window, 0-based; None without a window.
        width: W; 0 without a window.
    """

    chrom: str
    pos: int
    ref: str
    alt: str
    status: Status
    reason: str | None = None
    context: GeneContext | None = None
    side: str | None = None
    allele: Allele | None = None
    start: int | None = None
    width: int = 0

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

    @property
    def contig(self) -> str | None:
        """Under the FASTA's name."""
        return self.allele.contig if self.allele else None

    @property
    def end(self) -> int | None:
        """Genomic end of the reference that the window stands for; a deletion's ALT reaches farther than its REF."""
        if self.allele is None or self.start is None:
            return None
        return self.start + self.width + (self.allele.shift if self.side == ALT else 0)

    @property
    def strand(self) -> str | None:
        """Of the gene; the window is in its direction."""
        return self.context.strand if self.context else None

    @property
    def gene(self) -> str | None:
        """Its id."""
        return self.context.gene_id if self.context else None

    @property
    def symbol(self) -> str | None:
        """The gene's symbol."""
        return self.context.symbol if self.context else None

    @property
    def transcript(self) -> str | None:
        """The reported transcript."""
        return self.context.transcript_id if self.context else None

    @property
    def span_start(self) -> int | None:
        """Where the span starts in the window, 0-based, 5' to 3'; it is empty on one side of an indel."""
        span = self._span
        if span is None:
            return None
        return span.start if self.strand == "+" else self.width - span.stop

    @property
    def span_end(self) -> int | None:
        """Where the span ends in the window, exclusive."""
        span = self._span
        if span is None:
            return None
        return span.stop if self.strand == "+" else self.width - span.start

    @property
    def _span(self) -> range | None:
        """Where the span lies in the window on the forward strand."""
        if self.allele is None or self.start is None:
            return None
        offset = self.allele.start - self.start
        return range(offset, offset + len(self.allele.ref if self.side == REF else self.allele.alt))

    @property
    def position(self) -> Index:
        """Genomic position of each of the W nucleotides, 5' to 3'; -1 for ALT bases of a length change."""
        if self.allele is None or self.start is None:
            return np.empty(0, dtype=np.int64)
        along = np.arange(self.start, self.start + self.width, dtype=np.int64)
        span = self._span
        if span is not None and self.side == ALT and self.allele.shift:
            along[span.stop :] += self.allele.shift
            along[span.start : span.stop] = -1
        return along if self.strand == "+" else along[::-1]


class AlleleWindows:
    """Read the alleles of a VCF, and give the windows of both sides of each in each of its genes.

    The windows are cut when they are asked for; until then an allele takes a row.

    Args:
        path: VCF or BCF; ``-`` is stdin.
        annotator: whose reference, genes and windows they are.
        warnings: gets the build guard's sentences.

    Raises:
        BuildError: VCF, FASTA and annotation are not of one build.
        VcfError: the VCF cannot be read.
        SettingsError: it has no ALT.
    """

    def __init__(self, path: str, annotator: Annotator, warnings: list[str]) -> None:
        self._scoring = annotator.scoring
        pipeline = Pipeline(annotator.reference, annotator.scoring)
        counts: Counter[Status] = Counter()
        self.targets: list[AlleleSide] = []
        with open_vcf(path) as reader:
            guard = annotator.files().guard(reader.header.contigs())
            chunks = GuardedChunks(reader, annotator.settings.chunk_records, guard)
            for chunk in chunks:
                self.targets += self._sides(chunk, pipeline, counts)
            warnings += chunks.finish()
        if not self.targets:
            raise SettingsError("There is nothing to embed.", needed="a VCF with ALTs", found=f"no ALT in {path}")
        self.statuses = {str(status): counts[status] for status in Status if counts[status]}

    def windows(self) -> Iterator[Window]:
        """Yield one window for each side, and none with any nucleotide for an ALT that has no windows."""
        every = iter(enumerate(self.targets))
        while part := list(islice(every, _TOGETHER)):
            there = [(side.allele, side.context) for _, side in part if side.allele and side.context]
            cut = self._scoring.cut([allele for allele, _ in there], [(context,) for _, context in there])
            pairs = windows.pair(cut.windows, range(len(there)), [context for _, context in there])
            row = 0
            for number, side in part:
                tokens = pairs.ref[:0].ravel()
                if side.width:
                    tokens = (pairs.ref if side.side == REF else pairs.alt)[row]
                    row += 1
                yield Window(number, 0, side.start or 0, tokens, slice(0, side.width), side.position)

    def _sides(self, chunk: Sequence[Record], pipeline: Pipeline, counts: Counter[Status]) -> Iterator[AlleleSide]:
        """VCF record -> alleles -> gene & strand -> windows, whose tokens are let go again."""
        scoring, width = self._scoring, self._scoring.shape.width
        found = [alt for record in chunk for alt in pipeline.alleles(record)]
        alleles = [allele for allele in found if isinstance(allele, Allele)]
        genes = [genes_of(allele, scoring.genes, scoring.shape) for allele in alleles]
        cut = scoring.cut(alleles, genes)
        starts = cut.windows.start.tolist()
        every, k = iter(found), -1
        for record in chunk:
            for text in record.alts:
                words = (_text(record.chrom), record.pos, _text(record.ref), _text(text))
                allele = next(every)
                if isinstance(allele, Skipped):
                    counts[allele.status] += 1
                    yield AlleleSide(*words, allele.status, allele.reason)
                    continue
                k += 1
                of = genes[k]
                why = of if isinstance(of, Skipped) else cut.skipped.get(k)
                counts[why.status if why else Status.OK] += 1
                for context in (None,) if isinstance(of, Skipped) else of:
                    if why:
                        yield AlleleSide(*words, why.status, why.reason, context)
                        continue
                    for side in (REF, ALT):
                        start = starts[cut.row_of[k]]
                        yield AlleleSide(*words, Status.OK, None, context, side, allele, start, width)


def _text(word: str) -> str:
    return str(utf8(word))


FORMAT = "splicebert-vep embeddings 1"

_OVERHEAD = 1 << 16  # bytes; headers of HDF5 take about 20,000
_OF_ATTENTION = 1 << 10  # bytes; the header of one dataset


class Hdf5Writer:
    """Every nucleotide of every target in a row.

    How many there are is known at once: the HDF5 library lays out the whole file, and numbers are then written to the
    places of its contiguous arrays. The library itself cannot take a full disk: it fails to close the file and brings
    the process down at its end.
    """

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._first = np.concatenate([[0], np.cumsum([len(target) for target in embeddings.targets])]).tolist()
        self._layout = _lay_out(path, embeddings, provenance, self._first)
        self._file = path.open("r+b")

    def __enter__(self) -> Hdf5Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, piece: Piece) -> None:
        """Put a piece in its place."""
        if not len(piece.tokens):
            return
        values = {
            "embedding": piece.values,
            "sequence": np.array(list(letters(piece.tokens))),
            "position": piece.position,
            "window_start": np.full(len(piece.tokens), piece.window),
        }
        for name, (kind, row, offset) in self._layout.arrays.items():
            self._put(offset + (self._first[piece.target] + piece.first) * row, values[name].astype(kind))
        if piece.attention is not None:
            self._put(self._layout.attention[piece.target], piece.attention.astype("<f4"))

    def _put(self, offset: int, values: NDArray[np.generic]) -> None:
        self._file.seek(offset)
        self._file.write(values.tobytes())


class _Array(NamedTuple):
    """An array of the HDF5 file: its type, bytes of a nucleotide, and where in the file it begins."""

    kind: str
    row: int
    offset: int


class _Layout(NamedTuple):
    """Where numbers go: arrays of all nucleotides by name, and where each target's attention weights begin."""

    arrays: dict[str, _Array]
    attention: dict[int, int]


def _lay_out(path: Path, embeddings: Embeddings, provenance: Mapping[str, str], first: Sequence[int]) -> _Layout:
    """Write a file that lacks nothing but the numbers; returns where they go.

    Args:
        first: (R + 1,) nucleotides before each target; the last is how many there are.
    """
    import h5py

    plan, total, targets = embeddings.plan, first[-1], embeddings.targets
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {
        "embedding": ("<f4", (total, len(plan.layer_names), embeddings.hidden_size)),
        "sequence": ("S1", (total,)),
        "position": ("<i8", (total,)),
        "window_start": ("<i8", (total,)),
    }
    rows = {name: np.dtype(kind).itemsize * math.prod(shape[1:]) for name, (kind, shape) in kinds.items()}
    attention = {
        number: (len(plan.attention), embeddings.heads, len(target), len(target))
        for number, target in enumerate(targets)
        if plan.attention and len(target)
    }
    of_targets = columns(targets)
    with path.open("wb") as trial:  # whether there is room, asked of the system and not of the library
        headers = _OVERHEAD + 2 * len(repr(of_targets)) + len(repr(provenance)) + _OF_ATTENTION * len(attention)
        trial.write(bytes(headers))
        trial.truncate(trial.tell() + total * sum(rows.values()) + 4 * sum(map(math.prod, attention.values())))
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        for key, value in provenance.items():
            file.attrs[key] = value
        file.create_dataset("layer", data=list(plan.layer_names), dtype=text)
        group = file.create_group("target")
        group.create_dataset("offset", data=np.array(first, dtype="<i8"))
        for name, values in of_targets.items():
            kind = targets[0].COLUMNS[name]
            data = filled(kind, values)
            group.create_dataset(name, data=data, dtype="<i8" if kind is int else text)
        if plan.attention:
            file.create_dataset("attention_layer", data=list(map(str, plan.attention)), dtype=text)
            file.create_group("attention")
        arrays = {
            name: _Array(kind, rows[name], file.create_dataset(name, shape, kind, dcpl=layout).id.get_offset())
            for name, (kind, shape) in kinds.items()
        }
        weights = {
            number: file.create_dataset(f"attention/{number}", shape, "<f4", dcpl=layout).id.get_offset()
            for number, shape in attention.items()
        }
        return _Layout(arrays, weights)


_ROWS = 256  # of a row group of the Parquet


class ParquetWriter:
    """One row per target: where it lies, how many of its nucleotides are known, and their mean of each layer."""

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._targets = embeddings.targets
        vector = pa.list_(pa.float32(), embeddings.hidden_size)
        kinds = {**self._targets[0].COLUMNS, "length": int, "known": int}
        self._schema = pa.schema(
            [(name, pa.int64() if kind is int else pa.string()) for name, kind in kinds.items()]
            + [(f"layer_{layer}", vector) for layer in embeddings.plan.layer_names],
            metadata={"format": FORMAT, **provenance},
        )
        self._layers = len(embeddings.plan.layer_names)
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[tuple[Any, ...]] = []
        self._pool = Pool()

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
        finally:
            self._writer.is_open = False  # so that it does not try again when it is collected

    def write(self, piece: Piece) -> None:
        """Take a piece; the last of a target completes its row."""
        self._pool.add(piece.tokens, piece.values)
        target = self._targets[piece.target]
        if piece.first + len(piece.tokens) < len(target):
            return
        mean = self._pool.mean
        vectors = [None] * self._layers if mean is None else mean.tolist()
        where = (values[0] for values in columns((target,)).values())
        self._rows.append((*where, len(target), self._pool.known, *vectors))
        self._pool = Pool()
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        values = zip(*self._rows, strict=True)
        arrays = [pa.array(column, type=kind.type) for column, kind in zip(values, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()


class AnnDataWriter:
    """One observation per target; the means are in memory until the end.

    The file is made in memory too, because the HDF5 library cannot take a full disk.
    """

    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None:
        self._path = path
        self._targets = embeddings.targets
        self._layers = embeddings.plan.layer_names
        self._provenance = {"format": FORMAT, **provenance}
        shape = (len(self._layers), len(self._targets), embeddings.hidden_size)
        self._means: Floats = np.full(shape, np.nan, dtype=np.float32)
        self._known = [0] * len(self._targets)
        self._pool = Pool()

    def __enter__(self) -> AnnDataWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._path.write_bytes(self._whole())

    def write(self, piece: Piece) -> None:
        """Take a piece; the last of a target completes its observation."""
        self._pool.add(piece.tokens, piece.values)
        if piece.first + len(piece.tokens) < len(self._targets[piece.target]):
            return
        mean = self._pool.mean
        if mean is not None:
            self._means[:, piece.target] = mean
        self._known[piece.target] = self._pool.known
        self._pool = Pool()

    def _whole(self) -> bytes:
        """Return the bytes of the file."""
        import anndata
        import h5py
        import pandas

        kinds = self._targets[0].COLUMNS
        told = {name: filled(kinds[name], values) for name, values in columns(self._targets).items()}
        obs = pandas.DataFrame(
            {**told, "length": list(map(len, self._targets)), "known": self._known},
            index=list(map(str, range(len(self._targets)))),
        )
        var = pandas.DataFrame(index=list(map(str, range(self._means.shape[2]))))
        several = {f"layer_{name}": mean for name, mean in zip(self._layers, self._means, strict=True)}
        data = anndata.AnnData(
            X=self._means[-1], obs=obs, var=var, uns={"splicebert_vep": self._provenance},
            layers=several if len(self._layers) > 1 else None,
        )  # fmt: skip
        memory = io.BytesIO()
        with h5py.File(memory, "w") as file:
            anndata.io.write_elem(file, "/", data)
        return memory.getvalue()


_HDF5 = (".h5", ".hdf5")
_PARQUET = (".parquet",)
_ANNDATA = (".h5ad",)


class _Writer(Protocol):
    def __init__(self, path: Path, embeddings: Embeddings, provenance: Mapping[str, str]) -> None: ...

    def __enter__(self) -> _Writer: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, piece: Piece) -> None: ...


def check_outputs(paths: Sequence[str], *, attention: bool = False) -> None:
    """See that embeddings can be written to these paths, before anything is computed.

    Args:
        attention: whether there are attention weights to write.

    Raises:
        SettingsError: none is given, one twice, a suffix says nothing, none takes the attention weights, or h5py or
            anndata is not installed.
    """
    real = [os.path.realpath(path) for path in paths]
    known = all(path.lower().endswith((*_HDF5, *_PARQUET, *_ANNDATA)) for path in paths)
    if not paths or not known or len(set(real)) < len(real):
        raise SettingsError(
            "The outputs of embeddings cannot be told.",
            needed="different names that end in .h5 or .hdf5 (every nucleotide), .parquet or .h5ad (means)",
            found=", ".join(paths) or "none",
        )
    hdf5 = any(path.lower().endswith(_HDF5) for path in paths)
    if attention and not hdf5:
        raise SettingsError(
            "Attention weights are written to HDF5 only.",
            needed="an output that ends in .h5 or .hdf5",
            found=", ".join(paths),
            remedy="add -o FILE.h5",
        )
    if hdf5:
        require("h5py", extra="embed")
    if any(path.lower().endswith(_ANNDATA) for path in paths):
        require("anndata", extra="anndata")


def save(embeddings: Embeddings, paths: Sequence[str], progress: Progress | None) -> None:
    """Write every file in one run over the windows; see ``Embeddings.save``."""
    check_outputs(paths, attention=bool(embeddings.plan.attention))
    provenance = embeddings.provenance
    done, total = 0, sum(map(len, embeddings.targets))
    with ExitStack() as stack:
        writers: dict[str, _Writer] = {}
        for path in paths:
            temporary = stack.enter_context(whole_or_not(path))
            writers[path] = stack.enter_context(_kind(path)(temporary, embeddings, provenance))
        for piece in embeddings.pieces():
            for path, writer in writers.items():
                with reporting(path):
                    writer.write(piece)
            done += len(piece.tokens)
            if progress:
                progress("nucleotides embedded", done, total)


def _kind(path: str) -> type[_Writer]:
    if path.lower().endswith(_HDF5):
        return Hdf5Writer
    return ParquetWriter if path.lower().endswith(_PARQUET) else AnnDataWriter

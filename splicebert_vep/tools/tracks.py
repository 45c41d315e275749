"""``tracks``: p(acceptor) and p(donor) of every nucleotide, as files that IGV and UCSC show.

Values of an allele are those behind its delta scores. Positions are those of the reference; a nucleotide that the
model does not see, because the FASTA has N there or it lies outside of the gene, has no value.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from splicebert_vep_spec import Allele, GeneContext, Skipped, SpliceModel, Status
from splicebert_vep_spec import N as _N

from ..annotator import Annotator
from ..consequence.hgvs import read_variant
from ..consequence.outcomes import KINDS
from ..errors import SettingsError, require, suggestion
from ..files import ByteOutput, Output, publish_all, reporting
from ..genome.contigs import canonical_name
from ..genome.ids import stable_id
from ..genome.places import gene_places, region_stretches
from ..scoring.delta import Around, DeltaScorer, Probabilities, look_around, stretch_tokens
from ..scoring.pipeline import Pipeline
from ..sequence.alleles import placements
from ..sequence.tokens import Tokens, encode, reverse_complement
from ..variants import Variant
from ..vcf.read import open_vcf
from ..version import __version__
from .drawing import BLUE, ORANGE
from .map import gene_of
from .plot import is_named
from .windows import answers

PIECE = 20_000  # nt that one pass serves; a pass holds about 4 kB a nucleotide
SIDES = ("ref", "alt", "change")
_COLOURS = dict(zip(KINDS, (BLUE, ORANGE), strict=True))
_FORMATS = {".bw": "bigwig", ".bigwig": "bigwig", ".bedgraph": "bedgraph", ".bg": "bedgraph", ".bed": "bed"}
Progress = Callable[[str, int, int], None]


class Piece(NamedTuple):
    """Answers along a piece of a contig, NaN where there is none.

    Args:
        start: of the piece, 0-based.
        ref, alt: (n, 2) p(acceptor) and p(donor), at positions of the reference; ``alt`` None without alleles.
    """

    start: int
    ref: Probabilities
    alt: Probabilities | None


@dataclass(frozen=True, slots=True)
class Asked:
    """A stretch of a contig in a gene, and alleles that one sequence has together.

    Args:
        start, end: 0-based half-open.
        alleles: by position, within the stretch.
        looked: what delta scores saw around the one allele; None for a stretch that a user chose.
        warnings: sentences for the user.
    """

    contig: str
    start: int
    end: int
    gene: GeneContext
    alleles: tuple[Allele, ...] = ()
    looked: Around | None = None
    warnings: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[str, ...]:
        """Names of the tracks of either kind."""
        return SIDES if self.alleles else SIDES[:1]

    @property
    def name(self) -> str:
        """The gene's symbol, or its id."""
        return self.gene.symbol or self.gene.gene_id

    @property
    def title(self) -> str:
        """Gene and strand."""
        return f"{self.name} ({self.gene.strand} strand)"


class Tracks:
    """Find what a user asks for, and the model's answers along it.

    Args:
        annotator: that computes delta scores.
    """

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self._scorer = next(one for one in annotator.delta.scorers if isinstance(one, DeltaScorer))
        model = annotator.delta.model
        assert model is not None  # the annotator computes delta scores
        self.model: SpliceModel = model

    def find(self, where: str | Variant, gene: str | None = None, vcf: str | None = None) -> Asked:
        """Return the stretch and the alleles that a user asks for.

        Args:
            where: a variant or the HGVS name of one, looked around as for delta scores; or a region, or a gene.
            gene: symbol or id; needed where there are several.
            vcf: records that lie in the region or gene, together on one sequence, whatever their genotypes say.

        Raises:
            SettingsError: there is no such place or gene, or an allele has no delta scores.
            BuildError: FASTA and annotation, or the variant, are of different builds.
        """
        self._annotator.check_usable()
        asked = self._place(where, gene) if isinstance(where, str) else None
        if asked is None:
            if vcf is not None:
                raise SettingsError("Records of a VCF go onto a region or a gene.", found=str(where))
            return self._around(where, gene)
        return asked if vcf is None else self._with_records(asked, vcf)

    def pieces(self, asked: Asked, progress: Progress | None = None) -> Iterator[Piece]:
        """Yield the answers along a stretch in pieces, by position.

        Raises:
            BackendError: the model failed.
        """
        if asked.looked is not None:
            around = asked.looked
            yield self._masked(asked, around.start, around.ref, around.aligned())
            return
        fetch = partial(self._annotator.reference.fetch, asked.contig)
        for segments in _in_pieces(_segments(asked, self._scorer.distance, fetch)):
            yield self._piece(asked, segments)
            if progress:
                progress("nt", segments[-1].end - asked.start, asked.end - asked.start)

    def length(self, asked: Asked) -> int:
        """Return the length of the contig, nt."""
        return self._annotator.reference.lengths[asked.contig]

    def _place(self, text: str, gene: str | None) -> Asked | None:
        """Return the region or gene that a text names; None where it looks like a variant."""
        reference, table = self._annotator.reference, self._annotator.genes.table
        bare = stable_id(text)
        if text in table.symbols or any(text == one or bare == stable_id(one) for one in table.gene_ids):
            warnings: list[str] = []
            found = list(gene_places([text], reference, table, warnings))
            if len(found) > 1:
                places = ", ".join(f"{one.contig}:{one.start + 1}-{one.end}" for one, _ in found)
                raise SettingsError(f"There are several genes {text}: give a region.", found=places)
            [(stretch, row)] = found
            name: str | None = table.gene_ids[row]
        elif reference.find(text) is not None or _looks_like_region(text):
            [stretch] = region_stretches([text], reference)
            name, warnings = gene, []
        else:
            try:
                read_variant(text)
            except SettingsError as error:
                known = [*filter(None, table.symbols), *table.gene_ids]
                needed = "a gene of the annotation, CHROM:START-END, CHROM-POS-REF-ALT or an HGVS name"
                remedy = suggestion([text], known) or error.remedy
                raise SettingsError(
                    "There is no such gene, region or variant.", needed=needed, found=text, remedy=remedy
                ) from error
            return None
        warnings += self._annotator.guard().check_stretches([stretch])
        contexts = self._annotator.genes.contexts(*stretch)
        return Asked(*stretch, gene_of(contexts, name, text), warnings=tuple(warnings))

    def _around(self, variant: str | Variant, gene: str | None) -> Asked:
        result = self._annotator.score(variant)
        outcomes = [one for one in result.contexts if gene is None or (one.context and is_named(one.context, gene))]
        if not outcomes:
            names = ", ".join(one.context.symbol or one.context.gene_id for one in result.contexts if one.context)
            raise SettingsError(
                f"{result.variant} does not lie in that gene.", needed=names or "no gene", found=gene or ""
            )
        first, allele = outcomes[0], result.allele
        looked: Around | Skipped | None = Skipped(first.status, first.reason)
        if first.status == Status.OK and allele is not None and first.context is not None:
            gene_alone = replace(first.context, hgvsc=None, hgvsg=None)  # as the annotation gives it
            reference, genes = self._annotator.reference, self._annotator.genes
            [looked] = look_around(
                self.model, [(allele, gene_alone)], reference, genes, self._scorer.distance,
                outside=self._scorer.outside,
            )  # fmt: skip
        if allele is None or first.context is None or not isinstance(looked, Around):
            why = (
                f"{looked.status}, {looked.reason}"
                if isinstance(looked, Skipped)
                else "it does not fit the model's window"
            )
            raise SettingsError(
                "The variant has no delta scores, so there are no tracks.", found=f"{result.variant}: {why}"
            )
        end = looked.start + len(looked.ref)
        return Asked(allele.contig, looked.start, end, gene_alone, (allele,), looked)

    def _with_records(self, asked: Asked, vcf: str) -> Asked:
        """Put the records of a VCF onto a stretch."""
        annotator = self._annotator
        pipeline = Pipeline(annotator.reference, annotator.scoring, annotator.genes, annotator.scoring.shape)
        found: list[Allele] = []
        with open_vcf(vcf) as reader:
            for record in reader:
                if annotator.reference.find(record.chrom) != asked.contig:
                    continue
                first, last = record.pos - 1, record.pos - 1 + len(record.ref)
                if last <= asked.start or first >= asked.end:
                    continue
                where = f"{vcf}, {record.chrom}:{record.pos}"
                if len(record.alts) != 1:
                    problem = "Records of a haplotype have one ALT each."
                    raise SettingsError(
                        problem, found=f"{len(record.alts)}", where=where, remedy="bcftools norm -m -any"
                    )
                [allele] = pipeline.alleles(record)
                if isinstance(allele, Skipped):
                    raise SettingsError(
                        "A record cannot be put onto the sequence.", found=f"{allele.status}, {allele.reason}",
                        where=where, remedy="leave it out of the VCF",
                    )  # fmt: skip
                if not (asked.start < allele.start and allele.end < asked.end):
                    problem = "A record reaches to the edge of the region."
                    raise SettingsError(problem, where=where, remedy="give a longer region, or leave it out of the VCF")
                found.append(allele)
        if not found:
            raise SettingsError(
                "No record of the VCF lies there.", found=f"{asked.contig}:{asked.start + 1}-{asked.end}", where=vcf
            )
        alleles = sorted(set(found), key=lambda one: (one.start, one.end))
        for one, other in zip(alleles, alleles[1:], strict=False):
            apart = other.start - one.end
            grows = any(len(allele.ref) != len(allele.alt) for allele in (one, other))
            if apart < (2 if grows else 0):
                raise SettingsError(
                    "Two alleles overlap, or leave fewer than 2 nt between an insertion or deletion and the next.",
                    found=f"{one.contig}:{one.start + 1} {one.ref[:20]}>{one.alt[:20]}, and {other.start + 1}",
                    where=vcf, remedy="write them as one record, or leave one out",
                )  # fmt: skip
        return Asked(asked.contig, asked.start, asked.end, asked.gene, tuple(alleles), None, asked.warnings)

    def _extent(self, asked: Asked) -> tuple[int, int]:
        """Return the part of the contig that the model sees."""
        if self._scorer.outside:
            return 0, self._annotator.reference.lengths[asked.contig]
        place = (asked.start, asked.end) if asked.looked is None else (asked.alleles[0].start, asked.alleles[0].end)
        gene = self._annotator.genes.gene(asked.gene, asked.contig, *place)
        return gene.start, gene.end

    def _masked(self, asked: Asked, start: int, ref: Probabilities, alt: Probabilities | None) -> Piece:
        """Take out the answers at nucleotides that the model does not see."""
        seen = stretch_tokens(self._annotator.reference, asked.contig, start, start + len(ref), self._extent(asked))
        hidden = seen == _N
        ref = np.where(hidden[:, None], np.nan, ref)
        return Piece(start, ref, None if alt is None else np.where(hidden[:, None], np.nan, alt))

    def _piece(self, asked: Asked, segments: Sequence[Segment]) -> Piece:
        start, end = segments[0].start, segments[-1].end
        low, high = self._extent(asked)
        if end <= low or start >= high:
            nothing = np.full((end - start, 2), np.nan)
            return Piece(start, nothing, nothing if asked.alleles else None)
        reach, reference = self.model.reach, self._annotator.reference
        lost = sum(len(one.ref) for one in asked.alleles)
        first, last = start - reach - lost, end + reach + lost
        tokens = stretch_tokens(reference, asked.contig, first, last, (low, high))
        ref = self._along(tokens[lost : len(tokens) - lost], asked.gene)
        if not asked.alleles:
            return self._masked(asked, start, ref, None)
        near = [
            one
            for one in asked.alleles
            if one.start >= first and one.end <= last and one.start < high and one.end > low
        ]
        parts, at = [], first
        for one in near:
            parts += [tokens[at - first : one.start - first], encode(one.alt.encode())]
            at = one.end
        changed = np.concatenate([*parts, tokens[at - first :]])

        def moved(position: int) -> int:
            """Return where a position between alleles is in the changed sequence."""
            return position - first + sum(len(one.alt) - len(one.ref) for one in near if one.end <= position)

        begin = moved(start)
        after = self._along(changed[begin - reach : moved(end) + reach], asked.gene)
        found = []
        for part in segments:
            of_ref = ref[part.start - start : part.end - start]
            of_alt = after[moved(part.start) - begin : moved(part.end) - begin]
            found.append(of_alt if part.places is None else Around(part.start, *part.places, of_ref, of_alt).aligned())
        return self._masked(asked, start, ref, np.concatenate(found))

    def _along(self, tokens: Tokens, gene: GeneContext) -> Probabilities:
        minus = gene.strand == "-"
        found: Any = answers(lambda: self.model.along(reverse_complement(tokens) if minus else tokens))
        return found[::-1] if minus else found  # type: ignore[no-any-return]


class Segment(NamedTuple):
    """Part of a stretch with at most one allele, 0-based half-open; ``places`` are its leftmost and rightmost."""

    start: int
    end: int
    places: tuple[Allele, Allele] | None = None


def _segments(asked: Asked, distance: int, fetch: Callable[[int, int], bytes]) -> Iterator[Segment]:
    """Yield the segments of a stretch: ``distance`` around each allele or half of the way to the next, and between."""
    at = asked.start
    for k, allele in enumerate(asked.alleles):
        left, right = placements(allele, fetch)
        end = asked.end if k + 1 == len(asked.alleles) else asked.alleles[k + 1].start - 1
        if right.end >= end:  # the repeat that it can stand in reaches to the next, or out of the stretch
            right = left
        margin = distance + (left.shift != 0)
        low = max(at, left.start - margin)
        half = asked.end if k + 1 == len(asked.alleles) else (right.end + end + 1) // 2
        high = min(right.end + margin, half)
        yield from _cut(at, low)
        yield Segment(low, high, (left, right))
        at = high
    yield from _cut(at, asked.end)


def _cut(start: int, end: int) -> Iterator[Segment]:
    for low in range(start, end, PIECE):
        yield Segment(low, min(end, low + PIECE))


def _in_pieces(segments: Iterator[Segment]) -> Iterator[list[Segment]]:
    """Yield neighbouring segments together, up to the size of a piece."""
    together: list[Segment] = []
    for one in segments:
        if together and one.end - together[0].start > PIECE:
            yield together
            together = []
        together.append(one)
    if together:
        yield together


def ucsc_name(contig: str) -> str:
    """Return UCSC's name of a chromosome, e.g. chr17 or chrM.

    Raises:
        SettingsError: it is none of 1 to 22, X, Y and MT by any name.
    """
    if contig.startswith("chr"):
        return contig
    name = canonical_name(contig)
    if not (name.isdecimal() or name in ("X", "Y", "MT")):
        raise SettingsError("UCSC's name of the contig is not known.", found=contig, remedy="leave --ucsc out")
    return "chrM" if name == "MT" else f"chr{name}"


def track_names(target: str, sides: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return the path of each track: ``out.bw`` is ``out.acceptor.ref.bw`` and so on.

    Raises:
        SettingsError: the suffix names no format of tracks.
    """
    suffix = Path(target).suffix
    if _FORMATS.get(suffix.lower()) not in ("bigwig", "bedgraph"):
        needed = ".bw, .bedGraph (a file for each track) or .bed (predicted sites)"
        raise SettingsError("The suffix does not name a format of tracks.", needed=needed, found=target)
    return {(kind, side): f"{target.removesuffix(suffix)}.{kind}.{side}{suffix}" for side in sides for kind in KINDS}


def outputs_of(target: str | None, igv: str | None, sides: Sequence[str]) -> list[str]:
    """Return every path that ``save`` writes; raises as ``track_names``, and where bigWig cannot be written."""
    found: list[str] = []
    if target is not None and _FORMATS.get(Path(target).suffix.lower()) == "bed":
        found.append(target)
    elif target is not None:
        found += track_names(target, sides).values()
        if _FORMATS[Path(target).suffix.lower()] == "bigwig":
            require("pyBigWig", extra="tracks")
    if igv is not None:
        found += track_names(os.path.join(igv, "tracks.bedGraph"), sides).values()
        found += [os.path.join(igv, name) for name in (_SITES, _CONFIG)]
    return found


_SITES, _CONFIG = "sites.bed", "tracks.json"


def save(
    tracks: Tracks, asked: Asked, target: str | None, igv: str | None = None, *, least: float = 0.1,
    ucsc: bool = False, progress: Progress | None = None,
) -> list[str]:  # fmt: skip
    """Write the tracks of a stretch; return the paths written, all of them or none.

    Args:
        target: ``.bw`` or ``.bedGraph`` gives its name to a file for each track; ``.bed`` is one of predicted sites.
        igv: folder that gets bedGraph tracks, ``sites.bed`` and ``tracks.json``, as igv-reports takes them.
        least: p of REF or ALT from which a nucleotide is a predicted site.
        ucsc: write UCSC's name of the contig.

    Raises:
        SettingsError: a suffix names no format, or no nucleotide has a value.
        OutputError: a file cannot be written.
    """
    contig = ucsc_name(asked.contig) if ucsc else asked.contig
    head = f"# splicebert-vep {__version__}; {tracks.model.info.model}, {tracks.model.info.licence}"
    head += f", {tracks.model.info.citation}; {asked.title}\n"
    outputs: list[_BigWig | _BedGraph | _Sites] = []
    files: list[Output] = []
    try:
        if target is not None and _FORMATS.get(Path(target).suffix.lower()) == "bed":
            outputs.append(_Sites(target, contig, asked, least, head))
        elif target is not None:
            length = tracks.length(asked)
            for (kind, side), path in track_names(target, asked.sides).items():
                if _FORMATS[Path(target).suffix.lower()] == "bigwig":
                    outputs.append(_BigWig(path, contig, length, kind, side))
                else:
                    outputs.append(_BedGraph(path, contig, asked, kind, side, head))
        if igv is not None:
            os.makedirs(igv, exist_ok=True)
            for (kind, side), path in track_names(os.path.join(igv, "tracks.bedGraph"), asked.sides).items():
                outputs.append(_BedGraph(path, contig, asked, kind, side, head))
            sites = os.path.join(igv, _SITES)
            if asked.alleles:
                files.append(_text(sites, "".join(_allele_line(contig, one) for one in asked.alleles)))
            else:
                outputs.append(_Sites(sites, contig, asked, least, ""))
            files.append(_text(os.path.join(igv, _CONFIG), json.dumps(_config(asked), indent=2) + "\n"))
        files += outputs
        values = 0
        for piece in tracks.pieces(asked, progress):
            values += int(np.isfinite(piece.ref[:, 0]).sum())
            for output in outputs:
                output.write(piece)
        if not values:
            where = f"{asked.contig}:{asked.start + 1}-{asked.end}"
            raise SettingsError("No nucleotide there has a value: all are N, or outside of the gene.", where=where)
        for one in files:
            one.finish()
        publish_all(files)
    except BaseException:
        for one in {id(one): one for one in (*files, *outputs)}.values():
            one.abort()
        raise
    return [str(one.to.final) for one in files]


def _values(piece: Piece, kind: str, side: str) -> NDArray[np.float64]:
    column = KINDS.index(kind)
    if side == "ref" or piece.alt is None:
        return piece.ref[:, column]
    return piece.alt[:, column] - (piece.ref[:, column] if side == "change" else 0.0)


def _runs(there: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the stretches, [start, end), that are True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


class _BigWig(Output):
    def __init__(self, path: str, contig: str, length: int, kind: str, side: str) -> None:
        import pyBigWig

        super().__init__(path)
        self._contig, self._kind, self._side = contig, kind, side
        if self.to.temporary is None:
            raise SettingsError(
                "A bigWig goes into a file: it cannot be written to stdout, a pipe or a device.", found=path
            )
        with reporting(self.name):
            self._file: Any = pyBigWig.open(str(self.to.claim()), "w")
        self._file.addHeader([(contig, length)])

    def write(self, piece: Piece) -> None:
        values = _values(piece, self._kind, self._side)
        for low, high in _runs(np.isfinite(values)):
            self._file.addEntries(self._contig, piece.start + low, values=values[low:high].tolist(), span=1, step=1)

    def finish(self) -> None:
        self._file.close()
        self._file = None
        super().finish()

    def abort(self) -> None:
        if self._file is not None:
            with contextlib.suppress(RuntimeError):  # of a file without entries; the failure is on its way to the user
                self._file.close()
            self._file = None
        super().abort()


class _BedGraph(ByteOutput):
    def __init__(self, path: str, contig: str, asked: Asked, kind: str, side: str, head: str) -> None:
        super().__init__(path)
        self._contig, self._kind, self._side = contig, kind, side
        limits = "-1:1" if side == "change" else "0:1"
        colour = ",".join(str(int(_COLOURS[kind][at : at + 2], 16)) for at in (1, 3, 5))
        line = f'track type=bedGraph name="{asked.name} {kind} {side}" description="p({kind}) {side}, {asked.title}"'
        self.write_bytes(f"{head}{line} color={colour} viewLimits={limits} autoScale=off\n".encode())

    def write(self, piece: Piece) -> None:
        """Write runs of equal values of six decimals."""
        values = np.round(_values(piece, self._kind, self._side), 6) + 0.0
        lines = []
        for low, high in _runs(np.isfinite(values)):
            same = np.flatnonzero(np.diff(values[low:high])) + low + 1
            bounds = [low, *same.tolist(), high]
            lines += [
                f"{self._contig}\t{piece.start + first}\t{piece.start + last}\t{_decimals(values[first])}\n"
                for first, last in zip(bounds, bounds[1:], strict=False)
            ]
        self.write_bytes("".join(lines).encode())


def _decimals(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")


class _Sites(ByteOutput):
    """A BED of nucleotides with p of REF or ALT at or above a bound; its score is 1,000 times the larger."""

    def __init__(self, path: str, contig: str, asked: Asked, least: float, head: str) -> None:
        super().__init__(path)
        self._contig, self._strand, self._least = contig, asked.gene.strand, least
        if head:
            track = f'track name="{asked.name} sites" description="p >= {least:g}, {asked.title}" itemRgb="On"\n'
            self.write_bytes(f"{head}{track}".encode())

    def write(self, piece: Piece) -> None:
        both = piece.ref if piece.alt is None else np.fmax(piece.ref, piece.alt)
        lines = []
        for row, column in zip(*np.nonzero(both >= self._least), strict=True):
            kind, at = KINDS[column], piece.start + int(row)
            after = "" if piece.alt is None else f">{piece.alt[row, column]:.3f}"
            name = f"{kind}:{piece.ref[row, column]:.3f}{after}"
            colour = ",".join(str(int(_COLOURS[kind][i : i + 2], 16)) for i in (1, 3, 5))
            score = round(1000 * float(both[row, column]))
            lines.append(f"{self._contig}\t{at}\t{at + 1}\t{name}\t{score}\t{self._strand}\t{at}\t{at + 1}\t{colour}\n")
        self.write_bytes("".join(lines).encode())


def _text(path: str, text: str) -> ByteOutput:
    output = ByteOutput(path)
    output.write_bytes(text.encode())
    return output


def _allele_line(contig: str, allele: Allele) -> str:
    """Return the line of an allele in a BED; that of an insertion is the base before it."""
    start = min(allele.start, max(0, allele.end - 1))
    return f"{contig}\t{start}\t{allele.end}\t{allele.ref or '-'}>{allele.alt or '-'}\n"


def _config(asked: Asked) -> list[dict[str, Any]]:
    """Return the tracks of igv.js, with addresses beside the file that they are written to."""
    return [
        {
            "name": f"{asked.name} {kind} {side}", "url": os.path.basename(path), "type": "wig", "format": "bedgraph",
            "color": _COLOURS[kind], "height": 60, "autoscale": False, "min": -1 if side == "change" else 0, "max": 1,
        }
        for (kind, side), path in track_names("tracks.bedGraph", asked.sides).items()
    ]  # fmt: skip


def _looks_like_region(text: str) -> bool:
    return re.fullmatch(r".+:\d[\d,]*(-(\d[\d,]*)?)?", text.strip()) is not None

"""The build guard: stop before the first score when VCF, FASTA and annotation are not of one genome build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..errors import BuildError
from .contigs import is_mitochondrial
from .gene_index import GeneIndex
from .reference import Reference

_BASES_WANTED = 1000
_BASES_NEEDED = 20
_MISMATCHES_ALLOWED = 0.10
_BASES_PER_RECORD = 50  # one long deletion is not to speak for a whole file
_SITES_WANTED = 200
_PLACES_WANTED = 100  # where so many hold too few sites, the FASTA is mostly N or the annotation sparse
_ODD_SITES_ALLOWED = 0.5
_ACGT = frozenset(b"ACGT")
#: First and last two intronic nt of GT-AG, GC-AG and AT-AC introns, read on the transcribed strand.
_DINUCLEOTIDES = {"donor": {b"GT", b"GC", b"AT"}, "acceptor": {b"AG", b"AC"}}
_COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
_AROUND = 500_000  # nt around a record in which annotated sites are compared
_ANNOTATION_REMEDY = "give the annotation (-A) of the FASTA's build, e.g. -A grch37 or -A grch38"
_REMEDY = "give the FASTA (-R) and the annotation (-A) of the VCF's own build"


@dataclass(frozen=True, slots=True)
class Observed:
    """A record's claim about the reference: ``pos`` is 1-based."""

    chrom: str
    pos: int
    ref: str


class BuildGuard:
    """Compare VCF, FASTA and annotation while the first records pass.

    Args:
        header: contigs of the VCF header with their lengths, where given.
        reference: the FASTA.
        genes: the annotation's index.
        annotation: the annotation's name, for messages.
        whole_file: whether the records are those of a file, which has to have a contig in common with the FASTA.

    Raises:
        BuildError: a contig of the header has another length in the FASTA, or none is in it.
    """

    def __init__(
        self,
        header: Mapping[str, int | None],
        reference: Reference,
        genes: GeneIndex,
        annotation: str,
        *,
        whole_file: bool = True,
    ) -> None:
        self._whole_file = whole_file
        self._reference = reference
        self._genes = genes
        self._annotation = annotation
        self._bases = self._mismatches = 0
        self._example = ""
        self._sites: set[tuple[str, str, int]] = set()
        self._odd_sites = 0
        self._sampled: list[tuple[str, int]] = []
        self._here: tuple[str, int] = ("", 0)  # the sampled place that covers the last record, as the VCF names it
        self._strangers: dict[str, None] = {}
        self._other_lengths: dict[str, int] = {}
        self._met_annotated_contig = False
        self._met_known_contig = False
        self._check_header(header)

    @property
    def decided(self) -> bool:
        """Whether enough bases were compared to tell one build from another."""
        return self._bases >= _BASES_NEEDED

    @property
    def _enough_sites(self) -> bool:
        return len(self._sites) >= _SITES_WANTED or len(self._sampled) >= _PLACES_WANTED

    def observe(self, records: Iterable[Observed]) -> None:
        """Compare more records; once 1,000 bases and 200 sites have been compared it asks for no more of them.

        N in the FASTA is ignored; the mitochondrial contig never decides.

        Raises:
            BuildError: over 10 % of at least 20 REF bases differ from the FASTA; over half of at least 20 annotated
                splice sites within 500 kb are neither GT, GC, AT (donor) nor AG, AC (acceptor) on it (on the right
                build over 98 % are, on another they are as good as random); or the annotation has another length of
                a contig and there are too few sites to say that it fits all the same.
        """
        for record in records:
            if self._bases >= _BASES_WANTED and self._enough_sites:
                break
            if self._bases >= _BASES_WANTED and record.chrom == self._here[0] and _near(record.pos, self._here[1]):
                continue  # its contig and its sites are known
            contig = self._reference.find(record.chrom)
            if contig is None:
                self._strangers[record.chrom] = None
                continue
            self._met_known_contig = True
            if is_mitochondrial(contig):
                continue
            length = self._genes.contig_length(record.chrom)
            if length is not None and length != self._reference.lengths[contig]:
                self._other_lengths[record.chrom] = length
            self._met_annotated_contig |= self._genes.has_contig(record.chrom)
            if record.pos < 1:  # POS 0 is the telomere, which has no base
                continue
            if self._bases < _BASES_WANTED:
                self._compare_bases(contig, record)
            if not self._enough_sites:
                self._compare_sites(contig, record)
        self._judge()

    def finish(self) -> list[str]:
        """Judge the whole input; return warnings.

        Raises:
            BuildError: these were the records of a file, and none lay on a contig of the FASTA.
        """
        if self._whole_file and self._strangers and not self._met_known_contig:
            raise self._nothing_in_common(self._strangers)
        if self._met_known_contig and not self._met_annotated_contig:
            return [f"the annotation {self._annotation} has none of the contigs of the records"]
        return []

    def _check_header(self, header: Mapping[str, int | None]) -> None:
        known = {name: found for name in header if (found := self._reference.find(name))}
        for name, found in known.items():
            length, actual = header[name], self._reference.lengths[found]
            if length is not None and length != actual and not is_mitochondrial(name):
                raise BuildError(
                    "The VCF and the FASTA are of different genome builds: a contig differs in length.",
                    needed=f"{name} of {length:,} nt, as the VCF header says",
                    found=f"{found} of {actual:,} nt",
                    where=str(self._reference.path),
                    remedy=_REMEDY,
                )
        if header and not known:
            raise self._nothing_in_common(header)

    def _nothing_in_common(self, names: Iterable[str]) -> BuildError:
        return BuildError(
            "The VCF and the FASTA have no contig in common.",
            needed=f"one of {_some(names)}",
            found=_some(self._reference.lengths),
            where=str(self._reference.path),
            remedy="give the FASTA that the VCF was called on (chr17, 17 and NC_000017.11 are known to be the same)",
        )

    def _compare_bases(self, contig: str, record: Observed) -> None:
        claimed = record.ref.upper().encode("ascii", errors="replace")[:_BASES_PER_RECORD]
        start = record.pos - 1
        actual = self._reference.fetch(contig, start, start + len(claimed)).ljust(len(claimed), b"-")
        for want, have in zip(claimed, actual, strict=True):
            if want not in _ACGT or have == ord("N"):
                continue
            self._bases += 1
            if want != have:
                self._mismatches += 1
                self._example = (
                    self._example or f"{record.chrom}:{record.pos} REF {record.ref[:20]}, FASTA {actual.decode()[:20]}"
                )

    def _compare_sites(self, contig: str, record: Observed) -> None:
        for name, pos in self._sampled:
            if name == contig and _near(record.pos, pos):
                self._here = record.chrom, pos
                return
        self._sampled.append((contig, record.pos))
        self._here = record.chrom, record.pos
        start = max(0, record.pos - 1 - _AROUND)
        for kind, strand, at in self._genes.site_intervals(record.chrom, start, record.pos + _AROUND):
            if len(self._sites) >= _SITES_WANTED:
                return
            site = (contig, kind + strand, at.start)
            bases = self._reference.fetch(contig, at.start, at.end)
            if site in self._sites or len(bases) != 2 or not set(bases) <= _ACGT:
                continue
            self._sites.add(site)
            if strand == "-":
                bases = bases.translate(_COMPLEMENT)[::-1]
            self._odd_sites += bases not in _DINUCLEOTIDES[kind]

    def _judge(self) -> None:
        if self._bases >= _BASES_NEEDED and self._mismatches > _MISMATCHES_ALLOWED * self._bases:
            raise BuildError(
                "The VCF and the FASTA are of different genome builds: REF bases are not those of the FASTA.",
                needed=f"at most {_MISMATCHES_ALLOWED:.0%} mismatches",
                found=f"{self._mismatches} of {self._bases} compared REF bases differ, first {self._example}",
                where=str(self._reference.path),
                remedy=_REMEDY,
            )
        if len(self._sites) >= _BASES_NEEDED and self._odd_sites > _ODD_SITES_ALLOWED * len(self._sites):
            raise BuildError(
                "The gene annotation and the FASTA are of different genome builds: its splice sites are not GT-AG.",
                needed="donor GT, GC or AT and acceptor AG or AC at most sites",
                found=f"{self._odd_sites} of {len(self._sites)} annotated sites near the first records have others",
                where=f"{self._annotation} on {self._reference.path}",
                remedy=_ANNOTATION_REMEDY,
            )
        # A FASTA may be cut from a longer contig, and then its splice sites speak for it.
        if self._other_lengths and len(self._sites) < _BASES_NEEDED:
            name, length = next(iter(self._other_lengths.items()))
            found = self._reference.find(name) or name
            raise BuildError(
                "The gene annotation and the FASTA are of different genome builds: a contig differs in length.",
                needed=f"{name} of {length:,} nt, as the annotation says, or 20 of its splice sites that fit the FASTA",
                found=f"{found} of {self._reference.lengths[found]:,} nt, {len(self._sites)} sites to compare",
                where=f"{self._annotation} on {self._reference.path}",
                remedy=_ANNOTATION_REMEDY,
            )


def _near(pos: int, place: int) -> bool:
    return abs(pos - place) < _AROUND


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")

"""The build guard: stop before the first score when VCF, FASTA and annotation are not of one genome build."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import BuildError
from ..sequence.tokens import other_strand
from .contigs import is_mitochondrial
from .gene_index import GeneIndex
from .reference import Reference

_BASES_WANTED = 1000
_BASES_NEEDED = 20
_MISMATCHES_ALLOWED = 0.10
_BASES_PER_RECORD = 50  # so that one long deletion cannot decide for a whole file
_SITES_WANTED = 200
_PLACES_WANTED = 100  # stop there: a FASTA of mostly N, or a sparse annotation, never gives enough sites
_ODD_SITES_ALLOWED = 0.5
_ACGT = frozenset(b"ACGT")
#: First and last two intronic nt of GT-AG, GC-AG and AT-AC introns, read on the transcribed strand.
_DINUCLEOTIDES = {"donor": {b"GT", b"GC", b"AT"}, "acceptor": {b"AG", b"AC"}}
_AROUND = 500_000  # nt on either side of a record in which annotated sites are compared
_ANNOTATION_REMEDY = "give the annotation (-A) of the FASTA's build, e.g. -A grch37 or -A grch38"
_TRUST = "--trust-build if the FASTA is cut from a genome of that build"
_REMEDY = "give the FASTA (-R) and the annotation (-A) of the VCF's own build"


def is_other_build(mismatches: int, compared: int) -> bool:
    """Tell whether so many of the compared reference bases differ that the genome build must be another."""
    return compared >= _BASES_NEEDED and mismatches > _MISMATCHES_ALLOWED * compared


class BuildGuard:
    """Compare VCF, FASTA and annotation while the first records pass.

    Args:
        header: contigs of the VCF header with their lengths, where given.
        reference: the FASTA.
        genes: the annotation's index.
        annotation: the annotation's name, for messages.
        whole_file: the records are those of a file, which must share a contig with the FASTA.
        lengths_trusted: a person vouches that the build is one though lengths differ; bases and sites still count.

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
        lengths_trusted: bool = False,
    ) -> None:
        self._lengths_trusted = lengths_trusted
        self._whole_file = whole_file
        self._reference = reference
        self._genes = genes
        self._annotation = annotation
        self._bases = self._mismatches = 0
        self._example = ""
        self._sites: set[tuple[str, str, int]] = set()
        self._odd_sites = 0
        self._sampled: list[tuple[str, int]] = []
        self._last_place: tuple[str, int] = ("", 0)  # sampled place that covers the last record, under the VCF's name
        self._unknown: dict[str, None] = {}
        self._other_lengths: dict[str, int] = {}
        self._met_annotated_contig = self._met_known_contig = False
        self._check_header(header)

    @property
    def decided(self) -> bool:
        """Tell whether enough bases were compared to tell one build from another."""
        return self._bases >= _BASES_NEEDED

    @property
    def _enough_sites(self) -> bool:
        return len(self._sites) >= _SITES_WANTED or len(self._sampled) >= _PLACES_WANTED

    def observe(self, records: Iterable[tuple[str, int, str]]) -> None:
        """Compare more records; stop reading them once 1,000 bases and 200 sites have been compared.

        N in the FASTA is ignored; the mitochondrial contig never decides.

        Args:
            records: contig, POS (1-based) and REF of each.

        Raises:
            BuildError: over 10 % of at least 20 REF bases differ from the FASTA; over half of at least 20 annotated
                splice sites within 500 kb are neither GT, GC, AT (donor) nor AG, AC (acceptor) on it (on the right
                build over 98 % are, on another they are as good as random); or the annotation has another length of
                a contig and there are too few sites to say that it fits all the same.
        """
        for chrom, pos, ref in records:
            enough_bases = self._bases >= _BASES_WANTED
            if enough_bases and self._enough_sites:
                break
            if enough_bases and _is_near(chrom, pos, self._last_place):
                continue  # this contig and its sites were compared
            contig = self._reference.find(chrom)
            if contig is None:
                self._unknown[chrom] = None
                continue
            self._met_known_contig = True
            if is_mitochondrial(contig):
                continue
            length = self._genes.contig_length(chrom)
            if length is not None and length != self._reference.lengths[contig]:
                self._other_lengths[chrom] = length
            self._met_annotated_contig |= self._genes.has_contig(chrom)
            if pos < 1:  # POS 0 is the telomere, which has no base
                continue
            if not enough_bases:
                self._compare_bases(contig, chrom, pos, ref)
            if not self._enough_sites:
                self._compare_sites(contig, chrom, pos)
        self._judge()

    def check_stretches(self, stretches: Iterable[tuple[str, int, int]]) -> list[str]:
        """Compare the annotation with the FASTA along stretches, without records; return warnings.

        Args:
            stretches: contig, start and end (0-based half-open) of each.

        Raises:
            BuildError: as ``observe`` and ``finish``.
        """
        self.observe((contig, at + 1, "") for contig, start, end in stretches for at in range(start, end, _AROUND))
        return self.finish()

    def finish(self) -> list[str]:
        """Judge the whole input; return warnings.

        Raises:
            BuildError: these were the records of a file, and none lay on a contig of the FASTA.
        """
        if self._unknown and not self._met_known_contig and all(map(is_mitochondrial, self._unknown)):
            return ["all records are mitochondrial: the FASTA has no such contig, and no gene there is scored"]
        if self._whole_file and self._unknown and not self._met_known_contig:
            raise self._nothing_in_common(self._unknown)
        if self._met_known_contig and not self._met_annotated_contig:
            return [f"the annotation {self._annotation} has none of the contigs of the records"]
        return []

    def _check_header(self, header: Mapping[str, int | None]) -> None:
        known = {name: found for name in header if (found := self._reference.find(name))}
        for name, found in known.items():
            length, actual = header[name], self._reference.lengths[found]
            if length not in (None, actual) and not (is_mitochondrial(name) or self._lengths_trusted):
                raise BuildError(
                    "The VCF and the FASTA are of different genome builds: a contig differs in length.",
                    needed=f"{name} of {length:,} nt, as the VCF header says", found=f"{found} of {actual:,} nt",
                    where=str(self._reference.path), remedy=f"{_REMEDY}, or {_TRUST}",
                )  # fmt: skip
        if not known and not all(map(is_mitochondrial, header)):
            raise self._nothing_in_common(header)

    def _nothing_in_common(self, names: Iterable[str]) -> BuildError:
        return BuildError(
            "The VCF and the FASTA have no contig in common.",
            needed=f"one of {_some(names)}", found=_some(self._reference.lengths), where=str(self._reference.path),
            remedy="give the FASTA that the VCF was called on (chr17, 17 and NC_000017.11 are known to be the same)",
        )  # fmt: skip

    def _compare_bases(self, contig: str, chrom: str, pos: int, ref: str) -> None:
        claimed = ref.upper().encode("ascii", errors="replace")[:_BASES_PER_RECORD]
        actual = self._reference.fetch(contig, pos - 1, pos - 1 + len(claimed)).ljust(len(claimed), b"-")
        if claimed == actual and not claimed.translate(None, b"ACGT"):  # nearly always
            self._bases += len(claimed)
            return
        pairs = [(want, have) for want, have in zip(claimed, actual, strict=True) if want in _ACGT and have != ord("N")]
        mismatches = sum(want != have for want, have in pairs)
        self._bases += len(pairs)
        self._mismatches += mismatches
        if mismatches and not self._example:
            self._example = f"{chrom}:{pos} REF {ref[:20]}, FASTA {actual.decode()[:20]}"

    def _compare_sites(self, contig: str, chrom: str, pos: int) -> None:
        for place in self._sampled:
            if _is_near(contig, pos, place):
                self._last_place = chrom, place[1]
                return
        self._sampled.append((contig, pos))
        self._last_place = chrom, pos
        for kind, strand, at in self._genes.site_intervals(chrom, max(0, pos - 1 - _AROUND), pos + _AROUND):
            if len(self._sites) >= _SITES_WANTED:
                return
            site = (contig, kind + strand, at.start)
            bases = self._reference.fetch(contig, at.start, at.end)
            if site not in self._sites and len(bases) == 2 and set(bases) <= _ACGT:
                self._sites.add(site)
                self._odd_sites += (other_strand(bases) if strand == "-" else bases) not in _DINUCLEOTIDES[kind]

    def _judge(self) -> None:
        if is_other_build(self._mismatches, self._bases):
            raise BuildError(
                "The VCF and the FASTA are of different genome builds: REF bases are not those of the FASTA.",
                needed=f"at most {_MISMATCHES_ALLOWED:.0%} mismatches",
                found=f"{self._mismatches} of {self._bases} compared REF bases differ, first {self._example}",
                where=str(self._reference.path), remedy=_REMEDY,
            )  # fmt: skip
        where = f"{self._annotation} on {self._reference.path}"
        if len(self._sites) >= _BASES_NEEDED and self._odd_sites > _ODD_SITES_ALLOWED * len(self._sites):
            raise BuildError(
                "The gene annotation and the FASTA are of different genome builds: its splice sites are not GT-AG.",
                needed="donor GT, GC or AT and acceptor AG or AC at most sites",
                found=f"{self._odd_sites} of {len(self._sites)} annotated sites near the first records have others",
                where=where, remedy=_ANNOTATION_REMEDY,
            )  # fmt: skip
        # A FASTA may be cut from a longer contig: then fitting splice sites overrule the length.
        if self._other_lengths and len(self._sites) < _BASES_NEEDED and not self._lengths_trusted:
            name, length = next(iter(self._other_lengths.items()))
            found = self._reference.find(name) or name
            raise BuildError(
                "The gene annotation and the FASTA are of different genome builds: a contig differs in length.",
                needed=f"{name} of {length:,} nt, as the annotation says, or 20 of its splice sites that fit the FASTA",
                found=f"{found} of {self._reference.lengths[found]:,} nt, {len(self._sites)} sites to compare",
                where=where, remedy=f"{_ANNOTATION_REMEDY}, or {_TRUST}",
            )  # fmt: skip


def _is_near(contig: str, pos: int, place: tuple[str, int]) -> bool:
    return contig == place[0] and abs(pos - place[1]) < _AROUND


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")

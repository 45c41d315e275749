"""The one place for contig naming: UCSC, Ensembl, RefSeq and GenBank names of the same sequence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from ..errors import BuildError

#: chrUn_KI270302v1, chr1_KI270706v1_random, chr1_KI270762v1_alt; hg19 writes chr1_gl000191_random without a version.
_UCSC_UNPLACED = re.compile(r"chr[0-9A-Za-z]+_([A-Za-z]{2}\d+)(?:v(\d+))?(?:_(?:random|alt|fix))?$")
_ACCESSION = re.compile(r"(?:[NX][CGTW]_|[A-Z]{1,2})\d{5,}\.\d+")
_HUMAN = [*map(str, range(1, 23)), "X", "Y"]
_MOUSE = [*map(str, range(1, 20)), "X", "Y"]
#: Versions of NC_000001 to 24 in GRCh38, and of NC_000067 to 87 in GRCm39; each earlier build has one less.
_GRCH38 = (11, 12, 12, 12, 10, 12, 14, 11, 12, 11, 10, 12, 11, 9, 10, 10, 11, 10, 10, 11, 9, 11, 11, 10)
_GRCM39 = (7, 8, *[7] * 17, 8, 8)
_MITOCHONDRIAL = frozenset(
    {"M", "MT", "NC_012920.1", "NC_001807.4", "J01415.2", "CP068254.1", "NC_005089.1", "AY172335.1"}
)
#: nt of chromosomes 1 to 22, X and Y; of the rarer assemblies chromosome 1 is enough.
_LENGTHS = {
    "GRCh38": (
        248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422,
        135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167,
        46709983, 50818468, 156040895, 57227415,
    ),
    "GRCh37": (
        249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022, 141213431, 135534747,
        135006516, 133851895, 115169878, 107349540, 102531392, 90354753, 81195210, 78077248, 59128983, 63025520,
        48129895, 51304566, 155270560, 59373566,
    ),
    "NCBI36": (247249719,), "T2T-CHM13v2.0": (248387328,), "GRCm39": (195154279,), "GRCm38": (195471971,),
}  # fmt: skip
_ASSEMBLY_NAMES = {
    "hg38": "GRCh38", "hg19": "GRCh37", "b37": "GRCh37", "hg18": "NCBI36", "hs1": "T2T-CHM13v2.0",
    "t2t-chm13v2": "T2T-CHM13v2.0", "mm39": "GRCm39", "mm10": "GRCm38", "mm9": "MGSCv37",
    **{name.lower(): name for name in ("GRCh38", "GRCh37", "NCBI36", "GRCm39", "GRCm38", "MGSCv37")},
}  # fmt: skip


def _accessions() -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield accession, assembly and chromosome of every chromosome of the known assemblies."""
    for chromosomes, versions, refseq, genbank, builds in (
        (_HUMAN, _GRCH38, 1, 663, ("GRCh38", "GRCh37", "NCBI36")),
        (_MOUSE, _GRCM39, 67, 994, ("GRCm39", "GRCm38", "MGSCv37")),
    ):
        deposited = 2 if chromosomes is _HUMAN else 3  # GenBank has the human chromosomes from GRCh37 on
        for rank, (chromosome, version) in enumerate(zip(chromosomes, versions, strict=True)):
            for age, assembly in enumerate(builds):
                yield f"NC_{refseq + rank:06}.{version - age}", (assembly, chromosome)
                if age < deposited:
                    yield f"CM{genbank + rank:06}.{deposited - age}", (assembly, chromosome)
    for rank, chromosome in enumerate(_HUMAN):
        yield f"NC_{60925 + rank:06}.1", ("T2T-CHM13v2.0", chromosome)
        yield "CP086569.2" if chromosome == "Y" else f"CP{68277 - rank:06}.2", ("T2T-CHM13v2.0", chromosome)


_ACCESSIONS = dict(_accessions())
#: RefSeq accession of every chromosome by assembly and Ensembl-like name.
_REFSEQ = {place: accession for accession, place in _ACCESSIONS.items() if accession.startswith("NC_")}
_SERIES = frozenset(accession.partition(".")[0] for accession in _ACCESSIONS)
_BY_LENGTH = {
    (_HUMAN[rank], length): assembly for assembly, lengths in _LENGTHS.items() for rank, length in enumerate(lengths)
}


@lru_cache(maxsize=65536)
def canonical_name(name: str) -> str:
    """Return the Ensembl-like name of a contig, so that chr17, 17 and NC_000017.11 are one.

    NC_000017.10 (GRCh37) and NC_000017.11 (GRCh38) are both 17: ``accession_assembly`` tells them apart. A name that
    follows no known scheme, an accession of an unknown version too, comes back unchanged.
    """
    if name in _ACCESSIONS:
        return _ACCESSIONS[name][1]
    unplaced = _UCSC_UNPLACED.match(name)
    if unplaced:
        # hg19's unplaced contigs carry no version because all of them are version 1.
        return f"{unplaced[1].upper()}.{unplaced[2] or 1}"
    # "chromosome1" is a scheme of its own: a lower-case letter after chr means that chr is no prefix.
    short = name[3:] if name[:3].lower() == "chr" and len(name) > 3 and not name[3].islower() else name
    return "MT" if short in _MITOCHONDRIAL else short


def is_mitochondrial(name: str) -> bool:
    """Tell whether a contig is the mitochondrial genome under any of its names."""
    return canonical_name(name) == "MT"


def accession_assembly(name: str) -> str | None:
    """Return the assembly that a chromosome's accession names, None where the name is no such accession.

    A version of no known assembly stands for itself: NC_000017.8 is of another assembly than all that are known.
    """
    if name in _ACCESSIONS:
        return _ACCESSIONS[name][0]
    series, dot, version = name.partition(".")
    return f"the assembly of {name}" if dot and version.isdecimal() and series in _SERIES else None


@lru_cache(maxsize=65536)
def refseq_accession(contig: str, assembly: str | None) -> str | None:
    """Return the accession with version that HGVS names a contig by, None where none is known.

    It is RefSeq's of a chromosome, and the one that the name itself holds of an unplaced contig (chrUn_KI270302v1).
    """
    name = canonical_name(contig)
    if (known := accession_assembly(contig)) is not None:
        return contig if contig.startswith("NC_") else _REFSEQ.get((known, name))
    return _REFSEQ.get((assembly or "", name)) or (name if _ACCESSION.fullmatch(name) else None)


def known_assembly(words: str | None) -> str | None:
    """Return the one name of an assembly of human or mouse (GRCh38.p14, hg38 are GRCh38), None for others."""
    return _ASSEMBLY_NAMES.get((words or "").lower().partition(".")[0])


class ContigNames:
    """Find a contig of one file by any of its names.

    Args:
        names: the file's own names, with lengths in nt where they are known. Where two of them mean the same contig,
            the first answers for the others.
        assembly: the file's, in words; counts where neither accessions nor lengths tell it.
        where: the file, for messages.
    """

    def __init__(self, names: Iterable[str], *, assembly: str | None = None, where: str = "") -> None:
        self._found: dict[str, str | None] = {name: name for name in names}
        self._where = where
        self._canonical: dict[str, str] = {}
        for name in self._found:
            self._canonical.setdefault(canonical_name(name), name)
        told = {accession_assembly(name) for name in self._found} - {None}
        if not told and isinstance(names, Mapping):
            told = {_BY_LENGTH.get((canonical_name(name), length)) for name, length in names.items()} - {None}
        #: the assembly; None where it is not known, or the file mixes several
        self.assembly = next(iter(told)) if len(told) == 1 else None if told else known_assembly(assembly)

    def find(self, name: str) -> str | None:
        """Return the file's own name: the exact one first, else one with the same canonical name, else None.

        Raises:
            BuildError: the name is an accession of another assembly than the file's.
        """
        if name in self._found:
            return self._found[name]
        own = self._canonical.get(canonical_name(name))
        asked = accession_assembly(name)
        has = (accession_assembly(own) if own else None) or self.assembly
        if asked and has and asked != has:
            raise BuildError(
                f"{name} is a sequence of another genome assembly.", needed=f"a contig of {has}",
                found=f"{name}, of {asked}", where=self._where,
                remedy="give VCF, FASTA (-R) and annotation (-A) of one assembly",
            )  # fmt: skip
        return self._found.setdefault(name, own)

"""The one place for contig naming: UCSC, Ensembl and RefSeq names of the same sequence."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

#: chrUn_KI270302v1, chr1_KI270706v1_random, chr1_KI270762v1_alt; hg19 writes chr1_gl000191_random without a version.
_UCSC_UNPLACED = re.compile(r"chr[0-9A-Za-z]+_([A-Za-z]{2}\d+)(?:v(\d+))?(?:_(?:random|alt|fix))?$")
_REFSEQ = re.compile(r"NC_(\d{6})\.\d+$")
_HUMAN_FIRST = 1  # NC_000001 is human chromosome 1, NC_000023 X, NC_000024 Y
_MOUSE_FIRST = 67  # NC_000067 is mouse chromosome 1, NC_000086 X, NC_000087 Y
_MITOCHONDRIAL_ACCESSIONS = {12920, 5089}  # human rCRS, mouse


@lru_cache(maxsize=65536)
def canonical_name(name: str) -> str:
    """Return the Ensembl-like name of a contig, so that chr17, 17 and NC_000017.11 are one.

    The assembly is not looked at: NC_000017.10 (GRCh37) and NC_000017.11 (GRCh38) are both 17. A name that follows
    no known scheme comes back unchanged.
    """
    refseq = _REFSEQ.match(name)
    if refseq:
        return _from_refseq(int(refseq[1])) or name
    unplaced = _UCSC_UNPLACED.match(name)
    if unplaced:
        # hg19's unplaced contigs carry no version because all of them are version 1.
        return f"{unplaced[1].upper()}.{unplaced[2] or 1}"
    # "chromosome1" is a scheme of its own: a lower-case letter after chr means that chr is no prefix.
    short = name[3:] if name[:3].lower() == "chr" and len(name) > 3 and not name[3].islower() else name
    return "MT" if short in ("M", "MT") else short


def is_mitochondrial(name: str) -> bool:
    """Tell whether a contig is the mitochondrial genome under any of its names."""
    return canonical_name(name) == "MT"


class ContigNames:
    """Find a contig of one file by any of its names.

    Args:
        names: the file's own names. Where two of them mean the same contig, the first answers for the others.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._found: dict[str, str | None] = {name: name for name in names}
        self._canonical: dict[str, str] = {}
        for name in self._found:
            self._canonical.setdefault(canonical_name(name), name)

    def find(self, name: str) -> str | None:
        """Return the file's own name: the exact one first, else one with the same canonical name, else None."""
        try:
            return self._found[name]
        except KeyError:
            return self._found.setdefault(name, self._canonical.get(canonical_name(name)))


def _from_refseq(number: int) -> str | None:
    if number in _MITOCHONDRIAL_ACCESSIONS:
        return "MT"
    for first, autosomes in ((_HUMAN_FIRST, 22), (_MOUSE_FIRST, 19)):
        rank = number - first + 1
        if 1 <= rank <= autosomes:
            return str(rank)
        if autosomes < rank <= autosomes + 2:
            return "XY"[rank - autosomes - 1]
    return None

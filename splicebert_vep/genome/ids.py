"""Ids of genes and transcripts with and without the version that a release gives them; biotypes that are kept."""

from __future__ import annotations

import re

#: Of genes, as Ensembl and GENCODE write them.
DEFAULT_BIOTYPES = ("protein_coding", "lncRNA")
#: ENSG00000012048.26; GENCODE's ENSG00000000003.10_8 (mapped to GRCh37) and ENSG00000002586.20_PAR_Y; NM_007294.4.
#: Other ids may end in a number that is part of them: the clone AC004556.3, the Arabidopsis transcript AT1G01010.1.
_ACCESSION = re.compile(r"((?:ENS[A-Z]*|OTT[A-Z]*|[NX][A-Z]_)\d+)(?:\.\d+(?:_\d+)?)?(?:_PAR_Y)?")


def stable_id(identifier: str) -> str:
    """Return an Ensembl, GENCODE or RefSeq id without its version, any other name unchanged."""
    match = _ACCESSION.fullmatch(identifier)
    return match[1] if match else identifier


def is_accession(identifier: str) -> bool:
    """Tell whether a name is an id of Ensembl, GENCODE or RefSeq, which is nobody's symbol."""
    return _ACCESSION.fullmatch(identifier) is not None

"""The region class of an SNV: the places in and around exons that its score is compared within."""

from __future__ import annotations

from splicebert_vep_spec import GeneContext

EXON_CORE, EXON_EDGE, CANONICAL, DEEP_INTRON, UTR = "exon_core", "exon_edge", "canonical", "deep_intron", "utr"

#: Random SNVs of a class that a table needs; with fewer a percentile means little.
LEAST = 100

_EDGE = 3  # nt
_UTR_REGIONS = ("5_prime_UTR", "3_prime_UTR")

#: Intronic classes by the first and last site offset that belongs to them; the first that matches wins.
_BY_OFFSET = (
    (CANONICAL, -2, 2),
    ("donor_3_6", 3, 6),
    ("acceptor_3_20", -20, -3),
    ("branchpoint_18_44", -44, -18),
    ("near_intron", -100, 100),
)

REGION_CLASSES = (EXON_CORE, EXON_EDGE, *(name for name, _, _ in _BY_OFFSET), DEEP_INTRON, UTR)


def region_class(context: GeneContext) -> str | None:
    """Return the class of an SNV's place in a gene; None where it has none.

    An SNV in an annotated dinucleotide of any transcript is canonical, even where another transcript has an exon there.
    Within 3 nt of the exon's nearest splice site it is exon_edge, coding or not; the rest of the untranslated regions
    is utr, the rest of all other exons exon_core. In an intron the site offset decides; one whose nearest edge is the
    end of a transcript has none, and no class.
    """
    if context.site_hit is not None:
        return CANONICAL
    offset = None if context.site_offset is None else int(context.site_offset)
    if context.region != "intron":
        if offset is not None and offset <= _EDGE:
            return EXON_EDGE
        return UTR if context.region in _UTR_REGIONS else EXON_CORE
    if offset is None:
        return None
    return next((name for name, first, last in _BY_OFFSET if first <= offset <= last), DEEP_INTRON)

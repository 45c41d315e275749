"""Where an allele lies, as the groups that a reader compares scores within."""

from __future__ import annotations

from .reading import Row

_NEAR = 100  # nt from the exon
_NAMES = {
    "canonical": "splice-site dinucleotide",
    "donor_3_6": "donor +3 to +6",
    "acceptor_3_20": "acceptor -3 to -20",
    "branchpoint_18_44": "branchpoint region -18 to -44",
    "near_intron": f"near intron, to {_NEAR} nt",
    "deep_intron": f"deep intron, beyond {_NEAR} nt",
    "exon_edge": "exon edge, to 3 nt",
    "exon_core": "exon, beyond 3 nt",
    "exon": "exon",
    "utr": "untranslated region",
    "intron": "intron, beside a transcript's end",
}
NOT_CLASSED = "no region class"


def place_of(row: Row, *, classed: bool) -> str | None:
    """Return the group of an allele that has a gene.

    Args:
        classed: the file gives region classes (to SNVs); without them the region and the distance to the exon decide.
    """
    if classed:
        given = row.fields.get("REGION_CLASS")
        return NOT_CLASSED if given is None else _NAMES.get(given, given)
    if "REGION" not in row.fields:
        return None
    return _NAMES[_group(row)]


def _group(row: Row) -> str:
    region, offset = row.fields["REGION"], row.number("SITE_OFFSET")
    if "SITE_HIT" in row.fields:
        return "canonical"
    if region != "intron":
        return "utr" if region in ("5_prime_UTR", "3_prime_UTR") else "exon"
    if offset is None:
        return "intron"
    return "near_intron" if abs(offset) <= _NEAR else "deep_intron"


def position_words(region: str, offset: str | None) -> str:
    """Return where an allele lies in a gene; 'exon 12' would be read as the twelfth exon."""
    if offset is None:
        return region
    return f"{region} {offset}" if offset.startswith(("+", "-")) else f"{region}, base {offset} from the site"


def order_of(place: str) -> tuple[int, str]:
    """Order groups from the splice site outwards; names that are not known come last."""
    names = [*_NAMES.values(), NOT_CLASSED]
    return (names.index(place) if place in names else len(names), place)

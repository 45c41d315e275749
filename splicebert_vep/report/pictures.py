"""Pictures of a file's most disturbed alleles, drawn only by the model whose scores stand beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from splicebert_vep.annotator import Annotator
from splicebert_vep.errors import SettingsError
from splicebert_vep.profile import Profile
from splicebert_vep.variants import Variant
from splicebert_vep_spec import Value

from .columns import name_of
from .drawing import svg
from .page import Picture
from .picture import describe, draw
from .reading import Row

#: What has to be the same for a picture to belong to a file, with the options that set it.
_SAME = (
    ("WeightsSHA256", "--model"),
    ("ScoreDigest", "--model, --backend and --precision"),
    ("AnnotationDigest", "-A"),
)
_TOLERANCE = 1e-3  # what another processor moves a score by, and the digits that the file prints, are below it


def check_same(provenance: Mapping[str, str], annotator: Annotator, where: str) -> None:
    """See that an annotator gives the scores that a file holds.

    Args:
        provenance: of the file.
        where: its name, for the message.

    Raises:
        SettingsError: another model, other options that change scores, or other genes.
    """
    opened = annotator.run.provenance
    for name, option in _SAME:
        if provenance.get(name) != opened[name]:
            raise SettingsError(
                "The pictures would not be of the model and genes that the file's scores are of.",
                needed=f"{name} {provenance.get(name, 'as in the file, which does not say')}",
                found=f"{opened[name]}, of {opened['Model']} and {opened['Annotation']}",
                where=where,
                remedy=f"give {option} as for the run that annotated the file, or no -R for a page without pictures",
            )


def draw_pictures(rows: Sequence[Row], annotator: Annotator, provenance: Mapping[str, str]) -> Iterator[Picture]:
    """Draw rows, one by one.

    Args:
        provenance: of the file.

    Raises:
        SettingsError: the scores come out otherwise than in the file, as with another reference; or none of them is
            there to be compared, and the reference is another.
    """
    same_reference = provenance.get("ReferenceSHA256") == annotator.run.provenance["ReferenceSHA256"]
    for row in rows:
        profile = annotator.profile(Variant(row.chrom, row.pos, row.ref, row.alt), row.fields.get("GENE"))
        of_file = _check_scores(row, profile)
        if not of_file and not same_reference:
            raise SettingsError(
                f"No score of {name_of(row)} tells that the reference is the one that the file was annotated with.",
                needed=f"ReferenceSHA256 {provenance.get('ReferenceSHA256', 'as in the file, which does not say')}",
                found=annotator.run.provenance["ReferenceSHA256"],
                where=row.where,
                remedy="give -R as for the run that annotated the file, or no -R for a page without pictures",
            )
        profile = replace(profile, values={**profile.values, **of_file})  # one number on the page, to the last digit
        yield Picture(row, name_of(row), describe(profile), svg(draw(profile)))


def _check_scores(row: Row, profile: Profile) -> dict[str, Value]:
    """Return the scores of a row that its picture has too, as the file has them."""
    same: dict[str, Value] = {}
    for name, value in profile.values.items():
        if not isinstance(value, float) or name not in row.fields:
            continue
        written = row.number(name)
        assert written is not None
        if abs(written - value) > _TOLERANCE * max(1.0, abs(value)):
            raise SettingsError(
                f"The scores of {name_of(row)} come out otherwise than in the file, so its picture would be wrong.",
                needed=f"{name} {row.fields[name]}, as in the file",
                found=f"{value:.4f}",
                where=row.where,
                remedy="give -R as for the run that annotated the file; if it is that, annotate again",
            )
        same[name] = written
    return same

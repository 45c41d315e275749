"""Manifests of cohorts: tables, patterns and single files; what is wrong is told."""

import pytest

from splicebert_vep.errors import CohortError
from splicebert_vep.tools.manifest import read_manifest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no files"),
        ("# nothing\n", "no files"),
        ("missing.vcf\n", "not there"),
        ("a\0.vcf\n", "not there"),
        ("a.vcf\tone\tmore\n", "more columns"),
        ("a.vcf\nsub/a.vcf\n", "named a"),
        ("a.vcf\t../up\n", "cannot be a file's name"),
    ],
)
def test_a_bad_manifest_is_told(tmp_path, text, message):
    (tmp_path / "sub").mkdir()
    for path in ("a.vcf", "sub/a.vcf"):
        (tmp_path / path).write_text("x")
    manifest = tmp_path / "m.tsv"
    manifest.write_text(text)
    with pytest.raises(CohortError, match=message):
        read_manifest(str(manifest))


def test_a_manifest_may_have_names_comments_and_a_header(tmp_path):
    for name in ("a.vcf.gz", "b.bcf"):
        (tmp_path / name).write_text("x")
    manifest = tmp_path / "m.tsv"
    manifest.write_text("path\tname\n# comment\n\na.vcf.gz\tfirst\r\nb.bcf\n")
    assert [one.name for one in read_manifest(str(manifest))] == ["first", "b"]
    assert [one.name for one in read_manifest(str(tmp_path / "*.bcf"))] == ["b"]
    with pytest.raises(CohortError, match="no files"):
        read_manifest(str(tmp_path / "*.none"))
    with pytest.raises(CohortError, match="cannot be read"):
        read_manifest(str(tmp_path / "none.tsv"))

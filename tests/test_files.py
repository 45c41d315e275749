"""Outputs that would replace each other, or what is read."""

import pytest

from splicebert_vep.errors import SettingsError
from splicebert_vep.files import check_outputs


@pytest.mark.parametrize(
    ("outputs", "inputs"),
    [
        (["a.vcf", "./a.vcf"], []),
        (["-", "/dev/stdout"], []),
        (["a.vcf"], ["a.vcf"]),
        (["link"], ["a.vcf"]),
        (["a.fa.fai"], ["a.fa"]),
        (["a.vcf.gz", "a.vcf.gz.tbi"], []),
        (["a.db-wal"], ["a.db"]),
    ],
)
def test_an_output_that_would_replace_another_file_is_refused(outputs, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vcf").touch()
    (tmp_path / "link").symlink_to("a.vcf")
    with pytest.raises(SettingsError):
        check_outputs(outputs, inputs)


def test_other_outputs_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_outputs(["-", "b.vcf", "a.vcf.gz.tbi"], ["-", "a.vcf", tmp_path / "a.fa"])

"""The example plugin, built and installed as a plugin author would, against the program's own command line."""

import json
import os
import re
import sys

import cyvcf2
import pytest

from factories import EXAMPLES, ROOT, checked, installed

PLUGIN = ROOT / "plugin_spec" / "example"
EMIT = ["--emit", "flat,vep,tsv=t.tsv,jsonl=t.jsonl,parquet=t.parquet"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return installed(PLUGIN, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def annotate(run_with):
    def go(folder, *words, code=0, **plugged):
        """Annotate the example in ``folder``; return the files there, or stderr where the run is to fail."""
        folder.mkdir(exist_ok=True)
        fixed = [EXAMPLES / "brca1.vcf", "-R", EXAMPLES / "brca1.fa.gz", "--backend", "null", "-O", "o.vcf"]
        found, _, err = run_with("annotate", *fixed, *words, folder=folder, **plugged)
        assert found == code, err
        return err if code else {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    return go


def test_its_field_is_everywhere_while_it_is_installed_and_nowhere_after(annotate, site, tmp_path):
    before = annotate(tmp_path / "before", *EMIT)
    during = annotate(tmp_path / "during", *EMIT, sites=[site])
    assert annotate(tmp_path / "off", *EMIT, sites=[site], plugins="-example") == before
    assert annotate(tmp_path / "after", *EMIT) == before
    records = {variant.ID: variant for variant in cyvcf2.VCF(str(tmp_path / "during" / "o.vcf"))}
    # ClinVar 125852 is A>C: one of 201 bases of flanks and span becomes a C, on either strand a G or C.
    assert records["125852"].INFO["SpliceBERT_DELTA_GC"] == pytest.approx(1 / 201, abs=1e-4)
    assert b"|DELTA_GC|" in during["o.vcf"]
    assert re.search(rb'Plugins="([^"]*,)?example=0\.1\.0[,"]', during["o.vcf"])  # beside others that are installed
    _, *rows = [json.loads(line) for line in during["t.jsonl"].splitlines()]
    assert {row["ID"]: row["DELTA_GC"] for row in rows}["125852"] == pytest.approx(1 / 201)
    header = next(line for line in during["t.tsv"].splitlines() if not line.startswith(b"##"))
    assert b"DELTA_GC" in header.split(b"\t")


def test_its_output_lies_on_the_base_that_is_disturbed_most(annotate, site, tmp_path):
    words = ["--emit", "flat,bed=peaks.bed", "--scores", "KL_MAX,KL_MAX_POS"]
    track, *lines = annotate(tmp_path, *words, sites=[site])["peaks.bed"].decode().splitlines()
    assert track.startswith("track name=")
    peaks = {line.split("\t")[3]: line.split("\t") for line in lines}
    contig, start, end, name, score, strand = peaks["BRCA1:43047641A>C"]
    variant = next(variant for variant in cyvcf2.VCF(str(tmp_path / "o.vcf")) if variant.ID == "125852")
    assert (contig, strand, int(end) - int(start)) == ("chr17", "-", 1)
    # BRCA1 is on -, so an offset in transcript direction counts down the genome from the changed base.
    assert int(end) == 43047641 - variant.INFO["SpliceBERT_KL_MAX_POS"]
    assert int(score) == pytest.approx(1000 * variant.INFO["SpliceBERT_KL_MAX"], abs=1)


def test_it_says_what_it_needs(annotate, site, tmp_path):
    assert "needs KL_MAX" in annotate(tmp_path, "--emit", "flat,bed=peaks.bed", sites=[site], code=3)


def test_its_own_tests_pass_on_the_wheel(site, tmp_path):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")])))
    out = checked(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, PLUGIN / "tests",
        cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert " passed" in out and "failed" not in out


def test_it_is_made_with_the_contract_alone():
    source = (PLUGIN / "splicebert_vep_example.py").read_text()
    imported = [line for line in source.splitlines() if line.startswith(("import ", "from "))]
    assert [line.split()[1] for line in imported] == ["splicebert_vep_spec"]
    assert len(source.splitlines()) < 80

"""The SpliceAI plugin, built and installed as a user would, with a stand-in for SpliceAI, by the command line.

That it equals SpliceAI itself is for benchmarks/live_spliceai.py to show, where SpliceAI is installed.
"""

import ast
import os
import sys

import cyvcf2
import pytest

from factories import EXAMPLES, ROOT, checked, installed

PLUGIN = ROOT / "plugin_spec" / "spliceai"
MODULE = PLUGIN / "splicebert_vep_spliceai.py"
STAND_IN = PLUGIN / "tests" / "stand_in"
IMPORTED = "the stand-in was imported"
INPUT = [EXAMPLES / "brca1.vcf", "-R", EXAMPLES / "brca1.fa.gz", "--backend", "null"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return installed(PLUGIN, tmp_path_factory.mktemp("plugin"))


@pytest.fixture
def stand_in(tmp_path):
    """A copy of the stand-in whose genes are those of the example."""
    for file in STAND_IN.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            copy = tmp_path / "stand_in" / file.relative_to(STAND_IN)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    genes = '[("BRCA1", "17", "-", 43_044_295, 43_125_364, [43_044_295], [43_125_364])]'
    with (tmp_path / "stand_in" / "spliceai" / "utils.py").open("a") as utils:
        utils.write(f"\n\nGENES = {genes}\nprint({IMPORTED!r}, file=__import__('sys').stderr)\n")
    return tmp_path / "stand_in"


@pytest.fixture
def annotate(run_with, tmp_path, monkeypatch):
    monkeypatch.setenv("SPLICEAI_VEP_ANNOTATION", "grch38")
    return lambda *words, sites: run_with("annotate", *INPUT, *words, folder=tmp_path, sites=sites)


def test_its_fields_stand_beside_ours(annotate, site, stand_in, tmp_path):
    fields = "LLR,SpliceAI_DS_AG,SpliceAI_DS_MAX,SpliceAI_DP_AL,SpliceAI_DP_DG"
    code, out, err = annotate("--scores", fields, sites=[site, stand_in])
    assert code == 0, err
    assert IMPORTED in err.splitlines()
    (tmp_path / "o.vcf").write_text(out)  # which holds nothing but the VCF
    records = {variant.POS: variant for variant in cyvcf2.VCF(str(tmp_path / "o.vcf"))}
    snv, mnv = records[43047641], records[43045061]
    assert (snv.ALT, mnv.ALT) == (["C"], ["TT"])
    assert snv.INFO["SpliceBERT_SpliceAI_DS_AG"] == snv.INFO["SpliceBERT_SpliceAI_DS_MAX"] == pytest.approx(0.41)
    assert snv.INFO["SpliceBERT_SpliceAI_DP_DG"] == -50
    assert mnv.INFO["SpliceBERT_LLR"] is not None and mnv.INFO.get("SpliceBERT_SpliceAI_DS_AG") is None
    assert "SpliceAI 1.3.1+grch38-D50-M0, score 0 to 1: acceptor gain" in out


def test_spliceai_is_not_imported_unless_it_is_asked_for(annotate, site, stand_in):
    code, out, err = annotate(sites=[site, stand_in])
    assert code == 0, err
    assert IMPORTED not in err.splitlines()
    assert "SpliceAI" not in out


def test_without_spliceai_it_says_what_is_needed(annotate, site, tmp_path):
    code, _, err = annotate("--scores", "SpliceAI_DS_AG", "-O", "o.vcf", sites=[site])
    assert code == 3
    assert "Needed is SpliceAI 1.3.1, found none: pip install spliceai==1.3.1 tensorflow" in err
    assert not (tmp_path / "o.vcf").exists()


def test_its_own_tests_pass_on_the_wheel(site, tmp_path):
    out = checked(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, PLUGIN / "tests",
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert " passed" in out and "failed" not in out


def test_the_wheel_holds_nothing_of_spliceai(site):
    names = {path.name for path in site.iterdir() if path.suffix != ".dist-info" and path.name != "__pycache__"}
    assert names == {"splicebert_vep_spliceai.py"}
    [about] = site.glob("*.dist-info")
    needed = [line for line in (about / "METADATA").read_text().splitlines() if line.startswith("Requires-Dist")]
    assert needed == ["Requires-Dist: splicebert-vep-spec<0.2,>=0.1"]


def test_it_is_made_with_the_contract_alone_in_under_a_hundred_lines_of_code():
    tree = ast.parse(MODULE.read_text())
    imported = {
        name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) == {"splicebert_vep_spec"}
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = [node.body[0] for node in ast.walk(tree) if isinstance(node, kinds) and ast.get_docstring(node)]
    prose = {line for node in docstrings for line in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(map(str.strip, MODULE.read_text().splitlines()), 1)
    assert sum(bool(line) and not line.startswith("#") and number not in prose for number, line in lines) < 100

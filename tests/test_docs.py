"""The docs say what the program does: every block runs, lists are complete, links lead somewhere."""

import contextlib
import gzip
import io
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from splicebert_vep import errors
from splicebert_vep.cli import main as program
from splicebert_vep.model.checkpoint import load_checkpoint
from splicebert_vep.model.registry import DEFAULT_MODEL, quality_note, resolve_model
from splicebert_vep.plugins import load_plugins
from splicebert_vep.settings import N_FRAC, PERCENTILES, REGION_CLASS
from splicebert_vep_spec import Status

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "plugins.md"  # its blocks are files; test_plugin_guide.py runs them
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "recipes" / "README.md",
    ROOT / "example_vcfs" / "README.md",
    ROOT / "plugin_spec" / "README.md",
    ROOT / "plugin_spec" / "example" / "README.md",
    ROOT / "plugin_spec" / "spliceai" / "README.md",
]
COMMAND = f"{shlex.quote(sys.executable)} -P -c 'from splicebert_vep.cli.main import main; main()'"


def shell_lines() -> list[str]:
    """Every command line of the pages' shell blocks, but for installing, which .ci/run and the guide's test do."""
    found = []
    for page in PAGES:
        if page == GUIDE:
            continue
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"\s+#.*", "", line).strip()
                if line and not line.startswith(("python3 -m venv", "pip install", "#")):
                    found.append(line)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that has the files that the docs speak of, with the example's content."""
    work = tmp_path_factory.mktemp("docs")
    for name in ("example_vcfs", "docs", "plugin_spec", "benchmarks"):
        (work / name).symlink_to(ROOT / name)
    text = (ROOT / "example_vcfs" / "brca1.vcf").read_text()
    more = '##contig=<ID=17>\n##INFO=<ID=SpliceAI,Number=.,Type=String,Description="x">\n'
    (work / "in.vcf").write_text(text.replace("#CHROM", f"{more}#CHROM"))
    (work / "in.vcf.gz").symlink_to("in.vcf")
    (work / "vcfs").mkdir()
    for name in ("one", "two"):
        shutil.copy(work / "in.vcf", work / "vcfs" / f"{name}.vcf.gz")
    with gzip.open(ROOT / "example_vcfs" / "brca1.fa.gz") as packed, (work / "GRCh38.fa").open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    pysam.faidx(str(work / "GRCh38.fa"))
    (work / "GRCh37.fa").symlink_to("GRCh38.fa")
    (work / "genes.gff3.gz").write_text(
        "##gff-version 3\n"
        "1\tx\tgene\t1\t100\t.\t+\t.\tID=gene:G1;biotype=protein_coding;gene_id=G1\n"
        "1\tx\tmRNA\t1\t100\t.\t+\t.\tID=transcript:T1;Parent=gene:G1;transcript_id=T1\n"
        "1\tx\texon\t1\t100\t.\t+\t.\tParent=transcript:T1\n"
    )
    shim = work / "bin" / "splicebert-vep"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {COMMAND} "$@"\n')
    shim.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLICEBERT_VEP_CACHE", str(work / "cache"))
        patch.setenv("PATH", f"{shim.parent}{os.pathsep}{os.environ['PATH']}")
        (work / "in.bcf").symlink_to(ROOT / "example_vcfs" / "snvs.bcf")
        words = ["annotate", "in.vcf", "-R", "GRCh38.fa", "--emit", "flat,vep", "--backend", "null"]
        subprocess.run([shim, *words, "-O", "both.vcf.gz"], cwd=work, check=True, capture_output=True)
        for name in ("new", "scored"):
            for suffix in ("", ".tbi"):
                (work / f"{name}.vcf.gz{suffix}").symlink_to(f"both.vcf.gz{suffix}")
        yield work


def on_the_example(line: str) -> str:
    """Return a command line for the example: its build, the null backend, which answers at once, and few oligos."""
    line = re.sub(r"\bgrch37\b", "grch38", line)
    scoring = "annotate|score|plot|map|oligo|saturate|calibrate|cohort run|cohort plan"
    line = line.replace("splicebert-vep oligo", "splicebert-vep oligo --step 8 --length 20")
    if "PCTL" in line and "--calibration" not in line:
        return line  # the bundled table is of the bundled model
    return re.sub(rf"(splicebert-vep (?:{scoring})\b)", r"\1 --backend null", line)


def test_the_readme_has_the_two_setup_commands():
    text = (ROOT / "README.md").read_text()
    setup = [line for line in text.splitlines() if line.startswith("python3 -m venv")]
    assert len(setup) == 2
    assert all("-c constraints.txt" in line for line in setup)


@pytest.mark.parametrize("line", shell_lines())
def test_every_command_of_the_docs_runs(line, folder, monkeypatch, capfd):
    if "models pull" in line:
        pytest.skip("needs a network")
    tools = {words.split()[0] for words in re.split(r"\||&&|;", line)} - {
        "splicebert-vep",
        "python",
        "cd",
        "cat",
        "zcat",
    }
    if missing := sorted(tool for tool in tools if shutil.which(tool) is None):
        pytest.skip(f"{', '.join(missing)} not installed")
    line = on_the_example(line)
    monkeypatch.chdir(folder)
    if re.search(r"[|&;<>]", line) or not line.startswith("splicebert-vep "):
        line = re.sub(r"^python\b", shlex.quote(sys.executable), line)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=300, check=False
        )
        code, err = done.returncode, done.stderr
    else:
        code = program._run(shlex.split(line)[1:])
        err = capfd.readouterr().err
    assert code == 0, err
    assert "Traceback" not in err


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"```(\w+)\n(.*?)```", page.read_text(), re.DOTALL)


def same_output(found: str, expected: str) -> None:
    """Compare line by line; a number may differ by one in its last digit, and by 1e-4, between processors."""
    assert len(found.splitlines()) == len(expected.splitlines()), found
    for got, wanted in zip(found.splitlines(), expected.splitlines(), strict=True):
        for one, other in zip(got.split(), wanted.split(), strict=True):
            try:
                decimals = len(other.partition(".")[2])
                assert float(one) == pytest.approx(float(other), abs=1.01 * max(10.0**-decimals, 1e-4))
            except ValueError:
                assert one == other


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p != GUIDE and "```python" in p.read_text()], ids=lambda page: page.name
)
def test_the_python_of_the_docs_runs(page, folder, monkeypatch):
    """Blocks of a page run in one namespace; a text block that follows one is what it prints."""
    monkeypatch.chdir(folder)
    space: dict[str, object] = {}
    compared = 0
    found = blocks(page)
    for i, (language, source) in enumerate(found):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, page.name, "exec"), space)
        if i + 1 < len(found) and found[i + 1][0] == "text":
            same_output(printed.getvalue(), found[i + 1][1])
            compared += 1
    assert compared or page.name != "tutorial.md"


@pytest.mark.parametrize("name", re.findall(r"^::: (\S+)", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
def test_the_reference_names_what_is_there(name):
    assert pkgutil.resolve_name(name).__doc__


def test_every_field_and_status_is_documented():
    scores, statuses = ((ROOT / "docs" / name).read_text() for name in ("scores.md", "formats.md"))
    for scorer in load_plugins().scorers:
        for field in (*scorer.fields, N_FRAC):
            assert re.search(rf"\b{field.id}\b", scores), field.id
    for name in (*PERCENTILES, REGION_CLASS.id):
        assert re.search(rf"\b{name}\b", scores), name
    rows = re.findall(r"^\| ([A-Z_]+) \|", statuses.partition("## Statuses")[2], re.MULTILINE)
    assert rows == [str(status) for status in Status]  # in the order in which they apply


def test_the_quality_that_the_program_prints_is_that_of_the_model_card():
    said = quality_note(resolve_model(DEFAULT_MODEL))
    assert said and said in " ".join((ROOT / "docs" / "models.md").read_text().split())
    assert load_checkpoint(resolve_model(DEFAULT_MODEL)).weights_sha256 in (ROOT / "docs" / "models.md").read_text()


def test_every_page_can_be_reached_from_the_readme():
    text = (ROOT / "README.md").read_text()
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert f"docs/{page.name}" in text, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_exit_codes_are_documented():
    text = (ROOT / "docs" / "formats.md").read_text()
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    for code in codes | {0, 1, 2, 8, 130, 141, 143}:
        assert re.search(rf"^\| (\d+, )?{code} \|", text, re.MULTILINE), code


def test_no_page_names_a_path_of_one_machine():
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|tmp|root)/", page.read_text()), page.name

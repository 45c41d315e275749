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
from importlib import import_module
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
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *sorted(DOCS.glob("*.md")),
    *(ROOT / name / "README.md" for name in ("docs/recipes", "example_vcfs", "plugin_spec")),
    *(ROOT / "plugin_spec" / name / "README.md" for name in ("example", "spliceai", "cispliceai")),
]
TEXT = {page: page.read_text() for page in PAGES}
GUIDE = DOCS / "plugins.md"  # its blocks are files; test_plugin_guide.py runs them
RUN = [page for page in PAGES if page != GUIDE]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return language and text of a page's code blocks."""
    return re.findall(r"```(\w+)\n(.*?)```", TEXT[page], re.DOTALL)


def shell_lines() -> list[str]:
    """Return every command of the pages once, but those that install, which .ci/run does."""
    pages = [page for page in RUN if page.parent.name != "example_vcfs"]  # test_examples.py runs those of the examples
    texts = [text.replace("\\\n", " ") for page in pages for language, text in blocks(page) if language == "sh"]
    found = dict.fromkeys(re.sub(r"\s+#.*", "", line).strip() for text in texts for line in text.splitlines())
    return [line for line in found if line and not line.startswith(("python3 -m venv", "pip install", "#"))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the files that the docs speak of, made of the example's content."""
    work = tmp_path_factory.mktemp("docs")
    for name in ("example_vcfs", "docs", "plugin_spec", "benchmarks"):
        (work / name).symlink_to(ROOT / name)
    lines = (ROOT / "example_vcfs" / "brca1.vcf").read_text().splitlines(keepends=True)
    body = [number for number, line in enumerate(lines) if line[0] != "#"]
    text = "".join(lines[: body[12]])  # enough records for every command
    more = '##contig=<ID=17>\n##INFO=<ID=SpliceAI,Number=.,Type=String,Description="x">\n'
    (work / "in.vcf").write_text(text.replace("#CHROM", f"{more}#CHROM"))
    (work / "in.vcf.gz").symlink_to("in.vcf")
    (work / "in.bcf").symlink_to(ROOT / "example_vcfs" / "snvs.bcf")
    (work / "vcfs").mkdir()
    for name in ("one", "two"):
        shutil.copy(work / "in.vcf", work / "vcfs" / f"{name}.vcf.gz")
    (work / "GRCh38.fa").write_bytes(gzip.decompress((ROOT / "example_vcfs" / "brca1.fa.gz").read_bytes()))
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
    code = "from splicebert_vep.cli.main import main; main()"
    shim.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -c '{code}' \"$@\"\n")
    shim.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLICEBERT_VEP_CACHE", str(work / "cache"))
        patch.setenv("PATH", f"{shim.parent}{os.pathsep}{os.environ['PATH']}")
        words = ["annotate", "in.vcf", "-R", "GRCh38.fa", "--emit", "flat,vep", "--backend", "null"]
        subprocess.run([shim, *words, "-O", "both.vcf.gz"], cwd=work, check=True, capture_output=True)
        for suffix in ("", ".tbi"):
            (work / f"scored.vcf.gz{suffix}").symlink_to(f"both.vcf.gz{suffix}")
        yield work


def on_the_example(line: str) -> str:
    """Return a command for the example: its build, few oligos, and the null backend, which answers at once."""
    line = re.sub(r"\bgrch37\b", "grch38", line)
    line = re.sub(r"(?<=oligo )(.*--length) \S+ --step \d+", r"\1 20 --step 40", line)
    if "PCTL" in line and "--calibration" not in line:
        return line  # the bundled table is of the bundled model
    line = line.replace("splicebert-vep serve", "splicebert-vep serve --port 0")
    scoring = "annotate|score|serve|plot|map|oligo|saturate|calibrate|cohort run"
    return re.sub(rf"(splicebert-vep (?:{scoring})\b)", r"\1 --backend null", line)


@pytest.mark.parametrize("line", shell_lines())
def test_every_command_of_the_docs_runs(line, folder, monkeypatch, capfd, request):
    if "models pull" in line:
        pytest.skip("needs a network")
    if "cispliceai" in line:
        request.getfixturevalue("cispliceai")
    there = {"splicebert-vep", "python", "cd", "cat", "zcat"}
    tools = {words.split()[0] for words in re.split(r"\||&&|;", line)} - there
    if missing := sorted(tool for tool in tools if shutil.which(tool) is None):
        pytest.skip(f"{', '.join(missing)} not installed")
    if "vep serve" in line:
        monkeypatch.setattr(import_module("splicebert_vep.tools.serve.app"), "run", lambda app, where: None)
    line = re.sub(r" > \S+$", "", on_the_example(line))
    monkeypatch.chdir(folder)
    if re.search(r"[|&;<>]", line) or not line.startswith("splicebert-vep "):
        line = re.sub(r"^python\b", shlex.quote(sys.executable), line)
        argv = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
        code, err = done.returncode, done.stderr
    else:
        code, err = program._run(shlex.split(line)[1:]), capfd.readouterr().err
    assert code == 0, err
    assert "Traceback" not in err


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


@pytest.mark.parametrize("page", [page for page in RUN if "```py" in TEXT[page]], ids=lambda page: page.name)
def test_the_python_of_the_docs_runs(page, folder, monkeypatch, request):
    """A page's blocks run in one namespace and print the text block behind them; ``py`` blocks need a cluster."""
    if 'splice_model="cispliceai"' in TEXT[page]:
        request.getfixturevalue("cispliceai")
    monkeypatch.chdir(folder)
    space: dict[str, object] = {}
    found = blocks(page)
    for (language, source), (following, expected) in zip(found, [*found[1:], ("", "")], strict=True):
        if language not in ("python", "py"):
            continue
        code, printed = compile(source, page.name, "exec"), io.StringIO()
        if language == "python":
            with contextlib.redirect_stdout(printed):
                exec(code, space)
            if following == "text":
                same_output(printed.getvalue(), expected)


@pytest.mark.parametrize("name", re.findall(r"^::: (\S+)", TEXT[DOCS / "api.md"], re.MULTILINE))
def test_the_reference_names_what_is_there(name):
    assert pkgutil.resolve_name(name).__doc__


def test_the_readme_has_the_two_setup_commands():
    setup = [line for line in TEXT[ROOT / "README.md"].splitlines() if line.startswith("python3 -m venv")]
    assert len(setup) == 2
    assert all("-c constraints.txt" in line for line in setup)


def test_every_field_status_and_exit_code_is_documented():
    scores, formats = TEXT[DOCS / "scores.md"], TEXT[DOCS / "formats.md"]
    fields = [field.id for scorer in load_plugins().scorers for field in (*scorer.fields, N_FRAC, REGION_CLASS)]
    for name in (*fields, *PERCENTILES):
        assert re.search(rf"\b{name}\b", scores), name
    rows = re.findall(r"^\| ([A-Z_]+) \|", formats.partition("## Statuses")[2], re.MULTILINE)
    assert rows == [str(status) for status in Status]  # in the order in which they apply
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    for code in codes | {0, 1, 2, 8, 130, 141, 143}:
        assert re.search(rf"^\| (\d+, )?{code} \|", formats, re.MULTILINE), code


def test_the_columns_are_documented_in_their_order_with_their_types(run, tmp_path):
    words = (
        "annotate",
        ROOT / "example_vcfs" / "brca1.vcf",
        "-R",
        ROOT / "example_vcfs" / "brca1.fa.gz",
        "--backend",
        "null",
    )
    assert run(*words, "-O", tmp_path / "out.vcf")[0] == 0
    lines = re.findall(
        r"^##INFO=<ID=SpliceBERT_(\w+),Number=A,Type=(\w+)", (tmp_path / "out.vcf").read_text(), re.MULTILINE
    )
    table = TEXT[DOCS / "formats.md"].partition("### Columns")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| ([A-Z0-9_, ]+) \| (\w+)", table, re.MULTILINE)
    assert [(name, kind) for names, kind in rows for name in names.split(", ")] == lines


def test_the_quality_that_the_program_prints_is_that_of_the_model_card():
    card = " ".join(TEXT[DOCS / "models.md"].split())
    assert (said := quality_note(resolve_model(DEFAULT_MODEL))) and said in card
    assert load_checkpoint(resolve_model(DEFAULT_MODEL)).weights_sha256 in card


def test_every_page_can_be_reached_from_the_readme():
    for page in DOCS.glob("*.md"):
        assert f"docs/{page.name}" in TEXT[ROOT / "README.md"], page.name


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives a page's headings."""
    heads = re.findall(r"^#+ (.*)", re.sub(r"```.*?```", "", TEXT[page], flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?://)([^)#\s]*)#?([^)\s]*)\)", TEXT[page]):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        assert not anchor or path not in TEXT or anchor in anchors(path), f"{target}#{anchor}"


def test_no_page_names_a_path_of_one_machine():
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|tmp|root)/", TEXT[page]), page.name

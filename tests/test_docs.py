"""The docs say what the program does: commands run, lists are complete, paths exist."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from splicebert_vep import plugins
from splicebert_vep.cli import main as program
from splicebert_vep.plugins import load_plugins
from splicebert_vep.settings import N_FRAC
from splicebert_vep_spec import Status

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "example_vcfs" / "README.md"]


def commands() -> list[str]:
    """Every splicebert-vep command of the pages' shell blocks, without what stands before or after it in a line."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|\|(?!\|)", line.split("#")[0]):
                    if part.strip().startswith("splicebert-vep "):
                        found.append(part.strip().removeprefix("splicebert-vep "))
    return found


def test_the_readme_has_the_two_setup_commands():
    text = (ROOT / "README.md").read_text()
    setup = [line for line in text.splitlines() if line.startswith("python3 -m venv")]
    assert len(setup) == 2
    assert all("-c constraints.txt" in line for line in setup)


@pytest.mark.parametrize("command", commands())
def test_every_command_of_the_docs_runs(command, tmp_path, monkeypatch, capfd):
    """File names of the docs are given the example's content; a network is never needed."""
    monkeypatch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path / "cache"))
    words = shlex.split(command.split(">")[0])
    words = ["example_vcfs/brca1.fa.gz" if word in ("GRCh38.fa", "GRCh37.fa") else word for word in words]
    if words[:2] == ["models", "pull"]:
        pytest.skip("needs a network")
    work = tmp_path / "work"
    work.mkdir()
    (work / "example_vcfs").symlink_to(ROOT / "example_vcfs")
    for name in ("in.vcf", "in.vcf.gz"):
        (work / name).symlink_to(ROOT / "example_vcfs" / "brca1.vcf")
    (work / "genes.gff3.gz").write_text(
        "##gff-version 3\n"
        "1\tx\tgene\t1\t100\t.\t+\t.\tID=gene:G1;biotype=protein_coding;gene_id=G1\n"
        "1\tx\tmRNA\t1\t100\t.\t+\t.\tID=transcript:T1;Parent=gene:G1;transcript_id=T1\n"
        "1\tx\texon\t1\t100\t.\t+\t.\tParent=transcript:T1\n"
    )
    monkeypatch.chdir(work)
    if words[0] == "annotate" and not any(word.endswith((".vcf", ".vcf.gz")) for word in words[1:2]):
        words.insert(1, "in.vcf")
    if words[0] in ("annotate", "score"):
        words += ["--backend", "null"]
    if "grch37" in words:  # the example is GRCh38
        words[words.index("grch37")] = "grch38"
    code = program._run(words)
    out, err = capfd.readouterr()
    assert code == 0, err
    assert "Traceback" not in err


def test_every_field_and_status_is_documented():
    scores, statuses = ((ROOT / "docs" / name).read_text() for name in ("scores.md", "statuses.md"))
    for scorer in load_plugins().scorers:
        for field in (*scorer.fields, N_FRAC):
            assert re.search(rf"\b{field.id}\b", scores), field.id
    rows = re.findall(r"^\| ([A-Z_]+) \|", statuses, re.MULTILINE)
    assert rows == [str(status) for status in Status]  # in the order in which they apply


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_exit_codes_are_documented():
    text = (ROOT / "docs" / "formats.md").read_text()
    errors = __import__("splicebert_vep.errors", fromlist=["x"])
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    for code in (codes - {1}) | {0, 2, 8, 130, 141, 143}:
        assert re.search(rf"^\| {code} \|", text, re.MULTILINE), code


def test_no_page_names_a_path_of_one_machine():
    for page in PAGES:
        assert not re.search(r"(?<![\w.])/(work|home|tmp|root)/", page.read_text()), page.name


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_plugin_of_the_readme_works(monkeypatch, tmp_path, capfd):
    module: dict[str, object] = {}
    exec(python_blocks()[0], module)
    plugin = SimpleNamespace(register_scorers=module["register_scorers"])
    point = SimpleNamespace(name="changed", value="m", dist=SimpleNamespace(version="1"), load=lambda: plugin)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    arguments = ["score", "17-43045061-CC-TT", "17-43045691-T-TG", "-R", str(ROOT / "example_vcfs" / "brca1.fa.gz")]
    assert program._run([*arguments, "--backend", "null", "--scores", "TOKENS_CHANGED"]) == 0
    values = re.findall(r"TOKENS_CHANGED +(\d+)", capfd.readouterr().out)
    assert values == ["2", "0"]  # two bases of the MNV; an inserted base has no pair


def test_the_python_of_the_readme_works(monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    exec(python_blocks()[1], {})
    assert float(capfd.readouterr().out) == pytest.approx(0.4488, abs=1e-4)

"""The guide for plugin authors, followed to the letter: from an empty folder to passing tests and outputs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pysam
import pytest

from factories import ROOT

GUIDE = (ROOT / "docs" / "plugins.md").read_text()
FILES = dict(re.findall(r"\*\*`([\w.]+)`\*\*\n\n```python\n(.*?)```", GUIDE, re.DOTALL))
SHELL = [block.splitlines() for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL)]


class Author:
    """A plugin author with a folder of their own, who installs into a folder beside the tests' environment."""

    def __init__(self, folder: Path, run_with) -> None:
        self.folder, self.site, self.run_with = folder, folder.parent / "site", run_with
        path = os.pathsep.join(filter(None, [str(self.site), os.environ.get("PYTHONPATH")]))
        self.environment = {**os.environ, "PYTHONPATH": path}
        (folder / "example_vcfs").symlink_to(ROOT / "example_vcfs")

    def write(self, name: str, text: str | None = None) -> None:
        (self.folder / name).write_text(FILES[name] if text is None else text)

    def run(self, line: str) -> tuple[int, str]:
        """Run a line of the guide, the program in this process; return exit code and output."""
        tool, *words = shlex.split(line)
        if tool == "splicebert-vep":
            code, out, err = self.run_with(*words, folder=self.folder, sites=[self.site])
            return code, out + err
        more = {
            "pip": ["--quiet", "--no-index", "--upgrade", "--target", str(self.site)],
            "pytest": ["-p", "no:cacheprovider", "--rootdir", str(self.folder)],
        }
        command = [sys.executable, "-m", tool, *words, *more[tool]]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def follow(self, lines: list[str]) -> str:
        said = ""
        for line in lines:
            if line == "pip install setuptools pytest":  # the tests have them
                continue
            code, text = self.run(line)
            assert code == 0, f"{line}\n{text}"
            said += text
        return said


def test_the_guide_from_the_empty_folder_to_the_end(tmp_path, run_with):
    (tmp_path / "mine").mkdir()
    author = Author(tmp_path / "mine", run_with)
    first_steps, first_use, second_use = SHELL
    for name in ("my_plugin.py", "setup.py", "test_my_plugin.py"):
        author.write(name)
    said = author.follow(first_steps)
    assert re.search(r"[1-9]\d* passed", said)
    assert "TOKENS_CHANGED" in said
    said = author.follow(first_use)
    # two bases of the MNV differ; of 46 records 45 have an ALT, one of them too long for a window
    assert re.search(r"TOKENS_CHANGED +2 ", said)
    assert (author.folder / "scores.jsonl").read_text().count('"TOKENS_CHANGED": 1,') > 10
    modules = ["purine_plugin", "hidden_plugin", "bed_plugin", "clinvar_plugin", "count_plugin", "soft_plugin"]
    setup = FILES["setup.py"].replace('["my_plugin"]', repr(["my_plugin", *modules]))
    points = ", ".join(f'"{name.removesuffix("_plugin")} = {name}"' for name in modules)
    author.write("setup.py", setup.replace('"mine = my_plugin"', f'"mine = my_plugin", {points}'))
    for name in (*(f"{module}.py" for module in modules), "test_more_plugin.py"):
        author.write(name)
    (author.folder / "clinvar.vcf").write_bytes((ROOT / "example_vcfs" / "brca1.vcf").read_bytes())
    pysam.tabix_index(str(author.folder / "clinvar.vcf"), preset="vcf")
    said = author.follow([*first_steps[1:2], "pytest -q test_more_plugin.py", *second_use])
    assert re.search(r"[1-9]\d* passed", said)
    assert "count: null" in said and "count: 45 ALTs" in said
    lines = (author.folder / "sites.bed").read_text().splitlines()
    assert lines and all(line.split("\t")[3] in ("BRCA1", "NBR2") for line in lines)
    assert said.rstrip().endswith(str(len(lines)))
    body = [line for line in (author.folder / "out.vcf").read_text().splitlines() if line[0] != "#"]
    own = [re.search(r"(?:^|;)CLNSIG=([^;]+)", line.split("\t")[7])[1] for line in body if "ClinVar_SIG=" in line]
    joined = [re.search(r"SpliceBERT_ClinVar_SIG=([^;\t]+)", line)[1] for line in body if "ClinVar_SIG=" in line]
    assert joined == own and len(own) > 30
    assert sum("SpliceBERT_HIDDEN_MAX=" in line for line in body) > 30
    score = "splicebert-vep score 17-43047641-A-C -R example_vcfs/brca1.fa.gz --scores LLR --backend"
    halved, whole = (float(re.search(r"LLR +(\S+)", author.run(f"{score} {it}")[1])[1]) for it in ("soft", "null"))
    assert halved == pytest.approx(whole / 2, abs=1e-4)
    code, said = author.run("splicebert-vep count-lines missing.bed")
    assert code == 3 and "There is no file missing.bed." in said


def test_every_hook_and_kind_is_in_the_guide():
    import splicebert_vep_spec
    from splicebert_vep_spec import hooks, testing

    found = [name for name, item in vars(hooks).items() if hasattr(item, "splicebert_vep_spec")]
    assert len(found) == 8
    kinds = [
        "Backend", "SpliceModel", "Scorer", "SequenceScorer", "InfoAdapter", "ColumnAdapter", "MergingAdapter",
        "TextAdapter", "TableAdapter", "JoinAdapter", "Command", "Refused",
    ]  # fmt: skip
    bases = [name for name in vars(testing) if name.endswith("Conformance") and name[0] != "_"]
    for name in [*found, *kinds, *bases]:
        assert name in GUIDE, name
    assert set(kinds) <= set(splicebert_vep_spec.__all__)

"""The recipes for workflow engines, and the cohort verbs by hand, come to the same bytes as ``cohort run``."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from factories import ROOT
from splicebert_vep.cli import main as program
from splicebert_vep.genome.reference import Reference

RECIPES = ROOT / "docs" / "recipes"
REFERENCE = ROOT / "example_vcfs" / "brca1.fa.gz"
COMMAND = f"{shlex.quote(sys.executable)} -P -c 'from splicebert_vep.cli.main import main; main()'"
START, LENGTH = 43_047_500, 200  # 0-based; 600 SNVs of BRCA1 around exon 22 are three units
UNITS = 3
NULL = ["--backend", "null", "--threads", "1"]


def write_vcf(path: Path, start: int, end: int) -> None:
    """Write all SNVs of chr17:[start, end), 0-based half-open."""
    with Reference(REFERENCE) as reference:  # its index goes into the cache, not beside the example
        bases = reference.fetch("chr17", start, end).decode()
    lines = ["##fileformat=VCFv4.2", "##contig=<ID=chr17,length=83257441>", "#CHROM POS ID REF ALT QUAL FILTER INFO"]
    lines += [
        f"chr17 {start + i} . {ref} {alt} . . ." for i, ref in enumerate(bases, start=1) for alt in "ACGT" if alt != ref
    ]
    path.write_text("".join(re.sub(" ", "\t", line) + "\n" for line in lines))


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A folder with two VCFs that share alleles, their manifest, and what ``cohort run`` makes of them in run/."""
    work = tmp_path_factory.mktemp("recipes")
    write_vcf(work / "one.vcf", START, START + 120)
    write_vcf(work / "two.vcf", START + 80, START + LENGTH)
    (work / "cohort.tsv").write_text("# the cohort\none.vcf\ntwo.vcf\tsecond\n")
    made = work / "by_run"
    made.mkdir()
    assert cli("run", work / "cohort.tsv", *of_run(made)) == 0
    return work


def of_run(folder: Path) -> list[str]:
    # One name of the store for all: it is written into the outputs.
    return ["-R", str(REFERENCE), *NULL, "--store", str(folder / "scores.sqlite"), "-O", str(folder / "run")]


def cli(verb: str, *words: object) -> int:
    return program._run(["cohort", verb, *map(str, words)])


def same_as_run(cohort: Path, folder: Path) -> None:
    """Compare every annotated file and the table with those of ``cohort run``, byte by byte."""
    expected = cohort / "by_run" / "run"
    names = sorted(path.name for path in (expected / "annotated").iterdir())
    assert names == ["one.vcf.gz", "one.vcf.gz.tbi", "second.vcf.gz", "second.vcf.gz.tbi"]
    assert sorted(path.name for path in (folder / "annotated").iterdir()) == names
    for name in (*(f"annotated/{name}" for name in names), "cohort.parquet"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    counts = [json.loads((one / "cohort.json").read_text())["status"] for one in (folder, expected)]
    assert counts[0] == counts[1] == {"OK": 720}


def test_merge_names_the_unit_that_is_missing_and_goes_on_once_it_is_there(cohort, tmp_path, capsys):
    folder = tmp_path / "run"
    assert cli("plan", cohort / "cohort.tsv", *of_run(tmp_path)) == 0
    assert capsys.readouterr().out == f"{UNITS}\n"
    assert cli("work", folder, "1-2") == 0
    capsys.readouterr()
    assert cli("merge", folder) == 3
    error = capsys.readouterr().err
    assert "1 of 3 shards are missing" in error and f"cohort work {folder} 3" in error
    assert not (folder / "cohort.json").exists() and not (folder / "annotated").exists()
    assert cli("work", folder, "missing") == 0
    assert "1 units scored" in capsys.readouterr().err
    assert cli("merge", folder) == 0
    same_as_run(cohort, folder)


class Snakemake:
    """Run the Snakefile in a folder of its own."""

    def __init__(self, cohort: Path, folder: Path) -> None:
        self.folder = folder
        (folder / "my.yaml").write_text(
            yaml.safe_dump(
                {
                    "manifest": str(cohort / "cohort.tsv"),
                    "reference": str(REFERENCE),
                    "store": str(folder / "scores.sqlite"),
                    "folder": str(folder / "run"),
                    "units_per_job": 2,
                    "threads": 1,
                    "extra": "--backend null",
                }
            )
        )
        (folder / "home").mkdir()
        self._environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "home"),
            "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        }

    def __call__(self, *words: str) -> str:
        """Run it and return what was printed."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "snakemake", "-s", str(RECIPES / "Snakefile"), "--configfile", "my.yaml"]
            + ["--cores", "2", "--nocolor", *words],
            cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        return text


def rules_of(text: str) -> list[str]:
    return [name for name in re.findall(r"^local(?:rule|checkpoint) (\w+):", text, re.MULTILINE) if name != "all"]


@pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="snakemake is not installed")
def test_the_snakefile_comes_to_the_same_and_mends_what_was_lost(cohort, tmp_path):
    # The first job of two units is killed after its first unit.
    executable(
        tmp_path / "bin" / "splicebert-vep",
        f"""#!/bin/sh
if [ "$2 $4" = "work 1-2" ] && mkdir {shlex.quote(str(tmp_path / "killed"))} 2>/dev/null; then
    {COMMAND} cohort work "$3" 1
    kill -9 $$
fi
exec {COMMAND} "$@"
""",
    )
    snakemake = Snakemake(cohort, tmp_path)
    text = snakemake()
    assert (tmp_path / "killed").exists()
    assert sorted(rules_of(text)) == ["merge", "plan", "work", "work", "work"]
    assert "1 units scored, 1 were there" in text  # the second try
    folder = tmp_path / "run"
    assert (folder / "units.txt").read_text() == f"{UNITS}\n"
    same_as_run(cohort, folder)

    assert "Nothing to be done" in snakemake()

    (folder / "shards" / "unit-000002.parquet").unlink()
    (folder / "cohort.json").unlink()
    assert rules_of(snakemake()) == ["merge"]
    assert (folder / "shards" / "unit-000002.parquet").exists()
    same_as_run(cohort, folder)

    shutil.rmtree(folder)  # the store knows every allele now
    assert rules_of(snakemake()) == ["plan", "merge"]
    assert (folder / "units.txt").read_text() == "0\n"
    same_as_run(cohort, folder)


def test_the_default_configuration_names_every_key_of_the_snakefile():
    default = yaml.safe_load((RECIPES / "config.yaml").read_text())
    assert set(default) == set(re.findall(r'config\["(\w+)"\]', (RECIPES / "Snakefile").read_text()))


@pytest.mark.parametrize("units, ranges", [(17, ["1-8", "9-16", "17-17"]), (16, ["1-8", "9-16"]), (0, [])])
def test_the_slurm_script_submits_every_unit_once_and_merges_after_them(tmp_path, units, ranges):
    """Stand-ins for srun and sbatch run at once what they are given; one for splicebert-vep writes down its words."""
    executable(tmp_path / "bin" / "srun", '#!/bin/bash\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"\n')
    executable(
        tmp_path / "bin" / "sbatch",
        """#!/bin/bash
echo "$*" >> submitted
script=$(cat)
for word; do [[ $word == --array=1-* ]] && tasks=$(seq "${word#--array=1-}"); done
for SLURM_ARRAY_TASK_ID in ${tasks:-0}; do
    export SLURM_ARRAY_TASK_ID
    bash -euc "$script"
done
echo "$(wc -l < submitted);cluster"
""",
    )
    executable(
        tmp_path / "bin" / "splicebert-vep",
        f"#!/bin/bash\n(IFS='|'; echo \"$*\" >> words)\n[[ $2 != plan ]] || echo {units}\n",
    )
    given = {
        "MANIFEST": "the cohort.tsv", "REFERENCE": "GRCh38.fa", "FOLDER": "my run", "STORE": "/local/s.sqlite",
        "STORE_NODE": "node01", "THREADS": "2", "EXTRA": "--backend null",
    }  # fmt: skip
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    script = ["bash", str(RECIPES / "slurm.sh")]
    done = subprocess.run(
        script, cwd=tmp_path, env={"PATH": path, **given}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    plan, *others = (tmp_path / "words").read_text().splitlines()
    assert plan == (
        "cohort|plan|the cohort.tsv|-R|GRCh38.fa|-A|grch38|--store|/local/s.sqlite|-O|my run|--threads|2|--backend|null"
    )
    assert others == [*(f"cohort|work|my run|{one}" for one in ranges), "cohort|merge|my run"]
    *work, merge = (tmp_path / "submitted").read_text().splitlines()
    assert len(work) == bool(ranges)
    assert ("--dependency=afterok:1 " in merge) == bool(ranges)
    assert "--nodelist=node01" in merge  # the store's

    del given["STORE_NODE"]
    done = subprocess.run(
        script, cwd=tmp_path, env={"PATH": path, **given}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0 and "STORE_NODE" in done.stderr


def test_the_slurm_script_is_bash():
    done = subprocess.run(["bash", "-n", RECIPES / "slurm.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_nextflow_pipeline_is_balanced_and_calls_every_process():
    """No more than a look at its structure: Nextflow is not run."""
    text = re.sub(r"(?m)(^|\s)//.*$", "", (RECIPES / "cohort.nf").read_text())
    assert text.count('"""') % 2 == 0
    waiting = []
    for sign in text:
        if sign in "{([":
            waiting.append(sign)
        elif sign in "})]":
            assert waiting and waiting.pop() + sign in ("{}", "()", "[]")
    assert not waiting
    processes = re.findall(r"(?m)^process (\w+) \{", text)
    [workflow] = re.findall(r"(?ms)^workflow \{\n(.*?)^\}", text)
    assert processes == ["PLAN", "WORK", "MERGE"]
    for name in processes:
        assert re.search(rf"\b{name}\(", workflow), name
    bodies = dict(re.findall(r"(?ms)^process (\w+) \{\n(.*?)^\}", text))
    for name, verb in (("PLAN", "plan"), ("WORK", "work"), ("MERGE", "merge")):
        assert f"splicebert-vep cohort {verb} " in bodies[name]
        assert ("executor 'local'" in bodies[name]) == (name != "WORK")  # who opens the store
    set_there = set(re.findall(r"(?m)^params\.(\w+) =", text))
    assert set_there == set(re.findall(r"params\.(\w+)", text))


def test_the_blocks_of_the_page_are_yaml_and_python():
    """They need a cluster; at least their syntax is right."""
    text = (ROOT / "docs" / "cohorts.md").read_text()
    for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        assert all(isinstance(part, dict) for part in yaml.safe_load_all(block))
    blocks = re.findall(r"```py\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "cohorts.md", "exec")

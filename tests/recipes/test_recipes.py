"""The recipes for workflow engines come to what ``cohort run`` makes in one go."""

import importlib.util
import os
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from factories import ROOT, records, unpacked
from splicebert_vep.cli import main as program
from splicebert_vep.genome.reference import Reference
from splicebert_vep.tools.diff import compare

RECIPES = ROOT / "docs" / "recipes"
REFERENCE = ROOT / "example_vcfs" / "brca1.fa.gz"
COMMAND = f"{shlex.quote(sys.executable)} -P -c 'from splicebert_vep.cli.main import main; main()'"
START, LENGTH = 43_047_500, 200  # 0-based; 600 SNVs of BRCA1 around exon 22
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
    """A folder with two VCFs that share alleles, their manifest and sites, and what ``cohort run`` makes in run/."""
    work = tmp_path_factory.mktemp("recipes")
    write_vcf(work / "one.vcf", START, START + 120)
    write_vcf(work / "two.vcf", START + 80, START + LENGTH)
    write_vcf(work / "sites.vcf", START, START + LENGTH - 10)  # thirty alleles are left for the end
    (work / "cohort.tsv").write_text("# the cohort\none.vcf\ntwo.vcf\tsecond\n")
    words = ["-R", REFERENCE, *NULL, "--store", work / "scores.sqlite", "-O", work / "run"]
    assert program._run(["cohort", "run", *map(str, (work / "cohort.tsv", *words))]) == 0
    return work


def same_as_run(cohort: Path, folder: Path) -> None:
    """Compare the records of every annotated file and the table with those of ``cohort run``."""
    for name in ("one.vcf.gz", "second.vcf.gz"):
        one, two = (records(unpacked(where / "annotated" / name)) for where in (folder, cohort / "run"))
        assert one == two
        assert (folder / "annotated" / f"{name}.tbi").exists()
    found = compare(folder, cohort / "run", 1e-4)
    assert len(found.changes) == found.only_old == found.only_new == 0


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_the_sites_are_split_into_all_their_parts(cohort, tmp_path, parts):
    (tmp_path / "few.vcf").write_text("".join((cohort / "sites.vcf").read_text().splitlines(keepends=True)[:8]))
    for sites in (cohort / "sites.vcf", tmp_path / "few.vcf"):
        subprocess.run(["bash", RECIPES / "split-sites.sh", sites, str(parts), tmp_path / "parts"], check=True)
        texts = [(tmp_path / "parts" / f"{part}.vcf").read_text() for part in range(1, parts + 1)]
        head = [line for line in sites.read_text().splitlines() if line.startswith("#")]
        assert all(text.splitlines()[: len(head)] == head for text in texts)
        assert [row for text in texts for row in records(text)] == records(sites.read_text())


class Snakemake:
    """Run the Snakefile in a folder of its own."""

    def __init__(self, cohort: Path, folder: Path) -> None:
        self.folder = folder
        (folder / "my.yaml").write_text(
            yaml.safe_dump(
                {
                    "manifest": str(cohort / "cohort.tsv"),
                    "sites": str(cohort / "sites.vcf"),
                    "annotation": "grch38",
                    "scratch": str(folder),
                    "reference": str(REFERENCE),
                    "store": str(folder / "scores.sqlite"),
                    "folder": str(folder / "run"),
                    "parts": 3,
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
    return [name for name in re.findall(r"^(?:local)?rule (\w+):", text, re.MULTILINE) if name != "all"]


@pytest.mark.skipif(importlib.util.find_spec("snakemake") is None, reason="snakemake is not installed")
def test_the_snakefile_comes_to_the_same_and_goes_on_after_a_kill(cohort, tmp_path):
    # The job of part 2 is killed once it has stored its scores.
    executable(
        tmp_path / "bin" / "splicebert-vep",
        f"""#!/bin/sh
if [ "$1 $(basename "$2")" = "annotate 2.vcf" ] && mkdir {shlex.quote(str(tmp_path / "killed"))} 2>/dev/null; then
    {COMMAND} "$@"
    kill -9 $$
fi
exec {COMMAND} "$@"
""",
    )
    snakemake = Snakemake(cohort, tmp_path)
    text = snakemake()
    assert (tmp_path / "killed").exists()
    assert sorted(rules_of(text)) == ["annotate", "collect", "score", "score", "score", "score", "split"]
    assert "190 alleles known, 0 scored" in text  # the second try
    assert "30 scored" in text  # alleles that the sites lacked
    same_as_run(cohort, tmp_path / "run")
    assert not list(tmp_path.glob("splicebert-part-*"))
    assert "Nothing to be done" in snakemake()
    (tmp_path / "run" / "cohort.json").unlink()
    assert rules_of(snakemake()) == ["annotate"]
    same_as_run(cohort, tmp_path / "run")


def test_the_default_configuration_names_every_key_of_the_snakefile():
    default = yaml.safe_load((RECIPES / "config.yaml").read_text())
    assert set(default) == set(re.findall(r'config\["(\w+)"\]', (RECIPES / "Snakefile").read_text()))


def test_the_slurm_script_scores_every_part_and_annotates_after_them(cohort, tmp_path):
    """A stand-in for sbatch runs at once what it is given."""
    executable(
        tmp_path / "bin" / "sbatch",
        """#!/bin/bash
echo "$*" >> submitted
script=$(cat)
for word; do [[ $word == --array=1-* ]] && tasks=$(seq "${word#--array=1-}"); done
for SLURM_ARRAY_TASK_ID in ${tasks:-0}; do
    export SLURM_ARRAY_TASK_ID
    bash -uc "$script" || exit 1
done
echo "$(wc -l < submitted);cluster"
""",
    )
    executable(tmp_path / "bin" / "splicebert-vep", f'#!/bin/sh\nexec {COMMAND} "$@"\n')
    given = {
        "MANIFEST": str(cohort / "cohort.tsv"), "SITES": str(cohort / "sites.vcf"), "REFERENCE": str(REFERENCE),
        "FOLDER": "my run", "STORE": str(tmp_path / "my store.sqlite"), "STORE_NODE": "node01", "THREADS": "1",
        "PARTS": "2", "SCRATCH": str(tmp_path), "EXTRA": "--backend null",
    }  # fmt: skip
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    script = ["bash", str(RECIPES / "slurm.sh")]
    for _ in range(2):  # run again, it scores no part anew
        done = subprocess.run(
            script, cwd=tmp_path, env={**environment, **given}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        same_as_run(cohort, tmp_path / "my run")
    score, annotate = (tmp_path / "submitted").read_text().splitlines()[:2]
    assert "--array=1-2" in score
    assert "--dependency=afterok:1 " in annotate and "--nodelist=node01" in annotate  # the store's
    assert "alleles known, " not in done.stderr and done.stderr.count(" 0 new rows") == 2
    del given["STORE_NODE"]
    done = subprocess.run(
        script, cwd=tmp_path, env={**environment, **given}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0 and "STORE_NODE" in done.stderr


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
    assert processes == ["SPLIT", "SCORE", "ANNOTATE"]
    assert all(re.search(rf"\b{name}\(", workflow) for name in processes)
    bodies = dict(re.findall(r"(?ms)^process (\w+) \{\n(.*?)^\}", text))
    for name, words in (("SCORE", "annotate"), ("SCORE", "store export"), ("ANNOTATE", "cohort run")):
        assert f"splicebert-vep {words} " in bodies[name]
    assert "executor 'local'" in bodies["ANNOTATE"] and "executor 'local'" not in bodies["SCORE"]
    set_there = set(re.findall(r"params\.(\w+) =", text))
    assert set_there == set(re.findall(r"params\.(\w+)", text))

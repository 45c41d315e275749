"""A cohort run that is killed again and again ends with the same bytes, and scores no unit that was finished twice."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from factories import COMMAND, FASTA, ROOT, SHARED, outputs, write_cohort

VCFS = [SHARED / "data" / "vcf" / f"1000G.{name}.GRCh38.vcf.gz" for name in ("RYR1", "CYP2D6")]
REFERENCE = SHARED / "data" / "reference" / "GRCh38.subset.fa.gz"


def start(manifest, reference, out, backend):
    words = ["cohort", "run", manifest, "-R", reference, "--backend", backend, "--device", "cpu", "-O", out]
    return subprocess.Popen([*COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True)


def finish(process):
    _, err = process.communicate(timeout=3000)
    assert process.returncode == 0, err


def shards(out):
    """Units that are finished, each with what tells that it was not written again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (out / "shards").glob("unit-*")}


def killed_again_and_again(manifest, reference, folder, backend, kills, seed):
    """Kill runs at random moments until there were as many kills; whenever one gets to its end, compare."""
    whole = folder / "whole"
    began = time.monotonic()
    finish(start(manifest, reference, whole, backend))
    lasted = time.monotonic() - began
    expected = outputs(whole)
    rng = random.Random(seed)
    out, done, ended = folder / "out", {}, 0
    while kills:
        process = start(manifest, reference, out, backend)
        try:
            process.wait(rng.uniform(0, lasted))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills -= 1
        process.stderr.close()
        now = shards(out)
        assert {name: now.get(name) for name in done} == done, "a finished unit was scored again"
        done = now
        if process.returncode == 0:
            assert outputs(out) == expected
            ended += 1
            shutil.rmtree(out)
            done = {}
    finish(start(manifest, reference, out, backend))
    now = shards(out)
    assert {name: now.get(name) for name in done} == done
    assert outputs(out) == expected
    left = [path for path in out.rglob(".*") if path.is_file()]
    assert left == [], "a later run removes what a killed one left"
    return ended


def test_a_few_kills_change_nothing(tmp_path):
    manifest = write_cohort(tmp_path / "vcfs", files=3, length=300)
    killed_again_and_again(manifest, FASTA, tmp_path, "null", kills=3, seed=os.getpid())


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_file(), reason="needs the project's shared 1000 Genomes files")
@pytest.mark.parametrize(("backend", "kills"), [("null", 20), ("torch", 3)])
def test_kills_of_a_real_cohort_change_nothing(tmp_path, backend, kills):
    words = [word for vcf in VCFS for word in ("--vcf", str(vcf))]
    script = ROOT / "benchmarks" / "make_inputs.py"
    subprocess.run([sys.executable, script, "samples", tmp_path / "vcfs", *words, "--count", "200"], check=True)
    manifest = f"{tmp_path / 'vcfs'}/*.vcf.gz"
    killed_again_and_again(manifest, REFERENCE, tmp_path, backend, kills, seed=os.getpid())

"""Runs that are killed again and again score one batch twice at most, and end as an unbroken run does."""

import random
import re
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from factories import COMMAND, FASTA, ROOT, SHARED, records, unpacked, write_cohort
from splicebert_vep.errors import StoreError
from splicebert_vep.store.store import ScoreStore

VCFS = [SHARED / "data" / "vcf" / f"1000G.{name}.GRCh38.vcf.gz" for name in ("RYR1", "CYP2D6")]
REFERENCE = SHARED / "data" / "reference" / "GRCh38.subset.fa.gz"


def stored(store):
    """Number of alleles in a store; 0 while it is being made."""
    try:
        with ScoreStore(store, writing=False) as opened:
            [[count]] = opened.select("SELECT count(*) FROM (SELECT DISTINCT contig, start, change FROM scores)")
            return count
    except StoreError:
        return 0


def start(words):
    return subprocess.Popen([*COMMAND, *map(str, words)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process):
    _, err = process.communicate(timeout=3000)
    assert process.returncode == 0, err
    return err


def killed_again_and_again(words, store, kills, seed):
    """Kill runs soon after they stored more, each at a random moment; return what the last one, unbroken, says."""
    rng = random.Random(seed)
    for _ in range(kills):
        before = stored(store)
        process = start(words)
        while process.poll() is None and stored(store) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        assert stored(store) >= before
    before = stored(store)
    err = finish(start(words))
    [scored] = re.findall(r"([\d,]+) scored", err)
    assert int(scored.replace(",", "")) == stored(store) - before, "an allele of the store was scored again"


def values(folder):
    """Return the records of every output, and the tables; headers name the store."""
    found = {path.name: records(unpacked(path)) for path in folder.rglob("*.vcf.gz")}
    return found, [pq.read_table(path).to_pylist() for path in folder.rglob("cohort.parquet")]


def check_same(killed, whole):
    """Compare printed values exactly; tables hold all digits, of which a kill moves the last: it parts a batch."""
    assert killed[0] == whole[0]
    for ours, theirs in zip(killed[1], whole[1], strict=True):
        for row, other in zip(ours, theirs, strict=True):
            assert row == {name: pytest.approx(v, abs=1e-5) if isinstance(v, float) else v for name, v in other.items()}


def check(tmp_path, words, output, kills, seed):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        given = [*words, "--device", "cpu", "--store", tmp_path / name / "s.sqlite", "-O", tmp_path / name / output]
        if name == "whole":
            finish(start(given))
        else:
            killed_again_and_again(given, tmp_path / name / "s.sqlite", kills, seed)
    check_same(values(tmp_path / "killed"), values(tmp_path / "whole"))
    assert [path for path in tmp_path.rglob("*") if ".tmp" in path.name] == []


def test_kills_of_annotate_change_nothing(tmp_path):
    write_cohort(tmp_path / "vcfs", files=1, length=800)
    words = ["annotate", tmp_path / "vcfs" / "s0.vcf", "-R", FASTA, "--backend", "null"]
    check(tmp_path, words, "x.vcf.gz", kills=2, seed=1)


def test_kills_of_a_cohort_change_nothing(tmp_path):
    manifest = write_cohort(tmp_path / "vcfs", files=3, length=800)
    check(tmp_path, ["cohort", "run", manifest, "-R", FASTA, "--backend", "null"], "out", kills=2, seed=2)


@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_file(), reason="needs the project's shared 1000 Genomes files")
@pytest.mark.parametrize("command", ["annotate", "cohort"])
def test_ten_kills_of_a_real_run_change_nothing(tmp_path, command):
    if command == "annotate":
        check(tmp_path, ["annotate", VCFS[1], "-R", REFERENCE], "x.vcf.gz", kills=10, seed=3)
        return
    given = [word for vcf in VCFS for word in ("--vcf", str(vcf))]
    script = ROOT / "benchmarks" / "make_inputs.py"
    subprocess.run([sys.executable, script, "samples", tmp_path / "vcfs", *given, "--count", "20"], check=True)
    check(tmp_path, ["cohort", "run", f"{tmp_path / 'vcfs'}/*.vcf.gz", "-R", REFERENCE], "out", kills=10, seed=4)

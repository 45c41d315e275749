"""Batches on Dask workers: over TCP, with a worker that is lost, and with an allele that kills its worker."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from factories import COMMAND, FASTA, FIRST, write_cohort
from splicebert_vep import Annotator
from splicebert_vep.errors import SettingsError, StoreError
from splicebert_vep.genome.reference import Reference
from splicebert_vep.store.store import ScoreStore
from splicebert_vep.tools import workers

pytest.importorskip("distributed", reason="Dask is not installed")

BATCHES = 4  # of at most 256 alleles
#: A backend for which one position is deadly, and which is slow enough for a worker to be lost half-way.
PLUGIN = """
import os, time
import numpy as np
from splicebert_vep.model.null import NullBackend
from splicebert_vep_spec import hookimpl

class Fragile(NullBackend):
    name, version = "fragile", "1"

    def forward(self, tokens, positions):
        time.sleep(float(os.environ.get("FRAGILE_SLEEP", "0")))
        deadly = os.environ.get("FRAGILE_DEADLY")
        if deadly:
            wanted = np.array([6 + "ACGT".index(base) for base in deadly])
            middle = np.asarray(tokens)[:, 1:-1]
            for start in (254 - 10, 255 - 10):
                if (middle[:, start : start + 21] == wanted).all(axis=1).any():
                    os._exit(9)
        return super().forward(tokens, positions)

@hookimpl
def register_backends():
    return [Fragile]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A cohort of some batches, an installed plugin, and what a run in one process makes of them."""
    folder = tmp_path_factory.mktemp("dask")
    installed = folder / "site"
    metadata = installed / "fragile-1.dist-info"
    metadata.mkdir(parents=True)
    (installed / "fragile_backend.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[splicebert_vep]\nfragile = fragile_backend\n")
    manifest = write_cohort(folder / "vcfs", files=2, length=BATCHES * 256 // 3)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(installed), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
        "SPLICEBERT_VEP_PLUGINS": "fragile",
        "FRAGILE_SLEEP": "0",
    }
    cohort_run(manifest, folder / "whole", environment, "--threads", "1")
    return folder, manifest, environment


def cohort_run(manifest, out, environment, *options, check=True):
    command = [*COMMAND, "cohort", "run", manifest, "-R", FASTA, "--backend", "fragile", "-O", out, *options]
    # What workers are started with is put together from this process's own start: without -P they find the plugin.
    command = [word for word in map(str, command) if word != "-P"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done


def log(folder, name):
    return (folder / f"{name}.log").open("w")


@contextlib.contextmanager
def cluster(folder, environment):
    """A scheduler and two single-threaded workers, as commands, over TCP."""
    processes = []
    try:
        with log(folder, "scheduler") as file:
            words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
            processes.append(start(words, environment, file))
        address = None
        for _ in range(300):
            found = re.search(r"Scheduler at: +(tcp://\S+)", (folder / "scheduler.log").read_text())
            if found:
                address = found[1]
                break
            time.sleep(0.1)
        assert address, (folder / "scheduler.log").read_text()
        for number in range(2):
            with log(folder, f"worker{number}") as file:
                words = ["worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
                processes.append(start(words, environment, file))
        yield address, processes[1:]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def start(words, environment, file):
    module = f"distributed.cli.dask_{words[0]}"
    return subprocess.Popen([sys.executable, "-m", module, *words[1:]], env=environment, stdout=file, stderr=file)


def values(folder):
    """The rows of the table, numbers to 1e-4: batches are put together otherwise on workers."""
    rows = pq.read_table(folder / "cohort.parquet").to_pylist()
    return [{k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def stored(store):
    if not store.exists():
        return 0
    with contextlib.suppress(StoreError), ScoreStore(store, writing=False) as opened:  # which is being made
        return sum(map(opened.count, opened.spaces()))
    return 0


def test_a_worker_that_is_lost_half_way_changes_nothing(place, tmp_path):
    folder, manifest, environment = place
    slow = {**environment, "FRAGILE_SLEEP": "0.05"}
    (tmp_path / "out").mkdir()
    with cluster(tmp_path, slow) as (address, processes):
        command = [sys.executable, *COMMAND[2:], "cohort", "run", manifest, "-R", FASTA, "--backend", "fragile"]
        command += ["-O", tmp_path / "out", "--dask", address]
        running = subprocess.Popen(list(map(str, command)), env=slow, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 120
        while not (there := stored(tmp_path / "out" / "scores.sqlite")) and time.monotonic() < deadline:
            time.sleep(0.05)
        processes[0].send_signal(signal.SIGKILL)
        _, err = running.communicate(timeout=240)
        assert running.returncode == 0, err
        assert 0 < there < BATCHES * 256 // 3 * 3, "the worker was lost after all was done"
        assert processes[1].poll() is None
    assert values(tmp_path / "out") == values(folder / "whole")


def test_an_allele_that_kills_its_worker_costs_only_its_batch(place, tmp_path):
    folder, manifest, environment = place
    with Reference(FASTA) as reference:
        at = FIRST - 1 + 2 * 256 // 3 + 40  # an allele of the third batch
        sequence = reference.fetch("chr17", at - 10, at + 11).decode()
    deadly = sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))  # BRCA1 lies on the reverse strand
    done = cohort_run(manifest, tmp_path / "out", {**environment, "FRAGILE_DEADLY": deadly}, "--dask", "local:2")
    assert "FAILED" in done.stderr
    rows = pq.read_table(tmp_path / "out" / "cohort.parquet").to_pylist()
    failed = [row for row in rows if row["STATUS"] == "FAILED"]
    assert {row["REASON"] for row in failed} == {"the worker process died while it scored the batch"}
    assert len(failed) == 256 and failed[0]["POS"] <= at + 1 <= failed[-1]["POS"]
    again = cohort_run(manifest, tmp_path / "out", environment)  # in this process, which the allele does not kill
    assert " 256 scored" in again.stderr and "FAILED" not in again.stderr
    assert values(tmp_path / "out") == values(folder / "whole")


@pytest.mark.parametrize(
    ("address", "word"), [("local:0", "--dask"), ("local:x", "--dask"), ("tcp://127.0.0.1:9", "scheduler")]
)
def test_a_scheduler_that_is_none_is_told(run, tmp_path, address, word, monkeypatch):
    monkeypatch.setattr(workers, "_PATIENCE", 1)
    manifest = write_cohort(tmp_path / "vcfs", files=1, length=5)
    words = ["-R", FASTA, "--backend", "null", "-O", tmp_path / "out", "--dask", address]
    code, _, err = run("cohort", "run", manifest, *words)
    assert code == 3 and word in err


def test_a_worker_that_would_compute_other_scores_is_refused():
    with Annotator(FASTA, backend="null", threads=1) as annotator:
        asked = annotator.to_json()
        space = (annotator.space.score_digest, annotator.space.annotation_digest, annotator.space.columns)
    with pytest.raises(SettingsError, match="other scores"):
        workers.score_batch(asked, ("0" * 64, *space[1:]), {}, [])
    with pytest.raises(SettingsError, match="other scores"):
        workers.score_batch(asked, space, {"chr17": "0" * 32}, [])
    assert workers.score_batch(asked, space, {}, []) == []

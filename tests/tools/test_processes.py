"""Processes that read and write a cohort's files: the same bytes as one process, and a clean end whatever happens."""

import os
import signal
import subprocess
import sys
import time

import pytest

from factories import EXAMPLES, FASTA, hear_interrupts, outputs, records, unpacked, write_cohort
from splicebert_vep.errors import OutputError
from splicebert_vep.tools import cohort, processes

#: The program, which starts processes for the smallest file.
PROGRAM = """
import splicebert_vep.tools.processes as processes
from splicebert_vep.cli.main import main
processes._WORTH = 1
main()
"""


@pytest.fixture
def forced(monkeypatch):
    """Have files of any size read and written by processes, three for two cores; count those that start."""
    monkeypatch.setattr(processes, "_WORTH", 1)
    started = []
    start = processes.FileProcesses._start

    def counted(self):
        started.append(1)
        start(self)

    monkeypatch.setattr(processes.FileProcesses, "_start", counted)
    return started


def words(manifest, out, threads=2, emit="flat"):
    given = ["cohort", "run", manifest, "-R", FASTA, "--backend", "null", "-O", out, "--emit", emit]
    return [*map(str, given), "--threads", str(threads), "--store", str(out.parent / "s.sqlite")]


ODD = ["statuses", "symbolic", "repeats", "multiallelic", "genotypes", "overlapping", "snvs"]
CSQ = '##INFO=<ID=CSQ,Number=.,Type=String,Description="From Ensembl VEP. Format: Allele|Consequence|SYMBOL|Gene">\n'


def compared(run, tmp_path, listed, emit):
    for threads in (1, 2):
        code, _, err = run(*words(listed, tmp_path / str(threads), threads, emit))
        assert code == 0, err
    assert outputs(tmp_path / "1") == outputs(tmp_path / "2")


def test_processes_write_what_one_writes(run, tmp_path, forced):
    """Also odd records, whose ALTs are symbolic and the like, and BCF."""
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{EXAMPLES / name}\n" for name in [*(f"{name}.vcf" for name in ODD[:-1]), "snvs.bcf"]))
    compared(run, tmp_path, listed, "flat,vep")
    assert len(forced) == 3


def test_entries_of_another_program_differ_from_file_to_file(run, tmp_path, forced):
    manifest = write_cohort(tmp_path / "vcfs", files=3, length=20)
    for number in range(3):
        path = tmp_path / "vcfs" / f"s{number}.vcf"
        entries = [f"CSQ={alt}|of_{number}|BRCA1|ENSG00000012048" for alt in "ACGT"]
        text = (
            path.read_text()
            .replace("##FORMAT", f"{CSQ}##FORMAT")
            .replace("X=1", ",".join(entries).replace(",CSQ=", ","))
        )
        path.write_text(text)
    compared(run, tmp_path, manifest, "csq")
    for number in range(3):
        text = unpacked(tmp_path / "2" / "annotated" / f"sample{number}.vcf.gz")
        assert all(f"|of_{number}|" in row[7] and "|OK" in row[7] for row in records(text))


def test_a_table_of_its_own_is_refused(run, tmp_path):
    """Each file would have replaced that of the file before."""
    manifest = write_cohort(tmp_path / "vcfs", files=2, length=2)
    code, _, err = run(*words(manifest, tmp_path / "out", emit=f"flat,tsv={tmp_path / 'x.tsv'}"))
    assert code == 3 and "cohort.parquet" in err and not (tmp_path / "x.tsv").exists()


def test_files_too_large_to_be_counted_at_once_count_the_same(run, tmp_path, forced, monkeypatch):
    manifest = write_cohort(tmp_path / "vcfs", files=3)
    assert run(*words(manifest, tmp_path / "whole"))[0] == 0
    monkeypatch.setattr(cohort, "_KEPT", 100)  # ALTs, of 450 in the first file
    monkeypatch.setattr(processes, "_KEPT", 100)
    assert run(*words(manifest, tmp_path / "parts"))[0] == 0
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")


def test_an_error_of_a_process_is_the_error_of_the_run(run, tmp_path, forced):
    manifest = write_cohort(tmp_path / "vcfs", files=3)
    out = tmp_path / "out"
    (out / "annotated" / "sample1.vcf.gz").mkdir(parents=True)
    code, _, err = run(*words(manifest, out))
    assert code == 5 and "sample1.vcf.gz" in err and "is a folder" in err
    assert list(out.rglob("*.tmp*")) == [] and not (out / "cohort.json").exists()
    (out / "annotated" / "sample1.vcf.gz").rmdir()
    assert run(*words(manifest, out))[0] == 0
    (tmp_path / "vcfs" / "s0.vcf").write_text("nothing of the kind\n")
    packed = (tmp_path / "vcfs" / "s2.vcf").read_bytes()
    (tmp_path / "vcfs" / "s2.vcf").write_bytes(packed[: len(packed) // 2])
    code, _, err = run(*words(manifest, out))
    assert code == 3 and "2 of 3 files cannot be used" in err and err.index("s0.vcf") < err.index("s2.vcf")


@pytest.mark.parametrize(
    ("program", "found"),
    [("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal 9"), ("raise SystemExit(4)", "exit code 4")],
)
def test_a_process_that_dies_is_told(run, tmp_path, forced, monkeypatch, program, found):
    monkeypatch.setattr(processes, "_PROGRAM", program)
    code, _, err = run(*words(write_cohort(tmp_path / "vcfs"), tmp_path / "out"))
    assert code == OutputError.exit_code and "has died" in err and found in err


def start(given):
    command = [sys.executable, "-P", "-c", PROGRAM, *given]
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear_interrupts
    )


def children(process):
    """Process ids of what a process has started."""
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(number) for number in found.stdout.split()]


def alive(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{number}/stat") as handle:  # a zombie has ended, and nobody has asked
        return handle.read().rpartition(")")[2].split()[0] != "Z"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """A cohort's manifest, and the outputs of a run by one process."""
    folder = tmp_path_factory.mktemp("unbroken")
    manifest = write_cohort(folder / "vcfs", files=30, length=100)
    process = start(words(manifest, folder / "out", threads=1))
    assert process.communicate(timeout=300)[1] and process.returncode == 0
    return manifest, outputs(folder / "out")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="reads /proc")
@pytest.mark.parametrize(("number", "code"), [("SIGKILL", -9), ("SIGINT", 130), ("SIGTERM", 143)])
def test_a_run_that_is_ended_ends_its_processes_and_goes_on(tmp_path, unbroken, number, code):
    """SIGINT goes to all, as Ctrl-C in a terminal does; the others to the parent alone."""
    (manifest, whole), out = unbroken, tmp_path / "out"
    process = start(words(manifest, out))
    annotated = out / "annotated"
    while process.poll() is None and not (annotated.is_dir() and list(annotated.glob("*.vcf.gz"))):
        time.sleep(0.001)
    workers = children(process)
    assert process.poll() is None and len(workers) == 3
    (os.killpg if number == "SIGINT" else os.kill)(process.pid, getattr(signal, number))
    err = process.communicate(timeout=60)[1]
    assert process.returncode == code and "Traceback" not in err
    deadline = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, workers))
    if number != "SIGKILL":
        assert list(out.rglob("*.tmp*")) == []
    again = start(words(manifest, out))
    assert again.communicate(timeout=300)[1] and again.returncode == 0
    assert outputs(out) == whole and list(out.rglob("*.tmp*")) == []

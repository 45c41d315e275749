"""A container as clusters run it: nobody, everything read-only, without HOME, cache and temporary folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from factories import FASTA, VCF

SOURCE = Path(__file__).parents[2]
#: Everything that is mounted becomes read-only, for this process and its children alone; nobody may read, not write.
CONTAINER = """
awk '$2 !~ "^/(proc|sys|dev)(/|$)" {print $2}' /proc/self/mounts | while read -r point; do
    mount -o remount,bind,ro "$point" || exit 1
done
for folder in /tmp /var/tmp /dev/shm; do
    if [ -d "$folder" ] && touch "$folder/splicebert-vep-test" 2> /dev/null; then
        mount --bind "$folder" "$folder" && mount -o remount,bind,ro "$folder" || exit 1
    fi
done
exec env -i PATH="$PATH" PYTHONPATH="$PYTHONPATH" SPLICEBERT_VEP_PLUGINS=none OMP_NUM_THREADS=1 \
    setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@"
"""


def in_container(*words: str, cwd: Path = SOURCE) -> subprocess.CompletedProcess[str]:
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", CONTAINER, "sh", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def container():
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("needs unshare and setpriv of util-linux")
    tried = in_container("sh", "-c", "test $(id -u) = 65534 && ! touch x /tmp/x /var/tmp/x")
    if tried.returncode:
        pytest.skip(f"this machine lets nobody make a read-only namespace: {tried.stderr.strip()[-200:]}")


def annotate(*words: str) -> subprocess.CompletedProcess[str]:
    start = (sys.executable, "-B", "-m", "splicebert_vep.cli.main", "annotate", str(VCF), "-R", str(FASTA))
    return in_container(*start, "--backend", "null", "--scores", "LLR", *words)


def test_the_example_is_annotated_without_a_place_to_write(container, run):
    found = annotate()
    assert found.returncode == 0, found.stderr
    warnings = [line for line in found.stderr.splitlines() if "warning" in line]
    assert len(warnings) == 1 and "SPLICEBERT_VEP_CACHE" in warnings[0]
    code, out, _ = run("annotate", VCF, "-R", FASTA, "--backend", "null", "--scores", "LLR")
    assert code == 0 and records(found.stdout) == records(out)


def records(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--output-type", "b"), "No usable temporary directory"),
        (("--emit", "parquet=x.parquet"), "Read-only file system"),
        (("--store", "s.db"), "unable to open database file"),
    ],
)
def test_what_cannot_be_written_ends_with_one_error_and_its_code(container, words, reason):
    found = annotate(*words)
    errors = [line for line in found.stderr.splitlines() if "error" in line.lower()]
    assert found.returncode == 5 and len(errors) == 1 and reason in found.stderr, found.stderr

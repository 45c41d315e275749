"""Outputs appear whole or not at all, replace no input, and the next run removes what killed runs left of them."""

import os
import signal
import subprocess
import sys
import time

import pytest

from splicebert_vep.errors import SettingsError
from splicebert_vep.files import check_outputs, whole_or_not

WRITER = """
import sys, time
from splicebert_vep.files import whole_or_not
with whole_or_not(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary, flush=True)
    time.sleep(60)
"""


def test_the_file_is_there_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), whole_or_not(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with whole_or_not(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["whole"]


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    out = tmp_path / "a.vcf.gz"
    living, killed = (
        subprocess.Popen([sys.executable, "-c", WRITER, out], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    try:
        names = [process.stdout.readline().strip() for process in (living, killed)]
        for suffix in (".tbi", ".csi"):
            (tmp_path / f"{os.path.basename(names[1])}{suffix}").touch()
        (tmp_path / ".a.vcf.gz.1-00000000.tmp.tbi").touch()
        os.utime(tmp_path / ".a.vcf.gz.1-00000000.tmp.tbi", (0, 0))
        others = {".b.vcf.gz.1-00000000.tmp", ".a.vcf.gz.mine.tmp", "a.vcf.gz.tmp"}
        for name in others:
            (tmp_path / name).touch()
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        with whole_or_not(out) as temporary:
            temporary.write_text("whole")
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {"a.vcf.gz", os.path.basename(names[0]), *others}
    finally:
        for process in (living, killed):
            process.kill()
            process.wait()
            process.stdout.close()


def test_two_outputs_of_one_process_under_one_name_do_not_harm_each_other(tmp_path):
    with whole_or_not(tmp_path / "a") as one:
        one.write_text("one")
        with whole_or_not(tmp_path / "a") as other:
            other.write_text("other")
        assert one.exists()
    assert (tmp_path / "a").read_text() == "one" and len(list(tmp_path.iterdir())) == 1
    assert time.time() - (tmp_path / "a").stat().st_mtime < 60


@pytest.mark.parametrize(
    ("outputs", "inputs"),
    [
        (["a.vcf", "./a.vcf"], []),
        (["-", "/dev/stdout"], []),
        (["a.vcf"], ["a.vcf"]),
        (["link"], ["a.vcf"]),
        (["a.fa.fai"], ["a.fa"]),
        (["a.vcf.gz", "a.vcf.gz.tbi"], []),
        (["a.db-wal"], ["a.db"]),
    ],
)
def test_an_output_that_would_replace_another_file_is_refused(outputs, inputs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vcf").touch()
    (tmp_path / "link").symlink_to("a.vcf")
    with pytest.raises(SettingsError):
        check_outputs(outputs, inputs)
    check_outputs(["-", "b.vcf", "a.vcf.gz.tbi"], ["-", "a.vcf", tmp_path / "a.fa"])

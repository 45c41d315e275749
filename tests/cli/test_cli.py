"""The program from outside: files and streams in and out, exit codes, and what goes to stderr."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cyvcf2
import pyarrow.parquet as pq
import pytest

from factories import COMMAND, EXAMPLES, FASTA, GTF, NULL, VCF, hear_interrupts, pipe, records
from splicebert_vep.errors import BackendError
from splicebert_vep.model.null import NullBackend


@pytest.mark.parametrize("words", [["--help"], ["models", "list"], ["genes", "build", "--help"]])
def test_help_and_lists_wait_neither_for_torch_nor_for_numpy(words):
    code = f"import sys; from splicebert_vep.cli import main; main._run({words}); sys.exit('numpy' in sys.modules)"
    assert b"splicebert" in subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout


def test_only_info_changes_and_an_earlier_annotation_is_replaced(run, tmp_path):
    once, twice = tmp_path / "once.vcf", tmp_path / "twice.vcf"
    assert run("annotate", VCF, *NULL, "-O", once)[0] == 0
    assert run("annotate", "-I", once, *NULL, "-O", twice)[0] == 0
    assert once.read_bytes() == twice.read_bytes()
    for before, after in zip(records(VCF.read_text()), records(once.read_text()), strict=True):
        assert after[:7] == before[:7]
        assert after[7].startswith(before[7])
        assert before[4] == "." or "SpliceBERT_STATUS=" in after[7]
        assert before[4] != "." or after == before
    assert run("annotate", once, *NULL, "--emit", "vep", "-O", twice)[0] == 0
    assert "SpliceBERT_LLR" not in twice.read_text()
    assert once.read_text().count("##SpliceBERT_provenance") == 1


def test_every_kind_of_input_gives_the_same_output(run, tmp_path):
    packed = tmp_path / "in.vcf.gz"
    packed.write_bytes(gzip.compress(VCF.read_bytes()))
    assert run("annotate", VCF, *NULL, "-O", tmp_path / "ref.vcf")[0] == 0
    expected = (tmp_path / "ref.vcf").read_bytes()
    assert run("annotate", packed, *NULL, "-O", tmp_path / "a.vcf")[0] == 0
    assert (tmp_path / "a.vcf").read_bytes() == expected
    assert pipe("annotate", *NULL, data=VCF.read_bytes()).stdout == expected
    assert pipe("annotate", "-I", "-", "-O", "-", *NULL, data=packed.read_bytes()).stdout == expected


def test_bcf_holds_the_same_values_on_every_way(run, tmp_path):
    assert run("annotate", VCF, *NULL, "--emit", "flat,vep", "-O", tmp_path / "a.vcf")[0] == 0
    assert run("annotate", VCF, *NULL, "--emit", "flat,vep", "-O", tmp_path / "a.bcf")[0] == 0
    assert run("annotate", VCF, *NULL, "--emit", "flat,vep", "-O", tmp_path / "a.vcf.gz")[0] == 0
    assert (tmp_path / "a.bcf.csi").exists()
    assert (tmp_path / "a.vcf.gz.tbi").exists()
    assert run("annotate", tmp_path / "a.bcf", *NULL, "--emit", "flat,vep", "-O", tmp_path / "b.bcf")[0] == 0
    streamed = pipe(
        "annotate", *NULL, "--emit", "flat,vep", "--output-type", "b", data=(tmp_path / "a.bcf").read_bytes()
    )
    (tmp_path / "c.bcf").write_bytes(streamed.stdout)

    def values(name):
        return [
            (v.CHROM, v.POS, v.ID, v.REF, tuple(v.ALT), v.INFO.get("SpliceBERT_KL_CTX"),
             v.INFO.get("SpliceBERT_STATUS"), v.INFO.get("SpliceBERT"), v.INFO.get("CLNHGVS"))
            for v in cyvcf2.VCF(str(tmp_path / name))
        ]  # fmt: skip

    expected = values("a.vcf")
    assert len(expected) == 46
    assert any(value[5] is not None for value in expected)
    for name in ("a.bcf", "a.vcf.gz", "b.bcf", "c.bcf"):
        assert values(name) == expected, name


@pytest.mark.skipif(shutil.which("bcftools") is None, reason="bcftools is not on PATH")
def test_bcftools_reads_numbers(run, tmp_path):
    out = tmp_path / "a.vcf.gz"
    assert run("annotate", VCF, *NULL, "-O", out)[0] == 0
    command = [
        "bcftools",
        "query",
        "-r",
        "17",
        "-i",
        "SpliceBERT_KL_CTX<0",
        "-f",
        "%POS\\t%SpliceBERT_KL_CTX\\n",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 44
    assert not done.stderr


def test_tables_and_summary(run, tmp_path):
    tsv, parquet, summary = tmp_path / "t.tsv", tmp_path / "t.parquet", tmp_path / "s.json"
    emit = f"flat,tsv={tsv},parquet={parquet}"
    assert run("annotate", VCF, *NULL, "--emit", emit, "-O", tmp_path / "o.vcf", "--summary", summary)[0] == 0
    rows = [line.split("\t") for line in tsv.read_text().splitlines() if not line.startswith("##")]
    table = pq.read_table(parquet)
    assert len(rows) - 1 == table.num_rows == 45
    assert rows[0] == table.column_names
    counts = json.loads(summary.read_text())
    assert counts["status"] == {"NO_ALT": 1, "TOO_LONG": 1, "OK": 44}
    assert counts["records"] == 46
    assert counts["provenance"]["Model"] == "null"
    code, out, _ = run("annotate", VCF, *NULL, "--emit", "tsv")
    assert code == 0
    assert out == tsv.read_text()


def test_region_keeps_what_lies_in_it(run):
    positions = ["43044921", "43045675", "43045679", "43045682", "43045691"]
    _, out, _ = run("annotate", VCF, *NULL, "--region", "chr17:43,045,679-43,045,691")
    assert [record[1] for record in records(out)] == positions  # the first two are deletions that reach in
    _, out, _ = run("annotate", VCF, *NULL, "--region", "17:43045803")
    assert [record[1] for record in records(out)] == ["43044921", "43045803"]
    code, out, err = run("annotate", VCF, *NULL, "--region", "17:1-2")
    assert (code, records(out)) == (0, [])
    assert "no record lies in the region" in err


def test_strict_ends_with_its_own_code(run, tmp_path):
    code, _, err = run("annotate", VCF, *NULL, "--strict", "TOO_LONG,FAILED", "-O", tmp_path / "o.vcf")
    assert code == 8
    assert "--strict: TOO_LONG 1" in err
    assert (tmp_path / "o.vcf").exists()
    assert run("annotate", VCF, *NULL, "--strict", "FAILED", "-O", tmp_path / "o.vcf")[0] == 0


@pytest.mark.parametrize(("masked", "mask"), [("0", "none"), ("1", "after")])
def test_spliceai_command_lines_work(run, masked, mask):
    code, out, _ = run("annotate", "-I", VCF, "-O", "-", *NULL, "-A", "grch38", "-D", "30", "-M", masked)
    assert code == 0
    [line] = [line for line in out.splitlines() if line.startswith("##SpliceBERT_provenance")]
    assert 'DeltaDistance="30"' in line and f'DeltaMask="{mask}"' in line


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["annotate", VCF], 2, "--reference"),
        (["annotate", VCF, "-I", VCF, *NULL], 2, "give the input once"),
        (["annotate", VCF, *NULL, "--strict", "NOPE"], 2, "NOPE is no status; one of NO_ALT, SYMBOLIC"),
        (["annotate", VCF, *NULL, "--strict", "REF_MISMATC"], 2, "did you mean REF_MISMATCH?"),
        (["annotate", VCF, *NULL, "--widnow", "9"], 2, "'--window'"),
        (["annotat", VCF, *NULL], 2, "Did you mean 'annotate'?"),
        (["annotate", VCF, *NULL, "--emit", "xml"], 3, "unknown output"),
        (["annotate", VCF, *NULL, "--emit", "flat=x"], 3, "takes no file"),
        (["annotate", VCF, *NULL, "--emit", "flat,tsv"], 3, "same place"),
        (["annotate", VCF, *NULL, "--emit", "parquet"], 3, "cannot be written to stdout"),
        (["annotate", VCF, *NULL, "--scores", "XYZ"], 3, "unknown score"),
        (["annotate", VCF, *NULL, "--region", "17:9-3"], 3, "ends before it starts"),
        (["annotate", VCF, *NULL, "--region", ""], 3, "region could not be read"),
        (["annotate", VCF, "-R", FASTA, "--backend", "abacus"], 3, "abacus"),
        (["annotate", VCF, "-R", FASTA, "--window", "1100"], 3, "wider than model splicebert-mini"),
        (["annotate", VCF, "-R", FASTA, "--device", "mps"], 3, "Device mps is not available"),
        (["annotate", VCF, "-R", "absent.fa"], 3, "cannot be opened"),
        (["annotate", VCF, *NULL, "-A", "grch99"], 3, "grch38"),
        (["annotate", "absent.vcf", *NULL], 3, "cannot be opened"),
        (["annotate", VCF, *NULL, "-O", "/nonexistent/o.vcf"], 5, "could not be written"),
        (["annotate", VCF, *NULL, "--emit", "flat,tsv=./o.vcf", "-O", "o.vcf"], 3, "same place"),
        (["annotate", VCF, *NULL, "--emit", "tsv=t.tsv", "-O", "o.vcf"], 3, "--emit flat,tsv=t.tsv"),
        (["annotate", VCF, *NULL, "--emit", f"tsv={FASTA}.fai"], 3, "an index"),
        (["annotate", VCF, *NULL, "--emit", f"tsv={VCF}"], 3, "replace an input"),
        (["annotate", VCF, *NULL, "-O", FASTA], 3, "replace an input"),
        (["annotate", VCF, *NULL, "-O", "o.vcf", "--summary", "./o.vcf"], 3, "same place"),
        (["annotate", VCF, *NULL, "--summary", VCF], 3, "would replace"),
        (["annotate", VCF, *NULL, "--summary", "no/s.json"], 5, "could not be written"),
        (["annotate", VCF, *NULL, "-A", "grch37"], 4, "chr17 of 83,257,441 nt"),
        (["score", "17-43047641-A-C", *NULL, "-A", "grch37"], 4, "chr17 of 83,257,441 nt"),
        (["annotate", VCF, *NULL, "--region", "chr17:,"], 3, "neither the VCF's header nor the FASTA knows"),
        (["annotate", VCF, *NULL, "--region", "chr17:5-9"], 0, "no record lies in the region"),
        (["score", "17-43047641", *NULL], 3, "CHROM-POS-REF-ALT"),
    ],
)
def test_what_is_wrong_is_told_with_its_code(run, arguments, code, message):
    found, out, err = run(*arguments)
    assert found == code
    assert message in err
    assert records(out) == []
    assert "Traceback" not in err


def test_an_empty_file_is_told(run, tmp_path):
    (tmp_path / "empty.vcf").touch()
    code, _, err = run("annotate", tmp_path / "empty.vcf", *NULL)
    assert code == 3
    assert "is empty" in err


def test_a_vcf_without_records_passes(run, tmp_path):
    header = "".join(line for line in VCF.read_text().splitlines(keepends=True) if line.startswith("#"))
    (tmp_path / "h.vcf").write_text(header)
    code, out, err = run("annotate", tmp_path / "h.vcf", *NULL)
    assert code == 0
    assert records(out) == []
    assert "0 records" in err


def big_vcf(path: Path, times: int = 400) -> Path:
    text = VCF.read_text().splitlines(keepends=True)
    body = [line for line in text if not line.startswith("#")]
    path.write_text("".join([line for line in text if line.startswith("#")] + body * times))
    return path


def test_a_closed_pipe_ends_quietly(tmp_path):
    source = big_vcf(tmp_path / "big.vcf")
    command = [*COMMAND, "annotate", str(source), *NULL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(100)
        process.stdout.close()
        err = process.stderr.read().decode()
        assert process.wait(120) == 141
    assert "Traceback" not in err
    assert "rror" not in err


@pytest.mark.parametrize("output_type", ["v", "z", "b"])
def test_a_full_device_is_an_error(tmp_path, output_type):
    source = big_vcf(tmp_path / "big.vcf", 20)
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, "annotate", str(source), *NULL, "--output-type", output_type]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=300, check=False)
    assert done.returncode == 5, done.stderr
    assert b"No space left on device" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["annotate", VCF, *NULL, "-O", "/dev/null", "--emit", "flat,parquet=OUT"],
        ["annotate", VCF, *NULL, "-O", "/dev/null", "--summary", "OUT"],
        ["plot", "17-43047641-A-C", *NULL, "-o", "OUT.svg"],
        ["genes", "build", "in.gtf", "-O", "OUT"],
        ["report", "in.vcf", "-o", "OUT"],
        ["annotate", VCF, "-R", FASTA, "--model", "nowhere", "-O", "OUT"],  # told before the model is opened
        ["annotate", VCF, "-R", FASTA, "--model", "nowhere", "--emit", "tsv=OUT"],
        ["saturate", "--gene", "BRCA1", "-R", FASTA, "--model", "nowhere", "--emit", "parquet=OUT", "-O", "x.vcf.gz"],
        ["store", "export", "nowhere.sqlite", "-O", "OUT"],
        ["cohort", "diff", "nowhere", "nowhere", "-O", "OUT"],
    ],
    ids=lambda words: f"{words[0]} {words[-2]}",
)
def test_an_output_of_too_long_a_name_is_told_by_that_name(run, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("splicebert_vep.genome.gene_build.compile_genes", None)  # nobody works an hour for it
    assert run("annotate", VCF, *NULL, "-O", "in.vcf")[0] == 0
    before = sorted(tmp_path.iterdir())
    name = "x" * 300
    code, _, err = run(*[str(word).replace("OUT", name) for word in words])
    assert code == 5, err
    assert re.search(rf"found: *File name too long\n *where: *{name}", err)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "words",
    [
        ["genes", "info"],
        ["score", "17-43047641-A-C", *NULL, "-A"],
        ["score", "17-43047641-A-C", "-R", FASTA, "--model"],
    ],
    ids=lambda words: words[-1],
)
def test_an_input_of_too_long_a_name_is_an_input_that_is_not_there(run, words):
    assert run(*words, "x" * 300)[0] == 3


def test_paths_need_not_be_text(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    odd = "n\udcff"  # a byte that is no UTF-8, as Python hands it over
    shutil.copy(FASTA, odd + ".fa.gz")
    Path("in.gtf").write_text(GTF)
    for words in (
        ["score", "17-43047641-A-C", "-R", odd + ".fa.gz", "--backend", "null", "--store", odd],
        ["annotate", VCF, "-R", odd + ".fa.gz", "--backend", "null", "-O", odd + ".bcf"],
        ["genes", "build", "in.gtf", "-O", odd + ".genes.parquet"],
        ["genes", "info", odd + ".genes.parquet"],
    ):
        code, _, err = run(*words)
        assert code == 0, err


@pytest.mark.parametrize("suffix", ["vcf", "vcf.gz", "bcf", "tsv", "parquet"])
def test_a_full_disk_leaves_no_file(run, tmp_path, suffix):
    assert run("score", "17-43047641-A-C", *NULL)[0] == 0  # the cache has the index of the FASTA
    source = big_vcf(tmp_path / "big.vcf", 100)
    out = tmp_path / "out"
    out.mkdir()
    emit = ["--emit", suffix, "-O", out / "o.x"] if suffix in ("tsv", "parquet") else ["-O", out / f"o.{suffix}"]
    limited = ["bash", "-c", 'ulimit -f 4; trap "" XFSZ; exec "$@"', "-"]  # files of 4 kB at most
    command = [*limited, *COMMAND, "annotate", source, *NULL, *emit]
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=300, check=False)
    assert done.returncode == 5, done.stderr
    assert b"File too large" in done.stderr
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_leaves_no_file(tmp_path, number, code):
    source = big_vcf(tmp_path / "big.vcf", 4000)
    out = tmp_path / "out"
    out.mkdir()
    command = [*COMMAND, "annotate", str(source), *NULL, "-O", str(out / "o.vcf")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=hear_interrupts) as process:
        deadline = time.monotonic() + 120
        while not any(path.stat().st_size for path in out.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(120) == code
    assert list(out.iterdir()) == []


def test_an_output_that_fails_leaves_the_others_unpublished(tmp_path):
    """Both files are finished before either gets its name."""
    source = big_vcf(tmp_path / "big.vcf", 20)
    out = tmp_path / "out"
    out.mkdir()
    program_text = (
        "import os\n"
        "def fail(self):\n    raise OSError(28, 'No space left on device')\n"
        "os.fsync = fail\n"
        "from splicebert_vep.cli.main import main\nmain()"
    )
    emit = f"flat,tsv={out / 't.tsv'}"
    command = [sys.executable, "-P", "-c", program_text, "annotate", str(source), *NULL, "--emit", emit]
    done = subprocess.run([*command, "-O", str(out / "o.bcf")], capture_output=True, timeout=300, check=False)
    assert done.returncode == 5, done.stderr
    assert list(out.iterdir()) == []


def test_pipes_devices_and_links_are_written_through(tmp_path):
    command = " ".join(COMMAND[:2]) + f" -c '{COMMAND[3]}' annotate {VCF} " + " ".join(NULL)
    shell = f"{command} --emit flat,tsv=>(cat > t.tsv) -O >(cat > o.vcf); sleep 1"
    subprocess.run(["bash", "-c", shell], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    assert len(records((tmp_path / "o.vcf").read_text())) == 46
    assert (tmp_path / "t.tsv").read_text().startswith("## Version=")
    (tmp_path / "real.vcf").write_text("old")
    (tmp_path / "link.vcf").symlink_to(tmp_path / "real.vcf")
    pipe("annotate", VCF, *NULL, "-O", "link.vcf", "--summary", "/dev/null", cwd=tmp_path)
    assert (tmp_path / "link.vcf").is_symlink()
    assert len(records((tmp_path / "real.vcf").read_text())) == 46
    assert Path("/dev/null").is_char_device()


def test_a_cache_that_cannot_be_written_is_told_or_does_without(tmp_path):
    (tmp_path / "file").touch()
    environment = {**os.environ, "SPLICEBERT_VEP_CACHE": str(tmp_path / "file" / "cache")}
    done = pipe("annotate", VCF, *NULL, env=environment)
    assert done.returncode == 0
    assert b"SPLICEBERT_VEP_CACHE" in done.stderr
    fasta = tmp_path / "small.fa"
    fasta.write_text(">x\n" + "ACGT" * 300 + "\n")
    (tmp_path / "small.fa.fai").write_text("x\t1200\t3\t1200\t1201\n")
    vcf = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nx\t601\t.\tA\tC\t.\t.\t.\n"
    done = pipe("annotate", "-R", fasta, "--backend", "null", data=vcf.encode(), env=environment)
    assert done.returncode == 0, done.stderr
    assert b"SpliceBERT_STATUS=NO_GENE" in done.stdout


def test_closed_streams_are_no_traceback():
    command = " ".join(COMMAND[:2]) + f" -c '{COMMAND[3]}' annotate " + " ".join(NULL)
    for closed in ("<&-", ">&-"):
        done = subprocess.run(
            ["bash", "-c", f"{command} {closed} {VCF}"], capture_output=True, timeout=300, check=False
        )
        assert b"Traceback" not in done.stderr


def test_stdout_by_its_other_name_is_not_opened_again(tmp_path):
    """What stood in the file before and comes after it stays; the file is not replaced under the shell."""
    command = f"{' '.join(COMMAND[:2])} -c '{COMMAND[3]}' annotate {VCF} {' '.join(NULL)} -O /dev/stdout"
    subprocess.run(
        ["bash", "-c", f"{{ echo before; {command}; echo after; }} > both"], cwd=tmp_path, check=True, timeout=300,
        capture_output=True,
    )  # fmt: skip
    lines = (tmp_path / "both").read_text().splitlines()
    assert (lines[0], lines[1], lines[-1]) == ("before", "##fileformat=VCFv4.1", "after")


def test_a_terminal_is_not_waited_for():
    """On a terminal nothing would come but what the user types."""
    master, terminal = os.openpty()
    try:
        done = subprocess.run(
            [*COMMAND, "annotate", *NULL], stdin=terminal, capture_output=True, text=True, timeout=120, check=False
        )
    finally:
        os.close(master)
        os.close(terminal)
    assert done.returncode == 2
    assert "no input: give a VCF or BCF as IN" in done.stderr


@pytest.mark.parametrize("fails", [True, False])
def test_a_run_in_which_most_alleles_fail_does_not_end_with_0(run, tmp_path, monkeypatch, fails):
    def broken(self, tokens, positions):
        raise BackendError("the device went away")

    if fails:
        monkeypatch.setattr(NullBackend, "forward", broken)
    out = tmp_path / "o.vcf"
    code, _, err = run("annotate", EXAMPLES / "brca1.vcf", *NULL, "-O", out)
    assert (code, "most ALTs FAILED" in err) == ((1, True) if fails else (0, False)) and out.exists()
    assert run("score", "chr17-43071077-T-C", *NULL)[0] == (1 if fails else 0)

"""VCF text and bgzipped VCF out: only our part of INFO changes; an output is whole under its name, or not there."""

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import cyvcf2
import pysam
import pytest

from splicebert_vep.errors import OutputError
from splicebert_vep.files import ByteOutput, publish_all
from splicebert_vep.vcf.info import InfoEncoder
from splicebert_vep.vcf.read import VcfRecord, open_vcf
from splicebert_vep.vcf.write import BgzfPacker, VcfWriter, kind_of
from splicebert_vep_spec import InfoField

FIELDS = [
    InfoField("SpliceBERT_LLR", "A", "Float", "log-likelihood ratio"),
    InfoField("SpliceBERT_STATUS", "A", "String", "status"),
]
HEADER = (
    b"##fileformat=VCFv4.2\n##contig=<ID=chr1,length=100000>\n##contig=<ID=chr2>\n"
    b'##INFO=<ID=AC,Number=A,Type=Integer,Description="x">\n'
    b'##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n##FORMAT=<ID=DS,Number=1,Type=Float,Description="x">\n'
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2\n"
)
LINES = [
    b"chr1\t100\trs1\tA\tC,G\t29.50\tPASS\tAC=1,2;XX=\xe9\xc3\xa9\tGT:DS\t0/1:1.50\t1|2:.\n",
    b"chr1\t200\t.\tAT\t.\t1234567.89\t.\t.\tGT\t./.\t0/0\n",
    b"chr2\t5\ta;b\tG\t<DEL>\t.\tq10\tSpliceBERT_LLR=9;DB;SpliceBERT=A|b\tGT\t0/0\t0/1\n",
    b"chr2\t6\t.\tG\t*,T\t.\t.\tDB\tGT\t0/0\t0/1\n",
]
TEXT = HEADER + b"".join(LINES)
KINDS = ["vcf", "vcf.gz", "bcf"]


def annotate(source, target, kind=None):
    with open_vcf(str(source)) as reader:
        records = list(reader)
        header = reader.header.annotated(FIELDS, {"weights": "abc"})
    with VcfWriter(str(target), header, kind, records) as writer:
        for record in records:
            alts = len(record.alts)
            llr = tuple(None if i % 2 else -1.25 for i in range(alts))
            values = {"SpliceBERT_LLR": llr, "SpliceBERT_STATUS": ("OK",) * alts}
            writer.write(record, InfoEncoder(FIELDS).text(values, alts))
    return writer.warnings


#: Write records to a path, many times; in a process of its own, which imports nothing that is slow to start.
PROGRAM = """
import os, resource, signal, sys
from splicebert_vep.errors import OutputError
from splicebert_vep.vcf.read import open_vcf
from splicebert_vep.vcf.write import VcfWriter
def write(source, target, kind, times, limit=0, dying=False):
    with open_vcf(source) as reader:
        records = list(reader)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with VcfWriter(target, reader.header, kind, records) as writer:
        for i in range(times):
            writer.write(records[0], b"SpliceBERT_LLR=%.4f,%.4f" % (i * 0.37, i * 1.1))
        if dying == "exit":
            sys.exit(3)
        if dying == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
try:
    write(*eval(sys.argv[1]))
except OutputError as error:
    sys.stderr.write(str(error))
    sys.exit(5)
except BrokenPipeError:
    sys.exit(9)
"""


def run(*arguments, **options):
    command = [sys.executable, "-c", PROGRAM, repr([str(a) if isinstance(a, Path) else a for a in arguments])]
    return subprocess.run(command, timeout=120, check=False, **{"capture_output": True, **options})


@pytest.fixture
def vcf(tmp_path):
    path = tmp_path / "in.vcf"
    path.write_bytes(TEXT)
    return path


@pytest.mark.parametrize("crlf", [False, True])
def test_only_our_part_of_info_changes(crlf, tmp_path):
    end = b"\r\n" if crlf else b"\n"
    source, target = tmp_path / "a.vcf", tmp_path / "b.vcf"
    source.write_bytes(TEXT.replace(b"\n", end))
    annotate(source, target)
    annotate(target, tmp_path / "c.vcf")
    assert target.read_bytes() == (tmp_path / "c.vcf").read_bytes()  # again changes nothing
    lines = target.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(end) and line.count(b"\r") == crlf for line in lines)
    assert [line for line in lines if line.startswith(b"#") and b"SpliceBERT" not in line] == [
        line.replace(b"\n", end) for line in HEADER.splitlines(keepends=True)
    ]
    body = [line.rstrip(b"\r\n").split(b"\t") for line in lines if not line.startswith(b"#")]
    before = [line.rstrip(b"\n").split(b"\t") for line in LINES]
    assert [b[:7] + b[8:] for b in body] == [b[:7] + b[8:] for b in before]
    assert [b[7] for b in body] == [
        b"AC=1,2;XX=\xe9\xc3\xa9;SpliceBERT_LLR=-1.2500,.;SpliceBERT_STATUS=OK,OK",
        b".",
        b"DB;SpliceBERT_LLR=-1.2500;SpliceBERT_STATUS=OK",
        b"DB;SpliceBERT_LLR=-1.2500,.;SpliceBERT_STATUS=OK,OK",
    ]


def test_bgzipped_output_is_whole_and_indexed(vcf, tmp_path):
    target = tmp_path / "b.vcf.gz"
    assert annotate(vcf, target) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.vcf.gz", "b.vcf.gz.tbi", "in.vcf"]
    assert (tmp_path / "b.vcf.gz.tbi").stat().st_mtime >= target.stat().st_mtime
    with pysam.TabixFile(str(target), encoding="latin-1") as file:
        assert [row.split("\t")[1] for row in file.fetch("chr2")] == ["5", "6"]
    read = cyvcf2.VCF(str(target))
    assert [v.INFO.get("SpliceBERT_LLR") for v in read] == [(-1.25, None), None, -1.25, (-1.25, None)]
    read.close()
    annotate(vcf, tmp_path / "b.vcf")
    assert gzip.decompress(target.read_bytes()) == (tmp_path / "b.vcf").read_bytes()


def test_bgzip_blocks_hold_any_bytes(tmp_path):
    """Of many blocks, and incompressible, so that a packed block is as large as can be."""
    source, target = tmp_path / "a.vcf", tmp_path / "b.vcf.gz"
    noise = os.urandom(3_000_000).translate(None, b"\0\t\r\n;")
    source.write_bytes(HEADER + LINES[0].replace(b"AC=", b"XX=" + noise + b";AC="))
    annotate(source, target)
    assert noise in gzip.decompress(target.read_bytes())
    with pysam.BGZFile(str(target)) as file:
        assert noise in file.read()


def test_a_block_of_data_that_cannot_be_packed_stays_below_64_kib(tmp_path):
    """BSIZE of the SAM specification has 16 bits; such data are stored, and take more room than they have."""
    noise, path = os.urandom(1_000_000), tmp_path / "noise.gz"
    output = ByteOutput(path)
    packer = BgzfPacker(output)
    packer.write_bytes(noise)
    packer.close()
    output.finish()
    publish_all([output])
    packed = path.read_bytes()
    at, sizes = 0, []
    while at < len(packed):
        sizes.append(int.from_bytes(packed[at + 16 : at + 18], "little") + 1)
        at += sizes[-1]
    assert at == len(packed) and 0xFF00 < max(sizes) <= 1 << 16
    assert gzip.decompress(packed) == noise
    with pysam.BGZFile(str(path)) as file:
        assert file.read() == noise


@pytest.mark.parametrize("lines", [LINES[1::-1], [LINES[0], LINES[2], LINES[1]]])
@pytest.mark.parametrize("name", ["b.vcf.gz", "b.bcf"])
def test_unsorted_output_is_kept_without_index_and_told(name, lines, tmp_path):
    source, target = tmp_path / "in.vcf", tmp_path / name
    source.write_bytes(TEXT)
    annotate(source, target)
    source.write_bytes(HEADER + b"".join(lines))
    *_, warning = annotate(source, target)
    assert "bcftools sort" in warning
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "in.vcf"])  # nor the index of the earlier file
    with open_vcf(str(target)) as reader:
        assert len(list(reader)) == len(lines)


@pytest.mark.parametrize("name", ["b.vcf.gz", "b.bcf"])
@pytest.mark.parametrize(("positions", "info"), [((0, 0), b"."), ((5,), b"END=99999999999"), ((2**31 - 1,), b".")])
def test_an_output_that_cannot_be_indexed_is_kept_and_told(positions, info, name, tmp_path):
    source, target = tmp_path / "in.vcf", tmp_path / name
    end = b'##INFO=<ID=END,Number=1,Type=String,Description="x">\n#CHROM'
    lines = [b"chr1\t%d\t.\tA\t<DEL>\t.\t.\t%b\tGT\t0/0\t0/1\n" % (pos, info) for pos in positions]
    source.write_bytes(HEADER.replace(b"#CHROM", end) + b"".join(lines))
    warnings = annotate(source, target)
    with open_vcf(str(target)) as reader:
        assert [record.pos for record in reader] == list(positions)
    assert len(list(tmp_path.iterdir())) == (2 if warnings else 3)
    assert all("index" in warning for warning in warnings)


def test_long_contigs_get_a_csi_index(tmp_path):
    source = tmp_path / "in.vcf"
    source.write_bytes(TEXT.replace(b"length=100000", b"length=900000000"))
    annotate(source, tmp_path / "b.vcf.gz")
    assert sorted(p.suffix for p in tmp_path.glob("b.*")) == [".csi", ".gz"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_run_leaves_the_earlier_file_and_nothing_else(kind, vcf, tmp_path):
    target = tmp_path / f"b.{kind}"
    target.write_bytes(b"earlier")
    with open_vcf(str(vcf)) as reader:
        header = reader.header
    with pytest.raises(RuntimeError, match="stop"), VcfWriter(str(target), header) as writer:
        writer.write(VcfRecord(LINES[1], 2), b"")
        raise RuntimeError("stop")
    assert target.read_bytes() == b"earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([target.name, "in.vcf"])


@pytest.mark.parametrize("target", ["missing/b.vcf", "missing/b.vcf.gz", "missing/b.bcf", "."])
def test_an_output_that_cannot_be_opened_is_named(target, vcf, tmp_path):
    with pytest.raises(OutputError, match="where: "):
        annotate(vcf, tmp_path / target)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_device_is_told(kind, vcf):
    with pytest.raises(OutputError, match="No space left"):
        annotate(vcf, "/dev/full", kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [100, 60_000])
def test_a_full_disk_is_told_and_nothing_is_left(kind, limit, vcf, tmp_path):
    done = run(vcf, tmp_path / f"b.{kind}", kind, 20_000, limit)
    assert done.returncode == 5, done.stderr
    assert b"File too large" in done.stderr and b"Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in.vcf"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [1, 50_000])
def test_a_closed_pipe_is_a_broken_pipe(kind, times, vcf):
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with os.fdopen(write_fd, "wb") as gone:
        done = run(vcf, "-", kind, times, capture_output=False, stdout=gone, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (9, b"")


@pytest.mark.parametrize("kind", KINDS)
def test_stdout_carries_what_a_file_would(kind, vcf, tmp_path):
    done = run(vcf, "-", kind, 3)
    assert (done.returncode, done.stderr) == (0, b"")
    assert run(vcf, tmp_path / f"b.{kind}", kind, 3).returncode == 0
    assert done.stdout == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["vcf.gz", "bcf"])
@pytest.mark.parametrize(("dying", "code"), [("exit", 3), ("kill", -signal.SIGKILL)])
def test_an_abandoned_stream_has_no_end_marker(dying, code, kind, vcf):
    """Else its reader would take it for whole."""
    done = run(vcf, "-", kind, 50_000, 0, dying)
    assert done.returncode == code
    assert not done.stdout.endswith(b"\x03" + bytes(9))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fifo_is_written_straight(kind, vcf, tmp_path):
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as cat:
        annotate(vcf, fifo, kind)
        out, _ = cat.communicate()
    annotate(vcf, tmp_path / f"b.{kind}")
    assert out == (tmp_path / f"b.{kind}").read_bytes()


def test_no_records_make_a_whole_file(tmp_path):
    source = tmp_path / "in.vcf"
    source.write_bytes(HEADER)
    for kind in KINDS:
        annotate(source, tmp_path / f"b.{kind}")
        with open_vcf(str(tmp_path / f"b.{kind}")) as reader:
            assert list(reader) == []
            assert len(reader.header.contigs()) == 2


def test_output_kinds_follow_the_suffix():
    kinds = {"a.vcf": "vcf", "a.vcf.gz": "vcf.gz", "a.vcf.bgz": "vcf.gz", "a.bcf": "bcf", "-": "vcf", "a": "vcf"}
    assert {path: kind_of(path) for path in kinds} == kinds

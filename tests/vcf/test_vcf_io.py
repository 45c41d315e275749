"""VCF text in and out: every way of arriving, every way of failing, and nothing lost between."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cyvcf2
import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import SHARED
from splicebert_vep.errors import OutputError, VcfError
from splicebert_vep.vcf.info import InfoEncoder
from splicebert_vep.vcf.read import VcfRecord, open_vcf
from splicebert_vep.vcf.write import VcfWriter, kind_of
from splicebert_vep_spec import InfoField

REAL = SHARED / "data" / "vcf"
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


def bgzf(data: bytes, folder: Path) -> bytes:
    path = folder / "made.gz"
    with pysam.BGZFile(str(path), "wb", None) as file:
        file.write(data)
    return path.read_bytes()


def new_info(alts: int) -> bytes:
    llr = tuple(None if i % 2 else -1.25 for i in range(alts))
    return InfoEncoder(FIELDS).text({"SpliceBERT_LLR": llr, "SpliceBERT_STATUS": ("OK",) * alts}, alts)


def annotate(source: str, target: str, **kind: str) -> list[str]:
    with open_vcf(source) as reader:
        header = reader.header.annotated(FIELDS, {"weights": "abc"}, version="1")
        with VcfWriter(target, header, **kind) as writer:  # type: ignore[arg-type]
            for record in reader:
                writer.write(record, new_info(len(record.alts)))
    return writer.warnings


def run_python(code: str, *args: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    here = Path(__file__).parent
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(here), *sys.path]))
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code, *args], env=env, timeout=120, **{"capture_output": True, **options}
    )


@pytest.fixture
def vcf(tmp_path: Path) -> Path:
    path = tmp_path / "in.vcf"
    path.write_bytes(TEXT)
    return path


@pytest.mark.parametrize("shape", ["plain", "gzip", "gzip of two members", "bgzf", "no last newline"])
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_every_shape_of_text_reads_the_same(
    shape: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {
        "plain": TEXT,
        "gzip": gzip.compress(TEXT),
        "gzip of two members": gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:]),
        "bgzf": bgzf(TEXT, tmp_path),
        "no last newline": TEXT[:-1],
    }[shape]
    path = tmp_path / "misnamed.bcf"
    path.write_bytes(data)
    if way == "stdin":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with open_vcf("-" if way == "stdin" else str(path)) as reader:
        assert reader.share_read() == (None if way == "stdin" else 1.0)
        assert reader.kind == "vcf"
        assert reader.header.to_bytes() == HEADER
        records = list(reader)
    assert [(r.chrom, r.pos, r.id, r.ref, r.alts, r.number) for r in records] == [
        ("chr1", 100, "rs1", "A", ("C", "G"), 1),
        ("chr1", 200, ".", "AT", (), 2),
        ("chr2", 5, "a;b", "G", ("<DEL>",), 3),
        ("chr2", 6, ".", "G", ("*", "T"), 4),
    ]
    assert [b"\t".join(r.columns()) + b"\n" for r in records] == LINES
    assert records[2].where == ("<stdin>:10" if way == "stdin" else f"{path}:10")


def test_stdin_may_come_in_small_pieces(tmp_path: Path) -> None:
    code = "import test_vcf_io as t\nwith t.open_vcf('-') as reader: print(reader.kind, sum(1 for _ in reader))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path])),
    ) as process:
        assert process.stdin and process.stdout
        for i in range(0, len(packed := bgzf(TEXT, tmp_path)), 7):
            process.stdin.write(packed[i : i + 7])
            process.stdin.flush()
        process.stdin.close()
        assert process.stdout.read() == b"vcf 4\n"


@pytest.mark.parametrize("crlf", [False, True])
def test_only_our_part_of_info_changes(crlf: bool, tmp_path: Path) -> None:
    end = b"\r\n" if crlf else b"\n"
    source, target = tmp_path / "a.vcf", tmp_path / "b.vcf"
    source.write_bytes(TEXT.replace(b"\n", end))
    annotate(str(source), str(target))
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


def test_a_sites_only_crlf_line_keeps_its_end_after_info(tmp_path: Path) -> None:
    source, target = tmp_path / "a.vcf", tmp_path / "b.vcf"
    source.write_bytes(
        b"##fileformat=VCFv4.2\r\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\r\n1\t5\t.\tA\tC\t.\t.\tAC=1\r\n"
    )
    annotate(str(source), str(target))
    last = target.read_bytes().splitlines(keepends=True)[-1]
    assert last == b"1\t5\t.\tA\tC\t.\t.\tAC=1;SpliceBERT_LLR=-1.2500;SpliceBERT_STATUS=OK\r\n"


def test_annotating_again_changes_nothing(vcf: Path, tmp_path: Path) -> None:
    annotate(str(vcf), str(tmp_path / "b.vcf"))
    annotate(str(tmp_path / "b.vcf"), str(tmp_path / "c.vcf"))
    assert (tmp_path / "b.vcf").read_bytes() == (tmp_path / "c.vcf").read_bytes()


@given(st.lists(st.binary(max_size=9).map(lambda b: b.translate(None, b"\t\r\n")), min_size=8, max_size=12))
def test_a_line_is_the_sum_of_its_columns(columns: list[bytes]) -> None:
    columns[1] = b"7"
    line = b"\t".join(columns)
    assert b"\t".join(VcfRecord(line + b"\n", 1).columns()) == line


SITES = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n1\t5\t.\tA\tC\t.\t.\tAC=1\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello\n", "(?s)Not a VCF.*hello"),
        (b"\x89PNG\r\n" * 100, "Not a VCF"),
        (gzip.compress(b"hello", mtime=0), "Not a VCF"),
        (gzip.compress(b"", mtime=0), "Not a VCF"),
        (b"##fileformat=VCFv4.2\n1\t5\t.\tA\tC\t.\t.\t.\n", "(?s)no #CHROM line.*found: .*1"),
        (b"##fileformat=VCFv4.2\n", "no #CHROM line"),
        (SITES + b"1\t5\t.\tA\n", r"(?s)differ in their number of columns.*4 columns.*x\.vcf:4"),
        (SITES + b"\n1\t5\t.\tA\tC\t.\t.\t.\n", r"(?s)differ in their number of columns.*x\.vcf:4"),
        (SITES + b"1\t5\t.\tA\tC\t.\t.\t.\tGT\n", "(?s)needed: 8 columns.*found:  9 columns"),
        (SITES + b"1\t5\t.\tA", r"(?s)cut off.*x\.vcf:4"),
        (SITES + b"1\tfive\t.\tA\tC\t.\t.\t.\n", r"(?s)no usable position.*five.*x\.vcf:4"),
        (SITES + b"1\t-5\t.\tA\tC\t.\t.\t.\n", "no usable position"),
    ],
)
def test_what_is_no_vcf_is_refused_with_its_place(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.vcf"
    path.write_bytes(data)
    with pytest.raises(VcfError, match=message), open_vcf(str(path)) as reader:
        list(reader)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(VcfError, match="(?s)cannot be opened.*nowhere.vcf"):
        open_vcf("nowhere.vcf")


@pytest.mark.parametrize("shape", ["gzip", "bgzf within a block", "bgzf without its end marker", "damaged"])
def test_cut_off_and_damaged_files_are_told(shape: str, tmp_path: Path) -> None:
    many = HEADER + b"".join(LINES) * 5000
    packed = gzip.compress(many) if shape == "gzip" else bgzf(many, tmp_path)
    data = {
        "gzip": packed[:-30],
        "bgzf within a block": packed[:-60],
        "bgzf without its end marker": packed[:-28],
        "damaged": packed[:-100] + b"xxxx" + packed[-96:],
    }[shape]
    path = tmp_path / "x.vcf.gz"
    path.write_bytes(data)
    with pytest.raises(VcfError, match="damaged" if shape == "damaged" else "cut off"), open_vcf(str(path)) as reader:
        list(reader)


def test_bgzipped_output_is_whole_and_indexed(vcf: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.vcf.gz"
    assert annotate(str(vcf), str(target)) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.vcf.gz", "b.vcf.gz.tbi", "in.vcf"]
    assert (tmp_path / "b.vcf.gz.tbi").stat().st_mtime >= target.stat().st_mtime
    with pysam.TabixFile(str(target), encoding="latin-1") as file:
        assert [row.split("\t")[1] for row in file.fetch("chr2")] == ["5", "6"]
    read = cyvcf2.VCF(str(target))
    assert [v.INFO.get("SpliceBERT_LLR") for v in read] == [(-1.25, None), None, -1.25, (-1.25, None)]
    read.close()
    annotate(str(vcf), str(tmp_path / "b.vcf"))
    assert gzip.decompress(target.read_bytes()) == (tmp_path / "b.vcf").read_bytes()


@pytest.mark.skipif(not shutil.which("bcftools"), reason="bcftools is not on PATH")
@pytest.mark.parametrize("name", ["b.vcf.gz", "b.vcf"])
def test_bcftools_reads_the_output(name: str, vcf: Path, tmp_path: Path) -> None:
    annotate(str(vcf), str(tmp_path / name))
    region = ["-r", "chr1:150-300"] if name.endswith("gz") else []
    out = subprocess.run(["bcftools", "view", "-H", *region, tmp_path / name], capture_output=True, check=True).stdout
    assert out.count(b"\n") == (1 if region else 4)


@pytest.mark.parametrize(
    ("lines", "problem"),
    [(LINES[1::-1], "not sorted"), ([LINES[0], LINES[2], LINES[1]], "more than one stretch")],
)
def test_unsorted_output_is_kept_without_index_and_told(lines: list[bytes], problem: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.vcf", tmp_path / "b.vcf.gz"
    source.write_bytes(TEXT)
    annotate(str(source), str(target))
    source.write_bytes(HEADER + b"".join(lines))
    (warning,) = annotate(str(source), str(target))
    assert problem in warning and "bcftools sort" in warning
    assert not Path(f"{target}.tbi").exists(), "the index of the earlier file is gone"
    with open_vcf(str(target)) as reader:
        assert len(list(reader)) == len(lines)


def test_long_contigs_get_a_csi_index(tmp_path: Path) -> None:
    source = tmp_path / "in.vcf"
    source.write_bytes(TEXT.replace(b"length=100000", b"length=900000000"))
    annotate(str(source), str(tmp_path / "b.vcf.gz"))
    assert sorted(p.suffix for p in tmp_path.glob("b.*")) == [".csi", ".gz"]


@pytest.mark.parametrize("kind", ["vcf", "vcf.gz", "bcf"])
def test_a_failed_run_leaves_the_earlier_file_and_nothing_else(kind: str, vcf: Path, tmp_path: Path) -> None:
    target = tmp_path / f"b.{kind}"
    target.write_bytes(b"earlier")
    with open_vcf(str(vcf)) as reader, pytest.raises(RuntimeError, match="stop"):
        header = reader.header.annotated(FIELDS, {}, version="1")
        with VcfWriter(str(target), header) as writer:
            writer.write(VcfRecord(LINES[1], 2), b"")
            raise RuntimeError("stop")
    assert target.read_bytes() == b"earlier"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([target.name, "in.vcf"])


@pytest.mark.parametrize("target", ["missing/b.vcf", "missing/b.vcf.gz", "missing/b.bcf", "."])
def test_an_output_that_cannot_be_opened_is_named(target: str, vcf: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="(?s)output.*where: "):
        annotate(str(vcf), str(tmp_path / target))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("kind", ["vcf", "vcf.gz", "bcf"])
def test_a_full_device_is_told(kind: str, vcf: Path) -> None:
    with pytest.raises(OutputError, match="(?s)could not be written.*No space left.*/dev/full"):
        annotate_simple(str(vcf), "/dev/full", kind)


def annotate_simple(source: str, target: str, kind: str, times: int = 1) -> None:
    """Write the first record, less its undefined key, many times."""
    with open_vcf(source) as reader:
        header = reader.header.annotated(FIELDS, {}, version="1")
        record = VcfRecord(LINES[0].replace(b";XX=\xe9\xc3\xa9", b""), 1)
        with VcfWriter(target, header, kind=kind) as writer:  # type: ignore[arg-type]
            for i in range(times):
                writer.write(record, b"SpliceBERT_LLR=%.4f,%.4f" % (i * 0.37, i * 1.1))


@pytest.mark.parametrize("kind", ["vcf", "vcf.gz", "bcf"])
@pytest.mark.parametrize("limit", [100, 60_000])
def test_a_full_disk_is_told_and_nothing_is_left(kind: str, limit: int, vcf: Path, tmp_path: Path) -> None:
    code = (
        "import sys, resource, test_vcf_io as t\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        f"try: t.annotate_simple(sys.argv[1], sys.argv[2], {kind!r}, 20000)\n"
        "except t.OutputError as error: sys.stderr.write(str(error)); sys.exit(5)\n"
    )
    target = tmp_path / f"b.{kind}"
    done = run_python(code, str(vcf), str(target))
    assert done.returncode == 5, done.stderr
    assert b"File too large" in done.stderr and b"Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in.vcf"]


@pytest.mark.parametrize("kind", ["vcf", "vcf.gz", "bcf"])
@pytest.mark.parametrize("times", [1, 50_000])
def test_a_closed_pipe_is_a_broken_pipe(kind: str, times: int, vcf: Path) -> None:
    code = (
        "import sys, test_vcf_io as t\n"
        f"try: t.annotate_simple(sys.argv[1], '-', {kind!r}, {times})\n"
        "except BrokenPipeError: sys.exit(9)\n"
    )
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with os.fdopen(write_fd, "wb") as gone:
        done = run_python(code, str(vcf), capture_output=False, stdout=gone, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (9, b"")


@pytest.mark.parametrize("kind", ["vcf", "vcf.gz", "bcf"])
def test_stdout_carries_what_a_file_would(kind: str, vcf: Path, tmp_path: Path) -> None:
    code = f"import sys, test_vcf_io as t\nt.annotate_simple(sys.argv[1], '-', {kind!r}, 3)"
    done = run_python(code, str(vcf))
    assert (done.returncode, done.stderr) == (0, b"")
    annotate_simple(str(vcf), str(tmp_path / f"b.{kind}"), kind, 3)
    assert done.stdout == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("kind", ["vcf.gz", "bcf"])
def test_an_abandoned_stream_has_no_end_marker(kind: str, vcf: Path) -> None:
    code = (
        "import sys, test_vcf_io as t\n"
        "r = t.open_vcf(sys.argv[1]); h = r.header.annotated(t.FIELDS, {}, version='1')\n"
        f"with t.VcfWriter('-', h, kind={kind!r}) as w: sys.exit(3)\n"
    )
    done = run_python(code, str(vcf))
    assert done.returncode == 3
    assert not done.stdout.endswith(b"\x03" + bytes(9))


def test_output_kinds_follow_the_suffix() -> None:
    assert [kind_of(p) for p in ("a.vcf", "a.vcf.gz", "a.vcf.bgz", "a.bcf", "-", "a")] == [
        "vcf", "vcf.gz", "vcf.gz", "bcf", "vcf", "vcf",
    ]  # fmt: skip


def test_a_fifo_is_written_straight(vcf: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as cat:
        annotate(str(vcf), str(fifo))
        out, _ = cat.communicate()
    annotate(str(vcf), str(tmp_path / "b.vcf"))
    assert out == (tmp_path / "b.vcf").read_bytes()


@pytest.mark.skipif(not REAL.exists(), reason="the shared real data is not beside this checkout")
@pytest.mark.parametrize(
    ("name", "count"),
    [("clinvar.BRCA1.GRCh38", 14_998), ("1000G.RYR1.GRCh38", 50), ("rare_disease_trio.GRCh37", 680)],
)
def test_real_files_keep_every_column_but_info(name: str, count: int, tmp_path: Path) -> None:
    with gzip.open(REAL / f"{name}.vcf.gz") as file:
        lines = []
        for line in file:
            lines.append(line)
            if line.startswith(b"#CHROM"):
                break
        lines += itertools.islice(file, count)
    source, target = tmp_path / "in.vcf.gz", tmp_path / "b.vcf"
    source.write_bytes(gzip.compress(b"".join(lines), 1))
    annotate(str(source), str(target))
    before = [line.rstrip(b"\r\n").split(b"\t") for line in lines if not line.startswith(b"#")]
    after = [line.split(b"\t") for line in target.read_bytes().splitlines() if not line.startswith(b"#")]
    assert len(before) == len(after) == count
    for old, new in zip(before, after, strict=True):
        assert new[:7] + new[8:] == old[:7] + old[8:]
        assert new[7].startswith(old[7]) and (b"SpliceBERT_STATUS=OK" in new[7]) == (old[4] != b".")

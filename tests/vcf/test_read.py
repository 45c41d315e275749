"""VCF and BCF in: every way of arriving, every way of being cut off, and genotypes."""

import contextlib
import gzip
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pysam
import pysam.bcftools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splicebert_vep.errors import VcfError
from splicebert_vep.vcf.read import VcfRecord, bcf_line, carriers, open_vcf

HEADER = (
    b"##fileformat=VCFv4.2\n##contig=<ID=chr1,length=100000>\n##contig=<ID=chr2>\n"
    b'##FILTER=<ID=q10,Description="x">\n##INFO=<ID=AC,Number=A,Type=Integer,Description="x">\n'
    b'##INFO=<ID=XX,Number=.,Type=String,Description="x">\n##INFO=<ID=DB,Number=0,Type=Flag,Description="x">\n'
    b'##FORMAT=<ID=GT,Number=1,Type=String,Description="x">\n##FORMAT=<ID=DS,Number=.,Type=Float,Description="x">\n'
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2\n"
)
LINES = [
    b"chr1\t100\trs1\tA\tC,G\t29.5\tPASS\tAC=1,2;XX=\xe9\xc3\xa9\tGT:DS\t0/1:1.2345678,.\t1|2:.\n",
    b"chr1\t200\t.\tAT\t.\t1234567.9\t.\t.\tGT\t./.\t0/0\n",
    b"chr2\t5\t\xe9\tG\t<DEL>\t.\tq10\tDB\tGT\t0/0\t0/1\n",
    b"chr2\t6\t.\tG\t*,T\t.\t.\tDB\tGT\t0/0\t0/1\n",
]
TEXT = HEADER + b"".join(LINES)


def bgzf(data, folder):
    with pysam.BGZFile(str(folder / "made.gz"), "wb", None) as file:
        file.write(data)
    return (folder / "made.gz").read_bytes()


def bcf(data, folder):
    (folder / "made.vcf").write_bytes(data)
    made = str(folder / "made.bcf")
    pysam.bcftools.view("-Ob", "--no-version", "-o", made, str(folder / "made.vcf"), catch_stdout=False)
    return (folder / "made.bcf").read_bytes()


SHAPES = ("plain", "gzip", "two members", "padded members", "bgzf", "no last newline", "bcf", "unpacked bcf")


def packed(shape, folder, data=TEXT):
    if shape in ("plain", "no last newline"):
        return data if shape == "plain" else data[:-1]
    if shape == "gzip":
        return gzip.compress(data)
    if shape.endswith("members"):
        return gzip.compress(data[:50]) + b"\0" * 99 * (shape[0] == "p") + gzip.compress(data[50:])
    if shape == "bgzf":
        return bgzf(data, folder)
    return bcf(data, folder) if shape == "bcf" else gzip.decompress(bcf(data, folder))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("way", ["file", "stdin"])
def test_every_shape_reads_the_same(shape, way, tmp_path, monkeypatch):
    data = packed(shape, tmp_path)
    path = tmp_path / "misnamed.txt"
    path.write_bytes(data)
    if way == "stdin":
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with open_vcf("-" if way == "stdin" else str(path)) as reader:
        assert (reader.share_read() is None) == (way == "stdin")
        binary = shape.endswith("bcf")
        assert reader.kind == ("bcf" if binary else "vcf")
        known = [line for line in reader.header.lines if b"ID=PASS" not in line]  # htslib adds PASS
        assert b"".join(known) == HEADER
        found = list(reader)
    assert [(r.chrom, r.pos, r.id, r.ref, r.alts, r.number) for r in found] == [
        ("chr1", 100, "rs1", "A", ("C", "G"), 1),
        ("chr1", 200, ".", "AT", (), 2),
        ("chr2", 5, "\udce9", "G", ("<DEL>",), 3),
        ("chr2", 6, ".", "G", ("*", "T"), 4),
    ]
    assert [b"\t".join(r.columns()) + b"\n" for r in found] == LINES
    assert found[0].info() == {"AC": "1,2", "XX": "\udce9\u00e9"}
    place = ": record 3" if binary else f":{len(reader.header.lines) + 3}"
    assert found[2].where == ("<stdin>" if way == "stdin" else str(path)) + place


@pytest.mark.parametrize("shape", ["bgzf", "bcf"])
def test_a_pipe_may_bring_small_pieces(shape, tmp_path):
    fifo, data = tmp_path / "fifo", packed(shape, tmp_path)
    os.mkfifo(fifo)

    def feed():
        with open(fifo, "wb", buffering=0) as pipe:
            for i in range(0, len(data), 7):
                pipe.write(data[i : i + 7])

    thread = threading.Thread(target=feed)
    thread.start()
    with open_vcf(str(fifo)) as reader:
        assert (reader.share_read(), len(list(reader))) == (None, 4)
    thread.join()


@pytest.mark.parametrize("shape", ["plain", "bcf"])
def test_a_stream_may_be_left_early(shape, tmp_path):
    code = "from splicebert_vep.vcf.read import open_vcf\nwith open_vcf('-') as reader: print(next(reader).pos)"
    data = packed(shape, tmp_path, HEADER + LINES[0] * 50_000)
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=False)
    assert (done.stdout, done.stderr) == (b"100\n", b"")


@given(st.lists(st.binary(max_size=9).map(lambda b: b.translate(None, b"\t\r\n")), min_size=8, max_size=12))
def test_a_line_is_the_sum_of_its_columns(columns):
    columns[1] = b"7"
    line = b"\t".join(columns)
    assert b"\t".join(VcfRecord(line + b"\n", 1).columns()) == line


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
def test_each_float_of_bcf_is_printed_with_all_its_digits(values):
    header = pysam.VariantHeader()
    header.add_line("##contig=<ID=1,length=1000>")
    header.add_line('##INFO=<ID=F,Number=.,Type=Float,Description="x">')
    record = header.new_record("1", 10, 11, ("A", "C"), qual=abs(values[0]))
    record.info["F"] = tuple(values)
    columns = bcf_line(record, frozenset([b"F"]), frozenset()).split(b"\t")
    assert np.float32(columns[5].decode()) == np.float32(abs(values[0]))
    printed = [np.float32(text.decode()) for text in columns[7].removeprefix(b"F=").split(b",")]
    assert printed == [np.float32(value) for value in values]


@pytest.mark.parametrize("shape", ["plain", "gzip"])
def test_a_text_that_may_have_lost_its_end_is_told(shape, tmp_path):
    """Cut within its last column, a record looks whole."""
    path = tmp_path / "x.vcf"
    for data, told in ((TEXT, False), (TEXT[:-1], True), (HEADER, False), (TEXT[:-3], True)):
        path.write_bytes(packed(shape, tmp_path, data))
        with open_vcf(str(path)) as reader:
            list(reader)
        assert [f"{path}:{len(HEADER.splitlines()) + 4}" in warning for warning in reader.warnings] == [True] * told


SITES = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n1\t5\t.\tA\tC\t.\t.\tAC=1\n"


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"), (b"hello\n", "hello"), (b"\x89PNG\r\n" * 100, "Not a VCF"),
        (gzip.compress(b"hello", mtime=0), "Not a VCF"), (gzip.compress(b"", mtime=0), "Not a VCF"),
        (b"##fileformat=VCFv4.2\n1\t5\t.\tA\tC\t.\t.\t.\n", "#CHROM"), (b"##fileformat=VCFv4.2\n", "#CHROM"),
        (SITES + b"1\t5\t.\tA\n", "x.vcf:4"), (SITES + b"\n1\t5\t.\tA\tC\t.\t.\t.\n", "x.vcf:4"),
        (SITES + b"1\t5\t.\tA\tC\t.\t.\t.\tGT\n", "9 columns"), (SITES + b"1\t5\t.\tA", "cut off"),
        (SITES + b"1\tfive\t.\tA\tC\t.\t.\t.\n", "x.vcf:4"), (SITES + b"1\t-5\t.\tA\tC\t.\t.\t.\n", "POS"),
        (SITES + b"1\t5\t.\tA\tC\t.\t.\tX=a\0b\n", "null character"),
        (SITES + b"1\t" + b"9" * 5000 + b"\t.\tA\tC\t.\t.\t.\n", "POS"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_vcf_is_refused_with_its_place(data, word, tmp_path):
    path = tmp_path / "x.vcf"
    path.write_bytes(data)
    with pytest.raises(VcfError, match=word), open_vcf(str(path)) as reader:
        list(reader)


@pytest.mark.parametrize(
    ("shape", "end"),
    [
        ("gzip", -30), ("bgzf", -60), ("bgzf", -28), ("bcf", -1), ("bcf", -28), ("bcf", -29), ("bcf", -300),
        ("unpacked bcf", -5), ("unpacked bcf", 7), ("unpacked bcf", 200),  # the last two within the header
    ],
)  # fmt: skip
def test_a_file_that_is_cut_off_is_refused(shape, end, tmp_path):
    path = tmp_path / "x"
    path.write_bytes(packed(shape, tmp_path, HEADER + b"".join(LINES) * 3000)[:end])
    with pytest.raises(VcfError, match="cut off"), open_vcf(str(path)) as reader:
        list(reader)


@pytest.mark.parametrize("shape", ["plain", "bcf"])
def test_names_and_types_of_any_bytes_are_read(shape, tmp_path):
    """Latin-1 in a key, and in Number and Type, of a header that another program wrote."""
    path = tmp_path / "x"
    more = b'##INFO=<ID=K\xe9,Number=.,Type=Float,Description="x">\n'
    more += b'##FORMAT=<ID=F\xe9,Number=1,Type=Float,Description="x">\n'
    if shape == "plain":
        more += b'##INFO=<ID=Q,Number=\xff,Type=\xff,Description="x">\n'
    line = b"chr1\t100\t.\tA\tC\t.\t.\tK\xe9=1.2345678\tGT:F\xe9\t0/1:1.2345678\t0/0:.\n"
    path.write_bytes(packed(shape, tmp_path, HEADER.replace(b"#CHROM", more + b"#CHROM") + line))
    with open_vcf(str(path)) as reader:
        header = reader.header.annotated([], {})
        assert header.infos()["K\udce9"].type == header.types("FORMAT")["F\udce9"] == "Float"
        assert [b"\t".join(record.columns()) + b"\n" for record in reader] == [line]


def test_a_broken_record_of_bcf_is_refused(tmp_path):
    """Bytes of records, one after the other, are other bytes: read as it is, or refused, never a traceback."""
    data, path = packed("unpacked bcf", tmp_path), tmp_path / "x"
    start = 9 + int.from_bytes(data[5:9], "little")
    for at in range(start, len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        with contextlib.suppress(VcfError), open_vcf(str(path)) as reader:
            list(reader)


def test_a_damaged_file_is_refused(tmp_path):
    data = bgzf(HEADER + b"".join(LINES) * 5000, tmp_path)
    path = tmp_path / "x.vcf.gz"
    for at in (100, len(data) // 2, len(data) - 100):
        path.write_bytes(data[:at] + bytes(255 - byte for byte in data[at : at + 4]) + data[at + 4 :])
        with pytest.raises(VcfError), open_vcf(str(path)) as reader:
            list(reader)


@pytest.mark.parametrize(
    ("alts", "samples", "expected"),
    [
        ("C", ("GT", "0/1", "1|1", "0/0", "./."), [2]),
        ("C,G", ("GT", "1/2", "0|2", "2/2"), [1, 3]),
        ("C", ("GT", "1", "0", "."), [1]),  # haploid
        ("C", ("GT", "./1", "1/.", "0/."), [2]),  # half-calls
        ("C", ("GT:DP", "0/1:3", "0/0:9", "1/1"), [2]),  # trailing fields may be left out
        ("C", ("DP:GT", "3:0/1", "9:0/0", "4"), [1]),  # GT not first, and left out
        ("C", ("GT", "0/1/1", "|0|1", "/1/1"), [3]),  # polyploid; VCF 4.4 writes phase first
        ("C", ("GT", "0/3"), [0]),  # a number that the record has no ALT for
        ("C", ("DP", "3", "4"), [None]),
        ("C,G", (), [None, None]),
        ("C", ("GT",), [None]),  # a FORMAT column and no sample
        (".", ("GT", "0/0"), []),
    ],
)
def test_carriers(alts, samples, expected):
    line = "\t".join(["1", "5", ".", "A", alts, ".", ".", ".", *samples])
    assert carriers(VcfRecord(line.encode() + b"\n", 1)) == expected

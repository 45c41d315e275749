"""BCF in and out: values stay equal, whatever stands on the other side."""

from __future__ import annotations

import gzip
import io
import itertools
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import cyvcf2
import numpy as np
import pysam
import pysam.bcftools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from factories import SHARED
from splicebert_vep.errors import OutputError, VcfError
from splicebert_vep.vcf.info import Annotation, InfoEncoder
from splicebert_vep.vcf.read import _BcfPrinter, open_vcf
from splicebert_vep.vcf.write import VcfWriter
from splicebert_vep_spec import InfoField

REAL = SHARED / "data" / "vcf"
FIELDS = [
    InfoField("SpliceBERT_LLR", "A", "Float", "log-likelihood ratio"),
    InfoField("SpliceBERT_STATUS", "A", "String", "status"),
    InfoField("SpliceBERT_NGENES", "A", "Integer", "genes"),
    InfoField("SpliceBERT", ".", "String", "entries. Format: ALLELE|SYMBOL"),
]
HEADER = b"""##fileformat=VCFv4.2
##contig=<ID=chr1,length=100000>
##FILTER=<ID=q10,Description="x">
##INFO=<ID=AF,Number=A,Type=Float,Description="x">
##INFO=<ID=FX,Number=1,Type=Float,Description="x">
##INFO=<ID=ST,Number=A,Type=String,Description="x">
##INFO=<ID=DB,Number=0,Type=Flag,Description="x">
##INFO=<ID=SpliceBERT_OLD,Number=1,Type=Float,Description="x">
##FORMAT=<ID=GT,Number=1,Type=String,Description="x">
##FORMAT=<ID=DS,Number=.,Type=Float,Description="x">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\ts2
"""
LINES = [
    b"chr1\t100\trs1\tA\tC,G\t29.5\tPASS\tAF=.,0.1;FX=1234567.875;ST=.,b;DB\tGT:DS\t0/1:1.2345678,.\t1|2:.\n",
    b"chr1\t200\t.\tAT\t.\t1234567.875\t.\tSpliceBERT_OLD=3\tGT\t./.\t0/0\n",
    b"chr1\t300\t\xe9\tG\t<DEL>\t.\tq10\tST=\xe9\tGT\t0/0\t0/1\n",
]
BARE = b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def annotate(
    source: str, target: str, *, first: int = 1000, lengths: Mapping[str, int] | None = None, fake: bool = True
) -> list[str]:
    with open_vcf(source) as reader:
        header = reader.header.annotated(FIELDS, {"weights": "abc"}, version="1")
        chunk = list(itertools.islice(reader, first))
        with VcfWriter(target, header, None, chunk, lengths) as writer:
            for record in itertools.chain(chunk, reader):
                alts = len(record.alts)
                annotation: Annotation = {
                    "SpliceBERT_LLR": (None, *(0.00012345678,) * (alts - 1)) if alts > 1 else (-1.23456,),
                    "SpliceBERT_STATUS": (None, *("OK",) * (alts - 1)) if alts > 1 else ("OK",),
                    "SpliceBERT_NGENES": (2,) * alts,
                    "SpliceBERT": ("C|BRCA1", "C|"),
                }
                writer.write(record, InfoEncoder(FIELDS).text(annotation, alts) if fake and alts else b"")
    return writer.warnings


def to_bcf(text: bytes, path: Path) -> Path:
    source = path.with_suffix(".source.vcf")
    source.write_bytes(text)
    pysam.bcftools.view("-Ob", "--no-version", "-o", str(path), str(source), catch_stdout=False)
    source.unlink()
    return path


def body(path: Path) -> list[list[bytes]]:
    return [line.split(b"\t") for line in path.read_bytes().splitlines() if not line.startswith(b"#")]


@pytest.fixture
def bcf(tmp_path: Path) -> Path:
    return to_bcf(HEADER + b"".join(LINES), tmp_path / "in.bcf")


INFO = [
    b"AF=.,0.1;FX=1234567.9;ST=.,b;DB;SpliceBERT_LLR=.,0.000123457;SpliceBERT_STATUS=.,OK;"
    b"SpliceBERT_NGENES=2,2;SpliceBERT=C|BRCA1,C|",
    b".",
    b"ST=\xe9;SpliceBERT_LLR=-1.2346;SpliceBERT_STATUS=OK;SpliceBERT_NGENES=2;SpliceBERT=C|BRCA1,C|",
]


@pytest.mark.parametrize("through", [[], ["b.bcf"], ["b.bcf", "c.bcf"], ["b.vcf", "c.bcf"], ["b.vcf.gz"]])
def test_values_stay_equal_on_every_way(through: list[str], bcf: Path, tmp_path: Path) -> None:
    path = bcf
    for name in [*through, "last.vcf"]:
        annotate(str(path), str(tmp_path / name))
        path = tmp_path / name
    rows = body(path)
    assert [row[7] for row in rows] == INFO
    assert [row[5] for row in rows] == [b"29.5", b"1234567.9", b"."]  # the shortest text of that float32
    assert rows[0][9:] == [b"0/1:1.2345678,.", b"1|2:."]
    assert rows[2][2] == b"\xe9"
    old = [line for line in path.read_bytes().splitlines() if b"SpliceBERT_OLD" in line]
    assert old == []
    assert np.float32(rows[1][5].decode()) == np.float32("1234567.875")


def test_cyvcf2_reads_what_we_write(bcf: Path, tmp_path: Path) -> None:
    annotate(str(bcf), str(tmp_path / "b.bcf"))
    read = cyvcf2.VCF(str(tmp_path / "b.bcf"))
    first = next(read)
    assert first.QUAL == 29.5
    assert first.INFO["FX"] == 1234567.875
    assert first.INFO["SpliceBERT_LLR"] == (None, pytest.approx(0.000123457))
    assert first.INFO["SpliceBERT_STATUS"] == ".,OK"
    assert dict(next(read).INFO) == {}
    read.close()


@pytest.mark.skipif(not shutil.which("bcftools"), reason="bcftools is not on PATH")
def test_bcftools_reads_and_seeks_what_we_write(bcf: Path, tmp_path: Path) -> None:
    annotate(str(bcf), str(tmp_path / "b.bcf"))
    command = ["bcftools", "query", "-r", "chr1:90-150", "-f", "%POS %SpliceBERT_LLR %SpliceBERT\n", tmp_path / "b.bcf"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"100 .,0.000123457 C|BRCA1,C|\n"


def test_a_bcf_record_shows_what_a_line_would(bcf: Path) -> None:
    with open_vcf(str(bcf)) as reader:
        assert reader.kind == "bcf"
        assert not any(b"IDX=" in line for line in reader.header.lines)
        assert reader.header.contigs() == {"chr1": 100000}
        records = list(reader)
    assert [(r.chrom, r.pos, r.id, r.ref, r.alts) for r in records] == [
        ("chr1", 100, "rs1", "A", ("C", "G")),
        ("chr1", 200, ".", "AT", ()),
        ("chr1", 300, "\udce9", "G", ("<DEL>",)),
    ]
    assert records[2].where == f"{bcf}: record 3"


@pytest.mark.parametrize("packed", [True, False])
def test_bcf_comes_by_stdin_packed_or_not(packed: bool, bcf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bcf.read_bytes() if packed else gzip.decompress(bcf.read_bytes())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    with open_vcf("-") as reader:
        assert [record.pos for record in reader] == [100, 200, 300]


def test_end_is_neither_made_nor_moved_nor_dropped(tmp_path: Path) -> None:
    """pysam's own writer does all three."""
    infos = [b"DB", b"END=5", b"SVLEN=-90", b"END=400;SVLEN=-90", b"END=300"]
    alts = [b"<DEL>", b"C", b"<DEL>", b"<DUP>", b"<NON_REF>"]
    lines = [b"1\t%d\t.\tA\t%s\t.\t.\t%s\n" % (5 if i == 1 else 300, alts[i], infos[i]) for i in (1, 0, 2, 3, 4)]
    end = b'##INFO=<ID=END,Number=1,Type=Integer,Description="x">\n#CHROM'
    for number, bare in enumerate((BARE, BARE.replace(b"#CHROM", end))):
        source = tmp_path / f"in{number}.vcf"
        source.write_bytes(bare + b"".join(lines))
        for name in ("b.bcf", "c.bcf", "d.vcf"):
            annotate(str(source), str(tmp_path / f"{number}{name}"), fake=False)
            source = tmp_path / f"{number}{name}"
        assert [row[7] for row in body(source)] == [infos[i] for i in (1, 0, 2, 3, 4)]


def test_bytes_of_any_encoding_survive_bcf(tmp_path: Path) -> None:
    source = tmp_path / "in.vcf"
    source.write_bytes(BARE.replace(b"#CHROM", b"##who=\xe9\n#CHROM") + b"1\t5\t\xe9\tA\tC\t.\t.\tXX=\xe9,\xc3\xa9\n")
    for name in ("b.bcf", "c.bcf", "d.vcf"):
        annotate(str(source), str(tmp_path / name), fake=False)
        source = tmp_path / name
    assert b"##who=\xe9\n" in source.read_bytes()
    assert body(source) == [[b"1", b"5", b"\xe9", b"A", b"C", b".", b".", b"XX=\xe9,\xc3\xa9"]]


@pytest.mark.parametrize("cut", [1, 28, 29, 300])
def test_a_cut_off_bcf_is_told(cut: int, tmp_path: Path) -> None:
    path = to_bcf(HEADER + b"".join(LINES) * 3000, tmp_path / "in.bcf")
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(VcfError, match="cut off"), open_vcf(str(path)) as reader:
        list(reader)


@pytest.mark.parametrize("keep", [7, 200, -5])
def test_a_cut_off_unpacked_bcf_is_told(keep: int, bcf: Path) -> None:
    bcf.write_bytes(gzip.decompress(bcf.read_bytes())[:keep])
    with pytest.raises(VcfError, match="cut off"), open_vcf(str(bcf)) as reader:
        list(reader)


def test_a_reader_may_be_left_early(tmp_path: Path) -> None:
    path = to_bcf(HEADER + b"".join(LINES) * 30000, tmp_path / "in.bcf")
    with open_vcf(str(path)) as reader:
        assert next(reader).pos == 100


def test_big_records_do_not_stop_the_pipes(tmp_path: Path) -> None:
    """Incompressible text of more than a pipe holds, in one record."""
    source = tmp_path / "in.vcf"
    text = os.urandom(300_000).hex().encode()
    source.write_bytes(HEADER + (LINES[0].replace(b"DB", b"DB;XX=" + text)) * 5)
    annotate(str(source), str(tmp_path / "b.bcf"))
    annotate(str(tmp_path / "b.bcf"), str(tmp_path / "c.bcf"))
    annotate(str(tmp_path / "c.bcf"), str(tmp_path / "d.vcf"))
    assert [text in row[7] for row in body(tmp_path / "d.vcf")] == [True] * 5


def test_a_bare_header_is_completed(tmp_path: Path) -> None:
    source, target = tmp_path / "in.vcf", tmp_path / "b.bcf"
    source.write_bytes(
        BARE.replace(b"INFO\n", b"INFO\tFORMAT\ts\n")
        + b"17\t5\t.\tA\tC\t1\tq10;s50\tAC=1;ZZ;GERP++_RS=2.1\tGT:DP\t0/1:7\n18\t6\t.\tA\tC\t.\t.\t.\tGT\t0/1\n"
    )
    annotate(str(source), str(target), lengths={"1": 10, "17": 83257441, "X": 5})
    with pysam.VariantFile(str(target)) as file:
        assert [(c.name, c.length) for c in file.header.contigs.values()] == [
            ("1", 10), ("17", 83257441), ("X", 5), ("18", None),
        ]  # fmt: skip
        assert {k: (v.number, v.type) for k, v in file.header.info.items() if "Splice" not in k} == {
            "AC": (".", "String"), "ZZ": (0, "Flag"), "GERP++_RS": (".", "String"),
        }  # fmt: skip
        row = str(next(file)).split("\t")
    assert row[6:8] == [
        "q10;s50",
        "AC=1;ZZ;GERP++_RS=2.1;SpliceBERT_LLR=-1.2346;SpliceBERT_STATUS=OK;SpliceBERT_NGENES=2;SpliceBERT=C|BRCA1,C|",
    ]
    assert row[8:] == ["GT:DP", "0/1:7\n"]


def test_contig_lengths_of_another_naming_are_left_out(tmp_path: Path) -> None:
    source, target = tmp_path / "in.vcf", tmp_path / "b.bcf"
    source.write_bytes(BARE + b"17\t5\t.\tA\tC\t.\t.\t.\n")
    annotate(str(source), str(target), lengths={"chr17": 83257441})
    with open_vcf(str(target)) as reader:
        assert reader.header.contigs() == {"17": None}


def test_a_type_too_narrow_for_its_values_is_widened_and_told(tmp_path: Path) -> None:
    source, target = tmp_path / "in.vcf", tmp_path / "b.bcf"
    lines = b'##INFO=<ID=CADD,Number=1,Type=Integer,Description="x">\n'
    lines += b'##INFO=<ID=P,Number=1,Type=Float,Description="x">\n'
    source.write_bytes(BARE.replace(b"#CHROM", lines + b"#CHROM") + b"17\t5\t.\tA\tC\t.\t.\tCADD=2.444;P=low\n")
    warnings = annotate(str(source), str(target))
    assert [warning.partition(",")[0] for warning in warnings] == [
        "INFO CADD: declared type changed to Float",
        "INFO P: declared type changed to String",
    ]
    with open_vcf(str(target)) as reader:
        assert next(reader).columns()[7].startswith(b"CADD=2.444;P=low;")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"18\t5\t.\tA\tC\t.\t.\tAC=1\n", "(?s)contig '18' is not defined.*in.vcf:5.*write VCF.*bcftools annotate -h"),
        (b"17\t5\t.\tA\tC\t.\tq10\tAC=1\n", "FILTER 'q10' is not defined"),
        (b"17\t5\t.\tA\tC\t.\t.\tAC=1;NEW=2\n", "(?s)INFO key 'NEW' is not defined.*in.vcf:5"),
        (b"17\t5\t.\tA\tC\tgood\t.\tAC=1\n", "(?s)QUAL does not fit.*good"),
        (b"17\t5\t.\tA\tC\t.\t.\tNR=1.5\n", "(?s)INFO NR does not fit.*Integer.*1.5"),
        (b"17\t5\t.\tA\tC\t.\t.\tNR=99999999999\n", "INFO NR does not fit"),
    ],
)
def test_a_later_record_that_bcf_cannot_hold_is_named(line: bytes, message: str, tmp_path: Path) -> None:
    source, target = tmp_path / "in.vcf", tmp_path / "b.bcf"
    number = b'##INFO=<ID=NR,Number=.,Type=Integer,Description="x">\n'
    source.write_bytes(BARE.replace(b"#CHROM", number + b"#CHROM") + b"17\t4\t.\tA\tC\t.\t.\tAC=1;NR=1,.\n" + line)
    with pytest.raises(OutputError, match=message):
        annotate(str(source), str(target), first=1)
    assert [p.name for p in tmp_path.iterdir()] == ["in.vcf"]


def test_a_name_that_no_header_can_hold_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.vcf"
    source.write_bytes(BARE + b'17\t4\t.\tA\tC\t.\t.\tA"B=1\n')
    with pytest.raises(OutputError, match="(?s)INFO key 'A\"B' is not defined.*write VCF"):
        annotate(str(source), str(tmp_path / "b.bcf"))


def test_a_header_that_htslib_cannot_read_is_told(tmp_path: Path) -> None:
    source = tmp_path / "in.vcf"
    source.write_bytes(HEADER.replace(b"\ts2", b"\ts1"))
    with pytest.raises(OutputError, match="(?s)Duplicated"):
        annotate(str(source), str(tmp_path / "b.bcf"))


def test_no_records_make_a_whole_file(tmp_path: Path) -> None:
    source = tmp_path / "in.vcf"
    source.write_bytes(HEADER)
    for name in ("b.bcf", "b.vcf.gz", "b.vcf"):
        annotate(str(source), str(tmp_path / name))
        with open_vcf(str(tmp_path / name)) as reader:
            assert list(reader) == []
            assert len(reader.header.contigs()) == 1


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
def test_each_float_is_printed_with_all_its_digits(values: list[float]) -> None:
    header = pysam.VariantHeader()
    header.add_line("##contig=<ID=1,length=1000>")
    header.add_line('##INFO=<ID=F,Number=.,Type=Float,Description="x">')
    record = header.new_record("1", 10, 11, ("A", "C"), qual=abs(values[0]))
    record.info["F"] = tuple(values)
    columns = _BcfPrinter(header).line(record).split(b"\t")
    assert np.float32(columns[5].decode()) == np.float32(abs(values[0]))
    printed = [np.float32(text.decode()) for text in columns[7].removeprefix(b"F=").split(b",")]
    assert printed == [np.float32(value) for value in values]


@pytest.mark.skipif(not REAL.exists(), reason="the shared real data is not beside this checkout")
@pytest.mark.parametrize("name", ["clinvar.BRCA1.GRCh38", "clinvar.BRCA1.vep115.GRCh38", "rare_disease_trio.GRCh37"])
def test_real_files_survive_bcf(name: str, tmp_path: Path) -> None:
    source = REAL / f"{name}.vcf.gz"
    annotate(str(source), str(tmp_path / "a.vcf"))
    annotate(str(source), str(tmp_path / "a.bcf"))
    annotate(str(tmp_path / "a.bcf"), str(tmp_path / "b.bcf"), fake=True)
    annotate(str(tmp_path / "b.bcf"), str(tmp_path / "b.vcf"))
    texts, back = body(tmp_path / "a.vcf"), body(tmp_path / "b.vcf")
    assert len(texts) == len(back)
    for old, new in zip(texts, back, strict=True):
        assert new[:5] == old[:5] and new[6] == old[6]
        assert same_value(old[5], new[5])
        items = zip(old[7].rstrip(b"\r").split(b";"), new[7].split(b";"), strict=True)
        assert all(same_item(*pair) for pair in items)
        assert old[8:10] == new[8:10]


def same_item(old: bytes, new: bytes) -> bool:
    if old == new:
        return True
    key, _, values = old.partition(b"=")
    other, _, others = new.partition(b"=")
    pairs = zip(values.split(b","), others.split(b","), strict=True)
    return key == other and all(same_value(*pair) for pair in pairs)


def same_value(old: bytes, new: bytes) -> bool:
    return old == new or np.float32(old.decode()) == np.float32(new.decode())

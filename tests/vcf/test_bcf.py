"""BCF out and in: values stay equal whatever stands on the other side, or the record is named that BCF cannot hold."""

import gzip
import itertools
import os

import numpy as np
import pysam
import pysam.bcftools
import pytest

from factories import SHARED
from splicebert_vep.errors import OutputError
from splicebert_vep.vcf.info import InfoEncoder
from splicebert_vep.vcf.read import open_vcf
from splicebert_vep.vcf.write import VcfWriter
from splicebert_vep_spec import InfoField

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
NEW = b"SpliceBERT_LLR=-1.2346;SpliceBERT_STATUS=OK;SpliceBERT_NGENES=2;SpliceBERT=C|BRCA1,C|"


def annotate(source, target, *, first=1000, lengths=None, scored=True):
    with open_vcf(str(source)) as reader:
        header = reader.header.annotated(FIELDS, {"weights": "abc"})
        chunk = list(itertools.islice(reader, first))
        with VcfWriter(str(target), header, None, chunk, lengths) as writer:
            for record in itertools.chain(chunk, reader):
                alts = len(record.alts)
                values = {
                    "SpliceBERT_LLR": (None, *(0.00012345678,) * (alts - 1)) if alts > 1 else (-1.23456,),
                    "SpliceBERT_STATUS": (None, *("OK",) * (alts - 1)) if alts > 1 else ("OK",),
                    "SpliceBERT_NGENES": (2,) * alts,
                    "SpliceBERT": ("C|BRCA1", "C|"),
                }
                writer.write(record, InfoEncoder(FIELDS).text(values, alts) if scored and alts else b"")
    return writer.warnings


def written(folder, data, name="b.bcf", **options):
    (folder / "in.vcf").write_bytes(data)
    return annotate(folder / "in.vcf", folder / name, **options)


def body(path):
    return [line.split(b"\t") for line in path.read_bytes().splitlines() if not line.startswith(b"#")]


@pytest.fixture
def bcf(tmp_path):
    (tmp_path / "source.vcf").write_bytes(HEADER + b"".join(LINES))
    source, made = str(tmp_path / "source.vcf"), str(tmp_path / "in.bcf")
    pysam.bcftools.view("-Ob", "--no-version", "-o", made, source, catch_stdout=False)
    (tmp_path / "source.vcf").unlink()
    return tmp_path / "in.bcf"


INFO = [
    b"AF=.,0.1;FX=1234567.9;ST=.,b;DB;SpliceBERT_LLR=.,0.000123457;SpliceBERT_STATUS=.,OK;"
    b"SpliceBERT_NGENES=2,2;SpliceBERT=C|BRCA1,C|",
    b".",
    b"ST=\xe9;" + NEW,
]


@pytest.mark.parametrize("through", [[], ["b.bcf"], ["b.bcf", "c.bcf"], ["b.vcf", "c.bcf"], ["b.vcf.gz"]])
def test_values_stay_equal_on_every_way(through, bcf, tmp_path):
    path = bcf
    for name in [*through, "last.vcf"]:
        annotate(path, tmp_path / name)
        path = tmp_path / name
    rows = body(path)
    assert [row[7] for row in rows] == INFO
    assert [row[5] for row in rows] == [b"29.5", b"1234567.9", b"."]  # the shortest text of that float32
    assert rows[0][9:] == [b"0/1:1.2345678,.", b"1|2:."]
    assert rows[2][2] == b"\xe9"
    assert b"SpliceBERT_OLD" not in path.read_bytes()
    assert np.float32(rows[1][5].decode()) == np.float32("1234567.875")


def test_the_index_leads_to_a_record(bcf, tmp_path):
    annotate(bcf, tmp_path / "b.bcf")
    with pysam.VariantFile(str(tmp_path / "b.bcf")) as file:
        assert [(one.pos, one.info["SpliceBERT"]) for one in file.fetch("chr1", 89, 150)] == [(100, ("C|BRCA1", "C|"))]


def test_end_is_neither_made_nor_moved_nor_dropped(tmp_path):
    """pysam's own writer does all three."""
    infos = [b"DB", b"END=5", b"SVLEN=-90", b"END=400;SVLEN=-90", b"END=300"]
    alts = [b"<DEL>", b"C", b"<DEL>", b"<DUP>", b"<NON_REF>"]
    lines = [b"1\t%d\t.\tA\t%s\t.\t.\t%s\n" % (5 if i == 1 else 300, alts[i], infos[i]) for i in (1, 0, 2, 3, 4)]
    end = b'##INFO=<ID=END,Number=1,Type=Integer,Description="x">\n#CHROM'
    for number, bare in enumerate((BARE, BARE.replace(b"#CHROM", end))):
        source = tmp_path / f"in{number}.vcf"
        source.write_bytes(bare + b"".join(lines))
        for name in ("b.bcf", "c.bcf", "d.vcf"):
            annotate(source, tmp_path / f"{number}{name}", scored=False)
            source = tmp_path / f"{number}{name}"
        assert [row[7] for row in body(source)] == [infos[i] for i in (1, 0, 2, 3, 4)]


def test_bytes_of_any_encoding_survive(tmp_path):
    source = tmp_path / "in.vcf"
    source.write_bytes(BARE.replace(b"#CHROM", b"##who=\xe9\n#CHROM") + b"1\t5\t\xe9\tA\tC\t.\t.\tXX=\xe9,\xc3\xa9\n")
    for name in ("b.bcf", "c.bcf", "d.vcf"):
        annotate(source, tmp_path / name, scored=False)
        source = tmp_path / name
    assert b"##who=\xe9\n" in source.read_bytes()
    assert body(source) == [[b"1", b"5", b"\xe9", b"A", b"C", b".", b".", b"XX=\xe9,\xc3\xa9"]]


def test_lines_with_crlf_lose_it(tmp_path):
    written(tmp_path, (HEADER + b"".join(LINES)).replace(b"\n", b"\r\n"))
    annotate(tmp_path / "b.bcf", tmp_path / "d.vcf")
    assert b"\r" not in (tmp_path / "d.vcf").read_bytes()
    assert [row[7] for row in body(tmp_path / "d.vcf")] == INFO


def test_big_records_do_not_stop_the_pipes(tmp_path):
    """Incompressible text of more than a pipe holds, in each record."""
    text = os.urandom(300_000).hex().encode()
    written(tmp_path, HEADER + LINES[0].replace(b"DB", b"DB;XX=" + text) * 5)
    annotate(tmp_path / "b.bcf", tmp_path / "c.bcf")
    annotate(tmp_path / "c.bcf", tmp_path / "d.vcf")
    assert [text in row[7] for row in body(tmp_path / "d.vcf")] == [True] * 5


def test_a_bare_header_is_completed(tmp_path):
    written(
        tmp_path,
        BARE.replace(b"INFO\n", b"INFO\tFORMAT\ts\n")
        + b"17\t5\t.\tA\tC\t1\tq10;s50\tAC=1;ZZ;GERP++_RS=2.1\tGT:DP\t0/1:7\n18\t6\t.\tA\tC\t.\t.\t.\tGT\t0/1\n",
        lengths={"1": 10, "17": 83257441, "X": 5},
    )
    with pysam.VariantFile(str(tmp_path / "b.bcf")) as file:
        assert [(c.name, c.length) for c in file.header.contigs.values()] == [
            ("1", 10), ("17", 83257441), ("X", 5), ("18", None),
        ]  # fmt: skip
        assert {k: (v.number, v.type) for k, v in file.header.info.items() if "Splice" not in k} == {
            "AC": (".", "String"), "ZZ": (0, "Flag"), "GERP++_RS": (".", "String"),
        }  # fmt: skip
        row = str(next(file)).rstrip("\n").split("\t")
    assert row[6:] == ["q10;s50", f"AC=1;ZZ;GERP++_RS=2.1;{NEW.decode()}", "GT:DP", "0/1:7"]


def test_contig_lengths_of_another_naming_are_left_out(tmp_path):
    written(tmp_path, BARE + b"17\t5\t.\tA\tC\t.\t.\t.\n", lengths={"chr17": 83257441})
    with open_vcf(str(tmp_path / "b.bcf")) as reader:
        assert reader.header.contigs() == {"17": None}


def test_a_flag_that_has_a_value_later_keeps_it(tmp_path):
    lines = b"17\t5\t.\tA\tC\t.\t.\tZZ\n17\t6\t.\tA\tC\t.\t.\tZZ=7\n"
    written(tmp_path, BARE + lines, first=1, scored=False)
    annotate(tmp_path / "b.bcf", tmp_path / "d.vcf", scored=False)
    assert [row[7] for row in body(tmp_path / "d.vcf")] == [b"ZZ", b"ZZ=7"]


def test_a_type_too_narrow_for_its_values_is_widened_and_told(tmp_path):
    lines = b'##INFO=<ID=CADD,Number=1,Type=Integer,Description="x">\n'
    lines += b'##INFO=<ID=BIG,Number=1,Type=Integer,Description="x">\n'
    lines += b'##INFO=<ID=P,Number=1,Type=Float,Description="x">\n'
    record = b"17\t5\t.\tA\tC\t.\t.\tCADD=2.444;P=low;BIG=99999999999\n"
    warnings = written(tmp_path, BARE.replace(b"#CHROM", lines + b"#CHROM") + record)
    assert [warning.partition(",")[0] for warning in warnings] == [
        "INFO CADD: declared type changed to Float",
        "INFO P: declared type changed to String",
        "INFO BIG: declared type changed to String",
    ]
    with open_vcf(str(tmp_path / "b.bcf")) as reader:
        assert next(reader).columns()[7].startswith(b"CADD=2.444;P=low;BIG=99999999999;")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (b"18\t5\t.\tA\tC\t.\t.\tAC=1\tGT\t0/1\n", "contig '18'"),
        (b"17\t5\t.\tA\tC\t.\tq10\tAC=1\tGT\t0/1\n", "FILTER 'q10'"),
        (b"17\t5\t.\tA\tC\t.\t.\tAC=1;NEW=2\tGT\t0/1\n", "INFO key 'NEW'"),
        (b"17\t5\t.\tA\tC\t.\t.\t.\tGT:NEW\t0/1:.\n", "FORMAT key 'NEW'"),
        (b"17\t5\t.\tA\tC\tgood\t.\tAC=1\tGT\t0/1\n", "QUAL"),
        (b"17\t5\t.\tA\tC\t.\t.\tNR=1.5\tGT\t0/1\n", "INFO NR"),
        (b"17\t5\t.\tA\tC\t.\t.\tNR=99999999999\tGT\t0/1\n", "INFO NR"),
        (b"17\t5\t.\tA\tC\t.\t.\t.\tGT:DP\t0/1:2147483648\n", "FORMAT DP"),
        (b"17\t5\t.\tA\tC\t.\t.\t.\tGT:DP\t0/1:-2147483648\n", "FORMAT DP"),
        (b"17\t5\t.\tA\tC\t.\t.\t.\tGT:DP\t0/1:1,,2\n", "FORMAT DP"),
        (b"17\t5\t.\tA\tC\t.\t.\t.\tGT:FF\t0/1:1,,2\n", "FORMAT FF"),
        (b"17\t5\t.\tA\tC\t.\t.\t.\tGT:FF\t0/1:1e-50\n", "FORMAT FF"),
        (b"17\t5\t.\tA\tC\t.\t.\t.\tGT:FF\t0/1: 1\n", "FORMAT FF"),
        (b"17\t5\t.\tA\tC\t.\t.\tNR=1_000\tGT\t0/1\n", "INFO NR"),
        (b"17\t5\t.\tA\tC\t.\t.\tNR= 7\tGT\t0/1\n", "INFO NR"),
        (b"17\t5\t.\tA\tC\t.\t.\tNR=1,,2\tGT\t0/1\n", "INFO NR"),
        (b"17\t5\t.\tA\tC,,G\t.\t.\t.\tGT\t0/1\n", "ALT"),
        (b"17\t5\t.\tA\tC,\t.\t.\t.\tGT\t0/1\n", "ALT"),
        (b"17\t5\t\tA\tC\t.\t.\t.\tGT\t0/1\n", "ID"),
        (b"17\t5\t.\tA\tC\t1_0\t.\t.\tGT\t0/1\n", "QUAL"),
    ],
)
def test_a_later_record_that_bcf_cannot_hold_is_named(line, word, tmp_path):
    definitions = b'##INFO=<ID=NR,Number=.,Type=Integer,Description="x">\n'
    definitions += b'##FORMAT=<ID=DP,Number=1,Type=Integer,Description="x">\n'
    definitions += b'##FORMAT=<ID=FF,Number=1,Type=Float,Description="x">\n'
    head = BARE.replace(b"#CHROM", definitions + b"#CHROM").replace(b"INFO\n", b"INFO\tFORMAT\ts\n")
    with pytest.raises(OutputError, match=word) as caught:
        written(tmp_path, head + b"17\t4\t.\tA\tC\t.\t.\tAC=1;NR=1,.\tGT:DP:FF\t0/1:2147483647:1\n" + line, first=1)
    assert caught.value.where.endswith("in.vcf:7") and "-O v" in caught.value.remedy
    assert [p.name for p in tmp_path.iterdir()] == ["in.vcf"]


@pytest.mark.parametrize("kind", ["Integer", "Float"])
@pytest.mark.parametrize("value", [b"1_000", b" 7", b"1,,2", b"1e-50", b"1e400", b"0x10", b"9" * 5000])
def test_a_number_that_bcf_cannot_hold_is_kept_as_text(kind, value, tmp_path):
    head = BARE.replace(b"#CHROM", f'##INFO=<ID=X,Number=.,Type={kind},Description="x">\n#CHROM'.encode())
    written(tmp_path, head + b"17\t5\t.\tA\tC\t.\t.\tX=%b\n" % value, scored=False)
    annotate(tmp_path / "b.bcf", tmp_path / "d.vcf", scored=False)
    assert [row[7] for row in body(tmp_path / "d.vcf")] == [b"X=%b" % value]


def test_floats_that_bcf_rounds_are_told(tmp_path):
    lines = [line.replace(b"0.1;", b"0.10000001;").replace(b"29.5", b"29.123456789") for line in LINES]
    warnings = written(tmp_path, HEADER + b"".join(lines))
    assert [key in warnings[-1] for key in ("QUAL", "FX", "AF", "DS")] == [True, True, False, False]


def test_widening_changes_no_digit(tmp_path):
    head = BARE.replace(b"#CHROM", b'##INFO=<ID=X,Number=1,Type=Integer,Description="x">\n#CHROM')
    lines = head + b"17\t5\t.\tA\tC\t.\t.\tX=2.5\n17\t6\t.\tA\tC\t.\t.\tX=2.1234567\n"
    [warning] = written(tmp_path, lines, scored=False)
    assert "String" in warning
    annotate(tmp_path / "b.bcf", tmp_path / "d.vcf", scored=False)
    assert [row[7] for row in body(tmp_path / "d.vcf")] == [b"X=2.5", b"X=2.1234567"]
    with pytest.raises(OutputError, match="INFO X"):
        written(tmp_path, lines, "c.bcf", first=1)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (BARE + b'17\t4\t.\tA\tC\t.\t.\tA"B=1\n', "INFO key"),
        (HEADER.replace(b"\ts2", b"\ts1"), "Duplicated"),
        (HEADER + b"chr1\t5\t.\tA\tC\t.\t.\t.\tGT\t0/1/x\tfoo\n", "htslib|E::"),
    ],
)
def test_text_that_htslib_cannot_read_is_told(data, word, tmp_path):
    with pytest.raises(OutputError, match=word):
        written(tmp_path, data)
    assert [p.name for p in tmp_path.iterdir()] == ["in.vcf"]


REAL = SHARED / "data" / "vcf"


@pytest.mark.skipif(not REAL.exists(), reason="the shared real data is not beside this checkout")
@pytest.mark.parametrize("name", ["clinvar.BRCA1.GRCh38", "clinvar.BRCA1.vep115.GRCh38", "rare_disease_trio.GRCh37"])
def test_real_files_survive(name, tmp_path):
    source = REAL / f"{name}.vcf.gz"
    annotate(source, tmp_path / "a.vcf")
    lines = [line for line in gzip.decompress(source.read_bytes()).splitlines() if not line.startswith(b"#")]
    for old, new in zip(lines, body(tmp_path / "a.vcf"), strict=True):
        columns = old.split(b"\t")
        assert new[:7] + new[8:] == columns[:7] + columns[8:] and new[7].startswith(columns[7])
    annotate(source, tmp_path / "a.bcf")
    annotate(tmp_path / "a.bcf", tmp_path / "b.bcf")
    annotate(tmp_path / "b.bcf", tmp_path / "b.vcf")
    for old, new in zip(body(tmp_path / "a.vcf"), body(tmp_path / "b.vcf"), strict=True):
        assert new[:5] == old[:5] and new[6] == old[6]
        assert same_value(old[5], new[5])
        for one, other in zip(old[7].split(b";"), new[7].split(b";"), strict=True):
            (key, _, values), (other_key, _, others) = one.partition(b"="), other.partition(b"=")
            assert key == other_key and all(map(same_value, values.split(b","), others.split(b",")))
        assert old[8:10] == new[8:10]


def same_value(old, new):
    return old == new or np.float32(old.decode()) == np.float32(new.decode())

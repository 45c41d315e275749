"""Header lines: ours are added and replaced, every other line stays byte for byte."""

import subprocess
import sys

import pytest

from splicebert_vep.errors import VcfError
from splicebert_vep.vcf.header import VcfHeader
from splicebert_vep_spec import InfoField

FIELDS = [
    InfoField("SpliceBERT_LLR", "A", "Float", "log-likelihood ratio"),
    InfoField("SpliceBERT_STATUS", "A", "String", "status"),
    InfoField("SpliceBERT", ".", "String", "entries. Format: ALLELE|SYMBOL"),
]
LINES = (
    b"##fileformat=VCFv4.2\n",
    b'##INFO=<ID=AC,Number=A,Type=Integer,Description="a \\"b\\", ID=SpliceBERT_X">\n',
    b'##INFO=<ID=SpliceBERT_OLD,Number=1,Type=Float,Description="old">\n',
    b'##INFO=<ID=SpliceBERTA,Number=1,Type=Float,Description="not ours">\n',
    b'##INFO=<ID=CSQ,Number=.,Type=String,Description="from VEP. Format: Allele|SYMBOL">\n',
    b'##SpliceBERT_provenance=<ID=run,x="1">\n',
    b"##contig=<ID=chr1,length=1000>\n",
    b"##contig=<ID=chr2>\n",
    b"##latin=\xe9\n",
    b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n",
)


def test_header_gains_our_lines_and_keeps_the_others():
    header = VcfHeader(LINES).annotated(FIELDS, {"weights": 'say "hi"\\', "window": "510"})
    ours = [line for line in header.lines if b"SpliceBERT" in line and line not in LINES]
    assert ours[0] == (b'##INFO=<ID=SpliceBERT_LLR,Number=A,Type=Float,Description="log-likelihood ratio">\n')
    assert ours[-1] == b'##SpliceBERT_provenance=<ID=run,weights="say \\"hi\\"\\\\",window="510">\n'
    assert [line for line in header.lines if line not in ours] == [LINES[i] for i in (0, 1, 3, 4, 6, 7, 8, 9)]
    assert header.lines[-1] == LINES[-1]
    assert header.fields == tuple(FIELDS)


def test_annotating_a_header_twice_is_annotating_it_once():
    once = VcfHeader(LINES).annotated(FIELDS, {"w": "510"})
    assert once.annotated(FIELDS, {"w": "510"}) == once


def test_a_foreign_field_is_declared_again_where_it_stands():
    field = InfoField("CSQ", ".", "String", "from VEP. Format: Allele|SYMBOL|SpliceBERT_pred_LLR")
    header = VcfHeader(LINES).annotated([field], {})
    # the line of an earlier run, which stood before it, is gone
    assert header.lines[3] == f'##INFO=<ID=CSQ,Number=.,Type=String,Description="{field.description}">\n'.encode()
    assert sum(b"ID=CSQ," in line for line in header.lines) == 1


def test_header_with_crlf_gains_lines_with_crlf():
    header = VcfHeader(tuple(line.replace(b"\n", b"\r\n") for line in LINES)).annotated(FIELDS, {})
    assert all(line.endswith(b"\r\n") for line in header.lines)


def test_a_header_line_of_10_mb_takes_a_small_multiple_of_it():
    code = """import resource
from splicebert_vep.vcf.header import VcfHeader
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
line = b'##INFO=<ID=X,Number=1,Type=String,Description="' + b"x" * 10_000_000 + b'">\\n'
header = VcfHeader((line, b"#CHROM\\n"))
assert not header.infos_in_doubt() and len(header.infos()["X"].description) == 10_000_000
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(done.stdout) < 300_000  # kB


def test_contigs_are_read():
    assert VcfHeader(LINES).contigs() == {"chr1": 1000, "chr2": None}


def test_a_provenance_name_is_a_header_key():
    with pytest.raises(ValueError, match="a b"):
        VcfHeader(LINES).annotated(FIELDS, {"a b": "1"})


@pytest.mark.parametrize("lines", [[], [b"hi\n"], [LINES[0]], [LINES[0], b"1\t5\n"], [LINES[0], b"#CHROM\tPOS\n"]])
def test_lines_that_are_no_header_are_refused(lines):
    with pytest.raises(VcfError, match="cat header.vcf FILE >"):  # bcftools reheader needs a header to replace
        VcfHeader.parse(lines, "x.vcf")

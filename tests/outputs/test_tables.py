"""Text and Parquet tables of outcomes."""

import dataclasses
import json
import re
import shutil
import subprocess

import pyarrow.parquet as pq
import pytest

from factories import ROOT, RUN, gene, report
from splicebert_vep.errors import OutputError, SettingsError
from splicebert_vep.files import publish_all
from splicebert_vep.outputs.tables import JsonlAdapter, ParquetAdapter, TsvAdapter
from splicebert_vep.outputs.write import TableFile, TextFile
from splicebert_vep.plugins import Origin
from splicebert_vep.results import ScoredContext
from splicebert_vep_spec import Status


def opened(adapter, path) -> TextFile | TableFile:
    kind = TextFile if hasattr(adapter, "lines") else TableFile
    return kind(adapter, Origin("mine", "register_adapters", "adapter", adapter.name), str(path), RUN)


def written(adapter, path, times=1):
    writer = opened(adapter, path)
    for _ in range(times):
        writer.write([report()])
    writer.finish()
    assert not path.exists()
    publish_all([writer])
    assert list(path.parent.iterdir()) == [path]
    return path


def test_tsv_rows(tmp_path):
    lines = written(TsvAdapter(), tmp_path / "t").read_text().splitlines()
    assert lines[:2] == ["## Model=m", "## Note=n"]
    header = lines[2].split("\t")
    rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[3:]]
    assert [(row["CHROM"], row["POS"], row["ALT"], row["GENE"], row["STATUS"]) for row in rows] == [
        ("1", "100", "AT", "G1", "OK"), ("1", "100", "AT", "G2", "OK"), ("1", "100", "<DEL>", "", "SYMBOLIC"),
    ]  # fmt: skip
    assert [row["START"] for row in rows] == ["100", "100", ""]
    assert rows[1]["N_SITES"] == ""
    assert rows[2]["REASON"] == "ALT <DEL> is symbolic"


def odd_table(path):
    """Write a TSV with IDs of odd text, a gene NA and a chromosome X behind numbered ones; return the cells of ID."""
    odd = {'a#1"b': "a%231%22b", "=1+1": "'=1+1", "+x": "'+x", "-x": "'-x", "@SUM": "'@SUM", "-12": "-12", "+": "+"}
    named = [dataclasses.replace(report(), id=text) for text in odd]
    named[1:1] = [dataclasses.replace(report(), id="1")] * 40
    skipped = dataclasses.replace(report().alleles[1], alt="T")
    scored = [
        ScoredContext(dataclasses.replace(gene("G1"), symbol="NA", site_offset=offset), Status.OK, "", {})
        for offset in ("+5", "5")
    ]
    alleles = dataclasses.replace(report().alleles[0], alt="T", contexts=tuple(scored)), skipped
    writer = opened(TsvAdapter(), path)
    writer.write([*named, dataclasses.replace(report(), chrom="X", id="x", ref="T", alleles=alleles)])
    writer.finish()
    publish_all([writer])
    return [cell for cell in ("a%231%22b", *["1"] * 40, *list(odd.values())[1:], "x") for _ in range(3)]


@pytest.mark.parametrize("reader", ["pandas", "polars"])
def test_the_documented_readers_read_odd_text_and_every_type(reader, tmp_path):
    """Text is neither lost nor a formula, numbers are numbers, a sign stays."""
    cells = odd_table(path := tmp_path / "t")
    [lines] = re.findall(rf"^{reader}\.read_csv\($.*?^\)$", (ROOT / "docs" / "formats.md").read_text(), re.M | re.S)
    table = eval(lines, {reader: pytest.importorskip(reader), "path": path})
    assert list(table["ID"]) == cells
    assert (table["LLR"][0], table["POS"][0]) == (-1.2346, 100)
    assert [list(table[name])[-3:-1] for name in ("CHROM", "ALT", "SYMBOL", "SITE_OFFSET")] == [
        ["X", "X"], ["T", "T"], ["NA", "NA"], ["+5", "5"],
    ]  # fmt: skip
    assert table["GENE"].isnull().sum() if reader == "pandas" else table["GENE"].null_count() == len(cells) // 3


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="R not installed")
def test_the_documented_line_of_r_reads_odd_text_and_every_type(tmp_path):
    cells = odd_table(path := tmp_path / "t")
    [lines] = re.findall(r"^```r\n(.*?)```", (ROOT / "docs" / "formats.md").read_text(), re.M | re.S)
    shown = 'c("ID", "CHROM", "ALT", "SYMBOL", "SITE_OFFSET", "LLR")'
    script = tmp_path / "read.R"
    script.write_text(
        f'path <- "{path}"\n{lines}write.table(table[, {shown}], quote = FALSE, sep = "\\t", col.names = FALSE)\n'
    )
    done = subprocess.run(["Rscript", str(script)], capture_output=True, text=True, check=True)
    rows = [line.split("\t")[1:] for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == cells
    assert [row[1:5] for row in rows[-3:-1]] == [["X", "T", "NA", "+5"], ["X", "T", "NA", "5"]]
    assert rows[0][5] == "-1.2346" and rows[2][5] == "NA"


def test_parquet_rows(tmp_path):
    table = pq.read_table(written(ParquetAdapter(), tmp_path / "t", times=6000))  # more than one buffer
    assert table.num_rows == 18_000
    first = table.slice(0, 3).to_pylist()
    assert [row["LLR"] for row in first] == [-1.23456, 0.000123456789, None]
    assert [row["N_SITES"] for row in first] == [2, None, None]
    assert table.schema.metadata[b"Model"] == b"m"


def test_json_rows(tmp_path):
    first, *rows = map(json.loads, written(JsonlAdapter(), tmp_path / "t").read_text().splitlines())
    assert first == {"provenance": {"Model": "m", "Note": "n"}}
    assert [(row["ALT"], row["GENE"], row["LLR"]) for row in rows] == [
        ("AT", "G1", -1.23456), ("AT", "G2", 0.000123456789), ("<DEL>", None, None),
    ]  # fmt: skip
    assert rows[2]["REASON"] == "ALT <DEL> is symbolic"


@pytest.mark.parametrize("adapter", [TsvAdapter(), JsonlAdapter(), ParquetAdapter()])
def test_an_aborted_table_leaves_nothing(adapter, tmp_path):
    writer = opened(adapter, tmp_path / "t")
    writer.write([report()])
    writer.abort()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError):
        opened(adapter, tmp_path / "no" / "t")


def test_a_tsv_is_not_written_under_the_name_of_a_packed_file(tmp_path):
    with pytest.raises(SettingsError, match="plain text"):
        opened(TsvAdapter(), tmp_path / "t.tsv.gz")

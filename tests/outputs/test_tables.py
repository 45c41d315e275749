"""Text and Parquet tables of outcomes."""

import dataclasses
import json
import re

import pandas
import polars
import pyarrow.parquet as pq
import pytest

from factories import ROOT, RUN, report
from splicebert_vep.errors import OutputError, SettingsError
from splicebert_vep.outputs.tables import JsonlAdapter, ParquetAdapter, TsvAdapter
from splicebert_vep.outputs.write import TableFile, TextFile
from splicebert_vep.plugins import Origin


def opened(adapter, path) -> TextFile | TableFile:
    kind = TextFile if hasattr(adapter, "lines") else TableFile
    return kind(adapter, Origin("mine", "register_adapters", "adapter", adapter.name), str(path), RUN)


def written(adapter, path, times=1):
    writer = opened(adapter, path)
    for _ in range(times):
        writer.write([report()])
    writer.finish()
    assert not path.exists()
    writer.publish()
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


def test_odd_text_breaks_no_row_of_a_tsv_and_is_no_formula(tmp_path):
    """With the line of docs/formats.md, and as a spreadsheet would open it; numbers stay numbers."""
    odd = {'a#1"b': "a%231%22b", "=1+1": "'=1+1", "+x": "'+x", "-x": "'-x", "@SUM": "'@SUM", "-12": "-12", "+": "+"}
    path = tmp_path / "t"
    writer = opened(TsvAdapter(), path)
    writer.write([dataclasses.replace(report(), id=text) for text in odd])
    writer.finish()
    writer.publish()
    [line] = re.findall(r"pandas\.(read_csv\(.*?\))`", (ROOT / "docs" / "formats.md").read_text())
    table = eval(f"pandas.{line}", {"pandas": pandas, "path": path})
    assert list(table["ID"][::3]) == list(odd.values())
    assert len(table) == 3 * len(odd) and table["LLR"].iloc[0] == -1.2346
    same = polars.read_csv(path, separator="\t", comment_prefix="#", infer_schema=False)
    assert same["ID"].to_list() == table["ID"].to_list()


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

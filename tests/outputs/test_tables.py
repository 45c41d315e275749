"""Text and Parquet tables of outcomes."""

import json

import pyarrow.parquet as pq
import pytest

from factories import RUN, report
from splicebert_vep.errors import OutputError, SettingsError
from splicebert_vep.outputs.tables import JsonlAdapter, ParquetAdapter, TsvAdapter
from splicebert_vep.outputs.write import TableFile, TextFile
from splicebert_vep.plugins import Origin


def opened(adapter, path) -> TextFile | TableFile:
    kind = TextFile if hasattr(adapter, "lines") else TableFile
    return kind(adapter, Origin("mine", "register_adapters", "adapter", adapter.name), str(path), RUN)


def test_tsv_rows(tmp_path):
    path = tmp_path / "t.tsv"
    writer = opened(TsvAdapter(), path)
    writer.write([report()])
    assert not path.exists()
    writer.finish()
    assert not path.exists()
    writer.publish()
    lines = path.read_text().splitlines()
    assert lines[:2] == ["## Model=m", "## Note=n"]
    header = lines[2].split("\t")
    rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[3:]]
    assert [(row["CHROM"], row["POS"], row["ALT"], row["GENE"], row["STATUS"]) for row in rows] == [
        ("1", "100", "AT", "G1", "OK"), ("1", "100", "AT", "G2", "OK"), ("1", "100", "<DEL>", "", "SYMBOLIC"),
    ]  # fmt: skip
    assert [row["START"] for row in rows] == ["100", "100", ""]
    assert rows[1]["N_SITES"] == ""
    assert rows[2]["REASON"] == "ALT <DEL> is symbolic"


def test_parquet_rows(tmp_path):
    path = tmp_path / "t.parquet"
    writer = opened(ParquetAdapter(), path)
    for _ in range(6000):  # more than one buffer
        writer.write([report()])
    writer.finish()
    assert not path.exists()
    writer.publish()
    table = pq.read_table(path)
    assert table.num_rows == 18_000
    first = table.slice(0, 3).to_pylist()
    assert [row["LLR"] for row in first] == [-1.23456, 0.000123456789, None]
    assert [row["N_SITES"] for row in first] == [2, None, None]
    assert table.schema.metadata[b"Model"] == b"m"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.parquet"]


def test_json_rows(tmp_path):
    path = tmp_path / "t.jsonl"
    writer = opened(JsonlAdapter(), path)
    writer.write([report()])
    writer.finish()
    writer.publish()
    first, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert first == {"provenance": {"Model": "m", "Note": "n"}}
    assert [(row["ALT"], row["GENE"], row["LLR"]) for row in rows] == [
        ("AT", "G1", -1.23456), ("AT", "G2", 0.000123456789), ("<DEL>", None, None),
    ]  # fmt: skip
    assert rows[2]["REASON"] == "ALT <DEL> is symbolic"


TABLES = [TsvAdapter(), JsonlAdapter(), ParquetAdapter()]


@pytest.mark.parametrize("adapter", TABLES)
def test_an_aborted_table_leaves_nothing(adapter, tmp_path):
    writer = opened(adapter, tmp_path / "t")
    writer.write([report()])
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("adapter", TABLES)
def test_a_table_that_cannot_be_opened_is_told(adapter, tmp_path):
    with pytest.raises(OutputError, match="could not be written"):
        opened(adapter, tmp_path / "no" / "t")


def test_parquet_needs_a_file():
    with pytest.raises(SettingsError, match="stdout"):
        opened(ParquetAdapter(), "-")


def test_a_tsv_is_not_written_under_the_name_of_a_packed_file(tmp_path):
    with pytest.raises(SettingsError, match="plain text"):
        opened(TsvAdapter(), tmp_path / "t.tsv.gz")

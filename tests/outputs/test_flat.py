"""INFO fields of outcomes: flat and VEP-style."""

import math

import pytest

from factories import RUN, SCORE_FIELDS, report
from splicebert_vep.outputs.flat import FlatAdapter
from splicebert_vep.outputs.tables import columns, rows
from splicebert_vep.outputs.vep import VepAdapter
from splicebert_vep_spec import RecordReport, RunInfo, format_value


def test_flat_has_one_value_per_alt_of_the_first_gene():
    values = FlatAdapter().render(report(), RUN)
    assert values["SpliceBERT_LLR"] == (-1.23456, None)
    assert values["SpliceBERT_GENE"] == ("G1", None)
    assert values["SpliceBERT_STRAND"] == ("-", None)
    assert values["SpliceBERT_NGENES"] == (2, None)
    assert values["SpliceBERT_STATUS"] == ("OK", "SYMBOLIC")
    declared = {line.key: line for line in FlatAdapter().header(RUN)}
    assert set(declared) == set(values)
    assert {line.number for line in declared.values()} == {"A"}


def test_flat_says_nothing_of_a_record_without_alt():
    assert FlatAdapter().render(RecordReport("1", 100, ".", "A", ()), RUN) == {}


def test_adapters_follow_the_run_they_are_given():
    """What they remember of a run is that run's; runs are told apart although they are equal in part."""
    short, again = RunInfo(SCORE_FIELDS[:1], RUN.provenance), RunInfo(SCORE_FIELDS, RUN.provenance)
    whole = [adapter.render(report(), RUN) for adapter in (FlatAdapter(), VepAdapter())]
    less = [adapter.render(report(), short) for adapter in (FlatAdapter(), VepAdapter())]
    assert whole == [adapter.render(report(), again) for adapter in (FlatAdapter(), VepAdapter())]
    assert set(whole[0]) - set(less[0]) == {"SpliceBERT_N_SITES", "SpliceBERT_WORD"}
    assert [str(entry).count("|") for entry in less[1]["SpliceBERT"]] == [17, 17, 17]
    assert len(next(rows(report(), short))) == len(columns(short)) == len(columns(RUN)) - 2


def test_vep_style_has_one_entry_per_alt_and_gene():
    [line] = VepAdapter().header(RUN)
    names = line.description.split("Format: ")[1].split("|")
    assert names[:2] == ["ALLELE", "SYMBOL"]
    assert names[-1] == "STATUS"
    entries = VepAdapter().render(report(), RUN)["SpliceBERT"]
    rows = [dict(zip(names, str(entry).split("|"), strict=True)) for entry in entries]
    assert [row["GENE"] for row in rows] == ["G1", "G2", ""]
    assert [row["ALLELE"] for row in rows] == ["AT", "AT", "<DEL>"]
    assert [row["LLR"] for row in rows] == ["-1.2346", "0.000123457", ""]
    assert rows[0]["WORD"] == "a&b&c%3Bd_e"
    assert [row["STATUS"] for row in rows] == ["OK", "OK", "SYMBOLIC"]


def test_numbers_have_four_decimals_or_six_digits():
    values = (None, 3, "x", 1.0, -0.25, 0.001, 0.00099999, 1.23456789e-7, 0.0, -0.0, 12345.678949)
    texts = ["", "3", "x", "1.0000", "-0.2500", "0.0010", "0.00099999", "1.23457e-07", "0", "0", "12345.6789"]
    assert [format_value(value) for value in values] == texts
    assert format_value(None, ".") == "."
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="None"):
            format_value(value)

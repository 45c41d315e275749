"""All outputs of a run together: what they check, and that none stays behind when one fails."""

import math
from types import SimpleNamespace

import pytest

from factories import RUN, report
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.outputs.flat import FlatAdapter
from splicebert_vep.outputs.tables import TsvAdapter
from splicebert_vep.outputs.vep import VepAdapter
from splicebert_vep.outputs.write import Outputs, TableFile, TextFile, plan_outputs
from splicebert_vep.plugins import Origin
from splicebert_vep.vcf.header import VcfHeader
from splicebert_vep.vcf.read import VcfRecord
from splicebert_vep_spec import (
    AlleleReport,
    ColumnAdapter,
    InfoAdapter,
    InfoField,
    Merger,
    MergingAdapter,
    RecordReport,
    Refused,
    TableAdapter,
    TableWriter,
    TextAdapter,
)

HEADER = VcfHeader.parse([b"##fileformat=VCFv4.2\n", b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"], "in.vcf")


def opened(adapter, path) -> TextFile | TableFile:
    kind = TextFile if hasattr(adapter, "lines") else TableFile
    return kind(adapter, Origin("mine", "register_adapters", "adapter", adapter.name), str(path), RUN)


class Lines(TextAdapter):
    """A text adapter that returns what it is told to."""

    name, version = "mine", "1"

    def __init__(self, head=(), lines=()):
        self._head, self._lines = head, lines

    def head(self, run):
        return self._head

    def lines(self, report, run):
        return self._lines


@pytest.mark.parametrize("wrong", ["text", [None], [5], ["two\nlines"], ["\ud800"]])
def test_text_that_is_no_list_of_lines_is_told(wrong, tmp_path):
    with pytest.raises(PluginError, match="mine of plugin mine"):
        opened(Lines(head=wrong), tmp_path / "a")
    writer = opened(Lines(lines=wrong), tmp_path / "b")
    with pytest.raises(PluginError, match="mine of plugin mine"):
        writer.write([report()])
    writer.abort()
    assert list(tmp_path.iterdir()) == []


class Idle(TableAdapter, TableWriter):
    """A table adapter that writes no file."""

    name, version = "idle", "1"

    def open(self, path, run):
        return self

    def write(self, reports):
        pass

    def close(self):
        pass


def test_a_table_adapter_that_writes_no_file_is_told(tmp_path):
    with pytest.raises(PluginError, match="a file at the path"):
        opened(Idle(), tmp_path / "t").finish()


class Info(InfoAdapter):
    """An INFO adapter that returns one value for every ALT."""

    name, version = "mine", "1"

    def __init__(self, kind, value):
        self.kind, self.value = kind, value

    def header(self, run):
        return [InfoField("SpliceBERT_X", "A", self.kind, "x")]

    def render(self, report, run):
        return {"SpliceBERT_X": tuple(self.value for _ in report.alleles)}


@pytest.mark.parametrize(
    ("kind", "value"),
    [("Float", math.nan), ("Float", [1.0]), ("Integer", 2**31), ("String", "\ud800")],
)
def test_an_info_value_that_no_vcf_can_hold_is_told(kind, value, tmp_path):
    """And leaves no file, whatever was written before."""
    origins = {name: Origin("mine", "register_adapters", "adapter", name) for name in ("mine", "tsv")}
    adapters = {"mine": Info(kind, value), "tsv": TsvAdapter()}
    words = ["mine", f"tsv={tmp_path / 't.tsv'}"]
    plan = plan_outputs(words, str(tmp_path / "o.vcf"), None, adapters, origins, source="-", reference="r.fa")
    record = SimpleNamespace(chrom="1", pos=100, alts=("AT", "<DEL>"))
    with (
        pytest.raises(PluginError, match=f"finite values of type {kind}"),
        Outputs(plan, RUN, HEADER, [], {}) as outputs,
    ):
        outputs.write([record], [report()])
    assert list(tmp_path.iterdir()) == []


class Short(ColumnAdapter):
    """A column adapter that returns one value too few."""

    name, version = "mine", "1"

    def header(self, run):
        return [InfoField("SpliceBERT_X", "A", "Float", "x")]

    def columns(self, reports, run):
        return {"SpliceBERT_X": [0.5] * (sum(len(report.alleles) for report in reports) - 1)}


def test_a_column_of_another_length_is_told(tmp_path):
    with pytest.raises(PluginError, match="2 values of each key"):
        written(tmp_path, ["mine"], [b"1\t100\t.\tAC\tAT,<DEL>\t.\t.\t.\n"], [report()], mine=Short())


def written(tmp_path, words, lines, reports, header=HEADER, **own):
    """The INFO columns of records that were written with adapters of the program and of a plugin."""
    adapters = {"flat": FlatAdapter(), "vep": VepAdapter(), **own}
    origins = {
        name: Origin("mine" if name in own else "builtin", "register_adapters", "adapter", name) for name in adapters
    }
    plan = plan_outputs(words, str(tmp_path / "o.vcf"), None, adapters, origins, source="-", reference="r.fa")
    records = [VcfRecord(line, i) for i, line in enumerate(lines, start=1)]
    with Outputs(plan, RUN, header, [], {}) as outputs:
        outputs.write(records, reports)
    body = [line for line in (tmp_path / "o.vcf").read_bytes().splitlines() if not line.startswith(b"#")]
    return [line.split(b"\t")[7].decode("utf-8", "surrogateescape") for line in body]


def test_items_of_several_adapters_stand_one_after_the_other(tmp_path):
    lines = [b"1\t100\trs1\tAC\tAT,<DEL>\t.\t.\tDB\n", b"1\t200\t.\tA\t.\t.\t.\tSpliceBERT_LLR=1;AC=1\n"]
    none = RecordReport("1", 200, ".", "A", ())
    both, without = written(tmp_path, ["vep", "mine", "flat"], lines, [report(), none], mine=Info("Float", 3))
    assert without == "AC=1"
    vep, number, *flat = both.removeprefix("DB;").split(";")
    assert vep.startswith("SpliceBERT=AT|G1|") and vep.count(",") == 2
    assert number == "SpliceBERT_X=3,3"
    assert [item.partition("=")[0] for item in flat] == [
        key for key, values in FlatAdapter().render(report(), RUN).items() if set(values) != {None}
    ]
    assert flat[0] == "SpliceBERT_LLR=-1.2346,." and flat[-1] == "SpliceBERT_STATUS=OK,SYMBOLIC"


def test_a_key_of_another_adapter_is_undeclared(tmp_path):
    thief = Info("Float", 1.0)
    thief.render = lambda report, run: {"SpliceBERT_LLR": (1.0, 1.0)}
    with pytest.raises(PluginError, match="keys that its header declares"):
        written(tmp_path, ["flat", "mine"], [b"1\t100\t.\tAC\tAT,<DEL>\t.\t.\t.\n"], [report()], mine=thief)
    assert list(tmp_path.iterdir()) == []


def test_text_that_is_no_utf_8_leaves_as_it_came(tmp_path):
    odd = RecordReport("1", 100, ".", "A", (AlleleReport("<\udce9>", None, report().alleles[1].contexts),))
    [info] = written(tmp_path, ["vep"], [b"1\t100\t.\tA\t<\xe9>\t.\t.\t.\n"], [odd])
    assert info.startswith("SpliceBERT=<\udce9>|")


class Merging(MergingAdapter, Merger):
    """A merging adapter of a plugin: a gene's name into X, which another program declared."""

    name, version = "merging", "1"

    def __init__(self, *fields, render=None):
        self.fields = fields or [InfoField("X", ".", "String", "old, and gene")]
        self.own = render or (lambda report, info: {"X": (f"{info['X']}&G1",)} if "X" in info else {})

    def merge(self, run, info):
        if "X" not in info:
            raise Refused("There is no X.")
        self.known = info
        return self

    def render(self, report, info):
        return self.own(report, info)


MERGED_HEADER = VcfHeader.parse(
    [
        b"##fileformat=VCFv4.2\n",
        b'##INFO=<ID=X,Number=1,Type=Integer,Description="a \\"b\\" c\\\\d",Source="x, Type=1">\n',
        b'##INFO=<ID=Y,Number=0,Type=Flag,Description="y">\n',
        HEADER.lines[-1],
    ],
    "in.vcf",
)


def test_a_merged_field_takes_the_place_of_the_old_one(tmp_path):
    merging = Merging()
    lines = [b"1\t100\trs1\tAC\tAT,<DEL>\t.\t.\tA=1;X=5;Y\n", b"1\t200\t.\tA\t.\t.\t.\tX=a%3Bb;AC=1\n"]
    none = RecordReport("1", 200, ".", "A", ())
    both, without = written(
        tmp_path, ["mine", "merging"], lines, [report(), none], MERGED_HEADER, mine=Info("Float", 3), merging=merging
    )
    assert both == "A=1;X=5&G1;Y;SpliceBERT_X=3,3"
    assert without == "X=a%3Bb&G1;AC=1"
    assert merging.known == {
        "X": InfoField("X", "1", "Integer", r'a "b" c\d'), "Y": InfoField("Y", "0", "Flag", "y"),
    }  # fmt: skip
    header = (tmp_path / "o.vcf").read_text()
    assert '##INFO=<ID=X,Number=.,Type=String,Description="old, and gene",Source="x, Type=1">\n' in header
    assert header.count("ID=X,") == 1


LINE = [b"1\t100\trs1\tAC\tAT,<DEL>\t.\t.\tX=5\n"]


@pytest.mark.parametrize(
    ("merging", "message"),
    [
        (Merging(InfoField("X", "1", "String", "x")), "merging, merge"),
        (Merging(render=lambda report, info: {"Y": ("x",)}), "declares"),
        (Merging(render=lambda report, info: {"X": (5,)}), "String"),
        (Merging(render=lambda report, info: 1 / 0), "merging, render"),
        (Merging(InfoField("X", ".", "String", "x", entries=True), render=lambda report, info: {"X": ("a;b",)}), "tab"),
    ],
)
def test_a_merging_adapter_that_breaks_the_contract_is_told(merging, message, tmp_path):
    with pytest.raises(PluginError, match=message):
        written(tmp_path, ["merging"], LINE, [report()], MERGED_HEADER, merging=merging)
    assert list(tmp_path.iterdir()) == []


def test_what_is_merged_is_escaped_unless_it_is_entries(tmp_path):
    def shown(**kind):
        merging = Merging(InfoField("X", ".", "String", "x", **kind), render=lambda report, info: {"X": ("a|b,c", "d")})
        return written(tmp_path, ["merging"], LINE, [report()], MERGED_HEADER, merging=merging)

    assert shown() == ["X=a&b&c,d"]
    assert shown(entries=True) == ["X=a|b,c,d"]


def test_a_merging_adapter_may_refuse_the_input(tmp_path):
    with pytest.raises(SettingsError, match="There is no X"):
        written(tmp_path, ["merging"], LINE, [report()], merging=Merging())


def test_two_adapters_of_one_key_are_told(tmp_path):
    merging = Merging(InfoField("SpliceBERT_X", "A", "Float", "x"))
    with pytest.raises(PluginError, match="SpliceBERT_X"):
        written(tmp_path, ["mine", "merging"], LINE, [report()], MERGED_HEADER, mine=Info("Float", 1), merging=merging)

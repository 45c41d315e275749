"""The INFO column: our items change, every other byte stays."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splicebert_vep.vcf.info import InfoEncoder, UnfitError, is_ours, splice_info
from splicebert_vep_spec import InfoField, Status
from splicebert_vep_spec.values import info_problem

NEW = b"SpliceBERT_LLR=-1.5000,.;SpliceBERT=A|x"
FIELDS = [
    InfoField("SpliceBERT_LLR", "A", "Float", "log-likelihood ratio"),
    InfoField("SpliceBERT_STATUS", "A", "String", "status"),
    InfoField("SpliceBERT", ".", "String", "entries. Format: ALLELE|SYMBOL"),
]

_key = st.from_regex(rb"[A-Za-z_][A-Za-z0-9_.]{0,8}", fullmatch=True)
_value = st.binary(max_size=12).map(lambda text: text.translate(None, b";\t\r\n "))
_item = st.one_of(
    st.tuples(_key, _value).map(b"=".join), _key, st.sampled_from([b"", b"."]),
    st.sampled_from([b"SpliceBERT_LLR=1", b"SpliceBERT=A|b,C|d", b"SpliceBERT_X", b"SpliceBERTA=1", b"X=SpliceBERT_Y"]),
)  # fmt: skip
_info = st.lists(_item, max_size=6).map(b";".join)


def printed(kind: str, *values: object, description: str = "x") -> str:
    """What one field of this type prints, nothing when it is left out."""
    field = InfoField("SpliceBERT_X", "A", kind, description)
    text = InfoEncoder([field]).text({"SpliceBERT_X": values}, len(values))
    return text.decode("utf-8", "surrogateescape").removeprefix("SpliceBERT_X=")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("Float", None, ""), ("Float", 0.0, "0"), ("Float", -0.0, "0"), ("Float", 0.5, "0.5000"),
        ("Float", -1.23456, "-1.2346"), ("Float", 0.001, "0.0010"), ("Float", 0.0005, "0.0005"),
        ("Float", 0.0009999999, "0.001"), ("Float", -0.00001234567, "-1.23457e-05"),
        ("Float", np.float64(0.25), "0.2500"), ("Float", 3, "3"), ("Float", -(2**40), "-1099511627776"),
        ("Float", True, "1"), ("Integer", 7, "7"), ("Integer", -12, "-12"), ("Integer", False, "0"),
        ("String", "OK", "OK"), ("String", Status.OK, "OK"), ("String", "a,b;c|d=e f\tg", "a&b%3Bc&d%3De_f_g"),
        ("String", "\udce9\u00e9", "\udce9\u00e9"), ("String", "", "."),
    ],
)  # fmt: skip
def test_values_are_printed_as_promised(kind, value, text):
    assert printed(kind, value) == text
    if value is not None:
        assert printed(kind, value, None, value) == f"{text},.,{text}"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Float", math.nan), ("Float", math.inf), ("Float", -math.inf), ("Float", 1e39), ("Float", 10**400),
        ("Float", "0.5"), ("Float", np.float32(0.5)), ("Float", [1.0]), ("Integer", 2**31), ("Integer", -(2**31)),
        ("Integer", 1.0), ("Integer", np.int64(3)), ("Integer", "3"), ("String", 1), ("String", 0.5), ("String", b"x"),
        ("String", "a\0b"), ("String", "\ud800"), ("String", ["x"]), ("String", {"x": 1}),
    ],
)  # fmt: skip
def test_a_value_that_the_field_cannot_hold_is_refused(kind, value):
    for values in ((value,), (None, value), (value, None)):
        with pytest.raises(UnfitError, match=f"finite values of type {kind}, None where missing, found SpliceBERT_X"):
            printed(kind, *values)


_any_value = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-10, 10), st.floats(), st.text(), st.binary(max_size=3),
    st.lists(st.floats(), max_size=1), st.characters(categories=["Cs"]),
)  # fmt: skip


@given(st.sampled_from(["Float", "Integer", "String"]), st.lists(_any_value, max_size=3).map(tuple))
def test_what_is_printed_is_what_the_rules_allow(kind, values):
    """The encoder checks as it prints; the conformance tests of plugins ask the rules."""
    problem = info_problem(InfoField("SpliceBERT_X", "A", kind, "x"), values, len(values))
    if problem:
        with pytest.raises(UnfitError, match=problem):
            printed(kind, *values)
    else:
        assert printed(kind, *values).count(",") == max(0, len(values) - 1) or set(values) == {None}


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (b".", b"%b"), (b"", b"%b"), (b"AC=1;DB", b"AC=1;DB;%b"), (b"AC=1;", b"AC=1;%b;"), (b"AC=1;;", b"AC=1;%b;;"),
        (b"SpliceBERT=old;AC=1;SpliceBERT_KL=3;DB", b"AC=1;DB;%b"), (b"A;SpliceBERT_KL=3;", b"A;%b;"),
        (b"SpliceBERTA=1;X=SpliceBERT_Y", b"SpliceBERTA=1;X=SpliceBERT_Y;%b"),
    ],
)  # fmt: skip
def test_splice_replaces_earlier_items(before, kept):
    assert splice_info(before, NEW) == kept % NEW


@pytest.mark.parametrize(
    ("before", "after"),
    [(b".", b"."), (b"AC=1;", b"AC=1;"), (b"SpliceBERT_LLR=1", b"."), (b"A;SpliceBERT=1;;B", b"A;;B"), (b"", b"")],
)
def test_splice_of_nothing_only_removes(before, after):
    assert splice_info(before, b"") == after


def test_a_foreign_key_is_replaced_where_it_stands():
    new = b"CSQ=A|1,C|x=2;SpliceBERT_LLR=1"
    assert splice_info(b"AC=1;CSQ=A,C;DB;CSQ=again", new, {b"CSQ"}) == (
        b"AC=1;CSQ=A|1,C|x=2;DB;CSQ=again;SpliceBERT_LLR=1"
    )
    assert splice_info(b"AC=1", new, {b"CSQ"}) == b"AC=1;CSQ=A|1,C|x=2;SpliceBERT_LLR=1"
    assert splice_info(b"AC=1;CSQ=A", b"SpliceBERT_LLR=1", {b"CSQ"}) == b"AC=1;CSQ=A;SpliceBERT_LLR=1"


@given(_info)
def test_splice_twice_is_splice_once(info):
    once = splice_info(info, NEW)
    assert splice_info(once, NEW) == once
    assert splice_info(splice_info(info, b""), NEW) == once


@given(_info)
def test_other_items_stay_byte_for_byte_and_in_order(info):
    def others(text: bytes) -> list[bytes]:
        items = [item for item in text.split(b";") if item not in (b"", b".")]
        return [i for i in items if not is_ours(i.partition(b"=")[0].decode("latin-1"))]

    after = splice_info(info, NEW)
    assert others(after) == others(info)
    assert after.rstrip(b";").endswith(NEW)
    assert b"SpliceBERT" in info or splice_info(info, b"") == info


_score = st.one_of(
    st.none(), st.floats(0, 1), st.floats(-50, 50), st.floats(-3e38, 3e38),
    st.integers(0, 10**5).map(lambda i: i / 10**5), st.sampled_from([0.0, -0.0, 0.00025, 0.00015, 0.99995, 1.0, 0.001]),
)  # fmt: skip
_word = st.one_of(st.none(), st.text("aé\udce9,|;= \t\u2003\x01", max_size=4), st.sampled_from(["OK", "CDS"]))
_count = st.one_of(st.none(), st.integers(-9, 9), st.booleans())


@given(st.lists(st.lists(st.tuples(_score, _word, _count), max_size=3), min_size=0, max_size=40))
def test_columns_are_printed_as_records_are(records):
    """``known`` decimals, ties of the fifth decimal, texts that are escaped together: the same bytes one by one."""
    fields = [InfoField(f"SpliceBERT_{k}", "A", k, "x") for k in ("Float", "String", "Integer")]
    encoder = InfoEncoder(fields)
    keys = [field.key for field in fields]
    alleles = [allele for record in records for allele in record]
    columns = {key: [allele[i] for allele in alleles] for i, key in enumerate(keys)}
    assert encoder.texts(columns, [len(record) for record in records]) == [
        encoder.text({key: tuple(allele[i] for allele in record) for i, key in enumerate(keys)}, len(record))
        for record in records
    ]


def test_every_tie_of_the_fifth_decimal_is_rounded_as_python_does():
    values = [i / 20_000 for i in range(20, 20_001)]
    encoder = InfoEncoder([InfoField("SpliceBERT_X", "A", "Float", "x")])
    printed_together = encoder.texts({"SpliceBERT_X": values}, [1] * len(values))
    assert printed_together == [f"SpliceBERT_X={value:.4f}".encode() for value in values]


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e39, "0.5", [1.0]])
def test_a_column_with_a_value_that_no_vcf_can_hold_is_refused(wrong):
    encoder = InfoEncoder([InfoField("SpliceBERT_X", "A", "Float", "x")])
    with pytest.raises(UnfitError, match="finite values of type Float"):
        encoder.texts({"SpliceBERT_X": [0.5, None, wrong, 0.25]}, [1, 1, 1, 1])


def test_encoder_leaves_out_fields_without_values():
    encoder = InfoEncoder(FIELDS)
    annotation = {"SpliceBERT_LLR": (None, None), "SpliceBERT_STATUS": ("NO_GENE", "A b"), "SpliceBERT": ()}
    assert encoder.text(annotation, 2) == b"SpliceBERT_STATUS=NO_GENE,A_b"
    assert encoder.text({"SpliceBERT_LLR": (None,), "SpliceBERT": (None, None)}, 1) == b""
    assert encoder.text({}, 1) == b""


def test_entries_keep_their_bars_and_flat_text_does_not():
    encoder = InfoEncoder(FIELDS)
    annotation = {"SpliceBERT_STATUS": ("a|b",), "SpliceBERT": ("A|BRCA1", "A|NBR2")}
    assert encoder.text(annotation, 1) == b"SpliceBERT_STATUS=a&b;SpliceBERT=A|BRCA1,A|NBR2"
    annotation = {"SpliceBERT": ("",), "SpliceBERT_STATUS": ("a",)}  # in the order in which they come
    assert encoder.text(annotation, 1) == b"SpliceBERT=.;SpliceBERT_STATUS=a"


@pytest.mark.parametrize(
    ("annotation", "word"),
    [
        ({"SpliceBERT_KL": (1.0,)}, "declares"), ({5: (1.0,)}, "declares"),
        ({"SpliceBERT_LLR": (1.0, 2.0)}, "one per ALT"), ({"SpliceBERT_LLR": ()}, "one per ALT"),
        ({"SpliceBERT_LLR": [1.0]}, "one per ALT"), ({"SpliceBERT": "A|b"}, "tuple"),
        ({"SpliceBERT": (1,)}, "String"), ({"SpliceBERT": ("A|b;c",)}, "tab"),
    ],
)  # fmt: skip
def test_an_annotation_that_does_not_fit_is_refused(annotation, word):
    with pytest.raises(UnfitError, match=word):
        InfoEncoder(FIELDS).text(annotation, 1)

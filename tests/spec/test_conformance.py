"""The conformance tests of the contract: every built-in passes them, and what breaks the contract does not."""

import io
from types import SimpleNamespace

import numpy
import pyarrow.parquet as pq
import pytest
import torch

from splicebert_vep.model.null import NullBackendFactory
from splicebert_vep.plugins import load_plugins
from splicebert_vep_spec import (
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    BackendOptions,
    FieldSpec,
    InfoAdapter,
    InfoField,
    MergingAdapter,
    Refused,
    Scorer,
    TableAdapter,
    TextAdapter,
    testing,
)

ALL = load_plugins()


def offered(kind, protocol=object):
    return [item for item in getattr(ALL, kind).values() if isinstance(item, protocol)]


def names(item):
    return item.name


@pytest.fixture(scope="class", params=[one for one in ALL.scorers if isinstance(one, Scorer)], ids=names)
def scorer(request):
    request.cls.scorer = request.param


@pytest.mark.usefixtures("scorer")
class TestScorers(testing.ScorerConformance):
    tensor = staticmethod(torch.tensor)


@pytest.fixture(scope="class", params=offered("adapters", InfoAdapter), ids=names)
def info_adapter(request):
    request.cls.adapter = request.param


@pytest.mark.usefixtures("info_adapter")
class TestInfoAdapters(testing.InfoAdapterConformance):
    pass


CSQ = InfoField("CSQ", ".", "String", "Consequence annotations from Ensembl VEP. Format: Allele|Gene|SYMBOL|Feature")


def annotated(report):
    """A record's INFO after VEP: two genes for every ALT."""
    genes = ("ENSGONE|ONE|ENSTONE", "ENSGTWO|TWO|", "||")
    return {"CSQ": ",".join(f"{allele.alt}|{gene}" for allele in report.alleles for gene in genes), "DB": ""}


@pytest.fixture(scope="class", params=offered("adapters", MergingAdapter), ids=names)
def merging_adapter(request):
    request.cls.adapter = request.param


@pytest.mark.usefixtures("merging_adapter")
class TestMergingAdapters(testing.MergingAdapterConformance):
    info = {"CSQ": CSQ}  # noqa: RUF012

    def record(self, report):
        return annotated(report)


@pytest.fixture(scope="class", params=offered("adapters", TextAdapter), ids=names)
def text_adapter(request):
    request.cls.adapter = request.param


@pytest.mark.usefixtures("text_adapter")
class TestTextAdapters(testing.TextAdapterConformance):
    pass


@pytest.fixture(scope="class", params=offered("adapters", TableAdapter), ids=names)
def table_adapter(request):
    request.cls.adapter = request.param


@pytest.mark.usefixtures("table_adapter")
class TestTableAdapters(testing.TableAdapterConformance):
    def content(self, file):
        return pq.read_table(io.BytesIO(file)).to_pylist()


@pytest.fixture(scope="class", params=offered("backends"), ids=names)
def factory(request):
    request.cls.factory = request.param


@pytest.mark.usefixtures("factory")
class TestBackends(testing.BackendConformance):
    array = staticmethod(numpy.array)
    options = BackendOptions("splicebert-mini", "cpu")


SPLICEAI_FORMAT = "Format: ALLELE|SYMBOL|DS_AG|DS_AL|DS_DG|DS_DL|DP_AG|DP_AL|DP_DG|DP_DL"


def entries_of(query, key):
    """Entries of an allele in its gene, in the form of the program of that key."""
    change = f"{query.pos % 7}:0.{query.pos % 90 + 10}|-1:-0.{len(query.alt)}"
    if key == "Pangolin":
        return f"{query.context.gene_id}|{change}|Warnings:{query.pos}{query.alt}{len(query.alts)}"
    return f"{query.alt}|{query.context.symbol}|0.1|0.2|0.{query.pos % 10}|0|1|2|3|4"


class JoinConformance(testing.JoinAdapterConformance):
    def rows(self):
        return [
            f"1\t{q.pos}\t.\t{q.ref}\t{q.alt}\t.\t.\t{self.key}={entries_of(q, self.key)}"
            for q in testing.sample_queries()
        ]

    def record_info(self, query):
        return {self.key: entries_of(query, self.key)} if self.info_key else {}


@pytest.fixture(
    scope="class", params=[(join, way) for join in ("SpliceAI", "OpenSpliceAI", "Pangolin") for way in ("info", "file")]
)
def join(request):
    key, way = request.param
    cls = request.cls
    cls.key, cls.adapter = key, ALL.joins[key.lower()]
    cls.info_key = key if way == "info" else None
    cls.info = {key: InfoField(key, ".", "String", "x" if key == "Pangolin" else SPLICEAI_FORMAT)}
    head = ["##fileformat=VCFv4.2", f'##INFO=<ID={key},Number=.,Type=String,Description="{cls.info[key].description}">']
    cls.tables = {} if way == "info" else {"x.vcf.gz": [*head, "#CHROM\tPOS", *cls.rows(cls)]}


@pytest.mark.usefixtures("join")
class TestJoins(JoinConformance):
    def test_it_finds_values(self):
        found = self._ask(self._open(), self._queries())
        assert any(values[f"{self.key}_STATUS"] == "FOUND" for values in found)


@pytest.fixture(scope="class")
def declared(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "t.toml"
    path.write_text(
        'files = ["t.tsv.gz"]\n[columns]\nchrom = "c"\npos = "p"\nref = "r"\nalt = "a"\n'
        '[fields.S]\ncolumn = "s"\ntype = "Float"\ndescription = "x"\n'
    )
    rows = [f"1\t{q.pos}\t{q.ref}\t{q.alt}\t{q.pos}" for q in testing.sample_queries()]
    request.cls.tables = {str(path.with_name("t.tsv.gz")): ["#c\tp\tr\ta\ts", *dict.fromkeys(rows)]}
    request.cls.files = (str(path),)


@pytest.mark.usefixtures("declared")
class TestTable(testing.JoinAdapterConformance):
    adapter = ALL.joins["table"]


def test_every_join_has_been_tried():
    assert sorted(ALL.joins) == ["openspliceai", "pangolin", "spliceai", "table"]


class SomeJoin:
    """A join that keeps the contract; what follows breaks one thing each."""

    name, version, label = "some", "1", ""
    about = ""

    def join(self, request):
        self.fields = (FieldSpec(f"{request.name}_ONE", "A", "Float", "x"),)
        return self

    def look_up(self, queries):
        return [{self.fields[0].id: query.pos / 2} for query in queries]

    def close(self):
        pass


class OtherPrefix(SomeJoin):
    def join(self, request):
        super().join(request)
        self.fields = (FieldSpec("ONE", "A", "Float", "x"),)
        return self


class TextForNumber(SomeJoin):
    def look_up(self, queries):
        return [{self.fields[0].id: "0.5"} for _ in queries]


class OneTooFew(SomeJoin):
    def look_up(self, queries):
        return super().look_up(queries)[1:]


class UndeclaredField(SomeJoin):
    def look_up(self, queries):
        return [{"X": 1.0} for _ in queries]


class OfTheCompany(SomeJoin):
    def look_up(self, queries):
        return [{self.fields[0].id: float(i)} for i, _ in enumerate(queries)]


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (OtherPrefix, "test_its_fields_bear_the_name_of_the_request"),
        (TextForNumber, "test_it_answers_every_query_with_values_that_it_declares"),
        (OneTooFew, "test_it_answers_every_query_with_values_that_it_declares"),
        (UndeclaredField, "test_it_answers_every_query_with_values_that_it_declares"),
        (OfTheCompany, "test_an_allele_has_the_same_values_in_any_company"),
    ],
)
def test_a_join_that_breaks_the_contract_fails(broken, test):
    assert failures(testing.JoinAdapterConformance, adapter=SomeJoin()) == set()
    assert test in failures(testing.JoinAdapterConformance, adapter=broken())


def test_every_adapter_has_been_tried():
    tried = [offered("adapters", kind) for kind in (InfoAdapter, MergingAdapter, TextAdapter, TableAdapter)]
    assert sorted(map(names, sum(tried, []))) == sorted(ALL.adapters)


class Good:
    """A scorer that keeps the contract; what follows breaks one thing each."""

    name, version = "good", "1"
    fields = (FieldSpec("ONE", "A", "Float", "x"), FieldSpec("TWO", "A", "Integer", "y"))

    def needs(self, fields):
        return frozenset((NEEDS_PAIRS,))

    def score(self, batch, fields):
        changed = ((batch.ref.tokens != batch.alt.tokens) & batch.paired).sum(1)
        return {field: changed.double() for field in fields}


class Shape(Good):
    def score(self, batch, fields):
        return {field: torch.zeros(len(batch.snv), 2) for field in fields}


class Unasked(Good):
    def score(self, batch, fields):
        return {"ONE": torch.zeros(len(batch.snv)), "TWO": torch.zeros(len(batch.snv))}


class Infinite(Good):
    def score(self, batch, fields):
        return {field: torch.full((len(batch.snv),), torch.inf) for field in fields}


class Fraction(Good):
    def score(self, batch, fields):
        return {field: torch.full((len(batch.snv),), 0.5) for field in fields}


class OfTheBatch(Good):
    def score(self, batch, fields):
        return {field: value - value.mean().floor() for field, value in super().score(batch, fields).items()}


class Writing(Good):
    def score(self, batch, fields):
        found = super().score(batch, fields)
        batch.alt.tokens[:] = batch.ref.tokens
        return found


class Counter(Good):
    calls = 0

    def score(self, batch, fields):
        self.calls += 1
        return {field: torch.full((len(batch.snv),), float(self.calls)) for field in fields}


class Undeclared(Good):
    def score(self, batch, fields):
        return {field: batch.alt.hidden.sum((1, 2)).round() for field in fields}


class NumpyScorer(Good):
    def score(self, batch, fields):
        return {field: value.numpy() for field, value in super().score(batch, fields).items()}


class Text(Good):
    fields = (FieldSpec("ONE", "A", "String", "x"),)


class Odd(Good):
    def needs(self, fields):
        return frozenset(("attention",))


class Loud(Good):
    name = "My Score"


def failures(base, **attributes):
    """The tests of a conformance base that a subject fails."""
    test = type("TestMine", (base,), attributes)()
    failed = set()
    for name in sorted(dir(test)):
        if name.startswith("test_"):
            try:
                getattr(test, name)()
            except (AssertionError, AttributeError, KeyError):
                failed.add(name)
    return failed


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Shape, "test_it_returns_one_value_per_allele_of_every_kind"),
        (Unasked, "test_a_field_does_not_depend_on_the_others_asked_for"),
        (Infinite, "test_it_returns_one_value_per_allele_of_every_kind"),
        (Fraction, "test_it_returns_one_value_per_allele_of_every_kind"),
        (OfTheBatch, "test_an_allele_has_the_same_score_in_any_batch"),
        (Writing, "test_it_leaves_the_batch_as_it_was_and_says_the_same_again"),
        (Counter, "test_it_leaves_the_batch_as_it_was_and_says_the_same_again"),
        (Undeclared, "test_it_returns_one_value_per_allele_of_every_kind"),
        (NumpyScorer, "test_it_returns_one_value_per_allele_of_every_kind"),
        (Text, "test_it_has_a_name_and_fields"),
        (Odd, "test_it_needs_what_there_is"),
        (Loud, "test_it_has_a_name_and_fields"),
    ],
)
def test_a_scorer_that_breaks_the_contract_fails(broken, test):
    assert failures(testing.ScorerConformance, scorer=Good(), tensor=staticmethod(torch.tensor)) == set()
    assert test in failures(testing.ScorerConformance, scorer=broken(), tensor=staticmethod(torch.tensor))


def test_a_test_class_without_its_subject_says_what_is_missing():
    class TestMine(testing.ScorerConformance):
        scorer = Good()

    with pytest.raises(
        AssertionError, match=r"TestMine needs a class attribute: tensor = staticmethod\(torch.tensor\)"
    ):
        TestMine().test_it_returns_one_value_per_allele_of_every_kind()


def info_adapter_with(field=None, **values):
    field = field or InfoField("SpliceBERT_X", "A", "Float", "x")

    def render(report, run):
        return values.get("rendered") or {"SpliceBERT_X": tuple(values.get("value") for _ in report.alleles)}

    return SimpleNamespace(name="mine", version="1", header=lambda run: [field], render=render)


@pytest.mark.parametrize(
    ("adapter", "test"),
    [
        (info_adapter_with(InfoField("A B", "A", "Float", "x")), "test_it_declares_valid_fields"),
        (info_adapter_with(InfoField("X", "A", "Flag", "x")), "test_it_declares_valid_fields"),
        (info_adapter_with(rendered={"OTHER": (1.0,)}), "test_it_renders_what_it_declares"),
        (info_adapter_with(rendered={"SpliceBERT_X": (1.0,) * 9}), "test_it_renders_what_it_declares"),
        (info_adapter_with(value="text"), "test_it_renders_what_it_declares"),
        (info_adapter_with(value=float("nan")), "test_it_renders_what_it_declares"),
    ],
)
def test_an_info_adapter_that_breaks_the_contract_fails(adapter, test):
    assert failures(testing.InfoAdapterConformance, adapter=info_adapter_with(value=1.0)) == set()
    assert test in failures(testing.InfoAdapterConformance, adapter=adapter)


class Merging:
    """A merging adapter that keeps the contract; what follows breaks one thing each."""

    name, version = "mine", "1"

    def merge(self, run, info):
        if "CSQ" not in info:
            raise Refused("There is no CSQ.")
        self.fields = [InfoField("CSQ", ".", "String", f"{info['CSQ'].description}|X", entries=True)]
        return self

    def render(self, report, info):
        return {"CSQ": tuple(f"{entry}|x" for entry in info["CSQ"].split(","))} if "CSQ" in info else {}


class NoFields(Merging):
    def merge(self, run, info):
        self.fields = []
        return self


class OtherKey(Merging):
    def render(self, report, info):
        return {"ANN": ("x",)}


class Needy(Merging):
    def render(self, report, info):
        return {"CSQ": (info["CSQ"],)}


class Growing(Merging):
    calls = 0

    def render(self, report, info):
        self.calls += 1
        return {"CSQ": (str(self.calls),)}


class Emptying(Merging):
    def render(self, report, info):
        info.pop("CSQ", None)
        return {}


class Redefining(Merging):
    def merge(self, run, info):
        super().merge(run, info)
        info["CSQ"] = self.fields[0]
        return self


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (NoFields, "test_it_declares_valid_fields"),
        (OtherKey, "test_it_renders_what_it_declares"),
        (Needy, "test_it_takes_a_record_without_info"),
        (Growing, "test_it_says_the_same_again"),
        (Emptying, "test_it_leaves_the_input_as_it_was"),
        (Redefining, "test_it_leaves_the_input_as_it_was"),
    ],
)
def test_a_merging_adapter_that_breaks_the_contract_fails(broken, test):
    input_ = {"info": {"CSQ": CSQ}, "record": staticmethod(annotated)}
    assert failures(testing.MergingAdapterConformance, adapter=Merging(), **input_) == set()
    assert test in failures(testing.MergingAdapterConformance, adapter=broken(), **input_)


def test_an_adapter_that_changes_what_it_is_given_fails():
    def lines(report, run):
        for allele in report.alleles:
            for outcome in allele.contexts:
                outcome.values["KL_SS"] = 42.0
        return []

    adapter = SimpleNamespace(name="mine", version="1", head=lambda run: [], lines=lines)
    assert failures(testing.TextAdapterConformance, adapter=adapter) == {"test_it_leaves_outcomes_as_they_were"}


def test_a_text_adapter_that_breaks_lines_fails():
    def lines(report, run):
        return ["a\n"]

    adapter = SimpleNamespace(name="mine", version="1", head=lambda run: [], lines=lines)
    assert failures(testing.TextAdapterConformance, adapter=adapter) == {"test_it_returns_lines_without_their_ends"}


class Appending:
    """A table adapter that writes beside the path it is given."""

    name, version = "mine", "1"

    def open(self, path, run):
        self.out = open(f"{path}.txt", "w")  # noqa: SIM115
        return self

    def write(self, reports):
        self.out.write("x")

    def close(self):
        self.out.close()


def test_a_table_adapter_that_writes_elsewhere_fails():
    broken = failures(testing.TableAdapterConformance, adapter=Appending())
    assert "test_it_writes_the_file_it_is_told_to_and_no_other" in broken


class Drifting(NullBackendFactory):
    def open(self, options):
        backend = super().open(options)
        plain = type(backend).forward

        def forward(tokens, positions):
            out = plain(backend, tokens, positions)
            return type(out)(out.logits + len(tokens), out.hidden)

        backend.forward = forward
        return backend


def test_a_backend_whose_answers_depend_on_the_batch_fails():
    array = staticmethod(numpy.array)
    assert failures(testing.BackendConformance, factory=NullBackendFactory(), array=array) == set()
    broken = failures(testing.BackendConformance, factory=Drifting(), array=array)
    assert broken == {"test_a_window_has_the_same_answer_in_any_batch"}


def test_a_command_is_tried():
    def command(**changes):
        return SimpleNamespace(
            **{"name": "count", "version": "1", "summary": "Count.", "run": lambda words: 0, **changes}
        )

    assert failures(testing.CommandConformance, command=command()) == set()
    assert failures(testing.CommandConformance, command=command(summary="")) == {"test_it_has_a_name_and_a_summary"}
    assert failures(testing.CommandConformance, command=command(run=lambda words: 2)) == {"test_it_explains_itself"}


def test_the_sample_batch_holds_what_was_asked_for():
    batch = testing.sample_batch(torch.tensor, needs=frozenset((NEEDS_MASKED,)))
    assert batch.ref is None and batch.alt is None
    assert batch.masked.logits.shape == (6, 3, 10)
    batch = testing.sample_batch(torch.tensor, needs=frozenset((NEEDS_PAIRS,)), flank=4)
    assert batch.ref.tokens.shape == (6, 15)
    assert batch.ref.hidden is None and batch.masked is None
    whole = testing.sample_batch(torch.tensor, needs=frozenset((NEEDS_PAIRS, NEEDS_HIDDEN)))
    assert whole.alt.hidden.shape == (6, 17, 4)

"""The conformance tests: every built-in passes them, and an object that breaks the contract in one place does not."""

import io

import numpy
import pyarrow.parquet as pq
import pytest
import torch

from splicebert_vep.model.null import NullBackend
from splicebert_vep.plugins import load_plugins
from splicebert_vep_spec import (
    NEEDS_HIDDEN,
    NEEDS_MASKED,
    NEEDS_PAIRS,
    Backend,
    BackendOptions,
    BackendOutput,
    Command,
    FieldSpec,
    InfoAdapter,
    InfoField,
    JoinAdapter,
    Merger,
    MergingAdapter,
    OpenJoin,
    Refused,
    RunInfo,
    Scorer,
    TableAdapter,
    TableWriter,
    TextAdapter,
    testing,
)

ALL = load_plugins()


def subject(attribute, items):
    """A fixture that gives a test class each of some objects as its attribute."""

    @pytest.fixture(scope="class", params=items, ids=lambda item: item.name)
    def put(request):
        setattr(request.cls, attribute, request.param)

    return put


def adapters(kind):
    return subject("adapter", [adapter for adapter in ALL.adapters.values() if isinstance(adapter, kind)])


scorer = subject("scorer", [scorer for scorer in ALL.scorers if isinstance(scorer, Scorer)])
backend = subject("backend", list(ALL.backends.values()))
info_adapter, merging_adapter = adapters(InfoAdapter), adapters(MergingAdapter)
text_adapter, table_adapter = adapters(TextAdapter), adapters(TableAdapter)


@pytest.mark.usefixtures("scorer")
class TestScorers(testing.ScorerConformance):
    tensor = staticmethod(torch.tensor)


DELTAS = RunInfo(tuple(one for scorer in ALL.scorers if scorer.name == "delta" for one in scorer.fields), {})


@pytest.mark.usefixtures("info_adapter")
class TestInfoAdapters(testing.InfoAdapterConformance):
    run = DELTAS


CSQ = InfoField("CSQ", ".", "String", "Consequence annotations from Ensembl VEP. Format: Allele|Gene|SYMBOL|Feature")


def annotated(report):
    """A record's INFO after VEP: two genes for every ALT."""
    genes = ("ENSGONE|ONE|ENSTONE", "ENSGTWO|TWO|", "||")
    return {"CSQ": ",".join(f"{allele.alt}|{gene}" for allele in report.alleles for gene in genes), "DB": ""}


@pytest.mark.usefixtures("merging_adapter")
class TestMergingAdapters(testing.MergingAdapterConformance):
    info = {"CSQ": CSQ}  # noqa: RUF012
    record = staticmethod(annotated)


@pytest.mark.usefixtures("text_adapter")
class TestTextAdapters(testing.TextAdapterConformance):
    pass


@pytest.mark.usefixtures("table_adapter")
class TestTableAdapters(testing.TableAdapterConformance):
    def content(self, file):
        return pq.read_table(io.BytesIO(file)).to_pylist()


@pytest.mark.usefixtures("backend")
class TestBackends(testing.BackendConformance):
    array = staticmethod(numpy.array)
    options = BackendOptions("splicebert-mini", "cpu")


SPLICEAI_FORMAT = "Format: ALLELE|SYMBOL|DS_AG|DS_AL|DS_DG|DS_DL|DP_AG|DP_AL|DP_DG|DP_DL"


def entries_of(query, key):
    """Entries of an allele in its gene, in the form of the program of that key."""
    if key == "Pangolin":
        change = f"{query.pos % 7}:0.{query.pos % 90 + 10}|-1:-0.{len(query.alt)}"
        return f"{query.context.gene_id}|{change}|Warnings:{query.pos}{query.alt}{len(query.alts)}"
    return f"{query.alt}|{query.context.symbol}|0.1|0.2|0.{query.pos % 10}|0|1|2|3|4"


@pytest.fixture(
    scope="class", params=[(join, way) for join in ("SpliceAI", "OpenSpliceAI", "Pangolin") for way in ("info", "file")]
)
def join(request):
    cls, (key, way) = request.cls, request.param
    cls.key, cls.adapter = key, ALL.joins[key.lower()]
    cls.info_key = key if way == "info" else None
    cls.info = {key: InfoField(key, ".", "String", "x" if key == "Pangolin" else SPLICEAI_FORMAT)}
    head = ["##fileformat=VCFv4.2", f'##INFO=<ID={key},Number=.,Type=String,Description="{cls.info[key].description}">']
    rows = [f"1\t{q.pos}\t.\t{q.ref}\t{q.alt}\t.\t.\t{key}={entries_of(q, key)}" for q in testing.sample_queries()]
    cls.tables = {} if way == "info" else {"x.vcf.gz": [*head, "#CHROM\tPOS", *rows]}


@pytest.mark.usefixtures("join")
class TestJoins(testing.JoinAdapterConformance):
    def record_info(self, query):
        return {self.key: entries_of(query, self.key)} if self.info_key else {}

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


def test_every_built_in_has_been_tried():
    kinds = (InfoAdapter, MergingAdapter, TextAdapter, TableAdapter)
    assert all(isinstance(adapter, kinds) for adapter in ALL.adapters.values())
    assert sorted(ALL.joins) == ["openspliceai", "pangolin", "spliceai", "table"]


# Objects that keep the contract, and for each some that break it in one place.


class GoodScorer(Scorer):
    name, version = "good", "1"
    fields = (FieldSpec("ONE", "A", "Float", "x"), FieldSpec("TWO", "A", "Integer", "y"))

    def score(self, batch, fields):
        changed = ((batch.ref.tokens != batch.alt.tokens) & batch.paired).sum(1)
        return {field: changed.double() for field in fields}


class Writing(GoodScorer):
    def score(self, batch, fields):
        found = super().score(batch, fields)
        batch.alt.tokens[:] = batch.ref.tokens
        return found


class Counter(GoodScorer):
    calls = 0

    def score(self, batch, fields):
        self.calls += 1
        return {field: torch.full((len(batch.snv),), float(self.calls)) for field in fields}


def other(**changes):
    """The good scorer with some attributes replaced."""
    return type("Other", (GoodScorer,), changes)


def scoring(answer):
    """A scorer that answers for each field by a function of the batch and the right answer."""
    right = GoodScorer.score
    return other(score=lambda s, b, f: {field: answer(b, value) for field, value in right(s, b, f).items()})


class GoodJoin(JoinAdapter, OpenJoin):
    name, version = "some", "1"

    def join(self, request):
        self.fields = (FieldSpec(f"{request.name}_ONE", "A", "Float", "x"),)
        return self

    def look_up(self, queries):
        return [{self.fields[0].id: query.pos / 2} for query in queries]


class OtherPrefix(GoodJoin):
    def join(self, request):
        self.fields = (FieldSpec("ONE", "A", "Float", "x"),)
        return self


def joining(answer):
    """A join that answers by a function of the queries and its field's id."""
    return type("Other", (GoodJoin,), {"look_up": lambda self, queries: answer(queries, self.fields[0].id)})


def info_adapter_with(field=None, rendered=None, value=1.0):
    class Mine(InfoAdapter):
        name, version = "mine", "1"

        def header(self, run):
            return [field or InfoField("SpliceBERT_X", "A", "Float", "x")]

        def render(self, report, run):
            return rendered or {"SpliceBERT_X": tuple(value for _ in report.alleles)}

    return Mine


class GoodMerger(MergingAdapter, Merger):
    name, version = "mine", "1"

    def merge(self, run, info):
        if "CSQ" not in info:
            raise Refused("There is no CSQ.")
        self.fields = [InfoField("CSQ", ".", "String", f"{info['CSQ'].description}|X", entries=True)]
        return self

    def render(self, report, info):
        return {"CSQ": tuple(f"{entry}|x" for entry in info["CSQ"].split(","))} if "CSQ" in info else {}


class NoFields(GoodMerger):
    def merge(self, run, info):
        self.fields = []
        return self


class Growing(GoodMerger):
    calls = 0

    def render(self, report, info):
        self.calls += 1
        return {"CSQ": (str(self.calls),)}


class Emptying(GoodMerger):
    def render(self, report, info):
        info.pop("CSQ", None)
        return {}


class Redefining(GoodMerger):
    def merge(self, run, info):
        super().merge(run, info)
        info["CSQ"] = self.fields[0]
        return self


def rendering(answer):
    return type("Other", (GoodMerger,), {"render": lambda self, report, info: answer(info)})


def text_adapter_with(lines):
    return type("Mine", (TextAdapter,), {"name": "mine", "version": "1", "lines": lines})


def change_outcomes(self, report, run):
    for allele in report.alleles:
        for outcome in allele.contexts:
            outcome.values["KL_SS"] = 42.0
    return []


class Beside(TableAdapter, TableWriter):
    """Write beside the path that is given."""

    name, version = "mine", "1"

    def open(self, path, run):
        self.out = open(f"{path}.txt", "w")  # noqa: SIM115
        return self

    def write(self, reports):
        self.out.write("x")

    def close(self):
        self.out.close()


class Drifting(NullBackend):
    """Answer otherwise in another batch."""

    def forward(self, tokens, positions):
        out = super().forward(tokens, positions)
        return BackendOutput(out.logits + len(tokens), out.hidden)


class Count(Command):
    name, version, summary = "count", "1", "Count."

    def run(self, arguments):
        return 0


def failures(base, **attributes):
    """The tests of a conformance base that a subject fails."""
    test = type("TestMine", (base,), attributes)()
    failed = set()
    for name in sorted(dir(test)):
        if name.startswith("test_"):
            try:
                getattr(test, name)()
            except (AssertionError, AttributeError, KeyError, TypeError):
                failed.add(name)
    return failed


KINDS = {
    "scorer": (testing.ScorerConformance, {"tensor": staticmethod(torch.tensor)}),
    "join": (testing.JoinAdapterConformance, {}),
    "info": (testing.InfoAdapterConformance, {}),
    "merging": (testing.MergingAdapterConformance, {"info": {"CSQ": CSQ}, "record": staticmethod(annotated)}),
    "text": (testing.TextAdapterConformance, {}),
    "table": (testing.TableAdapterConformance, {}),
    "backend": (testing.BackendConformance, {"array": staticmethod(numpy.array)}),
    "command": (testing.CommandConformance, {}),
}
ATTRIBUTES = {"scorer": "scorer", "backend": "backend", "command": "command"}


def failed(kind, made):
    base, more = KINDS[kind]
    item = made if kind == "backend" else made()
    return failures(base, **{ATTRIBUTES.get(kind, "adapter"): item}, **more)


GOOD = {
    "scorer": GoodScorer, "join": GoodJoin, "info": info_adapter_with(), "merging": GoodMerger,
    "text": text_adapter_with(lambda self, report, run: ["a"]), "backend": NullBackend, "command": Count,
}  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_an_object_that_keeps_the_contract_passes(kind):
    assert failed(kind, GOOD[kind]) == set()


SHAPE = "test_it_returns_one_value_per_allele_of_every_kind"
ANSWERS = "test_it_answers_every_query_with_values_that_it_declares"
DECLARES = "test_it_renders_what_it_declares"
AGAIN = "test_it_says_the_same_again_and_leaves_outcomes_as_they_were"
INPUT = "test_it_leaves_the_input_as_it_was"
ANY_BATCH = "test_an_allele_has_the_same_score_in_any_batch"
ALONE = "test_a_field_does_not_depend_on_the_others_asked_for"
BATCH = "test_it_leaves_the_batch_as_it_was_and_says_the_same_again"
OTHERS = "test_an_allele_has_the_same_values_whatever_the_others"


@pytest.mark.parametrize(
    ("kind", "broken", "test"),
    [
        ("scorer", scoring(lambda batch, value: value[:, None].repeat(1, 2)), SHAPE),
        ("scorer", scoring(lambda batch, value: value * torch.inf), SHAPE),
        ("scorer", scoring(lambda batch, value: value * 0 + 0.5), SHAPE),
        ("scorer", scoring(lambda batch, value: value.numpy()), SHAPE),
        ("scorer", scoring(lambda batch, value: batch.alt.hidden.sum((1, 2)).round()), SHAPE),  # not in needs
        ("scorer", scoring(lambda batch, value: value - value.mean().floor()), ANY_BATCH),
        ("scorer", other(score=lambda s, b, f: dict.fromkeys(("ONE", "TWO"), torch.zeros(6))), ALONE),
        ("scorer", Writing, BATCH),
        ("scorer", Counter, BATCH),
        ("scorer", other(fields=(FieldSpec("ONE", "A", "String", "x"),)), "test_its_fields_are_one_value_per_alt"),
        ("scorer", other(needs=lambda s, f: {"attention"}), "test_it_needs_what_there_is"),
        ("scorer", other(name="My Score"), "test_it_has_a_name_and_a_version"),
        ("scorer", lambda: GoodScorer, "test_it_has_a_name_and_a_version"),  # the class
        ("join", OtherPrefix, "test_its_fields_bear_the_name_of_the_request"),
        ("join", joining(lambda queries, id: [{id: "0.5"} for _ in queries]), ANSWERS),
        ("join", joining(lambda queries, id: [{id: 1.0} for _ in queries][1:]), ANSWERS),
        ("join", joining(lambda queries, id: [{"X": 1.0} for _ in queries]), ANSWERS),
        ("join", joining(lambda queries, id: [{id: float(i)} for i, _ in enumerate(queries)]), OTHERS),
        ("info", info_adapter_with(InfoField("A B", "A", "Float", "x")), DECLARES),
        ("info", info_adapter_with(InfoField("X", "A", "Flag", "x")), DECLARES),
        ("info", info_adapter_with(rendered={"OTHER": (1.0,)}), DECLARES),
        ("info", info_adapter_with(rendered={"SpliceBERT_X": (1.0,) * 9}), DECLARES),
        ("info", info_adapter_with(value="text"), DECLARES),
        ("info", info_adapter_with(value=float("nan")), DECLARES),
        ("merging", NoFields, DECLARES),
        ("merging", rendering(lambda info: {"ANN": ("x",)}), DECLARES),
        ("merging", rendering(lambda info: {"CSQ": (info["CSQ"],)}), "test_it_takes_a_record_without_info"),
        ("merging", Growing, AGAIN),
        ("merging", Emptying, INPUT),
        ("merging", Redefining, INPUT),
        ("text", text_adapter_with(change_outcomes), AGAIN),
        ("text", text_adapter_with(lambda self, report, run: ["a\n"]), "test_it_returns_lines_without_their_ends"),
        ("table", Beside, "test_it_writes_the_file_it_is_told_to_and_no_other"),
        ("backend", Drifting, "test_a_window_has_the_same_answer_in_any_batch"),
        ("command", type("Mute", (Count,), {"summary": ""}), "test_it_has_a_summary"),
        ("command", type("Wrong", (Count,), {"run": lambda self, words: 2}), "test_it_explains_itself"),
    ],
)
def test_an_object_that_breaks_the_contract_fails(kind, broken, test):
    assert test in failed(kind, broken)


def test_a_test_class_without_its_subject_says_what_is_missing():
    test = type("TestMine", (testing.ScorerConformance,), {"scorer": GoodScorer()})()
    with pytest.raises(AssertionError, match=r"tensor = staticmethod\(torch.tensor\)"):
        test.test_it_returns_one_value_per_allele_of_every_kind()


def test_a_backend_opens_itself_and_shows_the_last_layer_only_unless_it_says_otherwise():
    class Plain(Backend):
        name, version = "plain", "1"

        def forward(self, tokens, positions):
            raise RuntimeError

    backend = Plain.open(BackendOptions("none"))
    assert (backend.layers, backend.heads) == (None, None)
    with pytest.raises(NotImplementedError):
        backend.hidden_states(None, None, (0,))
    with pytest.raises(NotImplementedError):
        backend.attention(None, None, (1,))


def test_the_sample_batch_holds_what_was_asked_for():
    batch = testing.sample_batch(torch.tensor, needs=frozenset((NEEDS_MASKED,)))
    assert batch.ref is None and batch.alt is None
    assert batch.masked.logits.shape == (6, 3, 10)
    batch = testing.sample_batch(torch.tensor, needs=frozenset((NEEDS_PAIRS,)), flank=4)
    assert batch.ref.tokens.shape == (6, 15)
    assert batch.ref.hidden is None and batch.masked is None
    whole = testing.sample_batch(torch.tensor, needs=frozenset((NEEDS_PAIRS, NEEDS_HIDDEN)))
    assert whole.alt.hidden.shape == (6, 17, 4)

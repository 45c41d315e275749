"""The straight line: a status for every ALT, and scores that depend on nothing but the change itself."""

import dataclasses
import random
import tracemalloc
from itertools import islice, product

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories import Counting, FakeGenes, FakeRecord, FakeReference, gene, pipeline
from oracle import random_transformers
from splicebert_vep.errors import PluginError, SettingsError
from splicebert_vep.model.backend import TorchBackend, choose_device
from splicebert_vep.model.engine import Engine
from splicebert_vep.model.null import NullBackend
from splicebert_vep.outputs.write import plan_outputs
from splicebert_vep.plugins import Origin
from splicebert_vep.scoring.pipeline import Pipeline, Scoring
from splicebert_vep.scoring.plan import PlannedScorer, ScorePlan
from splicebert_vep.sequence.windows import WindowShape
from splicebert_vep_spec import A, Adapter, BackendOptions, BackendOutput, C, FieldSpec, G, Scorer, Status, T

RNG = random.Random(7)
GENOME = "".join(RNG.choice("ACGT") for _ in range(1500))
REFERENCE = FakeReference({"c": GENOME, "n": GENOME[:300] + "N" + GENOME[301:], "tiny": GENOME[:100]})
GENES = FakeGenes([gene()])
OTHER = {"A": "C", "C": "G", "G": "T", "T": "A"}


@pytest.fixture(scope="module")
def torch_backend(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    random_transformers().save_pretrained(folder)
    return TorchBackend(BackendOptions(model=str(folder), device="cpu"))


def snv(pos: int, chrom: str = "c") -> FakeRecord:
    base = REFERENCE.sequences[chrom][pos - 1]
    return FakeRecord(chrom, pos, base, (OTHER.get(base, "A"),))


def statuses(records, genes=GENES, **options) -> list[Status]:
    reports = pipeline(REFERENCE, genes, **options).report(records)
    assert len(reports) == len(records)
    return [allele.contexts[0].status for report in reports for allele in report.alleles]


def test_every_alt_gets_the_first_status_that_applies():
    long_ref = GENOME[400:600]
    records = [
        FakeRecord("c", 500, GENOME[499], (".", "<DEL>", "*", "R", GENOME[499].lower(), OTHER[GENOME[499]])),
        FakeRecord("absent", 500, "A", ("C",)),
        FakeRecord("absent", 500, "A", ("<DEL>",)),
        FakeRecord("c", 500, OTHER[GENOME[499]], (GENOME[499],)),
        FakeRecord("c", 1500, GENOME[1499] + "A", ("C",)),  # beyond the contig's end
        FakeRecord("c", 0, "A", ("C",)),
        FakeRecord("c", 401, long_ref, (long_ref[0],)),
        FakeRecord("n", 310, GENOME[309], (OTHER[GENOME[309]],)),
        FakeRecord("n", 301, "A", ("C",)),  # N in the FASTA is not A
        FakeRecord("c", 5, GENOME[4], (OTHER[GENOME[4]],)),
        FakeRecord("tiny", 50, GENOME[49], (OTHER[GENOME[49]],)),
    ]
    assert statuses(records) == [
        Status.NO_ALT, Status.SYMBOLIC, Status.SPANNING_DELETION, Status.NON_ACGT, Status.NO_CHANGE, Status.OK,
        Status.NO_CONTIG, Status.SYMBOLIC, Status.REF_MISMATCH, Status.REF_MISMATCH, Status.REF_MISMATCH,
        Status.TOO_LONG, Status.N_CONTEXT, Status.REF_MISMATCH, Status.N_CONTEXT, Status.N_CONTEXT,
    ]  # fmt: skip
    assert statuses([snv(500)], FakeGenes([])) == [Status.NO_GENE]
    assert statuses([FakeRecord("c", 401, long_ref, (long_ref[0],))], FakeGenes([])) == [Status.TOO_LONG]
    assert statuses([snv(5)], FakeGenes([])) == [Status.NO_GENE]  # before N_CONTEXT


def test_a_record_without_alt_has_no_alleles():
    report = pipeline(REFERENCE, GENES).report([FakeRecord("c", 5, "A", ())])[0]
    assert report.alleles == ()


def test_an_unscored_alt_of_a_gene_names_the_gene():
    report = pipeline(REFERENCE, GENES).report([snv(5)])[0]
    assert report.alleles[0].contexts[0].context == gene()
    assert report.alleles[0].contexts[0].values == {}


def test_a_score_that_is_not_defined_for_the_allele_is_told():
    insertion = FakeRecord("c", 500, GENOME[499], (GENOME[499] + "ACGTTGCA",))
    assert statuses([insertion], scores=("LLR",)) == [Status.NOT_APPLICABLE]
    assert statuses([insertion], scores=("LLR", "PLLR")) == [Status.OK]


def test_missing_is_none_and_never_a_number():
    insertion = FakeRecord("c", 500, GENOME[499], (GENOME[499] + "ACGTTGCA",))
    values = pipeline(REFERENCE, GENES).report([insertion])[0].alleles[0].contexts[0].values
    for field in ("LLR", "DELTA_P", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "N_SITES"):
        assert values[field] is None
    assert isinstance(values["KL_MAX_POS"], int)


def test_flat_gene_is_near_a_site_then_coding_then_more_disturbed_then_first_by_id():
    def order(*genes):
        report = pipeline(REFERENCE, FakeGenes(list(genes))).report([snv(500)])[0]
        return [outcome.context.gene_id for outcome in report.alleles[0].contexts]

    far = gene("A", near_site=False)
    near_noncoding = gene("B", biotype="lncRNA")
    near_coding = gene("Z")
    assert order(far, near_noncoding, near_coding) == ["Z", "B", "A"]
    twin_1, twin_2 = gene("T2"), gene("T1")
    assert order(twin_1, twin_2) == ["T1", "T2"]  # equal KL_CTX: by id
    plus, minus = gene("P"), gene("M", strand="-")
    report = pipeline(REFERENCE, FakeGenes([plus, minus])).report([snv(500)])[0]
    first, second = report.alleles[0].contexts
    assert first.values["KL_CTX"] > second.values["KL_CTX"]


def test_distinct_windows_run_once():
    backend = Counting(NullBackend())
    base = GENOME[499]
    record = FakeRecord("c", 500, base, tuple(b for b in "ACGT" if b != base))
    again = FakeRecord("c", 499, GENOME[498:500], (GENOME[498] + OTHER[base],))  # one of the three, padded
    pipeline(REFERENCE, GENES, backend).report([record, again])
    assert backend.windows == [1, 3, 1]  # one REF, three ALT, one masked REF


def test_nothing_runs_for_a_score_nobody_asked_for():
    backend = Counting(NullBackend())
    pipeline(REFERENCE, GENES, backend, scores=("LLR",)).report([snv(500)])
    assert backend.windows == [1]
    backend.windows.clear()
    pipeline(REFERENCE, GENES, backend, scores=("KL_CTX",)).report([snv(500)])
    assert backend.windows == [1, 1]


def values_of(report, index=0):
    return dict(report.alleles[index].contexts[0].values)


def assert_same(found, expected):
    assert set(found) == set(expected)
    for field, value in expected.items():
        wanted = value if value is None or isinstance(value, str) else pytest.approx(value, abs=1e-4)
        assert found[field] == wanted, field


@st.composite
def variants(draw):
    rng = random.Random(draw(st.integers(0, 2**32)))
    pos = rng.randrange(200, 1300)
    ref = GENOME[pos - 1 : pos - 1 + draw(st.integers(1, 5))]
    alt = "".join(rng.choice("ACGT") for _ in range(draw(st.integers(1, 5))))
    if alt == ref:
        alt = OTHER[ref[0]] + ref[1:]
    return pos, ref, alt


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(variants(), st.integers(0, 6), st.integers(0, 6), st.sampled_from("+-"))
def test_writing_the_change_otherwise_changes_no_score(torch_backend, variant, before, after, strand):
    pos, ref, alt = variant
    end = pos - 1 + len(ref)
    genes = FakeGenes([gene(strand=strand, donor=(pos + 3, pos + 5), acceptor=(pos - 9, pos - 7))])
    run = pipeline(REFERENCE, genes, torch_backend, width=120)
    plain = run.report([FakeRecord("c", pos, ref, (alt,))])[0]
    left, right = GENOME[pos - 1 - before : pos - 1], GENOME[end : end + after]
    padded = FakeRecord("c", pos - before, left + ref + right, (left + alt + right,))
    decoy = left + ref + right + "ACGT"
    multi = FakeRecord("c", pos - before, left + ref + right, (decoy, left + alt + right))
    assert plain.alleles[0].contexts[0].status is Status.OK
    assert_same(values_of(run.report([padded])[0]), values_of(plain))
    assert_same(values_of(run.report([multi])[0], 1), values_of(plain))


def test_an_indel_in_a_repeat_has_one_score_wherever_it_is_put(torch_backend):
    genome = GENOME[:400] + "CAGCAGCAGCAG" + GENOME[400:]
    reference = FakeReference({"c": genome})
    run = pipeline(reference, GENES, torch_backend, width=120)
    reports = run.report(
        [FakeRecord("c", pos, genome[pos - 1 : pos + 3], (genome[pos - 1],)) for pos in range(401, 409)]
    )
    assert len({report.alleles[0].allele for report in reports}) == 1
    for report in reports:
        assert_same(values_of(report), values_of(reports[0]))


def test_order_neighbours_and_batch_size_change_nothing(torch_backend):
    rng = random.Random(3)
    records = [snv(rng.randrange(200, 1300)) for _ in range(12)]
    records += [
        FakeRecord("c", pos, GENOME[pos - 1], (GENOME[pos - 1] + "ACGTA"[: 1 + pos % 5],)) for pos in range(300, 400, 9)
    ]
    records += [FakeRecord("c", pos, GENOME[pos - 1 : pos + 2], (GENOME[pos - 1],)) for pos in range(500, 600, 9)]
    expected = [
        values_of(pipeline(REFERENCE, GENES, torch_backend, width=120, batch_tokens=1).report([record])[0])
        for record in records
    ]
    for batch_tokens in (122, 1000, 100_000):
        shuffled = list(range(len(records)))
        rng.shuffle(shuffled)
        run = pipeline(REFERENCE, GENES, torch_backend, width=120, batch_tokens=batch_tokens)
        for place, report in zip(shuffled, run.report([records[i] for i in shuffled]), strict=True):
            assert_same(values_of(report), expected[place])


class OneScorer(Scorer):
    """A scorer that returns what it is told to."""

    name, version = "odd", "1"
    fields = (FieldSpec("ODD", "A", "Integer", "Whatever"),)

    def __init__(self, answer):
        self.answer = answer

    def needs(self, fields):
        return frozenset(("pairs",))

    def score(self, batch, fields):
        return self.answer() if callable(self.answer) else self.answer


def alone(scorer):
    origin = Origin("mine", "register_scorers", "scorer", scorer.name)
    return PlannedScorer(scorer, frozenset(field.id for field in scorer.fields), origin)


def outcome_with(scorer, reference=REFERENCE, genes=GENES, record=None):
    """The allele that a run with this scorer alone reports."""
    plan = ScorePlan((alone(scorer),), scorer.fields, frozenset(("pairs",)))
    engine = Engine(NullBackend(), flank=20, batch_tokens=4096)
    shape = WindowShape(200, 20)
    whole = Pipeline(reference, Scoring(reference, genes, shape, engine, plan, plan), genes, shape)
    return whole.report([record or snv(500)])[0].alleles[0]


def run_with(scorer):
    return outcome_with(scorer).contexts[0].values.get("ODD")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"ODD": torch.zeros(3)}, r"ODD of shape \(3,\)"),
        ({"ODD": torch.zeros(())}, r"ODD of shape \(\)"),
        ({"ODD": torch.zeros(1, 2)}, r"ODD of shape \(1, 2\)"),
        ({"ODD": torch.tensor([float("inf")])}, "ODD is infinite"),
        ({"EVEN": torch.zeros(1)}, r"EVEN of shape \(1,\)"),
        ({"ODD": 3.0}, r"a torch tensor for ODD(.|\n)*float"),
        ({"ODD": torch.zeros(1, dtype=torch.complex64)}, "a torch tensor for ODD"),
        ({"ODD": [3.0]}, r"a torch tensor for ODD(.|\n)*list"),
        ({"ODD": torch.tensor([0.7])}, r"ODD is an Integer(.|\n)*0.69"),
        ({"ODD": torch.tensor([3e9], dtype=torch.float64)}, "32 bits: ODD is an Integer"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_a_scorer_that_breaks_the_contract_ends_the_run_by_name(answer, message):
    with pytest.raises(
        PluginError,
        match=rf"Scorer odd of plugin mine broke the contract(.|\n)*{message}(.|\n)*register_scorers(.|\n)*=-mine",
    ):
        run_with(OneScorer(answer))


def test_an_object_outside_the_base_classes_is_named_and_never_skipped():
    class Alike:  # all that a scorer has, but the base class
        name, version, fields = "odd", "1", OneScorer.fields
        needs, score = OneScorer.needs, OneScorer.score

    with pytest.raises(PluginError, match=r"odd of plugin mine(.|\n)*Alike(.|\n)*register_scorers"):
        run_with(Alike())
    alike = type("Alike", (Adapter,), {"name": "mine", "version": "1"})()  # of none of the four kinds
    origin = Origin("mine", "register_adapters", "adapter", "mine")
    with pytest.raises(PluginError, match=r"mine of plugin mine(.|\n)*Alike(.|\n)*register_adapters"):
        plan_outputs(["mine"], "-", None, {"mine": alike}, {"mine": origin}, source="-", reference="x")


class Writer(OneScorer):
    def score(self, batch, fields):
        batch.ref.logits.mul_(0.5)
        return {"ODD": torch.zeros(1)}


def test_a_scorer_that_writes_into_the_batch_ends_the_run():
    """Scorers share a batch: what one writes, the next would take for the model's output."""
    with pytest.raises(PluginError, match=r"odd of plugin mine(.|\n)*a batch left as it was(.|\n)*written into"):
        run_with(Writer({}))


@pytest.mark.parametrize("needs", [{"hiden"}, "pairs", None])
def test_needs_that_there_are_not_are_told(needs):
    scorer = OneScorer({})
    scorer.needs = lambda fields: needs
    with pytest.raises(PluginError, match=r"odd of plugin mine(.|\n)*some of hidden, masked, pairs"):
        alone(scorer).needs()


def test_what_a_scorer_leaves_out_or_calls_nan_is_missing():
    assert run_with(OneScorer({})) is None
    assert run_with(OneScorer({"ODD": torch.tensor([float("nan")])})) is None
    assert run_with(OneScorer({"ODD": torch.tensor([3.0])})) == 3


def gene_order(genes, backend=None, **options):
    report = pipeline(REFERENCE, FakeGenes(genes), backend, **options).report([snv(500)])[0]
    return [outcome.context.gene_id for outcome in report.alleles[0].contexts]


def test_the_flat_gene_does_not_depend_on_the_scores_asked_for():
    twins = [gene("A"), gene("B", strand="-")], [gene("A", strand="-"), gene("B")]
    orders = [gene_order(list(genes)) for genes in twins]
    assert orders[0] != orders[1]  # KL_CTX decides, not the id
    for scores in (("LLR",), ("DELTA_P", "EMB_L2"), ("KL_SS",)):
        assert [gene_order(list(genes), scores=scores) for genes in twins] == orders
    report = pipeline(REFERENCE, FakeGenes(list(twins[0])), scores=("LLR",)).report([snv(500)])[0]
    assert report.alleles[0].contexts[0].status is Status.OK


def test_kl_ctx_is_computed_for_the_choice_only_where_it_decides():
    backend = Counting(NullBackend())
    gene_order([gene("A"), gene("B")], backend, scores=("LLR",))  # one strand: the id decides
    assert backend.windows == [1]
    backend.windows.clear()
    gene_order([gene("A"), gene("B", strand="-", near_site=False)], backend, scores=("LLR",))
    assert backend.windows == [2]
    backend.windows.clear()
    gene_order([gene("A"), gene("B", strand="-")], backend, scores=("LLR",))
    assert backend.windows == [2, 2, 2]


class Noisy(NullBackend):
    """A model whose last digits depend on the batch, as those of a GPU may."""

    def forward(self, tokens, positions):
        out = super().forward(tokens, positions)
        torch.manual_seed(len(tokens))
        return BackendOutput(out.logits + 1e-6 * torch.randn_like(out.logits), out.hidden)


@pytest.mark.parametrize("batch_tokens", [1, 500, 800, 10_000])
def test_noise_in_the_last_digits_never_chooses_the_gene(batch_tokens):
    genes = [gene("C"), gene("A"), gene("B", strand="-"), gene("D")]
    expected = gene_order(genes)
    assert gene_order(genes, Noisy(), batch_tokens=batch_tokens) == expected


def test_memory_of_a_record_with_thousands_of_alts_is_that_of_a_part():
    alts = tuple(GENOME[499] + "".join(more) for more in islice(product("ACGT", repeat=7), 16_000))
    run = pipeline(REFERENCE, GENES, width=500, scores=("LLR", "PLLR"))
    run.report([FakeRecord("c", 500, GENOME[499], alts[:1])])
    tracemalloc.start()
    try:
        run.report([FakeRecord("c", 500, GENOME[499], alts)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100e6  # it was 171 MB, and grew with the ALTs


def test_alleles_without_scores_have_their_genes():
    """Of a symbolic ALT from POS to END; of bases that are no ACGT where REF is the FASTA's; of a REF_MISMATCH none."""

    @dataclasses.dataclass
    class Symbolic(FakeRecord):
        given: dict[str, str] = dataclasses.field(default_factory=dict)

        def info(self):
            return self.given

    ref = GENOME[400:700]
    wrong = "A" if GENOME[399] != "A" else "C"
    records = [
        Symbolic("c", 400, "N", ("<DEL>", "<NON_REF>"), given={"END": "600", "SVLEN": "-200,."}),
        FakeRecord("c", 401, ref, (ref[0],)),
        FakeRecord("c", 400, GENOME[399], ("R",)),
        FakeRecord("c", 400, wrong, ("R",)),
        FakeRecord("c", 400, wrong, (GENOME[399],)),
    ]
    reports = pipeline(REFERENCE, FakeGenes([gene("G2"), gene("G1", "-")])).report(records)
    found = [
        (str(allele.contexts[0].status), [one.context and one.context.gene_id for one in allele.contexts])
        for report in reports
        for allele in report.alleles
    ]
    assert found == [
        ("SYMBOLIC", ["G1", "G2"]), ("SYMBOLIC", [None]), ("TOO_LONG", ["G1", "G2"]), ("NON_ACGT", ["G1", "G2"]),
        ("NON_ACGT", [None]), ("REF_MISMATCH", [None]),
    ]  # fmt: skip


def test_an_allele_that_is_too_long_is_told_with_its_normalised_form():
    ref = GENOME[400:600]
    allele = pipeline(REFERENCE, GENES).report([FakeRecord("c", 401, ref, (ref[0],))])[0].alleles[0]
    assert allele.contexts[0].status is Status.TOO_LONG
    assert allele.allele.ref in (GENOME + GENOME)
    assert len(allele.allele.ref) == 199


@pytest.mark.parametrize("state", ["autocast", "matmul"])
def test_the_callers_precision_changes_nothing_and_stays_as_it_was(torch_backend, state):
    run = pipeline(REFERENCE, GENES, torch_backend, width=120)
    expected = values_of(run.report([snv(500)])[0])
    if state == "autocast":
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = values_of(run.report([snv(500)])[0])
            assert torch.is_autocast_enabled("cpu")
    else:
        torch.set_float32_matmul_precision("medium")
        try:
            found = values_of(run.report([snv(500)])[0])
            assert torch.get_float32_matmul_precision() == "medium"
        finally:
            torch.set_float32_matmul_precision("highest")
    assert found == expected


def test_forced_tf32_is_refused(monkeypatch):
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(SettingsError, match="unset TORCH_ALLOW"):
        choose_device("cuda")


class Spelling(Scorer):
    """A scorer that spells what each side holds, 5' to 3'."""

    name, version = "spelling", "1"
    fields = (FieldSpec("SPELT", "A", "Integer", "Nothing"),)

    def __init__(self):
        self.seen = []

    def needs(self, fields):
        return frozenset(("pairs",))

    def score(self, batch, fields):
        letters = {A: "A", C: "C", G: "G", T: "T"}

        def spell(tokens, row, columns):
            return "".join(letters[int(tokens[row, column])] for column in columns)

        flank = batch.flank
        span = range(2 * flank + 4, batch.paired.shape[1])
        for row in range(len(batch.snv)):
            made = {}
            for name, side, inside in (("ref", batch.ref, batch.in_ref), ("alt", batch.alt, batch.in_alt)):
                columns = [*range(flank - 1, -1, -1), *(c for c in span if inside[row, c]), *range(flank, 2 * flank)]
                made[name] = spell(side.tokens, row, columns)
            for name in ("donor", "acceptor"):
                mask = getattr(batch, name)[row]
                made[name] = spell(batch.ref.tokens, row, [c for c in range(len(mask)) if mask[c]])
            self.seen.append(made)
        return {}


@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    "change", [("C", "T"), ("GA", "TC"), ("", "GCA"), ("ACGC", ""), ("GAC", "TTTTG"), ("GACTT", "CA")], ids=str
)
def test_a_scorer_reads_both_sequences_from_5_to_3(strand, change):
    """Flank, span, flank and the sites as the transcript has them, whatever the strand and the length change."""
    ref, alt = change
    rng = random.Random(str(change))
    before, after = ("".join(rng.choice("ACGT") for _ in range(300)) for _ in range(2))
    before, after = before[:-1] + "T", "T" + after[1:]  # which no shift of a length change gets past
    before = before[:-12] + "GTCA" + before[-8:]
    genome = f"{before}{ref}{after}"
    donor, acceptor = (288, 290), (290, 292)
    scorer = Spelling()
    genes = FakeGenes([gene("A", strand, donor, acceptor)])
    anchor = before[-1]
    record = FakeRecord("c", len(before), anchor + ref, (anchor + alt,))
    assert outcome_with(scorer, FakeReference({"c": genome}), genes, record).allele.start == 300
    [seen] = scorer.seen

    def transcribed(text):
        return text if strand == "+" else text[::-1].translate(str.maketrans("ACGT", "TGCA"))

    assert seen["ref"] == transcribed(f"{before[-20:]}{ref}{after[:20]}")
    assert seen["alt"] == transcribed(f"{before[-20:]}{alt}{after[:20]}")
    assert (seen["donor"], seen["acceptor"]) == (transcribed("GT"), transcribed("CA"))

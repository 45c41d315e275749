"""What comes from the store is what scoring gives, for whatever scores a run asks for."""

import os

import pytest

from factories import ALL_SCORES, FASTA, NULL, VCF, Point, gene, plugin, records, snvs, write_tiny
from splicebert_vep import Annotator, Settings
from splicebert_vep.errors import StoreError
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.null import NullBackend
from splicebert_vep.provenance import SCORED_BY, score_digest
from splicebert_vep.scoring import cache
from splicebert_vep.scoring.cache import gene_keys
from splicebert_vep.store.store import ScoreStore
from splicebert_vep_spec import Status

VARIANTS = [
    "chr17-43047641-A-C",  # BRCA1 donor
    "chr17-43045767-G-GA",  # insertion: LLR is missing
    "chr17-43045760-CAC-C",
    "chr17-43045700-A-<DEL>",
    "chr17-43125428-G-A",  # BRCA1 and NBR2, on both strands
]


def annotator(store=None, **settings):
    return Annotator(FASTA, backend="null", store=store, settings=Settings(**settings))


def shown(opened):
    """Everything that adapters get of the variants, without what nobody asked for."""
    ids = [field.id for field in opened.plan.fields]
    return [
        [(one.context, one.status, one.reason, {name: one.values.get(name) for name in ids}) for one in result.contexts]
        for result in opened.score(VARIANTS)
    ]


def test_the_second_run_scores_nothing_and_gives_the_same(tmp_path):
    path = tmp_path / "s.sqlite"
    with annotator() as plain:
        expected = shown(plain)
    with annotator(path) as first:
        assert shown(first) == expected
        assert first.stored_scoring.scored == 4 and first.stored_scoring.known == 0
    with annotator(path) as second:
        second.stored_scoring._scoring = None  # would fail when asked
        assert shown(second) == expected
        assert second.stored_scoring.scored == 0 and second.stored_scoring.known == 4


@pytest.mark.parametrize("asked", [("LLR",), ("KL_SS", "N_SITES"), ("EMB_COS",), ("KL_MAX_POS", "LLR")], ids=",".join)
def test_a_run_that_asks_for_less_is_answered_from_what_is_there(tmp_path, asked):
    path = tmp_path / "s.sqlite"
    with annotator(path, scores=ALL_SCORES) as every:
        shown(every)
    with annotator(scores=asked) as plain:
        expected = shown(plain)
    with annotator(path, scores=asked) as fewer:
        assert shown(fewer) == expected
        assert fewer.stored_scoring.scored == 0
        kinds = {type(v) for found in shown(fewer) for *_, values in found for k, v in values.items() if k == "N_SITES"}
        assert kinds <= {int, type(None)}


def test_a_run_that_asks_for_more_scores_again_and_keeps_both(tmp_path):
    path = tmp_path / "s.sqlite"
    with annotator(path, scores=("LLR",)) as few:
        few_expected = shown(few)
    with annotator(path, scores=ALL_SCORES) as every:
        with annotator(scores=ALL_SCORES) as plain:
            assert shown(every) == shown(plain)
        assert every.stored_scoring.scored == 4
    with annotator(path, scores=("LLR",)) as few:
        assert shown(few) == few_expected
        assert few.stored_scoring.scored == 0


def test_other_settings_are_other_scores(tmp_path):
    path = tmp_path / "s.sqlite"
    with annotator(path) as one:
        shown(one)
    for shape in ({"window": 400}, {"flank": 90}):
        with annotator(path, **shape) as other:
            assert shown(other) != []
            assert other.stored_scoring.scored == 4
    with ScoreStore(path) as store:
        assert len(store.spaces()) == 3


def test_what_failed_is_not_stored(tmp_path):
    path = tmp_path / "s.sqlite"

    def broken(alleles):
        return [
            tuple(one.__class__(one.context, Status.FAILED, "out of memory", {}) for one in outcome)
            for outcome in whole(alleles)
        ]

    with annotator(path) as first:
        whole = first.scoring.outcomes
        first.stored_scoring._scoring = type("Broken", (), {"outcomes": staticmethod(broken)})
        assert {status for found in shown(first) for _, status, *_ in found} == {Status.FAILED, Status.SYMBOLIC}
    with annotator(path) as second:
        assert Status.FAILED not in {status for found in shown(second) for _, status, *_ in found}
        assert second.stored_scoring.scored == 4


def test_a_store_with_another_value_stops_the_run(tmp_path):
    path = tmp_path / "s.sqlite"
    with annotator(path) as first:
        shown(first)
        space, keys = first.space, [first.stored_scoring._key(first.score(VARIANTS[0]).allele)]
        [[row]] = first._store.find(space, keys)
        with pytest.raises(StoreError, match="another value"):
            first._store.add(space, [(keys[0], [row._replace(values=(99.0, *row.values[1:]))])], {})


def test_the_score_digest_covers_what_changes_scores():
    with annotator() as opened:
        provenance = dict(opened.run.provenance)
    assert provenance["ScoreDigest"] == score_digest(provenance)
    for key in SCORED_BY:
        assert score_digest({**provenance, key: "other"}) != provenance["ScoreDigest"]
    for key in ("BatchTokens", "Device", "Store", "Scores", "Reference", "Version"):
        assert score_digest({**provenance, key: "other"}) == provenance["ScoreDigest"]
    # A backend without weights is known by its name, one with weights is not: a model may lie in any folder.
    assert score_digest({**provenance, "Model": "other"}) != provenance["ScoreDigest"]
    weights = {**provenance, "WeightsSHA256": "0" * 64}
    assert score_digest({**weights, "Model": "other"}) == score_digest(weights)


def test_genes_of_one_id_are_told_apart():
    twice = [gene("G1"), gene("G1"), gene("G2")]
    assert gene_keys([gene("G1"), gene("G2")]) == ["G1", "G2"]
    assert gene_keys(twice) == ["G1 TG1", "G1 TG1", "G2"]  # the same transcript twice: such an allele is not stored


def test_a_backend_of_another_version_gives_other_scores(install, tmp_path):
    class Mine(NullBackend):
        name, version = "mine", "1"

    install(Point("mine", plugin(register_backends=lambda: [Mine])))
    digests = []
    for version in ("1", "2"):
        Mine.version = version
        with Annotator(FASTA, backend="mine") as opened:
            digests.append(opened.run.provenance["ScoreDigest"])
    assert digests[0] != digests[1]


def test_a_fasta_that_changed_at_the_same_size_and_time_is_another(tmp_path):
    fasta = tmp_path / "x.fa"
    fasta.write_text(">c\nACGT\n")
    about = fasta.stat()
    with Reference(fasta) as reference:
        before = reference.md5("c")
    fasta.write_text(">c\nACGA\n")
    os.utime(fasta, ns=(about.st_atime_ns, about.st_mtime_ns))
    with Reference(fasta) as reference:
        assert reference.md5("c") != before


def test_the_order_of_genes_does_not_depend_on_what_the_store_has_besides(tmp_path):
    """KL_CTX orders genes only where it was asked for or has to choose; a fuller space has it always."""
    path = tmp_path / "s.sqlite"
    with annotator(path) as full:
        shown(full)
    with annotator(scores=("LLR",)) as plain, annotator(path, scores=("LLR",)) as stored:
        for one, two in zip(plain.score(VARIANTS), stored.score(VARIANTS), strict=True):
            assert [a.context for a in one.contexts] == [b.context for b in two.contexts]
            assert [set(a.values) for a in one.contexts] == [set(b.values) for b in two.contexts]
        assert stored.stored_scoring.scored == 0


def test_alleles_are_committed_in_batches_that_suit_the_speed_of_the_model(tmp_path, monkeypatch):
    path, sizes, clock = tmp_path / "s.sqlite", [], [0.0]
    variants = [f"chr17-{pos}-{ref}-{alt}" for pos, ref, alt in snvs(length=250)]
    with annotator(path) as opened:
        whole = opened.scoring.outcomes

        def outcomes(alleles):
            with ScoreStore(path, writing=False) as there:
                committed = sum(map(there.count, there.spaces()))
            assert committed == sum(sizes), "a batch was not committed before the next"
            sizes.append(len(alleles))
            clock[0] += len(alleles) * (1e-4 if len(sizes) < 3 else 10.0)  # fast, then slow
            return whole(alleles)

        opened.stored_scoring._scoring = type("Slow", (), {"outcomes": staticmethod(outcomes)})
        monkeypatch.setattr(cache.time, "monotonic", lambda: clock[0])
        found = [result.status for result in opened.score(variants)]
    assert len(found) == sum(sizes) == 750
    assert sizes[:4] == [32, 256, 256, 3] and max(sizes[3:]) <= 3  # 3 alleles of 10 s each


def test_a_kept_failure_is_not_scored_again(tmp_path):
    failed = []
    with annotator(tmp_path / "s.sqlite") as opened:
        whole = opened.scoring.outcomes

        def broken(alleles):
            failed.extend(alleles)
            return [
                tuple(one.__class__(one.context, Status.FAILED, "out of memory", {}) for one in outcome)
                for outcome in whole(alleles)
            ]

        opened.stored_scoring._scoring = type("Broken", (), {"outcomes": staticmethod(broken)})
        opened.stored_scoring.unstored = {}
        assert shown(opened) == shown(opened)
        assert len(failed) == len(set(failed)) == 4


def test_the_example_is_the_same_through_a_store(run, tmp_path):
    """With the bundled model: values of the store are those of the model, to the last printed digit."""
    store, words = tmp_path / "s.sqlite", ["-R", FASTA, "--device", "cpu"]
    for name, given in (("a", ["--store", store]), ("b", ["--store", store]), ("c", [])):
        assert run("annotate", VCF, *words, *given, "-O", tmp_path / f"{name}.vcf")[0] == 0
    assert (tmp_path / "a.vcf").read_bytes() == (tmp_path / "b.vcf").read_bytes()
    assert records((tmp_path / "a.vcf").read_text()) == records((tmp_path / "c.vcf").read_text())
    code, _, err = run("store", "verify", store, *words, "--sample", "20")
    assert code == 0 and ", 0 beyond 0.0001" in err


def test_only_alleles_of_the_store_are_called_known(run, tmp_path):
    """An allele in no gene needs no store: with an empty one it was called known."""
    options, bases = write_tiny(tmp_path)
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    lines = [f"c1\t{pos}\t.\t{bases[pos - 1]}\t{'ACGT'['TGCA'.index(bases[pos - 1])]}\t.\t.\t.\n" for pos in (5, 60)]
    (tmp_path / "x.vcf").write_text(head + "".join(lines))
    words = ["annotate", tmp_path / "x.vcf", *options, "--store", tmp_path / "s.sqlite", "-O", tmp_path / "y.vcf"]
    for counts in ("0 alleles known, 1 scored", "1 alleles known, 0 scored"):
        code, _, err = run(*words)
        assert code == 0 and counts in err


def test_no_output_replaces_the_store(run, tmp_path):
    store = tmp_path / "s.sqlite"
    assert run("annotate", VCF, *NULL, "--store", store, "-O", tmp_path / "a.vcf")[0] == 0
    before = store.read_bytes()
    for words in (["-O", store], ["--emit", f"tsv={store}"]):
        code, _, err = run("annotate", VCF, *NULL, "--store", store, *words)
        assert code == 3 and "would replace" in err
    assert store.read_bytes() == before

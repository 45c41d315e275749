"""Delta scores in whole runs: which nucleotide DP points at in every output, stores, cohorts, what is loaded when."""

import csv
import json
import shutil

import cyvcf2
import pyarrow.parquet as pq
import pytest

from factories import EXAMPLES, FASTA, NULL, Point, StandIn, info, plain, plugin, records, unpacked, write_model
from factories import snvs as every_snv
from splicebert_vep import Annotator, Settings
from splicebert_vep.errors import SettingsError
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.tuned import WindowSpliceModel
from splicebert_vep_spec import BackendOptions

DP = ("DP_AG", "DP_AL", "DP_DG", "DP_DL")
DS = ("DS_AG", "DS_AL", "DS_DG", "DS_DL", "DS_MAX")
WORDS = ("LOSS_ANNOTATED", "GAIN_ANNOTATED", "LOSS_JUDGED")
DELTA = [*NULL, "--scores", "delta"]
VARIANTS = ["chr17-43045061-C-T", "chr17-43045061-CC-TT", "chr17-43045061-C-CA", "chr17-43067617-TAAC-T"]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two splice-site models of random weights."""
    folder = tmp_path_factory.mktemp("models")
    return [write_model(folder / f"sites{seed}", seed) for seed in (1, 2)]


@pytest.fixture
def stand_in(install):
    """Install a stand-in as a splice-site model; returns the options for it, and a list of those opened."""
    opened = []

    def put(**options):
        class Opening(StandIn):
            @classmethod
            def open(cls, _):
                opened.append(cls(**options))
                return opened[-1]

        install(Point("mine", plugin(register_splice_models=lambda: [Opening])))
        return ["--splice-model", "stand-in"], opened

    return put


def table_rows(path):
    text = [line for line in path.read_text().splitlines() if not line.startswith("##")]
    return list(csv.DictReader(text, delimiter="\t"))


def annotator(model, *scores, distance=50, mask="none", **options):
    settings = Settings(scores=scores or ("delta",), delta_distance=distance, mask=mask)
    return Annotator(FASTA, backend="null", settings=settings, splice_model=model, device="cpu", **options)


def around(low, high):
    """Bases of chr17, 1-based with both ends."""
    with Reference(FASTA) as reference:
        return reference.fetch("chr17", low - 1, high).decode()


def expected(pos, ref, alt, **options):
    """What strings give for an allele of BRCA1, which is on -, as bcftools norm writes it."""
    low = pos - 1000
    return plain(around(low, pos + 1000), pos - low + 1, ref, alt, "-", **options)


# Other writings of (pos, ref, alt); what they mean was read off ClinVar's HGVS names, see example_vcfs/repeats.vcf.
LEFT = {"43045940dup": (43045922, "A", "AT"), "43067619ACA[1]": (43067617, "TAAC", "T")}
WRITINGS = [
    ("43045940dup", 43045919, "CTAATTTT", "CTAATTTTT"),
    ("43045940dup", 43045922, "A", "AT"),
    ("43045940dup", 43045940, "T", "TT"),
    ("43067619ACA[1]", 43067613, "TTCATAACAA", "TTCATAA"),
    ("43067619ACA[1]", 43067617, "TAAC", "T"),
    ("43067619ACA[1]", 43067621, "AACA", "A"),
]


@pytest.fixture
def written(tmp_path):
    """Records of WRITINGS, and one with an SNV, an MNV and the deletion in one, padded."""
    bases = around(43067613, 43067622)
    snv, mnv = bases[:3] + "G" + bases[4:], bases[:5] + "CG" + bases[7:]
    assert snv != bases and mnv[5] != bases[5] and mnv[6] != bases[6]
    rows = [f"17\t{pos}\t{name}\t{ref}\t{alt}\t.\t.\t." for name, pos, ref, alt in WRITINGS]
    rows.append(f"17\t43067613\tmany\t{bases}\t{snv},{mnv},{bases[:7]}\t.\t.\t.")
    rows.sort(key=lambda row: int(row.split("\t")[1]))
    path = tmp_path / "written.vcf"
    head = "##fileformat=VCFv4.2\n##contig=<ID=17>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    path.write_text(head + "\n".join(rows) + "\n")
    many = [(43067616, bases[3], "G"), (43067618, bases[5:7], "CG"), LEFT["43067619ACA[1]"]]
    return path, many


@pytest.mark.parametrize("kind", ["vcf", "bcf"])
def test_pos_and_dp_give_the_same_nucleotide_however_an_allele_is_written(run, tmp_path, stand_in, written, kind):
    options, _ = stand_in()
    path, many = written
    out = tmp_path / f"out.{kind}"
    positions = ["POS_AG", "POS_AL", "POS_DG", "POS_DL"]  # which stay right when bcftools norm moves POS
    code, _, err = run("annotate", path, *DELTA, "--scores", ",".join(positions), *options, "-O", out)
    assert code == 0 and "OK 9" in err, err
    seen = 0
    for record in cyvcf2.VCF(str(out)):
        alleles = many if record.ID == "many" else [LEFT[record.ID]]
        for field in DP:
            given = record.INFO[f"SpliceBERT_{field}"]
            offsets = [given] if isinstance(given, int) else list(given)
            nucleotides = [allele[0] + expected(*allele)[field] for allele in alleles]
            assert [record.POS + offset for offset in offsets] == nucleotides, (record.ID, record.POS, field)
            place = record.INFO[f"SpliceBERT_{field.replace('DP', 'POS')}"]
            assert ([place] if isinstance(place, int) else list(place)) == nucleotides
            seen += sum(allele[0] != record.POS for allele in alleles)
        for field in DS:
            given = record.INFO[f"SpliceBERT_{field}"]
            scores = [given] if isinstance(given, float) else list(given)
            assert scores == pytest.approx([expected(*allele)[field] for allele in alleles], abs=5e-5)
    assert seen == 4 * (4 + 3)  # records whose POS is not that of the normalised allele


def test_every_output_has_the_same_offsets(run, tmp_path, stand_in, written):
    options, _ = stand_in()
    names = {what: tmp_path / f"out.{what}" for what in ("tsv", "jsonl", "parquet")}
    emit = ["--emit", ",".join(["flat", "vep", *(f"{what}={path}" for what, path in names.items())])]
    out = tmp_path / "out.vcf"
    assert run("annotate", written[0], *DELTA, *options, *emit, "-O", out)[0] == 0
    text = out.read_text()
    [line] = [line for line in text.splitlines() if line.startswith("##INFO=<ID=SpliceBERT,")]
    keys = line.rpartition("Format: ")[2].rstrip('">').split("|")
    flat, vep = [], []
    for row in records(text):
        items = info(row[7])
        flat += zip(*(map(int, items[f"SpliceBERT_{field}"].split(",")) for field in DP), strict=True)
        for entry in items["SpliceBERT"].split(","):
            found = dict(zip(keys, entry.split("|"), strict=True))
            vep.append(tuple(int(found[field]) for field in DP))
    tsv = table_rows(names["tsv"])
    lines = [json.loads(line) for line in names["jsonl"].read_text().splitlines()]
    lines = [line for line in lines if "POS" in line]
    assert vep == flat
    assert [tuple(int(row[field]) for field in DP) for row in tsv] == flat
    assert [tuple(row[field] for field in DP) for row in lines] == flat
    assert [tuple(row[field] for field in DP) for row in pq.read_table(names["parquet"]).to_pylist()] == flat


def test_entries_of_csq_have_them_too(run, tmp_path, stand_in):
    options, _ = stand_in()
    vcf, out = tmp_path / "csq.vcf", tmp_path / "out.vcf"
    line = (
        '##INFO=<ID=CSQ,Number=.,Type=String,Description="Ensembl VEP. Format: Allele|Consequence|SYMBOL|Gene|Feature">'
    )
    rows = [
        f"17\t{pos}\t.\t{ref}\t{alt}\t.\t.\tCSQ={vep}|x|BRCA1|ENSG00000012048|ENST00000357654\n"
        for (_, pos, ref, alt), vep in zip(WRITINGS, ("ATTTTT", "T", "T", "", "-", "-"), strict=True)
        if len(ref) < 5  # VEP's word for an allele
    ]
    vcf.write_text(f"##fileformat=VCFv4.2\n{line}\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(rows))
    code, _, err = run("annotate", vcf, *DELTA, *options, "--emit", "flat,csq", "-O", out)
    assert code == 0, err
    text = out.read_text()
    [line] = [line for line in text.splitlines() if line.startswith("##INFO=<ID=CSQ,")]
    keys = line.rpartition("Format: ")[2].rstrip('">').split("|")
    found = records(text)
    assert len(found) == 4
    for row in found:
        items = info(row[7])
        entry = dict(zip(keys, items["CSQ"].split("|"), strict=True))
        for field in DP:
            assert entry[f"SpliceBERT_pred_{field}"] == items[f"SpliceBERT_{field}"]


def test_the_python_api_counts_from_the_pos_it_is_given(models):
    with annotator(models[0]) as opened:
        shifts = [opened.score(f"chr17-{pos}-{ref}-{alt}") for _, pos, ref, alt in WRITINGS]
    for first, many in (shifts[:1], shifts[1:3]), (shifts[3:4], shifts[4:]):
        for other in many:
            for field in DP:
                assert other.variant.pos + other[field] == first[0].variant.pos + first[0][field]
            assert [other[field] for field in DS] == [first[0][field] for field in DS]


def test_a_cohort_a_store_and_saturate_say_the_same(run, tmp_path, stand_in, written):
    options, opened = stand_in()
    path, _ = written
    store, out = tmp_path / "s.sqlite", tmp_path / "out.vcf"
    assert run("annotate", path, *DELTA, *options, "-O", out)[0] == 0
    manifest = tmp_path / "manifest.tsv"
    manifest.write_text(f"{path}\twritten\n")
    folder = tmp_path / "cohort"
    code, _, err = run("cohort", "run", manifest, *DELTA, *options, "--store", store, "-O", folder)
    assert code == 0, err
    assert records(unpacked(folder / "annotated" / "written.vcf.gz")) == records(out.read_text())
    # The cohort's table is of normalised alleles, and counts from their POS.
    rows = {(row["POS"], row["REF"], row["ALT"]): row for row in pq.read_table(folder / "cohort.parquet").to_pylist()}
    for allele in LEFT.values():
        assert {field: rows[allele][field] for field in DP} == {field: expected(*allele)[field] for field in DP}
    calls = sum(len(model.shown) for model in opened)
    again = tmp_path / "again.vcf"
    code, _, err = run("annotate", path, *DELTA, *options, "--store", store, "-O", again)
    assert code == 0 and ", 0 scored" in err
    assert records(again.read_text()) == records(out.read_text())
    assert sum(len(model.shown) for model in opened) == calls
    # The file of saturate has the normalised alleles' own records.
    computed = tmp_path / "region.vcf.gz"
    place = ["--region", "chr17:43067618-43067620", "--indels"]
    taken, parquet, target = tmp_path / "taken.sqlite", tmp_path / "s.parquet", tmp_path / "other.sqlite"
    assert run("saturate", *place, *DELTA, *options, "--store", taken, "-O", computed)[0] == 0
    [row] = [r for r in records(unpacked(computed)) if (int(r[1]), r[3], r[4]) == LEFT["43067619ACA[1]"]]
    scores = expected(*LEFT["43067619ACA[1]"])
    assert [int(info(row[7])[f"SpliceBERT_{field}"]) for field in DP] == [scores[field] for field in DP]
    assert run("store", "export", taken, "-O", parquet)[0] == 0
    assert run("store", "import", target, parquet)[0] == 0
    one = tmp_path / "one.vcf"
    one.write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n17\t43067621\t.\tAACA\tA\t.\t.\t.\n"
    )
    code, _, err = run("annotate", one, *DELTA, *options, "--store", target, "-O", tmp_path / "o.vcf")
    assert code == 0 and "1 alleles known, 0 scored" in err
    [row] = records((tmp_path / "o.vcf").read_text())
    moved = 43067617 - 43067621
    assert [int(info(row[7])[f"SpliceBERT_{field}"]) for field in DP] == [scores[field] + moved for field in DP]
    first = next(info(row[7]) for row in records(out.read_text()) if row[2] == "43067619ACA[1]")
    told = {f"SpliceBERT_{word}": info(row[7]).get(f"SpliceBERT_{word}") for word in WORDS}
    assert told == {word: first.get(word) for word in told} and told["SpliceBERT_LOSS_JUDGED"]


def test_a_store_recalls_only_what_the_same_model_and_settings_computed(models, tmp_path):
    store = tmp_path / "s.sqlite"
    with annotator(models[0], store=store) as opened:
        first = [result.values for result in opened.score(VARIANTS)]
        assert opened.stored_scoring.scored == len(VARIANTS)
    with annotator(models[0], store=store) as opened:
        assert [result.values for result in opened.score(VARIANTS)] == first
        assert opened.stored_scoring.known == len(VARIANTS)
    other = shutil.copytree(
        models[0], tmp_path / "sites1"
    )  # the same weights, with which the network answers otherwise
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.5}))
    changed = [(models[0], {"distance": 20}), (models[0], {"mask": "after"}), (models[1], {}), (other, {})]
    for model, changes in changed:
        with annotator(model, store=store, **changes) as opened:
            assert [result.values for result in opened.score(VARIANTS)] != first
            assert opened.stored_scoring.known == 0
    with annotator(models[0], "DS_MAX", store=store) as opened:  # a part of what is known is known
        assert [result["DS_MAX"] for result in opened.score(VARIANTS)] == [values["DS_MAX"] for values in first]
        assert opened.stored_scoring.scored == 0


def test_store_verify_looks_at_what_the_same_model_computed(run, models, tmp_path):
    store = tmp_path / "s.sqlite"
    options = ["-R", FASTA, "--backend", "null", "--scores", "delta"]
    with annotator(models[0], store=store) as opened:
        list(opened.score(VARIANTS))
    code, out, err = run("store", "verify", store, *options, "--splice-model", models[0])
    assert code == 0, err
    code, _, err = run("store", "verify", store, *options, "--splice-model", models[1])
    assert code != 0 and "DS_MAX=delta/2+" in err


def test_scores_depend_on_nothing_but_the_allele(models):
    variants = [f"chr17-{pos}-{ref}-{alt}" for pos, ref, alt in snvs(40)] + VARIANTS
    with annotator(models[0]) as opened:
        together = [result.values for result in opened.score(variants)]
        backwards = [result.values for result in opened.score(variants[::-1])][::-1]
        alone = [opened.score(variant).values for variant in variants]
    small = Settings(scores=("delta",), batch_tokens=1, chunk_records=3)
    with Annotator(FASTA, backend="null", settings=small, splice_model=models[0], device="cpu") as opened:
        one_by_one = [result.values for result in opened.score(variants)]
    for others in (backwards, alone, one_by_one):
        for mine, other in zip(together, others, strict=True):
            assert mine == pytest.approx(other, abs=1e-5)  # places exactly: whole numbers


def snvs(count, first=43045700):
    return every_snv(first=first, length=count)[::3]


def test_zero_shot_scores_are_those_of_a_run_without_delta(models):
    with annotator(models[0], "zero-shot") as opened:
        without = [dict(result.values) for result in opened.score(VARIANTS)]
        assert opened.delta.provenance == {}
    with annotator(models[0], "zero-shot", "delta") as opened:
        both = [dict(result.values) for result in opened.score(VARIANTS)]
    assert [{name: values[name] for name in without[0]} for values in both] == without
    assert {*DP, *DS} < set(both[0]) - set(without[0])


def test_nothing_is_loaded_unless_it_is_asked_for(run, tmp_path, monkeypatch):
    monkeypatch.setattr(WindowSpliceModel, "open", None)
    out = tmp_path / "o.vcf"
    missing = ["--splice-model", tmp_path / "none"]
    assert run("annotate", EXAMPLES / "brca1.vcf", *NULL, "--scores", "zero-shot", *missing, "-O", out)[0] == 0
    assert "SpliceModel" not in out.read_text()
    assert run("plugins")[0] == 0
    monkeypatch.undo()
    code, _, err = run("annotate", EXAMPLES / "brca1.vcf", *DELTA, *missing, "-O", out)
    assert code != 0 and "The splice-site model is not there" in err


@pytest.mark.parametrize("words", [("--delta-distance", "70", "--mask", "after"), ("-D", "70", "-M", "1")])
def test_the_header_says_what_made_the_scores(run, tmp_path, models, words):
    out = tmp_path / "o.vcf"
    code, _, err = run(
        "annotate", EXAMPLES / "brca1.vcf", *NULL, "--scores", "KL_CTX,delta", "--splice-model", models[0], *words,
        "-O", out,
    )  # fmt: skip
    assert code == 0 and "delta scores by sites1, within 70 nt, masked after the maximum; quality not measured" in err
    text = out.read_text()
    digest = WindowSpliceModel.open(BackendOptions(str(models[0]), "cpu")).info.sha256
    said = {
        "SpliceModel": "sites1", "SpliceModelSHA256": digest, "DeltaDistance": "70", "DeltaMask": "after",
        "DeltaOutside": "genome",
    }  # fmt: skip
    for key, word in said.items():
        assert f'{key}="{word}"' in text or f"{key}={word}" in text, key
    [line] = [line for line in text.splitlines() if line.startswith("##INFO=<ID=SpliceBERT_DS_AG,")]
    for word in ("Number=A", "Type=Float", "sites1", "within 70 nt", ", masked after", "0 to 1"):
        assert word in line
    [line] = [line for line in text.splitlines() if line.startswith("##INFO=<ID=SpliceBERT_DP_AG,")]
    assert "Type=Integer" in line and "nt from the record's POS" in line
    [line] = [line for line in text.splitlines() if line.startswith("##INFO=<ID=SpliceBERT_LOSS_JUDGED,")]
    assert "Type=String" in line and "NOT_JUDGEABLE" in line
    assert "SpliceAI" not in text


def test_by_default_the_model_of_the_installed_plugin_is_taken_or_the_bundled_one(install, stand_in):
    def opened(backend="torch", **options):
        with Annotator(FASTA, backend=backend, scores="DS_MAX", device="cpu", **options) as annotator:
            told = annotator.run.provenance
            return annotator.delta.model.name, told["DeltaDistance"], told["DeltaOutside"]

    install()  # nothing, whatever the environment has
    assert opened() == ("splicebert-mini-splice-sites", "50", "genome")
    assert opened("null") == ("null", "50", "genome")

    class Preferred(StandIn):
        name, distance, sees_gene_only = "cispliceai", 200, True

    install(Point("mine", plugin(register_splice_models=lambda: [Preferred])))
    assert opened() == ("cispliceai", "200", "N")
    assert opened(delta_distance=30, outside=True) == ("cispliceai", "30", "genome")
    assert opened(splice_model="splicebert-mini-splice-sites")[0] == "splicebert-mini-splice-sites"


@pytest.mark.parametrize(("distance", "farthest"), [(100, True), (101, False)])
def test_a_model_of_windows_looks_a_hundred_nt_far(models, distance, farthest):
    variant = "chr17-43067617-TAAC-T"
    if farthest:
        with annotator(models[0], distance=distance) as opened:
            assert opened.score(variant)["DS_MAX"] is not None
    else:
        with pytest.raises(SettingsError, match="1 to 100"):
            annotator(models[0], distance=distance)


def test_a_model_that_fails_leaves_a_status_and_a_reason(run, tmp_path, stand_in, caplog):
    window = around(43045041, 43045060) + "T"
    options, _ = stand_in(fails_on=window[::-1].translate(str.maketrans("ACGT", "TGCA")))
    vcf, store, out = tmp_path / "v.vcf", tmp_path / "s.sqlite", tmp_path / "o.vcf"
    rows = "".join(f"17\t43045061\t.\tC\t{alt}\t.\t.\t.\n" for alt in "TA")
    vcf.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + rows)
    command = ["annotate", vcf, *NULL, "--scores", "zero-shot,delta", *options, "--store", store, "-O", out]
    code, _, err = run(*command)
    assert code == 0 and "FAILED 1, OK 1" in err
    assert "FAILED chr17:43045061 C>T: delta scores: the device went away" in caplog.messages
    bad, good = (info(row[7]) for row in records(out.read_text()))
    assert bad["SpliceBERT_STATUS"] == "FAILED" and "SpliceBERT_DS_MAX" not in bad
    assert good["SpliceBERT_STATUS"] == "OK" and float(good["SpliceBERT_DS_MAX"]) > 0
    stand_in()  # that does not fail
    code, _, err = run(*command)
    assert code == 0 and "1 alleles known, 1 scored" in err and "OK 2" in err


def test_a_splice_model_of_narrow_windows_is_refused(run, tmp_path):
    model = write_model(tmp_path / "narrow", 3, window=200)
    code, _, err = run("score", "chr17-43045061-C-T", *DELTA, "--splice-model", model)
    assert code == 3 and "windows of 301 nt" in err and "200 nt" in err


def test_evaluate_judges_delta_scores_beside_the_others(run, tmp_path, models):
    table = tmp_path / "labelled.tsv"
    lines = ["chrom\tpos\tref\talt\tstrand\texon_start\texon_end\tdelta_psi"]
    for i, (pos, ref, alt) in enumerate(snvs(60, first=43047643)):
        lines.append(f"chr17\t{pos}\t{ref}\t{alt}\t-\t43047642\t43047703\t{-0.9 if i % 3 == 0 else 0.0}")
    table.write_text("\n".join(lines) + "\n")
    rows = tmp_path / "rows.tsv"
    code, out, err = run(
        "evaluate", table, "-R", FASTA, "--scores", "KL_CTX,delta", "--splice-model", models[0], "--protocol", "own",
        "--resamples", "10", "--rows", rows, "--json",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["SpliceModel"] == "sites1"
    assert {figure["score"] for figure in found["figures"]} == {"distance", "KL_CTX", *DS}
    written = table_rows(rows)
    with annotator(models[0], "DS_MAX") as opened:
        for row in written[::7]:
            assert float(row["DS_MAX"]) == pytest.approx(
                opened.score(f"{row['chrom']}-{row['pos']}-{row['ref']}-{row['alt']}")["DS_MAX"], abs=5e-5
            )

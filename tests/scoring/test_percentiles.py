"""Percentiles: region classes, the table, and the same values whichever way they are asked for."""

import gzip
import json
from dataclasses import replace

import pytest

from factories import FASTA, gene, info, null_annotator, records, write_snvs
from splicebert_vep import Annotator, Settings
from splicebert_vep.errors import CalibrationError, SettingsError
from splicebert_vep.provenance import score_digest
from splicebert_vep.scoring import percentiles
from splicebert_vep.scoring.percentiles import REGION_CLASSES, CalibrationTable, region_class, write_table

NULL = ["-R", FASTA, "--backend", "null"]
PERCENTILES = ("zero-shot", "PCTL_LLR", "PCTL_KL_CTX")
SCORES = ("--scores", ",".join(PERCENTILES))


def place(region, offset, hit=None):
    return replace(gene(), region=region, site_offset=offset, site_hit=hit)


@pytest.mark.parametrize(
    ("region", "offset", "name"),
    [
        ("CDS", "1", "exon_edge"), ("CDS", "3", "exon_edge"), ("CDS", "4", "exon_core"), ("CDS", "250", "exon_core"),
        ("exon", "3", "exon_edge"), ("exon", "4", "exon_core"), ("exon", None, "exon_core"), ("CDS", None, "exon_core"),
        ("5_prime_UTR", "3", "exon_edge"), ("5_prime_UTR", "4", "utr"), ("3_prime_UTR", "3", "exon_edge"),
        ("3_prime_UTR", "4", "utr"), ("3_prime_UTR", None, "utr"),
        ("intron", "+3", "donor_3_6"), ("intron", "+6", "donor_3_6"), ("intron", "+7", "near_intron"),
        ("intron", "+18", "near_intron"), ("intron", "+100", "near_intron"), ("intron", "+101", "deep_intron"),
        ("intron", "-3", "acceptor_3_20"), ("intron", "-18", "acceptor_3_20"), ("intron", "-20", "acceptor_3_20"),
        ("intron", "-21", "branchpoint_18_44"), ("intron", "-44", "branchpoint_18_44"),
        ("intron", "-45", "near_intron"), ("intron", "-100", "near_intron"), ("intron", "-101", "deep_intron"),
        ("intron", None, None),
    ],
)  # fmt: skip
def test_a_place_has_the_first_class_that_matches(region, offset, name):
    assert region_class(place(region, offset)) == name


@pytest.mark.parametrize(
    ("region", "offset", "hit"),
    [("intron", "+2", "donor"), ("intron", "-1", "acceptor"), ("CDS", "120", "donor"), ("5_prime_UTR", "2", "both")],
)
def test_an_annotated_dinucleotide_is_canonical_wherever_it_lies(region, offset, hit):
    assert region_class(place(region, offset, hit)) == "canonical"


def written(path, values, **changes):
    columns = {name: values for name in REGION_CLASSES}
    with null_annotator() as annotator:
        provenance = {**annotator.run.provenance, **changes}
    write_table(path, {"KL_CTX": columns, "LLR": columns}, provenance, {})
    return path


def plain(background, value):
    """The formula of docs/scores.md, counted one by one."""
    less = sum(1 for other in background if other < value)
    equal = sum(1 for other in background if other == value)
    return 100 * (less + equal / 2) / len(background)


def test_percentiles_are_counted_with_half_of_the_ties(tmp_path):
    background = [-30_000, -30_000, -29_999, -10_000, -10_000, -10_000, 0, 5]
    table = CalibrationTable.load(written(tmp_path / "t.gz", background))
    disturbed = [-9.0, -3.0, -2.9999, -2.5, -1.0, -0.00004, 0.0004, 0.0005, 7.0]
    for value in disturbed:
        expected = plain([b / 10_000 for b in background], round(value, 4))
        assert table.percentile("KL_CTX", "utr", value) == expected
        assert table.percentile("LLR", "utr", -value) == expected
    assert table.percentile("KL_CTX", "utr", -3.0) == 12.5  # 0 less, 2 of 8 equal
    assert table.percentile("KL_CTX", "utr", -1.0) == 56.25  # 3 less, 3 equal
    assert table.percentile("LLR", "utr", -7.0) == 100  # far less expected than all


def test_the_same_table_has_the_same_bytes(tmp_path):
    one, two = written(tmp_path / "one.gz", [3, 1, 2]), written(tmp_path / "two.gz", [1, 2, 3])
    assert one.read_bytes() == two.read_bytes()
    assert json.loads(gzip.decompress(one.read_bytes()))["values"]["LLR"]["utr"] == [1, 2, 3]


def changed(data, **values):
    return gzip.compress(json.dumps({**json.loads(gzip.decompress(data)), **values}).encode())


def of_other_scores(data):
    scored_by = {**json.loads(gzip.decompress(data))["scored_by"], "Flank": "90"}
    return changed(data, scored_by=scored_by, score_digest=score_digest(scored_by))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: None,
        lambda data: b"not a table",
        lambda data: data[:-20],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: gzip.compress(b"[]"),
        lambda data: gzip.compress(b"[" * 200_000),
        lambda data: changed(data, format=2),
        lambda data: changed(data, values={}),
        *[
            lambda data, v=v: changed(data, values={s: dict.fromkeys(REGION_CLASSES, v) for s in ("KL_CTX", "LLR")})
            for v in ([2, 1], [], [0.5])
        ],
        lambda data: changed(data, scored_by={}),
        lambda data: changed(data, score_digest="d77f17d6146d" + "0" * 52),
    ],
)
def test_a_damaged_table_is_refused(table_path, tmp_path, damage):
    path = tmp_path / "damaged.gz"
    if data := damage(table_path.read_bytes()):
        path.write_bytes(data)
    with pytest.raises(CalibrationError) as error:
        CalibrationTable.load(path)
    assert str(path) in str(error.value)


def test_a_table_of_other_scores_is_refused(table_path, tmp_path):
    for window, flank, differs in ((400, 100, "Window 510 instead of 400"), (510, 90, "Flank 100 instead of 90")):
        settings = Settings(window=window, flank=flank, scores=PERCENTILES)
        with pytest.raises(CalibrationError, match=differs):
            Annotator(FASTA, backend="null", settings=settings, calibration=table_path)
    (tmp_path / "other.gz").write_bytes(of_other_scores(table_path.read_bytes()))
    with pytest.raises(CalibrationError, match="of other scores"):
        null_annotator(scores=PERCENTILES, calibration=tmp_path / "other.gz")


def test_a_table_holds_for_another_annotation(table_path, tmp_path):
    annotation = tmp_path / "mine.gtf"
    gene_line = 'gene_id "G"; transcript_id "T"; gene_biotype "protein_coding";'
    rows = [("transcript", 43_060_001, 43_062_000), ("exon", 43_060_001, 43_060_500), ("exon", 43_061_001, 43_062_000)]
    annotation.write_text("".join(f"17\tx\t{kind}\t{a}\t{b}\t.\t-\t.\t{gene_line}\n" for kind, a, b in rows))
    settings = Settings(scores=PERCENTILES)
    with Annotator(FASTA, annotation, backend="null", settings=settings, calibration=table_path) as annotator:
        base = annotator.reference.fetch("chr17", 43_060_099, 43_060_100).decode()
        result = annotator.score(f"17-43060100-{base}-{'A' if base != 'A' else 'C'}")
    assert result["REGION_CLASS"] == "exon_core" and 0 <= result["PCTL_LLR"] <= 100


def test_percentiles_are_those_of_the_scores_and_of_snvs_only(table_path):
    table = CalibrationTable.load(table_path)
    variants = ["17-43047641-A-C", "17-43045750-G-C", "17-43045767-G-GA", "17-43045760-CA-GG", "17-43125428-G-A"]
    with null_annotator(scores=PERCENTILES, calibration=table_path) as annotator:
        ids = [field.id for field in annotator.run.fields]
        assert ids[-4:] == ["PCTL_KL_CTX", "PCTL_LLR", "REGION_CLASS", "N_FRAC"]
        assert annotator.run.provenance["Calibration"] == table.digest
        results = {str(result.variant): result for result in annotator.score(variants)}
    for name in ("17-43047641-A-C", "17-43045750-G-C", "17-43125428-G-A"):
        for outcome in results[name].contexts:
            values = outcome.values
            place = values["REGION_CLASS"]
            assert place == region_class(outcome.context)
            for score, sign in (("KL_CTX", 1), ("LLR", -1)):
                background = [v / 10_000 for v in table.values[score][place]]
                assert values[f"PCTL_{score}"] == plain(background, round(sign * values[score], 4))
    assert results["17-43047641-A-C"]["REGION_CLASS"] == "canonical"
    assert len(results["17-43125428-G-A"].contexts) == 2  # BRCA1 and NBR2, each in its own class
    for name in ("17-43045767-G-GA", "17-43045760-CA-GG"):
        assert results[name].status == "OK" and results[name]["KL_CTX"] is not None
        assert [results[name][field] for field in ("PCTL_KL_CTX", "PCTL_LLR", "REGION_CLASS")] == [None] * 3


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (("PCTL_LLR",), ["LLR", "PCTL_LLR", "REGION_CLASS", "N_FRAC"]),
        (("KL_SS", "PCTL_KL_CTX"), ["KL_CTX", "KL_SS", "PCTL_KL_CTX", "REGION_CLASS", "N_FRAC"]),
        (("LLR", "PCTL_LLR"), ["LLR", "PCTL_LLR", "REGION_CLASS", "N_FRAC"]),
    ],
)
def test_a_percentile_comes_with_its_score(table_path, asked, shown):
    with null_annotator(scores=asked, calibration=table_path) as annotator:
        assert [field.id for field in annotator.run.fields] == shown
        assert None not in annotator.score("17-43047641-A-C").values.values()


def test_scores_without_percentiles_have_none_and_need_no_table(table_path):
    with null_annotator(scores=("LLR", "KL_SS")) as annotator:
        assert [field.id for field in annotator.run.fields] == ["LLR", "KL_SS", "N_FRAC"]
        assert annotator.run.provenance["Calibration"] == "none"
    with pytest.raises(SettingsError, match="no percentile was asked for"):
        null_annotator(scores=("LLR", "KL_SS"), calibration=table_path)


def test_percentiles_are_there_only_when_asked_for_and_need_a_table(run, tmp_path):
    out = tmp_path / "out.vcf"
    code, _, _ = run("annotate", write_snvs(tmp_path), *NULL, "-O", out)
    assert code == 0
    assert "PCTL" not in out.read_text() and 'Calibration="none"' in out.read_text()
    code, _, err = run("annotate", write_snvs(tmp_path), *NULL, "--scores", "PCTL_LLR")
    assert code == 3 and "splicebert-vep calibrate" in err


def test_the_bundled_table_is_found_by_its_digest(table_path, tmp_path, monkeypatch):
    folder = tmp_path / "bundled" / "null"
    folder.mkdir(parents=True)
    (folder / "other.calibration.json.gz").write_bytes(of_other_scores(table_path.read_bytes()))
    monkeypatch.setattr(percentiles, "_BUNDLED", tmp_path / "bundled")
    with pytest.raises(CalibrationError) as error:
        null_annotator(scores=PERCENTILES)
    assert "of other scores" in error.value.found
    (folder / "this.calibration.json.gz").write_bytes(table_path.read_bytes())
    with null_annotator(scores=PERCENTILES) as annotator:
        assert annotator.percentiles.table.digest == CalibrationTable.load(table_path).digest
    with pytest.raises(CalibrationError) as error:
        Annotator(FASTA, backend="null", settings=Settings(window=400, flank=100, scores=PERCENTILES))
    assert "Window 510 instead of 400" in error.value.found


OURS = ("SpliceBERT_PCTL_KL_CTX", "SpliceBERT_PCTL_LLR", "SpliceBERT_REGION_CLASS")


def percentiles_of(text):
    return {
        tuple(record[i] for i in (1, 3, 4)): tuple(info(record[7]).get(key) for key in OURS) for record in records(text)
    }


def test_every_way_of_running_gives_the_same_percentiles(run, table_path, tmp_path):
    vcf, out, store = write_snvs(tmp_path), tmp_path / "out.vcf", tmp_path / "s.sqlite"
    with_table = [*NULL, *SCORES, "--calibration", table_path]
    assert run("annotate", vcf, *with_table, "-O", out)[0] == 0
    expected = percentiles_of(out.read_text())
    assert len(expected) == 151
    assert sum(None not in values and "." not in values for values in expected.values()) == 150
    classes = {values[2] for values in expected.values()}
    assert {"canonical", "exon_core", "exon_edge", "donor_3_6", "near_intron"} <= classes
    # through the store, filled by a run without percentiles and read twice
    assert run("annotate", vcf, *NULL, "--store", store, "-O", tmp_path / "bare.vcf")[0] == 0
    for _ in range(2):
        code, _, err = run("annotate", vcf, *with_table, "--store", store, "-O", out)
        assert code == 0 and ", 0 scored" in err
        assert percentiles_of(out.read_text()) == expected
    # a precomputed file: of BRCA1's records where it is alone
    code, _, err = run("saturate", "--region", "chr17:43047600-43047699", *with_table, "-O", tmp_path / "sat.vcf.gz")
    assert code == 0, err
    saturated = percentiles_of(gzip.decompress((tmp_path / "sat.vcf.gz").read_bytes()).decode())
    shared = [key for key in expected if key in saturated]
    assert len(shared) == 100
    for key in shared:
        assert saturated[key][2] == expected[key][2]
        assert [float(v) for v in saturated[key][:2]] == pytest.approx([float(v) for v in expected[key][:2]], abs=1e-4)
    # by hand
    variants = [f"17-{pos}-{ref}-{alt}" for pos, ref, alt in shared[:20]]
    code, printed, err = run("score", *variants, *with_table, "--json")
    assert code == 0, err
    for row in json.loads(printed)["rows"]:
        assert row["REGION_CLASS"] == expected[str(row["POS"]), row["REF"], row["ALT"]][2]
        assert row["PCTL_LLR"] == pytest.approx(float(expected[str(row["POS"]), row["REF"], row["ALT"]][1]), abs=1e-4)

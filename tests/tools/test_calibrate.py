"""Calibrated percentiles: region classes, the draw, the table, and the same values whichever way they are asked for."""

import gzip
import json
import random
from collections import Counter
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from scipy.stats import kstest

from factories import FASTA, gene, info, records
from splicebert_vep import Annotator, Settings
from splicebert_vep.errors import CalibrationError, SettingsError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.genome.reference import Reference
from splicebert_vep.provenance import score_digest
from splicebert_vep.scoring import percentiles
from splicebert_vep.scoring.percentiles import REGION_CLASSES, CalibrationTable, region_class, write_table
from splicebert_vep.tools.calibrate import Sampler, calibrate_into, score_random

NULL = ["-R", FASTA, "--backend", "null"]
PERCENTILES = ("zero-shot", "PCTL_LLR", "PCTL_KL_CTX")
SCORES = ("--scores", ",".join(PERCENTILES))
PER_CLASS = 100


# Region classes


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


# The draw

CONTIG = 4500  # nt
# T1 has exons [1000,1200) [2000,2100) [3000,3300) and codes for [2050,3100); T2's first exon ends at 1100.
LAYOUT = {
    "utr": [(1000, 1100), (1102, 1197), (2003, 2050), (3100, 3300)],
    "exon_core": [(2050, 2097), (3003, 3100)],
    "exon_edge": [(1197, 1200), (2000, 2003), (2097, 2100), (3000, 3003)],
    "canonical": [(1100, 1102), (1200, 1202), (1998, 2000), (2100, 2102), (2998, 3000)],
    "donor_3_6": [(1202, 1206), (2102, 2106)],
    "acceptor_3_20": [(1980, 1998), (2980, 2998)],
    "branchpoint_18_44": [(1956, 1980), (2956, 2980)],
    "near_intron": [(1206, 1300), (1900, 1956), (2106, 2200), (2900, 2956)],
    "deep_intron": [(1300, 1900), (2200, 2900)],
}


def gtf(strand):
    """The gene of LAYOUT on + of contig ``plus``, or its mirror image on - of contig ``minus``."""
    rows = []
    for name, exons in (
        ("T1", [(1000, 1200), (2000, 2100), (3000, 3300)]),
        ("T2", [(1000, 1100), (2000, 2100), (3000, 3300)]),
    ):
        parts = [("exon", *exon) for exon in exons]
        if name == "T1":
            parts += [("CDS", 2050, 2100), ("CDS", 3000, 3100)]
        for kind, start, end in [("transcript", 1000, 3300), *parts]:
            low, high = (start, end) if strand == "+" else (CONTIG - end, CONTIG - start)
            contig = "plus" if strand == "+" else "minus"
            about = f'gene_id "{contig}"; transcript_id "{name}{contig}"; gene_biotype "protein_coding";'
            rows.append(f"{contig}\tx\t{kind}\t{low + 1}\t{high}\t.\t{strand}\t.\t{about}")
    return "\n".join(rows) + "\n"


@pytest.fixture
def genome(tmp_path):
    """Annotation and FASTA of the two genes; returns the index of the genes and the reference."""
    rng = random.Random(3)
    fasta, annotation = tmp_path / "two.fa", tmp_path / "two.gtf"
    bases = ["".join(rng.choices("ACGT", k=CONTIG)) for _ in range(2)]
    fasta.write_text(f">plus\n{bases[0]}\n>minus\n{bases[1]}\n>empty\n{'N' * CONTIG}\n")
    annotation.write_text(gtf("+") + gtf("-"))
    with Reference(fasta) as reference:
        yield GeneIndex(load_table(annotation)), reference


def laid_out():
    """Class by (contig, position), read off LAYOUT."""
    found = {}
    for name, ranges in LAYOUT.items():
        for start, end in ranges:
            for position in range(start, end):
                found["plus", position] = found["minus", CONTIG - 1 - position] = name
    return found


def test_an_exhaustive_draw_has_every_snv_once_and_in_its_class(genome):
    drawn = Sampler(*genome, ["plus", "minus"], seed=1).take(dict.fromkeys(REGION_CLASSES, 10**6))
    expected = {
        (contig, position, ref, alt): name
        for (contig, position), name in laid_out().items()
        for ref in genome[1].fetch(contig, position, position + 1).decode()
        for alt in "ACGT"
        if alt != ref
    }
    assert len(expected) == 2 * 3 * (3300 - 1000)
    assert len(drawn) == len(expected)
    alleles = ((one.allele, one.region_class) for one in drawn)
    assert {(a.contig, a.start, a.ref, a.alt): name for a, name in alleles} == expected


def test_a_draw_is_reproducible_and_another_seed_gives_another(genome):
    wanted = dict.fromkeys(REGION_CLASSES, 20)
    first, again, other = (Sampler(*genome, ["plus", "minus"], seed=seed).take(wanted) for seed in (5, 5, 6))
    assert first == again
    assert {one.allele for one in first} != {one.allele for one in other}
    assert Counter(one.region_class for one in first) == wanted


def test_a_draw_goes_on_where_it_ended(genome):
    sampler = Sampler(*genome, ["plus", "minus"], seed=5)
    first, second = sampler.take({"canonical": 30}), sampler.take({"canonical": 20, "utr": 10})
    assert [len(first), len(second)] == [30, 30]
    assert not {one.allele for one in first} & {one.allele for one in second}


def test_places_can_be_left_out(genome):
    first = Sampler(*genome, ["plus", "minus"], seed=1).take({"canonical": 15})
    places = {one.place for one in first}
    rest = Sampler(*genome, ["plus", "minus"], seed=2, without=places).take({"canonical": 10**6})
    assert not places & {one.place for one in rest}
    assert len(rest) == 3 * (2 * 10 - len(places))


def test_positions_and_bases_of_a_class_have_equal_chance(genome):
    order = sorted(place for place, name in laid_out().items() if name == "deep_intron")
    rank = {place: i for i, place in enumerate(order)}
    drawn = Sampler(*genome, ["plus", "minus"], seed=11).take({"deep_intron": 1500})
    at = [(rank[one.place] + 0.5) / len(order) for one in drawn]
    assert kstest(at, "uniform").pvalue > 0.01
    others = Counter("ACGT".replace(one.allele.ref, "").index(one.allele.alt) for one in drawn)
    assert all(abs(count - 500) < 4 * (1500 * 2 / 9) ** 0.5 for count in others.values())


def test_a_genome_too_large_to_go_through_is_drawn_from(genome, monkeypatch):
    monkeypatch.setattr("splicebert_vep.tools.calibrate._MOST", 1000)
    drawn = Sampler(*genome, ["plus", "minus"], seed=1).take(dict.fromkeys(REGION_CLASSES, 10**6))
    alleles = [one.allele for one in drawn]
    assert len(set(alleles)) == len(alleles)
    assert 0.04 < len(alleles) / 13_800 < 0.08  # 1,000 draws: 1 - exp(-1000 / 13800) = .07


def test_contigs_without_genes_or_bases_are_said(genome):
    with pytest.raises(CalibrationError, match="No gene to draw") as error:
        Sampler(*genome, ["empty"], seed=1)
    assert "empty" in error.value.found


def test_snvs_that_cannot_be_scored_are_replaced(tmp_path):
    """N in the second intron: all SNVs within 100 nt of it are N_CONTEXT."""
    bases = "".join(random.Random(3).choices("ACGT", k=CONTIG))
    (tmp_path / "n.fa").write_text(f">plus\n{bases[:2550]}{'N' * 10}{bases[2560:]}\n")
    (tmp_path / "n.gtf").write_text(gtf("+"))
    settings = Settings(scores=("LLR", "KL_CTX"))
    with Annotator(tmp_path / "n.fa", tmp_path / "n.gtf", backend="null", settings=settings) as annotator:
        sampler = Sampler(annotator.genes, annotator.reference, ["plus"], 1)
        first = sampler.take({"deep_intron": 500})
        assert any(2450 <= one.allele.start < 2660 for one in first)
        again = Sampler(annotator.genes, annotator.reference, ["plus"], 1)
        scored = [one for one in score_random(annotator, again, 500) if one.region_class == "deep_intron"]
    assert len({one.allele for one in scored}) == 500
    assert not any(2450 <= one.allele.start < 2660 for one in scored)


# The table


@pytest.fixture(scope="module")
def table_path(session_cache, tmp_path_factory):  # noqa: F811
    path = tmp_path_factory.mktemp("table") / "null.calibration.json.gz"
    with opened() as annotator:
        counts = calibrate_into(path, annotator, per_class=PER_CLASS, seed=4)
    assert counts == dict.fromkeys(REGION_CLASSES, PER_CLASS)
    return path


def opened(*, scores=("LLR", "KL_CTX"), **options):
    return Annotator(FASTA, backend="null", settings=Settings(scores=scores), **options)


def test_the_table_holds_what_annotate_scores(table_path):
    """The same SNVs, scored in all of their genes as annotate does; scores are compared to four decimals."""
    table = CalibrationTable.load(table_path)
    assert table.about["seed"] == 4 and table.about["contigs"] == ["chr17"]
    with opened() as annotator:
        sampler = Sampler(annotator.genes, annotator.reference, ["chr17"], 4)
        drawn = sampler.take(dict.fromkeys(REGION_CLASSES, PER_CLASS))
        variants = [(one.allele.contig, one.allele.start + 1, one.allele.ref, one.allele.alt) for one in drawn]
        found = {score: {name: [] for name in REGION_CLASSES} for score in ("KL_CTX", "LLR")}
        for one, result in zip(drawn, annotator.score(variants), strict=True):
            [outcome] = [o for o in result.contexts if o.context.gene_id == one.context.gene_id]
            for score, sign in (("KL_CTX", 1), ("LLR", -1)):
                found[score][one.region_class].append(sign * outcome.values[score])
        assert table.score_digest == annotator.run.provenance["ScoreDigest"]
    for score, by_class in found.items():
        for name, values in by_class.items():
            assert [v / 10_000 for v in table.values[score][name]] == pytest.approx(sorted(values), abs=1e-4)


def written(path, values, **changes):
    columns = {name: values for name in REGION_CLASSES}
    with opened() as annotator:
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
        lambda data: b"",
        lambda data: b"not a table",
        lambda data: data[:-20],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: gzip.compress(b"[]"),
        lambda data: gzip.compress(b"{}"),
        lambda data: changed(data, format=2),
        lambda data: changed(data, values={}),
        lambda data: changed(data, values={s: dict.fromkeys(REGION_CLASSES, [2, 1]) for s in ("KL_CTX", "LLR")}),
        lambda data: changed(data, values={s: dict.fromkeys(REGION_CLASSES, []) for s in ("KL_CTX", "LLR")}),
        lambda data: changed(data, values={s: dict.fromkeys(REGION_CLASSES, [0.5]) for s in ("KL_CTX", "LLR")}),
        lambda data: changed(data, scored_by={}),
        lambda data: changed(data, score_digest="d77f17d6146d" + "0" * 52),
        lambda data: gzip.compress(b"[" * 200_000),
    ],
)
def test_a_damaged_table_is_refused(table_path, tmp_path, damage):
    path = tmp_path / "damaged.gz"
    path.write_bytes(damage(table_path.read_bytes()))
    with pytest.raises(CalibrationError, match="cannot be read") as error:
        CalibrationTable.load(path)
    assert error.value.where == str(path)


def test_a_table_that_is_not_there_is_said():
    with pytest.raises(CalibrationError, match="No such file"):
        CalibrationTable.load("nowhere.gz")


# In a run


@pytest.mark.parametrize(
    ("settings", "differs"),
    [
        (Settings(window=400, flank=100, scores=PERCENTILES), "Window 510 instead of 400"),
        (Settings(window=510, flank=90, scores=PERCENTILES), "Flank 100 instead of 90"),
    ],
)
def test_a_table_of_other_scores_is_refused(table_path, settings, differs):
    with pytest.raises(CalibrationError, match="of other scores") as error:
        Annotator(FASTA, backend="null", settings=settings, calibration=table_path)
    assert differs in error.value.found and "score digest" in error.value.needed
    assert "splicebert-vep calibrate" in error.value.remedy and error.value.where == str(table_path)


def test_a_table_of_another_model_is_refused(tmp_path, table_path):
    path = tmp_path / "other.gz"
    path.write_bytes(of_other_scores(table_path.read_bytes()))
    with pytest.raises(CalibrationError, match="of other scores"):
        opened(scores=PERCENTILES, calibration=path)


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
    with opened(scores=PERCENTILES, calibration=table_path) as annotator:
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
    with opened(scores=asked, calibration=table_path) as annotator:
        assert [field.id for field in annotator.run.fields] == shown
        assert None not in annotator.score("17-43047641-A-C").values.values()


def test_scores_without_percentiles_have_none_and_need_no_table(table_path):
    with opened(scores=("LLR", "KL_SS")) as annotator:
        assert [field.id for field in annotator.run.fields] == ["LLR", "KL_SS", "N_FRAC"]
        assert annotator.run.provenance["Calibration"] == "none"
    with pytest.raises(SettingsError, match="no percentile was asked for"):
        opened(scores=("LLR", "KL_SS"), calibration=table_path)


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
        opened(scores=PERCENTILES)
    assert "of other scores" in error.value.found
    (folder / "this.calibration.json.gz").write_bytes(table_path.read_bytes())
    with opened(scores=PERCENTILES) as annotator:
        assert annotator.percentiles.table.digest == CalibrationTable.load(table_path).digest
    with pytest.raises(CalibrationError) as error:
        Annotator(FASTA, backend="null", settings=Settings(window=400, flank=100, scores=PERCENTILES))
    assert "Window 510 instead of 400" in error.value.found


OURS = ("SpliceBERT_PCTL_KL_CTX", "SpliceBERT_PCTL_LLR", "SpliceBERT_REGION_CLASS")


def write_snvs(tmp_path):
    """150 bases around a donor of BRCA1 and where it overlaps NBR2, with an insertion."""
    path = tmp_path / "in.vcf"
    with Reference(FASTA) as reference:
        places = [*range(43_047_600, 43_047_700), *range(43_125_390, 43_125_440)]
        bases = [reference.fetch("chr17", pos - 1, pos).decode() for pos in places]
    lines = [f"17\t{pos}\t.\t{ref}\t{'AC'[ref == 'A']}\t.\t.\t." for pos, ref in zip(places, bases, strict=True)]
    lines.append(f"17\t43125439\t.\t{bases[-1]}\t{bases[-1]}GG\t.\t.\t.")
    path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "\n".join(lines) + "\n")
    return path


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
    # a cohort, whose table has them too
    (tmp_path / "manifest.tsv").write_text(f"{vcf}\ts\n")
    code, _, err = run("cohort", "run", tmp_path / "manifest.tsv", *with_table, "-O", tmp_path / "cohort")
    assert code == 0, err
    text = gzip.decompress((tmp_path / "cohort" / "annotated" / "s.vcf.gz").read_bytes()).decode()
    assert percentiles_of(text) == expected
    rows = pq.read_table(tmp_path / "cohort" / "cohort.parquet").to_pylist()
    first = {(str(row["POS"]), row["REF"], row["ALT"]): row for row in rows if row["SYMBOL"] == "BRCA1"}
    for key, (_, pctl, name) in expected.items():
        if name is not None and key in first and first[key]["REGION_CLASS"] == name:
            assert f"{first[key]['PCTL_LLR']:.4f}".rstrip("0").rstrip(".") == pctl.rstrip("0").rstrip(".")
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


# The command


def test_calibrate_writes_a_table_that_annotate_takes(run, tmp_path, table_path):
    path = tmp_path / "mine.calibration.json.gz"
    code, out, err = run("calibrate", *NULL, "--contigs", "17", "--per-class", PER_CLASS, "--seed", 4, "-o", path)
    assert code == 0 and out == ""
    assert "900 random SNVs" in err
    assert path.read_bytes() == table_path.read_bytes()
    options = [*NULL, *SCORES, "--calibration", path]
    assert run("annotate", write_snvs(tmp_path), *options, "-O", tmp_path / "out.vcf")[0] == 0


def test_calibrate_names_the_classes_that_lack_snvs(run, tmp_path):
    fasta, annotation = tmp_path / "two.fa", tmp_path / "two.gtf"
    bases = "".join(random.Random(3).choices("ACGT", k=CONTIG))
    fasta.write_text(f">plus\n{bases}\n")
    annotation.write_text(gtf("+"))
    path = tmp_path / "t.gz"
    code, _, err = run("calibrate", "-R", fasta, "-A", annotation, "--backend", "null", "-o", path)
    assert code == 3
    assert "exon_edge 36, canonical 30, donor_3_6 24" in err and "at least 100" in err
    assert not path.exists()


def test_no_output_replaces_what_is_read(run, table_path, tmp_path):
    table, annotation = tmp_path / "t.calibration.json.gz", tmp_path / "two.gtf"
    table.write_bytes(table_path.read_bytes())
    annotation.write_text(gtf("+"))
    before = table.read_bytes(), annotation.read_bytes()
    vcf = write_snvs(tmp_path)
    (tmp_path / "link").symlink_to(table)
    with_table = ["annotate", vcf, *NULL, "--calibration", table]
    for command in (
        [*with_table, "-O", table],
        [*with_table, "--emit", f"tsv={tmp_path / 'link'}"],
        [*with_table, "-O", tmp_path / "out.vcf", "--summary", table],
        ["annotate", vcf, *NULL, "-A", annotation, "-O", annotation],
        ["calibrate", *NULL, "-A", annotation, "-o", annotation],
    ):
        code, _, err = run(*command)
        assert code == 3 and "would replace" in err
    assert (table.read_bytes(), annotation.read_bytes()) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--contigs", "chr99", "-o", "t.gz"], 3, "no such contig"),
        (["--per-class", "99", "-o", "t.gz"], 2, "99 is not in the range"),
        (["-o", "nowhere/t.gz"], 5, "could not be written"),
        (["-o", "-"], 5, "could not be written"),
    ],
)
def test_calibrate_refuses_before_it_scores(run, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    got, _, err = run("calibrate", *NULL, *arguments)
    assert got == code and message in err

"""The calibration table: the draw of random SNVs, their scores, and the command."""

import random
from collections import Counter

import pytest
from scipy.stats import kstest

from factories import FASTA, PER_CLASS, null_annotator, write_snvs
from splicebert_vep import Annotator, Settings
from splicebert_vep.errors import CalibrationError
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.genome.gene_index import GeneIndex
from splicebert_vep.genome.reference import Reference
from splicebert_vep.scoring.percentiles import REGION_CLASSES, CalibrationTable
from splicebert_vep.tools.calibrate import Sampler, score_random

NULL = ["-R", FASTA, "--backend", "null"]
PERCENTILES = ("zero-shot", "PCTL_LLR", "PCTL_KL_CTX")
SCORES = ("--scores", ",".join(PERCENTILES))


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


def test_a_draw_is_reproducible_goes_on_where_it_ended_and_leaves_places_out(genome):
    wanted = dict.fromkeys(REGION_CLASSES, 20)
    first, again, other = (Sampler(*genome, ["plus", "minus"], seed=seed).take(wanted) for seed in (5, 5, 6))
    assert first == again
    assert {one.allele for one in first} != {one.allele for one in other}
    assert Counter(one.region_class for one in first) == wanted
    sampler = Sampler(*genome, ["plus", "minus"], seed=5)
    first, second = sampler.take({"canonical": 30}), sampler.take({"canonical": 20, "utr": 10})
    assert [len(first), len(second)] == [30, 30]
    assert not {one.allele for one in first} & {one.allele for one in second}
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


def test_the_table_holds_what_annotate_scores(table_path):
    """The same SNVs, scored in all of their genes as annotate does; scores are compared to four decimals."""
    table = CalibrationTable.load(table_path)
    assert table.about["seed"] == 4 and table.about["contigs"] == ["chr17"]
    with null_annotator() as annotator:
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

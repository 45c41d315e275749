"""The page about an annotated file: what it holds, that text of the file stays text, and what it refuses."""

import base64
import hashlib
import json
import re

import pytest

from factories import EXAMPLES, FASTA, PROVENANCE, SPLICEAI_FIELDS, maker, scored, scored_info, write_scored
from splicebert_vep.genome.gene_build import load_table
from splicebert_vep.tools.report.collect import STATUSES, AnnotatedVcf, Row, collect, place_of
from splicebert_vep_spec import Status

ANNOTATED = EXAMPLES / "brca1.expected.vcf"


@pytest.fixture
def page(run, tmp_path):
    return maker(run, tmp_path / "page.html")


def test_the_example_is_counted_as_its_run_counted_it(page):
    made = page(ANNOTATED)
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", made.text.split("</style>")[1]))
    assert "45 ALT alleles in 1 gene" in words and "1 without scores" in words
    assert "46 records, 45 ALT alleles" in words
    for status, count in (("OK", 44), ("NO_ALT", 1), ("TOO_LONG", 1)):
        assert re.search(rf"\b{status} {count} ", words)
    assert "Hidden bases of held-out genes are recovered" in words  # the model's measured quality
    assert "no PP3 or BP4 threshold" in words
    assert "57a58704d2cd1633385f815d61b5cb614343ae116f90e63d8c8f7832884c3433" in words  # the weights


def test_rows_are_sorted_by_the_score_and_print_what_the_file_prints(page):
    made = page(ANNOTATED, "--by", "KL_CTX")
    expected = {}
    for line in ANNOTATED.read_text().splitlines():
        if not line.startswith("#"):
            chrom, pos, _, ref, alt, _, _, text = line.split("\t")
            value = re.search(r"SpliceBERT_KL_CTX=([^;]+)", text)
            if value:
                expected[f"{chrom}-{pos}", len(ref), len(alt)] = value[1]
    column = made.headings.index("KL_CTX")
    shown = [row[column] for row in made.table]
    assert shown[:44] == sorted(expected.values(), key=float, reverse=True)
    assert shown[44] == ""
    assert made.table[44][2].startswith("TOO_LONG")


def test_nothing_is_fetched_and_only_our_own_script_runs(page):
    made = page(ANNOTATED)
    assert len(made.tags("script")) == len(made.tags("style")) == 1
    linked = [(tag, a[key]) for tag, a in made.elements for key in ("src", "href", "action", "data") if key in a]
    fetched = [target for tag, target in linked if tag != "a" and not target.startswith("data:")]
    assert fetched == []
    places = "https://(www.ncbi.nlm.nih.gov/clinvar|gnomad.broadinstitute.org|genome.ucsc.edu)/"
    assert all(re.match(f"#|{places}", target) for tag, target in linked if tag == "a")
    assert all("noreferrer" in a["rel"] for a in made.tags("a") if a["href"].startswith("https"))
    [policy] = [a["content"] for a in made.tags("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(made.inline(name).encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "url(" not in made.inline("style") and "@import" not in made.inline("style")


FOREIGN = (
    '##INFO=<ID=CLNSIG,Number=.,Type=String,Description="x">',
    '##INFO=<ID=gnomAD_AF,Number=A,Type=Float,Description="x">',
)
HUMAN = "##contig=<ID=7,length=159345973>"  # of GRCh38


def test_text_of_the_file_stays_text(page, tmp_path):
    bad = "<script>alert(1)</script>\"onload='x'&amp;{{7*7}}</title>"
    hostile = bad.replace(" ", "_")
    source = write_scored(
        tmp_path / "<b>x.vcf",
        [
            f"{hostile} 7 {hostile} A C "
            + scored(-8, SYMBOL=hostile, REGION=hostile, TRANSCRIPT=hostile, EFFECT=hostile, HGVSC=hostile)
            + f";SpliceBERT_DS_MAX=0.5;SpliceBERT_EFFECT_TEXT={hostile};CLNSIG={hostile};gnomAD_AF={hostile}"
        ],
        fields={"DS_MAX": "Float", **dict.fromkeys(("EFFECT", "EFFECT_TEXT", "HGVSC"), "String")},
        extra=(PROVENANCE.replace("mine", bad.replace('"', "")), *FOREIGN, HUMAN),
    )
    made = page(source)
    assert "ClinVar" in made.headings and "gnomAD" in made.headings
    assert all("<" not in a["id"] for _, a in made.elements if "id" in a)
    assert len(made.tags("script")) == 1
    assert not [a for a in made.tags("b") if a.get("class") not in (None, "acceptor", "donor")]
    assert "<b>x" not in made.text
    assert not [a for _, a in made.elements if "onload" in a]
    assert "<script>alert" not in made.text
    assert "49" not in made.table[0][0]
    assert made.table[0][0] == f"{hostile}-7-A-C"


def test_what_hits_a_site_what_spliceai_finds_and_what_has_no_score_is_always_shown(page, tmp_path):
    source = write_scored(
        tmp_path / "in.vcf",
        [
            "1 1 . A C " + scored(-3),
            "1 2 . A C " + scored(-12, SITE_HIT="donor", REGION="intron", SITE_OFFSET="+1"),
            "1 3 . A C " + scored(-12, SpliceAI_DS_MAX=0.9, SpliceAI_DS_DG=0.9, SpliceAI_DP_DG=-5),
            "1 4 . A <DEL> " + scored_info(STATUS="SYMBOLIC"),
            "1 5 . A C " + scored(-12, SpliceAI_STATUS="NO_RECORD"),
            "1 6 . A C .",
            "1 7 . A . .",
        ],
        fields=SPLICEAI_FIELDS,
    )
    made = page(source, "--top", "1")
    assert [row[0] for row in made.table] == ["1-1-A-C", "1-2-A-C", "1-3-A-C", "1-4-A-<DEL>"]
    assert "the 1 of 4 that are first by KL_SS" in made.text and "the first 1 of 2 without scores" in made.text
    assert "The record has no SpliceBERT fields" in made.text
    made = page(source)
    column = made.headings.index("SpliceAI")
    shown = {row[0]: row[column] for row in made.table}
    assert (shown["1-3-A-C"], shown["1-5-A-C"]) == ("0.9", "NO_RECORD")
    assert "DG 0.90 (-5)" in made.text
    [unknown] = [row for row in made.table if row[0] == "1-6-A-C"]
    assert unknown[2].startswith("NOT_ANNOTATED")


def test_an_allele_in_several_genes_has_a_row_for_each_from_vep_style_entries(tmp_path):
    form = "ALLELE|SYMBOL|GENE|REGION|SITE_OFFSET|SITE_HIT|KL_CTX|STATUS"
    header = (f'##INFO=<ID=SpliceBERT,Number=.,Type=String,Description="scores. Format: {form}">',)
    entries = "SpliceBERT=C|G1|E1|CDS|5||-9.0|OK,C|G2|E2|intron|+30||-7.0|OK,T|G1|E1|CDS|5|||OK"
    both = "SpliceBERT_KL_CTX=-9.0,.;SpliceBERT_EXTRA=1.5,2.5;SpliceBERT_GENE=E1,E1;SpliceBERT_STATUS=OK,OK"
    path = write_scored(tmp_path / "in.vcf", [f"1 1 . A C,T {entries};{both}"], fields={"EXTRA": "Float"}, extra=header)
    with AnnotatedVcf(str(path)) as vcf:
        [record] = vcf.records()
    assert [[(r.alt, r.fields["GENE"], r.fields.get("KL_CTX"), r.fields.get("EXTRA")) for r in a] for a in record] == [
        [("C", "E1", "-9.0", "1.5"), ("C", "E2", "-7.0", None)],
        [("T", "E1", None, "2.5")],
    ]
    with AnnotatedVcf(str(path)) as vcf:
        found = collect(vcf, "KL_CTX", 10)
    assert (found.alleles, found.genes) == (2, {"G1": 2, "G2": 1})
    assert [row.fields["GENE"] for row in found.top] == ["E2", "E1"]


@pytest.mark.parametrize("field", ["STATUS", "SITE_OFFSET", "CLNSIG"])
def test_a_field_that_is_not_numeric_sorts_no_page(run, tmp_path, field):
    code, _, err = run("report", ANNOTATED, "-o", tmp_path / "x.html", "--by", field)
    assert code == 3
    assert f"no numeric field {field}" in err
    assert "KL_CTX" in err and "N_FRAC" in err and "SITE_HIT" not in err
    assert not (tmp_path / "x.html").exists()


MINE = '##INFO=<ID=SpliceBERT_MINE,Number=A,Type=Float,Description="A plugin\'s score; higher = more disturbed">'


@pytest.mark.parametrize(
    ("by", "values", "order", "sort"),
    [
        (["--by", "LLR"], (-1, -4, 2), ["-4", "-1", "2"], "ascending"),
        (["--by", "MINE"], (1, 2), ["2", "1"], "descending"),
        ([], (0.1, 0.3), ["0.3", "0.1"], "descending"),  # KL_SS where the file has it
        (["--by", "SpliceAI_DS_MAX"], (0.1, 0.3, 0.2), ["0.3", "0.2", "0.1"], "descending"),
        (["--by", "NGENES"], (1, 3, 2), ["3", "2", "1"], "descending"),  # a number without a direction
    ],
)
def test_the_chosen_score_sorts_the_rows_the_most_disturbed_first(page, tmp_path, by, values, order, sort):
    name = by[-1] if by else "KL_SS"
    records = [f"1 {i} . A C " + scored(-i, **{name: value}) for i, value in enumerate(values, 1)]
    made = page(write_scored(tmp_path / "in.vcf", records, fields=SPLICEAI_FIELDS, extra=(MINE,)), *by)
    column = made.headings.index({"SpliceAI_DS_MAX": "SpliceAI"}.get(name, name))
    assert [row[column] for row in made.table] == order
    assert [a["aria-sort"] for a in made.tags("th") if "aria-sort" in a] == [sort]


def test_a_file_without_kl_ss_is_sorted_by_kl_ctx(page, tmp_path):
    records = ["1 1 . A C " + scored(-9, KL_SS=None), "1 2 . A C " + scored(-3, KL_SS=None)]
    source = write_scored(tmp_path / "in.vcf", records)
    source.write_text(re.sub("##INFO=<ID=SpliceBERT_KL_SS,.*\n", "", source.read_text()))
    made = page(source)
    assert [row[made.headings.index("KL_CTX")] for row in made.table] == ["-3", "-9"]


def test_places_and_types_of_alleles(page, tmp_path):
    records = [
        "1 1 . A C " + scored(-3, SITE_OFFSET=2),
        "1 1 . A * " + scored_info(STATUS="SPANNING_DELETION"),
        "1 2 . AC A " + scored(-4, REGION="intron", SITE_OFFSET="-12"),
        "1 3 . a t " + scored(-5, SITE_OFFSET=None),
    ]
    made = page(write_scored(tmp_path / "in.vcf", records), "--by", "KL_CTX")
    attributes = [a for a in made.tags("tr") if "data-type" in a]
    assert [(row[0], a["data-type"]) for row, a in zip(made.table, attributes, strict=True)] == [
        ("1-1-A-C", "SNV"), ("1-2-AC-A", "other"), ("1-3-a-t", "SNV"), ("1-1-A-*", "other"),
    ]  # fmt: skip
    for words in ("CDS, base 2 from the site", "intron -12"):  # not "CDS 2", which reads as the number of an exon
        assert f"<small>{words}</small>" in made.text


def test_runs_that_differ_in_what_moves_no_score_are_all_named(page, tmp_path):
    other = PROVENANCE.replace("x.fa", "y.fa")
    made = page(write_scored(tmp_path / "in.vcf", ["1 1 . A C " + scored(-3)], extra=(other,)))
    assert re.search("<th[^>]*>Reference</th><td[^>]*>y.fa; x.fa</td>", made.text)
    assert re.search("<th[^>]*>Model</th><td[^>]*>mine</td>", made.text)


def test_a_file_without_records_has_a_page_that_does_not_say_that_scores_are_not_in_it(page, tmp_path):
    made = page(write_scored(tmp_path / "in.vcf", []))
    assert made.rows == []
    assert "No allele has a score that is shown here (DS_MAX, KL_CTX, KL_SS, LLR)." in made.text


def test_rows_beyond_the_top_ones_are_sorted_too(page, tmp_path):
    site = {"SITE_HIT": "donor", "REGION": "intron", "SITE_OFFSET": "+1"}
    source = write_scored(
        tmp_path / "in.vcf",
        [
            "1 1 . A C " + scored(-9, **site),
            "1 2 . A C " + scored(None, **site),
            "1 3 . A <DEL> " + scored_info(STATUS="SYMBOLIC"),
            "1 4 . A C " + scored(-5, SpliceAI_DS_MAX=0.9),
            "1 5 . A C " + scored(-3),
            "1 6 . A C " + scored(-8, **site),
            "1 7 . A C " + scored(-7),
        ],
        fields=SPLICEAI_FIELDS,
    )
    made = page(source, "--by", "KL_CTX", "--top", "3")
    column = made.headings.index("KL_CTX")
    assert [row[column] for row in made.table] == ["-3", "-5", "-7", "-8", "-9", "", ""]


def test_fifteen_thousand_variants_make_less_than_five_megabytes(run, tmp_path):
    records = [f"1 {i} rs{i} A C " + scored(-12 + i % 997 / 100, SITE_OFFSET=i % 300) for i in range(1, 15001)]
    records[::40] = [record + ";SpliceBERT_SITE_HIT=donor" for record in records[::40]]
    records[::41] = [f"1 {i} . A <DEL> " + scored_info(STATUS="SYMBOLIC") for i in range(1, 15001, 41)]
    source = write_scored(tmp_path / "in.vcf", records)
    assert run("report", source, "-o", tmp_path / "page.html")[0] == 0
    assert (tmp_path / "page.html").stat().st_size < 5e6


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"REGION": "intron", "SITE_OFFSET": "+1", "SITE_HIT": "donor"}, "splice-site dinucleotide"),
        ({"REGION": "CDS", "SITE_OFFSET": "3", "SITE_HIT": "acceptor"}, "splice-site dinucleotide"),
        ({"REGION": "intron", "SITE_OFFSET": "-100"}, "near intron, to 100 nt"),
        ({"REGION": "intron", "SITE_OFFSET": "+101"}, "deep intron, beyond 100 nt"),
        ({"REGION": "intron"}, "intron, beside a transcript's end"),
        ({"REGION": "CDS", "SITE_OFFSET": "1"}, "exon"),
        ({"REGION": "5_prime_UTR", "SITE_OFFSET": "1"}, "untranslated region"),
        ({}, None),
    ],
)
def test_places(fields, place):
    assert place_of(Row("1", 1, ".", "A", "C", fields, ""), classed=False) == place


def test_region_classes_of_the_file_come_first(page, tmp_path):
    records = ["1 1 . A C " + scored(-3, REGION_CLASS="donor_3_6"), "1 2 . AC A " + scored(-4)]
    made = page(write_scored(tmp_path / "in.vcf", records, fields={"REGION_CLASS": "String"}))
    assert [a["data-place"] for a in made.tags("tr") if "data-place" in a] == ["donor +3 to +6", "no region class"]
    assert "Only SNVs have a region class" in made.text


def test_every_status_has_its_sentence():
    assert set(Status) <= set(STATUSES)


HEAD = "##fileformat=VCFv4.2\n{}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n{}"
STATUS = '##INFO=<ID=SpliceBERT_STATUS,Number=A,Type=String,Description="x">\n'
BY = '##INFO=<ID=SpliceBERT_KL_CTX,Number=A,Type=Float,Description="x">\n'
CSQ = '##INFO=<ID=CSQ,Number=.,Type=String,Description="x. Format: Allele|Gene|SpliceBERT_pred_LLR">\n'
NUMBER = "1\t1\t.\tA\tC\t.\t.\tSpliceBERT_STATUS=OK;SpliceBERT_KL_CTX={}\n"


def calibrated(digest):
    return PROVENANCE.replace('Window="510"', f'Window="510",Calibration="{digest}"')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEAD.format("", ""), "does not say how it was annotated"),
        (HEAD.format(f"{PROVENANCE}\n", ""), "no SpliceBERT annotation"),
        (HEAD.format(f"{CSQ}{PROVENANCE}\n", ""), "--emit flat"),
        (HEAD.format(f"{STATUS}{PROVENANCE}\n{PROVENANCE.replace('abc', 'xyz')}\n", ""), "scores of several runs"),
        (HEAD.format(f"{STATUS}{PROVENANCE}\n{PROVENANCE.replace('a1', 'a2')}\n", ""), "one gene annotation"),
        (HEAD.format(f"{STATUS}{BY}{calibrated('c1')}\n{calibrated('c2')}\n", ""), "one calibration table"),
        (HEAD.format(f"{STATUS}{BY}{calibrated('c1')}\n{PROVENANCE}\n", ""), None),
        (HEAD.format(f"{STATUS}{BY}{PROVENANCE}\n", "1\t1\t.\tA\tC,T\t.\t.\tSpliceBERT_STATUS=OK\n"), "each ALT"),
        *[(HEAD.format(f"{STATUS}{BY}{PROVENANCE}\n", NUMBER.format(no)), "not a number") for no in ("high", "nan")],
    ],
)
def test_files_that_make_no_page_say_why(run, tmp_path, text, problem):
    (tmp_path / "in.vcf").write_text(text)
    code, _, err = run("report", tmp_path / "in.vcf", "-o", tmp_path / "page.html")
    if problem is None:
        assert code == 0, err
        return
    assert code == 3
    assert problem in err and str(tmp_path / "in.vcf") in err
    assert not (tmp_path / "page.html").exists()


def test_usage_errors(run, tmp_path):
    assert run("report", ANNOTATED)[0] == 2
    assert run("report", "-", "--multiqc", tmp_path)[0] == 2
    assert run("report", ANNOTATED, "-o", ANNOTATED)[0] == 3
    genes = tmp_path / "mine.gtf"
    genes.touch()
    assert run("report", ANNOTATED, "-R", FASTA, "-A", genes, "-o", genes)[0] == 3
    code, _, err = run("report", ANNOTATED, "--multiqc", tmp_path / "qc", "--sample", "../S1")
    assert code == 2
    assert "part of a file name" in err
    assert sorted(tmp_path.iterdir()) == [genes]
    code, _, err = run("report", ANNOTATED, "-o", tmp_path / "x.html", "--by", "KL_CTY")
    assert code == 3
    assert "did you mean KL_CTX?" in err


def drawings(made, word):
    """Return the texts of the drawings whose words for readers have a word."""
    sources = [a["src"] for a in made.tags("img") if word in a["alt"]]
    return [base64.b64decode(source.partition("base64,")[2]).decode() for source in sources]


def test_cards_are_of_the_model_and_the_scores_of_the_file(run, page, tmp_path):
    made = page(ANNOTATED, "-R", FASTA, "--by", "KL_SS", "--cards", "2")
    first, second = drawings(made, "sequence logos")
    top = made.table[0]
    assert f"KL_SS {top[made.headings.index('KL_SS')]}" in first  # to the last digit that of the table
    assert top[0] in first and made.table[1][0] in second
    assert len(made.tags("article")) == 2
    assert [a["href"] for a in made.tags("a") if a["href"].startswith("#card-")][:2] == ["#card-1", "#card-2"]


def test_a_picture_has_the_file_s_own_number_where_another_processor_gives_another_last_digit(page, tmp_path):
    top = max(re.findall(r";SpliceBERT_KL_SS=([^;]+)", ANNOTATED.read_text()), key=float)
    near = f"{float(top) + 0.0002:.4f}"
    (tmp_path / "in.vcf").write_text(ANNOTATED.read_text().replace(f"KL_SS={top};", f"KL_SS={near};"))
    made = page(tmp_path / "in.vcf", "-R", FASTA, "--by", "KL_SS", "--cards", "1")
    [drawing] = drawings(made, "sequence logos")
    assert f"KL_SS {near}" in drawing and f"KL_SS {top}" not in drawing


def test_pictures_of_another_model_or_reference_are_refused(run, tmp_path):
    target = tmp_path / "page.html"
    code, _, err = run("report", ANNOTATED, "-R", FASTA, "-o", target, "--backend", "null")
    assert code == 3
    assert "not be of the model" in err and "--model" in err
    changed = ANNOTATED.read_text().replace("SpliceBERT_KL_CTX=-", "SpliceBERT_KL_CTX=-1")
    (tmp_path / "changed.vcf").write_text(changed)
    code, _, err = run("report", tmp_path / "changed.vcf", "-R", FASTA, "-o", target)
    assert code == 3
    assert "come out otherwise than in the file" in err
    (tmp_path / "unknown.vcf").write_text(ANNOTATED.read_text().replace('Window="510",', ""))
    code, _, err = run("report", tmp_path / "unknown.vcf", "-R", FASTA, "-o", target)
    assert (code, "with which windows" in err) == (3, True), err
    assert not target.exists()


def test_a_file_without_a_score_that_a_picture_has_is_drawn_from_its_own_reference_only(run, page, tmp_path):
    kept = r"(?!EMB_COS|GENE|STATUS|provenance)\w+"
    text = re.sub(rf"##INFO=<ID=SpliceBERT_{kept},.*\n", "", ANNOTATED.read_text())
    (tmp_path / "in.vcf").write_text(re.sub(rf"SpliceBERT_{kept}=[^;\s]*;", "", text))
    arguments = ("-R", FASTA, "--by", "EMB_COS", "--cards", "1")
    assert len(drawings(page(tmp_path / "in.vcf", *arguments), "sequence logos")) == 1
    changed = (tmp_path / "in.vcf").read_text().replace('ReferenceSHA256="', 'ReferenceSHA256="0')
    (tmp_path / "other.vcf").write_text(changed)
    code, _, err = run("report", tmp_path / "other.vcf", "-o", tmp_path / "x.html", *arguments)
    assert code == 3
    assert "ReferenceSHA256 0" in err and "give -R as for the run" in err


#: BRCA1's exon 22 is 17:43047643-43047703 (ENST00000357654.9, on -): 61 nt between the exons 21 and 23.
SKIPPED = (
    "17 43047641 . A C SpliceBERT_STATUS=OK;SpliceBERT_DS_MAX=0.97;SpliceBERT_DS_DL=0.97;SpliceBERT_DP_DL=2;"
    "SpliceBERT_SYMBOL=BRCA1;SpliceBERT_GENE=ENSG00000012048.26;SpliceBERT_TRANSCRIPT=ENST00000357654.9;"
    "SpliceBERT_EFFECT=exon_skipping;SpliceBERT_EFFECT_SIZE=-61;SpliceBERT_HGVSR=r.5407_5467del;"
    "SpliceBERT_EFFECT_SITES=donor:43047643:reported:0.99>0.02;"
    "SpliceBERT_EFFECT_TEXT=Donor_of_exon_22_lost_(.99_to_.02):_exon_22_skipped_(61_nt)&_frameshift"
)
DELTA_FIELDS = {
    **dict.fromkeys(("DS_MAX", "DS_DL"), "Float"), **dict.fromkeys(("DP_DL", "EFFECT_SIZE"), "Integer"),
    **dict.fromkeys(("EFFECT", "EFFECT_SITES", "EFFECT_TEXT", "HGVSR", "LOSS_JUDGED"), "String"),
}  # fmt: skip


def built_in():
    digest = load_table("grch38").digest
    return re.sub('Annotation="[^"]*",AnnotationDigest="[^"]*"', f'Annotation="grch38",AnnotationDigest="{digest}"',
                  PROVENANCE)  # fmt: skip


def test_the_answer_comes_first_with_the_transcript_and_what_is_not_judgeable_is_counted(page, tmp_path):
    records = [
        "17 43047000 . A C SpliceBERT_STATUS=OK;SpliceBERT_DS_MAX=0.01;SpliceBERT_LOSS_JUDGED=NOT_JUDGEABLE",
        "17 43047001 . A C SpliceBERT_STATUS=OK;SpliceBERT_KL_CTX=-9",  # scored, but without delta scores
        SKIPPED,
        "17 43047002 . A <DEL> SpliceBERT_STATUS=SYMBOLIC",
    ]
    source = write_scored(tmp_path / "in.vcf", records, fields=DELTA_FIELDS)
    source.write_text(source.read_text().replace(PROVENANCE, built_in()))
    made = page(source)
    assert [row[0] for row in made.table] == [
        "17-43047641-A-C", "17-43047000-A-C", "17-43047001-A-C", "17-43047002-A-<DEL>",
    ]  # fmt: skip
    says = made.headings.index("What it does")
    assert made.table[0][says] == "Donor of exon 22 lost (.99 to .02): exon 22 skipped (61 nt), frameshift"
    assert made.table[1][says].startswith("not judgeable")
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", made.text))
    assert "1 at or above DS_MAX 0.2, 1 not judgeable, 1 without scores." in words
    [drawing] = drawings(made, "predicted transcript")
    assert {"21", "22", "23", "61 nt", "predicted", ".99 to .02"} <= set(re.findall(r">([^<>]+)</text>", drawing))
    assert "r.5407_5467del" in made.text
    assert "chrpos38" not in made.text or "43047641" in made.text


def test_clinvar_frequency_genotypes_and_links_are_those_of_the_allele(page, tmp_path):
    form = "Allele|Gene|gnomADg_AF|ZYG"
    extra = (
        '##INFO=<ID=CLNSIG,Number=.,Type=String,Description="x">',
        f'##INFO=<ID=CSQ,Number=.,Type=String,Description="Consequence annotations from Ensembl VEP. Format: {form}">',
        HUMAN.replace("7,length=159345973", "17,length=83257441"),
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="x">',
    )
    two = ";".join(f"SpliceBERT_{name}={value},{value}" for name, value in {"STATUS": "OK", "KL_SS": 1}.items())
    records = [
        f"17 100 . A C,T CSQ=T|E1|0.25|,C|E1|0.5|;CLNSIG=Benign;{two}",
        "17 200 . G A CLNSIG=Likely_pathogenic|risk_factor;CSQ=A|E1||;" + scored(-3, KL_SS=3),
    ]
    source = write_scored(tmp_path / "in.vcf", records, extra=extra)
    cells = {"17\t100": "GT:DP\t1/2:9\t2|2:8\t1:3\t0/.:2", "17\t200": "GT\t0/1\t.\t1/.\t0/0"}
    lines = source.read_text().splitlines()
    lines = [line + "\tFORMAT\ta\tb\tc\td" if line.startswith("#CHROM") else line for line in lines]
    lines = [line + "".join(f"\t{text}" for key, text in cells.items() if line.startswith(key)) for line in lines]
    source.write_text("\n".join(lines) + "\n")
    made = page(source)
    at = [made.headings.index(name) for name in ("Variant", "ClinVar", "gnomAD", "Samples")]
    assert [[row[k] for k in at] for row in made.table] == [
        ["17-200-G-A", "Likely pathogenic, risk factor", "", "a het, b no call, c half call, d absent"],
        ["17-100-A-C", "", "0.5", "a het, b absent, c hemi, d no call"],  # of two ALTs ClinVar's is not certain
        ["17-100-A-T", "", "0.25", "a het, b hom, c absent, d no call"],
    ]
    hrefs = [a["href"] for a in made.tags("a")]
    assert "https://gnomad.broadinstitute.org/variant/17-200-G-A?dataset=gnomad_r4" in hrefs
    assert "https://genome.ucsc.edu/cgi-bin/hgTracks?db=hg38&position=chr17%3A170-230" in hrefs
    made = page(source, "--samples", "b", "--frequency", "none", "--clinvar", "CSQ:gnomADg_AF")
    assert "gnomAD" not in made.headings
    assert [row[-2] for row in made.table] == ["b no call", "b absent", "b hom"]
    assert [row[made.headings.index("ClinVar")] for row in made.table] == ["", "0.5", "0.25"]


def test_fields_and_samples_that_the_file_lacks_are_told(run, tmp_path):
    for option, name in (("--samples", "S9"), ("--clinvar", "CLNSGI"), ("--frequency", "AF_popmax")):
        code, _, err = run("report", ANNOTATED, "-o", tmp_path / "x.html", option, name)
        assert (code, "no such" in err and name in err) == (3, True), err


def test_sites_that_cannot_be_read_end_the_command(run, tmp_path):
    bad = SKIPPED.replace("donor:43047643:reported", "donor:here:reported")
    source = write_scored(tmp_path / "in.vcf", [bad], fields=DELTA_FIELDS)
    source.write_text(source.read_text().replace(PROVENANCE, built_in()))
    code, _, err = run("report", source, "-o", tmp_path / "x.html")
    assert (code, "EFFECT_SITES" in err) == (3, True), err


def test_multiqc_gets_a_bar_of_statuses_and_a_table(run, tmp_path):
    """Keys as in docs.seqera.io/multiqc/custom_content: id, section_name, plot_type, pconfig, headers, data."""
    assert run("report", ANNOTATED, "--multiqc", tmp_path / "qc", "--sample", "S1")[0] == 0
    bar = json.loads((tmp_path / "qc" / "S1.splicebert_statuses_mqc.json").read_text())
    assert bar["plot_type"] == "bargraph"
    assert bar["data"] == {"S1": {"OK": 44, "NO_ALT": 1, "TOO_LONG": 1}}
    table = json.loads((tmp_path / "qc" / "S1.splicebert_summary_mqc.json").read_text())
    assert table["plot_type"] == "table"
    row = table["data"]["S1"]
    assert set(row) == set(table["headers"])
    assert (row["alleles"], row["genes"], row["model"]) == (45, 1, "splicebert-mini")
    assert row["scored_percent"] == round(100 * 44 / 45, 2)
    hits = sum("SpliceBERT_SITE_HIT=" in line for line in ANNOTATED.read_text().splitlines() if line[0] != "#")
    assert row["site_hits"] == hits
    values = [float(v) for v in re.findall(r";SpliceBERT_KL_CTX=([^;]+)", ANNOTATED.read_text())]
    assert row["median_kl_ctx"] == pytest.approx((sorted(values)[21] + sorted(values)[22]) / 2, abs=1e-4)
    assert {bar["parent_id"], table["parent_id"]} == {"splicebert_vep"}
    assert bar["id"] != table["id"]
    source = write_scored(tmp_path / "S7.out.vcf", ["1 1 . A C " + scored(-3)])
    assert run("report", source, "--multiqc", tmp_path)[0] == 0
    assert (tmp_path / "S7.out.splicebert_summary_mqc.json").exists()

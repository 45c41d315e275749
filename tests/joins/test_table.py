"""Tables that a file declares: CADD-like by allele, dbNSFP-like by transcript; and what a declaration may not say."""

import json
import os
import shutil

import pytest

from factories import ROOT, annotated, join_genome, table, vcf, words
from splicebert_vep.errors import SettingsError

SHIPPED = ROOT / "docs" / "recipes" / "joins"


def declared(path, text):
    path.write_text(text)
    return path


COLUMNS = '[columns]\nchrom = "chr"\npos = "pos"\nref = "ref"\nalt = "alt"\n'
PLAIN = f'files = ["t.tsv.gz"]\n{COLUMNS}[fields.S]\ncolumn = "s"\ntype = "Float"\ndescription = "x"\n'
HEAD = "#chr pos ref alt s"


@pytest.fixture
def joined(annotator, source, tmp_path):
    """Join a table of these lines by a declaration; return the rows of the output."""

    def go(lines, text=PLAIN, name="T", **columns):
        table(tmp_path / "t.tsv", lines, **columns)
        return annotated(annotator, source, f"{name}={declared(tmp_path / 't.toml', text)}")

    return go


def test_the_shipped_declaration_reads_cadds_layout(annotator, tmp_path):
    """Made-up values in the layout of CADD's files: two comment lines, contigs without chr, SNVs and indels apart."""
    first = ["## CADD GRCh38-v1.7 (c) University of Washington", "#Chrom Pos Ref Alt RawScore PHRED"]
    table(tmp_path / "whole_genome_SNVs.tsv", [*first, "1 350 A C 0.5 12.34", "1 350 A G -0.25 3.1"])
    table(tmp_path / "gnomad.genomes.r4.0.indel.tsv", [*first, "1 302 TAC T 1.5 20"])
    shutil.copy(SHIPPED / "cadd.toml", tmp_path)
    source = vcf(
        tmp_path / "in.vcf", ["chr1 309 ACA A", "chr1 349 {0}A {0}C".format(join_genome()[348]), "chr1 350 A G,T"]
    )
    rows = annotated(annotator, source, f"CADD={tmp_path / 'cadd.toml'}")
    assert words(rows, "POS", "ALT", "SYMBOL", "CADD_STATUS", "CADD_RAW", "CADD_PHRED")[::2] == [
        (309, "A", "ALPHA", "FOUND", 1.5, 20.0),
        (349, join_genome()[348] + "C", "ALPHA", "FOUND", 0.5, 12.34),
        (350, "G", "ALPHA", "FOUND", -0.25, 3.1),
        (350, "T", "ALPHA", "NO_RECORD", None, None),
    ]
    assert words(rows[1:2], "SYMBOL", "CADD_PHRED") == [("GAMMA", 20.0)]  # of the allele, whatever the gene


@pytest.mark.parametrize("gene", ["", " ENST01.7"])
def test_a_table_that_lists_an_indel_at_each_place_of_a_repeat_gives_the_records_own(gene, annotator, tmp_path):
    rows = ["1 302 TAC T 1", "1 305 ACA A 2", "1 309 ACA A 3"]
    table(tmp_path / "t.tsv", [HEAD + (" tx" if gene else ""), *(row + gene for row in rows)])
    text = PLAIN + ('[gene]\nmatch = "transcript"\ncolumn = "tx"\n' if gene else "")
    path = declared(tmp_path / "t.toml", text)
    source = vcf(tmp_path / "in.vcf", ["chr1 302 TAC T", "chr1 305 ACA A", "chr1 307 ACA A", "chr1 309 ACA A"])
    found = [row for row in annotated(annotator, source, f"T={path}") if row["SYMBOL"] == "ALPHA"]
    assert words(found, "T_STATUS", "T_S") == [("FOUND", 1.0), ("FOUND", 2.0), ("FOUND", 1.0), ("FOUND", 3.0)]


def test_the_shipped_declaration_reads_dbnsfps_layout(annotator, tmp_path):
    """Made-up values: lists parallel to the transcripts, '.' for missing."""
    rows = [
        "#chr pos(1-based) ref alt Ensembl_transcriptid REVEL_score AlphaMissense_score phyloP100way_vertebrate",
        "1 350 A C ENST77;ENST01;ENST09 0.1;0.2;0.3 .;0.5;. 1.25",
        "1 350 A G ENST77 0.9 0.9 2",
        "1 350 A T ENST01;ENST09 . .;0.7 .",
        "1 360 G A ENST01;ENST09 0.1;0.2;0.3 .;. 1",
    ]
    table(tmp_path / "dbNSFP.gz.tsv", rows)
    (tmp_path / "dbNSFP.gz.tsv.gz").rename(tmp_path / "dbNSFP5_grch38.gz")
    (tmp_path / "dbNSFP.gz.tsv.gz.tbi").rename(tmp_path / "dbNSFP5_grch38.gz.tbi")
    shutil.copy(SHIPPED / "dbnsfp.toml", tmp_path)
    source = vcf(tmp_path / "in.vcf", ["chr1 350 A C,G,T", "chr1 360 G A"])
    found = annotated(annotator, source, f"dbNSFP={tmp_path / 'dbnsfp.toml'}".replace("dbNSFP=", "DbNSFP="))
    fields = [f"DbNSFP_{name}" for name in ("STATUS", "REVEL", "ALPHAMISSENSE", "PHYLOP100")]
    assert words(found, "ALT", "TRANSCRIPT", *fields) == [
        ("C", "ENST01.7", "FOUND", 0.2, 0.5, 1.25), ("C", "ENST09.1", "FOUND", 0.3, None, 1.25),
        ("G", "ENST01.7", "OTHER_GENE", None, None, None), ("G", "ENST09.1", "OTHER_GENE", None, None, None),
        ("T", "ENST01.7", "MISSING", None, None, None), ("T", "ENST09.1", "FOUND", None, 0.7, None),
        ("A", "ENST01.7", "UNREADABLE", None, None, None), ("A", "ENST09.1", "UNREADABLE", None, None, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pick", "cells", "wanted"),
    [
        ("matched", "ALPHA;GAMMA;ALPHA 1;2;1", ("FOUND", 1.0)),
        ("matched", "ALPHA;GAMMA;ALPHA 1;2;3", ("AMBIGUOUS", None)),
        ("matched", "ALPHA;GAMMA;ALPHA .;2;3", ("FOUND", 3.0)),
        ("max", "ALPHA;GAMMA;ALPHA 1;9;3", ("FOUND", 3.0)),
        ("min", "ALPHA;GAMMA;ALPHA 1;-9;3", ("FOUND", 1.0)),
        ("max", "ALPHA;GAMMA NA;9", ("MISSING", None)),
        ("max", "GAMMA 9", ("OTHER_GENE", None)),
        ("max", "ALPHA x", ("UNREADABLE", None)),
    ],
)
def test_a_list_gives_the_genes_own_element(pick, cells, wanted, joined):
    """Never another gene's, even where that is larger."""
    text = PLAIN + f'separator = ";"\npick = "{pick}"\n[gene]\nmatch = "symbol"\ncolumn = "gene"\nseparator = ";"\n'
    rows = joined([f"{HEAD} gene", "1 350 A C {1} {0}".format(*cells.split())], text)
    assert words([row for row in rows if row["SYMBOL"] == "ALPHA"], "T_STATUS", "T_S") == [wanted]


@pytest.mark.parametrize("cell", ["1;2", "1_0"])  # Python's float takes the second for 10
def test_a_list_without_pick_is_unreadable(cell, joined):
    assert set(words(joined([HEAD, f"1 350 A C {cell}"]), "T_STATUS", "T_S")) == {("UNREADABLE", None)}


def test_a_declared_version_has_its_control_characters_spelled_out(joined, tmp_path):
    joined([HEAD, "1 350 A C 0.5"], r'version = "7\u001b[2J\u009b 8"' + "\n" + PLAIN)
    provenance = json.loads((tmp_path / "in.jsonl").read_text().splitlines()[0])["provenance"]
    assert [value for value in provenance.values() if r"7\x1b[2J\x9b 8" in value]


def test_a_field_named_as_a_column_of_the_output_is_the_users_error(joined):
    with pytest.raises(SettingsError, match="--join SITE=.*SITE_OFFSET.*another NAME"):
        joined([HEAD, "1 350 A C 1"], PLAIN.replace("fields.S", "fields.OFFSET"), "SITE")


@pytest.mark.parametrize(
    ("lines", "text", "columns"),
    [
        ([HEAD, "1 349 A C 7"], PLAIN.replace("[fields", "base = 0\n[fields"), {"zerobased": True}),
        (["chr pos ref alt s", "1 350 A C 7"], PLAIN, {"line_skip": 1}),  # the index skips the line of names
    ],
)
def test_positions_may_count_from_0_and_names_need_no_mark(lines, text, columns, joined):
    assert set(words(joined(lines, text, **columns), "T_STATUS", "T_S")) == {("FOUND", 7.0)}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (PLAIN, "files = [", "no TOML"),
        (PLAIN, "a = " + "[" * 100_000, "no TOML"),
        (PLAIN, "a = " + "{a = " * 100_000, "no TOML"),
        (PLAIN, "a" + ".a" * 50_000 + " = 1", "unknown field"),
        ('alt = "alt"\n', f'alt = "alt"\nbase = 1{"0" * 5000}\n', "no TOML"),
        ("t.tsv.gz", "t\\u0000", "null"),
        ('"x"', '"x\\u001b[31m"', "printable"),
        ('files = ["t.tsv.gz"]\n', "", "required field `files`"),
        ('["t.tsv.gz"]', "[]", "length >= 1"),
        ('["t.tsv.gz"]', '"t.tsv.gz"', "Expected `array`"),
        ("[fields.S]", "[fields.s]", "a capital"),
        ("[fields.S]", "[fields.STATUS]", "STATUS"),
        ('alt = "alt"\n', "", "required field `alt`"),
        ('alt = "alt"\n', 'alt = "alt"\nalt2 = "x"\n', "unknown field `alt2`"),
        ('alt = "alt"\n', 'alt = "alt"\nbase = 2\n', "one of 1, 0"),
        ('alt = "alt"\n', 'alt = "ALT"\n', r"not in the table's header(.|\n)*chr, pos, ref, alt, s"),
        ('"Float"', '"float"', "one of Float, Integer, String"),
        ('description = "x"', 'description = "x"\ndirection = "up"', "one of higher, negative, none"),
        ('description = "x"', 'description = "x"\nseparator = ";"', "separator and pick together"),
        ('description = "x"', 'description = "x"\npick = "max"', "separator and pick together"),
        ('description = "x"', 'description = "x"\nseparator = ";"\npick = "mean"', "one of matched, max, min"),
        ('description = "x"', 'description = "x"\nseparator = ";"\npick = "matched"', "gene.separator"),
        ('description = "x"\n', 'description = "x"\n[gene]\nmatch = "symbol"\n', "gene.column"),
        ('description = "x"\n', 'description = "x"\n[gene]\nmatch = "gene"\ncolumn = "s"\n', "one of none, gene_id"),
    ],
)
def test_a_declaration_that_cannot_be_used_is_an_error(old, new, problem, joined, tmp_path):
    assert old in PLAIN
    with pytest.raises(SettingsError, match=problem) as caught:
        joined([HEAD, "1 350 A C 7"], PLAIN.replace(old, new))
    assert str(tmp_path / "t.toml") in str(caught.value)


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_declaration_is_a_regular_file(kind, annotator, tmp_path):
    path = tmp_path / "t.toml"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(SettingsError, match="no regular file"):
        annotated(annotator, vcf(tmp_path / "in.vcf", ["chr1 350 A C"]), f"T={path}")


def test_files_of_one_table_have_the_same_columns(joined, tmp_path):
    table(tmp_path / "u.tsv", [f"{HEAD} more", "1 350 A C 7 8"])
    with pytest.raises(SettingsError, match="differ in their columns"):
        joined([HEAD, "1 350 A C 7"], PLAIN.replace('"t.tsv.gz"', '"t.tsv.gz", "u.tsv.gz"'))


def test_an_output_never_replaces_a_declared_file(annotator, tmp_path, source):
    table(tmp_path / "t.tsv", [HEAD, "1 350 A C 7"])
    path = declared(tmp_path / "t.toml", PLAIN)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for target in (path, tmp_path / "t.tsv.gz", tmp_path / "t.tsv.gz.tbi"):
        with pytest.raises(SettingsError, match="would replace an input"):
            annotator.annotate(source, target, kind="vcf", join=[f"T={path}"])
        with pytest.raises(SettingsError, match="would replace an input"):
            annotator.annotate(source, "-", emit=[f"jsonl={target}"], join=[f"T={path}"])
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([HEAD, "1 350 A C"], r"5 columns as in its header(.|\n)*t\.tsv\.gz"),
        ([HEAD, "1 350 A C 7 8"], r"5 columns as in its header(.|\n)*t\.tsv\.gz"),
        (["1 350 A C 7"], "no line that names its columns"),
    ],
)
def test_a_table_with_a_broken_row_or_without_names_is_an_error(lines, problem, joined):
    with pytest.raises(SettingsError, match=problem):
        joined(lines)


def test_two_tables_have_their_own_names(annotator, tmp_path, source):
    table(tmp_path / "t.tsv", [HEAD, "1 350 A C 7"])
    path = declared(tmp_path / "t.toml", PLAIN)
    rows = annotated(annotator, source, f"ONE={path}", f"TWO={path}")
    assert set(words(rows, "ONE_S", "TWO_S")) == {(7.0, 7.0)}
    with pytest.raises(SettingsError, match=r"one \.toml"):
        annotated(annotator, source, f"ONE={path}", f"ONE={tmp_path}/x.toml")

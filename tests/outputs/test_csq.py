"""Scores inside CSQ and ANN: which entries get them, and that all else stays. Expectations by hand."""

from __future__ import annotations

import dataclasses
import gzip
import re
import subprocess
import sys

import cyvcf2
import pytest

from factories import EXAMPLES, NULL, SHARED, gene, info, records
from splicebert_vep.errors import SettingsError
from splicebert_vep.outputs.csq import CsqAdapter, alts_of, minimal_words, vep_words, written_words
from splicebert_vep.outputs.flat import FlatAdapter
from splicebert_vep.outputs.write import Outputs, plan_outputs
from splicebert_vep.plugins import Origin
from splicebert_vep.vcf.header import VcfHeader
from splicebert_vep.vcf.read import VcfRecord
from splicebert_vep_spec import Allele, AlleleReport, FieldSpec, RecordReport, RunInfo, ScoredContext, Status

RUN = RunInfo((FieldSpec("LLR", "A", "Float", "x"), FieldSpec("N_SITES", "A", "Integer", "y")), {"Model": "m"})
ADDED = "|".join(f"SpliceBERT_pred_{name}" for name in ("LLR", "N_SITES", "HGVSC", "HGVSG", "STATUS"))
CSQ = "Allele|Consequence|SYMBOL|Gene|Feature"
ANN = "Allele | Annotation | Gene_Name | Gene_ID | Feature_ID"
COLUMNS = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def vep_line(columns=CSQ, key="CSQ", more=""):
    text = f"Consequence annotations from Ensembl VEP. Format: {columns}"
    return f'##INFO=<ID={key},Number=.,Type=String,Description="{text}"{more}>\n'


def snpeff_line(columns=ANN, key="ANN"):
    return f"##INFO=<ID={key},Number=.,Type=String,Description=\"Functional annotations: '{columns}'\">\n"


def context(gene_id="ENSG00000000001.5", symbol="ONE", transcript="ENST00000000001.2"):
    return dataclasses.replace(gene(gene_id), symbol=symbol, transcript_id=transcript)


def scored(llr, sites=1, status=Status.OK, **of_gene):
    return ScoredContext(context(**of_gene), status, "", {"LLR": llr, "N_SITES": sites})


def skipped(status):
    return ScoredContext(None, status, "why", {})


TWO = {"gene_id": "ENSG00000000002.1", "symbol": "TWO", "transcript": "ENST00000000002.1"}


def merged(tmp_path, header, cases, emit=("csq",)):
    """The header and INFO columns of what is written; a case is REF, outcomes by ALT, INFO."""
    parsed = VcfHeader.parse([b"##fileformat=VCFv4.2\n", *(line.encode() for line in header), COLUMNS], "in.vcf")
    adapters = {"csq": CsqAdapter(), "flat": FlatAdapter()}
    origins = {name: Origin("builtin", "register_adapters", "adapter", name) for name in adapters}
    out = tmp_path / "out.vcf"
    plan = plan_outputs(emit, str(out), None, adapters, origins, source="-", reference="r.fa")
    lines, reports = [], []
    for number, (ref, by_alt, column) in enumerate(cases, start=1):
        alts = ",".join(by_alt) or "."
        lines.append(VcfRecord(f"1\t100\t.\t{ref}\t{alts}\t.\t.\t{column}\n".encode(), number))
        alleles = [AlleleReport(alt, Allele("1", 99, ref, alt), tuple(found)) for alt, found in by_alt.items()]
        reports.append(RecordReport("1", 100, ".", ref, tuple(alleles)))
    with Outputs(plan, RUN, parsed, [], {}) as outputs:
        outputs.write(lines, reports)
    text = out.read_text().splitlines(keepends=True)
    body = [line.rstrip("\n").split("\t")[7] for line in text if not line.startswith("#")]
    return [line for line in text if line.startswith("##INFO")], body


def of_record(tmp_path, ref, by_alt, column, header=None):
    [written] = merged(tmp_path, header or [vep_line()], [(ref, by_alt, column)])[1]
    return written


def test_every_entry_of_the_gene_and_allele_carries_the_fields(tmp_path):
    """Every transcript of the gene, each gene and ALT its own; order and other items stay."""
    genes = [scored(-1.5), scored(0.25, None, **TWO)]
    entries = (
        "-|intron|ONE|ENSG00000000001|ENST00000000009",
        "-|intron|TWO|ENSG00000000002|ENST00000000002",
        "TT|intron|ONE|ENSG00000000001|ENST00000000001",
        "TT|upstream|THREE|ENSG00000000003|ENST00000000003",
        "-|exon|ONE|ENSG00000000001|ENST00000000001",
    )
    column = f"AC=1;CSQ={','.join(entries)};DB"
    tails = ("-1.5000|1|||OK", "0.2500||||OK", "||||N_CONTEXT", "||||", "-1.5000|1|||OK")
    expected = ",".join(f"{entry}|{tail}" for entry, tail in zip(entries, tails, strict=True))
    other = [ScoredContext(context(), Status.N_CONTEXT, "why", {})]
    written = of_record(tmp_path, "CT", {"C": genes, "CTT": other}, column)
    assert written == f"AC=1;CSQ={expected};DB"


@pytest.mark.parametrize(
    ("names", "carries"),
    [
        ("ONE|ENSG00000000001|ENST00000000009", True),
        ("|ENSG00000000001.7|", True),  # versions differ between releases
        ("|ENSG00000000001.7_8|", True),  # GENCODE on GRCh37
        ("OTHER|ENSG00000000001|", True),  # so do symbols
        ("OTHER|ENSG00000000008|ENST00000000001.9", True),  # the scored transcript
        ("ONE||NM_000001.2", True), ("ONE|672|NM_000001.2", True),  # RefSeq: ids of another kind
        ("ONE|ENSG00000000008|ENST00000000009", False),  # another gene of that symbol
        ("TWO|672|NM_000001.2", False), ("||", False), ("||ENSR00000000001", False),
    ],
)  # fmt: skip
def test_a_gene_is_known_by_id_transcript_or_symbol(names, carries, tmp_path):
    entry = f"T|x|{names}"
    written = of_record(tmp_path, "C", {"T": [scored(-1.5)]}, f"CSQ={entry}")
    assert written == f"CSQ={entry}|{'-1.5000|1|||OK' if carries else '||||'}"


def test_a_symbol_of_two_scored_genes_says_nothing(tmp_path):
    twice = [scored(1.0), scored(2.0, gene_id="ENSG00000000002")]
    assert of_record(tmp_path, "C", {"T": twice}, "CSQ=T|x|ONE|672|") == "CSQ=T|x|ONE|672||||||"


@pytest.mark.parametrize(("gene", "tail"), [("AC000001.1|", "1.0000|1|||OK"), ("AC000001.2|", "||||"),
                                            ("1|NM_000001.3", "1.0000|1|||OK")])  # fmt: skip
def test_ids_of_refseq_and_of_others_keep_their_numbers(gene, tail, tmp_path):
    """AC000001.1 and AC000001.2 are two genes; NM_1.2 and NM_1.3 are one transcript."""
    outcome = [scored(1.0, gene_id="AC000001.1", symbol=None, transcript="NM_000001.2")]
    assert of_record(tmp_path, "C", {"T": outcome}, f"CSQ=T|x||{gene}") == f"CSQ=T|x||{gene}|{tail}"


@pytest.mark.parametrize("status", [Status.REF_MISMATCH, Status.NO_GENE, Status.TOO_LONG])
def test_an_alt_that_was_looked_up_in_no_gene_says_why_in_all_its_entries(status, tmp_path):
    column = "CSQ=T|x|ONE|ENSG00000000001|,G|x|ONE|ENSG00000000001|,T|x|||"
    written = of_record(tmp_path, "C", {"T": [skipped(status)], "G": [scored(1.0)]}, column)
    assert written == (
        f"CSQ=T|x|ONE|ENSG00000000001||||||{status},G|x|ONE|ENSG00000000001||1.0000|1|||OK,T|x||||||||{status}"
    )


def test_a_spanning_deletion_and_a_symbolic_alt(tmp_path):
    by_alt = {"T": [scored(1.0)], "*": [skipped(Status.SPANNING_DELETION)]}
    written = of_record(tmp_path, "C", by_alt, "CSQ=T|x|ONE|ENSG00000000001|,*|x|ONE|ENSG00000000001|")
    assert written == "CSQ=T|x|ONE|ENSG00000000001||1.0000|1|||OK,*|x|ONE|ENSG00000000001||||||SPANNING_DELETION"
    written = of_record(tmp_path, "C", {"<DEL>": [skipped(Status.SYMBOLIC)]}, "CSQ=deletion|x|ONE|ENSG00000000001|")
    assert written == "CSQ=deletion|x|ONE|ENSG00000000001||||||"  # VEP's own word; not guessed


def test_allele_num_tells_alleles_apart_that_one_word_means(tmp_path):
    header = [vep_line(f"{CSQ}|ALLELE_NUM")]
    column = "CSQ=-|x|ONE|ENSG00000000001||1,-|x|ONE|ENSG00000000001||2"
    written = of_record(tmp_path, "CAG", {"C": [scored(1.0)], "CG": [scored(2.0)]}, column, header)
    assert written == "CSQ=-|x|ONE|ENSG00000000001||1|1.0000|1|||OK,-|x|ONE|ENSG00000000001||2|2.0000|1|||OK"


def test_an_earlier_annotation_is_replaced_wherever_it_stands(tmp_path):
    header = [vep_line("Allele|SpliceBERT_pred_LLR|Gene|SpliceBERT_pred_OLD|EXON")]
    column = "CSQ=T|9.9|ENSG00000000001|old|1/2,G|9.9|ENSG00000000001|old|1/2"
    cases = [("C", {"T": [scored(-1.5)]}, column), ("C", {}, column), ("C", {"T": [scored(-1.5)]}, "CSQ=T|9.9")]
    [line], found = merged(tmp_path, header, cases)
    assert f'Format: Allele|Gene|EXON|{ADDED}">' in line
    assert found == [
        "CSQ=T|ENSG00000000001|1/2|-1.5000|1|||OK,G|ENSG00000000001|1/2|||||",
        "CSQ=T|ENSG00000000001|1/2|||||,G|ENSG00000000001|1/2|||||",  # ALT is '.' now: old numbers do not stay
        "CSQ=T|||||||",
    ]


def test_entries_of_another_length_shift_nothing(tmp_path):
    short, long = "T|x|ONE|ENSG00000000001", "T|x|ONE|ENSG00000000001|ENST1|a|b"
    written = of_record(tmp_path, "C", {"T": [scored(-1.5)]}, f"CSQ={short},T,{long}")
    assert written == ("CSQ=T|x|ONE|ENSG00000000001||-1.5000|1|||OK,T|||||||||,T|x|ONE|ENSG00000000001|ENST1&a&b|||||")


def test_what_vep_escaped_stays_as_it_is(tmp_path):
    entry = "T|a&b%3Bc%3Dd_\u00e9|HLA-A|ENSG00000000001|x%2C%25"
    assert of_record(tmp_path, "C", {"T": [scored(-1.5)]}, f"CSQ={entry}") == f"CSQ={entry}|-1.5000|1|||OK"


@pytest.mark.parametrize("column", ["DB", "CSQ=.", "CSQ", "CSQ=", "."])
def test_a_record_without_entries_stays_without(column, tmp_path):
    assert of_record(tmp_path, "C", {"T": [scored(-1.5)]}, column) == column


def test_snpeff_is_matched_by_gene_and_the_alt_as_written(tmp_path):
    """A change of a somatic to a germline allele (T-CA) is not what was scored."""
    entries = (
        "T|intron|ONE|ENSG00000000001|ENST00000000001.2", "CAA|intron|ONE|ENSG00000000001|x",
        "T-CAA|intron|ONE|ENSG00000000001|x", "T|intergenic|ONE-TWO|ENSG00000000001-ENSG00000000002|",
        "T|intron|ONE|ONE|NM_000001.2",
    )  # fmt: skip
    tails = ("-1.5000|1|||OK", "0.0001|1|||OK", "||||", "||||", "-1.5000|1|||OK")
    [line], [written] = merged(
        tmp_path,
        [snpeff_line()],
        [("CA", {"T": [scored(-1.5)], "CAA": [scored(0.0001)]}, f"ANN={','.join(entries)}")],
    )
    assert written == "ANN=" + ",".join(f"{entry}|{tail}" for entry, tail in zip(entries, tails, strict=True))
    added = ADDED.replace("|", " | ")
    assert line == snpeff_line(f"{ANN} | {added}")


def test_both_and_keys_of_the_users_choice(tmp_path):
    """The form of the description says whose entries they are: vep --vcf_info_field ANN."""
    header = [vep_line(key="ANN"), snpeff_line(key="EFFECTS"), vep_line("ALLELE|SYMBOL", "SpliceAI")]
    column = "ANN=T|x|ONE|ENSG00000000001|;SpliceAI=T|ONE;EFFECTS=CT|x|ONE|ENSG00000000001|"
    lines, [written] = merged(tmp_path, header, [("C", {"CT": [scored(-1.5)]}, column)])
    assert written == (
        "ANN=T|x|ONE|ENSG00000000001||-1.5000|1|||OK;SpliceAI=T|ONE;EFFECTS=CT|x|ONE|ENSG00000000001||-1.5000|1|||OK"
    )
    assert lines == [vep_line(f"{CSQ}|{ADDED}", "ANN"), snpeff_line(f"{ANN} | {ADDED.replace('|', ' | ')}", "EFFECTS"),
                     header[2]]  # fmt: skip


def test_the_rest_of_the_definition_stays(tmp_path):
    """Quotes, backslashes, bytes that are no ASCII, and what else stands in the line."""
    start = r'##INFO=<ID=CSQ,Number=.,Type=String,Description="a \"b\" c\\\\d é, Number=1. Format: Allele|Gene|a\"b'
    end = '",Source="a,Type=b",Version="115">\n'
    [line], _ = merged(tmp_path, [start + end], [])
    assert line == f"{start}|{ADDED}{end}"


@pytest.mark.parametrize(
    "header",
    [[], [vep_line("ALLELE|SYMBOL|DS_AG")], [vep_line("Consequence|gene", "BCSQ")], [vep_line("Allele|IMPACT")]],
)
def test_a_file_without_annotation_is_refused(header, tmp_path):
    with pytest.raises(SettingsError, match="SnpEff"):
        merged(tmp_path, header, [])
    assert list(tmp_path.iterdir()) == []


def test_entries_that_vep_kept_beside_its_own_are_not_lost(tmp_path):
    """As vep --keep_csq leaves a record; the first counts, as for bcftools."""
    header = [vep_line(), vep_line(more=',Source="again"')]
    column = "CSQ=T|x|ONE|ENSG00000000001|;AC=1;CSQ=T|y|TWO|ENSG00000000002|ENST9"
    lines, [written] = merged(tmp_path, header, [("C", {"T": [scored(-1.5)]}, column)])
    assert written == "CSQ=T|x|ONE|ENSG00000000001||-1.5000|1|||OK;AC=1;CSQ=T|y|TWO|ENSG00000000002|ENST9"
    assert lines == [vep_line(f"{CSQ}|{ADDED}"), vep_line(f"{CSQ}|{ADDED}", more=',Source="again"')]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        # by which of them an entry is written cannot be known: Gene could be read where SYMBOL stands
        ([vep_line(), vep_line("Allele|SYMBOL|Gene|Consequence|Feature")], "more than once"),
        # cut there, the Format lacks subfields that entries have, and which would be taken for too many
        ([vep_line('Allele|Gene|my "own"|Feature')], "quote inside Description"),
        ([vep_line().replace('">', '"')], "cannot be read to the end"),
    ],
)
def test_a_field_whose_subfields_are_not_certain_is_refused(header, why, tmp_path):
    with pytest.raises(SettingsError, match=why):
        merged(tmp_path, header, [("C", {"T": [scored(-1.5)]}, "CSQ=T|ONE|ENSG00000000001|x|")])
    assert list(tmp_path.iterdir()) == []
    merged(tmp_path, header, [], emit=["flat"])


def test_scores_of_an_earlier_run_do_not_stay_under_the_provenance_of_another(tmp_path):
    header = [vep_line(f"{CSQ}|SpliceBERT_pred_LLR")]
    with pytest.raises(SettingsError, match="earlier run in CSQ"):
        merged(tmp_path, header, [], emit=["flat"])
    merged(tmp_path, header, [], emit=["flat", "csq"])


# --- words for alleles, by hand, after Ensembl VEP's VCF parser and SnpEff's manual ---


@pytest.mark.parametrize(
    ("ref", "alts", "words", "minimal"),
    [
        ("A", "G", "G", "G"), ("a", "g", "G", "G"), ("AC", "GT", "GT", "GT"), ("A", "<DEL>", "<DEL>", "<DEL>"),
        ("AC", "AT", "AT", "T"),  # an MNV keeps its shared base
        ("CT", "C", "-", "-"), ("C", "CA", "A", "A"), ("CAA", "CAT", "CAT", "T"), ("CAA", "CTTA", "TTA", "TT"),
        ("AC", "G", "G", "G"),  # no shared first base: nothing is cut
        ("CT", "C CTT", "- TT", "- T"),
        ("CT", "C AT", "C AT", "- A"),  # one ALT begins with another base: nothing is cut
        ("CT", "C *", "- *", "- *"),  # '*' does not count
        ("AC", "AT *", "T *", "T *"),  # but its length makes the record an indel
        ("A", "G *", "G *", "G *"), ("AC", "*", "*", "*"),
        ("CAG", "C CG", "- G", "- -"),  # two deletions
        ("CAT", "CATAT", "ATAT", "AT"),  # prefix first
    ],
)  # fmt: skip
def test_words_of_vep(ref, alts, words, minimal):
    assert vep_words(ref, alts.split()) == words.split()
    assert minimal_words(ref, alts.split()) == minimal.split()


def of_vep(words, ref, alts, numbers=None):
    alts = alts.split()
    return alts_of(words.split(), numbers, ref, alts, [vep_words(ref, alts), minimal_words(ref, alts)])


@pytest.mark.parametrize(
    ("words", "ref", "alts", "found"),
    [
        ("T T", "C", "T", [0, 0]), ("- TT -", "CT", "C CTT", [0, 1, 0]), ("G * G", "A", "G *", [0, 1, 0]),
        ("A", "C", "T", [None]),
        # --minimal: AA is the second ALT's minimal word and the first one's usual one; A says which way it is
        ("A AA", "CA", "CAA CAAA", [0, 1]), ("AA AAA", "CA", "CAA CAAA", [0, 1]), ("AA", "CA", "CAA CAAA", [None]),
        # two deletions have one minimal word
        ("- -", "CAG", "C CG", [None, None]), ("- G", "CAG", "C CG", [0, 1]),
        # an ALT that is no longer in the record: SNVs are what they are, of indels something may be cut off
        ("G T", "C", "T", [None, 0]), ("AA AAA", "C", "CAA", [None, None]), ("AA AAA", "CA", "CAA", [None, None]),
        ("G AG", "A", "G", [None, None]), ("G -", "A", "G", [None, None]), ("GG TT", "CC", "TT", [None, 0]),
        # the same ALT twice
        ("T T", "C", "T T", [None, None]), ("DELETION G", "A", "G <DEL>", [None, None]),
    ],
)  # fmt: skip
def test_a_word_is_matched_when_it_is_certain(words, ref, alts, found):
    assert of_vep(words, ref, alts) == found


@pytest.mark.parametrize(
    ("numbers", "words", "ref", "alts", "found"),
    [
        ("1 2 1", "- - -", "CAG", "C CG", [0, 1, 0]), ("2 1", "AA A", "CA", "CAA CAAA", [1, 0]),
        ("1", "AA", "CA", "CAA CAAA", [0]),
        # a record that was split after VEP: its numbers are those of the whole one
        ("1 2", "T G", "C", "G", [None, 0]), ("1 2", "AA AAA", "C", "CAA", [None, None]),
        # CAG with ALTs C and CG after --minimal, split: - is the word of both, and of each part
        ("1 2", "- -", "CAG", "C", [None, None]), ("1 2", "- -", "CAG", "CG", [None, None]),
        ("1 2", "T T", "C", "T", [None, None]),  # of CC with ALTs CT and TC, trimmed: both are T
        ("1 x", "T T", "C", "T", [0, 0]), ("0", "T", "C", "T", [0]),
        ("2", "T", "C", "T G", [0]),  # the number contradicts the word
    ],
)  # fmt: skip
def test_a_number_has_to_agree_with_the_word(numbers, words, ref, alts, found):
    assert of_vep(words, ref, alts, numbers.split()) == found


def test_words_of_snpeff_are_the_alts_as_written():
    assert alts_of(["C", "CTT", ""], None, "CT", ["C", "cTT"], [written_words("CT", ["C", "cTT"])]) == [0, 1, None]
    assert alts_of(["CA", "CAA"], None, "C", ["CA"], [written_words("C", ["CA"])]) == [None, None]


# --- whole runs ---

#: Two records of ClinVar (2026-02-26, public domain) and two made up, annotated as Ensembl VEP would, in few columns.
EXCERPT = f"""##fileformat=VCFv4.2
##contig=<ID=17,length=83257441>
{vep_line().rstrip()}
##INFO=<ID=CLNSIG,Number=.,Type=String,Description="Significance">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
17\t43045683\t55601\tA\tC\t.\t.\tCLNSIG=Uncertain;CSQ=C|missense_variant|BRCA1|ENSG00000012048|ENST00000352993,\
C|missense_variant|BRCA1|ENSG00000012048|ENST00000357654,C|upstream_gene_variant|NONE|ENSG00000099999|ENST00000099999
17\t43045698\t1\tTCTGGGGTA\tACTGGGTT\t.\t.\tCSQ=ACTGGGTT|coding|BRCA1|ENSG00000012048|ENST00000352993
17\t43047643\t2\tC\tCAG,T\t.\t.\tCSQ=CAG|splice|BRCA1|ENSG00000012048|ENST00000357654,\
T|splice|BRCA1|ENSG00000012048|ENST00000357654
17\t43047650\t3\tA\t<DEL>\t.\t.\tEND=43047700
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("csq") / "in.vcf"
    path.write_text(EXCERPT)
    return path


def test_text_and_bcf_in_and_out_hold_the_same(run, source, tmp_path):
    names = ("a.vcf", "a.vcf.gz", "a.bcf")
    for name in names:
        assert run("annotate", source, *NULL, "--emit", "flat,csq", "-O", tmp_path / name)[0] == 0
    for name, start in (("b.vcf", "a.bcf"), ("c.bcf", "a.bcf"), ("d.vcf", "a.vcf")):  # again, in place of the earlier
        assert run("annotate", tmp_path / start, *NULL, "--emit", "flat,csq", "-O", tmp_path / name)[0] == 0
    assert (tmp_path / "d.vcf").read_bytes() == (tmp_path / "a.vcf").read_bytes()

    def values(name):
        file = cyvcf2.VCF(str(tmp_path / name))
        return [file.get_header_type("CSQ")["Description"], *[v.INFO.get("CSQ") for v in file]]

    expected = values("a.vcf")
    assert expected[0].count("SpliceBERT_pred_LLR") == 1
    for name in ("a.vcf.gz", "a.bcf", "b.vcf", "c.bcf"):
        assert values(name) == expected, name


def test_an_entry_has_what_the_flat_fields_have(run, source, tmp_path):
    """The second record is an indel whose bases differ at once; the third has two ALTs and an insertion as written."""
    out = tmp_path / "out.vcf"
    assert run("annotate", source, *NULL, "--emit", "flat,csq", "-O", out)[0] == 0
    before, after = records(EXCERPT), records(out.read_text())
    names = re.search('Format: (.*)">', out.read_text())[1].split("|")
    for index, alts in enumerate((1, 1, 2)):
        flat, old = info(after[index][7]), info(before[index][7])
        for i, (entry, was) in enumerate(zip(flat["CSQ"].split(","), old["CSQ"].split(","), strict=True)):
            cells = dict(zip(names, entry.split("|"), strict=True))
            assert entry.startswith(f"{was}|")
            for name in names[5:]:
                value = flat.get(name.replace("_pred", ""), ",".join("." * alts)).split(",")[i if alts == 2 else 0]
                scored = cells["Gene"] == "ENSG00000012048" and value != "."
                assert cells[name] == (value if scored else ""), name
            assert cells["SpliceBERT_pred_STATUS"] == ("OK" if cells["Gene"] == "ENSG00000012048" else "")
    assert "CSQ=" not in after[3][7] and "SpliceBERT_STATUS=SYMBOLIC" in after[3][7]


def test_a_cohort_merges_into_each_file_its_own(run, source, tmp_path):
    """Files share records but not what VEP was told to write, nor the order of entries."""
    other = EXCERPT.replace(vep_line(), vep_line("Gene|Allele|EXON"))
    other = re.sub(r"(CSQ=|,)(\w+)\|\w+\|\w+\|(ENSG\d+)\|ENST\d+", r"\1\3|\2|5/6", other)
    (tmp_path / "b.vcf").write_text(other)
    (tmp_path / "a.vcf").write_text(EXCERPT)
    (tmp_path / "list.txt").write_text("a.vcf\nb.vcf\n")
    words = [*NULL, "--emit", "flat,csq"]
    assert run("cohort", "run", tmp_path / "list.txt", *words, "-O", tmp_path / "out")[0] == 0
    for name in "ab":
        assert run("annotate", tmp_path / f"{name}.vcf", *words, "-O", tmp_path / "alone.vcf")[0] == 0
        found = gzip.decompress((tmp_path / "out" / "annotated" / f"{name}.vcf.gz").read_bytes()).decode()
        alone = (tmp_path / "alone.vcf").read_text()
        assert records(found) == records(alone)
        assert alone.count("|OK") == 5
    assert "CSQ=ENSG00000012048|C|5/6|" in alone


def test_a_cohort_is_refused_before_anything_is_scored(run, source, tmp_path):
    (tmp_path / "plain.vcf").write_text(EXCERPT.replace("Format: ", "Columns: "))
    (tmp_path / "list.txt").write_text(f"{source}\nplain.vcf\n")
    code, _, err = run("cohort", "run", tmp_path / "list.txt", *NULL, "--emit", "csq", "-O", tmp_path / "out")
    assert code == 3
    assert "no annotation of Ensembl VEP or SnpEff" in err and str(tmp_path / "plain.vcf") in err
    assert not (tmp_path / "out" / "annotated").exists()


VEP115 = SHARED / "data" / "vcf" / "clinvar.BRCA1.vep115.GRCh38.vcf.gz"


@pytest.mark.skipif(not VEP115.is_file(), reason="needs the shared VEP 115 file, which has no place in the repository")
def test_all_of_the_shared_file_by_the_independent_checker(run, tmp_path):
    reference = SHARED / "data" / "reference" / "GRCh38.subset.fa.gz"
    out, table = tmp_path / "out.vcf.gz", tmp_path / "scores.tsv"
    words = ["-R", reference, "-A", "grch38", "--backend", "null", "--emit", f"csq,tsv={table}", "-O", out]
    assert run("annotate", VEP115, *words)[0] == 0
    checker = [sys.executable, EXAMPLES.parent / "benchmarks" / "csq.py", VEP115]
    done = subprocess.run([*checker, out, table], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    counts = {name: int(number.replace(",", "")) for number, name in re.findall(r"([\d,]+)  (.+)", done.stdout)}
    assert counts["records"] == 2999 and counts["entries"] == 94421
    kinds = ("SNV", "MNV", "deletion", "insertion", "delins without a shared first base")
    assert all(counts[f"entries of a scored gene, {kind}, OK"] > 0 for kind in kinds)

"""Every file of example_vcfs goes through the program by the command of its README and gives what that says."""

import contextlib
import functools
import io
import re
import shlex
from types import SimpleNamespace

import pytest

from factories import EXAMPLES, info, records
from splicebert_vep.cli import main as program
from splicebert_vep_spec import Status

README = (EXAMPLES / "README.md").read_text()
#: by the name of the output
COMMANDS = {
    words[words.index("-O") + 1]: words[1:]
    for words in map(shlex.split, re.findall(r"^splicebert-vep annotate .*$", README, re.MULTILINE))
}
WRONG_BUILDS = ("wrong_build", "wrong_contig_length")
GOOD = [name.removesuffix(".out.vcf") for name in COMMANDS if name.endswith(".vcf")]
GOOD = [name for name in GOOD if name not in WRONG_BUILDS]
TEXT = [name for name in GOOD if (EXAMPLES / f"{name}.vcf").exists()]
BRCA1 = ["-R", "example_vcfs/brca1.fa.gz", "-A", "grch38"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a command line in a folder that holds example_vcfs, with the bundled model on one CPU thread."""
    work = tmp_path_factory.mktemp("work")
    (work / "example_vcfs").symlink_to(EXAMPLES)

    def go(words):
        err, out = io.StringIO(), work / words[words.index("-O") + 1]
        with contextlib.redirect_stderr(err):
            code = program._run([*words, "--device", "cpu", "--threads", "1"])
        text = out.read_text() if out.exists() and out.suffix == ".vcf" else ""
        return SimpleNamespace(code=code, err=err.getvalue(), out=out, text=text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPLICEBERT_VEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.chdir(work)
        yield go


@pytest.fixture(scope="module")
def example(run):
    """Run a command of the README, once."""
    return functools.cache(lambda output: run(COMMANDS[output]))


def ours(column: str) -> dict[str, str]:
    return {key: value for key, value in info(column).items() if key.startswith("SpliceBERT")}


def by_id(text: str) -> dict[str, dict[str, str]]:
    return {record[2]: info(record[7]) for record in records(text)}


def assert_same_value(found: str, expected: str) -> None:
    """Values of a key, or of the entries of a VEP-style key; numbers may differ by 1e-4 between processors."""
    found_parts, expected_parts = (re.split(r"[,|]", value) for value in (found, expected))
    assert len(found_parts) == len(expected_parts)
    for got, wanted in zip(found_parts, expected_parts, strict=True):
        try:
            assert float(got) == pytest.approx(float(wanted), abs=1.01e-4)
        except ValueError:
            assert got == wanted


def assert_same_items(found: dict[str, str], expected: dict[str, str]) -> None:
    assert list(found) == list(expected)
    for key, value in expected.items():
        assert_same_value(found[key], value)


@pytest.mark.parametrize("name", GOOD)
def test_an_example_gives_its_expected_output(example, name):
    """Golden: weights 57a58704 (splicebert-mini), fp32, CPU."""
    ran = example(f"{name}.out.vcf")
    assert ran.code == 0, ran.err
    expected = (EXAMPLES / f"{name}.expected.vcf").read_text()
    definition = re.compile(r"^##INFO=<ID=\w+,Number=.,Type=\w+", re.MULTILINE)  # descriptions may get better
    assert definition.findall(ran.text) == definition.findall(expected)
    for got, want in zip(records(ran.text), records(expected), strict=True):
        assert got[:7] + got[8:] == want[:7] + want[8:]
        assert_same_items(info(got[7]), info(want[7]))


@pytest.mark.parametrize("name", GOOD)
def test_the_readme_says_how_an_example_ends(example, name):
    said = re.search(rf"^\| {name}\.(?:vcf|bcf) \|.*?`(by status: .*?)`", README, re.MULTILINE)
    assert said and f"{said[1]}\n" in example(f"{name}.out.vcf").err


@pytest.mark.parametrize("name", TEXT)
def test_every_byte_but_ours_is_that_of_the_input(example, name):

    def without_ours(path):
        """Our items replace a lone dot and a semicolon at the end."""
        lines = []
        for line in path.read_bytes().splitlines():
            columns = line.split(b"\t")
            if not line.startswith(b"#"):
                items = [item for item in columns[7].split(b";") if not item.startswith(b"SpliceBERT")]
                columns[7] = b";".join(items).rstrip(b";") or b"."
            if not re.match(rb"##(INFO=<ID=)?SpliceBERT", line):
                lines.append(columns)
        return lines

    assert without_ours(EXAMPLES / f"{name}.vcf") == without_ours(example(f"{name}.out.vcf").out)


@pytest.mark.parametrize("name", WRONG_BUILDS)
def test_a_wrong_build_ends_before_the_first_score(example, name):
    ran = example(f"{name}.out.vcf")
    assert ran.code == 4
    assert ran.err[ran.err.index("splicebert-vep: error") :] == (EXAMPLES / f"{name}.expected.txt").read_text()
    assert not ran.out.exists()


def test_the_records_of_the_wrong_build_pass_where_grch38_has_them(run, tmp_path):
    """So that the guard stops them for their positions and nothing else."""
    text, moved = (EXAMPLES / "wrong_build.vcf").read_text(), tmp_path / "moved.vcf"
    moved.write_text(
        re.sub(r"^([^#]\S*\t)(\d+)", lambda found: f"{found[1]}{int(found[2]) + 12_477}", text, flags=re.M)
    )
    fasta = "example_vcfs/wrong_build.fa.gz"
    ran = run(["annotate", str(moved), "-R", fasta, "--backend", "null", "-O", "moved.out.vcf"])
    assert ran.code == 0, ran.err
    assert "by status: OK 28\n" in ran.err
    assert ran.text.count("SpliceBERT_SYMBOL=TBX1;") == 28


def test_each_alt_has_the_values_it_has_alone(example, run, tmp_path):
    """Number=A stays aligned, also beside an ALT without score and when ALTs are padded to a common REF."""
    text = example("multiallelic.out.vcf").text
    header = [line for line in text.splitlines() if line.startswith("#")]
    alone = tmp_path / "alone.vcf"
    split = ["\t".join([*record[:4], alt, ".", ".", "."]) for record in records(text) for alt in record[4].split(",")]
    alone.write_text("\n".join([*header, *split]) + "\n")
    found = [ours(record[7]) for record in records(run(["annotate", str(alone), *BRCA1, "-O", "alone.out.vcf"]).text)]
    together = []
    for record in records(text):
        values = {key: value.split(",") for key, value in ours(record[7]).items()}
        assert {len(value) for value in values.values()} == {len(record[4].split(","))}
        for at in range(len(record[4].split(","))):
            together.append({key: value[at] for key, value in values.items() if value[at] != "."})
    for one, many in zip(found, together, strict=True):
        assert_same_items(one, many)
    assert [one["SpliceBERT_STATUS"] for one in found[-3:]] == ["OK", "SPANNING_DELETION", "OK"]


def without_offsets(record):
    """Our items, but those that count from POS."""
    return {key: value for key, value in ours(record[7]).items() if not key.startswith("SpliceBERT_DP")}


def test_a_change_has_the_same_scores_however_it_is_written(example):
    """In a repeat a change has many places, and any caller picks one."""
    writings: dict[str, list[list[str]]] = {}
    for record in records(example("repeats.out.vcf").text):
        writings.setdefault(record[2], []).append(record)
    assert len(writings) == 4
    for same in writings.values():
        assert {info(record[7])["WRITING"] for record in same} == {"left", "right", "padded"}
        assert len({(record[1], record[3], record[4]) for record in same}) == 3
        assert len({tuple(without_offsets(record).items()) for record in same}) == 1
        places = [int(record[1]) + int(info(record[7])["SpliceBERT_DP_DL"]) for record in same]
        assert len(set(places)) == 1
    # Right-shifted, this deletion of a CA takes +1 and an exonic base; it is measured left-aligned, as ClinVar has it.
    [donor] = {tuple(without_offsets(record).items()) for record in writings["431269"]}
    assert dict(donor)["SpliceBERT_SITE_OFFSET"] == "+2"
    assert dict(donor)["SpliceBERT_SITE_HIT"] == "donor"


def test_genes_of_both_strands_are_scored_and_flat_values_come_from_one(example):
    text = example("overlapping.out.vcf").text
    columns = re.search(r"ID=SpliceBERT,.*Format: ([^\"]+)", text)
    assert columns
    flat_gene = {}
    for record in records(text):
        items = info(record[7])
        cells = [entry.split("|") for entry in items["SpliceBERT"].split(",")]
        entries = [dict(zip(columns[1].split("|"), entry, strict=True)) for entry in cells]
        pos = int(record[1])
        flat_gene[pos] = items["SpliceBERT_SYMBOL"]
        # NBR2 begins at 43,125,420; BRCA1 reaches far beyond by other transcripts' first exons.
        genes = {("BRCA1", "-"), ("NBR2", "+")} if pos >= 43_125_420 else {("BRCA1", "-")}
        assert {(entry["SYMBOL"], entry["STRAND"]) for entry in entries} == genes
        assert items["SpliceBERT_NGENES"] == str(len(genes))
        # Strands have different windows, hence different scores.
        assert len({entry["KL_CTX"] for entry in entries}) == len(genes)
        for key in ("DS_MAX", "STRAND", "SITE_OFFSET", "SITE_HIT", "KL_CTX", "KL_SS", "STATUS"):
            assert items.get(f"SpliceBERT_{key}", "") == entries[0][key]
        disturbed = {entry["SYMBOL"] for entry in entries if float(entry["DS_MAX"]) >= 0.2}
        assert (disturbed == {"NBR2"}) == (pos in (43_125_428, 43_125_771, 43_125_772))
    donor = [43_125_771, 43_125_772, 43_125_800]  # +1, +2 and +30 of NBR2's first exon; far from BRCA1's exons
    assert [pos for pos, symbol in flat_gene.items() if symbol == "NBR2"] == [43_125_428, *donor]


def test_scores_stop_where_100_nt_are_not_left(example):
    text = example("contig_end.out.vcf").text
    status = {(int(record[1]), record[4]): info(record[7])["SpliceBERT_STATUS"] for record in records(text)}
    assert status.pop((2202, "A")) == "REF_MISMATCH"  # the contig has 2,200 nt
    no_context = [place for place, word in status.items() if word == "N_CONTEXT"]
    assert no_context == [(1, "T"), (100, "C"), (2101, "A"), (2200, "A")]
    assert status[100, "T"] == "OK"  # TG>T takes base 101
    assert status[101, "A"] == status[2100, "A"] == "OK"


def test_a_window_that_reaches_no_end_is_the_chromosomes(example, run, tmp_path):
    """In the middle of the short contig, lower-case or not; beside its end the window has shifted: other bases."""
    short = by_id(example("contig_end.out.vcf").text)
    whole, moved = tmp_path / "whole.vcf", []
    for record in records((EXAMPLES / "contig_end.vcf").read_text()):
        if record[2] in ("209379", "37596"):  # position 1189, and 2087 of 2200
            moved.append("\t".join(["chr17", str(int(record[1]) + 43_074_400), *record[2:]]))
    columns = "#CHROM POS ID REF ALT QUAL FILTER INFO".replace(" ", "\t")
    whole.write_text("\n".join(["##fileformat=VCFv4.2", columns, *moved]) + "\n")
    ran = run(["annotate", str(whole), *BRCA1, "--scores", "LLR,PLLR,KL_CTX,KL_SS", "-O", "whole.out.vcf"])
    on_chr17 = by_id(ran.text)
    bases = "".join((EXAMPLES / "contig_end.fa").read_text().splitlines()[1:])
    assert any(base.islower() for base in bases[1189 - 255 : 1189 + 255])
    for key in ("LLR", "PLLR", "KL_CTX"):
        key = f"SpliceBERT_{key}"
        assert_same_value(short["209379"][key], on_chr17["209379"][key])
        assert float(short["37596"][key]) != pytest.approx(float(on_chr17["37596"][key]), abs=1e-3)
    for key in ("SITE_OFFSET", "SITE_HIT", "TRANSCRIPT"):
        assert short["37596"][f"SpliceBERT_{key}"] == on_chr17["37596"][f"SpliceBERT_{key}"]


def test_the_examples_have_every_status_that_input_can_have(example):
    found = re.findall(r"[ ,]([A-Z_]+) \d", example("statuses.out.vcf").err.split("by status:")[1])
    beyond_input = {Status.FAILED, Status.NOT_APPLICABLE}
    assert found == [str(status) for status in Status if status not in beyond_input]
    lower = by_id(example("statuses.out.vcf").text)["54466"]
    upper = by_id(example("multiallelic.out.vcf").text)["54466"]
    assert lower["SpliceBERT_KL_SS"] == upper["SpliceBERT_KL_SS"].split(",")[0]


def test_an_earlier_annotation_gives_way_and_csq_stays(example):
    text = example("annotated_before.out.vcf").text
    assert '"0.0.1"' not in text
    assert "SpliceBERT_GONE" not in text and "|old|" not in text
    assert text.count("##SpliceBERT_provenance=") == 1
    assert text.count("##INFO=<ID=SpliceBERT_LLR,") == 1
    before = by_id((EXAMPLES / "annotated_before.vcf").read_text())
    after = by_id(text)
    for key, items in after.items():
        assert items["CSQ"] == before[key]["CSQ"]
        assert list(items)[:3] == ["CLNHGVS", "CLNSIG", "CSQ"]  # what was between them has gone
        assert "SpliceBERT" not in items  # the VEP-style key was not asked for this time


def test_offsets_are_those_of_hgvs(example):
    """VEP's c. notation on the transcript that the program reports."""
    compared = 0
    for items in by_id(example("annotated_before.out.vcf").text).values():
        transcript = re.escape(items["SpliceBERT_TRANSCRIPT"])
        if intronic := re.search(rf"{transcript}:c\.\d+([+-]\d+)", items["CSQ"]):
            assert items["SpliceBERT_SITE_OFFSET"] == intronic[1]
            compared += 1
    assert compared == 3


def test_site_hits_are_those_of_clinvar(example):
    """ClinVar's consequence names a splice site where SITE_HIT does, and nowhere else."""
    hits = 0
    for name in GOOD:
        for record in records(example(f"{name}.out.vcf").text):
            items = info(record[7])
            if "MC" in items and items.get("SpliceBERT_STATUS") == "OK":
                named = re.findall(r"splice_(donor|acceptor)_variant", items["MC"])
                assert named == [hit for hit in [items.get("SpliceBERT_SITE_HIT")] if hit], record[:3]
                hits += len(named)
    assert hits > 10


def test_every_file_is_named_and_every_vcf_is_run():
    indexes = (".fai", ".gzi", ".tbi", ".csi")  # users and other tools make them
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix not in indexes and path.name != "README.md"}
    words = {word.removeprefix("example_vcfs/") for command in COMMANDS.values() for word in command}
    for name in files:
        if ".expected." in name:
            assert name.split(".")[0] in {*GOOD, *WRONG_BUILDS}
        else:
            assert f"| {name} |" in README, name
            assert name in words, name
    for name in (*GOOD, *WRONG_BUILDS):
        assert f"{name}.expected.{'txt' if name in WRONG_BUILDS else 'vcf'}" in files

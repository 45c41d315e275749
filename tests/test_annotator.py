"""The Python API: what it takes and returns, that it says what the command line says, and who may share it."""

import json
import multiprocessing
import pickle
import re
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product
from pathlib import Path

import cyvcf2
import numpy as np
import pyarrow.parquet as pq
import pytest

import splicebert_vep
from factories import FASTA, VCF, Point, plugin
from splicebert_vep import Annotator, ScoredVariant, Settings, SpliceBertError, Variant
from splicebert_vep.annotator import GuardedChunks
from splicebert_vep.cli import main as program
from splicebert_vep.errors import BuildError, OutputError, PluginError, SettingsError
from splicebert_vep.genome.reference import Reference
from splicebert_vep_spec import Status, TableAdapter, TableWriter

DONOR = "chr17-43047641-A-C"  # ClinVar 125852, c.5467+2T>G


@pytest.fixture(scope="module")
def annotator(session_cache):
    with Annotator(reference=FASTA, annotation="grch38", model="splicebert-mini", device="cpu") as opened:
        yield opened


@pytest.fixture
def null(session_cache):
    with Annotator(FASTA, backend="null") as opened:
        yield opened


def variants():
    return [Variant(v.CHROM, v.POS, v.REF, v.ALT[0]) for v in cyvcf2.VCF(str(VCF)) if v.ALT]


def test_one_variant_gives_one_result(annotator):
    result = annotator.score(DONOR)
    assert isinstance(result, ScoredVariant)
    assert (result.status, result.reason, result.variant) == (Status.OK, "", Variant("chr17", 43047641, "A", "C"))
    assert (result.gene.symbol, result.gene.strand, result.gene.site_offset) == ("BRCA1", "-", "+2")
    assert result["KL_SS"] == result.values["KL_SS"] > 0
    assert (result.allele.start, result.allele.ref, result.allele.alt) == (43047640, "A", "C")
    assert annotator.score(Variant("17", 43047641, "a", "c")).values == result.values


def test_a_description_says_what_the_score_of_the_loaded_model_was_measured_to_be_worth(annotator, null, tmp_path):
    annotator.annotate(VCF, tmp_path / "o.vcf")
    about = dict(re.findall(r'##INFO=<ID=SpliceBERT_(\w+),.*Description="([^"]*)"', (tmp_path / "o.vcf").read_text()))
    measured = (
        r"; splicebert-mini: AUROC on 143 variants with RNA evidence, where present, 0\.\d{3} \(distance .* \.\d{3}\)"
    )
    judged = {name for name, text in about.items() if re.search(measured, text)}
    assert judged == {"LLR", "PLLR", "KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "EMB_COS", "EMB_L2"}
    assert "worth not measured" in next(one.description for one in null.plan.fields if one.id == "KL_SS")


def test_a_field_that_was_not_computed_is_no_missing_value(annotator):
    result = annotator.score("chr17-43045691-T-TG")
    assert result["LLR"] is None  # an insertion has none
    with pytest.raises(SettingsError, match=r"KL_MAX was not computed(.|\n)*KL_CTX"):
        result["KL_MAX"]


def test_an_iterable_gives_an_iterator_in_order(null):
    given = [DONOR, Variant("17", 43047641, "A", "G"), ("17", np.int64(43047641), "A", "T"), "17:43047641A>*"]
    results = null.score(iter(given))
    assert next(results)["KL_SS"] == null.score(DONOR)["KL_SS"]
    rest = list(results)
    assert [result.variant.alt for result in rest] == ["G", "T", "*"]
    assert [result.status for result in rest] == [Status.OK, Status.OK, Status.SPANNING_DELETION]
    assert list(null.score([])) == []


def test_chunks_are_read_as_they_are_scored(session_cache):
    taken = []

    def stream():
        for pos in range(43047641, 43047741):
            taken.append(pos)
            yield Variant("17", pos, bases[pos - 43047641], "A" if bases[pos - 43047641] != "A" else "C")

    with Annotator(FASTA, backend="null", settings=Settings(chunk_records=25)) as small:
        bases = small.reference.fetch("chr17", 43047640, 43047740).decode()
        results = small.score(stream())
        assert taken == []
        next(results)
        assert len(taken) == 25
        assert len(list(results)) == 99


@pytest.mark.parametrize(
    "wrong", ["chr17", ("17", 5.0, "A", "C"), ("17", 5, "A"), ("17", 5, "A", None), ("17", 5, "A", ["C"]), 7, None]
)
def test_what_is_no_variant_is_told(null, wrong):
    with pytest.raises(SettingsError, match=r"variant could not be read(.|\n)*found:"):
        list(null.score([wrong]))


def test_one_variant_where_many_belong(null):
    assert null.score_frame(DONOR)["POS"] == [43047641]
    with pytest.raises(SettingsError, match=r"needed: +\[\('17', 43047641, 'A', 'C'\)\]"):
        list(null.score(("17", 43047641, "A", "C")))


def test_a_variant_on_an_unknown_contig_has_a_status(null):
    assert null.score("chrX-100-A-C").status is Status.NO_CONTIG


def test_variants_of_another_build_are_told(null):
    moved = [Variant(v.chrom, v.pos + 101, v.ref, v.alt) for v in variants()]
    with pytest.raises(BuildError, match="REF bases|build"):
        list(null.score(moved))


def test_a_cut_reference_is_scored_when_a_person_vouches_for_its_build(session_cache, tmp_path):
    text, fasta = "GATTACACCA" * 200, tmp_path / "cut.fa"
    fasta.write_text(f">chr17\n{text}\n")
    (tmp_path / "in.vcf").write_text("##fileformat=VCFv4.2\n##contig=<ID=17,length=81195210>\n" + (
        "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" f"17\t1001\t.\t{text[1000]}\tC\t.\t.\t.\n"))  # fmt: skip
    for trusted in (False, True):
        with Annotator(fasta, "grch37", backend="null", trust_build=trusted) as opened:
            if trusted:
                assert opened.annotate(tmp_path / "in.vcf", tmp_path / "out.vcf").records == 1
                assert opened.run.provenance["TrustBuild"] == "True"
            else:
                with pytest.raises(BuildError, match="--trust-build"):
                    opened.annotate(tmp_path / "in.vcf", tmp_path / "out.vcf")
                assert "TrustBuild" not in opened.run.provenance


def test_names_are_scored_as_variants(null, caplog):
    [named, plain] = null.score(["BRCA1:c.5467+2T>G", "17-43047641-A-C"])
    assert (named.allele, named.values) == (plain.allele, plain.values)
    assert "read on ENST00000357654.9" in caplog.text
    assert null.lookup("NM_007294.4:c.5467+2T>G") == (Variant("chr17", 43047641, "A", "C"), "")
    with pytest.raises(SettingsError, match="no gene or transcript"):
        null.score("BRCA11:c.5467+2T>G")


def test_every_allele_of_a_gene_has_names_whatever_its_score(null):
    """Names as ClinVar and VEP have them; deletions of 400 and 6,698 nt are too long for a score.

    The last one can stand two bases further left, which is further 3' in BRCA1.
    """
    bases, more = (
        null.reference.fetch("chr17", *span).decode() for span in ((43047639, 43048040), (43044922, 43051621))
    )
    given = [
        "17-43047641-A-C",
        "17-43063345-TTTTC-T",
        f"17-43047640-{bases}-{bases[0]}",
        f"17-43044923-{more}-{more[0]}",
    ]
    found = [(one.status, one.gene and (one.gene.hgvsc, one.gene.hgvsg)) for one in null.score(given)]
    assert found == [
        ("OK", ("ENST00000357654.9:c.5467+2T>G", "NC_000017.11:g.43047641A>C")),
        ("OK", ("ENST00000357654.9:c.5177_5180del", "NC_000017.11:g.43063353_43063356del")),
        ("TOO_LONG", ("ENST00000357654.9:c.5407-337_5467+2del", "NC_000017.11:g.43047641_43048040del")),
        ("TOO_LONG", ("ENST00000357654.9:c.5278-502_*756del", "NC_000017.11:g.43044924_43051621del")),
    ]


def test_an_accession_of_another_assembly_is_told(null, tmp_path):
    assert null.score("NC_000017.11:g.43047641A>C").status is Status.OK
    for name in ("NC_000017.10", "NC_000017.9", "NC_000083.7", "CM000679.1", "NC_060941.1"):
        with pytest.raises(BuildError, match=name):
            null.score(f"{name}:g.43047641A>C")
    moved = tmp_path / "old.vcf"
    moved.write_text(re.sub("(?m)^(chr)?17\\b|(?<=ID=)(chr)?17\\b", "NC_000017.10", VCF.read_text()))
    for given, options in ((moved, {}), (VCF, {"region": "NC_000017.10:43000000-43100000"})):
        with pytest.raises(BuildError, match="NC_000017.10"):
            null.annotate(given, tmp_path / "out.vcf", **options)
    assert not (tmp_path / "out.vcf").exists()


def test_a_frame_has_the_columns_of_the_table(null, tmp_path):
    frame = null.score_frame(variants())
    null.annotate(VCF, tmp_path / "t.tsv", emit=["tsv"])
    header, *lines = [line.split("\t") for line in (tmp_path / "t.tsv").read_text().splitlines() if line[:2] != "##"]
    assert list(frame) == header
    assert {len(column) for column in frame.values()} == {len(lines)}
    assert frame["POS"] == [int(line[header.index("POS")]) for line in lines]
    assert frame["STATUS"] == [line[header.index("STATUS")] for line in lines]
    llr = [None if not line[header.index("LLR")] else float(line[header.index("LLR")]) for line in lines]
    assert None in llr
    assert [v is None for v in frame["LLR"]] == [v is None for v in llr]
    assert null.score_frame([]) == {name: [] for name in header}


class Table(dict):
    """Acts like a DataFrame of pandas or polars: has ``columns`` and gives one by name; iteration gives names."""

    columns = property(list)


def test_a_data_frame_is_scored_by_its_columns(null):
    for names in (("CHROM", "POS", "REF", "ALT"), ("#chrom", "pos", "ref", "alt")):
        table = Table(
            zip(names, (["17", "17"], [43047641, 43045803], ["A", "C"], ["C", "T"]), strict=True), extra=[1, 2]
        )
        assert null.score_frame(table) == null.score_frame(["17-43047641-A-C", "17-43045803-C-T"])
        assert [result.variant.pos for result in null.score(table)] == [43047641, 43045803]
    with pytest.raises(SettingsError, match="(?s)CHROM, POS, REF, ALT.*found: *chrom, start"):
        null.score_frame(Table(chrom=["17"], start=[1]))


def test_api_and_command_line_say_the_same(annotator, tmp_path, capfd):
    """The bundled model on every record of the example: VCF file, table, score command and both ways of the API."""
    words = ["-R", str(FASTA), "-A", "grch38", "--device", "cpu"]
    one, other = tmp_path / "api.vcf", tmp_path / "cli.vcf"
    summary = annotator.annotate(VCF, one)
    assert summary.by_status() == {"NO_ALT": 1, "TOO_LONG": 1, "OK": 44}
    assert program._run(["annotate", str(VCF), *words, "-O", str(other)]) == 0
    assert one.read_bytes() == other.read_bytes()
    program._run(["annotate", str(VCF), *words, "--emit", f"jsonl={tmp_path / 't.jsonl'}"])
    capfd.readouterr()
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines[1:]]
    given = variants()
    assert program._run(["score", *[str(variant) for variant in given], *words, "--json"]) == 0
    scored = json.loads(capfd.readouterr().out)
    results = list(annotator.score(given))
    frame = annotator.score_frame(given)
    assert scored["provenance"] == json.loads(lines[0])["provenance"] == dict(annotator.run.provenance)
    by_hand = [{**row, "ID": "."} for row in rows]
    assert [{**row, "ID": "."} for row in scored["rows"]] == by_hand
    assert [dict(zip(frame, cells, strict=True)) for cells in zip(*frame.values(), strict=True)] == by_hand
    assert [result["KL_CTX"] for result in results] == [
        next(row["KL_CTX"] for row in rows if (row["POS"], row["ALT"]) == (v.pos, v.alt)) for v in given
    ]


def test_a_result_is_a_mapping_of_its_fields(null):
    result = null.score(DONOR)
    assert "KL_SS" in result and "KL_MAX" not in result
    assert list(result) == list(result.values)


def test_nobody_can_write_into_the_provenance(null):
    with pytest.raises(TypeError):
        null.run.provenance["Model"] = "another"


def test_a_result_shows_itself_in_terminals_and_notebooks(annotator):
    result = annotator.score(DONOR)
    text, html = str(result), result._repr_html_()
    assert re.search(r"^  KL_SS +0\.4009 ", text, re.MULTILINE)
    assert re.search(r"^  status +OK$", text, re.MULTILINE)
    assert "<td>KL_SS</td><td>0.4009</td>" in html
    sentence = " ".join(str(result["EFFECT_TEXT"]).split())
    head, rest = " ".join(text.split()).split(" DS_MAX ", 1)
    assert head == f"{result.variant} {sentence}"  # the answer first
    assert rest.index(" gene ") < rest.index(" DS_DL ") < rest.index(" KL_SS ")
    assert f"<p>{sentence}</p>" in html.replace("&gt;", ">")
    odd = annotator.score(Variant("17", 43047641, "A", "<b>"))
    assert "&lt;b&gt;" in odd._repr_html_() and "<b><b>" not in odd._repr_html_()
    assert "SYMBOLIC" in str(odd)


def test_threads_may_share_an_annotator(session_cache):
    """Scores, and reads of the FASTA, that run into each other would differ from those of one thread."""
    given = variants()
    with Annotator(FASTA, backend="null") as shared:
        alone = [shared.score(variant).values for variant in given]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda v: shared.score(v).values, given * 4))
    assert together == alone * 4


def _score_in_child(annotator, results):
    try:
        annotator.score(DONOR)
    except SpliceBertError as error:
        results.put(str(error))


def test_another_process_is_refused(null):
    """Parent and child of a fork share the position in the open FASTA, so one would read what the other sought."""
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    child = fork.Process(target=_score_in_child, args=(null, results))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)  # Python warns of forks beside threads
        child.start()
    assert "belongs to another process" in results.get(timeout=60)
    child.join()
    with pytest.raises(TypeError, match="open one in each process"):
        pickle.dumps(null)


def test_a_closed_annotator_says_so():
    with Annotator(FASTA, backend="null") as closed:
        pass
    with pytest.raises(SettingsError, match="annotator is closed"):
        closed.score(DONOR)


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        # BRCA1's GRCh37 positions lie in the N of the example FASTA, where the build guard cannot tell.
        (
            lambda body: re.sub(r"\t(\d+)\t", lambda m: f"\t{int(m[1]) - 1_847_983}\t", body, count=1),
            "45 of 45 ALTs are REF_",
        ),
        (lambda line: f"{line}\n{line.replace('17', '18', 1)}", "45 of 90 ALTs are NO_CONTIG"),
    ],
)
def test_many_alleles_that_the_fasta_does_not_have_are_told(change, warning, null, tmp_path):
    lines = VCF.read_text().splitlines()
    lines = [line if line[0] == "#" else change(line) for line in lines]
    (tmp_path / "in.vcf").write_text("\n".join(lines) + "\n")
    summary = null.annotate(tmp_path / "in.vcf", tmp_path / "out.vcf")
    assert any(warning in text for text in summary.warnings)


class Clearing(TableAdapter, TableWriter):
    """A table adapter that empties the list of outcomes it is given."""

    name, version = "clearing", "1"

    def open(self, path, run):
        self.path = path
        return self

    def write(self, reports):
        reports.clear()

    def close(self):
        Path(self.path).touch()


def test_an_adapter_cannot_take_outcomes_from_the_others(install, tmp_path):
    install(Point("mine", plugin(register_adapters=lambda: [Clearing()])))
    with (
        Annotator(FASTA, backend="null") as opened,
        pytest.raises(PluginError, match=r"clearing of plugin mine(.|\n)*AttributeError"),
    ):
        opened.annotate(VCF, tmp_path / "o.vcf", emit=["flat", f"clearing={tmp_path / 'c'}"])
    assert list(tmp_path.iterdir()) == []


def test_what_the_package_exports_is_there():
    for name in splicebert_vep.__all__:
        assert getattr(splicebert_vep, name) is not None
    assert set(splicebert_vep.__all__) <= set(dir(splicebert_vep))
    with pytest.raises(AttributeError, match="no attribute 'annotate'"):
        splicebert_vep.annotate  # noqa: B018


@pytest.mark.parametrize("name", ["out.vcf", "out.vcf.gz"])
def test_outputs_of_a_run_get_their_names_together_or_not_at_all(null, tmp_path, name):
    out, other = tmp_path / name, tmp_path / "out.tsv"
    out.write_bytes(b"of an earlier run")
    (tmp_path / f"{name}.tbi").write_bytes(b"its index")

    def block(*_):
        other.mkdir(exist_ok=True)  # the last output finds a folder under its name

    with pytest.raises(OutputError) as told:
        null.annotate(VCF, out, emit=["flat", f"jsonl={tmp_path / 'out.jsonl'}", f"tsv={other}"], progress=block)
    assert told.value.where == str(other) and "already" not in told.value.found
    left = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert left == {name: b"of an earlier run", f"{name}.tbi": b"its index"}


def test_a_file_that_cannot_come_back_is_named(null, tmp_path, monkeypatch):
    out, other = tmp_path / "out.vcf", tmp_path / "out.tsv"
    out.write_bytes(b"of an earlier run")
    monkeypatch.setattr("os.link", no_links)
    with pytest.raises(OutputError, match="replaced already: .*out.vcf"):
        null.annotate(VCF, out, emit=["flat", f"tsv={other}"], progress=lambda *_: other.mkdir(exist_ok=True))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.vcf"]


def no_links(*_):
    raise PermissionError("a file system without hard links")


def test_a_chunk_of_long_records_has_fewer_of_them(null):
    long = "A" * (1 << 24)  # two are as much as a chunk holds
    given = [Variant("17", 43047641, "A", alt) for alt in ("C", "G", long, long, "T", "AC", "AG", "AT")]
    chunks = GuardedChunks(iter(given), 4, null.guard())
    assert [len(chunk) for chunk in chunks] == [4, 4]
    assert [len(chunk) for chunk in GuardedChunks(iter(given[2:]), 4, null.guard())] == [2, 4]


def test_memory_of_a_record_does_not_grow_with_ref_times_alts(null, tmp_path):
    with Reference(FASTA) as reference:
        ref = reference.fetch("chr17", 43_050_000, 43_110_000).decode()
    alts = [ref[0] + "".join(more) for more in islice(product("ACGT", repeat=6), 1500)]  # no two have one span
    source = tmp_path / "in.vcf"
    record = f"17\t43050001\t.\t{ref}\t{','.join(alts)}\t.\t.\t.\n"  # 72 kB; 1,500 spans of it are 90 MB
    source.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + record)
    emit = ["flat", "vep", *(f"{kind}={tmp_path / kind}" for kind in ("tsv", "jsonl", "parquet"))]
    tracemalloc.start()
    try:
        summary = null.annotate(source, tmp_path / "out.vcf", emit=emit)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert summary.by_status() == {"TOO_LONG": 1500}
    assert peak < 20e6  # it was 637 MB
    rows = pq.read_table(tmp_path / "parquet", columns=["REF", "START", "SPAN_REF"]).to_pylist()
    assert len(rows) == 1500 and all(row == {"REF": ref, "START": None, "SPAN_REF": None} for row in rows)

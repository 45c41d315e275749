"""Embeddings equal those of transformers, whichever window a nucleotide is read from, on either strand."""

import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pyarrow.parquet as pq
import pysam
import pytest
import torch

from factories import FLANK, GENES, LENGTH, WIDTH, ids_of, opened, some_genome, some_model, theirs, write_work
from oracle import revcomp
from splicebert_vep import embed
from splicebert_vep.errors import BackendError, BuildError, PluginError, SettingsError, VcfError
from splicebert_vep.model.backend import TorchBackend
from splicebert_vep.plugins import GuardedBackend, Origin
from splicebert_vep.sequence.windows import Kept, stitch
from splicebert_vep.tools.embed import check_formats
from splicebert_vep_spec import BackendOptions
from splicebert_vep_spec.testing import BackendConformance

KEEP, HEADS, LAYERS = 24, 4, 3


TWO_GENES = f"""{GENES}\
c1\tx\tgene\t51\t700\t.\t+\t.\tID=gene:GP.1;gene_id=GP.1;Name=PLUS;biotype=protein_coding
c1\tx\tmRNA\t51\t700\t.\t+\t.\tID=transcript:TP;Parent=gene:GP.1;transcript_id=TP
c1\tx\texon\t51\t700\t.\t+\t.\tParent=transcript:TP
"""


HEADER = f"##fileformat=VCFv4.2\n##contig=<ID=c1,length={LENGTH}>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


COLUMNS = [
    "name", "chrom", "pos", "ref", "alt", "contig", "start", "end", "strand", "gene", "symbol", "transcript", "side",
    "span_start", "span_end", "status", "reason", "length", "known",
]  # fmt: skip


PLUS, MINUS = ("+", "GP.1", "PLUS", "TP"), ("-", "GM.2", "MINUS", "TM")


@pytest.fixture(scope="module")
def model():
    model = some_model()
    model.set_attn_implementation("eager")  # which gives attention weights
    return model


@pytest.fixture(scope="module")
def genome():
    return some_genome()


@pytest.fixture(scope="module")
def work(tmp_path_factory, model, genome):
    return write_work(tmp_path_factory.mktemp("embed"), model, genome, TWO_GENES)


@pytest.fixture(scope="module")
def annotator(work):
    with opened(work) as annotator:
        yield annotator


@pytest.fixture(scope="module")
def batched(work):
    """Three windows in a call."""
    with opened(work, batch_tokens=3 * (WIDTH + 2)) as annotator:
        yield annotator


def windows_by_hand(start, end, length, width=WIDTH, keep=KEEP):
    """Of each nucleotide of [start, end) on the strand, where its window starts: block by block, in plain Python."""
    found = []
    for i in range(start, end):
        first = start + (i - start) // keep * keep
        block = min(keep, end - first)
        found.append(min(max(first - (width - block) // 2, 0), length - width))
    return found


REGIONS = [
    ("c1", 300, 800, "+"),  # N in its middle
    ("c1", 300, 800, "-"),
    ("c1", 0, 70, "+"),  # both ends of the contig, on both strands
    ("c1", 0, 70, "-"),
    ("c1", LENGTH - 70, LENGTH, "+"),
    ("c1", LENGTH - 70, LENGTH, "-"),
    ("c1", 600, 601, "-"),  # one nucleotide
    ("c1", 0, LENGTH, "-"),
    ("short", 3, 39, "+"),  # a contig shorter than a window
    ("short", 0, 40, "-"),
]


@pytest.mark.parametrize(("contig", "start", "end", "strand"), REGIONS)
def test_every_layer_equals_transformers_run_on_the_single_windows(
    annotator, model, genome, contig, start, end, strand
):
    region = f"{contig}:{start + 1}-{end}"
    [found] = embed(annotator, regions=[region], strand=strand, layers="all", keep=KEEP)
    bases = genome if contig == "c1" else genome[:40]
    along = bases if strand == "+" else revcomp(bases)
    length, width = len(bases), min(WIDTH, len(bases))
    first, last = (start, end) if strand == "+" else (length - end, length - start)
    wanted_windows = windows_by_hand(first, last, length, width)
    states = {at: theirs(model, along[at : at + width]) for at in set(wanted_windows)}
    wanted = np.stack([states[at][i - at] for i, at in zip(range(first, last), wanted_windows, strict=True)])
    assert found.values.shape == wanted.shape == (end - start, 4, 32)
    assert found.values.dtype == np.float32
    assert np.abs(found.values - wanted).max() < 1e-4
    assert found.sequence == along[first:last]
    complement = str.maketrans("ACGTN", "TGCAN" if strand == "-" else "ACGTN")
    assert "".join(bases[at] for at in found.position).translate(complement) == found.sequence
    genomic = [at if strand == "+" else length - at - width for at in wanted_windows]
    assert found.window_start.tolist() == genomic
    assert found.layers == ("0", "1", "2", "3")


def test_minus_is_plus_of_the_reverse_complement_to_the_bit(annotator, work):
    with opened(work, "other.fa") as other:
        for start, end in ((300, 800), (0, 70), (LENGTH - 70, LENGTH)):
            [minus] = embed(annotator, regions=[f"c1:{start + 1}-{end}"], strand="-", layers="all", keep=KEEP)
            turned = f"c1:{LENGTH - end + 1}-{LENGTH - start}"
            [plus] = embed(other, regions=[turned], strand="+", layers="all", keep=KEEP)
            assert (minus.values == plus.values).all()
            assert minus.sequence == plus.sequence


def test_batches_change_nothing_that_matters(annotator, work):
    wanted = {"regions": ["c1:301-800", "short", "c1:5-5"], "strand": "-", "layers": "all", "keep": KEEP}
    with opened(work, batch_tokens=5 * (WIDTH + 2)) as larger:
        for one, other in zip(embed(annotator, **wanted), embed(larger, **wanted), strict=True):
            assert np.abs(one.values - other.values).max() < 1e-5
            assert one.window_start.tolist() == other.window_start.tolist()


def test_blocks_and_their_windows_by_hand():
    # 10 nt of a sequence of 30 by windows of 8, of which 4 are kept: 2 nt stand before a block of 4, 3 before one of 2
    assert list(stitch(10, 20, 30, width=8, keep=4)) == [Kept(8, 10, 14), Kept(12, 14, 18), Kept(15, 18, 20)]
    # the first window is moved from -2 to 0; that of the second block starts at 4 - 2
    assert list(stitch(0, 8, 30, width=8, keep=4)) == [Kept(0, 0, 4), Kept(2, 4, 8)]
    assert list(stitch(0, 8, 8, width=8, keep=3)) == [Kept(0, 0, 8)]  # one window is all there is
    assert list(stitch(26, 30, 30, width=8, keep=4)) == [Kept(22, 26, 30)]


def test_files_hold_what_the_api_gives(annotator, work, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("c1\t480\t560\tmiddle\t0\t-\nc1\t500\t507\tunknown\t0\t+\nshort\t0\t40\t\t0\t+\n")
    embeddings = embed(annotator, genes=["MINUS"], bed=str(bed), layers=[0, 3], keep=KEEP)
    h5, parquet = tmp_path / "o.h5", tmp_path / "o.parquet"
    embeddings.save(str(h5), str(parquet))
    table = pq.read_table(parquet)
    rows = table.to_pylist()
    assert [(row["name"], row["contig"], row["start"], row["end"], row["strand"], row["gene"]) for row in rows] == [
        ("MINUS", "c1", 300, 900, "-", "GM.2"),
        ("middle", "c1", 480, 560, "-", None),
        ("unknown", "c1", 500, 507, "+", None),
        ("short:1-40", "short", 0, 40, "+", None),
    ]
    assert [(row["length"], row["known"]) for row in rows] == [(600, 593), (80, 73), (7, 0), (40, 40)]
    assert rows[2]["layer_0"] is rows[2]["layer_3"] is None
    with h5py.File(h5) as file:
        offset = file["target/offset"][:].tolist()
        assert offset == [0, 600, 680, 687, 727]
        assert file["target/name"].asstr()[:].tolist() == [row["name"] for row in rows]
        assert file["target/gene"].asstr()[:].tolist() == ["GM.2", "", "", ""]
        assert file["target/strand"].asstr()[:].tolist() == ["-", "-", "+", "+"]
        assert file["layer"].asstr()[:].tolist() == ["0", "3"]
        for key in ("WeightsSHA256", "ReferenceSHA256", "AnnotationDigest", "Window", "Keep", "Layers", "Precision"):
            assert file.attrs[key] == table.schema.metadata[key.encode()].decode() != ""
        assert (file.attrs["Window"], file.attrs["Keep"], file.attrs["Layers"]) == ("60", "24", "0,3")
        for number, one in enumerate(embeddings):
            at = slice(offset[number], offset[number + 1])
            assert (file["embedding"][at] == one.values).all()
            assert file["sequence"][at].tobytes().decode() == one.sequence
            assert (file["position"][at] == one.position).all()
            assert (file["window_start"][at] == one.window_start).all()
            known = [i for i, base in enumerate(one.sequence) if base != "N"]
            if known:
                mean = one.values[known].astype(np.float64).mean(axis=0)
                for place, layer in enumerate(("layer_0", "layer_3")):
                    assert np.allclose(rows[number][layer], mean[place], atol=1e-6)
                assert np.allclose(one.mean, mean, atol=1e-6)
            else:
                assert one.mean is None


def test_a_second_run_gives_the_same_bytes(work, tmp_path):
    for name in ("a", "b"):
        with opened(work) as annotator:
            embeddings = embed(annotator, genes=["GM.2"], layers="all")
            embeddings.save(*(str(tmp_path / f"{name}{suffix}") for suffix in (".h5", ".parquet")))
    for suffix in (".h5", ".parquet"):
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_a_run_that_fails_leaves_the_earlier_files_and_nothing_else(work, tmp_path, monkeypatch):
    for name in ("o.h5", "o.parquet"):
        (tmp_path / name).write_text("earlier")
    with opened(work) as annotator:
        embeddings = embed(annotator, records=True)
        calls = []
        inner = annotator.backend.hidden_states

        def failing(*arguments):
            calls.append(arguments)
            if len(calls) == 3:
                raise RuntimeError("out of memory")
            return inner(*arguments)

        monkeypatch.setattr(annotator.backend, "hidden_states", failing)
        with pytest.raises(BackendError, match=r"out of memory"):
            embeddings.save(str(tmp_path / "o.h5"), str(tmp_path / "o.parquet"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.h5", "o.parquet"]
    assert {path.read_text() for path in tmp_path.iterdir()} == {"earlier"}


def test_a_file_without_room_is_an_error_that_names_it(work, tmp_path):
    """The HDF5 library would end the process with a segmentation fault."""
    program = "from splicebert_vep.cli.main import main; main()"
    words = ["embed", "--fasta", "c.fa", "--model", "./model", "--window", "60", "--layers", "all", "-o"]
    shell = ["bash", "-c", 'ulimit -f 400; exec "$@"', "-", sys.executable, "-c", program]
    limited = [*shell, *words, tmp_path / "o.h5"]
    done = subprocess.run(limited, cwd=work, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 5, done.stderr
    assert "could not be written" in done.stderr and "o.h5" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "shape"), [("hidden_states", (1, 1, WIDTH, 32)), ("attention", (1, 1, HEADS, WIDTH, WIDTH + 2))]
)
def test_numbers_that_are_not_finite_end_the_run(work, monkeypatch, method, shape):
    with opened(work) as annotator:
        monkeypatch.setattr(annotator.backend, method, lambda *_: torch.full(shape, torch.nan))
        with pytest.raises(BackendError, match="not finite"):
            list(embed(annotator, regions=["c1:1-60"], strand="+", attention=method == "attention"))


def test_pieces_come_window_by_window(annotator, monkeypatch):
    """Memory of the files' path: no more than a batch is computed before what came before is given out."""
    calls = []
    inner = annotator.backend.hidden_states
    monkeypatch.setattr(annotator.backend, "hidden_states", lambda *a: calls.append(a) or inner(*a))
    for number, piece in enumerate(embed(annotator, records=True, keep=KEEP).pieces(), start=1):
        assert len(calls) == number
        assert piece.values.shape[0] <= 2 * KEEP  # a block moved at the contig's end may join its neighbour


def test_a_backend_without_layers_gives_the_last_only(work):
    with opened(work, backend="null") as annotator:
        [found, _] = embed(annotator, records=True)
        assert found.layers == ("last",) and found.values.shape == (LENGTH, 1, 8)
        for more in ({"layers": "all"}, {"layers": [0]}, {"attention": True}):
            with pytest.raises(SettingsError, match="last layer only|no attention weights"):
                embed(annotator, records=True, **more)


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        ({}, "Nothing to embed"),
        ({"regions": ["c1:1-10"]}, "strand of a region"),
        ({"regions": ["c1:1190-1201"], "strand": "+"}, "beyond its contig"),
        ({"regions": ["c9:1-10"], "strand": "+"}, "no such contig"),
        ({"genes": ["MINUZ"]}, "no such gene"),
        ({"records": True, "keep": 61}, "does not fit the window"),
        ({"records": True, "strand": "plus"}, "unknown strand"),
        *[({"records": True, "layers": layers}, "no such layers") for layers in ([4], [-1], [], [1, 1], "second")],
        ({"regions": ["c1:1-60"], "strand": "+", "layers": [0], "attention": True}, "attend to nothing"),
        ({"regions": ["c1:301-361"], "strand": "+", "attention": True}, "one window"),
        ({"regions": ["c1:301-330"], "strand": "+", "attention": True, "keep": 24}, "at most 24 nt"),
        *[({"vcf": "in.vcf", **more}, "without anything else") for more in ({"genes": ["PLUS"]}, {"keep": 5})],
    ],
)
def test_what_is_not_there_is_refused(annotator, wanted, word):
    with pytest.raises(SettingsError, match=word):
        embed(annotator, **wanted)


@pytest.mark.parametrize(
    ("paths", "attention", "word"),
    [
        ([], False, "suffix"), (["o.npz"], False, "suffix"), (["o.h5", "./o.h5"], False, "suffix"),
        (["o.parquet"], True, "HDF5 only"), (["o.h5ad"], False, "anndata"),
    ],
)  # fmt: skip
def test_outputs_that_cannot_be_written_are_refused(monkeypatch, paths, attention, word):
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(SettingsError, match=word):
        check_formats(paths, attention=attention)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("c1\t1190\t1201\tx\t0\t+", "beyond its contig"),
        ("c1\t10\t10\tx\t0\t+", "cannot be read"),
        *[(line, "strand of a region") for line in ("c1\t0\t10", "c1\t0\t10\tx\t0\t.", "c1\t0\t10\tx\t0\t1")],
    ],
)
def test_a_bed_line_that_cannot_be_embedded_names_its_line(annotator, tmp_path, line, word):
    bed = tmp_path / "r.bed"
    bed.write_text(f"c1\t0\t10\tx\t0\t+\n{line}\n")
    with pytest.raises(SettingsError, match=word) as error:
        embed(annotator, bed=str(bed))
    assert "r.bed:2" in str(error.value)


def test_strand_fills_in_where_the_bed_names_none(annotator, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("c1\t0\t10\tx\t0\t+\nc1\t0\t10\nc1\t0\t10\ty\t0\t.\n")
    targets = embed(annotator, bed=str(bed), strand="-").targets
    assert [(target.name, target.strand) for target in targets] == [("x", "+"), ("c1:1-10", "-"), ("y", "-")]


def test_a_model_of_one_length_refuses_a_shorter_sequence(work, annotator, monkeypatch):
    with opened(work) as other:
        monkeypatch.setattr(other.backend, "info", replace(other.backend.info, fixed_window=WIDTH))
        assert len(embed(other, regions=["c1"], strand="+")) == 1
        with pytest.raises(SettingsError, match=r"one length only"):
            embed(other, records=True)


def test_the_command(run, work, tmp_path):
    common = ["--model", work / "model", "--window", WIDTH, "--device", "cpu"]
    genes = ["-R", work / "c.fa", "-A", work / "genes.gff3"]
    out = tmp_path / "o.h5"
    code, stdout, err = run("embed", "--gene", "MINUS", *genes, "--layers", "0,2", "-o", out, *common)
    assert (code, stdout) == (0, "")
    assert "1 embedded into" in err and "layers 0, 2" in err
    with h5py.File(out) as file, opened(work, batch_tokens=None) as annotator:
        [wanted] = embed(annotator, genes=["MINUS"], layers=[0, 2])
        assert np.abs(file["embedding"][:] - wanted.values).max() < 1e-6
    parquet = tmp_path / "o.parquet"
    assert run("embed", "--fasta", work / "c.fa", "-o", parquet, *common)[0] == 0
    assert pq.read_table(parquet).column("name").to_pylist() == ["c1", "short"]
    assert b"Annotation" not in pq.read_schema(parquet).metadata
    region = ["--region", "c1:301-340", "--strand", "-", "-R", work / "c.fa", "--attention"]
    assert run("embed", *region, *common, "-o", out)[0] == 0
    with h5py.File(out) as file:
        assert file["attention/0"].shape == (1, HEADS, 40, 40)


def test_rna_is_refused_and_not_read_as_unknown_bases(run, tmp_path):
    (tmp_path / "rna.fa").write_text(">r\n" + "ACGU" * 200 + "\n")
    target = tmp_path / "x.parquet"
    code, _, err = run("embed", "--fasta", tmp_path / "rna.fa", "--backend", "null", "-o", target)
    assert (code, "written as RNA" in err, target.exists()) == (3, True, False), err


def test_no_output_replaces_an_input(run, work, tmp_path):
    bed, genes = tmp_path / "in.bed", tmp_path / "genes.h5"
    bed.write_text("c1\t0\t9\tx\t0\t+\n")
    genes.write_bytes((work / "genes.gff3").read_bytes())
    link = tmp_path / "o.parquet"
    link.symlink_to(bed)
    for words in (["--bed", bed, "-o", link], ["--gene", "MINUS", "-A", genes, "-o", genes]):
        before = bed.read_bytes(), genes.read_bytes()
        code, _, err = run("embed", "-R", work / "c.fa", "--backend", "null", *words)
        assert (code, "would replace" in err) == (3, True), err
        assert (bed.read_bytes(), genes.read_bytes()) == before


def weights(model, sequence):
    """Attention weights between the nucleotides of one window, (layers, heads, nt, nt), by transformers."""
    with torch.no_grad():
        attentions = model(ids_of(sequence), output_attentions=True).attentions
    return torch.stack(attentions)[:, 0, :, 1:-1, 1:-1].numpy()


# A stretch of n nucleotides has (60 - n) // 2 before it, unless the contig ends.
ATTENTION_REGIONS = [
    ("c1", 300, 340, "+", 290),
    ("c1", 300, 341, "-", 1200 - 341 - 9),  # on the other strand it is [859, 900)
    ("c1", 490, 515, "-", 1200 - 515 - 17),  # with N in it
    ("c1", 0, 60, "+", 0),
    ("c1", 1180, 1200, "+", 1140),
    ("short", 0, 40, "-", 0),
]


@pytest.mark.parametrize(("contig", "start", "end", "strand", "window"), ATTENTION_REGIONS)
def test_weights_equal_transformers(batched, model, genome, contig, start, end, strand, window):
    [found] = embed(batched, regions=[f"{contig}:{start + 1}-{end}"], strand=strand, layers="all", attention=True)
    bases = genome if contig == "c1" else genome[:40]
    along = bases if strand == "+" else revcomp(bases)
    first = start if strand == "+" else len(bases) - end
    seen = along[window : window + WIDTH]
    part = slice(first - window, first - window + end - start)
    wanted = weights(model, seen)[:, :, part, part]
    assert found.attention.shape == wanted.shape == (LAYERS, HEADS, end - start, end - start)
    assert found.attention.dtype == np.float32
    assert np.abs(found.attention - wanted).max() < 1e-4
    assert np.abs(found.values - theirs(model, seen)[part]).max() < 1e-4  # of the same window
    assert found.sequence == along[first : first + end - start]


def test_chosen_layers_in_their_order_and_without_layer_0(batched, model, genome):
    embeddings = embed(batched, regions=["c1:1-60"], strand="+", layers=[3, 0, 1], attention=True)
    assert embeddings.attention == (3, 1)
    [found] = embeddings
    assert np.abs(found.attention - weights(model, genome[:60])[[2, 0]]).max() < 1e-4
    assert found.values.shape[1] == 3


@pytest.mark.parametrize("kind", ["bed", "vcf"])
def test_the_file_holds_the_attention_weights(batched, vcf, tmp_path, kind):
    bed = tmp_path / "r.bed"
    bed.write_text("c1\t300\t340\ta\t0\t-\nshort\t0\t40\tb\t0\t+\nc1\t7\t8\tone\t0\t+\n")
    source = {"bed": str(bed)} if kind == "bed" else {"vcf": str(vcf)}
    embeddings = embed(batched, **source, layers=[1, 3], attention=True)
    embeddings.save(str(tmp_path / "o.h5"), str(tmp_path / "o.parquet"))
    with h5py.File(tmp_path / "o.h5") as file:
        assert file["attention_layer"].asstr()[:].tolist() == ["1", "3"]
        assert (file.attrs["Attention"], file.attrs["Keep"]) == ("1,3", "60")
        assert len(file["attention"]) == len(embeddings)
        for number, one in enumerate(embeddings):
            assert one.attention.shape == (2, HEADS, len(one.sequence), len(one.sequence))
            assert (one.attention.sum(axis=-1) < 1).all()  # the rest goes to [CLS] and [SEP]
            assert (file[f"attention/{number}"][:] == one.attention).all()
            at = slice(*file["target/offset"][number : number + 2])
            assert (file["embedding"][at] == one.values).all()
            assert (file["position"][at] == one.position).all()


def broken(change):
    """A backend class whose attention weights are changed."""

    class Broken(TorchBackend):
        def attention(self, tokens, positions, layers):
            return change(super().attention(tokens, positions, layers))

    return Broken


@pytest.mark.parametrize(("change", "word"), [(lambda w: w[..., 1:], "needed"), (lambda w: w * 1.01, "sum to 1")])
def test_conformance_finds_wrong_weights(change, word):
    class Subject(BackendConformance):
        backend = broken(change)
        array = staticmethod(np.array)
        options = BackendOptions("splicebert-mini", "cpu")

    with pytest.raises(AssertionError, match=word):
        Subject().test_attention_weights_of_a_token_sum_to_one()


def test_weights_of_another_shape_name_the_plugin():
    backend = GuardedBackend(
        broken(lambda w: w[0]).open(BackendOptions("splicebert-mini", "cpu")),
        Origin("mine", "register_backends", "backend", "broken"),
    )
    with pytest.raises(PluginError, match=r"mine broke the contract"):
        backend.attention(np.full((1, 62), 6, np.uint8), np.array([[1, 2]]), (6,))


def other(base):
    return "CGTA"["ACGT".index(base)]


def change(genome, at, ref_length, alt):
    """A record of a change of REF bases [at, at + ref_length) to ``alt``, whose place nothing can shift."""
    ref = genome[at : at + ref_length]
    if len(ref) == len(alt):
        return (at + 1, ref, alt)
    assert not ref or not alt
    indel = ref or alt
    assert indel[-1] != genome[at - 1] and indel[0] != genome[at + len(ref)], "choose another place"
    return (at, genome[at - 1] + ref, genome[at - 1] + alt)


def free_place(genome, low, length):
    """The first place from ``low`` where a deletion of so many bases cannot be written elsewhere."""
    return next(
        at
        for at in range(low, len(genome))
        if genome[at + length - 1] != genome[at - 1] and genome[at] != genome[at + length]
    )


@pytest.fixture(scope="module")
def changes(genome):
    """Start, REF length and ALT of spans, and the genes that they lie in."""
    deletion = free_place(genome, 420, 4)
    inserted = "".join(sorted(set("ACGT") - {genome[359], genome[360]}))[:2]
    return [
        (400, 1, other(genome[400]), (PLUS, MINUS)),
        (200, 1, other(genome[200]), (PLUS,)),
        (800, 2, other(genome[800]) + other(genome[801]), (MINUS,)),
        (360, 0, inserted, (PLUS, MINUS)),
        (deletion, 4, "", (PLUS, MINUS)),
        (70, 1, other(genome[70]), (PLUS,)),
    ]


@pytest.fixture(scope="module")
def vcf(work, genome, changes):
    lines = [change(genome, at, length, alt) for at, length, alt, _ in changes]
    path = work / "in.vcf"
    path.write_text(HEADER + "".join(f"c1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for pos, ref, alt in lines))
    return path


def sides_by_hand(genome, at, length, alt, strand):
    """REF and ALT windows of one change, each with start, span and the position of every base, in plain Python."""
    start = at - (WIDTH - max(length, len(alt))) // 2
    ref = [(genome[i], i) for i in range(start, start + WIDTH)]
    same = length == len(alt)
    span = [(base, at + i if same else -1) for i, base in enumerate(alt)]
    after = [(genome[i], i) for i in range(at + length, LENGTH)]
    changed = (ref[: at - start] + span + after)[:WIDTH]
    for side, bases, size in (("REF", ref, length), ("ALT", changed, len(alt))):
        first = at - start
        end = max(i for _, i in bases) + 1
        letters, position = "".join(base for base, _ in bases), [i for _, i in bases]
        if strand == "-":
            letters, position, first = revcomp(letters), position[::-1], WIDTH - first - size
        yield side, start, end, first, first + size, letters, position


def test_windows_are_those_cut_by_hand_and_their_states_those_of_transformers(
    batched, model, genome, vcf, changes, tmp_path
):
    embeddings = embed(batched, vcf=str(vcf), layers="all")
    h5, parquet = tmp_path / "o.h5", tmp_path / "o.parquet"
    embeddings.save(str(h5), str(parquet))
    table = pq.read_table(parquet)
    assert table.column_names == [*COLUMNS, "layer_0", "layer_1", "layer_2", "layer_3"]
    wanted = [
        (change(genome, at, length, alt), gene, window)
        for at, length, alt, genes in changes
        for gene in sorted(genes, key=lambda gene: gene[1])
        for window in sides_by_hand(genome, at, length, alt, gene[0])
    ]
    rows = sorted(table.to_pylist(), key=lambda row: row["pos"])  # the sort keeps the order of genes and sides
    found = [
        (
            (row["pos"], row["ref"], row["alt"]),
            (row["strand"], row["gene"], row["symbol"], row["transcript"]),
            (row["side"], row["start"], row["end"], row["span_start"], row["span_end"]),
        )
        for row in rows
    ]
    key = str
    assert sorted(found, key=key) == sorted([(record, gene, window[:5]) for record, gene, window in wanted], key=key)
    assert {row["status"] for row in rows} == {"OK"} and {row["length"] for row in rows} == {WIDTH}
    by_hand = {(record, gene, window[0]): window for record, gene, window in wanted}
    with h5py.File(h5) as file:
        for number, one in enumerate(embeddings):
            side = one.target
            gene = (side.strand, side.gene, side.symbol, side.transcript)
            *_, letters, position = by_hand[(side.pos, side.ref, side.alt), gene, side.side]
            assert one.sequence == letters
            assert one.position.tolist() == position
            states = theirs(model, letters)
            assert np.abs(one.values - states).max() < 1e-4
            row = table.slice(number, 1).to_pylist()[0]
            assert (row["name"], row["side"]) == (f"c1-{side.pos}-{side.ref}-{side.alt}", side.side)
            for layer in range(4):
                assert np.abs(np.array(row[f"layer_{layer}"]) - states[:, layer].mean(axis=0)).max() < 1e-4
            at = slice(*file["target/offset"][number : number + 2])
            assert file["position"][at].tolist() == position
            assert set(file["window_start"][at].tolist()) == {side.start}
            assert file["target/span_start"][number] == row["span_start"]
        for key in ("WeightsSHA256", "AnnotationDigest", "Flank", "Window"):
            assert file.attrs[key]


def test_they_are_the_windows_that_the_scores_are_computed_from(work, vcf):
    """EMB_COS of a change of equal length, from the embeddings: the mean of 1 - cosine over 10 bases on each side."""
    with opened(work) as annotator:
        sides = {}
        for one in embed(annotator, vcf=str(vcf)):
            sides.setdefault((one.target.name, one.target.gene), []).append(one)
        checked = 0
        for (name, gene), (ref, alt) in sides.items():
            if len(ref.target.ref) != len(ref.target.alt):
                continue
            first, end = ref.target.span_start, ref.target.span_end
            at = [*range(first - FLANK, first), *range(end, end + FLANK)]
            a, b = ref.values[at, 0].astype(float), alt.values[at, 0].astype(float)
            cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            [score] = [c for c in annotator.score(name).contexts if c.context.gene_id == gene]
            assert abs(score.values["EMB_COS"] - (1 - cosine).mean()) < 1e-5
            assert ref.target.start == alt.target.start
            checked += 1
        assert checked == 5


def test_every_alt_has_a_row_with_its_status_and_the_run_counts_them(run, work, genome, tmp_path):
    a, b = genome[399], genome[999]
    long = genome[599 : 599 + 42]
    lines = [
        (400, a, f"{other(a)},*,<DEL>"),
        (400, other(a), a),  # not what the FASTA has
        (1000, b, other(b)),  # behind both genes
        (496, genome[495], other(genome[495])),  # N begins at 501
        (600, long, long[0]),  # 41 nt, and 60 - 2 x 10 fit
        (400, a, "."),
        (700, genome[699], "N"),
    ]
    vcf = tmp_path / "in.vcf"
    text = "".join(f"c1\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for pos, ref, alt in lines)
    vcf.write_text(HEADER + text + "c7\t5\t.\tA\tC\t.\t.\t.\n")
    with opened(work) as annotator:
        embeddings = embed(annotator, vcf=str(vcf))
        found = [(side.name, side.gene, side.side, str(side.status), len(side)) for side in embeddings.targets]
        name = f"c1-400-{a}-"
        assert sorted(found[:4], key=str) == sorted(
            [(name + other(a), gene, side, "OK", WIDTH) for gene in ("GM.2", "GP.1") for side in ("REF", "ALT")],
            key=str,
        )
        assert [(row[0], row[3]) for row in found[4:]] == [
            (f"{name}*", "SPANNING_DELETION"),
            (f"{name}<DEL>", "SYMBOLIC"),
            (f"c1-400-{other(a)}-{a}", "REF_MISMATCH"),
            (f"c1-1000-{b}-{other(b)}", "NO_GENE"),
            *[(f"c1-496-{genome[495]}-{other(genome[495])}", "N_CONTEXT")] * 2,  # in two genes
            *[(f"c1-600-{long}-{long[0]}", "TOO_LONG")] * 2,
            (f"c1-700-{genome[699]}-N", "NON_ACGT"),
            ("c7-5-A-C", "NO_CONTIG"),
        ]
        assert all((side, nt) == (None, 0) for _, _, side, _, nt in found[4:])
        assert {gene for _, gene, *_, status, _ in found if status == "N_CONTEXT"} == {"GM.2", "GP.1"}
        assert embeddings.statuses == {
            "SYMBOLIC": 1, "SPANNING_DELETION": 1, "NON_ACGT": 1, "NO_CONTIG": 1, "REF_MISMATCH": 1, "TOO_LONG": 1,
            "NO_GENE": 1, "N_CONTEXT": 1, "OK": 1,
        }  # fmt: skip
        embeddings.save(str(tmp_path / "p.parquet"), str(tmp_path / "p.h5"))
        whole = list(embeddings)
        assert [len(one.values) for one in whole] == [row[4] for row in found]
        assert whole[5].mean is None
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert [(row["status"], row["length"]) for row in rows] == [(row[3], row[4]) for row in found]
    assert all((row["layer_3"] is None) == (row["status"] != "OK") for row in rows)
    assert all(bool(row["reason"]) == (row["status"] != "OK") for row in rows)
    assert rows[4]["start"] is rows[4]["span_start"] is rows[4]["gene"] is None
    with h5py.File(tmp_path / "p.h5") as file:
        assert np.diff(file["target/offset"][:]).tolist() == [row[4] for row in found]
        assert file["target/status"].asstr()[:].tolist() == [row[3] for row in found]
        assert set(file["target/start"][4:].tolist()) == {-1}
        assert file["target/pos"][4] == 400
    words = ["-R", work / "c.fa", "-A", work / "genes.gff3", "--backend", "null", "-o", tmp_path / "o.parquet"]
    # the command's flank is 29 with so small a window, which changes no status here
    _, _, err = run("embed", "--vcf", vcf, *words, "--window", WIDTH)
    assert "ALTs by status: SYMBOLIC 1, SPANNING_DELETION 1, NON_ACGT 1, NO_CONTIG 1, REF_MISMATCH 1" in err


def test_nothing_that_can_be_embedded_is_still_a_table(batched, genome, tmp_path):
    vcf = tmp_path / "in.vcf"
    vcf.write_text(f"{HEADER}c1\t400\t.\t{genome[399]}\t*\t.\t.\t.\n")
    for attention in (False, True):
        embed(batched, vcf=str(vcf), attention=attention).save(*(str(tmp_path / f"o.{s}") for s in ("h5", "parquet")))
        assert pq.read_table(tmp_path / "o.parquet").column("status").to_pylist() == ["SPANNING_DELETION"]
        with h5py.File(tmp_path / "o.h5") as file:
            assert file["embedding"].shape == (0, 1, 32)


def test_bgzip_bcf_and_any_batch_give_the_same(work, vcf, batched, tmp_path):
    packed = tmp_path / "in.bcf"
    with pysam.VariantFile(str(vcf)) as source, pysam.VariantFile(str(packed), "wb", header=source.header) as target:
        for record in source:
            target.write(record)
    with opened(work, batch_tokens=WIDTH + 2) as single:
        for one, same in zip(embed(batched, vcf=str(vcf)), embed(single, vcf=str(packed)), strict=True):
            assert one.target == same.target
            assert np.abs(one.values - same.values).max() < 1e-5


def test_what_is_no_vcf_of_this_build_is_refused(batched, work, tmp_path):
    with pytest.raises(VcfError):
        embed(batched, vcf=str(work / "genes.gff3"))
    empty = tmp_path / "empty.vcf"
    empty.write_text(HEADER)
    with pytest.raises(SettingsError, match=r"nothing to embed"):
        embed(batched, vcf=str(empty))
    wrong = tmp_path / "wrong.vcf"
    wrong.write_text(HEADER.replace(str(LENGTH), "1300") + "c1\t400\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(BuildError):
        embed(batched, vcf=str(wrong))


@pytest.mark.parametrize(
    ("words", "word"),
    [
        ("--vcf in.vcf --gene PLUS -R c.fa", "--vcf goes without"),
        ("--fasta c.fa -R c.fa", "--fasta goes without"),
        ("--gene MINUS", "give a reference"),
        ("--fasta c.fa --layers first", "not 'first'"),
    ],
)
def test_the_command_refuses_what_contradicts_itself(run, work, vcf, tmp_path, monkeypatch, words, word):
    monkeypatch.chdir(work)
    code, _, err = run("embed", *words.split(), "-o", tmp_path / "o.parquet")
    assert (code, word in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layers", [[0, 3], "last"])
def test_anndata_holds_the_means_and_what_is_known_of_the_targets(work, tmp_path, layers):
    anndata = pytest.importorskip("anndata")
    bed = tmp_path / "r.bed"
    bed.write_text("c1\t480\t560\tmiddle\t0\t-\nc1\t500\t507\tunknown\t0\t+\nshort\t0\t40\t\t0\t+\n")
    with opened(work) as annotator:
        embeddings = embed(annotator, genes=["MINUS"], bed=str(bed), layers=layers, keep=24)
        embeddings.save(str(tmp_path / "o.h5ad"), str(tmp_path / "o.parquet"))
        embeddings.save(str(tmp_path / "again.h5ad"))
    data = anndata.read_h5ad(tmp_path / "o.h5ad")
    table = pq.read_table(tmp_path / "o.parquet")
    rows = table.to_pylist()
    for name in ("name", "contig", "start", "end", "strand", "gene", "length", "known"):
        missing = -1 if name in ("start", "end") else ""
        assert data.obs[name].tolist() == [missing if row[name] is None else row[name] for row in rows]
    names = ["layer_0", "layer_3"] if layers != "last" else ["layer_3"]
    wanted = {name: [[np.nan] * 32 if row[name] is None else row[name] for row in rows] for name in names}
    assert data.X.dtype == np.float32
    assert np.array_equal(data.X, np.array(wanted["layer_3"], np.float32), equal_nan=True)
    assert sorted(data.layers) == (names if len(names) > 1 else [])
    for name in data.layers:
        assert np.array_equal(data.layers[name], np.array(wanted[name], np.float32), equal_nan=True)
    assert np.isnan(data.X[2]).all() and np.isnan(data.X).sum() == 32
    metadata = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert {key: str(value) for key, value in data.uns["splicebert_vep"].items()} == metadata
    assert (tmp_path / "o.h5ad").read_bytes() == (tmp_path / "again.h5ad").read_bytes()


def test_alleles_without_windows_are_in_anndata_too(work, genome, tmp_path):
    anndata = pytest.importorskip("anndata")
    vcf = tmp_path / "in.vcf"
    vcf.write_text(f"{HEADER}c1\t400\t.\t{genome[399]}\t*,{other(genome[399])}\t.\t.\t.\n")
    with opened(work) as annotator:
        embed(annotator, vcf=str(vcf)).save(str(tmp_path / "o.h5ad"))
    data = anndata.read_h5ad(tmp_path / "o.h5ad")
    assert data.obs["status"].tolist() == ["SPANNING_DELETION", *["OK"] * 4]
    assert data.obs["side"].tolist() == ["", *["REF", "ALT"] * 2]
    assert np.isnan(data.X[0]).all() and np.isfinite(data.X[1:]).all()

"""Embeddings equal those of transformers, whichever window a nucleotide is read from, on either strand."""

import subprocess
import sys

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from factories import LENGTH, LETTERS, WIDTH, opened, some_genome, some_model, theirs, write_work
from oracle import revcomp
from splicebert_vep import embed
from splicebert_vep.errors import BackendError, SettingsError
from splicebert_vep.sequence.windows import Kept, stitch
from splicebert_vep.tools.embed import check_outputs

KEEP = 24


@pytest.fixture(scope="module")
def model():
    return some_model()


@pytest.fixture(scope="module")
def genome():
    return some_genome()


@pytest.fixture(scope="module")
def work(tmp_path_factory, model, genome):
    return write_work(tmp_path_factory.mktemp("embed"), model, genome)


@pytest.fixture(scope="module")
def annotator(work):
    with opened(work) as annotator:
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


def test_kept_positions_of_a_long_region_are_those_of_the_single_windows_to_the_bit(annotator, genome):
    [found] = embed(annotator, regions=["c1:201-1000"], strand="+", layers=[1, 3], keep=KEEP)
    assert len(set(found.window_start.tolist())) > 30
    every = np.arange(1, WIDTH + 1)[None]
    for start in set(found.window_start.tolist()):
        tokens = np.array([[2, *(5 + LETTERS.index(base) for base in genome[start : start + WIDTH]), 3]], np.uint8)
        alone = annotator.backend.hidden_states(tokens, every, (1, 3))[:, 0].numpy()  # (layers, W, H)
        rows = np.flatnonzero(found.window_start == start)
        assert (found.values[rows] == alone[:, found.position[rows] - start].swapaxes(0, 1)).all()


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
    words = [
        "embed",
        "--fasta",
        "c.fa",
        "--model",
        "./model",
        "--window",
        "60",
        "--layers",
        "all",
        "-o",
        tmp_path / "o.h5",
    ]
    limited = ["bash", "-c", 'ulimit -f 400; exec "$@"', "-", sys.executable, "-c", program, *words]
    done = subprocess.run(limited, cwd=work, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 5, done.stderr
    assert "could not be written" in done.stderr and "o.h5" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_end_the_run(work, monkeypatch):
    with opened(work) as annotator:
        nan = torch.full((1, 1, WIDTH, 32), torch.nan)
        monkeypatch.setattr(annotator.backend, "hidden_states", lambda *_: nan)
        with pytest.raises(BackendError, match=r"not finite(.|\n)*c1:1-100"):
            list(embed(annotator, regions=["c1:1-100"], strand="+"))


def test_pieces_come_window_by_window(annotator, monkeypatch):
    """Memory of the files' path: no more than a batch is computed before what came before is given out."""
    calls = []
    inner = annotator.backend.hidden_states
    monkeypatch.setattr(annotator.backend, "hidden_states", lambda *a: calls.append(a) or inner(*a))
    for number, piece in enumerate(embed(annotator, records=True, keep=KEEP).pieces(), start=1):
        assert len(calls) == number
        assert piece.values.shape[0] <= 2 * KEEP  # a block moved at the contig's end may join its neighbour


@pytest.mark.parametrize("layers", [[4], [-1], [], [1, 1], "second"])
def test_a_layer_that_is_not_there_is_refused(annotator, layers):
    with pytest.raises(SettingsError, match=r"no such layers(.|\n)*0 \(the embeddings\) to 3"):
        embed(annotator, records=True, layers=layers)


def test_a_backend_without_layers_gives_the_last_only(work):
    with opened(work, backend="null") as annotator:
        [found, _] = embed(annotator, records=True)
        assert found.layers == ("last",)
        assert found.values.shape == (LENGTH, 1, 8)
        for layers in ("all", [0]):
            with pytest.raises(SettingsError, match=r"last layer only(.|\n)*hidden_states"):
                embed(annotator, records=True, layers=layers)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({}, "Nothing to embed was asked for"),
        ({"regions": ["c1:1-10"]}, r"strand of a region is not known(.|\n)*--strand \+ or"),
        ({"regions": ["c1:1190-1201"], "strand": "+"}, r"beyond its contig(.|\n)*up to 1,200"),
        ({"regions": ["c9:1-10"], "strand": "+"}, "no such contig"),
        ({"genes": ["MINUZ"]}, r"no such gene(.|\n)*did you mean MINUS"),
        ({"records": True, "keep": 61}, r"does not fit the window(.|\n)*from 1 to 60"),
        ({"records": True, "strand": "plus"}, "unknown strand"),
    ],
)
def test_what_is_not_there_is_refused(annotator, wanted, message):
    with pytest.raises(SettingsError, match=message):
        embed(annotator, **wanted)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("c1\t1190\t1201\tx\t0\t+", r"beyond its contig(.|\n)*r\.bed:2"),
        ("c2\t0\t10\tx\t0\t+", r"no such contig(.|\n)*r\.bed:2"),
        ("c1\t10\t10\tx\t0\t+", r"cannot be read(.|\n)*r\.bed:2"),
        ("c1\t0\t10", r"strand of a region is not known(.|\n)*r\.bed:2"),
        ("c1\t0\t10\tx\t0\t.", r"strand of a region is not known(.|\n)*r\.bed:2"),
        ("c1\t0\t10\tx\t0\t1", r"strand of a region is not known(.|\n)*'1'(.|\n)*r\.bed:2"),
    ],
)
def test_a_bed_line_that_cannot_be_embedded_names_its_line(annotator, tmp_path, line, message):
    bed = tmp_path / "r.bed"
    bed.write_text(f"c1\t0\t10\tx\t0\t+\n{line}\n")
    with pytest.raises(SettingsError, match=message):
        embed(annotator, bed=str(bed))


def test_strand_fills_in_where_the_bed_names_none(annotator, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("c1\t0\t10\tx\t0\t+\nc1\t0\t10\nc1\t0\t10\ty\t0\t.\n")
    targets = embed(annotator, bed=str(bed), strand="-").targets
    assert [(target.name, target.strand) for target in targets] == [("x", "+"), ("c1:1-10", "-"), ("y", "-")]


def test_a_model_of_one_length_refuses_a_shorter_sequence(work, annotator, monkeypatch):
    from dataclasses import replace

    with opened(work) as other:
        monkeypatch.setattr(other.backend, "info", replace(other.backend.info, fixed_window=WIDTH))
        assert len(embed(other, regions=["c1"], strand="+")) == 1
        with pytest.raises(SettingsError, match=r"one length only(.|\n)*short of 40 nt"):
            embed(other, records=True)


@pytest.mark.parametrize("paths", [[], ["o.npz"], ["o.h5", "./o.h5"]])
def test_outputs_that_cannot_be_told_are_refused(paths):
    with pytest.raises(SettingsError, match=r"cannot be told(.|\n)*\.parquet"):
        check_outputs(paths)


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
    code, _, err = run("embed", "--fasta", work / "c.fa", "-o", parquet, *common)
    assert code == 0, err
    assert pq.read_table(parquet).column("name").to_pylist() == ["c1", "short"]
    assert b"Annotation" not in pq.read_schema(parquet).metadata


def test_rna_is_refused_and_not_read_as_unknown_bases(run, work, tmp_path):
    (tmp_path / "rna.fa").write_text(">r\n" + "ACGU" * 20 + "\n")
    target = tmp_path / "x.parquet"
    code, _, err = run(
        "embed", "--fasta", tmp_path / "rna.fa", "--model", work / "model", "--window", WIDTH, "-o", target
    )
    assert code == 3
    assert "written as RNA" in err and "T in place of U" in err
    assert not target.exists()


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


def test_an_output_below_a_file_is_an_error_without_a_traceback(run, work, tmp_path):
    (tmp_path / "file").write_text("kept")
    for name in ("x.h5", "x.parquet"):
        out = tmp_path / "file" / name
        code, _, err = run("embed", "--fasta", work / "c.fa", "--backend", "null", "-o", out)
        assert (code, "could not be written" in err) == (5, True), err


def test_the_command_refuses_what_contradicts_itself(run, work, tmp_path):
    out = ["-o", tmp_path / "o.parquet"]
    for words, message in (
        (["--fasta", work / "c.fa", "-R", work / "c.fa"], "--fasta goes without"),
        (["--gene", "MINUS"], "give a reference"),
        (["--fasta", work / "c.fa", "--layers", "first"], "not 'first'"),
    ):
        code, _, err = run("embed", *words, *out)
        assert (code, message in err) == (2, True), err
    assert list(tmp_path.iterdir()) == []

"""Mutagenesis maps: every number is that of ``score`` and ``profile``, and every picture runs with the transcript."""

import gzip
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

from factories import FASTA, exon22_genes
from splicebert_vep import Annotator, Dependency, Settings, dependency_of, map_region
from splicebert_vep.errors import SettingsError
from splicebert_vep.sequence.tokens import with_special
from splicebert_vep.tools import plot
from splicebert_vep.tools.map import LONGEST_DEPENDENCY, stretch_of
from splicebert_vep.tools.map_picture import draw_dependency, draw_map, usual_scores

#: BRCA1's exon 22 is 43047643-43047703 (1-based) and its donor 43047641-43047642, on -.
FIRST, LAST = 43047640, 43047644
REGION = f"chr17:{FIRST}-{LAST}"
EXON = "chr17:43047620-43047720"
COMPLEMENT = str.maketrans("ACGT", "TGCA")


@pytest.fixture(scope="module", params=["-", "+"])
def annotator(session_cache, request, tmp_path_factory):
    """The bundled model, and a gene with the same exons on either strand."""
    genes = "grch38" if request.param == "-" else exon22_genes(tmp_path_factory.mktemp("genes") / "plus.gff3")
    with Annotator(FASTA, genes, device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def found(annotator):
    return map_region(annotator, REGION)


@pytest.fixture(scope="module")
def null(session_cache):
    with Annotator(FASTA, backend="null") as opened:
        yield opened


@pytest.fixture(scope="module")
def exon(null):
    return map_region(null, EXON)


def snvs(annotator, first, last):
    """Every SNV with the row and column where a map shows it, worked out apart: 1-based first and last."""
    [gene] = annotator.genes.contexts("chr17", first - 1, last)
    for pos in range(first, last + 1):
        ref = annotator.reference.fetch("chr17", pos - 1, pos).decode()
        for alt in set("ACGT") - {ref}:
            if gene.strand == "-":
                yield f"chr17-{pos}-{ref}-{alt}", last - pos, "TGCA".index(alt)
            else:
                yield f"chr17-{pos}-{ref}-{alt}", pos - first, "ACGT".index(alt)


def test_every_value_is_that_of_the_snv_scored_alone(annotator, found):
    alone = {name: annotator.score(name) for name, _, _ in snvs(annotator, FIRST, LAST)}
    for result in found.results:
        one = alone.pop(str(result.variant))
        assert (result.status, result.gene) == (one.status, one.gene)
        for field in ("LLR", "PLLR", "KL_CTX", "KL_SS", "KL_DONOR", "EMB_COS"):
            assert result[field] == pytest.approx(one[field], abs=1e-4), (str(result.variant), field)
    assert not alone


def test_a_matrix_has_each_snv_in_its_cell_and_nothing_at_ref(annotator, found):
    by_name = {str(result.variant): result for result in found.results}
    for score in ("LLR", "KL_SS", "N_SITES"):
        matrix = found.matrix(score)
        assert matrix.shape == (5, 4)
        for name, row, column in snvs(annotator, FIRST, LAST):
            assert matrix[row, column] == by_name[name][score]
            matrix[row, column] = np.nan
        assert np.isnan(matrix).all()
    genome = annotator.reference.fetch("chr17", FIRST - 1, LAST).decode()
    assert found.ref == (genome[::-1].translate(COMPLEMENT) if found.minus else genome)
    expected = list(range(FIRST - 1, LAST))
    assert found.position.tolist() == (expected[::-1] if found.minus else expected)
    assert sorted((found.position[found.donor if found.minus else found.acceptor] + 1).tolist()) == [43047641, 43047642]


def test_the_logo_is_what_the_model_expects_of_a_masked_base(annotator, found):
    table = bytes.maketrans(b"ACGT", bytes([6, 7, 8, 9]))
    for row, at in enumerate(found.position.tolist()):
        bases = annotator.reference.fetch("chr17", at - 254, at + 256)  # 254 bases precede an SNV
        index = 254
        if found.minus:
            bases, index = bases.translate(bytes.maketrans(b"ACGT", b"TGCA"))[::-1], 255
        tokens = np.frombuffer(bases.translate(table), dtype=np.uint8)[None].copy()
        tokens[0, index] = 4  # [MASK]
        logits = annotator.backend.forward(with_special(tokens), np.array([[index + 1]])).logits
        p = np.exp(logits.double().numpy()[0, 0, 6:10])
        assert np.allclose(found.expected()[row], p / p.sum(), atol=1e-4)


def test_a_dependency_is_that_of_the_profile(annotator, found):
    kl = dependency_of(annotator, found).kl
    assert kl.shape == (5, 4, 5)
    for name, row, column in snvs(annotator, FIRST, LAST):
        around = plot.profile(annotator, name)
        by_position = dict(zip(around.position.tolist(), around.kl.tolist(), strict=True))
        assert np.allclose(kl[row, column], [by_position[at] for at in found.position.tolist()], atol=1e-6)
        kl[row, column] = np.nan
    assert np.isnan(kl).all()


def test_mean_and_largest_leave_out_what_is_missing(null, exon):
    dependency = dependency_of(null, exon)
    mean, largest = dependency.mean(), dependency.largest()
    for i, j in ((0, 0), (3, 100), (100, 3), (50, 51)):
        values = [kl for kl in dependency.kl[i, :, j].tolist() if kl == kl]
        assert len(values) == dependency.alts()[i, j] == 3
        assert mean[i, j] == pytest.approx(sum(values) / 3)
        assert largest[i, j] == max(values)


def test_a_planted_coupling_of_donor_and_acceptor_is_found(session_cache):
    """A model that expects A at the acceptor unless the donor's G is gone, which then is 65 nt 3' of it."""
    with Annotator(FASTA, backend="null") as annotator:
        model = annotator.backend
        found = map_region(annotator, EXON)
        donor, acceptor = int(np.flatnonzero(found.donor)[0]), int(np.flatnonzero(found.acceptor)[0])
        apart = donor - acceptor

        class Coupled:
            def forward(self, tokens, positions):
                output = model.forward(tokens, positions)
                output.logits[:] = 0
                exon_first = "AG" + found.ref[acceptor + 2 : acceptor + 12]
                for row, line in enumerate(np.asarray(tokens)):
                    text = "".join("?????NACGT"[token] for token in line.tolist())
                    at = text.find(exon_first)
                    if at >= 0 and text[at + apart : at + apart + 1] == "G":
                        output.logits[row, at - 1, 6] = 5
                return output

        annotator.backend = Coupled()
        mean = dependency_of(annotator, found).mean()
    assert mean[donor, acceptor] > 0.5
    rest = mean.copy()
    rest[donor, acceptor] = 0
    close = np.abs(np.subtract.outer(np.arange(len(mean)), np.arange(len(mean)))) < 16  # its own AG and the 10 after it
    assert rest[~close].max() < 1e-12
    image = draw_dependency(found, Dependency(np.repeat(mean[:, None, :], 4, axis=1))).axes[2].images[0].get_array()
    assert np.ma.getdata(image)[donor, acceptor] == pytest.approx(mean[donor, acceptor])


@pytest.fixture(scope="module")
def with_n(session_cache, tmp_path_factory):
    """The example's contig, one base of it N."""
    path = tmp_path_factory.mktemp("fasta") / "n.fa"
    with gzip.open(FASTA, "rt") as text:
        head, *lines = text.read().splitlines()
    bases = "".join(lines)
    width = len(lines[0])
    at = 43047600 - 1
    bases = bases[:at] + "N" + bases[at + 1 :]
    path.write_text("\n".join([head, *(bases[i : i + width] for i in range(0, len(bases), width))]) + "\n")
    with Annotator(path, backend="null") as opened:
        yield opened


def test_n_is_missing_with_a_status(with_n):
    found = map_region(with_n, "chr17:43047499-43047701")
    by_pos: dict[int, list[str]] = {}
    for result in found.results:
        by_pos.setdefault(result.variant.pos, []).append(str(result.status))
    assert by_pos[43047600] == ["NON_ACGT"] * 4
    assert by_pos[43047500] == by_pos[43047700] == ["N_CONTEXT"] * 3  # 100 nt away
    assert by_pos[43047499] == by_pos[43047701] == ["OK"] * 3
    assert found.ref[101] == "N"
    rows = np.isnan(found.matrix("LLR")).sum(axis=1)
    assert (rows[0], rows[101], rows[202], rows[1]) == (1, 4, 1, 4)
    assert np.isnan(found.expected()[1:202]).all()
    assert found.statuses() == {"NON_ACGT": 4, "N_CONTEXT": 600, "OK": 6}
    grey = draw_map(map_region(with_n, "chr17:43047595-43047605"))  # a region without any score
    assert np.isnan(grey.axes[-2].images[0].get_array().filled(np.nan)).all()


def test_a_code_for_several_bases_is_complemented_too(run, tmp_path):
    fasta, table, pairs = tmp_path / "r.fa", tmp_path / "map.tsv", tmp_path / "pairs.tsv"
    fasta.write_text(">17\n" + "ACGT" * 100 + "RYSWKMBDHVN" + "ACGT" * 100 + "\n")
    genes = exon22_genes(tmp_path / "g.gff3", strand="-", first=1, last=811)
    text = genes.read_text()
    for far, near in (("43047500", "100"), ("43047643", "200"), ("43047703", "300"), ("43048000", "500")):
        text = text.replace(far, near)
    genes.write_text(text)
    words = ("map", "17:401-411", "-R", fasta, "-A", genes, "--backend", "null")
    assert run(*words, "-o", table, "--dependency", pairs)[0] == 0
    rows = [line.split("\t") for line in table.read_text().splitlines() if not line.startswith("##")]
    pos, ref, tx_ref = (rows[0].index(name) for name in ("POS", "REF", "TX_REF"))
    shown = {int(row[pos]): (row[ref], row[tx_ref]) for row in rows[1:]}
    # IUPAC: R is A or G, so Y on the other strand; S and W are their own complements.
    assert " ".join("".join(shown[at]) for at in range(401, 412)) == "RY YR SS WW KM MK BV DH HD VB NN"
    read = [line.split("\t") for line in pairs.read_text().splitlines() if line.startswith("17\t411\t")]
    assert "".join(row[6] for row in read) == "NBDHVKMWSRY"


def test_an_snv_beside_the_gene_has_a_status(session_cache, tmp_path):
    genes = exon22_genes(tmp_path / "g.gff3", strand="-", last=43048100)
    genes.write_text(genes.read_text() + exon22_genes(tmp_path / "q.gff3", gene="Q", biotype="lncRNA").read_text())
    with Annotator(FASTA, genes, backend="null") as annotator:
        found = map_region(annotator, "chr17:43048099-43048102")  # the only protein-coding gene would be P and Q
        assert found.gene.gene_id == "P"
        by_pos = {result.variant.pos: result for result in found.results}
        assert [str(by_pos[pos].status) for pos in sorted(by_pos)] == ["OK", "OK", "NO_GENE", "NO_GENE"]
        assert by_pos[43048101].reason == "outside PNAME"
        assert {result.gene.gene_id for result in found.results if result.gene} == {"P"}
        assert map_region(annotator, "chr17:43048099-43048102", "QNAME").gene.strand == "+"
        with pytest.raises(SettingsError, match="no gene of that name"):
            map_region(annotator, "chr17:43048099-43048102", "R")
        with pytest.raises(SettingsError, match="no gene of the annotation"):
            map_region(annotator, "chr17:43125400-43125410")
    genes.write_text(genes.read_text().replace("lncRNA", "protein_coding"))
    with Annotator(FASTA, genes, backend="null") as annotator, pytest.raises(SettingsError, match=r"several genes"):
        map_region(annotator, "chr17:43048099-43048102")


@pytest.mark.parametrize(
    ("region", "word"),
    [
        ("chr17:83257440-83257442", "beyond its contig"),
        ("chr17:43047000-43052000", "too long for a map"),
        ("chr17", "too long for a map"),
        ("chr99:1-2", "no such contig"),
    ],
)
def test_a_region_that_cannot_be_mapped_says_why(null, region, word):
    with pytest.raises(SettingsError, match=word):
        map_region(null, region)
    with pytest.raises(SettingsError, match="dependency map"):
        stretch_of("chr17:43047000-43048000", null.reference, LONGEST_DEPENDENCY)


def test_a_score_that_was_not_computed_is_named(session_cache, exon):
    with pytest.raises(SettingsError, match=r"KL_MAX is not among"):
        exon.matrix("KL_MAX")
    with Annotator(FASTA, backend="null", settings=Settings(scores=("KL_CTX",))) as annotator:
        found = map_region(annotator, REGION)
    assert found.expected() is None
    assert usual_scores(found) == ("KL_CTX",)
    assert not any("masked" in axes.get_ylabel() for axes in draw_map(found).axes)


def heat(figure, name):
    return next(axes for axes in figure.axes if axes.get_ylabel() == f"{name}\nALT")


@pytest.mark.parametrize("length", [9, 41, 101, 260])
def test_labels_of_positions_stand_clear_of_each_other(null, length):
    figure = draw_map(map_region(null, f"chr17:43047620-{43047619 + length}"), ("LLR",))
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in heat(figure, "LLR").get_xticklabels()]
    assert len(boxes) >= 2 and all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize("strand", ["-", "+"])
def test_the_picture_runs_with_the_transcript(session_cache, strand, tmp_path):
    with Annotator(FASTA, exon22_genes(tmp_path / "g.gff3", strand=strand), backend="null") as annotator:
        found = map_region(annotator, EXON)
    figure = draw_map(found, ("KL_SS", "LLR"))
    for name in ("KL_SS", "LLR"):
        axes = heat(figure, name)
        shown = axes.images[0].get_array().filled(np.nan)
        assert np.array_equal(shown, found.matrix(name).T, equal_nan=True)
        assert [label.get_text() for label in axes.get_yticklabels()] == list("ACGT")
        assert axes.get_xlim() == (-0.5, 100.5) and axes.get_ylim() == (3.5, -0.5)  # row 0 on top
        columns, rows = axes.lines[0].get_data()  # dots at the reference
        assert "".join("ACGT"[int(row)] for row in rows[np.argsort(columns)]) == found.ref
    ticks, labels = axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()]
    positions = [int(label.replace(",", "")) for label in labels]
    assert len(ticks) == 11
    for x, position in zip(ticks, positions, strict=True):
        assert position == (43047720 - x if strand == "-" else 43047620 + x)
    structure = figure.axes[0]
    [bar] = [patch for patch in structure.patches if patch.get_width() > 40]
    left = 17 if strand == "-" else 23  # 43047704-43047720, or 43047620-43047642, come before the exon
    assert (bar.get_x(), bar.get_width()) == (left - 0.5, 61)  # of 43047643-43047703
    words = {text.get_text(): text.xy[0] for text in structure.texts if text.get_text() in ("acceptor", "donor")}
    assert words == {"acceptor": left - 1.5, "donor": left + 61.5}
    logo = next(axes for axes in figure.axes if "masked" in axes.get_ylabel())
    assert "".join(label.get_text() for label in logo.get_xticklabels()) == found.ref


def test_the_dependency_picture_has_mutated_rows_and_read_columns(null, exon):
    dependency = dependency_of(null, exon)
    figure = draw_dependency(exon, dependency)
    axes = next(axes for axes in figure.axes if axes.images and "mutated" in axes.get_ylabel())
    shown = axes.images[0].get_array().filled(np.nan)
    mean = dependency.mean()
    assert np.isnan(np.diag(shown)).all()
    assert shown[3, 90] == max(mean[3, 90], 1e-5) and shown[90, 3] == max(mean[90, 3], 1e-5)
    assert axes.get_ylim() == (100.5, -0.5)
    for axis in (axes.xaxis, axes.yaxis):
        for x, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True):
            assert int(label.get_text().replace(",", "")) == 43047720 - x


def test_the_command_writes_what_the_functions_return(run, tmp_path, null, exon):
    table, pairs = tmp_path / "map.parquet", tmp_path / "pairs.parquet"
    code, out, err = run(
        "map", EXON, "-R", FASTA, "--backend", "null", "-o", table, "--picture", tmp_path / "map.png",
        "--dependency", pairs, "--dependency-picture", tmp_path / "pairs.svg", "--score", "LLR,EMB_L2",
    )  # fmt: skip
    assert (code, out) == (0, ""), err
    assert "BRCA1: 303 SNVs; by status: OK 303" in err
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert "position that is mutated" in (tmp_path / "pairs.svg").read_text()
    read = pq.read_table(table)
    assert b"ScoreDigest" in read.schema.metadata
    rows = read.to_pylist()
    assert [(row["POS"], row["ALT"]) for row in rows] == sorted((row["POS"], row["ALT"]) for row in rows)
    for row, result in zip(rows, exon.results, strict=True):
        assert (row["CHROM"], row["POS"], row["REF"], row["ALT"]) == (
            result.variant.chrom, result.variant.pos, result.variant.ref, result.variant.alt,
        )  # fmt: skip
        assert {name: row[name] for name in result} == dict(result.values)
        assert row["OFFSET"] == 43047720 - row["POS"]
        assert (row["TX_REF"], row["TX_ALT"]) == tuple(row[x].translate(COMPLEMENT) for x in ("REF", "ALT"))
        assert (row["SYMBOL"], row["REGION"], row["STATUS"]) == ("BRCA1", result.gene.region, "OK")
    mean = dependency_of(null, exon).mean()
    lines = pq.read_table(pairs).to_pylist()
    assert len(lines) == 101 * 101
    for line in lines[::97]:
        assert line["KL_MEAN"] == pytest.approx(mean[line["MUTATED_OFFSET"], line["READ_OFFSET"]], abs=1e-12)
        assert (line["MUTATED_POS"], line["N_ALTS"]) == (43047720 - line["MUTATED_OFFSET"], 3)
        assert line["READ_REF"] == exon.ref[line["READ_OFFSET"]]


def test_a_tsv_prints_the_scores_and_leaves_the_missing_empty(run, tmp_path, null):
    path = tmp_path / "map.tsv"
    assert run("map", "chr17:43047300-43047302", "-R", FASTA, "--backend", "null", "-o", path)[0] == 0
    text = [line for line in path.read_text().splitlines() if not line.startswith("##")]
    head, *rows = (line.split("\t") for line in text)
    assert len(rows) == 9 and {len(row) for row in rows} == {len(head)}
    first = dict(zip(head, rows[0], strict=True))
    assert (first["POS"], first["OFFSET"], first["KL_SS"]) == ("43047300", "2", "")  # no site in the window
    alone = null.score(f"chr17-43047300-{first['REF']}-{first['ALT']}")
    assert float(first["LLR"]) == pytest.approx(alone["LLR"], abs=5.1e-5) and first["STATUS"] == "OK"


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["-o", "x.csv"], 3, ".tsv, .parquet"),
        (["-o", "x.tsv", "--picture", "x.gif"], 3, ".png, .svg, .pdf"),
        (["-o", "x.tsv", "--dependency", "x.tsv"], 3, "same place"),
        (["-o", "x.tsv", "--score", "KL_MAX"], 3, "KL_MAX is not among"),
        (["-o", "x.tsv", "--picture", "nowhere/x.png"], 5, "could not be written"),
    ],
)
def test_what_cannot_be_met_ends_the_command_and_leaves_nothing(run, tmp_path, monkeypatch, more, code, message):
    monkeypatch.chdir(tmp_path)
    ended, out, err = run("map", REGION, "-R", FASTA, "--backend", "null", *more)
    assert (ended, out) == (code, "")
    assert message in err and "model null" not in (err if code == 5 else "")  # before anything is scored
    assert list(tmp_path.iterdir()) == []

"""REF and ALT windows of a VCF: cut by hand, run by transformers, and the same that scores are computed from."""

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from factories import FLANK, LENGTH, WIDTH, opened, some_genome, some_model, theirs, write_work
from oracle import revcomp
from splicebert_vep import embed
from splicebert_vep.errors import BuildError, SettingsError, VcfError

GENES = """\
##gff-version 3
c1\tx\tgene\t301\t900\t.\t-\t.\tID=gene:GM.2;gene_id=GM.2;Name=MINUS;biotype=protein_coding
c1\tx\tmRNA\t301\t900\t.\t-\t.\tID=transcript:TM;Parent=gene:GM.2;transcript_id=TM
c1\tx\texon\t301\t900\t.\t-\t.\tParent=transcript:TM
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
    return some_model()


@pytest.fixture(scope="module")
def genome():
    return some_genome()


@pytest.fixture(scope="module")
def work(tmp_path_factory, model, genome):
    return write_work(tmp_path_factory.mktemp("vcf"), model, genome, GENES)


@pytest.fixture(scope="module")
def annotator(work):
    with opened(work, batch_tokens=3 * (WIDTH + 2)) as annotator:
        yield annotator


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


def windows_by_hand(genome, at, length, alt, strand):
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
    annotator, model, genome, vcf, changes, tmp_path
):
    embeddings = embed(annotator, vcf=str(vcf), layers="all")
    h5, parquet = tmp_path / "o.h5", tmp_path / "o.parquet"
    embeddings.save(str(h5), str(parquet))
    table = pq.read_table(parquet)
    assert table.column_names == [*COLUMNS, "layer_0", "layer_1", "layer_2", "layer_3"]
    wanted = [
        (change(genome, at, length, alt), gene, window)
        for at, length, alt, genes in changes
        for gene in sorted(genes, key=lambda gene: gene[1])
        for window in windows_by_hand(genome, at, length, alt, gene[0])
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
            assert (file["embedding"][at] == one.values).all()
            assert file["position"][at].tolist() == position
            assert set(file["window_start"][at].tolist()) == {side.start}
            assert file["target/side"].asstr()[number] == side.side
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
    words = ["-R", work / "c.fa", "-A", work / "genes.gff3", "--model", work / "model", "--device", "cpu"]
    outputs = ["-o", tmp_path / "o.parquet", "-o", tmp_path / "o.h5"]
    # the command's flank is 29 with so small a window, which changes no status here
    code, _, err = run("embed", "--vcf", vcf, *words, "--window", WIDTH, *outputs)
    assert code == 0, err
    with opened(work) as annotator:
        embeddings = embed(annotator, vcf=str(vcf))
        found = [(side.name, side.gene, side.side, str(side.status), len(side)) for side in embeddings.targets]
        name = f"c1-400-{a}-"
        assert sorted(found[:4], key=str) == sorted(
            [(name + other(a), gene, side, "OK", WIDTH) for gene in ("GM.2", "GP.1") for side in ("REF", "ALT")],
            key=str,
        )
        skipped = [(row[0], row[3]) for row in found[4:]]
        assert skipped == [
            (f"{name}*", "SPANNING_DELETION"),
            (f"{name}<DEL>", "SYMBOLIC"),
            (f"c1-400-{other(a)}-{a}", "REF_MISMATCH"),
            (f"c1-1000-{b}-{other(b)}", "NO_GENE"),
            *[(f"c1-496-{genome[495]}-{other(genome[495])}", "N_CONTEXT")] * 2,  # in two genes
            (f"c1-600-{long}-{long[0]}", "TOO_LONG"),
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
    assert "ALTs by status: SYMBOLIC 1, SPANNING_DELETION 1, NON_ACGT 1, NO_CONTIG 1, REF_MISMATCH 1" in err
    assert len(pq.read_table(tmp_path / "o.parquet")) == len(found)


def test_nothing_that_can_be_embedded_is_still_a_table(annotator, genome, tmp_path):
    vcf = tmp_path / "in.vcf"
    vcf.write_text(f"{HEADER}c1\t400\t.\t{genome[399]}\t*\t.\t.\t.\n")
    for attention in (False, True):
        embed(annotator, vcf=str(vcf), attention=attention).save(*(str(tmp_path / f"o.{s}") for s in ("h5", "parquet")))
        assert pq.read_table(tmp_path / "o.parquet").column("status").to_pylist() == ["SPANNING_DELETION"]
        with h5py.File(tmp_path / "o.h5") as file:
            assert file["embedding"].shape == (0, 1, 32)


def test_attention_of_both_sides(annotator, vcf, tmp_path):
    embeddings = embed(annotator, vcf=str(vcf), attention=True)
    embeddings.save(str(tmp_path / "o.h5"))
    with h5py.File(tmp_path / "o.h5") as file:
        for number, one in enumerate(embeddings):
            assert one.attention.shape == (1, 4, WIDTH, WIDTH)
            assert (file[f"attention/{number}"][:] == one.attention).all()
            assert (one.attention.sum(axis=-1) < 1).all()  # the rest goes to [CLS] and [SEP]


def test_bgzip_bcf_and_any_batch_give_the_same(work, vcf, annotator, tmp_path):
    import pysam

    packed = tmp_path / "in.bcf"
    with pysam.VariantFile(str(vcf)) as source, pysam.VariantFile(str(packed), "wb", header=source.header) as target:
        for record in source:
            target.write(record)
    with opened(work, batch_tokens=WIDTH + 2) as single:
        for one, same in zip(embed(annotator, vcf=str(vcf)), embed(single, vcf=str(packed)), strict=True):
            assert one.target == same.target
            assert np.abs(one.values - same.values).max() < 1e-5


@pytest.mark.parametrize(
    ("more", "word"),
    [({"genes": ["PLUS"]}, "genes"), ({"regions": ["c1"], "strand": "+"}, "regions"), ({"keep": 5}, "keep")],
)
def test_a_vcf_goes_without_anything_else(annotator, vcf, more, word):
    with pytest.raises(SettingsError, match=rf"go without anything else(.|\n)*{word}"):
        embed(annotator, vcf=str(vcf), **more)


def test_what_is_no_vcf_of_this_build_is_refused(annotator, work, tmp_path):
    with pytest.raises(VcfError):
        embed(annotator, vcf=str(work / "genes.gff3"))
    empty = tmp_path / "empty.vcf"
    empty.write_text(HEADER)
    with pytest.raises(SettingsError, match=r"nothing to embed(.|\n)*no ALT in"):
        embed(annotator, vcf=str(empty))
    wrong = tmp_path / "wrong.vcf"
    wrong.write_text(HEADER.replace(str(LENGTH), "1300") + "c1\t400\t.\tA\tC\t.\t.\t.\n")
    with pytest.raises(BuildError):
        embed(annotator, vcf=str(wrong))


def test_the_command_refuses_what_contradicts_itself(run, work, vcf, tmp_path):
    common = ["embed", "--vcf", vcf, "-R", work / "c.fa", "-A", work / "genes.gff3"]
    copy = tmp_path / "in.h5"
    copy.write_bytes(vcf.read_bytes())
    for words, message in (
        (["--gene", "PLUS", "-o", tmp_path / "o.h5"], "--vcf goes without --gene"),
        (["--keep", "9", "-o", tmp_path / "o.h5"], "--vcf goes without"),
    ):
        code, _, err = run(*common, *words)
        assert (code, message in err) == (2, True), err
    assert run(*common, "--vcf", copy, "-o", copy)[0] == 3
    assert copy.read_bytes() == vcf.read_bytes()

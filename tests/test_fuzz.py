"""An attack on the program: odd records, flipped and cut files, hostile models, each made by a seed.

Whatever comes in, a run ends with a documented exit code and never with a fault, a failed run leaves no file, columns
come out as they came in, and a damaged file of scores or genes changes no value.

The suite tries a few seeds of every attack. More of them, and from another seed on:
``SPLICEBERT_VEP_FUZZ=200000 SPLICEBERT_VEP_FUZZ_FIRST=5000 pytest -n 0 -m slow tests/test_fuzz.py -s``; records are
counted for the attacks on records, files for the others. A failure names its seed.
"""

import contextlib
import gzip
import io
import json
import os
import random
import shutil
import time
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pysam
import pysam.bcftools
import pytest

from factories import tabixed, tiny_model, write_tiny
from splicebert_vep.cli import main as program

DOCUMENTED = {0, 1, 2, 3, 4, 5}  # of commands that pull nothing, load no plugin and have no --strict
MANY, FIRST = "SPLICEBERT_VEP_FUZZ", "SPLICEBERT_VEP_FUZZ_FIRST"
SECONDS = 8.0  # of one attack in the suite, at most
DECLARED = """\
##fileformat=VCFv4.2
##contig=<ID=c1,length=220>
##contig=<ID=c0,length=120>
##FILTER=<ID=q10,Description="low">
##FILTER=<ID=s50,Description="half">
##INFO=<ID=I,Number=.,Type=Integer,Description="whole">
##INFO=<ID=F,Number=A,Type=Float,Description="real">
##INFO=<ID=S,Number=.,Type=String,Description="text">
##INFO=<ID=FLAG,Number=0,Type=Flag,Description="flag">
##INFO=<ID=END,Number=1,Type=Integer,Description="end">
##FORMAT=<ID=GT,Number=1,Type=String,Description="genotype">
##FORMAT=<ID=DP,Number=1,Type=Integer,Description="depth">
##FORMAT=<ID=GL,Number=G,Type=Float,Description="likelihoods">
##FORMAT=<ID=FT,Number=1,Type=String,Description="text">
"""
ODD = (
    ".", "", "0", "-1", "+5", "007", "1e5", "1e-50", "nan", "inf", "-inf", "1_000", " 7", "2147483647", "2147483648",
    "-2147483648", "-2147483641", "12345678901234567890", "0.30000000000000004", "3.14159265", "1,2,3", ",", "1,,3",
    ".,.", "a b", "x=y", "é", "日本", "\xff\xfe", "%3B", "'", '"', "<X>", "[", "|", "#", "\\", "\x1b[2J", "\x7f",
    "A" * 300,
)  # fmt: skip


DECLARATION = """\
files = ["joined.vcf.gz"]
version = "1"

[columns]
chrom = "CHROM"
pos = "POS"
ref = "REF"
alt = "ALT"
base = 1

[fields.TEXT]
column = "INFO"
type = "String"
description = "a column"
"""


class World:
    """A small genome with its genes, and runs of the program on it in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        options, self.bases = write_tiny(folder)
        self.options = [str(option) for option in options]
        self.said, self.codes = "", Counter[int]()
        tiny_model(folder / "model")

    def run(self, *words) -> int:
        """Run the program and see that it ends in a documented way."""
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = program._run([str(word) for word in words])
        self.said = said.getvalue()
        assert code in DOCUMENTED and "Traceback" not in self.said, (code, words, self.said)
        assert bool(code) == ("error:" in self.said), (code, self.said)
        self.codes[code] += 1
        return code

    def annotate(self, source: Path, out: Path, *more) -> int:
        """Annotate, and see that a run that failed leaves nothing."""
        code = self.run("annotate", source, *self.options, "-O", out, *more)
        if code:
            left = [path.name for path in out.parent.iterdir() if out.name in path.name]
            assert not left, (code, left)
        return code


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("fuzz"))


# Records.


def alleles(rng: random.Random, bases: str, tame: bool) -> tuple[int, str, str]:
    """Return POS, REF and ALT; REF is nearly always that of the FASTA, or the build guard would end the run."""
    at, length = rng.randrange(len(bases)), rng.choice((1, 1, 1, 1, 2, 3, 8, 40))
    ref = bases[at : at + length].upper()
    if not tame and rng.random() < 0.02:
        return rng.choice((0, 1, 10**6, 2**31 - 1, 10**15)), rng.choice(("A", "N", "acgt", "R", "<X>", "*", "é")), "C"
    alts = []
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        made = "".join(rng.choices("ACGT", k=rng.choice((1, 1, 2, 6, 50))))
        alts.append(rng.choice((made, ref[0] + made, ref[:1], made.lower(), "<DEL>", "*", "A[c1:5[", ".A", "N")))
    if not tame and rng.random() < 0.05:
        alts.append(rng.choice((".", "", ref, "A" * 500, "\xff", "<é>", "<DEL", "]1:3]A", "A.", "-", "0")))
    return at + 1, ref, ",".join(dict.fromkeys(alts))


def value(rng: random.Random, kind: str, tame: bool, odd: float = 0.02) -> str:
    """Return a value of a declared type, or an odd one, which BCF refuses in samples."""
    if rng.random() < (odd if tame else 0.3):
        text = rng.choice(ODD)
        return "." if tame and set(text) & set(" ,=;\x1b\xff") else text
    if kind == "Integer":
        return str(rng.choice((0, 1, -7, 255, 70_000, rng.randrange(-(2**31) + 8, 2**31))))
    if kind == "Float":
        return rng.choice((str(rng.random()), f"{rng.uniform(-1e6, 1e6):.3f}", "1e-5", "0", "12"))
    return rng.choice(("x", "a_b", "A|B|C", "1", ".", "long" * 9))


def info(rng: random.Random, tame: bool) -> str:
    kinds = {"I": "Integer", "F": "Float", "S": "String", "U": "String", "V9": "Integer"}
    items = [f"{key}={value(rng, kind, tame)}" for key, kind in kinds.items() if rng.random() < 0.4]
    items += [word for word in ("FLAG", "W") if rng.random() < 0.2]
    items += ["SpliceBERT_KL_SS=0.5"] if rng.random() < 0.1 else []
    if not tame:
        items += rng.sample(("", "FLAG=1", "I", "S=1", "=", "=x", "SpliceBERT=a|b", "END=9", "END=x", "é=1", "S"), k=2)
        if rng.random() < 0.5:
            items = items[:-2]
    rng.shuffle(items)
    return ";".join(items) or "."


def line(rng: random.Random, bases: str, samples: int, tame: bool) -> str:
    pos, ref, alt = alleles(rng, bases, tame)
    odd = not tame and rng.random() < 0.1
    columns = [
        "c1" if not odd else rng.choice(("c0", "chrc1", "c2", "é", "a|b", "*", "")), str(pos),
        rng.choice(ODD) or "x" if odd else rng.choice((".", "rs1", "a;b")), ref, alt,
        rng.choice(ODD) if odd else rng.choice((".", "30", "0.5", "99.9")),
        rng.choice(ODD) if odd else rng.choice((".", "PASS", "q10", "q10;s50")), info(rng, tame),
    ]  # fmt: skip
    if samples:
        keys = [key for key in ("GT", "DP", "GL", "FT") if key == "GT" or rng.random() < 0.5]
        columns.append(":".join(keys))
        kinds = {"DP": "Integer", "GL": "Float", "FT": "String"}
        for _ in range(samples):
            parts = [rng.choice(("0/1", "1|1", "./.", "0", "."))]
            parts += [value(rng, kinds[key], tame, 0.001).replace(":", "") or "." for key in keys[1:]]
            columns.append(":".join(parts))
    return "\t".join(text.replace("\t", "").replace("\n", "") for text in columns)


def vcf(rng: random.Random, path: Path, bases: str, count: int, *, tame: bool) -> list[bytes]:
    """Write a VCF; return its records without line ends."""
    samples = rng.choice((0, 0, 2))
    head = DECLARED + "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"
    head += "\tFORMAT" * bool(samples) + "".join(f"\tP{number}" for number in range(samples)) + "\n"
    end = "\n" if tame else rng.choice(("\n", "\n", "\r\n"))
    # Latin-1 where the text fits it: bytes that are no UTF-8; else UTF-8
    lines = []
    for _ in range(count):
        text = line(rng, bases, samples, tame)
        lines.append(text.encode("latin-1" if text.isascii() or "\xff" in text and "日" not in text else "utf-8"))
    path.write_bytes(head.replace("\n", end).encode() + b"".join(one + end.encode() for one in lines))
    return lines


def records_of(path: Path) -> list[bytes]:
    """Return the lines after the header, without their ends."""
    _, _, body = path.read_bytes().partition(b"\n#CHROM")
    return [one.rstrip(b"\r\n") for one in body.split(b"\n")[1:] if one]


def ours(item: bytes) -> bool:
    return item.partition(b"=")[0] == b"SpliceBERT" or item.startswith(b"SpliceBERT_")


def check_text(before: list[bytes], after: list[bytes]) -> None:
    """See that every column came out as it was, and INFO with our items at its end, in place of earlier ones."""
    assert len(before) == len(after)
    for was, now in zip(before, after, strict=True):
        old, new = was.split(b"\t"), now.split(b"\t")
        assert old[:7] + old[8:] == new[:7] + new[8:], (was, now)
        kept = [item for item in old[7].split(b";") if not ours(item)]
        left = [item for item in new[7].split(b";") if not ours(item)]
        assert [one for one in kept if one not in (b"", b".")] == [one for one in left if one not in (b"", b".")], (
            was,
            now,
        )
        if old[4] not in (b"", b"."):
            assert any(map(ours, new[7].split(b";"))), now


def same(was: bytes, now: bytes, digits: float | None = None) -> bool:
    """Tell whether BCF kept a value: the same text, or the same numbers.

    Args:
        digits: of a Float, the relative error beyond its 32 bits that printing may bring; htslib prints 6 digits.
    """
    if was == now or was.count(b",") != now.count(b","):
        return was == now
    for one, other in zip(was.split(b","), now.split(b","), strict=True):
        if one == other:
            continue
        if b"_" in one or one != one.strip():
            return False
        try:
            first, second = float(one), float(other)
        except ValueError:
            return False
        if first != second and digits is None:
            return False
        if np.float32(first) != np.float32(second) and not np.isclose(first, second, rtol=digits or 0, equal_nan=True):
            return False
    return True


def check_values(before: list[bytes], after: list[bytes], digits: float = 0.0) -> None:
    """See that BCF kept every value of every column but our own; ``digits`` is that of ``same``."""
    assert len(before) == len(after)
    for was, now in zip(before, after, strict=True):
        old, new = was.split(b"\t"), now.split(b"\t")
        assert old[:5] == new[:5] and same(old[5], new[5], digits) and old[6] == new[6], (was, now)
        kept = [one for one in old[7].split(b";") if not ours(one) and one not in (b"", b".")]
        left = [one for one in new[7].split(b";") if not ours(one) and one not in (b"", b".")]
        assert len(kept) == len(left), (was, now)
        for one, other in zip(kept, left, strict=True):
            (key, _, text), (name, _, found) = one.partition(b"="), other.partition(b"=")
            kept_text = same(text, found, digits if key == b"F" else None) or (text, found) == (b"", b".")
            assert key == name and kept_text, (one, other, was)
        assert old[8:9] == new[8:9], (was, now)
        keys = old[8].split(b":") if len(old) > 8 else []
        for one, other in zip(old[9:], new[9:], strict=True):
            for key, text, found in zip_longest(keys, one.split(b":"), other.split(b":"), fillvalue=b"."):
                kept_text = same(text or b".", found or b".", digits if key == b"GL" else None)
                assert kept_text, (text, found, was)


def printed(path: Path) -> list[bytes]:
    """Return the records of a BCF as htslib prints them."""
    text = path.with_suffix(".printed.vcf")
    pysam.bcftools.view("-Ov", "--no-version", "-o", str(text), str(path), catch_stdout=False)
    return records_of(text)


def text_records(world: World, folder: Path, seed: int, count: int) -> None:
    """Odd records through text, some under an odd header, into INFO, entries of CSQ and tables."""
    source, out = folder / "in.vcf", folder / "out.vcf"
    rng = random.Random(f"text {seed}")
    before = vcf(rng, source, world.bases, count, tame=False)
    odd = seed % 3 == 0
    tables = [f"{kind}={folder / kind}" for kind in ("tsv", "jsonl", "parquet") if rng.random() < 0.3]
    words = [rng.choice(("flat", "vep", "flat,vep", "flat,csq")), *tables]
    if "csq" in words[0]:
        source.write_bytes(source.read_bytes().replace(b"##INFO=<ID=S,", CSQ + b"##INFO=<ID=T,"))
    if odd:
        head, columns, body = source.read_bytes().partition(b"#CHROM")
        source.write_bytes(odd_header(rng, head) + columns + body)
    code = world.annotate(source, out, "--emit", ",".join(words))
    assert code in (0, 4) or code == 3 and odd, world.said  # 4: a tenth of REF bases is not that of the FASTA
    if code:
        assert sorted(path.name for path in folder.iterdir()) == ["in.vcf"]
        return
    if "csq" not in words[0]:
        check_text(before, records_of(out))
    if (folder / "jsonl").exists():
        rows = [json.loads(text) for text in (folder / "jsonl").read_text().splitlines()[1:]]
        alts = [one.split(b"\t")[4] for one in before]
        assert len(rows) >= sum(alt.count(b",") + 1 for alt in alts if alt not in (b"", b"."))


CSQ = b'##INFO=<ID=S,Number=.,Type=String,Description="Consequence annotations. Format: Allele|Gene|SYMBOL|X">\n'


def odd_header(rng: random.Random, head: bytes) -> bytes:
    """Return the lines of a header with some left out, doubled, moved, damaged or odd."""
    first, *lines = head.splitlines(keepends=True)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(lines))
        lines[at : at + 1] = rng.choice((
            [], [lines[at]] * 2, [damaged(rng, lines[at])], [CSQ], [CSQ.replace(b"S,", b"U,"), lines[at]],
            [b"##INFO=<ID=SpliceBERT,Number=1,Type=Integer,Description=\xff>\n", lines[at]], [lines[at][:-2] + b"\n"],
            [b"##contig=<ID=c1,length=9999999999999999999999>\n"], [b"##x=" + b"<" * 5000 + b"\n", lines[at]],
            [b"##\n"],
        ))  # fmt: skip
    return first + b"".join(lines)


def bcf_records(world: World, folder: Path, seed: int, count: int) -> None:
    """Records from text into BCF, and from BCF into text; odd ones may be refused, and only before a file is there."""
    source, out = folder / "in.vcf", folder / "out.bcf"
    rng = random.Random(f"bcf {seed}")
    before = vcf(rng, source, world.bases, count, tame=seed % 4 != 0)
    if world.annotate(source, out):
        assert seed % 4 == 0 or "BCF" in world.said, world.said
        return
    assert world.annotate(out, folder / "again.vcf") == 0
    again = records_of(folder / "again.vcf")
    check_values(before, again)
    check_values(printed(out), again, 5.1e-6)


# Damaged files.


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Flip a bit, or cut the end off."""
    if rng.random() < 1 / 3:
        return data[: rng.randrange(len(data))]
    changed = bytearray(data)
    changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


class Whole:
    """Files before they are damaged, and what runs on them write."""

    def __init__(self, world: World) -> None:
        folder = world.folder
        self.plain = folder / "whole.vcf"
        vcf(random.Random("whole"), self.plain, world.bases, 40, tame=True)
        self.out = folder / "whole.out.vcf"
        assert world.annotate(self.plain, self.out, "--store", folder / "scores.sqlite") == 0
        (folder / "whole.gz.vcf").write_bytes(gzip.compress(self.plain.read_bytes()))
        pysam.tabix_compress(str(self.plain), str(folder / "whole.vcf.gz"))
        assert world.annotate(self.plain, folder / "whole.bcf") == 0
        assert world.annotate(folder / "whole.bcf", folder / "bcf.out.vcf") == 0
        assert world.run("genes", "build", world.options[3], "-O", folder / "whole.genes.parquet") == 0
        assert world.run("store", "export", folder / "scores.sqlite", "-O", folder / "scores.parquet") == 0
        rows = []
        for record in records_of(self.plain):
            chrom, pos, _, ref, alts, *_ = record.decode().split("\t")
            for alt in alts.split(","):
                if set(alt) <= set("ACGT"):
                    rows.append(f"{chrom} {pos} {ref} {alt} SpliceAI={alt}|ALPHA|0.{pos}|0|0|0|1|2|3|4")
        tabixed(folder / "joined.vcf", rows)
        shutil.copy(world.options[1], folder / "g.fa")
        pysam.tabix_compress(str(folder / "g.fa"), str(folder / "g.fa.gz"))
        pysam.faidx(str(folder / "g.fa.gz"))
        shutil.copy(world.options[3], folder / "g.gtf")
        (folder / "places.bed").write_text("track name=x\nc1\t60\t80\tname\n\nc1\t100\t120\n")
        for name in ("g.gtf", "places.bed"):
            (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / "table.toml").write_text(DECLARATION)
        code = world.annotate(self.plain, folder / "joined.out.vcf", "--join", f"spliceai={folder / 'joined.vcf.gz'}")
        assert code == 0 and b"SpliceAI_DS_AG=0." in (folder / "joined.out.vcf").read_bytes()


@pytest.fixture(scope="module")
def whole(world):
    return Whole(world)


def damaged_vcf(world: World, folder: Path, seed: int) -> None:
    """VCF, gzip, BGZF and BCF: check sums find every changed byte; plain text leaves as it is."""
    rng = random.Random(f"damaged {seed}")
    name = ("whole.vcf", "whole.gz.vcf", "whole.vcf.gz", "whole.bcf")[seed % 4]
    source, out = folder / name, folder / "out.vcf"
    source.write_bytes(damaged(rng, (world.folder / name).read_bytes()))
    if world.annotate(source, out) == 0:
        if name == "whole.vcf":
            check_text(records_of(source), records_of(out))
        else:
            expected = world.folder / ("bcf.out.vcf" if name == "whole.bcf" else "whole.out.vcf")
            assert records_of(out) == records_of(expected)


def damaged_scores(world: World, folder: Path, seed: int) -> None:
    """A store, its export, a gene table, scores to join and their index: the values of whole files, or an error."""
    rng = random.Random(f"scores {seed}")
    names = ("scores.sqlite", "scores.parquet", "whole.genes.parquet", "joined.vcf.gz", "joined.vcf.gz.tbi")
    name = names[seed % 5]
    shutil.copy(world.folder / "joined.vcf.gz", folder)
    file, store, out = folder / name, folder / "new.sqlite", folder / "out.vcf"
    file.write_bytes(damaged(rng, (world.folder / name).read_bytes()))
    more = {
        "scores.sqlite": ["--store", file],
        "scores.parquet": ["--store", store],
        "whole.genes.parquet": ["-A", file],
    }
    if name == "joined.vcf.gz":
        shutil.copy(world.folder / f"{name}.tbi", folder)
    elif name == "scores.parquet":
        world.run("store", "import", store, file)
    join = ["--join", f"spliceai={folder / 'joined.vcf.gz'}"]
    if world.annotate(world.folder / "whole.vcf", out, *more.get(name, join)) == 0:
        expected = "whole.out.vcf" if name in more else "joined.out.vcf"
        assert records_of(out) == records_of(world.folder / expected)


def damaged_input(world: World, folder: Path, seed: int) -> None:
    """A FASTA, its indexes, an annotation, a BED file and a declared table: they have no check sums for every byte."""
    rng = random.Random(f"input {seed}")
    files = ("g.fa.gz", "g.fa.gz.fai", "g.fa.gz.gzi", "g.gtf", "g.gtf.gz", "places.bed", "places.bed.gz", "table.toml")
    for name in (*files, "joined.vcf.gz", "joined.vcf.gz.tbi"):
        shutil.copy(world.folder / name, folder)
    name = files[seed % len(files)]
    (folder / name).write_bytes(damaged(rng, (folder / name).read_bytes()))
    for index in ("g.fa.gz.fai", "g.fa.gz.gzi"):
        os.utime(folder / index)  # not older than the FASTA
    options = [
        "-R",
        folder / "g.fa.gz",
        "-A",
        folder / ("g.gtf.gz" if name == "g.gtf.gz" else "g.gtf"),
        *world.options[4:],
    ]
    before = {path.name for path in folder.iterdir()}
    if name.startswith("places"):
        code = world.run("saturate", "--bed", folder / name, *options, "-O", folder / "out.vcf.gz")
    else:
        more = ["--join", f"X={folder / name}"] if name == "table.toml" else []
        code = world.run("annotate", world.folder / "whole.vcf", *options, "-O", folder / "out.vcf.gz", *more)
    made = {path.name for path in folder.iterdir()} - before
    assert made == (set() if code else {"out.vcf.gz", "out.vcf.gz.tbi"}) or code == 0 and made == {"out.vcf.gz"}


# Models of others.

HOSTILE = (
    -1, 0, 1, 3, 7.5, 1e308, 2**31, 10**30, 10**400, "", "x", "\x1b[2J", None, True, [], [1], {}, {"a": 1}, "é" * 5000,
    float("nan"), float("inf"),
)  # fmt: skip


def hostile_model(world: World, folder: Path, seed: int) -> None:
    """A model folder whose config.json is odd, or one of whose files is damaged: it scores or is refused."""
    rng = random.Random(f"model {seed}")
    model = folder / "model"
    shutil.copytree(world.folder / "model", model)
    config = model / "config.json"
    if seed % 3:
        about = json.loads(config.read_text())
        for key in rng.sample([*about, "task", "max_trained_length", "odd"], k=rng.choice((1, 1, 2, 4))):
            about[key] = rng.choice(HOSTILE)
        config.write_text(json.dumps(about))
    else:
        file = rng.choice(sorted(model.iterdir()))
        file.write_bytes(damaged(rng, file.read_bytes()))
    base = world.bases[149].upper()
    options = world.options[: world.options.index("--backend")]
    world.run("score", f"c1-150-{base}-{'AC'[base == 'A']}", *options, "--model", model)
    assert "\x1b" not in world.said


# How many.


ATTACKS = {
    "text": text_records,
    "bcf": bcf_records,
    "files": damaged_vcf,
    "scores": damaged_scores,
    "inputs": damaged_input,
    "models": hostile_model,
}
RECORDS = 100  # of a file in an attack on records


def attack(world: World, name: str, tmp_path: Path, seed: int) -> int:
    """Run an attack once; return how much of it that was."""
    folder = tmp_path / str(seed)
    folder.mkdir()
    try:
        if name in ("text", "bcf"):
            ATTACKS[name](world, folder, seed, RECORDS)
            return RECORDS
        ATTACKS[name](world, folder, seed)
        return 1
    except Exception as error:
        error.add_note(f"attack {name}, seed {seed}; files in {folder}")
        raise


def under_attack(world: World, name: str, tmp_path: Path, *, first: int = 0, many: int, seconds: float) -> int:
    began, done, seed = time.process_time(), 0, first
    while done < many and time.process_time() - began < seconds:
        done += attack(world, name, tmp_path, seed)
        shutil.rmtree(tmp_path / str(seed))
        seed += 1
    return done


@pytest.mark.parametrize(
    ("name", "many"), [("text", 2000), ("bcf", 1000), ("files", 60), ("scores", 45), ("inputs", 48), ("models", 40)]
)
def test_attack(world, whole, tmp_path, name, many):
    assert under_attack(world, name, tmp_path, many=many, seconds=SECONDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_long_attack(world, whole, tmp_path, name):
    world.codes.clear()
    many, first = int(os.environ.get(MANY, "10000")), int(os.environ.get(FIRST, "0"))
    done = under_attack(world, name, tmp_path, first=first, many=many, seconds=float("inf"))
    print(f"attack {name}: {done:,} from seed {first}, none came through; exit codes {dict(world.codes)}")

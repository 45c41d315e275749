"""Every ClinVar allele of BRCA1 beside a file in SpliceAI's precomputed layout; its values are made up.

What each allele has to get is worked out from bcftools: both the input and the made file go through ``bcftools norm``,
and alleles are compared by its POS, REF and ALT.
"""

import json
import random
import shutil
import subprocess

import pysam
import pytest

from factories import HEADER, SHARED, SPLICEAI
from splicebert_vep import Annotator, Settings
from splicebert_vep.genome.reference import Reference

CLINVAR = SHARED / "data" / "vcf" / "clinvar.BRCA1.GRCh38.vcf.gz"
FASTA = SHARED / "data" / "reference" / "GRCh38.subset.fa.gz"
CONTIG = "##contig=<ID={},length=83257441>\n"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED.is_dir(), reason="the real files are not in this project"),
    pytest.mark.skipif(not shutil.which("bcftools"), reason="bcftools is what this is compared with"),
]


def normalised(rows, folder, fasta):
    """Return (POS, REF, ALT) of each row (pos, ref, alt) as bcftools normalises it."""
    path = folder / "plain.vcf"
    body = "".join(f"chr17\t{pos}\t{i}\t{ref}\t{alt}\t.\t.\t.\n" for i, (pos, ref, alt) in enumerate(rows))
    path.write_text(HEADER.format(more=CONTIG.format("chr17")) + body)
    done = subprocess.run(
        ["bcftools", "norm", "-f", str(fasta), "-c", "e", str(path)], check=True, capture_output=True, text=True
    )
    found = {}
    for line in done.stdout.splitlines():
        if line[0] != "#":
            _, pos, number, ref, alt, *_ = line.split("\t")
            found[int(number)] = int(pos), ref, alt
    return [found[i] for i in range(len(rows))]


def elsewhere(bases, rng, pos, ref, alt):
    """Write an indel of one anchor base as far right as it goes, or part of the way, and padded; plain string work."""
    while rng.random() < 0.9 and ref[0] == alt[0] and min(len(ref), len(alt)) == 1:
        after = bases(pos + len(ref) - 1, pos + len(ref))  # the base after REF
        longer = ref if len(ref) > 1 else alt
        if longer[1:2] != after:
            break
        moved = longer[1:] + after
        pos, ref, alt = pos + 1, (moved if len(ref) > 1 else moved[0]), (moved if len(alt) > 1 else moved[0])
    if rng.random() < 0.3:
        tail = bases(pos + len(ref) - 1, pos + len(ref) + 3)
        ref, alt = ref + tail, alt + tail
    if rng.random() < 0.3:
        head = bases(pos - 3, pos - 1)
        pos, ref, alt = pos - 2, head + ref, head + alt
    return pos, ref, alt


def made_file(path, alleles, bases, rng):
    """Write entries for most alleles: one record per allele and gene; return them by allele as they are written."""
    rows, known = [], []
    for pos, ref, alt in alleles:
        if rng.random() < 0.2:
            continue
        for symbol, share in (("BRCA1", 0.9), ("NBR2", 0.5), ("MADE-UP1", 0.1)):
            if rng.random() < share:
                where = elsewhere(bases, rng, pos, ref, alt) if len(ref) != len(alt) else (pos, ref, alt)
                deltas = [rng.randrange(101) for _ in range(4)]
                texts = ["."] * 8 if rng.random() < 0.1 else [f"{d / 100:.2f}" for d in deltas] + ["-3", "0", "7", "50"]
                known.append((where, symbol, None if texts[0] == "." else max(deltas) / 100))
                rows.append((*where, f"SpliceAI={where[2]}|{symbol}|{'|'.join(texts)}"))
    body = "".join(f"17\t{pos}\t.\t{ref}\t{alt}\t.\t.\t{info}\n" for pos, ref, alt, info in sorted(rows))
    path.write_text(HEADER.format(more=SPLICEAI + CONTIG.format("17")) + body)
    return pysam.tabix_index(str(path), preset="vcf", force=True), known


def test_every_brca1_allele_gets_what_bcftools_says(tmp_path):
    fasta = shutil.copy(FASTA, tmp_path / "g.fa.gz")
    rng = random.Random(7)
    with pysam.VariantFile(str(CLINVAR)) as records:
        given = [(record.pos, record.ref, record.alts[0]) for record in records if record.alts]
    given = [one for one in given if set(one[1]) | set(one[2]) <= set("ACGT")]
    by_input = dict(zip(given, normalised(given, tmp_path, fasta), strict=True))
    with Reference(fasta) as reference:

        def bases(start, end):
            return reference.fetch("chr17", start, end).decode()

        distinct = sorted(set(by_input.values()))
        snvs, indels = ([a for a in distinct if (len(a[1]) == len(a[2])) == same] for same in (True, False))
        snv, first = made_file(tmp_path / "snv.vcf", snvs, bases, rng)
        indel, second = made_file(tmp_path / "indel.vcf", indels, bases, rng)
    known = [*first, *second]
    expected = {}
    for allele, (_, symbol, largest) in zip(normalised([k[0] for k in known], tmp_path, fasta), known, strict=True):
        expected.setdefault(allele, {})[symbol] = largest
    moved = sum(where not in by_input.values() for where, _, _ in known)
    assert moved > 500  # rows whose own writing is not bcftools'

    out = tmp_path / "o.jsonl"
    with Annotator(fasta, "grch38", backend="null", settings=Settings(scores=("LLR",))) as annotator:
        summary = annotator.annotate(CLINVAR, "-", emit=[f"jsonl={out}"], join=[f"spliceai={snv}", f"spliceai={indel}"])
    assert not [text for text in summary.warnings if "--join" in text]
    counts = {}
    with out.open() as lines:
        next(lines)
        for line in lines:
            row = json.loads(line)
            if row["GENE"] is None:
                assert row["SpliceAI_STATUS"] is None
                continue
            there = expected.get(by_input[row["POS"], row["REF"], row["ALT"]], {})
            largest = there.get(row["SYMBOL"])
            if row["SYMBOL"] in there:
                status = "MISSING" if largest is None else "FOUND"
            else:
                status = "OTHER_GENE" if there else "NO_RECORD"
            assert (row["SpliceAI_STATUS"], row["SpliceAI_DS_MAX"]) == (status, largest), row
            kind = "SNV" if len(row["REF"]) == len(row["ALT"]) == 1 else "other"
            counts[kind, row["SYMBOL"], status] = counts.get((kind, row["SYMBOL"], status), 0) + 1
    print(moved, len(known), sorted(counts.items()))
    assert {status for _, _, status in counts} == {"FOUND", "MISSING", "OTHER_GENE", "NO_RECORD"}
    assert sum(counts.values()) > 14_900

"""What tests are made of: small genomes, genes, models, VCFs and stand-ins for the parts that are not under test."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import math
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pysam
import torch

from oracle import random_transformers, revcomp
from splicebert_vep import Annotator
from splicebert_vep.genome.gene_index import Transcript
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.bert import BertConfig, SpliceBert
from splicebert_vep.model.checkpoint import save_checkpoint
from splicebert_vep.model.classifier import CONVOLUTION, LINEAR, Classifier, FineTuned, save_classifier
from splicebert_vep.model.engine import Engine
from splicebert_vep.model.null import NullBackend
from splicebert_vep.model.tuned import SPLICE_LABELS as LABELS
from splicebert_vep.model.tuned import SPLICE_SITES as TASK
from splicebert_vep.plugins import GuardedBackend, load_plugins
from splicebert_vep.provenance import Space
from splicebert_vep.scoring.pipeline import Pipeline, Scoring
from splicebert_vep.scoring.plan import plan_scores, with_choice
from splicebert_vep.settings import Settings
from splicebert_vep.store.store import AlleleKey, ScoreStore, StoredScores
from splicebert_vep.train.corpus import Source
from splicebert_vep.train.loop import Task, read_log
from splicebert_vep.train.pretrain import initialise
from splicebert_vep.train.recipe import FineTuneRecipe, Recipe, Stage
from splicebert_vep_spec import (
    Allele,
    AlleleReport,
    Backend,
    FieldSpec,
    GeneContext,
    Interval,
    RecordReport,
    RunInfo,
    ScoredContext,
    SpliceModel,
    SpliceModelInfo,
    Status,
    hookimpl,
)

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "example_vcfs"
SHARED = ROOT.parent / "shared"
VCF, FASTA = EXAMPLES / "brca1.vcf", EXAMPLES / "brca1.fa.gz"
NULL = ["-R", str(FASTA), "--backend", "null"]
COMMAND = [sys.executable, "-P", "-c", "from splicebert_vep.cli.main import main; main()"]


def pipe(*arguments, data: bytes = b"", **options):
    """Run the program in a process of its own."""
    command = [*COMMAND, *[str(argument) for argument in arguments]]
    return subprocess.run(command, input=data, capture_output=True, timeout=300, check=False, **options)


def records(text: str) -> list[list[str]]:
    """Return the columns of every record of a VCF."""
    return [line.split("\t") for line in text.splitlines() if line and not line.startswith("#")]


def info(column: str) -> dict[str, str]:
    """Return the items of an INFO column by key."""
    return dict(item.partition("=")[::2] for item in column.split(";"))


def unpacked(path: Path) -> str:
    """Return the text of a bgzipped file."""
    return gzip.decompress(path.read_bytes()).decode()


# A small genome with genes, as files; for the tests of corpus, training and region table.


GENE = 3000  # nt; exons of 200 nt every 700, the introns read GT...AG
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


def reverse_complement(text: str) -> str:
    return text.translate(COMPLEMENT)[::-1]


def gene_text(seed: int, donor: str = "GT", acceptor: str = "AG") -> tuple[str, list[tuple[int, int]]]:
    """Return a gene of random bases, 5' to 3', and its exons, 0-based half-open.

    Args:
        donor, acceptor: what introns begin and end with.
    """
    rng = random.Random(seed)
    bases = [rng.choice("ACGT") for _ in range(GENE)]
    exons = [(at, at + 200) for at in range(0, GENE, 700)]
    for start, end in exons:
        if end + len(donor) < GENE:
            bases[end : end + len(donor)] = donor
        if start:
            bases[start - len(acceptor) : start] = acceptor
    return "".join(bases), exons


def write_genome(
    folder: Path, strands: str, *, name: str = "genome", mask: tuple[int, int] | None = None, contig_name: str = "1",
    first: int = 0, coding: bool = False, donor: str = "GT", acceptor: str = "AG",
) -> tuple[Path, Path]:  # fmt: skip
    """Write a FASTA and a GTF with one gene per strand given; the same gene number has the same bases on either.

    Args:
        mask: part of the contig to turn to N, 0-based half-open.
        first: number of the first gene.
        coding: let every exon be coding.
        donor, acceptor: what introns begin and end with.
    """
    contig, rows = "", []
    for number, strand in enumerate(strands, start=first):
        text, exons = gene_text(number, donor, acceptor)
        start = len(contig) + 500
        contig += "".join(random.Random(-number - 1).choice("ACGT") for _ in range(500))
        if strand == "-":
            text = reverse_complement(text)
            exons = [(GENE - end, GENE - begin) for begin, end in exons]
        contig += text
        about = f'gene_id "G{number}"; gene_biotype "protein_coding";'
        label = f'{about} transcript_id "T{number}"; transcript_biotype "protein_coding";'
        rows.append(("gene", start, start + GENE, strand, about))
        rows.append(("transcript", start, start + GENE, strand, label))
        rows += [("exon", start + begin, start + end, strand, label) for begin, end in sorted(exons)]
        if coding:
            rows += [("CDS", start + begin, start + end, strand, label) for begin, end in sorted(exons)]
    if mask:
        contig = contig[: mask[0]] + "N" * (mask[1] - mask[0]) + contig[mask[1] :]
    fasta, gtf = folder / f"{name}.fa", folder / f"{name}.gtf"
    fasta.write_text(f">{contig_name}\n{contig}\n", encoding="ascii")
    lines = (
        f"{contig_name}\tx\t{kind}\t{begin + 1}\t{end}\t.\t{strand}\t.\t{text}\n"
        for kind, begin, end, strand, text in rows
    )
    gtf.write_text("".join(lines), encoding="ascii")
    return fasta, gtf


# Delta scores for tests: a model whose answers can be worked out by hand, and the definition on plain strings.


SPELLED = "NNNNN" + "NACGT"  # of token ids
REACH = 7  # nt on each side that a rule sees
EVENTS = {"AG": (0, 1), "AL": (0, -1), "DG": (1, 1), "DL": (1, -1)}  # column, and gain or loss


def mixed(seen: str) -> tuple[float, float]:
    """p(acceptor) and p(donor) of the middle of fifteen bases: others for every seven, so nothing goes unseen."""
    code = functools.reduce(lambda code, base: 5 * code + "NACGT".index(base), seen[REACH - 3 : REACH + 4], 1)
    return (1 + math.sin(code)) / 4, (1 + math.cos(code)) / 4


def spelled(seen: str) -> tuple[float, float]:
    """A donor is the base before GTAAGT, an acceptor that after TTTCAG: .9 there, .01 elsewhere."""
    return (
        0.9 if seen[REACH - 6 : REACH] == "TTTCAG" else 0.01,
        0.9 if seen[REACH + 1 : REACH + 7] == "GTAAGT" else 0.01,
    )


class StandIn(SpliceModel):
    """A splice-site model of one rule, which remembers the sequences that it was shown.

    Args:
        rule: p(acceptor) and p(donor) of the middle one of fifteen bases.
        fails_on: bases; a changed sequence that holds them makes it fail.
        error: that it fails with.
    """

    name, version, reach = "stand-in", "1", REACH
    info = SpliceModelInfo("stand-in 1", "5" * 64, "BSD-3-Clause", "none", "", "cpu")

    def __init__(self, rule=mixed, *, fails_on=None, error=RuntimeError):
        self.rule, self.fails_on, self.error = rule, fails_on, error
        self.shown = []

    def along(self, tokens):
        return self._answers(letters_of(tokens))

    def alternatives(self, tokens, edits):
        ref = letters_of(tokens)
        self.shown.append(ref)
        found = []
        for edit in edits:
            low, high = edit.start - edit.left - REACH, edit.end + edit.right + REACH
            assert low >= 0 and high <= len(ref)
            alt = ref[low : edit.start] + letters_of(edit.bases) + ref[edit.end : high]
            if self.fails_on and self.fails_on in alt:
                raise self.error("the device went away")
            found.append((self._answers(ref[low:high]), self._answers(alt)))
        return found

    def _answers(self, text):
        count = len(text) - 2 * REACH
        return np.array([self.rule(text[at : at + 2 * REACH + 1]) for at in range(count)], dtype=float).reshape(-1, 2)


def letters_of(tokens) -> str:
    return "".join(SPELLED[token] for token in tokens)


def placings(genome: str, start: int, old: str, new: str) -> list[int]:
    """Every start at which as many bases out and in give the same changed sequence; of an equal length its own."""
    if old and new:
        return [start]
    changed = genome[:start] + new + genome[start + len(old) :]
    return [
        at
        for at in range(max(0, start - 400), start + 400)
        if genome[:at] + changed[at : at + len(new)] + genome[at + len(old) :] == changed
    ]


def plain(genome, pos, ref, alt, strand, *, rule=mixed, distance=50, mask="none", sites=None, reported=None):
    """Delta scores of a record as bcftools norm writes it, base by base on strings, with all other fields.

    Args:
        pos: 1-based.
        sites: 0-based positions of annotated acceptors and donors.
        reported: those of the reported transcript.
    """
    anchor = 0 if len(ref) == len(alt) or ref[0] != alt[0] else 1
    start, old, new = pos - 1 + anchor, ref[anchor:], alt[anchor:]
    grown = len(new) - len(old)
    assert genome[start : start + len(old)] == old
    changed = genome[:start] + new + genome[start + len(old) :]
    places = placings(genome, start, old, new)
    margin = distance + (grown != 0)
    span = range(min(places) - margin, max(places) + len(old) + margin)

    def read(text, at):
        seen = "".join(text[i] if 0 <= i < len(text) else "N" for i in range(at - REACH, at + REACH + 1))
        return rule(reverse_complement(seen) if strand == "-" else seen)

    before = {at: read(genome, at) for at in span}
    ways = []
    for place in places:
        after = {}
        for at in span:
            gone = grown and place <= at < place + len(old)
            after[at] = (0.0, 0.0) if gone else read(changed, at if at < place + len(old) else at + grown)
        inserted = [read(changed, place + i) for i in range(len(new))] if grown else []
        for beside in (place - 1, place + len(old)):
            way = dict(after)
            way[beside] = tuple(max(values) for values in zip(after[beside], *inserted, strict=True))
            ways.append(way)

    def changes(way):
        return [abs(way[at][column] - before[at][column]) for at in span for column in (0, 1)]

    after = min(ways, key=lambda way: (max(changes(way)), sum(changes(way))))
    found, rows = {}, {}
    for event, (column, sign) in EVENTS.items():
        sizes = {at: sign * (after[at][column] - before[at][column]) for at in span}
        hidden = {at: mask != "none" and (at in sites[column]) == (sign > 0) for at in span}
        if mask == "before":
            sizes = {at: 0.0 if hidden[at] else size for at, size in sizes.items()}
        at = max(span, key=lambda at, sizes=sizes: sizes[at])
        found[f"DS_{event}"] = 0.0 if hidden[at] else max(0.0, sizes[at])
        found[f"DP_{event}"], found[f"POS_{event}"], rows[event] = at + 1 - pos, at + 1, at
    found["DS_MAX"] = max(found[f"DS_{event}"] for event in EVENTS)
    for change, events in (("LOSS", ("AL", "DL")), ("GAIN", ("AG", "DG"))):
        event = max(events, key=lambda event: found[f"DS_{event}"])
        at, column = rows[event], EVENTS[event][0]
        if found[f"DS_{event}"] > 0:
            found[f"{change}_P_REF"], found[f"{change}_P_ALT"] = before[at][column], after[at][column]
            if sites:
                told = "other_transcript" if at in sites[column] else "novel"
                found[f"{change}_ANNOTATED"] = "reported" if at in reported[column] else told
    if reported:
        first, last = min(places), max(places) + len(old) - 1
        away = sorted(
            (max(first - at, at - last, 0), before[at][column])
            for column in (0, 1)
            for at in reported[column]
            if max(first - at, at - last, 0) <= distance
        )
        found["LOSS_JUDGED"] = "NO_SITE" if not away else "JUDGED" if away[0][1] >= 0.2 else "NOT_JUDGEABLE"
    return found


def write_model(folder: Path, seed: int, *, window: int = 510) -> Path:
    """Write a small splice-site model of random weights."""
    torch.manual_seed(seed)
    head = (LINEAR, CONVOLUTION)[seed % 2]
    model = Classifier(BertConfig(10, 16, 2, 2, 32, window + 2, 2, 1e-12, window), len(LABELS), head=head)
    with torch.no_grad():
        for layer in model.parameters():
            layer.normal_(0, 0.5 if head == LINEAR else 0.1)
    folder.mkdir(parents=True)
    save_classifier(model, FineTuned(TASK, LABELS, window, False, "random", "none", head), folder)
    return folder


# What tests of embeddings work on: a random network, a genome of a few bases, and transformers beside it.


LENGTH, WIDTH, FLANK = 1200, 60, 10
LETTERS = "NACGT"  # token ids 5..9
GENES = """\
##gff-version 3
c1\tx\tgene\t301\t900\t.\t-\t.\tID=gene:GM.2;gene_id=GM.2;Name=MINUS;biotype=protein_coding
c1\tx\tmRNA\t301\t900\t.\t-\t.\tID=transcript:TM;Parent=gene:GM.2;transcript_id=TM
c1\tx\texon\t301\t900\t.\t-\t.\tParent=transcript:TM
"""


def some_genome():
    random.seed(5)
    bases = "".join(random.choices("ACGT", k=LENGTH))
    return bases[:500] + "N" * 7 + bases[507:]


def write_work(folder, model, genome, genes=GENES):
    """Write a checkpoint, a FASTA, the FASTA of its other strand, and genes."""
    model.save_pretrained(folder / "model")
    (folder / "c.fa").write_text(f">c1\n{genome}\n>short\n{genome[:40]}\n")
    (folder / "other.fa").write_text(f">c1\n{revcomp(genome)}\n")
    (folder / "genes.gff3").write_text(genes)
    return folder


def opened(work, fasta="c.fa", batch_tokens=WIDTH + 2, **options):
    settings = Settings(window=WIDTH, flank=FLANK, batch_tokens=batch_tokens)
    options = {"model": work / "model", "device": "cpu"} | options
    return Annotator(work / fasta, work / "genes.gff3", settings=settings, **options)


def some_model():
    return random_transformers(layers=3)


def ids_of(sequence):
    return torch.tensor([[2, *(5 + LETTERS.index(base) for base in sequence), 3]])


def theirs(model, sequence):
    """Every layer's hidden states of one window, (nt, layers, H), by transformers."""
    with torch.no_grad():
        states = model(ids_of(sequence), output_hidden_states=True).hidden_states
    return torch.stack(states)[:, 0, 1:-1].permute(1, 0, 2).numpy()


# Two genes, written as each annotation format writes them; for the tests of the gene table.


def tabbed(text: str) -> str:
    """Turn the runs of spaces between the first eight columns of a snippet into TABs."""
    lines = (line.strip() for line in text.strip().splitlines())
    return "".join(("\t".join(line.split(None, 8)) if line[0] != "#" else line) + "\n" for line in lines)


def write_text(folder: Path, text: str, name: str = "snippet.gff3") -> Path:
    path = folder / name
    path.write_text(tabbed(text), encoding="utf-8")
    return path


def choice_gff3(*transcripts: tuple[str, str, int]) -> str:
    """Return a gene with transcripts of (id, tags, coding nt; 0 for none) over the same two exons."""
    rows = ["1 x gene 101 400 . + . ID=g;gene_id=G;biotype=protein_coding"]
    for name, tags, coding in transcripts:
        rows.append(f"1 x mRNA 101 400 . + . ID={name};Parent=g;transcript_id={name};tag={tags}")
        rows.append(f"1 x exon 101 200 . + . Parent={name}")
        rows.append(f"1 x exon 301 400 . + . Parent={name}")
        if coding:
            rows.append(f"1 x CDS 101 {100 + coding} . + . Parent={name}")
    return "\n".join(rows)


# Two genes in the coordinates of each format (1-based, end inclusive).
#   ALPHA, plus:  T1 101-200 301-400 501-600, coding 151-550;  T2 101-200 301-450, not coding
#   BETA, minus:  T3 2001-2100 2201-2300, coding 2051-2250
ENSEMBL_GFF3 = """
##gff-version 3
##sequence-region   1 1 5000
#!genome-version GRCh38
1 havana gene           101  600  . + . ID=gene:ENSG01;Name=ALPHA;biotype=protein_coding;gene_id=ENSG01;version=3
1 havana mRNA           101  600  . + . ID=transcript:ENST01;Parent=gene:ENSG01;\
tag=basic,Ensembl_canonical,MANE_Select;transcript_id=ENST01;version=7
1 havana exon           101  200  . + . Parent=transcript:ENST01;Name=E1
1 havana five_prime_UTR 101  150  . + . Parent=transcript:ENST01
1 havana CDS            151  200  . + 0 ID=CDS:P1;Parent=transcript:ENST01
1 havana exon           301  400  . + . Parent=transcript:ENST01;Name=E2
1 havana CDS            301  400  . + 0 ID=CDS:P1;Parent=transcript:ENST01
1 havana exon           501  600  . + . ID=E3;Parent=transcript:ENST01
1 havana CDS            501  550  . + 0 ID=CDS:P1;Parent=transcript:ENST01
1 havana lnc_RNA        101  450  . + . ID=transcript:ENST02;Parent=gene:ENSG01;tag=basic;transcript_id=ENST02;\
version=1
1 havana exon           101  200  . + . Parent=transcript:ENST02
1 havana exon           301  450  . + . Parent=transcript:ENST02
###
1 havana gene           2001 2300 . - . ID=gene:ENSG02;Name=BETA;biotype=protein_coding;gene_id=ENSG02;version=1
1 havana mRNA           2001 2300 . - . ID=transcript:ENST03;Parent=gene:ENSG02;tag=MANE_Select;\
transcript_id=ENST03;version=2
1 havana exon           2201 2300 . - . Parent=transcript:ENST03
1 havana CDS            2201 2250 . - 0 Parent=transcript:ENST03
1 havana exon           2001 2100 . - . Parent=transcript:ENST03
1 havana CDS            2051 2100 . - 0 Parent=transcript:ENST03
1 havana pseudogene     3001 3100 . - . ID=gene:ENSG03;biotype=processed_pseudogene;gene_id=ENSG03;version=1
1 havana pseudogenic_transcript 3001 3100 . - . ID=transcript:ENST04;Parent=gene:ENSG03;transcript_id=ENST04;version=2
1 havana exon           3001 3100 . - . Parent=transcript:ENST04
MT insdc gene           101  600  . + . ID=gene:ENSG04;Name=MT-X;biotype=protein_coding;gene_id=ENSG04;version=3
MT insdc mRNA           101  600  . + . ID=transcript:ENST05;Parent=gene:ENSG04;transcript_id=ENST05;version=3
MT insdc exon           101  600  . + . Parent=transcript:ENST05
"""
GENCODE_GFF3 = """
##gff-version 3
#description: evidence-based annotation of the human genome (GRCh38), version 47 (Ensembl 113)
##sequence-region chr1 1 5000
chr1 HAVANA gene       101  600  . + . ID=ENSG01.3;gene_id=ENSG01.3;gene_type=protein_coding;gene_name=ALPHA;level=2
chr1 HAVANA transcript 101  600  . + . ID=ENST01.7;Parent=ENSG01.3;gene_id=ENSG01.3;transcript_id=ENST01.7;\
gene_type=protein_coding;tag=basic,Ensembl_canonical,MANE_Select
chr1 HAVANA exon       101  200  . + . ID=exon:ENST01.7:1;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA exon       301  400  . + . ID=exon:ENST01.7:2;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA exon       501  600  . + . ID=exon:ENST01.7:3;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA CDS        151  200  . + 0 ID=CDS:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA CDS        301  400  . + 0 ID=CDS:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA CDS        501  550  . + 0 ID=CDS:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA stop_codon 548  550  . + 0 ID=stop_codon:ENST01.7;Parent=ENST01.7;gene_id=ENSG01.3
chr1 HAVANA transcript 101  450  . + . ID=ENST02.1;Parent=ENSG01.3;transcript_id=ENST02.1;gene_type=protein_coding
chr1 HAVANA exon       101  200  . + . ID=exon:ENST02.1:1;Parent=ENST02.1
chr1 HAVANA exon       301  450  . + . ID=exon:ENST02.1:2;Parent=ENST02.1
chr1 HAVANA gene       2001 2300 . - . ID=ENSG02.1;gene_id=ENSG02.1;gene_type=protein_coding;gene_name=BETA
chr1 HAVANA transcript 2001 2300 . - . ID=ENST03.2;Parent=ENSG02.1;transcript_id=ENST03.2;tag=MANE_Select
chr1 HAVANA exon       2201 2300 . - . ID=exon:ENST03.2:1;Parent=ENST03.2
chr1 HAVANA CDS        2201 2250 . - 0 ID=CDS:ENST03.2;Parent=ENST03.2
chr1 HAVANA exon       2001 2100 . - . ID=exon:ENST03.2:2;Parent=ENST03.2
chr1 HAVANA CDS        2051 2100 . - 0 ID=CDS:ENST03.2;Parent=ENST03.2
"""
REFSEQ_GFF3 = """
##gff-version 3
#!genome-build GRCh38.p14
##sequence-region NC_000001.11 1 5000
NC_000001.11 RefSeq     region 1    5000 . + . ID=NC_000001.11:1..5000;Dbxref=taxon:9606;chromosome=1
NC_000001.11 BestRefSeq gene   101  600  . + . ID=gene-ALPHA;Dbxref=GeneID:11,HGNC:HGNC:5;Name=ALPHA;gene=ALPHA;\
gene_biotype=protein_coding
NC_000001.11 BestRefSeq mRNA   101  600  . + . ID=rna-NM_01.7;Parent=gene-ALPHA;Dbxref=GeneID:11;gene=ALPHA;\
tag=MANE Select;transcript_id=NM_01.7
NC_000001.11 BestRefSeq exon   101  200  . + . ID=exon-NM_01.7-1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq exon   301  400  . + . ID=exon-NM_01.7-2;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq exon   501  600  . + . ID=exon-NM_01.7-3;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq CDS    151  200  . + 0 ID=cds-NP_01.1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq CDS    301  400  . + 0 ID=cds-NP_01.1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq CDS    501  550  . + 0 ID=cds-NP_01.1;Parent=rna-NM_01.7
NC_000001.11 BestRefSeq transcript 101 450 . + . ID=rna-NR_02.1;Parent=gene-ALPHA;transcript_id=NR_02.1
NC_000001.11 BestRefSeq exon   101  200  . + . ID=exon-NR_02.1-1;Parent=rna-NR_02.1
NC_000001.11 BestRefSeq exon   301  450  . + . ID=exon-NR_02.1-2;Parent=rna-NR_02.1
NC_000001.11 BestRefSeq gene   2001 2300 . - . ID=gene-BETA;Dbxref=GeneID:22;Name=BETA;gene=BETA;\
gene_biotype=protein_coding
NC_000001.11 BestRefSeq mRNA   2001 2300 . - . ID=rna-NM_03.2;Parent=gene-BETA;tag=MANE Select;transcript_id=NM_03.2
NC_000001.11 BestRefSeq exon   2201 2300 . - . ID=exon-NM_03.2-1;Parent=rna-NM_03.2
NC_000001.11 BestRefSeq CDS    2201 2250 . - 0 ID=cds-NP_03.1;Parent=rna-NM_03.2
NC_000001.11 BestRefSeq exon   2001 2100 . - . ID=exon-NM_03.2-2;Parent=rna-NM_03.2
NC_000001.11 BestRefSeq CDS    2051 2100 . - 0 ID=cds-NP_03.1;Parent=rna-NM_03.2
"""
_ALPHA = 'gene_id "ENSG01"; gene_version "3"; gene_name "ALPHA"; gene_biotype "protein_coding";'
_T1 = f'{_ALPHA} transcript_id "ENST01"; transcript_version "7"; tag "basic"; tag "MANE_Select";'
_T2 = f'{_ALPHA} transcript_id "ENST02"; transcript_version "1"; tag "basic";'
_BETA = 'gene_id "ENSG02"; gene_version "1"; gene_name "BETA"; gene_biotype "protein_coding";'
_T3 = f'{_BETA} transcript_id "ENST03"; transcript_version "2"; tag "MANE_Select";'
ENSEMBL_GTF = f"""
#!genome-version GRCh38
1 havana gene        101  600  . + . {_ALPHA}
1 havana transcript  101  600  . + . {_T1}
1 havana exon        101  200  . + . {_T1}
1 havana CDS         151  200  . + 0 {_T1}
1 havana exon        301  400  . + . {_T1}
1 havana CDS         301  400  . + 0 {_T1}
1 havana exon        501  600  . + . {_T1}
1 havana CDS         501  547  . + 0 {_T1}
1 havana stop_codon  548  550  . + 0 {_T1}
1 havana transcript  101  450  . + . {_T2}
1 havana exon        101  200  . + . {_T2}
1 havana exon        301  450  . + . {_T2}
1 havana gene        2001 2300 . - . {_BETA}
1 havana transcript  2001 2300 . - . {_T3}
1 havana exon        2201 2300 . - . {_T3}
1 havana CDS         2201 2250 . - 0 {_T3}
1 havana exon        2001 2100 . - . {_T3}
1 havana CDS         2054 2100 . - 0 {_T3}
1 havana stop_codon  2051 2053 . - 0 {_T3}
"""


# A run of three fields, and the outcomes of a record with two ALTs; for the tests of outputs.

SCORE_FIELDS = (
    FieldSpec("LLR", "A", "Float", "x"),
    FieldSpec("N_SITES", "A", "Integer", "y"),
    FieldSpec("WORD", "A", "String", "z"),
)
RUN = RunInfo(SCORE_FIELDS, {"Model": "m", "Note": "n"})


def report() -> RecordReport:
    """Return a scored ALT in two genes, and a symbolic ALT."""
    first = ScoredContext(gene("G1", "-"), Status.OK, "", {"LLR": -1.23456, "N_SITES": 2, "WORD": "a,b|c;d e"})
    second = ScoredContext(gene("G2"), Status.OK, "", {"LLR": 0.000123456789, "N_SITES": None})
    skipped = ScoredContext(None, Status.SYMBOLIC, "ALT <DEL> is symbolic", {})
    return RecordReport(
        "1", 100, "rs1", "AC",
        (
            AlleleReport("AT", Allele("chr1", 100, "C", "T"), (first, second)),
            AlleleReport("<DEL>", None, (skipped,)),
        ),
    )  # fmt: skip


# Small stand-ins that tests build a pipeline from.


ALL_SCORES = (
    "LLR", "PLLR", "DELTA_P", "KL_CTX", "KL_DONOR", "KL_ACCEPTOR", "KL_SS", "N_SITES", "KL_MAX", "KL_MAX_POS",
    "EMB_COS", "EMB_L2",
)  # fmt: skip


@dataclass
class FakeReference:
    """Contigs as strings, upper-case."""

    sequences: dict[str, str]
    assembly: str | None = None

    @property
    def lengths(self) -> dict[str, int]:
        return {name: len(bases) for name, bases in self.sequences.items()}

    def find(self, contig: str) -> str | None:
        return contig if contig in self.sequences else None

    def fetch(self, contig: str, start: int, end: int) -> bytes:
        return self.sequences[contig][max(0, start) : max(0, end)].encode()


@dataclass
class FakeGenes:
    """The same contexts everywhere, or none."""

    found: list[GeneContext]

    def contexts(self, contig: str, start: int, end: int, shift: int = 0) -> list[GeneContext]:
        return list(self.found)

    def transcripts(self, contig: str, start: int, end: int) -> list[Transcript]:
        return []


@dataclass
class FakeRecord:
    chrom: str
    pos: int
    ref: str
    alts: tuple[str, ...]
    id: str = "."

    def info(self) -> dict[str, str]:
        return {}


def gene(gene_id="G1", strand="+", donor=None, acceptor=None, biotype="protein_coding", near_site=True) -> GeneContext:
    return GeneContext(
        gene_id=gene_id, symbol=gene_id, transcript_id=f"T{gene_id}", transcript_choice="longest_CDS", biotype=biotype,
        strand=strand, region="exon", site_offset="3", site_hit=None,
        donor=Interval(*donor) if donor else None, acceptor=Interval(*acceptor) if acceptor else None,
        near_site=near_site,
    )  # fmt: skip


@dataclass
class Counting(Backend):
    """A backend that counts what goes through another."""

    inner: Backend
    windows: list[int] = field(default_factory=list)

    @property
    def info(self):
        return self.inner.info

    def forward(self, tokens, positions):
        self.windows.append(len(tokens))
        return self.inner.forward(tokens, positions)


class Point:
    """Stand in for an entry point."""

    dist = SimpleNamespace(name="mine-package", version="2.5")

    def __init__(self, name, plugin):
        self.name, self.value, self.plugin = name, f"{name}_module", plugin

    def load(self):
        if isinstance(self.plugin, BaseException):
            raise self.plugin
        return self.plugin


def plugin(**hooks):
    """A module with these hooks."""
    module = ModuleType("mine")
    vars(module).update({name: hookimpl(hook) for name, hook in hooks.items()})
    return module


def pipeline(reference, genes, backend=None, *, width=200, flank=20, scores=ALL_SCORES, batch_tokens=4096):
    settings = Settings(window=width, flank=flank, scores=scores, batch_tokens=batch_tokens)
    plugins = load_plugins()
    scorers, origins = plugins.scorers, plugins.origins("scorer")
    plan = plan_scores(scorers, origins, settings)
    guarded = GuardedBackend(backend or NullBackend(), plugins.origins("backend")["null"])
    engine = Engine(guarded, flank=flank, batch_tokens=batch_tokens)
    scoring = Scoring(reference, genes, settings.shape, engine, plan, with_choice(plan, scorers, origins))
    return Pipeline(reference, scoring, genes, scoring.shape)


# A small genome with overlapping genes, and what a run with joins says on it; for the tests of joins.


_GAMMA = 'gene_id "ENSG09"; gene_version "4"; gene_name "GAMMA"; gene_biotype "protein_coding";'
_T9 = f'{_GAMMA} transcript_id "ENST09"; transcript_version "1"; tag "basic";'
#: ALPHA (ENSG01.3, plus) and GAMMA (ENSG09.4, minus) share 101-600; BETA (ENSG02.1, minus) lies at 2001-2300.
JOIN_GTF = f"""{ENSEMBL_GTF.rstrip()}
1 havana gene        101  600  . - . {_GAMMA}
1 havana transcript  101  600  . - . {_T9}
1 havana exon        101  200  . - . {_T9}
1 havana exon        401  600  . - . {_T9}
"""
#: 1-based place -> bases that lie there. 303-311 is ACACACACA between T and T.
PLANTED = {301: "GTACACACACATTG", 350: "A", 360: "GCTT", 2050: "C"}

HEADER = "##fileformat=VCFv4.2\n{more}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
SPLICEAI = (
    '##INFO=<ID=SpliceAI,Number=.,Type=String,Description="SpliceAIv1.3.1 variant annotation. Format: '
    'ALLELE|SYMBOL|DS_AG|DS_AL|DS_DG|DS_DL|DP_AG|DP_AL|DP_DG|DP_DL">\n'
)
ROW = "1 350 A C SpliceAI=C|ALPHA|0.01|0.50|0.00|0.00|1|2|3|4"
PANGOLIN = (
    '##INFO=<ID=Pangolin,Number=.,Type=String,Description="Pangolin splice scores. '
    'Format: gene|pos:score_change|pos:score_change|warnings,...">\n'
)


def join_genome(seed: int = 1) -> str:
    """The bases of chr1; other seeds are other builds of it."""
    bases = bytearray(random.Random(seed).choices(b"ACGT", k=5000))
    for place, planted in PLANTED.items():
        bases[place - 1 : place - 1 + len(planted)] = planted.encode()
    return bases.decode()


def open_annotator(folder: Path, **settings) -> Annotator:
    """An annotator on that genome without a model."""
    fasta, gtf = folder / "g.fa", folder / "g.gtf"
    fasta.write_text(f">chr1\n{join_genome()}\n>chr2\n{join_genome(2)}\n")
    gtf.write_text(tabbed(JOIN_GTF))
    return Annotator(fasta, gtf, backend="null", settings=Settings(**settings))


def vcf(path: Path, rows: list[str], more: str = "") -> Path:
    """Write a VCF; a row is ``contig pos ref alt [info]``."""
    lines = []
    for row in rows:
        chrom, pos, ref, alt, *info = row.split(" ")
        lines.append("\t".join((chrom, pos, ".", ref, alt, ".", ".", info[0] if info else ".")) + "\n")
    path.write_text(HEADER.format(more=more) + "".join(lines))
    return path


def tabixed(path: Path, rows: list[str], more: str = SPLICEAI) -> Path:
    """Write a VCF that tabix can read by place."""
    vcf(path, sorted(rows, key=lambda row: (row.split(" ")[0], int(row.split(" ")[1]))), more)
    return Path(pysam.tabix_index(str(path), preset="vcf", force=True))


def table(path: Path, lines: list[str], **columns) -> Path:
    """Write a table of words that tabix can read by place."""
    path.write_text("".join(line.replace(" ", "\t") + "\n" for line in lines))
    columns = {"seq_col": 0, "start_col": 1, "end_col": 1, **columns}
    return Path(pysam.tabix_index(str(path), force=True, **columns))


def annotated(annotator: Annotator, source: Path, *joins: str, **options) -> list[dict]:
    """What the run says, one row per allele and gene."""
    out = source.with_suffix(".jsonl")
    annotator.annotate(source, "-", emit=[f"jsonl={out}"], join=joins, **options)
    return [json.loads(line) for line in out.read_text().splitlines()[1:]]


def words(rows: list[dict], *fields: str) -> list[tuple]:
    """Some columns of the rows."""
    return [tuple(row[field] for field in fields) for row in rows]


# Annotated files for tests of the report, written by hand.


PROVENANCE = (
    '##SpliceBERT_provenance=<ID=run,Version="0.1.0",ScoreDigest="abc",Model="mine",WeightsSHA256="w1",'
    'Window="510",Flank="100",Reference="x.fa",Annotation="grch38",AnnotationDigest="a1",Quality="so \\"good\\"">'
)
FIELDS = {
    "KL_CTX": "Float", "KL_SS": "Float", "LLR": "Float", "SYMBOL": "String", "GENE": "String", "TRANSCRIPT": "String",
    "STRAND": "String", "REGION": "String", "SITE_OFFSET": "String", "SITE_HIT": "String", "NGENES": "Integer",
    "STATUS": "String",
}  # fmt: skip
SPLICEAI_FIELDS = {
    **{f"SpliceAI_DS_{delta}": "Float" for delta in ("AG", "AL", "DG", "DL", "MAX")},
    **{f"SpliceAI_DP_{delta}": "Integer" for delta in ("AG", "AL", "DG", "DL")},
    "SpliceAI_STATUS": "String",
}


def declared(fields: dict[str, str]) -> list[str]:
    words = {"LLR": "; negative = ALT less expected", "KL_CTX": "; higher = more disturbed"}
    return [
        f'##INFO=<ID=SpliceBERT_{n},Number=A,Type={t},Description="about {n}{words.get(n, "")}">'
        for n, t in fields.items()
    ]


def scored_info(**values: object) -> str:
    return ";".join(f"SpliceBERT_{name}={value}" for name, value in values.items())


def scored(kl_ctx: float, **values: object) -> str:
    given = {
        "KL_CTX": kl_ctx, "KL_SS": 0.5, "LLR": -1.5, "SYMBOL": "ABC", "GENE": "ENSG1.2", "TRANSCRIPT": "ENST1.1",
        "STRAND": "+", "REGION": "CDS", "SITE_OFFSET": 12, "NGENES": 1, "STATUS": "OK", **values,
    }  # fmt: skip
    return scored_info(**{name: value for name, value in given.items() if value is not None})


def write_scored(
    path: Path, records: list[str], *, fields: dict[str, str] | None = None, extra: tuple[str, ...] = ()
) -> Path:
    """Write a VCF; a record is ``CHROM POS ID REF ALT INFO`` separated by spaces."""
    lines = ["##fileformat=VCFv4.2", *declared({**FIELDS, **(fields or {})}), *extra]
    lines += [PROVENANCE, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    for record in records:
        chrom, pos, name, ref, alt, text = record.split(" ")
        lines.append("\t".join((chrom, pos, name, ref, alt, ".", ".", text)))
    path.write_text("\n".join(lines) + "\n")
    return path


class Page(HTMLParser):
    """Elements of a page, and the rows of its table of variants."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.rows, self._in, self._inline = [], [], [], {"script": "", "style": ""}
        self.headings, self._in_head = [], False
        self.feed(text)
        self.text = text

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        self._in.append(tag)
        if tag == "table":
            self._in_head = attributes.get("id") == "table"
        elif tag == "tbody":
            self._in_head = False
        elif tag == "th" and self._in_head:
            self.headings.append("")
        if tag == "tr" and "data-gene" in attributes:
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        if tag in ("meta", "link", "img", "input", "wbr"):
            self._in.pop()

    def handle_endtag(self, tag):
        while self._in.pop() != tag:
            pass
        if tag == "table" and self.rows:
            self.table, self.rows = self.rows, []

    def handle_data(self, data):
        if self._in and self._in[-1] in self._inline:
            self._inline[self._in[-1]] += data
        elif self._in_head and self.headings and "small" not in self._in:
            self.headings[-1] += data.strip()
        elif self.rows and "small" not in self._in:
            self.rows[-1][-1:] = [self.rows[-1][-1] + data.strip()] if self.rows[-1] else []

    def tags(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]

    def inline(self, name):
        return self._inline[name]


def maker(run, target: Path):
    """Return what makes the page of a file, at ``target``."""

    def made(source: Path, *arguments: object) -> Page:
        code, _, err = run("report", source, "-o", target, *arguments)
        assert code == 0, err
        return Page(target.read_text())

    return made


# Saturated genes for tests: a genome small enough to check by hand.


TWO_GENES = "chr17:43125424-43125433"  # BRCA1 on -, NBR2 on +
REGION = "chr17:43045600-43045749"  # BRCA1 alone: 450 SNVs


def text_of(path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def body(path) -> list[list[str]]:
    return records(text_of(path))


GTF = """\
c1\tx\tgene\t41\t190\t.\t+\t.\tgene_id "A"; gene_name "ALPHA"; gene_biotype "protein_coding";
c1\tx\ttranscript\t41\t190\t.\t+\t.\tgene_id "A"; transcript_id "TA"; gene_biotype "protein_coding";
c1\tx\texon\t41\t190\t.\t+\t.\tgene_id "A"; transcript_id "TA";
c1\tx\tCDS\t41\t190\t.\t+\t0\tgene_id "A"; transcript_id "TA";
c1\tx\tgene\t101\t210\t.\t-\t.\tgene_id "B b,%"; gene_name "BETA"; gene_biotype "protein_coding";
c1\tx\ttranscript\t101\t210\t.\t-\t.\tgene_id "B b,%"; transcript_id "TB"; gene_biotype "protein_coding";
c1\tx\texon\t101\t210\t.\t-\t.\tgene_id "B b,%"; transcript_id "TB";
c1\tx\tCDS\t101\t210\t.\t-\t0\tgene_id "B b,%"; transcript_id "TB";
"""
# 1-based 101 to 112 of c1, after a T
REPEAT = "GCAAAATCNTTG"


def write_tiny(folder: Path):
    """Write a genome with two genes of both strands on c1; returns options that suit it, and the bases of c1."""
    around = "ACGTTGCATCAGGTCTACTGATCGGATCTTAGCATCGACT" * 3
    bases = around[:99] + "T" + REPEAT + around[:108]
    (folder / "tiny.fa").write_text(f">c0\n{around}\n>c1\n{bases.lower()}\n")
    (folder / "tiny.gtf").write_text(GTF)
    small = ["--window", "41", "--flank", "5", "--backend", "null"]
    return ["-R", folder / "tiny.fa", "-A", folder / "tiny.gtf", *small], bases


# Scores for tests of the store, and processes that write and read one at the same time.


SPACE = Space("s" * 64, "a" * 64, ("LLR=likelihood/1", "KL_CTX=divergence/1"), {"Model": "m", "Precision": "fp32"})
OTHER = Space("t" * 64, "a" * 64, ("LLR=likelihood/1",), {"Model": "other"})
M5 = "0" * 32
NAMES = {M5: "chr1", "1" * 32: "chr2"}


def key(start=100, ref="A", alt="C", md5=M5):
    return AlleleKey(md5, start, ref, alt)


def row(*values, gene="G1", status="OK", reason=""):
    return StoredScores(gene, status, reason, tuple(values))


def write_all(path, count):
    with ScoreStore(path) as opened:
        for n in range(count):
            opened.add(SPACE, [(key(start=n, alt=alt), [row(float(n), 0.0)]) for alt in "CGT"], NAMES)


def read_until_all(path, count, results):
    seen = -1
    with ScoreStore(path, writing=False) as opened:
        while seen < count - 1:
            found = opened.find(SPACE, [key(start=n, alt=alt) for n in range(count) for alt in "CGT"])
            sizes = [sum(map(bool, found[i : i + 3])) for i in range(0, len(found), 3)]
            assert set(sizes) <= {0, 3}, "a block is there whole or not at all"
            there = sizes.count(3)
            assert sizes == [3] * there + [0] * (count - there)
            seen = there - 1
    results.put(seen)


# Small genomes and models for the tests of fine-tuning.


DONOR, ACCEPTOR = "GTAAGTACGT", "TTTCTTTTCTTTGCAG"  # planted: a tiny model can learn them

RECIPE = FineTuneRecipe(
    stages=(Stage(20, 40, 5000, 0.8, anywhere=True), Stage(60, 60, 5000, 0.5)),
    batch_tokens=500, head="linear", warmup_steps=3, learning_rate=3e-3, validate_every=5,
)  # fmt: skip


TINY = Recipe(  # of a pre-training
    name="tiny", hidden_size=32, layers=2, heads=4, intermediate_size=64, layer_norm_eps=1e-5,
    stages=(Stage(20, 40, 4000, 1.0, anywhere=True), Stage(60, 80, 4000, 0.5)),
    batch_tokens=400, parts=2, learning_rate=3e-3, warmup_steps=3, neighbour_layers=1, validate_every=7, save_every=5,
)  # fmt: skip


class Killed(Exception):
    """A training that was broken off."""


def kill_at(step: int, task: type[Task], monkeypatch) -> None:
    """Let the training of a task be killed at a step."""
    plain = task.loss

    def dying(self, model, at, part, device):
        if at == step:
            raise Killed
        return plain(self, model, at, part, device)

    monkeypatch.setattr(task, "loss", dying)


def losses(folder: Path) -> list[float]:
    return [float(row["loss"]) for row in read_log(folder / "train.csv")]


def genome(
    folder: Path, contigs: Mapping[str, str], *, name: str = "genome", first: int = 0, donor: str = DONOR,
    acceptor: str = ACCEPTOR, coding: bool = True,
) -> tuple[Path, Path]:  # fmt: skip
    """Write a FASTA and a GTF with several contigs; a contig's value are the strands of its genes."""
    fasta, gtf = folder / f"{name}.fa", folder / f"{name}.gtf"
    bases, lines = "", ""
    for contig, strands in contigs.items():
        one = write_genome(
            folder, strands, name="part", contig_name=contig, first=first, coding=coding, donor=donor, acceptor=acceptor
        )
        first += len(strands)
        bases, lines = bases + one[0].read_text(), lines + one[1].read_text()
    fasta.write_text(bases)
    gtf.write_text(lines)
    return fasta, gtf


def source(folder: Path, contigs: Mapping[str, str], species: str = "test", **options) -> Source:
    fasta, gtf = genome(folder, contigs, name=species, **options)
    return Source(species, fasta, str(gtf))


def tiny_model(folder: Path, *, longest: int = 60, trained: int | None = 60) -> Path:
    """Write a model of 2 layers and 32 hidden units that begins as training does."""
    config = BertConfig(10, 32, 2, 4, 64, longest + 2, 2, 1e-5, trained)
    model = SpliceBert(config)
    initialise(model, neighbour_layers=2, seed=5)
    save_checkpoint(model, folder)
    return folder


# Plugins of plugin_spec/ as wheels, built and installed as their users would.


def checked(*words, **options) -> str:
    """Run a command that has to end well and return what it printed."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=300, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hear_interrupts() -> None:
    """Let SIGINT end a process, as ``preexec_fn`` of subprocess: children of a shell's background job ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def installed(plugin: Path, work: Path) -> Path:
    """Return a folder with the plugin's wheel installed, built from a copy: no build folder is left in the tree."""
    source, wheels, site = work / "source", work / "wheels", work / "site"
    source.mkdir()
    for file in plugin.iterdir():
        if file.suffix in (".py", ".toml"):
            (source / file.name).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-deps", "--no-index"]
    checked(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", wheels, source)
    [wheel] = wheels.glob("*.whl")
    checked(*pip, "install", *offline, "--target", site, wheel)
    return site


# Cohorts for tests: files that share most of their alleles, and the whole of what a run leaves.


FIRST, COHORT_LENGTH = 43045600, 150  # 1-based; within BRCA1: 450 SNVs


def snvs(first=FIRST, length=COHORT_LENGTH):
    """All SNVs of a stretch of chr17 as (pos, ref, alt)."""
    with Reference(FASTA) as reference:
        bases = reference.fetch("chr17", first - 1, first - 1 + length).decode()
    return [(first + i, base, alt) for i, base in enumerate(bases) for alt in "ACGT" if alt != base]


def write_cohort(folder: Path, files=3, seed=1, share=0.8, **stretch) -> Path:
    """Write single-sample VCFs: one with all SNVs, the others with most of them; returns the manifest."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(seed)
    everything = snvs(**stretch)
    for number in range(files):
        lines = [
            "##fileformat=VCFv4.2",
            "##contig=<ID=chr17,length=83257441>",
            '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
            f"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS{number}",
        ]
        for pos, ref, alt in everything:
            if number == 0 or rng.random() < share:
                lines.append(f"chr17\t{pos}\t.\t{ref}\t{alt}\t.\tPASS\tX=1\tGT\t{rng.choice(['0/1', '1|1', '0/0'])}")
        (folder / f"s{number}.vcf").write_text("\n".join(lines) + "\n")
    manifest = folder / "manifest.tsv"
    manifest.write_text("".join(f"s{number}.vcf\tsample{number}\n" for number in range(files)))
    return manifest


def outputs(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that a run is for, and the counts of its summary but for what was new."""
    kept = [*sorted((folder / "annotated").iterdir()), folder / "cohort.parquet"]
    found = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}
    summary = json.loads((folder / "cohort.json").read_text())
    del summary["counts"]["new"]
    return {**found, "cohort.json": json.dumps(summary)}


def write_snvs(tmp_path):
    """150 bases around a donor of BRCA1 and where it overlaps NBR2, with an insertion."""
    path = tmp_path / "in.vcf"
    with Reference(FASTA) as reference:
        places = [*range(43_047_600, 43_047_700), *range(43_125_390, 43_125_440)]
        bases = [reference.fetch("chr17", pos - 1, pos).decode() for pos in places]
    lines = [f"17\t{pos}\t.\t{ref}\t{'AC'[ref == 'A']}\t.\t.\t." for pos, ref in zip(places, bases, strict=True)]
    lines.append(f"17\t43125439\t.\t{bases[-1]}\t{bases[-1]}GG\t.\t.\t.")
    path.write_text("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "\n".join(lines) + "\n")
    return path


EXON22 = """\
##gff-version 3
17\tx\tgene\t{first}\t{last}\t.\t{strand}\t.\tID=gene:{gene};gene_id={gene};Name={gene}NAME;biotype={biotype}
17\tx\tmRNA\t{first}\t{last}\t.\t{strand}\t.\tID=transcript:{gene}T;Parent=gene:{gene};transcript_id={gene}T
17\tx\texon\t{first}\t43047500\t.\t{strand}\t.\tParent=transcript:{gene}T
17\tx\texon\t43047643\t43047703\t.\t{strand}\t.\tParent=transcript:{gene}T
17\tx\texon\t43048000\t{last}\t.\t{strand}\t.\tParent=transcript:{gene}T
"""


def exon22_genes(path, *, gene="P", strand="+", first=43044295, last=43125364, biotype="protein_coding"):
    """Write one gene of three exons, the middle one BRCA1's exon 22, on either strand; returns the path."""
    path.write_text(EXON22.format(gene=gene, strand=strand, first=first, last=last, biotype=biotype))
    return path


PER_CLASS = 100  # random SNVs of a class in the calibration table of tests


def null_annotator(*, scores=("LLR", "KL_CTX"), **options):
    """An Annotator of the null backend with the scores that percentiles are of."""
    return Annotator(FASTA, backend="null", settings=Settings(scores=scores), **options)

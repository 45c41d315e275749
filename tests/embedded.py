"""What tests of embeddings work on: a random network, a genome of a few bases, and transformers beside it."""

import random

import torch

from oracle import random_transformers, revcomp
from splicebert_vep import Annotator, Settings, WindowShape

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


def opened(work, fasta="c.fa", batch_tokens=WIDTH + 2, mode="centred", **options):
    settings = Settings(WindowShape(WIDTH, flank=FLANK, mode=mode, stride=16), batch_tokens=batch_tokens)
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

"""SpliceAI's delta scores as fields of splicebert-vep, by the SpliceAI 1.3.1 that is installed beside it."""

import hashlib
import os
import signal
import tempfile
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from unittest import mock

from splicebert_vep_spec import FieldSpec, Refused, SequenceScorer, hookimpl

SITE = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}
TABLE = "Set SPLICEAI_VEP_ANNOTATION to grch38, grch37 or a table of genes of the FASTA's build, as -A of SpliceAI."
REFSEQ = {f"NC_{i:06}": name for i, name in enumerate([*map(str, range(1, 23)), "X", "Y"], 1)}  # SpliceAI knows these
SpliceAiRecord = namedtuple("SpliceAiRecord", "chrom pos ref alts")  # pos is 1-based as in VCF
Stretch = namedtuple("Stretch", "seq")


class SpliceAi(SequenceScorer):
    """SpliceAI_DS_* and SpliceAI_DP_*; None where SpliceAI's table lacks the gene, or where it does not score."""

    name = "spliceai"

    def __init__(self, settings):
        self.table = settings.get("SPLICEAI_VEP_ANNOTATION", "")
        self.distance = settings.get("SPLICEAI_VEP_DISTANCE", "50")
        self.mask = settings.get("SPLICEAI_VEP_MASK", "0")
        self.installed = next((found.version for found in metadata.distributions(name="spliceai")), "none")
        # The version names what determines a score (TensorFlow apart); the descriptions take it into every header.
        self.version = f"{self.installed}+{known(self.table)}-D{self.distance}-M{self.mask}"
        score, at = (f"SpliceAI {self.version}, {what}: " for what in ("score 0 to 1", "nt from POS"))
        self.fields = (
            *(FieldSpec(f"SpliceAI_DS_{x}", "A", "Float", score + SITE[x], "higher", default=False) for x in SITE),
            *(FieldSpec(f"SpliceAI_DP_{x}", "A", "Integer", at + SITE[x], default=False, from_pos=True) for x in SITE),
            FieldSpec("SpliceAI_DS_MAX", "A", "Float", score + "largest of the four", "higher", default=False),
        )
        self.spliceai = self.annotator = None
        self.proven = set()

    def score_alleles(self, alleles, bases, fields):
        if alleles and self.annotator is None:
            self.open()
        found = {allele: self.by_gene(allele, bases) for allele in dict.fromkeys(allele for allele, _ in alleles)}
        rows = [found[allele].get((gene.symbol, gene.strand), {}) for allele, gene in alleles]
        return {field: [row.get(field) for row in rows] for field in fields}

    def open(self):
        if not self.table:
            raise Refused(f"SpliceAI has no default build. {TABLE}")
        if self.distance not in map(str, range(5000)) or self.mask not in ("0", "1"):
            raise Refused("SPLICEAI_VEP_DISTANCE is 0 to 4999 and SPLICEAI_VEP_MASK 0 or 1, as -D and -M of SpliceAI.")
        if self.installed != "1.3.1":
            raise Refused(f"Needed is SpliceAI 1.3.1, found {self.installed}: pip install spliceai==1.3.1 tensorflow")
        try:
            with mock.patch.object(signal, "signal"):  # else spliceai makes Ctrl-C end the program with exit code 0
                import keras
                import spliceai.utils
        except ImportError as error:
            raise Refused(f"SpliceAI cannot be imported: {error}. The plugin's README says what it needs.") from error
        keras.utils.disable_interactive_logging()  # of progress, to stdout, where the VCF goes
        with tempfile.TemporaryDirectory() as folder:
            stand_in = Path(folder, "none.fa")  # it asks for a file; by_gene gives it the bases of the run
            stand_in.write_text(">none\nN\n")
            try:
                self.annotator = spliceai.utils.Annotator(str(stand_in), self.table)
            except SystemExit:  # its log says why
                raise Refused(f"SpliceAI cannot read {self.table}. {TABLE}") from None
        self.spliceai = spliceai.utils

    def by_gene(self, allele, bases):
        """Return values by field id for each (symbol, strand) of SpliceAI's table that the allele lies in."""
        record = anchored(allele, bases)
        names, strands, rows = self.annotator.get_name_and_strand(record.chrom, record.pos)
        genes = list(zip(names, strands, strict=True))
        if len(set(genes)) < len(genes):
            raise Refused(f"SpliceAI's table {self.table} has a gene twice: {', '.join(names)} at {allele.contig}.")
        for name, strand, row in zip(names, strands, rows, strict=True):
            exons = self.annotator.exon_starts[row], self.annotator.exon_ends[row]
            if row not in self.proven and not introns_fit(allele.contig, *exons, strand, bases):
                raise Refused(f"SpliceAI's table {self.table} is not of the FASTA's build: see {name}. {TABLE}")
            self.proven.add(row)
        self.annotator.ref_fasta = {record.chrom: Contig(allele.contig, bases)}
        entries = self.spliceai.get_delta_scores(record, self.annotator, int(self.distance), int(self.mask))
        return {gene: values(entry) for gene, entry in zip(genes, entries, strict=bool(entries))}


def known(table):
    """Return what a table of genes is called in the version: its name, or a digest of the file."""
    if table in ("grch37", "grch38"):
        return table
    return hashlib.sha256(Path(table).read_bytes()).hexdigest()[:12] if Path(table).is_file() else "none"


class Contig:
    """Answer what SpliceAI asks of a contig of pyfaidx: ``contig[start:end].seq``."""

    def __init__(self, name, bases):
        self.name, self.bases = name, bases

    def __getitem__(self, span):
        return Stretch(self.bases.fetch(self.name, span.start, span.stop).decode())


def introns_fit(contig, starts, ends, strand, bases):
    """Tell whether introns of 30 nt or more begin as introns do, with GT, or CT in a gene on -; few tell nothing."""
    introns = [int(end) for end, start in zip(ends[:-1], starts[1:], strict=True) if start - end > 30]  # 0-based
    pairs = [pair for pair in (bases.fetch(contig, begin, begin + 2) for begin in introns) if b"N" not in pair]
    return len(pairs) < 4 or 2 * pairs.count(b"GT" if strand == "+" else b"CT") >= len(pairs)


def anchored(allele, bases):
    """Return the allele as VCF writes it: an insertion or deletion has the base before it."""
    anchor = "" if allele.ref and allele.alt else bases.fetch(allele.contig, allele.start - 1, allele.start).decode()
    chrom, position = REFSEQ.get(allele.contig.partition(".")[0], allele.contig), allele.start + 1 - len(anchor)
    return SpliceAiRecord(chrom, position, anchor + allele.ref, (anchor + allele.alt,))


def values(entry):
    """Return values by field id of ALLELE|SYMBOL|DS_AG|...|DP_DL; none for dots."""
    numbers = entry.rsplit("|", 8)[1:]
    if "." in numbers:
        return {}
    scores = [float(number) + 0.0 for number in numbers[:4]]  # -0.00 is 0
    fields = [f"SpliceAI_{kind}_{site}" for kind in ("DS", "DP") for site in SITE]
    return dict(zip(fields, [*scores, *map(int, numbers[4:])], strict=True), SpliceAI_DS_MAX=max(scores))


@hookimpl
def register_scorers():
    return [SpliceAi(os.environ)]

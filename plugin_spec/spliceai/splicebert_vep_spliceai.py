"""SpliceAI's delta scores as fields of splicebert-vep, from the SpliceAI that is installed beside it."""

import hashlib
import os
import signal
import tempfile
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from unittest import mock

from splicebert_vep_spec import FieldSpec, Refused, hookimpl

SITES = {"AG": "acceptor gain", "AL": "acceptor loss", "DG": "donor gain", "DL": "donor loss"}
SCORE = "SpliceAI delta score of this gene, 0 to 1, two decimals as SpliceAI prints it: "
PLACE = "Where, in nt from POS of the left-aligned record, forward strand: SpliceAI "
TABLE = "Set SPLICEAI_VEP_ANNOTATION to grch38, grch37 or SpliceAI's table of genes for the build of the FASTA."
SpliceAiRecord = namedtuple("SpliceAiRecord", "chrom pos ref alts")  # pos is 1-based as in VCF


class SpliceAi:
    """SpliceAI_DS_* and SpliceAI_DP_*: None where SpliceAI's table lacks the gene or SpliceAI scores no such allele."""

    name = "spliceai"
    fields = (
        *(FieldSpec(f"SpliceAI_DS_{site}", "A", "Float", SCORE + SITES[site], "higher", default=False) for site in SITES),
        *(FieldSpec(f"SpliceAI_DP_{site}", "A", "Integer", PLACE + SITES[site], default=False) for site in SITES),
        FieldSpec("SpliceAI_DS_MAX", "A", "Float", SCORE + "the largest of the four", "higher", default=False),
    )

    def __init__(self, settings):
        self.table = settings.get("SPLICEAI_VEP_ANNOTATION", "")
        self.distance = settings.get("SPLICEAI_VEP_DISTANCE", "50")
        self.mask = settings.get("SPLICEAI_VEP_MASK", "0")
        self.annotator = None
        self.proven = set()

    @property
    def version(self):
        """Everything that determines a score but TensorFlow: SpliceAI's version, its table of genes, -D and -M."""
        table = self.table or "none"
        if Path(table).is_file():
            table = hashlib.sha256(Path(table).read_bytes()).hexdigest()[:12]
        versions = {found.version for found in metadata.distributions(name="spliceai")}
        return f"{min(versions, default='none')}+{table}-D{self.distance}-M{self.mask}"

    def score_alleles(self, alleles, bases, fields):
        self.annotator = self.annotator or self.open()
        self.annotator.ref_fasta = Genome(bases)
        found = {allele: self.by_gene(allele, bases) for allele in dict.fromkeys(allele for allele, _ in alleles)}
        rows = [found[allele].get((gene.symbol, gene.strand), {}) for allele, gene in alleles]
        return {field: [row.get(field) for row in rows] for field in fields}

    def open(self):
        """Return SpliceAI's Annotator, with the models loaded."""
        if not self.table:
            raise Refused(f"SpliceAI has no default build. {TABLE}")
        if self.distance not in map(str, range(5000)) or self.mask not in ("0", "1"):
            raise Refused("SPLICEAI_VEP_DISTANCE must be 0 to 4999 and SPLICEAI_VEP_MASK 0 or 1, as -D and -M of SpliceAI.")
        try:
            with mock.patch.object(signal, "signal"):  # its import would make Ctrl-C end any run with exit code 0
                import spliceai  # noqa: F401
            import keras
            from spliceai.utils import Annotator
        except ImportError as error:
            raise Refused(f"SpliceAI cannot be imported ({error}). Install spliceai==1.3.1 and tensorflow.") from error
        keras.utils.disable_interactive_logging()  # it would write progress to stdout, where the VCF goes
        with tempfile.TemporaryDirectory() as folder:
            stand_in = Path(folder, "none.fa")  # Annotator wants a file, and is given the run's own bases later
            stand_in.write_text(">none\nN\n")
            try:
                return Annotator(str(stand_in), self.table)
            except SystemExit:  # and why is in its log
                raise Refused(f"SpliceAI cannot read its table of genes {self.table}. {TABLE}") from None

    def by_gene(self, allele, bases):
        """Return values by field id for each (symbol, strand) of SpliceAI's table."""
        from spliceai.utils import get_delta_scores

        record = anchored(allele, bases)
        names, strands, rows = self.annotator.get_name_and_strand(record.chrom, record.pos)
        genes = list(zip(names, strands, strict=True))
        if len(set(genes)) < len(genes):
            raise Refused(f"SpliceAI's table has a gene twice at {record.chrom}:{record.pos}: {', '.join(names)}.")
        for row, strand in zip(rows, strands, strict=True):
            self.prove(record.chrom, row, b"GT" if strand == "+" else b"CT", bases)
        entries = get_delta_scores(record, self.annotator, int(self.distance), int(self.mask))
        return {gene: values(entry) for gene, entry in zip(genes, entries, strict=bool(entries))}

    def prove(self, contig, row, begin, bases):
        """Refuse a table of another build: on the genome, introns begin with GT, or with CT where the gene is on -."""
        if row in self.proven:
            return
        self.proven.add(row)
        ends = map(int, self.annotator.exon_ends[row][:-1])  # 0-based, exclusive
        seen = [pair for pair in (bases.fetch(contig, end, end + 2) for end in ends) if b"N" not in pair]
        if len(seen) > 3 and 2 * seen.count(begin) < len(seen):
            gene = self.annotator.genes[row]
            raise Refused(f"SpliceAI's table {self.table} is of another build than the FASTA: see {gene}. {TABLE}")


class Genome:
    """What SpliceAI asks of a pyfaidx.Fasta, over the bases of the run: ``genome[contig][start:end].seq``."""

    def __init__(self, bases, contig=None):
        self.bases, self.contig = bases, contig

    def keys(self):
        return self.bases.lengths.keys()

    def __getitem__(self, item):
        if self.contig is None:
            return Genome(self.bases, item)
        return Stretch(self.bases.fetch(self.contig, max(item.start, 0), item.stop).decode())


Stretch = namedtuple("Stretch", "seq")


def anchored(allele, bases):
    """Return the allele as VCF writes it: an insertion or deletion takes the base before it along."""
    anchor = "" if allele.ref and allele.alt else bases.fetch(allele.contig, allele.start - 1, allele.start).decode()
    position = allele.start + 1 - len(anchor)
    return SpliceAiRecord(allele.contig, position, anchor + allele.ref, (anchor + allele.alt,))


def values(entry):
    """Return values by field id of ALLELE|SYMBOL|DS_AG|...|DP_DL; none of dots."""
    numbers = entry.rsplit("|", 8)[1:]
    if "." in numbers:
        return {}
    scores = [float(number) + 0.0 for number in numbers[:4]]  # -0.00 is 0
    found = {f"SpliceAI_DS_{site}": score for site, score in zip(SITES, scores, strict=True)}
    found |= {f"SpliceAI_DP_{site}": int(number) for site, number in zip(SITES, numbers[4:], strict=True)}
    return {**found, "SpliceAI_DS_MAX": max(scores)}


@hookimpl
def register_scorers():
    return [SpliceAi(os.environ)]

"""Fine-tune a branchpoint model on the genes of genomes, from positions in BED files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from splicebert_vep.cohort.places import BedLine, bed_lines
from splicebert_vep.errors import CorpusError, SettingsError
from splicebert_vep.genome.contigs import ContigNames
from splicebert_vep.genome.gene_table import GeneTable
from splicebert_vep.genome.reference import Reference
from splicebert_vep.model.branchpoints import LABELS, BranchpointModel
from splicebert_vep.model.registry import DEFAULT_MODEL

from .corpus import Source, gene_rows
from .gene_tasks import Rows, finetune_on_genes
from .labelled import Ints, Stretch, between
from .recipe import FineTuneRecipe

_STRANDS = ("+", "-")
_COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")


class BedPositions:
    """The branchpoints of a BED file that lie in protein-coding or lncRNA genes of their strand.

    Args:
        bed: path, plain or gzip; a line is one base, column 6 its strand.

    Raises:
        SettingsError: the file or a line cannot be read, a line is longer than a base or has no strand.
        CorpusError: no line lies in a gene.
    """

    names: tuple[str, ...] = LABELS

    def __init__(self, bed: str, table: GeneTable, reference: Reference) -> None:
        genes = _Genes(table, reference)
        names = ContigNames(table.contigs)
        found: dict[tuple[int, bool], set[int]] = {}
        lines = in_no_gene = on_no_contig = 0
        for line in bed_lines(bed):
            position, minus = _position(line)
            lines += 1
            contig = names.find(line.contig)
            number = table.contigs.index(contig) if contig else -1
            if number < 0 or reference.find(line.contig) is None:
                on_no_contig += 1
            elif not genes.hold(number, minus, position):
                in_no_gene += 1
            else:
                found.setdefault((number, minus), set()).add(position)
        self._found = {key: np.array(sorted(at), dtype=np.int64) for key, at in found.items()}
        count = sum(map(len, self._found.values()))
        self.told = (
            f"{bed}: {lines:,} lines; {in_no_gene:,} lie in no protein-coding or lncRNA gene of their strand, "
            f"{on_no_contig:,} on no contig of FASTA and annotation"
        )
        if not count:
            raise CorpusError(
                "No branchpoint lies in a gene.", needed="positions of the assembly and the strand of the genes",
                found=self.told, remedy="check assembly, strand, and that starts are 0-based",
            )  # fmt: skip
        self.told += f"; {count:,} positions are left, {self._adenines(table, reference) / count:.0%} of them A"

    def within(self, number: int, stretch: Stretch, name: str) -> Ints:
        """Return the branchpoints in a stretch of the table's contig ``number``."""
        return between(self._found.get((number, stretch.minus), np.empty(0, dtype=np.int64)), stretch)

    def _adenines(self, table: GeneTable, reference: Reference) -> int:
        """Count the positions that read A on their strand: most branchpoints do, and few bases beside one."""
        count = 0
        for (number, minus), positions in self._found.items():
            contig = reference.find(table.contigs[number])
            assert contig is not None
            bases = b"".join(reference.fetch(contig, at, at + 1) for at in positions.tolist())
            count += (bases.translate(_COMPLEMENT) if minus else bases).count(b"A")
        return count


class _Genes:
    """Which positions lie in the genes that sequence is taken from, by the table's number of the contig and strand."""

    def __init__(self, table: GeneTable, reference: Reference) -> None:
        nothing = np.empty(0, dtype=np.int64)
        self._starts = {(number, minus): nothing for number in range(len(table.contigs)) for minus in (False, True)}
        self._reach = dict(self._starts)
        for number, _, rows in gene_rows(table, reference):
            for minus in (False, True):
                of = rows[(table.gene_strand[rows] < 0) == minus]
                self._starts[number, minus] = table.gene_start[of]  # ascending, as the table is
                self._reach[number, minus] = np.maximum.accumulate(table.gene_end[of])

    def hold(self, number: int, minus: bool, position: int) -> bool:
        """Tell whether a position lies in a gene of its strand."""
        before = int(np.searchsorted(self._starts[number, minus], position, side="right"))
        return before > 0 and position < int(self._reach[number, minus][before - 1])


def _position(line: BedLine) -> tuple[int, bool]:
    if line.end - line.start != 1:
        raise SettingsError(
            "A line of the BED file is longer than a base.", needed="the branchpoint alone: end is start + 1",
            found=f"{line.start}-{line.end}", where=line.where,
        )  # fmt: skip
    if line.strand not in _STRANDS:
        raise SettingsError(
            "A line of the BED file has no strand.", needed="+ or - in column 6",
            found="nothing" if line.strand is None else repr(line.strand), where=line.where,
        )  # fmt: skip
    return line.start, line.strand == "-"


def finetune_branchpoints(
    beds: Sequence[str],
    sources: Sequence[Source],
    path: Path,
    *,
    hold_out: Sequence[str] = (),
    base: str = DEFAULT_MODEL,
    recipe: FineTuneRecipe | None = None,
    validation_share: float = 0.05,
    test_nt: int = 3_000_000,
    device: torch.device | None = None,
    half: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Path, Rows]:
    """Train and test; return the model's folder, and a row of figures per test set.

    Every nucleotide of the genes that no BED line names is taken for none.

    Args:
        beds: a BED file of each of the sources, in their order, plain or gzip; a line is one base, column 6 its strand.

    The others are those of ``finetune_splice_sites``.

    Raises:
        SettingsError: there are not as many BED files as genomes, or a line is longer than a base or has no strand.
        CorpusError: no line lies in a gene.
        SpliceBertError: see ``finetune_splice_sites``.
    """
    if len(beds) != len(sources):
        raise SettingsError(
            "Every genome needs its branchpoints.", needed="a BED file for each genome, in their order",
            found=f"{len(beds)} BED files and {len(sources)} genomes",
        )  # fmt: skip

    def find_sites(number: int, table: GeneTable, reference: Reference) -> BedPositions:
        found = BedPositions(beds[number], table, reference)
        say(found.told)
        return found

    return finetune_on_genes(
        BranchpointModel, find_sites, sources, path, hold_out=hold_out, base=base, recipe=recipe,
        validation_share=validation_share, test_nt=test_nt, device=device, half=half, say=say, progress=progress,
    )  # fmt: skip

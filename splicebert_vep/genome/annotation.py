"""The ``-A`` of the command line: a gene table by its name, its file, or an annotation's text."""

from __future__ import annotations

from pathlib import Path

from splicebert_vep.errors import AnnotationError, suggestion

from .gene_build import compile_genes
from .gene_table import ZIP_MAGIC, GeneTable, unreadable

BUILT_IN = ("grch37", "grch38")
_ALIASES = {"hg38": "grch38", "hg19": "grch37"}
_TABLES = Path(__file__).parent / "tables"


def is_built_in(name: str) -> bool:
    """Tell whether a name is that of a built-in table, whatever files there are."""
    return _ALIASES.get(name.lower(), name.lower()) in BUILT_IN


def load_table(name_or_path: str | Path) -> GeneTable:
    """Return a gene table: a built-in one, a compiled one, or one compiled on the fly from an annotation's text.

    Args:
        name_or_path: ``grch38`` (``hg38``) or ``grch37`` (``hg19``), in any case and before files of that name; or the
            path of a file made by ``genes build``, of a GFF3, a GTF or a SpliceAI table, plain or gzip.

    Raises:
        AnnotationError: neither a known name nor a readable annotation.
    """
    name = str(name_or_path)
    known = _ALIASES.get(name.lower(), name.lower())
    if known in BUILT_IN:
        return GeneTable.load(_TABLES / f"{known}.genes.npz")
    path = Path(name_or_path)
    if not path.is_file():
        raise AnnotationError(
            f"No gene annotation is called {name!r}, and no file has that path.",
            needed=f"one of {', '.join(BUILT_IN)}, or the path of a compiled table (*.genes.npz), a GFF3, a GTF or "
            "SpliceAI's annotation table, plain or gzip",
            found=name,
            remedy=suggestion([name], BUILT_IN).replace("?", "? ") + "check the path, or give -A grch38 or -A grch37",
        )
    try:
        with path.open("rb") as handle:
            compiled = handle.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    except OSError as error:
        raise unreadable(path, error) from error
    if compiled:
        return GeneTable.load(path)
    return compile_genes(path)

"""Snakemake wrapper for splicebert-vep annotate: every ALT allele of a VCF with splice scores."""

__author__ = "the splicebert-vep developers"
__license__ = "BSD-3-Clause"

import shlex

from snakemake.shell import shell

log = snakemake.log_fmt_shell(stdout=False, stderr=True)  # noqa: F821
extra = snakemake.params.get("extra", "")  # noqa: F821
genes = snakemake.input.get("genes", "")  # noqa: F821
annotation = f"--annotation {shlex.quote(str(genes))}" if genes else ""
summary = snakemake.output.get("summary", "")  # noqa: F821
counts = f"--summary {shlex.quote(str(summary))}" if summary else ""

shell(
    "splicebert-vep annotate {snakemake.input.vcf:q} --reference {snakemake.input.ref:q} {annotation}"
    " --threads {snakemake.threads} {counts} {extra} --output {snakemake.output.vcf:q} {log}"
)

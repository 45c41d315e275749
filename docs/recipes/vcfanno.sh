#!/bin/sh
# Score a file of alleles once, and carry the scores into another file with vcfanno.
# Usage: vcfanno.sh ALLELES.vcf.gz OTHER.vcf.gz GRCh38.fa OUTDIR
# OTHER has a sample or more: vcfanno 0.3.5 writes a header that htslib refuses where there is none.
# ALLELES is split before it is scored, so that a missing value has no key: vcfanno reads the "." of a number as 0.
# A file of `splicebert-vep saturate` is so too and can stand in the place of scored.split.vcf.gz.
# An allele of OTHER that ALLELES does not hold comes out without a status: that is how it is told from an unscored one.
set -eu
alleles=$1 other=$2 fasta=$3 out=$4
here=$(dirname "$0")
mkdir -p "$out"

bcftools norm -m -any -f "$fasta" "$alleles" -O z -o "$out/alleles.split.vcf.gz"
splicebert-vep annotate "$out/alleles.split.vcf.gz" -R "$fasta" -O "$out/scored.split.vcf.gz"

bcftools norm -m -any -f "$fasta" "$other" -O z -o "$out/other.split.vcf.gz"
vcfanno -base-path "$out" "$here/vcfanno.toml" "$out/other.split.vcf.gz" > "$out/annotated.vcf"

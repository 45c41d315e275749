#!/bin/sh
# Pack the scores of many alleles into an echtvar archive, and annotate other files from it.
# Usage: echtvar.sh ALLELES.vcf.gz OTHER.vcf.gz GRCh38.fa OUTDIR
# echtvar.json: four decimals (multiplier 10000) and negative numbers (zigzag). echtvar writes a missing value, and that of an
# allele which the archive lacks, as a number: here as -1, below every DS_MAX and KL_SS, so that no bound takes it for
# disturbed and it is not taken for a 0. A score that may be negative (LLR, KL_CTX) needs another number.
set -eu
alleles=$1 other=$2 fasta=$3 out=$4
here=$(dirname "$0")
mkdir -p "$out"

bcftools norm -m -any -f "$fasta" "$alleles" -O z -o "$out/alleles.split.vcf.gz"
splicebert-vep annotate "$out/alleles.split.vcf.gz" -R "$fasta" -O "$out/scored.vcf.gz"
echtvar encode "$out/splicebert.zip" "$here/echtvar.json" "$out/scored.vcf.gz"

bcftools norm -m -any -f "$fasta" "$other" -O b -o "$out/other.bcf"
echtvar anno -e "$out/splicebert.zip" "$out/other.bcf" "$out/annotated.bcf"

#!/bin/sh
# Filter by score, see what was not scored, and read scores out of a VEP-annotated file, with bcftools.
# Usage: bcftools.sh IN.vcf.gz GRCh38.fa OUTDIR MIN_KL_CTX
# MIN_KL_CTX is yours to choose: no score has a threshold of its own (docs/scores.md).
set -eu
in=$1 fasta=$2 out=$3 bound=$4
mkdir -p "$out"

splicebert-vep annotate "$in" -R "$fasta" -O "$out/scored.vcf.gz"

# One record per ALT, so that a filter speaks of one allele; Number=A values go with their ALT.
bcftools norm -m -any "$out/scored.vcf.gz" -O z -o "$out/split.vcf.gz"

# Scored alleles at or above the bound. An allele without a score is in neither this file nor its complement.
bcftools view -i "SpliceBERT_KL_CTX>=$bound" "$out/split.vcf.gz" -O z -o "$out/disturbed.vcf.gz"

# What has no score, and why: look at it, a filter never shows it.
bcftools query -i 'SpliceBERT_STATUS!="OK"' -f '%CHROM\t%POS\t%REF\t%ALT\t%SpliceBERT_STATUS\n' \
    "$out/split.vcf.gz" > "$out/unscored.tsv"

# A table of what is left.
bcftools query -H -f '%CHROM\t%POS\t%REF\t%ALT\t%SpliceBERT_SYMBOL\t%SpliceBERT_SITE_OFFSET\t%SpliceBERT_KL_CTX\t%SpliceBERT_LLR\n' \
    "$out/disturbed.vcf.gz" > "$out/disturbed.tsv"

#!/bin/sh
# Filter by score, see what was not scored, and read scores out of a VEP-annotated file, with bcftools.
# Usage: bcftools.sh IN.vcf.gz GRCh38.fa OUTDIR MIN_DS_MAX
# MIN_DS_MAX: 'annotate' ends with the bound at which its splice-site model was measured, and what it finds there; with
# CI-SpliceAI, of 143 variants with RNA evidence, .2 or more have all 76 that affect splicing and 5 of the other 67 (docs/models.md).
set -eu
in=$1 fasta=$2 out=$3 bound=$4
mkdir -p "$out"

splicebert-vep annotate "$in" -R "$fasta" -O "$out/scored.vcf.gz"

# One record per ALT, so that a filter speaks of one allele; Number=A values go with their ALT.
bcftools norm -m -any "$out/scored.vcf.gz" -O z -o "$out/split.vcf.gz"

# Scored alleles at or above the bound. An allele without a score is in neither this file nor its complement.
bcftools view -i "SpliceBERT_DS_MAX>=$bound" "$out/split.vcf.gz" -O z -o "$out/disturbed.vcf.gz"

# What has no score, or a loss that the model cannot see, and why: look at it, a filter never shows it.
bcftools query -i 'SpliceBERT_STATUS!="OK" || SpliceBERT_LOSS_JUDGED="NOT_JUDGEABLE"' \
    -f '%CHROM\t%POS\t%REF\t%ALT\t%SpliceBERT_STATUS\t%SpliceBERT_LOSS_JUDGED\n' \
    "$out/split.vcf.gz" > "$out/unscored.tsv"

# A table of what is left, with the reason in words.
bcftools query -H -f '%CHROM\t%POS\t%REF\t%ALT\t%SpliceBERT_SYMBOL\t%SpliceBERT_HGVSC\t%SpliceBERT_DS_MAX\t%SpliceBERT_EFFECT\t%SpliceBERT_EFFECT_TEXT\n' \
    "$out/disturbed.vcf.gz" > "$out/disturbed.tsv"

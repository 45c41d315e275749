#!/bin/sh
# After VEP: put the scores into CSQ, one set for each transcript's entry, and read them with bcftools +split-vep.
# Usage: split-vep.sh VEP.vcf.gz GRCh38.fa OUTDIR
# +split-vep wants a subfield Consequence, which CSQ has and our own SpliceBERT entries have not (bcftools 1.16).
set -eu
in=$1 fasta=$2 out=$3
mkdir -p "$out"

splicebert-vep annotate "$in" -R "$fasta" --emit csq -O "$out/csq.vcf.gz"

# One line per transcript that has a score, as numbers. With -c, what -f names has to be listed too (bcftools 1.16).
bcftools +split-vep -d -c SYMBOL,Feature,Consequence,SpliceBERT_pred_EFFECT,SpliceBERT_pred_DS_MAX:Float \
    -f '%CHROM\t%POS\t%REF\t%ALT\t%SYMBOL\t%Feature\t%Consequence\t%SpliceBERT_pred_EFFECT\t%SpliceBERT_pred_DS_MAX\n' \
    -i 'SpliceBERT_pred_DS_MAX!="."' "$out/csq.vcf.gz" > "$out/transcripts.tsv"

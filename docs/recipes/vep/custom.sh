#!/bin/sh
# Before VEP: score first, then let VEP carry the scores into its CSQ with --custom.
# Usage: custom.sh IN.vcf.gz GRCh38.fa OUTDIR
# A file for --custom has one record per ALT; Number=A numbers reach the right allele, and several genes are not told
# apart there: flat output is of one gene (docs/formats.md). To have each gene's own scores, use the
# plugin beside this file (SpliceBERT.pm), or score after VEP: ../split-vep.sh.
set -eu
in=$1 fasta=$2 out=$3
mkdir -p "$out"

splicebert-vep annotate "$in" -R "$fasta" -O "$out/scored.vcf.gz"
bcftools norm -m -any "$out/scored.vcf.gz" -O z -o "$out/custom.vcf.gz"
bcftools index -t "$out/custom.vcf.gz"

vep --input_file "$in" --output_file "$out/vep.vcf" --vcf --offline --cache --assembly GRCh38 --fasta "$fasta" \
    --symbol --mane \
    --custom file="$out/custom.vcf.gz",short_name=SpliceBERT,format=vcf,type=exact,coords=0,fields=SpliceBERT_DS_MAX%SpliceBERT_EFFECT%SpliceBERT_EFFECT_TEXT%SpliceBERT_SYMBOL%SpliceBERT_STATUS

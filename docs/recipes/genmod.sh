#!/bin/sh
# Let a score count in genmod's rank model.
# Usage: genmod.sh IN.vcf.gz GRCh38.fa OUTDIR
set -eu
in=$1 fasta=$2 out=$3
here=$(dirname "$0")
mkdir -p "$out"

bcftools norm -m -any "$in" | splicebert-vep annotate -R "$fasta" -O "$out/scored.vcf"
genmod score -c "$here/genmod.ini" --rank_results -o "$out/ranked.vcf" "$out/scored.vcf"

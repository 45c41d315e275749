#!/usr/bin/env bash
# Split a VCF of sites into parts that different machines score: PARTS files FOLDER/1.vcf, 2.vcf, ..., each with the header.
#
#   bash split-sites.sh SITES.vcf.gz PARTS FOLDER
#
# SITES has every site of the cohort once, without samples, sorted; for example of
#   bcftools concat --allow-overlaps --rm-dups exact --file-list files.txt | bcftools view --drop-genotypes -Oz -o SITES.vcf.gz
# An allele that is not in it is scored at the end, by 'cohort run' itself.
set -euo pipefail
mkdir -p "$3"
count=$(gzip -cdf "$1" | awk '!/^#/' | wc -l)
gzip -cdf "$1" | awk -v parts="$2" -v size="$(((count + $2 - 1) / $2))" -v folder="$3" '
    function start(part) { file = folder "/" part ".vcf"; printf "%s", head > file }
    /^#/ { head = head $0 "\n"; next }
    count++ % size == 0 { if (part) close(file); start(++part) }
    { print > file }
    END { while (part < parts) start(++part) }'

#!/bin/sh
# Filter a trio by inheritance and score with slivar. Flat fields are INFO fields like any other.
# Usage: slivar.sh TRIO.vcf.gz TRIO.ped GRCh38.fa OUTDIR MIN_KL_CTX
# slivar sees one allele per record, so the file is split first. A field that a record lacks is undefined: ask for it.
set -eu
in=$1 ped=$2 fasta=$3 out=$4 bound=$5
mkdir -p "$out"

bcftools norm -m -any -f "$fasta" "$in" -O z -o "$out/split.vcf.gz"
splicebert-vep annotate "$out/split.vcf.gz" -R "$fasta" -O "$out/scored.vcf.gz"
slivar expr --vcf "$out/scored.vcf.gz" --ped "$ped" --pass-only --out-vcf "$out/denovo.vcf" \
    --info "'SpliceBERT_KL_CTX' in INFO && INFO.SpliceBERT_KL_CTX >= $bound" \
    --trio 'denovo:kid.het && mom.hom_ref && dad.hom_ref'

# To carry one score into files that are not scored themselves, make it an annotation of slivar's own. slivar writes -1 for an
# allele that the archive lacks and for a missing value, which is more disturbed than most KL_CTX. So only scored alleles
# go in, and NGENES, at least 1 where there is a score, tells them from the others.
bcftools view -i 'SpliceBERT_KL_CTX!="."' "$out/scored.vcf.gz" -O z -o "$out/only.vcf.gz"
slivar make-gnotate --prefix "$out/splicebert" --field SpliceBERT_KL_CTX:splicebert_kl_ctx \
    --field SpliceBERT_NGENES:splicebert_ngenes "$out/only.vcf.gz"
slivar expr --vcf "$out/split.vcf.gz" --gnotate "$out/splicebert.zip" --pass-only --out-vcf "$out/carried.vcf" \
    --info "INFO.splicebert_ngenes > 0 && INFO.splicebert_kl_ctx >= $bound"

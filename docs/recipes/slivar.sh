#!/bin/sh
# Filter a trio by inheritance and score with slivar. Flat fields are INFO fields like any other.
# Usage: slivar.sh TRIO.vcf.gz TRIO.ped GRCh38.fa OUTDIR MIN_DS_MAX
# MIN_DS_MAX: see bcftools.sh.
# slivar sees one allele per record, so the file is split first. A field that a record lacks is undefined: ask for it.
set -eu
in=$1 ped=$2 fasta=$3 out=$4 bound=$5
mkdir -p "$out"

bcftools norm -m -any -f "$fasta" "$in" -O z -o "$out/split.vcf.gz"
splicebert-vep annotate "$out/split.vcf.gz" -R "$fasta" -O "$out/scored.vcf.gz"
slivar expr --vcf "$out/scored.vcf.gz" --ped "$ped" --pass-only --out-vcf "$out/denovo.vcf" \
    --info "'SpliceBERT_DS_MAX' in INFO && INFO.SpliceBERT_DS_MAX >= $bound" \
    --trio 'denovo:kid.het && mom.hom_ref && dad.hom_ref'

# To carry one score into files that are not scored themselves, make it an annotation of slivar's own. slivar writes -1 for an
# allele that the archive lacks and for a missing value, below every DS_MAX. (LLR and KL_CTX can be less than -1: do not carry
# these without a second field that tells scored alleles, such as NGENES.)
bcftools view -i 'SpliceBERT_DS_MAX!="."' "$out/scored.vcf.gz" -O z -o "$out/only.vcf.gz"
slivar make-gnotate --prefix "$out/splicebert" --field SpliceBERT_DS_MAX:splicebert_ds_max "$out/only.vcf.gz"
slivar expr --vcf "$out/split.vcf.gz" --gnotate "$out/splicebert.zip" --pass-only --out-vcf "$out/carried.vcf" \
    --info "INFO.splicebert_ds_max >= $bound"

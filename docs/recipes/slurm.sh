#!/usr/bin/env bash
# Submit a cohort to SLURM: an array job that scores parts of its sites, and a job that annotates every file after them.
#
#   MANIFEST=cohort.tsv SITES=sites.vcf.gz REFERENCE=GRCh38.fa FOLDER=cohort2026 STORE=/local/scores.sqlite STORE_NODE=node01 \
#       bash docs/recipes/slurm.sh
#
# All nodes see FOLDER and the reference under the same paths. STORE lies on a disk of STORE_NODE, because it must not lie on
# a network file system; scores come to it as Parquet. Run again, the script scores parts anew that have no Parquet yet.
set -euo pipefail

: "${MANIFEST:?a table of paths}" "${SITES:?their sites, see split-sites.sh}" "${REFERENCE:?a FASTA}" "${FOLDER:?of the run}"
: "${STORE:?a file}" "${STORE_NODE:?its node}"
annotation=${ANNOTATION:-grch38}
parts=${PARTS:-50}                  # jobs; the model is loaded once in each
threads=${THREADS:-4}               # of each job
scratch=${SCRATCH:-/tmp}            # a local disk of each node, for the store of a part
read -r -a extra <<< "${EXTRA:-}"   # more options, for example --model SpliceBERT.510nt
options=$(printf '%q ' -R "$REFERENCE" -A "$annotation" --threads "$threads" ${extra[@]+"${extra[@]}"})
folder=$(printf %q "$FOLDER/parts") # quoted, for the scripts below

[[ -d $FOLDER/parts ]] || bash "$(dirname "$0")/split-sites.sh" "$SITES" "$parts" "$FOLDER/parts"

array=$(sbatch --parsable --job-name=splicebert-score --array="1-$parts" --requeue \
    --ntasks=1 --cpus-per-task="$threads" --mem=8G --time=12:00:00 <<JOB
#!/usr/bin/env bash
set -e
part=$folder/\$SLURM_ARRAY_TASK_ID
[[ ! -f "\$part.parquet" ]] || exit 0
store=$(printf %q "$scratch")/splicebert-part-\$SLURM_ARRAY_TASK_ID.sqlite
splicebert-vep annotate "\$part.vcf" $options --store "\$store" -O /dev/null
splicebert-vep store export "\$store" -O "\$part.parquet"
rm "\$store"*
JOB
)
sbatch --parsable --job-name=splicebert-annotate --dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes \
    --nodelist="$STORE_NODE" --ntasks=1 --cpus-per-task="$threads" --mem=8G --time=12:00:00 <<JOB
#!/usr/bin/env bash
set -e
splicebert-vep store import $(printf %q "$STORE") $folder/*.parquet
splicebert-vep cohort run $(printf %q "$MANIFEST") $options --store $(printf %q "$STORE") -O $(printf %q "$FOLDER")
JOB

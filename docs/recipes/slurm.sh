#!/usr/bin/env bash
# Submit a cohort to SLURM: plan, an array job that scores, a merge that waits for it. Run it where sbatch and srun are:
#
#   MANIFEST=cohort.tsv REFERENCE=GRCh38.fa FOLDER=cohort2026 STORE=/local/scores.sqlite STORE_NODE=node01 bash slurm.sh
#
# All nodes see FOLDER and the reference under the same paths. STORE lies on a disk of STORE_NODE: plan and merge run there,
# because it must not lie on a network file system. Run again, the script goes on where it was.
set -euo pipefail

: "${MANIFEST:?a table of paths}" "${REFERENCE:?a FASTA}" "${FOLDER:?of the run}" "${STORE:?a file}" "${STORE_NODE:?its node}"
annotation=${ANNOTATION:-grch38}
size=${UNITS_PER_JOB:-8}            # units of at most 256 alleles; raise it where arrays are limited (MaxArraySize)
threads=${THREADS:-4}               # of each task
read -r -a extra <<< "${EXTRA:-}"   # more options of 'cohort plan', for example --model SpliceBERT.510nt
folder=$(printf %q "$FOLDER")       # quoted, for the scripts below

units=$(srun --nodelist="$STORE_NODE" --ntasks=1 --cpus-per-task="$threads" --mem=8G \
    splicebert-vep cohort plan "$MANIFEST" -R "$REFERENCE" -A "$annotation" --store "$STORE" -O "$FOLDER" \
    --threads "$threads" ${extra[@]+"${extra[@]}"})
tasks=$(((units + size - 1) / size))
echo "$units units, $tasks tasks" >&2

after=()
if ((tasks > 0)); then              # none where the store knows every allele
    array=$(sbatch --parsable --job-name=splicebert-work --array="1-$tasks" --requeue \
        --ntasks=1 --cpus-per-task="$threads" --mem=8G --time=12:00:00 <<JOB
#!/usr/bin/env bash
first=\$(((SLURM_ARRAY_TASK_ID - 1) * $size + 1))
last=\$((SLURM_ARRAY_TASK_ID * $size))
exec splicebert-vep cohort work $folder \$first-\$((last < $units ? last : $units))
JOB
    )
    after=(--dependency="afterok:${array%%;*}" --kill-on-invalid-dep=yes)
fi
sbatch --parsable --job-name=splicebert-merge ${after[@]+"${after[@]}"} --nodelist="$STORE_NODE" \
    --ntasks=1 --cpus-per-task="$threads" --mem=8G --time=12:00:00 <<JOB
#!/usr/bin/env bash
exec splicebert-vep cohort merge $folder
JOB

#!/bin/sh
# One shard of a sweep for each task of a Slurm array or of a Kubernetes indexed job:
#
#   sbatch --array=1-8 sweep-array.sh --sweep depth=10..1000:log --sweep weight-variance=1..3:9
#   gainstage merge sweep/shard-* --out sweep/merged
#
# A task that was killed goes on where it stopped when it is submitted again (sbatch --requeue).
# In Kubernetes set SHARDS to the job's completions; the index comes from JOB_COMPLETION_INDEX.
#SBATCH --job-name=gainstage
#SBATCH --requeue
set -eu
shard=${SLURM_ARRAY_TASK_ID:-$((${JOB_COMPLETION_INDEX:-0} + 1))}
shards=${SLURM_ARRAY_TASK_COUNT:-${SHARDS:-1}}
out=${OUT:-sweep}/shard-$shard

# Exit code 1 says that predictions and measurements differ somewhere: a result, not a failure.
"${GAINSTAGE:-gainstage}" propagate "$@" --shard "$shard/$shards" --out "$out" --quiet \
    >/dev/null || [ $? -eq 1 ]

#!/usr/bin/env bash
# `distil` as a Slurm job: Ray on every node that Slurm gives, one `distil run` on the first of them. From this folder:
#
#   export MLFLOW_TRACKING_URI=http://mlflow.example.org     a server: an SQLite file is for one machine
#   sbatch --nodes 4 --gpus-per-node 4 deploy/slurm.sh distilbert-base-uncased --workdir /shared/me/mine \
#     --storage /shared/me/distilray --distil.workers 16
#
# This folder with its .venv, --workdir, --storage and the home with the token lie where all nodes see them (--storage
# may be a bucket). When the time is over, and at a preemption where Slurm has PreemptParameters=send_user_signal, a
# checkpoint is written and the job queued again under its own id; the same command goes on from there.
#   scancel --batch --signal=TERM JOB    writes a checkpoint too, and ends
#   scancel JOB                          ends at once: the newest checkpoint is the one before
#SBATCH --job-name=distil
#SBATCH --nodes=2
#SBATCH --exclusive
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=distil-%j.log
#SBATCH --signal=B:USR1@300
set -euo pipefail

# --exclusive: `ray symmetric-run` refuses a node where another Ray runs, and ends every Ray of yours that it finds.
# --signal=B: the notice, 300 s ahead, is for this script alone; Ray's processes would be ended by it.
# shellcheck disable=SC1091
[ ! -f .venv/bin/activate ] || source .venv/bin/activate

export RAY_AUTH_MODE=token                   # others have jobs on these nodes' network
ray get-auth-token --generate > /dev/null    # ~/.ray/auth_token, where there is none yet
export RAY_TMPDIR=/tmp/ray-$UID              # /tmp/ray may be somebody else's
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300  # a shared file system takes more than Ray's 30 s to load it
export RAY_USAGE_STATS_ENABLED=0
# Slurm runs this script on the first node, so the head is here. Where its first address is not the one that the other
# nodes reach it by: sbatch --export=ALL,HEAD_IP=…
HEAD_IP=${HEAD_IP:-$(hostname -I | cut -d' ' -f1)}
export RAY_ADDRESS=$HEAD_IP:6379             # what `distil run` joins

notes=$(mktemp -d)                           # of this node: which process is the driver, and how it ended
trap 'rm -rf "$notes"' EXIT
queue_again=no
stop() {                                     # the driver alone; while Ray starts there is none yet
  if [ -s "$notes/driver" ]; then kill -TERM "$(< "$notes/driver")" || true; else kill -TERM "$step" || true; fi
}
# shellcheck disable=SC2016
srun --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  ray symmetric-run --address "$RAY_ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \
  --num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}" \
  -- bash -c 'distil run "$@" & echo $! > "$0/driver"; wait $! && e=0 || e=$?; echo $e > "$0/status"; exit $e' \
  "$notes" "$@" &
step=$!
trap 'queue_again=yes; stop' USR1
trap 'queue_again=no; stop' TERM
while kill -0 "$step" 2> /dev/null; do wait "$step" || true; done  # a signal interrupts `wait`, not the step
wait "$step" && status=0 || status=$?
[ ! -s "$notes/status" ] || status=$(< "$notes/status")  # the driver's, however the other nodes ended

# 75: a checkpoint is written and the same command goes on, or only MLflow was away. Without a notice it is not queued
# again: nothing would have changed.
if [ "$queue_again" = yes ] && { [ "$status" = 75 ] || [ ! -s "$notes/driver" ]; }; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"

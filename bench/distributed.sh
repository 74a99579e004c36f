#!/usr/bin/env bash
# Data-parallel training on this machine's processors, two of them by default, each set-up with the same batch of a step,
# in alternation: images/s after a warm-up, as medians, with the median and range of the ratios of each round. Let
# nothing else run meanwhile.
#
#   ROUNDS=5 RANKS=2 BATCH=128 IMAGES=1280 PRECISION=FP32 bench/distributed.sh
#
# one process      of as many threads as RANKS
# processes        RANKS of one thread each, on one node
# pods             as many nodes of one process with a processor of its own, between them TLS; plain: without
# DDP              PyTorch's DistributedDataParallel on Gloo, RANKS processes of one thread, channels_last, data in memory,
#                  tcmalloc; in PEER_PRECISION, if it is another one
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/common.sh
rounds=${ROUNDS:-5} ranks=${RANKS:-2}
set_up

threads() { OMP_NUM_THREADS=$1 trainer "${@:2}"; } # THREADS [FLAG]...
pods() { # true or false: encryption
  prepare
  local pids=() pid
  for rank in $(seq 0 $((ranks - 1))); do
    OMP_NUM_THREADS=1 taskset -c "$rank" bin/trainer train -f "$dir/job.yaml" --nnodes "$ranks" --node-rank "$rank" \
      --node-address "127.0.0.$((rank + 2))" --set "distributed={pods: $ranks, encryption: $1}" >"$dir/log-$rank" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || { cat "$dir"/log-* >&2; exit 1; }; done
  speed
}
ddp() {
  local pids=() pid
  rm -f "$dir/rendezvous"
  for rank in $(seq 0 $((ranks - 1))); do
    RENDEZVOUS="file://$dir/rendezvous" RANK=$rank WORLD_SIZE=$ranks OMP_NUM_THREADS=1 PRECISION=$peer LD_PRELOAD=$tcmalloc \
      taskset -c "$rank" /usr/bin/python3 bench/peer.py best >"$dir/peer-$rank" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  cat "$dir/peer-0"
}

echo "ResNet18, batch $BATCH, $PRECISION, PyTorch $peer, $ranks ranks, $rounds rounds: images/s"
echo "each round: one process, processes, pods, pods without TLS, DDP" >&2
for _ in $(seq "$rounds"); do
  echo "$(threads "$ranks") $(threads "$ranks" --processes "$ranks") $(pods true) $(pods false) $(ddp)" | tee -a "$dir/runs" >&2
done

awk "$median"'
  function speeds(name, column,   i, a) {
    for (i = 1; i <= NR; i++) a[i] = x[i, column]
    printf "%-40s %9.1f\n", name, median(a, NR)
  }
  function ratios(name, ours, theirs,   i, a) {
    for (i = 1; i <= NR; i++) a[i] = x[i, ours] / x[i, theirs]
    middle = median(a, NR)
    printf "%-40s %9.2f (%.2f to %.2f)\n", name, middle, least, most
  }
  { for (i = 1; i <= NF; i++) x[NR, i] = $i; x[NR, NF + 1] = $1 > $2 ? $1 : $2 }
  END {
    speeds("one process", 1); speeds("processes", 2); speeds("pods", 3); speeds("pods without TLS", 4); speeds("DDP", 5)
    ratios("processes / one process", 2, 1)
    ratios("pods / the better of both", 3, 6); ratios("pods without TLS / the better of both", 4, 6)
    ratios("pods / DDP", 3, 5); ratios("pods without TLS / DDP", 4, 5)
  }' "$dir/runs"

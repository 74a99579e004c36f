#!/usr/bin/env bash
# Training throughput of bin/trainer next to PyTorch, in alternation: ResNet18 for 32×32 images, AdamW, OneCycle, crop and
# flip, the same batch; images/s after a warm-up, as medians, with the median and range of the ratio of each pair. Let
# nothing else run meanwhile.
#
#   PAIRS=5 BATCH=128 IMAGES=1280 PRECISION=FP32 PEER_PRECISIONS="FP32 BF16" OMP_NUM_THREADS=2 bench/train.sh
#
# PEER_PRECISIONS are PyTorch's; PRECISION, if it is not set, is what Auto is here. With ARCHITECTURE and SIZE another network is
# measured, on images of SIZE×SIZE pixels, the step alone: ARCHITECTURE=ResNet50 SIZE=224 BATCH=16 STEPS=3 bench/train.sh.
# ONLY is a regular expression of the peers to measure, such as "1.13" or "FP32$".
# End to end is data, augmentation, step and metrics. Peers: PyTorch 1.13 on the trainer's libtorch, and today's
# (tools/pytorch, installed into bin/pytorch first: 5 GB), eager and by torch.compile, each with channels_last, data in memory
# and tcmalloc; and today's as tutorials write it (float32, NCHW, DataLoader with 2 workers). A step is one on a batch that is
# there. The limit is what convolutions alone would take in today's PyTorch, forward and backward, each in its best layout.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/common.sh
export PAIRS=${PAIRS:-5} ARCHITECTURE=${ARCHITECTURE:-ResNet18} SIZE=${SIZE:-32} STEPS=${STEPS:-5} OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
set_up
cmp -s tools/pytorch/requirements.txt bin/pytorch/requirements.txt || hack/venv.sh bin/pytorch tools/pytorch/requirements.txt
header=$(bin/pytorch/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["include"] + "/Python.h")')
[ -e "$header" ] || hack/packages.sh python3-dev # torch.compile compiles against it
go test -c -o "$dir/step" ./trainer
export TORCHINDUCTOR_CACHE_DIR=$dir/inductor

step() { "$dir/step" -test.run '^$' -test.bench '^BenchmarkStep$' -test.benchtime "${STEPS}x" | awk '/images\/s/ { print $(NF-1) }'; }
old() { PRECISION=$1 LD_PRELOAD=$tcmalloc /usr/bin/python3 bench/peer.py "$2"; }
new() { PRECISION=$1 LD_PRELOAD=$tcmalloc bin/pytorch/bin/python bench/peer.py "$2"; }
compiled() { COMPILE=1 new "$@"; }

# What is run in every pair: KIND NAME COMMAND, where each KIND begins with the trainer.
measurements() {
  local precision
  if [ "$ARCHITECTURE $SIZE" = "ResNet18 32" ]; then
    echo "end to end|trainer|trainer"
    for precision in ${PEER_PRECISIONS:-$peer}; do
      echo "end to end|PyTorch 1.13, $precision|old $precision best"
      echo "end to end|PyTorch $today, $precision|new $precision best"
      echo "end to end|PyTorch $today, $precision, torch.compile|compiled $precision best"
    done
    echo "end to end|as in tutorials|tutorial"
  fi
  echo "step|trainer|step"
  for precision in ${PEER_PRECISIONS:-$peer}; do
    echo "step|PyTorch 1.13, $precision|old $precision step"
    echo "step|PyTorch $today, $precision|new $precision step"
    echo "step|PyTorch $today, $precision, torch.compile|compiled $precision step"
    echo "step|limit, $precision|new $precision limit"
  done
}
tutorial() { PRECISION=FP32 bin/pytorch/bin/python bench/peer.py article; }
today=$(bin/pytorch/bin/python -c 'import torch; print(torch.__version__.split("+")[0])')

echo "$ARCHITECTURE, $SIZE×$SIZE pixels, batch $BATCH, trainer $PRECISION, $OMP_NUM_THREADS threads, $PAIRS pairs: images/s"
for pair in $(seq "$PAIRS"); do
  measurements | awk -F '|' -v only="${ONLY:-}" '$2 == "trainer" || $2 ~ only' | while IFS='|' read -r kind name command; do
    echo "$kind|$name|$($command </dev/null)" | tee -a "$dir/runs" >&2
  done
done

awk -F '|' "$median"'
  { key = $1 ": " $2; if (!n[key]++) { keys[++count] = key; kind[key] = $1 } x[key, n[key]] = $3 }
  function row(key,   i, a, r, ours) {
    ours = kind[key] ": trainer"
    for (i = 1; i <= n[key]; i++) { a[i] = x[key, i]; r[i] = x[ours, i] / x[key, i] }
    speed[key] = median(a, n[key])
    ratio = median(r, n[key])
    return key == ours ? sprintf("%9.1f", speed[key]) : sprintf("%9.1f   %5.2f (%.2f to %.2f)", speed[key], ratio, least, most)
  }
  END {
    printf "%-50s %9s   %s\n", "", "images/s", "trainer / peer (range)"
    for (k = 1; k <= count; k++) {
      key = keys[k]
      printf "%-50s %s\n", key, row(key)
      if (key !~ /trainer|limit/ && speed[key] > speed[best[kind[key]]]) best[kind[key]] = key
    }
    for (of in best) printf "the best peer, %-35s %s\n", best[of], row(best[of])
  }' "$dir/runs"

#!/usr/bin/env bash
# Training throughput of bin/trainer next to PyTorch on the same libtorch, in alternation: ResNet18 for 32×32 images,
# AdamW, OneCycle, crop and flip, the same batch and precision; images/s after a warm-up, as medians, with the median
# and range of the ratio of each pair. Let nothing else run meanwhile.
#
#   PAIRS=5 BATCH=128 IMAGES=1280 PRECISION=FP32 OMP_NUM_THREADS=2 bench/train.sh
#
# PEER_PRECISION, if it is another one, is PyTorch's: each at its best.
# End to end is data, augmentation, step and metrics. Peers: PyTorch at its best (channels_last, data in memory,
# tcmalloc) and the loop as tutorials write it (float32, NCHW, DataLoader with 2 workers). A step is one on a batch that
# is there.
# The limit is what PyTorch's convolutions alone would take, forward and backward, each in its best layout.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/common.sh
export PAIRS=${PAIRS:-5} OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
set_up
go test -c -o "$dir/step" ./trainer

step() { "$dir/step" -test.run '^$' -test.bench '^BenchmarkStep$' -test.benchtime "${STEPS:-5}x" | awk '/images\/s/ { print $(NF-1) }'; }
pytorch() { PRECISION=$peer LD_PRELOAD=${preload-$tcmalloc} /usr/bin/python3 bench/pytorch.py "$1"; }

echo "ResNet18, batch $BATCH, $PRECISION, PyTorch $peer, $OMP_NUM_THREADS threads, $PAIRS pairs: images/s"
echo "each pair, end to end: trainer best tutorial; step: trainer best; limit" >&2
for _ in $(seq "$PAIRS"); do
  echo "$(trainer) $(pytorch best) $(preload='' pytorch article) $(step) $(pytorch step) $(pytorch limit)" | tee -a "$dir/runs" >&2
done

awk "$median"'
  function line(name, ours, theirs,   i, a, b, r, mine, their, ratio) {
    for (i = 1; i <= NR; i++) { a[i] = x[i, ours]; b[i] = x[i, theirs]; r[i] = a[i] / b[i] }
    mine = median(a, NR); their = median(b, NR); ratio = median(r, NR)
    printf "%-34s %9.1f %9.1f   %5.2f (%.2f to %.2f)\n", name, mine, their, ratio, least, most
  }
  { for (i = 1; i <= NF; i++) x[NR, i] = $i }
  END {
    printf "%-34s %9s %9s   %s\n", "", "trainer", "peer", "ratio (range)"
    line("end to end: PyTorch at its best", 1, 2)
    line("end to end: as in tutorials", 1, 3)
    line("step: PyTorch at its best", 4, 5)
    line("end to end: limit", 1, 6)
    line("step: limit", 4, 6)
  }' "$dir/runs"

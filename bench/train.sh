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
export BATCH=${BATCH:-128} PAIRS=${PAIRS:-5}
export IMAGES=${IMAGES:-$((10 * BATCH))}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)} GOMP_SPINCOUNT=10000
# As precision: Auto.
bf16=$(bin/trainer version | awk '$1 == "bf16:" { print $2 == "true" ? "BF16" : "FP32" }')
export PRECISION=${PRECISION:-$bf16}
peer=${PEER_PRECISION:-$PRECISION}
tcmalloc=$(ldconfig -p | awk '/libtcmalloc_minimal.so.4/ { path = $NF } END { print path }')

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
go test -c -o "$dir/step" ./trainer

trainer() {
  rm -rf "$dir/out"
  sed "s#\${IMAGES}#$IMAGES#; s#\${BATCH}#$BATCH#; s#\${PRECISION}#$PRECISION#; s#\${STORAGE}#$dir/out#" bench/job.yaml >"$dir/job.yaml"
  bin/trainer train -f "$dir/job.yaml" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
  find "$dir/out" -name metrics.jsonl -exec tail -n 1 {} \; | sed -E 's/.*"imagesPerSecond":([0-9]+\.?[0-9]?).*/\1/'
}
step() { "$dir/step" -test.run '^$' -test.bench '^BenchmarkStep$' -test.benchtime "${STEPS:-5}x" | awk '/images\/s/ { print $(NF-1) }'; }
pytorch() { PRECISION=$peer LD_PRELOAD=${preload-$tcmalloc} /usr/bin/python3 bench/pytorch.py "$1"; }

echo "ResNet18, batch $BATCH, $PRECISION, PyTorch $peer, $OMP_NUM_THREADS threads, $PAIRS pairs: images/s"
echo "each pair, end to end: trainer best tutorial; step: trainer best; limit" >&2
for _ in $(seq "$PAIRS"); do
  echo "$(trainer) $(pytorch best) $(preload='' pytorch article) $(step) $(pytorch step) $(pytorch limit)" | tee -a "$dir/runs" >&2
done

awk '
  function median(a, n,   i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
    least = a[1]; most = a[n]
    return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
  }
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

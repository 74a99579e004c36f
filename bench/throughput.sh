#!/usr/bin/env bash
# Training throughput of bin/trainer next to PyTorch on the same libtorch, end to end (augmentation and step), in
# alternation: the median of PAIRS runs each, and the ratio of each pair. Let nothing else run meanwhile.
#
#   PAIRS=5 OMP_NUM_THREADS=2 bench/throughput.sh
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${PAIRS:-3}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)} OMP_WAIT_POLICY=passive

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sed "s#/STORAGE#$dir/out#" bench/job.yaml >"$dir/job.yaml"

trainer() {
  rm -rf "$dir/out"
  bin/trainer train -f "$dir/job.yaml" 2>"$dir/log" >&2 || { cat "$dir/log" >&2; exit 1; }
  find "$dir/out" -name metrics.jsonl -exec tail -n 1 {} \; | sed -E 's/.*"imagesPerSecond":([0-9.]+).*/\1/'
}

echo "resnet18 cifar, batch 128, bf16, $OMP_NUM_THREADS threads, images/s of the second epoch"
for i in $(seq "$pairs"); do
  ours=$(trainer)
  theirs=$(/usr/bin/python3 bench/pytorch.py 2560)
  echo "$ours $theirs" | awk -v i="$i" '{ printf "pair %d: trainer %.1f  pytorch %.1f  ratio %.2f\n", i, $1, $2, $1 / $2 }' | tee -a "$dir/pairs"
done
awk '{ print $NF }' "$dir/pairs" | sort -n | awk '{ r[NR] = $1 } END { printf "ratio: median %.2f, %.2f to %.2f\n", r[int((NR + 1) / 2)], r[1], r[NR] }'

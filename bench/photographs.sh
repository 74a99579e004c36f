#!/usr/bin/env bash
# How many photographs a second one core makes ready for a step: decode, RandomResizedCrop(224), flip, normalise; next to
# torchvision's DataLoader with Pillow on the same files and the same core, in alternation. Then what else there is to
# choose from, and the memory of an epoch over many images. Let nothing else run meanwhile.
#
#   PAIRS=5 IMAGES=2000 MANY=200000 bench/photographs.sh
#
# MANY photographs take 90 KB of disk each, in DIR (default: a temporary folder).
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/common.sh
pairs=${PAIRS:-5} images=${IMAGES:-2000} many=${MANY:-200000}
work=$(mktemp -d -p "${DIR:-/tmp}")
trap 'rm -rf "$work"' EXIT
go test -c -o "$work/trainer" ./trainer
/usr/bin/python3 bench/photographs.py make "$work/few" "$images"

# photographs BENCHMARK FOLDER UNIT: what the benchmark reports.
photographs() {
  PHOTOGRAPHS=$2 "$work/trainer" -test.run '^$' -test.bench "^BenchmarkPhotographs\$/^$1\$" -test.benchtime 1x 2>/dev/null |
    awk -v unit="$3" '{ for (i = 2; i <= NF; i++) if ($i == unit) print $(i - 1) }'
}
one() { taskset -c 0 env OMP_NUM_THREADS=1 GOMAXPROCS=1 "$@"; }
export -f photographs
export work

echo "photographs/s of one core, $images photographs, $pairs pairs: trainer, torchvision" >&2
for _ in $(seq "$pairs"); do
  echo "$(one bash -c 'photographs crops "$0" images/s' "$work/few") $(one /usr/bin/python3 bench/photographs.py load "$work/few")" | tee -a "$work/runs" >&2
done
awk "$median"'
  { a[NR] = $1; b[NR] = $2; r[NR] = $1 / $2 }
  END { ratio = median(r, NR); l = least; m = most; printf "trainer %.0f, torchvision %.0f, ratio %.2f (%.2f to %.2f)\n", median(a, NR), median(b, NR), ratio, l, m }' "$work/runs"
for other in centre pixels; do
  echo "$other: $(one bash -c "photographs $other \"\$0\" images/s" "$work/few") photographs/s"
done

if [ "$many" -gt 0 ]; then
  /usr/bin/python3 bench/photographs.py make "$work/many" "$many"
  echo "peak resident memory of an epoch: $(photographs crops "$work/few" MiB) MiB for $images photographs, $(photographs crops "$work/many" MiB) MiB for $many"
fi

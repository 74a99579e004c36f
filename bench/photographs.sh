#!/usr/bin/env bash
# How many photographs a second one core makes ready for a step: decode, RandomResizedCrop(224), flip, normalise; next to
# torchvision's DataLoader with Pillow on the same files and the same core, in alternation. Then what else there is to
# choose from, and the memory of an epoch over many images. Let nothing else run meanwhile.
#
#   PAIRS=5 IMAGES=2000 MANY=200000 bench/photographs.sh
#
# MANY photographs take 70 KB of disk each, in DIR (default: a temporary folder).
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
  PHOTOGRAPHS=$2 "$work/trainer" -test.run '^$' -test.bench "^BenchmarkPhotographs\$/^$1\$" -test.benchtime 1x >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
  awk -v unit="$3" '{ for (i = 2; i <= NF; i++) if ($i == unit) print $(i - 1) }' "$work/log"
}
one() { taskset -c 0 env OMP_NUM_THREADS=1 GOMAXPROCS=1 "$@"; }
speed() { one bash -c 'photographs "$0" "$1" images/s' "$1" "$work/few"; }
export -f photographs
export work

echo "photographs/s of one core, $images photographs, $pairs pairs: trainer, torchvision" >&2
for _ in $(seq "$pairs"); do
  ours=$(speed crops)
  theirs=$(one /usr/bin/python3 bench/photographs.py load "$work/few")
  echo "$ours $theirs" | tee -a "$work/runs" >&2
done
awk "$median"'
  { a[NR] = $1; b[NR] = $2; r[NR] = $1 / $2 }
  END { ratio = median(r, NR); l = least; m = most; printf "trainer %.0f, torchvision %.0f, ratio %.2f (%.2f to %.2f)\n", median(a, NR), median(b, NR), ratio, l, m }' "$work/runs"
for other in centre pixels; do
  figure=$(speed "$other")
  echo "$other: $figure photographs/s"
done

if [ "$many" -gt 0 ]; then
  /usr/bin/python3 bench/photographs.py make "$work/many" "$many"
  of_few=$(photographs crops "$work/few" MiB)
  of_many=$(photographs crops "$work/many" MiB)
  echo "peak resident memory of an epoch: $of_few MiB for $images photographs, $of_many MiB for $many"
fi

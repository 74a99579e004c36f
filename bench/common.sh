# Sourced by the scripts of this folder, in the root of the repository.

# What `precision: Auto` is here.
auto_precision() { bin/trainer version | awk '$1 == "bf16:" { print $2 == "true" ? "BF16" : "FP32" }'; }

# For a measurement of speed: its settings, a folder, the trainer and PyTorch's libraries.
set_up() {
  local auto
  auto=$(auto_precision)
  export BATCH=${BATCH:-128} GOMP_SPINCOUNT=10000
  export IMAGES=${IMAGES:-$((10 * BATCH))} PRECISION=${PRECISION:-$auto}
  peer=${PEER_PRECISION:-$PRECISION}
  tcmalloc=$(ldconfig -p | awk '/libtcmalloc_minimal.so.4/ { path = $NF } END { print path }')
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
}

# The job, which writes to an empty folder.
prepare() {
  rm -rf "$dir/out"
  sed "s#\${IMAGES}#$IMAGES#; s#\${BATCH}#$BATCH#; s#\${PRECISION}#$PRECISION#; s#\${STORAGE}#$dir/out#" bench/job.yaml >"$dir/job.yaml"
}

# Images/s of the last epoch of the job.
speed() { find "$dir/out" -name metrics.jsonl -exec tail -n 1 {} \; | sed -E 's/.*"imagesPerSecond":([0-9]+\.?[0-9]?).*/\1/'; }

# Trains the job, with more flags if there are any, and prints its images/s.
trainer() {
  prepare
  bin/trainer train -f "$dir/job.yaml" "$@" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
  speed
}

# For awk: the median of a[1] to a[n], which it sorts; least and most of them.
median='
  function median(a, n,   i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j - 1] > a[j]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
    least = a[1]; most = a[n]
    return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
  }'

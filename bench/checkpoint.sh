#!/usr/bin/env bash
# What a checkpoint every epoch costs: the same job with and without, on MinIO, in alternation. Measured is the time from
# the first step to the end of the last epoch, so that snapshots and the uploads beside the training count, but the last
# checkpoint, which both have, does not. Let nothing else run meanwhile. MINIO_BIN is a minio program.
#
#   PAIRS=3 EPOCHS=4 IMAGES=2000 OMP_NUM_THREADS=2 bench/checkpoint.sh
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${PAIRS:-3} epochs=${EPOCHS:-4} images=${IMAGES:-2000}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)} OMP_WAIT_POLICY=passive

dir=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$dir"' EXIT
port=$((20000 + $$ % 10000))
export AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret
mkdir -p "$dir/data/models" # a folder is a bucket once the server has seen it
MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY \
  "$MINIO_BIN" server "$dir/data" --address "127.0.0.1:$port" --quiet >"$dir/minio.log" 2>&1 &
server=$!
for _ in $(seq 100); do
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
  sleep 0.1
done

# seconds NAME EVERY trains, and prints how long it took.
seconds() {
  cat >"$dir/$1.yaml" <<JOB
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: $1}
spec:
  dataset: {format: Synthetic, maxTrainImages: $images, maxTestImages: 256}
  training: {epochs: $epochs, batchSize: 32}
  checkpoint: {everyEpochs: $2}
  storage:
    uri: s3://models
    s3: {endpoint: "http://127.0.0.1:$port"}
JOB
  bin/trainer train -f "$dir/$1.yaml" 2>"$dir/log" || { cat "$dir/log" >&2; exit 1; }
  first=$(sed -n 's/^time=\([^ ]*\) .*msg=training .*/\1/p' "$dir/log")
  last=$(sed -n "s#^time=\([^ ]*\) .*msg=\"epoch $epochs/$epochs done\".*#\1#p" "$dir/log")
  echo "$(date -d "$first" +%s.%N) $(date -d "$last" +%s.%N)" | awk '{ printf "%.3f\n", $2 - $1 }'
}

echo "ResNet18, batch 32, $epochs epochs of $images images, $OMP_NUM_THREADS threads: seconds"
for i in $(seq "$pairs"); do
  with=$(seconds "with$i" 1)
  without=$(seconds "without$i" 100000)
  echo "$with $without" | awk -v i="$i" '{ printf "pair %d: with %.1f  without %.1f  overhead %+.2f %%\n", i, $1, $2, 100 * ($1 / $2 - 1) }' | tee -a "$dir/pairs"
done
sed 's/.*overhead \(.*\) %/\1/' "$dir/pairs" | sort -n | awk '{ r[NR] = $1 } END { printf "overhead: median %+.2f %%, %+.2f to %+.2f\n", r[int((NR + 1) / 2)], r[1], r[NR] }'

#!/usr/bin/env bash
# What a checkpoint every epoch costs: the same job with and without, on MinIO on this machine, in alternation. Measured is
# the time from the first step to the end of the last epoch, so that snapshots and the uploads beside the training count, but
# the last checkpoint, which both have, does not. Epochs are short, or the cost would drown in the noise of a virtual machine;
# a long epoch hides no less of it. How much of it is the server's work, which is elsewhere in a cluster, is told apart. Then,
# what SIGTERM in the middle of an epoch takes until the state is in the bucket and the program has ended. Let nothing else
# run meanwhile. MINIO_BIN is a minio program.
#
#   PAIRS=5 EPOCHS=12 IMAGES=320 STOPS=5 OMP_NUM_THREADS=2 bench/checkpoint.sh
set -euo pipefail
cd "$(dirname "$0")/.."
pairs=${PAIRS:-5} epochs=${EPOCHS:-12} images=${IMAGES:-320} stops=${STOPS:-5}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)} GOMP_SPINCOUNT=10000

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

# job NAME EVERY writes a job that saves after so many epochs.
job() {
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
}

# logged MESSAGE is when the trainer said so.
logged() { date -d "$(sed -n "s#^time=\([^ ]*\) .*msg=$1.*#\1#p" "$dir/log")" +%s.%N; }

# seconds NAME EVERY trains, and prints how long it took.
seconds() {
  job "$1" "$2"
  bin/trainer train -f "$dir/$1.yaml" 2>"$dir/log" || { cat "$dir/log" >&2; exit 1; }
  echo "$(logged training) $(logged "\"epoch $epochs/$epochs done\"")" | awk '{ printf "%.3f\n", $2 - $1 }'
}

# served is the server's CPU time so far, in seconds.
served() { awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) / hz }' "/proc/$server/stat"; }

echo "ResNet18, batch 32, $epochs epochs of $images images, $OMP_NUM_THREADS threads: seconds"
for i in $(seq "$pairs"); do
  before=$(served)
  with=$(seconds "with$i" 1)
  after=$(served)
  without=$(seconds "without$i" 100000)
  echo "$with $without $before $after $(served) $epochs" | tee -a "$dir/pairs" |
    awk -v i="$i" '{ printf "pair %d: with %.1f  without %.1f\n", i, $1, $2 }'
done
# The last checkpoint is in both.
summary() { sort -n | awk -v n="$1" '{ r[NR] = $1 } END { printf "%s: median %.2f s, %.2f to %.2f\n", n, r[int((NR + 1) / 2)], r[1], r[NR] }'; }
awk '{ print ($1 - $2) / ($6 - 1) }' "$dir/pairs" | summary "a checkpoint"
awk '{ print (($4 - $3) - ($5 - $4)) / ($6 - 1) }' "$dir/pairs" | summary "of the server's CPU in it"

echo "SIGTERM to the end, with the state in the bucket: seconds"
for i in $(seq "$stops"); do
  job "stop$i" 1
  bin/trainer train -f "$dir/stop$i.yaml" 2>"$dir/log" & trainer=$!
  until grep -q 'msg=training' "$dir/log" 2>/dev/null; do sleep 0.2; done
  sleep "$(awk -v i="$i" 'BEGIN { print 2 + 1.37 * i }')"
  began=$(date +%s.%N)
  kill -TERM "$trainer"
  code=0; wait "$trainer" || code=$?
  [ "$code" = 75 ] || { echo "exit code $code, want 75" >&2; cat "$dir/log" >&2; exit 1; }
  echo "$began $(date +%s.%N)" | awk '{ printf "%.2f\n", $2 - $1 }'
done

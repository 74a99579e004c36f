#!/usr/bin/env bash
# Fine-tuning next to training from scratch on few images: a network is trained on the five odd classes of Fashion-MNIST (30,000
# images), and goes on with IMAGES of each of the five even ones, with a new last layer; the same job without those weights is
# the other side. Both make the same steps by the same recipe, so they take the same time, which is printed as well.
#
#   IMAGES=500 EPOCHS="5 20" PRETRAIN_EPOCHS=3 WIDTH=0.25 SEEDS="0 1 2" OMP_NUM_THREADS=2 bench/finetune.sh [FOLDER]
#
# FOLDER keeps the runs; one that is there already is not repeated. Some minutes on two processors. Needs bin/trainer and
# hack/packages.sh dataset-fashion-mnist.
set -euo pipefail
cd "$(dirname "$0")/.."
images=${IMAGES:-500} lengths=${EPOCHS:-5 20} seeds=${SEEDS:-0 1 2} width=${WIDTH:-0.25}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
out=$(realpath -m "${1:-$(mktemp -d)}")
mkdir -p "$out"

[ -d "$out/even" ] || /usr/bin/python3 - /usr/share/datasets/fashion-mnist "$out" "$images" <<'PY'
"""Writes the odd and the even classes as two ImageFolders of 32×32 pixels: odd with all training images, even with the first
few of each class."""
import gzip, os, sys
source, out, few = sys.argv[1], sys.argv[2], int(sys.argv[3])
for part, kind in ("train", "train"), ("test", "t10k"):
    with gzip.open(f"{source}/{kind}-images-idx3-ubyte.gz") as f:
        pixels = f.read()[16:]
    with gzip.open(f"{source}/{kind}-labels-idx1-ubyte.gz") as f:
        labels = f.read()[8:]
    written = [0] * 10
    for i, label in enumerate(labels):
        if part == "train" and label % 2 == 0 and written[label] == few:
            continue
        written[label] += 1
        folder = f"{out}/{('even', 'odd')[label % 2]}.part/{part}/{label}"
        os.makedirs(folder, exist_ok=True)
        rows = (pixels[i * 784 + y:i * 784 + y + 28] for y in range(0, 784, 28))
        black = bytes(64)
        with open(f"{folder}/{i:05}.pgm", "wb") as f:
            f.write(b"P5 32 32 255\n" + black + b"".join(b"\0\0" + row + b"\0\0" for row in rows) + black)
for name in "odd", "even":
    os.rename(f"{out}/{name}.part", f"{out}/{name}")
PY

# train NAME CLASSES EPOCHS SEED [MORE]: a job, with MORE in its spec.
train() {
  local folder=$out/$1
  [ ! -s "$folder/metrics.jsonl" ] || return 0
  rm -rf "$folder" && mkdir "$folder"
  cat >"$folder/job.yaml" <<YAML
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: job}
spec:
  model: {widthMultiplier: $width, inputChannels: 1${6:+, $6}}
  dataset: {format: ImageFolder, uri: "file://$out/$2", mean: [0.286, 0.286, 0.286], std: [0.353, 0.353, 0.353]}
  training: {epochs: $3, batchSize: 128, seed: $4, evaluation: {everyEpochs: $3}}
  export: {formats: [Safetensors]}
  storage: {uri: "file://$folder/bucket"}
  ${5:-}
YAML
  bin/trainer train -f "$folder/job.yaml" >"$folder/log" 2>&1 || { cat "$folder/log" >&2; exit 1; }
  find "$folder/bucket" -name model.safetensors -exec cp {} "$folder/" \;
  find "$folder/bucket" -name metrics.jsonl -exec cp {} "$folder/" \;
  rm -rf "$folder/bucket"
}

# Its ten outputs are not those of the fine-tuned network, whose last layer is therefore a new one.
train pretrained odd "${PRETRAIN_EPOCHS:-3}" 0 "" "numClasses: 10"
for seed in $seeds; do
  for epochs in $lengths; do
    train "scratch-$epochs-$seed" even "$epochs" "$seed"
    train "tuned-$epochs-$seed" even "$epochs" "$seed" \
      "resumeFrom: {uri: \"file://$out/pretrained/model.safetensors\", weightsOnly: true}"
  done
done

/usr/bin/python3 - "$out" "$lengths" "$seeds" <<'PY'
import json, statistics, sys
out, lengths, seeds = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
def runs(name):
    return [[json.loads(line) for line in open(f"{out}/{name}-{seed}/metrics.jsonl")] for seed in seeds]
def mean(values):
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else 0:.2f}"
print(f"{'epochs':8}{'':14}{'test accuracy %':>18}{'test loss':>18}{'seconds':>18}   each seed's accuracy")
for epochs in lengths:
    for name, words in ("scratch", "from scratch"), ("tuned", "fine-tuned"):
        all_ = runs(f"{name}-{epochs}")
        accuracy = [100 * run[-1]["accuracy"] for run in all_]
        seconds = [sum(epoch["seconds"] for epoch in run) for run in all_]
        print(f"{epochs:8}{words:14}{mean(accuracy):>18}{mean([run[-1]['testLoss'] for run in all_]):>18}{mean(seconds):>18}   "
              + " ".join(f"{a:.2f}" for a in accuracy))
PY

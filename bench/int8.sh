#!/usr/bin/env bash
# Accuracy in 8 bits: trains small networks on Fashion-MNIST in float and with quantisation, and runs their models, float and
# int8, over all test images in ONNX Runtime.
#
#   WIDTHS="0.25 0.5 1" SEEDS="0 1 2" TRAIN=10000 EPOCHS=5 RECIPES="none|" IMAGES=10000 bench/int8.sh [FOLDER]
#
# RECIPES are separated by |: none is a training in float, whose int8 model is made of it afterwards; the others are fields
# of spec.training.quantization, such as "startAfter: 0.5". FOLDER keeps the runs; one that is there already is not repeated.
# Needs bin/trainer, bin/onnxruntime (or $ONNXRUNTIME), and hack/packages.sh dataset-fashion-mnist.
set -euo pipefail
cd "$(dirname "$0")/.."
widths=${WIDTHS:-0.25 0.5 1} seeds=${SEEDS:-0 1 2} train=${TRAIN:-10000} epochs=${EPOCHS:-5}
data=/usr/share/datasets/fashion-mnist
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
IFS='|' read -ra recipes <<<"${RECIPES-none|}|"
out=$(realpath -m "${1:-$(mktemp -d)}")
mkdir -p "$out"

train() { # FOLDER WIDTH SEED RECIPE
  local quantization="quantization: {$4}"
  [ "$4" != none ] || quantization=
  mkdir -p "$1"
  cat >"$1/job.yaml" <<YAML
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: job}
spec:
  model: {widthMultiplier: $2, normalization: TinyBatchNorm}
  dataset: {format: FashionMNIST, uri: "file://$data", maxTrainImages: $train, maxTestImages: 1000}
  training:
    epochs: $epochs
    seed: $3
    $quantization
  export: {formats: [ONNX, ONNXInt8]}
  storage: {uri: "file://$1/bucket"}
YAML
  bin/trainer train -f "$1/job.yaml" >"$1/log" 2>&1 || { cat "$1/log" >&2; exit 1; }
  bin/trainer export -f "$1/job.yaml" --format onnx,onnx-int8 --out "$1/model" >>"$1/log" 2>&1
  [ "$4" != none ] || bin/trainer export -f "$1/job.yaml" --format onnx-int8 --reduce-range --out "$1/reduced" >>"$1/log" 2>&1
}

runs=()
for width in $widths; do
  for seed in $seeds; do
    for recipe in "${recipes[@]}"; do
      run="$width $seed ${recipe:-quantization: {\}}" folder=$out/$(tr -c 'A-Za-z0-9.\n' _ <<<"$width-$seed-${recipe:-qat}")
      [ -s "$folder/scores" ] || {
        train "$folder" "$width" "$seed" "$recipe"
        models=("$folder"/model/model.onnx "$folder"/model/model.int8.onnx "$folder"/reduced/model.int8.onnx)
        [ -e "${models[2]}" ] || unset 'models[2]'
        cp bench/int8.mjs "${ONNXRUNTIME:-bin/onnxruntime}/"
        node "${ONNXRUNTIME:-bin/onnxruntime}/int8.mjs" "$data" "${IMAGES:-10000}" "${models[@]}" >"$folder/part"
        mv "$folder/part" "$folder/scores"
      }
      runs+=("$folder" "$width" "$seed" "${recipe:-QAT}")
    done
  done
done

/usr/bin/python3 - "${runs[@]}" <<'PY'
import json, os, statistics, sys
table = {}
for folder, width, seed, recipe in zip(*[iter(sys.argv[1:])] * 4):
    scores = [json.loads(line) for line in open(f"{folder}/scores")]
    float_, int8, *reduced = scores
    same = sum(a == b for a, b in zip(float_["classes"], int8["classes"])) / int8["images"]
    row = table.setdefault((width, recipe), {"float": [], "int8": [], "same": [], "reduced": []})
    row["float"].append(100 * float_["right"] / float_["images"])
    row["int8"].append(100 * int8["right"] / int8["images"])
    row["same"].append(100 * same)
    row["reduced"] += [100 * r["right"] / r["images"] for r in reduced]
def mean(v): return f"{statistics.mean(v):.2f} ± {statistics.stdev(v) if len(v) > 1 else 0:.2f}" if v else "–"
print("width  quantisation                     float %        int8 %         same class %   reduced range %   each seed's float / int8")
for (width, recipe), r in table.items():
    print(f"{width:6} {recipe:32} {mean(r['float']):14} {mean(r['int8']):14} {mean(r['same']):14} {mean(r['reduced']):17} "
          + "  ".join(f"{a:.2f}/{b:.2f}" for a, b in zip(r["float"], r["int8"])))
PY

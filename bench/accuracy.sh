#!/usr/bin/env bash
# The same shortened training here and in PyTorch, with several seeds: mean and deviation of loss and accuracy after the
# last epoch, side by side. Random numbers differ between the two, so the results must overlap, not be equal.
#
#   TRAIN=10000 EPOCHS=5 SEEDS="0 1 2" PRECISION=FP32 WIDTH=1 AUGMENT=mixup OMP_NUM_THREADS=2 bench/accuracy.sh [FOLDER]
#
# AUGMENT: mixup, cutmix or randaugment; without it crop and flip alone, which the others have too. EVALUATION are fields of
# spec.training.evaluation, such as "preciseBNBatches: 32", which PyTorch's side has not. FOLDER keeps the metrics of every run; a run that is
# there already is not repeated. Without PRECISION it is what Auto is here. An hour on two processors with AMX, several on others.
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/common.sh
train=${TRAIN:-10000} epochs=${EPOCHS:-5} seeds=${SEEDS:-0 1 2}
export WIDTH=${WIDTH:-1} AUGMENT=${AUGMENT:-}
declare -A augmentations=([mixup]="mixUp: {alpha: 1}" [cutmix]="cutMix: {alpha: 1}" [randaugment]="policy: RandAugment")
[ -z "$AUGMENT" ] || [ -n "${augmentations[$AUGMENT]:-}" ] || { echo "AUGMENT: $AUGMENT is none of ${!augmentations[*]}" >&2; exit 64; }
augmentation=${AUGMENT:+${augmentations[$AUGMENT]}}
data=/usr/share/datasets/fashion-mnist # hack/packages.sh dataset-fashion-mnist
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
auto=$(auto_precision)
export PRECISION=${PRECISION:-$auto}
out=${1:-$(mktemp -d)}
mkdir -p "$out"

for seed in $seeds; do
  if [ ! -s "$out/trainer-$seed.jsonl" ]; then
    cat >"$out/job.yaml" <<YAML
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: accuracy-$seed}
spec:
  model: {widthMultiplier: $WIDTH}
  dataset: {format: FashionMNIST, uri: "file://$data", maxTrainImages: $train}
  training: {epochs: $epochs, batchSize: 128, seed: $seed, precision: $PRECISION, augmentation: {$augmentation}, evaluation: {${EVALUATION:-}}}
  export: {formats: []}
  storage: {uri: "file://$(realpath "$out")/bucket"}
YAML
    bin/trainer train -f "$out/job.yaml" >"$out/trainer-$seed.log" 2>&1 || { cat "$out/trainer-$seed.log" >&2; exit 1; }
    find "$out/bucket/default/accuracy-$seed" -name metrics.jsonl -exec cp {} "$out/trainer-$seed.jsonl" \;
  fi
  if [ ! -s "$out/pytorch-$seed.jsonl" ]; then
    /usr/bin/python3 bench/accuracy.py "$data" "$seed" "$train" "$epochs" >"$out/pytorch-$seed.part"
    mv "$out/pytorch-$seed.part" "$out/pytorch-$seed.jsonl"
  fi
done

/usr/bin/python3 - "$out" $seeds <<'EOF'
import json, statistics, sys
folder, seeds = sys.argv[1], sys.argv[2:]
print(f"{'':10}{'train loss':>20}{'test loss':>20}{'test accuracy %':>20}   each seed's accuracy")
for who in "trainer", "pytorch":
    last = [json.loads(open(f"{folder}/{who}-{s}.jsonl").readlines()[-1]) for s in seeds]
    def column(key, scale=1):
        values = [scale * m[key] for m in last]
        return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0:.4f}"
    print(f"{who:10}{column('trainLoss'):>20}{column('testLoss'):>20}{column('accuracy', 100):>20}   "
          + " ".join(f"{100 * m['accuracy']:.2f}" for m in last))
EOF

#!/usr/bin/env bash
# Checks and measures the trainer on a machine with an NVIDIA GPU and PyTorch with CUDA, without Go: gpu-check.sh FOLDER [RESULTS].
# FOLDER is what hack/gpu-build.sh made, on any machine, against the same version of PyTorch; the rest of the repository lies around this
# script. Python with PyTorch is $PYTORCH, or python3.
#
# Runs stage by stage, at most BUDGET seconds (480), goes on after a failure, and prints a table. RESULTS (a new folder) keeps the log of every
# stage and the table, which is written anew after each: what was found out is kept, whatever comes then.
#
#   DATA     folder of Fashion-MNIST's four .gz files, for the training to its accuracy
#   ONLY     stages to run, such as "numerics images/s"; all
#   CPU=yes  tries the script out where there is no GPU: the stages that can run on a CPU, and small
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

[ $# -ge 1 ] || { sed -n '2,13s/^# \?//p' "$0" >&2; exit 2; }
built=$(readlink -f "$1") results=${2:-$(mktemp -d)} python=${PYTORCH:-python3} budget=${BUDGET:-480}
mkdir -p "$results" && results=$(readlink -f "$results")
export PYTORCH=$python PYTHONUNBUFFERED=1 TQDM_DISABLE=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gpus=1 cpu=${CPU:-}
[ -z "$cpu" ] || gpus=0

torch=$("$python" -c 'import os, torch; print(os.path.dirname(torch.__file__))') || exit 1
libraries=$built/lib:$torch/lib
for folder in "$torch"/../nvidia/*/lib "$torch"/../nvidia/cu*/lib; do
  [ ! -d "$folder" ] || libraries+=:$(readlink -f "$folder")
done
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

failed=0
: >"$results/table"

# stage NAME SECONDS COMMAND...: runs it, at most so long. Lines that it prints with "= " before them are results.
stage() {
  local name=$1 most=$2 log=$results/$1.log began=$SECONDS verdict code=0
  shift 2
  case " ${ONLY:-$name} " in *" $name "*) ;; *) return ;; esac
  log=${results}/${name//\//-}.log
  if [ $((budget - SECONDS)) -lt 5 ]; then
    verdict="no time left"
  else
    [ $most -le $((budget - SECONDS)) ] || most=$((budget - SECONDS))
    export -f "$1" 2>/dev/null
    timeout -k 5 "$most" bash -c '"$@"' stage "$@" >"$log" 2>&1 || code=$?
    case $code in
      0) verdict=ok ;;
      124 | 137) verdict="stopped after $most s" ;;
      *) verdict="FAILED ($code)" ;;
    esac
  fi
  [ "$verdict" = ok ] || failed=1
  {
    printf '%-16s %-22s %4d s\n' "$name" "$verdict" $((SECONDS - began))
    [ ! -s "$log" ] || sed -n 's/^ *= /    /p' "$log"
    [ "$verdict" = ok ] || [ ! -s "$log" ] || tail -n 3 "$log" | cut -c1-200 | sed 's/^/  | /'
  } | tee -a "$results/table"
}

# job NAME YAML: a job that writes to $work/NAME. Further arguments are flags of the trainer.
job() {
  local name=$1
  cat >"$work/$name.yaml" <<YAML
apiVersion: training.resnet-operator.dev/v1
kind: ResNetTrainingJob
metadata: {name: $name}
spec:
  resources: {gpus: $gpus}
  export: {formats: []}
  storage: {uri: "file://$work/$name"}
$2
YAML
  shift 2
  "$built/trainer" train -f "$work/$name.yaml" "$@"
}
metrics() { find "$work/$1" -name metrics.jsonl -exec tail -n 1 {} \;; }
number() { sed -E "s/.*\"$1\":([-0-9.e]+).*/\\1/; s/(\\.[0-9]{4}).*/\\1/"; }
model() { find "$work/$1" -path '*/model/model.safetensors' -exec sha256sum {} \; | cut -c1-12; }
export built work gpus cpu python torch
export -f job metrics number model

versions() {
  [ -n "$cpu" ] || nvidia-smi --query-gpu=name,driver_version,memory.total,mig.mode.current --format=csv,noheader | sed 's/^/= /' || return
  "$python" -c 'import torch; print("= PyTorch", torch.__version__, "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())' || return
  ldd "$built/trainer" | grep 'not found' && return 1
  "$built/trainer" version
  local want
  want=$(cat "$built/libtorch-version")
  case $("$python" -c 'import torch; print(torch.__version__)') in
    "$want" | "$want"+*) ;;
    *) echo "built for PyTorch $want: build again with that of this machine"; return 1 ;;
  esac
}

# Tests of a package, which run where its files are.
tests() {
  local package=$1
  shift
  (cd "$package" && "$built/$(basename "$package").test" -test.v "$@") 2>&1 | tee "$work/tests"
  local code=${PIPESTATUS[0]}
  echo "= $(grep -c '^ *--- PASS' "$work/tests") passed, $(grep -c '^ *--- FAIL' "$work/tests") failed, $(grep -c '^ *--- SKIP' "$work/tests") skipped"
  return "$code"
}

# The same job twice, to the same bits; and with a loss scaler.
precisions() {
  local run precision sums
  local precisions="BF16 FP16 FP32"
  [ -z "$cpu" ] || precisions="BF16 FP32" # FP16 needs a GPU
  for precision in $precisions; do
    for run in 1 2; do
      job "same-${precision,,}-$run" "  dataset: {format: Synthetic, maxTrainImages: ${images:-4096}, maxTestImages: 512}
  model: {widthMultiplier: ${width:-1}}
  training: {epochs: 2, batchSize: 128, precision: $precision, deterministic: true}" || return
    done
    sums="$(model "same-${precision,,}-1") $(model "same-${precision,,}-2")"
    echo "= $precision, deterministic: twice $sums, loss $(metrics "same-${precision,,}-1" | number trainLoss)"
    [ "${sums% *}" = "${sums#* }" ] || return 1
  done
}

# Without the graph a step must compute the same.
graph() {
  local way
  for way in on off; do
    RESNET_CUDA_GRAPH=$way job "graph-$way" "  dataset: {format: Synthetic, maxTrainImages: ${images:-4096}, maxTestImages: 512}
  model: {widthMultiplier: ${width:-1}}
  training: {epochs: 2, batchSize: 128, precision: FP32, deterministic: true}" || return
  done
  echo "= by the graph $(model graph-on), one by one $(model graph-off)"
  [ "$(model graph-on)" = "$(model graph-off)" ]
}

fashion() {
  [ -e "${DATA:-/usr/share/datasets/fashion-mnist}/train-images-idx3-ubyte.gz" ] || { echo "= skipped: no DATA"; return; }
  job fashion "  dataset: {format: FashionMNIST, uri: \"file://${DATA:-/usr/share/datasets/fashion-mnist}\", maxTrainImages: ${images:-60000}}
  model: {widthMultiplier: ${width:-1}}
  training: {epochs: ${epochs:-10}, batchSize: 128}" || return
  echo "= Fashion-MNIST, ${epochs:-10} epochs: accuracy $(metrics fashion | number accuracy), $(metrics fashion | number imagesPerSecond) images/s in the last"
  metrics fashion | number accuracy | awk -v least="${least:-0.93}" '{ exit !($1 >= least) }'
}

# End to end: what a user's job reaches.
throughput() {
  local batch
  for batch in ${batches:-128 512}; do
    job "speed-$batch" "  dataset: {format: Synthetic, maxTrainImages: ${images:-50000}, maxTestImages: 512}
  model: {widthMultiplier: ${width:-1}}
  training: {epochs: ${epochs:-4}, batchSize: $batch}" || return
    echo "= batch $batch: $(metrics "speed-$batch" | number imagesPerSecond) images/s, end to end"
  done
}

# The article's recipe: 20 epochs of 50,000 images.
article() {
  local began=$SECONDS
  job article "  dataset: {format: Synthetic, maxTrainImages: ${images:-50000}, maxTestImages: ${images:-10000}}
  model: {widthMultiplier: ${width:-1}}
  training: {epochs: ${epochs:-20}, batchSize: 128}" || return
  echo "= ${epochs:-20} epochs of ${images:-50000} images, with tests and checkpoints: $((SECONDS - began)) s"
}

no_gpu() {
  gpus=1 job no-gpu "  dataset: {format: Synthetic, maxTrainImages: 256, maxTestImages: 128}" && return 1
  echo "= asked for one: it says that it finds none"
}

bench() { "$python" bench/gpu/gpu.py "$built/libresnet.so" "$@"; }
export -f versions tests precisions graph fashion throughput article no_gpu bench

if [ -n "$cpu" ]; then
  export images=256 width=0.125 epochs=1 batches=64 least=0.05
  stage versions 30 versions
  stage kernels 120 tests trainer/libtorch -test.run Kernels
  stage numerics 200 tests trainer/libtorch -test.run 'TestGradScaler|TestOptimizers' -test.short
  stage no-gpu 60 no_gpu
  stage precisions 120 precisions
  stage fashion 120 fashion
  stage images/s 120 throughput
else
  stage versions 30 versions
  stage kernels 60 tests trainer/libtorch -test.run Kernels
  stage numerics 90 tests trainer/libtorch -test.run 'Layers|Optimizers|GradScaler'
  stage steps 30 tests trainer/step -test.run GPU
  stage losses 60 bench check
  stage images/s 45 throughput
  PAIRS=3 NAME=eager stage eager-128 30 bench measure
  BATCH=512 PAIRS=3 NAME=eager stage eager-512 30 bench measure
  stage profile 30 bench profile
  stage fashion 60 fashion
  stage resume 60 tests trainer -test.run 'GPUResume|GPUTrainsAsCPU|FindLROnGPU'
  stage precisions 60 precisions
  stage processes 60 tests trainer -test.run GPUProcesses
  stage graph 30 graph
  PRECISION=float16 stage losses-fp16 40 bench check
  stage article 60 article
  PAIRS=3 NAME=compile stage compile-128 150 bench measure
  BATCH=512 PAIRS=3 NAME=compile stage compile-512 150 bench measure
fi

echo "results: $results"
exit $failed

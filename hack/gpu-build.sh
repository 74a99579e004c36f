#!/usr/bin/env bash
# Builds the trainer for NVIDIA GPUs, its tests and what measures it, into a folder: gpu-build.sh LIBTORCH FOLDER. LIBTORCH is as
# hack/libtorch.sh takes it; the machine with the GPU must have the same version of PyTorch. No GPU is needed here, and no Go there. Then
# checks what can be checked without one.
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
libtorch=$1 out=$(mkdir -p "$2" && cd "$2" && pwd)
build() { hack/libtorch.sh "$libtorch" go "$@"; }
# PyTorch's images have no tcmalloc; on a GPU it is not the host that decides.
tags=cuda,notcmalloc

commit=$(git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null || true)
build build -tags $tags -ldflags "-s -w -X github.com/resnet-operator/resnet-operator/trainer/version.commit=$commit" -o "$out/trainer" ./cmd/trainer
build build -tags $tags -ldflags "-s -w" -buildmode=c-shared -o "$out/libresnet.so" ./bench/gpu
rm -f "$out/libresnet.h"
for package in trainer trainer/step trainer/libtorch; do
  build test -tags $tags -ldflags "-s -w" -c -o "$out/$(basename "$package").test" "./$package"
done
mkdir -p "$out/lib"
cp -L "$(ldd "$out/trainer" | awk '/libjpeg/ { print $3 }')" "$out/lib"
"$out/trainer" version | awk '$1 == "libtorch:" { print $2 }' >"$out/libtorch-version"

# Libraries that are missing, or libtorch twice: Debian's beside this one.
for program in trainer libresnet.so; do
  libraries=$(ldd "$out/$program")
  if echo "$libraries" | grep -E 'not found|libtorch[^ ]* => /usr/lib|libgomp.* => /usr/lib|libgomp.* => /lib'; then
    echo "gpu-build.sh: $program would not run, or not with the libtorch that it was built for" >&2
    exit 1
  fi
done
(cd trainer/libtorch && "$out/libtorch.test" -test.run Kernels)

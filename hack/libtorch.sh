#!/usr/bin/env bash
# Runs a command, such as go build, with a libtorch that is not Debian's: libtorch.sh FOLDER COMMAND... FOLDER is what PyTorch is
# installed in: its folder torch, with include and lib, as PyPI's wheels and PyTorch's images have it, or the folder of Python with
# packages (a virtual environment) around it.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
torch=$(readlink -f "$1"); shift
[ -e "$torch/lib/libtorch.so" ] || torch=$(echo "$torch"/lib/python3*/site-packages/torch)
[ -e "$torch/lib/libtorch.so" ] || { echo "libtorch.sh: no libtorch in that folder: it must have lib/libtorch.so" >&2; exit 2; }

export CGO_CXXFLAGS="-I$torch/include -I$torch/include/torch/csrc/api/include"
export CGO_LDFLAGS="-L$torch/lib -Wl,-rpath,$torch/lib"
# CUDA's headers, and its runtime, which PyPI has without the name that -lcudart looks for: PyPI's beside torch, else a toolkit's.
toolkit=${CUDA_HOME:-/usr/local/cuda}
for folder in "$torch"/../nvidia/cu*/include "$torch"/../nvidia/*/include "$toolkit"/include{,/cccl}; do
  [ ! -d "$folder" ] || CGO_CXXFLAGS+=" -I$(readlink -f "$folder")"
done
for runtime in "$torch"/../nvidia/*/lib/libcudart.so.* "$toolkit"/lib64/libcudart.so.??; do
  [ -e "$runtime" ] || continue
  folder=$(readlink -f "$(dirname "$runtime")")
  CGO_LDFLAGS+=" -L$folder -Wl,-rpath,$folder -l:$(basename "$runtime")"
  break
done
exec "$@"

#!/usr/bin/env bash
# A step of quantisation-aware training next to one in float, in turn: medians of the ratios of time and of processor time,
# with ranges that are observed, and with ranges and statistics frozen. Let nothing else run meanwhile; where something
# does, take the processor time, with one thread.
#
#   STEPS=15 BATCH=128 WIDTH=1 PRECISION=FP32 OMP_NUM_THREADS=2 bench/qat.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)} GOMP_SPINCOUNT=10000
go test ./trainer -run '^$' -bench '^BenchmarkQuantizedStep$' -benchtime "${STEPS:-15}x" | grep Benchmark

#!/usr/bin/env bash
# Builds Kueue to the given file. Without its own management of certificates, which needs Services that an API server
# alone does not have, Kueue reads a certificate for its metrics from a folder in /etc; tests must not write there, so
# the path is taken from the environment instead. Nothing else differs from the released source.
set -euo pipefail
out=$(realpath -m "$1")
cd "$(dirname "$0")"
main=$(go list -f '{{.Dir}}' sigs.k8s.io/kueue/cmd/kueue)/main.go
trap 'rm -rf .build' EXIT
mkdir -p .build
sed 's#"/etc/kueue/metrics/certs"#os.Getenv("KUEUE_METRICS_CERTS")#' "$main" >.build/main.go
! cmp -s "$main" .build/main.go || { echo "Kueue no longer names /etc/kueue/metrics/certs: see $0" >&2; exit 1; }
CGO_ENABLED=0 go build -ldflags "-s -w" -o "$out" ./.build

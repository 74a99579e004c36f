#!/usr/bin/env bash
# Brings the cluster that CLUSTER names up or down, or loads the project's images into it.
#
#   hack/cluster.sh up|down|images
set -euo pipefail
cd "$(dirname "$0")/.."

local_cluster() {
  case $1 in
    up)     cluster up --dir .cluster ;;
    down)   cluster down --dir .cluster ;;
    images) cluster images --dir .cluster ;; # loads what it built; up has loaded the rest
  esac
}

kind_cluster() {
  case $1 in
    up)
      kind get clusters | grep -qx resnet || kind create cluster --name resnet
      cluster build --dir .cluster
      kind load image-archive --name resnet .cluster/images/minio.tar
      kubectl apply -f test/cluster/minio.yaml
      kubectl -n minio rollout status deployment/minio --timeout=120s
      ;;
    down) kind delete cluster --name resnet ;;
    images)
      docker build --target manager -t resnet-operator/manager:dev .
      docker build --target trainer --build-arg COMMIT="$(git rev-parse HEAD)" -t resnet-operator/trainer:dev .
      kind load docker-image --name resnet resnet-operator/manager:dev resnet-operator/trainer:dev
      ;;
  esac
}

case ${CLUSTER:-local} in
  local) local_cluster "$1" ;;
  kind)  kind_cluster "$1" ;;
  other) echo "CLUSTER=other: the cluster of KUBECONFIG is used as it is" ;;
  *)     echo "CLUSTER=$CLUSTER: want local, kind or other" >&2; exit 1 ;;
esac

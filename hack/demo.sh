#!/usr/bin/env bash
# Starts the cluster that CLUSTER names, with MinIO in it, deploys the operator, trains a ResNet18 on Fashion-MNIST and
# shows what a user sees. `make demo` runs it, as often as you like.
set -euo pipefail
cd "$(dirname "$0")/.."

job=fashion-mnist-quick
data=/usr/share/datasets/fashion-mnist
step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() { printf '\ndemo: %s\n' "$*" >&2; exit 1; }
field() { kubectl get resnetjob $job -o jsonpath="{$1}"; }

# Each stage says how long it took last time.
times=${CLUSTER_DIR:-.cluster}/demo number=0
mkdir -p $times
stage() { # NAME COMMAND [ARGUMENT]...
  local began=$SECONDS last=$times/$1
  number=$((number + 1))
  step "$number of 5: $1$([ ! -e "$last" ] || echo ", $(cat "$last") s last time")"
  "${@:2}"
  echo $((SECONDS - began)) >"$last"
}
stage "Kubernetes and MinIO" make --no-print-directory cluster-up
stage "manager and trainer" make --no-print-directory images
stage "the operator" make --no-print-directory deploy
stage "the data set" hack/packages.sh dataset-fashion-mnist
train() {
  step "the data set goes into a bucket"
  node=$(kubectl get nodes -o jsonpath='{.items[0].status.addresses[?(@.type=="InternalIP")].address}')
  export S3_ENDPOINT_URL=http://$node:30900 AWS_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=$(kubectl -n minio get secret minio -o jsonpath='{.data.MINIO_ROOT_USER}' | base64 -d)
  export AWS_SECRET_ACCESS_KEY=$(kubectl -n minio get secret minio -o jsonpath='{.data.MINIO_ROOT_PASSWORD}' | base64 -d)
  for bucket in datasets models; do
    s5cmd ls "s3://$bucket" >/dev/null 2>&1 || s5cmd mb "s3://$bucket" >/dev/null 2>&1 || s5cmd ls "s3://$bucket" >/dev/null
  done
  s5cmd cp --if-size-differ "$data/*.gz" s3://datasets/fashion-mnist/
  s5cmd ls s3://datasets/fashion-mnist/

  step "a job: kubectl apply -f config/samples/$job.yaml"
  kubectl create secret generic s3-credentials --dry-run=client -o yaml \
    --from-literal=AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" --from-literal=AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY" \
    | kubectl apply -f - >/dev/null
  kubectl delete resnetjob $job --ignore-not-found >/dev/null
  cat config/samples/$job.yaml
  kubectl apply -f config/samples/$job.yaml

  step "kubectl get resnetjobs -w"
  kubectl get resnetjobs $job -w & watch=$!
  trap 'kill $watch 2>/dev/null || true' EXIT
  for _ in $(seq 600); do
    state=$(field .status.state)
    case $state in Succeeded | Failed) break ;; esac
    sleep 1
  done
  sleep 1; kill $watch 2>/dev/null || true; wait $watch 2>/dev/null || true
  if [ "$state" != Succeeded ]; then
    kubectl describe resnetjob $job | sed -n '/^Status:/,$p' >&2
    fail "the job is $state: $(field '.status.conditions[?(@.type=="Failed")].message}{.status.conditions[?(@.type=="Progressing")].message')"
  fi

  step "the result"
  kubectl get resnetjob $job -o wide
  kubectl describe resnetjob $job | sed -n '/^Events:/,$p'
  uri=$(field .status.artifacts.uri)
  step "the bucket: s5cmd ls $uri"
  s5cmd ls "${uri%/}/*"
}
stage "training" train

accuracy=$(field .status.progress.accuracy)
awk -v a="$accuracy" 'BEGIN { exit !(a > 0.8) }' || fail "test accuracy is $accuracy, expected more than 0.8"

step "next"
cat <<EOF
  export ${KUBECONFIG:+KUBECONFIG=$KUBECONFIG }PATH=$PWD/.cluster/bin:\$PATH
  kubectl describe resnetjob $job
  kubectl logs job/$job-1
  kubectl apply -f config/samples/fashion-mnist.yaml      # all 60,000 images, 20 epochs
  export S3_ENDPOINT_URL=$S3_ENDPOINT_URL AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY
  s5cmd cat $(field .status.artifacts.metrics)
  make cluster-down$([ "${CLUSTER:-local}" = local ] || echo " CLUSTER=$CLUSTER")
EOF

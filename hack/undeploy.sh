#!/usr/bin/env bash
# Removes what `make deploy` installed from the cluster of KUBECONFIG.
#
#   hack/undeploy.sh manager   the manager, its rights and its namespace; the CRD and the jobs stay
#   hack/undeploy.sh crd       the CRD, and with it every job
#
# Where jobs would be lost it refuses, unless DELETE_JOBS=yes.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."

crd=resnettrainingjobs.training.resnet-operator.dev
namespace=resnet-operator

# The jobs of all namespaces (-A) or of one (-n NAME), one NAMESPACE/NAME a line.
jobs() {
  local found
  found=$(kubectl get customresourcedefinition "$crd" --ignore-not-found -o name)
  [ -n "$found" ] || return 0
  kubectl get "$crd" "$@" -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}{"\n"}{end}'
}

# Ends the program if there are jobs; $1 says what is about to go.
refuse_to_lose() {
  local list=$2
  [ -n "$list" ] && [ "${DELETE_JOBS:-}" != yes ] || return 0
  {
    echo "$1 would be deleted, and with it $(wc -l <<<"$list") ResNetTrainingJobs and their pods:"
    head -n 10 <<<"$list" | sed 's/^/  /'
    [ "$(wc -l <<<"$list")" -le 10 ] || echo "  …"
    echo "Their results in the storage stay. To delete them, say DELETE_JOBS=yes."
  } >&2
  exit 1
}

case ${1:-} in
  manager)
    list=$(jobs -n "$namespace")
    refuse_to_lose "The namespace $namespace" "$list"
    kubectl delete --ignore-not-found -n "$namespace" -k config/rbac
    kubectl delete --ignore-not-found -n "$namespace" -k config/manager
    echo "The CRD and the jobs stay: pods that train go on, and nothing else moves until a manager is back."
    ;;
  crd)
    list=$(jobs -A)
    refuse_to_lose "The CRD" "$list"
    kubectl delete --ignore-not-found customresourcedefinition "$crd"
    ;;
  *)
    echo "undeploy.sh: got '${1:-}', want manager or crd" >&2
    exit 2
    ;;
esac

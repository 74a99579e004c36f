#!/usr/bin/env bash
# Makes a release: hack/release.sh VERSION, such as v0.1.0. Variables:
#
#   IMAGES  registry and folder of the images that it names, such as ghcr.io/you; resnet-operator if not given
#   ARCHS   architectures of the images: "amd64 arm64", or one of them; this machine's if not given. Another one than that needs
#           QEMU (hack/packages.sh qemu-user-static)
#   PARTS   of "manifests plugin sboms images"; all if not given. The images need root, see test/cluster
#   OUT     the folder, which is emptied; bin/release if not given
#   HELM    the program; built if not given
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-}
images=${IMAGES:-resnet-operator}
out=${OUT:-bin/release}
number='(0|[1-9][0-9]*)'
fail() { echo "release: $*" >&2; exit 2; }
[[ $version =~ ^v$number\.$number\.$number(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$ ]] \
  || fail "VERSION='$version': want v and a semantic version, as in: make release VERSION=v0.1.0"
[[ $images =~ ^[a-z0-9][a-z0-9.:/_-]*[a-z0-9]$ ]] \
  || fail "IMAGES='$images': want a registry and a folder, in lower case and without a slash at the end: ghcr.io/you"
for part in ${PARTS:=manifests plugin sboms images}; do
  [[ " manifests plugin sboms images " == *" $part "* ]] || fail "PARTS: got '$part', want manifests, plugin, sboms or images"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
built() { make --no-print-directory "$PWD/$1" >&2 && echo "$1"; }

# install.yaml and the chart.
manifests() {
  kubectl kustomize config/default \
    | sed "s#resnet-operator/\(manager\|trainer\):dev#$images/\1:$version#" >"$out/install.yaml"
  local chart=$work/resnet-operator helm=${HELM:-}
  [ -n "$helm" ] || helm=$(built bin/helm)
  cp -rL charts/resnet-operator "$chart" # the link to config/ becomes files
  sed -i "s#repository: resnet-operator/#repository: $images/#" "$chart/values.yaml"
  "$helm" lint --strict --quiet "$chart"
  "$helm" package "$chart" --version "${version#v}" --app-version "$version" --destination "$out" >/dev/null
}

# kubectl resnet for the machines that people sit at: an archive with the program and its completion. PLATFORMS are
# those, such as linux/amd64; six if not given.
plugin() {
  local platform name flags="-s -w -X github.com/resnet-operator/resnet-operator/trainer/version.commit=$version"
  for platform in ${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64}; do
    name=kubectl-resnet-$version-${platform/\//-}
    mkdir "$work/$name"
    GOOS=${platform%/*} GOARCH=${platform#*/} CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" \
      go build -ldflags "$flags" -o "$work/$name/" ./cmd/kubectl-resnet
    cp LICENSE cmd/kubectl-resnet/kubectl_complete-resnet "$work/$name/"
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$work/$name" -cf - . \
      | gzip -9n >"$out/$name.tar.gz"
  done
  hack/krew.sh "$version" "$out" >"$out/resnet.yaml"
}

# The Go modules that each program was linked from. What Debian adds to the trainer's image is in that image's own list.
sboms() {
  local cyclonedx program
  cyclonedx=$(built bin/cyclonedx-gomod)
  make --no-print-directory build
  for program in manager trainer kubectl-resnet; do
    "$cyclonedx" bin -json -std -version "$version" -output "$out/$program-$version.cdx.json" "bin/$program" 2>"$work/log" \
      || { cat "$work/log" >&2; return 1; }
  done
}

# OCI archives.
images() {
  local cluster arch
  cluster=$(built .cluster/bin/cluster)
  for arch in ${ARCHS:-$(go env GOARCH)}; do
    "$cluster" archives --dir .cluster --arch "$arch" --images "$images" --version "$version" "$out"
  done
}

rm -rf "$out" && mkdir -p "$out"
for part in $PARTS; do
  "$part"
done
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
ls "$out"

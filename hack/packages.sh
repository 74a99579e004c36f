#!/usr/bin/env bash
# Installs Debian packages that are missing: those named, or without a name all that building and testing need.
set -euo pipefail

build="g++ git make pkg-config ca-certificates libtorch-dev libgloo-dev libopenblas0-openmp libtcmalloc-minimal4 libjpeg62-turbo-dev"
check="python3-torch python3-torchvision python3-venv"
command -v npm >/dev/null || check+=" nodejs npm" # Node.js may be there from elsewhere
cluster="buildah containerd containernetworking-plugins debootstrap iproute2 nftables runc"

[ $# -gt 0 ] || set -- $build $check $cluster
missing=()
for package in "$@"; do
  [ "$(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

[ "$(id -u)" = 0 ] || { echo "packages: run as root, or install: ${missing[*]}" >&2; exit 1; }
echo "packages: installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log" "${policy:-}"' EXIT
# Debian starts what it installs; we want the programs, not a second containerd.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  policy=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
fi
export DEBIAN_FRONTEND=noninteractive
# A third-party source that is away must not stop us: what counts is whether the packages can be installed.
apt-get -o DPkg::Lock::Timeout=600 update >"$log" 2>&1 || true
if ! apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "packages: apt-get could not install ${missing[*]}" >&2
  exit 1
fi

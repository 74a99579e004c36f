#!/usr/bin/env bash
# Installs packages of Debian 12 or 13 that are missing: those named, of groups (build, check, cluster) all, or without a name
# all that building and testing need. It says at once what a machine does not have.
set -euo pipefail

build="g++ git make pkg-config ca-certificates libtorch-dev libgloo-dev libopenblas0-openmp libtcmalloc-minimal4 libjpeg62-turbo-dev"
check="python3-torch python3-torchvision python3-venv"
command -v npm >/dev/null || check+=" nodejs npm" # Node.js may be there from elsewhere
cluster="buildah containerd containernetworking-plugins debootstrap iproute2 nftables patchelf runc tini"
grep -qs VERSION_CODENAME=bookworm /etc/os-release || cluster+=" netavark" # buildah asks for it from Debian 13 on
else="or docker, kind and CLUSTER=kind"

[ $# -gt 0 ] || set -- build check cluster
if [[ " $* " == *" build "* ]] && ! command -v go >/dev/null; then
  echo "packages: Go is missing: install $(sed -n 's/^go /Go /p' "$(dirname "$0")/../go.mod") or newer from https://go.dev/dl, $else" >&2
  exit 1
fi
wanted=$(for name in "$@"; do case $name in build | check | cluster) echo -n "${!name} " ;; *) echo -n "$name " ;; esac; done)
command -v dpkg-query >/dev/null || { echo "packages: this needs Debian 12 or 13, $else; missing: $wanted" >&2; exit 1; }
# A package can be there under another name, as libtcmalloc-minimal4 in Debian 13 is.
installed=$(dpkg-query -Wf '${db:Status-Status} ${Package}, ${Provides}\n' 2>/dev/null | sed -n 's/^installed //p' | tr ',' '\n' | awk '{ print $1 }')
missing=()
for package in $wanted; do
  grep -qx "$package" <<<"$installed" || missing+=("$package")
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
  unknown=$(sed -n "s/^E: Unable to locate package //p; s/^E: Package '\(.*\)' has no installation candidate$/\1/p" "$log" | sort -u)
  if [ -n "$unknown" ]; then
    echo "packages: the sources of this machine's apt-get have no ${unknown//$'\n'/, }: it needs Debian 12 or 13, $else" >&2
    exit 1
  fi
  tail -n 20 "$log" >&2
  echo "packages: apt-get could not install ${missing[*]}" >&2
  exit 1
fi

#!/usr/bin/env bash
# Node.js on processors that are not here, by emulation: makes FOLDER with programs named after the processors, each of which
# is run as node would be.
#
#   hack/processors.sh FOLDER
#
# cortex-a72 and cortex-a76 are those of the Raspberry Pi 4 and 5, haswell is an x86-64 with AVX2 and without VNNI. It needs
# root and a Debian 12 with Node.js; for arm64 it downloads Debian's, into FOLDER alone.
set -euo pipefail
[ $# = 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
"$(dirname "$0")/packages.sh" qemu-user-static
rm -rf "$1"
mkdir -p "$1"
cd "$1"

# A package manager for another architecture, which has nothing installed.
mkdir -p apt/lists/partial apt/archives/partial
touch apt/status
apt() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$PWD/apt/lists" -o Dir::State::status="$PWD/apt/status" \
    -o Dir::Cache::archives="$PWD/apt/archives" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root \
    -o APT::Install-Recommends=false "$@"
}
apt update || true # a third-party source may be away, or not for arm64
apt install -y --download-only nodejs
for package in apt/archives/*.deb; do dpkg-deb -x "$package" arm64; done
rm -rf apt

# ONNX Runtime reads /proc/cpuinfo, which QEMU does not emulate: what a Raspberry Pi has there, as its Linux prints it.
pi() { # NAME VARIANT PART REVISION FEATURES
  cp -a --reflink=auto arm64 "$1.root"
  mkdir "$1.root/proc"
  for core in 0 1 2 3; do
    printf 'processor\t: %d\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\n' "$core" "$5"
    printf 'CPU variant\t: %s\nCPU part\t: %s\nCPU revision\t: %s\n\n' "$2" "$3" "$4"
  done >"$1.root/proc/cpuinfo"
  printf '#!/bin/sh\nexec qemu-aarch64-static -cpu %s -L "%s" "%s" "$@"\n' "$1" "$PWD/$1.root" "$PWD/$1.root/usr/bin/node" >"$1"
  chmod +x "$1"
}
pi cortex-a72 0x0 0xd08 3 "fp asimd evtstrm crc32 cpuid"
pi cortex-a76 0x4 0xd0b 1 "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
rm -rf arm64

printf '#!/bin/sh\nexec qemu-x86_64-static -cpu Haswell-noTSX,-pcid,-x2apic,-tsc-deadline,-invpcid "%s" "$@"\n' "$(command -v node)" >haswell
chmod +x haswell
for processor in cortex-a72 cortex-a76 haswell; do
  echo "$processor: Node.js $("./$processor" -p process.version) for $("./$processor" -p process.arch)"
done

#!/bin/sh
# What the trainer is compiled with and linked to, in an image of Debian 12 or 13: toolchain.sh ARCH installs it, for an architecture in
# Docker's words (amd64, arm64). Where that is not the machine's own it installs a cross-compiler, and the libraries for the other one.
# toolchain.sh ARCH COMMAND... then runs a command, such as go build, that compiles for it.
set -eu
arch=$1
shift
case $arch in
amd64) cpu=x86_64 ;;
arm64) cpu=aarch64 ;;
*) echo "toolchain.sh: got '$arch', want amd64 or arm64" >&2 && exit 2 ;;
esac
own=$(dpkg --print-architecture)
if [ $# -gt 0 ]; then
    export GOARCH="$arch" CGO_ENABLED=1
    # Not for the machine's own: another name of the same compiler would let Go compile everything anew.
    [ "$arch" = "$own" ] || export CC=$cpu-linux-gnu-gcc CXX=$cpu-linux-gnu-g++
    exec "$@"
fi

libraries="libopenblas0-openmp libtcmalloc-minimal4 libjpeg62-turbo-dev tini"
apt-get update
if [ "$arch" = "$own" ]; then
    apt-get install -y --no-install-recommends g++ patchelf libtorch-dev libgloo-dev $libraries
else
    dpkg --add-architecture "$arch"
    apt-get update
    # libtorch-dev would want the other architecture's Python: of it, and of libgloo-dev, only the files are needed, and what else it
    # depends on.
    apt-get download "libtorch-dev:$arch" "libgloo-dev:$arch"
    needed=$(dpkg-deb -f libtorch-dev_*.deb Depends | tr ',' '\n' | awk '$1 !~ /python/ { print $1 }')
    apt-get install -y --no-install-recommends "g++-$(echo $cpu | tr _ -)-linux-gnu" patchelf \
        $(printf "%s:$arch " $needed libgloo0 $libraries)
    for package in libtorch-dev_*.deb libgloo-dev_*.deb; do
        dpkg-deb -x "$package" /
        rm "$package"
    done
fi
rm -rf /var/lib/apt/lists/*

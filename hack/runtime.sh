#!/bin/sh
# What the trainer's image has besides the trainer, gathered in a folder as it lies in the image: libtorch with the libraries that
# it uses, and for each of their packages the record by which scanners know it and its copyright. On Debian, with patchelf:
# runtime.sh FOLDER [ARCH], for an architecture in Docker's words whose programs this machine can start; its own if none is given.
set -eu
out=$1
case ${2:-$(dpkg --print-architecture)} in
amd64) lib=/usr/lib/x86_64-linux-gnu loader=/lib64/ld-linux-x86-64.so.2 ;;
arm64) lib=/usr/lib/aarch64-linux-gnu loader=/lib/ld-linux-aarch64.so.1 ;;
*) echo "runtime.sh: got '$2', want amd64 or arm64" >&2 && exit 2 ;;
esac
# What a library is loaded with, as ldd of its architecture says.
trace() { env LD_TRACE_LOADED_OBJECTS=1 "$@"; }
trace "$loader" "$lib/libtorch.so" >/dev/null || { echo "runtime.sh: this machine cannot start programs of $2: it needs QEMU" >&2 && exit 1; }
mkdir -p "$out/usr/local/lib" "$out/usr/local/bin" "$out/var/lib/dpkg/status.d"

# Debian links libtorch with all of OpenCV and ffmpeg, some of whose symbols it would use for Caffe2's operators, and does not:
# the loader says which libraries those are. Without them it needs 36 libraries of 287, and starts sooner.
torch=$out/usr/local/lib/$(patchelf --print-soname "$lib/libtorch_cpu.so")
cp -L "$lib/libtorch_cpu.so" "$torch"
trace LD_BIND_NOW=yes LD_DEBUG=unused "$loader" "$torch" | awk '/^\t/ { print $1 }' | while read -r unused; do
    patchelf --remove-needed "$(basename "$unused")" "$torch"
done
if trace LD_LIBRARY_PATH="$out/usr/local/lib" LD_BIND_NOW=yes LD_WARN=yes "$loader" "$torch" 2>&1 | grep -E 'undefined symbol|not found'; then
    echo "$torch lacks what it uses" >&2
    exit 1
fi

# The C and C++ libraries are those of the image. Links are followed: libblas.so.3 is the fastest BLAS that is installed.
for library in "$lib/libtorch.so" "$lib/libtcmalloc_minimal.so.4"; do
    trace LD_LIBRARY_PATH="$out/usr/local/lib" "$loader" "$library"
done |
    awk '$3 ~ "^/" { print $3 }' | sort -u | grep -v "^$out/" |
    grep -vE '/lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+)\.so' >"$out.libraries"
cp -Lt "$out/usr/local/lib" $(cat "$out.libraries") "$lib/libtorch.so" "$lib/libtcmalloc_minimal.so.4" "$lib/libjpeg.so.62"
cp /usr/bin/tini-static "$out/usr/local/bin/tini"

printf '%s\n' "$lib/libtorch_cpu.so" "$lib/libtcmalloc_minimal.so.4" "$lib/libjpeg.so.62" /usr/bin/tini-static \
    /usr/sbin/update-ca-certificates >>"$out.libraries"
while read -r file; do
    file=$(readlink -f "$file")
    # dpkg knows some files by their names from before /lib became /usr/lib.
    package=$(dpkg-query -S "$file" 2>/dev/null || dpkg-query -S "${file#/usr}" 2>/dev/null || dpkg-query -S "${file##*/}") ||
        { echo "$file: is of no package" >&2; exit 1; }
    package=${package%%: *}
    record=$(dpkg-query -s "$package")
    package=${package%%:*}
    printf '%s\n' "$record" >"$out/var/lib/dpkg/status.d/$package"
    mkdir -p "$out/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$out/usr/share/doc/$package/"
done <"$out.libraries"
rm "$out.libraries"

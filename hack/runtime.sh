#!/bin/sh
# What the trainer's image has besides the trainer, gathered in a folder as it lies in the image: libtorch with the libraries that
# it uses, and for each of their packages the record by which scanners know it and its copyright. On Debian, with patchelf.
set -eu
out=$1
lib=/usr/lib/$(gcc -print-multiarch)
mkdir -p "$out/usr/local/lib" "$out/usr/local/bin" "$out/var/lib/dpkg/status.d"

# Debian links libtorch with all of OpenCV and ffmpeg, some of whose symbols it would use for Caffe2's operators, and does not:
# ldd -u says which libraries those are. Without them it needs 36 libraries of 287, and starts sooner.
torch=$out/usr/local/lib/$(objdump -p "$lib/libtorch_cpu.so" | awk '/SONAME/ { print $2 }')
cp -L "$lib/libtorch_cpu.so" "$torch"
ldd -u "$torch" | awk '/^\t/ { print $1 }' | while read -r unused; do
    patchelf --remove-needed "$(basename "$unused")" "$torch"
done
if LD_LIBRARY_PATH=$out/usr/local/lib ldd -r "$torch" | grep -E 'undefined symbol|not found'; then
    echo "$torch lacks what it uses" >&2
    exit 1
fi

# The C and C++ libraries are those of the image. Links are followed: libblas.so.3 is the fastest BLAS that is installed.
LD_LIBRARY_PATH=$out/usr/local/lib ldd "$lib/libtorch.so" "$lib/libtcmalloc_minimal.so.4" |
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
    package=${package%%:*}
    dpkg-query -s "$package" >"$out/var/lib/dpkg/status.d/$package"
    mkdir -p "$out/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$out/usr/share/doc/$package/"
done <"$out.libraries"
rm "$out.libraries"

#!/bin/sh
# The licences and notices of the Go modules that a program is made of, and of Go itself: hack/licenses.sh ./cmd/manager FOLDER
set -eu
program=$1 out=$2
mkdir -p "$out/go" && cp "$(go env GOROOT)/LICENSE" "$out/go/"
go list -deps -f '{{ with .Module }}{{ if not .Main }}{{ .Path }} {{ .Dir }}{{ end }}{{ end }}' "$program" | sort -u | while read -r module dir; do
    mkdir -p "$out/$module"
    find "$dir" -maxdepth 1 -type f \( -iname '*LICEN[CS]E*' -o -iname 'COPYING*' -o -iname 'NOTICE*' \) -exec cp -t "$out/$module" {} +
    if [ -z "$(ls "$out/$module")" ]; then
        echo "$module: has no licence in $dir: look for it, and for whether it may be passed on" >&2
        exit 1
    fi
done

#!/usr/bin/env bash
# Writes the manifest with which Krew installs the plugin of a release: hack/krew.sh VERSION FOLDER, where FOLDER has the plugin's
# archives. DOWNLOADS is the address that they will have; that of the repository's releases if not given.
set -euo pipefail
version=$1 folder=$2
downloads=${DOWNLOADS:-https://github.com/resnet-operator/resnet-operator/releases/download/$version}

cat <<EOF
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: resnet
spec:
  version: $version
  homepage: https://github.com/resnet-operator/resnet-operator
  shortDescription: Follow and steer trainings of ResNets
  description: |
    Makes a ResNetTrainingJob of a folder of photographs, follows it with its curves in the terminal, and brings its log, report
    and model home from the bucket or the volume. It needs resnet-operator in the cluster.
  platforms:
EOF
for archive in "$folder"/kubectl-resnet-"$version"-*.tar.gz; do
  [ -e "$archive" ] || { echo "krew: no kubectl-resnet-$version-*.tar.gz in $folder" >&2; exit 1; }
  name=$(basename "$archive" .tar.gz)
  platform=${name#kubectl-resnet-"$version"-}
  os=${platform%-*} arch=${platform##*-} suffix=
  [ "$os" != windows ] || suffix=.exe
  cat <<EOF
  - selector: {matchLabels: {os: $os, arch: $arch}}
    uri: $downloads/$name.tar.gz
    sha256: $(sha256sum "$archive" | cut -d' ' -f1)
    bin: kubectl-resnet$suffix
    files:
      - {from: kubectl-resnet$suffix, to: .}
      - {from: LICENSE, to: .}
EOF
done

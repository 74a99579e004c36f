#!/usr/bin/env bash
# Makes a virtual environment of Python with the packages of a list and no others: venv.sh DIRECTORY LIST. A copy of the
# list in it says that it is complete.
set -euo pipefail

directory=$1 list=$2
rm -rf "$directory"
python3 -m venv "$directory"
"$directory/bin/pip" install --quiet --disable-pip-version-check --no-compile --no-deps --requirement "$list"
"$directory/bin/pip" check
cp "$list" "$directory/requirements.txt"

#!/bin/sh
# Builds two copies of this folder, as on two machines: each has a local store of its own, and both
# use one shared cache. Takes the URL of a shared cache; without one, a folder in /tmp.
set -eu
cd -- "$(dirname -- "$0")"
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/shared"
url=${1:-file://$place/shared}
for machine in first second; do
    mkdir "$place/$machine"
    cp -- BUILD.ml mlbuild.toml ./*.py "$place/$machine"
    echo "the $machine machine:"
    MLBUILD_CACHE_DIR="$place/$machine-store" mlbuild -C "$place/$machine" \
        --cache-url "$url" --cache-write always --upload wait --json //:quality //:model
done
cmp "$place/first/mlbuild-out/model/model.json" "$place/second/mlbuild-out/model/model.json"
echo "both have the same model"

#!/usr/bin/env bash
# Installs a Go tool at a pinned version into the cache and prints its path.
#   hack/install-tool.sh NAME PACKAGE VERSION
set -euo pipefail
name=$1 package=$2 version=$3
cache=${CSI_DM_CACHE:-$HOME/.cache/csi-dm}
directory=$cache/tools/$name-$version-$(go env GOVERSION)
if [ ! -x "$directory/$name" ]; then
    echo "installing $name $version" >&2
    mkdir -p "$directory"
    # With the flags of the lab's programs, so that what both need is compiled once.
    if ! GOBIN="$directory" GOFLAGS=-buildvcs=false CGO_ENABLED=0 go install -trimpath "$package@$version" >"$directory/install.log" 2>&1; then
        tail -n 5 "$directory/install.log" >&2
        echo "hack/install-tool.sh: $package@$version could not be installed; the whole output is in $directory/install.log" >&2
        exit 1
    fi
fi
echo "$directory/$name"

#!/usr/bin/env bash
# Install CometBFT into .tools/cometbft/<version>/: `install_cometbft.sh [VERSION ...]`, by default the version the product
# is made for. A version that is there already is left alone. CometBFT is the BFT engine of consortium networks; the
# embedded engine needs none of it.
set -euo pipefail
cd "$(dirname "$0")/.."
versions=("${@:-v0.39.4}")

for version in "${versions[@]}"; do
    folder="$PWD/.tools/cometbft/$version"
    [ -x "$folder/cometbft" ] && continue
    if ! command -v go >/dev/null; then
        echo "CometBFT $version needs Go 1.23 or newer to be built, and there is no 'go' on the PATH." >&2
        echo "Install Go (https://go.dev/dl), or put a cometbft program at $folder/cometbft." >&2
        exit 3
    fi
    echo "Building CometBFT $version into .tools/ (the first time takes one to three minutes) ..." >&2
    mkdir -p "$folder"
    GOBIN="$folder" go install "github.com/cometbft/cometbft/cmd/cometbft@$version"
done

#!/usr/bin/env bash
# Build a CometBFT whose clock can be wrong, for tests alone, into .tools/cometbft/<version>-skewed/:
# `build_skewed_cometbft.sh [VERSION ...]`, by default the version the product is made for. It is CometBFT as published,
# but for its one source of time in consensus (types/time), which runs ahead by the Go duration in the environment
# variable SKEW (`10m`, `-5m`). Timers, connections and the light client go by the true clock, as on a machine whose
# clock alone is wrong. A program does not ask libc for the time, so it cannot be deceived from outside.
#
# What is there already is left alone, unless this script is newer. Go refuses to overlay files of its module cache, so
# the sources are copied beside the program for as long as it is built.
set -euo pipefail
cd "$(dirname "$0")/.."
versions=("${@:-v0.39.4}")
script=scripts/build_skewed_cometbft.sh

for version in "${versions[@]}"; do
    folder="$PWD/.tools/cometbft/$version-skewed"
    stamp="$folder/.stamp"
    [ -x "$folder/cometbft" ] && [ "$stamp" -nt "$script" ] && continue
    if ! command -v go >/dev/null; then
        echo "Without Go on the PATH there is no CometBFT with a wrong clock: the tests that need it are left out." >&2
        continue
    fi
    echo "Building CometBFT $version with a clock that can be wrong into .tools/ (up to two minutes) ..." >&2
    source="$(cd / && go mod download -json "github.com/cometbft/cometbft@$version" | sed -n 's/^\t"Dir": "\(.*\)",\{0,1\}$/\1/p')"
    [ -d "$source" ] || { echo "The sources of CometBFT $version are not to be had." >&2; exit 3; }
    work="$folder/work"
    rm -rf "$folder"
    mkdir -p "$work"
    trap 'rm -rf "$work"' EXIT
    (cd "$source" && find . -name '*.go' ! -name '*_test.go' -o -name 'go.mod' -o -name 'go.sum') |
        tar -C "$source" -cf - -T - | tar -C "$work" -xf - --no-same-permissions
    chmod -R u+w "$work"

    clock="$work/types/time/time.go"
    [ "$(grep -c 'Canonical(time\.Now())' "$clock")" = 1 ] ||
        { echo "CometBFT $version reads its clock in another way: look into types/time/time.go." >&2; exit 1; }
    sed -i 's/Canonical(time\.Now())/Canonical(time.Now().Add(skew))/' "$clock"
    cat >"$work/types/time/skew.go" <<'GO'
package time

import (
	"os"
	"time"
)

var skew = readSkew()

func readSkew() time.Duration {
	found, err := time.ParseDuration(os.Getenv("SKEW"))
	if err != nil {
		panic("SKEW is no duration: " + err.Error())
	}
	return found
}
GO
    (cd "$work" && go build -o "$folder/cometbft" ./cmd/cometbft)
    touch "$stamp"
    rm -rf "$work"
    trap - EXIT
done

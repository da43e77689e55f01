#!/usr/bin/env bash
# Install what the tests use from Debian's packages: a browser with Chinese fonts for the report page, PostgreSQL,
# whose programs a test starts in a folder of its own, and wget, with which a how-to copies a published log.
# `setup_system.sh --plan` says what it would install and installs nothing.
# Where that is impossible the tests that need it say so and are skipped (in CI they fail).
set -uo pipefail
missing=()
command -v chromium >/dev/null || missing+=(chromium)
fc-list 2>/dev/null | grep -qi 'noto.*cjk' || missing+=(fonts-noto-cjk fontconfig)
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
command -v wget >/dev/null || missing+=(wget)
if [ "${1:-}" = --plan ]; then
    echo "make test installs from Debian, as root, where it is missing: ${missing[*]:-nothing, all is here}."
    command -v go >/dev/null || echo "There is no Go 1.23 or newer on the PATH to build CometBFT: its tests would be skipped."
    exit 0
fi
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed (needs root and apt-get): ${missing[*]}; the tests that need them will say so." >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
echo "Installing ${missing[*]} from Debian ..." >&2
{ apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } >/dev/null 2>.tools-apt.log ||
    { echo "Debian packages could not be installed: ${missing[*]}" >&2; tail -3 .tools-apt.log >&2; }
rm -f .tools-apt.log
exit 0

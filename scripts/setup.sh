#!/usr/bin/env bash
# Set up .venv/ from a hash-pinned lock file: `setup.sh base` for the product, `setup.sh dev` for its checks and tests.
# The installer is locked as well (locks/installer.txt) and lives in .tools/uv/; one that is on the PATH is not used.
set -euo pipefail
cd "$(dirname "$0")/.."
what="$1"
# The versions that the tests passed on: the classifiers say which.
tried=$(sed -n 's/.*"Programming Language :: Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml)

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }
python=
for candidate in ${PYTHON:-python3 $(sed 's/^/python/' <<<"$tried" | sort -rV)}; do
    grep -qxF "$(version_of "$candidate")" <<<"$tried" && python=$candidate && break
done
[ -n "$python" ] || {
    asked="${PYTHON:-python3}"
    version=$(version_of "$asked") && says="is $version" || says="does not run"
    echo "Shuiqiao is tested on Python ${tried//$'\n'/, }; $asked $says. Install a tested version and name it: make PYTHON=/path/to/python ..." >&2
    exit 3
}
if ! cmp -s locks/installer.txt .tools/uv/installer.txt; then
    rm -rf .tools/uv
    "$python" -m venv .tools/uv || {
        echo "$python cannot make environments. On Debian the package python3-venv is missing." >&2
        exit 3
    }
    for name in $(compgen -e PIP_ || true); do
        case "$name" in
        PIP_INDEX_URL | PIP_EXTRA_INDEX_URL | PIP_NO_INDEX | PIP_FIND_LINKS | PIP_TRUSTED_HOST | PIP_CONFIG_FILE) ;;
        PIP_PROXY | PIP_CERT | PIP_CLIENT_CERT | PIP_CACHE_DIR | PIP_DEFAULT_TIMEOUT | PIP_TIMEOUT | PIP_RETRIES) ;;
        *) unset "$name" ;;
        esac
    done
    .tools/uv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r locks/installer.txt
    cp locks/installer.txt .tools/uv/installer.txt
fi

[ "$(version_of .venv/bin/python)" = "$(version_of "$python")" ] || "$python" -m venv --clear --without-pip .venv
rm -f .venv/.base .venv/.dev
echo "Installing the $what packages of locks/$what.txt into .venv/ (the first time takes a minute) ..." >&2
scripts/install_locked.sh "locks/$what.txt" .venv/bin/python
# The product itself: built from this folder by what the lock brought, so nothing is fetched for it.
for name in $(compgen -e UV_ || true); do [ "$name" = UV_CACHE_DIR ] || unset "$name"; done
.tools/uv/bin/uv pip install -q --no-config --python .venv/bin/python --offline --no-deps --no-build-isolation -e .
# What runs is compiled once here; the tests inside packages would cost disk for nothing.
.venv/bin/python -m compileall -q -x '/tests?/' .venv/lib src >/dev/null || true
touch .venv/.base
[ "$what" = base ] || touch ".venv/.$what"

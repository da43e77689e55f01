#!/usr/bin/env bash
# Set up .venv/ from a hash-pinned lock file: `setup.sh base` for the product, `setup.sh dev` for its checks and tests.
# The installer is locked as well (locks/installer.txt) and lives in .tools/uv/; one that is on the PATH is not used.
set -euo pipefail
cd "$(dirname "$0")/.."
what="$1"
python="${PYTHON:-python3}"

"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "Shuiqiao runs on Python 3.11; $("$python" --version 2>&1) was found, on which it is not proven. Name another: make PYTHON=python3.11 ..." >&2
    exit 3
}
if ! cmp -s locks/installer.txt .tools/uv/installer.txt; then
    rm -rf .tools/uv
    "$python" -m venv .tools/uv || {
        echo "$python cannot make environments. On Debian the package python3-venv is missing." >&2
        exit 3
    }
    .tools/uv/bin/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r locks/installer.txt
    cp locks/installer.txt .tools/uv/installer.txt
fi

[ -x .venv/bin/python ] || "$python" -m venv --without-pip .venv
rm -f .venv/.base .venv/.dev
echo "Installing the $what packages of locks/$what.txt into .venv/ (the first time takes a minute) ..." >&2
scripts/install_locked.sh "locks/$what.txt" .venv/bin/python
# The product itself: built from this folder by what the lock brought, so nothing is fetched for it.
.tools/uv/bin/uv pip install -q --no-config --python .venv/bin/python --offline --no-deps --no-build-isolation -e .
# What runs is compiled once here; the tests inside packages would cost disk for nothing.
.venv/bin/python -m compileall -q -x '/tests?/' .venv/lib src >/dev/null || true
touch .venv/.base
[ "$what" = base ] || touch ".venv/.$what"

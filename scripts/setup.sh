#!/usr/bin/env bash
# Set up .venv/ from a hash-pinned lock file: `setup.sh base` for the product, `setup.sh dev` for the tests as well.
# uv is taken from the PATH or, where it is absent, installed by pip into .tools/.
set -euo pipefail
what="$1"
python="${PYTHON:-python3}"
export UV_PYTHON_DOWNLOADS=never

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Shuiqiao needs Python 3.11 or newer; $("$python" --version 2>&1) was found. Name another: make PYTHON=python3.12 ..." >&2
    exit 3
}
if command -v uv >/dev/null; then
    uv=uv
else
    [ -x .tools/uv/bin/uv ] || { "$python" -m venv .tools/uv && .tools/uv/bin/pip install -q 'uv>=0.9,<1'; }
    uv=.tools/uv/bin/uv
fi

[ -x .venv/bin/python ] || "$uv" venv -q --python "$("$python" -c 'import sys; print(sys.executable)')" .venv
echo "Installing the $what packages into .venv/ (the first time takes a minute) ..." >&2
"$uv" pip install -q --python .venv/bin/python --require-hashes -r "locks/$what.txt"
"$uv" pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
# What runs is compiled once here; the tests inside packages would cost disk for nothing.
.venv/bin/python -m compileall -q -x '/tests?/' .venv/lib src >/dev/null || true
if [ "$what" = dev ]; then
    scripts/setup_system.sh
    touch .venv/.base
fi
touch ".venv/.$what"

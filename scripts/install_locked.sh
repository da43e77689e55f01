#!/usr/bin/env bash
# Make an environment hold exactly what a lock names: `install_locked.sh LOCK PYTHON`, LOCK one of locks/*.txt, PYTHON the
# interpreter of the environment. Nothing is resolved: every package is taken at the locked version and checked against
# its locked hash, and what the lock does not name is removed. Neither pyproject.toml nor a setting of the person's own
# decides anything here, but where packages come from: a mirror, a folder, a proxy, a cache.
set -euo pipefail
lock="$1"
python="$2"

for name in $(compgen -e UV_ || true); do
    case "$name" in
    UV_DEFAULT_INDEX | UV_INDEX* | UV_EXTRA_INDEX_URL | UV_NO_INDEX | UV_FIND_LINKS | UV_OFFLINE | UV_CACHE_DIR) ;;
    UV_KEYRING_PROVIDER | UV_HTTP_* | UV_CONCURRENT_* | UV_LINK_MODE | UV_NATIVE_TLS | UV_SYSTEM_CERTS | UV_INSECURE_HOST) ;;
    *) unset "$name" ;;
    esac
done
.tools/uv/bin/uv pip sync -q --no-config --python "$python" --require-hashes "$lock"

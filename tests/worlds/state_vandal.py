"""A process that changes a state behind the back of the ledger that holds it: state_vandal.py INDEX-FOLDER KEY.

LMDB lets another process write while the ledger runs. The key is removed from the state, and nothing else is touched.
"""

from __future__ import annotations

import sys

import lmdb


def remove(folder: str, key: str) -> None:
    env = lmdb.open(folder, max_dbs=16, map_size=1 << 30)
    state = env.open_db(b"state", create=False)
    with env.begin(write=True) as writer:
        assert writer.delete(key.encode(), db=state)
    env.close()


if __name__ == "__main__":
    remove(*sys.argv[1:])

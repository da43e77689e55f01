"""The leaf formula: how one record of several disclosure groups becomes one hash on the ledger.

    leaf = H(0x00 || H(salt_1 || group_1) || ... || H(salt_n || group_n))        [VAULT-LEAF-1]

H is the suite hash, salts are 16 random bytes each, groups stand in catalogue order. Whoever is not granted a group
gets H(salt || group) in its place: enough to recompute the leaf, and nothing to guess against without the salt
[VAULT-LEAF-2]. Pure functions over columns of bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from operator import add

from shuiqiao.vault.model import HASH_BYTES, SALT_BYTES

LEAF_PREFIX = b"\x00"


@lru_cache(maxsize=4)
def hash_function(hash_name: str) -> Callable[[bytes], bytes]:
    """Return data -> digest for a hash name."""
    if hash_name == "sha256":
        return lambda data: hashlib.sha256(data).digest()
    return lambda data: hashlib.new(hash_name, data).digest()


def group_hash(salt: bytes, group: bytes, *, hash_name: str) -> bytes:
    """Return H(salt || group) of one disclosure group."""
    return hash_function(hash_name)(salt + group)


def leaf_from_group_hashes(hashes: Sequence[bytes], *, hash_name: str) -> bytes:
    """Return H(0x00 || hash_1 || ... || hash_n) of one record."""
    return hash_function(hash_name)(LEAF_PREFIX + b"".join(hashes))


def split_salts(salts: bytes, *, groups: int) -> list[list[bytes]]:
    """Cut row-major salts (one run of ``groups`` salts a record) into one column of salts per group."""
    stride = groups * SALT_BYTES
    return [
        [salts[at : at + SALT_BYTES] for at in range(column * SALT_BYTES, len(salts), stride)]
        for column in range(groups)
    ]


def split_hashes(hashes: bytes) -> list[bytes]:
    """Cut a run of 32-byte hashes."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def hash_all(messages: Iterable[bytes], *, hash_name: str) -> list[bytes]:
    """Return the digest of every message; the one loop in which an ingest spends most of its time."""
    if hash_name == "sha256":
        sha256 = hashlib.sha256
        return [sha256(message).digest() for message in messages]
    # Copying an initialised state skips looking the algorithm up for every small message: a quarter of its time.
    fresh, digests = hashlib.new(hash_name).copy, list[bytes]()
    for message in messages:
        state = fresh()
        state.update(message)
        digests.append(state.digest())
    return digests


def group_hashes(salts: Sequence[bytes], groups: Sequence[bytes], *, hash_name: str) -> list[bytes]:
    """Return H(salt || group) for a column of records."""
    if len(salts) != len(groups):
        raise ValueError(f"{len(salts)} salts for {len(groups)} groups")
    return hash_all(map(add, salts, groups), hash_name=hash_name)


def leaf_hashes(columns: Sequence[Sequence[bytes]], *, hash_name: str) -> list[bytes]:
    """Return the leaves of records whose group hashes stand in one column per group."""
    join = b"".join
    return hash_all((LEAF_PREFIX + join(parts) for parts in zip(*columns, strict=True)), hash_name=hash_name)

"""The leaf formula: how one record of several disclosure groups becomes one hash on the ledger.

    leaf = H(0x00 || H(salt_1 || group_1) || ... || H(salt_n || group_n))        [VAULT-LEAF-1]

H is the suite hash, salts are 16 random bytes each, groups stand in catalogue order. Whoever is not granted a group
gets H(salt || group) in its place: enough to recompute the leaf, and nothing to guess against without the salt
[VAULT-LEAF-2]. Pure functions over columns of bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache

from shuiqiao.vault.model import HASH_BYTES, SALT_BYTES

LEAF_PREFIX = b"\x00"


@lru_cache(maxsize=4)
def hash_function(hash_name: str) -> Callable[[bytes], bytes]:
    """Return data -> digest for a hash name, by the fastest way this machine has."""
    if hash_name == "sha256":
        return lambda data: hashlib.sha256(data).digest()
    # Copying an initialised state skips looking the algorithm up for every small message: a quarter of its time.
    fresh = hashlib.new(hash_name).copy

    def digest(data: bytes) -> bytes:
        state = fresh()
        state.update(data)
        return state.digest()

    return digest


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


def group_hashes(salts: Sequence[bytes], groups: Sequence[bytes], *, hash_name: str) -> list[bytes]:
    """Return H(salt || group) for a column of records."""
    if hash_name == "sha256":
        # Spelled out: one call less for each of millions of groups.
        sha256 = hashlib.sha256
        return [sha256(salt + group).digest() for salt, group in zip(salts, groups, strict=True)]
    digest = hash_function(hash_name)
    return [digest(salt + group) for salt, group in zip(salts, groups, strict=True)]


def leaf_hashes(columns: Sequence[Sequence[bytes]], *, hash_name: str) -> list[bytes]:
    """Return the leaves of records whose group hashes stand in one column per group."""
    join = b"".join
    if hash_name == "sha256":
        sha256 = hashlib.sha256
        return [sha256(LEAF_PREFIX + join(parts)).digest() for parts in zip(*columns, strict=True)]
    digest = hash_function(hash_name)
    return [digest(LEAF_PREFIX + join(parts)) for parts in zip(*columns, strict=True)]

"""Make rfc6962_sm3.json: the leaves of the RFC 6962 reference tree under SM3, by a second way.

It takes SM3 from gmssl, not from OpenSSL, and follows the recursive definitions of RFC 6962 section 2.1 to the letter.
Command: ``.venv/bin/python tests/vectors/ledger/make_sm3_log.py > tests/vectors/ledger/rfc6962_sm3.json``
"""

import json
import sys

from gmssl import func, sm3

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]


def digest(data: bytes) -> bytes:
    return bytes.fromhex(sm3.sm3_hash(func.bytes_to_list(data)))


def split(size: int) -> int:
    power = 1
    while power * 2 < size:
        power *= 2
    return power


def tree(leaves: list[bytes]) -> bytes:
    if len(leaves) < 2:
        return digest(b"\x00" + leaves[0]) if leaves else digest(b"")
    middle = split(len(leaves))
    return digest(b"\x01" + tree(leaves[:middle]) + tree(leaves[middle:]))


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*path(index, leaves[:middle]), tree(leaves[middle:])]
    return [*path(index - middle, leaves[middle:]), tree(leaves[:middle])]


def subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [tree(leaves)]
    middle = split(len(leaves))
    if old <= middle:
        return [*subproof(old, leaves[:middle], whole=whole), tree(leaves[middle:])]
    return [*subproof(old - middle, leaves[middle:], whole=False), tree(leaves[:middle])]


def main() -> None:
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES]
    vectors = {
        "source": "RFC 6962 section 2.1 with SM3 (GB/T 32905) from gmssl, over the leaves of the reference tree",
        "command": "python tests/vectors/ledger/make_sm3_log.py > tests/vectors/ledger/rfc6962_sm3.json",
        "hash": "sm3",
        "leaves": LEAVES,
        "roots": [tree(leaves[:size]).hex() for size in range(9)],
        "inclusion": [
            {"index": index, "size": size, "path": [item.hex() for item in path(index, leaves[:size])]}
            for size in range(1, 9)
            for index in range(size)
        ],
        "consistency": [
            {"old": old, "new": new, "path": [item.hex() for item in subproof(old, leaves[:new], whole=True)]}
            for new in range(1, 9)
            for old in range(1, new + 1)
        ],
    }
    json.dump(vectors, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

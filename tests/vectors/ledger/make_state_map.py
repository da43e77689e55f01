"""Make state_map_sha256.json and state_map_sm3.json: roots and proofs of small state maps, by a second way.

It shares no code with the product, takes SM3 from gmssl, and follows docs/spec/state-map.md to the letter: a map is its
sorted leaves, a place is what stands under a string of hexadecimal digits. Command:
``for hash in sha256 sm3; do .venv/bin/python tests/vectors/ledger/make_state_map.py $hash
> tests/vectors/ledger/state_map_$hash.json; done``
"""

import hashlib
import json
import sys

from gmssl import func, sm3

DIGITS = "0123456789abcdef"
ENTRIES = {f"consent/grant/{number:032x}": b"value %d" % number for number in range(90)}
SIZES = (0, 1, 6, 7, 24, 90)
ABSENT = [f"consent/grant/{number:032x}" for number in range(1000, 1006)]


def digest(data: bytes, name: str) -> bytes:
    if name == "sm3":
        return bytes.fromhex(sm3.sm3_hash(func.bytes_to_list(data)))
    return hashlib.sha256(data).digest()


def leaves_of(entries: dict[str, bytes], name: str) -> dict[str, bytes]:
    """Return value hashes by path in hex."""
    return {digest(b"\x04" + key.encode(), name).hex(): digest(b"\x05" + value, name) for key, value in entries.items()}


def place(leaves: dict[str, bytes], way: str, name: str) -> bytes:
    under = [path for path in leaves if path.startswith(way)]
    if not under:
        return bytes(32)
    if len(under) <= 6:
        return digest(b"\x02" + b"".join(bytes.fromhex(path) + leaves[path] for path in sorted(under)), name)
    return digest(b"\x03" + b"".join(place(leaves, way + digit, name) for digit in DIGITS), name)


def step(leaves: dict[str, bytes], way: str, own: str, name: str) -> bytes:
    mask, hashes = 0, b""
    for number, digit in enumerate(DIGITS):
        other = place(leaves, way + digit, name)
        if digit != own and other != bytes(32):
            mask += 2**number
            hashes += other
    return mask.to_bytes(2, "big") + hashes


def proof(leaves: dict[str, bytes], key: str, name: str) -> dict[str, object]:
    path = digest(b"\x04" + key.encode(), name).hex()
    way, steps = "", []
    while len([other for other in leaves if other.startswith(way)]) > 6:
        steps.append(step(leaves, way, path[len(way)], name).hex())
        way = path[: len(way) + 1]
    others = sorted(other for other in leaves if other.startswith(way) and other != path)
    return {"others": "".join(other + leaves[other].hex() for other in others), "steps": steps}


def one_map(size: int, name: str) -> dict[str, object]:
    entries = dict(list(ENTRIES.items())[:size])
    leaves = leaves_of(entries, name)
    asked = [*list(entries)[:6], *ABSENT]
    return {
        "entries": {key: value.hex() for key, value in entries.items()},
        "root": place(leaves, "", name).hex(),
        "proofs": [
            {"key": key, "value": entries[key].hex() if key in entries else None, **proof(leaves, key, name)}
            for key in asked
        ],
    }


def main() -> None:
    name = sys.argv[1]
    vectors = {
        "source": "docs/spec/state-map.md, by a program that shares no code with the product",
        "command": f"python tests/vectors/ledger/make_state_map.py {name} > tests/vectors/ledger/state_map_{name}.json",
        "hash": name,
        "paths": {key: digest(b"\x04" + key.encode(), name).hex() for key in list(ENTRIES)[:3]},
        "maps": [one_map(size, name) for size in SIZES],
    }
    json.dump(vectors, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()

"""What the independent verifier stands on: the suites, deterministic CBOR, inclusion paths and proofs of state.

Nothing of the product is imported: CBOR is that of ``cbor2``, Ed25519 that of ``cryptography``, SM2 that of gmssl, SM3
that of OpenSSL or gmssl. Labels in brackets name the requirement of docs/spec that a line asks for.
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from gmssl import func, sm2, sm3

LARGEST = 2**53 - 1


class Refused(Exception):
    """The receipt, or the genesis it is held against, does not verify."""


def need(holds: object, reason: str) -> None:
    if not holds:
        raise Refused(reason)


class Intl:
    key_bytes, algorithm = 32, -19
    operator_type, cosigner_type = b"\x01", b"\x04"

    def digest(self, data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    def holds(self, key: bytes, message: bytes, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class Gm:
    key_bytes, algorithm = 65, -65537
    operator_type, cosigner_type = b"\xffshuiqiao/sm2-sm3-v1", b"\xffshuiqiao/sm2-sm3-cosignature-v1"

    def digest(self, data: bytes) -> bytes:
        if "sm3" in hashlib.algorithms_available:
            return hashlib.new("sm3", data).digest()
        return bytes.fromhex(sm3.sm3_hash(func.bytes_to_list(data)))

    def holds(self, key: bytes, message: bytes, signature: bytes) -> bool:
        engine = sm2.CryptSM2(private_key="", public_key="", asn1=False)
        engine.public_key = key[1:].hex()  # the constructor takes zeros and fours off the front of some keys
        a, b, p, n = (int(engine.ecc_table[name], 16) for name in "abpn")
        x, y, r, s = (int.from_bytes(half, "big") for half in (key[1:33], key[33:], signature[:32], signature[32:]))
        on_curve = key[0] == 4 and max(x, y) < p and (y * y - x * x * x - a * x - b) % p == 0
        return on_curve and 0 < r < n and 0 < s < n and bool(engine.verify_with_sm3(signature.hex(), message))


Suite = Intl | Gm


# Forms ------------------------------------------------------------------------------------------------------------


def plain(value: object) -> bool:
    """[LEDGER-TX-5]: maps with text keys, lists, texts, bytes, integers, booleans and null, and nothing else."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(plain(item) for item in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return -(2**64) <= value < 2**64
    return value is None or isinstance(value, str | bytes | bool)


def decode(data: bytes, what: str) -> Any:
    """Deterministic CBOR only: text keys sort by length first in RFC 8949 4.2.1 as in the older canonical order."""
    try:
        value = cbor2.loads(data)
        same = plain(value) and cbor2.dumps(value, canonical=True) == data
    except (cbor2.CBORDecodeError, cbor2.CBOREncodeError, ValueError, TypeError, OverflowError, RecursionError):
        same = False
    need(same, f"{what}: not deterministic CBOR")
    return value


def fields(value: Any, what: str, /, **types: Any) -> None:
    need(isinstance(value, dict) and set(value) == set(types), f"{what}: other fields")
    for name, wanted in types.items():
        whole = wanted is not int or (type(value[name]) is int and 0 <= value[name] <= LARGEST)
        need(isinstance(value[name], wanted) and whole, f"{what}: {name}")


def hashes(value: Any, what: str) -> None:
    """[LEDGER-RECEIPT-1]: at most 53 hashes in a path."""
    need(isinstance(value, list) and len(value) <= 53, f"{what}: path")
    need(all(isinstance(item, bytes) and len(item) == 32 for item in value), f"{what}: path")


def ascending(values: list[Any]) -> bool:
    return all(before < after for before, after in pairwise(values))


# Trees ------------------------------------------------------------------------------------------------------------


def included(suite: Suite, leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> None:
    """[LEDGER-LOG-2], RFC 9162 section 2.1.3.2."""
    need(index < size, "inclusion: beyond the log")
    first, last, node = index, size - 1, suite.digest(b"\x00" + leaf)
    for sibling in path:
        need(last, "inclusion: path too long")
        if first & 1 or first == last:
            node = suite.digest(b"\x01" + sibling + node)
            while first and not first & 1:
                first, last = first >> 1, last >> 1
        else:
            node = suite.digest(b"\x01" + node + sibling)
        first, last = first >> 1, last >> 1
    need(last == 0 and node == root, "inclusion: another root")


def proven(suite: Suite, proof: dict[str, Any], key: str, value: bytes | None, root: bytes) -> None:
    """State-map.md section 3."""
    fields(proof, "state proof", steps=list, others=bytes)
    steps, others = proof["steps"], proof["others"]
    need(len(cbor2.dumps(proof, canonical=True)) <= 16_384 and len(steps) <= 64, "state proof: too large")
    need(key.isascii() and 1 <= len(key) <= 255, "state proof: key")
    path = suite.digest(b"\x04" + key.encode())
    nibbles = path.hex()
    need(len(others) % 64 == 0 and len(others) <= 6 * 64, "state proof: others")
    records = [others[at : at + 64] for at in range(0, len(others), 64)]
    need(ascending([record[:32] for record in records]), "state proof: order")
    for record in records:
        beside = record[:32] != path and record.hex().startswith(nibbles[: len(steps)])
        need(beside, "state proof: a record of another place")
    if value is not None:
        need(len(records) < 6, "state proof: a value beside six others")
        records = sorted([*records, path + suite.digest(b"\x05" + value)])
    node = suite.digest(b"\x02" + b"".join(records)) if records else bytes(32)
    for depth in reversed(range(len(steps))):
        node = above(suite, steps[depth], int(nibbles[depth], 16), node)
    need(node == root, "state proof: another root")


def above(suite: Suite, step: Any, own: int, node: bytes) -> bytes:
    """[MAP-6], [MAP-8]: the node of which one place, ``own``, has the hash ``node``."""
    need(isinstance(step, bytes) and len(step) >= 2, "state proof: step")
    mask = int.from_bytes(step[:2], "big")
    need(not mask >> own & 1 and len(step) == 2 + 32 * mask.bit_count(), "state proof: step")
    given = [step[at : at + 32] for at in range(2, len(step), 32)]
    need(bytes(32) not in given, "state proof: an empty place")
    places = [bytes(32)] * 16
    places[own] = node
    for place in range(16):
        if mask >> place & 1:
            places[place] = given.pop(0)
    return suite.digest(b"\x03" + b"".join(places))

"""Makes the vault's test vectors by the words of docs/spec/vault.md, with hashlib and json alone.

``python tests/vectors/vault/make_leaves.py > tests/vectors/vault/leaves.json``
"""

from __future__ import annotations

import hashlib
import json
import sys

GROUPS = ("core", "amounts", "counterparty")
RECORDS = 5


def record(number: int) -> list[dict[str, object]]:
    kind = "invoice_issued@2"
    return [
        {
            "group": "core",
            "type": kind,
            "uscc": "91320100MA1000000A",
            "invoice_no": f"{number:08d}",
            "issue_date": f"2024-03-{number + 1:02d}",
            "status": "valid",
            "is_red_letter": False,
            "invoice_kind": None,
            "original_invoice_no": None,
            "invoice_code": None,
        },
        {
            "group": "amounts",
            "type": kind,
            "amount_fen": 10_000 * (number + 1),
            "tax_fen": 1_300 * (number + 1),
            "total_fen": 11_300 * (number + 1),
            "tax_rate": "0.13",
        },
        {
            "group": "counterparty",
            "type": kind,
            "counterparty_id": "91440300MA5000000B",
            "counterparty_name": '深圳"商贸"有限公司',
        },
    ]


def canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def root(leaves: list[bytes], digest) -> bytes:
    """RFC 6962 section 2.1, by its recursive definition."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return digest(b"\x01" + root(leaves[:split], digest) + root(leaves[split:], digest))


def vector(suite: str, hash_name: str) -> dict[str, object]:
    def digest(data: bytes) -> bytes:
        return hashlib.new(hash_name, data).digest()

    records, leaves = [], []
    for number in range(RECORDS):
        groups = [canonical(group) for group in record(number)]
        salts = [bytes([16 * number + position] * 16) for position in range(len(GROUPS))]
        hashes = [digest(salt + group) for salt, group in zip(salts, groups, strict=True)]
        leaves.append(digest(b"\x00" + b"".join(hashes)))
        records.append(
            {
                "groups": [group.decode() for group in groups],
                "salts": [salt.hex() for salt in salts],
                "group_hashes": [value.hex() for value in hashes],
                "leaf": leaves[-1].hex(),
            }
        )
    first_four = digest(b"\x01" + digest(b"\x01" + leaves[0] + leaves[1]) + digest(b"\x01" + leaves[2] + leaves[3]))
    proof = [leaves[0], leaves[3], leaves[4]]
    assert root(leaves, digest) == digest(b"\x01" + first_four + leaves[4])
    return {
        "suite": suite,
        "hash": hash_name,
        "records": records,
        "root": root(leaves, digest).hex(),
        "multiproof": {"indexes": [1, 2], "proof": [value.hex() for value in proof]},
    }


if __name__ == "__main__":
    vectors = {
        "source": "docs/spec/vault.md, made by make_leaves.py from the words of the specification",
        "standard": "invoice_issued@2",
        "suites": [vector("intl", "sha256"), vector("gm", "sm3")],
    }
    sys.stdout.write(json.dumps(vectors, ensure_ascii=False, indent=1) + "\n")

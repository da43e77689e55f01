"""A verifier of receipts, written from docs/spec alone: ledger.md, checkpoints.md, state-map.md and members.md.

``verify`` is all there is to call. Nothing of the product is imported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import cbor2
from independent_parts import Suite, ascending, decode, fields, hashes, included, need, proven
from independent_policy import MEMBER_ID, Checkpoint, Network, check_epoch, read_checkpoint, read_genesis

DAY_MS = 86_400_000
GOVERNANCE_ROOMS = ("member", "oversight", "witness")
SAID_BY_A_CONSENT = ("consent.pause", "consent.resume", "consent.revoke")


# The receipt ------------------------------------------------------------------------------------------------------


def read_entry(network: Network, data: bytes) -> dict[str, Any]:
    """Ledger.md section 6."""
    entry = decode(data, "entry")
    fields(entry, "entry", count=int, epoch=int, height=int, time_ms=int, version=int, state_root=bytes)
    need(entry["version"] == 3 and len(entry["state_root"]) == 32, "entry: version or root")
    need(entry["height"] >= 1 and entry["count"] >= 1 and entry["time_ms"] > network.created_ms, "entry: values")
    return entry


def read_receipt(suite: Suite, data: bytes) -> dict[str, Any]:
    """[LEDGER-RECEIPT-1]."""
    need(len(data) <= 1_048_576, "receipt: too large")
    receipt = decode(data, "receipt")
    evidence = dict.fromkeys(("entry", "checkpoint", "transaction", "digest"), bytes)
    numbers = dict.fromkeys(("index", "entry_index", "version"), int)
    paths = dict.fromkeys(("path", "entry_path", "epochs"), list)
    fields(receipt, "receipt", state=dict, **evidence, **numbers, **paths)
    need(receipt["version"] == 3 and len(receipt["epochs"]) <= 64, "receipt: version or steps")
    hashes(receipt["path"], "receipt")
    hashes(receipt["entry_path"], "receipt")
    for step in receipt["epochs"]:
        fields(step, "step", path=list, entry=bytes, epoch=bytes, proof=dict, checkpoint=bytes)
        hashes(step["path"], "step")
    fields(receipt["state"], "evidence", path=list, entry=bytes, claims=list)
    hashes(receipt["state"]["path"], "evidence")
    claims = receipt["state"]["claims"]
    for claim in claims:
        fields(claim, "claim", key=str, value=bytes | None, proof=dict)
    need(len(claims) <= 16 and ascending([claim["key"] for claim in claims]), "receipt: claims")
    rest = {name: value for name, value in receipt.items() if name != "digest"}
    need(receipt["digest"] == suite.digest(cbor2.dumps(rest, canonical=True)), "receipt: altered")
    return receipt


def read_last(network: Network, epoch: dict[str, Any], placed: dict[str, Any], note: Checkpoint) -> dict[str, Any]:
    """[LEDGER-RECEIPT-5], [LEDGER-RECEIPT-6], [LEDGER-RECEIPT-8]: the last entry under a checkpoint of an epoch."""
    included(network.suite, placed["entry"], note.size - 1, note.size, placed["path"], note.root)
    entry = read_entry(network, placed["entry"])
    need(entry["epoch"] == epoch["number"], "epochs: a step is missing")
    return entry


def walk(network: Network, steps: list[dict[str, Any]]) -> tuple[dict[str, Any], int]:
    """[LEDGER-RECEIPT-5]: the epoch in force behind all steps, and the size of the last step's checkpoint."""
    epoch, size, suite = network.epoch, 0, network.suite
    for step in steps:
        note = read_checkpoint(network, epoch, step["checkpoint"])
        need(note.size > size, "epochs: not in order")
        entry = read_last(network, epoch, step, note)
        proven(suite, step["proof"], "members/epoch", step["epoch"], entry["state_root"])
        need(len(step["epoch"]) <= 16_384, "epoch: too large")
        later = decode(step["epoch"], "epoch")
        check_epoch(suite, later, embedded=network.embedded)
        need(later["number"] > epoch["number"], "epochs: not later")
        epoch, size = later, note.size
    return epoch, size


@dataclass(frozen=True)
class Transaction:
    payload: dict[str, Any]
    signatures: dict[bytes, tuple[bytes, bytes]]


def read_transaction(network: Network, data: bytes) -> Transaction:
    """Ledger.md section 2; the key id of each signature leads to what was signed and the signature."""
    need(len(data) <= 60_000 and data[:2] == b"\xd8\x62", "transaction: form")
    head = b"\xd8\x62\x84\x40\xa0"
    need(data.startswith(head), "transaction: headers")
    parts = decode(b"\x82" + data[len(head) :], "transaction")
    need(isinstance(parts[0], bytes) and isinstance(parts[1], list), "transaction: form")
    need(1 <= len(parts[1]) <= 64, "transaction: signatures")
    payload, signatures, suite = parts[0], {}, network.suite
    start = b"\xa2\x01" + cbor2.dumps(suite.algorithm) + b"\x04\x50"
    for item in parts[1]:
        need(isinstance(item, list) and len(item) == 3 and item[1] == {}, "transaction: signature")
        protected, signature = item[0], item[2]
        need(isinstance(protected, bytes) and protected.startswith(start), "transaction: suite")
        need(len(protected) == len(start) + 16, "transaction: key id")
        need(isinstance(signature, bytes) and len(signature) == 64, "transaction: signature")
        signed = cbor2.dumps(["Signature", b"", protected, b"", payload])
        need(protected[len(start) :] > max(signatures, default=b""), "transaction: order of signatures")
        signatures[protected[len(start) :]] = (signed, signature)
    value = decode(payload, "payload")
    texts = {"id": bytes, "body": dict, "kind": str, "author": str, "network": bytes}
    fields(value, "payload", **texts, version=int, valid_until=int)
    need(depth(value) <= 16, "payload: too deep")
    author, stroke, owned = value["author"].partition("/")
    need(len(value["id"]) == 16 and MEMBER_ID.fullmatch(author), "payload: id or author")
    need(bool(stroke) == bool(re.fullmatch("[0-9a-f]{32}", owned)), "payload: owned id")
    need(value["network"] == network.id, "payload: of another network")
    return Transaction(value, signatures)


def depth(value: Any) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth, inner), default=0)
    return 0


def named_keys(network: Network, payload: dict[str, Any]) -> list[bytes]:
    """[MEMBER-9]: the keys beside the author's own that the transaction itself names."""
    body = payload["body"]
    if payload["kind"] == "consent.grant":
        return [body["key"]]
    if payload["kind"] != "member.rotate_key":
        return []
    fields(body, "member.rotate_key", new_key=bytes, proof=bytes, purpose=str)
    need(body["purpose"] in ("signing", "sealing", "validator"), "member.rotate_key: purpose")
    if body["purpose"] != "signing":
        return []
    need(len(body["new_key"]) == network.suite.key_bytes, "member.rotate_key: key")
    return [body["new_key"]]


def check_signers(network: Network, transaction: Transaction, claims: dict[str, bytes | None]) -> str:
    """[LEDGER-RECEIPT-3]: where the keys came from that had to sign."""
    payload, suite = transaction.payload, network.suite
    named = named_keys(network, payload)
    consent = payload["author"] if "/" in payload["author"] else None
    if consent is not None:
        need(payload["kind"] in SAID_BY_A_CONSENT and payload["body"]["consent"] == consent, "signers: not its author")
    place = "members/member/" + payload["author"] if consent is None else "consent/grant/" + consent
    before = network.members.get(payload["author"])
    value = claims.get(place, before)
    if value is None:
        need(place not in claims, "signers: the author is no member and no consent")
        return "ledger"
    key = member_key(suite, value) if consent is None else decode(value, "grant")["key"]
    required = {suite.digest(item)[:16]: item for item in [key, *named]}
    if set(required) != set(transaction.signatures):
        replaced = value != before and (before is None or key != member_key(suite, before))
        need(replaced, "signers: not the required keys")
        return "ledger"
    for kid, (signed, signature) in transaction.signatures.items():
        need(suite.holds(required[kid], signed, signature), "signers: signature")
    return "genesis" if value == before else "state"


def member_key(suite: Suite, value: bytes) -> bytes:
    member = decode(value, "member")
    fields(member, "member", role=str, sign=bytes, seal=bytes, name=str, name_zh=str)
    need(len(member["sign"]) == suite.key_bytes, "member: key")
    return member["sign"]


def verify(receipt: bytes, genesis: bytes) -> dict[str, Any]:
    """What a receipt proves to somebody who has the genesis, in the order of [LEDGER-RECEIPT-2]."""
    network = read_genesis(genesis)
    suite = network.suite
    value = read_receipt(suite, receipt)
    epoch, walked = walk(network, value["epochs"])
    note = read_checkpoint(network, epoch, value["checkpoint"])
    need(note.size > walked, "epochs: the checkpoint is not later")
    transaction = read_transaction(network, value["transaction"])
    entry = read_entry(network, value["entry"])
    index, entry_index = value["index"], value["entry_index"]
    included(suite, value["transaction"], index, note.size, value["path"], note.root)
    included(suite, value["entry"], entry_index, note.size, value["entry_path"], note.root)
    need(entry_index - entry["count"] <= index < entry_index, "receipt: another block")
    payload = transaction.payload
    days = 30 if payload["kind"].partition(".")[0] in GOVERNANCE_ROOMS else 1
    need(0 < payload["valid_until"] - entry["time_ms"] <= days * DAY_MS, "transaction: not timely")
    claims: dict[str, bytes | None] = {}
    root = read_last(network, epoch, value["state"], note)["state_root"]
    for claim in value["state"]["claims"]:
        proven(suite, claim["proof"], claim["key"], claim["value"], root)
        claims[claim["key"]] = claim["value"]
    return {
        "kind": payload["kind"],
        "author": payload["author"],
        "index": index,
        "height": entry["height"],
        "time_ms": entry["time_ms"],
        "size": note.size,
        "root": note.root.hex(),
        "operator": epoch["operator"],
        "cosigners": note.cosigners,
        "epochs": len(value["epochs"]),
        "signers": check_signers(network, transaction, claims),
        "state": {key: None if held is None else held.hex() for key, held in claims.items()},
    }

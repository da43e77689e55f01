"""Who may speak for a log, and whether they did: genesis, epochs and checkpoints, from members.md and checkpoints.md."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

import cbor2
from independent_parts import LARGEST, Gm, Intl, Refused, Suite, ascending, fields, need

MEMBER_ID = re.compile(r"[a-z][a-z0-9-]{1,31}")
DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
SIGNER_LINE = re.compile("\u2014 ([^ ]+) ([A-Za-z0-9+/]+={0,2})")
ROLES = ("tax_bureau", "bank", "regulator")


@dataclass(frozen=True)
class Network:
    suite: Suite
    id: bytes
    created_ms: int
    embedded: bool
    members: dict[str, bytes]
    epoch: dict[str, Any]

    @property
    def origin(self) -> str:
        return "shuiqiao/" + self.id.hex()


# Genesis and epochs -----------------------------------------------------------------------------------------------


def read_genesis(data: bytes) -> Network:
    """Members.md section 1."""
    try:
        value = json.loads(data)
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused("genesis: not JSON") from error
    need(text == data, "genesis: not canonical")
    texts = dict.fromkeys(("engine", "name", "suite", "writer"), str)
    lists = dict.fromkeys(("governing", "members", "witnesses"), list)
    fields(value, "genesis", created_ms=int, quorum=int, version=int, **texts, **lists)
    need(value["version"] == 3 and value["suite"] in ("intl", "gm"), "genesis: version or suite")
    need(value["engine"] in ("embedded", "cometbft"), "genesis: engine")
    suite: Suite = Intl() if value["suite"] == "intl" else Gm()
    embedded = value["engine"] == "embedded"
    members, keys = {}, {}
    for member in value["members"]:
        held = read_member(suite, member, embedded=embedded, network=value["name"])
        members[member["id"]] = cbor2.dumps(held, canonical=True)
        keys[member["id"]] = held["sign"]
    need(1 <= len(members) <= 256, "genesis: members")
    need(ascending([member["id"] for member in value["members"]]), "genesis: order of members")
    for name in ("governing", "witnesses"):
        known = all(isinstance(item, str) and item in keys for item in value[name])
        need(known and ascending(value[name]), f"genesis: {name}")
    validators = [member["id"] for member in value["members"] if "validator_key" in member]
    writer = value["writer"]
    need(writer in keys if embedded else writer == "" and value["witnesses"] == validators, "genesis: writer")
    epoch = {"number": 0, "operator": writer, "operator_key": keys.get(writer, b""), "quorum": value["quorum"]}
    epoch |= {name: {item: keys[item] for item in value[name]} for name in ("witnesses", "governing")}
    check_epoch(suite, epoch, embedded=embedded)
    return Network(suite, suite.digest(data), value["created_ms"], embedded, members, epoch)


def read_member(suite: Suite, member: Any, *, embedded: bool, network: str) -> dict[str, Any]:
    """What stands at ``members/member/<id>`` before block 1."""
    names = ["id", "name", "name_zh", "role", "sealing_key", "signing_key", "sealing_proof", "signing_proof"]
    if not embedded and isinstance(member, dict) and "validator_key" in member:
        names += ["validator_key", "validator_proof"]
    fields(member, "genesis member", **dict.fromkeys(names, str))
    need(MEMBER_ID.fullmatch(member["id"]) and member["role"] in ROLES, "genesis member: id or role")
    raw = {}
    for name in names[4:]:
        wanted = 64 if name.endswith("proof") else 32 if name == "validator_key" else suite.key_bytes
        need(re.fullmatch(r"[0-9a-f]*", member[name]) and len(member[name]) == 2 * wanted, f"genesis member: {name}")
        raw[name] = bytes.fromhex(member[name])
    for purpose in [name.removesuffix("_key") for name in raw if name.endswith("_key")]:
        # [MEMBER-24]: the key itself signs, for a sealing key the signing key.
        by, judge = (raw["validator_key"], Intl()) if purpose == "validator" else (raw["signing_key"], suite)
        lines = (f"network-name {network}", f"member {member['id']}", f"purpose {purpose}")
        text = "".join(f"{line}\n" for line in ("key registration/v1", *lines, f"key {member[f'{purpose}_key']}"))
        need(judge.holds(by, text.encode(), raw[f"{purpose}_proof"]), f"genesis member: {purpose} key not proven")
    same = {name: member[name] for name in ("role", "name", "name_zh")}
    return {**same, "sign": raw["signing_key"], "seal": raw["sealing_key"]}


def check_epoch(suite: Suite, epoch: Any, *, embedded: bool) -> None:
    """[EPOCH-3], [EPOCH-4] on the engine, [NOTE-5]."""
    wanted = {"number": int, "operator": str, "operator_key": bytes, "quorum": int}
    fields(epoch, "epoch", **wanted, witnesses=dict, governing=dict)
    operator, witnesses, governing = epoch["operator"], epoch["witnesses"], epoch["governing"]
    need(len(witnesses) <= 64 and 1 <= len(governing) <= 64, "epoch: sets")
    for name, key in [*witnesses.items(), *governing.items()]:
        need(MEMBER_ID.fullmatch(name), "epoch: member id")
        need(isinstance(key, bytes) and len(key) == suite.key_bytes, "epoch: key")
    need(bool(operator) == embedded, "epoch: engine")
    signers = list(witnesses.values())
    if embedded:
        need(MEMBER_ID.fullmatch(operator) and operator not in witnesses, "epoch: operator")
        need(len(epoch["operator_key"]) == suite.key_bytes, "epoch: operator key")
        signers.append(epoch["operator_key"])
    else:
        need(epoch["operator_key"] == b"", "epoch: operator key without an operator")
    need(len(set(signers)) == len(signers), "epoch: one key for two signers")
    least = 0 if embedded else len(witnesses) // 3 + 1
    need(least <= epoch["quorum"] <= len(witnesses), "epoch: quorum")


# Checkpoints ------------------------------------------------------------------------------------------------------


def unbase64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("checkpoint: base64") from error
    need(base64.b64encode(data).decode() == text, "checkpoint: another spelling of base64")
    return data


@dataclass(frozen=True)
class Checkpoint:
    size: int
    root: bytes
    cosigners: list[str]


def read_checkpoint(network: Network, epoch: dict[str, Any], note: bytes) -> Checkpoint:
    """[NOTE-1] to [NOTE-6], under the policy of one epoch."""
    try:
        whole = note.decode()
    except UnicodeDecodeError as error:
        raise Refused("checkpoint: not UTF-8") from error
    head, blank, rest = whole.partition("\n\n")
    lines = rest.split("\n")
    need(len(note) <= 16_384 and blank and lines.pop() == "" and 1 <= len(lines) <= 65, "checkpoint: form")
    three = head.split("\n")
    need(len(three) == 3 and DECIMAL.fullmatch(three[1]) and int(three[1]) <= LARGEST, "checkpoint: text")
    root = unbase64(three[2])
    need(len(root) == 32, "checkpoint: root")
    signed = []
    for line in lines:
        match = SIGNER_LINE.fullmatch(line)
        need(match, "checkpoint: signature line")
        assert match is not None
        signed.append((match[1], unbase64(match[2])))
    need(three[0] == network.origin, "checkpoint: of another log")
    text = head.encode() + b"\n"
    if epoch["operator"]:
        name, blob = signed.pop(0)
        kind, key = network.suite.operator_type, epoch["operator_key"]
        need(name == network.origin and len(blob) == 68, "checkpoint: not by the operator")
        check_line(network.suite, name, kind, key, blob[:4], text, blob[4:])
    cosigners = [cosigner(network, epoch, name, blob, text) for name, blob in signed]
    need(ascending(cosigners), "checkpoint: order of cosignatures")
    need(len(cosigners) >= epoch["quorum"], "checkpoint: quorum")
    return Checkpoint(int(three[1]), root, cosigners)


def cosigner(network: Network, epoch: dict[str, Any], name: str, blob: bytes, text: bytes) -> str:
    """[NOTE-4]: the member whose valid cosignature this line is."""
    member = name.removeprefix(network.origin + "/")
    need(name != member and member in epoch["witnesses"] and len(blob) == 76, "checkpoint: unknown cosigner")
    time_s = int.from_bytes(blob[4:12], "big")
    need(1 <= time_s <= LARGEST, "checkpoint: time of a cosignature")
    message = f"cosignature/v1\ntime {time_s}\n".encode() + text
    key = epoch["witnesses"][member]
    check_line(network.suite, name, network.suite.cosigner_type, key, blob[:4], message, blob[12:])
    return member


def check_line(
    suite: Suite, name: str, kind: bytes, key: bytes, key_hash: bytes, message: bytes, signature: bytes
) -> None:
    """[NOTE-3]."""
    need(key_hash == suite.digest(name.encode() + b"\n" + kind + key)[:4], "checkpoint: key hash")
    need(suite.holds(key, message, signature), "checkpoint: signature")

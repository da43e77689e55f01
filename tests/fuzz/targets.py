"""One target for each reader of bytes from outside: what reads them, and bytes that it accepts.

A reader may accept bytes or refuse them with an error of the product's own (``base.errors``); any other exception is a
fault. Seeds are made from the vectors and by the encoders, so that nothing binary is stored.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shuiqiao.base.encoding import (
    decode_cbor_strict,
    decode_json,
    decode_toml,
    encode_cbor,
    encode_json,
)
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.consent.artefact import ARTEFACT, decode_artefact
from shuiqiao.consent.model import ConsentArtefact
from shuiqiao.credit.scorecard_file import decode_scorecard
from shuiqiao.crypto.keyfile import load_key_file
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.model import Manifest, RequestMessage, SealedAnswer
from shuiqiao.ledger.document import decode_document, sign_document
from shuiqiao.ledger.engine.cometbft import codec, snapshots
from shuiqiao.ledger.engine.cometbft import requests as ask
from shuiqiao.ledger.engine.cometbft.bundle import encode_bundle, transactions_in
from shuiqiao.ledger.engine.cometbft.closing import carried_in, encode_carried
from shuiqiao.ledger.engine.cometbft.home import read_comet_genesis, read_last_signed, read_node_id
from shuiqiao.ledger.engine.cometbft.wire import split_frames
from shuiqiao.ledger.entry import decode_entry
from shuiqiao.ledger.fork_evidence import decode_evidence
from shuiqiao.ledger.pinning import decode_pinned
from shuiqiao.ledger.receipt import decode_receipt
from shuiqiao.ledger.receipt_verification import verify_receipt
from shuiqiao.ledger.signed_note import decode_signed_note
from shuiqiao.ledger.state_map import decode_state_proof, encode_state_proof
from shuiqiao.ledger.store import index_record
from shuiqiao.ledger.store.frame import decode_frame, decode_segment_header, encode_frame, encode_segment_header
from shuiqiao.ledger.transaction import decode_transaction
from shuiqiao.ledger.witness_request import decode_request as decode_witness_request
from shuiqiao.ledger.witness_request import encode_request as encode_witness_request
from shuiqiao.lending.catalogue import product_from_toml
from shuiqiao.members.epoch import decode_epoch
from shuiqiao.members.genesis import decode_genesis, genesis_from_members_toml, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.archive import ArchiveWriter, read_archive
from shuiqiao.node.backup_manifest import decode_manifest as decode_backup_manifest
from shuiqiao.node.home import Home
from shuiqiao.node.kinds import network_kinds
from shuiqiao.node.link_frames import AskReceipt, Done, read_answer, read_question
from shuiqiao.node.link_frames import encode_frame as encode_link_frame
from shuiqiao.node.member_file import load_admission
from shuiqiao.node.network_members import example_members
from shuiqiao.node.network_plan import NetworkFolder, load_plan
from shuiqiao.node.settings import load_settings
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers import open_source
from shuiqiao.vault.batch_file import GroupBytes, LeavesFile, LeavesHeader, encode_leaves
from shuiqiao.vault.disclosure import decode_disclosure
from shuiqiao.vault.evidence import EVIDENCE_MAGIC
from shuiqiao.vault.evidence import decode_evidence as decode_record
from shuiqiao.vault.reading import read_rows

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "ledger"
SUITE = get_suite("intl")
NETWORK = bytes(32)
KEY = SUITE.signing_key_from_seed(bytes(32))
FOLDER = Path(tempfile.mkdtemp(prefix="shuiqiao-fuzz-"))
"""Where bytes stand that are read by the name of a file."""


MAX_LINK_BYTES = 32 * 1024
"""Most bytes that a link is given at once."""

NAMES = {"request": bytes(16), "consent": bytes(16)}
PERIOD = {"period_from": "2024-01-01", "period_to": "2024-12-31"}
SENDER = {"sender": "bank", "receiver": "bureau"}
REQUEST = (
    NAMES
    | PERIOD
    | SENDER
    | {
        "purpose": "underwriting",
        "mode": "disclose",
        "items": {"invoice_issued@2": ["core"]},
        "made_ms": 1,
        "salt": bytes(32),
    }
)
ARTEFACT_BODY = PERIOD | {
    "consent": bytes(16),
    "taxpayer": "91320100MA10000001",
    "provider": "bureau",
    "recipient": "bank",
    "purpose": "underwriting",
    "items": {"invoice_issued@2": ["core"]},
    "modes": ["disclose"],
    "frequency": {"count": 5, "unit": "month"},
    "data_life_days": 30,
    "valid_from_ms": 0,
    "valid_to_ms": 3_600_000,
    "product": "p",
    "identity_check": {"reference": "r", "checked_ms": 0},
    "firm": bytes(32),
    "salt": bytes(32),
}
ANSWER = NAMES | SENDER | {"sealed": b"sealed"}
MANIFEST = (
    NAMES
    | PERIOD
    | {
        "provider": "bureau",
        "recipient": "bank",
        "taxpayer": "91320100MA10000001",
        "items": {"invoice_issued@2": ["core"]},
        "types": [{"type": "invoice_issued@2", "names": bytes(32)}],
        "cells": [{"type": "invoice_issued@2", "month": "2024-01", "count": 1}],
        "as_of_size": 1,
        "as_of_root": bytes(32),
        "made_ms": 1,
        "salt": bytes(32),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A reader, and bytes to begin with."""

    read: Callable[[bytes], object]
    seeds: Callable[[], Sequence[bytes]]


@cache
def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


@cache
def receipts() -> list[bytes]:
    file = vectors("receipts_intl")
    return [bytes.fromhex(each["receipt"]) for each in [*file["valid"], *file["invalid"]]]


@cache
def whole_receipts() -> list[Any]:
    found = []
    for data in receipts():
        try:
            found.append(decode_receipt(data, hash_name="sha256"))
        except ShuiqiaoError:
            continue
    return found


@cache
def parameters() -> Any:
    return network_parameters(vectors("receipts_intl")["genesis"].encode())


def transactions() -> list[bytes]:
    return sorted({receipt.transaction for receipt in whole_receipts()})


def notes() -> list[bytes]:
    return sorted({receipt.checkpoint for receipt in whole_receipts()})


def epochs() -> list[bytes]:
    return sorted({step.epoch for receipt in whole_receipts() for step in receipt.epochs})


def state_proofs() -> list[bytes]:
    return [encode_state_proof(step.proof) for receipt in whole_receipts() for step in receipt.epochs]


def written(data: bytes, name: str) -> Path:
    path = FOLDER / name
    path.write_bytes(data)
    return path


def read_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """Return a reader of bytes for one of text; what is no UTF-8 is refused before such a reader is called."""
    return lambda data: read(data.decode(errors="replace"))


def read_transaction(data: bytes) -> object:
    return decode_transaction(data, kinds=network_kinds(), network=parameters().network, suite=SUITE)


def verify(data: bytes) -> object:
    return verify_receipt(data, parameters=parameters(), kinds=network_kinds(), key_ring=MemberKeyRing(), suite=SUITE)


def document(body: type[Any], name: str, whole: dict[str, Any]) -> Target:
    """Return the target of a signed document; whole: a body that it accepts."""

    def seeds() -> list[bytes]:
        content = msgspec.convert(whole, body, builtin_types=(bytes,))
        return [sign_document(content, name=name, network=NETWORK, suite=SUITE, keys=[KEY])]

    return Target(
        read=lambda data: decode_document(data, body, name=name, network=NETWORK, suite=SUITE, max_bytes=1 << 20),
        seeds=seeds,
    )


def read_source(name: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> int:
        source = open_source(written(data, name), record_type=None, catalogue=load_catalogue())
        return sum(batch.num_rows for batch in source.batches(1000))

    return read


def invoice_table() -> pa.Table:
    record_type = load_catalogue().get("tax_credit_grade")
    names = [field.name for field in record_type.fields]
    return pa.table({name: pa.array(["1", "2"]) for name in names})


def csv_seeds() -> list[bytes]:
    table = invoice_table()
    head = ",".join(table.schema.names)
    row = ",".join("1" for _ in table.schema.names)
    return [f"{head}\n{row}\n{row}\n".encode(), f'\ufeff{head}\r\n"{row}'.encode(), head.encode("gb18030")]


def parquet_seeds() -> list[bytes]:
    out = io.BytesIO()
    pq.write_table(invoice_table(), out)
    return [out.getvalue()]


def stored_parquet() -> list[bytes]:
    out = io.BytesIO()
    pq.write_table(pa.table({"name": ["a", "b", "c"], "amount": [1, 2, 3]}), out, row_group_size=2)
    return [out.getvalue()]


def read_stored_parquet(data: bytes) -> object:
    written(data, bytes(16).hex() + ".parquet")
    return read_rows(FOLDER, bytes(16), ["name", "amount"], [0, 2])


def leaves_seeds() -> list[bytes]:
    header = LeavesHeader(
        batch=bytes(16), suite="intl", standard="s@1", groups=["core"], count=2, erased=[], parquet=bytes(32), sizes=[2]
    )
    group = GroupBytes(ends=np.array([1, 2], dtype=np.uint32), data=b"ab")
    parts = encode_leaves(header, tree=bytes(3 * 32), salts=bytes(2 * 16), groups=[group])
    return [b"".join(bytes(part) for part in parts)]


def read_leaves(data: bytes) -> object:
    with LeavesFile(written(data, "batch.leaves"), count=2, groups=["core"]) as file:
        return (file.tree(), file.salts_of([0, 1]), file.group_records(0, [0, 1]), file.multiproof([1]), file.group(0))


def archive_seeds() -> list[bytes]:
    out = io.BytesIO()
    writer = ArchiveWriter(out, new_hash=hashlib.sha256)
    writer.add("genesis.json", b"{}")
    writer.add("node.toml", b"x" * 600)
    writer.end()
    return [out.getvalue()]


def read_whole_archive(data: bytes) -> object:
    return [(file.name, file.read(most=1 << 20)) for file in read_archive(io.BytesIO(data))]


def read_settings(data: bytes) -> object:
    home = Home(FOLDER)
    home.settings.write_bytes(data)
    return load_settings(home)


def read_abci(data: bytes) -> object:
    ranges, _, _ = split_frames(data)
    return [codec.decode_request(data, at, end) for at, end in ranges]


def abci_seeds() -> list[bytes]:
    requests = [
        ask.RequestEcho(message="hello"),
        ask.RequestCheckTx(tx=b"transaction"),
        ask.RequestFinalizeBlock(txs=[b"one", b"two"], height=3),
        ask.RequestOfferSnapshot(),
    ]
    return [codec.encode_request(request) for request in requests]


def frames() -> list[bytes]:
    data, _ = encode_frame(
        [b"one", b"two"], entry=b"e", height=1, first_index=0, previous=bytes(32), hash_name="sha256"
    )
    return [data]


def segment_headers() -> list[bytes]:
    return [
        encode_segment_header(network=NETWORK, first_height=1, first_index=0, previous=bytes(32), hash_name="sha256")
    ]


def witness_requests() -> list[bytes]:
    return [encode_witness_request(old_size=1, proof=[bytes(32)], note=note) for note in notes()[:2]]


def last_signed(data: bytes) -> object:
    folder = FOLDER / "data"
    folder.mkdir(exist_ok=True)
    (folder / "priv_validator_state.json").write_bytes(data)
    return read_last_signed(FOLDER)


def read_link(read: Callable[[socket.socket], object]) -> Callable[[bytes], object]:
    """Return a reader of one end of a link."""

    def read_one(data: bytes) -> object:
        near, far = socket.socketpair()
        with near, far:
            # The frame is smaller than the buffer of a socket, so nobody needs to read meanwhile.
            far.sendall(data[:MAX_LINK_BYTES])
            far.shutdown(socket.SHUT_WR)
            return read(near)

    return read_one


def index_records() -> list[bytes]:
    place = index_record.Place(segment=1, offset=2, frame_bytes=3)
    block = index_record.BlockPlace(height=1, first_index=0, count=1, time_ms=1, place=place)
    return [index_record.encode_block(block)]


def comet_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    def read_file(data: bytes) -> object:
        folder = FOLDER / "comet" / "config"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        return read(folder.parent)

    return read_file


def node_keys() -> list[bytes]:
    key = base64.b64encode(bytes(64)).decode()
    return [encode_json({"priv_key": {"type": "tendermint/PrivKeyEd25519", "value": key}})]


def plans() -> list[bytes]:
    validators = [{"member": "aa", "p2p_port": 26656}, {"member": "bb", "p2p_port": 26657}]
    relays = [{"near": "aa", "far": "bb", "port": 26658}]
    plan = {"version": 2, "network": "00" * 32, "suite": "intl", "engine": "cometbft"}
    return [encode_json(plan | {"validators": validators, "relays": relays})]


def artefacts() -> list[bytes]:
    whole = msgspec.convert(ARTEFACT_BODY | {"key": KEY.public_key}, ConsentArtefact, builtin_types=(bytes,))
    return [sign_document(whole, name=ARTEFACT, network=NETWORK, suite=SUITE, keys=[KEY])]


def read_plan(data: bytes) -> object:
    folder = NetworkFolder(FOLDER)
    written(data, folder.plan.name)
    return load_plan(folder)


TARGETS: dict[str, Target] = {
    "index-record": Target(read=lambda data: index_record.decode_block(1, data), seeds=index_records),
    "link-question": Target(
        read=read_link(read_question), seeds=lambda: [encode_link_frame(AskReceipt(1, 2, ("a", "b")))]
    ),
    "link-answer": Target(read=read_link(read_answer), seeds=lambda: [encode_link_frame(Done(1))]),
    "network-plan": Target(read=read_plan, seeds=plans),
    "node-key": Target(read=comet_file("node_key.json", read_node_id), seeds=node_keys),
    "comet-genesis": Target(
        read=comet_file("genesis.json", read_comet_genesis), seeds=lambda: [encode_json({"chain_id": "c"})]
    ),
    "cbor": Target(
        read=lambda data: decode_cbor_strict(data, max_bytes=1 << 20),
        seeds=lambda: [encode_cbor({"a": [1, -1, None, True, b"x", "y"], "b": {}}), b"\xa1" * 8 + b"\x60" * 9],
    ),
    "json": Target(
        read=lambda data: decode_json(data, max_bytes=1 << 20),
        seeds=lambda: [encode_json({"a": [1, None, True, "税"]}), b'{"a":1e3}'],
    ),
    "toml": Target(read=read_text(decode_toml), seeds=lambda: [b"a = 1\n[b]\nc = [1, 2]\nd = 2024-01-01\n"]),
    "transaction": Target(read=read_transaction, seeds=transactions),
    "receipt": Target(read=verify, seeds=receipts),
    "note": Target(read=decode_signed_note, seeds=notes),
    "checkpoint": Target(read=decode_pinned, seeds=notes),
    "entry": Target(read=decode_entry, seeds=lambda: sorted({receipt.entry for receipt in whole_receipts()})),
    "epoch": Target(read=decode_epoch, seeds=epochs),
    "state-proof": Target(read=decode_state_proof, seeds=state_proofs),
    "fork-evidence": Target(
        read=decode_evidence,
        seeds=lambda: [encode_cbor({"proof": [], "version": 1, "new_note": notes()[0], "old_note": notes()[0]})],
    ),
    "witness-request": Target(read=decode_witness_request, seeds=witness_requests),
    "artefact": Target(read=lambda data: decode_artefact(data, network=NETWORK, suite=SUITE), seeds=artefacts),
    "request": document(RequestMessage, "exchange.request/1", REQUEST),
    "answer": document(SealedAnswer, "exchange.answer/1", ANSWER),
    "manifest": document(Manifest, "exchange.manifest/1", MANIFEST),
    "disclosure": Target(
        read=lambda data: decode_disclosure(data, catalogue=load_catalogue()),
        seeds=lambda: [
            encode_cbor(
                {"version": 1, "uscc": "1", "period_from": "2024-01-01", "period_to": "2024-12-31", "types": []}
            )
        ],
    ),
    "record": Target(
        read=decode_record,
        seeds=lambda: [
            EVIDENCE_MAGIC + encode_cbor({"proof": {"version": 1, "groups": [], "path": []}, "receipt": b""})
        ],
    ),
    "bundle": Target(read=transactions_in, seeds=lambda: [encode_bundle(transactions()[:3])]),
    "carried-note": Target(read=carried_in, seeds=lambda: [encode_carried(notes()[0])]),
    "abci-request": Target(read=read_abci, seeds=abci_seeds),
    "snapshot-manifest": Target(
        read=snapshots.decode_manifest, seeds=lambda: [encode_cbor({"version": 1, "segments": [[1, 2]], "notes": []})]
    ),
    "segment-header": Target(read=lambda data: decode_segment_header(data, hash_name="sha256"), seeds=segment_headers),
    "segment-frame": Target(read=lambda data: decode_frame(data, hash_name="sha256"), seeds=frames),
    "key-file": Target(
        read=lambda data: load_key_file(written(data, "key.json"), passphrase=b"secret"), seeds=lambda: [b"{}\n"]
    ),
    "envelope": Target(
        read=lambda data: SUITE.sealing_key_from_seed(bytes(32)).open_sealed(data, associated_data=b"data"),
        seeds=lambda: [
            SUITE.seal(b"text", recipient=SUITE.sealing_key_from_seed(bytes(32)).public_key, associated_data=b"data")
        ],
    ),
    "genesis": Target(read=decode_genesis, seeds=lambda: [vectors("receipts_intl")["genesis"].encode()]),
    "members.toml": Target(
        read=read_text(lambda text: genesis_from_members_toml(text, created_ms=0)),
        seeds=lambda: [example_members(4).encode()],
    ),
    "node.toml": Target(read=read_settings, seeds=lambda: [b'member = "bureau"\nrole = "tax_bureau"\n']),
    "member-file": Target(
        read=lambda data: load_admission(written(data, "member.toml"), governing=False, witness=False),
        seeds=lambda: [b'[member]\nid = "bank"\nrole = "bank"\nname = "B"\nsigning_key = "00"\n'],
    ),
    "product": Target(
        read=read_text(lambda text: product_from_toml(text, where="p")),
        seeds=lambda: [b'limit_rules = "x"\nmin_age_months = 1\nneeds_recent_sales = true\nrefer_above = "0.1"\n'],
    ),
    "csv": Target(read=read_source("source.csv"), seeds=csv_seeds),
    "parquet": Target(read=read_source("source.parquet"), seeds=parquet_seeds),
    "stored-parquet": Target(read=read_stored_parquet, seeds=stored_parquet),
    "leaves": Target(read=read_leaves, seeds=leaves_seeds),
    "backup-manifest": Target(read=decode_backup_manifest, seeds=lambda: [encode_json({"format": "shuiqiao-backup"})]),
    "archive": Target(read=read_whole_archive, seeds=archive_seeds),
    "scorecard": Target(read=decode_scorecard, seeds=lambda: [encode_json({"name": "n", "features": []})]),
    "validator-state": Target(read=last_signed, seeds=lambda: [b'{"height":"5"}']),
}

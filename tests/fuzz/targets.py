"""One target for each reader of bytes from outside: what reads them, and bytes that it accepts.

A reader may accept bytes or refuse them with an error of the product's own (``base.errors``); any other exception is a
fault. Seeds are made from the vectors and by the encoders, so that nothing binary is stored.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import credential_targets
import home_targets
import invoice_targets
import validator_targets
from shuiqiao.base.encoding import (
    decode_cbor_strict,
    decode_json,
    decode_toml,
    encode_cbor,
    encode_json,
)
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.consent.artefact import ARTEFACT, ENDORSEMENT, decode_artefact, verify_artefact_rules
from shuiqiao.consent.model import ConsentArtefact, Endorsement
from shuiqiao.credit.scorecard import BASE_ODDS, BASE_SCORE, POINTS_TO_DOUBLE, decode_scorecard
from shuiqiao.crypto.file_cipher import FILE_MAGIC, FileCipher
from shuiqiao.crypto.model import CipherSuite, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.manifest import MANIFEST as MANIFEST_NAME
from shuiqiao.exchange.manifest import decode_manifest
from shuiqiao.exchange.messages import REQUEST_MESSAGE, open_answer, verify_request_rules
from shuiqiao.exchange.model import AnswerContent, AnswerManifest, RequestMessage, SealedAnswer
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, decode_signed_note, encode_text, read_checkpoint
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.log.tree import Frontier, leaf_hash
from shuiqiao.ledger.receipts.verification import verify_receipt
from shuiqiao.ledger.state.state_map import decode_state_proof, encode_state_proof
from shuiqiao.ledger.tiles.reader import PublishedLog
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.ledger.transactions.transaction import decode_transaction
from shuiqiao.ledger.witness.fork_evidence import decode_evidence as decode_fork_evidence
from shuiqiao.ledger.witness.request import decode_request as decode_witness_request
from shuiqiao.ledger.witness.request import encode_request as encode_witness_request
from shuiqiao.lending.catalogue import product_from_toml
from shuiqiao.lending.openings import DecisionOpening, open_decision
from shuiqiao.members.epoch import decode_epoch
from shuiqiao.members.genesis import decode_genesis, genesis_from_members_toml
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.backup.archive import ArchiveWriter, BackupManifest, FileEntry, LedgerMoment, read_archive
from shuiqiao.node.backup.archive import decode_manifest as decode_backup_manifest
from shuiqiao.node.backup.archive import encode_manifest as encode_backup_manifest
from shuiqiao.node.backup.reading import verify_backup
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.home.settings import load_genesis
from shuiqiao.node.localnet.making import example_members
from shuiqiao.node.member_file import decode_admission, load_member_file
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import PEER_MESSAGE, PeerMessage
from shuiqiao.node.published.verification import ReceiptVerifier, verify_published
from shuiqiao.standards.publication import load_catalogue, parse_catalogue
from shuiqiao.standards.readers.source import open_source
from shuiqiao.standards.validation import validate_batch
from shuiqiao.vault.disclosure import decode_disclosure, encode_disclosure
from shuiqiao.vault.evidence import (
    RecordEvidence,
    RecordProof,
    decode_evidence,
    encode_evidence,
    verify_record_proof,
)
from shuiqiao.vault.storage.batch_file import CLEAR_MAGIC, MAGIC, BatchFiles, GroupBytes, LeavesHeader
from target import (
    CUT,
    FOLDER,
    KEY,
    NETWORK,
    SUITE,
    Target,
    block_parts,
    notes,
    parameters,
    receipts,
    transactions,
    vectors,
    whole_receipts,
    written,
)
from vault_world import BUREAU, CATALOGUE, EVER, VaultWorld, invoice, write_rows

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
FIRM = "91320100MA1000000A"
ENDORSED = {"consent": bytes(16), "taxpayer": FIRM, "artefact_digest": bytes(32)}
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


def epochs() -> list[bytes]:
    return sorted({step.epoch for receipt in whole_receipts() for step in receipt.epochs})


def state_proofs() -> list[bytes]:
    return [encode_state_proof(step.proof) for receipt in whole_receipts() for step in receipt.epochs]


def read_text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """Return a reader of bytes for one of text; what is no UTF-8 is refused before such a reader is called."""
    return lambda data: read(data.decode(errors="replace"))


def read_transaction(data: bytes) -> object:
    return decode_transaction(data, kinds=network_kinds(), network=parameters().network, suite=SUITE)


def verify(data: bytes) -> object:
    return verify_receipt(data, parameters=parameters(), kinds=network_kinds(), key_ring=MemberKeyRing(), suite=SUITE)


def document(
    body: type[Any], name: str, whole: dict[str, Any], verify_rules: Callable[[Any], object] = lambda _body: None
) -> Target:
    """Return the target of a signed document; whole: a body that it accepts."""

    def read(data: bytes) -> object:
        found = decode_document(data, body, name=name, network=NETWORK, suite=SUITE, max_bytes=1 << 20)
        return verify_rules(found.body)

    def seeds() -> list[bytes]:
        content = msgspec.convert(whole, body, builtin_types=(bytes,))
        return [sign_document(content, name=name, network=NETWORK, suite=SUITE, keys=[KEY])]

    return Target(read=read, seeds=seeds)


def read_source(name: str) -> Callable[[bytes], object]:
    def read(data: bytes) -> int:
        source = open_source(written(data, name), record_type=None, catalogue=load_catalogue())
        return sum(
            validate_batch(source.record_type, batch, first_row=1).rows.num_rows for batch in source.batches(1000)
        )

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


def ndjson_seeds() -> list[bytes]:
    row = json.dumps(dict.fromkeys(invoice_table().schema.names, "1"))
    return [f"{row}\n{row}\n".encode(), f"\ufeff{row.replace(chr(34) + '1' + chr(34), '1.50')}\r\n\n{{}}".encode()]


def parquet_seeds() -> list[bytes]:
    small, leaving = io.BytesIO(), io.BytesIO()
    pq.write_table(invoice_table(), small)
    # Its columns leave their dictionaries after some pages.
    texts = pa.array([str(number % 20) for number in range(60)])
    table = pa.table(dict.fromkeys(invoice_table().schema.names, texts))
    pq.write_table(table, leaving, dictionary_pagesize_limit=20, data_page_size=20, write_batch_size=10)
    return [small.getvalue(), leaving.getvalue()]


BATCH_FILES = BatchFiles(folder=FOLDER, cipher=FileCipher(lambda: bytes(32), suite=SuiteName.INTL, entropy=bytes))


def stored_parquet() -> list[bytes]:
    out = io.BytesIO()
    pq.write_table(pa.table({"name": ["a", "b", "c"], "amount": [1, 2, 3]}), out, row_group_size=2)
    encrypted = BATCH_FILES.write_parquet(bytes(16), out.getvalue()).read_bytes()
    return [out.getvalue(), encrypted]


def read_stored_parquet(data: bytes) -> object:
    written(data, bytes(16).hex() + ".parquet")
    return BATCH_FILES.read_rows(bytes(16), ["name", "amount"], [0, 2])


def leaves_seeds() -> list[bytes]:
    header = LeavesHeader(
        batch=bytes(16), suite="intl", standard="s@1", groups=["core"], count=2, erased=[], parquet=bytes(32), sizes=[2]
    )
    group = GroupBytes(ends=np.array([1, 2], dtype=np.uint32), data=b"ab")
    path = BATCH_FILES.write_leaves(header, tree=bytes(3 * 32), salts=bytes(2 * 16), groups=[group])
    encrypted = path.read_bytes()
    head = encrypted[len(MAGIC) : encrypted.index(FILE_MAGIC)]
    return [encrypted, CLEAR_MAGIC + head + bytes(2 * 16) + group.ends.tobytes() + group.data]


def read_leaves(data: bytes) -> object:
    written(data, bytes(16).hex() + ".leaves")
    with BATCH_FILES.leaves(bytes(16), count=2, groups=["core"]) as file:
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


def witness_requests() -> list[bytes]:
    return [encode_witness_request(old_size=1, proof=[bytes(32)], note=note) for note in notes()[:2]]


def artefacts() -> list[bytes]:
    whole = msgspec.convert(ARTEFACT_BODY | {"key": KEY.public_key}, ConsentArtefact, builtin_types=(bytes,))
    return [sign_document(whole, name=ARTEFACT, network=NETWORK, suite=SUITE, keys=[KEY])]


BUREAU_KEY = SUITE.signing_key_from_seed(SUITE.digest(BUREAU.encode()))
"""As the world's ledger knows it."""


class Unsealed:
    """A sealing key whose envelope is left out: what is fuzzed is inside."""

    public_key = b""

    def open_sealed(self, sealed: bytes, *, associated_data: bytes) -> bytes:
        del associated_data
        return sealed


def read_answer_content(data: bytes) -> object:
    message = msgspec.convert(REQUEST, RequestMessage, builtin_types=(bytes,))
    body = SealedAnswer(request=message.request, consent=message.consent, sender="bureau", receiver="bank", sealed=data)
    raw = sign_document(body, name="exchange.answer/1", network=NETWORK, suite=SUITE, keys=[BUREAU_KEY])
    state = vault_world().ledger.state()
    return open_answer(raw, message=message, state=state, network=NETWORK, suite=SUITE, sealing_key=Unsealed())


def read_signed_manifest(data: bytes) -> object:
    state = vault_world().ledger.state()
    return decode_manifest(data, provider=BUREAU, state=state, network=NETWORK, suite=SUITE)


def signed_manifests() -> list[bytes]:
    content = msgspec.convert(MANIFEST, AnswerManifest, builtin_types=(bytes,))
    return [sign_document(content, name=MANIFEST_NAME, network=NETWORK, suite=SUITE, keys=[BUREAU_KEY])]


def answer_contents() -> list[bytes]:
    return [encode_cbor(msgspec.to_builtins(AnswerContent(manifest=b"m", disclosure=b"d"), builtin_types=(bytes,)))]


def read_decision(data: bytes) -> object:
    return open_decision(data, key=Unsealed(), network=NETWORK, bank="bank", application=bytes(16))


def decisions() -> list[bytes]:
    opening = {
        "bank": "bank",
        "application": bytes(16),
        "product": "tax-loan",
        "outcome": "approved",
        "amount_fen": 5,
        "grade": "A",
        "industry": "F",
        "province": "32",
        "model_digest": bytes(32),
        "firm": bytes(32),
        "salt": bytes(32),
    }
    known = {field.name for field in msgspec.structs.fields(DecisionOpening)}
    return [encode_cbor({name: value for name, value in opening.items() if name in known})]


@cache
def vault_world() -> VaultWorld:
    world = VaultWorld(FOLDER / "world")
    world.ingest(write_rows(FOLDER / "invoices.parquet", "invoice_issued", (invoice(n, uscc=FIRM) for n in range(11))))
    return world


def read_disclosure(data: bytes) -> object:
    return vault_world().verify(decode_disclosure(data, catalogue=CATALOGUE), status_of=vault_world().status_of)


def disclosures() -> list[bytes]:
    groups = (["core"], ["core", "amounts", "counterparty"])
    return [encode_disclosure(vault_world().disclose(FIRM, {"invoice_issued": names})) for names in groups]


def read_record_proof(data: bytes) -> object:
    return verify_record_proof(decode_evidence(data).proof, batch_of=vault_world().batch_of, suite=SUITE)


@cache
def record_proof() -> RecordProof:
    leaf, *_ = vault_world().vault.live_leaves(uscc=FIRM, type_id="invoice_issued", **EVER)
    return vault_world().vault.prove_record(leaf, groups=["core"])


def record_proofs() -> list[bytes]:
    return [encode_evidence(RecordEvidence(proof=record_proof(), receipt=b""))]


def read_evidence(data: bytes) -> object:
    verifier = ReceiptVerifier(parameters=parameters(), suite=SUITE)
    return verifier.verify_file(written(data, "evidence"))


def evidence_files() -> list[bytes]:
    both = (RecordEvidence(proof=record_proof(), receipt=each) for each in receipts()[:2])
    return [receipts()[0], *map(encode_evidence, both)]


@dataclass(frozen=True, slots=True)
class Files:
    """Static files of a log: what stands under the beginning of a path."""

    found: dict[str, bytes]

    def get(self, path: str, *, max_bytes: int) -> bytes | None:
        data = next((data for start, data in self.found.items() if path.startswith(start)), None)
        return None if data is None else data[: max_bytes + 1]


def read_tiles(data: bytes) -> object:
    """Read the same bytes as entries and as hashes."""
    checkpoint = Checkpoint(origin="o", size=3, root=bytes(32), note=b"")
    log = PublishedLog(Files({"tile/entries": data, "tile/": data}), checkpoint=checkpoint, suite=SUITE)
    log.inclusion_proof(1)
    return log.verify_all()


def bundled(entries: list[bytes]) -> bytes:
    return b"".join(struct.pack(">H", len(entry)) + entry for entry in entries)


def read_published(data: bytes) -> object:
    """Follow a published log whose hashes all hold."""
    leaves = [part[:65_535] for part in data.split(CUT)][:256]
    hashes = [leaf_hash(leaf, hash_name="sha256") for leaf in leaves]
    own = parameters()
    frontier = Frontier(hash_name="sha256")
    frontier.append(hashes)
    text = encode_text(origin=own.origin, size=len(leaves), root=frontier.root())
    note = text + b"\n" + sign_cosignature(text, name=f"{own.origin}/node0", key=KEY, suite=SUITE, time_s=1)
    found = Files({"checkpoint": note, "tile/entries": bundled(leaves), "tile/0": b"".join(hashes)})
    return verify_published(found, parameters=own, suite=SUITE, since=None, progress=lambda *_: None)


def suite_of(name: str) -> CipherSuite:
    return get_suite(name)


def read_signature(name: str) -> Callable[[bytes], object]:
    """Return a reader of a key, a signature by it, and a message."""
    key_bytes = {"intl": 32, "gm": 65}[name]

    def read(data: bytes) -> object:
        suite = suite_of(name)
        key, signature, message = data[:key_bytes], data[key_bytes : key_bytes + 64], data[key_bytes + 64 :]
        for verify_key in (suite.verify_signing_key, suite.verify_sealing_key):
            try:
                verify_key(key)
            except ShuiqiaoError:
                continue
        return suite.verify_signature(public_key=key, message=message, signature=signature)

    return read


def signatures(name: str) -> list[bytes]:
    key = suite_of(name).signing_key_from_seed(bytes(32))
    return [key.public_key + key.sign(b"message") + b"message"]


def envelope(name: str) -> Target:
    """Return the target of what is sealed to a key."""

    def seeds() -> list[bytes]:
        key = suite_of(name).sealing_key_from_seed(bytes(32))
        return [suite_of(name).seal(b"text", recipient=key.public_key, associated_data=b"data")]

    return Target(
        read=lambda data: suite_of(name).sealing_key_from_seed(bytes(32)).open_sealed(data, associated_data=b"data"),
        seeds=seeds,
    )


BACKUP = BackupManifest(
    network="00" * 32,
    suite="intl",
    engine="embedded",
    member="bank",
    role="bank",
    key=KEY.public_key.hex(),
    created_ms=1,
    validator=False,
    passphrase=False,
    database=True,
    ledger=LedgerMoment(height=1, size=2, root="00" * 32, state_root=None),
    files=(FileEntry(name="genesis.json", size=1, digest="00" * 32),),
)


def scorecards() -> list[bytes]:
    feature = {"name": "f", "cuts": [1], "points": [1, 2], "unknown_points": 0, "counts": [1, 1, 0], "bad": [1, 0, 0]}
    card = {"format": "shuiqiao-scorecard@1", "name": "n", "base_score": BASE_SCORE, "base_odds": BASE_ODDS}
    more = {"points_to_double": POINTS_TO_DOUBLE, "base_points": 1, "features": [feature], "n": 2, "bad": 1}
    return [encode_json(card | more)]


def products() -> list[bytes]:
    folder = files("shuiqiao.lending").joinpath("products")
    return [file.read_bytes() for file in folder.iterdir() if file.name.endswith(".toml")]


def member_files() -> list[bytes]:
    fields = {"id": "bank", "role": "bank", "name": "B", "name_zh": "B", "signing_key": "00" * 32}
    proofs = {"sealing_key": "00" * 32, "signing_proof": "00" * 64, "sealing_proof": "00" * 64}
    lines = [f'{name} = "{value}"' for name, value in (fields | proofs).items()]
    return ["\n".join(["[member]", *lines, ""]).encode()]


def backups() -> list[bytes]:
    out = io.BytesIO()
    writer = ArchiveWriter(out, new_hash=hashlib.sha256)
    writer.add("genesis.json", vectors("receipts_intl")["genesis"].encode())
    writer.add("ledger/checkpoints/latest", notes()[0])
    writer.add("manifest.json", encode_json({"format": "shuiqiao-backup", "version": 1}))
    writer.add("manifest.sig", bytes(64))
    writer.end()
    return [out.getvalue()]


def catalogues() -> list[bytes]:
    folder = files("shuiqiao.standards").joinpath("catalogue")
    codes = CUT.join(sorted(file.read_bytes() for file in folder.joinpath("codes").iterdir()))
    return [folder.joinpath(f"{name}.toml").read_bytes() + CUT + codes for name in ("tax_credit_grade", "payment")]


def read_catalogue(data: bytes) -> object:
    record_type, *codes = (part.decode(errors="replace") for part in data.split(CUT))
    return parse_catalogue(types={"type.toml": record_type}, codes={f"{n}.toml": text for n, text in enumerate(codes)})


PEER_SIDES = (acts.BlockPage, acts.Results, acts.Submitted, acts.Path, acts.Sizes, acts.Answered, acts.Opening)


def read_peer_sides(data: bytes) -> object:
    """Read bytes as each side of an act that has a shape of its own; one that is refused is no reason to skip others."""
    found = None
    for kind in PEER_SIDES:
        try:
            found = acts.decode_wire(data, kind, max_bytes=1 << 20)
        except ShuiqiaoError:
            continue
        if isinstance(found, acts.Results):
            return [each.as_error(place="writer") for each in found.results if isinstance(each, acts.Refused)]
    return found


def peer_sides() -> list[bytes]:
    block = acts.WireBlock(height=1, time_ms=2, first_index=0, transactions=[b"a", b"b"], entry=b"e")
    refused = acts.Refused.of(Unavailable("ledger.busy", "many wait", retry_after_s=0.5))
    placed = acts.Placed(index=1, height=2, time_ms=3)
    sides = [
        acts.BlockPage(blocks=[block]),
        acts.Results(results=[placed, refused], blocks=[block], note=b"note"),
        acts.Submitted(transactions=transactions()[:2], from_height=1),
        acts.Path(path=[bytes(32)]),
        acts.Sizes(sizes=[1, 2]),
        acts.Answered(answer=b"sealed", height=4),
        acts.Opening(application=bytes(16), sealed=b"sealed", height=5),
    ]
    return [acts.encode_wire(side) for side in sides]


PEER = {
    "act": "ledger.checkpoint",
    "sender": "bank",
    "receiver": "bureau",
    "made_ms": 1,
    "nonce": bytes(16),
    "body": b"",
}

TARGETS: dict[str, Target] = {
    "peer-message": document(PeerMessage, PEER_MESSAGE, PEER),
    "peer-sides": Target(read=read_peer_sides, seeds=peer_sides),
    **credential_targets.TARGETS,
    **home_targets.TARGETS,
    **invoice_targets.TARGETS,
    **validator_targets.TARGETS,
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
    "checkpoint": Target(read=read_checkpoint, seeds=notes),
    "entry": Target(read=decode_entry, seeds=lambda: sorted({receipt.entry for receipt in whole_receipts()})),
    "epoch": Target(read=decode_epoch, seeds=epochs),
    "state-proof": Target(read=decode_state_proof, seeds=state_proofs),
    "witness-request": Target(read=decode_witness_request, seeds=witness_requests),
    "members.toml": Target(
        read=read_text(lambda text: genesis_from_members_toml(text, created_ms=0)),
        seeds=lambda: [example_members(4).encode()],
    ),
    "member-file": Target(
        read=lambda data: decode_admission(
            load_member_file(written(data, "member.toml")), governing=False, witness=False
        ),
        seeds=member_files,
    ),
    "product": Target(read=read_text(lambda text: product_from_toml(text, where="p")), seeds=products),
    "csv": Target(read=read_source("source.csv"), seeds=csv_seeds),
    "ndjson": Target(read=read_source("source.ndjson"), seeds=ndjson_seeds),
    "parquet": Target(read=read_source("source.parquet"), seeds=parquet_seeds),
    "stored-parquet": Target(read=read_stored_parquet, seeds=stored_parquet),
    "leaves": Target(read=read_leaves, seeds=leaves_seeds),
    "backup-manifest": Target(read=decode_backup_manifest, seeds=lambda: [encode_backup_manifest(BACKUP)]),
    "archive": Target(read=read_whole_archive, seeds=archive_seeds),
    "scorecard": Target(read=decode_scorecard, seeds=scorecards),
    "fork-evidence": Target(
        read=decode_fork_evidence,
        seeds=lambda: [encode_cbor({"proof": [], "version": 1, "new_note": notes()[0], "old_note": notes()[0]})],
    ),
    "request": document(RequestMessage, REQUEST_MESSAGE, REQUEST, verify_request_rules),
    "answer": document(SealedAnswer, "exchange.answer/1", ANSWER),
    "answer-content": Target(read=read_answer_content, seeds=answer_contents),
    "manifest": document(AnswerManifest, MANIFEST_NAME, MANIFEST),
    "signed-manifest": Target(read=read_signed_manifest, seeds=signed_manifests),
    "artefact": Target(read=lambda data: decode_artefact(data, network=NETWORK, suite=SUITE), seeds=artefacts),
    "artefact-rules": Target(
        read=document(ConsentArtefact, ARTEFACT, ARTEFACT_BODY, verify_artefact_rules).read, seeds=artefacts
    ),
    "endorsement": document(Endorsement, ENDORSEMENT, ENDORSED),
    "decision-opening": Target(read=read_decision, seeds=decisions),
    "disclosure": Target(read=read_disclosure, seeds=disclosures),
    "record-proof": Target(read=read_record_proof, seeds=record_proofs),
    "evidence": Target(read=read_evidence, seeds=evidence_files),
    "tiles": Target(read=read_tiles, seeds=lambda: [bytes(96), bundled([b"a", b"b", b"c"])]),
    "published-log": Target(read=read_published, seeds=block_parts),
    "signature-intl": Target(read=read_signature("intl"), seeds=lambda: signatures("intl")),
    "signature-gm": Target(read=read_signature("gm"), seeds=lambda: signatures("gm")),
    "envelope-intl": envelope("intl"),
    "envelope-gm": envelope("gm"),
    "genesis": Target(
        read=lambda data: decode_genesis(load_genesis(written(data, "genesis.json"))),
        seeds=lambda: [vectors("receipts_intl")["genesis"].encode()],
    ),
    "backup": Target(read=lambda data: verify_backup(written(data, "backup.tar")), seeds=backups),
    "catalogue": Target(read=read_catalogue, seeds=catalogues),
}

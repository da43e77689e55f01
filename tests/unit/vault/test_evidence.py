from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from shuiqiao.base.encoding import decode_json, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.standards.columns import MAX_GROUP_BYTES
from shuiqiao.vault.contract import COMMIT, AnchorCommitBody
from shuiqiao.vault.evidence import (
    EVIDENCE_MAGIC,
    RecordEvidence,
    RecordProof,
    ShownGroup,
    WithheldGroup,
    decode_evidence,
    encode_evidence,
    evidence_keys,
    is_evidence,
    verify_evidence,
    verify_record_proof,
)
from shuiqiao.vault.model import MAX_BATCH_DEPTH, LeafStatus
from vault_world import CATALOGUE, EVER, VaultWorld, grade, invoice, write_rows

FIRM = "91320101"


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(tmp_path_factory, request):
    """A world that tests only read."""
    folder = tmp_path_factory.mktemp("world")
    world = VaultWorld(folder / "home", request.param)
    world.ingest(write_rows(folder / "a.parquet", "invoice_issued", (invoice(n, uscc=FIRM) for n in range(11))))
    yield world
    world.close()


def proof_of(world, number=9, groups=("core",)):
    leaf = world.vault.live_leaves(uscc=FIRM, type_id="invoice_issued", **EVER)[number]
    return world.vault.prove_record(leaf, groups=groups)


def test_one_record_is_proven_by_itself_with_what_is_granted_readable(world):
    # Holds [VAULT-EVIDENCE-1].
    proof = decode_evidence(encode_evidence(evidence_of(world))).proof
    fact = verify_record_proof(proof, batch_of=world.batch_of, suite=world.suite)
    assert fact == world.batch_of(proof.batch)
    opened, *withheld = proof.groups
    assert isinstance(opened, ShownGroup)
    assert all(isinstance(part, WithheldGroup) for part in withheld)
    content = decode_json(opened.content, max_bytes=1 << 16)
    assert (content["type"], content["group"], content["uscc"]) == ("invoice_issued@2", "core", FIRM)
    assert len(proof.groups) == len(CATALOGUE.get("invoice_issued").groups)


def test_every_changed_byte_of_a_proof_is_caught(world):
    evidence = evidence_of(world)
    data = encode_evidence(evidence)
    for place in range(data.index(evidence.receipt)):
        spoiled = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        with pytest.raises((IntegrityError, InvalidInput)):
            verify_record_proof(decode_evidence(spoiled).proof, batch_of=world.batch_of, suite=world.suite)


def test_a_proof_of_another_place_or_batch_is_caught(world):
    proof = proof_of(world)
    moved = msgspec.structs.replace(proof, index=proof.index ^ 1)
    with pytest.raises(IntegrityError, match=r"ledger\.inclusion_broken"):
        verify_record_proof(moved, batch_of=world.batch_of, suite=world.suite)
    with pytest.raises(IntegrityError, match=r"vault\.batch_unanchored"):
        verify_record_proof(proof, batch_of=lambda _: None, suite=world.suite)
    renamed = msgspec.structs.replace(proof, standard="invoice_received@2")
    with pytest.raises(IntegrityError, match=r"vault\.leaf_mismatch"):
        verify_record_proof(renamed, batch_of=world.batch_of, suite=world.suite)


def test_a_proof_that_shows_nothing_still_says_of_what_type_its_record_is(world):
    """[VAULT-EVIDENCE-1]: by the ledger's word on the batch, where no group is open to say it."""
    closed = proof_of(world, groups=())
    assert verify_record_proof(closed, batch_of=world.batch_of, suite=world.suite).standard == closed.standard
    renamed = msgspec.structs.replace(closed, standard="filing@1")
    with pytest.raises(IntegrityError, match=r"^vault\.leaf_mismatch.*filing@1 in the proof"):
        verify_record_proof(renamed, batch_of=world.batch_of, suite=world.suite)


def test_a_group_that_was_hashed_in_a_second_spelling_proves_nothing(world):
    """[LEDGER-CBOR-4] [STD-54]: a bureau could have one fact twice, with spaces and without, under two leaves."""
    proof = proof_of(world)
    opened, *withheld = proof.groups
    spaced = msgspec.structs.replace(opened, content=opened.content.replace(b":", b": ", 1))
    other = msgspec.structs.replace(proof, groups=[spaced, *withheld])
    with pytest.raises(IntegrityError, match=r"vault\.leaf_mismatch.*canonical"):
        verify_record_proof(other, batch_of=world.batch_of, suite=world.suite)


@pytest.mark.parametrize("fields", [[], {"version": 1}, {"version": 1, "path": [b"short"]}])
def test_what_is_no_proof_is_refused(fields):
    with pytest.raises(InvalidInput, match=r"vault\.evidence_malformed"):
        decode_evidence(EVIDENCE_MAGIC + encode_cbor({"proof": fields, "receipt": b""}))


LONGEST = RecordProof(
    standard="invoice_issued@2",
    batch=bytes(16),
    index=0,
    groups=[ShownGroup(group="g" * 32, salt=bytes(16), content=bytes(MAX_GROUP_BYTES)), WithheldGroup(hash=bytes(32))],
    path=[bytes(32)] * MAX_BATCH_DEPTH,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": []},
        {"groups": LONGEST.groups * 3},
        *[{"groups": [WithheldGroup(hash=bytes(length))]} for length in (31, 33)],
        *[{"groups": [ShownGroup(group="core", salt=bytes(length), content=b"")]} for length in (15, 17)],
        {"groups": [ShownGroup(group="g" * 33, salt=bytes(16), content=b"")]},
        {"groups": [ShownGroup(group="core", salt=bytes(16), content=bytes(MAX_GROUP_BYTES + 1))]},
        *[{"path": [bytes(length)]} for length in (31, 33)],
        {"path": [bytes(32)] * (MAX_BATCH_DEPTH + 1)},
        *[{"version": version} for version in (0, 2)],
    ],
)
def test_the_parts_of_a_proof_have_their_lengths(changes):
    longest = RecordEvidence(proof=LONGEST, receipt=b"receipt")
    assert decode_evidence(encode_evidence(longest)) == longest
    with pytest.raises(InvalidInput, match=r"vault\.evidence_malformed"):
        decode_evidence(encode_evidence(RecordEvidence(proof=msgspec.structs.replace(LONGEST, **changes), receipt=b"")))


def test_superseded_records_stay_provable(open_world, tmp_path):
    world = open_world(folder=tmp_path / "grades")
    world.ingest(write_rows(tmp_path / "g.parquet", "tax_credit_grade", [grade(2024, "C", uscc=FIRM)]))
    (old,) = world.vault.live_leaves(uscc=FIRM, type_id="tax_credit_grade", **EVER)
    world.ingest(write_rows(tmp_path / "h.parquet", "tax_credit_grade", [grade(2024, "B", uscc=FIRM)]))
    assert old not in world.vault.live_leaves(uscc=FIRM, type_id="tax_credit_grade", **EVER)
    verify_record_proof(world.vault.prove_record(old, groups=["core"]), batch_of=world.batch_of, suite=world.suite)


CORE = {"type": "invoice_issued@2", "group": "core"}


def evidence_of(world):
    return RecordEvidence(proof=proof_of(world), receipt=b"receipt")


def receipt_saying(world, proof, *, kind=COMMIT, author="bureau", batch=None, values=(b"", None, None), keys=None):
    """What a verified receipt of the anchor of a proof's batch says, with the state of its leaf."""
    fact = world.batch_of(proof.batch)
    body = AnchorCommitBody(
        batch=batch or proof.batch,
        standard=fact.standard,
        period_from=fact.period_from,
        period_to=fact.period_to,
        count=fact.count,
        depth=fact.depth,
        root=fact.root,
    )
    places = evidence_keys(author, proof.batch, proof.index) if keys is None else keys
    first, *others = values
    shown = (encode_cbor({"erased": False}) if first == b"" else first, *others)
    return SimpleNamespace(
        transaction=SimpleNamespace(kind=kind, author=author, body=body),
        state=[SimpleNamespace(key=key, value=value) for key, value in zip(places, shown, strict=True)],
    )


def test_a_file_of_evidence_is_read_as_it_was_written(world):
    # Holds [VAULT-EVIDENCE-2].
    evidence = evidence_of(world)
    data = encode_evidence(evidence)
    assert is_evidence(data)
    assert decode_evidence(data) == evidence
    for other in (b"", data[:9], b"SQRECORD2\n" + data[10:], data[10:]):
        assert not is_evidence(other)
        with pytest.raises(InvalidInput, match=r"^vault\.evidence_malformed"):
            decode_evidence(other)
    with pytest.raises(InvalidInput, match=r"^vault\.evidence_malformed"):
        decode_evidence(EVIDENCE_MAGIC + encode_cbor({"receipt": b""}))


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ((b"", None, None), LeafStatus.LIVE),
        ((b"", b"newer", None), LeafStatus.SUPERSEDED),
        ((b"", None, b"reason"), LeafStatus.ERASED),
        ((b"", b"newer", b"reason"), LeafStatus.ERASED),
        ((encode_cbor({"erased": True}), None, None), LeafStatus.ERASED),
    ],
)
def test_the_state_in_the_receipt_says_what_became_of_the_record(world, values, status):
    evidence = evidence_of(world)
    receipt = receipt_saying(world, evidence.proof, values=values)
    found = verify_evidence(evidence, receipt=receipt, suite=world.suite)
    assert (found.status, found.batch, found.index) == (status, evidence.proof.batch, evidence.proof.index)
    assert {name: content | CORE for name, content in found.contents.items()} == found.contents


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "anchor.erase"},
        {"batch": bytes(16)},
        {"keys": ("a", "b", "c")},
        {"keys": ()},
    ],
    ids=["another kind", "another batch", "other keys", "no state"],
)
def test_a_receipt_of_something_else_proves_nothing(world, changes):
    evidence = evidence_of(world)
    if changes.get("keys") == ():
        receipt = receipt_saying(world, evidence.proof)
        receipt.state.clear()
    else:
        receipt = receipt_saying(world, evidence.proof, **changes)
    with pytest.raises(IntegrityError, match=r"^vault\.evidence_unpaired"):
        verify_evidence(evidence, receipt=receipt, suite=world.suite)


def test_a_state_without_the_batch_proves_nothing(world):
    evidence = evidence_of(world)
    receipt = receipt_saying(world, evidence.proof, values=(None, None, None))
    with pytest.raises(IntegrityError, match=r"^vault\.batch_unanchored"):
        verify_evidence(evidence, receipt=receipt, suite=world.suite)

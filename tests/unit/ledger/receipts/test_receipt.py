"""[LEDGER-RECEIPT-1] to [LEDGER-RECEIPT-4]: what an outsider learns from one file and the genesis."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from msgspec.structs import asdict, replace

from log_world import LeafHashes
from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.log.entry import BlockEntry, encode_entry
from shuiqiao.ledger.log.tree import Frontier, hash_function, inclusion_path, leaf_hash
from shuiqiao.ledger.receipts.receipt import (
    MAX_RECEIPT_BYTES,
    EpochStep,
    Receipt,
    StateClaim,
    StateEvidence,
    build_receipt,
    decode_receipt,
    encode_receipt,
)
from shuiqiao.ledger.receipts.verification import SignerEvidence, verify_receipt
from shuiqiao.ledger.state.state_map import StateProof
from shuiqiao.ledger.transactions.kinds import KindTable


class Log:
    """The leaves of a few blocks, and receipts from them."""

    def __init__(self, network):
        self.network = network
        self.leaves = []

    def add_block(self, *raws):
        result = self.network.run(*raws)
        assert [None] * len(raws) == [outcome.refusal for outcome in result.outcomes]
        self.leaves += [tx.raw for tx in result.accepted]
        self.leaves.append(result.entry)

    def add_leaves(self, *leaves):
        """Let an operator append whatever it likes."""
        self.leaves += leaves

    def receipt(self, index, *, entry_index, **changes):
        name = self.network.suite.hash_name
        hashes = [leaf_hash(leaf, hash_name=name) for leaf in self.leaves]
        frontier = Frontier(hash_name=name)
        frontier.append(hashes)
        fields = {
            "origin": self.network.parameters.origin,
            "size": frontier.size,
            "root": frontier.root(),
            "key": self.network.keys["bureau"],
            **changes,
        }
        return build_receipt(
            transaction=self.leaves[index],
            index=index,
            entry=self.leaves[entry_index],
            entry_index=entry_index,
            reader=LeafHashes(hashes, hash_name=name),
            checkpoint=sign_checkpoint(**fields, suite=self.network.suite),
            hash_name=name,
            state=StateEvidence(
                entry=self.leaves[-1],
                path=inclusion_path(
                    LeafHashes(hashes, hash_name=name), index=len(hashes) - 1, size=len(hashes), hash_name=name
                ),
                claims=(),
            ),
        )


def verify(network, data, **changes):
    ring = network.machine.key_ring
    fields = {
        "parameters": network.parameters,
        "kinds": network.machine.kinds,
        "key_ring": ring,
        "suite": network.suite,
    }
    return verify_receipt(data, **{**fields, **changes})


def refusal(network, data, **changes):
    with pytest.raises(ShuiqiaoError) as caught:
        verify(network, data, **changes)
    return caught.value.code


@pytest.fixture
def log(network):
    log = Log(network)
    log.add_block(network.write(), network.write(author="first-bank"), network.write())
    log.add_block(network.write())
    return log


def test_a_receipt_says_what_stands_where_in_the_log(network, log):
    for index, entry_index, author, height in ((0, 3, "bureau", 1), (1, 3, "first-bank", 1), (4, 5, "bureau", 2)):
        found = verify(network, log.receipt(index, entry_index=entry_index))
        assert ("note.write", author, index, height) == (found.kind, found.author, found.index, found.height)
        assert (log.leaves[index], 6, network.parameters.network) == (
            found.transaction.raw,
            found.checkpoint.size,
            found.network,
        )
        assert found.signers is SignerEvidence.GENESIS


def test_the_form_is_one_deterministic_map_and_round_trips(network, log):
    """[LEDGER-RECEIPT-1]"""
    data = log.receipt(1, entry_index=3)
    name = network.suite.hash_name
    receipt = decode_receipt(data, hash_name=name)
    assert data == encode_receipt(receipt, hash_name=name)
    fields = decode_cbor(data)
    digest = hash_function(name)(encode_cbor({key: value for key, value in fields.items() if key != "digest"}))
    last = {"entry": receipt.state.entry, "path": list(receipt.state.path), "claims": []}
    expected = {**asdict(receipt), "version": 3, "epochs": [], "digest": digest, "state": last}
    assert expected == {**fields, "path": tuple(fields["path"]), "entry_path": tuple(fields["entry_path"])}


def test_every_changed_added_and_missing_byte_fails(network, log):
    """[LEDGER-RECEIPT-4]"""
    data = log.receipt(1, entry_index=3)
    for at in range(len(data)):
        for flip in (0x01, 0x80):
            changed = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            assert refusal(network, changed), at
    for changed in (data[:-1], data + b"\x00", b"", data[1:]):
        assert refusal(network, changed)


def test_a_receipt_says_that_it_is_the_operators_statement(network, log):
    found = verify(network, log.receipt(1, entry_index=3))
    assert "It proves the operator's statement" in found.does_not_prove[0]
    assert "entry 1 is this note.write of first-bank, in block 1" in found.proves[0]


def test_both_languages_say_who_signed_and_whether_anybody_else_vouches(network, log):
    alone = verify(network, log.receipt(1, entry_index=3))
    cosigned = dataclasses.replace(alone, cosigners=("first-bank", "regulator"))
    shown = network.parameters.network.hex()[:16]
    for found, who, who_zh in (
        (alone, "bureau, the operator,", "运营方 bureau"),
        (cosigned, "bureau, the operator, and first-bank, regulator", "运营方 bureau、first-bank、regulator"),
        (dataclasses.replace(cosigned, operator=None), "first-bank, regulator", "first-bank、regulator"),
    ):
        assert found.proves[0].startswith(f"{who} signed a log of network {shown} with 6 entries")
        assert found.proves_zh[0].startswith(f"{who_zh} 签署了网络 {shown} 的账本")
        is_alone = ("operator's statement" in found.does_not_prove[0], "只证明运营方" in found.does_not_prove_zh[0])
        assert is_alone == (found is alone, found is alone)


def test_the_genesis_decides_which_network_and_operator_are_believed(network, log):
    """[LEDGER-RECEIPT-2]"""
    data = log.receipt(1, entry_index=3)
    parameters = network.parameters
    other_operator = dataclasses.replace(parameters, operator_key=network.keys["first-bank"].public_key)
    assert refusal(network, data, parameters=other_operator) == "ledger.checkpoint_foreign"
    other_origin = dataclasses.replace(parameters, origin="shuiqiao/" + "0" * 64)
    assert refusal(network, data, parameters=other_origin) == "ledger.checkpoint_foreign"
    other_network = dataclasses.replace(parameters, network=bytes(32))
    assert refusal(network, data, parameters=other_network) == "ledger.tx_foreign_network"
    assert refusal(network, data, kinds=KindTable([])) == "ledger.kind_unknown"
    stranger = {"members/member/bureau": parameters.initial_state["members/member/bureau"]}
    unknown_author = dataclasses.replace(parameters, initial_state=stranger)
    assert verify(network, data, parameters=unknown_author).signers is SignerEvidence.LEDGER


def test_a_checkpoint_of_somebody_else_is_not_the_operators(network, log):
    data = log.receipt(1, entry_index=3, key=network.keys["first-bank"])
    assert refusal(network, data) == "ledger.checkpoint_foreign"


def test_a_transaction_that_is_not_in_the_log_fails(network, log):
    name = network.suite.hash_name
    receipt = decode_receipt(log.receipt(1, entry_index=3), hash_name=name)
    forged = replace(receipt, transaction=network.write(author="first-bank"))
    assert refusal(network, encode_receipt(forged, hash_name=name)) == "ledger.inclusion_broken"
    moved = replace(receipt, index=2)
    assert refusal(network, encode_receipt(moved, hash_name=name)) == "ledger.inclusion_broken"
    root_only = replace(receipt, path=receipt.path[:-1])
    assert refusal(network, encode_receipt(root_only, hash_name=name)) == "ledger.inclusion_broken"


def test_the_entry_must_be_the_one_that_closes_the_transactions_block(network, log):
    assert refusal(network, log.receipt(1, entry_index=5)) == "ledger.receipt_block_wrong"
    assert refusal(network, log.receipt(4, entry_index=3)) == "ledger.receipt_block_wrong"
    assert refusal(network, log.receipt(1, entry_index=2)) == "ledger.receipt_malformed"
    assert refusal(network, log.receipt(3, entry_index=3)) == "ledger.tx_malformed"


@pytest.mark.parametrize(
    ("lead_ms", "code"), [(3_600_000, "ledger.tx_expired"), (-48 * 3_600_000, "ledger.tx_valid_too_long")]
)
def test_an_operator_that_logs_an_untimely_transaction_is_found_out(network, log, lead_ms, code):
    entry = encode_entry(
        BlockEntry(height=3, time_ms=network.time_ms + lead_ms, count=1, epoch=0, state_root=bytes(32))
    )
    log.add_leaves(network.write(), entry)
    assert refusal(network, log.receipt(6, entry_index=7)) == code


def test_an_operator_that_logs_what_nobody_signed_is_found_out(network, log):
    """[LEDGER-RECEIPT-2] step 6"""
    entry = encode_entry(BlockEntry(height=3, time_ms=network.time_ms + 1, count=1, epoch=0, state_root=bytes(32)))
    draft = network.draft(author="first-bank")
    signed = network.sign(draft)
    broken = signed[:-1] + bytes([signed[-1] ^ 1])
    for raw, code in (
        (network.sign(draft, "bureau"), "ledger.signature_missing"),
        (network.sign(draft, "bureau", "first-bank"), "ledger.signature_unexpected"),
        (broken, "ledger.signature_invalid"),
        (network.write("note.dizzy"), "ledger.contract_failed"),
    ):
        forged = Log(network)
        forged.add_leaves(*log.leaves, raw, entry)
        assert code == refusal(network, forged.receipt(6, entry_index=7))


def test_where_the_signers_stand_in_the_state_the_result_says_so(network, log, key_body):
    """[LEDGER-RECEIPT-3]"""
    key = network.suite.signing_key_from_seed(bytes(32))
    body = key_body(id=bytes(16), key=key.public_key)
    log.add_block(
        network.sign(network.draft("note.pair", body=body), "bureau", keys=[key]),
        network.sign(network.draft("note.relay", body=body), keys=[key]),
        network.sign(network.draft("note.later", body=body), keys=[key]),
    )
    found = [verify(network, log.receipt(index, entry_index=9)) for index in (6, 7, 8)]
    assert [item.signers for item in found] == [SignerEvidence.GENESIS, SignerEvidence.GENESIS, SignerEvidence.LEDGER]
    assert "is the statement of those who signed the checkpoint" in found[2].proves[1]
    assert "Everybody who had to sign it did" in found[1].proves[1]


SMALL = Receipt(
    transaction=b"t",
    index=0,
    path=(),
    entry=b"e",
    entry_index=1,
    entry_path=(),
    checkpoint=b"c",
    epochs=(),
    state=StateEvidence(entry=b"e", path=(), claims=()),
)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 0},
        {"version": 1},
        {"version": 2},
        {"version": 4},
        {"version": True},
        {"version": "1"},
        {"epochs": [1]},
        {"epochs": None},
        {"more": 1},
        {"index": -1},
        {"index": 2**53},
        {"entry_index": None},
        {"path": [bytes(31)]},
        {"path": ["0" * 32]},
        {"path": [bytes(32)] * 54},
        {"path": {}},
        {"transaction": b""},
        {"transaction": "text"},
        {"transaction": bytes(60_001)},
        {"entry": bytes(257)},
        {"checkpoint": bytes(MAX_SIGNED_NOTE_BYTES + 1)},
        {"checkpoint": "text"},
        {"state": {}},
        {"state": None},
        {"digest": None},
        {"digest": bytes(33)},
    ],
)
def test_parts_of_the_wrong_shape_are_refused(change):
    data = encode_receipt(SMALL, hash_name="sha256")
    assert SMALL == decode_receipt(data, hash_name="sha256")
    with pytest.raises(IntegrityError) as caught:
        decode_receipt(encode_cbor({**decode_cbor(data), **change}), hash_name="sha256")
    assert caught.value.code in {"ledger.receipt_malformed", "ledger.receipt_version_unknown"}


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x80", b"\xa0", b"\xa1\x01\x02", b"\x01", b"\x5f\x41\x00\xff"])
def test_what_is_no_receipt_is_refused(intl, data):
    assert refusal(intl, data) in {"ledger.receipt_malformed", "base.cbor_malformed", "base.cbor_not_deterministic"}


def test_an_oversize_file_is_refused_before_it_is_read(intl):
    assert refusal(intl, bytes(MAX_RECEIPT_BYTES + 1)) == "base.cbor_too_large"
    with pytest.raises(InvalidInput, match="1048577 bytes"):
        verify(intl, bytes(1_048_577))


def test_the_largest_receipt_fits():
    largest = Receipt(
        transaction=bytes(60_000),
        index=2**53 - 2,
        path=(bytes(32),) * 53,
        entry=bytes(256),
        entry_index=2**53 - 2,
        entry_path=(bytes(32),) * 53,
        checkpoint=bytes(MAX_SIGNED_NOTE_BYTES),
        epochs=(),
        state=StateEvidence(entry=bytes(256), path=(bytes(32),) * 53, claims=()),
    )
    assert largest == decode_receipt(encode_receipt(largest, hash_name="sha256"), hash_name="sha256")


def with_claims(count=1, **changes):
    claim = StateClaim(key="a", value=None, proof=StateProof(steps=(), others=b""))
    claims = tuple(replace(claim, **{"key": f"a/{number:02}", **changes}) for number in range(count))
    return replace(SMALL, state=replace(SMALL.state, claims=claims))


def with_steps(count=1, *, length=1):
    proof = StateProof(steps=(), others=b"")
    step = EpochStep(epoch=b"e" * length, proof=proof, entry=b"e", path=(), checkpoint=b"c")
    return replace(SMALL, epochs=(step,) * count)


@pytest.mark.parametrize(
    ("largest", "beyond"),
    [
        (with_claims(16), with_claims(17)),
        (with_claims(key="a" * 255), with_claims(key="a" * 256)),
        (with_claims(key="a"), with_claims(key="")),
        (with_claims(key="~"), with_claims(key="ü")),
        (with_claims(value=bytes(65_536)), with_claims(value=bytes(65_537))),
        (with_steps(512), with_steps(513)),
        (with_steps(length=16_384), with_steps(length=16_385)),
        (replace(SMALL, index=2**53 - 2), replace(SMALL, index=2**53 - 1)),
        (
            replace(SMALL, transaction=bytes(60_000)),
            replace(SMALL, transaction=bytes(60_001)),
        ),
        (
            replace(SMALL, path=(bytes(32),) * 53),
            replace(SMALL, path=(bytes(32),) * 54),
        ),
    ],
)
def test_every_part_has_a_bound(largest, beyond):
    """[LEDGER-RECEIPT-1]"""
    assert largest == decode_receipt(encode_receipt(largest, hash_name="sm3"), hash_name="sm3")
    with pytest.raises(IntegrityError) as caught:
        decode_receipt(encode_receipt(beyond, hash_name="sm3"), hash_name="sm3")
    assert caught.value.code == "ledger.receipt_malformed"


@pytest.mark.parametrize(("written", "read", "suite"), [("sm3", "sha256", "gm"), ("sha256", "sm3", "intl")])
def test_a_receipt_of_the_other_suite_is_called_that_and_not_altered(written, read, suite, monkeypatch):
    data = encode_receipt(SMALL, hash_name=written)
    with pytest.raises(IntegrityError, match=rf"^ledger\.receipt_suite_other: .* of suite {suite} \({written}\)"):
        decode_receipt(data, hash_name=read)
    changed = encode_cbor({**decode_cbor(data), "index": 1})
    for hash_name in (written, read):
        with pytest.raises(IntegrityError, match=r"^ledger\.receipt_altered"):
            decode_receipt(changed, hash_name=hash_name)
    # A Python without the other hash cannot tell.
    monkeypatch.setattr(hashlib, "algorithms_available", {read})
    with pytest.raises(IntegrityError, match=r"^ledger\.receipt_altered"):
        decode_receipt(data, hash_name=read)


@pytest.mark.parametrize(("size", "code"), [(0, "ledger.receipt_epochs_wrong"), (1, "ledger.inclusion_broken")])
def test_a_checkpoint_that_reaches_to_no_block_proves_nothing(network, log, size, code):
    """[LEDGER-RECEIPT-5]: a checkpoint of nothing comes after nothing; one of a single entry closes no block."""
    name = network.suite.hash_name
    root = leaf_hash(log.leaves[0], hash_name=name)
    note = sign_checkpoint(
        origin=network.parameters.origin, size=size, root=root, key=network.keys["bureau"], suite=network.suite
    ).note
    receipt = replace(decode_receipt(log.receipt(0, entry_index=3), hash_name=name), checkpoint=note)
    assert refusal(network, encode_receipt(receipt, hash_name=name)) == code

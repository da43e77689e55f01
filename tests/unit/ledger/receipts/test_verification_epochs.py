"""[LEDGER-RECEIPT-5], [LEDGER-RECEIPT-6]: whose signatures count by now, and what the state holds at the checkpoint."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from log_world import LeafHashes
from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import add_cosignatures, sign_checkpoint
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.log.tree import Frontier, inclusion_path, leaf_hash
from shuiqiao.ledger.receipts.receipt import (
    MAX_EPOCH_STEPS,
    EpochStep,
    StateClaim,
    StateEvidence,
    build_receipt,
    decode_receipt,
    encode_receipt,
)
from shuiqiao.ledger.receipts.verification import verify_receipt

ABSENT = "note/absent/00"


class History:
    """A log whose operator changes its key and gets a witness, with the checkpoints that were signed on the way."""

    def __init__(self, network, conftest):
        self.network = network
        self.suite = network.suite
        self.name = network.suite.hash_name
        self.leaves = []
        self.epoch_body = conftest
        self.old = network.keys["bureau"]
        self.new = self.suite.signing_key_from_seed(bytes([1]) * 32)
        self.witness = self.suite.signing_key_from_seed(bytes([2]) * 32)

    def block(self, *raws):
        result = self.network.run(*raws)
        assert [None] * len(raws) == [outcome.refusal for outcome in result.outcomes]
        self.leaves += [*(tx.raw for tx in result.accepted), result.entry]

    def change(self, number=1, *, quorum=1, key=None):
        """Begin an epoch: of the operator's new key, unless another one is named."""
        body = self.epoch_body(
            number=number,
            operator_key=(key or self.new).public_key,
            witness_key=self.witness.public_key,
            quorum=quorum,
        )
        self.block(self.network.sign(self.network.draft("note.epoch", body=body)))

    def reader(self, size=None):
        return LeafHashes([leaf_hash(leaf, hash_name=self.name) for leaf in self.leaves[:size]], hash_name=self.name)

    def checkpoint(self, key, *, is_cosigned=False):
        frontier = Frontier(hash_name=self.name)
        frontier.append([leaf_hash(leaf, hash_name=self.name) for leaf in self.leaves])
        origin = self.network.parameters.origin
        signed = sign_checkpoint(origin=origin, size=frontier.size, root=frontier.root(), key=key, suite=self.suite)
        if not is_cosigned:
            return signed
        text = signed.note.split(b"\n\n")[0] + b"\n"
        line = sign_cosignature(
            text, name=f"{origin}/first-bank", key=self.witness, suite=self.suite, time_s=1_775_000_100
        )
        policy = CheckpointPolicy(
            origin=origin,
            operator=MemberId("bureau"),
            operator_key=key.public_key,
            witnesses={MemberId("first-bank"): self.witness.public_key},
            quorum=1,
        )
        note = add_cosignatures(signed.note, [line], policy=policy, suite=self.suite)
        return dataclasses.replace(signed, note=note)

    def step(self, checkpoint):
        """Return the step of the epoch that the state holds now, under a checkpoint of the whole log so far."""
        return EpochStep(
            epoch=self.network.state.encoded()["note/epoch"],
            proof=self.network.state.prove("note/epoch", hash_name=self.name),
            entry=self.leaves[-1],
            path=inclusion_path(self.reader(), index=len(self.leaves) - 1, size=len(self.leaves), hash_name=self.name),
            checkpoint=checkpoint.note,
        )

    def evidence(self, *keys):
        encoded = self.network.state.encoded()
        return StateEvidence(
            entry=self.leaves[-1],
            path=inclusion_path(self.reader(), index=len(self.leaves) - 1, size=len(self.leaves), hash_name=self.name),
            claims=tuple(
                StateClaim(key=key, value=encoded.get(key), proof=self.network.state.prove(key, hash_name=self.name))
                for key in keys
            ),
        )

    def receipt(self, checkpoint, *, epochs=(), state=None):
        """Return the receipt of the first transaction."""
        return build_receipt(
            transaction=self.leaves[0],
            index=0,
            entry=self.leaves[1],
            entry_index=1,
            reader=self.reader(),
            checkpoint=checkpoint,
            hash_name=self.name,
            epochs=epochs,
            state=state or self.evidence(),
        )

    def verify(self, data):
        ring = self.network.machine.key_ring
        return verify_receipt(
            data,
            parameters=self.network.parameters,
            kinds=self.network.machine.kinds,
            key_ring=ring,
            suite=self.suite,
        )

    def refusal(self, data):
        with pytest.raises(ShuiqiaoError) as caught:
            self.verify(data)
        return caught.value.code


@pytest.fixture
def history(network, epoch_body):
    history = History(network, epoch_body)
    history.block(network.write())
    return history


@pytest.fixture
def walked(history):
    """A log behind one change of epoch, and the step over it."""
    history.change()
    step = history.step(history.checkpoint(history.old))
    history.block(history.network.write())
    return history, step


def test_a_receipt_leads_from_the_genesis_to_todays_signatures(walked):
    history, step = walked
    found = history.verify(history.receipt(history.checkpoint(history.new, is_cosigned=True), epochs=[step]))
    assert (1, ("first-bank",), "bureau") == (found.epochs, found.cosigners, found.operator)
    assert "first-bank" in found.proves[0]
    assert "first-bank" in found.proves_zh[0]
    assert "operator's statement" not in " ".join((*found.proves, *found.does_not_prove))


def test_signatures_of_another_epoch_do_not_count(walked):
    history, step = walked
    old, new = history.checkpoint(history.old), history.checkpoint(history.new, is_cosigned=True)
    uncosigned = history.checkpoint(history.new)
    assert history.refusal(history.receipt(new)) == "ledger.checkpoint_foreign"
    assert history.refusal(history.receipt(old, epochs=[step])) == "ledger.checkpoint_foreign"
    assert history.refusal(history.receipt(uncosigned, epochs=[step])) == "ledger.quorum_missing"


def test_a_step_needs_the_signatures_of_the_epoch_before(history):
    history.change()
    forged = history.step(history.checkpoint(history.new))
    history.block(history.network.write())
    data = history.receipt(history.checkpoint(history.new, is_cosigned=True), epochs=[forged])
    assert history.refusal(data) == "ledger.checkpoint_foreign"


def test_an_epoch_must_stand_in_the_state_behind_its_checkpoint(walked):
    history, step = walked
    new = history.checkpoint(history.new, is_cosigned=True)
    other = encode_cbor({**history.network.state.get("note/epoch"), "quorum": 0})
    for changed, code in (
        (replace(step, epoch=other), "ledger.state_proof_broken"),
        (replace(step, proof=history.network.state.prove("note/epoch", hash_name=history.name)), ""),
        (
            replace(step, entry=history.leaves[-1]),
            "ledger.inclusion_broken",
        ),
        (
            replace(step, entry=history.leaves[1]),
            "ledger.inclusion_broken",
        ),
    ):
        data = history.receipt(new, epochs=[changed])
        assert history.refusal(data) == (code or "ledger.state_proof_broken")


def test_a_quorum_raised_by_vote_binds_though_its_step_is_left_out(history):
    """[LEDGER-RECEIPT-8]: the operator's key is the same, so its signature alone would hold under the genesis."""
    history.change(key=history.old)
    step = history.step(history.checkpoint(history.old))
    history.block(history.network.write())
    alone, cosigned = history.checkpoint(history.old), history.checkpoint(history.old, is_cosigned=True)
    assert history.refusal(history.receipt(alone)) == "ledger.receipt_epochs_incomplete"
    assert history.refusal(history.receipt(alone, epochs=[step])) == "ledger.quorum_missing"
    assert history.verify(history.receipt(cosigned, epochs=[step])).cosigners == ("first-bank",)


def test_the_checkpoint_that_closes_an_epoch_still_belongs_to_it(history):
    """[EPOCH-4] [LEDGER-BLOCK-6]"""
    history.change(key=history.old)
    assert history.verify(history.receipt(history.checkpoint(history.old))).epochs == 0


def test_no_step_between_two_others_is_left_out(history):
    """[LEDGER-RECEIPT-8]: the note of the second step would hold under the policy before the first."""
    history.change(key=history.old)
    history.change(2)
    second = history.step(history.checkpoint(history.old))
    history.block(history.network.write())
    newest = history.checkpoint(history.new, is_cosigned=True)
    assert history.refusal(history.receipt(newest, epochs=[second])) == "ledger.receipt_epochs_incomplete"


def test_a_receipt_leads_over_many_epochs(history):
    """[LEDGER-RECEIPT-1]: as many as some busy years make; what is longer is no receipt."""
    steps = []
    for number in range(1, 101):
        history.change(number, quorum=0, key=history.old)
        steps.append(history.step(history.checkpoint(history.old)))
    history.block(history.network.write())
    newest = history.checkpoint(history.old)
    assert history.verify(history.receipt(newest, epochs=steps)).epochs == 100
    longest = (steps * 6)[:MAX_EPOCH_STEPS]
    assert len(decode_receipt(history.receipt(newest, epochs=longest), hash_name=history.name).epochs) == 512
    assert history.refusal(history.receipt(newest, epochs=[*longest, steps[0]])) == "ledger.receipt_malformed"


def test_epochs_and_checkpoints_only_go_forward(walked):
    history, step = walked
    new = history.checkpoint(history.new, is_cosigned=True)
    again = replace(step, checkpoint=step.checkpoint)
    assert history.refusal(history.receipt(new, epochs=[step, again])) == "ledger.checkpoint_foreign"
    history.leaves = history.leaves[:4]
    at_once = history.checkpoint(history.new, is_cosigned=True)
    assert history.refusal(history.receipt(at_once, epochs=[step])) == "ledger.receipt_epochs_wrong"


def test_what_the_state_holds_and_does_not_hold_is_proven_at_the_checkpoint(history):
    network = history.network
    key = next(key for key in network.state.encoded() if key.startswith("note/entry/"))
    data = history.receipt(history.checkpoint(history.old), state=history.evidence(ABSENT, key))
    found = history.verify(data)
    assert [(ABSENT, None), (key, network.state.encoded()[key])] == [(one.key, one.value) for one in found.state]
    assert f"holds nothing under {ABSENT}" in " ".join(found.proves)
    assert f"没有 {ABSENT}" in " ".join(found.proves_zh)
    held = network.state.get(key)
    words = " ".join(found.proves)
    assert all(f"{name}: " in words for name in held) if isinstance(held, dict) else f"holds {held} under" in words
    for sentences in (words, " ".join(found.proves_zh)):
        assert (key in sentences, network.state.encoded()[key].hex() in sentences) == (True, False)


def test_a_false_or_stale_word_about_the_state_is_refused(history):
    network = history.network
    key = next(key for key in network.state.encoded() if key.startswith("note/entry/"))
    stale = history.evidence(key)
    evidence = history.evidence(ABSENT, key)
    checkpoint = history.checkpoint(history.old)
    absent, present = evidence.claims
    for claims, code in (
        ((replace(absent, value=b"\x01"), present), "ledger.state_proof_broken"),
        ((absent, replace(present, value=None)), "ledger.state_proof_broken"),
        ((absent, replace(present, value=b"\x01")), "ledger.state_proof_broken"),
        ((present, absent), "ledger.receipt_malformed"),
        ((present, present), "ledger.receipt_malformed"),
    ):
        changed = replace(evidence, claims=claims)
        assert history.refusal(history.receipt(checkpoint, state=changed)) == code
    history.block(network.write())
    data = history.receipt(history.checkpoint(history.old), state=stale)
    assert history.refusal(data) == "ledger.inclusion_broken"


def test_every_changed_byte_of_a_long_receipt_fails(walked):
    """[LEDGER-RECEIPT-4]"""
    history, step = walked
    checkpoint = history.checkpoint(history.new, is_cosigned=True)
    data = history.receipt(checkpoint, epochs=[step], state=history.evidence(ABSENT, "note/epoch"))
    assert data == encode_receipt(decode_receipt(data, hash_name=history.name), hash_name=history.name)
    assert history.verify(data).state
    for at in range(0, len(data), 3):
        assert history.refusal(data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :]), at


def test_an_absence_of_another_key_is_another_receipt(history):
    """A proof of absence holds for every absent key in its place: the digest makes one receipt say one thing."""
    data = history.receipt(history.checkpoint(history.old), state=history.evidence(ABSENT))
    for last in range(256):
        other = f"{ABSENT[:-2]}{last:02x}"
        if other != ABSENT:
            assert history.refusal(data.replace(ABSENT.encode(), other.encode())) == "ledger.receipt_altered"


@pytest.mark.parametrize("name", ["epochs", "state"])
@pytest.mark.parametrize("junk", [0, "x", {}, [0], [{}], {"entry": b"", "path": [], "claims": []}])
def test_malformed_steps_and_claims_are_refused(history, name, junk):
    fields = decode_cbor(history.receipt(history.checkpoint(history.old)))
    assert history.refusal(encode_cbor({**fields, name: junk})) == "ledger.receipt_malformed"

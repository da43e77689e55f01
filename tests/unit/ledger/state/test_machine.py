"""[LEDGER-MACHINE-1], [LEDGER-MACHINE-2], [LEDGER-SIGN-*], [LEDGER-GATE-1]: what takes effect and what is refused."""

from __future__ import annotations

import cbor2
import msgspec
import pytest
from cbor2 import CBORTag

from kinds_world import KINDS, NoteBody, no_events
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import owned_id
from shuiqiao.crypto import intl as intl_provider
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.log.entry import BlockEntry, encode_entry
from shuiqiao.ledger.model import BlockContext, Kind
from shuiqiao.ledger.state.machine import Candidate, StateMachine, verify_claims
from shuiqiao.ledger.state.overlay import OverlayState
from shuiqiao.ledger.state.state_map import StateMap
from shuiqiao.ledger.transactions.kinds import KindTable


def codes(result):
    return ["" if outcome.refusal is None else outcome.refusal.code for outcome in result.outcomes]


def with_broken_signature(raw, which=0):
    """Return the transaction with one bit of one signature flipped."""
    *body, signatures = cbor2.loads(raw).value
    entries = [list(entry) for entry in signatures]
    signature = entries[which][2]
    entries[which][2] = signature[:-1] + bytes([signature[-1] ^ 1])
    return cbor2.dumps(CBORTag(98, [*body, entries]), canonical=True)


def test_an_accepted_transaction_writes_tells_and_is_counted(network):
    """[LEDGER-BLOCK-1], [LEDGER-BLOCK-5]"""
    raw = network.write()
    result = network.run(raw)
    tx = result.accepted[0]
    assert network.state.get(f"note/entry/{tx.body.id.hex()}") == {"author": "bureau", "height": 1}
    assert [{"id": tx.body.id}] == [event.attributes for event in result.outcomes[0].events]
    root = StateMap(network.state.encoded(), hash_name=network.suite.hash_name).root()
    expected = BlockEntry(height=1, time_ms=result.context.time_ms, count=1, epoch=0, state_root=root)
    assert encode_entry(expected) == result.entry


def test_refused_transactions_leave_no_trace_among_accepted_ones(network, note_body):
    """[LEDGER-MACHINE-1]"""
    body = note_body(id=bytes(16))
    bad = [
        network.write(body=body),
        network.write("note.break"),
        network.write("note.deny"),
        network.write("note.stray"),
        network.write("note.peek"),
        network.write("note.dizzy"),
        with_broken_signature(network.write()),
    ]
    good = [network.write(body=body), network.write()]
    result = network.run(good[0], *bad, good[1])
    assert codes(result) == [
        "",
        "note.repeated",
        "ledger.contract_failed",
        "note.denied",
        "ledger.contract_failed",
        "ledger.contract_failed",
        "ledger.contract_failed",
        "ledger.signature_invalid",
        "",
    ]
    assert good == [tx.raw for tx in result.accepted]
    assert len(result.replay_records) == 2
    notes = [key for key in network.state.encoded() if key.startswith("note/entry/")]
    assert sorted(f"note/entry/{tx.body.id.hex()}" for tx in result.accepted) == sorted(notes)
    assert set(network.parameters.initial_state) <= set(network.state.encoded())


def test_a_contracts_defect_is_reported_and_never_halts(intl):
    result = intl.run(intl.write("note.break"), intl.write())
    assert codes(result) == ["ledger.contract_failed", ""]
    assert isinstance(result.outcomes[0].fault, KeyError)
    assert result.outcomes[1].fault is None


@pytest.mark.parametrize("name", ["note.break", "note.deny"])
def test_what_a_refused_transaction_wrote_is_not_kept_by_the_next(intl, name):
    """[LEDGER-MACHINE-1]"""
    result = intl.run(intl.write(name), intl.write())
    notes = [key for key in intl.state.encoded() if key.startswith("note/entry/")]
    assert notes == [f"note/entry/{tx.body.id.hex()}" for tx in result.accepted]


def test_a_block_that_accepts_nothing_changes_nothing(network):
    """[LEDGER-BLOCK-4]"""
    before = network.state.encoded()
    result = network.run(network.write("note.break"), time_ms=network.time_ms + 1000 * 3_600_000)
    assert (result.entry, result.accepted, result.replay_records) == (None, (), ())
    assert before == network.state.encoded()
    assert (network.run().entry, network.run().outcomes) == (None, ())


def test_the_same_blocks_give_the_same_state_however_signatures_were_proven(network):
    """[LEDGER-MACHINE-2], [LEDGER-SIGN-3]"""
    raws = [network.write(), network.write("note.break"), network.write(author="first-bank"), network.write()]
    ctx = BlockContext(height=1, time_ms=network.time_ms + 1)
    seen = set()
    for prove in (False, True):
        overlay = OverlayState(network.state)
        result = network.machine.execute_block(
            [network.candidate(raw, prove=prove) for raw in raws],
            overlay,
            ctx,
            previous_time_ms=network.time_ms,
            replay=network.replay,
        )
        refusals = tuple(str(outcome.refusal) for outcome in result.outcomes)
        seen.add((tuple(overlay.writes.items()), result.entry, refusals, result.replay_records))
    assert len(seen) == 1


def test_a_block_must_be_later_than_the_one_before(network):
    for time_ms in (network.time_ms, network.time_ms - 1):
        with pytest.raises(IntegrityError) as caught:
            network.run(network.write(), time_ms=time_ms)
        assert caught.value.code == "ledger.block_time_backwards"


def test_a_store_that_fails_stops_the_block_instead_of_refusing(intl):
    class FailingNotes:
        def get(self, key):
            if key.startswith("note/"):
                raise OSError(5, "disk")
            return intl.state.get(key)

    for name in ("note.write", "note.swallow"):
        with pytest.raises(Unavailable) as caught:
            intl.machine.execute_block(
                [intl.candidate(intl.write(name))],
                OverlayState(FailingNotes()),
                BlockContext(height=1, time_ms=intl.time_ms + 1),
                previous_time_ms=intl.time_ms,
                replay=intl.replay,
            )
        assert caught.value.code == "ledger.state_unreadable"


@pytest.mark.parametrize("unread", ["note/versions", "note/epoch", "replay/"])
def test_a_store_that_fails_around_the_transactions_is_told_alike(intl, unread):
    class Failing:
        def get(self, key):
            if key.startswith(unread):
                raise OSError(5, "disk")
            return intl.state.get(key)

    with pytest.raises(Unavailable, match=r"ledger\.state_unreadable"):
        intl.machine.execute_block(
            [intl.candidate(intl.write())],
            OverlayState(Failing()),
            BlockContext(height=1, time_ms=intl.time_ms + 1),
            previous_time_ms=intl.time_ms,
            replay=intl.replay,
        )


def test_memory_that_runs_out_stops_the_node_instead_of_refusing(intl):
    class NoMemory:
        def get(self, key):
            if key.startswith("note/"):
                raise MemoryError
            return intl.state.get(key)

    with pytest.raises(MemoryError):
        intl.machine.execute_block(
            [intl.candidate(intl.write())],
            OverlayState(NoMemory()),
            BlockContext(height=1, time_ms=intl.time_ms + 1),
            previous_time_ms=intl.time_ms,
            replay=intl.replay,
        )


# Signatures


def test_the_author_alone_signs_where_a_kind_names_no_signers(network):
    """[LEDGER-SIGN-1]"""
    draft = network.draft(author="first-bank")
    assert network.refusal_of(network.sign(draft, "bureau")) == "ledger.signature_missing"
    assert network.refusal_of(network.sign(draft, "first-bank", "bureau")) == "ledger.signature_unexpected"
    assert network.refusal_of(network.sign(draft, "first-bank")) == ""


def test_every_signature_must_hold(network, key_body):
    """[LEDGER-SIGN-2]"""
    key = network.suite.signing_key_from_seed(bytes(32))
    draft = network.draft("note.pair", body=key_body(id=bytes(16), key=key.public_key))
    assert network.refusal_of(network.sign(draft, "bureau")) == "ledger.signature_missing"
    assert network.refusal_of(network.sign(draft, keys=[key])) == "ledger.signature_missing"
    raw = network.sign(draft, "bureau", keys=[key])
    assert network.refusal_of(with_broken_signature(raw, 0)) == "ledger.signature_invalid"
    assert network.refusal_of(with_broken_signature(raw, 1)) == "ledger.signature_invalid"
    assert network.refusal_of(raw) == ""


def test_a_changed_payload_under_a_good_signature_is_refused(network):
    raw = network.write()
    changed = raw.replace(b"fauthorfbureau", b"fauthorfbureao")
    assert raw != changed
    assert network.refusal_of(changed) == "members.unknown"
    id_at = raw.index(b"bidP") + 4
    assert network.refusal_of(raw[:id_at] + b"\xff" + raw[id_at + 1 :]) == "ledger.signature_invalid"


def test_a_member_is_author_only_of_what_it_signed(network, key_body):
    """[LEDGER-SIGN-1]: what a key of its own says for a member's thing has that thing as author, and no member."""
    key = network.suite.signing_key_from_seed(bytes(32))
    body = key_body(id=bytes(16), key=key.public_key)

    def refusal(kind, author):
        return network.refusal_of(network.sign(network.draft(kind, body=body, author=author), keys=[key]))

    own = owned_id("bureau", bytes(16))
    assert refusal("note.alone", "bureau") == "ledger.author_unsigned"
    assert refusal("note.alone", own) == "members.unknown"
    for author in (
        "bureau",
        "first-bank",
        "stranger",
        owned_id("first-bank", bytes(16)),
        owned_id("bureau", b"1" * 16),
    ):
        assert refusal("note.relay", author) == "ledger.author_wrong"
    assert refusal("note.relay", own) == ""


def test_what_no_member_authored_uses_up_no_members_transaction_id(network, key_body):
    """[LEDGER-REPLAY-2]: ids are scoped to the author, and a relay is none."""
    key = network.suite.signing_key_from_seed(bytes(32))
    body = key_body(id=bytes(16), key=key.public_key)
    waiting = network.draft("note.trace")
    relayed = network.draft("note.relay", body=body, id=waiting.id)
    named = network.draft("note.relay", body=body, author="bureau", id=waiting.id)
    assert network.refusal_of(network.sign(named, keys=[key])) == "ledger.author_wrong"
    raw = network.sign(relayed, keys=[key])
    assert network.refusal_of(raw) == ""
    assert network.refusal_of(network.sign(waiting)) == ""
    assert network.refusal_of(raw) == "ledger.tx_replayed"


def test_a_key_that_is_none_is_refused_not_fatal(network, key_body):
    for public_key in (b"\x00", bytes(32), bytes(65), b"\x04" + bytes(64), b"\xff" * 32):
        real = network.suite.signing_key_from_seed(bytes(32))

        class Pretender:
            """Signs with one key under the name of another."""

            key_id = network.suite.key_id(public_key)
            sign = real.sign

        draft = network.draft("note.relay", body=key_body(id=bytes(16), key=public_key))
        assert network.refusal_of(network.sign(draft, keys=[Pretender()])) == "ledger.signature_invalid"


def test_a_grant_and_what_rests_on_it_go_into_one_block(network, key_body):
    """The second transaction's key stands in the state only once the first took effect: nothing can be proven ahead."""
    key = network.suite.signing_key_from_seed(bytes(32))
    body = key_body(id=bytes(16), key=key.public_key)
    grant = network.sign(network.draft("note.pair", body=body), "bureau", keys=[key])
    later = network.sign(network.draft("note.later", body=body), keys=[key])
    with pytest.raises(ShuiqiaoError) as caught:
        network.machine.plan_verification(network.machine.decode(later), network.state)
    assert caught.value.code == "note.key_unknown"
    assert codes(network.run(later, grant, later)) == ["note.key_unknown", "", ""]


def test_a_key_proven_ahead_that_is_no_longer_required_proves_nothing(network, key_body):
    """[LEDGER-SIGN-3]: a remembered key is replaced between plan and execution."""
    old, new = (network.suite.signing_key_from_seed(bytes([number]) * 32) for number in (1, 2))
    first = key_body(id=bytes(16), key=old.public_key)
    network.run(network.sign(network.draft("note.pair", body=first), "bureau", keys=[old]))
    stale = network.candidate(network.sign(network.draft("note.later", body=first), keys=[old]), prove=True)
    second = key_body(id=bytes(16), key=new.public_key)
    network.run(network.sign(network.draft("note.pair", body=second), "bureau", keys=[new]))
    result = network.machine.execute_block(
        [stale],
        OverlayState(network.state),
        BlockContext(height=9, time_ms=network.time_ms + 1),
        previous_time_ms=network.time_ms,
        replay=network.replay,
    )
    assert codes(result) == ["ledger.signature_missing"]


def test_some_keys_proven_ahead_leave_the_others_to_be_verified(network, key_body):
    key = network.suite.signing_key_from_seed(bytes(32))
    draft = network.draft("note.pair", body=key_body(id=bytes(16), key=key.public_key))
    raw = network.sign(draft, "bureau", keys=[key])
    proven = {name: (value.public_key,) for name, value in (("bureau", network.keys["bureau"]), ("body", key))}
    kids = [signature.key_id for signature in network.machine.decode(raw).signatures]
    broken = with_broken_signature(raw, kids.index(key.key_id))
    outcomes = {}
    for name, keys in proven.items():
        result = network.machine.execute_block(
            [Candidate(transaction=network.machine.decode(broken), proven_keys=keys)],
            OverlayState(network.state),
            BlockContext(height=1, time_ms=network.time_ms + 1),
            previous_time_ms=network.time_ms,
            replay=network.replay,
        )
        outcomes[name] = codes(result)
    # Whoever says that the body's key was proven is believed: only the engine's own verification may say so.
    assert outcomes == {"bureau": ["ledger.signature_invalid"], "body": [""]}


def test_the_plan_names_key_message_and_signature_in_order_of_kid(network, key_body):
    key = network.suite.signing_key_from_seed(bytes(32))
    draft = network.draft("note.pair", body=key_body(id=bytes(16), key=key.public_key))
    tx = network.machine.decode(network.sign(draft, "bureau", keys=[key]))
    claims = network.machine.plan_verification(tx, network.state)
    assert [signature.key_id for signature in tx.signatures] == [network.suite.key_id(claim[0]) for claim in claims]
    verify_claims(claims, suite=network.suite)
    swapped = [(claims[0][0], claims[0][1], claims[1][2])]
    with pytest.raises(IntegrityError) as caught:
        verify_claims(swapped, suite=network.suite)
    assert caught.value.code == "ledger.signature_invalid"


def test_signers_that_break_down_are_refused_when_planning_too(intl):
    with pytest.raises(ShuiqiaoError) as caught:
        intl.machine.plan_verification(intl.machine.decode(intl.write("note.dizzy")), intl.state)
    assert caught.value.code == "ledger.contract_failed"


# Gates


def test_a_frozen_network_takes_only_what_governs_it(network):
    """[LEDGER-GATE-1]"""
    raws = [
        network.write(),
        network.write("watch.freeze"),
        network.write(),
        network.write("note.govern"),
        network.write("watch.thaw"),
        network.write(),
    ]
    assert codes(network.run(*raws)) == ["", "", "ledger.network_frozen", "", "", ""]


def test_a_suspended_member_is_refused_whatever_it_sends(network):
    """[LEDGER-GATE-1]"""
    network.run(network.write("watch.suspend"))
    for name in ("note.write", "note.vote", "watch.thaw"):
        assert network.refusal_of(network.write(name, author="second-bank")) == "ledger.member_suspended"
    assert network.refusal_of(network.write(author="first-bank")) == ""


def test_a_suspension_with_an_end_leaves_the_vote(network):
    """[LEDGER-GATE-1]"""
    network.run(network.write("watch.pause"))
    for name in ("note.write", "note.govern", "watch.thaw"):
        assert network.refusal_of(network.write(name, author="second-bank")) == "ledger.member_suspended"
    assert network.refusal_of(network.write("note.vote", author="second-bank")) == ""


def test_what_no_later_block_would_take_is_refused_before_signatures_are_checked(network):
    network.run(network.write("watch.suspend"), network.write("watch.freeze"))
    cases = {
        "ledger.network_frozen": network.draft(),
        "ledger.member_suspended": network.draft("watch.thaw", author="second-bank"),
        "ledger.tx_expired": network.draft(valid_until_ms=network.time_ms),
        "ledger.tx_valid_too_long": network.draft(valid_until_ms=network.time_ms + 25 * 3_600_000),
    }
    for code, draft in cases.items():
        tx = network.machine.decode(with_broken_signature(network.sign(draft)))
        with pytest.raises(ShuiqiaoError) as caught:
            network.machine.precheck(tx, network.state, time_ms=network.time_ms, height=network.height + 1)
        assert caught.value.code == code
    tx = network.machine.decode(network.write("watch.thaw"))
    network.machine.precheck(tx, network.state, time_ms=network.time_ms, height=network.height + 1)


def test_a_machine_refuses_a_suite_that_is_not_its_networks(intl):
    with pytest.raises(ValueError):
        StateMachine(intl.parameters, kinds=intl.machine.kinds, key_ring=intl.keys, suite=get_suite("gm"))


def test_a_kind_removed_between_decoding_and_execution_is_refused(intl):
    tx = msgspec.structs.replace(intl.machine.decode(intl.write()), kind="note.gone")
    result = intl.machine.execute_block(
        [Candidate(transaction=tx)],
        OverlayState(intl.state),
        BlockContext(height=1, time_ms=intl.time_ms + 1),
        previous_time_ms=intl.time_ms,
        replay=intl.replay,
    )
    assert codes(result) == ["ledger.kind_unknown"]


def test_state_values_are_deterministic_cbor(network):
    network.run(network.write())
    for data in network.state.encoded().values():
        assert data == encode_cbor(cbor2.loads(data))


@pytest.mark.parametrize("comes", ["first", "last"])
def test_an_extra_signer_is_refused_wherever_its_kid_stands(network, comes):
    """[LEDGER-SIGN-1]"""
    author = network.keys["bureau"]
    strangers = (network.suite.signing_key_from_seed(bytes([number]) * 32) for number in range(256))
    extra = next(key for key in strangers if (key.key_id > author.key_id) == (comes == "last"))
    raw = network.sign(network.draft(), keys=[author, extra])
    assert network.refusal_of(raw) == "ledger.signature_unexpected"
    with pytest.raises(InvalidInput, match=f"must not be signed by key {extra.key_id.hex()}"):
        network.machine.plan_verification(network.machine.decode(raw), network.state)


def test_a_version_that_does_not_count_is_refused_before_signatures_are_checked(network):
    """[LEDGER-KIND-3]"""
    network.state.write({"note/versions": encode_cbor({"note.write": 5})})
    tx = network.machine.decode(network.write())
    network.machine.precheck(tx, network.state, time_ms=network.time_ms, height=4)
    with pytest.raises(InvalidInput) as raised:
        network.machine.precheck(tx, network.state, time_ms=network.time_ms, height=5)
    assert raised.value.code == "ledger.kind_version_inactive"


def test_a_provider_that_fails_stops_the_block_instead_of_refusing(intl, monkeypatch):  # [LEDGER-SIGN-4]
    raw = intl.write()

    def fail(*_arguments):
        raise RuntimeError("no")

    with monkeypatch.context() as patch:
        patch.setattr(intl_provider, "crypto_sign_open", fail)
        with pytest.raises(Unavailable, match=r"crypto\.provider_failed"):
            intl.run(raw)
    assert intl.refusal_of(raw) == ""


@pytest.mark.parametrize("name", ["note.write", "note.swallow"])
def test_nothing_more_is_asked_of_a_store_that_failed(intl, name):
    class FailingNotes:
        asked = 0

        def get(self, key):
            if key.startswith("note/entry/"):
                self.asked += 1
                raise OSError(5, "disk")
            return intl.state.get(key)

    store = FailingNotes()
    with pytest.raises(Unavailable, match=r"ledger\.state_unreadable"):
        intl.machine.execute_block(
            [intl.candidate(intl.write(name)) for _ in range(3)],
            OverlayState(store),
            BlockContext(height=1, time_ms=intl.time_ms + 1),
            previous_time_ms=intl.time_ms,
            replay=intl.replay,
        )
    assert store.asked == 1


@pytest.mark.parametrize("failure", [MemoryError(), RecursionError(), OSError(24, "too many open files")], ids=repr)
def test_what_a_machine_lacks_refuses_no_transaction(intl, failure):  # [LEDGER-SIGN-4]
    def lack(*_arguments):
        raise failure

    lacking = Kind(
        name="note.lacking", room="note", version=1, body=NoteBody, check=lack, apply=no_events, signers=lack
    )
    machine = StateMachine(
        intl.machine.parameters,
        kinds=KindTable([*KINDS, lacking]),
        key_ring=intl.machine.key_ring,
        suite=intl.suite,
    )
    tx = machine.decode(intl.write("note.lacking"))
    with pytest.raises(type(failure)):
        machine.required_keys(tx, intl.state)
    with pytest.raises(type(failure)):
        machine.execute_block(
            [Candidate(transaction=tx)],
            OverlayState(intl.state),
            BlockContext(height=1, time_ms=intl.time_ms + 1),
            previous_time_ms=intl.time_ms,
            replay=intl.replay,
        )


def test_a_value_of_this_block_that_cannot_be_read_back_refuses_nothing(intl, monkeypatch):  # [LEDGER-SIGN-4]
    overlay = OverlayState(intl.state)
    overlay.open_room("note")
    overlay.put("note/a", 1)

    def fail(*_arguments):
        raise MemoryError

    monkeypatch.setattr(cbor2, "loads", fail)
    with pytest.raises(MemoryError):
        overlay.get("note/a")
    # Whoever swallowed it, the machine asks.
    with pytest.raises(MemoryError):
        overlay.require_readable()

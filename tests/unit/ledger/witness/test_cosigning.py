"""[WITNESS-7]: the operator gets what witnesses give in time, believes none of it, and says who is missing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from shuiqiao.base.errors import Conflict, IntegrityError, Unavailable
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.witness.cosigning import CosignatureCollector
from witnessed_world import ORIGIN, WITNESSES


class Peer:
    """A witness whose line or connection does what a test says."""

    def __init__(self, witness, *, answer=None) -> None:
        self.member = witness.member
        self.witness = witness
        self.answer = answer

    def witnessed_size(self, origin):
        return self.witness.witnessed_size(origin)

    def cosign(self, note, *, old_size, proof):
        if self.answer is not None:
            return self.answer(note, old_size, proof)
        return self.witness.cosign(note, old_size=old_size, proof=proof)


def collector(log, peers, *, quorum=2, **settings):
    fields = {"timeout_s": 20.0, "linger_s": 20.0, **settings}
    return CosignatureCollector(log.policy(quorum=quorum), suite=log.suite, peers=peers, proofs=log.proof, **fields)


def test_all_that_are_there_cosign_every_checkpoint(log):
    asks = collector(log, [log.witness(member) for member in reversed(WITNESSES)])
    for size in (0, 1, 5, 5, 300):
        result = asks.collect(log.checkpoint(size))
        assert (WITNESSES, {}, 0) == (result.cosigners, result.missing, result.still_needed)
        assert result.checkpoint == verify_note(result.checkpoint.note, policy=log.policy(quorum=3), suite=log.suite)
        log.clock.advance(1000)


def raising(error):
    def answer(_note, _old_size, _proof):
        raise error

    return answer


def test_those_away_are_told_with_their_reason(log):
    away = Unavailable("ledger.witness_away", "the line is cut")
    peers = [
        Peer(log.witness("first-bank"), answer=raising(away)),
        Peer(log.witness("regulator"), answer=raising(ZeroDivisionError("a bug over there"))),
        log.witness("second-bank"),
    ]
    result = collector(log, peers).collect(log.checkpoint(300))
    assert (("second-bank",), 1) == (result.cosigners, result.still_needed)
    assert {
        "first-bank": away.message,
        "regulator": "asking regulator broke down: ZeroDivisionError('a bug over there')",
    } == {member: error.message for member, error in result.missing.items()}
    # They are kept until the next time, and the calls that raised them are not.
    assert {error.__traceback__ for error in result.missing.values()} == {None}
    # What is short of the quorum is a note all the same, and may be completed later.
    verify_note(result.checkpoint.note, policy=log.policy(quorum=1), suite=log.suite)


def test_witnesses_without_a_connection_and_strangers(log):
    result = collector(log, [log.witness("regulator"), log.witness("stranger")], quorum=1).collect(log.checkpoint(300))
    assert (("regulator",), 0) == (result.cosigners, result.still_needed)
    assert {"first-bank", "second-bank"} == set(result.missing)
    assert {"ledger.witness_away"} == {error.code for error in result.missing.values()}


def test_answers_are_verified_before_they_go_into_the_note(log):
    def as_of(member, size):
        return lambda _note, _old, _proof: log.line(log.checkpoint(size), member)

    answers = {
        "ledger.cosignature_invalid": as_of("regulator", 299),
        "ledger.cosigner_unknown": as_of("second-bank", 300),
        "ledger.checkpoint_malformed": lambda *_: b"\xe2\x80\x94 nothing\n",
    }
    for code, answer in answers.items():
        peer = Peer(log.witness("regulator"), answer=answer)
        result = collector(log, [peer], quorum=1).collect(log.checkpoint(300))
        assert (code, log.checkpoint(300).size) == (result.missing["regulator"].code, result.checkpoint.size)
        assert () == result.cosigners
        log.open.pop().close()
    stranger = Peer(log.witness("regulator"), answer=as_of("stranger", 300))
    result = collector(log, [stranger], quorum=1).collect(log.checkpoint(300))
    assert "ledger.cosigner_unknown" == result.missing["regulator"].code


@contextmanager
def held() -> Iterator[threading.Event]:
    """An event that is set at the end, whatever happens, so that no thread waits for ever."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def test_a_witness_that_hangs_holds_nobody_up(intl_log):
    answered = []
    with held() as release:

        def hang(_note, _old, _proof):
            release.wait(600)
            answered.append(1)
            return b""

        slow = Peer(intl_log.witness("first-bank"), answer=hang)
        asks = collector(
            intl_log, [slow, intl_log.witness("regulator"), intl_log.witness("second-bank")], linger_s=0.01
        )
        for size in (100, 200, 300):
            result = asks.collect(intl_log.checkpoint(size))
            assert ({"first-bank"}, 0) == (set(result.missing), result.still_needed)
        assert [] == answered
        # One question waits there, not three.
        assert 1 == sum(thread.name == "cosign-first-bank" for thread in threading.enumerate())


def test_a_quorum_that_does_not_come_is_given_up_in_time(intl_log):
    with held() as release:

        def hang(_note, _old, _proof):
            release.wait(60)
            return b""

        peers = [Peer(intl_log.witness(member), answer=hang) for member in WITNESSES]
        result = collector(intl_log, peers, timeout_s=0.05).collect(intl_log.checkpoint(300))
        assert ((), 2, set(WITNESSES)) == (result.cosigners, result.still_needed, set(result.missing))
        assert "0.05 s" in result.missing["regulator"].message


def test_a_witness_moved_on_by_another_is_asked_again(intl_log):
    witness = intl_log.witness()

    class Moved(Peer):
        moves = 2

        def witnessed_size(self, origin):
            size = super().witnessed_size(origin)
            if self.moves:
                # Another caller comes between the question and the request.
                self.moves -= 1
                intl_log.cosign(witness, size + 10)
            return size

    result = collector(intl_log, [Moved(witness)], quorum=1).collect(intl_log.checkpoint(300))
    assert ("regulator",) == result.cosigners

    class Restless(Moved):
        moves = 9

    result = collector(intl_log, [Restless(witness)], quorum=1).collect(intl_log.checkpoint(600))
    assert "ledger.witness_size_stale" == result.missing["regulator"].code


def test_a_witness_that_is_ahead_says_so(intl_log):
    witness = intl_log.witness()
    intl_log.cosign(witness, 300)
    result = collector(intl_log, [witness], quorum=1).collect(intl_log.checkpoint(200))
    assert isinstance(result.missing["regulator"], Conflict)
    assert "ledger.witness_ahead" == result.missing["regulator"].code


def test_a_fork_is_refused_by_those_who_saw_the_other_history(log):
    peers = [log.witness(member) for member in WITNESSES]
    collector(log, peers).collect(log.checkpoint(100))
    other = log.forked(99)
    result = collector(other, peers).collect(other.checkpoint(300))
    assert (3, (), 2) == (len(result.missing), result.cosigners, result.still_needed)
    assert {"ledger.fork_detected"} == {error.code for error in result.missing.values()}
    assert all(peer.alarm(ORIGIN) is not None for peer in peers)


def test_only_the_logs_own_note_is_carried_around(intl_log):
    asks = collector(intl_log, [intl_log.witness()])
    forged = intl_log.checkpoint(300)
    forged = replace(forged, note=forged.note.replace(b"\n300\n", b"\n301\n"))
    with pytest.raises(IntegrityError, match="checkpoint_signature_invalid"):
        asks.collect(forged)

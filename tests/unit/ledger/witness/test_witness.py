"""[WITNESS-1] to [WITNESS-6]: each checkpoint extends the last, no two histories, an alarm for ever, nothing forgotten."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import verify_cosignature
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.signed_note import decode_line, decode_signed_note
from shuiqiao.ledger.store.alarm_file import ForkKind
from shuiqiao.ledger.witness.fork_evidence import decode_evidence, verify_fork_evidence
from shuiqiao.ledger.witness.witness import MAX_PROOF, Witness
from witnessed_world import NOW_MS, ORIGIN


def code_of(act) -> str:
    with pytest.raises(ShuiqiaoError) as caught:
        act()
    return caught.value.code


def reopened(log, witness):
    log.open.remove(witness)
    witness.close()
    return log.witness(witness.member)


def told(log, line, size):
    text = decode_signed_note(log.checkpoint(size).note).text
    return verify_cosignature(decode_line(line), text=text, policy=log.policy(), suite=log.suite)


def test_it_cosigns_what_extends_what_it_cosigned(log):
    """[WITNESS-1] [WITNESS-2]"""
    witness = log.witness()
    sizes = (0, 1, 2, 3, 3, 8, 64, 65, 300, 300, 700)
    for number, size in enumerate(sizes):
        line = log.cosign(witness, size)
        assert ("regulator", NOW_MS // 1000 + number) == (told(log, line, size).member, told(log, line, size).time_s)
        assert size == witness.witnessed_size(ORIGIN)
        log.clock.advance(1000)
    assert 700 == reopened(log, witness).witnessed_size(ORIGIN)


def test_a_request_from_another_size_is_told_the_size(log):
    """[WITNESS-5]"""
    witness = log.witness()
    log.cosign(witness, 100)
    for old in (0, 99, 101):
        with pytest.raises(Conflict) as caught:
            log.cosign(witness, 300, old_size=old)
        assert ("ledger.witness_size_stale", True) == (caught.value.code, "last cosigned 100" in caught.value.message)
    # An older checkpoint is no offence, it only comes late.
    assert code_of(lambda: log.cosign(witness, 50, old_size=50)) == "ledger.witness_size_stale"
    assert 100 == witness.witnessed_size(ORIGIN)
    assert witness.alarm(ORIGIN) is None


def test_a_proof_that_proves_nothing_is_refused_and_raises_no_alarm(log):
    """[WITNESS-6]: anybody may send one with an honest note."""
    witness = log.witness()
    log.cosign(witness, 100)
    good = log.proof(100, 300)
    wrong = [
        (),
        good[:-1],
        (*good, bytes(32)),
        tuple(reversed(good)),
        (bytes(32), *good[1:]),
        log.proof(99, 300),
        log.forked(0).proof(100, 300),
        log.forked(200).proof(100, 300),
    ]
    for proof in wrong:
        assert code_of(lambda proof=proof: log.cosign(witness, 300, proof=proof)) == "ledger.consistency_broken"
    assert (100, None) == (witness.witnessed_size(ORIGIN), witness.alarm(ORIGIN))
    log.cosign(witness, 300)


def test_halves_of_other_lengths_cannot_fake_a_fork(log):
    """A node's two hashes cut elsewhere still hash to the node, and would show another past."""
    witness = log.witness()
    log.cosign(witness, 3)
    honest = log.proof(3, 4)
    # The path of 3 in 4 is (third leaf, fourth leaf, root of the first two).
    joined = (honest[0] + honest[1], b"", honest[2])
    assert code_of(lambda: log.cosign(witness, 4, proof=joined)) == "ledger.witness_request_invalid"
    assert witness.alarm(ORIGIN) is None
    assert (
        code_of(lambda: log.cosign(witness, 4, proof=[bytes(32)] * (MAX_PROOF + 1))) == "ledger.witness_request_invalid"
    )


@pytest.mark.parametrize("old_size", [-1, 301])
def test_sizes_that_cannot_be_are_refused(intl_log, old_size):
    """[WITNESS-5]"""
    witness = intl_log.witness()
    assert (
        code_of(lambda: intl_log.cosign(witness, 300, old_size=old_size, proof=())) == "ledger.witness_request_invalid"
    )


def test_only_the_logs_own_notes_count(log):
    witness = log.witness()
    log.cosign(witness, 100)
    foreign = sign_checkpoint(origin=ORIGIN, size=300, root=bytes(32), key=log.key("second-bank"), suite=log.suite).note
    other = sign_checkpoint(origin="elsewhere", size=300, root=bytes(32), key=log.key("bureau"), suite=log.suite).note
    forged = log.checkpoint(300).note.replace(b"\n300\n", b"\n301\n")
    cases = {
        "ledger.checkpoint_foreign": foreign,
        "ledger.witness_origin_unknown": other,
        "ledger.checkpoint_signature_invalid": forged,
        "ledger.checkpoint_malformed": forged[:-1],
    }
    for code, note in cases.items():
        assert code == code_of(lambda note=note: witness.cosign(note, old_size=100, proof=()))
    with pytest.raises(InvalidInput):
        witness.witnessed_size("elsewhere")
    assert witness.alarm(ORIGIN) is None


def test_two_roots_of_one_size_end_it_for_ever(log):
    """[WITNESS-6]"""
    witness = log.witness()
    log.cosign(witness, 300)
    other = log.forked(299)
    # Whatever else the request says.
    assert code_of(lambda: other.cosign(witness, 300, old_size=7)) == "ledger.fork_detected"
    require_caught(log, witness, other.checkpoint(300).note, kind=ForkKind.ROOT_DIFFERS, size=300)


@pytest.mark.parametrize("size", [3, 100, 299])
def test_a_longer_log_with_another_past_ends_it_for_ever(log, size):
    """[WITNESS-6]: the fork's own honest proof is what convicts it."""
    witness = log.witness()
    log.cosign(witness, size)
    other = log.forked(size - 1)
    assert code_of(lambda: other.cosign(witness, 300)) == "ledger.fork_detected"
    require_caught(log, witness, other.checkpoint(300).note, kind=ForkKind.NOT_AN_EXTENSION, size=size)


def test_from_a_power_of_two_the_path_needs_the_root_it_leaves_out(log):
    """Such a fork is refused by itself, and convicted by whoever brings the first leaves' root."""
    witness = log.witness()
    log.cosign(witness, 64)
    other = log.forked(63)
    assert code_of(lambda: other.cosign(witness, 300)) == "ledger.consistency_broken"
    assert witness.alarm(ORIGIN) is None
    path = (other.checkpoint(64).root, *other.proof(64, 300))
    assert code_of(lambda: other.cosign(witness, 300, proof=path)) == "ledger.fork_detected"
    require_caught(log, witness, other.checkpoint(300).note, kind=ForkKind.NOT_AN_EXTENSION, size=64)


def require_caught(log, witness, forked_note, *, kind, size):
    for one in (witness, reopened(log, witness)):
        alarm = one.alarm(ORIGIN)
        assert alarm is not None
        assert (kind, size, NOW_MS) == (alarm.kind, alarm.own_size, alarm.found_ms)
        assert (log.checkpoint(size).root, log.suite.name) == (alarm.own_root, log.suite.name)
        assert forked_note.split(b"\n\n")[0] == alarm.new_note.split(b"\n\n")[0]
        evidence = one.evidence(ORIGIN)
        assert evidence is not None
        assert kind == verify_fork_evidence(evidence, policies=[log.policy()], suite=log.suite)
        assert (alarm.own_note, alarm.new_note) == (
            decode_evidence(evidence).old_note,
            decode_evidence(evidence).new_note,
        )
        # The honest continuation comes too late: nobody knows which history the others saw.
        assert code_of(lambda one=one: log.cosign(one, 300)) == "ledger.fork_detected"


def test_an_empty_log_has_one_root(log):
    witness = log.witness()
    note = sign_checkpoint(origin=ORIGIN, size=0, root=bytes(32), key=log.key("bureau"), suite=log.suite).note
    assert code_of(lambda: witness.cosign(note, old_size=0, proof=())) == "ledger.consistency_broken"
    assert witness.alarm(ORIGIN) is None


def test_time_does_not_run_backwards(intl_log):
    """[WITNESS-4]"""
    from shuiqiao.base.clock import ManualClock

    witness = intl_log.witness(clock=ManualClock(NOW_MS))
    first = told(intl_log, intl_log.cosign(witness, 5), 5).time_s
    intl_log.open.remove(witness)
    witness.close()
    for start_ms in (NOW_MS - 3_600_000, 0):
        slow = intl_log.witness(clock=ManualClock(start_ms))
        assert first == told(intl_log, intl_log.cosign(slow, 6), 6).time_s
        intl_log.open.remove(slow)
        slow.close()


def test_logs_are_kept_apart(intl_log):
    from dataclasses import replace

    witness = intl_log.witness()
    witness.watch(replace(intl_log.policy(), origin="shuiqiao/other"))
    other = sign_checkpoint(
        origin="shuiqiao/other", size=1, root=bytes(32), key=intl_log.key("bureau"), suite=intl_log.suite
    )
    witness.cosign(other.note, old_size=0, proof=())
    intl_log.cosign(witness, 300)
    assert (300, 1) == (witness.witnessed_size(ORIGIN), witness.witnessed_size("shuiqiao/other"))


def test_a_later_policy_takes_the_place_of_the_former(intl_log):
    from dataclasses import replace

    witness = intl_log.witness()
    intl_log.cosign(witness, 5)
    witness.watch(replace(intl_log.policy(), operator_key=intl_log.key("new-bureau").public_key))
    assert code_of(lambda: intl_log.cosign(witness, 6)) == "ledger.checkpoint_foreign"
    assert 5 == witness.witnessed_size(ORIGIN)


def test_one_process_at_a_time(intl_log):
    intl_log.witness()
    assert code_of(intl_log.witness) == "ledger.locked"


class FailingDisk(Disk):
    """A disk that fails at one step, before or after it had its effect."""

    def __init__(self, step: str, *, after: bool) -> None:
        self.step = step
        self.after = after
        self.armed = False

    def _act(self, step, act):
        if self.armed and self.step == step and not self.after:
            raise OSError(28, "No space left on device")
        act()
        if self.armed and self.step == step:
            raise OSError(5, "Input/output error")

    def append(self, descriptor, data):
        self._act("append", lambda: super(FailingDisk, self).append(descriptor, data))

    def sync(self, descriptor):
        self._act("sync", lambda: super(FailingDisk, self).sync(descriptor))

    def sync_folder(self, folder):
        self._act("sync_folder", lambda: super(FailingDisk, self).sync_folder(folder))


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", ["append", "sync", "sync_folder"])
def test_what_could_not_be_stored_is_not_cosigned(intl_log, step, after):
    """[WITNESS-3]: failed, and failed but persisted."""
    disk = FailingDisk(step, after=after)
    witness = intl_log.witness(disk=disk)
    intl_log.cosign(witness, 100)
    disk.armed = True
    with pytest.raises(Unavailable) as caught:
        intl_log.cosign(witness, 300)
    assert caught.value.code == "ledger.witness_not_stored"
    disk.armed = False
    # Which record is there was decided by the disk; the witness goes on from that one.
    assert witness.witnessed_size(ORIGIN) == (300 if step == "sync_folder" else 100)
    assert intl_log.forked(299).checkpoint(300).root != intl_log.checkpoint(300).root
    intl_log.cosign(witness, 300)
    assert code_of(lambda: intl_log.forked(299).cosign(witness, 300)) == "ledger.fork_detected"


def test_an_alarm_that_could_not_be_stored_stands_and_is_stored_later(intl_log):
    disk = FailingDisk("append", after=False)
    witness = intl_log.witness(disk=disk)
    intl_log.cosign(witness, 300)
    disk.armed = True
    assert code_of(lambda: intl_log.forked(299).cosign(witness, 300)) == "ledger.fork_detected"
    assert code_of(lambda: intl_log.cosign(witness, 301)) == "ledger.fork_detected"
    disk.armed = False
    assert code_of(lambda: intl_log.cosign(witness, 301)) == "ledger.fork_detected"
    again = reopened(intl_log, witness)
    assert code_of(lambda: intl_log.cosign(again, 301)) == "ledger.fork_detected"


def log_folder(witness) -> Path:
    (folder,) = (path for path in witness._folder.iterdir() if path.is_dir())
    return folder


def test_killed_between_evidence_and_alarm_it_still_knows(intl_log):
    """[WITNESS-6]"""
    witness = intl_log.witness()
    intl_log.cosign(witness, 100)
    assert code_of(lambda: intl_log.forked(99).cosign(witness, 300)) == "ledger.fork_detected"
    (log_folder(witness) / "fork").unlink()
    again = reopened(intl_log, witness)
    alarm = again.alarm(ORIGIN)
    assert alarm is not None
    assert ForkKind.NOT_AN_EXTENSION == alarm.kind
    assert code_of(lambda: intl_log.cosign(again, 300)) == "ledger.fork_detected"
    assert (log_folder(again) / "fork").exists()


def test_a_damaged_record_stops_the_witness(intl_log):
    """[WITNESS-3]: it must not begin anew."""
    witness = intl_log.witness()
    intl_log.cosign(witness, 100)
    path = log_folder(witness) / "last"
    data = path.read_bytes()
    intl_log.open.remove(witness)
    witness.close()
    for damaged in (b"", data[:40], data[:-1], data + b"x", bytes([data[0] ^ 1]) + data[1:], data[:-1] + b"\x00"):
        path.write_bytes(damaged)
        assert code_of(intl_log.witness) == "ledger.witness_record_damaged"
        intl_log.open.pop().close()
    path.write_bytes(data)
    assert 100 == intl_log.witness().witnessed_size(ORIGIN)


def test_threads_never_split_it(intl_log):
    """[WITNESS-2]: check and record are one act."""
    witness = intl_log.witness()
    proofs = {size: intl_log.checkpoint(size).note for size in range(1, 41)}
    given: list[int] = []
    lock = threading.Lock()

    def ask(sizes):
        for size in sizes:
            try:
                old = witness.witnessed_size(ORIGIN)
                if old <= size:
                    witness.cosign(proofs[size], old_size=old, proof=intl_log.proof(old, size))
                    with lock:
                        given.append(size)
            except Conflict:
                continue

    threads = [threading.Thread(target=ask, args=(range(start, 41, 4),)) for start in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert witness.witnessed_size(ORIGIN) == max(given)
    assert witness.alarm(ORIGIN) is None


def test_a_quorum_of_validators_is_witnessed_too(log):
    """Where nobody operates the log its validators' quorum is its word."""
    from shuiqiao.ledger.checkpoints.note import join_note

    policy = log.policy(operator=False)
    witness = log.witness("observer")
    witness.watch(policy)

    def note(history, size):
        checkpoint = history.checkpoint(size)
        lines = [log.line(checkpoint, member) for member in ("first-bank", "regulator")]
        return join_note(decode_signed_note(checkpoint.note).text, lines, policy=policy, suite=log.suite)

    witness.cosign(note(log, 100), old_size=0, proof=())
    with pytest.raises(IntegrityError, match="cosigner_unknown"):
        log.cosign(witness, 300)
    other = log.forked(99)
    refusal = code_of(lambda: witness.cosign(note(other, 300), old_size=100, proof=other.proof(100, 300)))
    assert refusal == "ledger.fork_detected"
    evidence = witness.evidence(ORIGIN)
    assert evidence is not None
    assert ForkKind.NOT_AN_EXTENSION == verify_fork_evidence(evidence, policies=[policy], suite=log.suite)


def test_a_record_of_another_log_or_version_stops_the_witness(intl_log):
    """[WITNESS-1]"""
    import hashlib

    from shuiqiao.base.encoding import decode_cbor, encode_cbor

    witness = intl_log.witness()
    intl_log.cosign(witness, 100)
    path = log_folder(witness) / "last"
    intl_log.open.pop().close()
    fields = decode_cbor(path.read_bytes()[32:])
    for change in ({"origin": "shuiqiao/other"}, {"version": 2}, {"more": 1}):
        body = encode_cbor({**fields, **change})
        path.write_bytes(hashlib.sha256(body).digest() + body)
        assert code_of(intl_log.witness) == "ledger.witness_record_damaged"
        intl_log.open.pop().close()


def test_a_closed_witness_is_away(intl_log):
    witness = intl_log.witness()
    intl_log.cosign(witness, 10)
    witness.close()
    with pytest.raises(Unavailable, match="witness_away"):
        intl_log.cosign(witness, 20, old_size=10)


def test_a_time_that_has_not_come_is_not_cosigned(log):
    """[LEDGER-TIME-2]"""
    times_ms = {100: NOW_MS + 300_000, 300: NOW_MS + 300_001}
    (log.folder / "copy").mkdir()
    witness = Witness(
        log.folder / "copy",
        member=MemberId("regulator"),
        key=log.key("regulator"),
        suite=log.suite,
        clock=log.clock,
    )
    log.open.append(witness)
    witness.watch(log.policy(), time_at=times_ms.__getitem__)
    log.cosign(witness, 100)
    with pytest.raises(Unavailable) as raised:
        log.cosign(witness, 300)
    assert raised.value.code == "ledger.block_time_ahead"
    assert iso_from_ms(times_ms[300]) in raised.value.message
    assert iso_from_ms(NOW_MS) in raised.value.message
    # Nothing is on record of it: once its time is near, it is cosigned.
    assert witness.witnessed_size(ORIGIN) == 100
    log.clock.advance(1)
    assert told(log, log.cosign(witness, 300), 300).member == "regulator"

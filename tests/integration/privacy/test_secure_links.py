"""Two members compute a score by a process each: what comes out, and what becomes of it when one of them fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hostile_party
from absence import absent
from hostile_party import BABBLE, HostileBank
from patience import PATIENCE_S
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.privacy.secure import worker_link as worker_link_module
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.model import SecureFunction, SecureOutput
from shuiqiao.sandbox.secure_pair import BANK, BINDING, BUREAU, SecurePair, random_rows

RANDOM = np.random.default_rng(1)
POINTS, BAND, YES_NO = SecureOutput.POINTS, SecureOutput.BAND, SecureOutput.YES_NO


@pytest.fixture(scope="module", autouse=True)
def _library():
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)


@pytest.fixture(scope="module")
def pair():
    made = SecurePair(timeout_s=PATIENCE_S).open()
    yield made
    made.close()


@pytest.fixture
def broken_pair():
    """One that a test breaks."""
    made = SecurePair(timeout_s=PATIENCE_S).open()
    yield made
    made.close()


def lose_patience(pair):
    """Wait for nothing from now on, where what is waited for never comes."""
    pair.bank._timeout_s = pair.bureau._timeout_s = 0.5


def codes(halves):
    return [each.code if isinstance(each, ShuiqiaoError) else each for each in halves]


@pytest.mark.parametrize("rows", [1, 700])
@pytest.mark.parametrize(("output", "cuts"), [(POINTS, 0), (BAND, 5), (YES_NO, 1)])
def test_what_comes_out_is_what_one_party_would_compute(pair, rows, output, cuts):
    """[SECURE-1] [SECURE-2] Whole points, bands and answers, exactly: this is arithmetic of integers."""
    weights, edges = RANDOM.integers(-100, 100, 100), np.sort(RANDOM.integers(-600, 600, cuts))
    holds = random_rows(RANDOM, rows=rows)
    function = SecureFunction(indicators=100, cuts=cuts, output=output, rows=rows)
    plain = holds @ weights
    wanted = plain if output is POINTS else (plain[:, np.newaxis] >= edges).sum(axis=1)
    assert pair.outputs(function, [*weights, *edges], holds) == wanted.tolist()


def test_a_bureaus_share_of_points_has_twelve_bits(pair):
    """[SECURE-2] Of points that no card may give the bank sees where they lie between two multiples of 4,096."""
    function = SecureFunction(indicators=3, cuts=0, output=POINTS)
    halves = pair.halves(function, [2_000, 2_000, 2**50], [1, 1, 1])
    assert [int.from_bytes(each[9:], "little") < 4_096 for each in halves] == [True, True]
    assert function.combine(*halves) == 4_000 - 4_096


def test_another_function_or_request_over_there_is_refused_by_both_and_the_link_goes_on(pair):
    """[SECURE-7]"""
    function = SecureFunction(indicators=4, cuts=2, output=BAND)
    inputs = [3, -2, 5, 1, 0, 4], [1, 0, 1, 0]
    differs = ["privacy.secure_function_differs"] * 2
    other = SecureFunction(indicators=4, cuts=1, output=YES_NO)
    assert codes(pair.halves(function, *inputs, theirs=other)) == differs
    assert codes(pair.halves(function, *inputs, their_binding=bytes(32))) == differs
    assert pair.outputs(function, *inputs) == [2]


def test_values_that_are_not_those_of_the_function_are_refused_before_they_leave(pair):
    function = SecureFunction(indicators=2, cuts=1, output=YES_NO)
    for links, peer, values in ((pair.bank, BUREAU, [1, 2]), (pair.bureau, BANK, [1, 2]), (pair.bureau, BANK, [1])):
        with pytest.raises(InvalidInput, match=r"privacy\.secure_function_differs"):
            links.run(peer, function, values, binding=BINDING)
    assert pair.outputs(function, [1, 2, 3], [1, 1]) == [1]


def test_nothing_is_written_to_a_file_and_no_weight_stands_in_an_argument(tmp_path, monkeypatch):
    """[SECURE-8]"""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    made = SecurePair(timeout_s=PATIENCE_S).open()
    try:
        assert made.outputs(SecureFunction(indicators=2, cuts=0, output=POINTS), [1_234, 77], [1, 0]) == [1_234]
        for pid in made.workers():
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert b"run_worker" in arguments
            assert b"1234" not in arguments
            held = {str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()}
            assert {name for name in held if name.startswith("socket:")}
            written = {name for name in held if name.startswith("/") and not name.startswith("/dev/")}
            assert written <= {str(Path(f"/proc/self/fd/{number}").readlink()) for number in (0, 1, 2)}
    finally:
        made.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("side", [0, 1])
def test_a_worker_that_dies_in_a_run_is_told_on_both_sides_and_the_next_opening_works(broken_pair, side):
    """[SECURE-8]"""
    rows = 8_192
    function = SecureFunction(indicators=100, cuts=0, output=POINTS, rows=rows)
    links = [broken_pair.bank._links[BUREAU], broken_pair.bureau._links[BANK]]

    def kill():
        while not all(link.is_busy for link in links):
            time.sleep(0.005)
        time.sleep(0.05)
        os.kill(links[side].pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    found = codes(broken_pair.halves(function, RANDOM.integers(-9, 9, 100), random_rows(RANDOM, rows=rows)))
    assert found == ["privacy.secure_peer_silent"] * 2
    assert not broken_pair.bank.is_open(BUREAU)
    assert not broken_pair.bureau.is_open(BANK)
    broken_pair.open()
    assert broken_pair.outputs(SecureFunction(indicators=2, cuts=0, output=POINTS), [5, 7], [0, 1]) == [7]


@pytest.mark.parametrize("side", [0, 1])
def test_a_worker_that_dies_while_nothing_runs_takes_the_other_along(broken_pair, side):
    os.kill(broken_pair.workers()[side], signal.SIGKILL)
    until = time.monotonic() + PATIENCE_S
    while broken_pair.bank.is_open(BUREAU) or broken_pair.bureau.is_open(BANK):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_side_that_is_not_asked_leaves_the_other_with_a_refusal():
    pair = SecurePair(timeout_s=PATIENCE_S).open()
    try:
        function = SecureFunction(indicators=2, cuts=0, output=POINTS)
        lose_patience(pair)
        with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
            pair.bank.run(BUREAU, function, [1, 2], binding=BINDING)
        assert not pair.bank.is_open(BUREAU)
    finally:
        pair.close()


def test_a_bank_that_never_comes_and_one_of_another_certificate(broken_pair):
    """[SECURE-6]"""
    bank, bureau = broken_pair.bank, broken_pair.bureau
    function = SecureFunction(indicators=2, cuts=0, output=POINTS)
    answer = bureau.accept(BANK, bank.offer(BUREAU))
    stranger = bureau.accept(MemberId("bank-b"), replace(bank.offer(MemberId("tax-b")), session=answer.session))
    with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent.*certificate"):
        bank.connect(BUREAU, replace(answer, certificate=stranger.certificate))
    lose_patience(broken_pair)
    with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
        bureau.run(BANK, function, [0, 1], binding=BINDING)
    assert not bureau.is_open(BANK)


@pytest.mark.parametrize(("spoil", "honest_frames"), [("cut", 0), ("empty", 3), ("longer", 6), ("noise", 4)])
def test_messages_that_are_not_the_protocols_end_that_link_and_no_more(pair, monkeypatch, spoil, honest_frames):
    """[SECURE-8] What such a bank gets is a broken link; the server goes on with others."""
    other, hostile = MemberId("bank-h"), HostileBank(spoil, honest_frames=honest_frames)
    function = SecureFunction(indicators=2, cuts=0, output=POINTS)
    try:
        hostile.go(pair.bureau.accept(other, hostile.offer))
        # Noise may let the bureau's library wait for what this bank will never send.
        monkeypatch.setattr(pair.bureau, "_timeout_s", 15.0)
        with pytest.raises(ShuiqiaoError) as refusal:
            pair.bureau.run(other, function, [1, 0], binding=BINDING)
        assert refusal.value.code in {"privacy.secure_failed", "privacy.secure_peer_silent"}
        assert not pair.bureau.is_open(other)
    finally:
        monkeypatch.undo()
        hostile.end()
    assert pair.outputs(function, [5, 7], [0, 1]) == [7]


@pytest.mark.parametrize("words", sorted(BABBLE))
def test_a_worker_that_says_what_none_says_is_ended(words, monkeypatch):
    """[SECURE-8] What another member sends may have made it say anything."""
    monkeypatch.setenv("BABBLE", words)
    monkeypatch.setenv("PYTHONPATH", str(Path(hostile_party.__file__).parent))
    monkeypatch.setattr(worker_link_module, "run_worker", hostile_party.babble)
    links = SecurePair(timeout_s=PATIENCE_S).bank
    with pytest.raises(ShuiqiaoError) as refusal:
        links.offer(BUREAU)
    assert refusal.value.code == ("privacy.secure_peer_silent" if words == "half" else "privacy.secure_failed")
    assert links.worker_pids == []


def test_a_third_link_takes_the_place_of_one_that_does_nothing(broken_pair):
    """[SECURE-9]"""
    bank = broken_pair.bank
    bank.offer(MemberId("tax-b"))
    assert bank.is_open(BUREAU)
    bank.offer(MemberId("tax-c"))
    assert not bank.is_open(BUREAU)
    assert len(bank._links) == 2


def test_where_every_worker_computes_nobody_is_thrown_out():
    """[SECURE-9]"""
    pair = SecurePair(workers=1, timeout_s=PATIENCE_S).open()
    try:
        with pair.bank._links[BUREAU]._asking, pytest.raises(Unavailable, match=r"privacy\.secure_busy") as refusal:
            pair.bank.offer(MemberId("tax-b"))
        assert refusal.value.retry_after_s
        assert pair.outputs(SecureFunction(indicators=2, cuts=0, output=POINTS), [5, 7], [0, 1]) == [7]
    finally:
        pair.close()


def test_runs_of_one_link_wait_for_their_turn(pair):
    function, found = SecureFunction(indicators=2, cuts=0, output=POINTS), []

    def one(number):
        with pair.bank.turn(BUREAU):
            found.append(pair.outputs(function, [number, 7], [1, 0]) == [number])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_workers_end_with_the_server_that_started_them(tmp_path):
    """[SECURE-8]"""
    program = (
        "from shuiqiao.sandbox.secure_pair import SecurePair; import time\n"
        "print(*SecurePair().open().workers(), flush=True); time.sleep(600)"
    )
    server = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=tmp_path)
    workers = [int(pid) for pid in server.stdout.readline().split()]
    assert len(workers) == 2
    server.kill()
    server.wait()
    server.stdout.close()
    until = time.monotonic() + PATIENCE_S
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < until
        time.sleep(0.02)


def is_running(pid):
    try:
        return b"run_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False

"""Passwords are hashed with today's parameters, compared in one Unicode form, and cost the same for unknown users."""

from __future__ import annotations

import queue
import threading

import argon2
import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.keyfile import PassphraseCost
from shuiqiao.node.accounts.passwords import (
    HASHED_AT_A_TIME,
    PASSWORD_COST,
    WAITING_AT_A_TIME,
    PasswordHashing,
)

CHEAP = PassphraseCost(memory_kib=64, passes=1, lanes=1)
CHEAPER = PassphraseCost(memory_kib=32, passes=1, lanes=1)
PASSWORD = "correct horse battery"


@pytest.fixture
def hashing():
    return PasswordHashing(entropy=system_entropy, cost=CHEAP)


def test_the_cost_is_that_of_the_standard():
    stored = PasswordHashing(entropy=system_entropy).hash(PASSWORD)
    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert (PASSWORD_COST.memory_kib, PASSWORD_COST.passes, PASSWORD_COST.lanes) == (65_536, 3, 4)


def test_the_right_password_and_no_other(hashing):
    stored = hashing.hash(PASSWORD)
    assert hashing.is_right(stored, PASSWORD)
    for other in ("", PASSWORD + " ", PASSWORD[:-1], PASSWORD.upper()):
        assert not hashing.is_right(stored, other)


def test_two_hashes_of_one_password_differ(hashing):
    assert hashing.hash(PASSWORD) != hashing.hash(PASSWORD)


def test_two_ways_to_write_a_character_are_one_password(hashing):
    stored = hashing.hash("Z\u00fcrich und Gen\u00e8ve")
    assert hashing.is_right(stored, "Zu\u0308rich und Gene\u0300ve")


def test_callers_beyond_a_few_are_refused_at_once_and_take_no_thread():
    refused, go_on = queue.SimpleQueue(), threading.Event()
    others = 4

    def salted(count):
        if threading.current_thread() is not threading.main_thread():
            go_on.wait(PATIENCE_S)
        return system_entropy(count)

    hashing = PasswordHashing(entropy=salted, cost=CHEAP)

    def hash_one():
        try:
            hashing.hash(PASSWORD)
        except Unavailable as error:
            refused.put(error.code)

    threads = [threading.Thread(target=hash_one) for _ in range(HASHED_AT_A_TIME + WAITING_AT_A_TIME + others)]
    for thread in threads:
        thread.start()
    codes = [refused.get(timeout=PATIENCE_S) for _ in range(others)]
    go_on.set()
    for thread in threads:
        thread.join()
    assert codes == ["node.login_busy"] * others
    assert refused.empty()


def test_one_address_has_two_places_and_a_user_known_there_one_that_others_do_not_take():
    hashing, go_on = PasswordHashing(entropy=system_entropy, cost=CHEAP), threading.Event()
    stored, begun, told = hashing.hash(PASSWORD), queue.Queue(), queue.Queue()

    def admit():
        begun.put(None)
        go_on.wait(PATIENCE_S)

    def compare(address, *, is_known=False):
        told.put(hashing.is_right(stored, PASSWORD, admit=admit, address=address, is_known=is_known))

    def refused(address):
        with pytest.raises(Unavailable, match=r"^node\.login_busy"):
            hashing.is_right(stored, PASSWORD, admit=lambda: pytest.fail("it was counted"), address=address)

    at_work = [threading.Thread(target=compare, args=("192.0.2.1",)) for _ in range(2)]
    for thread in at_work:
        thread.start()
    for _ in at_work:
        begun.get(timeout=PATIENCE_S)
    refused("192.0.2.1")
    waiting = [threading.Thread(target=compare, args=(f"198.51.100.{number}",)) for number in range(WAITING_AT_A_TIME)]
    for thread in waiting:
        thread.start()
    while any(hashing._of_address[f"198.51.100.{number}"] == 0 for number in range(WAITING_AT_A_TIME)):
        go_on.wait(0.01)
    refused("203.0.113.1")
    known = threading.Thread(target=compare, args=("203.0.113.1",), kwargs={"is_known": True})
    known.start()
    go_on.set()
    threads = [*at_work, *waiting, known]
    for thread in threads:
        thread.join()
    assert [told.get_nowait() for _ in threads] == [True] * len(threads)
    assert hashing.is_right(stored, PASSWORD, address="192.0.2.1")


@pytest.mark.parametrize("password", ["", "a" * 11, "a" * 129])
def test_a_password_has_12_to_128_characters(hashing, password):
    with pytest.raises(InvalidInput, match=r"^node\.password_length"):
        hashing.hash(password)
    assert hashing.is_right(hashing.hash("a" * 12), "a" * 12)
    assert hashing.is_right(hashing.hash("a" * 128), "a" * 128)


def test_what_is_longer_than_any_password_is_wrong_and_costs_no_more(hashing):
    stored = hashing.hash("a" * 128)
    for length in (129, 256, 1_000_000):
        assert not hashing.is_right(stored, "a" * length)


def test_an_unknown_user_costs_what_a_known_one_costs(hashing, monkeypatch):
    verified = []

    def counted(hashed, secret, kind):
        verified.append((argon2.extract_parameters(hashed.decode()), len(secret)))
        return verify(hashed, secret, kind)

    verify = argon2.low_level.verify_secret
    monkeypatch.setattr("argon2._password_hasher.verify_secret", counted)
    assert not hashing.is_right(None, PASSWORD)
    assert not hashing.is_right(hashing.hash("another password"), PASSWORD)
    unknown, known = verified
    assert unknown == known


def test_nobody_has_the_password_of_an_unknown_user(hashing):
    assert not hashing.is_right(None, "")
    assert not hashing.is_right(None, PASSWORD)


def test_a_hash_of_other_parameters_is_outdated(hashing):
    stored = PasswordHashing(entropy=system_entropy, cost=CHEAPER).hash(PASSWORD)
    assert hashing.is_right(stored, PASSWORD)
    assert hashing.is_outdated(stored)
    assert not hashing.is_outdated(hashing.hash(PASSWORD))


@pytest.mark.parametrize("stored", ["nonsense", "$argon2id$v=19$m=64,t=1,p=1$AAAA"])
def test_a_damaged_hash_is_told_and_is_no_wrong_password(hashing, stored):
    with pytest.raises(IntegrityError, match=r"^node\.password_damaged"):
        hashing.is_right(stored, PASSWORD)

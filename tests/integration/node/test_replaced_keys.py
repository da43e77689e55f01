"""[MEMBER-26]: what was sealed before a member replaced a key is read after it, in homes as people have them."""

from __future__ import annotations

import pytest

import consortium_world as worlds
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.model import DataRequest
from shuiqiao.members.model import KeyPurpose
from shuiqiao.node.auditing import audit_home, audit_institution
from shuiqiao.node.home.keys import KeyFiles, find_passphrase, load_keys
from shuiqiao.node.home_reader import read_home
from shuiqiao.node.institution import Institution

SEALING, SIGNING = KeyPurpose.SEALING, KeyPurpose.SIGNING


def reopened(institution, purpose):
    """A member after ``shuiqiao members rotate-key``, its home opened again."""
    worlds.rotate(institution, purpose)
    institution.close()
    return Institution.open(institution.home, dependencies=institution.dependencies)


@pytest.fixture
def rotate(world):
    """Replace a key of the world's bank or regulator, with which the world goes on."""
    return lambda name, purpose: setattr(world, name, reopened(getattr(world, name), purpose))


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(request, tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), request.param)
    yield made
    for name in ("bank", "regulator"):
        getattr(made, name).close()
    made.close()


def test_a_regulator_opens_what_was_sealed_to_a_key_it_replaced(world, rotate):
    """[LENDING-6]: no bank is named, neither for what was handed in before nor for what comes after."""
    before = len(world.regulator.opened_decisions().decisions)
    world.decided()
    application = world.applied(consent := world.consent())
    late = world.decide(application, world.assessment(world.evidence(consent)))
    for _ in range(2):
        rotate("regulator", SEALING)
    world.hand_in(late)
    world.decided()
    found = world.regulator.opened_decisions()
    assert (len(found.decisions), found.problems) == (before + 3, ())
    report = audit_institution(world.regulator)
    assert (report.openings_checked, report.problems) == (before + 3, ())


def test_a_bank_opens_an_answer_that_was_sealed_to_a_key_it_replaced(world, rotate):
    """[EXCHANGE-10]"""
    wanted = DataRequest(
        consent=world.consent(), items=worlds.ITEMS, period_from=worlds.PERIOD[0], period_to=worlds.PERIOD[1]
    )
    sent = world.bank.recipient.request(wanted)
    answer = world.bureau.provider.answer(sent.message)
    world.bank.catch_up_with(world.bureau)
    rotate("bank", SEALING)
    rotate("bank", SIGNING)
    assert world.bank.recipient.receive(sent.request, answer).request == sent.request
    assert world.bank.recipient.load(sent.request).request == sent.request


def test_a_key_file_that_cannot_be_read_names_no_bank(world, rotate):
    """[LENDING-6]: the audit says that it could not open what was sealed to it, and why."""
    world.decided()
    rotate("regulator", SEALING)
    regulator = world.regulator
    retired = KeyFiles(regulator.home, purpose=SEALING).retired[-1]
    kept = retired.read_bytes()
    regulator.close()
    retired.write_bytes(kept[:-9])
    try:
        with read_home(regulator.home) as reader:
            report = audit_home(reader, clock=world.clock, entropy=system_entropy)
    finally:
        retired.write_bytes(kept)
        world.regulator = Institution.open(regulator.home, dependencies=regulator.dependencies)
    assert report.problems == ()
    assert (report.openings_checked, retired.name in report.openings_unopened) == (0, True)


def test_what_is_sealed_to_nobody_here_is_broken_whatever_the_home_holds(world, rotate):
    rotate("bank", SEALING)
    home = world.bank.home
    keys = load_keys(home, passphrase=find_passphrase(home))
    sealed = world.suite.seal(b"x", recipient=world.regulator.keys.sealing.public_key, associated_data=b"")
    with pytest.raises(IntegrityError, match=r"^crypto\.seal_broken"):
        keys.sealing.open_sealed(sealed, associated_data=b"")


def test_a_key_that_is_made_and_not_in_use_yet_opens_too(home):
    """The ledger may name it before the home does; whoever only looks at the home switches nothing."""
    passphrase = find_passphrase(home)
    keys = load_keys(home, passphrase=passphrase)
    suite = get_suite("intl")
    seed = KeyFiles(home, purpose=SEALING).make_next(
        suite=suite, passphrase=passphrase, entropy=system_entropy, cost=worlds.CHEAP
    )
    sealed = suite.seal(b"x", recipient=suite.sealing_key_from_seed(seed).public_key, associated_data=b"a")
    assert keys.sealing.open_sealed(sealed, associated_data=b"a") == b"x"

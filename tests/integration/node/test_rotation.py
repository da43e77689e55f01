"""A member's key is replaced: every step of it may be the last before a crash, and the home goes on.

A bank that follows, and a bureau that is the operator and signs the checkpoints.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict, Unavailable
from shuiqiao.base.ids import new_id, system_entropy
from shuiqiao.crypto.keyfile import load_key_file
from shuiqiao.members.contract import ROTATE_KEY, MemberRotateKeyBody
from shuiqiao.members.epoch import read_epoch
from shuiqiao.members.model import KeyPurpose
from shuiqiao.members.roster import member_key
from shuiqiao.node.home.keys import KeyFiles, find_passphrase, settle_keys
from shuiqiao.node.institution import Institution
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.node.services import Dependencies

SIGNING = KeyPurpose.SIGNING


@pytest.fixture
def clock():
    return ManualClock(worlds.NOW_MS + 1000)


@pytest.fixture(params=["intl", "gm"])
def bureau(request, tmp_path):
    return worlds.solo_home(tmp_path / "home", request.param)


def at_work(home, clock):
    return Institution.open(home, dependencies=Dependencies(clock=clock, entropy=system_entropy))


def made_next(institution):
    """The next signing key, made and kept, and nothing more."""
    files = KeyFiles(institution.home, purpose=SIGNING)
    seed = files.make_next(
        suite=institution.suite,
        passphrase=find_passphrase(institution.home),
        entropy=system_entropy,
        cost=worlds.CHEAP,
    )
    return institution.suite.signing_key_from_seed(seed)


def recorded_next(institution):
    """The next signing key on the ledger, and the files as they were before."""
    key = made_next(institution)
    institution.engine.signer.add_key(key)
    body = MemberRotateKeyBody(purpose=SIGNING, new_key=key.public_key, proof=b"")
    institution.outbox.submit(ROTATE_KEY, body, extra_keys=[key])
    return key


def names(home):
    return sorted(path.name for path in home.keys.iterdir() if path.suffix == ".json")


SETTLED = ["sealing.key.json", "signing.key.json", "signing.retired-0001.key.json"]


def require_settled(home, clock, *, key):
    """The home works with a new key, holds the old one as retired, and its receipts lead from the genesis to today."""
    with at_work(home, clock) as institution:
        assert institution.keys.signing.public_key == key
        assert read_epoch(institution.engine.state()).operator_key == key
        committed = institution.outbox.submit("anchor.commit", worlds.anchor_body(new_id()))
        verified = ReceiptVerifier.from_genesis(genesis=home.genesis, home=None).verify(
            institution.engine.receipt(committed.index, state_keys=[member_key(institution.member)])
        )
        assert (verified.epochs, verified.signers) == (1, "state")
    assert names(home) == SETTLED


def test_an_operator_replaces_its_signing_key(bureau, clock):
    with at_work(bureau, clock) as institution:
        institution.outbox.submit("anchor.commit", worlds.anchor_body(new_id()))
        old = institution.keys.signing.public_key
        rotated = worlds.rotate(institution)
        assert (rotated.resumed, rotated.height) == (False, 2)
    require_settled(bureau, clock, key=rotated.public_key)
    [retired] = KeyFiles(bureau, purpose=SIGNING).retired
    seed = load_key_file(retired, passphrase=find_passphrase(bureau)).seed
    assert institution.suite.signing_key_from_seed(seed).public_key == old


def test_a_sealing_key_is_replaced_and_the_signing_key_stays(bureau, clock):
    with at_work(bureau, clock) as institution:
        signing = institution.keys.signing.public_key
        rotated = worlds.rotate(institution, KeyPurpose.SEALING)
    with at_work(bureau, clock) as institution:
        held = (institution.keys.signing.public_key, institution.keys.sealing.public_key)
        assert held == (signing, rotated.public_key)
    assert names(bureau) == ["sealing.key.json", "sealing.retired-0001.key.json", "signing.key.json"]


def test_after_a_crash_before_the_ledger_heard_of_it_the_same_key_is_taken(bureau, clock):
    with at_work(bureau, clock) as institution:
        key = made_next(institution)
    with at_work(bureau, clock) as institution:
        assert institution.keys.signing.public_key != key.public_key
        rotated = worlds.rotate(institution)
    assert (rotated.public_key, rotated.resumed) == (key.public_key, False)
    require_settled(bureau, clock, key=key.public_key)


def test_after_a_crash_between_ledger_and_files_opening_the_home_is_enough(bureau, clock):
    with at_work(bureau, clock) as institution:
        key = recorded_next(institution)
    require_settled(bureau, clock, key=key.public_key)


def test_after_a_crash_while_the_files_were_switched_nothing_is_retired_twice(bureau, clock):
    with at_work(bureau, clock) as institution:
        key = recorded_next(institution)
    files = KeyFiles(bureau, purpose=SIGNING)
    Path(bureau.keys / "signing.retired-0001.key.json").hardlink_to(files.current)
    require_settled(bureau, clock, key=key.public_key)


def test_a_rotation_that_waits_in_the_outbox_is_sent_and_settled_when_the_home_is_opened(bureau, clock):
    with at_work(bureau, clock) as institution:
        key = made_next(institution)
        engine = institution.outbox._engine
        institution.outbox._engine = Unreachable(engine)
        body = MemberRotateKeyBody(purpose=SIGNING, new_key=key.public_key, proof=b"")
        with pytest.raises(Unavailable):
            institution.outbox.submit(ROTATE_KEY, body, extra_keys=[key])
        institution.outbox._engine = engine
    require_settled(bureau, clock, key=key.public_key)


class Unreachable:
    """An engine that answers everything and takes in nothing."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def submit(self, raw):
        raise Unavailable("ledger.not_taken", f"{len(raw)} bytes reach nobody")


def test_a_rotation_that_the_ledger_refuses_leaves_the_old_key_in_use(bureau, clock):
    with at_work(bureau, clock) as institution:
        old = institution.keys.signing
        files = KeyFiles(bureau, purpose=SIGNING)
        # A next key that was used before: the very one in use, as after a backup was put back by hand.
        shutil.copy(files.current, files.next)
        passphrase, state = find_passphrase(bureau), institution.engine.state()
        body = MemberRotateKeyBody(purpose=SIGNING, new_key=old.public_key, proof=b"")
        with pytest.raises(Conflict, match=r"members\.key_used"):
            institution.outbox.submit(ROTATE_KEY, body)
        files.next.unlink()
        assert not settle_keys(bureau, member=institution.member, state=state, passphrase=passphrase)
    with at_work(bureau, clock) as institution:
        assert institution.keys.signing.public_key == old.public_key
        institution.outbox.submit("anchor.commit", worlds.anchor_body(new_id()))

"""An outsider follows a published log over HTTP: through growth, rotation, outages and damage, to a contradiction."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.ids import new_id, system_entropy
from shuiqiao.members.genesis import network_parameters
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.published.audit_watch import AuditWatch, post_evidence
from shuiqiao.node.published.http_tiles import HttpTiles
from shuiqiao.node.published.publication import publish_log
from shuiqiao.node.published.standing_audit import StandingAudit
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, REGULATOR, home_of
from web_server import inbox, served_files

CLOCK = ManualClock(worlds.NOW_MS + 1_000)


def grow(home, *, anchors=1, rotates=False):
    with worlds.open_solo(home, CLOCK) as node:
        for _ in range(anchors):
            node.outbox.submit("anchor.commit", worlds.anchor_body(new_id(system_entropy)))
        if rotates:
            worlds.rotate(node)


def publish(home, folder):
    return publish_log(LedgerFolder.of_home(home), folder)


@pytest.fixture
def home(request, tmp_path):
    return worlds.solo_home(tmp_path / "home", getattr(request, "param", "intl"))


both_suites = pytest.mark.parametrize("home", ["intl", "gm"], indirect=True)


@pytest.fixture
def published(home, tmp_path):
    """A published log of three blocks; its URL."""
    grow(home, anchors=3)
    publish(home, tmp_path / "public")
    with served_files(tmp_path / "public") as url:
        yield url


@contextmanager
def audit_of(url, home, folder):
    parameters = network_parameters(home.genesis.read_bytes())
    with HttpTiles(url) as tiles, StandingAudit(folder, source=tiles, parameters=parameters, clock=CLOCK) as audit:
        yield audit


def refusal(audit):
    with pytest.raises(ShuiqiaoError) as caught:
        audit.go_round()
    return caught.value.code


@both_suites
def test_it_follows_through_growth_rotation_and_restarts(published, home, tmp_path):
    with audit_of(published, home, tmp_path / "audit") as audit:
        first = audit.go_round()
        assert (first.checkpoint.size, first.height, first.transactions) == (6, 3, 3)
        again = audit.go_round()
        assert (again.checkpoint, again.transactions) == (first.checkpoint, 0)
    grow(home, anchors=2, rotates=True)
    # From here on the operator signs with a key that the copy does not know.
    grow(home, anchors=20)
    size = publish(home, tmp_path / "public").checkpoint.size
    with audit_of(published, home, tmp_path / "audit") as audit:
        found = audit.go_round()
        assert (found.checkpoint.size, audit.contradiction) == (size, None)
        assert found.transactions == 2 + 1 + 20


def test_a_server_that_is_down_accuses_nobody(home, tmp_path):
    grow(home)
    publish(home, tmp_path / "public")
    with served_files(tmp_path / "public") as url:
        pass
    with audit_of(url, home, tmp_path / "audit") as audit:
        assert refusal(audit) == "client.unreachable"
        assert audit.contradiction is None


def test_an_old_copy_and_a_damaged_one_accuse_nobody_and_are_got_over(published, home, tmp_path):
    public = tmp_path / "public"
    shutil.copytree(public, tmp_path / "old")
    grow(home)
    publish(home, public)
    with audit_of(published, home, tmp_path / "audit") as audit:
        bundle = public / "tile" / "entries" / "000.p" / "8"
        data = bundle.read_bytes()
        bundle.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
        assert refusal(audit).startswith(("node.audit_unproven", "ledger."))
        bundle.write_bytes(data)
        assert audit.go_round().checkpoint.size == 8
        (public / "checkpoint").write_bytes((tmp_path / "old" / "checkpoint").read_bytes())
        assert refusal(audit) == "node.audit_older"
        (public / "checkpoint").unlink()
        assert refusal(audit) == "ledger.tile_missing"
        assert audit.contradiction is None


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_two_signed_histories_end_it_for_good_with_both_notes(home, tmp_path, blocks):
    """The operator writes its history again, from the second block on: as long as before, shorter, longer."""
    grow(home)
    other = worlds.copy_home(home, tmp_path / "other")
    grow(home, anchors=2)
    grow(other, anchors=blocks)
    publish(home, tmp_path / "one")
    publish(other, tmp_path / "two")
    with served_files(tmp_path / "one") as url, audit_of(url, home, tmp_path / "audit") as audit:
        kept = audit.go_round().checkpoint
    with served_files(tmp_path / "two") as url, audit_of(url, home, tmp_path / "audit") as audit:
        assert refusal(audit) == "node.audit_contradicted"
        evidence = audit.evidence()
        assert evidence["own_note"].encode() == kept.note
        assert evidence["new_note"].encode() == (tmp_path / "two" / "checkpoint").read_bytes()
    with served_files(tmp_path / "one") as url, audit_of(url, home, tmp_path / "audit") as audit:
        assert refusal(audit) == "node.audit_contradicted"
        assert audit.evidence() == evidence


@both_suites
def test_a_history_written_again_behind_a_new_key_is_a_contradiction_too(home, tmp_path):
    grow(home)
    other = worlds.copy_home(home, tmp_path / "other")
    grow(home, anchors=3)
    grow(other, rotates=True)
    grow(other, anchors=3)
    publish(home, tmp_path / "one")
    publish(other, tmp_path / "two")
    with served_files(tmp_path / "one") as url, audit_of(url, home, tmp_path / "audit") as audit:
        audit.go_round()
    with served_files(tmp_path / "two") as url, audit_of(url, home, tmp_path / "audit") as audit:
        assert refusal(audit) == "node.audit_contradicted"


def test_a_checkpoint_of_nobody_or_of_another_network_is_not_believed(published, home, tmp_path):
    stranger = worlds.solo_home(tmp_path / "stranger")
    grow(stranger)
    publish(stranger, tmp_path / "strange")
    with audit_of(published, home, tmp_path / "audit") as audit:
        held = audit.go_round().checkpoint
        note = tmp_path / "public" / "checkpoint"
        note.write_bytes((tmp_path / "strange" / "checkpoint").read_bytes())
        assert refusal(audit) == "ledger.checkpoint_foreign"
        note.write_bytes(held.note.replace(b"\n6\n", b"\n7\n"))
        assert refusal(audit).startswith(("ledger.", "node.history"))
        note.write_bytes(held.note)
        assert audit.go_round().checkpoint == held


def test_a_checkpoint_without_its_quorum_does_not_count(closed, tmp_path):
    home = home_of(closed, BUREAU)
    publish(home, tmp_path / "public")
    note = tmp_path / "public" / "checkpoint"
    whole = note.read_bytes()
    with served_files(tmp_path / "public") as url, audit_of(url, home, tmp_path / "audit") as audit:
        note.write_bytes(b"".join(whole.splitlines(keepends=True)[:5]))
        assert refusal(audit) == "ledger.quorum_missing"
        note.write_bytes(whole)
        assert set(audit.go_round().cosigners) <= {REGULATOR, *BANKS}
        assert len(audit.go_round().cosigners) >= 2


def test_it_goes_on_by_itself_with_longer_and_longer_pauses(home, tmp_path):
    grow(home)
    publish(home, tmp_path / "public")
    kept = (tmp_path / "public" / "checkpoint").rename(tmp_path / "kept")
    other = worlds.copy_home(home, tmp_path / "other")
    pauses, told = [], []

    def wait(seconds):
        pauses.append(seconds)
        if len(pauses) == 3:
            kept.rename(tmp_path / "public" / "checkpoint")
        if len(pauses) == 5:
            # A second history, of the same length as the one that grows here.
            grow(home)
            publish(home, tmp_path / "public")
        if len(pauses) == 6:
            grow(other)
            shutil.rmtree(tmp_path / "public" / "tile")
            (tmp_path / "public" / "checkpoint").unlink()
            publish(other, tmp_path / "public")

    with served_files(tmp_path / "public") as url, audit_of(url, home, tmp_path / "audit") as audit:
        watch = AuditWatch(audit, interval_s=10, clock=CLOCK, entropy=system_entropy, tell=told.append, wait=wait)
        with pytest.raises(IntegrityError, match=r"^node\.audit_contradicted"):
            watch.run()
        figures = {name: value for name, _, value in watch.figures()}
    assert [10 <= pauses[0] <= 20, 20 <= pauses[1] <= 40, 40 <= pauses[2] <= 80] == [True] * 3
    assert pauses[3:] == [10, 10, 10]
    assert [line.partition(":")[0] for line in told] == [
        "this round failed, and is tried again",
        "holds 一致",
        "holds 一致",
    ]
    wanted = {"audit_rounds": 7, "audit_rounds_failed": 4, "audit_contradicted": 1, "audit_log_size": 4}
    assert {name: figures[name] for name in wanted} == wanted


def test_evidence_that_nobody_takes_is_tried_a_few_times_and_said():
    pauses = []
    with inbox(refusals=2) as posted:
        assert post_evidence(posted.url, {"kind": "shrunk"}, entropy=system_entropy, wait=pauses.append) is None
    assert ([len(posted.bodies), len(pauses)], pauses[0] <= pauses[1]) == ([1, 2], True)
    refusal = post_evidence(posted.url, {"kind": "shrunk"}, entropy=system_entropy, wait=pauses.append)
    assert refusal is not None
    assert (refusal.code, len(pauses)) == ("client.unreachable", 2 + 4)

"""The audit finds what was changed, wherever the byte stands, and names it; an untouched copy passes."""

from __future__ import annotations

import re

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY, ManualClock
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import system_entropy
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.home.settings import Home
from shuiqiao.oversight.audit import audit_ledger

RULES = {"kinds_walked", "fields_walked", "violations", "mint_refused", "transfer_refused", "fee_refused"}
KEYS = {
    "replayed",
    "root_matches",
    "signatures_verified",
    "anchors_verified",
    "records_anchored",
    "openings_checked",
    "openings_unopened",
    "records_unread",
    "record_management_only",
    "problems",
    "next_steps",
}


@pytest.fixture(scope="module")
def settled(world):
    """The world after one whole journey."""
    world.decided()
    return world


@pytest.fixture(scope="module")
def solo(tmp_path_factory):
    """A closed home with records in its vault, taken in by three ingests."""
    folder = tmp_path_factory.mktemp("solo")
    clock = ManualClock(worlds.NOW_MS)
    home = worlds.solo_home(folder / "home", clock=clock)
    with worlds.open_solo(home, clock) as node:
        for record_type, path in worlds.record_files(folder / "records").items():
            node.vault.ingest([path], anchor=node.outbox, record_type=node.catalogue.get(record_type))
    return home


def audit_copy(home, folder):
    with worlds.open_solo(Home(folder), ManualClock(worlds.NOW_MS)) as node:
        return audit_institution(node)


@pytest.fixture
def copy(solo, tmp_path):
    return worlds.copy_home(solo, tmp_path / "copy")


def flip(path, offset, bit=1):
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    path.write_bytes(bytes(data))


def outcome(home):
    """The problems of an audit, or the code by which the ledger refused to open at all."""
    try:
        return audit_copy(home, home.folder).problems
    except IntegrityError as error:
        return (error.code,)


def test_the_bureau_audits_its_ledger_and_its_vault(settled):
    report = audit_institution(settled.bureau)
    shape = report.as_json()
    assert set(shape) == KEYS
    assert set(shape["record_management_only"]) == RULES
    assert report.problems == ()
    assert report.holds
    assert report.root_matches
    assert report.replayed == len(settled.transactions())
    assert report.signatures_verified > report.replayed
    assert report.anchors_verified == 3
    assert report.records_anchored == worlds.INVOICES + 3 + 1
    assert (report.openings_checked, report.openings_unopened) == (0, "")


def test_mint_transfer_and_fee_are_refused_by_the_live_engine(settled):
    rules = audit_institution(settled.regulator).record_rules
    assert rules.refusals == {
        "mint": "ledger.kind_unknown",
        "transfer": "ledger.kind_unknown",
        "fee": "ledger.body_invalid",
    }
    assert rules.holds
    assert rules.kinds_walked == len(settled.bureau.kinds)
    assert len(settled.transactions()) == audit_institution(settled.bureau).replayed


def test_every_member_audits_its_own_copy_against_the_writer(settled):
    for member in settled.consortium.followers:
        member.catch_up_with(settled.bureau)
        report = audit_institution(member, live=settled.bureau.engine)
        assert (report.problems, report.root_matches) == ((), True)
        assert (report.anchors_verified, report.records_anchored) == (0, 0)


def test_the_regulator_audits_the_vault_on_the_bureaus_premises(settled):
    settled.regulator.catch_up_with(settled.bureau)
    report = audit_institution(
        settled.regulator,
        visited=settled.bureau,
        live=settled.bureau.engine,
    )
    assert (report.problems, report.records_anchored) == ((), worlds.INVOICES + 3 + 1)


@pytest.fixture
def other_writer(settled, tmp_path):
    """A second ledger that the writer keeps beside the one it shows its followers."""
    bureau = settled.bureau
    ledger = EmbeddedLedger.open(
        tmp_path / "other",
        parameters=bureau.parameters,
        kinds=bureau.kinds,
        key_ring=MemberKeyRing(),
        clock=bureau.dependencies.clock,
        operator_key=bureau.keys.signing,
        settings=EmbeddedSettings(linger_ms=0, is_clock_confirmed=True),
    )
    yield ledger
    ledger.close()


def test_a_writer_that_shows_others_another_log_is_found(settled, other_writer):
    for raw in reversed(settled.transactions()[:2]):
        other_writer.submit(raw).result()
    report = audit_institution(settled.regulator, live=other_writer)
    assert not report.root_matches
    assert not report.holds
    assert any("the live checkpoint says size" in problem for problem in report.problems)


def test_a_writer_that_lost_its_newest_blocks_is_found(settled, other_writer):
    """A part of the true log is not another log, and still not what this member was shown."""
    other_writer.submit(settled.transactions()[0]).result()
    report = audit_institution(settled.regulator, live=other_writer)
    assert not report.holds
    size = settled.regulator.engine.checkpoint().size
    assert report.problems[-1] == f"the live checkpoint says size 2, and this copy has seen {size}"


class Showing:
    """A writer that shows one checkpoint."""

    def __init__(self, checkpoint):
        self._checkpoint = checkpoint

    def checkpoint(self):
        return self._checkpoint


def test_a_true_checkpoint_from_before_the_newest_blocks_is_no_other_log(settled):
    earlier = settled.bureau.engine.checkpoint()
    settled.consent()
    report = audit_institution(settled.bureau, live=Showing(earlier))
    size = settled.bureau.engine.checkpoint().size
    assert report.root_matches
    assert report.problems == (f"the live checkpoint says size {earlier.size}, and this copy has seen {size}",)


def test_a_copy_that_has_no_block_does_not_agree_with_a_writer_that_has(settled, other_writer):
    bureau = settled.bureau
    report = audit_ledger(
        other_writer,
        kinds=bureau.kinds,
        key_ring=MemberKeyRing(),
        vault=None,
        vault_owner=bureau.member,
        record_rules=audit_institution(bureau).record_rules,
        live=bureau.engine,
    )
    assert (report.replayed, report.root_matches, report.holds) == (0, False, False)


def test_an_empty_ledger_holds(home):
    with worlds.open_solo(home, ManualClock(worlds.NOW_MS)) as node:
        report = audit_institution(node)
    assert (report.replayed, report.root_matches, report.problems) == (0, True, ())


def test_an_audit_without_the_rules_of_the_network_says_so(settled):
    """A report of broken rules makes the audit fail: what is tried is not a flag."""
    good = audit_institution(settled.bureau).record_rules
    broken = type(good)(
        kinds_walked=1,
        fields_walked=1,
        violations=("loan.pay has a field fee",),
        mint_refused=False,
        transfer_refused=True,
        fee_refused=True,
        refusals={**good.refusals, "mint": "accepted at 7"},
    )
    report = audit_ledger(
        settled.bureau.engine,
        kinds=settled.bureau.kinds,
        key_ring=MemberKeyRing(),
        vault=None,
        vault_owner=settled.bureau.member,
        record_rules=broken,
    )
    assert report.problems == (
        "loan.pay has a field fee",
        "a mint was not refused as unknown: accepted at 7",
    )
    assert report.as_json()["next_steps"] == [None, None]


def test_an_untouched_copy_passes(copy):
    report = audit_copy(copy, copy.folder)
    assert report.problems == ()
    assert report.records_anchored == worlds.INVOICES + 3 + 1


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.6, 0.85, 1.0])
def test_a_flipped_byte_of_any_vault_file_is_found_and_named(copy, share):
    unnamed = []
    for path in sorted((copy.vault / "batches").iterdir()):
        offset = min(int(path.stat().st_size * share), path.stat().st_size - 1)
        flip(path, offset)
        if not any(path.name in problem for problem in audit_copy(copy, copy.folder).problems):
            unnamed.append((path.suffix, offset))
        flip(path, offset)
    assert unnamed == []


def test_a_missing_vault_file_is_found_and_named(copy):
    victim = min((copy.vault / "batches").iterdir())
    victim.unlink()
    report = audit_copy(copy, copy.folder)
    named = [place for place, problem in enumerate(report.problems) if victim.name in problem]
    assert named
    assert all(report.as_json()["next_steps"][place]["code"] == report.codes[place] for place in named)


def test_a_clock_behind_the_newest_block_is_a_problem(solo):
    """What a ledger says of time is not to be judged by a clock that is behind it."""
    with worlds.open_solo(solo, ManualClock(worlds.NOW_MS)) as node:
        _, block_ms = node.engine.last_block()
        rules = audit_institution(node).record_rules
        found = [
            audit_ledger(
                node.engine,
                kinds=node.kinds,
                key_ring=MemberKeyRing(),
                vault=None,
                vault_owner=node.member,
                record_rules=rules,
                now_ms=block_ms - behind_ms,
            ).codes
            for behind_ms in (0, 10 * MS_PER_DAY)
        ]
    assert found == [(), ("ledger.clock_behind",)]


def segment_of(home):
    (segment,) = (home.ledger / "segments").iterdir()
    return segment


def test_a_flipped_byte_of_a_ledger_segment_is_found_wherever_it_stands(copy):
    segment = segment_of(copy)
    length = segment.stat().st_size
    offsets = sorted({0, 5, 20, 60, 100, 127, 128, length - 1, *range(0, length, length // 20)})
    missed = []
    for offset in offsets:
        flip(segment, offset)
        if not outcome(copy):
            missed.append(offset)
        flip(segment, offset)
    assert missed == []
    assert outcome(copy) == ()


def test_damage_in_an_inner_block_is_a_problem_that_names_file_byte_and_block(copy):
    segment = segment_of(copy)
    flip(segment, 400)
    (problem,) = [text for text in audit_copy(copy, copy.folder).problems if "every stored block can be read" in text]
    assert re.search(rf"{segment.name} at byte \d+, in block 1: ", problem), problem


def test_damage_in_the_last_block_refuses_to_open_and_names_file_byte_and_block(copy):
    segment = segment_of(copy)
    flip(segment, segment.stat().st_size - 40)
    with pytest.raises(IntegrityError, match=rf"ledger.segment_damaged: .*{segment.name} at byte \d+, in block \d+: "):
        audit_copy(copy, copy.folder)


def test_a_cut_segment_is_found(copy):
    segment = segment_of(copy)
    segment.write_bytes(segment.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        audit_copy(copy, copy.folder)


def test_a_header_written_anew_with_a_right_digest_is_found(copy):
    """Whoever can hash can make a header that holds by itself; the first block is chained to the true one."""
    import hashlib

    segment = segment_of(copy)
    data = bytearray(segment.read_bytes())
    data[64] ^= 1
    data[96:128] = hashlib.sha256(bytes(data[:96])).digest()
    segment.write_bytes(bytes(data))
    problems = audit_copy(copy, copy.folder).problems
    assert any("the first block of a segment is chained to its header" in problem for problem in problems)


def test_a_flipped_byte_in_the_signed_checkpoint_is_refused(copy):
    note = copy.ledger / "checkpoints" / "latest"
    flip(note, note.stat().st_size - 10)
    with pytest.raises(IntegrityError):
        audit_copy(copy, copy.folder)


def test_two_institutions_do_not_share_a_home(settled):
    from shuiqiao.base.errors import Unavailable
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.services import Dependencies

    with pytest.raises(Unavailable) as caught:
        Institution.open(settled.bureau.home, dependencies=Dependencies(clock=settled.clock, entropy=system_entropy))
    assert caught.value.code == "ledger.locked"

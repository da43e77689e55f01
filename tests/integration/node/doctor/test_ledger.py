"""What ``doctor`` finds in real homes that were really damaged: the exact byte, leaf, block or state key is named."""

from __future__ import annotations

import os
import shutil
import struct
from contextlib import contextmanager
from itertools import pairwise

import lmdb
import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_HOUR, ManualClock
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId, new_id, system_entropy
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.log.tree import leaf_hash
from shuiqiao.ledger.state.state_map import state_record
from shuiqiao.ledger.store.frame import (
    SEGMENT_HEADER_BYTES,
    decode_frame,
    decode_frame_head,
    encode_frame,
    encode_segment_header,
)
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.doctor.diagnosis import diagnose_home
from shuiqiao.node.home.keys import find_passphrase, load_keys
from shuiqiao.node.home.kinds import network_kinds

BLOCKS = 9
ENTRY_AND_ONE = 2
"""Leaves of each block here: one transaction and the block entry."""


@contextmanager
def ledger_of(home, *, max_segment_bytes=1 << 20, clock=None):
    """The home's own ledger, open as its writer has it."""
    parameters = network_parameters(home.genesis.read_bytes())
    ledger = EmbeddedLedger.open(
        home.ledger,
        parameters=parameters,
        kinds=network_kinds(),
        key_ring=MemberKeyRing(),
        clock=clock or ManualClock(worlds.NOW_MS + 1000),
        operator_key=load_keys(home, passphrase=find_passphrase(home)).signing,
        settings=EmbeddedSettings(max_segment_bytes=max_segment_bytes, linger_ms=0),
    )
    try:
        yield ledger
    finally:
        ledger.close()


def anchor(home, ledger, batch):
    """Commit one anchor in a block of its own and return its bytes."""
    parameters = ledger.parameters
    draft = TransactionDraft(
        kind="anchor.commit",
        version=1,
        body=worlds.anchor_body(batch),
        author=MemberId("bureau"),
        valid_until_ms=worlds.NOW_MS + MS_PER_HOUR,
        id=new_id(system_entropy),
    )
    key = load_keys(home, passphrase=find_passphrase(home)).signing
    raw = sign_transaction(draft, network=parameters.network, suite=get_suite(parameters.suite), keys=[key])
    ledger.submit(raw).result()
    return raw


def batch_id(number):
    return bytes([number]) * 16


def batch_key(number):
    return f"vault/batch/bureau/{batch_id(number).hex()}"


def written_home(folder, *, suite="intl", blocks=BLOCKS, **settings):
    home = worlds.solo_home(folder, suite)
    with ledger_of(home, **settings) as ledger:
        for number in range(1, blocks + 1):
            anchor(home, ledger, batch_id(number))
    return home


def findings(home, **order):
    return [*diagnose_home(home, **order)]


def wrong(home, **order):
    return {finding.code: finding for finding in findings(home, **order) if not finding.ok}


@contextmanager
def state_of(home):
    """The state in the home's index, to be altered behind the node's back."""
    env = lmdb.open(str(home.ledger / "index.lmdb"), max_dbs=16, map_size=1 << 30)
    state = env.open_db(b"state")
    with env.begin(write=True) as writer:
        yield writer, state
    env.close()


@pytest.fixture(scope="module", params=["intl", "gm"])
def sound(request, tmp_path_factory):
    return written_home(tmp_path_factory.mktemp("sound") / "home", suite=request.param)


@pytest.fixture
def home(sound, tmp_path):
    return worlds.copy_home(sound, tmp_path / "home")


@pytest.fixture
def hash_name(home):
    return get_suite(network_parameters(home.genesis.read_bytes()).suite).hash_name


def test_a_sound_home_is_well_with_and_without_executing_it_again(home):
    assert wrong(home) == {}
    found = {finding.what: finding for finding in findings(home, is_replay_asked=True)}
    assert all(finding.ok for finding in found.values())
    assert found["log"].says.startswith(f"{BLOCKS} blocks, {ENTRY_AND_ONE * BLOCKS} leaves")
    assert "what executing the log again gives" in found["state"].says
    assert found["ledger and vault"].says.startswith(f"height {BLOCKS}")


def test_an_altered_value_is_named_with_both_digests_and_no_value(home, hash_name):
    key = batch_key(4)
    with state_of(home) as (writer, state):
        good = writer.get(key.encode(), db=state)
        bad = good.replace(b"2024-12-31", b"2024-12-30")
        writer.put(key.encode(), bad, db=state)
        # A later key differs too: the first one is named.
        writer.put(batch_key(7).encode(), bad, db=state)
    found = wrong(home)
    assert [*found] == ["node.state_differs"]
    says = found["node.state_differs"].says
    assert says.startswith(f"{key} is the first of 2 state keys that differ at height {BLOCKS}")
    for value in (good, bad):
        assert state_record(key, value, hash_name=hash_name)[32:].hex() in says
    assert "2024-12" not in says
    assert key in found["node.state_differs"].says_zh


def test_a_removed_and_an_invented_key_are_named(home):
    with state_of(home) as (writer, state):
        value = writer.get(batch_key(5).encode(), db=state)
        writer.delete(batch_key(5).encode(), db=state)
        writer.put(b"vault/batch/invented", value, db=state)
    says = wrong(home)["node.state_differs"].says
    assert says.startswith(f"{batch_key(5)} is the first of 2 state keys")
    assert "stored nothing" in says
    with state_of(home) as (writer, state):
        writer.put(batch_key(5).encode(), value, db=state)
    says = wrong(home)["node.state_differs"].says
    assert says.startswith("vault/batch/invented is the first of 1 state keys")
    assert says.endswith("executing the log gives nothing")


def test_a_damaged_page_of_the_map_is_told_apart_from_a_value(home):
    env = lmdb.open(str(home.ledger / "index.lmdb"), max_dbs=16, map_size=1 << 30)
    pages = env.open_db(b"state_map")
    with env.begin(write=True) as writer, writer.cursor(db=pages) as cursor:
        assert cursor.last()
        key, page = cursor.item()
        writer.put(key, page[:-1] + bytes([page[-1] ^ 1]), db=pages)
    env.close()
    assert [*wrong(home)] == ["node.state_map_damaged"]


def segment_of(home, number=0):
    return sorted((home.ledger / "segments").iterdir())[number]


def test_a_flipped_byte_of_the_log_is_named_by_file_and_place(home):
    path = segment_of(home)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = wrong(home)
    assert "ledger.segment_damaged" in found
    assert str(path) in found["ledger.segment_damaged"].says
    assert "切勿删除" in found["ledger.segment_damaged"].says_zh
    assert "ledger and vault" not in {finding.what for finding in findings(home)}
    assert path.read_bytes() == bytes(data)


def rewritten(home, hash_name, *, height):
    """Write the segment again with one bit of a transaction changed, every digest of the chain made anew."""
    path, parameters = segment_of(home), network_parameters(home.genesis.read_bytes())
    data = path.read_bytes()
    out = encode_segment_header(
        network=parameters.network, first_height=1, first_index=0, previous=bytes(32), hash_name=hash_name
    )
    previous, at, altered = out[-32:], SEGMENT_HEADER_BYTES, b""
    while at < len(data):
        frame = decode_frame(data[at : at + decode_frame_head(data[at : at + 64]).frame_bytes], hash_name=hash_name)
        at += frame.frame_bytes
        transactions = list(frame.transactions)
        if frame.height == height:
            altered = transactions[0] = transactions[0][:-1] + bytes([transactions[0][-1] ^ 1])
        encoded, previous = encode_frame(
            transactions,
            entry=frame.entry,
            height=frame.height,
            first_index=frame.first_index,
            previous=previous,
            hash_name=hash_name,
        )
        out += encoded
    path.write_bytes(out)
    return altered


def test_a_block_altered_with_all_digests_made_anew_is_named_by_its_leaf(home, hash_name):
    altered = rewritten(home, hash_name, height=6)
    found = wrong(home)
    says = found["node.leaf_differs"].says
    assert says.startswith("leaf 10, in block 6, is the first that differs from the Merkle tree")
    assert leaf_hash(altered, hash_name=hash_name).hex() in says
    assert "ledger.checkpoint_contradicted" in found
    assert "ledger.segment_damaged" in found


def test_without_its_index_such_a_block_contradicts_the_checkpoint(home, hash_name):
    rewritten(home, hash_name, height=6)
    shutil.rmtree(home.ledger / "index.lmdb")
    assert [*wrong(home)] == ["ledger.checkpoint_contradicted"]


def test_a_missing_segment_is_named(tmp_path):
    home = written_home(tmp_path / "home", max_segment_bytes=1000)
    segments = sorted((home.ledger / "segments").iterdir())
    assert len(segments) > 3
    kept = segments[1].read_bytes()
    segments[1].unlink()
    found = wrong(home)["ledger.segment_damaged"]
    height, follows = int(segments[2].stem), int(segments[1].stem)
    assert f"begins at height {height}" in found.says
    assert f"where height {follows} " in found.says
    segments[1].write_bytes(kept)
    segments[-1].unlink()
    assert "ledger.segments_behind" in wrong(home)


def test_a_torn_tail_is_told_and_left_where_it_is(home):
    path = segment_of(home)
    whole = path.read_bytes()
    path.write_bytes(whole + b"SQBF" + bytes(50))
    found = findings(home, is_replay_asked=True)
    assert all(finding.ok or finding.what == "log" for finding in found)
    assert ["54 bytes" in finding.says for finding in found if finding.what == "opening"] == [True]


def test_an_index_that_is_missing_or_no_index(home):
    shutil.rmtree(home.ledger / "index.lmdb")
    assert wrong(home) == {}
    (home.ledger / "index.lmdb" / "data.mdb").write_bytes(os.urandom(8192))
    assert [*wrong(home)] == ["node.index_damaged"]


def test_an_altered_entry_is_named_as_the_first_block_that_does_not_follow(home, hash_name):
    """A log written by other rules: all its digests hold, and what the entry says of the state does not follow."""
    path, parameters = segment_of(home), network_parameters(home.genesis.read_bytes())
    data = path.read_bytes()
    out = encode_segment_header(
        network=parameters.network, first_height=1, first_index=0, previous=bytes(32), hash_name=hash_name
    )
    previous, at = out[-32:], SEGMENT_HEADER_BYTES
    while at < len(data):
        frame = decode_frame(data[at : at + decode_frame_head(data[at : at + 64]).frame_bytes], hash_name=hash_name)
        at += frame.frame_bytes
        entry = frame.entry[:-1] + bytes([frame.entry[-1] ^ 1]) if frame.height == 3 else frame.entry
        encoded, previous = encode_frame(
            frame.transactions,
            entry=entry,
            height=frame.height,
            first_index=frame.first_index,
            previous=previous,
            hash_name=hash_name,
        )
        out += encoded
    path.write_bytes(out)
    shutil.rmtree(home.ledger / "index.lmdb")
    says = wrong(home, is_replay_asked=True)["node.block_differs"].says
    assert says.startswith("block 3 (entry at leaf 5) is the first that does not follow by the rules")


def test_two_copies_that_parted_are_told_by_leaf_and_key(home, tmp_path):
    other = worlds.copy_home(home, tmp_path / "other")
    assert wrong(home, against=other.folder) == {}
    with ledger_of(home, clock=ManualClock(worlds.NOW_MS + 2000)) as ledger:
        anchor(home, ledger, batch_id(20))
        anchor(home, ledger, batch_id(21))
    behind = [finding for finding in findings(home, against=other.folder) if finding.what == "against other"]
    assert [finding.ok for finding in behind] == [True, True]
    assert "this one is ahead by 2 blocks, 4 leaves" in behind[0].says
    assert "same" in behind[1].says
    with ledger_of(other, clock=ManualClock(worlds.NOW_MS + 2000)) as ledger:
        anchor(other, ledger, batch_id(20))
        anchor(other, ledger, batch_id(22))
    found = wrong(home, against=other.folder)
    assert {*found} == {"node.logs_differ", "node.states_differ"}
    # The first new block differs already, for transaction ids are random.
    assert f"part at leaf {ENTRY_AND_ONE * BLOCKS} (block {BLOCKS + 1})" in found["node.logs_differ"].says
    assert "each is under its own root" in found["node.states_differ"].says
    assert found["node.states_differ"].says.startswith("replay/")


def test_a_diverged_state_under_one_log_is_named_and_judged(home, tmp_path):
    other = worlds.copy_home(home, tmp_path / "other")
    with state_of(other) as (writer, state):
        writer.put(batch_key(2).encode(), writer.get(batch_key(3).encode(), db=state) + b"", db=state)
        writer.delete(batch_key(8).encode(), db=state)
    found = wrong(home, against=other.folder)
    says = found["node.states_differ"].says
    # Batches 2 and 3 are the same but for their keys, so that the first difference is the one that is gone.
    assert says.startswith(f"{batch_key(8)} is the first of 1 state keys")
    assert says.endswith("the one here is under its root, the one there is not")
    assert [*found] == ["node.states_differ"]


def test_against_a_bare_copy_of_segments_and_against_nothing(home, tmp_path):
    shutil.copytree(home.ledger / "segments", tmp_path / "copy" / "segments")
    assert wrong(home, against=tmp_path / "copy") == {}
    assert [*wrong(home, against=tmp_path / "absent")] == ["node.copy_missing"]
    stranger = worlds.solo_home(tmp_path / "stranger")
    assert [*wrong(home, against=stranger.folder)] == ["node.network_differs"]


def test_a_fork_alarm_is_told_with_its_evidence(tmp_path):
    """A real follower meets an operator that wrote its history again."""
    home = written_home(tmp_path / "home", blocks=2)
    again = worlds.copy_home(home, tmp_path / "again", without=["ledger"])
    parameters = network_parameters(home.genesis.read_bytes())
    with ledger_of(home) as first, ledger_of(again) as second:
        for _ in range(3):
            anchor(again, second, new_id(system_entropy))
        copy = worlds.copy_home(home, tmp_path / "copy", without=["ledger"])
        for writer in (first, second):
            follower = FollowerLedger.open(
                copy.ledger,
                parameters=parameters,
                kinds=network_kinds(),
                key_ring=MemberKeyRing(),
                clock=ManualClock(worlds.NOW_MS + 5000),
                writer=writer,
                settings=FollowerSettings(),
            )
            try:
                if writer is first:
                    follower.sync()
                else:
                    with pytest.raises(IntegrityError):
                        follower.sync()
            finally:
                follower.close()
    found = wrong(copy)["ledger.fork_detected"]
    assert "signed a log that does not begin with this one" in found.says
    assert str(copy.ledger / "alarms" / "fork") in found.next_step


def test_nothing_is_changed_while_something_is_wrong(home, hash_name):
    rewritten(home, hash_name, height=2)

    def files():
        return {
            path: path.read_bytes() for path in home.ledger.rglob("*") if path.is_file() and path.name != "lock.mdb"
        }

    before = files()
    assert wrong(home)
    assert files() == before


def test_heights_and_leaves_of_this_world_are_what_the_tests_say(home):
    """Each block holds one transaction, so that block h begins at leaf 2(h - 1)."""
    data, at, starts = segment_of(home).read_bytes(), SEGMENT_HEADER_BYTES, []
    while at < len(data):
        starts.append(struct.unpack_from(">QQ", data, at + 8))
        at += decode_frame_head(data[at : at + 64]).frame_bytes
    assert starts[0] == (1, 0)
    assert all((after[0], after[1]) == (before[0] + 1, before[1] + ENTRY_AND_ONE) for before, after in pairwise(starts))

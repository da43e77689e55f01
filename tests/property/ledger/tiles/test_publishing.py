"""A log that is published in any steps is proven by its tiles."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from log_world import LeafHashes
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    decode_signed_note,
)
from shuiqiao.ledger.log.tree import leaf_hashes, root_from_reader
from shuiqiao.ledger.tiles.publishing import TileWriter
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog

SUITE = get_suite("intl")


ORIGIN = "shuiqiao/" + "5a" * 32


MEMBERS = ("first-bank", "regulator", "second-bank", "third-bank")


def key(name):
    return SUITE.signing_key_from_seed(name.encode().ljust(32, b"."))


def history(fork_at):
    """Return a reader of 40 leaves that differ from those of other histories from a leaf on."""
    leaves = [b"%d %d" % (fork_at if number >= fork_at else 99, number) for number in range(40)]
    return LeafHashes(leaf_hashes(leaves, hash_name="sha256"), hash_name="sha256")


HISTORIES = {fork_at: history(fork_at) for fork_at in (5, 16, 20, 40)}


def checkpoint(reader, size):
    root = root_from_reader(reader, size=size, hash_name="sha256")
    return sign_checkpoint(origin=ORIGIN, size=size, root=root, key=key("bureau"), suite=SUITE)


LINES = {
    name: sign_cosignature(
        decode_signed_note(checkpoint(HISTORIES[40], 33).note).text,
        name=f"{ORIGIN}/{name}",
        key=key(name),
        suite=SUITE,
        time_s=1_775_000_000,
    )
    for name in (*MEMBERS, "stranger")
}


LEAVES = [b"leaf %d" % number for number in range(1100)]


READER = LeafHashes(leaf_hashes(LEAVES, hash_name="sm3"), hash_name="sm3")


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.integers(0, 400), min_size=1, max_size=4), data=st.data())
def test_tiles_published_in_any_steps_prove_the_log(steps, data):
    """[TILE-2] [TILE-5]"""
    suite = get_suite("gm")
    origin_key = suite.signing_key_from_seed(bytes(32))
    rules = CheckpointPolicy(
        origin=ORIGIN, operator=MemberId("bureau"), operator_key=origin_key.public_key, witnesses={}, quorum=0
    )
    with tempfile.TemporaryDirectory() as name:
        size = 0
        for step in steps:
            size = min(size + step, len(LEAVES))
            root = root_from_reader(READER, size=size, hash_name="sm3")
            one = sign_checkpoint(origin=ORIGIN, size=size, root=root, key=origin_key, suite=suite)
            TileWriter(Path(name), hash_name="sm3").publish(
                one, reader=READER, leaves=lambda start, end: LEAVES[start:end]
            )
        log = PublishedLog.open(FolderTiles(Path(name)), policy=rules, suite=suite)
        assert (size, LEAVES[:size]) == (log.verify_all(), list(log.entries()))
        if size:
            index = data.draw(st.integers(0, size - 1))
            assert LEAVES[index] == log.entry(index)

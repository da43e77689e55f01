"""[LEDGER-RECEIPT-7]: a log signed with stolen keys is told from the one that a verifier has seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.checkpoints.signed_note import read_checkpoint
from shuiqiao.ledger.tiles.publishing import TileWriter
from shuiqiao.ledger.tiles.reader import FolderTiles, verify_pinned

SIZES = (0, 1, 3, 256, 300, 511, 512, 700)


def published(log, folder, *, size=700):
    folder.mkdir()
    TileWriter(folder, hash_name=log.suite.hash_name).publish(
        log.checkpoint(size), reader=log.reader, leaves=lambda start, end: log.leaves[start:end]
    )
    return FolderTiles(folder)


def refusal(log, checkpoint, pinned, tiles):
    with pytest.raises(ShuiqiaoError) as caught:
        verify_pinned(checkpoint, pinned=pinned, tiles=tiles, suite=log.suite)
    return caught.value.code


def test_checkpoints_of_one_history_agree_whichever_is_the_newer(log, tmp_path):
    tiles = published(log, tmp_path / "tiles")
    for first in SIZES:
        for second in SIZES:
            verify_pinned(log.checkpoint(first), pinned=log.checkpoint(second), tiles=tiles, suite=log.suite)


def test_another_history_is_told_whatever_the_files_say(log, tmp_path):
    fork = log.forked(100)
    for number, owner in enumerate((log, fork)):
        tiles = published(owner, tmp_path / f"tiles{number}")
        for mine, known in ((300, 511), (511, 300), (300, 300)):
            code = refusal(log, fork.checkpoint(mine), log.checkpoint(known), tiles)
            assert code == "ledger.pin_contradicted"
    # Before they parted they are one.
    verify_pinned(fork.checkpoint(90), pinned=log.checkpoint(90), tiles=None, suite=log.suite)


def test_what_cannot_be_shown_is_said(intl_log, tmp_path):
    log = intl_log
    tiles = published(log, tmp_path / "tiles", size=300)
    assert refusal(log, log.checkpoint(300), log.checkpoint(256), None) == "ledger.pin_unproven"
    assert refusal(log, log.checkpoint(512), log.checkpoint(256), tiles) == "ledger.tile_missing"
    assert refusal(log, log.checkpoint(300), log.checkpoint(256), FolderTiles(tmp_path)) == "ledger.tile_missing"
    foreign = replace(log.checkpoint(300), origin="shuiqiao/elsewhere")
    assert refusal(log, log.checkpoint(300), foreign, tiles) == "ledger.pin_foreign"
    with pytest.raises(ShuiqiaoError, match="checkpoint_malformed"):
        read_checkpoint(b"no note")
    assert log.checkpoint(300) == read_checkpoint(log.checkpoint(300).note)

"""[TILE-5]: who serves the files of a published log decides nothing about the memory of who verifies them."""

from __future__ import annotations

import pytest

from members_world import World
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.engine.cometbft.consensus.application import MAX_UNPACKED_BYTES
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.tiles.paths import CHECKPOINT_PATH
from shuiqiao.node.published import verification
from shuiqiao.node.published.verification import MAX_BLOCK_BYTES, MAX_BLOCK_LEAVES, verify_published

LEAF = bytes(4_000)
BUNDLE = (len(LEAF).to_bytes(2, "big") + LEAF) * 256


class EndlessBlock:
    """A log of many leaves, none of which is the entry of a block; counts the files that were asked for."""

    def __init__(self, note: bytes) -> None:
        self.note = note
        self.asked = 0

    def get(self, path: str, *, max_bytes: int) -> bytes | None:
        self.asked += 1
        return self.note if path == CHECKPOINT_PATH else BUNDLE


@pytest.mark.parametrize(("most", "allowed"), [("MAX_BLOCK_BYTES", 2 * 256 * 4_000), ("MAX_BLOCK_LEAVES", 2 * 256)])
def test_a_block_that_does_not_end_is_not_read_on(most, allowed, monkeypatch):
    world = World("intl")
    signed = sign_checkpoint(
        origin=world.parameters.origin, size=256 * 1000, root=bytes(32), key=world.keys["bureau"], suite=world.suite
    )
    monkeypatch.setattr(verification, most, allowed)
    source = EndlessBlock(signed.note)
    with pytest.raises(IntegrityError, match=r"no block entry follows within 513 leaves of 2052000 bytes"):
        verify_published(source, parameters=world.parameters, suite=world.suite)
    assert source.asked == 1 + 3


def test_no_block_of_an_engine_is_too_large_to_be_verified():
    assert EmbeddedSettings().max_block_bytes < MAX_UNPACKED_BYTES < MAX_BLOCK_BYTES == 64 * 1024 * 1024
    assert EmbeddedSettings().max_block_transactions < MAX_BLOCK_LEAVES == 65_536

"""A log followed from its genesis: what its blocks say of themselves is held against what they lead to."""

from __future__ import annotations

import msgspec
import pytest

from members_world import World
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.log.entry import decode_entry, encode_entry
from shuiqiao.ledger.replay.members import MembersReplay
from shuiqiao.members.action import SetWitnesses
from shuiqiao.node.home.kinds import KEY_ROOMS, network_machine


@pytest.fixture
def world():
    """A network in which a vote began epoch 1, and a block came after it."""
    world = World("intl", governing=["bureau"])
    for witnesses in (["bank-east"], ["bank-west"]):
        assert world.propose(SetWitnesses(witnesses=witnesses))[0] is None
    return world


def test_the_epoch_that_a_block_says_is_the_one_its_predecessors_lead_to(world):
    # Holds [LEDGER-BLOCK-6]: the first block is still of the epoch before the one that it begins.
    assert [decode_entry(entry).epoch for entry in world.entries] == [0, 1]
    replay = MembersReplay(network_machine(world.parameters), rooms=KEY_ROOMS, notes={})
    for (_, raws), entry in zip(world.blocks, world.entries, strict=True):
        replay.take(raws, entry)
    assert replay.height == 2


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_block_of_another_epoch_is_refused(world, epoch):
    replay = MembersReplay(network_machine(world.parameters), rooms=KEY_ROOMS, notes={})
    (_, first), (_, second) = world.blocks
    replay.take(first, world.entries[0])
    other = encode_entry(msgspec.structs.replace(decode_entry(world.entries[1]), epoch=epoch))
    with pytest.raises(IntegrityError) as caught:
        replay.take(second, other)
    assert caught.value.code == "node.history_contradicted"

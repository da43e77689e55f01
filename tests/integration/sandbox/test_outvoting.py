"""The consortium's story on real validators, small: business as usual, a cheat, and the replay through embedded."""

from __future__ import annotations

import pytest

import consortium_world as worlds
from cometbft_world import comet_program, nodes_in
from shuiqiao.members.model import EngineName
from shuiqiao.sandbox.scenario.consortium import RunEngine
from shuiqiao.sandbox.scenario.outvoting import CHEAT, outvote_cheat
from shuiqiao.sandbox.scenario.rebuilding import replay_through_embedded

VALIDATORS = 4


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    engine = RunEngine(engine=EngineName.COMETBFT, validators=VALIDATORS, program=comet_program())
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("validators"), "intl", engine=engine)
    made.decided()
    made.decided(bank=made.consortium.banks[CHEAT], arrears=True)
    made.consortium.settle()
    yield made
    made.close()
    assert nodes_in(made.folder) == []


def test_blocks_of_validators_replayed_through_embedded_give_the_same_roots_and_state(world, tmp_path):
    found = replay_through_embedded(world.regulator, tmp_path / "replay")
    assert (found.log_roots_equal, found.log_root_equal, found.state_root_equal, found.state_equal) == (True,) * 4
    assert found.blocks == world.regulator.engine.last_block()[0] > 5


def test_a_validator_that_altered_its_copy_is_outvoted_and_named(world, tmp_path):
    network = world.consortium.prepared.network
    checks = outvote_cheat(world.consortium, network=network, scratch=tmp_path)
    others = {str(member.member) for member in world.consortium.members} - {CHEAT}

    assert checks.failed() == []
    assert (checks.altered.member, checks.altered.kind) == (CHEAT, "decision.record")
    assert checks.altered.state_key.startswith("lending/decision/")
    assert checks.refused_code == "ledger.app_hash_refused"
    assert (checks.named, set(checks.named_by)) == ((CHEAT,), others)
    assert set(checks.named_in_votes_by) <= others
    assert checks.replayed_through_embedded.blocks == world.bureau.engine.last_block()[0]

"""What the command line knows before it loads a node."""

from __future__ import annotations

from shuiqiao.cli import members, network, options, records
from shuiqiao.crypto.model import SuiteName
from shuiqiao.ledger.log.tree import MAX_TREE_SIZE
from shuiqiao.members.model import EngineName, Role
from shuiqiao.node import governance
from shuiqiao.vault.model import ErasureReason


def test_what_the_help_text_must_not_wait_for_is_what_the_rooms_have():
    assert members.DEFAULT_VOTE_DAYS == governance.DEFAULT_VOTE_DAYS
    assert options.MAX_INDEX == MAX_TREE_SIZE
    for choices, known in (
        (options.SuiteChoice, SuiteName),
        (options.EngineChoice, EngineName),
        (network.RoleChoice, Role),
        (records.ReasonChoice, ErasureReason),
    ):
        assert [*choices] == [*known]

"""What the command line knows before it loads a node."""

from __future__ import annotations

from shuiqiao.cli import main, members_words
from shuiqiao.ledger.log.tree import MAX_TREE_SIZE
from shuiqiao.node import governance
from shuiqiao.node.home import settings


def test_the_home_variable_is_the_one_of_the_settings():
    assert main.HOME_VARIABLE == members_words.HOME_VARIABLE == settings.HOME_VARIABLE
    assert members_words.DEFAULT_VOTE_DAYS == governance.DEFAULT_VOTE_DAYS
    assert main.MAX_INDEX == MAX_TREE_SIZE

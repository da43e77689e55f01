"""What is refused before a party of a joint computation has a worker, or tells it anything."""

from __future__ import annotations

import sys

import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.privacy.secure.joint import BANK, BUREAU, THIRD, JointSession
from shuiqiao.privacy.secure.library import INSTALL


@pytest.mark.parametrize("rank", [BANK, BUREAU, THIRD])
def test_without_the_extra_each_party_says_what_to_install(monkeypatch, rank):
    """[SECURE-5]"""
    monkeypatch.setitem(sys.modules, "spu", None)
    with pytest.raises(Unavailable, match=r"privacy\.extra_missing") as refusal:
        JointSession.begin(rank, listen="127.0.0.1:0")
    assert refusal.value.next_step == INSTALL


@pytest.mark.parametrize("rank", [BUREAU, THIRD])
def test_who_listens_needs_an_address(monkeypatch, rank):
    monkeypatch.setattr("shuiqiao.privacy.secure.joint.require_library", lambda: None)
    with pytest.raises(Unavailable, match=r"privacy\.secure_not_set_up"):
        JointSession.begin(rank, session=bytes(16))

"""One applicant in each mode: what is not installed is named by its code, and what is goes on beside it."""

from __future__ import annotations

import pytest

from absence import without
from consortium_world import CHEAP
from shuiqiao.privacy.blind import scheme
from shuiqiao.privacy.secure import library
from shuiqiao.sandbox.crossing import open_stage
from shuiqiao.sandbox.scenario.modes import BLIND, DISCLOSE, MODES, PREDICATES, PROVE, SECURE, Learning, show_modes

EXTRAS = {BLIND: "privacy", SECURE: "mpc", PREDICATES: "privacy"}


@pytest.fixture
def stage(tmp_path):
    with open_stage(tmp_path, cost=CHEAP) as opened:
        yield opened


def test_without_extras_each_mode_says_what_to_install_and_the_others_are_shown(stage, monkeypatch):
    """[BLIND-1] [SECURE-5]"""
    without("tenseal", monkeypatch)
    monkeypatch.setattr(library, "LIBRARY_VERSION", "another")
    scheme._the_scheme.cache_clear()
    banks = list(stage.consortium.banks.values())
    with monkeypatch.context() as patch:
        without("anoncreds", patch)
        shown = show_modes(stage.applicant, MODES, banks=banks, learning=stage.learning)
    assert shown.refused.keys() == EXTRAS.keys()
    for mode, extra in EXTRAS.items():
        error = shown.refused[mode]
        assert error["code"] == "privacy.extra_missing"
        assert extra in error["message"] + error["next_step"]
    east, north, _ = stage.consortium.banks
    assert {party: set(modes) for party, modes in shown.who_saw_what.items()} == {
        east: {DISCLOSE},
        north: {"at_source"},
        "anybody": {PROVE},
    }


def test_what_an_act_added_goes_to_its_mode_and_what_was_there_to_the_first():
    known = {("bank", "disclose"): (7, 9_000)}
    learning = Learning(lambda: known)
    learning.note("disclose")
    known = {("bank", "disclose"): (7, 9_000), ("bank", "score"): (0, 1_585)}
    learning.note("at_source")
    known = {("bank", "disclose"): (7, 9_000), ("bank", "score"): (0, 13_585), ("anybody", None): (0, 500)}
    learning.note("blind")
    learning.note("prove")
    assert learning.who_saw_what == {
        "bank": {
            "disclose": {"fields": 7, "bits": 9.0},
            "at_source": {"fields": 0, "bits": 1.585},
            "blind": {"fields": 0, "bits": 12.0},
        },
        "anybody": {"blind": {"fields": 0, "bits": 0.5}},
    }

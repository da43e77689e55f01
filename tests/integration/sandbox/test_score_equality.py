"""Every mode gives the score that a bank computes from records that it was shown, within a point."""

from __future__ import annotations

import pytest

from absence import without
from shuiqiao.credit.model_content import decode_content
from shuiqiao.privacy.blind import scheme
from shuiqiao.privacy.secure import library
from shuiqiao.sandbox.score_equality import compare, score_equality, scored_content

TAXPAYERS = 300


def test_every_mode_gives_the_points_and_bands_of_the_plain_score():
    """[EXCHANGE-26] [BLIND-10] [SECURE-14]"""
    found = score_equality(taxpayers=TAXPAYERS)
    assert found["at_source"] == {"n": TAXPAYERS, "max_points_error": 0, "bands_equal": True}
    assert found["blind"] | {"max_points_error": 0} == found["at_source"]
    assert found["blind"]["max_points_error"] <= 1
    assert found["secure"] == found["at_source"]


@pytest.mark.parametrize(
    ("plain", "found", "expected"),
    [
        ([599, 640], [(599, "C"), (640, "A")], (0, True)),
        ([599, 640], [(600, "B"), (639, "B")], (1, True)),
        ([598, 640], [(598, "B"), (640, "A")], (0, False)),
        ([599, 641], [(599, "C"), (638, "B")], (3, False)),
    ],
    ids=["same", "at the edges", "another band", "other points"],
)
def test_a_mode_that_scores_otherwise_is_seen(plain, found, expected):
    compared = compare(decode_content(scored_content()), plain=plain, found=found)
    assert compared == {"n": 2, "max_points_error": expected[0], "bands_equal": expected[1]}


def test_without_the_extra_the_study_says_so_in_the_mode_s_place(monkeypatch):
    """[BLIND-1] [SECURE-5]"""
    without("tenseal", monkeypatch)
    monkeypatch.setattr(library, "LIBRARY_VERSION", "another")
    scheme._the_scheme.cache_clear()
    found = score_equality(taxpayers=2)
    assert found["at_source"]["n"] == 2
    assert [found[mode]["refused"]["code"] for mode in ("blind", "secure")] == ["privacy.extra_missing"] * 2

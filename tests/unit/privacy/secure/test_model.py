"""A function is its text: the shapes that there are, the digest that both sides compare, and what two shares give."""

from __future__ import annotations

import os

import pytest

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.privacy.secure.model import ADDED, MAX_POINTS, XORED, SecureFunction, SecureOutput

POINTS = SecureFunction(indicators=100, cuts=0, output=SecureOutput.POINTS)
BAND = SecureFunction(indicators=100, cuts=5, output=SecureOutput.BAND)
YES_NO = SecureFunction(indicators=100, cuts=1, output=SecureOutput.YES_NO)


TAG = b"of a run"


def shares(function, value, *, kind=ADDED, tag=TAG):
    bank = int.from_bytes(os.urandom(8), "little")
    bureau = (value - bank) % 2**64 if kind == ADDED else (value % 2**64) ^ bank
    return tuple(function.share_of(kind, each.to_bytes(8, "little"), tag=tag) for each in (bank, bureau))


def test_the_digest_of_a_function_is_the_same_on_every_machine():
    """[SECURE-3] A changed text, configuration or version is another function: members compare these very bytes."""
    assert [each.digest.hex()[:16] for each in (POINTS, BAND, YES_NO)] == [
        "d5a04994670c96df",
        "b500e0677cf22e4d",
        "14c666b42aa8ba38",
    ]


def test_every_part_of_a_function_is_under_its_digest():
    others = [
        SecureFunction(indicators=99, cuts=5, output=SecureOutput.BAND),
        SecureFunction(indicators=100, cuts=4, output=SecureOutput.BAND),
        SecureFunction(indicators=100, cuts=5, output=SecureOutput.BAND, rows=2),
        POINTS,
        YES_NO,
    ]
    assert len({each.digest for each in [BAND, *others]}) == 6


def test_a_function_has_one_output():
    """[SECURE-1]"""
    assert [each.text.count("return %") for each in (POINTS, BAND, YES_NO)] == [1, 1, 1]


def test_of_points_twelve_bits_leave_and_they_are_the_lowest():
    """[SECURE-2]"""
    bank, bureau = shares(POINTS, 2**40 + 77)
    assert len(bureau) == POINTS.share_bytes == 11
    assert int.from_bytes(bureau[9:], "little") < 4_096
    assert POINTS.combine(bank, bureau) == 77


@pytest.mark.parametrize(
    ("indicators", "cuts", "output", "rows"),
    [
        (0, 0, SecureOutput.POINTS, 1),
        (1_025, 0, SecureOutput.POINTS, 1),
        (5, 1, SecureOutput.POINTS, 1),
        (5, 0, SecureOutput.BAND, 1),
        (5, 64, SecureOutput.BAND, 1),
        (5, 2, SecureOutput.YES_NO, 1),
        (5, 0, SecureOutput.POINTS, 0),
        (5, 0, SecureOutput.POINTS, 8_193),
    ],
)
def test_other_shapes_are_refused(indicators, cuts, output, rows):
    with pytest.raises(InvalidInput, match=r"privacy\.secure_function_differs"):
        SecureFunction(indicators=indicators, cuts=cuts, output=output, rows=rows)


@pytest.mark.parametrize(
    ("function", "value", "kind"),
    [
        (POINTS, -MAX_POINTS, ADDED),
        (POINTS, MAX_POINTS - 1, ADDED),
        (BAND, 5, ADDED),
        (BAND, 5, XORED),
        (YES_NO, 0, ADDED),
        (YES_NO, 1, XORED),
    ],
)
def test_two_shares_give_the_output(function, value, kind):
    assert function.combine(*shares(function, value, kind=kind)) == value


@pytest.mark.parametrize(("function", "value"), [(BAND, 6), (BAND, -1), (YES_NO, 2)])
def test_what_no_output_can_be_is_refused(function, value):
    with pytest.raises(IntegrityError, match=r"privacy\.secure_failed"):
        function.combine(*shares(function, value))


@pytest.mark.parametrize("function", [POINTS, BAND, YES_NO])
def test_shares_of_two_runs_are_refused_whatever_they_would_give(function):
    """[SECURE-2]"""
    bank, _ = shares(function, 1)
    _, bureau = shares(function, 1, tag=b"another.")
    with pytest.raises(IntegrityError, match=r"privacy\.secure_failed.*two runs"):
        function.combine(bank, bureau)


@pytest.mark.parametrize(
    "change", [lambda share: share[:-1], lambda share: share + b"\0", lambda share: b"\x01" + share[1:], lambda _: b""]
)
def test_shares_of_another_form_are_refused(change):
    bank, bureau = shares(BAND, 3)
    with pytest.raises(IntegrityError, match=r"privacy\.secure_failed"):
        BAND.combine(bank, change(bureau))


def test_an_output_has_as_many_values_as_the_account_counts():
    assert [each.outputs for each in (POINTS, BAND, YES_NO)] == [4_096, 6, 2]

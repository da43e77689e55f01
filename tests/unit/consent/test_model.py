from __future__ import annotations

import re
from pathlib import Path

import pytest

from field_edges import is_held
from shuiqiao.base import wire
from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import owned_id
from shuiqiao.consent import model
from shuiqiao.consent.model import (
    FIELD_CODES,
    FieldCode,
    Grant,
    Purpose,
    Status,
    field_code,
    grant_from_state,
    is_whole_hours,
    verify_usable,
    whole_days,
    whole_hours,
)
from shuiqiao.standards.model import GroupId, StandardId

SPEC = Path(__file__).resolve().parents[3] / "docs" / "spec" / "consent-exchange.md"


def grant(status):
    return Grant(
        consent=owned_id("bureau", bytes(16)),
        provider="bureau",
        recipient="bank-a",
        purpose=Purpose.ONE_TIME,
        valid_from_ms=100,
        valid_to_ms=200,
        status=status,
        key=bytes(32),
        commitment=bytes(32),
    )


@pytest.mark.parametrize(
    ("status", "now_ms", "code"),
    [
        (Status.ACTIVE, 99, "consent.not_yet_valid"),
        (Status.ACTIVE, 201, "consent.expired"),
        (Status.PAUSED, 150, "consent.paused"),
        (Status.PAUSED, 201, "consent.expired"),
        (Status.REVOKED, 150, "consent.revoked"),
        (Status.REVOKED, 201, "consent.revoked"),
    ],
)
def test_data_flows_only_while_active_and_in_the_window(status, now_ms, code):
    """[CONSENT-12]"""
    with pytest.raises(Denied) as refusal:
        verify_usable(grant(status), now_ms=now_ms)
    assert code == refusal.value.code


@pytest.mark.parametrize(
    ("wish", "window"),
    [
        ((0, MS_PER_HOUR), (0, MS_PER_HOUR)),
        ((1, MS_PER_HOUR + 1), (0, MS_PER_HOUR)),
        ((MS_PER_HOUR - 1, MS_PER_HOUR), (0, MS_PER_HOUR)),
        ((MS_PER_HOUR + 7, MS_PER_HOUR + 7 + 30 * MS_PER_DAY), (MS_PER_HOUR, MS_PER_HOUR + 30 * MS_PER_DAY)),
        ((0, MS_PER_HOUR + 1), (0, 2 * MS_PER_HOUR)),
        ((5, 5), (0, 0)),
    ],
)
def test_a_wish_becomes_a_window_of_whole_hours_and_of_its_own_length(wish, window):
    """[CONSENT-7]: a wish for as long as a ceiling allows stays within it; an empty one stays empty."""
    assert whole_hours(*wish) == window


@pytest.mark.parametrize(
    ("wish", "window"),
    [
        ((MS_PER_HOUR, MS_PER_HOUR + 7 * MS_PER_DAY), (0, 7 * MS_PER_DAY)),
        ((3 * MS_PER_DAY + 1, 10 * MS_PER_DAY + 2), (3 * MS_PER_DAY, 11 * MS_PER_DAY)),
        ((MS_PER_DAY - 1, 181 * MS_PER_DAY - 1), (0, 180 * MS_PER_DAY)),
        ((1, 7 * MS_PER_DAY), (1, 7 * MS_PER_DAY)),
        ((5, 5), (5, 5)),
    ],
)
def test_a_wish_of_a_week_becomes_a_window_of_whole_days_and_a_shorter_one_stays(wish, window):
    """[CONSENT-33]: a wish for as long as a ceiling allows stays within it."""
    assert whole_days(*wish) == window


def test_a_window_is_of_whole_hours_at_both_ends():
    """[CONSENT-7]"""
    assert is_whole_hours(MS_PER_HOUR, 3 * MS_PER_HOUR)
    assert not is_whole_hours(MS_PER_HOUR + 1, 3 * MS_PER_HOUR)
    assert not is_whole_hours(MS_PER_HOUR, 3 * MS_PER_HOUR - 1)


@pytest.mark.parametrize("now_ms", [100, 200])
def test_both_ends_of_the_window_belong_to_it(now_ms):
    """[CONSENT-12]"""
    assert verify_usable(grant(Status.ACTIVE), now_ms=now_ms) is None


def test_an_absent_consent_is_unknown():
    with pytest.raises(Denied, match=r"^consent\.unknown"):
        grant_from_state(bytes(16), None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Denied("consent.expired", ""), FieldCode.EXPIRED),
        (Denied("lending.whatever", ""), FieldCode.FAILED),
        (Conflict("lending.whatever", ""), FieldCode.FAILED),
        (InvalidInput("lending.whatever", ""), FieldCode.BAD_PARAMETER),
        (Unavailable("lending.whatever", ""), FieldCode.SYSTEM_ERROR),
        (IntegrityError("lending.whatever", ""), FieldCode.SYSTEM_ERROR),
    ],
)
def test_every_error_has_a_return_code_of_the_field(error, code):
    """[CONSENT-17]"""
    assert code == field_code(error)


def test_the_specification_lists_the_codes_as_they_are():
    """[CONSENT-17]"""
    text = SPEC.read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    shown = {code: FieldCode(number) for number, cell in rows for code in re.findall(r"`([a-z_.]+)`", cell)}
    assert dict(FIELD_CODES) == shown


EDGES = [
    (wire.Id, [b"x" * 16], [b"x" * 15, b"x" * 17]),
    (wire.Digest, [b"x" * 32], [b"x" * 31, b"x" * 33]),
    (wire.Salt, [b"x" * 32], [b"x" * 31, b"x" * 33]),
    (wire.PublicKey, [b"x" * 32, b"x" * 65], [b"x" * 31, b"x" * 66]),
    (wire.CalendarMs, [0, 253_402_300_799_999], [-1, 253_402_300_800_000]),
    (wire.MemberName, ["ab", "a" * 32], ["a", "a" * 33, "A1"]),
    (StandardId, ["ab@1", "a" * 48 + "@9999"], ["a@1", "a" * 49 + "@1", "ab@0", "ab@10000", "ab"]),
    (GroupId, ["a", "a" * 32], ["", "a" * 33, "1a"]),
    (model.Groups, [["a"], ["a", "b", "c", "d"]], [[], ["a", "b", "c", "d", "e"]]),
    (model.Items, [{"ab@1": ["a"]}, {f"ab@{n}": ["a"] for n in range(1, 33)}],
     [{}, {f"ab@{n}": ["a"] for n in range(1, 34)}]),
    (model.TaxpayerNumber, ["E", "9" * 32], ["", "9" * 33, "E 1"]),
    (model.ShortText, ["p", "p" * 64], ["", "p" * 65]),
]  # fmt: skip


@pytest.mark.parametrize(("field_type", "good", "bad"), EDGES)
def test_a_field_reaches_its_edges_and_no_further(field_type, good, bad):
    assert [value for value in good if not is_held(value, field_type)] == []
    assert [value for value in bad if is_held(value, field_type)] == []


def test_an_answer_a_day_to_a_thousand_may_be_agreed_to():
    counts = (0, 1, 1000, 1001)
    assert [is_held({"count": count, "unit": "day"}, model.Frequency) for count in counts] == [False, True, True, False]
    assert [model.Frequency(count=1, unit=unit).window_ms for unit in model.FrequencyUnit] == [
        MS_PER_DAY,
        30 * MS_PER_DAY,
        365 * MS_PER_DAY,
    ]


def test_the_limits_of_an_artefact():
    assert (model.MAX_ARTEFACT_BYTES, model.MAX_TYPES, wire.MAX_CALENDAR_MS) == (16_384, 32, 253_402_300_799_999)

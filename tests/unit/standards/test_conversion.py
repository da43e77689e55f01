from __future__ import annotations

from datetime import date

import pytest

from shuiqiao.standards import conversion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("12.3", 1230),
        ("-12.34", -1234),
        ("1000000000000000", 10**17),
        ("1000000000000000.01", None),
        ("12.345", None),
        ("1e3", None),
        ("+1", None),
        ("NaN", None),
        ("1_0", None),
        ("1,234.00", 123_400),
        ("1,234,567", 123_456_700),
        ("12,34.00", None),
        ("1,2345", None),
        (",234", None),
        ("１２．５０", 1250),
        ("−１，２３４", -123_400),
        (".5", 50),
        ("-.05", -5),
        ("7.", 700),
        (".", None),
        ("", None),
        ("100.0000", 10_000),
        ("100.0001", None),
        ("¥100.00", 10_000),
        ("￥ 100", 10_000),
        ("-¥1", -100),
        ("¥-1", -100),
        ("-¥-1", None),
        ("100元", 10_000),
        ("100 元", 10_000),
        ("$1", None),
        ("¥", None),
        ("元", None),
        ("(13.00)", -1300),
        ("（13.00）", -1300),
        ("(¥1,300.5)", -130_050),
        ("(-13.00)", None),
        ("(13.00", None),
        ("13.00)", None),
        ("13.00-", None),
        ("1万", None),
        ("1/2", None),
    ],
)
def test_an_amount_in_yuan_is_read_as_spreadsheets_show_it(text, expected):
    # Holds [STD-17].
    assert conversion.read_yuan(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.13", "0.13"),
        ("13%", "0.13"),
        ("0.060", "0.06"),
        ("6%", "0.06"),
        ("-0", "0"),
        ("100", "100"),
        ("0.5%", "0.005"),
        ("６％", "0.06"),
        ("免税", None),
        ("1.2.3", None),
    ],
)
def test_a_rate_has_one_shortest_form(text, expected):
    # Holds [STD-19].
    assert conversion.read_rate(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-02-29", date(2020, 2, 29)),
        ("2020/2/9", date(2020, 2, 9)),
        ("2020年2月9日", date(2020, 2, 9)),
        ("20200209", date(2020, 2, 9)),
        ("2020-02-09 23:59:59", date(2020, 2, 9)),
        ("2020-02-09T23:59:59.123", date(2020, 2, 9)),
        ("2019/1/3 8:05", date(2019, 1, 3)),
        ("2019/1/3 0:00", date(2019, 1, 3)),
        ("2019/1/3 18:05:09", date(2019, 1, 3)),
        ("２０１９年１月３日", date(2019, 1, 3)),
        ("2019-01-03 99:99:99", None),
        ("2019-01-03 24:00", None),
        ("2019-01-03 8:60", None),
        ("2019-01-03 8:5", None),
        ("2019-02-29", None),
        ("2020-13-01", None),
        ("09/02/2020", None),
        ("2020-02-09 noon", None),
        ("2020-02-09\n", None),
        ("43864", None),
    ],
)
def test_a_date_is_read_in_the_four_usual_forms(text, expected):
    # Holds [STD-20].
    assert conversion.read_date(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("2024", 2024), ("2024年", 2024), ("24", None), ("2024-01", None)])
def test_a_year(text, expected):
    # Holds [STD-21].
    assert conversion.read_year(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01", "2024-01"),
        ("202412", "2024-12"),
        ("2024年3月", "2024-03"),
        ("2024-13", None),
        ("2024-00", None),
        ("1800-01", None),
    ],
)
def test_a_month_has_one_form(text, expected):
    # Holds [STD-21].
    assert conversion.read_month(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("是", True), ("Y", True), ("1", True), ("否", False), ("false", False), ("yes", None), ("", None)],
)
def test_a_boolean(text, expected):
    # Holds [STD-22].
    assert conversion.read_boolean(text) is expected


@pytest.mark.parametrize(("text", "expected"), [("12", 12), ("-3.00", -3), ("1.5", None), ("1" * 19, None)])
def test_a_whole_number(text, expected):
    # Holds [STD-22].
    assert conversion.read_whole(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12),
        ("12,000", 12_000),
        ("-1,234,567", -1_234_567),
        ("１２", 12),
        ("1,20", None),
        ("1.0", None),
        ("", None),
    ],
)
def test_a_whole_number_may_stand_in_groups_of_three(text, expected):
    # Holds [STD-22].
    assert conversion.read_grouped(text) == expected

"""Check characters by published examples, and what the digits of a number say."""

from __future__ import annotations

import pytest

from shuiqiao.invoices.identity import (
    credit_check_character,
    has_check_character,
    has_id_form,
    is_former_number,
    is_province,
    person_check_character,
    split_number,
)


def test_check_characters_are_those_of_the_standards_examples():
    # GB 32100-2015 and GB 11643-1999 give these as examples.
    assert credit_check_character("91350100M000100Y4") == "3"
    assert person_check_character("11010519491231002") == "X"


def test_a_character_that_no_code_has_gives_none():
    assert credit_check_character("91350100I000100Y4") is None
    assert person_check_character("1101051949123100X") is None


@pytest.mark.parametrize(
    ("taxpayer_id", "form", "check"),
    [
        ("91350100M000100Y43", True, True),
        ("91350100M000100Y44", True, False),
        ("000000000000000000", True, True),
        ("11010519491231002X", True, True),
        ("110105194912310020", True, False),
        ("123456789012345", True, True),
        ("12345678901234567", True, True),
        ("11010519491231002X01", True, True),
        ("1234567890123456", False, True),
        ("91350100m000100y43", False, False),
        ("９1350100M000100Y43", False, False),
    ],
)
def test_ids(taxpayer_id, form, check):
    assert (has_id_form(taxpayer_id), has_check_character(taxpayer_id)) == (form, check)


def test_the_parts_of_a_number():
    parts = split_number("24320000000012345678")
    assert parts is not None
    assert (parts.year, parts.province, parts.channel, parts.serial) == (2024, "32", "0", "000000012345678")
    assert [split_number(each) for each in ("", "2432000000001234567", "２4320000000012345678", "12345678")] == [
        None
    ] * 4


def test_former_numbers_have_a_code():
    assert is_former_number("12345678", "044001900111")
    assert is_former_number("12345678", "4400190011")
    assert not is_former_number("12345678", "")
    assert not is_former_number("123456789", "044001900111")


def test_provinces():
    assert all(is_province(each) for each in ("11", "32", "65", "95"))
    assert not any(is_province(each) for each in ("00", "10", "71", "99"))

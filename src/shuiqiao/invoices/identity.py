"""Numbers of invoices and taxpayer ids: what their digits say, and their check characters.

Number of a 数电票: 20 digits, of which 1 and 2 are the year, 3 and 4 the province's tax bureau, 5 the channel and 6 to
20 the serial. GB 32100-2015 (unified social credit codes) and GB 11643-1999 (persons' ids, which sole traders use) say
how the last of 18 characters is computed; older ids of 15, 17 and 20 characters are asked for no check character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_DIGITAL: Final = re.compile(r"[0-9]{20}", re.ASCII)
_SHORT: Final = re.compile(r"[0-9]{8}", re.ASCII)
_CODE: Final = re.compile(r"[0-9]{10}|[0-9]{12}", re.ASCII)

PROVINCES: Final = frozenset(
    {
        *("11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41"),
        *("42", "43", "44", "45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65"),
    }
)
"""Provinces of GB/T 2260 with a tax bureau."""
PLANNED_CITIES: Final = frozenset({"91", "92", "93", "94", "95"})
"""Cities with a tax bureau of their own (Dalian, Ningbo, Xiamen, Qingdao, Shenzhen). Unconfirmed; they pass."""

_CREDIT_CHARACTERS: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_CREDIT_VALUES: Final = {character: value for value, character in enumerate(_CREDIT_CHARACTERS)}
_CREDIT_MODULUS: Final = 31
_PERSON_CHARACTERS: Final = "10X98765432"
_PERSON_MODULUS: Final = 11
_CHECKED_LENGTH: Final = 18
_OLDER_LENGTHS: Final = frozenset({15, 17, 20})
_ID: Final = re.compile(r"[0-9A-Z]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class NumberParts:
    """What the digits of a 数电票 say. year: of the century 2000."""

    year: int
    province: str
    channel: str
    serial: str


def split_number(number: str) -> NumberParts | None:
    """Return the parts of a 20-digit number, None for any other text.

    ::

        split_number("24320000000012345678").province == "32"
    """
    if not _DIGITAL.fullmatch(number):
        return None
    return NumberParts(2000 + int(number[:2]), number[2:4], number[4], number[5:])


def is_former_number(number: str, code: str) -> bool:
    """Return whether number and code are those of an invoice from before the 数电票."""
    return bool(_SHORT.fullmatch(number) and _CODE.fullmatch(code))


def is_province(code: str) -> bool:
    """Return whether two digits name a province's, or a city's own, tax bureau."""
    return code in PROVINCES or code in PLANNED_CITIES


def has_id_form(taxpayer_id: str) -> bool:
    """Return whether a text is as long as a taxpayer id of some time, and of its characters."""
    return bool(_ID.fullmatch(taxpayer_id)) and len(taxpayer_id) in {_CHECKED_LENGTH, *_OLDER_LENGTHS}


def has_check_character(taxpayer_id: str) -> bool:
    """Return whether the last of 18 characters is the one that the others give; an id of another length passes."""
    if len(taxpayer_id) != _CHECKED_LENGTH:
        return True
    return taxpayer_id[-1] in {credit_check_character(taxpayer_id[:-1]), person_check_character(taxpayer_id[:-1])}


def credit_check_character(first: str) -> str | None:
    """Return the 18th character of a unified social credit code (GB 32100 section 4.5); None if one cannot stand in it.

    ::

        credit_check_character("91350100M000100Y4") == "3"
    """
    values = [_CREDIT_VALUES.get(character) for character in first]
    if None in values:
        return None
    total = sum(value * pow(3, place, _CREDIT_MODULUS) for place, value in enumerate(values) if value)
    return _CREDIT_CHARACTERS[-total % _CREDIT_MODULUS]


def person_check_character(first: str) -> str | None:
    """Return the 18th character of a person's id (GB 11643, ISO 7064 MOD 11-2); None if the others are no digits."""
    if not (first.isascii() and first.isdigit()):
        return None
    total = sum(int(digit) * pow(2, len(first) - place, _PERSON_MODULUS) for place, digit in enumerate(first))
    return _PERSON_CHARACTERS[total % _PERSON_MODULUS]

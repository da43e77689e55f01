"""Says in words what form a text must have, where a schema says it by a pattern that no person reads.

Schemas of messages and files name forms by regular expressions, and the libraries that check them show these. Every
error of this product and every refused field is told through here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MEMBER: Final = "[a-z][a-z0-9-]{1,31}"
_MEMBER_WORDS: Final = "2 to 32 lower-case letters, digits and hyphens, a letter first"
_DAY_WORDS: Final = "a day such as 2026-11-30"
_TAXPAYER_WORDS: Final = "letters A to Z and digits, 32 at most, without spaces"
_BEGINNING_WORDS: Final = "an id in hexadecimal, or its beginning"

_CURSOR_WORDS: Final = "the cursor that the page before named as next"

_LEAP_YEAR: Final = r"([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"

DAY_FORM: Final = (
    r"^([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)"
    rf"|02-(0[1-9]|1[0-9]|2[0-8]))|{_LEAP_YEAR}-02-29)$"
)
"""A day of the calendar, ``2026-11-30``: one that its month does not have is refused by its form."""

WORDS: Final = {
    DAY_FORM.removeprefix("^").removesuffix("$"): "a day of the calendar as YYYY-MM-DD",
    _MEMBER: _MEMBER_WORDS,
    f"{_MEMBER}/[0-9a-f]{{32}}": "MEMBER/ID, the id in 32 hexadecimal digits",
    "[0-9A-Za-z]{1,32}": _TAXPAYER_WORDS,
    "[0-9A-Za-z_-]{1,32}": _TAXPAYER_WORDS,
    "[0-9A-Z]{1,20}": "capital letters and digits, 20 at most, without spaces",
    "[0-9A-Za-z]{1,64}": _BEGINNING_WORDS,
    "[0-9a-f]{1,64}": _BEGINNING_WORDS,
    "[0-9a-f]{4,32}": "an id in hexadecimal, or at least 4 digits of its beginning",
    "[0-9a-f]{32}": "32 lower-case hexadecimal digits",
    "[0-9a-f]{64}": "64 lower-case hexadecimal digits",
    "([0-9a-f]{2})*": "bytes in lower-case hexadecimal",
    "([0-9a-f]{2})+": "bytes in lower-case hexadecimal",
    "[0-9]{4}-[0-9]{2}-[0-9]{2}": _DAY_WORDS,
    "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])": _DAY_WORDS,
    "[0-9]{2}": "two digits",
    "[0-9]{1,8}": "1 to 8 digits",
    "[0-9]{0,8}": "at most 8 digits",
    "[A-T]": "one letter of A to T",
    "[A-Z]": "one letter of A to Z",
    r"[01]\.[0-9]{1,6}": "a share such as 0.71",
    r"0\.[0-9]{1,6}": "a rate such as 0.0465",
    r"[01]\.[0-9]{1,6} to [01]\.[0-9]{1,6}": "two shares such as 0.65 to 0.77",
    "[\u4e00-\u9fff]": "words in Chinese",
    "[a-z][a-z0-9_]{1,47}@[1-9][0-9]{0,3}": "a record type with its version, such as invoice_issued@2",
    "[a-z][a-z0-9_]{0,31}": "a name in lower-case letters, digits and _, a letter first, such as core",
    "[a-z][a-z0-9_]{1,39}": "the id of a rule of tax credit, such as late_filing",
    r"-?[0-9]{1,5}(\.[0-9])?": "points such as 87.5",
    "[a-z][a-z0-9_]{0,59}": "a name in lower-case letters, digits and _, a letter first",
    "[A-Za-z0-9_]{1,40}": "a code of letters, digits and _",
    "[A-Z][A-Z0-9_]{0,39}": "a code of capital letters, digits and _, a letter first",
    "[0-9A-Za-z -]{1,32}": "a code as the bureau gave it: letters, digits and hyphens",
    "(0|[1-9][0-9]{0,15})": _CURSOR_WORDS,
    "[0-9]{1,15}": _CURSOR_WORDS,
    "[1-9][0-9]{0,14}": _CURSOR_WORDS,
    "[A-Za-z0-9_.@:~/-]{1,200}": _CURSOR_WORDS,
    "(underwriting|loan_monitoring|model_development|one_time)": (
        "underwriting, loan_monitoring, model_development or one_time"
    ),
    "[0-9A-Za-z.-]{1,100}": "the id of an ingest: letters, digits, points and hyphens",
    r"[0-9]{1,3}(\.[0-9]{1,9})?": "a number such as 0.035",
    "[A-Za-z0-9][A-Za-z0-9_.-]{0,31}": "a name of at most 32 letters, digits, _, . and -",
    "[A-Za-z0-9_-]+": "bytes in base64url without padding",
    "[A-Za-z0-9+/]*={0,2}": "bytes in base64",
    "[A-Za-z0-9_.~-]+": "a credential as it was issued or shown",
    "[a-z][a-z0-9_]{0,47}": "a name in lower-case letters, digits and _, a letter first",
    r"[a-z_]{1,32}(\.[a-z_]{1,32}){0,2}": "the kind of a job, such as home.backup",
    r"[a-z_]{1,40}\.[a-z_]{1,40}": "the kind of an entry, such as consent.grant",
}
"""Forms that people type, by their pattern without its anchors."""

UNNAMED: Final = "the form that this field has"
"""Of every other pattern: programs find it in the reference."""

_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")

_BY_PATTERN: Final = re.compile(r"(?:Expected `str` matching regex|String should match pattern) '(?P<pattern>[^']*)'")


def in_words(message: str) -> str:
    """Return what a library says of a text's form with its pattern in words.

    ::

        in_words("String should match pattern '^[0-9]{2}$'") == "expected is two digits"
    """
    if "regex '" not in message and "pattern '" not in message:
        return message
    return _BY_PATTERN.sub(lambda found: f"expected is {words_of_pattern(found['pattern'])}", message)


def words_of_pattern(pattern: str) -> str:
    """Return what a pattern asks for, in words; of one that nobody types, that the field has a form."""
    # One of the two libraries shows a pattern with its backslashes doubled.
    bare = pattern.replace(r"\\", "\\").removeprefix("^").removesuffix("$").removesuffix(r"\Z")
    return WORDS.get(bare, UNNAMED)


def is_whole_number(text: str) -> bool:
    """Tell whether a text is a whole number to everybody; Python reads ``1_0`` and `` 10`` as well."""
    return _WHOLE_NUMBER.fullmatch(text) is not None


def full_width_words(text: str) -> str:
    """Return what is wrong with a text that would be plain letters and digits if its characters were half-width."""
    plain = unicodedata.normalize("NFKC", text)
    if text.isascii() or not plain.isascii():
        return ""
    return f"; these characters are full-width, type {plain[:60]!r} 请改用半角字符"

"""Control and direction characters of others are seen, not obeyed; the rest of a text stays as it is."""

from __future__ import annotations

import json
import sys
import unicodedata

from shuiqiao.base.visible import visible, visible_line


def test_every_control_format_and_separator_character_is_shown():
    hidden = [
        chr(number)
        for number in range(sys.maxunicode + 1)
        if unicodedata.category(chr(number)) in {"Cc", "Cf", "Zl", "Zp"} or chr(number) in DRAWN_AS_NOTHING
    ]
    left = [character for character in hidden if visible(character) == character]
    assert left == ["\t", "\n"]


DRAWN_AS_NOTHING = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u2065\u2800\u3164\ufe00\ufe0f\uffa0\ufff0\U000e0100\U000e0fff"
)
"""Some of Default_Ignorable_Code_Point beyond those categories, which no module of Python knows."""


def test_what_a_person_reads_stays():
    for text in ("税桥 bridge 1,000.00 €", "日本語 العربية עברית", "a\tb\nc", "\U0001f600"):
        assert visible(text) == text


def test_an_escape_sequence_and_a_turned_direction_are_spelled_out():
    assert visible("\x1b[2Jok\rno\u202eabc\u2066\x9b1m") == "\\u001b[2Jok\\rno\\u202eabc\\u2066\\u009b1m"
    assert visible_line("a\nerror: b") == "a\\nerror: b"
    assert visible_line("half \ud800").encode() == b"half \\ud800"


def test_a_json_document_shown_so_is_the_same_document():
    value = {"name": "\x1b[31m\u202e\u200f\ufeff\U000e0041\x7f税"}
    assert json.loads(visible(json.dumps(value, ensure_ascii=False))) == value

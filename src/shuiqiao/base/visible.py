"""Spells out control and direction characters, so that text from outside cannot redraw a screen or a page.

A terminal obeys control characters (ESC moves, hides and overwrites), and every reader of Unicode obeys the marks that
turn the direction of text. Where text is shown to a person such characters are written as JSON escapes; so a JSON
document that is shown this way is still the same document.
"""

from __future__ import annotations

import json
import re
from typing import Final

HIDDEN: Final = (
    r"\x00-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    r"\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Ranges of a regular expression, as of Unicode 15: control (Cc), format (Cf: directions, zero width, tags), line and
paragraph separators, and what is drawn as nothing (Default_Ignorable_Code_Point, the blank Braille pattern). A list and
not a property: ledger rules are drawn by it, and every node must draw them at the same place."""

_HIDDEN = re.compile(rf"(?![\t\n])[{HIDDEN}\ud800-\udfff]")
"""Half of a character, too, which no encoding has."""


def visible(text: str) -> str:
    """Return text with its control, direction and other hidden characters as JSON escapes; line feeds stay."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def visible_line(text: str) -> str:
    """Return the same as one line: its line feeds are escaped too, so that no text from outside begins a line."""
    return visible(text).replace("\n", "\\n")

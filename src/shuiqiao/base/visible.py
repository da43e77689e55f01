"""Shows characters that change how others are shown: what comes from outside must not redraw a screen or a page.

A terminal obeys control characters (ESC moves, hides and overwrites), and every reader of Unicode obeys the marks that
turn the direction of text. Where text is shown to a person such characters are written as JSON escapes; so a JSON
document that is shown this way is still the same document.
"""

from __future__ import annotations

import json
import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control (Cc) but tab and line feed, format (Cf: directions, zero width, tags), line and paragraph separators."""


def visible(text: str) -> str:
    """Return text with its control, direction and other hidden characters as JSON escapes; line feeds stay."""
    return _HIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


def visible_line(text: str) -> str:
    """Return the same as one line: its line feeds are escaped too, so that no text from outside begins a line."""
    return visible(text).replace("\n", "\\n")

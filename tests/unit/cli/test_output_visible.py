"""What others wrote reaches the terminal spelled out, on both streams and in both forms."""

from __future__ import annotations

import json

from shuiqiao.base.errors import InvalidInput
from shuiqiao.cli.output import print_json, say, show_error

HOSTILE = "firm\x1b[2J\u202exe\r\x9b31m"


def test_a_terminal_is_not_redrawn_by_a_name(capsys):
    say(HOSTILE)
    print_json({"name": HOSTILE})
    show_error(InvalidInput("base.file_special", f"{HOSTILE}\nerror all.well: fine"), as_json=False)
    show_error(InvalidInput("base.file_special", HOSTILE), as_json=True)
    out, err = capsys.readouterr()
    shown = out + err
    assert not any(character in shown for character in "\x1b\u202e\r\x9b")
    assert shown.count("firm\\u001b[2J\\u202exe\\r\\u009b31m") == 4
    assert not any(line.startswith("error all.well") for line in err.splitlines())


def test_json_keeps_its_content(capsys):
    print_json({"name": HOSTILE})
    assert json.loads(capsys.readouterr().out) == {"name": HOSTILE}

"""Plain values become typed ones, also where many threads ask for a type at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from shuiqiao.base.encoding import typed

SOURCE = Path(__file__).parents[3] / "src" / "shuiqiao"

# Many types, each asked for by four threads at once that take turns as often as they can.
AT_ONCE = """
import sys, threading
import msgspec
from shuiqiao.base.encoding import typed

sys.setswitchinterval(1e-6)
for number in range(100):
    inner = msgspec.defstruct(f"Inner{number}", [(f"field_{n}", str) for n in range(10)])
    kind = msgspec.defstruct(f"Outer{number}", [("inner", inner), *((f"field_{n}", int) for n in range(20))])
    value = {"inner": {f"field_{n}": "" for n in range(10)}, **{f"field_{n}": n for n in range(20)}}
    gate = threading.Barrier(4)
    threads = [threading.Thread(target=lambda: (gate.wait(), typed(value, kind))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


class Size(msgspec.Struct, forbid_unknown_fields=True):
    size: int


def test_a_map_becomes_a_value_of_the_type_strictly():
    assert typed({"size": 3}, Size) == Size(size=3)
    for wrong in ({"size": "3"}, {"size": 3, "more": 1}, {}):
        with pytest.raises(msgspec.ValidationError):
            typed(wrong, Size)


def test_threads_that_ask_for_a_type_at_once_end_no_process():
    """With ``msgspec.convert`` alone this process ends with a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", AT_ONCE], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_else_in_the_product_asks_msgspec_for_a_type():
    asking = {path.name for path in SOURCE.rglob("*.py") if "msgspec.convert(" in path.read_text(encoding="utf-8")}
    assert asking == {"encoding.py"}

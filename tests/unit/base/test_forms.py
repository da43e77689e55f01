"""No person is shown a regular expression: what form a text must have is said in words."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated

import msgspec
import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

import shuiqiao
from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.forms import UNNAMED, WORDS, full_width_words, in_words, is_whole_number, words_of_pattern
from shuiqiao.client import resources
from shuiqiao.client.wire import Wire
from shuiqiao.consent.model import TaxpayerNumber

SOURCE = Path(shuiqiao.__file__).parent


def patterns_in(folder):
    """Every pattern that a schema in a folder names as a literal."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "pattern" and isinstance(node.value, ast.Constant):
                yield node.value.value


def test_what_the_libraries_say_of_a_form_is_told_in_words():
    with pytest.raises(msgspec.ValidationError) as strict:
        typed("9199 01", TaxpayerNumber)
    with pytest.raises(ValidationError) as lax:
        TypeAdapter(Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")]).validate_python("4")
    assert "regex" in str(strict.value)
    said = InvalidInput("consent.taxpayer_invalid", f"no taxpayer number: {strict.value}").message
    assert said == "no taxpayer number: expected is letters A to Z and digits, 32 at most, without spaces"
    assert in_words(lax.value.errors()[0]["msg"]) == "expected is two digits"


@pytest.mark.parametrize("pattern", sorted(set(patterns_in(SOURCE))))
def test_no_pattern_of_a_schema_is_shown(pattern):
    for said in (f"Expected `str` matching regex {pattern!r} - at `$.a`", f"String should match pattern '{pattern}'"):
        told = in_words(said)
        assert told.removesuffix(" - at `$.a`") == f"expected is {words_of_pattern(pattern)}"


def patterns_of(schema):
    """Every pattern in a JSON Schema."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from patterns_of(part)


def test_every_form_of_a_message_of_the_api_is_named():
    modules = [
        importlib.import_module(f"{resources.__name__}.{found.name}") for found in iter_modules(resources.__path__)
    ]
    messages = {
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Wire) and not kind.__pydantic_generic_metadata__["parameters"]
    }
    patterns = {pattern for message in messages for pattern in patterns_of(message.model_json_schema())}
    assert len(patterns) > 20
    assert {pattern for pattern in patterns if words_of_pattern(pattern) == UNNAMED} == set()
    assert words_of_pattern("^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$").startswith("MEMBER/ID")
    assert "invoice_issued@2" in in_words(
        r"Expected `str` matching regex '^[a-z][a-z0-9_]{1,47}@[1-9][0-9]{0,3}\\Z' - at `key` in `$.items`"
    )
    assert all(re.compile(pattern) for pattern in WORDS)


def test_full_width_characters_are_named_and_chinese_is_left_alone():
    assert "type '9199A'" in full_width_words("９１９９Ａ")
    assert full_width_words("9199A") == full_width_words("深圳") == ""


@pytest.mark.parametrize("text", ["1_0", " 1", "1 ", "+1", "１", "", "0x1", "1.0", "9" * 21, "1\n"])
def test_python_takes_more_for_a_number_than_others_do(text):
    assert not is_whole_number(text)
    assert (is_whole_number("10"), is_whole_number("-1"), is_whole_number("007")) == (True, True, True)

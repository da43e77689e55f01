"""The bilingual table: every word of the page under a key, in ``words.toml``, in Chinese and English.

Names that come from the run (a transaction kind, a rule, a grade) are looked up in the same table; one that is not
there is shown as it is, as a name, so that a new kind never breaks the page.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from shuiqiao.base.words import Words
from shuiqiao.sandbox.report.markup import FIRST_CJK, Html, Language, Value, data, plain_sentence, sentence


@cache
def load_words() -> Mapping[str, Words]:
    """Return all words by key, ``section.name``."""
    text = files("shuiqiao.sandbox.report").joinpath("words.toml").read_text(encoding="utf-8")
    return {
        f"{section}.{name}": Words(zh=entry["zh"], en=entry["en"])
        for section, entries in tomllib.loads(text).items()
        for name, entry in entries.items()
    }


def words_of(key: str) -> Words:
    """Return the words under a key; a KeyError names one that is missing."""
    return load_words()[key]


def say(key: str, **values: Value) -> Html:
    """Return the sentence under a key in both languages with the values filled in."""
    return sentence(words_of(key), values)


def say_in(language: Language, key: str, **values: Value) -> str:
    """Return the sentence under a key in one language, for a drawing, which escapes it."""
    return plain_sentence(words_of(key), values, language=language)


def name_of(section: str, value: str) -> Words:
    """Return the words for a name that came from the run, or the name itself in both languages."""
    return load_words().get(f"{section}.{value}", Words(zh=value, en=value))


def show_name(section: str, value: str) -> Html:
    """Return a name that came from the run: in both languages if the table knows it, else as it is."""
    known = load_words().get(f"{section}.{value}")
    return data(value) if known is None else sentence(known, {})


def split_name(name: str) -> Words:
    """Return both halves of a name that carries its Chinese behind its English; one without Chinese serves as both."""
    english = name[: next((place for place, letter in enumerate(name) if ord(letter) >= FIRST_CJK), len(name))]
    return Words(zh=name.removeprefix(english).strip() or name, en=english.strip() or name)

"""Every word of the page in both languages, and pieces of HTML that are safe: what enters one is escaped here, once.

The words stand under a key in ``words.toml``. Each stands on the page in Chinese and in English, in an element that
names its language; which one is shown is a matter of the style sheet. Numbers and names of the run are marked
``translate="no"``. A name that comes from the run (a transaction kind, a rule, a grade) is looked up in the same table;
one that is not there is shown as it is, so that a new kind never breaks the page.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from html import escape
from importlib.resources import files

from shuiqiao.base.words import Words

FIRST_CJK = 0x2E80
"""Code points from here on are, for our purposes, Chinese: full width, and no English text holds them."""


class Language(StrEnum):
    """The languages of the page, by their HTML tag."""

    ZH = "zh-CN"
    EN = "en"

    @property
    def style(self) -> str:
        """The class that the style sheet shows or hides."""
        return "zh" if self is Language.ZH else "en"

    def of(self, words: Words) -> str:
        """Return the words in this language."""
        return words.zh if self is Language.ZH else words.en


@dataclass(frozen=True, slots=True)
class Html:
    """Finished HTML. Templates insert it as it is, everything else they escape."""

    text: str

    def __html__(self) -> str:
        """Return the HTML; the template engine asks for it by this name."""
        return self.text

    def __str__(self) -> str:
        return self.text


Value = str | int | Words
"""What may be filled into a sentence: a text, a number shown with thousands separators, or words of both languages."""


def data(value: str | int) -> Html:
    """Return a value of the run as it is: escaped, not to be translated, kept from reordering its dependencies."""
    return Html(f'<bdi translate="no">{escape(_plain(value))}</bdi>')


def both(words: Words) -> Html:
    """Return a text that the run gave in both languages, escaped, never read as a pattern."""
    return in_both(lambda language: Html(escape(language.of(words))))


def in_both(write: Callable[[Language], Html], *, tag: str = "span") -> Html:
    """Return the same piece in Chinese and in English, each in an element of its own."""
    return Html(
        "".join(
            f'<{tag} class="{language.style}" lang="{language.value}">{write(language)}</{tag}>'
            for language in Language
        )
    )


def sentence(words: Words, values: dict[str, Value]) -> Html:
    """Return words in both languages with the named values filled in, each marked as a figure."""

    def filled(language: Language) -> Html:
        figures = {
            name: f'<bdi class="fig">{escape(_in_language(value, language))}</bdi>' for name, value in values.items()
        }
        return Html(escape(language.of(words)).format(**figures))

    return in_both(filled)


def _in_language(value: Value, language: Language) -> str:
    return language.of(value) if isinstance(value, Words) else _plain(value)


def _plain(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"


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
    """Return the sentence under a key in one language with the values filled in, for a drawing, which escapes it."""
    return language.of(words_of(key)).format(**{name: _in_language(value, language) for name, value in values.items()})


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

"""Pieces of HTML that are safe by construction: every value that enters one is escaped here, once.

Every sentence stands on the page in both languages, each in an element that names its language; which one is shown is
a matter of the style sheet. Numbers and names of the run are marked ``translate="no"``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from html import escape

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
    """Return a value of the run as it is: escaped, not to be translated, kept from reordering its surroundings."""
    return Html(f'<bdi translate="no">{escape(_plain(value))}</bdi>')


def pair(zh: str, en: str) -> Html:
    """Return a text that the run gave in both languages, escaped, never read as a pattern."""
    return in_both(lambda language: Html(escape(language.of(Words(zh=zh, en=en)))))


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
    return in_both(lambda language: _filled(language, words, values))


def plain_sentence(words: Words, values: dict[str, Value], *, language: Language) -> str:
    """Return words in one language with the values filled in, not escaped: for texts inside drawings."""
    return language.of(words).format(**{name: _in_language(value, language) for name, value in values.items()})


def _filled(language: Language, words: Words, values: dict[str, Value]) -> Html:
    figures = {
        name: f'<bdi class="fig">{escape(_in_language(value, language))}</bdi>' for name, value in values.items()
    }
    return Html(escape(language.of(words)).format(**figures))


def _in_language(value: Value, language: Language) -> str:
    return language.of(value) if isinstance(value, Words) else _plain(value)


def _plain(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"

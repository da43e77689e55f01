"""A text in English and Chinese, the two languages of the product."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """One sentence in the two languages of the product."""

    en: str
    zh: str

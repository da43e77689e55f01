"""The five letters of the tax credit grade 纳税信用等级; the rules that lead to one are in the room ``tax_credit``."""

from __future__ import annotations

from enum import StrEnum


class Grade(StrEnum):
    """Tax credit grade 纳税信用等级 (2025 No. 12, article 16)."""

    A = "A"
    B = "B"
    M = "M"
    C = "C"
    D = "D"

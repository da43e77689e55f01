"""What a regulator publishes of decisions: tables, and the releases that hold them."""

from __future__ import annotations

import msgspec

OTHERS = "others"
"""The row of every category that has no row of its own; which of them occur is not said."""


class TableRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One category, or OTHERS, with the decisions in each column."""

    category: str
    counts: tuple[int, ...]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Decisions by one attribute. columns: outcomes counted together, in the order of each row's counts."""

    attribute: str
    columns: tuple[tuple[str, ...], ...]
    rows: tuple[TableRow, ...]


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Tables of decisions that no other release counts. least_firms: firms that every cell holds at least."""

    number: int
    published_ms: int
    decisions: int
    least_firms: int
    tables: tuple[Table, ...]

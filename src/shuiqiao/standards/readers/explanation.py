"""Says how a source file would be read: its dialect, what its columns mean, its first rows as they would be kept.

Nothing is taken in. What is said here is what ``open_source`` and ``validate_batch`` do, so that nobody has to guess
[STD-46].
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shuiqiao.standards.model import Catalogue, FieldType, RecordType
from shuiqiao.standards.readers.source import open_source
from shuiqiao.standards.validation import validate_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.standards.validation import Issue

SHOWN_ROWS = 5
"""Rows that are shown as they would be kept."""

LOOKED_AT_ROWS = 1_000
"""Rows from the start that are read for it."""

MAX_ISSUES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedColumn:
    """What a column of the source becomes. unit: in which its amounts are written, empty for what is no amount."""

    source: str
    field: str
    name_zh: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a file is read. encoding, separator: of CSV, else empty. header_line: of CSV, else 0.

    rows: the first good ones, as they would be kept. issues: the first of those that would be kept out; row numbers
    count from 1 below the header.
    """

    record_type: str
    layout: str
    form: str
    encoding: str
    separator: str
    header_line: int
    columns: Sequence[ExplainedColumn]
    ignored: Sequence[str]
    rows: Sequence[dict[str, Any]]
    issues: Sequence[Issue]


def explain_source(path: Path, *, record_type: RecordType | None, catalogue: Catalogue) -> Explanation:
    """Return how a file would be read; raises what ``open_source`` and reading its beginning raise.

    ::

        explain_source(Path("invoices.csv"), record_type=None, catalogue=load_catalogue()).separator
    """
    source = open_source(path, record_type=record_type, catalogue=catalogue)
    plan, dialect = source.plan, source.dialect
    batch = next(source.batches(LOOKED_AT_ROWS), None)
    validated = None if batch is None else validate_batch(source.record_type, batch, first_row=1)
    return Explanation(
        record_type=plan.record_type.standard_id,
        layout=plan.layout,
        form=source.form,
        encoding="" if dialect is None else dialect.encoding,
        separator="" if dialect is None else dialect.separator,
        header_line=0 if source.header is None else source.header.line,
        columns=[
            ExplainedColumn(
                source=column.source,
                field=column.field.name,
                name_zh=column.field.name_zh,
                unit=str(column.unit) if column.field.type is FieldType.AMOUNT_FEN else "",
            )
            for column in plan.columns
        ],
        ignored=plan.ignored,
        rows=[] if validated is None else validated.rows.slice(0, SHOWN_ROWS).to_pylist(),
        issues=[] if validated is None else list(validated.issues[:MAX_ISSUES]),
    )

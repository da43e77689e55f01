"""The canonical columns that features read, per record type, with the disclosure group each belongs to.

Only these columns are ever handed to DuckDB. A table without a column of a group (because the consent did not grant
it) is read as if the column were null, and every feature that needs the group comes out null.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.money import MAX_FEN
from shuiqiao.features.model import Need
from shuiqiao.standards.model import Catalogue

MAX_ROWS = 50_000_000
"""Most rows of one record type in one call: about 4 GB of columns, beyond which a portfolio is cut into parts."""

_TYPES: dict[str, pa.DataType] = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DATE": pa.date32(),
    "BOOLEAN": pa.bool_(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputColumn:
    """One column: its canonical name, SQL type and disclosure group."""

    name: str
    sql_type: str
    group: str


def _columns(group: str, **types: str) -> tuple[InputColumn, ...]:
    return tuple(InputColumn(name=name, sql_type=sql_type, group=group) for name, sql_type in types.items())


_INVOICE = (
    *_columns(
        "core",
        uscc="VARCHAR",
        invoice_no="VARCHAR",
        issue_date="DATE",
        status="VARCHAR",
        is_red_letter="BOOLEAN",
    ),
    *_columns("amounts", amount_fen="BIGINT", tax_fen="BIGINT", total_fen="BIGINT"),
    *_columns("counterparty", counterparty_id="VARCHAR"),
)

INPUTS: Mapping[str, tuple[InputColumn, ...]] = {
    "invoice_issued": _INVOICE,
    "invoice_received": _INVOICE,
    "filing": (
        *_columns(
            "core",
            uscc="VARCHAR",
            tax_code="VARCHAR",
            due_on="DATE",
            filed_on="DATE",
            is_void="BOOLEAN",
            void_on="DATE",
        ),
        *_columns("amounts", revenue_fen="BIGINT", tax_payable_fen="BIGINT"),
    ),
    "payment": (
        *_columns("core", uscc="VARCHAR", payment_kind="VARCHAR", due_on="DATE", paid_on="DATE"),
        *_columns("amounts", paid_fen="BIGINT"),
    ),
    "arrears": (
        *_columns("core", uscc="VARCHAR", due_on="DATE", arose_on="DATE", cleared_on="DATE"),
        *_columns("amounts", due_fen="BIGINT", owed_fen="BIGINT"),
    ),
    "violation": _columns(
        "core",
        uscc="VARCHAR",
        violation_kind="VARCHAR",
        registered_on="DATE",
        first_offence_no_penalty="BOOLEAN",
        is_void="BOOLEAN",
    ),
    "tax_credit_grade": _columns("core", uscc="VARCHAR", year="BIGINT", grade="VARCHAR", evaluated_on="DATE"),
    "registration": _columns("core", uscc="VARCHAR", registered_on="DATE", registered_capital_fen="BIGINT"),
}


_SCHEMAS: Mapping[str, pa.Schema] = {
    record_type: pa.schema([(column.name, _TYPES[column.sql_type]) for column in columns])
    for record_type, columns in INPUTS.items()
}


def input_schema(record_type: str) -> pa.Schema:
    """Return the pyarrow schema of the columns read from a record type."""
    return _SCHEMAS[record_type]


_GROUP_COLUMNS: Mapping[Need, frozenset[str]] = {
    Need(record_type=record_type, group=group): frozenset(column.name for column in columns if column.group == group)
    for record_type, columns in INPUTS.items()
    for group in {column.group for column in columns}
}


LEAST_GROUPS = ("core", "amounts")
"""Enough for the scorecard; counterparties' identities and persons stay with the bureau."""


def least_items(catalogue: Catalogue, *, record_types: Collection[str]) -> dict[str, list[str]]:
    """Return standard ids to the least groups that features need, for those of some record types that features read.

    Example::

        items = least_items(load_catalogue(), record_types={"invoice_issued", "filing"})
    """
    return {
        record_type.standard_id: [group.id for group in record_type.groups if group.id in LEAST_GROUPS]
        for record_type in catalogue
        if record_type.id in INPUTS and record_type.id in record_types
    }


def granted_needs(tables: Mapping[str, pa.Table]) -> frozenset[Need]:
    """Return which (record type, group) pairs are fully there, judged by the columns that were handed over."""
    present = {record_type: frozenset(table.column_names) for record_type, table in tables.items()}
    return frozenset(
        need for need, columns in _GROUP_COLUMNS.items() if columns <= present.get(need.record_type, frozenset())
    )


def input_table(record_type: str, table: pa.Table | None) -> pa.Table:
    """Return exactly the declared columns of a record type, nulls for what is absent.

    Raises InvalidInput ``credit.records_too_many`` beyond MAX_ROWS rows, ``credit.core_group_missing`` where the
    taxpayer column is absent, ``credit.column_type_wrong`` where a column cannot be read as its canonical type, and
    ``credit.amount_out_of_range`` for integers beyond ±MAX_FEN.
    """
    schema = input_schema(record_type)
    if table is None:
        return schema.empty_table()
    if table.num_rows > MAX_ROWS:
        raise InvalidInput(
            "credit.records_too_many", f"{table.num_rows} rows of {record_type} where at most {MAX_ROWS} are allowed"
        )
    if "uscc" not in table.column_names:
        raise InvalidInput("credit.core_group_missing", f"the table of {record_type} has no column uscc")
    return pa.table(
        [_bounded(record_type, _column(record_type, table, field), field) for field in schema], schema=schema
    )


def _bounded(record_type: str, column: pa.ChunkedArray | pa.Array, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    """Refuse amounts beyond any national total: sums and squares of the rest cannot overflow."""
    if field.type == pa.int64():
        extremes = pc.call_function("min_max", [column]).as_py()
        if extremes["min"] is not None and max(-extremes["min"], extremes["max"]) > MAX_FEN:
            raise InvalidInput(
                "credit.amount_out_of_range",
                f"{record_type}.{field.name} reaches from {extremes['min']} to {extremes['max']}, beyond ±{MAX_FEN}",
            )
    return column


def _column(record_type: str, table: pa.Table, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    # The index is below zero for a name that stands there twice, too, which must not pass for an absent one.
    if table.schema.get_field_index(field.name) < 0 and field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = table.column(field.name)
    if column.type == field.type:
        return column
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise InvalidInput(
            "credit.column_type_wrong",
            f"{record_type}.{field.name} is {column.type} where {field.type} is expected",
        ) from error

"""The one place that computes features: Ibis expressions compiled once, run by DuckDB over Arrow tables.

One statement serves a whole portfolio and a single applicant, so both get the same numbers. An engine keeps its own
in-memory connection with empty tables of the declared columns and a prepared statement over them; each call fills the
tables, runs the statement and empties them again, so nothing of one call is left for the next.

DuckDB plans a prepared statement again at each run. For a single applicant planning would take longer than the work
itself, so it runs in two steps (facts, then formulas), and small calls go through a second connection to the same
tables with the optimiser off.

Threads: one engine serves one thread at a time, which a lock enforces.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any, Self

import duckdb
import ibis
import numpy as np
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.features.definition import FeatureDefinition
from shuiqiao.credit.features.definitions import FEATURES
from shuiqiao.credit.features.facts import facts_table
from shuiqiao.credit.features.frames import Frame
from shuiqiao.credit.features.inputs import INPUTS, granted_needs, input_table
from shuiqiao.credit.model import Need

MAX_TAXPAYERS = 5_000_000
"""Most taxpayers in one call: about 2 GB of output, beyond which a portfolio is cut into parts."""

FACTS: Mapping[str, tuple[str, Need]] = {
    "tax_paid_12m_fen": ("tax_paid_12m", Need(record_type="payment", group="amounts")),
    "sales_12m_fen": ("sales_amount_12m", Need(record_type="invoice_issued", group="amounts")),
    "arrears_owed_fen": ("arrears_owed", Need(record_type="arrears", group="amounts")),
}
"""Amounts in whole fen that stand beside the features, for limits: column -> (fact, what it needs)."""

_MAX_FACT_FEN = 9 * 10**18

PARTNER_GROUP = "counterparty"
"""The disclosure group that names who an invoice was issued to or received from."""

_SMALL_CALL_RECORDS = 50_000
"""Up to so many records the plan is not optimised: measured break-even on two cores."""


class FeatureEngine:
    """Computes every feature of the catalogue for one taxpayer or for many.

    knows_partners: False for consents that keep counterparties hidden; what is counted over them is then null whatever
    the tables hold, and a call costs less.
    """

    def __init__(self, *, threads: int = 2, knows_partners: bool = True) -> None:
        self._lock = threading.Lock()
        self._connection = duckdb.connect(
            ":memory:", config={"threads": threads, "autoinstall_known_extensions": False}
        )
        self._connection.execute("CREATE TABLE population (uscc VARCHAR, as_of DATE)")
        for record_type, columns in INPUTS.items():
            declared = ", ".join(f"{column.name} {column.sql_type}" for column in columns)
            self._connection.execute(f"CREATE TABLE {record_type} ({declared})")
        self._unoptimised = self._connection.cursor()
        self._unoptimised.execute("PRAGMA disable_optimizer")
        facts_sql, features_sql = compiled_statements(knows_partners=knows_partners)
        self._connection.execute(f"CREATE TABLE facts AS {facts_sql}")
        for connection in (self._connection, self._unoptimised):
            connection.execute(f"PREPARE facts AS INSERT INTO facts {facts_sql}")
            connection.execute(f"PREPARE features AS {features_sql}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._unoptimised.close()
        self._connection.close()

    def compute(self, tables: Mapping[str, pa.Table], *, population: Mapping[str, date]) -> pa.Table:
        """Return one row per taxpayer of the population, in the order of its taxpayer ids.

        tables: record type -> canonical records; types that are absent make their features null. population: taxpayer
        -> day of judgement; nothing dated after it counts. Columns out: uscc, as_of, each feature as float64 (null
        where unknown), and the ``FACTS`` as int64.

        Raises InvalidInput ``credit.population_too_large`` and those of ``inputs.input_table``.
        """
        if len(population) > MAX_TAXPAYERS:
            raise InvalidInput(
                "credit.population_too_large", f"{len(population)} taxpayers where at most {MAX_TAXPAYERS} are allowed"
            )
        ready = {record_type: input_table(record_type, tables.get(record_type)) for record_type in INPUTS}
        with self._lock:
            try:
                self._fill("population", _population_table(population))
                for record_type, table in ready.items():
                    self._fill(record_type, table)
                result = _arrow_table(self._run(records=sum(table.num_rows for table in ready.values())))
            except duckdb.Error as error:
                raise InvalidInput(
                    "credit.records_not_computable", f"the records hold a value beyond all bounds: {str(error)[:200]}"
                ) from error
            finally:
                self._clear()
        return _hide_unknown(result, granted=granted_needs(tables))

    def _run(self, *, records: int) -> dict[str, Any]:
        connection = self._unoptimised if records <= _SMALL_CALL_RECORDS else self._connection
        connection.execute("EXECUTE facts")
        return connection.execute("EXECUTE features").fetchnumpy()

    def _fill(self, name: str, table: pa.Table) -> None:
        if table.num_rows:
            self._connection.register("incoming", table)
            self._connection.table("incoming").insert_into(name)
            self._connection.unregister("incoming")

    def _clear(self) -> None:
        for name in ("population", "facts", *INPUTS):
            self._connection.execute(f"TRUNCATE {name}")


@cache
def compiled_statements(*, knows_partners: bool) -> tuple[str, str]:
    """Return the DuckDB statements of facts and of features; compiling takes seconds, so it is done once a process."""
    wide = facts_table(knows_partners=knows_partners)
    facts: Frame = ibis.table(wide.schema(), name="facts")
    columns = {
        feature.name: feature.expression.cast("float64")
        if knows_partners or not _is_over_partners(feature)
        else ibis.null("float64")
        for feature in FEATURES
    }
    amounts = {
        column: facts[fact].clip(-_MAX_FACT_FEN, _MAX_FACT_FEN).cast("int64") for column, (fact, _) in FACTS.items()
    }
    features = facts.select("uscc", "as_of", **columns, **amounts).order_by("uscc")
    return str(ibis.to_sql(wide, dialect="duckdb")), str(ibis.to_sql(features, dialect="duckdb"))


def _is_over_partners(feature: FeatureDefinition) -> bool:
    return any(need.group == PARTNER_GROUP for need in feature.needs)


def _population_table(population: Mapping[str, date]) -> pa.Table:
    return pa.table(
        {
            "uscc": pa.array(list(population), type=pa.string()),
            "as_of": pa.array(list(population.values()), type=pa.date32()),
        }
    )


def _arrow_table(columns: Mapping[str, Any]) -> pa.Table:
    types = {"uscc": pa.string(), "as_of": pa.date32(), **dict.fromkeys(FACTS, pa.int64())}
    return pa.table(
        {
            name: pa.array(np.ma.getdata(values), mask=np.ma.getmaskarray(values)).cast(types.get(name, pa.float64()))
            for name, values in columns.items()
        }
    )


def _hide_unknown(result: pa.Table, *, granted: frozenset[Need]) -> pa.Table:
    """Put null where a record type or group was not granted: an empty table is a zero, an absent one is unknown."""
    needs = {feature.name: feature.needs for feature in FEATURES} | {
        column: (need,) for column, (_, need) in FACTS.items()
    }
    columns = [
        column if granted.issuperset(needs.get(name, ())) else pa.nulls(result.num_rows, column.type)
        for name, column in zip(result.column_names, result.columns, strict=True)
    ]
    return pa.table(columns, schema=result.schema)


def feature_matrix(table: pa.Table, *, names: tuple[str, ...]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return features as a matrix, taxpayers by names, NaN where unknown."""
    columns = [table.column(name).cast(pa.float64()).to_numpy() for name in names]
    return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))

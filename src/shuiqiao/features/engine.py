"""The one place that computes features: Ibis expressions compiled once, run by DuckDB over Arrow tables.

One statement serves a whole portfolio and a single applicant, so both get the same numbers. An engine keeps its own
in-memory connection with empty tables of the declared columns and prepared statements over them; each call fills the
tables and runs the statements in a transaction that is rolled back, so nothing of one call is left for the next.

For a single applicant the work is in setting up the statement's hundred operators, not in the records. So it holds
nothing that the engine's features do not need, and runs in two steps (facts, then formulas); small calls go through a
second connection to the same tables with the optimiser off, because with it DuckDB plans a prepared statement again at
each run.

Threads: one engine serves one thread at a time, which a lock enforces.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from datetime import date
from functools import lru_cache
from typing import Any, Self

import duckdb
import ibis
import numpy as np
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.features.catalogue import FEATURE_BY_NAME, FEATURES
from shuiqiao.features.facts import Frame, columns_read, every_fact, facts_table
from shuiqiao.features.inputs import INPUTS, granted_needs, input_table
from shuiqiao.features.model import FeatureDefinition, Need

MAX_TAXPAYERS = 5_000_000
"""Most taxpayers in one call: about 2 GB of output, beyond which a portfolio is cut into parts."""

FACTS: Mapping[str, tuple[str, Need]] = {
    "tax_paid_12m_fen": ("tax_paid_12m", Need(record_type="payment", group="amounts")),
    "sales_12m_fen": ("sales_amount_12m", Need(record_type="invoice_issued", group="amounts")),
    "arrears_owed_fen": ("arrears_owed", Need(record_type="arrears", group="amounts")),
}
"""Amounts in whole fen that stand beside the features, for limits: column -> (fact, what it needs)."""

_MAX_FACT_FEN = 9 * 10**18

_SMALL_CALL_RECORDS = 50_000
"""Up to so many records the plan is not optimised: measured break-even on two cores."""


class FeatureEngine:
    """Computes features for one taxpayer or for many.

    Example::

        with FeatureEngine() as engine:
            features = engine.compute({"payment": payments}, population={uscc: today})

    features: names of those to compute, every one of the catalogue by default. A call for one taxpayer costs as much
    as the statement is long, so that an engine for the features of a few scorecards is several times faster.

    Raises InvalidInput ``credit.feature_unknown`` for a name that is not in the catalogue.
    """

    def __init__(self, *, threads: int = 2, features: Collection[str] = tuple(FEATURE_BY_NAME)) -> None:
        facts_sql, features_sql = compiled_statements(feature_definitions(features))
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
        is_small = sum(table.num_rows for table in ready.values()) <= _SMALL_CALL_RECORDS
        with self._lock:
            try:
                result = self._run(
                    {"population": _population_table(population), **ready},
                    connection=self._unoptimised if is_small else self._connection,
                )
            except duckdb.Error as error:
                raise InvalidInput(
                    "credit.records_not_computable", f"the records hold a value beyond all bounds: {str(error)[:200]}"
                ) from error
        return _hide_unknown(_arrow_table(result), granted=granted_needs(tables))

    def _run(self, tables: Mapping[str, pa.Table], *, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
        """Fill the tables and run the statements in a transaction that is never committed."""
        connection.execute("BEGIN")
        try:
            for name, table in tables.items():
                if table.num_rows:
                    connection.register("incoming", table)
                    connection.execute(f"INSERT INTO {name} FROM incoming")
            connection.execute("EXECUTE facts")
            return connection.execute("EXECUTE features").fetchnumpy()
        finally:
            connection.execute("ROLLBACK")
            connection.unregister("incoming")


def feature_definitions(names: Collection[str]) -> tuple[FeatureDefinition, ...]:
    """Return the definitions of features, in the order of the catalogue; raises InvalidInput as ``FeatureEngine``."""
    for name in names:
        if name not in FEATURE_BY_NAME:
            raise InvalidInput("credit.feature_unknown", f"no feature {name[:80]!r} in the catalogue of features")
    return tuple(feature for feature in FEATURES if feature.name in names)


@lru_cache(maxsize=8)
def compiled_statements(features: tuple[FeatureDefinition, ...]) -> tuple[str, str]:
    """Return the DuckDB statements of the facts that features need and of the features; compiling takes a second."""
    wanted = columns_read(_features_table(every_fact(), features=features))
    wide = facts_table(wanted=wanted)
    table = _features_table(ibis.table(wide.schema(), name="facts"), features=features)
    return str(ibis.to_sql(wide, dialect="duckdb")), str(ibis.to_sql(table, dialect="duckdb"))


def _features_table(facts: Frame, *, features: tuple[FeatureDefinition, ...]) -> Frame:
    columns = {feature.name: feature.expression.cast("float64") for feature in features}
    amounts = {
        column: facts[fact].clip(-_MAX_FACT_FEN, _MAX_FACT_FEN).cast("int64") for column, (fact, _) in FACTS.items()
    }
    return facts.select("uscc", "as_of", **columns, **amounts).order_by("uscc")


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
    columns = [_floats(table.column(name)) for name in names]
    return np.column_stack(columns) if columns else np.empty((table.num_rows, 0))


def _floats(column: pa.ChunkedArray) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if column.type != pa.float64():
        column = column.cast(pa.float64())
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = column.to_numpy()
    return values

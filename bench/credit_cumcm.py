"""Measure the credit room on the invoices of 123 real firms; print one JSON object.

Usage: python bench/credit_cumcm.py [--repeats 10] [--seed 20260401]. The data folder comes from SHUIQIAO_DATA (default
../shared/data beside the checkout). The bank's rating and the firms' names are never read. Rows that the vault keeps
out (exact duplicates, amount + tax unlike total) are kept out here too; "with_kept_out_rows" shows what they change.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shuiqiao.credit.scorecard import feature_values
from shuiqiao.credit.training import TrainingData
from shuiqiao.credit.validation import Validation, ValidationSettings, validate
from shuiqiao.features.catalogue import FEATURES
from shuiqiao.features.engine import FeatureEngine

ROOT = Path(__file__).resolve().parent.parent

INVOICES = """
SELECT {distinct} firm_id AS uscc, invoice_no, issue_date, status, is_red_letter,
    CAST(ROUND(amount * 100) AS BIGINT) AS amount_fen, CAST(ROUND(tax * 100) AS BIGINT) AS tax_fen,
    CAST(ROUND(total * 100) AS BIGINT) AS total_fen, {partner} AS counterparty_id
FROM '{path}' WHERE {condition}
"""


def read_invoices(folder: Path, *, keep_out: bool) -> dict[str, pa.Table]:
    """Return both invoice directions in canonical columns, in fen."""
    sources = {"invoice_issued": ("output", "buyer_id"), "invoice_received": ("input", "seller_id")}
    return {
        record_type: duckdb.sql(
            INVOICES.format(
                distinct="DISTINCT" if keep_out else "",
                partner=partner,
                path=folder / "cumcm2020c" / f"{name}_invoices_att1.parquet",
                condition="ABS(ROUND((amount + tax - total) * 100)) = 0" if keep_out else "TRUE",
            )
        ).to_arrow_table()
        for record_type, (name, partner) in sources.items()
    }


def read_outcomes(folder: Path) -> dict[str, bool]:
    """Return which firms defaulted; no other column is read."""
    path = folder / "cumcm2020c" / "enterprises_att1.parquet"
    rows = duckdb.sql(f"SELECT firm_id, defaulted FROM '{path}' ORDER BY firm_id").fetchall()
    return dict(rows)


def training_data(features: pa.Table, *, outcomes: Mapping[str, bool]) -> TrainingData:
    """Return the features that are known of at least one firm, with the outcomes."""
    known = [feature for feature in FEATURES if features.column(feature.name).null_count < features.num_rows]
    return TrainingData(
        names=tuple(feature.name for feature in known),
        directions=tuple(feature.expected for feature in known),
        values=feature_values(features, names=[feature.name for feature in known]),
        bad=np.array([outcomes[firm] for firm in features.column("uscc").to_pylist()]),
    )


def measure(folder: Path, *, keep_out: bool, repeats: int, seed: int) -> tuple[Validation, dict[str, float]]:
    """Compute features and validate; return the validation and the seconds each part took."""
    invoices = read_invoices(folder, keep_out=keep_out)
    outcomes = read_outcomes(folder)
    as_of: date = max(pc.max(table.column("issue_date")).as_py() for table in invoices.values())
    with FeatureEngine() as engine:
        started = time.perf_counter()
        features = engine.compute(invoices, population=dict.fromkeys(outcomes, as_of))
        seconds = {"features_portfolio_s": time.perf_counter() - started}
        seconds |= single_call_seconds(engine, invoices=invoices, firms=list(outcomes), as_of=as_of)
    data = training_data(features, outcomes=outcomes)
    started, started_cpu = time.perf_counter(), time.process_time()
    found = validate(data, settings=ValidationSettings(repeats=repeats), rng=np.random.default_rng(seed))
    seconds |= {"validation_s": time.perf_counter() - started, "validation_cpu_s": time.process_time() - started_cpu}
    return found, seconds | {"features": len(data.names)}


def single_call_seconds(
    engine: FeatureEngine, *, invoices: Mapping[str, pa.Table], firms: list[str], as_of: date
) -> dict[str, float]:
    """Time the call of the decision path on every fourth firm."""
    taken = []
    for firm in firms[::4]:
        records = {name: table.filter(pc.equal(table.column("uscc"), firm)) for name, table in invoices.items()}
        started = time.perf_counter()
        engine.compute(records, population={firm: as_of})
        taken.append(time.perf_counter() - started)
    return {"features_single_p50_s": float(np.median(taken)), "features_single_max_s": max(taken)}


def report(found: Validation) -> dict[str, object]:
    """Return the figures of a validation, rounded."""
    return {
        "auc": round(found.area.auc, 4),
        "auc_ci": [round(found.area.interval.low, 4), round(found.area.interval.high, 4)],
        "baseline_auc": round(found.baseline.auc, 4),
        "baseline_auc_ci": [round(found.baseline.interval.low, 4), round(found.baseline.interval.high, 4)],
        "difference": round(found.comparison.difference, 4),
        "difference_ci": [round(found.comparison.interval_low, 4), round(found.comparison.interval_high, 4)],
        "p_value": round(found.comparison.p_value, 4),
        "fold_auc_mean": round(found.fold_area_mean, 4),
        "fold_auc_sd": round(found.fold_area_sd, 4),
        "ks": round(found.ks, 4),
        "brier": round(found.brier, 4),
        "n": found.n,
        "bad": found.bad,
    }


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--seed", type=int, default=20260401)
    options = parser.parse_args()
    folder = Path(os.environ.get("SHUIQIAO_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "cumcm2020c").is_dir():
        sys.exit(f"the research data is not at {folder}: set SHUIQIAO_DATA to its folder")
    started = time.perf_counter()
    found, seconds = measure(folder, keep_out=True, repeats=options.repeats, seed=options.seed)
    raw, _ = measure(folder, keep_out=False, repeats=options.repeats, seed=options.seed)
    result = report(found) | {
        "feature_use": dict(found.feature_use),
        "calibration": [[band.n, band.bad, round(band.mean_predicted, 4)] for band in found.calibration],
        "with_kept_out_rows": {"auc": round(raw.area.auc, 4), "baseline_auc": round(raw.baseline.auc, 4)},
        **{name: round(value, 4) for name, value in seconds.items()},
        "seconds": round(time.perf_counter() - started, 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Our scorecard beside optbinning with scikit-learn on 1,000 real loans (German credit)."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from shuiqiao.credit.binning import BinningSettings, fit_bins, quantise
from shuiqiao.credit.discrimination import area
from shuiqiao.credit.training import TrainingData, TrainingSettings, stratified_folds, train
from shuiqiao.features.model import Direction

NUMERIC = ("duration_in_month", "credit_amount", "age_in_years", "installment_rate_in_percentage_of_disposable_income")


@pytest.fixture(scope="module")
def loans(data_folder):
    columns = ", ".join(f'"{name}"' for name in NUMERIC)
    path = data_folder / "scorecard" / "german_credit.parquet"
    rows = duckdb.sql(f"SELECT {columns}, creditability FROM '{path}'").fetchall()
    values = np.array([[float(value) for value in row[:-1]] for row in rows])
    return values, np.array([row[-1] == "bad" for row in rows])


@pytest.mark.filterwarnings("ignore")
def test_information_and_order_are_close_to_an_optimal_binning(loans):
    from optbinning import OptimalBinning

    values, bad = loans
    for place, name in enumerate(NUMERIC):
        oracle = OptimalBinning(name=name, dtype="numerical", monotonic_trend="auto_asc_desc", max_n_bins=8)
        oracle.fit(values[:, place], bad.astype(int))
        theirs = area(bad, risk=-oracle.transform(values[:, place], metric="woe"))
        ours = fit_bins(
            name,
            values=quantise(values[:, place]),
            bad=bad,
            direction=Direction.OPEN,
            settings=BinningSettings(bins=10, smoothing=5.0),
        )
        # The oracle picks its cuts to fit these very firms; ours stand at quantiles and are shrunk, which costs a little.
        assert area(bad, risk=-ours.transform(quantise(values[:, place]))) > theirs - 0.03


def test_out_of_fold_it_is_as_good_as_a_plain_logistic_regression(loans):
    values, bad = loans
    data = TrainingData(names=NUMERIC, directions=(Direction.OPEN,) * len(NUMERIC), values=quantise(values), bad=bad)
    numbers = stratified_folds(bad, folds=5, rng=np.random.default_rng(0))
    ours, theirs = np.zeros(bad.size), np.zeros(bad.size)
    settings = TrainingSettings(feature_counts=(4,), penalties=(5.0,), inner_folds=3)
    standard = (values - values.mean(axis=0)) / values.std(axis=0)
    for number in range(5):
        inside, outside = numbers != number, numbers == number
        model = train(data.subset(inside), settings=settings, rng=np.random.default_rng(number))
        ours[outside] = model.log_odds(data.values[outside])
        oracle = LogisticRegression().fit(standard[inside], bad[inside])
        theirs[outside] = oracle.decision_function(standard[outside])
    assert area(bad, risk=ours) > area(bad, risk=theirs) - 0.015

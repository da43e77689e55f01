"""The model card says what a reader must know, in both of its forms."""

from __future__ import annotations

import numpy as np

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.credit.binning import quantise
from shuiqiao.credit.development import train_scorecard
from shuiqiao.credit.model_card import model_card, model_card_markdown
from shuiqiao.credit.training import TrainingData, TrainingSettings
from shuiqiao.credit.validation import BASELINE_FEATURE, ValidationSettings, validate
from shuiqiao.features.model import Direction


def test_a_card_names_data_metrics_bins_and_limits():
    rng = np.random.default_rng(1)
    bad = np.arange(120) < 30
    values = quantise(rng.normal(size=(120, 2)) - bad[:, None])
    data = TrainingData(
        names=(BASELINE_FEATURE, "sales_months_36m"), directions=(Direction.LOWER_RISK,) * 2, values=values, bad=bad
    )
    settings = TrainingSettings(feature_counts=(2,), penalties=(5.0,), inner_folds=3)
    found = validate(data, settings=ValidationSettings(repeats=1, training=settings), rng=rng)
    card = train_scorecard(data, name="demo", settings=settings, rng=rng)
    content = model_card(card, validation=found, data="Made-up firms.", limits=["For tests only."])
    assert (content["n"], content["bad"], content["model"]) == (120, 30, "demo")
    assert content["metrics"]["auc"] == f"{found.area.auc:.4f}"
    assert [feature["name"] for feature in content["features"]] == list(card.feature_names)
    for feature in content["features"]:
        assert sum(entry["n"] for entry in feature["bins"]) == 120
        assert sum(entry["bad"] for entry in feature["bins"]) == 30
    assert content["limits"][-1] == "For tests only."
    assert decode_json(encode_json(content), max_bytes=10**6) == content  # no floating point, so it can be hashed
    text = model_card_markdown(content)
    assert text.startswith("# Model card: demo\n")
    assert f"| auc | {found.area.auc:.4f} |" in text
    assert "近36个月有销售的月数" in text
    assert "- For tests only." in text

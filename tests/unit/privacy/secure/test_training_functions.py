"""The texts that all three parties write: each stays what it is, and depends on every number of it."""

from __future__ import annotations

import pytest

from shuiqiao.privacy.secure.training_functions import (
    bucket_counts,
    logistic_score,
    logistic_step,
    merged_counts,
    tree_gradients,
    tree_leaves,
    tree_level,
)

LEVEL = {"rows": 9, "trained": 6, "bank": 3, "bureau": 2, "nodes": 2, "penalty": 1, "least": 2}
FUNCTIONS = {
    "logistic_step": logistic_step(rows=8, bank=3, bureau=2, rate=0.5),
    "logistic_score": logistic_score(rows=8, bank=3, bureau=2),
    "tree_gradients": tree_gradients(rows=9, trained=6),
    "tree_level": tree_level(**LEVEL),
    "tree_leaves": tree_leaves(rows=9, trained=6, leaves=4, rate=0.3, penalty=1),
    "bucket_counts": bucket_counts(rows=9, first=6, edges=(-1.0, 0.0, 1.0), least=2),
    "merged_counts": merged_counts(groups=[0, 0, 1]),
}
DIGESTS = {
    "logistic_step": "bf46512785216507",
    "logistic_score": "aff8d13dca7f126c",
    "tree_gradients": "61bded1a5b7a8ab5",
    "tree_level": "e6a89b878efcdd2e",
    "tree_leaves": "e951bf7c1985afc4",
    "bucket_counts": "686fec60aee4b55e",
    "merged_counts": "12b0b5b5e7191aae",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_the_same_text_everywhere(name):
    """[TRAIN-6] A change of a text is a change of what other members have to run too."""
    assert FUNCTIONS[name].digest.hex()[:16] == DIGESTS[name]


@pytest.mark.parametrize("number", LEVEL)
def test_each_number_is_in_the_text(number):
    assert tree_level(**{**LEVEL, number: LEVEL[number] + 1}).digest != FUNCTIONS["tree_level"].digest

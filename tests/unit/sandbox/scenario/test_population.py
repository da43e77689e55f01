"""What a run is played on: synthetic records, with a late export that holds what must be kept out."""

from __future__ import annotations

import csv

from shuiqiao.sandbox.scenario.population import synthetic_data
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers.source import open_source
from shuiqiao.standards.validation import validate_batch


def test_the_late_export_has_rows_that_are_known_and_rows_that_break_a_rule(tmp_path):
    data = synthetic_data(tmp_path / "data", taxpayers=52, seed=3)
    *_, late = data.population.record_files
    assert (late.record_type, late.path.name) == ("tax_credit_grade", "tax_credit_grade_late.csv")
    source = open_source(late.path, record_type=None, catalogue=load_catalogue())
    assert source.record_type.id == "tax_credit_grade"
    rules, good = set(), 0
    for batch in source.batches(100):
        validated = validate_batch(source.record_type, batch, first_row=1)
        rules |= {issue.rule for issue in validated.issues}
        good += validated.rows.num_rows
    assert good == 2
    assert len(rules) == 3
    with late.path.open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5

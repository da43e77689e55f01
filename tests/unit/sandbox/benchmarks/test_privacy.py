from __future__ import annotations

from shuiqiao.sandbox.benchmarks.privacy import run_privacy_bench


def test_the_figures_of_privacy_are_of_both_suites() -> None:
    figures = run_privacy_bench(accounts=50)
    found = figures["sdjwt_verify_ms"]
    assert isinstance(found, dict)
    assert sorted(found) == ["gm", "intl"]
    assert all(milliseconds > 0 for milliseconds in found.values())
    assert figures["accounts"] == 50
    assert all(figures[name] > 0 for name in ("account_checks_per_s", "run_at_source_ms"))

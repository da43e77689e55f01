from __future__ import annotations

from shuiqiao.sandbox.benchmarks.privacy import run_privacy_bench


def test_the_figures_of_privacy_are_of_both_suites() -> None:
    figures = run_privacy_bench()
    found = figures["sdjwt_verify_ms"]
    assert isinstance(found, dict)
    assert sorted(found) == ["gm", "intl"]
    assert all(milliseconds > 0 for milliseconds in found.values())

from __future__ import annotations

from shuiqiao.sandbox.benchmarks.privacy import run_privacy_bench


def test_the_figures_of_privacy_are_of_both_suites() -> None:
    figures = run_privacy_bench(accounts=50)
    by_suite = [
        figures[name]
        for name in (
            "sdjwt_verify_ms",
            "account_checks_per_s",
            "account_checks_committed_per_s",
            "bare_commits_per_s",
        )
    ]
    for found in by_suite:
        assert isinstance(found, dict)
        assert sorted(found) == ["gm", "intl"]
        assert all(figure > 0 for figure in found.values())
    assert figures["accounts"] == 50
    assert figures["run_at_source_ms"] > 0

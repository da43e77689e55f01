"""The bench of servers at its smallest: every figure that is measured is there, and nothing else is."""

from __future__ import annotations

from shuiqiao.sandbox.benchmarks.api import ApiBench, run_api_bench


def test_the_bench_measures_what_it_says():
    figures = run_api_bench(ApiBench(suite="intl", missed=100, readers=3, seconds=1))
    assert list(figures) == [
        "suite",
        "engine",
        "servers",
        "decision_ms",
        "grant_ms",
        "read_ms",
        "idle_rss_mb",
        "follower_tx_per_s",
        "follower_ratio",
        "rss_growth_mb_30min",
    ]
    assert (figures["suite"], figures["engine"], figures["servers"]) == ("intl", "embedded", 5)
    assert figures["follower_ratio"] > 0
    assert figures["read_ms"]["p95"] > 0

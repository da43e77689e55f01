from __future__ import annotations

from importlib.util import find_spec

from shuiqiao.sandbox.benchmarks.privacy import run_privacy_bench


def test_the_figures_of_privacy_are_of_both_suites() -> None:
    figures = run_privacy_bench(accounts=50, rows=5_000)
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
    assert figures["one_applicant_ms"]["at_source"] > 0
    # Two round trips of a socket's beginning are not counted, the one of question and answer is.
    delayed, sizes = figures["with_20ms_delay"], figures["bytes"]
    assert delayed["at_source_ms"] > 20
    assert sizes["at_source_sent"] > 100
    assert sizes["at_source_came"] < sizes["blind_came"]
    assert min(sizes["prove_came"], sizes["predicates_came"]) > 1_000
    memory = figures["memory_mb"]
    assert {mode: sorted(memory[mode]) for mode in ("at_source", "prove", "blind", "predicates")} == {
        "at_source": ["bureau"],
        "prove": ["bank"],
        "blind": ["bank", "bureau"],
        "predicates": ["bank_and_holder"],
    }
    assert all(held > 10 for mode in ("at_source", "prove", "blind", "predicates") for held in memory[mode].values())
    assert figures["anoncreds_three_ms"] > 0
    assert 10_000 < figures["anoncreds_bytes"] < 131_072
    if find_spec("spu"):
        one, delayed = figures["one_applicant_ms"], figures["with_20ms_delay"]
        assert one["secure"] > 0
        assert one["secure_bare"] > 0
        # Twenty round trips, none of them for nothing.
        assert delayed["secure_ms"] > 20
        assert figures["rows_100k"]["secure_s"] > 0
        assert figures["psi_100k_s"] > 0
        assert figures["psi_100k_bare_s"] > 0
        assert figures["train_30k"]["aby3_s_per_epoch"] > 0
        assert figures["train_30k"]["bare_s_per_epoch"] > 0
        assert figures["bytes"]["secure_sent"] > 0 < figures["bytes"]["secure_came"]
        assert sorted(figures["memory_mb"]["rows_100k"]) == ["bank", "bureau"]

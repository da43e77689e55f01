"""Measure the ledger in both suites and print one JSON object for each: python bench/ledger.py [TRANSACTIONS]."""

from __future__ import annotations

import json
import sys

from shuiqiao.sandbox.benchmarks.ledger import DEFAULT_TRANSACTIONS, run_ledger_bench


def main() -> None:
    """Run both suites."""
    transactions = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_TRANSACTIONS
    for suite in ("intl", "gm"):
        print(json.dumps(run_ledger_bench(suite=suite, transactions=transactions)))


if __name__ == "__main__":
    main()

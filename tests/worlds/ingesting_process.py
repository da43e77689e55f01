"""A node at work in a process of its own: takes invoices in, round after round, and says on standard output how far.

Usage: ingesting_process.py HOME FOLDER ROUNDS. Each line is the number of rounds that were acknowledged.
"""

from __future__ import annotations

import sys
from pathlib import Path

import consortium_world as worlds
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from standards_world import write_csv

ROWS_A_ROUND = 24


def main(home: Path, folder: Path, rounds: int) -> None:
    """Ingest new invoices round after round."""
    with Institution.open(Home(home)) as bureau:
        record_type = bureau.catalogue.get("invoice_issued")
        print("open", flush=True)  # noqa: T201 - this is the pipe to the test
        for number in range(rounds):
            rows = [
                {**row, "invoice_no": f"{25_000_000_000_000_000_000 + number * ROWS_A_ROUND + at:020d}"}
                for at, row in enumerate(worlds.invoice_rows())
            ]
            path = write_csv(folder / f"round-{number}.csv", rows)
            report = bureau.vault.ingest([path], anchor=bureau.outbox, record_type=record_type)
            assert report.records_ingested == ROWS_A_ROUND
            print(number + 1, flush=True)  # noqa: T201 - this is the pipe to the test


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

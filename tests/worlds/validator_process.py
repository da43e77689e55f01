"""The process that holds one validator's ledger, to be killed: see ``consensus_world.ValidatorProcess``.

Usage: validator_process.py FOLDER MEMBER ABCI RPC GENESIS_MS. Each line on standard input is answered with a line of
JSON that says where the ledger stands; it ends with its input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(folder: str, member: str, comet: str, genesis_ms: str) -> None:
    # Imported here, for the world imports this module too.
    from consensus_world import Roster

    ledger = Roster(genesis_ms=int(genesis_ms)).open_ledger(Path(folder), member, comet=Path(comet))
    print(json.dumps({"open": member}), flush=True)  # noqa: T201 - this is the pipe to the test
    for _ in sys.stdin:
        app_state = ledger.application.app_state
        head, _view = app_state.copy.view()
        standing = {"height": app_state.height, "blocks": head.height, "app_hash": app_state.app_hash.hex()}
        print(json.dumps(standing), flush=True)  # noqa: T201
    ledger.close()


if __name__ == "__main__":
    main(*sys.argv[1:])

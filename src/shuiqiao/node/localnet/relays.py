"""Stands between the validators of a network on one machine, so that they can be cut apart.

Started by ``network`` as ``python -m shuiqiao.node.localnet.relays NET``, for all relays of a network; it runs until it
is asked to end (SIGTERM). What it has to say of an end for a reason is the last line of its log.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.files import owner_only
from shuiqiao.base.visible import visible_line
from shuiqiao.ledger.engine.cometbft.comet.localnet import RelayBoard
from shuiqiao.node.localnet.plan import RELAYS, NetworkFolder, load_plan
from shuiqiao.node.localnet.process import ControlServer


@owner_only()
def main(arguments: list[str]) -> int:
    """Run the relays of a network to their end and return the exit code."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: ended.set())
    try:
        run_relays(NetworkFolder(Path(*arguments)), ended=ended)
    except (ShuiqiaoError, OSError) as error:
        sys.stderr.write(f"ended: {visible_line(str(error))}\n")
        return 1
    return 0


def run_relays(folder: NetworkFolder, *, ended: threading.Event) -> None:
    """Relay between validators, and cut them apart when asked; raises what ``load_plan`` raises."""
    with closing(RelayBoard(load_plan(folder).mesh)) as board:
        with ControlServer(folder.control(RELAYS), answer=partial(answer, board, folder)):
            ended.wait()


def answer(board: RelayBoard, folder: NetworkFolder, question: Mapping[str, Any]) -> dict[str, Any]:
    """Do what is asked and tell what is cut: ``cut`` members off, ``heal`` all, ``reload`` the plan, or nothing."""
    match question.get("act"):
        case "cut":
            board.cut(question.get("members", ()))
        case "heal":
            board.heal()
        case "reload":
            board.listen(load_plan(folder).mesh)
        case _:
            # Only the question what is cut.
            pass
    return {"cut": board.pairs_cut}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A bank that dies at a chosen moment of processing an application, and is opened again: each life is a process.

Usage: crashing_bank.py FOLDER SUITE STRIDE MODE [POSTGRESQL], MODE being disclose or score, and the last the URL of a server at
which the bank has its database, without the name of one; left out, that is in its home. It makes a world once, lets a bank process one application in a copy of it, counting
the moments at which something becomes durable, then in a copy for every STRIDE-th of these dies there, opens the homes again,
and takes the application to its end. It writes one JSON line for each copy: what the ledger and the file hold then.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, text

import consortium_world as worlds
from postgresql_world import databases_of
from scored_loans import ScoredWorld
from shuiqiao.lending.model import Outcome, Product
from shuiqiao.lending.processing import ApplicationProcess
from shuiqiao.lending.review import propose_decision
from shuiqiao.lending.store import LendingStore
from shuiqiao.node.home.settings import Home
from shuiqiao.oversight.openings import indexed_transactions
from shuiqiao.sandbox.scenario.consortium import LEAD_BANK

DIED = 9

REFERRED_BASE = 540
"""Of the card of risk, by which the firm is referred to persons."""


class Moments:
    """Counts the moments at which a bank makes something durable, and ends the process at one of them."""

    def __init__(self, bank: Any, *, dies_at: int | None) -> None:
        self.count = 0
        self._dies_at = dies_at
        event.listen(bank.database, "commit", lambda _connection: self._pass())
        self._submit = bank.engine.submit
        bank.engine.submit = self._submitted

    def _submitted(self, raw: bytes) -> Any:
        self._pass()
        future = self._submit(raw)
        future.result()
        self._pass()
        return future

    def _pass(self) -> None:
        if self.count == self._dies_at:
            os._exit(DIED)
        self.count += 1


def life(act: Callable[[], dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    """Do an act in a process of its own; return how it ended and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        status = 1
        try:
            said = json.dumps(act()).encode()
            os.write(writing, said)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(said or b"{}")


class BankDatabases:
    """The bank's database beside each copy of the homes; nothing where it is in them."""

    def __init__(self, server: str) -> None:
        self._server = server

    def url_of(self, home: Home) -> str | None:
        """Where a home's database is; None for the home itself."""
        is_away = self._server and home.folder.name == LEAD_BANK
        return self._named(home.folder.parents[1].name) if is_away else None

    def make(self, name: str, *, like: str = "template0") -> None:
        """Make one."""
        self._do(f"CREATE DATABASE {name} TEMPLATE {like}")

    def remove(self, name: str) -> None:
        """Remove one, whoever died with a connection to it."""
        self._do(f"DROP DATABASE {name} WITH (FORCE)")

    def _named(self, name: str) -> str:
        return self._server.replace("/?", f"/{name}?")

    def _do(self, words: str) -> None:
        if self._server:
            engine = create_engine(self._named("postgres"), isolation_level="AUTOCOMMIT")
            with engine.connect() as connection:
                connection.execute(text(words))
            engine.dispose()


def prepare(folder: Path, suite: str, mode: str) -> dict[str, Any]:
    """Make the homes, the records and a consent."""
    if mode == "score":
        scored = ScoredWorld(folder, suite, base=REFERRED_BASE)
        consent = scored.scored_consent()
        scored.close()
        return {"consent": consent}
    world = worlds.ConsortiumWorld(folder, suite)
    consent = world.consent()
    world.close()
    return {"consent": consent}


def process(folder: Path, suite: str, mode: str, consent: str, dies_at: int | None) -> dict[str, Any]:
    """Apply where that was not done, and go on until the file ends, two persons deciding on the way."""
    if mode == "score":
        scored = ScoredWorld(folder, suite)
        return go_on(scored, consent, dies_at, product=scored.loan, steps=scored.around())
    world = worlds.ConsortiumWorld(folder, suite)
    with world.assessor(points=worlds.REFERRED_POINTS) as assessor:
        return go_on(world, consent, dies_at, product=worlds.INVOICE_LOAN, steps=world.process(assessor))


def go_on(
    world: Any, consent: str, dies_at: int | None, *, product: Product, steps: ApplicationProcess
) -> dict[str, Any]:
    """Take the one application from where it stands to its end, or to the moment of death."""
    moments, store = Moments(world.bank, dies_at=dies_at), LendingStore(world.bank.database, cipher=world.bank.cipher)
    if not store.applications():
        world.applied(consent, product=product)
    (row,) = store.applications()
    file = steps.process(row.application.id).file
    if file.status == "referred" and file.review is None:
        proposal = propose_decision(
            file, product=product, outcome=Outcome.APPROVED, reason="seen", limit_fen=20_000_000
        )
        world.bank.lending.review(row.application.id, proposal, product=product, maker="li", checker="wu")
        steps.process(row.application.id)
    count = moments.count
    return {"moments": count, **found(world, row.application.id)}


def found(world: Any, application: bytes) -> dict[str, Any]:
    """What the ledger, the bank's file and the regulator hold in the end."""
    file = LendingStore(world.bank.database, cipher=world.bank.cipher).file(application)
    world.bank.outbox.flush()
    transactions = [(index, tx) for index, tx in indexed_transactions(world.bureau.engine, kinds=world.bureau.kinds)]
    opened = world.regulator.opened_decisions()
    entries = {str(entry.step): entry.entry_index for entry in file.timeline if entry.entry_index is not None}
    kinds = {index: tx.kind for index, tx in transactions}
    return {
        "kinds": Counter(tx.kind for _, tx in transactions),
        "entries": {step: kinds[index] for step, index in entries.items()},
        "steps": [str(entry.step) for entry in file.timeline if not entry.code],
        "failures": [entry.code for entry in file.timeline if entry.code],
        "status": str(file.status),
        "outbox": len(world.bank.outbox.rows()),
        "openings": [opening.amount_fen for opening in opened.decisions],
        "problems": [problem.text for problem in opened.problems],
    }


def main(folder: Path, suite: str, stride: int, mode: str, databases: BankDatabases) -> None:
    """Tell what every copy came to."""
    base = folder / "base"
    databases.make("base")
    status, prepared = life(lambda: prepare(base, suite, mode))
    assert status == 0
    consent = prepared["consent"]
    moments = 1
    for dies_at in (None, *range(0, 1_000, stride)):
        if dies_at is not None and dies_at >= moments:
            break
        copy = folder / "copy"
        shutil.copytree(base, copy)
        databases.make("copy", like="base")
        ended, said = life(partial(process, copy, suite, mode, consent, dies_at))
        if dies_at is None:
            moments = said["moments"]
        else:
            assert ended == DIED, (dies_at, ended)
            _, said = life(partial(process, copy, suite, mode, consent, None))
        print(json.dumps({"dies_at": dies_at, **said}), flush=True)  # noqa: T201 - this is the pipe to the test
        shutil.rmtree(copy)
        databases.remove("copy")


if __name__ == "__main__":
    away = BankDatabases((sys.argv[5:] or [""])[0])
    with databases_of(away.url_of):
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4], away)

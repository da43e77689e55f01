"""Which records that were given to banks, or received, were amended or erased since: by a home's files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.exchange.modes.built import answer_modes
from shuiqiao.exchange.provider import delivered_changes
from shuiqiao.exchange.recipient import received_changes
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.ledger.clock_check import latest_ms
from shuiqiao.members.model import Role
from shuiqiao.node.home.settings import require_role
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault.contract import LedgerLeaves

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.exchange.changes import ChangedRecord
    from shuiqiao.node.home_reader import HomeReader


def changed_records_at(reader: HomeReader, *, now_ms: int) -> list[ChangedRecord]:
    """Return the records given to banks, or at a bank those received, that were amended or erased since [EXCHANGE-21].

    What a bank may keep no longer is not shown; the next act destroys it [EXCHANGE-15], for here nothing is written.
    Raises Denied ``node.role_wrong`` at a regulator's home.
    """
    with reader.database() as database:
        if reader.settings.role is Role.BANK:
            return _received(reader, database, now_ms=now_ms)
        require_role(reader.settings, Role.TAX_BUREAU)
        status_of = LedgerLeaves(reader.engine.state(), reader.member)
        return [*delivered_changes(ProviderStore(database, cipher=reader.cipher(database)), status_of=status_of)]


def _received(reader: HomeReader, database: Engine, *, now_ms: int) -> list[ChangedRecord]:
    state, cipher = reader.engine.state(), reader.cipher(database)
    until_ms = latest_ms(now_ms=now_ms, block_ms=reader.engine.last_block()[1])
    kept = RecipientStore(database, cipher=cipher).places(after_ms=until_ms)
    modes = answer_modes(suite=reader.suite, catalogue=load_catalogue())
    network = reader.parameters.network
    return [*received_changes(kept, state=lambda: state, modes=modes, network=network, suite=reader.suite)]

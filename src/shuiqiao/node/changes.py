"""Which records that were given or received were amended or erased since, told at a home that is only looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.consent.service import filed_artefact
from shuiqiao.consent.store import ConsentStore
from shuiqiao.consent.store import metadata as consent_tables
from shuiqiao.exchange.provider import delivered_changes
from shuiqiao.exchange.recipient import received_changes
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.exchange.store import metadata as exchange_tables
from shuiqiao.ledger.clock_check import latest_ms
from shuiqiao.members.model import Role
from shuiqiao.node.home.agreement import require_role
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault.contract import leaf_lookup

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.base.ids import OwnedId
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.exchange.changes import ChangedRecord
    from shuiqiao.node.looking import Look


def changed_records_at(look: Look, *, now_ms: int) -> list[ChangedRecord]:
    """Return the records given to banks, or at a bank those received, that were amended or erased since [EXCHANGE-21].

    What a bank may keep no longer is not shown; the next act destroys it [EXCHANGE-15], for here nothing is written.
    Raises Denied ``node.role_wrong`` at a regulator's home.
    """
    with look.database(consent_tables, exchange_tables) as database:
        if look.settings.role is Role.BANK:
            return _received(look, database, now_ms=now_ms)
        require_role(look.settings, Role.TAX_BUREAU)
        status_of = leaf_lookup(look.engine.state(), look.member)
        return [*delivered_changes(ProviderStore(database), status_of=status_of)]


def _received(look: Look, database: Engine, *, now_ms: int) -> list[ChangedRecord]:
    state, consents = look.engine.state(), ConsentStore(database)

    def artefact_of(consent: OwnedId) -> ConsentArtefact:
        return filed_artefact(consents, consent, state=state, network=look.parameters.network, suite=look.suite)

    until_ms = latest_ms(now_ms=now_ms, block_ms=look.engine.last_block()[1])
    kept = RecipientStore(database).all_received(after_ms=until_ms)
    return [*received_changes(kept, artefact_of=artefact_of, state=lambda: state, catalogue=load_catalogue())]

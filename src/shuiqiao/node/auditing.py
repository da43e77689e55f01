"""An institution audits itself, or a regulator audits the network on its own copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import Unavailable
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.lending.store import OpeningStore
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import Role
from shuiqiao.node.home.keys import find_passphrase, load_keys
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.oversight.audit import AuditReport, audit_ledger
from shuiqiao.oversight.openings import OpenedDecisions, open_decisions
from shuiqiao.oversight.record_rules import RecordRulesReport, check_record_rules

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.crypto.model import SigningKey
    from shuiqiao.ledger.model import LedgerEngine
    from shuiqiao.ledger.transactions.kinds import KindTable
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.institution import Institution


def audit_home(reader: HomeReader, *, clock: Clock, entropy: Entropy) -> AuditReport:
    """Audit a home by reading it: no private key of its member is needed, and nothing is written.

    E.g. ``audit_home(reader, clock=SystemClock(), entropy=system_entropy).problems``.

    A regulator's home holds what was sealed to it: that is opened where its keys are at hand. The acts that must be
    refused are tried with a key made for this: a kind that no network knows is refused, no matter which member signs
    it.
    """
    kinds = network_kinds()
    opened, unopened = _openings_of(reader, kinds)
    key = reader.suite.signing_key_from_seed(entropy(SEED_BYTES))
    with reader.vault() as vault:
        return audit_ledger(
            reader.engine,
            kinds=kinds,
            key_ring=MemberKeyRing(),
            vault=vault,
            vault_owner=reader.member,
            opened=opened,
            unopened=unopened,
            record_rules=_record_rules(reader, kinds, key=key, clock=clock, entropy=entropy),
            folder=reader.home.ledger,
            now_ms=clock.now_ms(),
        )


def _record_rules(
    source: HomeReader | Institution, kinds: KindTable, *, key: SigningKey, clock: Clock, entropy: Entropy
) -> RecordRulesReport:
    """Walk every kind, and try a mint, a transfer and a fee in this member's name on its own engine."""
    return check_record_rules(
        source.engine,
        kinds=kinds,
        suite=source.suite,
        member=source.member,
        key=key,
        valid_until_ms=clock.now_ms() + MS_PER_HOUR,
        entropy=entropy,
    )


def _openings_of(reader: HomeReader, kinds: KindTable) -> tuple[OpenedDecisions | None, str]:
    """Return what was sealed to a regulator, opened; or why it cannot be."""
    if reader.settings.role is not Role.REGULATOR:
        return None, ""
    try:
        key = load_keys(reader.home, passphrase=find_passphrase(reader.home)).sealing
        with reader.database() as database:
            openings = OpeningStore(database).all()
        return open_decisions(reader.engine, kinds=kinds, regulator=reader.member, key=key, openings=openings), ""
    except Unavailable as error:
        return None, error.message


def audit_institution(
    institution: Institution,
    *,
    visited: Institution | None = None,
    live: LedgerEngine | None = None,
) -> AuditReport:
    """Audit on this member's copy of the ledger, and what only this member has.

    E.g. ``audit_institution(regulator, visited=bureau, live=bureau.engine).root_matches``.

    visited: the bureau on whose premises the audit is made, whose records are then checked against its anchors; a
    bureau checks its own. A regulator opens what was sealed to it.
    """
    around = institution.dependencies
    own = visited or (institution if institution.settings.role is Role.TAX_BUREAU else None)
    return audit_ledger(
        institution.engine,
        kinds=institution.kinds,
        key_ring=MemberKeyRing(),
        vault=None if own is None else own.vault,
        opened=institution.opened_decisions() if institution.settings.role is Role.REGULATOR else None,
        vault_owner=(own or institution).member,
        record_rules=_record_rules(
            institution, institution.kinds, key=institution.keys.signing, clock=around.clock, entropy=around.entropy
        ),
        live=live,
        folder=institution.home.ledger,
        now_ms=around.clock.now_ms(),
    )

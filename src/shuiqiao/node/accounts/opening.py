"""Opens the accounts of a home: with its institution at work, or alone, to manage users or read the journal.

A server opens them with its institution (``InstitutionAccounts``). Commands about users need the database and its data
key and no ledger, so they work beside a running server (``open_accounts``).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shuiqiao.base.clock import Clock, SystemClock
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, system_entropy
from shuiqiao.consent.login import CONSENT_CLAIM, TAXPAYER_CLAIM
from shuiqiao.consent.model import grant_key
from shuiqiao.consent.store import ConsentStore
from shuiqiao.crypto.keyfile import PassphraseCost
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.model import Role
from shuiqiao.node.accounts.approvals.acts import institution_acts
from shuiqiao.node.accounts.approvals.service import ApprovalService
from shuiqiao.node.accounts.approvals.store import ApprovalStore
from shuiqiao.node.accounts.challenges import Challenges
from shuiqiao.node.accounts.journal.service import Journal
from shuiqiao.node.accounts.passwords import PASSWORD_COST, PasswordHashing
from shuiqiao.node.accounts.service import AccountService
from shuiqiao.node.accounts.store import AccountStore
from shuiqiao.node.home.data_key import DataKey
from shuiqiao.node.home.database import open_database
from shuiqiao.node.home.keys import find_passphrase
from shuiqiao.node.home.settings import Home, database_of, load_settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.node.home.settings import NodeSettings
    from shuiqiao.node.institution import Institution


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeAccounts:
    """The accounts of a home and its journal, without its ledger."""

    member: MemberId
    service: AccountService
    journal: Journal


@contextmanager
def open_accounts(
    home: Home,
    *,
    passphrase: Callable[[], bytes] | None = None,
    clock: Clock | None = None,
    cost: PassphraseCost = PASSWORD_COST,
) -> Generator[HomeAccounts]:
    """Open a home's accounts, whether its server runs or not.

    passphrase: None finds it where it lies. cost: of a password's hash. Raises what ``load_settings``,
    ``open_database`` and ``DataKey.cipher`` raise::

        with open_accounts(Home(Path("my-bank"))) as accounts:
            password = accounts.service.add_first_user("chen.wei")
    """
    settings = load_settings(home)
    key = DataKey(
        home,
        suite=settings.suite,
        passphrase=passphrase or partial(find_passphrase, home),
        entropy=system_entropy,
    )
    database = open_database(database_of(home), data_key=key)
    try:
        yield _accounts(
            settings,
            database,
            cipher=key.cipher(database),
            clock=clock or SystemClock(),
            entropy=system_entropy,
            cost=cost,
        )
    finally:
        database.dispose()


def _accounts(
    settings: NodeSettings,
    database: Engine,
    *,
    cipher: ColumnCipher,
    clock: Clock,
    entropy: Entropy,
    cost: PassphraseCost,
) -> HomeAccounts:
    hash_name = get_suite(settings.suite).hash_name
    journal = Journal(database, cipher=cipher, hash_name=hash_name, clock=clock, entropy=entropy)
    service = AccountService(
        AccountStore(database, cipher=cipher),
        journal=journal,
        hashing=PasswordHashing(entropy=entropy, cost=cost),
        clock=clock,
        entropy=entropy,
        member=MemberId(settings.member),
        role=settings.role,
    )
    return HomeAccounts(member=MemberId(settings.member), service=service, journal=journal)


class InstitutionAccounts:
    """What a server has of accounts: who calls, what two people do, the journal, and enterprises at its door.

    ::

        accounts = InstitutionAccounts(institution)
        accounts.approvals.resume()
        principal = accounts.service.authenticate(token)
    """

    def __init__(
        self,
        institution: Institution,
        *,
        cost: PassphraseCost = PASSWORD_COST,
    ) -> None:
        """One for each institution that is open, so that an approved act is carried out by one thread at a time."""
        clock, entropy = institution.dependencies.clock, institution.dependencies.entropy
        parts = _accounts(
            institution.settings,
            institution.database,
            cipher=institution.cipher,
            clock=clock,
            entropy=entropy,
            cost=cost,
        )
        self.service = parts.service
        self.journal = parts.journal
        self.approvals = ApprovalService(
            ApprovalStore(institution.database, cipher=institution.cipher),
            journal=parts.journal,
            acts=institution_acts(institution),
            clock=clock,
            entropy=entropy,
            hash_name=institution.suite.hash_name,
            height=lambda: institution.engine.last_block()[0],
            name_of=AccountStore(institution.database, cipher=institution.cipher).name_of,
            permissions_of=self.service.permissions_of_account,
        )
        self.challenges = Challenges(
            LedgerEnterpriseKeys(institution),
            institution=institution.member,
            network=institution.parameters.network,
            suite=institution.suite,
            clock=clock,
            entropy=entropy,
        )


def require_no_users(institution: Institution, act: str) -> None:
    """Return if nobody has an account here, so that the owner of the home acts alone; else two people do.

    Raises Denied ``node.two_people_needed``. act: the words of the command that proposes it.
    """
    if AccountStore(institution.database, cipher=institution.cipher).count_users():
        raise Denied(
            "node.two_people_needed",
            f"{institution.member} has users: one person proposes this and another approves it",
            next_step=f"shuiqiao approvals propose {act}",
        )


class LedgerEnterpriseKeys:
    """The keys by which enterprises are known: at a bureau those of enrolments, at a bank those of consents to it."""

    def __init__(self, institution: Institution) -> None:
        self._institution = institution
        self._enrolments = ConsentStore(institution.database, cipher=institution.cipher)

    def key_of(self, claim: str) -> bytes | None:
        """Return the raw public key that proves a claim here, None for one that nobody can prove."""
        role = self._institution.settings.role
        if role is Role.TAX_BUREAU and claim.startswith(TAXPAYER_CLAIM):
            enrolment = self._enrolments.enrolment(claim.removeprefix(TAXPAYER_CLAIM))
            return None if enrolment is None else enrolment.enrolment_key
        if role is Role.BANK and claim.startswith(CONSENT_CLAIM):
            grant = self._institution.engine.state().get(grant_key(OwnedId(claim.removeprefix(CONSENT_CLAIM))))
            if grant is not None and grant["recipient"] == self._institution.member:
                return bytes(grant["key"])
        return None

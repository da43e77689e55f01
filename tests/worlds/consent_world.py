"""A network in one process: a bureau, two banks and a regulator on a real embedded ledger, with enterprises beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event

from counted_work import require_all_counted
from shuiqiao.base.clock import MS_PER_DAY, ManualClock
from shuiqiao.base.ids import MemberId, OwnedId, Uscc, owned_id, system_entropy
from shuiqiao.consent import contract as consent_contract
from shuiqiao.consent import store as consent_store
from shuiqiao.consent.enterprise import ConsentTerms, Enterprise, EnterpriseKeys
from shuiqiao.consent.model import (
    Frequency,
    FrequencyUnit,
    Grant,
    IdentityCheck,
    Mode,
    Purpose,
)
from shuiqiao.consent.service import ConsentFile, ConsentService, find_grant
from shuiqiao.crypto.column_cipher import ColumnCipher
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange import contract as exchange_contract
from shuiqiao.exchange import store as exchange_store
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members import contract as members_contract
from shuiqiao.members.genesis import encode_genesis, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import Genesis, Role
from shuiqiao.members.roster import Registration
from shuiqiao.models import contract as models_contract
from shuiqiao.privacy import store as privacy_store
from shuiqiao.privacy.credentials import contract as privacy_contract
from shuiqiao.privacy.model import Charge, Revealed
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault import contract as vault_contract

GENESIS_MS = 1_775_001_600_000
NOW_MS = GENESIS_MS + 10 * MS_PER_DAY
BUREAU, BANK_A, BANK_B, REGULATOR = (MemberId(name) for name in ("bureau", "bank-a", "bank-b", "regulator"))
OTHER_BUREAU = MemberId("other-bureau")
ROLES = {
    OTHER_BUREAU: Role.TAX_BUREAU,
    BUREAU: Role.TAX_BUREAU,
    BANK_A: Role.BANK,
    BANK_B: Role.BANK,
    REGULATOR: Role.REGULATOR,
}
TAXPAYER = Uscc("91440300MA5EXAMPL1")
PRODUCT = "SME tax loan 云税贷"
KINDS = (
    *members_contract.KINDS,
    *vault_contract.KINDS,
    *consent_contract.KINDS,
    *models_contract.KINDS,
    *privacy_contract.KINDS,
    *exchange_contract.KINDS,
)


def seeded_entropy(suite: Any, label: str) -> Callable[[int], bytes]:
    """A stream of bytes that is the same in every run."""
    state = {"number": 0}

    def draw(count: int) -> bytes:
        state["number"] += 1
        block = b""
        while len(block) < count:
            block += suite.digest(f"{label}/{state['number']}/{len(block)}".encode())
        return block[:count]

    return draw


def a_cipher(suite_name: str = "intl") -> ColumnCipher:
    """What encrypts the columns of a test's database."""
    return ColumnCipher(lambda: bytes(range(32)), suite=SuiteName(suite_name), entropy=system_entropy)


def a_charge(request: bytes, *, owner: str = "bank-a", taxpayer: str = "E1") -> Charge:
    """What the leakage account notes of an answer that shows records."""
    return Charge(
        reference=owned_id(owner, request),
        taxpayer=taxpayer,
        recipient=MemberId("bank-a"),
        purpose=Purpose.UNDERWRITING,
        mode=Mode.DISCLOSE,
        charged_ms=1,
        revealed=Revealed(),
    )


class ConsentWorld:
    """The parties and what they hold; ``close`` when done."""

    def __init__(self, folder: Path, suite_name: str) -> None:
        self.suite = get_suite(suite_name)
        self.catalogue = load_catalogue()
        self.clock = ManualClock(NOW_MS)
        self.entropy = seeded_entropy(self.suite, "world")
        self.signing = {name: self.suite.signing_key_from_seed(self.suite.digest(name.encode())) for name in ROLES}
        self.sealing = {
            name: self.suite.sealing_key_from_seed(self.suite.digest(b"s" + name.encode())) for name in ROLES
        }
        self.genesis = encode_genesis(self._genesis(suite_name))
        self.parameters = network_parameters(self.genesis)
        self.network = self.parameters.network
        self.kinds = KindTable(KINDS)
        self.ledger = EmbeddedLedger.open(
            folder / "ledger",
            parameters=self.parameters,
            kinds=self.kinds,
            key_ring=MemberKeyRing(),
            clock=self.clock,
            operator_key=self.signing[BUREAU],
            settings=EmbeddedSettings(is_clock_confirmed=True),
        )
        self.cipher = a_cipher(suite_name)
        self.submitters = {name: self._submitter(name) for name in ROLES}
        self.databases = {name: self._database(folder / f"{name}.db") for name in ROLES}
        self.consents = self._consents()
        self.files = {name: self._file(name) for name in (BANK_A, BANK_B)}

    def _genesis(self, suite_name: str) -> Genesis:
        members = tuple(
            Registration.in_genesis("test", name).register(
                role=role,
                name=name,
                name_zh=name,
                signing=self.signing[name],
                sealing_key=self.sealing[name].public_key,
            )
            for name, role in sorted(ROLES.items())
        )
        return Genesis(name="test", suite=suite_name, writer=BUREAU, created_ms=GENESIS_MS, members=members)

    def _submitter(self, member: MemberId) -> LedgerSubmitter:
        return LedgerSubmitter(
            self.ledger,
            member=member,
            key=self.signing[member],
            kinds=self.kinds,
            suite=self.suite,
            clock=self.clock,
            entropy=self.entropy,
            is_clock_confirmed=True,
        )

    def _database(self, path: Path) -> Any:
        engine = create_engine(f"sqlite:///{path}")
        # What survives a power cut is the node's matter, tested there; here it would only cost time.
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        consent_store.metadata.create_all(engine)
        exchange_store.metadata.create_all(engine)
        privacy_store.metadata.create_all(engine)
        return engine

    def _consents(self) -> ConsentService:
        return ConsentService(
            submitter=self.submitters[BUREAU],
            store=consent_store.ConsentStore(self.databases[BUREAU], cipher=self.cipher),
            suite=self.suite,
            catalogue=self.catalogue,
        )

    def _file(self, member: MemberId) -> ConsentFile:
        return ConsentFile(
            submitter=self.submitters[member],
            store=consent_store.ConsentStore(self.databases[member], cipher=self.cipher),
            suite=self.suite,
        )

    def close(self) -> None:
        """Release files and threads, once all that was accepted was seen to be what a proposer counts."""
        require_all_counted(self.ledger, kinds=self.kinds, suite=self.suite)
        self.ledger.close()
        for database in self.databases.values():
            database.dispose()

    def enterprise(self, number: int = 1) -> Enterprise:
        """An enterprise with a wallet of its own."""
        keys = EnterpriseKeys(bytes([number]) * 32, suite=self.suite)
        return Enterprise(keys, network=self.network, entropy=self.entropy)

    def identity_check(self, **changes: Any) -> IdentityCheck:
        """The bureau's check of the legal representative."""
        return IdentityCheck(
            **({"reference": "check-000017", "checked_ms": self.clock.now_ms() - MS_PER_DAY} | changes)
        )

    def enrol(self, enterprise: Enterprise, taxpayer: Uscc = TAXPAYER) -> None:
        """The legal representative comes to the counter."""
        key = enterprise.enrolment_key(BUREAU)
        self.consents.enrol(taxpayer, enrolment_key=key, identity_check=self.identity_check())

    def terms(self, **changes: Any) -> ConsentTerms:
        """Terms within the ceilings, with changes."""
        fields: dict[str, Any] = {
            "taxpayer": TAXPAYER,
            "provider": BUREAU,
            "recipient": BANK_A,
            "purpose": Purpose.UNDERWRITING,
            "items": {"invoice_issued@2": ["core", "amounts"], "tax_credit_grade@1": ["core"]},
            "period_from": date(2024, 1, 1),
            "period_to": date(2025, 12, 31),
            "modes": (Mode.DISCLOSE,),
            "frequency": Frequency(count=3, unit=FrequencyUnit.MONTH),
            "data_life_days": 90,
            "valid_from_ms": self.clock.now_ms() - MS_PER_DAY,
            "valid_to_ms": self.clock.now_ms() + 60 * MS_PER_DAY,
            "product": PRODUCT,
            "identity_check": self.identity_check(),
        }
        return ConsentTerms(**(fields | changes))

    def granted(self, enterprise: Enterprise | None = None, **changes: Any) -> OwnedId:
        """Name of a consent that is enrolled, granted and on its bank's file."""
        holder = enterprise or self.enterprise()
        terms = self.terms(**changes)
        self.enrol(holder, terms.taxpayer)
        submission = holder.submission(terms, now_ms=self.clock.now_ms())
        artefact = self.consents.receive(submission).artefact
        self.files[terms.recipient].receive(submission.artefact)
        return artefact.name

    def grant(self, consent: OwnedId) -> Grant:
        """A consent as the ledger knows it now."""
        return find_grant(self.ledger.state(), consent)

    def signed(self, kind: str, body: Any, *, author: MemberId, keys: Any, id: bytes | None = None) -> bytes:  # noqa: A002
        """A transaction signed by any keys, for trying what must not be accepted."""
        draft = TransactionDraft(
            kind=kind,
            version=1,
            body=body,
            author=author,
            valid_until_ms=self.clock.now_ms() + 3_600_000,
            id=id or self.entropy(16),
        )
        return sign_transaction(draft, network=self.network, suite=self.suite, keys=keys)

    def raw_transactions(self) -> list[bytes]:
        """Every transaction of the ledger, as its bytes."""
        return [raw for block in self.ledger.blocks(from_height=1) for raw in block.transactions]

"""The exchange world whose bureau issues credentials, with a holder of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consent_world import BUREAU, TAXPAYER
from exchange_world import ExchangeWorld
from shuiqiao.base.ids import Uscc
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.privacy.credentials import store as credentials_store
from shuiqiao.privacy.credentials.issuer import CredentialIssuer
from shuiqiao.privacy.credentials.model import CredentialRequestBody, IssuedCredentials, encode_request
from shuiqiao.privacy.credentials.store import CredentialStore, DefinitionStore
from shuiqiao.privacy.sd_jwt import jose_profile, verify
from shuiqiao.privacy.service import LeakageAccounts
from shuiqiao.privacy.store import ChargeStore


class CredentialsWorld(ExchangeWorld):
    """A bureau that issues; ``close`` when done."""

    def __init__(self, folder: Path, suite_name: str) -> None:
        super().__init__(folder, suite_name)
        for database in self.databases.values():
            credentials_store.metadata.create_all(database)
        self.copies = CredentialStore(self.databases[BUREAU], cipher=self.cipher)
        self.account = LeakageAccounts(
            ChargeStore(self.databases[BUREAU], cipher=self.cipher),
            now_ms=self.clock.now_ms,
        )
        self.issuer = self.issuer_with()
        self.enrol(self.enterprise())
        self.keys = EnterpriseKeys(bytes([1]) * 32, suite=self.suite)

    def issuer_with(self, **changes: Any) -> CredentialIssuer:
        """The bureau's issuer, with changes."""

        def enrolment_key(taxpayer: str) -> bytes | None:
            found = self.consents._store.enrolment(taxpayer)
            return None if found is None else found.enrolment_key

        parts: dict[str, Any] = {
            "submitter": self.submitters[BUREAU],
            "store": self.copies,
            "definitions": DefinitionStore(self.databases[BUREAU], cipher=self.cipher),
            "records": self.vault,
            "enrolment_key": enrolment_key,
            "key": self.signing[BUREAU],
            "suite": self.suite,
            "catalogue": self.catalogue,
            "entropy": self.entropy,
            "account": self.account,
        }
        return CredentialIssuer(**(parts | changes))

    def holder_key(self, copy: int) -> Any:
        """The key of a copy."""
        return self.keys.credential_key(bytes(16), number=copy, network=self.network)

    def request(self, *copies: int, key: Any = None, **changes: Any) -> bytes:
        """A signed request for copies."""
        fields: dict[str, Any] = {
            "request": self.entropy(16),
            "bureau": BUREAU,
            "taxpayer": TAXPAYER,
            "keys": [self.holder_key(copy).public_key for copy in copies],
            "made_ms": self.clock.now_ms(),
        }
        signer = key or self.keys.enrolment_key(BUREAU, network=self.network)
        return encode_request(
            CredentialRequestBody(**(fields | changes)), network=self.network, suite=self.suite, key=signer
        )

    def issued(self, *copies: int) -> IssuedCredentials:
        """Credentials, one for each copy."""
        return self.issuer.issue(self.request(*copies))

    def read(self, credential: str) -> Mapping[str, Any]:
        """What a credential says, as its holder reads it."""
        return verify(
            credential,
            issuer_key=lambda _header, _claims: self.signing[BUREAU].public_key,
            media_type="dc+sd-jwt",
            profile=jose_profile(self.suite),
            now_s=self.clock.now_ms() // 1000,
            challenge=None,
        )


NOBODY = Uscc("91440300MA5NOBODY1")

"""Who takes part in a story over HTTP: people at institutions, by their log-ins, and enterprises, by their keys.

Each asks one institution's public API and knows nothing else of it. Whoever is not there now, or has too much to do, is
asked again with the same idempotency key, so that an act is done once however often it is asked for. Sessions are begun
anew before an institution ends them, however long a story takes.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self, TypeVar

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, ShuiqiaoError, Unavailable
from shuiqiao.client.enterprise import EnterpriseDevice, KnownBureau
from shuiqiao.client.http import HttpClient, new_idempotency_key
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.resources.consents import ConsentStatement, ConsentSubmissionMessage
from shuiqiao.client.resources.enrolments import ENROL, EnrolmentRecord, EnrolmentStatement
from shuiqiao.client.resources.own import (
    APPLY,
    GRANT_OWN_CONSENT,
    READ_OWN_APPLICATION,
    RELAY_OWN_STATEMENT,
    ApplicationChoice,
)
from shuiqiao.consent.enterprise import ConsentTerms, EnterpriseKeys
from shuiqiao.consent.model import ConsentSubmission, Frequency, FrequencyUnit, IdentityCheck, Purpose
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.members.endpoint import endpoint_of_text
from shuiqiao.sandbox.scenario.consortium import BUREAU
from shuiqiao.sandbox.scenario.enterprises import (
    CONSENT_VALIDITY_DAYS,
    DEVELOPMENT_LIFE_DAYS,
    UNDERWRITING_LIFE_DAYS,
    ConsentWanted,
)
from shuiqiao.sandbox.servers.logging_in import token_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy, MemberId, OwnedId
    from shuiqiao.client.operation import Operation, Sent, Told
    from shuiqiao.client.resources.own import OwnApplicationFile, OwnApplying, OwnConsent
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.sandbox.economy.model import Applicant
    from shuiqiao.sandbox.servers.running import Sandbox

PATIENCE_S: Final = 120.0
"""How long an institution that is not there is asked again, in seconds."""

_WAITED_FOR: Final = frozenset(
    {"api.act_in_progress", "consent.artefact_missing", "consent.unknown", "node.challenge_invalid"}
)
"""What ends by itself: an act at work, a grant and its artefact on their way to the bank, a challenge of a server that
died meanwhile."""

_LASTING: Final = frozenset({"privacy.extra_missing", "privacy.secure_not_set_up"})
"""What nobody ends who is only waited for."""

SESSION_S: Final = 240.0
"""A session that is older is begun anew, in seconds. Institutions end one that was not used for 15 minutes, and whoever
uses one may have to wait for them meanwhile."""

_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 2.0
_Found = TypeVar("_Found")


def patiently(ask: Callable[[], _Found]) -> _Found:
    """Return what asking comes to, asked again while what it needs is not there yet; raises the last refusal."""
    began_s = time.monotonic()
    while True:
        try:
            return ask()
        except ShuiqiaoError as error:
            is_late = time.monotonic() > began_s + PATIENCE_S
            is_awaited = isinstance(error, Unavailable) and error.code not in _LASTING
            if is_late or not (is_awaited or error.code in _WAITED_FOR):
                raise
            told_s = error.retry_after_s if isinstance(error, Unavailable) else None
        rest(told_s or _PAUSE_S, began_s=began_s)


def rest(least_s: float, *, began_s: float) -> None:
    """Pause before looking again for what was asked first at a moment: the longer it takes, the seldomer one looks.

    What comes is seen after at most a tenth more than it took, or after the least pause.
    """
    time.sleep(min(max(least_s, (time.monotonic() - began_s) / 10), _LONGEST_PAUSE_S))


def perform(client: HttpClient, operation: Operation[Sent, Told], message: Sent) -> Told:
    """Have a server do something once, however often it has to be asked; raises what it is refused with."""
    key = new_idempotency_key()
    return patiently(lambda: client.perform(operation, message, idempotency_key=key))


@dataclass(frozen=True, slots=True)
class _Session:
    """A session, what ends it, and when it was begun."""

    client: HttpClient
    stack: ExitStack
    began_s: float

    @classmethod
    def begin(cls, opened: Callable[[], AbstractContextManager[HttpClient]]) -> _Session:
        """Open one, as soon as the institution is there."""
        stack = ExitStack()
        client = patiently(lambda: stack.enter_context(opened()))
        return cls(client, stack, time.monotonic())

    @property
    def is_old(self) -> bool:
        return time.monotonic() - self.began_s > SESSION_S


class Office:
    """The people of one institution at their screens: each logs in and is asked for by the role it holds."""

    def __init__(self, sandbox: Sandbox, member: MemberId, *, clock: Clock) -> None:
        self.member = member
        self.url = sandbox.url(member)
        self._accounts = sandbox.folder.accounts_of(member)
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._left: list[_Session] = []
        self._logging_in = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for session in [*self._left, *self._sessions.values()]:
            session.stack.close()

    def person(self, role: str) -> HttpClient:
        """Return the client of the user who holds a role."""
        with self._logging_in:
            found = self._sessions.get(role)
            if found is None or found.is_old:
                # Who was given the older one may use it still.
                self._left += [found] if found else []
                found = self._sessions[role] = _Session.begin(lambda: self._log_in(role))
            return found.client

    def _log_in(self, role: str) -> HttpClient:
        with HttpClient(self.url) as door:
            token = token_of(door, self._accounts.with_role(role), clock=self._clock)
        return HttpClient(self.url, token=token)

    def perform(self, role: str, operation: Operation[Sent, Told], message: Sent) -> Told:
        """Have the user who holds a role do something; raises what it is refused with."""
        return perform(self.person(role), operation, message)


class Firm:
    """An enterprise without a node: its key on its own device, its sessions at its bureau and its banks."""

    def __init__(
        self,
        applicant: Applicant,
        *,
        network: bytes,
        bureau_url: str,
        suite: CipherSuite,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        known = KnownBureau(taxpayer=applicant.uscc, bureau=BUREAU, network=network.hex(), url=bureau_url)
        self.applicant = applicant
        self.device = EnterpriseDevice(
            EnterpriseKeys(entropy(SEED_BYTES), suite=suite), known, entropy=entropy, clock=clock
        )
        self._bureau_url = bureau_url
        self._sessions: dict[str, _Session] = {}
        self._identity: IdentityCheck | None = None

    def close(self) -> None:
        """End its sessions."""
        for name in list(self._sessions):
            self.leave(name)

    def leave(self, name: str) -> None:
        """End its session at a bank under a consent, or at its bureau (named by nothing), if there is one."""
        if (found := self._sessions.pop(name, None)) is not None:
            found.stack.close()

    def _session(self, name: str, opened: Callable[[], AbstractContextManager[HttpClient]]) -> HttpClient:
        found = self._sessions.get(name)
        if found is None or found.is_old:
            self.leave(name)
            found = self._sessions[name] = _Session.begin(opened)
        return found.client

    def enrol(self, code: str) -> EnrolmentRecord:
        """Enrol at the bureau by a one-time code; raises what the bureau refuses with."""
        signed = self.device.enterprise.enrolment(BUREAU, taxpayer=self.device.taxpayer, code=code)
        with HttpClient(self._bureau_url) as door:
            record = perform(door, ENROL, EnrolmentStatement(enrolment=signed.hex()))
        self._identity = IdentityCheck(reference=record.reference, checked_ms=record.checked_ms)
        return record

    def at_bureau(self) -> HttpClient:
        """Return its session at the bureau."""
        return self._session("", self.device.at_bureau)

    def at_bank(self, url: str, consent: OwnedId) -> HttpClient:
        """Return its session at a bank, by the key of one consent."""
        # Until the bank was told of the consent, it knows no such key.
        return self._session(
            consent, lambda: self.device.at_bank(endpoint_of_text(url), consent=consent, patience_s=PATIENCE_S)
        )

    def consent(self, wanted: ConsentWanted) -> OwnConsent:
        """Sign a consent and hand it to the bureau, which hands it to the bank; raises what refuses it."""
        submission = self.submission(wanted)
        message = ConsentSubmissionMessage(
            artefact=submission.artefact.hex(), endorsement=submission.endorsement.hex(), grant=submission.grant.hex()
        )
        return perform(self.at_bureau(), GRANT_OWN_CONSENT, message)

    def submission(self, wanted: ConsentWanted) -> ConsentSubmission:
        """Sign a consent by this enterprise's half."""
        return self.device.enterprise.submission(self._terms(wanted), now_ms=self.device.now_ms())

    def _terms(self, wanted: ConsentWanted) -> ConsentTerms:
        if self._identity is None:
            raise Denied("sandbox.firm_unknown", f"{self.device.taxpayer} has not enrolled yet")
        now_ms = self.device.now_ms()
        is_development = wanted.purpose is Purpose.MODEL_DEVELOPMENT
        return ConsentTerms(
            taxpayer=self.device.taxpayer,
            provider=BUREAU,
            recipient=wanted.recipient,
            purpose=wanted.purpose,
            items=dict(wanted.items),
            period_from=wanted.period[0],
            period_to=wanted.period[1],
            modes=wanted.modes,
            outputs=wanted.outputs,
            frequency=Frequency(count=4, unit=FrequencyUnit.YEAR),
            data_life_days=DEVELOPMENT_LIFE_DAYS if is_development else UNDERWRITING_LIFE_DAYS,
            valid_from_ms=now_ms,
            valid_to_ms=now_ms + CONSENT_VALIDITY_DAYS * MS_PER_DAY,
            product=wanted.product,
            identity_check=self._identity,
        )

    def revoke(self, consent: OwnedId) -> None:
        """End a consent for good."""
        signed = self.device.enterprise.revoke(consent, now_ms=self.device.now_ms())
        perform(self.at_bureau(), RELAY_OWN_STATEMENT, ConsentStatement(transaction=signed.raw.hex()))

    def apply(self, url: str, consent: OwnedId, wanted: OwnApplying) -> OwnApplicationFile:
        """Apply at a bank under a consent; raises what the bank refuses with."""
        return perform(self.at_bank(url, consent), APPLY, wanted)

    def stranger_at(self, url: str, consent: OwnedId) -> None:
        """Log in at an institution that the consent was not given to; raises how it refuses that."""
        with self.device.at_bank(endpoint_of_text(url), consent=consent, patience_s=0.0):
            pass

    def receipt(self, index: int) -> bytes:
        """Return the receipt of an entry under one of its consents, from its bureau."""
        return self.at_bureau().get(f"{PREFIX}/own/entries/{index}/receipt", accept="*/*").body

    def application(self, url: str, consent: OwnedId, application: str) -> OwnApplicationFile:
        """Return an application as the bank tells its applicant of it."""
        return perform(self.at_bank(url, consent), READ_OWN_APPLICATION, ApplicationChoice(application=application))


def refusal_of(act: Callable[[], object]) -> str:
    """Return the code that refuses an act, ``accepted`` where nothing does."""
    try:
        act()
    except ShuiqiaoError as error:
        return error.code
    return "accepted"

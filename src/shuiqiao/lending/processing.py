"""Takes an application from where it stands to its end, however often it is asked and wherever it was interrupted.

``ApplicationProcess.process`` does what is not done yet of this, in order [LENDING-10]:

1. put the application on the ledger;
2. ask for the data that its consent grants, or for each output that its product asks, under the request id that follows
   from the application and from what is asked;
3. receive each answer, prove all that it says, acknowledge it;
4. assess the applicant, apply the product's rules, keep what they say; where they refer it, wait for two persons;
5. keep the decision, put it on the ledger;
6. hand its opening in at the regulator;
7. close the file.

Before each act on the ledger what it says is kept, ids and salts included: after a crash the same is submitted again,
and the ledger takes it once. Steps are written into the timeline together with what they came to, in one transaction of
the database. So there is no second request and no second decision, and nothing is decided without its entries. An act
that cannot succeed any more (the ledger refused the application, the consent ended, the provider refused) closes the
file without a decision, with the cause in its timeline; any other failure stands there, is raised, and the next call
goes on.

LIMIT: an application that the ledger has and nobody decided stays open there: no entry closes it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.errors import Denied, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.exchange.model import RequestStatus
from shuiqiao.lending.file import MAX_CAUSE_CHARS, ApplicationFile, ApplicationStatus, Step, TimelineEntry
from shuiqiao.lending.outputs import requests_for
from shuiqiao.lending.service import RecordedDecision, reviewed_decision

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import date

    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.model import DataRequest
    from shuiqiao.exchange.recipient import ProviderLink, ReceivedData, Recipient
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.lending.file import Judgement, PreparedDecision
    from shuiqiao.lending.model import ApplicantFile, Application, Assessment, Product
    from shuiqiao.lending.service import LendingService
    from shuiqiao.lending.store import LendingStore

MAX_ATTEMPTS = 4
"""How often data is asked for on one application, the first time included."""

BY_PERSON = "lending.closed_by_person"
"""Stands in the timeline of a file that the bank's people ended."""

_ENDED = frozenset(
    {
        "consent.revoked", "consent.expired", "consent.renewed", "consent.representative_changed",
        "consent.not_covered", "consent.ceiling_exceeded",
        "consent.recipient_wrong", "consent.purpose_wrong", "lending.consent_not_ours", "exchange.data_life_over",
        "exchange.mode_unsupported", "lending.evidence_missing", "lending.consent_too_narrow", "lending.data_too_old",
    }
)  # fmt: skip
"""Codes after which no decision can be reached on an application: its consent, or an answer that was destroyed at the
end of its data life, will never carry one."""

_TAKEN_IN = frozenset({RequestStatus.ACKNOWLEDGED, RequestStatus.DESTROYED})
_DECIDING = frozenset({Step.DECIDED, Step.HANDED_IN, Step.CLOSED})


class AssessorLink(Protocol):
    """Who assesses applicants for a product: the model in use for it. ``Assessor`` is one."""

    def assess(
        self,
        application: Application,
        *,
        received: ReceivedData,
        file: ApplicantFile,
        further: Sequence[ReceivedData] = (),
    ) -> Assessment:
        """Return everything that the decision on an application rests on.

        further: in the mode *score*, the answers besides the first that its product asks for.
        """
        ...


class RegulatorLink(Protocol):
    """The way to the regulator; ``node`` wires it."""

    def hand_in(self, application: bytes, sealed: bytes) -> None:
        """Hand in a decision's opening; raises what the regulator refuses with, Unavailable until it has the entry."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Whom a bank's process works with.

    provider, assessor: by provider and by product. regulator: to whom decisions are sealed now, which a vote may
    change. regulator_link: None leaves the openings for a later call. elsewhere_fen: of a taxpayer, what other banks
    told; None where they are not asked. today: on which the bank judges, None for the day
    of its clock or of the newest block.
    """

    provider: Callable[[MemberId], ProviderLink]
    product: Callable[[str], Product]
    assessor: Callable[[str], AssessorLink]
    regulator: Callable[[], MemberId]
    regulator_link: RegulatorLink | None = None
    elsewhere_fen: Callable[[str], int] | None = None
    today: Callable[[], date] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """What a call came to. received, recorded: only where this call received data or recorded a decision.

    received: in the mode *score*, the answer on the risk.
    """

    file: ApplicationFile
    received: ReceivedData | None = None
    recorded: RecordedDecision | None = None


class ApplicationProcess:
    """A bank's applications on their way; any number of threads may ask, each application is one's at a time.

    Example::

        process = bank.application_process(surroundings)
        file = process.process(application.id).file
        print(file.status, [entry.step for entry in file.timeline])
    """

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        lending: LendingService,
        store: LendingStore,
        recipient: Recipient,
        submitter: LedgerSubmitter,
        suite: CipherSuite,
    ) -> None:
        self._around = surroundings
        self._lending = lending
        self._store = store
        self._recipient = recipient
        self._submitter = submitter
        self._suite = suite
        self._changed = threading.Condition()
        self._under_way: set[bytes] = set()

    def process(self, application: bytes, *, until: Step = Step.CLOSED, wait_s: float = 0.0) -> Processed:
        """Take an application as far as it goes now, at most until a step was taken.

        wait_s: how long to wait while another thread is at work on it.

        Raises Denied ``lending.application_not_here``, Unavailable ``lending.application_busy``, and the cause of a
        failure that stands in the timeline too; not where that ends the file.
        """
        with self._alone(application, wait_s=wait_s):
            return self._process(self._store.file(application), until=until)

    def open_applications(self) -> list[bytes]:
        """Return the applications whose files have not ended, oldest first: a job processes each."""
        return self._store.open_applications()

    def ask_anew(self, application: bytes, *, wait_s: float = 0.0) -> None:
        """Let the next call make a new request, because the answer to the last one cannot be used.

        Raises Denied ``lending.attempts_over`` or ``lending.application_judged``.
        """
        with self._alone(application, wait_s=wait_s):
            file = self._store.file(application)
            if file.judgement is not None or file.closed_ms is not None:
                raise Denied("lending.application_judged", f"application {application.hex()} needs no data any more")
            if file.attempt + 1 >= MAX_ATTEMPTS:
                raise Denied(
                    "lending.attempts_over",
                    f"data was asked for {file.attempt + 1} times on application {application.hex()}",
                )
            self._store.next_attempt(application, attempt=file.attempt + 1)

    def close(self, application: bytes, *, reason: str, wait_s: float = 0.0) -> ApplicationFile:
        """End a file without a decision, because the bank's people say so.

        Raises Denied ``lending.application_judged`` where a decision is on file.
        """
        with self._alone(application, wait_s=wait_s):
            file = self._store.file(application)
            if file.decision is not None or file.closed_ms is not None:
                raise Denied("lending.application_judged", f"application {application.hex()} is {file.status}")
            self._end(application, code=BY_PERSON, cause=reason)
            return self._store.file(application)

    def end_refused(self, application: bytes, *, code: str, cause: str, wait_s: float = 0.0) -> None:
        """End a file that waits for the ledger, which refused the application, because a person gave that up.

        code, cause: of the refusal; the file keeps them [LENDING-10]. One that went on, ended or is not here stays so.
        """
        with self._alone(application, wait_s=wait_s):
            if not self._store.has(application):
                return
            file = self._store.file(application)
            if file.closed_ms is None and not file.has(Step.SUBMITTED):
                self._end(application, code=code, cause=cause)

    def _process(self, file: ApplicationFile, *, until: Step) -> Processed:
        application, received, recorded = file.application.id, None, None
        try:
            prepared = None
            if file.closed_ms is None and file.decision is None:
                if file.judgement is None:
                    received, prepared = self._until_judged(file, until=until)
                else:
                    prepared = self._keep_decision(file, file.judgement, until=until)
            recorded = self._end_file(file, prepared, until=until)
        except _Ended:
            pass
        return Processed(file=self._store.file(application), received=received, recorded=recorded)

    def _until_judged(
        self, file: ApplicationFile, *, until: Step
    ) -> tuple[ReceivedData | None, PreparedDecision | None]:
        """Steps 1 to 4; what was taken is kept in one transaction with what it came to."""
        taken: list[TimelineEntry] = []
        if not file.has(Step.SUBMITTED):
            with self._failing(file, Step.SUBMITTED):
                self.wanted(file)
            with self._failing(file, Step.SUBMITTED, is_last=True):
                committed = self._lending.submit(file.application, salt=file.salt)
            taken.append(self._entry(Step.SUBMITTED, index=committed.index))
        if until is Step.SUBMITTED:
            if taken:
                self._store.note(file.application.id, *taken)
            return None, None
        received, *further = self._obtain(file, taken)
        if until in {Step.REQUESTED, Step.ANSWERED, Step.PROVEN}:
            self._store.note(file.application.id, *taken)
            return received, None
        return received, self._assess(file, received, further, taken=taken, until=until)

    def _obtain(self, file: ApplicationFile, taken: list[TimelineEntry]) -> list[ReceivedData]:
        """Steps 2 and 3. taken: the steps that were taken and are not kept yet, to which these are added.

        What is asked for is asked one after the other, so that a provider that refuses is asked for nothing more.
        """
        with self._failing(file, Step.REQUESTED, *taken):
            wanted = self.wanted(file)
        received = [
            self._obtain_one(file, each, taken, request=file.request_id(self._suite, name)) for name, each in wanted
        ]
        taken += [self._entry(Step.ANSWERED), self._entry(Step.PROVEN)]
        return received

    def _obtain_one(
        self, file: ApplicationFile, wanted: DataRequest, taken: list[TimelineEntry], *, request: bytes
    ) -> ReceivedData:
        with self._failing(file, Step.REQUESTED, *taken):
            sent = self._recipient.request(wanted, request=request)
        if not any(entry.step is Step.REQUESTED for entry in taken):
            taken.append(self._entry(Step.REQUESTED, index=sent.index))
        if self._recipient.status(request) in _TAKEN_IN:
            # Of one that was destroyed since, its data life being over, this says so, and the file ends.
            with self._failing(file, Step.PROVEN, *taken):
                return self._recipient.load(request)
        with self._failing(file, Step.ANSWERED, *taken, request=request):
            answer = self._recipient.ask(sent, provider=self._around.provider(sent.provider))
        with self._failing(file, Step.PROVEN, *taken):
            return self._recipient.receive(request, answer)

    def wanted(self, file: ApplicationFile) -> tuple[tuple[str, DataRequest], ...]:
        """Return what an application's product asks for; raises as ``requests_for``."""
        today = self._around.today
        return requests_for(
            self._around.product(file.application.product),
            consent=file.application.consent,
            recipient=self._recipient,
            today=_day_of(self._submitter.latest_ms()) if today is None else today(),
        )

    def _assess(
        self,
        file: ApplicationFile,
        received: ReceivedData,
        further: Sequence[ReceivedData],
        *,
        taken: list[TimelineEntry],
        until: Step,
    ) -> PreparedDecision | None:
        """Step 4, and the decision with it where the rules come to one alone."""
        application = file.application
        with self._failing(file, Step.ASSESSED, *taken):
            assessor = self._around.assessor(application.product)
            applicant = self._applicant(file)
            assessment = assessor.assess(application, received=received, file=applicant, further=further)
            product = self._around.product(application.product)
            judgement = self._lending.judge(application, product=product, assessment=assessment)
        steps = (Step.ASSESSED, Step.REFERRED) if judgement.is_referred else (Step.ASSESSED,)
        entries = [*taken, *(self._entry(step) for step in steps)]
        prepared = None
        if not judgement.is_referred and until in _DECIDING:
            with self._failing(file, Step.DECIDED, *taken):
                prepared = self._lending.prepare(application, judgement=judgement, regulator=self._around.regulator())
        self._store.keep_judgement(application.id, judgement, entries=entries, prepared=prepared)
        return prepared

    def _applicant(self, file: ApplicationFile) -> ApplicantFile:
        """Return what is known of the applicant; of debts elsewhere the greater of what it and other banks say."""
        if self._around.elsewhere_fen is None:
            return file.applicant
        told_fen = self._around.elsewhere_fen(file.application.taxpayer)
        return replace(file.applicant, other_debt_fen=max(file.applicant.other_debt_fen, told_fen))

    def _keep_decision(self, file: ApplicationFile, judgement: Judgement, *, until: Step) -> PreparedDecision | None:
        """Step 5 for what was judged before; nothing while a person has to decide."""
        reviewed = reviewed_decision(file) if judgement.is_referred else None
        if until not in _DECIDING or (judgement.is_referred and reviewed is None):
            return None
        with self._failing(file, Step.DECIDED):
            prepared = self._lending.prepare(
                file.application, judgement=judgement, regulator=self._around.regulator(), reviewed=reviewed
            )
            self._store.add_decision(prepared)
        return prepared

    def _end_file(
        self, file: ApplicationFile, prepared: PreparedDecision | None, *, until: Step
    ) -> RecordedDecision | None:
        """Put a decision that is kept on the ledger, and take steps 6 and 7."""
        application, kept = file.application, file.decision if prepared is None else prepared
        if kept is None or file.closed_ms is not None or until not in _DECIDING:
            return None
        recorded, taken = None, list[TimelineEntry]()
        if not file.has(Step.DECIDED):
            with self._failing(file, Step.DECIDED):
                committed = self._lending.record(application, kept.body)
            taken.append(self._entry(Step.DECIDED, index=committed.index))
            if prepared is not None:
                recorded = RecordedDecision(
                    decision=prepared.decision, committed=committed, sealed_opening=prepared.sealed_opening
                )
        link = self._around.regulator_link
        if link is None or until is not Step.CLOSED:
            if taken:
                self._store.note(application.id, *taken)
            return recorded
        with self._failing(file, Step.HANDED_IN, *taken):
            link.hand_in(application.id, kept.sealed_opening)
        self._store.close(application.id, *taken, self._entry(Step.HANDED_IN), self._entry(Step.CLOSED))
        return recorded

    @contextmanager
    def _failing(
        self,
        file: ApplicationFile,
        step: Step,
        *taken: TimelineEntry,
        request: bytes | None = None,
        is_last: bool = False,
    ) -> Generator[None]:
        """Write into the timeline why a step fails, with the steps taken before it; end the file where none can follow.

        request: which the provider may have refused. is_last: whatever refuses the step ends the file.
        """
        application = file.application.id
        try:
            yield
        except ShuiqiaoError as error:
            failed = self._entry(step, code=error.code, cause=error.message[:MAX_CAUSE_CHARS])
            self._store.note(application, *taken, failed)
            is_refused = request is not None and self._recipient.status(request) is RequestStatus.REFUSED
            is_over = isinstance(error, Denied) and error.code in _ENDED
            if is_refused or is_over or (is_last and not isinstance(error, (Unavailable, IntegrityError))):
                self._end(application, code=error.code, cause=error.message)
                raise _Ended from error
            raise

    def _end(self, application: bytes, *, code: str, cause: str) -> None:
        ended = self._entry(Step.CLOSED, code=code, cause=cause[:MAX_CAUSE_CHARS])
        self._store.close(application, ended, status=ApplicationStatus.CLOSED)

    def _entry(self, step: Step, *, index: int | None = None, code: str = "", cause: str = "") -> TimelineEntry:
        return TimelineEntry(step=step, time_ms=self._submitter.now_ms(), entry_index=index, code=code, cause=cause)

    @contextmanager
    def _alone(self, application: bytes, *, wait_s: float) -> Generator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: application not in self._under_way, timeout=wait_s):
                raise Unavailable(
                    "lending.application_busy",
                    f"application {application.hex()} is being processed by another thread",
                    retry_after_s=1.0,
                )
            self._under_way.add(application)
        try:
            yield
        finally:
            with self._changed:
                self._under_way.discard(application)
                self._changed.notify_all()


def _day_of(moment_ms: int) -> date:
    return datetime.fromtimestamp(moment_ms / MS_PER_SECOND, tz=UTC).date()


class _Ended(Exception):
    """A file ended without a decision; the cause is in its timeline."""

"""What the jobs of an institution do, by the role it has: the ingest that is asked for, and the duties that come round.

| kind | who | does |
|---|---|---|
| ``vault.ingest`` | bureau, when asked (``ingest --background``) | takes record files in, with progress |
| ``consent.grant`` | bureau, when a grant is kept back | enters it on the ledger once its delay is over [CONSENT-32] |
| ``lending.application`` | bank, when one comes in | takes it to its end, or to people who decide [LENDING-14] |
| ``lending.applications`` | bank, also as its server starts | goes on with every application that came to no end |
| ``exchange.destroy`` | bank | destroys what came to the end of its data life, and tells the ledger [EXCHANGE-23] |
| ``vault.encrypt`` | bureau | encrypts batches that a release before left in clear [VAULT-STORE-7] |
| ``exchange.release`` | bureau | destroys kept answers that their banks took in |
| ``computation.record`` | bank, bureau | records logs of joint computations, and destroys those due [SECURE-19] |
| ``consent.expiry`` | bureau, bank | names the consents that end within a week |
| ``log.publish`` | whoever publishes tiles | publishes newest checkpoint and tiles |
| ``home.backup`` | whoever set a folder | takes a backup, and keeps the newest few |
| ``alarms.look`` | everybody | raises alarms by itself (``alarms``) |

A duty that destroys goes by the time of the newest block, and stops to be confirmed where unusually much is due at once
[EXCHANGE-24]. Each act is the use case of its room; here is only when it is done, and what is told of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, iso_from_ms
from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.consent.model import ConsentSubmission
from shuiqiao.consent.service import ending_consents
from shuiqiao.consent.store import ConsentStore
from shuiqiao.exchange.recipient import MAX_RECORDED_AT_ONCE, is_unusual
from shuiqiao.members.model import Role
from shuiqiao.node.backup.apart import create_backup_apart
from shuiqiao.node.home.settings import database_of
from shuiqiao.node.jobs.alarms import alarm_duty
from shuiqiao.node.jobs.ingests import IngestJobs
from shuiqiao.node.jobs.model import ConfirmationWanted, JobKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.exchange.store import DueAnswers
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.jobs.model import RunningJob

DESTROY: Final = "exchange.destroy"
RECORD_COMPUTATIONS: Final = "computation.record"
GRANT_CONSENT: Final = "consent.grant"
PROCESS_APPLICATION: Final = "lending.application"
PROCESS_OPEN: Final = "lending.applications"
BACKUP: Final = "home.backup"

_OFTEN_MS: Final = 10 * 60 * MS_PER_SECOND
APPLICATION_ATTEMPTS: Final = 9
"""How often one application is tried, later each time: for some eight minutes, until the duty comes round for it."""

NOTICE_MS: Final = 7 * MS_PER_DAY
"""How long before its end a consent is named."""

MAX_NAMED: Final = 100
"""Consents that one notice names, or applications that one run tells of; it counts them all."""


MAX_ENCRYPTED: Final = 128
"""Batches that one run encrypts: some two million records, in ten seconds or so."""


class ApplicationParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which application is taken to its end."""

    application: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class GrantParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The grant that is kept back, signed by its consent's key; artefact and endorsement are on file."""

    grant: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})+\Z")]


def job_kinds(institution: Institution, *, ingests: IngestJobs | None = None) -> dict[str, JobKind]:
    """Return what an institution's jobs do, by name. ingests: those of a running server."""
    duties, settings, role = Duties(institution), institution.settings, institution.settings.role
    kinds = [alarm_duty(institution)]
    if role is Role.TAX_BUREAU:
        kinds.append((ingests or IngestJobs(institution)).kind())
        kinds.append(JobKind(name="vault.encrypt", act=duties.encrypt, every_ms=_OFTEN_MS))
        kinds.append(JobKind(name="exchange.release", act=duties.release, every_ms=_OFTEN_MS))
        kinds.append(JobKind(name=GRANT_CONSENT, act=duties.grant, max_attempts=APPLICATION_ATTEMPTS))
    if role is Role.BANK:
        kinds.append(JobKind(name=DESTROY, act=duties.destroy, every_ms=_OFTEN_MS))
        application = JobKind(
            name=PROCESS_APPLICATION, act=duties.process_application, max_attempts=APPLICATION_ATTEMPTS
        )
        kinds.append(application)
        kinds.append(JobKind(name=PROCESS_OPEN, act=duties.process_open, every_ms=_OFTEN_MS, resumes=True))
    if role in {Role.TAX_BUREAU, Role.BANK}:
        kinds.append(JobKind(name=RECORD_COMPUTATIONS, act=duties.record_computations, every_ms=_OFTEN_MS))
        kinds.append(JobKind(name="consent.expiry", act=duties.name_ending_consents, every_ms=MS_PER_DAY))
    if institution.publisher is not None:
        every_ms = settings.tiles_interval_s * MS_PER_SECOND
        kinds.append(JobKind(name="log.publish", act=duties.publish, every_ms=every_ms))
    if settings.backup_folder:
        every_ms = settings.backup_interval_h * MS_PER_HOUR
        kinds.append(JobKind(name=BACKUP, act=duties.back_up, every_ms=every_ms))
    return {kind.name: kind for kind in kinds}


@dataclass(frozen=True, slots=True)
class Duties:
    """The acts of one institution's jobs; each returns what is told of it."""

    institution: Institution

    def grant(self, running: RunningJob) -> Mapping[str, Any]:
        """Enter a grant that was kept back, and hand its artefact to its bank [CONSENT-32].

        Raises InvalidInput ``jobs.parameters_invalid``, and what ``Institution.receive_consent`` raises.
        """
        institution = self.institution
        try:
            grant = bytes.fromhex(typed(dict(running.job.parameters), GrantParameters).grant)
        except msgspec.ValidationError as error:
            raise InvalidInput("jobs.parameters_invalid", f"no grant is named so: {error}") from error
        tx = institution.outbox.decode(grant)
        consent = owned_id(MemberId(tx.author), tx.body.consent)
        stored = ConsentStore(institution.database, cipher=institution.cipher).artefact(consent)
        if stored is None or stored.endorsement is None:
            raise InvalidInput("jobs.parameters_invalid", f"consent {consent} is not on file here")
        submission = ConsentSubmission(artefact=stored.raw, endorsement=stored.endorsement, grant=grant)
        return {"consent": consent, "index": institution.receive_consent(submission).committed.index}

    def process_application(self, running: RunningJob) -> Mapping[str, Any]:
        """Take an application to its end, or to the people who decide on it [LENDING-14].

        Raises InvalidInput ``jobs.parameters_invalid``, and what ``ApplicationProcess.process`` raises.
        """
        try:
            wanted = typed(dict(running.job.parameters), ApplicationParameters)
        except msgspec.ValidationError as error:
            raise InvalidInput("jobs.parameters_invalid", f"no application is named so: {error}") from error
        file = self.institution.applications.process(bytes.fromhex(wanted.application)).file
        return {"application": wanted.application, "status": str(file.status)}

    def process_open(self, running: RunningJob) -> Mapping[str, Any]:
        """Go on with every application that nobody has to decide on; what stops one stands in its timeline."""
        store, ended, stopped = self.institution.application_store, 0, dict[str, str]()
        waiting = store.open_applications(but_for_people=True)
        for place, application in enumerate(waiting):
            running.progress("process the applications 办理申请", place, len(waiting))
            try:
                file = self.institution.applications.process(application).file
            except ShuiqiaoError as error:
                stopped[application.hex()] = error.code
            else:
                ended += file.closed_ms is not None
        named = dict(list(stopped.items())[:MAX_NAMED])
        return {"open": len(waiting), "ended": ended, "stopped": len(stopped), "causes": named}

    def destroy(self, running: RunningJob) -> Mapping[str, Any]:
        """Destroy what is due by block time; raises ConfirmationWanted where that is unusually much [EXCHANGE-24].

        First the bytes go, then the ledger is told: while it takes nothing of this bank's, no data outlives its end.
        """
        recipient = self.institution.recipient
        due = recipient.due_answers()
        until_ms = _confirmed_until(due, running, what="answers")
        running.progress("destroy at the end of data life 到期销毁", 0, due.due)
        destroyed = len(recipient.destroy_due(until_ms=until_ms))
        self.institution.exposures.erase_due()
        return {"destroyed": destroyed, "recorded": self._record(running), "until_ms": until_ms}

    def record_computations(self, running: RunningJob) -> Mapping[str, Any]:
        """Put logs on the ledger that do not stand there, and destroy those whose life ended, as ``destroy`` does."""
        file = self.institution.computations
        recorded, due = file.record(), file.due()
        destroyed = file.erase_due(until_ms=_confirmed_until(due, running, what="logs of computations"))
        return {"destroyed": destroyed, "recorded": recorded}

    def _record(self, running: RunningJob) -> int:
        recorded = 0
        while True:
            running.progress("record what was destroyed 记录销毁", recorded, None)
            some = self.institution.recipient.record_erasures()
            recorded += some
            if some < MAX_RECORDED_AT_ONCE:
                return recorded

    def release(self, _running: RunningJob) -> Mapping[str, Any]:
        """Destroy kept answers that their banks took in."""
        return {"released": self.institution.provider.release_acknowledged()}

    def encrypt(self, _running: RunningJob) -> Mapping[str, Any]:
        """Encrypt batches that lie in clear, a number at a time, so that an ingest need not wait for long."""
        return {"encrypted": self.institution.vault.encrypt_batches(at_most=MAX_ENCRYPTED)}

    def name_ending_consents(self, _running: RunningJob) -> Mapping[str, Any]:
        """Name the consents that end soon, the first to end first."""
        institution = self.institution
        ending = ending_consents(
            ConsentStore(institution.database, cipher=institution.cipher),
            state=institution.outbox.state(),
            now_ms=institution.outbox.latest_ms(),
            within_ms=NOTICE_MS,
        )
        named = [{"consent": consent, "valid_to_ms": end_ms} for end_ms, consent in ending[:MAX_NAMED]]
        return {"ending": len(ending), "consents": named}

    def publish(self, _running: RunningJob) -> Mapping[str, Any]:
        """Publish the newest checkpoint that counts, and its tiles."""
        publisher = self.institution.publisher
        return {"size": None if publisher is None else publisher.publish()}

    def back_up(self, running: RunningJob) -> Mapping[str, Any]:
        """Take a backup into the folder of the settings; the oldest ones beyond the number to keep are removed."""
        institution, settings = self.institution, self.institution.settings
        folder = institution.home.folder / settings.backup_folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now_ms = institution.dependencies.clock.now_ms()
        stamp = datetime.fromtimestamp(now_ms / MS_PER_SECOND, tz=UTC).strftime("%Y%m%dT%H%M%SZ")
        target = folder / f"{settings.member}-{stamp}.tar"
        made = create_backup_apart(
            institution.home,
            target,
            passphrase=institution.data_key.passphrase(),
            # A database elsewhere is backed up by its own means.
            without_database=isinstance(database_of(institution.home), str),
            progress=running.progress,
        )
        own = re.compile(rf"{re.escape(settings.member)}-[0-9]{{8}}T[0-9]{{6}}Z\.tar")
        kept = sorted(path for path in folder.iterdir() if own.fullmatch(path.name))
        for old in kept[: -settings.backups_kept]:
            old.unlink()
        return {"file": str(target), **made}


def _confirmed_until(due: DueAnswers, running: RunningJob, *, what: str) -> int:
    """Return until when what came to its end is destroyed; raises ConfirmationWanted where that is unusually much."""
    if not is_unusual(due):
        return due.until_ms
    if running.job.confirmed is None:
        raise ConfirmationWanted(
            f"{due.due} of the {due.kept} {what} that are kept came to the end of their data life by "
            f"{iso_from_ms(due.until_ms)}, the time of the newest block; that is more than usual, and destroying "
            "cannot be undone",
            offer={"until_ms": due.until_ms, "due": due.due, "kept": due.kept},
        )
    return int(running.job.confirmed["until_ms"])

"""An institution whose server runs: what works together while ``shuiqiao serve`` does, opened and closed together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.environment import PASSPHRASE_FILE_VARIABLE
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.base.ids import ID_BYTES, MemberId, OwnedId
from shuiqiao.client import request_id
from shuiqiao.client.resources.leakage import READ_LEAKAGE
from shuiqiao.client.resources.upkeep import SHOW_COMPUTATION
from shuiqiao.consent.store import ConsentStore
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.node.accounts.model import PrincipalKind, member_caller
from shuiqiao.node.accounts.opening import InstitutionAccounts
from shuiqiao.node.computations import sealed_evidence
from shuiqiao.node.home.keys import former_passphrase_file
from shuiqiao.node.home.server_lock import ServerLock
from shuiqiao.node.institution import Institution
from shuiqiao.node.jobs.alarms import ALARMS
from shuiqiao.node.jobs.duties import GRANT_CONSENT, PROCESS_APPLICATION, PROCESS_OPEN, job_kinds
from shuiqiao.node.jobs.ingests import IngestJobs
from shuiqiao.node.jobs.model import ENDED, JobKind
from shuiqiao.node.jobs.runner import JobRunner
from shuiqiao.node.jobs.service import JobService, duty_id
from shuiqiao.node.jobs.store import JobStore
from shuiqiao.node.past import PastReader

if TYPE_CHECKING:
    from shuiqiao.base.errors import ShuiqiaoError
    from shuiqiao.node.accounts.model import Principal
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.jobs.model import Job, RunningJob
    from shuiqiao.node.services import Dependencies

MAX_HOLDERS: Final = 10_000
"""Consents of which it is kept whose they are."""

RESUME_MS: Final = 5 * 60_000
"""How long until what was approved and could not be carried out is taken up again, in milliseconds."""

log: structlog.stdlib.BoundLogger = structlog.get_logger("shuiqiao")

STOPPING_JOBS_S: Final = 10.0
"""How long the server waits for its jobs to end where it stops; what does not is begun anew by the next one."""


def require_passphrase_outside(home: Home) -> None:
    """Return unless the passphrase lies in the home: a copy of the home would then hold its keys and what opens them.

    Raises Denied ``node.passphrase_inside``.
    """
    named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    for path in (Path(named) if named else home.passphrase, former_passphrase_file(home)):
        if path.exists() and path.resolve().is_relative_to(home.folder.resolve()):
            message = f"the passphrase {path} lies in the home {home.folder} that it protects"
            raise Denied("node.passphrase_inside", message, next_step=f"move it, e.g. to {home.passphrase}")


def account_duties(accounts: InstitutionAccounts, institution: Institution) -> dict[str, JobKind]:
    """Return the duties of accounts, by name: carry out what was approved, anchor the journal [MEMBER-29]."""

    def resume(_running: RunningJob) -> Mapping[str, Any]:
        return {"acts": [row["approval"] for row in accounts.approvals.resume()]}

    def anchor(_running: RunningJob) -> Mapping[str, Any]:
        return {"days": [row["day"] for row in accounts.journal.anchor(institution.outbox)]}

    duties = (
        JobKind(name="approvals.resume", act=resume, every_ms=RESUME_MS, resumes=True),
        JobKind(name="journal.anchor", act=anchor, every_ms=MS_PER_HOUR),
    )
    return {kind.name: kind for kind in duties}


class RunningInstitution:
    """An institution and all that works for it while its server runs.

    ::

        with RunningInstitution.open(Home(Path("my-bureau"))) as running:
            running.institution.engine.last_block()
    """

    def __init__(self, institution: Institution, *, stack: ExitStack) -> None:
        """Use ``open``. stack: what is closed with it."""
        self.institution = institution
        self._stack = stack
        self.accounts = InstitutionAccounts(institution)
        """Who calls, what two people do, and the journal of it."""
        institution.told_of, institution.show_evidence = self._told_of, self._show_evidence
        around = institution.dependencies
        self.ingests = IngestJobs(institution)
        """Files that are taken in as jobs."""
        kinds = {**job_kinds(institution, ingests=self.ingests), **account_duties(self.accounts, institution)}
        self._store = store = JobStore(institution.database, cipher=institution.cipher)
        self.past = PastReader(institution.engine, parameters=institution.parameters)
        """Answers what held at a moment gone by."""
        self._taxpayer_of = lru_cache(MAX_HOLDERS)(
            ConsentStore(institution.database, cipher=institution.cipher).taxpayer
        )
        self.jobs = JobService(store, kinds=kinds, clock=around.clock, entropy=around.entropy)
        """Asks for jobs, shows, cancels and confirms them."""
        self.runner = JobRunner(store, service=self.jobs, kinds=kinds, clock=around.clock, entropy=around.entropy)

    def holder_of(self, caller: Principal) -> tuple[str, str]:
        """Return to whom a caller's requests belong: an enterprise with all its consents, a user with its programs.

        E.g. ``("person", "user-7")``, ``("enterprise", "91440300MA5EXAMPL1")``.
        """
        if caller.kind is not PrincipalKind.ENTERPRISE:
            return "person", caller.person
        if caller.consent is None:
            return "enterprise", caller.taxpayer
        try:
            return "enterprise", self._taxpayer_of(caller.consent)
        except KeyError:
            return "consent", caller.consent

    def _told_of(self, member: MemberId, taxpayer: str) -> AbstractContextManager[None]:
        """Enter that another member was told of a taxpayer, done or refused, when what is inside ends."""
        request = request_id.current.get()
        return self.accounts.journal.of(
            member_caller(member), act=READ_LEAKAGE.act, subject=f"taxpayer/{taxpayer}", request=request
        )

    def _show_evidence(self, request: OwnedId, asker: MemberId) -> bytes:
        """Seal evidence of a computation to a regulator that asks, and enter that it was shown or refused it."""
        entered = self.accounts.journal.of(
            member_caller(asker),
            act=SHOW_COMPUTATION.act,
            subject=f"request/{request}",
            request=request_id.current.get(),
        )
        with entered:
            return sealed_evidence(self.institution, request, regulator=asker)

    @classmethod
    def open(cls, home: Home, *, dependencies: Dependencies | None = None, passphrase: bytes | None = None) -> Self:
        """Open a home to serve it; the ledger is recovered before this returns, and a validator's node started.

        Raises Conflict ``node.server_running``, Denied ``node.passphrase_inside``, Unavailable
        ``ledger.cometbft_absent``, what ``Institution.open`` raises.
        """
        with ExitStack() as stack:
            if not home.folder.is_dir():
                raise Unavailable(
                    "node.home_missing",
                    f"{home.folder} is not a home: it is not there",
                    next_step=f"shuiqiao init --home {home.folder}",
                )
            lock = ServerLock(home)
            stack.callback(lock.release)
            if passphrase is None:
                require_passphrase_outside(home)
            institution = Institution.open(home, dependencies=dependencies, passphrase=passphrase)
            stack.callback(institution.close)
            institution.deliveries.start()
            running = cls(institution, stack=stack)
            running._start_validator(stack)
            # The lock on the home says that no other process does its jobs.
            running.ingests.sent.sweep(running.job_of)
            running.runner.start(is_alone=True)
            # The jobs end before what they work on is closed.
            stack.callback(running.runner.close, timeout_s=STOPPING_JOBS_S)
            running._watch_writer()
            running._stack = stack.pop_all()
            return running

    def _watch_writer(self) -> None:
        """Log when this member begins to wait for the writer and when it goes on; what was stopped goes on then too."""
        self.institution.when_sent = self._go_on
        if isinstance(self.institution.engine, FollowerLedger):
            self.institution.engine.watch(self._heard_of_writer)

    def _heard_of_writer(self, trouble: ShuiqiaoError | None) -> None:
        writer = str(self.institution.parameters.operator)
        if trouble is not None:
            log.warning("ledger.waiting_began", peer=writer, code=trouble.code)
        else:
            log.info("ledger.waiting_ended", peer=writer, height=self.institution.engine.last_block()[0])
            self.institution.send_again()

    def _go_on(self) -> None:
        self.jobs.hasten_resuming()
        self.runner.wake()

    def _start_validator(self, stack: ExitStack) -> None:
        """Start the CometBFT node beside a validator's ledger, to be stopped before that is closed."""
        institution = self.institution
        if institution.settings.engine != "cometbft":
            return
        from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger
        from shuiqiao.node.validator import ValidatorNode

        engine = institution.engine
        assert isinstance(engine, CometbftLedger), "a home of this engine is opened with it"
        node = ValidatorNode.start(institution.home, settings=institution.settings, ledger=engine)
        stack.callback(node.close)
        institution.validator = node

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def process_soon(self, application: bytes) -> None:
        """Have an application of this bank taken to its end in the background; once is enough, however often asked.

        Its job may have ended, with the application waiting for something that is there now: the duty that goes on with
        all applications takes it up then.
        """
        job = self.ask_soon(PROCESS_APPLICATION, {"application": application.hex()}, id=application)
        if job.state in ENDED:
            self.process_open_soon()

    def grant_later(self, grant: bytes) -> None:
        """Have a grant that is kept back entered when its delay is over; once is enough, however often asked."""
        self.ask_soon(GRANT_CONSENT, {"grant": grant.hex()}, id=hashlib.sha256(grant).digest()[:ID_BYTES])

    def process_open_soon(self) -> None:
        """Have this bank's open applications gone on with at once: what they wait for, e.g. a model, may be there."""
        self.jobs.hasten(PROCESS_OPEN)
        self.runner.wake()

    def ask_soon(self, kind: str, parameters: Mapping[str, Any], *, id: bytes) -> Job:  # noqa: A002
        """Ask for a job under an id, and have it looked at at once; raises what ``JobService.ask`` raises."""
        job = self.jobs.ask(kind, parameters, id=id)
        self.runner.wake()
        return job

    def job_of(self, id: bytes) -> Job | None:  # noqa: A002
        """Return a job as it stands, None where there is none of that id."""
        return self._store.job(id)

    def end_waiting(self) -> None:
        """Let go who waits for news or for the end of a job, so that a server that is ending need not."""
        self.institution.end_waiting()
        self.ingests.end_waiting()

    def close(self) -> None:
        """Close all of it, the last first."""
        self._stack.close()

    def require_ready(self) -> None:
        """Return if requests can be answered: ledger and database are there [API-23].

        Raises Unavailable where they are not, ``ledger.not_followed`` for a copy that never reached its writer.
        """
        engine = self.institution.engine
        engine.last_block()
        if isinstance(engine, FollowerLedger) and not engine.has_followed:
            raise Unavailable(
                "ledger.not_followed", "no checkpoint of the writer has been reached yet", retry_after_s=1.0
            )
        with self.institution.database.connect() as connection:
            connection.exec_driver_sql("SELECT 1")

    def figures(self) -> Iterator[tuple[str, str, float]]:
        """Return what can be measured: name, words, value."""
        height, time_ms = self.institution.engine.last_block()
        yield "ledger_height", "Blocks of the ledger here", height
        yield "ledger_time_seconds", "Time of the newest block, seconds since 1970", time_ms / 1000
        yield "outbox_waiting", "Acts that the ledger has not acknowledged", len(self.institution.outbox.rows())
        waiting = self.institution.deliveries.count()
        yield "deliveries_waiting", "Messages that other members have not taken yet", waiting
        yield "alarms_standing", "Alarms that this node raised by itself and that stand", self._standing_alarms()

    def _standing_alarms(self) -> int:
        job = self._store.job(duty_id(ALARMS))
        return 0 if job is None or job.result is None else int(job.result.get("count", 0))

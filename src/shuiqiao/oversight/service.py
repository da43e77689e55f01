"""What members do to watch over each other: any raises alarms, a regulator publishes statistics.

Alarms: docs/spec/members.md [MEMBER-21]. An alarm stands on the ledger; what proves it lies with whoever raised it.
Statistics: docs/spec/lending.md [LENDING-9]. Each decision is counted in exactly one release: the first one after it
opened. So two releases never differ by a few decisions, and adding them up gives totals and nothing smaller. What was
published stays as it is: an opening that came late is counted in the next release.

LIMIT: a regulator that restores an older database forgets what it published since, and could count it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from shuiqiao.base.clock import Clock
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput
from shuiqiao.base.ids import ID_BYTES, MemberId
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import Committed
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.ledger.witness.fork_evidence import verify_fork_evidence
from shuiqiao.lending.openings import DecisionOpening
from shuiqiao.members.epoch import checkpoint_policy, read_epoch
from shuiqiao.oversight.contract import ALARM, AlarmSubject, OversightAlarmBody, alarm_key
from shuiqiao.oversight.model import Release
from shuiqiao.oversight.statistics import LEAST_FIRMS, MIN_LEAST_FIRMS, tabulate
from shuiqiao.oversight.store import ReleaseStore


class AlarmService:
    """The alarms that one member raises on the ledger [MEMBER-21].

    Example::

        evidence = witness.evidence(origin)
        bank.alarms.accuse_of_fork(operator, evidence=evidence)
    """

    def __init__(self, *, submitter: LedgerSubmitter, suite: CipherSuite) -> None:
        self._submitter = submitter
        self._suite = suite

    def accuse_of_fork(self, accused: MemberId, *, evidence: bytes) -> Committed:
        """Accuse the operator or a cosigner of signing two histories, once the evidence proves it.

        The same evidence is one alarm: its id follows from it. The ledger gets the digest of the evidence. LIMIT:
        signatures count by the keys of the present epoch alone, as this member's own copy has it. Raises IntegrityError
        ``ledger.evidence_malformed``, ``ledger.fork_unproven``, what ``verify_log_signature`` raises, and what the
        ledger refuses with.
        """
        epoch = read_epoch(self._submitter.state())
        policy = checkpoint_policy(epoch, origin=self._submitter.parameters.origin)
        if accused != policy.operator:
            if accused not in policy.witnesses:
                raise IntegrityError("ledger.fork_unproven", f"{accused} signs no checkpoint of this network now")
            policy = policy.for_witness(accused)
        verify_fork_evidence(evidence, policies=[policy], suite=self._suite)
        digest = self._suite.digest(evidence)
        body = OversightAlarmBody(
            alarm=digest[:ID_BYTES],
            subject=AlarmSubject.FORK,
            accused=accused,
            evidence_digest=digest,
        )
        return self._submitter.submit(ALARM, body)

    def stands(self, evidence: bytes) -> bool:
        """Tell whether this member's alarm over this evidence is on the ledger."""
        alarm = self._suite.digest(evidence)[:ID_BYTES]
        return self._submitter.state().get(alarm_key(self._submitter.member, alarm)) is not None


class StatisticsService:
    """The statistics that one regulator publishes.

    Example::

        opened = regulator.opened_decisions()
        release = regulator.statistics.publish(opened.decisions)
    """

    def __init__(self, *, store: ReleaseStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def publish(self, opened: Sequence[DecisionOpening], *, least_firms: int = LEAST_FIRMS) -> Release:
        """Count what no release counted yet, keep the release and return it.

        Raises InvalidInput ``oversight.least_firms_invalid``, Conflict ``oversight.release_too_small``.
        """
        if least_firms < MIN_LEAST_FIRMS:
            raise InvalidInput(
                "oversight.least_firms_invalid",
                f"cells of {least_firms} firms where at least {MIN_LEAST_FIRMS} are needed to hide one",
            )
        counted = self._store.counted()
        new = [decision for decision in opened if (decision.bank, decision.application) not in counted]
        tables = tabulate(new, least_firms=least_firms)
        if not tables:
            firms = len({decision.firm for decision in new})
            raise Conflict(
                "oversight.release_too_small",
                f"{firms} firms were decided on since the last release, a cell holds at least {least_firms}",
                next_step="Publish again when more decisions were made and their openings are in.",
            )
        release = Release(
            number=len(self._store.releases()) + 1,
            published_ms=self._clock.now_ms(),
            decisions=len(new),
            least_firms=least_firms,
            tables=tables,
        )
        self._store.add(release, decisions=[(decision.bank, decision.application) for decision in new])
        return release

    def releases(self) -> tuple[Release, ...]:
        """Return everything that was published, the first release first."""
        return self._store.releases()

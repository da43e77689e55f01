"""One party's logs of joint computations: signed at once, on the ledger soon, gone with the answer.

Rule: docs/spec/secure.md [SECURE-18], [SECURE-19]. ``keep`` stands between a run and its answer, so it writes one row
and asks nobody; the entry on the ledger is made by a duty of its own (``record``). What was never answered is no
computation: its log is dropped. A log goes at the end of the life that its consent gives to answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import OwnedId
from shuiqiao.consent.ceilings import ceiling_of
from shuiqiao.exchange.ceilings import data_life_days
from shuiqiao.exchange.computation import ComputationLog, committed, encode_inputs, sign_log
from shuiqiao.exchange.contract import COMPUTATION, ComputationRecordBody
from shuiqiao.exchange.model import RequestStatus, computation_key, request_key
from shuiqiao.privacy.secure.model import CONFIGURATION, TAG_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.base.ids import Entropy
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.credit.store import ComputationStore, KeptComputation
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.exchange.modes.score import Session
    from shuiqiao.exchange.store import DueAnswers
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.privacy.secure.model import LinkEnds, SecureFunction

_SALT_BYTES = 32
_ANSWERED = (RequestStatus.DELIVERED, RequestStatus.ACKNOWLEDGED, RequestStatus.DESTROYED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """One party's half of a run that ended well. numbers: that it put in. share: that it got."""

    session: Session
    function: SecureFunction
    numbers: list[int]
    share: bytes
    ends: LinkEnds
    began_ms: int


class ComputationFile:
    """The logs of one institution; any number of threads may keep them.

    Example::

        file.keep(FinishedRun(session=session, function=function, numbers=weights, share=share, ends=ends, began_ms=t))
        file.record()
        file.find(request).log
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: ComputationStore,
        artefact: Callable[[OwnedId], ConsentArtefact],
        key: SigningKey,
        suite: CipherSuite,
        entropy: Entropy,
    ) -> None:
        """artefact: a consent on file here."""
        self._submitter = submitter
        self._store = store
        self._artefact = artefact
        self._key = key
        self._suite = suite
        self._entropy = entropy

    def now_ms(self) -> int:
        """Return this institution's time."""
        return self._submitter.now_ms()

    def keep(self, run: FinishedRun) -> None:
        """Sign the log of a run and keep it with what opens it, in the place of an earlier run of the same request."""
        session, now_ms = run.session, self.now_ms()
        salt, (output,) = self._entropy(_SALT_BYTES), session.model.outputs
        log = ComputationLog(
            party=self._submitter.member,
            other=session.peer,
            request=session.request,
            binding=session.binding,
            model=session.model.model,
            model_digest=session.model.digest,
            output=output,
            function=run.function.digest,
            configuration=sha256(CONFIGURATION).digest(),
            agreed=run.share[1 : 1 + TAG_BYTES],
            session=run.ends.session,
            bank_certificate=run.ends.bank,
            bureau_certificate=run.ends.bureau,
            inputs=committed(encode_inputs(run.numbers), what="inputs", salt=salt, suite=self._suite),
            share=committed(run.share, what="share", salt=salt, suite=self._suite),
            began_ms=run.began_ms,
            ended_ms=now_ms,
        )
        self._store.keep(
            request=session.request,
            log=sign_log(log, network=self._submitter.parameters.network, suite=self._suite, key=self._key),
            salt=salt,
            numbers=encode_inputs(run.numbers),
            share=run.share,
            kept_ms=now_ms,
            erase_after_ms=now_ms + self._life_days(session.request) * MS_PER_DAY,
        )

    def find(self, request: OwnedId) -> KeptComputation:
        """Return the log of a request with what opens it; raises Denied ``exchange.log_missing``."""
        found = self._store.find(request)
        if found is None:
            raise Denied("exchange.log_missing", f"no log of a computation for request {request} is kept here")
        return found

    def record(self) -> int:
        """Put the digests of logs on the ledger that are not known to stand there; return how many that were now.

        A log of a request that was refused is dropped, one of a request that is not answered yet waits. Raises what the
        ledger refuses with.
        """
        done = 0
        for kept in self._store.unrecorded():
            state = self._submitter.state()
            status = (state.get(request_key(kept.request)) or {}).get("status")
            if status == RequestStatus.REFUSED:
                self._store.erase(kept.request)
            if status not in _ANSWERED:
                continue
            recorded = (state.get(computation_key(kept.request)) or {}).get(self._submitter.member)
            if recorded is None:
                self._submitter.submit(
                    COMPUTATION,
                    ComputationRecordBody(request=kept.request, log_digest=self._suite.digest(kept.log)),
                )
            self._store.mark_recorded(kept.request, now_ms=self.now_ms())
            done += 1
        return done

    def due(self) -> DueAnswers:
        """Count the logs whose life has ended by the time of the newest block [EXCHANGE-24]."""
        return self._store.count_due(now_ms=self._submitter.block_ms())

    def erase_due(self, *, until_ms: int) -> int:
        """Destroy the logs whose life ended by a moment that a block has reached; return how many."""
        return self._store.erase_due(now_ms=min(until_ms, self._submitter.block_ms()))

    def _life_days(self, request: OwnedId) -> int:
        state = self._submitter.state()
        artefact = self._artefact(OwnedId(state.get(request_key(request))["consent"]))
        return data_life_days(artefact, ceiling=ceiling_of(artefact, state))

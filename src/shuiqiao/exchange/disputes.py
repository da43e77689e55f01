"""An enterprise disputes a fact that was given to banks; its bureau corrects it or says why it stands.

1. the enterprise names a record by its place on the ledger, says why, and signs (``dispute_statement``);
2. the bureau takes that in if the record was given to somebody from this taxpayer's records, once for each record;
3. it answers: corrected, which the ledger has to show (``anchor.amend`` or ``anchor.erase`` of that very record), or
   refused, with its reason.

Every bank that received the record is known (``recipients``), and sees the correction in its own copy of the ledger,
whether or not anybody tells it [EXCHANGE-21]. Rule: docs/spec/consent-exchange.md [EXCHANGE-25].
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.exchange.changes import decode_leaves
from shuiqiao.exchange.dispute_statement import MAX_REASON_CHARS, decode_dispute
from shuiqiao.exchange.model import AnswerStatus
from shuiqiao.exchange.store import DisputeRow
from shuiqiao.ledger.transactions.document import verify_document
from shuiqiao.vault.contract import LedgerLeaves
from shuiqiao.vault.model import LeafStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.dispute_statement import DisputeBody
    from shuiqiao.exchange.store import ProviderStore
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter

MAX_OPEN = 200
"""Disputes of one taxpayer that wait for an answer at once."""


class DisputeStatus(StrEnum):
    """Where a dispute stands."""

    OPEN = "open"
    CORRECTED = "corrected"
    REFUSED = "refused"


class Disputes:
    """The disputes at one bureau.

    Example::

        row = bureau.disputes.receive(signed)
        bureau.vault.amend(corrected, anchor=bureau.outbox)
        bureau.disputes.answer(row.dispute, status=DisputeStatus.CORRECTED, words="the filing was amended")
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: ProviderStore,
        suite: CipherSuite,
        enrolment_key: Callable[[str], bytes | None],
    ) -> None:
        """enrolment_key: of a taxpayer, None for one that is not enrolled here."""
        self._submitter = submitter
        self._store = store
        self._suite = suite
        self._enrolment_key = enrolment_key

    def receive(self, raw: bytes) -> DisputeRow:
        """Take a dispute in; the same again changes nothing.

        Raises InvalidInput ``ledger.document_*``, IntegrityError for the signature, Denied
        ``consent.provider_wrong``, ``exchange.record_not_given`` or ``exchange.disputes_too_many``, Conflict
        ``exchange.dispute_open`` where the record is disputed already.
        """
        document = decode_dispute(raw, network=self._submitter.parameters.network, suite=self._suite)
        body = document.body
        # A stranger gets one answer, after the same work, whether or not the taxpayer is enrolled here.
        key = self._enrolment_key(body.taxpayer) or self._suite.digest(raw)
        verify_document(document, public_keys=(key,), suite=self._suite)
        if body.bureau != self._submitter.member:
            raise Denied(
                "consent.provider_wrong", f"this is for the bureau {body.bureau}, not for {self._submitter.member}"
            )
        known = self._store.disputes(taxpayer=body.taxpayer)
        same = [row for row in known if row.dispute == body.dispute]
        if same:
            return same[0]
        self._expect_new(body, known)
        row = DisputeRow(
            dispute=body.dispute,
            taxpayer=body.taxpayer,
            statement=raw,
            batch=body.batch,
            leaf=body.leaf,
            reason=body.reason,
            received_ms=self._submitter.now_ms(),
            status=str(DisputeStatus.OPEN),
        )
        self._store.add_dispute(row)
        return row

    def of_taxpayer(self, taxpayer: str) -> list[DisputeRow]:
        """Return a taxpayer's disputes, oldest first."""
        return self._store.disputes(taxpayer=taxpayer)

    def open_disputes(self) -> list[DisputeRow]:
        """Return what waits for an answer, oldest first."""
        return [row for row in self._store.disputes() if row.status == DisputeStatus.OPEN]

    def recipients(self, row: DisputeRow) -> list[tuple[MemberId, OwnedId]]:
        """Return which banks received a disputed record, each with the request it came by."""
        return self._given(row.taxpayer, batch=row.batch, leaf=row.leaf)

    def answer(self, dispute: bytes, *, status: DisputeStatus, words: str) -> DisputeRow:
        """Answer a dispute, once.

        Raises InvalidInput ``exchange.dispute_answer_invalid``, Denied ``exchange.dispute_unknown``, Conflict
        ``exchange.dispute_answered``, Denied ``exchange.record_uncorrected`` where the ledger shows no correction.
        """
        if status is DisputeStatus.OPEN or not 0 < len(words) <= MAX_REASON_CHARS:
            raise InvalidInput(
                "exchange.dispute_answer_invalid",
                f"an answer of {len(words)} characters that it is {status}: corrected or refused is said in 1 to "
                f"{MAX_REASON_CHARS}",
            )
        found = [row for row in self._store.disputes() if row.dispute == dispute]
        if not found:
            raise Denied("exchange.dispute_unknown", f"no dispute {dispute.hex()} was taken in here")
        row = found[0]
        state = LedgerLeaves(self._submitter.state(), self._submitter.member)
        if status is DisputeStatus.CORRECTED and state(row.batch, row.leaf) is LeafStatus.LIVE:
            raise Denied(
                "exchange.record_uncorrected",
                f"record {row.batch.hex()} leaf {row.leaf} stands on the ledger as it was: nothing superseded it",
            )
        answered_ms = self._submitter.now_ms()
        if not self._store.answer_dispute(row, status=str(status), words=words, answered_ms=answered_ms):
            raise Conflict("exchange.dispute_answered", f"dispute {dispute.hex()} was answered already")
        return next(each for each in self._store.disputes(taxpayer=row.taxpayer) if each.dispute == dispute)

    def _expect_new(self, body: DisputeBody, known: list[DisputeRow]) -> None:
        waiting = [row for row in known if row.status == DisputeStatus.OPEN]
        if any((row.batch, row.leaf) == (body.batch, body.leaf) for row in waiting):
            raise Conflict("exchange.dispute_open", f"record {body.batch.hex()} leaf {body.leaf} is disputed already")
        if len(waiting) >= MAX_OPEN:
            raise Denied("exchange.disputes_too_many", f"{len(waiting)} disputes wait for an answer already")
        if not self._given(body.taxpayer, batch=body.batch, leaf=body.leaf):
            raise Denied(
                "exchange.record_not_given",
                f"record {body.batch.hex()} leaf {body.leaf} was given to nobody from this taxpayer's records",
            )

    def _given(self, taxpayer: str, *, batch: bytes, leaf: int) -> list[tuple[MemberId, OwnedId]]:
        return [
            (MemberId(row.recipient), row.request)
            for row in self._store.asked_of(taxpayer)
            if row.outcome is AnswerStatus.DELIVERED
            and row.leaves is not None
            and _holds(row.leaves, batch=batch, leaf=leaf)
        ]


def _holds(leaves: bytes, *, batch: bytes, leaf: int) -> bool:
    return any(
        part == batch and leaf in np.frombuffer(indexes, dtype="<u4")
        for parts in decode_leaves(leaves).values()
        for part, indexes in parts
    )

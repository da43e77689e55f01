"""Opens every decision that was sealed to the regulator and compares it with the commitment on the ledger.

Rule: docs/spec/lending.md [LENDING-6], of outputs [LENDING-15]. A missing or wrong opening is a problem that names bank
and application; what opens is what statistics are made of and totals are checked with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId, owned_id
from shuiqiao.crypto.model import SealingKey
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.model import RequestStatus, request_key
from shuiqiao.ledger.model import LedgerEngine, StateView, Transaction
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.transaction import decode_transaction
from shuiqiao.lending.contract import DecisionRecordBody, application_key
from shuiqiao.lending.openings import DecisionOpening, open_decision

_ANSWERED = frozenset({RequestStatus.ACKNOWLEDGED, RequestStatus.DESTROYED})


class AuditProblem(NamedTuple):
    """What does not hold, in a sentence. code: of the error behind it, empty where there is none."""

    says: str
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedDecisions:
    """The decisions that opened, in order of the ledger. problems: one for each opening that is missing or wrong."""

    decisions: tuple[DecisionOpening, ...]
    problems: tuple[AuditProblem, ...]

    @property
    def approved_fen(self) -> int:
        """The total of all limits approved, to the fen."""
        return sum(decision.amount_fen for decision in self.decisions)


def indexed_transactions(engine: LedgerEngine, *, kinds: KindTable) -> Iterator[tuple[int, Transaction]]:
    """Iterate over (leaf index, transaction) of everything accepted, in order, decoded."""
    parameters = engine.parameters
    suite = get_suite(parameters.suite)
    for block in engine.blocks(from_height=1):
        for place, raw in enumerate(block.transactions):
            tx = decode_transaction(raw, kinds=kinds, network=parameters.network, suite=suite)
            yield block.first_index + place, tx


def open_decisions(
    engine: LedgerEngine, *, kinds: KindTable, regulator: MemberId, key: SealingKey, openings: Mapping[OwnedId, bytes]
) -> OpenedDecisions:
    """Open every decision that was sealed to a regulator and compare it with its commitment.

    E.g. ``regulator.opened_decisions().approved_fen``, where a regulator's home is open.

    openings: bank and application id to what the bank handed in. key: with every key behind it that the regulator ever
    had others seal to; what it raises as Unavailable ends this, since no bank is to blame for it.
    """
    decisions: list[DecisionOpening] = []
    problems: list[AuditProblem] = []
    used: dict[str, bytes] = {}
    for _, tx in indexed_transactions(engine, kinds=kinds):
        if not isinstance(tx.body, DecisionRecordBody) or tx.body.regulator != regulator:
            continue
        found = _open(tx, engine=engine, key=key, sealed=openings.get(owned_id(tx.author, tx.body.application)))
        if isinstance(found, DecisionOpening):
            found = _wrong_outputs(found, first=tx.body.request, state=engine.state(), used=used) or found
        if isinstance(found, DecisionOpening):
            decisions.append(found)
        else:
            says = f"the opening of decision {tx.body.application.hex()} by {tx.author} {found.says}"
            problems.append(found._replace(says=says))
    return OpenedDecisions(decisions=tuple(decisions), problems=tuple(problems))


def _wrong_outputs(
    opening: DecisionOpening, *, first: bytes, state: StateView, used: dict[str, bytes]
) -> AuditProblem | None:
    """Say what is wrong about the outputs of a decision without records [LENDING-15], None where they may stand.

    first: the request that the decision's entry names. used: request to the application that was decided on its answer.
    """
    requests = [output.request for output in opening.outputs] or [first]
    application = state.get(application_key(opening.bank, opening.application)) or {}
    for request in requests:
        name = owned_id(opening.bank, request)
        entry = state.get(request_key(name)) or {}
        if entry.get("status") not in _ANSWERED or entry.get("consent") != application.get("consent"):
            return AuditProblem(f"rests on request {request.hex()}, which is no answer under its consent")
        if used.setdefault(name, opening.application) != opening.application:
            return AuditProblem(f"rests on request {request.hex()}, on which another application was decided")
    if requests[0] != first or len(set(requests)) != len(requests):
        return AuditProblem("names other requests than its decision")
    return None


def _open(
    tx: Transaction, *, engine: LedgerEngine, key: SealingKey, sealed: bytes | None
) -> DecisionOpening | AuditProblem:
    """Return an opening that holds, or what is wrong with it."""
    body: DecisionRecordBody = tx.body
    parameters = engine.parameters
    suite = get_suite(parameters.suite)
    if sealed is None:
        return AuditProblem("is missing")
    if suite.digest(sealed) != body.opening_digest:
        return AuditProblem("is not the one whose digest the bank recorded")
    try:
        opening = open_decision(
            sealed, key=key, network=parameters.network, bank=tx.author, application=body.application
        )
    except (IntegrityError, InvalidInput) as error:
        return AuditProblem(f"cannot be read: {error.code}", error.code)
    if opening.commitment(suite) != body.commitment:
        return AuditProblem("does not open its commitment")
    return opening

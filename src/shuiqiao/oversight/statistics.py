"""Outcome statistics by grade, industry section and province, from the ledger alone.

No private data is needed: outcome, grade, industry and province stand in clear on decision.record. Amounts do not; with
the openings that banks sealed to the regulator, totals are checked to the fen, and every opening that is missing or
wrong is named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.crypto.model import CipherSuite, SealingKey
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.kinds import KindTable
from shuiqiao.ledger.model import LedgerEngine, Transaction
from shuiqiao.ledger.transaction import decode_transaction
from shuiqiao.lending.amounts import open_amount
from shuiqiao.lending.contract import DecisionRecordBody
from shuiqiao.lending.model import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow:
    """Decisions of one stratum by outcome."""

    stratum: str
    approved: int
    refused: int
    referred: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeStatistics:
    """What the regulator publishes. transactions_by_kind: every accepted transaction, counted."""

    by_grade: tuple[OutcomeRow, ...]
    by_industry: tuple[OutcomeRow, ...]
    by_province: tuple[OutcomeRow, ...]
    by_bank: tuple[OutcomeRow, ...]
    transactions_by_kind: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountTotals:
    """Approved totals opened by the regulator. problems: one sentence an opening that is missing or wrong."""

    approved_fen: int
    openings_checked: int
    problems: tuple[str, ...]


def indexed_transactions(engine: LedgerEngine, *, kinds: KindTable) -> Iterator[tuple[int, Transaction]]:
    """Iterate over (leaf index, transaction) of everything accepted, in order, decoded."""
    parameters = engine.parameters
    suite = get_suite(parameters.suite)
    for block in engine.blocks(from_height=1):
        for place, raw in enumerate(block.transactions):
            tx = decode_transaction(raw, kinds=kinds, network=parameters.network, suite=suite)
            yield block.first_index + place, tx


def outcome_statistics(engine: LedgerEngine, *, kinds: KindTable) -> OutcomeStatistics:
    """Count decisions by stratum and transactions by kind, from genesis."""
    strata: dict[str, Counter[tuple[str, Outcome]]] = {
        "grade": Counter(),
        "industry": Counter(),
        "province": Counter(),
        "bank": Counter(),
    }
    by_kind: Counter[str] = Counter()
    for _, tx in indexed_transactions(engine, kinds=kinds):
        by_kind[tx.kind] += 1
        if isinstance(tx.body, DecisionRecordBody):
            body = tx.body
            for name, value in (("grade", body.grade), ("industry", body.industry), ("province", body.province)):
                strata[name][value, body.outcome] += 1
            strata["bank"][str(tx.author), body.outcome] += 1
    return OutcomeStatistics(
        by_grade=_rows(strata["grade"]),
        by_industry=_rows(strata["industry"]),
        by_province=_rows(strata["province"]),
        by_bank=_rows(strata["bank"]),
        transactions_by_kind=dict(sorted(by_kind.items())),
    )


def check_amounts(
    engine: LedgerEngine, *, kinds: KindTable, openings: Mapping[bytes, bytes], key: SealingKey, suite: CipherSuite
) -> AmountTotals:
    """Open every decision's amount and compare it with its commitment.

    openings: application id to the opening the bank sealed to the regulator.
    """
    network = engine.parameters.network
    total, checked, problems = 0, 0, []
    for _, tx in indexed_transactions(engine, kinds=kinds):
        body = tx.body
        if not isinstance(body, DecisionRecordBody):
            continue
        name = body.application.hex()
        sealed = openings.get(body.application)
        if sealed is None:
            problems.append(f"the opening of decision {name} by {tx.author} is missing")
            continue
        if suite.digest(sealed) != body.opening_digest:
            problems.append(f"the opening of decision {name} is not the one whose digest {tx.author} recorded")
            continue
        try:
            opening = open_amount(sealed, key=key, network=network, application=body.application)
        except ShuiqiaoError as error:
            problems.append(f"the opening of decision {name} cannot be read: {error.code}")
            continue
        if opening.commitment(suite) != body.amount_commitment:
            problems.append(f"the opening of decision {name} does not open its commitment")
            continue
        checked += 1
        total += opening.amount_fen if body.outcome is Outcome.APPROVED else 0
    return AmountTotals(approved_fen=total, openings_checked=checked, problems=tuple(problems))


def _rows(counts: Counter[tuple[str, Outcome]]) -> tuple[OutcomeRow, ...]:
    strata = sorted({stratum for stratum, _ in counts})
    return tuple(
        OutcomeRow(
            stratum=stratum,
            approved=counts[stratum, Outcome.APPROVED],
            refused=counts[stratum, Outcome.REFUSED],
            referred=counts[stratum, Outcome.REFERRED],
        )
        for stratum in strata
    )

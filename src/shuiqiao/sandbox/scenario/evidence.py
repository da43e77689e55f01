"""What a bank asks for and receives: the same path for model development and for an application.

request on the ledger -> sealed answer from the bureau -> every record proven -> acknowledged on the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from shuiqiao.base.ids import OwnedId
from shuiqiao.exchange.model import DataRequest
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.recipient import ReceivedData
from shuiqiao.features.inputs import INPUTS
from shuiqiao.node.institution import Institution
from shuiqiao.standards.model import Catalogue

UNDERWRITING_GROUPS = ("core", "amounts")
"""Enough for the scorecard; counterparties' identities and persons stay with the bureau."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Proven records of one taxpayer, by record type, and what carrying them took."""

    received: ReceivedData
    answer_bytes: int

    @property
    def tables(self) -> dict[str, Any]:
        """Record type to a pyarrow Table of the proven rows."""
        return tables_of(self.received)


def minimum_items(catalogue: Catalogue, *, available: frozenset[str]) -> dict[str, list[str]]:
    """Return standard ids to the least groups that features need, for the types that exist in this run's data."""
    return {
        record_type.standard_id: [group.id for group in record_type.groups if group.id in UNDERWRITING_GROUPS]
        for record_type in catalogue
        if record_type.id in INPUTS and record_type.id in available
    }


def gather(
    bank: Institution,
    *,
    bureau: Institution,
    consent: OwnedId,
    items: Mapping[str, list[str]],
    period: tuple[date, date],
    provider: Provider | None = None,
) -> Evidence:
    """Ask under a consent and prove the answer; raises what consent, ledger, provider or proof refuse with.

    provider: who answers in the bureau's name; its own desk unless a tampering act puts another one there.
    """
    wanted = DataRequest(consent=consent, items=items, period_from=period[0], period_to=period[1])
    sent = bank.recipient.request(wanted)
    bureau.catch_up_with(bank)
    answer = (provider or bureau.provider).answer(sent.message)
    bank.catch_up_with(bureau)
    return Evidence(received=bank.recipient.receive(sent.request, answer), answer_bytes=len(answer))


def tables_of(received: ReceivedData) -> dict[str, Any]:
    """Return record type to a pyarrow Table of the proven rows."""
    import pyarrow as pa

    return {entry.record_type.id: pa.Table.from_batches([entry.rows]) for entry in received.records.types.values()}

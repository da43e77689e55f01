"""A bureau's definition for predicates with two holders of it, without a ledger: what the ledger would have is here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shuiqiao.base.ids import OwnedId, system_entropy
from shuiqiao.privacy.credentials.anoncreds import (
    MadeDefinition,
    accumulator_without,
    blind,
    make_definition,
    present,
    sign,
    take,
)
from shuiqiao.privacy.credentials.model import LIST_SIZE, Registry
from shuiqiao.privacy.credentials.presentation import ProveRules
from shuiqiao.standards.tax_credit_grade import Grade

NETWORK = bytes(range(32))
STATUS_LIST = OwnedId("bureau/" + "0a" * 16)
TAXPAYER = "91440300MA5EXAMPL1"
PLACES = 16
CLAIMS: dict[str, Any] = {
    "tax_credit_grade": "B",
    "tax_paid_12m_band": 4,
    "sales_12m_band": None,
    "registered_band": 3,
    "no_arrears": True,
    "no_serious_violation_36m": None,
    "taxpayer": TAXPAYER,
}
RULES = ProveRules(
    grades=(Grade.A, Grade.B, Grade.M), least={"tax_paid_12m_band": 4, "registered_band": 2}, flags=("no_arrears",)
)
"""What CLAIMS meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A holder of a credential."""

    credential: bytes
    link_secret: bytes


class AnonCredsWorld:
    """A definition of few places, made anew; tails lie in a folder."""

    def __init__(self, folder: Path) -> None:
        self.made: MadeDefinition = make_definition(
            network=NETWORK, status_list=STATUS_LIST, closes_s=1_000, expires_s=2_000, places=PLACES
        )
        self.definition = self.made.definition
        self.tails = folder / "tails"
        self.tails.write_bytes(self.made.tails)
        self.registry = Registry(
            definition=hashlib.sha256(self.definition.raw).digest(),
            bits=bytes(LIST_SIZE // 8),
            accumulator=self.made.accumulator,
        )

    def holder(self, *, place: int, **changes: Any) -> Holder:
        """A holder of a credential at a place, with changes of what it says."""
        request, link_secret = system_entropy(16), system_entropy(32)
        blinded, metadata = blind(self.definition, request=request, link_secret=link_secret)
        signed = sign(
            self.definition,
            blinded,
            secret=self.made.secret,
            request=request,
            claims=CLAIMS | changes,
            place=place,
            registry=self.registry,
        )
        taken = take(self.definition, signed, metadata=metadata, link_secret=link_secret)
        return Holder(credential=taken, link_secret=link_secret)

    def proof(
        self, holder: Holder, *, challenge: bytes, rules: ProveRules = RULES, registry: Registry | None = None
    ) -> bytes:
        """A proof of a holder."""
        return present(
            self.definition,
            holder.credential,
            rules=rules,
            challenge=challenge,
            registry=registry or self.registry,
            link_secret=holder.link_secret,
            tails=self.tails,
        )

    def revoked(self, *places: int) -> Registry:
        """The registry once places are revoked."""
        bits = bytearray(self.registry.bits)
        for place in places:
            bits[place // 8] |= 1 << place % 8
        accumulator = accumulator_without(
            self.definition, secret=self.made.secret, registry=self.registry, revoked=list(places)
        )
        return replace(self.registry, bits=bytes(bits), accumulator=accumulator)


def leaves(value: Any) -> list[str]:
    """Every text and number of a JSON value, as text; a list of numbers, which stands for bytes, as one."""
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list) and not all(isinstance(each, int) for each in value):
        return [leaf for each in value for leaf in leaves(each)]
    return [json.dumps(value)]

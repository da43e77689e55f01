"""The record-management-only rules as checks: nothing on this ledger can be owned, moved, spent or earned.

Three proofs, each repeatable by anyone who has the software:

1. the schema of every kind is walked: no kind's name and no field's name is of the vocabulary of value transfer, and
   every integer a body may hold is one of a closed list of meanings (times, counts, positions), so no body can carry a
   quantity of anything, a fee, a reward or a weight by holdings;
2. a mint and a transfer, correctly signed by a real member, are handed to the real engine and must be refused;
3. a known kind with a fee smuggled into its body must be refused as well.

It does not judge what institutions do off the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import Entropy, MemberId, new_id
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.model import Kind, LedgerEngine
from shuiqiao.ledger.transactions.transaction import (
    TransactionDraft,
    assemble_transaction,
    sign_payload,
    sign_transaction,
)

TRANSFER_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        mint burn transfer spend pay payee holder owner ownership balance asset token coin nft share stake staking
        weight fee gas tip reward bonus yield dividend interest airdrop bearer endorse assign swap trade bid ask price
        supply unit units quantity amount value wallet
        """,
    )
)
"""Words of value transfer; a kind or field named with one of them would need an argument that nobody can make here.

``amount`` and ``value`` stand here too: an amount appears on the ledger inside a commitment only.
"""

INTEGER_MEANINGS = re.compile(
    r"(.*_ms|day|count|depth|version|index|indexes|leaf|leaf_index|.*_index|.*_count|.*_days|.*_months|.*_per_year"
    r"|size|height|revoked)"
)
"""What an integer in a body may mean: a moment or a length of time, a number of records, how often something may be
asked, a position (revoked: positions in a list of statuses). Nothing that adds up to wealth."""

_CLOSED_TYPES = (
    inspect.IntType,
    inspect.StrType,
    inspect.BytesType,
    inspect.BoolType,
    inspect.NoneType,
    inspect.EnumType,
    inspect.LiteralType,
    inspect.StructType,
)
"""What a body may be made of. Anything else (a float, a decimal, a map, anything at all) could carry a quantity."""

REFUSAL_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordRulesReport:
    """The outcome of the three proofs."""

    kinds_walked: int
    fields_walked: int
    violations: tuple[str, ...]
    mint_refused: bool
    transfer_refused: bool
    fee_refused: bool
    refusals: dict[str, str]
    """Each attempted act with the stable code that refused it."""

    @property
    def holds(self) -> bool:
        """Whether every proof held."""
        return not self.violations and self.mint_refused and self.transfer_refused and self.fee_refused


class _MintBody(msgspec.Struct, frozen=True, kw_only=True):
    to: str
    amount: int


class _TransferBody(msgspec.Struct, frozen=True, kw_only=True):
    from_member: str
    to: str
    amount: int


def check_record_rules(
    engine: LedgerEngine,
    *,
    kinds: Iterable[Kind],
    suite: CipherSuite,
    member: MemberId,
    key: SigningKey,
    valid_until_ms: int,
    entropy: Entropy,
) -> RecordRulesReport:
    """Walk every kind and try a mint, a transfer and a smuggled fee on the engine, signed by a real member."""
    table = list(kinds)
    walked = [field for kind in table for field in _fields_of(kind)]
    attempt = _Attempts(
        engine=engine, suite=suite, member=member, key=key, valid_until_ms=valid_until_ms, entropy=entropy
    )
    refusals = {
        "mint": attempt.foreign("asset.mint", _MintBody(to=member, amount=1)),
        "transfer": attempt.foreign("asset.transfer", _TransferBody(from_member=member, to=member, amount=1)),
        "fee": attempt.smuggled_fee(table[0]) if table else "ledger.kind_unknown",
    }
    return RecordRulesReport(
        kinds_walked=len(table),
        fields_walked=len(walked),
        violations=tuple(_violations(table)),
        mint_refused=refusals["mint"] == "ledger.kind_unknown",
        transfer_refused=refusals["transfer"] == "ledger.kind_unknown",
        fee_refused=refusals["fee"] in {"ledger.body_invalid", "ledger.kind_unknown"},
        refusals=refusals,
    )


def _violations(kinds: Iterable[Kind]) -> Iterator[str]:
    for kind in kinds:
        if _is_transfer_word(kind.name):
            yield f"kind {kind.name} is named like a transfer of value"
        for name, field_type in _fields_of(kind):
            if _is_transfer_word(name):
                yield f"{kind.name} has a field {name}"
            leaves = tuple(_leaf_types(field_type))
            if any(isinstance(leaf, inspect.IntType) for leaf in leaves) and not INTEGER_MEANINGS.fullmatch(name):
                yield f"{kind.name} has a number {name} that is neither a moment nor a count nor a position"
            if not all(isinstance(leaf, _CLOSED_TYPES) for leaf in leaves):
                yield f"{kind.name} has a field {name} that could hold any quantity"
        if any(not schema.cls.__struct_config__.forbid_unknown_fields for schema in _structs_of(kind)):
            yield f"{kind.name} has a body that lets in fields nobody walked"


def _is_transfer_word(name: str) -> bool:
    words = re.split(r"[._]", name)
    return any(word in TRANSFER_WORDS or word.removesuffix("s") in TRANSFER_WORDS for word in words)


def _leaf_types(field_type: inspect.Type) -> Iterator[inspect.Type]:
    """Iterate over the scalars a field may hold, however deep in lists and alternatives they stand."""
    if isinstance(field_type, inspect.Metadata):
        yield from _leaf_types(field_type.type)
    elif isinstance(field_type, inspect.ListType | inspect.VarTupleType):
        yield from _leaf_types(field_type.item_type)
    elif isinstance(field_type, inspect.UnionType):
        for member in field_type.types:
            yield from _leaf_types(member)
    else:
        yield field_type


def _structs_of(kind: Kind) -> Iterator[inspect.StructType]:
    body = inspect.type_info(kind.body)
    leaves = [body, *(leaf for _, field_type in _fields_of(kind) for leaf in _leaf_types(field_type))]
    yield from (leaf for leaf in leaves if isinstance(leaf, inspect.StructType))


def _fields_of(kind: Kind) -> Iterator[tuple[str, inspect.Type]]:
    yield from _struct_fields(inspect.type_info(kind.body))


def _struct_fields(schema: inspect.Type) -> Iterator[tuple[str, inspect.Type]]:
    if isinstance(schema, inspect.Metadata):
        yield from _struct_fields(schema.type)
    elif isinstance(schema, inspect.StructType):
        for field in schema.fields:
            yield field.encode_name, field.type
            yield from _struct_fields(field.type)
    elif isinstance(schema, inspect.ListType | inspect.VarTupleType):
        yield from _struct_fields(schema.item_type)
    elif isinstance(schema, inspect.UnionType):
        for member in schema.types:
            yield from _struct_fields(member)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempts:
    """Acts that must be refused, correctly signed, on the real engine."""

    engine: LedgerEngine
    suite: CipherSuite
    member: MemberId
    key: SigningKey
    valid_until_ms: int
    entropy: Entropy

    def foreign(self, kind: str, body: msgspec.Struct) -> str:
        draft = TransactionDraft(
            kind=kind,
            version=1,
            body=body,
            author=self.member,
            valid_until_ms=self.valid_until_ms,
            id=new_id(self.entropy),
        )
        network = self.engine.parameters.network
        return self._outcome(lambda: sign_transaction(draft, network=network, suite=self.suite, keys=[self.key]))

    def smuggled_fee(self, kind: Kind) -> str:
        payload = encode_cbor(
            {
                "network": self.engine.parameters.network,
                "kind": kind.name,
                "version": kind.version,
                "id": new_id(self.entropy),
                "author": self.member,
                "valid_until": self.valid_until_ms,
                "body": {"fee": 1},
            }
        )
        signature = sign_payload(payload, suite=self.suite, key=self.key)
        return self._outcome(lambda: assemble_transaction(payload, signatures=[signature]))

    def _outcome(self, make: Callable[[], bytes]) -> str:
        """Return the code that refused the act, or ``accepted``."""
        try:
            committed: Any = self.engine.submit(make()).result(timeout=REFUSAL_TIMEOUT_S)
        except ShuiqiaoError as error:
            return error.code
        return f"accepted at {committed.index}"

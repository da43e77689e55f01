"""What makes a kind of transaction admissible: its version, the schema of its body, a bound on the work it makes.

Rooms above the ledger declare Kinds; ``node`` collects them into one KindTable. A table is closed: what is not in it
is refused [LEDGER-KIND-1], and a body schema that would let in an unbounded or untyped value is refused when the
table is built, before any transaction is [LEDGER-KIND-2]. It does not judge what a body means: ``Kind.check`` does.

The members decide which version of a kind counts (``KeyRing.kind_versions``); exactly the version of a block's height
is accepted in it, the first where nothing was decided [LEDGER-KIND-3]. No block changes it for itself. A program that
lacks a version stops at the block from which it counts: to go on would be to refuse what all others accept.

Work is bounded alike on every node, by no clock [LEDGER-WORK-1]. Bytes bound a block badly: a list item of three bytes
can cost two reads and a write of the state. So work is counted in units of one state key read or written, about a
microsecond each. ``expected_work`` follows from the transaction alone, before anything is executed; what the rules
really read and wrote is counted beside it (``state/overlay``), and the larger of the two is charged (``machine``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import inspect

from shuiqiao.base.encoding import cbor_key_rank, typed
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.ledger.model import first_version

if TYPE_CHECKING:
    from shuiqiao.ledger.model import KeyRing, Kind, StateView, Transaction

GATE_ROOM = "gate"
"""Kinds that write here lift or impose a suspension or freeze; they alone pass a frozen network."""

REPLAY_ROOM = "replay"
"""The ledger's own room: no kind may write there."""

_NAME = re.compile(r"[a-z][a-z_]{0,31}\.[a-z][a-z_]{0,31}")
_ROOM = re.compile(r"[a-z][a-z_]{0,31}")


class KindTable:
    """The closed set of kinds of a network, looked up by name and version.

    Raises ValueError when two kinds share name and version, when a kind writes where it may not, or when its body
    schema is not closed and bounded: each is a programming error, found when the node starts.
    """

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._kinds: dict[tuple[str, int], Kind] = {}
        self._field_orders: dict[type[msgspec.Struct], tuple[str, ...]] = {}
        for kind in kinds:
            self._add(kind)

    def _add(self, kind: Kind) -> None:
        key = (kind.name, kind.version)
        if key in self._kinds:
            raise ValueError(f"{kind.name} version {kind.version} is declared twice")
        if not _NAME.fullmatch(kind.name) or not _ROOM.fullmatch(kind.room) or kind.version < 1:
            raise ValueError(f"{kind.name!r} version {kind.version} in room {kind.room!r} is not a well-formed kind")
        if kind.room == REPLAY_ROOM:
            raise ValueError(f"{kind.name} may not write under {REPLAY_ROOM}/: that room is the ledger's own")
        if kind.author is not None and kind.signers is None:
            raise ValueError(f"{kind.name} has an author that is no member, and does not say who signs for it")
        _require_bounded(inspect.type_info(kind.body), where=kind.name, seen=set())
        self._kinds[key] = kind
        self._field_orders[kind.body] = _field_order(kind.body)

    def get(self, name: str, version: int) -> Kind:
        """Return a kind, or raise InvalidInput ``ledger.kind_unknown``."""
        kind = self._kinds.get((name, version))
        if kind is None:
            raise InvalidInput("ledger.kind_unknown", f"{name[:70]!r} version {version} is not a kind of this network")
        return kind

    def has(self, name: str, version: int) -> bool:
        """Tell whether a version of a kind is in the table."""
        return (name, version) in self._kinds

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def __len__(self) -> int:
        return len(self._kinds)

    def decode_body(self, kind: Kind, fields: Mapping[str, Any]) -> msgspec.Struct:
        """Return the typed body, or raise InvalidInput ``ledger.body_invalid``.

        Every field of the schema must be present, in the order of deterministic CBOR: an absent field and one at its
        default would be two encodings of one meaning.
        """
        if tuple(fields) != self._field_orders[kind.body]:
            expected = ", ".join(self._field_orders[kind.body])
            raise InvalidInput("ledger.body_invalid", f"a body of {kind.name} has exactly the fields {expected}")
        try:
            return typed(fields, kind.body, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            raise InvalidInput("ledger.body_invalid", f"the body of {kind.name} is not allowed: {error}") from error


def _field_order(body: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(sorted((field.encode_name for field in msgspec.structs.fields(body)), key=cbor_key_rank))


def _require_bounded(schema: inspect.Type, *, where: str, seen: set[type]) -> None:
    """Raise ValueError unless every value the schema admits has a type and a largest size [LEDGER-KIND-2]."""
    match schema:
        case inspect.Metadata(type=inner):
            _require_bounded(inner, where=where, seen=seen)
        case inspect.NoneType() | inspect.BoolType() | inspect.EnumType() | inspect.LiteralType():
            return
        case inspect.IntType():
            _require(_is_int_bounded(schema), where=where, rule="an integer needs a lower and an upper bound")
        case inspect.StrType(max_length=limit) | inspect.BytesType(max_length=limit):
            _require(limit is not None, where=where, rule="text and bytes need a max_length")
        case (
            inspect.ListType(item_type=item, max_length=limit) | inspect.VarTupleType(item_type=item, max_length=limit)
        ):
            _require(limit is not None, where=where, rule="a list needs a max_length")
            _require_bounded(item, where=f"{where}[]", seen=seen)
        case inspect.UnionType(types=members):
            for member in members:
                _require_bounded(member, where=where, seen=seen)
        case inspect.StructType():
            _require_closed_struct(schema, where=where, seen=seen)
        case _:
            raise ValueError(f"{where}: a ledger body may not hold {type(schema).__name__}")


def _require_closed_struct(schema: inspect.StructType, *, where: str, seen: set[type]) -> None:
    if schema.cls in seen:
        raise ValueError(f"{where}: a ledger body may not contain itself")
    config = schema.cls.__struct_config__
    closed = config.frozen and config.forbid_unknown_fields and not config.omit_defaults and not config.array_like
    _require(closed, where=where, rule="a struct must be frozen, forbid unknown fields and write every field")
    for field in schema.fields:
        _require_bounded(field.type, where=f"{where}.{field.encode_name}", seen=seen | {schema.cls})


def _is_int_bounded(schema: inspect.IntType) -> bool:
    has_lower = schema.ge is not None or schema.gt is not None
    return has_lower and (schema.le is not None or schema.lt is not None)


def _require(condition: bool, *, where: str, rule: str) -> None:  # noqa: FBT001 - reads as the assertion it is
    if not condition:
        raise ValueError(f"{where}: {rule}")


def known_versions(key_ring: KeyRing, state: StateView, *, kinds: KindTable, height: int) -> Mapping[str, int]:
    """Return the version that counts in a block of every kind of which it is not the first.

    Raises Unavailable ``ledger.version_missing`` if the program does not have one of them.
    """
    versions = key_ring.kind_versions(state, height=height)
    for kind in sorted(versions):
        if not kinds.has(kind, versions[kind]):
            raise Unavailable(
                "ledger.version_missing",
                f"this program does not know version {versions[kind]} of kind {kind}, which block {height} asks for",
                next_step="install the release that has it and start the node again: it goes on where it stopped",
            )
    return versions


def refused_version(tx: Transaction, versions: Mapping[str, int]) -> InvalidInput | None:
    """Return what refuses a transaction of another version than the one that counts, None if it is of that one.

    It comes before every other question: a program that does not know the version refuses in the same class, so that
    results agree [ABCI-12].
    """
    active = versions.get(tx.kind, first_version(tx.kind))
    if tx.version == active:
        return None
    return InvalidInput(
        "ledger.kind_version_inactive",
        f"the transaction is of version {tx.version} of {tx.kind}, version {active} is accepted in this block",
        next_step="write it anew with the version that is accepted",
    )


SIGNATURE_WORK: Final = 64
"""Units for a signature: verifying one takes as long as so many reads of the state."""

ITEM_WORK: Final = 8
"""Units for an item of a list in the body: what any kind reads and writes for one at most."""

MAX_BLOCK_WORK: Final = 1 << 19
"""Units in a block: half a second where they are signatures, up to two where all are keys written.

8,192 transactions of one signature, or 15 that erase 4,096 leaves each.
"""


def expected_work(tx: Transaction) -> int:
    """Return the units that a transaction is charged at least: for its signatures and for its body."""
    return SIGNATURE_WORK * len(tx.signatures) + body_work(tx.body)


def body_work(value: object) -> int:
    """Return the units for the items of all lists in a body, and what its parts declare as ``WORK`` besides.

    A part declares it where its rules read or verify more than the signature and the items pay for.
    """
    if isinstance(value, list | tuple):
        return ITEM_WORK * len(value) + sum(map(body_work, value))
    if isinstance(value, msgspec.Struct):
        declared: int = getattr(type(value), "WORK", 0)
        return declared + sum(body_work(getattr(value, name)) for name in value.__struct_fields__)
    return 0

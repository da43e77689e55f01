"""[LEDGER-KIND-1], [LEDGER-KIND-2]: the table is closed, and so is every body in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from kinds_world import no_events
from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.model import Kind
from shuiqiao.ledger.transactions.kinds import KindTable

Number = Annotated[int, Meta(ge=0, le=9)]


def check_nothing(*_arguments):
    return


def kind(body, *, name="note.write", room="note", version=1):
    return Kind(name=name, room=room, version=version, body=body, check=check_nothing, apply=no_events)


def body_with(annotation, **config):
    options = {"frozen": True, "forbid_unknown_fields": True, "kw_only": True, **config}
    return msgspec.defstruct("Body", [("value", annotation)], **options)


class Colour(StrEnum):
    RED = "red"


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: Number


class OpenInner(msgspec.Struct, frozen=True):
    number: Number


class Endless(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: Number
    more: Endless | None


def test_get_returns_the_kind_of_that_name_and_version_only():
    """[LEDGER-KIND-1]"""
    one, two = kind(body_with(Number)), kind(body_with(Number), version=2)
    table = KindTable([one, two])
    assert [one, two] == list(table)
    assert len(table) == 2
    assert two is table.get("note.write", 2)
    for name, version in (("note.write", 3), ("note.writ", 1)):
        with pytest.raises(InvalidInput) as caught:
            table.get(name, version)
        assert caught.value.code == "ledger.kind_unknown"


@pytest.mark.parametrize(
    "annotation",
    [
        Number,
        bool,
        Colour,
        Literal["a", "b"],
        Number | None,
        Annotated[str, Meta(max_length=3)],
        Annotated[bytes, Meta(max_length=3)],
        Annotated[list[Number], Meta(max_length=3)],
        Annotated[tuple[Number, ...], Meta(max_length=3)],
        Inner,
        Annotated[list[Inner], Meta(max_length=3)],
    ],
)
def test_bounded_bodies_are_taken(annotation):
    assert len(KindTable([kind(body_with(annotation))])) == 1


@pytest.mark.parametrize(
    "annotation",
    [
        Any,
        float,
        int,
        str,
        bytes,
        Annotated[int, Meta(ge=0)],
        Annotated[int, Meta(le=9)],
        list[Number],
        Annotated[list[int], Meta(max_length=3)],
        Annotated[list[Any], Meta(max_length=3)],
        Annotated[set[Number], Meta(max_length=3)],
        Annotated[dict[str, Number], Meta(max_length=3)],
        str | None,
        OpenInner,
        Endless,
    ],
)
def test_unbounded_or_untyped_bodies_are_refused_when_the_table_is_built(annotation):
    """[LEDGER-KIND-2]"""
    with pytest.raises(ValueError):
        KindTable([kind(body_with(annotation))])


@pytest.mark.parametrize(
    "config",
    [{"frozen": False}, {"forbid_unknown_fields": False}, {"omit_defaults": True}, {"array_like": True}],
)
def test_open_structs_are_refused(config):
    with pytest.raises(ValueError):
        KindTable([kind(body_with(Number, **config))])


@pytest.mark.parametrize(
    "kinds",
    [
        [kind(Inner), kind(Inner)],
        [kind(Inner, name="note")],
        [kind(Inner, name="Note.Write")],
        [kind(Inner, room="no/te")],
        [kind(Inner, room="")],
        [kind(Inner, version=0)],
        [kind(Inner, room="replay")],
    ],
)
def test_kinds_that_are_ill_named_repeated_or_write_in_the_ledgers_own_room_are_refused(kinds):
    with pytest.raises(ValueError):
        KindTable(kinds)

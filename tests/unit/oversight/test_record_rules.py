"""A kind that could carry a quantity, a fee or a right is named, wherever in its body it hides it."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta

from kinds_world import no_events
from shuiqiao.ledger.model import Kind
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.oversight.record_rules import INTEGER_MEANINGS, RecordRulesReport, _fields_of, _violations

Number = Annotated[int, Meta(ge=0, le=100)]


def kind_with(field_type, *, field="content", name="fact.record", **config):
    options = {"frozen": True, "forbid_unknown_fields": True, "kw_only": True} | config
    body = msgspec.defstruct("Body", [(field, field_type)], **options)
    return Kind(name=name, room="vault", version=1, body=body, check=lambda *_: None, apply=no_events)


def violations(kind):
    return list(_violations([kind]))


def test_every_kind_of_the_network_carries_records_only():
    assert list(_violations(network_kinds())) == []
    assert sum(1 for kind in network_kinds() for _ in _fields_of(kind)) > 40


@pytest.mark.parametrize("field", ["content", "count", "valid_until_ms", "leaf_index", "indexes", "commitment"])
def test_a_plain_record_passes(field):
    assert violations(kind_with(Annotated[bytes, Meta(max_length=32)], field=field)) == []


@pytest.mark.parametrize("field", ["fee", "fee_count", "to_holder", "amount_fen", "fees", "unit_ms", "swap", "shares"])
def test_a_field_named_like_a_transfer_is_named(field):
    assert f"fact.record has a field {field}" in violations(kind_with(Number, field=field))


@pytest.mark.parametrize("name", ["asset.mint", "loan.transfer", "tokens.issue", "score.reward"])
def test_a_kind_named_like_a_transfer_is_named(name):
    assert violations(kind_with(Number, field="count", name=name)) == [f"kind {name} is named like a transfer of value"]


@pytest.mark.parametrize(
    "field_type", [Number, Number | None, list[Number], list[Number | None], tuple[Number, ...], list[list[Number]]]
)
def test_a_number_without_an_allowed_meaning_is_named_however_deep_it_stands(field_type):
    expected = "fact.record has a number points that is neither a moment nor a count nor a position"
    assert violations(kind_with(field_type, field="points")) == [expected]
    assert violations(kind_with(field_type, field="count")) == []


@pytest.mark.parametrize(
    "field_type",
    [float, Annotated[float, Meta(ge=0)], float | None, list[float], Decimal, Any, dict[str, Number], list[Any], dict],
)
def test_a_type_that_could_hold_any_quantity_is_named(field_type):
    assert "fact.record has a field count that could hold any quantity" in violations(
        kind_with(field_type, field="count")
    )


@pytest.mark.parametrize("wrap", [lambda inner: inner, lambda inner: list[inner], lambda inner: inner | None])
def test_a_struct_inside_a_body_is_walked_too(wrap):
    inner = msgspec.defstruct("Inner", [("reward_count", Number)], frozen=True, forbid_unknown_fields=True)
    assert violations(kind_with(wrap(inner))) == ["fact.record has a field reward_count"]


def test_a_body_that_lets_in_other_fields_is_named():
    expected = ["fact.record has a body that lets in fields nobody walked"]
    assert violations(kind_with(Number, field="count", forbid_unknown_fields=False)) == expected
    inner = msgspec.defstruct("Inner", [("count", Number)], frozen=True)
    assert violations(kind_with(list[inner])) == expected


@pytest.mark.parametrize("name", ["points", "ms", "counter", "mindex", "balance", "depth_of_debt"])
def test_the_meanings_of_numbers_are_a_closed_list(name):
    assert INTEGER_MEANINGS.fullmatch(name) is None


@pytest.mark.parametrize("failed", ["violations", "mint_refused", "transfer_refused", "fee_refused"])
def test_the_report_holds_only_if_every_proof_does(failed):
    good = {"violations": (), "mint_refused": True, "transfer_refused": True, "fee_refused": True}
    counts = {"kinds_walked": 1, "fields_walked": 1, "refusals": {}}
    assert RecordRulesReport(**good, **counts).holds
    bad = ("something",) if failed == "violations" else False
    assert not RecordRulesReport(**(good | {failed: bad}), **counts).holds

"""The one table of kinds: what every node of a network shares, and that no text in it lets in more than it says."""

from __future__ import annotations

import pytest
from msgspec import inspect

from shuiqiao.ledger.model import first_version
from shuiqiao.node.home.kinds import network_kinds

KINDS = {
    "member.propose": "members",
    "member.vote": "members",
    "member.rotate_key": "members",
    "witness.register": "members",
    "journal.anchor": "members",
    "member.endpoint": "members",
    "member.suspend": "gate",
    "member.reinstate": "gate",
    "oversight.freeze": "gate",
    "oversight.unfreeze": "gate",
    "oversight.alarm": "oversight",
    "anchor.commit": "vault",
    "anchor.amend": "vault",
    "anchor.erase": "vault",
    "consent.grant": "consent",
    "consent.pause": "consent",
    "consent.resume": "consent",
    "consent.revoke": "consent",
    "model.register": "models",
    "model.review": "models",
    "model.approve": "models",
    "model.retire": "models",
    "credential.registry": "privacy",
    "credential.status": "privacy",
    "access.request": "exchange",
    "access.deliver": "exchange",
    "access.acknowledge": "exchange",
    "access.refuse": "exchange",
    "access.destroy": "exchange",
    "computation.record": "exchange",
    "training.agree": "exchange",
    "application.submit": "lending",
    "decision.record": "lending",
}


def patterns(schema, where):
    """Every (place, pattern) in a schema."""
    if isinstance(schema, inspect.StructType):
        return [found for field in schema.fields for found in patterns(field.type, f"{where}.{field.encode_name}")]
    if isinstance(schema, inspect.ListType):
        return patterns(schema.item_type, where)
    if isinstance(schema, inspect.UnionType):
        return [found for member in schema.types for found in patterns(member, where)]
    return [(where, schema.pattern)] if isinstance(schema, inspect.StrType) and schema.pattern else []


def test_the_table_holds_every_room_once():
    assert {kind.name: kind.room for kind in network_kinds()} == KINDS
    assert {kind.name for kind in network_kinds() if kind.version != first_version(kind.name)} == set()
    assert network_kinds() is network_kinds()


@pytest.mark.parametrize("kind", list(network_kinds()), ids=lambda kind: kind.name)
def test_no_text_pattern_lets_a_line_end_through(kind):
    """``$`` also matches before a last line end; two texts that look alike would be two members, types or products."""
    for where, pattern in patterns(inspect.type_info(kind.body), kind.name):
        assert pattern.startswith("^"), where
        assert pattern.endswith(r"\Z"), where

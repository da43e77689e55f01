"""What of a record may leave by its level: above the open one only with a reason."""

from __future__ import annotations

import typing

import pytest

from shuiqiao.base.errors import Denied
from shuiqiao.client.resources import records as wire
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.sensitivity import OPEN_LEVEL, ExportReason, guarded_fields, require_reason

CATALOGUE = load_catalogue()


def test_the_number_of_the_legal_representative_is_what_is_guarded_today():
    # Holds [STD-70].
    guarded = {(kind.id, name) for kind in CATALOGUE for name in guarded_fields(kind)}
    assert guarded == {("registration", "legal_rep_id")}


def test_every_field_above_the_open_level_needs_a_reason_and_no_other_does():
    for kind in CATALOGUE:
        for field in kind.fields:
            if field.level > OPEN_LEVEL:
                with pytest.raises(Denied, match=rf"^standards\.reason_needed.*{field.name} \(level {field.level}\)"):
                    require_reason(kind, ["uscc", field.name], reason=None)
            else:
                require_reason(kind, [field.name], reason=None)
            for reason in ExportReason:
                require_reason(kind, [field.name], reason=reason)


def test_the_reasons_on_the_wire_are_those_of_the_rule():
    assert set(ExportReason) == set(typing.get_args(wire.ExportReason))

"""Messages take numbers for numbers and nothing else, and a refusal does not repeat a secret."""

from __future__ import annotations

import pytest
from pydantic import ValidationError, create_model

from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources.own import OwnApplying
from shuiqiao.client.resources.users import OwnPassword
from shuiqiao.client.wire import Wire, holds_secret


@pytest.mark.parametrize("amount", ["1_0", "10", " 10", 10.5, True, None, b"10"])
def test_only_a_number_is_a_number(amount):
    with pytest.raises(ValidationError):
        OwnApplying.model_validate({"amount_fen": amount})
    with pytest.raises(ValidationError):
        PageQuery(limit=amount)
    assert OwnApplying.model_validate_json('{"amount_fen": 10}').amount_fen == 10


def test_a_secret_is_known_by_its_place():
    with pytest.raises(ValidationError) as refused:
        OwnPassword.model_validate({"password": 7})
    assert holds_secret(refused.value.errors()[0]["loc"])
    assert holds_secret(("body", "client_secret"))
    assert holds_secret(("body", "accessToken"))
    assert not holds_secret(("body", "items", 0, "type"))


def test_a_message_within_many_others_is_made_strict_once():
    """Each server's app makes its forms of the same messages anew."""

    class Part(Wire):
        number: int

    def depth(schema):
        found = 0
        while schema["type"] == "function-before":
            found, schema = found + 1, schema["schema"]
        return found

    for _ in range(3):
        create_model("Whole", __base__=Wire, part=(Part, ...))
    assert depth(Part.__pydantic_core_schema__["schema"]["fields"]["number"]["schema"]) == 1

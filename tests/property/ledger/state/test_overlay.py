"""[LEDGER-STATE-2]: the quick form of encoding a state value gives the bytes of the plain one."""

from __future__ import annotations

from enum import StrEnum

from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.ledger.state.overlay import encode_value


class Status(StrEnum):
    """A name and a value that are text, but not plain text."""

    OPEN = "open"


NAMES = st.one_of(st.text(max_size=30), st.sampled_from([Status.OPEN, "open", "a", "aa", "b", "税"]))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.just(Status.OPEN),
)
NESTED = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=8,
)
MAPS = st.dictionaries(st.one_of(NAMES, st.integers(0, 30), st.booleans(), st.binary(max_size=3)), SCALARS, max_size=30)


@settings(max_examples=300, deadline=None)
@given(st.one_of(MAPS, st.dictionaries(NAMES, SCALARS, max_size=30), NESTED))
def test_a_value_has_one_encoding(value):
    assert encode_cbor(value) == encode_value(value)

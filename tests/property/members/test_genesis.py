"""Whatever a genesis is made of, it has one encoding, and no changed byte leaves the network the same."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.base.visible import HIDDEN
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.genesis import decode_genesis, encode_genesis, network_id
from shuiqiao.members.model import Genesis, Role
from shuiqiao.members.roster import Registration

VISIBLE = st.characters(
    exclude_categories=["Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"],
    exclude_characters=re.findall(f"[{HIDDEN}]", "".join(map(chr, range(0x110000)))),
)
"""What a name may be made of, but for the space: drawn, not filtered, so that hardly an example is thrown away."""
NAMES = st.text(VISIBLE | st.just(" "), min_size=1, max_size=80).filter(str.strip)
IDS = st.from_regex(r"[a-z][a-z0-9-]{1,31}", fullmatch=True)


def member(member_id, role, name, suite, *, network):
    seed = suite.digest(member_id.encode())
    return Registration.in_genesis(network, MemberId(member_id)).register(
        role=role,
        name=name,
        name_zh=name,
        signing=suite.signing_key_from_seed(seed),
        sealing_key=suite.sealing_key_from_seed(suite.digest(seed)).public_key,
    )


@st.composite
def geneses(draw):
    suite = get_suite(draw(st.sampled_from(["intl", "gm"])))
    ids = sorted(draw(st.sets(IDS, min_size=1, max_size=4)))
    name = draw(NAMES)
    members = tuple(member(each, draw(st.sampled_from(Role)), draw(NAMES), suite, network=name) for each in ids)
    return Genesis(
        name=name,
        suite=suite.name,
        writer=MemberId(draw(st.sampled_from(ids))),
        created_ms=draw(st.integers(0, 2**46)),
        members=members,
    )


@settings(max_examples=40, deadline=None)
@given(geneses())
def test_a_genesis_goes_there_and_back(genesis):
    assert decode_genesis(encode_genesis(genesis)) == genesis


@settings(max_examples=80, deadline=None)
@given(geneses(), st.data())
def test_a_changed_byte_is_refused_or_makes_another_network(genesis, data):
    encoded = encode_genesis(genesis)
    place = data.draw(st.integers(0, len(encoded) - 1))
    changed = bytearray(encoded)
    changed[place] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(changed)) != network_id(encoded)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_code(data):
    assert isinstance(outcome(data), str)


def outcome(data):
    """The network id of genesis bytes, or the code that refused them."""
    try:
        return network_id(data)
    except InvalidInput as error:
        return error.code

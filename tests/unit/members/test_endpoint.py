"""Where a member is reached: one form of address, what is private, and the transaction that says it [MEMBER-28]."""

from __future__ import annotations

import pytest

from members_world import World
from shuiqiao.base.errors import InvalidInput
from shuiqiao.members.contract import ENDPOINT, MemberEndpointBody
from shuiqiao.members.endpoint import decode_endpoint, decode_pin, endpoint_of_text, is_private_host
from shuiqiao.members.roster import endpoint_key

PIN = bytes(range(32))
LONGEST = ".".join(["a" * 63] * 3 + ["b" * 61])
"""A DNS name of 253 characters."""


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://node.example.com:8700", ("node.example.com", 8700)),
        ("https://node.example.com", ("node.example.com", 443)),
        ("https://localhost:1", ("localhost", 1)),
        ("https://192.0.2.7:65535", ("192.0.2.7", 65535)),
        ("https://[2001:db8::1]:8700", ("2001:db8::1", 8700)),
        ("http://127.0.0.1:8700", ("127.0.0.1", 8700)),
        ("http://[::1]:80", ("::1", 80)),
        ("http://10.1.2.3", ("10.1.2.3", 80)),
        ("http://localhost:8700", ("localhost", 8700)),
        (f"https://{LONGEST}:8700", (LONGEST, 8700)),
    ],
)
def test_an_address_in_its_one_form_is_taken(url, told):
    found = decode_endpoint(url)
    assert (found.host, found.port) == told
    assert decode_endpoint(found.url) == found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "node.example.com:8700",
        "ftp://node.example.com",
        "https://",
        "https://:8700",
        "https://user@node.example.com",
        "https://user:secret@node.example.com",
        "https://node.example.com/",
        "https://node.example.com/peer/v1",
        "https://node.example.com?a=b",
        "https://node.example.com#a",
        "https://node.example.com\\@evil.example",
        "https://node.example.com:8700/..",
        "https://node.example.com:0",
        "https://node.example.com:08700",
        "https://node.example.com:65536",
        "https://node.example.com:",
        "https://NODE.example.com",
        "https://node..example.com",
        "https://.example.com",
        "https://node.example.com.",
        "https://-node.example.com",
        "https://node_1.example.com",
        "https://node.example.com\n",
        "https://节点.example.com",
        "https://127.1",
        "https://2130706433",
        "https://0x7f.0.0.1",
        "https://127.0.0.01",
        "https://1.2.3.4.5",
        "https://[::0001]",
        "https://[::ffff:127.0.0.1]",
        "https://[::ffff:7f00:1]",
        "https://[fe80::1%25eth0]",
        "https://[::1",
        "https://::1",
        "http://node.example.com",
        "http://192.0.2.7",
        "http://127.0.0.1.example.com",
        "http://100.64.0.1",
        f"https://{LONGEST}b",
        "https://" + "a" * 64,
    ],
)
def test_every_other_text_is_refused(url):
    with pytest.raises(InvalidInput, match=r"members\.endpoint_invalid"):
        decode_endpoint(url)


@pytest.mark.parametrize(("scheme", "pin"), [("https", PIN[:31]), ("https", PIN + b"x"), ("http", PIN)])
def test_a_pin_is_of_a_certificate_and_whole(scheme, pin):
    with pytest.raises(InvalidInput, match=r"members\.endpoint_invalid"):
        decode_endpoint(f"{scheme}://127.0.0.1:8700", pin=pin)


def test_a_person_writes_the_pin_behind_the_address():
    assert endpoint_of_text(f"https://node.example.com:8700#{PIN.hex()}") == decode_endpoint(
        "https://node.example.com:8700", pin=PIN
    )
    for text in ("https://a.example#zz", f"https://a.example#{PIN.hex().upper()}", f"https://a.example#{PIN.hex()}#"):
        with pytest.raises(InvalidInput, match=r"members\.endpoint_invalid"):
            endpoint_of_text(text)
    assert decode_pin("", url="https://a.example") == b""


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("localhost", True),
        ("127.9.9.9", True),
        ("172.31.255.255", True),
        ("172.32.0.0", False),
        ("169.254.1.1", True),
        ("fd00::1", True),
        ("fe80::1", True),
        ("2001:db8::1", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_what_is_private_is_a_list(host, told):
    assert is_private_host(host) is told


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param)


def put(world, url, *, pin=b"", author="bank-west"):
    return world.submit(ENDPOINT, MemberEndpointBody(url=url, pin=pin), author=author)


def test_a_member_says_where_it_is_reached_and_moves_without_a_vote(world):
    assert put(world, "https://west.example:8700", pin=PIN) is None
    assert world.state.get(endpoint_key("bank-west")) == {
        "url": "https://west.example:8700",
        "pin": PIN,
        "height": world.height,
    }
    assert [(event.name, event.attributes["url"]) for event in world.events] == [
        ("member.endpoint_changed", "https://west.example:8700")
    ]
    assert put(world, "https://new.example:8700") is None
    assert world.state.get(endpoint_key("bank-west"))["url"] == "https://new.example:8700"
    assert put(world, "") is None
    assert world.state.get(endpoint_key("bank-west")) is None


def test_it_says_it_of_itself_alone_and_in_the_form(world):
    assert put(world, "") == "members.endpoint_absent"
    assert put(world, "https://user@west.example") == "members.endpoint_invalid"
    assert put(world, "http://west.example") == "members.endpoint_invalid"
    assert put(world, "https://west.example", pin=PIN[:5]) == "members.endpoint_invalid"
    assert put(world, "https://west.example") is None
    assert put(world, "", pin=PIN) == "members.endpoint_invalid"
    assert world.check(ENDPOINT, MemberEndpointBody(url="https://a.example", pin=b""), author="stranger") == (
        "members.unknown"
    )
    raw = world.sign(ENDPOINT, MemberEndpointBody(url="https://a.example", pin=b""), author="bank-west")
    other = world.sign(
        ENDPOINT,
        MemberEndpointBody(url="https://a.example", pin=b""),
        author="bank-west",
        keys=[world.keys["bank-east"]],
    )
    assert world.block(other) == ["ledger.signature_missing"]
    assert world.block(raw) == [None]

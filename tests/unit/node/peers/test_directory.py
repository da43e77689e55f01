"""Where a member is asked: this home's settings, then the ledger; private addresses only where the settings say so."""

from __future__ import annotations

import ipaddress

import pytest

from members_world import World
from shuiqiao.base.errors import Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.client.http import HttpClient
from shuiqiao.members.contract import ENDPOINT, MemberEndpointBody
from shuiqiao.node.peers.directory import PeerDirectory, Reach

BANK = MemberId("bank-west")
PIN = bytes(range(32))


@pytest.fixture
def world():
    return World("intl")


def put(world, url, pin=b""):
    assert world.submit(ENDPOINT, MemberEndpointBody(url=url, pin=pin), author=BANK) is None


def test_the_settings_come_first_and_the_ledger_second(world):
    """[PEER-6]"""
    directory = PeerDirectory(listed={}, state=lambda: world.state)
    assert not directory.has(BANK)
    with pytest.raises(Unavailable, match=r"peer\.endpoint_unknown"):
        directory.find(BANK)
    put(world, "https://west.example:8700", PIN)
    assert directory.has(BANK)
    found = directory.find(BANK)
    assert (found.endpoint.url, found.endpoint.pin, found.is_listed) == ("https://west.example:8700", PIN, False)
    put(world, "https://moved.example:8700")
    assert directory.find(BANK).endpoint.host == "moved.example"
    listed = PeerDirectory(listed={BANK: f"https://10.0.0.5:8700#{PIN.hex()}"}, state=lambda: world.state).find(BANK)
    assert (listed.endpoint.host, listed.endpoint.pin, listed.is_listed) == ("10.0.0.5", PIN, True)
    assert PeerDirectory(listed={BANK: "http://127.0.0.1:1"}, state=lambda: None).find(BANK).is_listed


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8700", "https://localhost", "https://10.1.1.1", "https://[fd00::1]:8700"]
)
def test_a_private_address_on_the_ledger_is_not_asked_unless_this_home_lists_it(world, url):
    put(world, url)
    with pytest.raises(Denied, match=r"peer\.endpoint_private"):
        PeerDirectory(listed={}, state=lambda: world.state).find(BANK)
    assert PeerDirectory(listed={BANK: url}, state=lambda: world.state).find(BANK).is_listed


@pytest.mark.parametrize(
    ("address", "is_asked"),
    [
        ("127.0.0.1", False),
        ("10.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("192.0.0.192", False),
        ("fec0::1", False),
        ("5f00::1", False),
        ("::127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b:1::808:808", False),
        ("2002:a9fe:a9fe::1", False),
        ("2001:0:7f00:1::", False),
        ("64:ff9b::808:808", True),
        ("8.8.8.8", True),
        ("2600::1", True),
    ],
)
def test_a_name_on_the_ledger_leads_to_public_addresses_alone(address, is_asked):
    endpoint = PeerDirectory(listed={BANK: "https://west.example"}, state=lambda: None).find(BANK).endpoint
    found = ipaddress.ip_address(address)
    assert Reach(endpoint=endpoint, is_listed=False).may_connect(found) is is_asked
    assert Reach(endpoint=endpoint, is_listed=True).may_connect(found)


def test_the_address_that_was_judged_is_the_one_that_is_connected_to():
    """A name that leads to this machine, by whichever answer of whichever server, is refused when it is connected to."""
    endpoint = PeerDirectory(listed={BANK: "https://localhost:1"}, state=lambda: None).find(BANK).endpoint
    with HttpClient("http://localhost:1", may_connect=Reach(endpoint=endpoint, is_listed=False).may_connect) as client:
        with pytest.raises(Denied, match=r"client\.address_refused"):
            client.get("/")


def test_settings_that_name_no_address_are_refused():
    with pytest.raises(InvalidInput, match=r"node\.settings_invalid: peers\.bank-west"):
        PeerDirectory(listed={BANK: "https://user@west.example"}, state=lambda: None)

"""What is refused before a worker is started."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.privacy.secure.library import INSTALL
from shuiqiao.privacy.secure.links import SecureLinks
from shuiqiao.privacy.secure.model import CONFIGURATION, RUNTIME, SecureFunction, SecureOffer, SecureOutput

BANK, BUREAU = MemberId("bank-a"), MemberId("tax-a")
OFFER = SecureOffer(session=bytes(16), certificate=b"certificate", address="", configuration=CONFIGURATION)


@pytest.fixture
def bureau():
    links = SecureLinks(listen="127.0.0.1:0")
    yield links
    assert links._links == {}
    links.close()


def test_without_the_extra_each_side_says_what_to_install(bureau, monkeypatch):
    """[SECURE-5]"""
    monkeypatch.setitem(sys.modules, "spu", None)
    for act in (lambda: SecureLinks().offer(BUREAU), lambda: bureau.accept(BANK, OFFER)):
        with pytest.raises(Unavailable, match=r"privacy\.extra_missing") as refusal:
            act()
        assert refusal.value.next_step == INSTALL


def test_a_bureau_without_an_address_takes_no_link():
    with pytest.raises(Unavailable, match=r"privacy\.secure_not_set_up"):
        SecureLinks().accept(BANK, OFFER)


@pytest.mark.parametrize("protocol", ["SEMI2K", "ABY3", "REF2K", "SECURENN"])
def test_another_protocol_is_refused(bureau, protocol):
    """[SECURE-4] SEMI2K's multiplications come from a dealer that either side could be."""
    other = encode_cbor({"library": "x", "parties": 2, "runtime": RUNTIME.replace("CHEETAH", protocol)})
    with pytest.raises(InvalidInput, match=r"privacy\.secure_protocol_refused.*" + protocol):
        bureau.accept(BANK, replace(OFFER, configuration=other))


@pytest.mark.parametrize("change", [{"session": b"short"}, {"certificate": b""}, {"certificate": bytes(2_049)}])
def test_an_offer_of_another_form_is_refused(bureau, change):
    with pytest.raises(IntegrityError, match=r"privacy\.secure_failed"):
        bureau.accept(BANK, replace(OFFER, **change))


def test_without_a_link_nothing_runs():
    links, function = SecureLinks(), SecureFunction(indicators=2, cuts=0, output=SecureOutput.POINTS)
    assert not links.is_open(BUREAU)
    with pytest.raises(Unavailable, match=r"privacy\.secure_link_missing"):
        links.run(BUREAU, function, [1, 2], binding=bytes(32))
    with pytest.raises(Unavailable, match=r"privacy\.secure_link_missing"):
        links.connect(BUREAU, OFFER)

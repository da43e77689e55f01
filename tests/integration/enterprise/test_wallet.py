"""A wallet shows nothing before the ledger has said who asks, whatever answers at the bank's address."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from consortium_world import TAXPAYER
from firms_world import PASSPHRASE
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.cli.enterprise_wallet import _verify_receipt
from shuiqiao.client.credentials import CredentialWallet
from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace, client_of, load_keys
from shuiqiao.ledger.transactions.looking_up import newest_index
from shuiqiao.members.endpoint import endpoint_of_text
from shuiqiao.members.genesis import decode_genesis, encode_genesis
from shuiqiao.privacy.credentials.presentation import asker_keys, decode_request, encode_request
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK
from web_server import lossy_line

PRODUCT = "tax-credit-loan"
OF_REQUEST = "/presentations/requests"


class Asked:
    """What an enterprise's wallet does with a line on which somebody alters what a bank asks."""

    def __init__(self, world, folder):
        self.world = world
        self.bank = world.bank.running.institution
        device = world.enrolled(f"{folder.name}.key", TAXPAYER)
        self.place = KeyPlace(world.folder / f"{folder.name}.key")
        self.keys, self.known = load_keys(self.place.path, passphrase=PASSPHRASE), device.known
        with device.at_bureau() as session:
            self.wallet(device).obtain(session, count=2)

    def copies(self):
        return self.wallet(EnterpriseDevice(self.keys, self.known)).copies()

    def wallet(self, device):
        return CredentialWallet(self.place, device, verify_receipt=_verify_receipt)

    def shown(self, *, alter=lambda told: told, product=PRODUCT, member=LEAD_BANK, late=timedelta()):
        """Ask over the line and show at once; what the line carried to the bank besides."""
        device = EnterpriseDevice(self.keys, self.known)
        if late:
            device = EnterpriseDevice(
                self.keys, self.known, clock=ManualClock(device.now_ms() + late // timedelta(milliseconds=1))
            )
        wallet = self.wallet(device)
        with lossy_line(self.world.bank_url) as line:
            line.alters[OF_REQUEST] = lambda data: json.dumps(alter(json.loads(data))).encode()
            with client_of(endpoint_of_text(line.url)) as door:
                return wallet.show(door, wallet.asked(door, member=member, product=product))

    def refused(self, **changes):
        """The code of the refusal; nothing was shown by it."""
        before, copies = len(self.bank.shown_credentials.newest(most=99)), self.copies()
        with pytest.raises(ShuiqiaoError) as refusal:
            self.shown(**changes)
        assert (self.copies(), copies[-1].shown_to) == (copies, "")
        assert len(self.bank.shown_credentials.newest(most=99)) == before
        return refusal.value.code

    def signed_anew(self, told, *, by, network=None, **changes):
        """The request as a member signs it, with changes."""
        suite, known = self.bank.suite, self.bank.parameters.network
        body = decode_request(bytes.fromhex(told["request"]), network=known, suite=suite).body
        changed = msgspec.structs.replace(body, **changes)
        raw = encode_request(changed, network=network or known, suite=suite, key=by.keys.signing)
        return told | {"request": raw.hex()}

    def receipt_of(self, institution, *keys):
        """A receipt as a member makes it of its copy."""
        engine = institution.engine
        return engine.receipt(newest_index(engine), state_keys=keys).hex()


@pytest.fixture(scope="module")
def asked(world, tmp_path_factory):
    return Asked(world, tmp_path_factory.mktemp("wallet"))


def test_a_wallet_answers_a_bank_that_the_ledger_has(asked):
    """[CREDENTIAL-11]"""
    assert asked.shown().product == PRODUCT


def test_a_request_that_another_member_signs_in_the_banks_name_is_refused(asked, world):
    """[CREDENTIAL-11]"""
    bureau = world.bureau.running.institution
    assert asked.refused(alter=lambda told: asked.signed_anew(told, by=bureau)) == "privacy.asker_unproven"


def test_a_member_that_is_no_bank_is_refused(asked, world):
    """[CREDENTIAL-11]: it signs with its own key, and proves its own record."""
    bureau = world.bureau.running.institution
    receipt = asked.receipt_of(bureau, *asker_keys(BUREAU))

    def alter(told):
        return asked.signed_anew(told, by=bureau, bank=BUREAU) | {"receipt": receipt}

    assert asked.refused(alter=alter, member=BUREAU) == "privacy.asker_wrong"
    assert asked.refused(alter=alter) == "client.institution_differs"


def test_a_request_for_another_product_or_network_is_refused(asked):
    """[CREDENTIAL-9] [CREDENTIAL-11]: by the bank's own key, so that only what it says is wrong."""
    bank = asked.bank
    other = asked.refused(alter=lambda told: asked.signed_anew(told, by=bank, product="invoice-loan"))
    assert other == "client.institution_differs"
    foreign = asked.refused(alter=lambda told: asked.signed_anew(told, by=bank, network=bytes(32)))
    assert foreign == "ledger.document_network_wrong"


def test_an_old_request_is_refused(asked):
    """[CREDENTIAL-11]"""
    assert asked.refused(late=timedelta(minutes=6)) == "privacy.challenge_old"


def test_a_state_of_yesterday_says_nothing_of_today(asked):
    """[CREDENTIAL-11]: by it a bank that was suspended since, or a key that was replaced, would go on."""
    assert asked.refused(late=timedelta(hours=2)) == "ledger.copy_old"


def test_a_genesis_of_ones_own_proves_nothing(asked):
    """[CREDENTIAL-11]: the network's id is what the enterprise trusts."""
    genesis = decode_genesis(asked.bank.genesis)
    own = encode_genesis(replace(genesis, name="own"))
    assert asked.refused(alter=lambda told: told | {"genesis": own.hex()}) == "client.institution_differs"


@pytest.mark.parametrize("keys", [(), asker_keys(MemberId("second-bank"))])
def test_a_receipt_of_something_else_proves_nothing_of_who_asks(asked, keys):
    """[CREDENTIAL-11]"""
    receipt = asked.receipt_of(asked.bank, *keys)
    assert asked.refused(alter=lambda told: told | {"receipt": receipt}) == "privacy.asker_unproven"


def test_an_altered_receipt_is_refused(asked):
    """[CREDENTIAL-11] [LEDGER-RECEIPT-4]"""

    def alter(told):
        receipt = bytearray.fromhex(told["receipt"])
        receipt[len(receipt) // 2] ^= 1
        return told | {"receipt": receipt.hex()}

    assert asked.refused(alter=alter).startswith(("ledger.", "base.cbor"))

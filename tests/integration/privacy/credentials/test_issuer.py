"""A bureau issues credentials from its vault: what they say, who gets them, how often, and how they end."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from consent_world import BUREAU, OTHER_BUREAU, TAXPAYER
from credentials_world import NOBODY, CredentialsWorld
from exchange_world import invoices
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import owned_id
from shuiqiao.privacy.credentials.claims import BITS, CLAIMS
from shuiqiao.privacy.credentials.issuer import batches_digest
from shuiqiao.privacy.credentials.model import LIST_SIZE, find_bits, is_set
from shuiqiao.vault.contract import batch_lookup

NAMES = {claim.name for claim in CLAIMS}


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = CredentialsWorld(tmp_path, request.param)
    yield made
    made.close()


def status_of(world, credential):
    found = world.read(credential)["status"]["status_list"]
    return found["uri"], found["idx"]


def recent_sales(world, *, count, amount_fen):
    today = date(2026, 4, 11)
    world.ingest(
        {
            "invoice_issued": [
                {
                    "uscc": TAXPAYER,
                    "invoice_no": f"{26_442_000_000_000_000_000 + number:020d}",
                    "issue_date": (today - timedelta(days=20 * number)).isoformat(),
                    "status": "valid",
                    "is_red_letter": "false",
                    "amount_fen": amount_fen,
                    "tax_fen": 0,
                    "total_fen": amount_fen,
                    "counterparty_id": "914403000000000000",
                }
                for number in range(count)
            ]
        }
    )


def test_a_credential_says_grade_bands_and_flags_and_nothing_finer(world):
    """[CREDENTIAL-4] [CREDENTIAL-5]"""
    recent_sales(world, count=10, amount_fen=45_000_000)
    said = world.read(world.issued(1).credentials[0])
    facts = {name: said[name] for name in NAMES}
    # 4.5 million yuan of new invoices, and what the older ones add within twelve months: band 5 begins at 5 million.
    older = sum(row["amount_fen"] for row in invoices(TAXPAYER, first_number=0) if row["issue_date"] > "2025-04-11")
    assert 500_000_000 <= older + 10 * 45_000_000 < 1_000_000_000
    assert facts == {
        "tax_credit_grade": "A",
        "sales_12m_band": 5,
        "registered_band": 5,
        # The bureau takes in no records of these types: it states nothing.
        "tax_paid_12m_band": None,
        "no_arrears": None,
        "no_serious_violation_36m": None,
    }
    rest = {name: value for name, value in said.items() if name not in NAMES}
    assert rest.keys() == {"iss", "network", "vct", "iat", "exp", "status", "cnf", "taxpayer", "anchors"}
    assert (rest["iss"], rest["taxpayer"], rest["network"]) == (BUREAU, TAXPAYER, world.network.hex())
    assert rest["iat"] % 86_400 == rest["exp"] % 86_400 == 0


def test_flags_are_true_of_a_clean_record_and_false_of_an_open_one(world):
    """[CREDENTIAL-4]"""
    row = {
        "arrears_no": "1",
        "tax_code": "vat",
        "tax_item": "goods",
        "period_from": "2025-05-01",
        "period_to": "2025-05-31",
        "payment_kind": "tax",
        "due_on": "2025-06-15",
        "owed_fen": 100,
    }
    world.ingest({"arrears": [{"uscc": "91440300MA5NEIGHB1", **row}]})
    assert world.read(world.issued(1).credentials[0])["no_arrears"] is True
    world.ingest({"arrears": [{"uscc": TAXPAYER, **row}]})
    assert world.read(world.issued(2).credentials[0])["no_arrears"] is False


def test_a_credential_names_the_anchors_that_it_rests_on(world):
    """[CREDENTIAL-5]"""
    issued = world.issued(1)
    anchors = world.read(issued.credentials[0])["anchors"]
    world.submitters[BUREAU].verify_root(size=anchors["size"], root=bytes.fromhex(anchors["root"]))
    anchored = batch_lookup(world.ledger.state(), BUREAU)
    assert all(anchored(batch) is not None for batch in issued.batches)
    assert anchors["count"] == len(issued.batches) > 0
    assert anchors["digest"] == batches_digest(reversed(issued.batches), suite=world.suite).hex()


def test_copies_share_nothing_but_what_all_of_the_day_have(world):
    """[CREDENTIAL-3] [CREDENTIAL-7]"""
    credentials = world.issued(*range(10)).credentials
    seen = [credential.split("~") for credential in credentials]
    for number, parts in enumerate(seen):
        others = {part for at, other in enumerate(seen) if at != number for part in other}
        assert set(parts) & others == {""}
    places = [status_of(world, credential) for credential in credentials]
    assert len(set(places)) == 10
    assert len({uri for uri, _ in places}) == 1
    numbers = sorted(idx for _, idx in places)
    assert numbers[-1] - numbers[0] > LIST_SIZE // 8
    keys = {str(world.read(credential)["cnf"]) for credential in credentials}
    assert len(keys) == 10


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda w: w.request(1, taxpayer=NOBODY), "ledger.document_signers_wrong"),
        (lambda w: w.request(1, key=w.holder_key(1)), "ledger.document_signers_wrong"),
        (lambda w: w.request(1, bureau=OTHER_BUREAU), "consent.provider_wrong"),
        (lambda w: w.request(1, made_ms=w.clock.now_ms() - 600_001), "privacy.request_old"),
        (lambda w: w.request(1, made_ms=w.clock.now_ms() + 600_001), "privacy.request_old"),
        (lambda w: w.request(1, 1), "privacy.keys_repeated"),
        (lambda w: w.request(keys=[bytes(32)]), "crypto.public_key_invalid"),
        (lambda w: w.request(*range(11)), "ledger.document_body_invalid"),
        (lambda w: w.request(), "ledger.document_body_invalid"),
    ],
)
def test_what_is_not_asked_rightly_gets_nothing(world, make, code):
    """[CREDENTIAL-5]"""
    with pytest.raises(ShuiqiaoError) as refusal:
        world.issuer.issue(make(world))
    assert refusal.value.code == code
    assert world.copies.copies_of(TAXPAYER) == []


class Account:
    """An account with a budget of its own."""

    def __init__(self, *, left):
        self.left, self.charged = left, []

    def charge(self, taxpayer, *, recipient, bits, reference):
        if bits > self.left:
            raise Denied("privacy.budget_exceeded", "over")
        self.left -= bits
        self.charged.append((taxpayer, recipient, bits))

    def withdraw(self, reference):
        self.left += self.charged.pop()[-1]


def test_a_request_is_answered_once_and_a_taxpayer_gets_so_many_copies(world):
    """[CREDENTIAL-5]"""
    world.issuer = world.issuer_with(account=Account(left=100 * BITS))
    raw = world.request(1)
    world.issuer.issue(raw)
    with pytest.raises(ShuiqiaoError) as again:
        world.issuer.issue(raw)
    assert again.value.code == "privacy.request_repeated"
    for first in range(10, 60, 10):
        world.issued(*range(first, first + 10))
    with pytest.raises(Denied) as refusal:
        world.issued(*range(60, 70))
    assert refusal.value.code == "privacy.credentials_too_many"
    assert len(world.issued(*range(60, 69)).credentials) == 9
    world.clock.advance(31 * MS_PER_DAY)
    assert len(world.issued(*range(70, 80)).credentials) == 10


def test_the_account_is_charged_against_every_recipient_before_anything_is_stated(world):
    """[CREDENTIAL-8]"""
    account = Account(left=BITS)
    issuer = world.issuer_with(account=account)
    issuer.issue(world.request(*range(10)))
    assert account.charged == [(TAXPAYER, None, BITS)]
    before = len(world.copies.copies_of(TAXPAYER))
    with pytest.raises(Denied, match="over"):
        issuer.issue(world.request(11))
    assert len(world.copies.copies_of(TAXPAYER)) == before == 10


def test_what_made_no_copy_is_not_charged_and_one_request_is_charged_once(world):
    """[CREDENTIAL-8]"""

    class Busy:
        def __getattr__(self, name):
            return getattr(world.vault, name)

        def disclose(self, **wanted):
            raise Unavailable("vault.busy", "records are being taken in", retry_after_s=1)

    raw = world.request(1, 2)
    for _ in range(8):
        with pytest.raises(Unavailable, match=r"^vault\.busy"):
            world.issuer_with(records=Busy()).issue(raw)
    assert world.account.of(TAXPAYER).lines == ()
    world.issuer.issue(raw)
    (line,) = world.account.of(TAXPAYER).lines
    assert (line.answers, line.millibits) == (1, BITS * 1000)


def test_a_key_that_was_replaced_while_its_request_waited_gets_no_copy(world):
    """[CREDENTIAL-5]"""

    class ReplacedWhileRead:
        def __getattr__(self, name):
            return getattr(world.vault, name)

        def disclose(self, **wanted):
            world.enrol(world.enterprise(2))
            return world.vault.disclose(**wanted)

    with pytest.raises(ShuiqiaoError):
        world.issuer_with(records=ReplacedWhileRead()).issue(world.request(1))
    assert world.copies.copies_of(TAXPAYER) == []
    assert world.account.of(TAXPAYER).lines == ()


def test_revoked_copies_stand_on_the_ledger_and_others_do_not(world):
    """[CREDENTIAL-6] [CREDENTIAL-7]"""
    credentials = world.issued(1, 2, 3).credentials
    (uri,) = {status_of(world, credential)[0] for credential in credentials}
    assert world.issuer.revoke("91440300MA5NEIGHB1") == 0
    assert sum(map(int.bit_count, find_bits(world.ledger.state(), uri))) == 0
    assert world.issuer.revoke(TAXPAYER) == 3
    bits = find_bits(world.ledger.state(), uri)
    assert all(is_set(bits, status_of(world, credential)[1]) for credential in credentials)
    assert sum(map(int.bit_count, bits)) == 3
    assert world.issuer.revoke(TAXPAYER) == 0
    (fresh,) = world.issued(4).credentials
    assert not is_set(find_bits(world.ledger.state(), uri), status_of(world, fresh)[1])


def test_a_list_that_is_nearly_full_is_followed_by_another(world):
    """[CREDENTIAL-7]"""
    from shuiqiao.privacy.credentials.store import CopyRow

    world.issued(1)
    (first,) = {row.status_list for row in world.copies.copies_of(TAXPAYER)}
    taken = {row.place for row in world.copies.copies_of(TAXPAYER)}
    filler = [place for place in range(LIST_SIZE * 7 // 8) if place not in taken]
    world.copies.add(
        NOBODY,
        [CopyRow(status_list=first, place=place, request=b"f" * 16, issued_ms=1, expires_ms=2) for place in filler],
    )
    world.issued(2)
    lists = {row.status_list for row in world.copies.copies_of(TAXPAYER)}
    assert len(lists) == 2
    assert all(find_bits(world.ledger.state(), owned_id(BUREAU, each)) is not None for each in lists)


def test_nothing_of_a_taxpayer_stands_on_the_ledger(world):
    world.issued(*range(10))
    world.issuer.revoke(TAXPAYER)
    raw = b"".join(world.raw_transactions())
    assert b"credential.status" in raw
    assert TAXPAYER.encode() not in raw

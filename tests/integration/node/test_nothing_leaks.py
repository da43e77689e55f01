"""No number, name or amount of any record that was taken in stands in any file of anybody's ledger."""

from __future__ import annotations

import pytest

import consortium_world as worlds
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.exchange.store import RecipientStore


def forms_of(number):
    """Every way in which a number is likely to be written."""
    texts = [str(number), f"{number / 100:.2f}", f"{number:,}", f"{number:x}"]
    return [
        *(text.encode() for text in texts),
        number.to_bytes(8, "big"),
        number.to_bytes(8, "little"),
        encode_cbor(number),
    ]


@pytest.fixture(scope="module")
def secrets():
    words = [worlds.TAXPAYER, worlds.NAME, worlds.PARTNER, worlds.PARTNER_NAME]
    found = [word.encode() for word in words] + [word.lower().encode() for word in words]
    found += [word.encode("gb18030") for word in (worlds.NAME, worlds.PARTNER_NAME)]
    found += [row["invoice_no"].encode() for row in worlds.invoice_rows()]
    numbers = [row[name] for row in worlds.invoice_rows() for name in ("amount_fen", "tax_fen", "total_fen")]
    return found + [form for number in (*numbers, 54_321_098_765, 123_456_700) for form in forms_of(number)]


@pytest.fixture(scope="module")
def busy(world):
    """Everything that leaves a trace: consents, requests, an application of a telling amount, a decision."""
    consent = world.consent()
    application = world.applied(consent, amount_fen=54_321_098_765)
    assessment = world.assessment(world.evidence(consent), limit_fen=123_456_700)
    world.decide(application, assessment)
    for member in world.consortium.followers:
        member.catch_up_with(world.bureau)
    return world


def bytes_under(folder):
    return b"\x00".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_data_was_there_to_leak(busy, secrets):
    vault = bytes_under(busy.bureau.home.vault)
    batch = busy.bureau.vault.disclose(
        uscc=worlds.TAXPAYER,
        groups={"invoice_issued@2": ["core", "amounts", "counterparty"]},
        period_from=worlds.PERIOD[0],
        period_to=worlds.PERIOD[1],
    )
    rows = batch.types[0].rows.to_pylist()
    assert [row["amount_fen"] for row in sorted(rows, key=lambda row: row["amount_fen"])] == worlds.AMOUNTS_FEN
    assert {row["counterparty_name"] for row in rows} == {worlds.PARTNER_NAME}
    assert worlds.TAXPAYER.encode() in vault
    ((_, kept),) = RecipientStore(busy.bank.database, cipher=busy.bank.cipher).all_received(after_ms=0)
    assert kept.taxpayer == worlds.TAXPAYER
    received = busy.bank.recipient.load(kept.request).tables["invoice_issued"]
    assert sorted(received["amount_fen"].to_pylist()) == worlds.AMOUNTS_FEN
    # In the vault's files the index alone names the taxpayer: what its records say is encrypted.
    assert not any(str(amount).encode() in vault for amount in worlds.AMOUNTS_FEN)
    assert worlds.PARTNER_NAME.encode() not in vault
    assert len(secrets) > 500


def test_no_secret_stands_in_any_byte_of_any_members_ledger(busy, secrets):
    for member in busy.consortium.members:
        ledger = bytes_under(member.home.ledger)
        assert len(ledger) > 10_000
        assert [secret for secret in secrets if secret in ledger] == []


def test_no_secret_stands_in_any_byte_of_any_members_database(busy, secrets):
    """Nor in its write-ahead log; a bank's whole home is without any, for it has no vault."""
    for member in busy.consortium.members:
        files = [path for path in member.home.folder.glob("shuiqiao.db*") if path.stat().st_size]
        data = b"\x00".join(path.read_bytes() for path in files)
        assert len(data) > 10_000
        assert [secret for secret in secrets if secret in data] == []
    assert [secret for secret in secrets if secret in bytes_under(busy.bank.home.folder)] == []


def test_no_secret_stands_in_the_genesis_or_in_a_receipt(busy, secrets):
    engine = busy.bureau.engine
    indexes = [
        block.first_index + place for block in engine.blocks(from_height=1) for place in range(len(block.transactions))
    ]
    public = busy.genesis + b"".join(engine.receipt(index) for index in indexes)
    assert [secret for secret in secrets if secret in public] == []


def test_no_digest_of_a_guess_stands_on_the_ledger(busy):
    """Whoever guesses a taxpayer number, a name or a whole invoice finds no hash that confirms it."""
    import hashlib

    ledger = b"".join(busy.transactions())
    rows = list(worlds.invoice_rows())
    guesses = [worlds.TAXPAYER, worlds.NAME, *(row["invoice_no"] for row in rows)]
    guesses += [f"{worlds.TAXPAYER}{row['invoice_no']}" for row in rows] + [str(row["amount_fen"]) for row in rows]
    contents = [guess.encode() for guess in guesses]
    contents += [busy.bureau.parameters.network + content for content in contents]
    digests = [hashlib.new(name, content).digest() for content in contents for name in ("sha256", "sm3")]
    assert [digest for digest in digests if digest[:16] in ledger or digest.hex().encode() in ledger] == []

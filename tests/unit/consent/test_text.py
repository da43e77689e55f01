from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import msgspec
import pytest

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import InvalidInput
from shuiqiao.consent.artefact import decode_artefact, encode_artefact
from shuiqiao.consent.ceilings import CEILINGS
from shuiqiao.consent.model import (
    ConsentArtefact,
    Fetch,
    Frequency,
    FrequencyUnit,
    IdentityCheck,
    JointConsent,
    JointRole,
    Mode,
    Output,
    Purpose,
)
from shuiqiao.consent.text import consent_text, text_digest, verify_text
from shuiqiao.crypto.suites import get_suite
from shuiqiao.standards.publication import load_catalogue

NETWORK = bytes(range(32))
NOW_MS = 1_775_001_600_000
VECTOR = json.loads(Path("tests/vectors/consent/text_1.json").read_text(encoding="utf-8"))
KEY = get_suite("intl").signing_key_from_seed(b"\x01" * 32)

UNSAID = frozenset({"key", "firm", "salt", "text"})
"""What binds a consent and tells a person nothing."""

OTHER = {
    "consent": b"\x01" * 16,
    "taxpayer": "91440300MA5EXAMPL2",
    "provider": "other-bureau",
    "recipient": "bank-b",
    "purpose": Purpose.LOAN_MONITORING,
    "items": {"invoice_issued@2": ["core"]},
    "period_from": date(2024, 1, 2),
    "period_to": date(2025, 12, 30),
    "modes": [Mode.DISCLOSE],
    "frequency": Frequency(count=3, unit=FrequencyUnit.YEAR),
    "data_life_days": 91,
    "valid_from_ms": NOW_MS + MS_PER_DAY,
    "valid_to_ms": NOW_MS + 61 * MS_PER_DAY,
    "product": "another",
    "identity_check": IdentityCheck(reference="r-2", checked_ms=NOW_MS),
    "outputs": [Output.BAND, Output.YES_NO],
    "fetch": Fetch.ONE_TIME,
    "renews": b"\x02" * 16,
    "joint": JointConsent(id=b"\x03" * 16, role=JointRole.BORROWER, other_provider="other-bureau"),
}
MORE = [
    {"fetch": Fetch.ONE_TIME, "joint": OTHER["joint"]},
    {"fetch": Fetch.PERIODIC, "renews": OTHER["renews"]},
    {"joint": JointConsent(id=b"\x03" * 16, role=JointRole.GUARANTOR, other_provider="other-bureau")},
]
"""Lines that stand in some consents only."""


def an_artefact(**changes):
    fields = {
        "consent": bytes(16),
        "taxpayer": "91440300MA5EXAMPL1",
        "provider": "bureau",
        "recipient": "bank-a",
        "purpose": Purpose.UNDERWRITING,
        "items": {
            "invoice_issued@2": ["amounts", "core", "counterparty"],
            "registration@1": ["core", "person"],
            "tea_leaves@1": ["core", "green"],
        },
        "period_from": date(2024, 1, 1),
        "period_to": date(2025, 12, 31),
        "modes": [Mode.DISCLOSE, Mode.PROVE, Mode.SCORE],
        "frequency": Frequency(count=2, unit=FrequencyUnit.MONTH),
        "data_life_days": 90,
        "valid_from_ms": NOW_MS,
        "valid_to_ms": NOW_MS + 60 * MS_PER_DAY,
        "product": '云税贷 "plus" 」',
        "identity_check": IdentityCheck(reference="r-1", checked_ms=NOW_MS - MS_PER_DAY),
        "key": KEY.public_key,
        "firm": b"f" * 32,
        "salt": bytes(32),
    }
    return ConsentArtefact(**(fields | changes))


def test_the_words_of_form_1_never_change():
    """[CONSENT-23]: artefacts that are signed rest on them; other words are another form."""
    words = consent_text(an_artefact())
    assert {"zh": words.zh.splitlines(), "en": words.en.splitlines()} == {"zh": VECTOR["zh"], "en": VECTOR["en"]}
    more = [consent_text(an_artefact(**changes)) for changes in MORE]
    assert VECTOR["more"] == [[words.zh.splitlines()[11:], words.en.splitlines()[11:]] for words in more]


@pytest.mark.parametrize("name", ["intl", "gm"])
def test_the_digest_is_of_both_texts(name):
    """[CONSENT-23]"""
    suite = get_suite(name)
    plain = "\n".join(VECTOR["zh"]) + "\n\0" + "\n".join(VECTOR["en"]) + "\n"
    expected = suite.digest(b"shuiqiao/consent/text/1\0" + plain.encode())
    assert expected == text_digest(an_artefact(), suite=suite)
    assert expected.hex() == VECTOR["digest"][name]


def test_every_field_that_says_something_stands_in_the_text():
    """[CONSENT-23]: what is not read is not signed; a field more has its line and its row here."""
    assert set(ConsentArtefact.__struct_fields__) == OTHER.keys() | UNSAID
    before = consent_text(an_artefact())
    for field, value in OTHER.items():
        after = consent_text(an_artefact(**{field: value}))
        assert (before.zh != after.zh, before.en != after.en) == (True, True), field


@pytest.mark.parametrize("field", ["purpose", "modes", "unit", "outputs"])
def test_every_choice_has_words(field):
    """[CONSENT-23]"""
    choices = {
        "purpose": [{"purpose": purpose} for purpose in Purpose],
        "modes": [{"modes": [mode]} for mode in Mode],
        "unit": [{"frequency": Frequency(count=1, unit=unit)} for unit in FrequencyUnit],
        "outputs": [{"outputs": [output]} for output in Output],
    }[field]
    assert len(choices) == len({consent_text(an_artefact(**choice)).zh for choice in choices})
    assert len(choices) == len({consent_text(an_artefact(**choice)).en for choice in choices})


def test_every_type_and_group_that_can_be_granted_is_named_in_both_languages():
    """[CONSENT-23]"""
    granted = {type_id: groups for ceiling in CEILINGS.values() for type_id, groups in ceiling.groups.items()}
    for type_id, groups in granted.items():
        words = consent_text(an_artefact(items={f"{type_id}@1": sorted(groups)}))
        assert f"数据:{type_id}" not in words.zh
        assert not any(f"{group}。" in words.zh or f"{group}、" in words.zh for group in groups)


def test_the_standard_names_its_types_as_the_text_does_or_has_a_reason():
    """[CONSENT-23]: the types of the catalogue are all among those that have words."""
    for record_type in load_catalogue():
        words = consent_text(an_artefact(items={record_type.standard_id: list(record_type.group_ids)}))
        assert f"数据:{record_type.id}(" not in words.zh


@pytest.mark.parametrize("product", ["a\n12. b", "a\u2028b", "a\u202eb", "a\u200bb", "a\x85b", "a\x1b[2Kb"])
def test_a_product_writes_no_line_of_its_own(product):
    """[CONSENT-23]"""
    before, after = consent_text(an_artefact(product="a")), consent_text(an_artefact(product=product))
    for short, long in ((before.zh, after.zh), (before.en, after.en)):
        assert len(short.splitlines()) == len(long.splitlines())
        assert all(line.isprintable() for line in long.splitlines())


def test_a_product_cannot_end_its_quotation():
    """[CONSENT-23]"""
    text = consent_text(an_artefact(product='a", and for all else. "'))
    assert 'the product "a\\", and for all else. \\"", and for nothing else' in text.en


def test_an_artefact_of_an_earlier_release_keeps_its_bytes():
    """[CONSENT-1]: a field that is left out is not written."""
    suite = get_suite("intl")
    raw = encode_artefact(an_artefact(modes=[Mode.DISCLOSE]), network=NETWORK, suite=suite, key=KEY)
    assert b"dtext" not in raw
    assert decode_artefact(raw, network=NETWORK, suite=suite).text is None


def test_another_text_is_refused():
    """[CONSENT-24]"""
    suite = get_suite("intl")
    plain = an_artefact(outputs=[Output.BAND])
    sound = msgspec.structs.replace(plain, text=text_digest(plain, suite=suite))
    raw = encode_artefact(sound, network=NETWORK, suite=suite, key=KEY)
    assert sound == decode_artefact(raw, network=NETWORK, suite=suite)
    with pytest.raises(InvalidInput, match=r"^consent\.text_mismatch"):
        verify_text(msgspec.structs.replace(sound, data_life_days=91), suite=suite)

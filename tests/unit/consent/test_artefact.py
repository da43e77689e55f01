from __future__ import annotations

from datetime import date

import pytest

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.consent.artefact import ARTEFACT, commitment_of, decode_artefact, encode_artefact, verify_commitment
from shuiqiao.consent.model import (
    ConsentArtefact,
    Frequency,
    FrequencyUnit,
    Grant,
    IdentityCheck,
    Mode,
    Output,
    Purpose,
    Status,
)
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.transactions.document import sign_document

NETWORK = bytes(range(32))
NOW_MS = 1_775_001_600_000


@pytest.fixture(scope="module", params=["intl", "gm"])
def suite(request):
    return get_suite(request.param)


def key_of(suite, number=1):
    return suite.signing_key_from_seed(bytes([number]) * 32)


def artefact_with(suite, **changes):
    fields = {
        "consent": bytes(16),
        "taxpayer": "91440300MA5EXAMPL1",
        "provider": "bureau",
        "recipient": "bank-a",
        "purpose": Purpose.UNDERWRITING,
        "items": {"invoice_issued@2": ["amounts", "core"], "filing@1": ["core"]},
        "period_from": date(2024, 1, 1),
        "period_to": date(2025, 12, 31),
        "modes": [Mode.DISCLOSE, Mode.SCORE],
        "frequency": Frequency(count=2, unit=FrequencyUnit.MONTH),
        "data_life_days": 90,
        "valid_from_ms": NOW_MS,
        "valid_to_ms": NOW_MS + MS_PER_HOUR,
        "product": "云税贷",
        "identity_check": IdentityCheck(reference="r-1", checked_ms=NOW_MS),
        "key": key_of(suite).public_key,
        "firm": b"f" * 32,
        "salt": bytes(32),
        "outputs": [Output.BAND, Output.YES_NO],
    }
    return ConsentArtefact(**(fields | changes))


def encoded(suite, artefact, number=1):
    return encode_artefact(artefact, network=NETWORK, suite=suite, key=key_of(suite, number))


def test_an_artefact_survives_its_bytes(suite):
    """[CONSENT-1]"""
    artefact = artefact_with(suite)
    assert artefact == decode_artefact(encoded(suite, artefact), network=NETWORK, suite=suite)


def test_an_artefact_without_the_mode_score_has_the_form_it_always_had(suite):
    """[CONSENT-1]"""
    raw = encoded(suite, artefact_with(suite, modes=[Mode.DISCLOSE], outputs=None))
    assert b"outputs" not in raw
    assert decode_artefact(raw, network=NETWORK, suite=suite).outputs is None


def test_an_artefact_of_an_earlier_release_that_grants_a_score_is_read_and_lets_nothing_leave(suite):
    """[CONSENT-5]"""
    artefact = artefact_with(suite, outputs=None)
    raw = sign_document(artefact, name=ARTEFACT, network=NETWORK, suite=suite, keys=(key_of(suite),))
    assert decode_artefact(raw, network=NETWORK, suite=suite) == artefact


def test_an_artefact_of_another_network_is_refused(suite):
    with pytest.raises(InvalidInput, match=r"^ledger\.document_network_wrong"):
        decode_artefact(encoded(suite, artefact_with(suite)), network=bytes(32), suite=suite)


def test_an_artefact_signed_by_another_key_than_it_names_is_refused(suite):
    artefact = artefact_with(suite)
    with pytest.raises(InvalidInput, match=r"^consent\.key_mismatch"):
        encoded(suite, artefact, number=2)


def test_an_artefact_of_the_other_suite_is_refused():
    intl, gm = get_suite("intl"), get_suite("gm")
    with pytest.raises(InvalidInput, match=r"^ledger\.document_malformed"):
        decode_artefact(encoded(intl, artefact_with(intl)), network=NETWORK, suite=gm)


@pytest.mark.parametrize(
    "change",
    [
        {"recipient": "bureau"},
        {"valid_to_ms": NOW_MS},
        {"valid_to_ms": NOW_MS + MS_PER_HOUR + 1},
        {"valid_from_ms": NOW_MS - 1},
        {"modes": [Mode.SCORE, Mode.DISCLOSE]},
        {"modes": [Mode.DISCLOSE, Mode.DISCLOSE]},
        {"items": {"filing@1": ["core", "amounts"]}},
        {"items": {"filing@1": ["core", "core"]}},
        {"items": {"filing@1": ["amounts"]}},
        {"outputs": None},
        {"outputs": [Output.YES_NO, Output.BAND]},
        {"outputs": [Output.BAND, Output.BAND]},
        {"modes": [Mode.DISCLOSE]},
    ],
)
def test_an_artefact_that_breaks_a_rule_of_its_own_is_refused(suite, change):
    """[CONSENT-5]"""
    with pytest.raises(InvalidInput, match=r"^consent\.artefact_invalid"):
        encoded(suite, artefact_with(suite, **change))


def test_a_period_that_runs_backwards_is_refused(suite):
    """[CONSENT-5]"""
    with pytest.raises(InvalidInput, match=r"^consent\.period_reversed.*2023-12-31.*2024-01-01"):
        encoded(suite, artefact_with(suite, period_to=date(2023, 12, 31)))


def test_the_commitment_changes_with_salt_and_bytes(suite):
    """[CONSENT-4]"""
    commitments = {
        commitment_of(data, salt=salt, suite=suite) for data in (b"a", b"b") for salt in (bytes(32), b"1" * 32)
    }
    assert len(commitments) == 4


@pytest.mark.parametrize(
    "field", ["provider", "recipient", "purpose", "valid_from_ms", "valid_to_ms", "key", "commitment", "consent"]
)
def test_a_grant_that_differs_in_any_field_does_not_fit(suite, field):
    artefact = artefact_with(suite)
    raw = encoded(suite, artefact)
    fields = {
        "consent": artefact.name,
        "provider": artefact.provider,
        "recipient": artefact.recipient,
        "purpose": artefact.purpose,
        "valid_from_ms": artefact.valid_from_ms,
        "valid_to_ms": artefact.valid_to_ms,
        "status": Status.ACTIVE,
        "key": artefact.key,
        "commitment": commitment_of(raw, salt=artefact.salt, suite=suite),
    }
    verify_commitment(artefact, artefact_bytes=raw, grant=Grant(**fields), suite=suite)
    other = {"purpose": Purpose.ONE_TIME}.get(field, b"?" if isinstance(fields[field], bytes) else 7)
    with pytest.raises(IntegrityError, match=r"^consent\.commitment_mismatch"):
        verify_commitment(artefact, artefact_bytes=raw, grant=Grant(**(fields | {field: other})), suite=suite)

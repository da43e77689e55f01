from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.consent.artefact import decode_artefact, encode_artefact
from shuiqiao.consent.model import (
    WHOLE_DAYS_FROM_MS,
    ConsentArtefact,
    Frequency,
    FrequencyUnit,
    IdentityCheck,
    Mode,
    Output,
    Purpose,
    is_whole_hours,
    whole_days,
    whole_hours,
)
from shuiqiao.crypto.suites import get_suite

SUITE = get_suite("intl")
NETWORK = bytes(range(32))
KEY = SUITE.signing_key_from_seed(b"\x05" * 32)

types = st.from_regex(r"[a-z][a-z0-9_]{1,20}@[1-9][0-9]{0,3}", fullmatch=True)
groups = st.sets(st.sampled_from(["amounts", "counterparty", "person"])).map(lambda more: sorted({"core", *more}))
days = st.dates(date(1990, 1, 1), date(2090, 1, 1))
moments = st.integers(0, 253_402_300_799_998)
hours = st.integers(0, 253_402_300_799_998 // MS_PER_HOUR - 1)
texts = st.text(min_size=1, max_size=64)
artefacts = st.builds(
    lambda period, window, outputs, modes, **fields: ConsentArtefact(
        modes=modes,
        outputs=outputs if Mode.SCORE in modes else None,
        provider="bureau",
        recipient="bank-a",
        key=KEY.public_key,
        period_from=min(period),
        period_to=max(period),
        valid_from_ms=min(window) * MS_PER_HOUR,
        valid_to_ms=(max(window) + 1) * MS_PER_HOUR,
        **fields,
    ),
    period=st.tuples(days, days),
    window=st.tuples(hours, hours),
    consent=st.binary(min_size=16, max_size=16),
    taxpayer=st.from_regex(r"[0-9A-Za-z_-]{1,32}", fullmatch=True),
    purpose=st.sampled_from(Purpose),
    items=st.dictionaries(types, groups, min_size=1, max_size=8),
    modes=st.sets(st.sampled_from(Mode), min_size=1).map(sorted),
    outputs=st.sets(st.sampled_from(Output), min_size=1).map(sorted),
    frequency=st.builds(Frequency, count=st.integers(1, 1000), unit=st.sampled_from(FrequencyUnit)),
    data_life_days=st.integers(1, 3660),
    product=texts,
    identity_check=st.builds(IdentityCheck, reference=texts, checked_ms=moments),
    firm=st.binary(min_size=32, max_size=32),
    salt=st.binary(min_size=32, max_size=32),
)


@settings(max_examples=60, deadline=None)
@given(artefact=artefacts)
def test_every_sound_artefact_survives_its_bytes_and_has_one_form(artefact):
    """[CONSENT-1]"""
    raw = encode_artefact(artefact, network=NETWORK, suite=SUITE, key=KEY)
    read = decode_artefact(raw, network=NETWORK, suite=SUITE)
    assert artefact == read
    assert raw == encode_artefact(read, network=NETWORK, suite=SUITE, key=KEY)


@given(starts_ms=st.integers(0, 10**14), length_ms=st.integers(1, 10**12))
def test_a_window_of_whole_hours_begins_in_time_and_lasts_no_hour_too_long(starts_ms, length_ms):
    """[CONSENT-7]"""
    valid_from_ms, valid_to_ms = whole_hours(starts_ms, starts_ms + length_ms)
    assert is_whole_hours(valid_from_ms, valid_to_ms)
    assert 0 <= starts_ms - valid_from_ms < MS_PER_HOUR
    assert 0 <= valid_to_ms - valid_from_ms - length_ms < MS_PER_HOUR
    assert valid_to_ms > starts_ms


@given(starts_ms=st.integers(0, 10**14), length_ms=st.integers(WHOLE_DAYS_FROM_MS, 10**12))
def test_a_window_of_whole_days_begins_in_time_and_lasts_no_day_too_long(starts_ms, length_ms):
    """[CONSENT-33]"""
    valid_from_ms, valid_to_ms = whole_days(starts_ms, starts_ms + length_ms)
    assert valid_from_ms % MS_PER_DAY == valid_to_ms % MS_PER_DAY == 0
    assert 0 <= starts_ms - valid_from_ms < MS_PER_DAY
    assert 0 <= valid_to_ms - valid_from_ms - length_ms < MS_PER_DAY


@settings(max_examples=120, deadline=None)
@given(data=st.binary(max_size=400))
def test_noise_is_refused_with_a_code(data):
    with pytest.raises((InvalidInput, IntegrityError)) as refusal:
        decode_artefact(data, network=NETWORK, suite=SUITE)
    assert refusal.value.code.partition(".")[0] in {"base", "ledger", "consent"}


@settings(max_examples=80, deadline=None)
@given(artefact=artefacts, data=st.data())
def test_a_cut_or_changed_artefact_is_refused(artefact, data):
    raw = encode_artefact(artefact, network=NETWORK, suite=SUITE, key=KEY)
    position = data.draw(st.integers(0, len(raw) - 1))
    changed = raw[:position] + bytes([raw[position] ^ data.draw(st.integers(1, 255))]) + raw[position + 1 :]
    for bad in (changed, raw[:position]):
        with pytest.raises((InvalidInput, IntegrityError)):
            decode_artefact(bad, network=NETWORK, suite=SUITE)

"""[EXCHANGE-12]: whatever subset of the records arrives, it is accepted exactly when nothing is missing."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.consent.model import Mode, Output, Purpose
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.manifest import Inventory, build_manifest, verify_complete
from shuiqiao.exchange.messages import associated_data, encode_request, verify_request_rules
from shuiqiao.exchange.model import ModelAsk, RequestMessage
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.transactions.document import decode_document
from shuiqiao.vault.model import LeafRef

SUITE = get_suite("intl")
NETWORK = bytes(range(32))
KEY = SUITE.signing_key_from_seed(b"\x01" * 32)
TYPE = "filing@1"

ids = st.binary(min_size=16, max_size=16)
messages = st.builds(
    lambda days, mode, model, **fields: RequestMessage(
        sender="bank-a",
        receiver="bureau",
        period_from=min(days),
        period_to=max(days),
        mode=mode,
        model=model if mode is Mode.SCORE else None,
        **fields,
    ),
    days=st.tuples(st.dates(), st.dates()),
    request=ids,
    consent=ids,
    purpose=st.sampled_from(Purpose),
    mode=st.sampled_from(Mode),
    model=st.builds(
        ModelAsk,
        model=ids.map(lambda model: f"bank-a/{model.hex()}"),
        digest=st.binary(min_size=32, max_size=32),
        outputs=st.sets(st.sampled_from(Output), min_size=1).map(sorted),
    ),
    items=st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{1,10}@[1-9]", fullmatch=True),
        st.sets(st.sampled_from(["amounts", "person"])).map(lambda more: sorted({"core", *more})),
        min_size=1,
        max_size=5,
    ),
    made_ms=st.integers(0, 10**12),
    salt=st.binary(min_size=32, max_size=32),
)
records = st.dictionaries(
    st.builds(LeafRef, batch=ids, index=st.integers(0, 65_535)),
    st.sampled_from(["2024-01", "2024-02", "2025-12"]),
    max_size=12,
)


def inventory(found):
    return {TYPE: Inventory(counts=Counter(found.values()), leaves=list(found))}


@settings(max_examples=80, deadline=None)
@given(message=messages, there=records, data=st.data())
def test_a_subset_is_accepted_only_if_it_is_the_whole(message, there, data):
    manifest = build_manifest(
        message,
        taxpayer="E1",
        inventories=inventory(there),
        as_of=Checkpoint(origin="o", size=1, root=bytes(32), note=b""),
        suite=SUITE,
        made_ms=0,
        salt=bytes(32),
    )
    kept = data.draw(st.sets(st.sampled_from(sorted(there, key=str)))) if there else set()
    arrived = {leaf: there[leaf] for leaf in kept}
    if arrived == there:
        assert verify_complete(manifest, inventory(arrived), suite=SUITE) is None
    else:
        with pytest.raises(IntegrityError, match=r"^exchange\.record_withheld"):
            verify_complete(manifest, inventory(arrived), suite=SUITE)


@settings(max_examples=60, deadline=None)
@given(message=messages)
def test_a_request_survives_its_bytes(message):
    """[EXCHANGE-6]"""
    raw = encode_request(message, network=NETWORK, suite=SUITE, key=KEY)
    read = decode_document(
        raw, RequestMessage, name="exchange.request/1", network=NETWORK, suite=SUITE, max_bytes=20_000
    )
    assert message == read.body
    assert verify_request_rules(read.body) is None


@settings(max_examples=60, deadline=None)
@given(first=messages, second=messages)
def test_no_two_exchanges_share_the_data_their_seals_are_bound_to(first, second):
    """[EXCHANGE-10]"""
    bound = [associated_data(message, network=NETWORK) for message in (first, second)]
    same = (first.request, first.consent) == (second.request, second.consent)
    assert same == (bound[0] == bound[1])
    assert associated_data(first, network=bytes(32)) != bound[0]


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=300))
def test_noise_is_no_request(noise):
    with pytest.raises(InvalidInput):
        decode_document(
            noise, RequestMessage, name="exchange.request/1", network=NETWORK, suite=SUITE, max_bytes=20_000
        )


def test_a_day_of_any_year_is_written_in_one_way():
    message = RequestMessage(
        request=bytes(16), consent=bytes(16), sender="bank-a", receiver="bureau", purpose=Purpose.ONE_TIME,
        mode=Mode.DISCLOSE, items={TYPE: ["core"]}, period_from=date(1, 1, 1), period_to=date(9999, 12, 31),
        made_ms=0, salt=bytes(32),
    )  # fmt: skip
    raw = encode_request(message, network=NETWORK, suite=SUITE, key=KEY)
    assert b"0001-01-01" in raw
    assert b"9999-12-31" in raw

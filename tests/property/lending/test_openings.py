"""Decisions open to exactly what was committed."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.money import MAX_FEN
from shuiqiao.crypto.suites import get_suite
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import DecisionOpening, open_decision

OPENINGS = st.builds(
    lambda outcome, amount_fen, **fields: DecisionOpening(
        bank="bank-east",
        outcome=outcome,
        amount_fen=amount_fen if outcome is Outcome.APPROVED else 0,
        product="tax-credit-loan",
        model_digest=bytes(32),
        **fields,
    ),
    outcome=st.sampled_from(Outcome),
    amount_fen=st.integers(1, MAX_FEN),
    application=st.binary(min_size=16, max_size=16),
    firm=st.binary(min_size=32, max_size=32),
    grade=st.sampled_from(["A", "B", "M", "C", "D", "none"]),
    industry=st.sampled_from([*"ABCDEFGHIJKLMNOPQRST", "none"]),
    province=st.from_regex(r"[0-9]{2}", fullmatch=True),
    salt=st.binary(min_size=32, max_size=32),
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["intl", "gm"]), OPENINGS)
def test_a_sealed_decision_opens_to_what_was_committed(suite_name, made):
    """[LENDING-3] [LENDING-4]"""
    suite = get_suite(suite_name)
    key = suite.sealing_key_from_seed(b"k" * 32)
    sealed = made.seal(suite, regulator_key=key.public_key, network=b"n" * 32)
    opened = open_decision(sealed, key=key, network=b"n" * 32, bank=made.bank, application=made.application)
    assert opened == made
    assert opened.commitment(suite) == made.commitment(suite)


@settings(max_examples=60)
@given(OPENINGS, OPENINGS)
def test_two_decisions_have_two_commitments(one, other):
    """[LENDING-3]"""
    suite = get_suite("intl")
    assert len({one.commitment(suite), other.commitment(suite)}) == len({one, other})

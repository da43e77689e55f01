"""What is read of an answer before anything in it is believed."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange import messages
from shuiqiao.ledger.transactions.cose import TAG_HEAD


@pytest.mark.parametrize(("beside", "is_too_large"), [(4096, False), (4097, True)])
def test_an_answer_has_4096_bytes_beside_its_content_and_no_more(monkeypatch, beside, is_too_large):
    """[EXCHANGE-10]"""
    monkeypatch.setattr(messages, "MAX_ANSWER_BYTES", 10)
    suite = get_suite("intl")
    with pytest.raises(InvalidInput) as caught:
        messages.open_answer(
            TAG_HEAD + bytes(10 + beside - len(TAG_HEAD)),
            message=None,
            state={},
            network=bytes(32),
            suite=suite,
            sealing_key=suite.sealing_key_from_seed(bytes(32)),
        )
    assert ("bytes where at most" in caught.value.message) is is_too_large

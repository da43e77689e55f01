"""[WITNESS-8]: the request of c2sp.org/tlog-witness, in one spelling."""

from __future__ import annotations

import base64

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.witness.request import MAX_REQUEST_BYTES, decode_request, encode_request

HASH = base64.b64encode(bytes(range(32))).decode()


def test_requests_are_read_as_they_were_written(intl_log):
    note = intl_log.checkpoint(300).note
    for old_size, count in ((0, 0), (277, 3), (1, 63)):
        proof = tuple(bytes([number]) * 32 for number in range(count))
        body = encode_request(old_size=old_size, proof=proof, note=note)
        assert body.startswith(f"old {old_size}\n".encode())
        request = decode_request(body)
        assert (old_size, proof, note) == (request.old_size, request.proof, request.note)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\nnote",
        b"old 1\n\n",
        b"old 1\nnote",
        b"old\n\nnote",
        b"old  1\n\nnote",
        b"old 01\n\nnote",
        b"old -1\n\nnote",
        b"old +1\n\nnote",
        b"old 1 \n\nnote",
        b"Old 1\n\nnote",
        b"1\n\nnote",
        b"old 99999999999999999\n\nnote",
        "old １\n\nnote".encode(),
        b"old 1\r\n\r\nnote",
        f"old 1\n{HASH[:-1]}\n\nnote".encode(),
        f"old 1\n{HASH} \n\nnote".encode(),
        f"old 1\n{HASH[:-2]}9=\n\nnote".encode(),
        f"old 1\n{base64.b64encode(bytes(31)).decode()}\n\nnote".encode(),
        f"old 1\n{base64.b64encode(bytes(33)).decode()}\n\nnote".encode(),
        f"old 1\n{(HASH + chr(10)) * 64}\nnote".encode(),
        b"old 1\n\n" + b"x" * 16_385,
        b"x" * (MAX_REQUEST_BYTES + 1),
    ],
)
def test_everything_else_is_refused(body):
    with pytest.raises(InvalidInput) as caught:
        decode_request(body)
    assert caught.value.code == "ledger.witness_request_malformed"

"""The wire format against bytes written out by hand and against an independent protobuf implementation."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.wire import decode_uvarint, encode_uvarint, split_frames


def body(framed: bytes) -> bytes:
    places, at, wanted = split_frames(framed)
    assert (len(places), at, wanted) == (1, len(framed), 0)
    return framed[places[0][0] : places[0][1]]


def code_of(data: bytes) -> str:
    with pytest.raises(InvalidInput) as raised:
        abci.REQUESTS.decode(data)
    return raised.value.code


def test_a_call_is_one_field_that_holds_its_message():  # [ABCI-1]
    assert bytes.fromhex("050a030a0178") == abci.REQUESTS.encode(abci.RequestEcho(message="x"))
    assert bytes.fromhex("021200") == abci.REQUESTS.encode(abci.RequestFlush())
    assert bytes.fromhex("021a00") == abci.RESPONSES.encode(abci.ResponseFlush())
    assert abci.RequestCheckTx(tx=b"ab") == abci.REQUESTS.decode(bytes.fromhex("42060a0261621001"))


def test_signed_numbers_are_twos_complement():
    encoded = abci.REQUESTS.encode(abci.RequestQuery(height=-1))
    assert bytes.fromhex("0d320b18" + "ff" * 9 + "01") == encoded
    assert abci.RequestQuery(height=-1) == abci.REQUESTS.decode(body(encoded))


def test_numbers_of_a_list_are_packed():
    packed = bytes.fromhex("820106080112020307")
    expected = abci.ResponseApplySnapshotChunk(result=1, refetch_chunks=[3, 7])
    assert expected == abci.RESPONSES.decode(packed)
    assert bytes((len(packed),)) + packed == abci.RESPONSES.encode(expected)


def test_fields_that_we_do_not_know_are_skipped():  # [ABCI-2]
    unknown = "a00601" + "a1060102030405060708" + "a2060161" + "a50601020304"
    data = bytes.fromhex("42" + f"{len(bytes.fromhex(unknown)) + 4:02x}" + unknown + "0a026162")
    assert abci.RequestCheckTx(tx=b"ab") == abci.REQUESTS.decode(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "no call"),
        ("42", "no length"),
        ("42050a0261", "shorter than it says"),
        ("42030a026100", "longer than it says"),
        ("4003", "a number where a message is due"),
        ("42030a0561", "a field longer than its message"),
        ("42020801", "the transaction as a number"),
        ("42021361", "a group"),
        ("42020000", "field number zero"),
        ("420b10ffffffffffffffffffff", "a number that does not end"),
        ("420b10ffffffffffffffffff7f", "a number of more than 64 bits"),
        ("0a040a02fffe", "text that is not UTF-8"),
        ("4205a106010203", "a fixed number cut short"),
        ("82010932070a050a0361", "a nested message cut short"),
    ],
)
def test_bytes_that_are_no_call_are_refused(data, why):  # [ABCI-3]
    assert code_of(bytes.fromhex(data)) == "ledger.abci_malformed", why


@pytest.mark.parametrize("number", [4, 7, 9, 10, 21, 22, 23, 100])
def test_a_call_of_no_known_version_is_refused_by_name(number):
    assert code_of(encode_uvarint(number << 3 | 2) + b"\x00") == "ledger.abci_call_unknown"


def test_a_frame_that_is_too_long_is_refused_before_it_arrives():  # [ABCI-4]
    with pytest.raises(InvalidInput) as raised:
        split_frames(encode_uvarint(1001), max_bytes=1000)
    assert raised.value.code == "ledger.abci_frame_too_long"


def test_frames_are_cut_where_they_end():
    one, two = abci.REQUESTS.encode(abci.RequestEcho(message="a" * 200)), abci.REQUESTS.encode(abci.RequestFlush())
    assert ([(2, 208), (209, 211)], 211, 0) == split_frames(one + two)
    assert ([(2, 208)], 208, 0) == split_frames(one)
    assert ([], 0, 208) == split_frames(one[:100])
    assert ([], 0, 0) == split_frames(one[:1])
    assert ([(1, 3)], 3, 208) == split_frames(two + one[:100])
    with pytest.raises(InvalidInput):
        split_frames(b"\xff" * 10)


def test_uvarints_have_one_value_each():
    for number in (0, 1, 127, 128, 300, 2**32, 2**63, 2**64 - 1):
        encoded = encode_uvarint(number)
        assert (number, len(encoded)) == decode_uvarint(encoded, 0, len(encoded))

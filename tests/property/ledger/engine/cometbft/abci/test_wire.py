"""Any message survives the wire; any bytes are a message or a refusal."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.wire import Sort, Table, split_frames

PLAIN = {
    Sort.UINT: st.integers(0, 2**64 - 1),
    Sort.INT: st.integers(-(2**63), 2**63 - 1),
    Sort.BYTES: st.binary(max_size=300),
    Sort.TEXT: st.text(max_size=100),
}


def messages(table: Table):
    def values(field):
        if field.sort is Sort.PACKED:
            return st.lists(PLAIN[Sort.UINT], max_size=3).map(lambda found: found or ())
        one = messages(field.of) if field.sort is Sort.MESSAGE else PLAIN[field.sort]
        if field.many:
            return st.lists(one, max_size=3).map(lambda found: found or ())
        return one | st.none() if field.sort is Sort.MESSAGE else one

    return st.builds(table.make, **{field.name: values(field) for field in table.fields})


def outcome(data: bytes) -> str:
    try:
        abci.REQUESTS.decode(data)
    except InvalidInput as error:
        return error.code
    return "read"


def unframed(data: bytes) -> bytes:
    [(start, end)], at, wanted = split_frames(data)
    assert (at, wanted) == (len(data), 0)
    return data[start:end]


@given(st.sampled_from(sorted(abci.REQUESTS.tables)).flatmap(lambda number: messages(abci.REQUESTS.tables[number])))
@settings(max_examples=80, deadline=None)
def test_every_request_survives_the_wire(request):
    assert request == abci.REQUESTS.decode(unframed(abci.REQUESTS.encode(request)))


@given(st.sampled_from(sorted(abci.RESPONSES.tables)).flatmap(lambda number: messages(abci.RESPONSES.tables[number])))
@settings(max_examples=80, deadline=None)
def test_every_response_survives_the_wire(response):
    assert response == abci.RESPONSES.decode(unframed(abci.RESPONSES.encode(response)))


@given(
    st.binary(max_size=60)
    | st.builds(lambda tag, rest: bytes((tag << 3 | 2, len(rest))) + rest, st.integers(1, 15), st.binary(max_size=60))
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_request_or_refused(data):  # [ABCI-3]
    assert outcome(data) in {"read", "ledger.abci_malformed", "ledger.abci_call_unknown"}


@given(
    st.sampled_from(sorted(abci.REQUESTS.tables)).flatmap(lambda number: messages(abci.REQUESTS.tables[number])),
    st.data(),
)
@settings(max_examples=80, deadline=None)
def test_a_damaged_request_is_read_or_refused_never_a_crash(request, data):
    framed = bytearray(unframed(abci.REQUESTS.encode(request)))
    at = data.draw(st.integers(0, len(framed) - 1))
    framed[at] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(framed)) in {"read", "ledger.abci_malformed", "ledger.abci_call_unknown"}

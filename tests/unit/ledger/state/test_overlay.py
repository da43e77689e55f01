"""[LEDGER-STATE-1], [LEDGER-STATE-2]: who may write where, and what is read back."""

from __future__ import annotations

import pytest

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.state.overlay import MAX_KEY_BYTES, OverlayState, genesis_writes
from shuiqiao.ledger.state.state_map import MemoryState


class BrokenState:
    """A store whose disk fails."""

    def get(self, key):
        raise OSError(5, f"cannot read {key}")


def overlay(**values):
    return OverlayState(MemoryState({key: encode_cbor(value) for key, value in values.items()}))


def test_writes_are_seen_over_the_base_and_kept_as_bytes():
    state = OverlayState(MemoryState({"note/a": encode_cbor(1), "note/b": encode_cbor(2)}))
    state.open_room("note")
    state.put("note/c", {"x": [b"y"]})
    state.delete("note/a")
    assert [state.get(f"note/{name}") for name in "abcd"] == [None, 2, {"x": [b"y"]}, None]
    state.keep()
    assert {"note/a": None, "note/c": encode_cbor({"x": [b"y"]})} == state.writes


def test_dropped_writes_leave_no_trace():
    state = overlay()
    state.open_room("note")
    state.put("note/a", 1)
    state.keep()
    state.open_room("note")
    state.put("note/a", 2)
    state.delete("note/b")
    state.drop()
    assert state.get("note/a") == 1
    assert {"note/a": encode_cbor(1)} == state.writes


def test_a_contract_writes_under_its_own_room_only():
    """[LEDGER-STATE-1]"""
    state = overlay()
    for room, key in (
        ("note", "gate/network"),
        ("note", "note"),
        ("note", "notes/a"),
        ("note", "Note/a"),
        ("note", ""),
    ):
        state.open_room(room)
        with pytest.raises(ValueError):
            state.put(key, 1)
        with pytest.raises(ValueError):
            state.delete(key)
    state.drop()
    with pytest.raises(ValueError):
        state.put("note/a", 1)
    assert state.writes == {}


def test_what_is_read_back_is_what_a_restart_would_read():
    """[LEDGER-STATE-2]"""
    state = overlay()
    state.open_room("note")
    value = {"b": (1, 2), "a": [3]}
    state.put("note/a", value)
    value["a"].append(4)
    first = state.get("note/a")
    assert first == {"a": [3], "b": [1, 2]}
    first["a"].append(5)
    assert state.get("note/a") == {"a": [3], "b": [1, 2]}


@pytest.mark.parametrize("key", ["", "note/税", "note/" + "x" * MAX_KEY_BYTES])
def test_what_the_store_cannot_take_is_the_contracts_fault_not_the_disks(key):
    state = OverlayState(BrokenState())
    with pytest.raises(ValueError):
        state.get(key)
    state.open_room("note")
    with pytest.raises(ValueError):
        state.put(key, 1)
    state.require_readable()


def test_a_failing_store_is_remembered_even_if_somebody_swallows_its_error():
    state = OverlayState(BrokenState())
    with pytest.raises(Unavailable, match="cannot read"):
        state.get("note/a")
    with pytest.raises(Unavailable) as caught:
        state.require_readable()
    assert caught.value.code == "ledger.state_unreadable"


def test_the_genesis_state_is_encoded_for_the_store(network):
    writes = genesis_writes(network.parameters)
    state = MemoryState(writes)
    assert dict(network.parameters.initial_state) == {key: state.get(key) for key in writes}
    state.write({"members/member/bureau": None, "note/a": encode_cbor(1)})
    assert set(state.encoded()) == (set(writes) | {"note/a"}) - {"members/member/bureau"}


def test_what_a_dropped_transaction_wrote_and_read_is_read_anew():
    """[LEDGER-MACHINE-1]: what is remembered of a block never comes from a transaction that left no trace."""
    state = OverlayState(MemoryState({"note/1": encode_cbor("base")}))
    assert state.get("note/1") == "base"
    state.open_room("note")
    state.put("note/1", "dropped")
    assert state.get("note/1") == "dropped"
    state.drop()
    assert state.get("note/1") == "base"


def test_a_kept_value_is_read_back_until_it_is_written_again():
    state = OverlayState(MemoryState({}))
    for value in ("first", "second", None):
        state.open_room("note")
        state.put("note/1", value)
        state.keep()
        assert [state.get("note/1"), state.get("note/1")] == [value, value]
    state.open_room("note")
    state.delete("note/1")
    state.keep()
    assert state.get("note/1") is None

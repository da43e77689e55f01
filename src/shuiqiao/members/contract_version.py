"""Which version of a kind's rules is accepted at a height [MEMBER-13].

::

    members/contract/<kind>    {"version": now, "next_version": later, "height": from when}

Version 1 of every kind is accepted until governing members decide otherwise. Whoever executes a block asks
``active_version`` for its height; that a node's software has that version is the node's matter.
"""

from __future__ import annotations

from typing import Any

from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.ledger.model import BlockContext, State, StateView

FIRST_VERSION = 1


def activation_key(kind: str) -> str:
    """Return the state key of a kind's version."""
    return f"members/contract/{kind}"


def active_version(state: StateView, kind: str, *, height: int) -> int:
    """Return the version of a kind that is accepted at a height."""
    value = state.get(activation_key(kind))
    if value is None:
        return FIRST_VERSION
    version: int = value["next_version"] if height >= value["height"] else value["version"]
    return version


def plan_activation(state: StateView, kind: str, *, version: int, height: int, ctx: BlockContext) -> dict[str, Any]:
    """Return the state value that activates a version from a height on; it replaces one that has not begun yet.

    Raises InvalidInput ``members.activation_past``, Conflict ``members.version_not_higher``.
    """
    if height <= ctx.height:
        raise InvalidInput(
            "members.activation_past", f"{kind} version {version} from height {height}, which block {ctx.height} passed"
        )
    current = active_version(state, kind, height=ctx.height)
    if version <= current:
        raise Conflict("members.version_not_higher", f"{kind} version {version} where version {current} is accepted")
    return {"version": current, "next_version": version, "height": height}


def put_activation(state: State, kind: str, *, version: int, height: int, ctx: BlockContext) -> None:
    """Write an allowed activation."""
    state.put(activation_key(kind), plan_activation(state, kind, version=version, height=height, ctx=ctx))

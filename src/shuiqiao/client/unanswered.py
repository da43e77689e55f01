"""Acts whose answer did not come: what was sent is kept beside the key file, and sent again when the same is wanted.

An enterprise whose line breaks while it applies does not know whether the bank has the application. So the message and
its idempotency key [API-9] are kept before they are sent, and forgotten once the institution has answered, yes or no.
Who wants the same again before that, within a day, sends the very same: a consent that was signed is not signed twice,
and an application is made once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.durable import replace_file
from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.client.http import new_idempotency_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shuiqiao.client.enterprise import KeyPlace
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.operation import Operation, Sent, Told

MAX_SENT_BYTES: Final = 262_144
"""Of a kept message: a consent has a few thousand bytes."""

KEPT_MS: Final = MS_PER_DAY
"""After a day an institution keeps its answers no longer, and what was signed has ended."""

_UNDER_WAY: Final = "api.act_in_progress"


class _SentAct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the file holds. key: the idempotency key. message: as it was sent."""

    version: Literal[1] = 1
    made_ms: Annotated[int, msgspec.Meta(ge=0)]
    key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    message: dict[str, Any]


def perform_once(
    place: KeyPlace,
    session: HttpClient,
    operation: Operation[Sent, Told],
    *,
    wanted: Mapping[str, Any],
    make: Callable[[], Sent],
    now_ms: int,
) -> Told:
    """Have an institution perform an act once, however often it is asked for until it answers.

    wanted: by what a person knows the act again. make: returns its message, asked for the first time alone. Raises what
    ``HttpClient.perform`` raises, IntegrityError ``client.sent_act_damaged``.

    ::

        perform_once(KeyPlace(key), bank, APPLY, wanted={"consent": consent}, make=lambda: wanted, now_ms=now_ms)
    """
    named = encode_json({"path": operation.path, **wanted})
    path = place.path.with_name(f"{place.path.name}.{hashlib.sha256(named).hexdigest()[:16]}.sent.json")
    act = _kept(path, now_ms=now_ms)
    if act is None:
        message = make()
        act = _SentAct(made_ms=now_ms, key=new_idempotency_key(), message=message.model_dump(mode="json"))
        replace_file(path, encode_json(msgspec.to_builtins(act)) + b"\n")
    else:
        message = operation.sent.model_validate(act.message)
    try:
        told = session.perform(operation, message, idempotency_key=act.key)
    except ShuiqiaoError as error:
        if not isinstance(error, Unavailable) and error.code != _UNDER_WAY:
            path.unlink()
        raise
    path.unlink()
    return told


def _kept(path: Path, *, now_ms: int) -> _SentAct | None:
    try:
        raw = read_regular(path, max_bytes=MAX_SENT_BYTES)
    except FileNotFoundError:
        return None
    try:
        act = typed(decode_json(raw, max_bytes=MAX_SENT_BYTES), _SentAct)
    except (InvalidInput, msgspec.ValidationError) as error:
        raise IntegrityError("client.sent_act_damaged", f"{path} is damaged: {error}") from error
    return act if now_ms - act.made_ms < KEPT_MS else None

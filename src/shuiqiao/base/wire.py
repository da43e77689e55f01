"""The types of fields that many bodies and documents have, each bounded: a decoder refuses what is too large."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from shuiqiao.base.ids import OWNED_ID_CHARS, OWNED_ID_PATTERN

MAX_CALENDAR_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
"""A random id of 16 bytes, unique for its author."""

OwnedRef = Annotated[str, Meta(pattern=OWNED_ID_PATTERN, max_length=OWNED_ID_CHARS)]
"""An ``OwnedId`` in a body: of a consent ``<provider>/<id>``, of a request ``<bank>/<id>``."""

MemberName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{1,31}\Z", max_length=32)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]
Salt = Annotated[bytes, Meta(min_length=32, max_length=32)]
PublicKey = Annotated[bytes, Meta(min_length=32, max_length=65)]
"""A raw key of the network's suite; the contract asks the suite whether it is one."""

TimeMs = Annotated[int, Meta(ge=0, le=2**53 - 1)]
CalendarMs = Annotated[int, Meta(ge=0, le=MAX_CALENDAR_MS)]
"""A moment that can be written as a date."""

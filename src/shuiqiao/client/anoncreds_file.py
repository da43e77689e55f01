"""The credentials for predicates that an enterprise holds, in one file beside its key file, their tails in others.

The file holds no secret of the holder: that follows from the seed and the request. What it needs to take a credential
that is under way is kept before the request leaves, so that an answer that comes late is not lost. A credential is
shown any number of times, so nothing is used up; whom it was shown to is noted before it leaves.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from shuiqiao.base.durable import replace_file
from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.files import read_regular
from shuiqiao.privacy.credentials.anoncreds import MAX_TAILS_BYTES, Definition, decode_definition, decode_text

if TYPE_CHECKING:
    from pathlib import Path

MAX_KEPT: Final = 12
"""Credentials: one a month for as long as any holds, and some to spare; the oldest go first."""

MAX_PENDING: Final = 4
MAX_SHOWN_TO: Final = 100
"""Showings of a credential that are remembered, the newest."""

_MAX_TEXT = 131_072
_MAX_FILE_BYTES = MAX_KEPT * 3 * _MAX_TEXT

_HEX32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
_Text = Annotated[str, msgspec.Meta(max_length=_MAX_TEXT)]


class PendingRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request under way. metadata: by which its credential is taken."""

    request: _HEX32
    definition: _Text
    metadata: _Text


class KeptCredential(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A credential for predicates. shown_to: ``<bank>/<product>``, the newest last."""

    request: _HEX32
    definition: _Text
    credential: _Text
    expires_ms: Annotated[int, msgspec.Meta(ge=0)]
    shown_to: Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=MAX_SHOWN_TO)] = []

    def read_definition(self) -> Definition:
        """Return the definition that it is by."""
        return decode_definition(decode_text(self.definition))

    def content(self) -> bytes:
        """Return the credential's bytes."""
        return decode_text(self.credential)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1] = 1
    pending: Annotated[list[PendingRequest], msgspec.Meta(max_length=MAX_PENDING)] = []
    credentials: Annotated[list[KeptCredential], msgspec.Meta(max_length=MAX_KEPT)] = []


class AnonCredsFile:
    """The credentials of one enterprise. path: of the key file that they stand beside."""

    def __init__(self, key: Path) -> None:
        self._key = key

    @property
    def path(self) -> Path:
        """The file beside the key."""
        return self._key.with_name(f"{self._key.name}.anoncreds.json")

    def credentials(self) -> list[KeptCredential]:
        """Return every credential, in the order in which they came; raises as ``_load`` does."""
        return self._load().credentials

    def keep_pending(self, pending: PendingRequest) -> None:
        """Keep what a request under way needs."""
        found = self._load()
        self._save(msgspec.structs.replace(found, pending=[*found.pending, pending][-MAX_PENDING:]))

    def pending(self, request: str) -> PendingRequest:
        """Return what a request needs; raises IntegrityError ``client.credentials_damaged`` where it is not kept."""
        for each in self._load().pending:
            if each.request == request:
                return each
        raise IntegrityError("client.credentials_damaged", f"{self.path} does not know request {request}")

    def add(self, credential: KeptCredential, *, now_ms: int) -> None:
        """Keep a credential; its request is no longer under way, and what expired is dropped."""
        found = self._load()
        kept = [each for each in found.credentials if each.expires_ms > now_ms and each.request != credential.request]
        pending = [each for each in found.pending if each.request != credential.request]
        self._save(_File(pending=pending, credentials=[*kept, credential][-MAX_KEPT:]))

    def note_shown(self, credential: KeptCredential, *, to: str) -> None:
        """Note to whom a credential is about to be shown."""
        found = self._load()
        noted = msgspec.structs.replace(credential, shown_to=[*credential.shown_to, to][-MAX_SHOWN_TO:])
        kept = [noted if each.request == credential.request else each for each in found.credentials]
        self._save(msgspec.structs.replace(found, credentials=kept))

    def keep_tails(self, definition: Definition, tails: bytes) -> None:
        """Keep the tails of a definition; raises IntegrityError ``client.tails_differ`` for others."""
        if hashlib.sha256(tails).hexdigest() != definition.body.tails:
            raise IntegrityError("client.tails_differ", "the bureau gave other tails than its definition names")
        path = self._tails(definition)
        if not path.exists():
            replace_file(path, tails)

    def tails(self, definition: Definition) -> Path:
        """Return where a definition's tails lie, unchanged.

        Raises IntegrityError ``client.tails_differ`` for damaged ones and where there are none.
        """
        path = self._tails(definition)
        try:
            raw = read_regular(path, max_bytes=MAX_TAILS_BYTES)
        except FileNotFoundError as error:
            raise IntegrityError("client.tails_differ", f"{path} is missing") from error
        if hashlib.sha256(raw).hexdigest() != definition.body.tails:
            raise IntegrityError("client.tails_differ", f"{path} is damaged")
        return path

    def _tails(self, definition: Definition) -> Path:
        return self._key.with_name(f"{self._key.name}.{definition.body.tails[:16]}.tails")

    def _load(self) -> _File:
        """Return what the file holds; raises IntegrityError ``client.credentials_damaged``."""
        try:
            return typed(
                decode_json(read_regular(self.path, max_bytes=_MAX_FILE_BYTES), max_bytes=_MAX_FILE_BYTES), _File
            )
        except FileNotFoundError:
            return _File()
        except (InvalidInput, msgspec.ValidationError) as error:
            raise IntegrityError("client.credentials_damaged", f"{self.path} is damaged: {error}") from error

    def _save(self, content: _File) -> None:
        replace_file(self.path, encode_json(msgspec.to_builtins(content)) + b"\n")

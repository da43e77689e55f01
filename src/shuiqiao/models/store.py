"""The contents of models that this institution made or was handed, and the reports of its own reviews.

A content is another's or this institution's secret: it and its salt are encrypted columns, kept by the digest that the
ledger knows. Durability is the injected engine's matter.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    LargeBinary,
    MetaData,
    RowMapping,
    String,
    Table,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId, split_owned_id
from shuiqiao.crypto.column_cipher import ColumnCipher, EncryptedColumns

metadata = MetaData()

_PERSON_CHARS = 128

_contents = Table(
    "models_content",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("model", String(OWNED_ID_CHARS), nullable=False, unique=True),
    Column("owner", String(32), nullable=False, index=True),
    Column("salt", LargeBinary, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("kept_ms", BigInteger, nullable=False),
)
_CONTENT_SECRETS = EncryptedColumns(table="models_content", key="digest", columns={"salt": bytes, "content": bytes})

_reports = Table(
    "models_report",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("model", String(OWNED_ID_CHARS), nullable=False),
    Column("reviewer", String(_PERSON_CHARS), nullable=False),
    Column("report", LargeBinary, nullable=False),
    Column("kept_ms", BigInteger, nullable=False),
)
_REPORT_SECRETS = EncryptedColumns(table="models_report", key="digest", columns={"report": bytes})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptContent:
    """A model's content. digest: the salted commitment that the ledger knows."""

    digest: bytes
    model: OwnedId
    salt: bytes
    content: bytes
    kept_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptReport:
    """A review's signed report. reviewer: the id of the person who reviewed."""

    digest: bytes
    model: OwnedId
    reviewer: str
    report: bytes
    kept_ms: int


class ContentStore:
    """One institution's models as bytes.

    Example::

        store.save(KeptContent(digest=digest, model=model, salt=salt, content=content, kept_ms=now_ms))
        assert store.content(model).content == content
    """

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def save(self, kept: KeptContent) -> None:
        """Keep a content, durable when this returns; the same again changes nothing."""
        plain = {**_fields(kept), "owner": split_owned_id(kept.model)[0]}
        with suppress(AlreadyThere), self._engine.begin() as connection:
            connection.execute(insert(_contents), self._cipher.encrypt_row(_CONTENT_SECRETS, plain))

    def content(self, model: OwnedId) -> KeptContent | None:
        """Return a model's content, or None; raises IntegrityError ``crypto.column_damaged``."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_contents).where(_contents.c.model == model)).mappings().first()
        return None if row is None else self._content(row)

    def contents_of(self, owner: str) -> list[KeptContent]:
        """Return the contents of one owner's models, the oldest first."""
        wanted = select(_contents).where(_contents.c.owner == owner).order_by(_contents.c.kept_ms, _contents.c.model)
        with self._engine.connect() as connection:
            return [self._content(row) for row in connection.execute(wanted).mappings()]

    def names(self, owner: str = "") -> list[OwnedId]:
        """Return whose contents are kept, the oldest first. owner: those of one alone."""
        wanted = select(_contents.c.model).order_by(_contents.c.kept_ms, _contents.c.model)
        if owner:
            wanted = wanted.where(_contents.c.owner == owner)
        with self._engine.connect() as connection:
            return [OwnedId(model) for model in connection.scalars(wanted)]

    def forget(self, model: OwnedId) -> None:
        """Destroy a content."""
        with self._engine.begin() as connection:
            connection.execute(delete(_contents).where(_contents.c.model == model))

    def save_report(self, kept: KeptReport) -> None:
        """Keep a report, durable when this returns."""
        with self._engine.begin() as connection:
            connection.execute(insert(_reports), self._cipher.encrypt_row(_REPORT_SECRETS, _fields(kept)))

    def report(self, digest: bytes) -> KeptReport | None:
        """Return the report of a digest, or None; raises IntegrityError ``crypto.column_damaged``."""
        with self._engine.connect() as connection:
            row = connection.execute(select(_reports).where(_reports.c.digest == digest)).mappings().first()
        if row is None:
            return None
        found = self._cipher.decrypt_row(_REPORT_SECRETS, dict(row))
        return KeptReport(**{name: found[name] for name in KeptReport.__slots__})

    def _content(self, row: RowMapping) -> KeptContent:
        found = self._cipher.decrypt_row(_CONTENT_SECRETS, dict(row))
        return KeptContent(**{name: found[name] for name in KeptContent.__slots__})


def _fields(kept: KeptContent | KeptReport) -> dict[str, Any]:
    return {name: getattr(kept, name) for name in kept.__slots__}

"""The models that a bank developed, by the digest of its scorecard; and logs of what was computed with others.

A model is the bank's own and names firms of its loan book, so it is kept in encrypted columns. What is read is checked:
a scorecard's bytes are its canonical form and hash to the digest they are kept by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Date,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId
from shuiqiao.credit.development import ScoringModel
from shuiqiao.credit.scorecard import Scorecard, decode_scorecard, encode_scorecard
from shuiqiao.crypto.column_cipher import ColumnCipher, EncryptedColumns
from shuiqiao.exchange.store import DueAnswers

metadata = MetaData()

MAX_KEPT_BYTES = 16 << 20
"""Of a model card, or of the names of a loan book's firms: 200,000 of them."""

_scorecards = Table(
    "credit_scorecard",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("scorecard", LargeBinary, nullable=False),
)
_SCORECARD_SECRETS = EncryptedColumns(table="credit_scorecard", key="digest", columns={"scorecard": bytes})

_models = Table(
    "credit_model",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("name", String(80), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("developed_ms", BigInteger, nullable=False),
    Column("model_card", LargeBinary, nullable=False),
    Column("unseeing", LargeBinary, nullable=False),
)
_MODEL_SECRETS = EncryptedColumns(table="credit_model", key="digest", columns={"model_card": bytes, "unseeing": bytes})

_closed_cards = Table(
    "credit_blind_key",
    metadata,
    Column("content_digest", LargeBinary(32), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("card", LargeBinary, nullable=False),
)
_CLOSED_CARD_SECRETS = EncryptedColumns(
    table="credit_blind_key", key="content_digest", columns={"secret": bytes, "card": bytes}
)

_computations = Table(
    "credit_computation",
    metadata,
    Column("request", String(OWNED_ID_CHARS), primary_key=True),
    Column("log", LargeBinary, nullable=False),
    Column("salt", LargeBinary, nullable=False),
    Column("numbers", LargeBinary, nullable=False),
    Column("share", LargeBinary, nullable=False),
    Column("kept_ms", BigInteger, nullable=False),
    Column("erase_after_ms", BigInteger, nullable=False, index=True),
    Column("recorded_ms", BigInteger, index=True),
)
_COMPUTATION_SECRETS = EncryptedColumns(
    table="credit_computation", key="request", columns={"salt": bytes, "numbers": bytes, "share": bytes}
)

MAX_RECORDED_AT_ONCE = 1_000
"""Logs that are put on the ledger before it is looked whether there are more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptModel:
    """A model as a bank keeps it. digest: of its scorecard. model_card: what it was made of and how well it did."""

    digest: bytes
    name: str
    as_of: date
    developed_ms: int
    model_card: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object, its model card aside."""
        metrics = self.model_card["metrics"]
        return {
            "digest": self.digest.hex(),
            "name": self.name,
            "as_of": self.as_of.isoformat(),
            "n": self.model_card["n"],
            "bad": self.model_card["bad"],
            "auc": metrics["auc"],
            "auc_ci_95": metrics["auc_ci_95"],
            "ks": metrics["ks"],
        }


class ModelStore:
    """A bank's models.

    Example::

        digest = store.keep(model, model_card=card, as_of=today, developed_ms=now_ms)
        assert store.load(digest).card == model.card
    """

    def __init__(self, engine: Engine, *, cipher: ColumnCipher, digest: Callable[[bytes], bytes]) -> None:
        """digest: the suite hash, by which models are named."""
        self._engine = engine
        self._cipher = cipher
        self._digest = digest

    def keep(self, model: ScoringModel, *, model_card: Mapping[str, Any], as_of: date, developed_ms: int) -> bytes:
        """Keep a model and return its digest; the same again changes nothing."""
        digests = {card: self._digest(encode_scorecard(card)) for card in {model.card, *model.unseeing.values()}}
        digest = digests[model.card]
        unseeing = {taxpayer: digests[card].hex() for taxpayer, card in model.unseeing.items()}
        plain = {
            "digest": digest,
            "name": model.card.name,
            "as_of": as_of,
            "developed_ms": developed_ms,
            "model_card": encode_json(dict(model_card)),
            "unseeing": encode_json(unseeing),
        }
        for card, name in digests.items():
            row = self._cipher.encrypt_row(_SCORECARD_SECRETS, {"digest": name, "scorecard": encode_scorecard(card)})
            with suppress(AlreadyThere), self._engine.begin() as connection:
                connection.execute(insert(_scorecards), row)
        with suppress(AlreadyThere), self._engine.begin() as connection:
            connection.execute(insert(_models), self._cipher.encrypt_row(_MODEL_SECRETS, plain))
        return digest

    def models(self) -> list[KeptModel]:
        """Return every model, the oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_models).order_by(_models.c.developed_ms, _models.c.digest)).mappings()
            return [self._kept(self._cipher.decrypt_row(_MODEL_SECRETS, dict(row))) for row in rows]

    def find(self, name: str) -> KeptModel:
        """Return the model whose digest begins so; raises Denied ``credit.model_unclear``."""
        models = self.models()
        found = [model for model in models if name and model.digest.hex().startswith(name.lower())]
        if len(found) != 1:
            raise Denied(
                "credit.model_unclear", f"{name[:64]!r} begins the digest of {len(found)} of {len(models)} models here"
            )
        return found[0]

    def load(self, digest: bytes) -> ScoringModel:
        """Return a model to score with.

        Raises Denied ``credit.model_unclear``, IntegrityError ``credit.model_damaged``.
        """
        with self._engine.connect() as connection:
            row = connection.execute(select(_models).where(_models.c.digest == digest)).mappings().first()
        if row is None:
            raise Denied("credit.model_unclear", f"no model {digest.hex()} is kept here")
        kept = self._cipher.decrypt_row(_MODEL_SECRETS, dict(row))
        names = _typed(kept["unseeing"], dict[str, str])
        cards = {name: self._card(bytes.fromhex(name)) for name in set(names.values())}
        return ScoringModel(
            card=self._card(digest), unseeing={taxpayer: cards[name] for taxpayer, name in names.items()}
        )

    def _card(self, digest: bytes) -> Scorecard:
        with self._engine.connect() as connection:
            row = connection.execute(select(_scorecards).where(_scorecards.c.digest == digest)).mappings().first()
        data = b"" if row is None else self._cipher.decrypt_row(_SCORECARD_SECRETS, dict(row))["scorecard"]
        if self._digest(data) != digest:
            raise IntegrityError("credit.model_damaged", f"the scorecard {digest.hex()} is not what was kept")
        return decode_scorecard(data)

    def _kept(self, row: Mapping[str, Any]) -> KeptModel:
        return KeptModel(
            digest=row["digest"],
            name=row["name"],
            as_of=row["as_of"],
            developed_ms=row["developed_ms"],
            model_card=_typed(row["model_card"], dict[str, Any]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedCard:
    """A card whose weights nobody else sees.

    secret: of encrypted weights, the key that opens results; of secure ones, the salt that opens their commitment.
    card: the content in clear.
    """

    secret: bytes
    card: bytes


class ClosedCardStore:
    """The cards of a bank's models whose weights a provider does not see, each for the content that stands for it.

    Example::

        store.save(ClosedCard(secret=keys.secret, card=card), content=content)
        assert store.find(content).card == card
    """

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def save(self, card: ClosedCard, *, content: bytes) -> None:
        """Keep the card of a content, durable when this returns."""
        plain = {"content_digest": sha256(content).digest(), "secret": card.secret, "card": card.card}
        with self._engine.begin() as connection:
            connection.execute(insert(_closed_cards), self._cipher.encrypt_row(_CLOSED_CARD_SECRETS, plain))

    def find(self, content: bytes) -> ClosedCard | None:
        """Return the card of a content, or None; raises IntegrityError ``crypto.column_damaged``."""
        wanted = select(_closed_cards).where(_closed_cards.c.content_digest == sha256(content).digest())
        with self._engine.connect() as connection:
            row = connection.execute(wanted).mappings().first()
        if row is None:
            return None
        found = self._cipher.decrypt_row(_CLOSED_CARD_SECRETS, dict(row))
        return ClosedCard(secret=found["secret"], card=found["card"])


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptComputation:
    """A party's log of a run and what opens it [SECURE-18]. numbers: that it put in, as they are committed to."""

    request: OwnedId
    log: bytes
    salt: bytes
    numbers: bytes
    share: bytes
    kept_ms: int
    recorded_ms: int | None


class ComputationStore:
    """The logs of what an institution computed together with others, one for each request.

    Example::

        store.keep(request=name, log=log, salt=salt, numbers=numbers, share=share, kept_ms=now, erase_after_ms=end)
        assert store.find(name).log == log
    """

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def keep(self, **fields: Any) -> None:
        """Keep a log, durable when this returns; an earlier one of the same request is gone."""
        row = self._cipher.encrypt_row(_COMPUTATION_SECRETS, {**fields, "recorded_ms": None})
        with self._engine.begin() as connection:
            connection.execute(delete(_computations).where(_computations.c.request == fields["request"]))
            connection.execute(insert(_computations), row)

    def find(self, request: OwnedId) -> KeptComputation | None:
        """Return the log of a request, or None; raises IntegrityError ``crypto.column_damaged``."""
        return next(iter(self._kept(_computations.c.request == request)), None)

    def unrecorded(self) -> list[KeptComputation]:
        """Return logs that are not known to stand on the ledger, the oldest first, at most 1,000."""
        return self._kept(_computations.c.recorded_ms.is_(None))

    def count_unrecorded(self, *, before_ms: int) -> int:
        """Count the logs that were kept before a moment and are not known to stand on the ledger."""
        return self._count(_computations.c.recorded_ms.is_(None), _computations.c.kept_ms < before_ms)

    def mark_recorded(self, request: OwnedId, *, now_ms: int) -> None:
        """Note that the ledger has a log."""
        with self._engine.begin() as connection:
            connection.execute(
                update(_computations).where(_computations.c.request == request).values(recorded_ms=now_ms)
            )

    def count_due(self, *, now_ms: int) -> DueAnswers:
        """Count the logs whose life has ended by a moment, and all that are kept."""
        return DueAnswers(
            until_ms=now_ms, due=self._count(_computations.c.erase_after_ms <= now_ms), kept=self._count()
        )

    def erase_due(self, *, now_ms: int) -> int:
        """Destroy the logs whose life has ended by a moment; return how many."""
        return self._erase(_computations.c.erase_after_ms <= now_ms)

    def erase(self, request: OwnedId) -> None:
        """Destroy one log."""
        self._erase(_computations.c.request == request)

    def _kept(self, which: ColumnElement[bool]) -> list[KeptComputation]:
        wanted = (
            select(_computations)
            .where(which)
            .order_by(_computations.c.kept_ms, _computations.c.request)
            .limit(MAX_RECORDED_AT_ONCE)
        )
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(wanted).mappings()]
        found = [self._cipher.decrypt_row(_COMPUTATION_SECRETS, row) for row in rows]
        return [KeptComputation(**{name: row[name] for name in KeptComputation.__slots__}) for row in found]

    def _count(self, *which: ColumnElement[bool]) -> int:
        with self._engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(_computations).where(*which)) or 0

    def _erase(self, which: ColumnElement[bool]) -> int:
        with self._engine.begin() as connection:
            return connection.execute(delete(_computations).where(which)).rowcount


def _typed(data: bytes, kind: Any) -> Any:
    try:
        return typed(decode_json(data, max_bytes=MAX_KEPT_BYTES), kind)
    except (InvalidInput, msgspec.ValidationError) as error:
        raise IntegrityError("credit.model_damaged", f"a kept model is damaged: {error}") from error

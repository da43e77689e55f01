"""Exposures that other banks told, and the runs that this bank took part in, in its database.

Who it is about and what was told are encrypted columns, as are the lists that were put in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.exc import IntegrityError as AlreadyThere

from shuiqiao.base.errors import Conflict
from shuiqiao.base.ids import OWNED_ID_CHARS, OwnedId
from shuiqiao.crypto.column_cipher import LOOKUP_TAG_BYTES, ColumnCipher, EncryptedColumns
from shuiqiao.lending.exposures.model import Exposure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

metadata = MetaData()

_exposures = Table(
    "lending_exposure",
    metadata,
    Column("place", String(OWNED_ID_CHARS + 33), primary_key=True),
    Column("request", String(OWNED_ID_CHARS), nullable=False),
    Column("bank", String(32), nullable=False),
    Column("consent", String(OWNED_ID_CHARS), nullable=False, index=True),
    Column("taxpayer_tag", LargeBinary(LOOKUP_TAG_BYTES), nullable=False, index=True),
    Column("taxpayer", LargeBinary, nullable=False),
    Column("band", LargeBinary, nullable=False),
    Column("asked_ms", BigInteger, nullable=False),
    Column("erase_after_ms", BigInteger, nullable=False),
)
_EXPOSURE_SECRETS = EncryptedColumns(table="lending_exposure", key="place", columns={"taxpayer": str, "band": int})

_runs = Table(
    "lending_exposure_run",
    metadata,
    Column("run", LargeBinary(32), primary_key=True),
    Column("other", String(32), nullable=False),
    Column("question", LargeBinary, nullable=False),
    Column("statement", LargeBinary, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("made_ms", BigInteger, nullable=False),
    Column("erase_after_ms", BigInteger, nullable=False),
)
_RUN_SECRETS = EncryptedColumns(table="lending_exposure_run", key="run", columns={"inputs": bytes})

_uses = Table(
    "lending_exposure_use",
    metadata,
    Column("run", LargeBinary(32), primary_key=True),
    Column("request", String(OWNED_ID_CHARS), primary_key=True, index=True),
)

_OF_BANK = delete(_exposures).where(_exposures.c.place == bindparam("of_place"))
_ALL = select(_exposures).order_by(_exposures.c.asked_ms, _exposures.c.place)
_OF_TAXPAYER = _ALL.where(_exposures.c.taxpayer_tag == bindparam("of_tag"))
_USED_WITH = select(_exposures.c.bank).where(_exposures.c.request == bindparam("of_request"))
_RUN = select(_runs).where(_runs.c.run == bindparam("of_run"))
_RUNS = select(*(column for column in _runs.c if column.name != "inputs")).order_by(_runs.c.made_ms, _runs.c.run)

_NONE = -1
"""In the place of a band, where none was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposureRun:
    """What a bank keeps of a run. run: digest of the question. inputs: its own list, as bytes."""

    run: bytes
    other: str
    question: bytes
    statement: bytes
    inputs: bytes
    made_ms: int
    erase_after_ms: int


class ExposureStore:
    """Exposures and runs of one bank."""

    def __init__(self, engine: Engine, *, cipher: ColumnCipher) -> None:
        self._engine = engine
        self._cipher = cipher

    def keep(self, found: Iterable[Exposure]) -> None:
        """Keep what was told, in the place of what the same bank told under the same request before."""
        with self._engine.begin() as connection:
            for each in found:
                place = f"{each.request}/{each.bank}"
                row = {
                    "place": place,
                    "taxpayer_tag": self._cipher.tag(each.taxpayer),
                    **{name: getattr(each, name) for name in Exposure.__slots__},
                    "band": _NONE if each.band is None else each.band,
                }
                connection.execute(_OF_BANK, {"of_place": place})
                connection.execute(insert(_exposures), self._cipher.encrypt_row(_EXPOSURE_SECRETS, row))

    def of_taxpayer(self, taxpayer: str) -> list[Exposure]:
        """Return what was told of a taxpayer, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(_OF_TAXPAYER, {"of_tag": self._cipher.tag(taxpayer)}).mappings().all()
        return [self._exposure(dict(row)) for row in rows]

    def all(self) -> list[Exposure]:
        """Return all that was told, oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(_ALL).mappings().all()
        return [self._exposure(dict(row)) for row in rows]

    def used_with(self, request: OwnedId) -> set[str]:
        """Return the banks that were asked under a request."""
        with self._engine.connect() as connection:
            return set(connection.scalars(_USED_WITH, {"of_request": request}))

    def add_run(self, run: ExposureRun, *, uses: Sequence[OwnedId] = ()) -> None:
        """Keep a run; uses: the other bank's requests, where that one asks.

        Raises Conflict ``lending.exposure_repeated`` where one of the same question is kept.
        """
        row = {name: getattr(run, name) for name in ExposureRun.__slots__}
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_runs), self._cipher.encrypt_row(_RUN_SECRETS, row))
                if uses:
                    connection.execute(insert(_uses), [{"run": run.run, "request": each} for each in uses])
        except AlreadyThere as error:
            raise Conflict("lending.exposure_repeated", f"{run.other} asked this very question before") from error

    def most_uses(self, requests: Sequence[OwnedId]) -> int:
        """Return how often the request among these was used that was used most."""
        counted = select(func.count()).where(_uses.c.request == bindparam("of_request"))
        with self._engine.connect() as connection:
            return max(connection.scalar(counted, {"of_request": each}) or 0 for each in requests)

    def find_run(self, run: bytes) -> ExposureRun | None:
        """Return a run, None where none is kept."""
        with self._engine.connect() as connection:
            row = connection.execute(_RUN, {"of_run": run}).mappings().first()
        return None if row is None else ExposureRun(**self._cipher.decrypt_row(_RUN_SECRETS, dict(row)))

    def runs(self) -> list[ExposureRun]:
        """Return the runs, oldest first, without their lists."""
        with self._engine.connect() as connection:
            return [ExposureRun(**row, inputs=b"") for row in connection.execute(_RUNS).mappings()]

    def erase_due(self, *, now_ms: int) -> int:
        """Erase exposures and runs whose life is over; return how many exposures."""
        with self._engine.begin() as connection:
            over = select(_runs.c.run).where(_runs.c.erase_after_ms <= now_ms)
            connection.execute(delete(_uses).where(_uses.c.run.in_(over)))
            connection.execute(delete(_runs).where(_runs.c.erase_after_ms <= now_ms))
            return connection.execute(delete(_exposures).where(_exposures.c.erase_after_ms <= now_ms)).rowcount

    def _exposure(self, row: dict[str, Any]) -> Exposure:
        known = self._cipher.decrypt_row(_EXPOSURE_SECRETS, row)
        known["band"] = None if known["band"] == _NONE else known["band"]
        known["request"], known["consent"] = OwnedId(known["request"]), OwnedId(known["consent"])
        return Exposure(**{name: known[name] for name in Exposure.__slots__})

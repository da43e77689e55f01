"""What ``doctor`` tells of a home's database: whether it is the one that the home had, whole, and what it holds.

It looks without the key of the columns: entries of the journal are counted, by day, and held against the days that
stand on the ledger; ``shuiqiao journal verify`` recomputes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.members.journal import NO_DAY, anchored_root, day_text, last_anchored_day
from shuiqiao.node.accounts.journal.store import JournalStore
from shuiqiao.node.accounts.store import AccountStore
from shuiqiao.node.doctor.finding import Finding, finding_of_error
from shuiqiao.node.home.database import open_database_to_read
from shuiqiao.node.home.keys import had_database
from shuiqiao.node.home.migrations import NEWEST
from shuiqiao.node.home.settings import database_of
from shuiqiao.node.home_reader import read_home

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shuiqiao.ledger.model import StateView
    from shuiqiao.node.home.settings import Home

WHAT: Final = "database"

WHOLE_CHECK_BYTES: Final = 256 << 20
"""Longest SQLite file whose indexes are compared with its tables; of a longer one every page is looked at."""

_NO_END: Final = 2**31 - 1
"""Later than any day, in days since 1970, and the largest number of such a column."""


def look_at_database(home: Home) -> Finding:
    """Look at a home's database, and change nothing of it."""
    try:
        with open_database_to_read(database_of(home), was_used=had_database(home)) as database:
            if database.dialect.name == "sqlite":
                _require_whole(database, place=str(home.database))
            return _content(home, database)
    except ShuiqiaoError as error:
        # Tables of an earlier release are brought up to date when the home is opened; nothing is wrong with them.
        if error.code == "node.database_older":
            return Finding(what=WHAT, says=error.message, says_zh="数据库为旧版本,下次启动时自动升级")
        return finding_of_error(WHAT, error)


def _content(home: Home, database: Engine) -> Finding:
    try:
        with read_home(home) as reader:
            cipher, state = reader.cipher(database), reader.engine.state()
            users = AccountStore(database, cipher=cipher).count_users()
            days = dict(JournalStore(database, cipher=cipher).days(after=NO_DAY, before=_NO_END))
            anchored = _anchored(days, state=state, member=reader.member)
    except ShuiqiaoError as error:
        if error.code.partition(".")[0] != "ledger":
            raise
        # What is wrong with the ledger is told where that is looked at.
        says = f"revision {NEWEST}; not held against the ledger, which cannot be read"
        return Finding(what=WHAT, says=says, says_zh="数据库完整;账本无法读取,未与之核对")
    held = f"{sum(days.values())} entries of the journal on {len(days)} days, {anchored} of them anchored"
    return Finding(
        what=WHAT, says=f"revision {NEWEST}, {users} users, {held}", says_zh="数据库完整,日志与账本上的锚定一致"
    )


def _require_whole(database: Engine, *, place: str) -> None:
    with database.connect() as connection:
        pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("page_count", "page_size"))
        is_long = int(pages or 0) * int(size or 0) > WHOLE_CHECK_BYTES
        said = connection.exec_driver_sql(f"PRAGMA {'quick' if is_long else 'integrity'}_check(1)").scalar()
    if said != "ok":
        raise IntegrityError("node.database_damaged", f"the database {place} is damaged: {str(said)[:300]}")


def _anchored(days: dict[int, int], *, state: StateView, member: str) -> int:
    """Return how many days stand on the ledger, with as many entries as are here."""
    last, anchored = last_anchored_day(state, member), 0
    for day in range(min(days, default=last), last + 1):
        told = anchored_root(state, member, day)
        if told is None:
            continue
        anchored += 1
        if told[0] != days.get(day, 0):
            raise IntegrityError(
                "node.journal_anchor_differs",
                f"of {day_text(day)} the ledger has {told[0]} entries, the journal in the database {days.get(day, 0)}",
            )
    return anchored

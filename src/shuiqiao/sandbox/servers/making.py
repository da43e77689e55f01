"""Making a sandbox: the scenario's homes at addresses of their own, users of every role, and data for the bureau.

Nothing is started. The plan is written last: a folder in which it is missing was not finished, and is not used.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from shuiqiao.base.clock import MS_PER_SECOND, SystemClock
from shuiqiao.base.durable import replace_file
from shuiqiao.base.environment import DATABASE_URL_VARIABLE
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.files import OWNER_ONLY_FOLDER, share_file
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.ledger.engine.cometbft.comet.process import find_program
from shuiqiao.members.model import EngineName
from shuiqiao.node.home.making import nothing_left_of_a_failure
from shuiqiao.node.home.settings import encode_settings, load_settings
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, EMBEDDED, FOUNDERS, RunEngine, create_consortium
from shuiqiao.sandbox.scenario.population import synthetic_data
from shuiqiao.sandbox.servers.accounts import make_accounts
from shuiqiao.sandbox.servers.folder import InstitutionAccounts, SandboxFolder, SandboxPlan

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.base.progress import Progress
    from shuiqiao.sandbox.scenario.population import RunData

DEFAULT_TAXPAYERS: Final = 200
DEFAULT_SEED: Final = 1
EXAMPLES: Final = 3
"""Taxpayers that ``sandbox up`` and ``status`` name."""

SECURE_TIMEOUT_MS: Final = 60_000
"""Of one run: five servers that share a machine load the library slowly."""

VALIDATORS: Final = 4
"""Institutions that vote where there are validators; the fifth follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a command asks of a sandbox; None: as it is, or as it is by default where it is made."""

    suite: SuiteName | None = None
    engine: EngineName | None = None
    taxpayers: int | None = None
    seed: int | None = None


def make_or_find(folder: SandboxFolder, wanted: Wanted, *, progress: Progress) -> bool:
    """Make a sandbox, or find one that is there as it is wanted; tell whether it was made.

    Raises Conflict ``sandbox.differs``, what ``run_engine`` and ``make_sandbox`` raise.
    """
    if folder.plan.exists():
        _require_as_wanted(folder, wanted)
        return False
    make_sandbox(
        folder,
        suite=wanted.suite or SuiteName.INTL,
        taxpayers=wanted.taxpayers or DEFAULT_TAXPAYERS,
        seed=DEFAULT_SEED if wanted.seed is None else wanted.seed,
        engine=run_engine(wanted.engine),
        clock=SystemClock(),
        entropy=system_entropy,
        progress=progress,
    )
    return True


def run_engine(engine: EngineName | None) -> RunEngine:
    """Return on what a sandbox runs, None being embedded; raises Unavailable ``ledger.cometbft_absent``."""
    if engine is not EngineName.COMETBFT:
        return EMBEDDED
    return RunEngine(engine=engine, validators=VALIDATORS, program=find_program())


def _require_as_wanted(folder: SandboxFolder, wanted: Wanted) -> None:
    plan = folder.load_plan()
    for name in ("suite", "engine", "taxpayers", "seed"):
        asked, made = getattr(wanted, name), getattr(plan, name)
        if asked is not None and asked != made:
            raise Conflict(
                "sandbox.differs", f"the sandbox in {folder.folder} was made with {name} {made}, asked for is {asked}"
            )


def make_sandbox(
    folder: SandboxFolder,
    *,
    suite: SuiteName,
    taxpayers: int,
    seed: int,
    clock: Clock,
    entropy: Entropy,
    progress: Progress,
    engine: RunEngine = EMBEDDED,
    cost: PassphraseCost = STRONG_COST,
) -> RunData:
    """Make the homes, users and data of a sandbox in a new folder, and return its data; nothing is started.

    cost: of opening the homes' keys. Raises Conflict ``sandbox.folder_not_empty``, InvalidInput
    ``sandbox.database_shared``, what ``create_consortium`` and ``synthetic_data`` raise.
    """
    folder.require_new()
    if os.environ.get(DATABASE_URL_VARIABLE):
        raise InvalidInput(
            "sandbox.database_shared",
            f"{DATABASE_URL_VARIABLE} names one database, which five institutions cannot share",
        )
    with nothing_left_of_a_failure(folder.folder):
        folder.run.mkdir(mode=OWNER_ONLY_FOLDER, parents=True)
        progress("generate the data 生成数据", 0, None)
        data = synthetic_data(folder.data, taxpayers=taxpayers, seed=seed, as_of=as_of_day(clock.now_ms()))
        progress("make homes 建立主目录", 0, None)
        prepared = create_consortium(
            folder.folder,
            suite_name=suite,
            clock=clock,
            entropy=entropy,
            engine=engine,
            is_served=True,
            cost=cost,
        )
        _let_compute(folder)
        replace_file(folder.genesis, prepared.genesis, mode=None)
        share_file(folder.genesis)
        found = list[InstitutionAccounts]()
        for founder in FOUNDERS:
            progress("make users 建立用户", len(found), len(FOUNDERS))
            home = folder.home(founder.member)
            found.append(make_accounts(home, clock=clock, entropy=entropy))
        folder.save_accounts(tuple(found))
        plan = SandboxPlan(
            suite=suite.value,
            engine=engine.engine.value,
            members=tuple(founder.member for founder in FOUNDERS),
            taxpayers=taxpayers,
            seed=seed,
            examples=tuple(str(each.uscc) for each in data.population.applicants[:EXAMPLES]),
        )
        folder.save_plan(plan)
    return data


def _let_compute(folder: SandboxFolder) -> None:
    """Have banks and bureau compute scores together, where the extra for it is installed [SECURE-16]."""
    with suppress(Unavailable):
        require_library()
        for member in (BUREAU, *BANKS):
            home = folder.home(member)
            settings = msgspec.structs.replace(
                load_settings(home),
                secure_listen="127.0.0.1:0" if member == BUREAU else "",
                secure_timeout_ms=SECURE_TIMEOUT_MS,
            )
            replace_file(home.settings, encode_settings(settings).encode(), mode=None)


def as_of_day(now_ms: int) -> date:
    """Return the last day of the newest whole month at a moment: the data ends there, and a bank judges today."""
    today = datetime.fromtimestamp(now_ms / MS_PER_SECOND, tz=UTC).date()
    return today.replace(day=1) - timedelta(days=1)

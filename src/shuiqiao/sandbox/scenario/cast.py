"""The institutions of the scenario: one tax bureau that writes, three banks, one regulator, each in a home of its own.

All are real nodes in one process: the writer and its followers run their own engines over their own files, and know
each other by the genesis alone. Homes get a random passphrase each, kept beside the keys as ``init`` does.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.clock import Clock
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.members.genesis import encode_genesis
from shuiqiao.members.model import Genesis, Role
from shuiqiao.node.home import create_home, member_from_seeds
from shuiqiao.node.institution import Institution, Surroundings
from shuiqiao.node.keys import MemberSeeds
from shuiqiao.node.settings import Home, NodeSettings

BUREAU = MemberId("bureau")
REGULATOR = MemberId("regulator")
LEAD_BANK = MemberId("bank-east")
BANKS = (LEAD_BANK, MemberId("bank-north"), MemberId("bank-south"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part in the play."""

    member: MemberId
    role: Role
    name: str
    name_zh: str


CAST = (
    Part(member=BUREAU, role=Role.TAX_BUREAU, name="Example Tax Bureau", name_zh="示例税务局"),
    Part(member=BANKS[0], role=Role.BANK, name="Example East Bank", name_zh="示例东方银行"),
    Part(member=BANKS[1], role=Role.BANK, name="Example North Bank", name_zh="示例北方银行"),
    Part(member=BANKS[2], role=Role.BANK, name="Example South Bank", name_zh="示例南方银行"),
    Part(member=REGULATOR, role=Role.REGULATOR, name="Example Financial Regulator", name_zh="示例金融监管局"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consortium:
    """The open institutions of a run."""

    folder: Path
    genesis: bytes
    bureau: Institution
    banks: dict[MemberId, Institution]
    regulator: Institution

    @property
    def members(self) -> tuple[Institution, ...]:
        """Everyone, the writer first."""
        return (self.bureau, *self.banks.values(), self.regulator)

    @property
    def followers(self) -> tuple[Institution, ...]:
        """Everyone but the writer."""
        return (*self.banks.values(), self.regulator)


def create_consortium(
    folder: Path, *, suite_name: SuiteName, clock: Clock, entropy: Entropy, cost: PassphraseCost = STRONG_COST
) -> bytes:
    """Make every home under ``folder/homes`` and return the genesis they share."""
    suite = get_suite(suite_name)
    seeds = {part.member: MemberSeeds.generate(entropy) for part in CAST}
    members = tuple(
        member_from_seeds(
            seeds[part.member],
            member=part.member,
            role=part.role,
            name=part.name,
            name_zh=part.name_zh,
            suite=suite,
        )
        for part in sorted(CAST, key=lambda part: part.member)
    )
    genesis = encode_genesis(
        Genesis(name="demo", suite=suite_name, writer=BUREAU, created_ms=clock.now_ms(), members=members)
    )
    for part in CAST:
        settings = NodeSettings(member=part.member, role=part.role, suite=suite_name)
        create_home(
            home_of(folder, part.member),
            settings=settings,
            genesis=genesis,
            seeds=seeds[part.member],
            passphrase=None,
            entropy=entropy,
            cost=cost,
        )
    return genesis


def home_of(folder: Path, member: MemberId) -> Home:
    """Return a member's home in a run's folder."""
    return Home(folder / "homes" / member)


@contextmanager
def open_consortium(folder: Path, *, genesis: bytes, clock: Clock, entropy: Entropy) -> Generator[Consortium]:
    """Open every home, the writer first, and close all at the end, the writer last."""
    with ExitStack() as stack:
        bureau = stack.enter_context(
            Institution.open(home_of(folder, BUREAU), surroundings=Surroundings(clock=clock, entropy=entropy))
        )
        if not isinstance(bureau.engine, EmbeddedLedger):
            raise TypeError(f"{BUREAU} is the writer, and its engine is a {type(bureau.engine).__name__}")
        surroundings = Surroundings(clock=clock, entropy=entropy, writer=bureau.engine)
        others = {
            member: stack.enter_context(Institution.open(home_of(folder, member), surroundings=surroundings))
            for member in (*BANKS, REGULATOR)
        }
        yield Consortium(
            folder=folder,
            genesis=genesis,
            bureau=bureau,
            banks={bank: others[bank] for bank in BANKS},
            regulator=others[REGULATOR],
        )

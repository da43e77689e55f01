"""The institutions of the scenario: one tax bureau, three banks, one regulator, each in a home of its own.

All are real nodes in one process: each runs its own engine over its own files, and they know each other by the genesis
alone. With the embedded engine the bureau writes and the others follow; with CometBFT each has a node beside it, and
those with a vote decide together (``validators``). Homes get a random passphrase each, kept beside the keys as ``init``
does.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shuiqiao.base.clock import Clock
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import CipherSuite, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import NodeKeys
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalNetwork
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.members.genesis import encode_genesis
from shuiqiao.members.model import EngineName, Genesis, Member, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberSeeds
from shuiqiao.node.home.making import create_home, member_from_seeds
from shuiqiao.node.home.settings import Home, NodeSettings
from shuiqiao.node.institution import Institution, Surroundings
from shuiqiao.sandbox.scenario.validators import EMBEDDED, Order, local_network, node_keys, started

NETWORK_NAME = "demo"
BUREAU = MemberId("bureau")
REGULATOR = MemberId("regulator")
LEAD_BANK = MemberId("bank-east")
BANKS = (LEAD_BANK, MemberId("bank-north"), MemberId("bank-south"))

WITNESSES = (*BANKS, REGULATOR)
WITNESS_QUORUM = 2
"""With the embedded engine the others cosign the bureau's checkpoints, and two of them must have."""

VOTING_ORDER = (BUREAU, LEAD_BANK, BANKS[1], REGULATOR, BANKS[2])
"""Who votes where there are validators: the first of these, as many as are asked for. The others follow."""


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
class Stage:
    """What was made for a run. network: the CometBFT nodes, not yet started; None with the embedded engine."""

    folder: Path
    genesis: bytes
    engine: EngineName
    validators: tuple[MemberId, ...]
    network: LocalNetwork | None

    @property
    def applicants_at_once(self) -> int:
        """How many applicants are best under way: some compute while others wait for their block."""
        return _AT_ONCE[self.engine]


_AT_ONCE: Mapping[EngineName, int] = {EngineName.EMBEDDED: 2, EngineName.COMETBFT: 12}
"""A block of the writer takes milliseconds; one that validators agree on takes long enough for many to gather in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consortium:
    """The open institutions of a run."""

    stage: Stage
    bureau: Institution
    banks: dict[MemberId, Institution]
    regulator: Institution

    @property
    def members(self) -> tuple[Institution, ...]:
        """Everyone, the bureau first."""
        return (self.bureau, *self.banks.values(), self.regulator)

    @property
    def followers(self) -> tuple[Institution, ...]:
        """Everyone but the bureau."""
        return (*self.banks.values(), self.regulator)

    def settle(self) -> None:
        """Return once every member holds every block of all others, under a checkpoint that covers it.

        Raises what ``wait_for_block`` and ``checkpoint`` of the engines raise.
        """
        settle(self.members)


def settle(members: tuple[Institution, ...]) -> None:
    """Return once these members hold every block of each other, under a checkpoint that covers it."""
    height = max(member.engine.last_block()[0] for member in members)
    for member in members:
        member.engine.wait_for_block(height)
        member.engine.checkpoint(at_least=log_size(member.engine))


def create_consortium(
    folder: Path,
    *,
    suite_name: SuiteName,
    clock: Clock,
    entropy: Entropy,
    order: Order = EMBEDDED,
    cost: PassphraseCost = STRONG_COST,
) -> Stage:
    """Make every home under ``folder/homes``; nothing is started."""
    suite = get_suite(suite_name)
    seeds = {part.member: MemberSeeds.generate(entropy) for part in CAST}
    validators = VOTING_ORDER[: order.validators]
    nodes = node_keys(VOTING_ORDER, entropy=entropy) if order.engine is EngineName.COMETBFT else {}
    genesis = Genesis(
        name=NETWORK_NAME,
        suite=suite_name,
        engine=order.engine,
        writer=MemberId("") if nodes else BUREAU,
        created_ms=clock.now_ms(),
        quorum=2 * len(validators) // 3 + 1 if nodes else WITNESS_QUORUM,
        witnesses=tuple(sorted(validators if nodes else WITNESSES)),
        members=tuple(
            _member(part, seeds=seeds[part.member], node=nodes.get(part.member), suite=suite, validators=validators)
            for part in sorted(CAST, key=lambda part: part.member)
        ),
    )
    encoded = encode_genesis(genesis)
    network = local_network(
        folder,
        genesis=genesis,
        network=suite.digest(encoded),
        nodes=nodes,
        program=order.program,
        home_of=lambda member: home_of(folder, member).cometbft,
    )
    for part in CAST:
        create_home(
            home_of(folder, part.member),
            settings=_settings(part, suite=suite_name, network=network),
            genesis=encoded,
            seeds=seeds[part.member],
            passphrase=None,
            entropy=entropy,
            cost=cost,
        )
    return Stage(folder=folder, genesis=encoded, engine=order.engine, validators=validators, network=network)


def _member(
    part: Part, *, seeds: MemberSeeds, node: NodeKeys | None, suite: CipherSuite, validators: tuple[MemberId, ...]
) -> Member:
    return member_from_seeds(
        seeds,
        registration=Registration.in_genesis(NETWORK_NAME, part.member),
        role=part.role,
        name=part.name,
        name_zh=part.name_zh,
        suite=suite,
        validator=node.validator if node and part.member in validators else None,
    )


def _settings(part: Part, *, suite: SuiteName, network: LocalNetwork | None) -> NodeSettings:
    settings = NodeSettings(member=part.member, role=part.role, suite=suite)
    if network is None:
        return settings
    return msgspec.structs.replace(settings, engine="cometbft", p2p_port=network.p2p_port(part.member))


def home_of(folder: Path, member: MemberId) -> Home:
    """Return a member's home in a run's folder."""
    return Home(folder / "homes" / member)


@contextmanager
def open_consortium(stage: Stage, *, clock: Clock, entropy: Entropy) -> Generator[Consortium]:
    """Open every home, the bureau first, and start the nodes beside them where there are any.

    All is stopped and closed at the end, however it comes: nodes first, the bureau's home last.
    """
    with ExitStack() as stack:
        bureau = stack.enter_context(
            Institution.open(
                home_of(stage.folder, BUREAU),
                # The clock of a story may jump, and is right by what the story says.
                surroundings=Surroundings(clock=clock, entropy=entropy, is_clock_confirmed=True),
            )
        )
        writer = bureau.engine if isinstance(bureau.engine, EmbeddedLedger) else None
        surroundings = Surroundings(clock=clock, entropy=entropy, writer=writer)
        others = {
            member: stack.enter_context(Institution.open(home_of(stage.folder, member), surroundings=surroundings))
            for member in (*BANKS, REGULATOR)
        }
        stack.enter_context(started(stage.network))
        yield Consortium(
            stage=stage,
            bureau=bureau,
            banks={bank: others[bank] for bank in BANKS},
            regulator=others[REGULATOR],
        )

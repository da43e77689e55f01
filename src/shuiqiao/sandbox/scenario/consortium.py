"""The institutions of the scenario: one tax bureau, three banks, one regulator, each in a home of its own.

All are real nodes in one process: each runs its own engine over its own files, and they know each other by the genesis
alone. With the embedded engine the bureau writes and the others follow; with CometBFT each has a node beside it on
loopback, and those with a vote decide together. Homes get a random passphrase each, kept beside the home as ``init``
does. The same homes are served by processes of their own where they know each other's addresses
(``sandbox/servers``).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.clock import Clock
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.base.words import Words
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import CipherSuite, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import NodeKeys, Pace
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalNetwork, Mesh
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.transactions.submitter import log_size
from shuiqiao.members.genesis import encode_genesis
from shuiqiao.members.model import EngineName, Genesis, Member, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberSeeds
from shuiqiao.node.home.making import Addresses, HomeNode, create_home, loopback_addresses, member_from_seeds
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from shuiqiao.node.services import Dependencies

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


PACE = Pace(propose_ms=1_000, vote_ms=500, commit_ms=10)
"""On loopback votes are there at once; a proposer that is down costs the others a second."""

START_TIMEOUT_S = 60.0
"""How long the nodes may take to agree on their first block, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEngine:
    """The engine of a run. validators: how many vote, 0 with the embedded engine. program: the cometbft program."""

    engine: EngineName
    validators: int = 0
    program: Path = Path()


EMBEDDED = RunEngine(engine=EngineName.EMBEDDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Founder:
    """One of those that found the network."""

    member: MemberId
    role: Role
    names: Words


FOUNDERS = (
    Founder(member=BUREAU, role=Role.TAX_BUREAU, names=Words(en="Example Tax Bureau", zh="示例税务局")),
    Founder(member=BANKS[0], role=Role.BANK, names=Words(en="Example East Bank", zh="示例东方银行")),
    Founder(member=BANKS[1], role=Role.BANK, names=Words(en="Example North Bank", zh="示例北方银行")),
    Founder(member=BANKS[2], role=Role.BANK, names=Words(en="Example South Bank", zh="示例南方银行")),
    Founder(member=REGULATOR, role=Role.REGULATOR, names=Words(en="Example Financial Regulator", zh="示例金融监管局")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedConsortium:
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

    prepared: PreparedConsortium
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
    engine: RunEngine = EMBEDDED,
    is_served: bool = False,
    cost: PassphraseCost = STRONG_COST,
) -> PreparedConsortium:
    """Make every home under ``folder/homes``; nothing is started. is_served: at addresses of their own."""
    suite = get_suite(suite_name)
    seeds = {founder.member: MemberSeeds.generate(entropy) for founder in FOUNDERS}
    validators = VOTING_ORDER[: engine.validators]
    nodes = {str(member): NodeKeys.generate(entropy) for member in VOTING_ORDER} if validators else {}
    mesh = Mesh.planned([*nodes], is_relayed=False)
    names = [founder.member for founder in FOUNDERS]
    addresses = loopback_addresses(names, besides=mesh.ports) if is_served else {}
    genesis = Genesis(
        name=NETWORK_NAME,
        suite=suite_name,
        engine=engine.engine,
        writer=MemberId("") if nodes else BUREAU,
        created_ms=clock.now_ms(),
        quorum=2 * len(validators) // 3 + 1 if nodes else WITNESS_QUORUM,
        witnesses=tuple(sorted(validators if nodes else WITNESSES)),
        members=tuple(
            _member(
                founder, seeds=seeds[founder.member], node=nodes.get(founder.member), suite=suite, validators=validators
            )
            for founder in sorted(FOUNDERS, key=lambda founder: founder.member)
        ),
    )
    encoded = encode_genesis(genesis)
    for founder in FOUNDERS:
        create_home(
            home_of(folder, founder.member),
            settings=addresses.get(founder.member, Addresses()).settings(
                member=founder.member,
                role=founder.role,
                genesis=genesis,
                p2p_port=mesh.p2p_port(founder.member),
            ),
            genesis=encoded,
            seeds=seeds[founder.member],
            passphrase=None,
            entropy=entropy,
            node=HomeNode.in_mesh(founder.member, mesh, keys=nodes, pace=PACE),
            cost=cost,
        )
    homes = {member: home_of(folder, MemberId(member)).cometbft for member in nodes}
    return PreparedConsortium(
        folder=folder,
        genesis=encoded,
        engine=engine.engine,
        validators=validators,
        network=LocalNetwork(homes, program=engine.program) if nodes else None,
    )


def _member(
    founder: Founder, *, seeds: MemberSeeds, node: NodeKeys | None, suite: CipherSuite, validators: tuple[MemberId, ...]
) -> Member:
    return member_from_seeds(
        seeds,
        registration=Registration.in_genesis(NETWORK_NAME, founder.member),
        role=founder.role,
        name=founder.names.en,
        name_zh=founder.names.zh,
        suite=suite,
        validator=node.validator if node and founder.member in validators else None,
    )


def home_of(folder: Path, member: MemberId) -> Home:
    """Return a member's home in a run's folder."""
    return Home(folder / "homes" / member)


@contextmanager
def open_consortium(prepared: PreparedConsortium, *, clock: Clock, entropy: Entropy) -> Generator[Consortium]:
    """Open every home, the bureau first, and start the nodes beside them where there are any.

    All is stopped and closed at the end, however it comes: nodes first, the bureau's home last.
    """
    with ExitStack() as stack:
        bureau = stack.enter_context(
            Institution.open(
                home_of(prepared.folder, BUREAU),
                # The clock of a story may jump, and is right by what the story says.
                dependencies=Dependencies(clock=clock, entropy=entropy, is_clock_confirmed=True),
            )
        )
        writer = bureau.engine if isinstance(bureau.engine, EmbeddedLedger) else None
        dependencies = Dependencies(clock=clock, entropy=entropy, writer=writer)
        others = {
            member: stack.enter_context(Institution.open(home_of(prepared.folder, member), dependencies=dependencies))
            for member in (*BANKS, REGULATOR)
        }
        stack.enter_context(_started(prepared.network))
        yield Consortium(
            prepared=prepared,
            bureau=bureau,
            banks={bank: others[bank] for bank in BANKS},
            regulator=others[REGULATOR],
        )


@contextmanager
def _started(network: LocalNetwork | None) -> Generator[None]:
    """Keep all nodes running, from their first block on; nothing where there are none.

    Raises Unavailable ``ledger.node_too_slow``.
    """
    if network is None:
        yield
        return
    try:
        network.start()
        network.wait_for_height(1, timeout_s=START_TIMEOUT_S)
        yield
    finally:
        network.stop()

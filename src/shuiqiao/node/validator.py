"""A validator at work: its own copy of the ledger behind the ABCI socket, and the CometBFT node beside it.

The server of a validator's home starts the CometBFT node as its child once its ledger is recovered, starts it again
where it ends, and stops it before the ledger is closed. A child does not outlive the server, whatever ends that. Where
node.toml says that something else runs the node (``runs_cometbft = false``), it is looked at and nothing more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.engine.cometbft.comet.home import RPC_SOCKET, ValidatorKeyFiles
from shuiqiao.ledger.engine.cometbft.comet.process import NodeProcess, find_program
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger, CometbftSettings
from shuiqiao.members.epoch import checkpoint_policy, read_epoch
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.roster import validator_of
from shuiqiao.node.home.kinds import network_kinds

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.ledger.model import NetworkParameters
    from shuiqiao.node.home.settings import Home, NodeSettings

KEY_TIMEOUT_S: Final = 40.0
"""How long votes by a new key may take to count once the ledger names it, in seconds."""

RESTART_PAUSE_S: Final = 1.0
MAX_RESTART_PAUSE_S: Final = 60.0
"""The pause before a node that ended is started again doubles from the first to the second, in seconds."""

_LOOK_S: Final = 0.5
_POLL_S: Final = 0.1
_RPC_TIMEOUT_S: Final = 3.0


def open_validator_ledger(
    home: Home, *, settings: NodeSettings, cosigner: Cosigner, parameters: NetworkParameters, clock: Clock
) -> CometbftLedger:
    """Open the ledger folder and listen for CometBFT in the home. cosigner: whose key the member cosigns with.

    Raises InvalidInput ``node.not_validator`` where the home has no port, and what ``CometbftLedger.open`` raises.
    """
    if not settings.is_validator:
        raise InvalidInput(
            "node.not_validator",
            f"{settings.member} runs no validator: {home.settings} names no port",
            next_step="open the home of a validator of this network",
        )
    return CometbftLedger.open(
        home.ledger,
        parameters=parameters,
        kinds=network_kinds(),
        key_ring=MemberKeyRing(),
        clock=clock,
        policy_of=lambda state: checkpoint_policy(read_epoch(state), origin=parameters.origin),
        cosigner=cosigner,
        settings=CometbftSettings(
            comet=home.cometbft,
            application=ApplicationSettings(),
            verifier_processes=settings.verifier_processes,
        ),
    )


class ValidatorNode:
    """The CometBFT node beside a validator's open ledger.

    ::

        node = ValidatorNode.start(home, settings=settings, ledger=ledger)
        node.trouble
        node.close()
    """

    def __init__(
        self, home: Home, *, settings: NodeSettings, ledger: CometbftLedger, process: NodeProcess | None
    ) -> None:
        """Use ``start``. process: the child, None where something else runs the node."""
        self.ledger = ledger
        self.trouble: ShuiqiaoError | None = None
        """Why the child ended, None while it runs."""
        self._home = home
        self._member = MemberId(settings.member)
        self._process = process
        self._changing = threading.Lock()
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="cometbft-watcher", daemon=True)

    @classmethod
    def start(cls, home: Home, *, settings: NodeSettings, ledger: CometbftLedger) -> ValidatorNode:
        """Start the node; it reaches the others by itself. Raises Unavailable ``ledger.cometbft_absent``."""
        process = NodeProcess(home.cometbft, program=find_program()) if settings.runs_cometbft else None
        node = cls(home, settings=settings, ledger=ledger, process=process)
        node._settle_key()
        if process is not None:
            process.start()
            node._watcher.start()
        return node

    @property
    def is_running(self) -> bool:
        """Whether the node runs: the child of this process, or one that answers."""
        if self._process is not None:
            return self._process.pid is not None
        with closing(self._rpc()) as rpc, contextlib.suppress(ShuiqiaoError):
            rpc.status()
            return True
        return False

    def _rpc(self) -> RpcClient:
        return RpcClient(self._home.cometbft / RPC_SOCKET, timeout_s=_RPC_TIMEOUT_S)

    def _settle_key(self) -> None:
        """Put the next key to vote with in use if the ledger names it: a rotation was interrupted behind its block."""
        files = ValidatorKeyFiles(self._home.cometbft)
        made = files.next()
        if made is not None and made == validator_of(self.ledger.state(), self._member):
            files.switch()

    def _watch(self) -> None:
        """Start a child that ended again, after pauses that double as long as it does not stay."""
        pause_s, began_s = RESTART_PAUSE_S, time.monotonic()
        while not self._closing.wait(_LOOK_S):
            self.trouble = self._why_ended()
            if self.trouble is None:
                pause_s = RESTART_PAUSE_S if time.monotonic() - began_s > MAX_RESTART_PAUSE_S else pause_s
                continue
            if self._closing.wait(pause_s):
                return
            pause_s, began_s = min(2 * pause_s, MAX_RESTART_PAUSE_S), time.monotonic()
            # What the system refuses now (a full disk, no more processes) is tried again.
            with contextlib.suppress(ShuiqiaoError, OSError), self._changing:
                self._settle_key()
                self._child.start()

    def _why_ended(self) -> ShuiqiaoError | None:
        with self._changing:
            try:
                self._child.require_running()
            except ShuiqiaoError as error:
                return error
        return None

    @property
    def _child(self) -> NodeProcess:
        assert self._process is not None, "a node that something else runs is not watched"
        return self._process

    def take_key(self, public_key: bytes) -> None:
        """Have the node vote with the next key, once the votes of that key count.

        Raises Unavailable ``node.validator_key_awaited``, and ``node.cometbft_elsewhere`` where this process does not
        run the node; the same call then goes on.
        """
        self._wait_until_it_counts(public_key)
        with self._changing:
            if self._process is not None:
                self._process.stop()
            self._settle_key()
            if self._process is not None:
                self._process.start()
                self._wait_until_it_takes_part()
                return
        raise Unavailable(
            "node.cometbft_elsewhere",
            f"the new key of {self._member} to vote with lies in {self._home.cometbft}, and something else runs the "
            "CometBFT node there, which reads it when it starts",
        )

    def _wait_until_it_counts(self, public_key: bytes) -> None:
        """Return once CometBFT counts votes by a key for the next height: two heights after the block that named it."""
        end = time.monotonic() + KEY_TIMEOUT_S
        with closing(self._rpc()) as rpc:
            while public_key not in rpc.validator_keys():
                if time.monotonic() > end:
                    raise Unavailable(
                        "node.validator_key_awaited",
                        f"the ledger names the new validator key; after {KEY_TIMEOUT_S:g} s CometBFT does not count it",
                        next_step="see that more than two thirds of the validators run, then give the same command "
                        "again",
                    )
                time.sleep(_POLL_S)

    def _wait_until_it_takes_part(self) -> None:
        """Return once the node takes transactions again: it takes none while it catches up, nor while it starts.

        One that does not within KEY_TIMEOUT_S has its new key all the same, and its status says what is wrong.
        """
        end = time.monotonic() + KEY_TIMEOUT_S
        with closing(self._rpc()) as rpc:
            while time.monotonic() < end:
                with contextlib.suppress(ShuiqiaoError):
                    if not rpc.status().is_catching_up:
                        return
                time.sleep(_POLL_S)

    def close(self) -> None:
        """Stop the child; the ledger beside it is closed after it."""
        self._closing.set()
        if self._process is not None:
            self._watcher.join()
            self._process.stop()

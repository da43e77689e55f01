"""A validator's own copy of the ledger, opened over its home for the CometBFT node beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger, CometbftSettings
from shuiqiao.members.epoch import checkpoint_policy, read_epoch
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home.keys import MemberKeys, load_keys, other_signing_keys, require_first_keys, require_keys
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.home.settings import Home, NodeSettings, load_genesis, load_settings, require_member

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.ledger.model import NetworkParameters

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeLedger:
    """The open ledger of a validator's home. reload_keys: read the key files again, since one is being replaced."""

    ledger: CometbftLedger
    reload_keys: Callable[[], None]


def open_home_ledger(home: Home, *, passphrase: bytes, clock: Clock) -> HomeLedger:
    """Open the ledger of a validator's home, and nothing else of the institution.

    Raises what ``load_settings``, ``load_keys``, ``require_member``, ``require_keys`` and ``open_validator_ledger`` do.
    """
    settings = load_settings(home)
    genesis = load_genesis(home.genesis)
    require_member(settings, genesis)
    keys = load_keys(home, passphrase=passphrase)
    require_first_keys(home, settings, genesis, keys)
    parameters = network_parameters(genesis)
    ledger = open_validator_ledger(home, settings=settings, keys=keys, parameters=parameters, clock=clock)
    extensions = ledger.application.extensions
    member = MemberId(settings.member)

    def sign_with(present: MemberKeys) -> None:
        others = other_signing_keys(home, passphrase=passphrase)
        extensions.sign_as(Cosigner(member=member, key=present.signing, others=others))

    try:
        require_keys(home, settings, ledger.state(), keys=keys, passphrase=passphrase)
        sign_with(keys)
    except BaseException:
        ledger.close()
        raise
    return HomeLedger(ledger=ledger, reload_keys=lambda: sign_with(load_keys(home, passphrase=passphrase)))


def open_validator_ledger(
    home: Home, *, settings: NodeSettings, keys: MemberKeys, parameters: NetworkParameters, clock: Clock
) -> CometbftLedger:
    """Open the ledger folder and listen for CometBFT in the home; the member cosigns with its signing key.

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
        cosigner=Cosigner(member=MemberId(settings.member), key=keys.signing),
        settings=CometbftSettings(
            comet=home.cometbft,
            application=ApplicationSettings(),
            verifier_processes=settings.verifier_processes,
        ),
    )

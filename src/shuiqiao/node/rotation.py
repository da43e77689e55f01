"""Replaces one of a member's own keys: makes it beside the old one, puts it on the ledger, and only then uses it.

Each step finds what an earlier attempt left (``KeyFiles``), so the same command, or opening the home, goes on after a
crash. The key that a validator votes with lies in CometBFT's home (``ValidatorKeyFiles``), and its node, which reads it
when it starts, is started again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import Conflict
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.ledger.engine.cometbft.comet.home import ValidatorKeyFiles
from shuiqiao.members.contract import ROTATE_KEY, MemberRotateKeyBody
from shuiqiao.members.genesis import network_id
from shuiqiao.members.model import KeyPurpose
from shuiqiao.members.roster import Registration, validator_of
from shuiqiao.node.home.keys import KeyFiles, ledger_key, public_key_of
from shuiqiao.node.home.settings import load_genesis

if TYPE_CHECKING:
    from shuiqiao.base.ids import Entropy
    from shuiqiao.crypto.model import SigningKey
    from shuiqiao.node.home.settings import Home, NodeSettings
    from shuiqiao.node.institution import Institution


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """A key that was replaced. resumed: an earlier attempt had put it on the ledger already."""

    member: MemberId
    purpose: KeyPurpose
    public_key: bytes
    height: int
    resumed: bool

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self) | {"purpose": str(self.purpose), "public_key": self.public_key.hex()}


def rotate_key(
    institution: Institution,
    *,
    purpose: KeyPurpose,
    passphrase: bytes,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
) -> Rotated:
    """Replace a key of an institution: open it again then, or do it in its ``replacing_keys``.

    The key that it votes with is replaced where its CometBFT node runs beside it, which votes with the new one then.

    ::

        with Institution.open(home, passphrase=secret, needs_node=True) as institution:
            rotate_key(institution, purpose=KeyPurpose.SIGNING, passphrase=secret, entropy=system_entropy)

    Raises what refuses the transaction (then the next key stays for another attempt), what the key files raise, and
    Unavailable ``node.key_switch_failed``. Of a key to vote with, InvalidInput ``node.not_validator`` and what
    ``ValidatorNode.take_key`` raises.
    """
    if purpose is KeyPurpose.VALIDATOR:
        node = institution.require_validator()
        rotated = _name_voting_key(institution, entropy=entropy)
        node.take_key(rotated.public_key)
        return rotated
    suite, files = institution.suite, KeyFiles(institution.home, purpose=purpose)
    seed = files.make_next(suite=suite, passphrase=passphrase, entropy=entropy, cost=cost)
    public_key = public_key_of(seed, purpose=purpose, suite=suite)
    height, resumed = institution.engine.last_block()[0], True
    if ledger_key(institution.engine.state(), institution.member, purpose) != public_key:
        extra = (suite.signing_key_from_seed(seed),) if purpose is KeyPurpose.SIGNING else ()
        # A signer of checkpoints must be able to use the new key as soon as a block names it.
        for key in extra:
            institution.sign_checkpoints_with(key)
        body = MemberRotateKeyBody(purpose=purpose, new_key=public_key, proof=b"")
        height, resumed = _submit(institution, body, extra=extra)
    files.switch()
    return Rotated(member=institution.member, purpose=purpose, public_key=public_key, height=height, resumed=resumed)


def _name_voting_key(institution: Institution, *, entropy: Entropy) -> Rotated:
    """Put a new key to vote with on the ledger; its node does not use it yet."""
    key, purpose = ValidatorKeyFiles(institution.home.cometbft).make_next(entropy), KeyPurpose.VALIDATOR
    public_key = key.public_key
    height, resumed = institution.engine.last_block()[0], True
    if validator_of(institution.engine.state(), institution.member) != public_key:
        registration = Registration.on_network(institution.parameters.network, institution.member)
        proof = registration.prove(public_key, purpose=purpose, by=key)
        body = MemberRotateKeyBody(purpose=purpose, new_key=public_key, proof=proof)
        height, resumed = _submit(institution, body, extra=())
    return Rotated(member=institution.member, purpose=purpose, public_key=public_key, height=height, resumed=resumed)


def has_next_key(home: Home, purpose: KeyPurpose) -> bool:
    """Tell whether a key was made that is not in use yet: its rotation goes on."""
    if purpose is KeyPurpose.VALIDATOR:
        return ValidatorKeyFiles(home.cometbft).next() is not None
    return KeyFiles(home, purpose=purpose).next.exists()


def proven_validator_key(home: Home, *, settings: NodeSettings) -> dict[str, str]:
    """Return the key that a home's node votes with, and its proof for a vote that registers it [MEMBER-24], in hex.

    Empty for a home without a node of CometBFT. Raises what ``load_genesis`` and ``network_id`` raise.
    """
    key = ValidatorKeyFiles(home.cometbft).current_key()
    if key is None:
        return {}
    registration = Registration.on_network(network_id(load_genesis(home.genesis)), MemberId(settings.member))
    proof = registration.prove(key.public_key, purpose=KeyPurpose.VALIDATOR, by=key)
    return {"validator_key": key.public_key.hex(), "validator_proof": proof.hex()}


def _submit(institution: Institution, body: MemberRotateKeyBody, *, extra: tuple[SigningKey, ...]) -> tuple[int, bool]:
    try:
        return institution.outbox.submit(ROTATE_KEY, body, extra_keys=extra).height, False
    except Conflict:
        # The bytes of an attempt before were committed in the meantime.
        if ledger_key(institution.engine.state(), institution.member, body.purpose) != body.new_key:
            raise
        return institution.engine.last_block()[0], True

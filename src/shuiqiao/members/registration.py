"""A key is registered by who holds it: the statement that says so, who signs it, and how it is judged [MEMBER-24].

::

    key registration/v1
    network <network id in hex>          or, in a genesis, which has no id yet: network-name <name>
    member <member id>
    purpose <signing, sealing or validator>
    key <raw public key in hex>

with a line end after each line. A signing or validator key signs the statement about itself; a sealing key cannot sign,
so its owner's signing key vouches for it. The statement begins like no transaction, note or vote, so none of them
passes for another.

LIMIT: two networks of one name could start with the same statements; their members must then be the same too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.model import KeyPurpose, Member

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.members.model import Role

VALIDATOR_SUITE = get_suite(SuiteName.INTL)
"""CometBFT's keys are Ed25519 in every suite: what the intl suite signs with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A member that registers keys on a network. Make it with ``on_network`` or ``in_genesis``."""

    network: str
    member: MemberId

    @classmethod
    def on_network(cls, network: bytes, member: MemberId) -> Registration:
        """Return that of a member on a network with an id."""
        return cls(network=f"network {network.hex()}", member=member)

    @classmethod
    def in_genesis(cls, name: str, member: MemberId) -> Registration:
        """Return that of a first member of a network, which has a name and no id yet."""
        return cls(network=f"network-name {name}", member=member)

    def statement(self, key: bytes, *, purpose: KeyPurpose) -> bytes:
        """Return the bytes that are signed when a key is registered."""
        lines = (
            "key registration/v1",
            self.network,
            f"member {self.member}",
            f"purpose {purpose}",
            f"key {key.hex()}",
        )
        return "".join(f"{line}\n" for line in lines).encode()

    def prove(self, key: bytes, *, purpose: KeyPurpose, by: SigningKey) -> bytes:
        """Return the proof of a key: the signature of the key itself, for a sealing key of its owner's signing key."""
        return by.sign(self.statement(key, purpose=purpose))

    def verify(self, proof: bytes, key: bytes, *, purpose: KeyPurpose, by: bytes, suite: CipherSuite) -> None:
        """Return if the statement about a key was signed; raises InvalidInput ``members.key_unproven``.

        by: the raw key that signs; suite: that of ``by``.
        """
        try:
            suite.verify_signature(public_key=by, message=self.statement(key, purpose=purpose), signature=proof)
        except (IntegrityError, InvalidInput) as error:
            raise InvalidInput(
                "members.key_unproven",
                f"{self.member} did not prove its {purpose} key {key.hex()[:32]}: key {by.hex()[:32]} did not sign the "
                f"registration of {self.network[:100]}",
                next_step="let the holder of the key sign its registration, for this network and this member",
            ) from error

    def verify_member(self, member: Member, *, suite: CipherSuite) -> None:
        """Return if every key of a member is proven; raises InvalidInput ``members.key_unproven``."""
        signing = member.signing_key
        self.verify(member.signing_proof, signing, purpose=KeyPurpose.SIGNING, by=signing, suite=suite)
        self.verify(member.sealing_proof, member.sealing_key, purpose=KeyPurpose.SEALING, by=signing, suite=suite)
        self.verify_validator(member.validator_proof or b"", member.validator_key)

    def verify_validator(self, proof: bytes, key: bytes | None) -> None:
        """Return if a validator key is proven, or if there is neither a key nor a proof."""
        if key is not None or proof:
            known = key or b""
            self.verify(proof, known, purpose=KeyPurpose.VALIDATOR, by=known, suite=VALIDATOR_SUITE)

    def register(
        self,
        *,
        role: Role,
        name: str,
        name_zh: str,
        signing: SigningKey,
        sealing_key: bytes,
        validator: SigningKey | None = None,
    ) -> Member:
        """Return a member with its public keys and the proof of each."""
        signing_key, validator_key = signing.public_key, None if validator is None else validator.public_key
        validator_proof = None
        if validator is not None:
            validator_proof = self.prove(validator.public_key, purpose=KeyPurpose.VALIDATOR, by=validator)
        return Member(
            id=self.member,
            role=role,
            name=name,
            name_zh=name_zh,
            signing_key=signing_key,
            sealing_key=sealing_key,
            signing_proof=self.prove(signing_key, purpose=KeyPurpose.SIGNING, by=signing),
            sealing_proof=self.prove(sealing_key, purpose=KeyPurpose.SEALING, by=signing),
            validator_key=validator_key,
            validator_proof=validator_proof,
        )

"""Who is a member, with which keys, and which keys were ever used: the state of this room, read and written.

::

    members/network          {"id", "suite", "engine"}              fixed by the genesis
    members/roster           {member id: role}                      every member there ever was
    members/member/<id>      {"role", "sign", "seal", "name", "name_zh"}
    members/key/<key hex>    member id                              a key that once signed or validated [MEMBER-8]
    members/replaced/<kid>   {"member", "key"}                      a signing key that was replaced [MEMBER-26]
    members/validator/<id>   {"key", "power"}                       while the member is a validator [MEMBER-10]
    members/endpoint/<id>    {"url", "pin", "height"}               where its server is reached [MEMBER-28]

Only the holder of a key registers it, with a signed statement [MEMBER-24]::

    key registration/v1
    network <network id in hex>          or, in a genesis, which has no id yet: network-name <name>
    member <member id>
    purpose <signing, sealing or validator>
    key <raw public key in hex>

with a line end after each line. A signing or validator key signs the statement about itself; a sealing key cannot sign,
so its owner's signing key vouches for it. The statement begins like no transaction, note or vote, so none of them
passes for another. LIMIT: two networks of one name could start with the same statements; their members must then be the
same too.

Today's signing key signs anything. A key that was replaced may be in a thief's hands, so it counts only for a document
whose digest the member itself put on the ledger [MEMBER-26]: what was rightly signed stays good, and nothing new can be
made. This file judges single members and keys. Sets of them, with witnesses and governing members, are ``epoch``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import State, StateView
from shuiqiao.ledger.state.machine import MEMBER_GATE, NO_END_MS
from shuiqiao.ledger.transactions.document import Document, verify_document
from shuiqiao.members.epoch import read_epoch
from shuiqiao.members.model import VALIDATOR_KEY_BYTES, VALIDATOR_POWER, EngineName, KeyPurpose, Member, Role

NETWORK_KEY = "members/network"
ROSTER_KEY = "members/roster"


def member_key(member: MemberId) -> str:
    """Return the state key of a member."""
    return f"members/member/{member}"


def used_key(key: bytes) -> str:
    """Return the state key under which a used key is remembered for ever."""
    return f"members/key/{key.hex()}"


def replaced_key(key_id: bytes) -> str:
    """Return the state key under which a signing key that was replaced is found by its id."""
    return f"members/replaced/{key_id.hex()}"


def consent_key_entry(key: bytes) -> str:
    """Return the state key under which the room of consent, above this one, remembers each key of a consent.

    It stands here because no key is a consent's and a member's, whichever it was first [CONSENT-13].
    """
    return f"consent/key/{key.hex()}"


def validator_key(member: MemberId) -> str:
    """Return the state key of a validator."""
    return f"members/validator/{member}"


def endpoint_key(member: str) -> str:
    """Return the state key of where a member's server is reached."""
    return f"members/endpoint/{member}"


def member_record(state: StateView, member: MemberId) -> dict[str, Any]:
    """Return a member's state (role, sign, seal, name, name_zh); raises Denied ``members.unknown``."""
    record = state.get(member_key(member))
    if record is None:
        raise Denied("members.unknown", f"{member} is not a member of this network")
    found: dict[str, Any] = record
    return found


def signing_key(state: StateView, member: MemberId) -> bytes:
    """Return a member's raw signing key; raises Denied ``members.unknown``."""
    key: bytes = member_record(state, member)["sign"]
    return key


def signing_key_named(state: StateView, member: MemberId, key_id: bytes) -> bytes | None:
    """Return the raw signing key of a member that has an id, be it today's or a replaced one; None if none has.

    Raises Denied ``members.unknown``.
    """
    today = signing_key(state, member)
    if network_suite(state).key_id(today) == key_id:
        return today
    found = state.get(replaced_key(key_id))
    return None if found is None or found["member"] != member else found["key"]


def require_role(state: StateView, member: MemberId, *roles: Role) -> None:
    """Return if the member has one of the roles; raises Denied ``members.role_wrong`` or ``members.unknown``."""
    role = member_record(state, member)["role"]
    if role not in roles:
        raise Denied("members.role_wrong", f"{member} is a {role}; this act is for {' or '.join(roles)}")


def is_suspended(state: StateView, member: MemberId) -> bool:
    """Return whether the gate of a member is closed."""
    return state.get(MEMBER_GATE + member) is not None


def may_vote(state: StateView, member: MemberId) -> bool:
    """Return whether a governing member's vote counts: a regulator alone takes away nobody's vote [MEMBER-4]."""
    gate = state.get(MEMBER_GATE + member)
    return gate is None or gate["until_ms"] != NO_END_MS


def roster(state: StateView) -> Mapping[str, str]:
    """Return the role of every member, suspended ones included."""
    found: Mapping[str, str] = state.get(ROSTER_KEY)
    return found


def followers_of(state: StateView, member: MemberId) -> int:
    """Return how many other members follow the log of a member: none where it is not the one that writes it."""
    return len(roster(state)) - 1 if read_epoch(state).operator == member else 0


def network_engine(state: StateView) -> EngineName:
    """Return the engine that the genesis chose."""
    return EngineName(state.get(NETWORK_KEY)["engine"])


def network_suite(state: StateView) -> CipherSuite:
    """Return the suite that the genesis chose."""
    return get_suite(state.get(NETWORK_KEY)["suite"])


def validator_of(state: StateView, member: MemberId) -> bytes | None:
    """Return a member's CometBFT key, or None if it is no validator."""
    value = state.get(validator_key(member))
    return None if value is None else value["key"]


def member_state(member: Member) -> dict[str, Any]:
    """Return the state value of a member."""
    return {
        "role": str(member.role),
        "sign": member.signing_key,
        "seal": member.sealing_key,
        "name": member.name,
        "name_zh": member.name_zh,
    }


def validator_state(key: bytes) -> dict[str, Any]:
    """Return the state value of a validator: all have the same power."""
    return {"key": key, "power": VALIDATOR_POWER}


def genesis_roster(
    members: Iterable[Member], *, network: bytes, suite: SuiteName, engine: EngineName
) -> dict[str, Any]:
    """Return the state of this file before block 1."""
    known = tuple(members)
    state: dict[str, Any] = {
        NETWORK_KEY: {"id": network, "suite": str(suite), "engine": str(engine)},
        ROSTER_KEY: {str(member.id): str(member.role) for member in known},
    }
    for member in known:
        state |= _entries_of(member)
    return state


def _entries_of(member: Member) -> dict[str, Any]:
    """Return the state of one member, but for the roster."""
    entries: dict[str, Any] = {used_key(key): str(member.id) for key in signing_keys_of(member)}
    entries[member_key(member.id)] = member_state(member)
    if member.validator_key is not None:
        entries[validator_key(member.id)] = validator_state(member.validator_key)
    return entries


def signing_keys_of(member: Member) -> tuple[bytes, ...]:
    """Return the keys of a member that sign: no two members have one of them."""
    return (member.signing_key,) if member.validator_key is None else (member.signing_key, member.validator_key)


def registration_of(state: StateView, member: MemberId) -> Registration:
    """Return under which a member registers keys on this network [MEMBER-24]."""
    return Registration.on_network(state.get(NETWORK_KEY)["id"], member)


def verify_new_key(state: StateView, key: bytes, *, purpose: KeyPurpose) -> None:
    """Return if a key is acceptable for its purpose and, unless one is only sealed to it, was never used [MEMBER-8].

    Raises InvalidInput ``members.key_invalid``, Conflict ``members.key_used`` or ``members.key_of_consent``.
    """
    _verify_key_form(state, key, purpose=purpose)
    if state.get(consent_key_entry(key)) is not None:
        # Its holder signed that consent, so nobody keeps a key from others by this.
        raise Conflict(
            "members.key_of_consent", f"key {key.hex()[:32]} is the key of a consent; no member speaks by one"
        )
    if purpose is KeyPurpose.SEALING:
        # Anybody may name it, so that nobody keeps it from others by being first.
        return
    if (user := state.get(used_key(key))) is not None:
        raise Conflict("members.key_used", f"key {key.hex()[:32]} was used by {user} already; no key comes back")


def _verify_key_form(state: StateView, key: bytes, *, purpose: KeyPurpose) -> None:
    if purpose is KeyPurpose.VALIDATOR:
        suite, verify = "ed25519", VALIDATOR_SUITE.verify_signing_key
    else:
        chosen = network_suite(state)
        suite = str(chosen.name)
        verify = chosen.verify_signing_key if purpose is KeyPurpose.SIGNING else chosen.verify_sealing_key
    try:
        verify(key)
    except InvalidInput as error:
        # The provider's own wording stays out: a refusal reads the same on every node.
        raise InvalidInput(
            "members.key_invalid", f"{len(key)} bytes that are no {purpose} key of suite {suite}: {key.hex()[:32]}"
        ) from error


def put_key(state: State, member: MemberId, key: bytes, *, purpose: KeyPurpose) -> None:
    """Write a member's new key of one purpose, that it was used where it signs, and which signing key it replaces."""
    if purpose is not KeyPurpose.SEALING:
        state.put(used_key(key), str(member))
    if purpose is KeyPurpose.VALIDATOR:
        state.put(validator_key(member), validator_state(key))
        return
    record = member_record(state, member)
    if purpose is KeyPurpose.SIGNING:
        old: bytes = record["sign"]
        state.put(replaced_key(network_suite(state).key_id(old)), {"member": str(member), "key": old})
    field = "sign" if purpose is KeyPurpose.SIGNING else "seal"
    state.put(member_key(member), {**record, field: key})


def put_member(state: State, member: Member) -> None:
    """Write a new member with all its keys."""
    state.put(ROSTER_KEY, {**roster(state), str(member.id): str(member.role)})
    for key, value in _entries_of(member).items():
        state.put(key, value)


def verify_validator_key_length(key: bytes) -> None:
    """Return if a field holds a whole validator key or none; raises InvalidInput ``members.key_invalid``."""
    if len(key) not in {0, VALIDATOR_KEY_BYTES}:
        raise InvalidInput(
            "members.key_invalid", f"a validator key of {len(key)} bytes where 0 or {VALIDATOR_KEY_BYTES} are needed"
        )


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
        lines = ("key registration/v1", self.network, f"member {self.member}", f"purpose {purpose}", f"key {key.hex()}")
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


def verify_signed_by(
    document: Document[Any], *, member: MemberId, state: StateView, suite: CipherSuite, is_recorded: bool
) -> None:
    """Return if a member, and nobody else, signed a document.

    is_recorded: an entry of this very member on the ledger holds the digest of what is signed. Raises Denied
    ``members.unknown``, IntegrityError ``ledger.document_signers_wrong`` or ``crypto.signature_invalid``.
    """
    named = signing_key_named(state, member, document.signatures[0].key_id) if is_recorded else None
    key = signing_key(state, member) if named is None else named
    verify_document(document, public_keys=(key,), suite=suite)

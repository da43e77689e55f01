"""The receipt: one small file by which an outsider checks a transaction with the genesis alone.

::

    receipt (version 1) = {version, transaction, index, path, entry, entry_index, entry_path, checkpoint, epochs}

in deterministic CBOR; ``epochs`` is an empty list until there are changes of keys to walk through, which is also what
a higher version will add a state proof to. What is verified, in this order [LEDGER-RECEIPT-2]:

1. the receipt is the one encoding of its content, and of a known version;
2. the checkpoint is this network's, signed by the operator that the genesis names;
3. the transaction is well formed, for this network, of a known kind;
4. transaction and block entry are leaves of the tree of the checkpoint;
5. the entry closes the block that holds the transaction, which was timely at the entry's time;
6. the author is a member of the genesis, and exactly the required keys signed, as far as genesis and transaction say.

*Not* verified, because the receipt does not carry the state: that the contract's rules held, that no gate was closed,
that the id was new; and, for a kind whose signers stand in ledger state (a consent key that pauses), those signatures:
``SignerEvidence.LEDGER`` says so [LEDGER-RECEIPT-3]. For all of these there is the operator's word.

LIMIT: members and keys are those of the genesis. A member admitted or a key rotated later is refused until epochs and
state proofs exist, which is the safe side.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.ledger.entry import MAX_ENTRY_BYTES, BlockEntry, decode_entry
from shuiqiao.ledger.log import HASH_BYTES, MAX_PATH, MAX_TREE_SIZE, inclusion_path, leaf_hash, verify_inclusion
from shuiqiao.ledger.machine import StateMachine, require_timely, verify_claims
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES
from shuiqiao.ledger.note import MAX_NOTE_BYTES, verify_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite, SuiteName
    from shuiqiao.ledger.kinds import KindTable
    from shuiqiao.ledger.log import HashReader
    from shuiqiao.ledger.model import Checkpoint, KeyRing, NetworkParameters, Transaction

RECEIPT_VERSION = 1
MAX_RECEIPT_BYTES = 72_000
"""A transaction of 60,000 bytes, two paths of 53 hashes, an entry and a note of 4,096, with their framing."""

_FIELDS = {"version", "transaction", "index", "path", "entry", "entry_index", "entry_path", "checkpoint", "epochs"}
_SHOWN_HEX = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The parts of a receipt, nothing of them verified."""

    transaction: bytes
    index: int
    path: tuple[bytes, ...]
    entry: bytes
    entry_index: int
    entry_path: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note."""


class SignerEvidence(StrEnum):
    """Where the keys came from that the transaction's signatures were checked with."""

    GENESIS = "genesis"
    """Every required key stands in the genesis or in the transaction itself: every signature was verified."""
    LEDGER = "ledger"
    """A required key stands in ledger state, which the receipt does not carry: no signature was verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """What a receipt proves; exists only if everything in it held."""

    network: bytes
    suite: SuiteName
    operator: MemberId
    transaction: Transaction
    index: int
    height: int
    time_ms: int
    checkpoint: Checkpoint
    signers: SignerEvidence

    @property
    def kind(self) -> str:
        """The transaction's kind."""
        return self.transaction.kind

    @property
    def author(self) -> MemberId:
        """The transaction's author."""
        return self.transaction.author

    @property
    def proves(self) -> tuple[str, ...]:
        """What follows from the receipt, in sentences."""
        return (
            (
                f"{self.operator}, the operator of network {self.network.hex()[:_SHOWN_HEX]}, signed a log of "
                f"{self.checkpoint.size} entries in which entry {self.index} is this {self.kind} of {self.author}, "
                f"in block {self.height} of {iso_from_ms(self.time_ms)}."
            ),
            _SIGNER_SENTENCES[self.signers],
        )

    @property
    def does_not_prove(self) -> tuple[str, ...]:
        """What a reader must not conclude, in sentences."""
        return (
            (
                "It proves the operator's word: no witness has cosigned this checkpoint, so it does not show that the "
                "operator gave everybody the same log."
            ),
            (
                "It does not show by itself that the rules of the network held when the transaction was accepted, nor "
                "what happened after it: for that, ask a member that replays the ledger."
            ),
        )

    @property
    def sentence(self) -> str:
        """What the receipt proves and what it does not, for a person."""
        return " ".join((*self.proves, *self.does_not_prove))


_SIGNER_SENTENCES = {
    SignerEvidence.GENESIS: "Everybody who had to sign it did, by keys from the genesis or the transaction itself.",
    SignerEvidence.LEDGER: "Who had to sign it stands in the ledger's state, which is not in this receipt: that they "
    "did is the operator's word too.",
}


def encode_receipt(receipt: Receipt) -> bytes:
    """Return the bytes of a receipt [LEDGER-RECEIPT-1]."""
    return encode_cbor(
        {
            "version": RECEIPT_VERSION,
            "transaction": receipt.transaction,
            "index": receipt.index,
            "path": list(receipt.path),
            "entry": receipt.entry,
            "entry_index": receipt.entry_index,
            "entry_path": list(receipt.entry_path),
            "checkpoint": receipt.checkpoint,
            "epochs": [],
        }
    )


def build_receipt(
    *,
    transaction: bytes,
    index: int,
    entry: bytes,
    entry_index: int,
    reader: HashReader,
    checkpoint: Checkpoint,
    hash_name: str,
) -> bytes:
    """Return the receipt bytes of a transaction, its two paths leading to the root of a checkpoint.

    Raises InvalidInput ``ledger.index_unknown`` if the checkpoint does not reach to the block entry.
    """
    return encode_receipt(
        Receipt(
            transaction=transaction,
            index=index,
            path=inclusion_path(reader, index=index, size=checkpoint.size, hash_name=hash_name),
            entry=entry,
            entry_index=entry_index,
            entry_path=inclusion_path(reader, index=entry_index, size=checkpoint.size, hash_name=hash_name),
            checkpoint=checkpoint.note,
        )
    )


def decode_receipt(data: bytes) -> Receipt:
    """Return the parts of receipt bytes, strictly; verifies none of them.

    Raises InvalidInput ``base.cbor_too_large``, ``base.cbor_malformed``, ``base.cbor_not_deterministic``, or
    IntegrityError ``ledger.receipt_malformed``, ``ledger.receipt_version_unknown``.
    """
    fields = decode_cbor_strict(data, max_bytes=MAX_RECEIPT_BYTES)
    if type(fields) is not dict or type(fields.get("version")) is not int:
        raise _malformed("it is not a map with a version")
    if fields["version"] != RECEIPT_VERSION:
        raise IntegrityError(
            "ledger.receipt_version_unknown",
            f"the receipt has version {fields['version']}, this program knows {RECEIPT_VERSION}",
        )
    if set(fields) != _FIELDS or fields["epochs"] != []:
        raise _malformed(f"a receipt of version {RECEIPT_VERSION} has exactly the fields {', '.join(sorted(_FIELDS))}")
    return Receipt(
        transaction=_bytes(fields, "transaction", limit=MAX_TRANSACTION_BYTES),
        index=_index(fields, "index"),
        path=_path(fields, "path"),
        entry=_bytes(fields, "entry", limit=MAX_ENTRY_BYTES),
        entry_index=_index(fields, "entry_index"),
        entry_path=_path(fields, "entry_path"),
        checkpoint=_bytes(fields, "checkpoint", limit=MAX_NOTE_BYTES),
    )


def verify_receipt(
    data: bytes, *, parameters: NetworkParameters, kinds: KindTable, key_ring: KeyRing, suite: CipherSuite
) -> VerifiedReceipt:
    """Return what receipt bytes prove to somebody who trusts a genesis and nothing else.

    parameters: from the genesis the verifier was given, never from the receipt. Raises IntegrityError or InvalidInput
    with the code of the first step that failed; any changed byte fails [LEDGER-RECEIPT-4].
    """
    # Step 1: one encoding, a known version.
    receipt = decode_receipt(data)
    # Step 2: the operator's checkpoint of this network.
    checkpoint = verify_checkpoint(
        receipt.checkpoint, origin=parameters.origin, operator_key=parameters.operator_key, suite=suite
    )
    # Step 3: a transaction of this network.
    machine = StateMachine(parameters, kinds=kinds, key_ring=key_ring, suite=suite)
    tx = machine.decode(receipt.transaction)
    # Step 4: both leaves are in the tree.
    _verify_leaves(receipt, checkpoint, hash_name=suite.hash_name)
    # Step 5: the entry closes the transaction's block.
    entry = _verify_block(receipt)
    require_timely(tx, kinds.get(tx.kind, tx.version), time_ms=entry.time_ms)
    # Step 6: author and signers.
    signers = _verify_signers(tx, machine=machine, key_ring=key_ring)
    return VerifiedReceipt(
        network=parameters.network,
        suite=parameters.suite,
        operator=parameters.operator,
        transaction=tx,
        index=receipt.index,
        height=entry.height,
        time_ms=entry.time_ms,
        checkpoint=checkpoint,
        signers=signers,
    )


def _verify_leaves(receipt: Receipt, checkpoint: Checkpoint, *, hash_name: str) -> None:
    leaves = (
        (receipt.transaction, receipt.index, receipt.path),
        (receipt.entry, receipt.entry_index, receipt.entry_path),
    )
    for data, index, path in leaves:
        verify_inclusion(
            leaf_hash=leaf_hash(data, hash_name=hash_name),
            index=index,
            size=checkpoint.size,
            path=path,
            root=checkpoint.root,
            hash_name=hash_name,
        )


def _verify_block(receipt: Receipt) -> BlockEntry:
    """Return the entry, once the transaction is among the leaves it closes."""
    entry = decode_entry(receipt.entry)
    first = receipt.entry_index - entry.count
    if not first <= receipt.index < receipt.entry_index:
        raise IntegrityError(
            "ledger.receipt_block_wrong",
            f"the block entry closes entries {first} to {receipt.entry_index - 1}, the transaction is {receipt.index}",
        )
    return entry


class _GenesisView:
    """The state of the genesis, remembering whether anything beyond it was asked for."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state
        self.is_beyond = False

    def get(self, key: str) -> Any:
        """Return a value of the genesis; what is not there may exist by now, so absence is no answer."""
        if key not in self._state:
            self.is_beyond = True
            raise KeyError(key)
        return self._state[key]


def _verify_signers(tx: Transaction, *, machine: StateMachine, key_ring: KeyRing) -> SignerEvidence:
    """Verify the signatures whose keys the genesis or the transaction tells, and say which case it was."""
    view = _GenesisView(machine.parameters.initial_state)
    try:
        key_ring.signing_key(view, tx.author)
    except (KeyError, ShuiqiaoError) as error:
        raise IntegrityError(
            "ledger.receipt_author_unknown", f"{tx.author} is not a member in the genesis of this network"
        ) from error
    try:
        claims = machine.plan_verification(tx, view)
    except ShuiqiaoError:
        if not view.is_beyond:
            raise
        claims = ()
    if view.is_beyond:
        return SignerEvidence.LEDGER
    verify_claims(claims, suite=machine.suite)
    return SignerEvidence.GENESIS


def _bytes(fields: Mapping[str, Any], name: str, *, limit: int) -> bytes:
    value = fields[name]
    if type(value) is not bytes or not 0 < len(value) <= limit:
        raise _malformed(f"{name} is not 1 to {limit} bytes")
    return value


def _index(fields: Mapping[str, Any], name: str) -> int:
    value = fields[name]
    if type(value) is not int or not 0 <= value < MAX_TREE_SIZE:
        raise _malformed(f"{name} is not the index of an entry")
    return value


def _path(fields: Mapping[str, Any], name: str) -> tuple[bytes, ...]:
    value = fields[name]
    if type(value) is not list or len(value) > MAX_PATH:
        raise _malformed(f"{name} is not a list of at most {MAX_PATH} hashes")
    if any(type(item) is not bytes or len(item) != HASH_BYTES for item in value):
        raise _malformed(f"{name} holds something other than {HASH_BYTES}-byte hashes")
    return tuple(value)


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.receipt_malformed", f"the bytes are not a receipt: {reason}")

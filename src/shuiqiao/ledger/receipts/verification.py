"""Verifies a receipt against a genesis and nothing else, and says what it proves.

In this order [LEDGER-RECEIPT-2]:

1. the receipt is the one encoding of its content, of a known version, with the digest of its content;
2. from the policy of the genesis, epoch by epoch, to the policy in force: each step's checkpoint carries the signatures
   that the epoch before asks for, and the new epoch stands in the state behind that checkpoint;
3. the receipt's checkpoint is this network's and carries the signatures that the policy in force asks for; the last
   entry under it, and under that of each step, says that no epoch was left out [LEDGER-RECEIPT-8];
4. the transaction is well formed, for this network, of a known kind;
5. transaction and block entry are leaves of the tree of the checkpoint;
6. the entry closes the block that holds the transaction, which was timely at the entry's time;
7. values of the state that the receipt carries are proven behind the checkpoint's last entry;
8. exactly the required keys signed, as far as genesis, transaction and the proven values say.

*Not* verified: that the contract's rules held, that no gate was closed, that the id was new. Nor is a key guessed that
stands neither in the genesis nor in what the receipt proves: the result then says that only those who signed the
checkpoint state it [LEDGER-RECEIPT-3]. A member's key in the genesis counts until the receipt proves that it was
replaced, so an operator that logs what nobody signed is found out. The maker of a receipt asks ``keys_to_prove`` what
to put into it.

    verify_receipt(data, parameters=parameters, kinds=kinds, key_ring=MemberKeyRing(), suite=suite).proves
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.ledger.checkpoints.note import cosigners_of, verify_note
from shuiqiao.ledger.log.entry import BlockEntry, decode_entry
from shuiqiao.ledger.log.tree import leaf_hash, verify_inclusion
from shuiqiao.ledger.receipts.receipt import (
    MAX_STATE_VALUE_BYTES,
    EpochStep,
    LastEntry,
    Receipt,
    StateClaim,
    decode_receipt,
    malformed,
)
from shuiqiao.ledger.state.machine import StateMachine, require_timely, verify_claims
from shuiqiao.ledger.state.state_map import verify_state_proof

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import CipherSuite, SuiteName
    from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.model import KeyRing, NetworkParameters, StateView, Transaction
    from shuiqiao.ledger.transactions.kinds import KindTable

_SHOWN_HEX = 16
_SHOWN_CHARACTERS = 300
"""Of a value of the state in a sentence; the whole of it stands in the result as JSON."""


class SignerEvidence(StrEnum):
    """Where the keys came from that the transaction's signatures were checked with."""

    GENESIS = "genesis"
    """Every required key stands in the genesis or in the transaction itself: every signature was verified."""
    STATE = "state"
    """A required key stands in the state that the receipt proves: every signature was verified."""
    LEDGER = "ledger"
    """A required key stands where the receipt proves nothing, or was replaced since: no signature was verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReceipt:
    """What a receipt proves; exists only if everything in it held."""

    network: bytes
    suite: SuiteName
    operator: MemberId | None
    """Whose signature stands first on the checkpoint; None where validators sign."""
    cosigners: tuple[MemberId, ...]
    epochs: int
    """Epochs that were walked through from the genesis."""
    transaction: Transaction
    index: int
    height: int
    time_ms: int
    checkpoint: Checkpoint
    signers: SignerEvidence
    state: tuple[StateClaim, ...]
    """Proven values of the state behind the checkpoint."""
    as_of_ms: int
    """When the last block under the checkpoint was made, whose state is proven."""

    @property
    def values(self) -> dict[str, Any]:
        """What the state holds at the proven keys, decoded; None for nothing."""
        return _values(self.state)

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
        signed = [f"{self.operator}, the operator,"] if self.operator is not None else []
        signed += [f"{', '.join(self.cosigners)}"] if self.cosigners else []
        network = self.network.hex()[:_SHOWN_HEX]
        return (
            (
                f"{' and '.join(signed)} signed a log of network {network} with {self.checkpoint.size} entries in "
                f"which entry {self.index} is this {self.kind} of {self.author}, in block {self.height} of "
                f"{iso_from_ms(self.time_ms)}."
            ),
            _SIGNER_SENTENCES[self.signers],
            *(_state_sentence(claim) for claim in self.state),
        )

    @property
    def proves_zh(self) -> tuple[str, ...]:
        """What follows from the receipt, in Chinese sentences."""
        signed = [f"运营方 {self.operator}"] if self.operator is not None else []
        signed += list(self.cosigners)
        return (
            (
                f"{'、'.join(signed)} 签署了网络 {self.network.hex()[:_SHOWN_HEX]} 的账本，"
                f"共 {self.checkpoint.size} 条记录；"
                f"其中第 {self.index} 条即为 {self.author} 的这笔 {self.kind}，位于第 {self.height} 个区块，"
                f"时间 {iso_from_ms(self.time_ms)}。"
            ),
            _SIGNER_SENTENCES_ZH[self.signers],
            *(_state_sentence_zh(claim) for claim in self.state),
        )

    @property
    def does_not_prove(self) -> tuple[str, ...]:
        """What a reader must not conclude, in sentences."""
        return (
            *((_ALONE,) if not self.cosigners else ()),
            (
                "It does not show by itself that the rules of the network held when the transaction was accepted, nor "
                "what happened after it: for that, ask a member that replays the ledger."
            ),
        )

    @property
    def does_not_prove_zh(self) -> tuple[str, ...]:
        """What a reader must not conclude, in Chinese sentences."""
        return (
            *((_ALONE_ZH,) if not self.cosigners else ()),
            "它本身不能证明该交易被接受时符合网络规则，也不能说明其后发生的事：请向重放账本的成员查询。",
        )


_ALONE = (
    "It proves the operator's statement: no witness has cosigned this checkpoint, so it does not show that the "
    "operator gave everybody the same log."
)
_ALONE_ZH = "它只证明运营方的陈述：该检查点没有见证方联署，不能说明运营方向所有人出示的是同一账本。"
_SIGNER_SENTENCES = {
    SignerEvidence.STATE: "Everybody who had to sign it did, by keys that the ledger's state holds at this checkpoint.",
    SignerEvidence.GENESIS: "Everybody who had to sign it did, by keys from the genesis or the transaction itself.",
    SignerEvidence.LEDGER: "Who had to sign it is not shown by this receipt: that they did is the statement of those "
    "who signed the checkpoint.",
}
_SIGNER_SENTENCES_ZH = {
    SignerEvidence.STATE: "所有须签名者均已签名，公钥取自该检查点的账本状态。",
    SignerEvidence.GENESIS: "所有须签名者均已签名，公钥取自创世文件或交易本身。",
    SignerEvidence.LEDGER: "须签名者未在本回执中示明：其已签名一事以检查点签署方的陈述为准。",
}


def _state_sentence(claim: StateClaim) -> str:
    if claim.value is None:
        return f"At this checkpoint the ledger's state holds nothing under {claim.key}."
    return f"At this checkpoint the ledger's state holds {_value_words(claim)} under {claim.key}."


def _state_sentence_zh(claim: StateClaim) -> str:
    if claim.value is None:
        return f"在该检查点，账本状态中没有 {claim.key}。"
    return f"在该检查点，账本状态中 {claim.key} 的值为 {_value_words(claim)}。"


def _value_words(claim: StateClaim) -> str:
    """Return a value of the state as a person reads it; of bytes, and of what is long, the beginning."""
    words = _words_of(_decode_value(claim))
    return words if len(words) <= _SHOWN_CHARACTERS else f"{words[:_SHOWN_CHARACTERS]}..."


def _words_of(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex() if len(value.hex()) <= _SHOWN_HEX else f"{value.hex()[:_SHOWN_HEX]}..."
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_words_of(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_words_of, value)) + "]"
    return "-" if value is None else str(value)


def verify_receipt(
    data: bytes,
    *,
    parameters: NetworkParameters,
    kinds: KindTable,
    key_ring: KeyRing,
    suite: CipherSuite,
) -> VerifiedReceipt:
    """Return what receipt bytes prove to somebody who trusts a genesis and nothing else.

    parameters: from the genesis the verifier was given, never from the receipt. Raises IntegrityError or InvalidInput
    with the code of the first step that failed; any changed byte fails [LEDGER-RECEIPT-4].
    """
    # Step 1: one encoding, a known version.
    receipt = decode_receipt(data, hash_name=suite.hash_name)
    # Steps 2 and 3: whose signatures count by now, and that the checkpoint has them.
    policy, checkpoint, last = _verify_checkpoints(receipt, parameters, key_ring=key_ring, suite=suite)
    # Step 4: a transaction of this network.
    machine = StateMachine(parameters, kinds=kinds, key_ring=key_ring, suite=suite)
    tx = machine.decode(receipt.transaction)
    # Step 5: both leaves are in the tree.
    _verify_leaves(receipt, checkpoint, hash_name=suite.hash_name)
    # Step 6: the entry closes the transaction's block.
    entry = _verify_block(receipt)
    require_timely(tx, kinds.get(tx.kind, tx.version), time_ms=entry.time_ms)
    # Step 7: what the receipt says of the state.
    _verify_state(receipt, last, hash_name=suite.hash_name)
    # Step 8: author and signers.
    signers = judge_signers(tx, machine=machine, proven=_values(receipt.state.claims))
    return VerifiedReceipt(
        network=parameters.network,
        suite=parameters.suite,
        operator=policy.operator,
        cosigners=cosigners_of(checkpoint.note, policy=policy),
        epochs=len(receipt.epochs),
        transaction=tx,
        index=receipt.index,
        height=entry.height,
        time_ms=entry.time_ms,
        checkpoint=checkpoint,
        signers=signers,
        state=receipt.state.claims,
        as_of_ms=last.time_ms,
    )


def _verify_checkpoints(
    receipt: Receipt, parameters: NetworkParameters, *, key_ring: KeyRing, suite: CipherSuite
) -> tuple[CheckpointPolicy, Checkpoint, BlockEntry]:
    """Walk from the genesis to the policy in force [LEDGER-RECEIPT-5].

    Returns it with the receipt's checkpoint and the last entry under that.
    """
    policy, size = parameters.policy, 0
    epoch = encode_cbor(parameters.initial_state.get(key_ring.epoch_key))
    for step in receipt.epochs:
        size = _verify_step(step, key_ring.epoch_key, policy=policy, after_size=size, suite=suite)
        policy = key_ring.next_policy(step.epoch, previous=epoch, origin=parameters.origin)
        epoch = step.epoch
    checkpoint = verify_note(receipt.checkpoint, policy=policy, suite=suite)
    _require_later(checkpoint, after_size=size)
    return policy, checkpoint, _verify_last(receipt.state, checkpoint, policy=policy, hash_name=suite.hash_name)


def _verify_step(
    step: EpochStep, epoch_key: str, *, policy: CheckpointPolicy, after_size: int, suite: CipherSuite
) -> int:
    """Return the size of the checkpoint behind which the step's epoch stands."""
    checkpoint = verify_note(step.checkpoint, policy=policy, suite=suite)
    _require_later(checkpoint, after_size=after_size)
    entry = _verify_last(step, checkpoint, policy=policy, hash_name=suite.hash_name)
    verify_state_proof(step.proof, key=epoch_key, value=step.epoch, root=entry.state_root, hash_name=suite.hash_name)
    return checkpoint.size


def _require_later(checkpoint: Checkpoint, *, after_size: int) -> None:
    if checkpoint.size <= after_size:
        raise IntegrityError(
            "ledger.receipt_epochs_wrong",
            f"a checkpoint of {checkpoint.size} entries follows an epoch that began behind entry {after_size - 1}",
        )


def _verify_last(last: LastEntry, checkpoint: Checkpoint, *, policy: CheckpointPolicy, hash_name: str) -> BlockEntry:
    """Return the entry, once it is the last leaf under a checkpoint, of the epoch that judged it [LEDGER-RECEIPT-8]."""
    verify_inclusion(
        leaf_hash=leaf_hash(last.entry, hash_name=hash_name),
        index=checkpoint.size - 1,
        size=checkpoint.size,
        path=last.path,
        root=checkpoint.root,
        hash_name=hash_name,
    )
    entry = decode_entry(last.entry)
    if entry.epoch != policy.epoch:
        raise IntegrityError(
            "ledger.receipt_epochs_incomplete",
            f"the checkpoint of {checkpoint.size} entries belongs to epoch {entry.epoch}, and the receipt leads to "
            f"epoch {policy.epoch}",
            next_step="ask a member of the network for the receipt again: steps between epochs are missing in this one",
        )
    return entry


def _verify_state(receipt: Receipt, last: BlockEntry, *, hash_name: str) -> None:
    """[LEDGER-RECEIPT-6]: each value is proven under the state root of the checkpoint's last entry."""
    for claim in receipt.state.claims:
        verify_state_proof(claim.proof, key=claim.key, value=claim.value, root=last.state_root, hash_name=hash_name)


def _values(claims: Iterable[StateClaim]) -> dict[str, Any]:
    return {claim.key: None if claim.value is None else _decode_value(claim) for claim in claims}


def _decode_value(claim: StateClaim) -> Any:
    assert claim.value is not None
    try:
        return decode_cbor_strict(claim.value, max_bytes=MAX_STATE_VALUE_BYTES)
    except InvalidInput as error:
        raise malformed(f"the value of {claim.key} is no state value: {error.message}") from error


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


class _KnownState:
    """The state of the genesis under what a receipt proves, remembering what was asked of either."""

    def __init__(self, genesis: Mapping[str, Any], proven: Mapping[str, Any]) -> None:
        self._genesis = genesis
        self._proven = proven
        self.is_beyond = False
        self.is_newer = False
        """Whether something was asked for that the receipt proves and the genesis does not say."""

    def get(self, key: str) -> Any:
        """Return a value; what neither tells may exist by now, so absence is no answer."""
        if key in self._proven:
            value = self._proven[key]
            self.is_newer |= key not in self._genesis or self._genesis[key] != value
            return value
        if key not in self._genesis:
            self.is_beyond = True
            raise KeyError(key)
        return self._genesis[key]


def judge_signers(tx: Transaction, *, machine: StateMachine, proven: Mapping[str, Any]) -> SignerEvidence:
    """Verify the signatures whose keys are known, and say where from.

    proven: decoded values by state key, None for a key that is absent. Raises what ``plan_verification`` and
    ``verify_claims`` raise for signatures that are not those required.
    """
    state = _KnownState(machine.parameters.initial_state, proven)
    try:
        claims = machine.plan_verification(tx, state)
    except ShuiqiaoError:
        if not state.is_beyond and not state.is_newer:
            raise
        # A key nobody told of, or one that was replaced after it signed.
        return SignerEvidence.LEDGER
    verify_claims(claims, suite=machine.suite)
    return SignerEvidence.STATE if state.is_newer else SignerEvidence.GENESIS


class _Recorder:
    """A state that remembers what was asked for."""

    def __init__(self, state: StateView) -> None:
        self._state = state
        self.asked: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """Return the value of a key, None if absent."""
        self.asked[key] = self._state.get(key)
        return self.asked[key]


def keys_to_prove(tx: Transaction, *, machine: StateMachine, state: StateView) -> tuple[str, ...]:
    """Return the state keys without which a reader of the genesis could not tell who had to sign a transaction."""
    recorder = _Recorder(state)
    # Where the state has moved on since, what was asked for is all that can be shown.
    with suppress(ShuiqiaoError):
        machine.plan_verification(tx, recorder)
    genesis = machine.parameters.initial_state
    return tuple(sorted(key for key, value in recorder.asked.items() if genesis.get(key) != value))

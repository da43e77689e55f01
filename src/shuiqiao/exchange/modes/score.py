"""The mode *score*: a bank's model runs on the bureau's records, and only what was agreed leaves.

Rule: docs/spec/consent-exchange.md [EXCHANGE-26] to [EXCHANGE-28].

    content = canonical CBOR of {"digest": bytes32, "model": "<owner>/<id>", "output": {...}}

A bank asks with a model of its own, by its name and digest on the ledger, and names what of the result it wants: no
more than the consent grants and the model declares. The bureau runs nothing but what it approved; it computes the
declared features itself, from its own records, as of the last day of the period asked for. No record leaves, and the
manifest tells nothing of the records. What a model's content says is the matter of whoever runs it (``ModelRunner``).

LIMIT: the bank cannot see that the bureau ran the model rightly: it has the bureau's signature on the result, and the
records are anchored, so that a regulator can have the run repeated.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId, split_owned_id
from shuiqiao.base.wire import Digest, OwnedRef
from shuiqiao.consent.model import Output
from shuiqiao.exchange.manifest import verify_computed
from shuiqiao.exchange.modes.port import Answer, AnswerMode
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.models.model import ModelForm

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa

    from shuiqiao.base.ids import Uscc
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.changes import Leaves
    from shuiqiao.exchange.model import AnswerManifest, ModelAsk, RequestMessage
    from shuiqiao.exchange.modes.port import Half, RecordSource
    from shuiqiao.models.model import RegisteredModel
    from shuiqiao.models.service import ModelRegistry
    from shuiqiao.privacy.model import Revealed
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.model import BatchLookup, LeafLookup

MAX_CIPHERTEXT_BYTES = 131_072
"""Of a result that only the bank can open [BLIND-3]."""

MAX_SCORE_BYTES = MAX_CIPHERTEXT_BYTES + 4_096
"""Of an answer's content: beside a ciphertext a name, a digest, a band and four reasons are under 700 bytes."""

MAX_REASONS = 4

MAX_SHARE_BYTES = 1_024
"""Of one end's part of a result of one taxpayer [SECURE-2]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One request as both its ends know it.

    peer: the other end. request: its name. model: what of which model is asked for. binding: SHA-256 of the request, of
    which no second one is the same. share: what this end has of a result that both computed.
    """

    peer: MemberId
    request: OwnedId
    model: ModelAsk
    binding: bytes
    share: bytes | None = None


class ReasonCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why points were lost: by the value of a feature, or because it is not known."""

    feature: Annotated[str, Meta(min_length=1, max_length=80)]
    is_known: bool


class ResultShare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The provider's share of an output that both ends computed; without the owner's it says nothing."""

    output: Output
    share: Annotated[bytes, Meta(min_length=1, max_length=MAX_SHARE_BYTES)]


class ScoreOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What of a result leaves: exactly the outputs asked for, every other one left out.

    ciphertext: points that the bureau cannot read, by a model of encrypted weights. shared: an output that neither end
    can read alone, by a model whose weights stay at the bank.
    """

    band: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    points: Annotated[int, Meta(ge=-(2**31), le=2**31)] | None = None
    reasons: Annotated[list[ReasonCode], Meta(max_length=MAX_REASONS)] | None = None
    """The largest loss first; empty where no points were lost."""
    yes_no: bool | None = None
    ciphertext: Annotated[bytes, Meta(max_length=MAX_CIPHERTEXT_BYTES)] | None = None
    shared: ResultShare | None = None

    @property
    def given(self) -> list[Output]:
        """Which outputs it holds, in order."""
        values = {
            Output.BAND: self.band,
            Output.POINTS: self.points if self.ciphertext is None else self.ciphertext,
            Output.REASONS: self.reasons,
            Output.YES_NO: self.yes_no,
        }
        shared = () if self.shared is None else (self.shared.output,)
        return [output for output, value in values.items() if value is not None or output in shared]


class ModelRunner(Protocol):
    """Knows what a model's content says and runs it; ``credit`` has one for each form."""

    def inputs(self, content: bytes) -> Mapping[str, Sequence[str]]:
        """Return what a model reads: record type (without version) to disclosure groups in order, ``core`` among them.

        Raises InvalidInput for content that cannot be run.
        """
        ...

    def run(
        self,
        content: bytes,
        *,
        outputs: Collection[Output],
        tables: Mapping[str, pa.Table],
        taxpayer: str,
        as_of: date,
        session: Session,
    ) -> ScoreOutput:
        """Return the outputs of a model on a taxpayer's records by type; nothing dated after ``as_of`` counts."""
        ...

    def half(self, content: bytes, *, outputs: Collection[Output], session: Session) -> Half | None:
        """Return what a model's owner does while the provider runs it; None where it does nothing."""
        del content, outputs, session
        return None

    def reveals(
        self, content: bytes, *, outputs: Collection[Output], since: date, as_of: date, session: Session
    ) -> Revealed:
        """Return what outputs of a model reveal at most of a taxpayer as it was on a day.

        since: the first day of the records that the model runs on.
        """
        ...

    def card(self, content: bytes) -> bytes:
        """Return the content in clear that stands behind one, as the model's owner has it."""
        ...

    def opened(self, content: bytes, output: ScoreOutput, *, session: Session) -> ScoreOutput:
        """Return what an output says to the model's owner; raises IntegrityError ``exchange.output_wrong``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """The models that an institution has, and what runs those of a form, which is made when it is first needed."""

    models: ModelRegistry
    runner: Callable[[ModelForm], ModelRunner]
    catalogue: Catalogue

    def items(self, model: OwnedId, *, granted: Mapping[str, Sequence[str]]) -> tuple[bytes, dict[str, list[str]]]:
        """Return a model's digest, and what to ask for so that it reads exactly what it needs of what is granted.

        Raises Denied ``models.unknown``, ``models.content_missing``, ``consent.not_covered``.
        """
        found, content = self.models.registered(model)
        versions = {self.catalogue.get(type_id).id: type_id for type_id in granted}
        inputs = self.runner(found.form).inputs(content)
        missing = sorted(set(inputs) - set(versions))
        if missing:
            raise Denied("consent.not_covered", f"model {model} reads {', '.join(missing)}, which is not granted")
        return found.digest, {versions[name]: list(groups) for name, groups in inputs.items()}

    def card(self, model: OwnedId, *, digest: bytes) -> bytes:
        """Return a model's content in clear, as its owner has it.

        Raises as ``ModelRegistry.registered``; Denied ``credit.blind_key_missing``, ``credit.secure_card_missing``.
        """
        found, content = self.models.registered(model, digest=digest)
        return self.runner(found.form).card(content)

    def inputs(self, model: OwnedId) -> Mapping[str, Sequence[str]]:
        """Return what a model reads, by standard id; raises as ``ModelRegistry.registered``."""
        found, content = self.models.registered(model)
        inputs = self.runner(found.form).inputs(content)
        return {self.catalogue.get(name).standard_id: groups for name, groups in inputs.items()}


class ScoreContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is sealed in the answer."""

    model: OwnedRef
    digest: Digest
    output: ScoreOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenScore:
    """A result that the bureau signed for a request, within what the model declares."""

    model: OwnedId
    digest: bytes
    output: ScoreOutput


class Score(AnswerMode):
    """A model's agreed output, and nothing else."""

    def __init__(self, scoring: Scoring, *, suite: CipherSuite, catalogue: Catalogue) -> None:
        self._models = scoring.models
        self._runner = scoring.runner
        self._suite = suite
        self._catalogue = catalogue

    def verify_asked(self, message: RequestMessage) -> None:
        """Return if the model may run at the provider on exactly what is asked for [EXCHANGE-26].

        Raises Denied ``models.party_wrong``, ``models.unknown``, ``models.retired``, ``models.not_approved``,
        ``models.content_missing``, ``exchange.model_purpose_wrong``, ``exchange.output_undeclared``; InvalidInput
        ``models.digest_wrong``, ``exchange.model_items_wrong``.
        """
        asked = _model_of(message)
        owner, _ = split_owned_id(OwnedId(asked.model))
        if owner != message.sender:
            raise Denied("models.party_wrong", f"{message.sender} asks with model {asked.model}; its owner does")
        found, content = self._runnable(message)
        _expect_declared(found, message)
        read = {self._catalogue.get(type_id).id: groups for type_id, groups in message.items.items()}
        inputs = {name: list(groups) for name, groups in self._runner(found.form).inputs(content).items()}
        if len(read) != len(message.items) or read != inputs:
            raise InvalidInput(
                "exchange.model_items_wrong",
                f"model {asked.model} reads exactly {inputs}, asked for is {message.items}",
            )

    def reveals(self, message: RequestMessage) -> Revealed:
        """Return the bits of the outputs asked for, and the sum that the model's points are [LEAK-2]."""
        asked = _model_of(message)
        found, content = self._models.registered(OwnedId(asked.model), digest=asked.digest)
        return self._runner(found.form).reveals(
            content,
            outputs=asked.outputs,
            since=message.period_from,
            as_of=message.period_to,
            session=_session(message, peer=message.sender),
        )

    def shown_millibits(self, content: bytes) -> None:
        """Show nothing."""
        del content

    def answer(self, message: RequestMessage, *, uscc: Uscc, source: RecordSource) -> Answer:
        """Return what the model gives on the records asked for, as of the last day of their period."""
        asked = _model_of(message)
        found, content = self._runnable(message)
        disclosure = source.disclose(
            uscc=uscc, groups=message.items, period_from=message.period_from, period_to=message.period_to
        )

        def computed() -> bytes:
            output = self._runner(found.form).run(
                content,
                outputs=asked.outputs,
                tables={self._catalogue.get(entry.standard).id: _table(entry.rows) for entry in disclosure.types},
                taxpayer=uscc,
                as_of=message.period_to,
                session=_session(message, peer=message.sender),
            )
            return encode_cbor(to_plain(ScoreContent(model=asked.model, digest=asked.digest, output=output)))

        return Answer(
            content=computed,
            counts={entry.standard: entry.rows.num_rows for entry in disclosure.types},
            leaves={},
            is_computed=True,
        )

    def half(self, message: RequestMessage) -> Half | None:
        """Return what this bank does while the bureau runs its model; None where it does nothing."""
        asked = _model_of(message)
        found, content = self._models.registered(OwnedId(asked.model), digest=asked.digest)
        session = _session(message, peer=message.receiver)
        return self._runner(found.form).half(content, outputs=asked.outputs, session=session)

    def prove(
        self,
        content: bytes,
        *,
        message: RequestMessage,
        artefact: ConsentArtefact,
        manifest: AnswerManifest,
        batch_of: BatchLookup,
        status_of: LeafLookup | None,
        share: bytes | None,
    ) -> ProvenScore:
        """Return the result: signed with the manifest, by the model asked for, of the outputs asked for [EXCHANGE-28].

        Raises InvalidInput ``exchange.answer_malformed``, IntegrityError ``exchange.result_unsigned``,
        ``exchange.manifest_ambiguous``, ``exchange.output_wrong``; what ``ModelRegistry.registered`` raises.
        """
        del artefact, batch_of, status_of  # It gives no records that could be held against them.
        verify_computed(manifest, content, suite=self._suite)
        found, asked = decode_score(content), _model_of(message)
        if (found.model, found.digest, found.output.given) != (asked.model, asked.digest, asked.outputs):
            raise IntegrityError(
                "exchange.output_wrong",
                f"{', '.join(found.output.given)} of model {found.model} came; {', '.join(asked.outputs)} of model "
                f"{asked.model} were asked for",
            )
        model, runs = self._models.registered(OwnedId(asked.model), digest=asked.digest)
        session = _session(message, peer=message.receiver, share=share)
        output = self._runner(model.form).opened(runs, found.output, session=session)
        return ProvenScore(model=OwnedId(asked.model), digest=asked.digest, output=output)

    def leaves(self, content: bytes) -> Leaves:
        """Return none: no record is given."""
        del content
        return {}

    def _runnable(self, message: RequestMessage) -> tuple[RegisteredModel, bytes]:
        asked = _model_of(message)
        return self._models.runnable(OwnedId(asked.model), digest=asked.digest, provider=MemberId(message.receiver))


def _expect_declared(found: RegisteredModel, message: RequestMessage) -> None:
    if found.purpose is not message.purpose:
        raise Denied(
            "exchange.model_purpose_wrong",
            f"model {found.name} is registered for {found.purpose}; {message.purpose} is asked",
        )
    asked = _model_of(message).outputs
    beyond = sorted(set(asked) - set(found.outputs))
    if beyond:
        raise Denied("exchange.output_undeclared", f"model {found.name} does not declare {', '.join(beyond)}")
    if found.form is ModelForm.SECURE_LINEAR and len(asked) != 1:
        raise Denied(
            "exchange.outputs_together",
            f"model {found.name} gives one output a request; {', '.join(asked)} are asked for together",
        )


def _model_of(message: RequestMessage) -> ModelAsk:
    if message.model is None:
        raise InvalidInput("exchange.request_invalid", f"request {message.name} names no model")
    return message.model


def _session(message: RequestMessage, *, peer: str, share: bytes | None = None) -> Session:
    return Session(
        peer=MemberId(peer), request=message.name, model=_model_of(message), binding=binding_of(message), share=share
    )


def binding_of(message: RequestMessage) -> bytes:
    """Return the SHA-256 of a request, by which both its ends know what they compute [SECURE-7]."""
    return hashlib.sha256(encode_cbor(to_plain(message))).digest()


def _table(rows: Any) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_batches([rows])


def decode_score(content: bytes) -> ScoreContent:
    """Return the content of an answer in this mode; raises InvalidInput ``exchange.answer_malformed``."""
    value = decode_cbor_strict(content, max_bytes=MAX_SCORE_BYTES)
    try:
        found = typed(value, ScoreContent, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("exchange.answer_malformed", f"the content of the answer: {error}") from error
    if to_plain(found) != value:
        raise InvalidInput("exchange.answer_malformed", "the content of the answer is not in its one written form")
    return found

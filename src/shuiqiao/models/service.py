"""Models at one institution: an owner registers its own; a provider takes contents in, reviews and approves them.

An owner keeps content and salt before it registers their commitment, so that a crash leaves no entry without content.
A provider takes in what opens the commitment on the ledger, from the model's owner alone. Its review is a report that
it signs: which inputs, which outputs and how many values each has, the rank, the findings. It decides nothing that the
ledger decides (who, in which order): the contract does. Two people of one institution are the matter of ``node``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, new_id, owned_id, split_owned_id
from shuiqiao.ledger.transactions.document import decode_document, sign_document, to_plain
from shuiqiao.models.contract import (
    RETIRE,
    REVIEW,
    ModelApproveBody,
    ModelRegisterBody,
    ModelRetireBody,
    ModelReviewBody,
)
from shuiqiao.models.model import (
    MAX_CONTENT_BYTES,
    MAX_REPORT_BYTES,
    ContentFacts,
    ContentReader,
    HandedModel,
    ModelForm,
    ModelStatus,
    RegisteredModel,
    RetireReason,
    ReviewOutcome,
    ReviewReport,
    ReviewStatus,
    commitment_of,
)
from shuiqiao.models.roster import approved_model, find_model, live_model, model_at, registered_model
from shuiqiao.models.store import KeptContent, KeptReport

if TYPE_CHECKING:
    from shuiqiao.consent.model import Output, Purpose
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.models.store import ContentStore

REPORT = "models.review/1"

MAX_KEPT_OF_OWNER = 256
"""Contents of one owner that are kept; those of models that are retired, or never were registered, make room."""

_SALT_BYTES = 32
_HANDED_BYTES = MAX_CONTENT_BYTES + 256


class ModelRegistry:
    """The models that an institution has a part in.

    Example::

        body = bank.prepare(content, form=ModelForm.SCORECARD, purpose=Purpose.UNDERWRITING)
        bank_outbox.submit(REGISTER, body)
        bureau.receive(model, bank.handed(model), sender=bank_member)
        bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings="...", reviewer=person)
        bureau_outbox.submit(APPROVE, bureau.approval_of(model))
        found, content = bureau.runnable(model, digest=body.digest, provider=bureau_member)
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: ContentStore,
        readers: Mapping[ModelForm, ContentReader],
        key: SigningKey,
        suite: CipherSuite,
        entropy: Entropy,
    ) -> None:
        """readers: of the forms that this institution understands. key: signs reports."""
        self._submitter = submitter
        self._store = store
        self._readers = readers
        self._key = key
        self._suite = suite
        self._entropy = entropy

    # At the owner

    def prepare(self, content: bytes, *, form: ModelForm, purpose: Purpose) -> ModelRegisterBody:
        """Keep a content of one's own, and return what registers it; the same while it is not retired.

        Raises InvalidInput ``models.content_too_large``, what the reader of its form raises.
        """
        if not 0 < len(content) <= MAX_CONTENT_BYTES:
            raise InvalidInput(
                "models.content_too_large", f"a model of {len(content)} bytes where {MAX_CONTENT_BYTES} are allowed"
            )
        outputs = sorted(self._read(form, content).outputs)
        # The same bytes: those of another form would not be read by this one's reader.
        for kept in self._store.contents_of(self._member):
            if kept.content == content:
                body = self._body_of(kept, form=form, purpose=purpose, outputs=outputs)
                if self._is_open_to(body):
                    return body
        self._make_room(self._member)
        salt = self._entropy(_SALT_BYTES)
        kept = KeptContent(
            digest=commitment_of(content, salt=salt, digest=self._suite.digest),
            model=owned_id(self._member, new_id(self._entropy)),
            salt=salt,
            content=content,
            kept_ms=self._submitter.now_ms(),
        )
        self._store.save(kept)
        return self._body_of(kept, form=form, purpose=purpose, outputs=outputs)

    @staticmethod
    def _body_of(kept: KeptContent, *, form: ModelForm, purpose: Purpose, outputs: list[Output]) -> ModelRegisterBody:
        return ModelRegisterBody(
            model=split_owned_id(kept.model)[1],
            digest=kept.digest,
            form=form,
            outputs=outputs,
            purpose=purpose,
        )

    def _is_open_to(self, body: ModelRegisterBody) -> bool:
        """Tell whether a model may be registered so, or is already."""
        found = find_model(self._submitter.state(), owned_id(self._member, body.model))
        if found is None:
            return True
        return found.status is ModelStatus.REGISTERED and (found.form, found.purpose) == (body.form, body.purpose)

    def _is_live(self, model: OwnedId) -> bool:
        found = find_model(self._submitter.state(), model)
        return found is not None and found.status is ModelStatus.REGISTERED

    def is_registered(self, body: ModelRegisterBody) -> bool:
        """Tell whether the ledger has a model of one's own, retired or not."""
        return find_model(self._submitter.state(), owned_id(self._member, body.model)) is not None

    def handed(self, model: OwnedId) -> bytes:
        """Return what opens a model's commitment, for a provider; raises Denied ``models.content_missing``."""
        kept = self._require_content(model)
        return encode_cbor(to_plain(HandedModel(salt=kept.salt, content=kept.content)))

    # At the provider

    def receive(self, model: OwnedId, handed: bytes, *, sender: MemberId) -> None:
        """Keep the content of a registered model that its owner hands over; the same again changes nothing [MODEL-7].

        Raises InvalidInput ``models.content_malformed``, Denied ``models.party_wrong``, ``models.unknown``,
        ``models.retired``, ``models.too_many_kept``; IntegrityError ``models.digest_differs``.
        """
        if sender != split_owned_id(model)[0]:
            raise Denied("models.party_wrong", f"{sender} hands over model {model}; its owner does")
        found = live_model(self._submitter.state(), model)
        opened = _decode_handed(handed)
        if commitment_of(opened.content, salt=opened.salt, digest=self._suite.digest) != found.digest:
            raise IntegrityError(
                "models.digest_differs", f"the content handed over for model {model} is not the one that is registered"
            )
        if self._store.content(model) is None:
            self._make_room(sender)
        kept_ms = self._submitter.now_ms()
        self._store.save(
            KeptContent(digest=found.digest, model=model, salt=opened.salt, content=opened.content, kept_ms=kept_ms)
        )

    def _make_room(self, owner: MemberId) -> None:
        names = self._store.names(owner)
        if len(names) < MAX_KEPT_OF_OWNER:
            return
        for name in names:
            if not self._is_live(name):
                self._store.forget(name)
                return
        raise Denied(
            "models.too_many_kept", f"{len(names)} models of {owner} are kept here, as many as may; retire one first"
        )

    def review(self, model: OwnedId, *, outcome: ReviewOutcome, findings: str, reviewer: str) -> KeptReport:
        """Sign a report about a model and put its digest on the ledger; the same again changes nothing [MODEL-3].

        reviewer: the id of the person. Accepting one reads its content: raises Denied ``models.content_missing``,
        ``models.outputs_differ``, what the reader of its form raises; Conflict ``models.step_invalid``.
        """
        found = live_model(self._submitter.state(), model)
        if (same := self._same_review(model, outcome=outcome, findings=findings)) is not None:
            return same
        facts = self._facts(found) if outcome is ReviewOutcome.ACCEPTED else None
        report = ReviewReport(
            model=model,
            digest=found.digest,
            reviewer=self._member,
            outcome=outcome,
            inputs=list(facts.inputs) if facts else [],
            output_values=dict(facts.outputs) if facts else {},
            rank=facts.rank if facts else 0,
            findings=findings,
            made_ms=self._submitter.now_ms(),
            salt=self._entropy(_SALT_BYTES),
        )
        raw = sign_document(report, name=REPORT, network=self._network, suite=self._suite, keys=(self._key,))
        kept = KeptReport(
            digest=self._suite.digest(raw), model=model, reviewer=reviewer, report=raw, kept_ms=report.made_ms
        )
        self._store.save_report(kept)
        body = ModelReviewBody(model=model, digest=found.digest, outcome=outcome, report_digest=kept.digest)
        self._submitter.submit(REVIEW, body)
        return kept

    def _same_review(self, model: OwnedId, *, outcome: ReviewOutcome, findings: str) -> KeptReport | None:
        """Return the report of a review that says the same and stands on the ledger already."""
        standing = model_at(self._submitter.state(), model, provider=self._member)
        kept = None if standing is None else self._store.report(standing.report_digest)
        if kept is None:
            return None
        report = self.read_report(kept)
        return kept if (report.outcome, report.findings) == (outcome, findings) else None

    def approval_of(self, model: OwnedId) -> ModelApproveBody:
        """Return what approves a model by its review here, its content being such still as was reviewed.

        Raises what ``live_model`` raises, Denied ``models.content_missing``, ``models.outputs_differ``; Conflict
        ``models.step_invalid``.
        """
        state = self._submitter.state()
        found, standing = live_model(state, model), model_at(state, model, provider=self._member)
        if standing is None or standing.status is not ReviewStatus.REVIEWED:
            status = "not reviewed" if standing is None else str(standing.status)
            raise Conflict("models.step_invalid", f"model {model} is {status} here; one that is reviewed is approved")
        self._facts(found)
        return ModelApproveBody(model=model, report_digest=standing.report_digest)

    # At both ends of a run

    def runnable(self, model: OwnedId, *, digest: bytes, provider: MemberId) -> tuple[RegisteredModel, bytes]:
        """Return a model that may run at a provider now, and its content, as owner and provider have it [MODEL-6].

        digest: as whoever asks names it. Raises what ``approved_model`` raises, InvalidInput ``models.digest_wrong``,
        Denied ``models.content_missing``, IntegrityError ``models.digest_differs``::

            found, content = registry.runnable(model, digest=asked.digest, provider=bureau)
        """
        return self._named(approved_model(self._submitter.state(), model, provider=provider), digest)

    def registered(self, model: OwnedId, *, digest: bytes | None = None) -> tuple[RegisteredModel, bytes]:
        """Return a model that is registered, retired ones too, and its content; raises as ``runnable`` else."""
        return self._named(registered_model(self._submitter.state(), model), digest)

    def _named(self, found: RegisteredModel, digest: bytes | None) -> tuple[RegisteredModel, bytes]:
        if digest not in {None, found.digest}:
            raise InvalidInput(
                "models.digest_wrong",
                f"{(digest or b'').hex()[:16]} is asked for, model {found.name} has the digest "
                f"{found.digest.hex()[:16]}",
            )
        return found, self._require_content(found.name).content

    # At all of them

    def retire(self, model: OwnedId, *, reason: RetireReason, here_only: bool) -> None:
        """Let a model run no more: at this provider alone, or at all as its owner or a regulator [MODEL-5]."""
        provider = self._member if here_only else None
        self._submitter.submit(RETIRE, ModelRetireBody(model=model, provider=provider, reason=reason))

    def names(self) -> list[OwnedId]:
        """Return the models whose contents are kept here, the oldest first."""
        return self._store.names()

    def content(self, model: OwnedId) -> bytes | None:
        """Return a model's content where it is kept here."""
        kept = self._store.content(model)
        return None if kept is None else kept.content

    def report(self, model: OwnedId) -> ReviewReport | None:
        """Return the report of this institution's review of a model, None where there is none."""
        standing = model_at(self._submitter.state(), model, provider=self._member)
        kept = None if standing is None else self._store.report(standing.report_digest)
        return None if kept is None else self.read_report(kept)

    def kept_report(self, digest: bytes) -> KeptReport:
        """Return the report of a digest; raises Denied ``models.report_missing``."""
        kept = self._store.report(digest)
        if kept is None:
            raise Denied("models.report_missing", f"the report {digest.hex()[:16]} of the review is not here")
        return kept

    def read_report(self, kept: KeptReport) -> ReviewReport:
        """Return what a report of one's own store says: it was signed here, and is not verified again."""
        return decode_document(
            kept.report,
            ReviewReport,
            name=REPORT,
            network=self._network,
            suite=self._suite,
            max_bytes=MAX_REPORT_BYTES,
        ).body

    @property
    def _member(self) -> MemberId:
        return self._submitter.member

    @property
    def _network(self) -> bytes:
        return self._submitter.parameters.network

    def _facts(self, model: RegisteredModel) -> ContentFacts:
        """Return what the content of a model says, which declares the outputs that are registered."""
        facts = self._read(model.form, self._require_content(model.name).content)
        if tuple(sorted(facts.outputs)) != model.outputs:
            raise Denied(
                "models.outputs_differ",
                f"model {model.name} is registered for {', '.join(model.outputs)}, its content declares "
                f"{', '.join(sorted(facts.outputs))}",
            )
        return facts

    def _read(self, form: ModelForm, content: bytes) -> ContentFacts:
        reader = self._readers.get(form)
        if reader is None:
            raise Unavailable("models.form_unknown", f"nobody here reads models of the form {form}")
        return reader(content)

    def _require_content(self, model: OwnedId) -> KeptContent:
        kept = self._store.content(model)
        if kept is None:
            raise Denied("models.content_missing", f"the content of model {model} is not here: its owner hands it over")
        if commitment_of(kept.content, salt=kept.salt, digest=self._suite.digest) != kept.digest:
            raise IntegrityError("models.digest_differs", f"the content kept of model {model} is not what was kept")
        return kept


def _decode_handed(data: bytes) -> HandedModel:
    try:
        return typed(decode_cbor_strict(data, max_bytes=_HANDED_BYTES), HandedModel, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("models.content_malformed", f"{len(data)} bytes are no model: {error}") from error

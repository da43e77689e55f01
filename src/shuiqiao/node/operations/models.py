"""Works on models for a message of the API, a bank's own and those on the ledger: each function is one operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.base.progress import no_progress
from shuiqiao.client.resources import models as api
from shuiqiao.client.resources.products import ProductRecord
from shuiqiao.consent.model import Purpose
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role as require_member_role
from shuiqiao.models.model import ModelForm, RetireReason, ReviewOutcome
from shuiqiao.models.roster import find_model, providers_of, registered_model
from shuiqiao.node.accounts.approvals.models import ModelOffer, approve_run, offer_model
from shuiqiao.node.accounts.opening import require_no_users
from shuiqiao.node.home.settings import require_role
from shuiqiao.node.operations.applications import day_in
from shuiqiao.node.operations.paging import page_after
from shuiqiao.node.operations.products import product_in_use

if TYPE_CHECKING:
    from shuiqiao.base.progress import Progress
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.credit.model_content import ModelContent
    from shuiqiao.credit.scorecard import Scorecard
    from shuiqiao.credit.store import KeptModel
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.operations.calling import Call


def list_models(institution: Institution, asked: PageQuery) -> api.ModelPage:
    """List the models that this bank keeps, the oldest first."""
    kept = institution.lending_models.models.models()
    found, following = page_after(kept, asked, name=lambda model: model.digest.hex())
    return api.ModelPage(items=tuple(api.ModelRecord(**_row(institution, model)) for model in found), next=following)


def read_model(institution: Institution, asked: api.ModelQuestion) -> api.ModelCardRecord:
    """Tell of a model with its card; raises Denied ``credit.model_unclear``."""
    model = institution.lending_models.models.find(asked.model)
    return api.ModelCardRecord(**_row(institution, model), model_card=dict(model.model_card))


def register_model(institution: Institution, given: api.ModelRegistration) -> api.ModelRecord:
    """Register a scorecard that was developed elsewhere; raises InvalidInput ``credit.scorecard_malformed``."""
    model = institution.lending_models.register(
        given.scorecard.encode(),
        data=given.data,
        metrics={"auc": given.auc, "auc_ci_95": given.auc_ci_95, "ks": given.ks},
        limits=given.limits,
        as_of=institution.today(),
    )
    return api.ModelRecord(**_row(institution, model))


def develop_model(
    institution: Institution, asked: api.ModelDevelopment, progress: Progress = no_progress
) -> api.ModelRecord:
    """Develop a model and register it by its digest; raises what ``LendingModels.develop`` raises."""
    progress("develop and validate the model 建模与验证", 0, None)
    day = institution.today() if asked.as_of is None else day_in(asked.as_of)
    model = institution.lending_models.develop(asked.outcomes, as_of=day, seed=asked.seed)
    return api.ModelRecord(**_row(institution, model))


def use_model(institution: Institution, asked: api.ModelUse) -> ProductRecord:
    """Let a model decide for a product, or retire the one that does, where the owner of the home acts alone.

    Raises Denied ``node.two_people_needed`` or ``credit.model_unclear``, InvalidInput ``lending.product_unknown``.
    """
    require_no_users(institution, f"model {asked.product} {asked.model or '--retire'}")
    models = institution.lending_models
    if asked.model is None:
        models.retire(asked.product)
    else:
        models.use(models.models.find(asked.model).digest, product=asked.product)
    return ProductRecord(**product_in_use(institution, asked.product).as_json())


def _row(institution: Institution, model: KeptModel) -> dict[str, Any]:
    return {**model.as_json(), "products": institution.lending_models.uses().get(model.digest, ())}


# On the ledger


def list_ledger_models(institution: Institution, asked: PageQuery) -> api.LedgerModelPage:
    """List the models on the ledger whose contents are kept here, the oldest first."""
    state = institution.engine.state()
    known = [name for name in institution.model_registry.names() if find_model(state, name) is not None]
    page, following = page_after(known, asked, name=str)
    return api.LedgerModelPage(items=tuple(_ledger_record(institution, name) for name in page), next=following)


def read_ledger_model(institution: Institution, asked: api.LedgerModelQuestion) -> api.LedgerModelFile:
    """Tell of a model on the ledger, with what of it is kept here; raises Denied ``models.unknown``."""
    model, registry = OwnedId(f"{asked.member}/{asked.entry}"), institution.model_registry
    record, report = _ledger_record(institution, model), registry.report(model)
    told = None
    if report is not None:
        values = {str(output): count for output, count in report.output_values.items()}
        told = api.ReportRecord(
            outcome=report.outcome,
            inputs=tuple(report.inputs),
            output_values=values,
            output_bits={output: (count - 1).bit_length() for output, count in values.items()},
            rank=report.rank,
            findings=report.findings,
            made_ms=report.made_ms,
        )
    content = content_text(registry.content(model) or b"", form=ModelForm(record.form))
    return api.LedgerModelFile(**dict(record), content=content, report=told)


def content_text(content: bytes, *, form: ModelForm) -> str:
    """Return what of a content is read by people: of weights that are not seen, which indicators there are.

    What is no text is written as escapes: a reviewer reads what is to be rejected, too.
    """
    if form is ModelForm.SCORECARD or not content:
        return content.decode(errors="backslashreplace")
    try:
        return encode_json(_unseen(content, form=form)).decode()
    except InvalidInput as error:
        return error.message


def _unseen(content: bytes, *, form: ModelForm) -> dict[str, Any]:
    from shuiqiao.credit.indicators import plain_features

    if form is ModelForm.BLIND_LINEAR:
        from shuiqiao.credit.blind_content import decode_blind

        blind = decode_blind(content)
        return {
            "features": plain_features(blind.features),
            "format": blind.format,
            "weights": len(blind.weights),
        }
    from shuiqiao.credit.secure_content import decode_secure

    secure = decode_secure(content)
    outputs = {
        str(output): {"function": each.function.hex(), "values": each.values} for output, each in secure.outputs.items()
    }
    return {
        "features": plain_features(secure.features),
        "format": secure.format,
        "outputs": outputs,
        "weights": secure.weights.hex(),
    }


def offer_to_provider(institution: Institution, asked: api.ModelOffer) -> api.LedgerModelRecord:
    """Put a model on the ledger and hand it to a provider, where the owner of the home acts alone.

    Raises Denied ``node.two_people_needed``, what ``prepare_offer`` and ``offer_model`` raise.
    """
    require_no_users(institution, f"offer {asked.model or '--scorecard FILE'} --to {asked.to} --outputs FILE")
    after, _ = institution.engine.last_block()
    return _ledger_record(institution, offer_model(institution, prepare_offer(institution, asked), after=after))


def prepare_offer(institution: Institution, asked: api.ModelOffer) -> ModelOffer:
    """Return the exact offer of a model, its content kept.

    Raises Denied ``node.role_wrong``, ``members.role_wrong``, ``credit.model_unclear``; InvalidInput
    ``models.offer_unclear``, what ``read_outputs``, ``encrypt_card``, ``secure_content`` and
    ``ModelRegistry.prepare`` raise.
    """
    from shuiqiao.credit.model_content import encode_content, read_outputs

    if asked.blind and asked.secure:
        raise InvalidInput(
            "models.offer_unclear", "weights are encrypted, or they stay here; a model is offered one way"
        )
    provider = MemberId(asked.to)
    require_member_role(institution.engine.state(), provider, Role.TAX_BUREAU)
    content = read_outputs(asked.outputs.model_dump(), card=_card_offered(institution, asked))
    form, data = ModelForm.SCORECARD, encode_content(content)
    if asked.blind:
        form, data = ModelForm.BLIND_LINEAR, encrypted_card(institution, content)
    if asked.secure:
        form, data = ModelForm.SECURE_LINEAR, secured_card(institution, content)
    body = institution.model_registry.prepare(data, form=form, purpose=Purpose(asked.purpose))
    return ModelOffer(model=body, provider=provider)


def encrypted_card(institution: Institution, content: ModelContent) -> bytes:
    """Return the encrypted weights of a card, whose fresh key is kept before anybody hears of them [BLIND-8].

    Raises as ``encrypt_card`` of ``credit``.
    """
    from shuiqiao.credit.blind_content import encrypt_card
    from shuiqiao.credit.model_content import encode_content
    from shuiqiao.credit.store import ClosedCard
    from shuiqiao.privacy.blind.scheme import blind_scheme

    keys = blind_scheme().generate_keys()
    data = encrypt_card(content, keys=keys)
    institution.closed_cards.save(ClosedCard(secret=keys.secret, card=encode_content(content)), content=data)
    return data


def secured_card(institution: Institution, content: ModelContent) -> bytes:
    """Return the content of a card whose weights stay here, kept before anybody hears of it [SECURE-11].

    Raises as ``secure_content`` of ``credit``.
    """
    from shuiqiao.credit.model_content import encode_content
    from shuiqiao.credit.secure_content import SALT_BYTES, secure_content
    from shuiqiao.credit.store import ClosedCard

    salt = institution.dependencies.entropy(SALT_BYTES)
    data = secure_content(content, salt=salt)
    institution.closed_cards.save(ClosedCard(secret=salt, card=encode_content(content)), content=data)
    return data


def _card_offered(institution: Institution, asked: api.ModelOffer) -> Scorecard:
    """Return the card of an offer: at a bank one that it keeps, at a bureau, which keeps none, one that is sent."""
    from shuiqiao.credit.scorecard import read_scorecard

    if institution.settings.role is Role.TAX_BUREAU:
        if asked.scorecard is None or asked.model is not None:
            raise InvalidInput("models.offer_unclear", "a bureau keeps no models: it offers a scorecard that it sends")
        return read_scorecard(asked.scorecard.encode())
    models = institution.lending_models.models
    if asked.model is None or asked.scorecard is not None:
        raise InvalidInput("models.offer_unclear", "a bank offers a model that it keeps: register a scorecard first")
    return models.load(models.find(asked.model).digest).card


def review_model(call: Call, asked: api.ModelReview) -> api.LedgerModelRecord:
    """Sign a report about a model and put its digest on the ledger; raises what ``ModelRegistry.review`` raises."""
    institution, model = call.institution, OwnedId(asked.ledger_model)
    require_role(institution.settings, Role.TAX_BUREAU)
    institution.model_registry.review(
        model, outcome=ReviewOutcome(asked.outcome), findings=asked.findings, reviewer=call.caller.person
    )
    return _ledger_record(institution, model)


def approve_model_run(institution: Institution, asked: api.LedgerModelChoice) -> api.LedgerModelRecord:
    """Let a reviewed model run here, where the owner of the home acts alone.

    Raises Denied ``node.two_people_needed``, ``node.role_wrong``, what ``approve_run`` raises.
    """
    require_role(institution.settings, Role.TAX_BUREAU)
    require_no_users(institution, f"run {asked.ledger_model}")
    model, (after, _) = OwnedId(asked.ledger_model), institution.engine.last_block()
    approve_run(institution, institution.model_registry.approval_of(model), after=after)
    return _ledger_record(institution, model)


def retire_ledger_model(institution: Institution, asked: api.ModelRetirement) -> api.LedgerModelRecord:
    """Let a model on the ledger run no more; one person does, for it only stops. Raises what the ledger refuses."""
    model = OwnedId(asked.ledger_model)
    institution.model_registry.retire(model, reason=RetireReason(asked.reason), here_only=asked.here_only)
    return _ledger_record(institution, model)


def _ledger_record(institution: Institution, model: OwnedId) -> api.LedgerModelRecord:
    state = institution.engine.state()
    found = registered_model(state, model)
    return api.LedgerModelRecord(
        model=model,
        digest=found.digest.hex(),
        form=found.form,
        outputs=found.outputs,
        purpose=found.purpose,
        status=found.status,
        providers=tuple(
            api.ProviderStanding(provider=each.provider, status=each.status, report_digest=each.report_digest.hex())
            for each in providers_of(state, model)
        ),
        is_kept=institution.model_registry.content(model) is not None,
    )

"""``/presentations``: a bank asks for a credential and is shown one, by whoever holds it.

Asking and showing need no token: a request is the bank's own signed bytes, and a presentation proves itself by the
bureau's signature and the holder's key [CREDENTIAL-10]. The bureau is not asked.
"""

from __future__ import annotations

from shuiqiao.api.access import OPEN
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import presentations as api
from shuiqiao.client.wire import Nothing
from shuiqiao.node.operations import presentations as acts

presentations = Routes("presentations")

_OF_PRODUCT = ("node.role_wrong", "lending.product_unknown")


@presentations.post(
    api.ASK_PRESENTATION.path,
    permission=OPEN,
    problems=(403, 422, 503),
    codes=(
        *_OF_PRODUCT,
        "ledger.quorum_not_reached",
        "privacy.extra_missing",
        "privacy.product_asks_nothing",
        "privacy.rules_not_provable",
        "privacy.status_not_here",
    ),
)
def ask_presentation(asked: api.PresentationQuestion, running: Running) -> api.PresentationRequest:
    """Return the bank's signed request for what a product asks a credential to say; it is good for five minutes.

    With it comes a receipt that proves to whoever is asked, by the genesis alone, whose key signed it [CREDENTIAL-11].
    """
    return acts.ask_presentation(running.institution, asked)


@presentations.post(
    api.SHOW_CREDENTIAL.path,
    permission=OPEN,
    problems=(403, 409, 422, 503),
    codes=(
        *_OF_PRODUCT,
        "crypto.signature_invalid",
        "privacy.challenge_old",
        "privacy.challenge_used",
        "privacy.claims_differ",
        "privacy.credential_expired",
        "privacy.credential_foreign",
        "privacy.credential_revoked",
        "privacy.definition_malformed",
        "privacy.extra_missing",
        "privacy.issuer_wrong",
        "privacy.key_binding_wrong",
        "privacy.proof_invalid",
        "privacy.proof_malformed",
        "privacy.proofs_busy",
        "privacy.sd_jwt_malformed",
        "privacy.sd_jwt_not_valid_now",
        "privacy.status_changed",
        "privacy.status_not_here",
    ),
)
def show_credential(shown: api.Presentation, running: Running) -> api.PresentationOutcome:
    """Take a credential that is shown for a request, once, and tell whether the product's rules are met by it."""
    return acts.show_credential(running.institution, shown)


@presentations.perform(api.LIST_SHOWN, permission="applications.read", codes=("node.role_wrong",))
def list_shown(running: Running, caller: Caller) -> api.ShownPage:
    """List what this bank was shown lately, the newest first."""
    return performed(running, caller, api.LIST_SHOWN, Nothing())

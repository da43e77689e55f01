"""Works on credentials at a bank for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.ids import OwnedId
from shuiqiao.client.pages import MAX_ITEMS
from shuiqiao.client.resources import presentations as api
from shuiqiao.ledger.transactions.looking_up import newest_index
from shuiqiao.privacy.credentials.model import status_key
from shuiqiao.privacy.credentials.presentation import asker_keys
from shuiqiao.privacy.credentials.verifier import PublishedRules

if TYPE_CHECKING:
    from shuiqiao.client.wire import Nothing
    from shuiqiao.node.institution import Institution


def ask_presentation(institution: Institution, asked: api.PresentationQuestion) -> api.PresentationRequest:
    """Return a signed request, and by what it is known whose it is.

    Raises what ``CredentialVerifier.request``, ``BankProducts.in_force`` and ``LedgerEngine.receipt`` raise.
    """
    registry = None if asked.registry is None else OwnedId(asked.registry)
    request = institution.presentations.request(_rules(institution, asked.product), status_list=registry)
    engine = institution.engine
    keys = asker_keys(institution.member) + (() if registry is None else (status_key(registry),))
    receipt = engine.receipt(newest_index(engine), state_keys=keys)
    return api.PresentationRequest(request=request.hex(), genesis=institution.genesis.hex(), receipt=receipt.hex())


def show_credential(institution: Institution, shown: api.Presentation) -> api.PresentationOutcome:
    """Take what is shown; raises what ``CredentialVerifier.accept`` raises."""
    verifier, raw = institution.presentations, bytes.fromhex(shown.request)
    rules = _rules(institution, verifier.product_of(raw))
    found = verifier.accept(raw, shown.presentation, rules=rules)
    return api.PresentationOutcome(product=rules.product, is_met=not found.unmet, unmet=found.unmet)


def list_shown(institution: Institution, _asked: Nothing) -> api.ShownPage:
    """List what was shown lately; raises Denied ``node.role_wrong``."""
    rows = institution.shown_credentials.newest(most=MAX_ITEMS)
    return api.ShownPage(
        items=tuple(
            api.ShownRecord(
                request=row.request.hex(),
                product=row.product,
                issuer=row.issuer,
                claims=dict(row.claims),
                is_met=row.is_met,
                shown_ms=row.shown_ms,
            )
            for row in rows
        ),
        next=None,
    )


def _rules(institution: Institution, product: str) -> PublishedRules:
    found = institution.products.in_force(product)
    return PublishedRules(product=found.product.id, digest=found.digest, prove=found.product.prove)

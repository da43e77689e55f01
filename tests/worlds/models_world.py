"""The consent world with the models of each member, and a card with its declared outputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from consent_world import BANK_A, BUREAU, ConsentWorld
from shuiqiao.base.ids import MemberId, OwnedId, owned_id
from shuiqiao.consent.model import Purpose
from shuiqiao.credit.blind_content import read_blind_facts
from shuiqiao.credit.model_content import encode_content, read_content_facts, read_outputs
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.credit.secure_content import read_secure_facts
from shuiqiao.models import store as models_store
from shuiqiao.models.contract import APPROVE, REGISTER, ModelRegisterBody
from shuiqiao.models.model import ModelForm, ReviewOutcome
from shuiqiao.models.service import ModelRegistry
from shuiqiao.models.store import ContentStore

BANDS = {"bands": ["C", "B", "A"], "cuts": [560, 620], "yes_from": 580}


def a_card(*, name: str = "tax-2026-01", base: int = 600) -> Scorecard:
    """A card of one feature that the catalogue has."""
    feature = ScorecardFeature(
        name="zero_sales_months_12m",
        cuts=(2_000_000, 5_000_000),
        points=(-37, 4, 21),
        unknown_points=-11,
        counts=(10, 20, 30, 1),
        bad=(3, 2, 1, 0),
    )
    return Scorecard(name=name, base_points=base, features=(feature,), n=61, bad=6)


def a_content(outputs: Mapping[str, Any] = BANDS, **card: Any) -> bytes:
    """The bytes of a card with outputs."""
    return encode_content(read_outputs(outputs, card=a_card(**card)))


class ModelsWorld(ConsentWorld):
    """The parties and their models; ``close`` when done."""

    def __init__(self, folder: Path, suite_name: str) -> None:
        super().__init__(folder, suite_name)
        for database in self.databases.values():
            models_store.metadata.create_all(database)
        self.registries = {member: self.registry(member) for member in self.databases}

    def registry(self, member: MemberId, **changes: Any) -> ModelRegistry:
        """The models of a member."""
        parts: dict[str, Any] = {
            "submitter": self.submitters[member],
            "store": ContentStore(self.databases[member], cipher=self.cipher),
            "readers": {
                ModelForm.SCORECARD: read_content_facts,
                ModelForm.BLIND_LINEAR: read_blind_facts,
                ModelForm.SECURE_LINEAR: read_secure_facts,
            },
            "key": self.signing[member],
            "suite": self.suite,
            "entropy": self.entropy,
        }
        return ModelRegistry(**(parts | changes))

    def registered(
        self, content: bytes, *, owner: MemberId = BANK_A, form: ModelForm = ModelForm.SCORECARD
    ) -> tuple[OwnedId, ModelRegisterBody]:
        """A model that its owner put on the ledger."""
        body = self.registries[owner].prepare(content, form=form, purpose=Purpose.UNDERWRITING)
        if not self.registries[owner].is_registered(body):
            self.submitters[owner].submit(REGISTER, body)
        return owned_id(owner, body.model), body

    def approved(self, content: bytes, *, owner: MemberId = BANK_A, form: ModelForm = ModelForm.SCORECARD) -> OwnedId:
        """A model that its provider reviewed and approved."""
        model = self.offered(content, owner=owner, form=form)
        bureau = self.registries[BUREAU]
        bureau.review(model, outcome=ReviewOutcome.ACCEPTED, findings="Sound.", reviewer="person")
        self.submitters[BUREAU].submit(APPROVE, bureau.approval_of(model))
        return model

    def offered(
        self,
        content: bytes,
        *,
        owner: MemberId = BANK_A,
        provider: MemberId = BUREAU,
        form: ModelForm = ModelForm.SCORECARD,
    ) -> OwnedId:
        """A model whose content its provider has."""
        model, _ = self.registered(content, owner=owner, form=form)
        self.registries[provider].receive(model, self.registries[owner].handed(model), sender=owner)
        return model

"""A bureau leaves records out of an answer and signs a manifest to match; the regulator proves it afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from shuiqiao.base.ids import MemberId, Uscc
from shuiqiao.exchange.accusation import WithheldEvidence, prove_withheld
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.store import ProviderStore
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.oversight.openings import indexed_transactions
from shuiqiao.sandbox.scenario.evidence import gather
from shuiqiao.sandbox.scenario.refusals import wish_of
from shuiqiao.sandbox.scenario.tamper_scene import ISSUED, NOT_CAUGHT, TamperScene
from shuiqiao.vault.contract import batch_lookup, leaf_lookup
from shuiqiao.vault.model import Anchor, LeafRef
from shuiqiao.vault.service import Vault

if TYPE_CHECKING:
    from shuiqiao.exchange.recipient import ReceivedData
    from shuiqiao.node.institution import Institution
    from shuiqiao.vault.disclosure import Disclosure


def withhold_record(scene: TamperScene) -> str:
    """Let the bureau leave the newest invoice out of an answer, and prove it to anybody afterwards."""
    bureau = scene.consortium.bureau
    newest = _newest_issued(scene)
    dishonest = Provider(
        submitter=bureau.outbox,
        store=ProviderStore(bureau.database),
        desk=bureau.consent_desk,
        vault=_Withholding(bureau.vault, before=newest.day),
        key=bureau.keys.signing,
        suite=bureau.suite,
        catalogue=bureau.catalogue,
        entropy=bureau.surroundings.entropy,
    )
    consent = scene.owner.consent(wish_of(scene), bank=scene.bank).artefact.name
    evidence = gather(
        scene.bank,
        bureau=bureau,
        consent=consent,
        items=scene.terms.items,
        period=scene.terms.period,
        provider=dishonest,
    )
    if newest.leaf in _delivered(evidence.received):
        return NOT_CAUGHT
    accusation = _accuse(scene, evidence.received, newest.leaf)
    return "exchange.record_withheld" if accusation.provider == bureau.member else NOT_CAUGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    leaf: LeafRef
    day: date


class _Withholding:
    """A vault that hides what is dated on or after a day, and says nothing about it."""

    def __init__(self, vault: Vault, *, before: date) -> None:
        self._vault = vault
        self._last = before - timedelta(days=1)

    def disclose(
        self, *, uscc: Uscc, groups: Mapping[str, Sequence[str]], period_from: date, period_to: date
    ) -> Disclosure:
        """Return an answer that claims the whole period and holds less."""
        shorter = self._vault.disclose(
            uscc=uscc, groups=groups, period_from=period_from, period_to=self._end(period_from)
        )
        return replace(shorter, period_to=period_to)

    def settle(self, *, uscc: Uscc, type_ids: Iterable[str], anchor: Anchor) -> None:
        """Let the vault catch up with the ledger."""
        self._vault.settle(uscc=uscc, type_ids=type_ids, anchor=anchor)

    def revision(self) -> int:
        """Return the vault's own."""
        return self._vault.revision()

    def count_live(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> dict[str, int]:
        """Return counts that agree with what is disclosed, whatever end is asked for."""
        del period_to
        end = self._end(period_from)
        return self._vault.count_live(uscc=uscc, type_id=type_id, period_from=period_from, period_to=end)

    def live_leaves(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> list[LeafRef]:
        """Return places that agree with what is disclosed, whatever end is asked for."""
        del period_to
        end = self._end(period_from)
        return self._vault.live_leaves(uscc=uscc, type_id=type_id, period_from=period_from, period_to=end)

    def _end(self, period_from: date) -> date:
        return max(self._last, period_from)


def _newest_issued(scene: TamperScene) -> _Newest:
    """Return the place and day of the enterprise's last issued invoice, as the bank proved it."""
    entry = scene.evidence.received.records.types[ISSUED]
    days: list[date] = entry.rows.column("issue_date").to_pylist()
    place = max(range(len(days)), key=lambda index: days[index])
    batch = entry.batches[int(entry.batch_numbers[place])]
    return _Newest(leaf=LeafRef(batch=batch, index=int(entry.indexes[place])), day=days[place])


def _delivered(received: ReceivedData) -> list[LeafRef]:
    entry = received.records.types[ISSUED]
    return [
        LeafRef(batch=entry.batches[int(number)], index=int(index))
        for number, index in zip(entry.batch_numbers, entry.indexes, strict=True)
    ]


def _accuse(scene: TamperScene, received: ReceivedData, leaf: LeafRef) -> Any:
    """On the bureau's premises the regulator finds the record; with the bank's manifest it proves the omission."""
    bureau, regulator = scene.consortium.bureau, scene.consortium.regulator
    regulator.catch_up_with(bureau)
    verifier = ReceiptVerifier(parameters=regulator.parameters, suite=regulator.suite)
    state = regulator.engine.state()
    return prove_withheld(
        WithheldEvidence(
            manifest=received.manifest_bytes,
            delivered=_delivered(received),
            record=bureau.vault.prove_record(leaf, groups=["core"]),
            anchor=verifier.verify(regulator.engine.receipt(_anchor_index(regulator, bureau.member, leaf.batch))),
        ),
        provider=bureau.member,
        state=state,
        network=regulator.parameters.network,
        batch_of=batch_lookup(state, bureau.member),
        status_of=leaf_lookup(state, bureau.member),
        verify_root=regulator.outbox.verify_root,
        suite=regulator.suite,
        catalogue=regulator.catalogue,
    )


def _anchor_index(member: Institution, author: MemberId, batch: bytes) -> int:
    """Return the leaf index of an author's anchor.commit of a batch."""
    return next(
        index
        for index, tx in indexed_transactions(member.engine, kinds=member.kinds)
        if (tx.kind, tx.author) == ("anchor.commit", author) and tx.body.batch == batch
    )

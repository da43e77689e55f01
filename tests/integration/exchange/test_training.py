"""Three members agree on whose records a model is trained, and no two cohorts tell of a single firm."""

from __future__ import annotations

from contextlib import suppress
from datetime import date

import msgspec
import pytest

from consent_world import BANK_A, BANK_B, BUREAU, REGULATOR, ConsentWorld
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import Uscc
from shuiqiao.consent.model import Frequency, FrequencyUnit, Mode, Purpose
from shuiqiao.consent.store import ConsentStore
from shuiqiao.exchange.cohorts import TrainingProposal, decode_proposal, digest_of_cohort, encode_proposal
from shuiqiao.exchange.contract import TrainingAgreeBody
from shuiqiao.exchange.model import training_key
from shuiqiao.exchange.store import CohortStore
from shuiqiao.exchange.training import Trainings, TrainingThird
from shuiqiao.privacy.service import LeakageAccounts
from shuiqiao.privacy.store import ChargeStore

ITEMS = {"invoice_issued@2": ["amounts", "core"]}
PERIOD = {"period_from": date(2024, 1, 1), "period_to": date(2024, 12, 31)}
LEAST = 3


class TrainingWorld(ConsentWorld):
    """A bureau, two banks and a regulator that agree on trainings of at least three firms."""

    def __init__(self, folder, suite_name):
        super().__init__(folder, suite_name)
        self.bank, self.other_bank, self.bureau = (self.side(each) for each in (BANK_A, BANK_B, BUREAU))
        self.third = TrainingThird(
            submitter=self.submitters[REGULATOR], key=self.signing[REGULATOR], suite=self.suite, least_firms=LEAST
        )

    def side(self, member, *, least_firms=LEAST):
        consents = self.consents if member == BUREAU else self.files[member]
        return Trainings(
            submitter=self.submitters[member],
            store=CohortStore(self.databases[member], cipher=self.cipher),
            consents=consents,
            filed=ConsentStore(self.databases[member], cipher=self.cipher).consents,
            key=self.signing[member],
            suite=self.suite,
            entropy=self.entropy,
            least_firms=least_firms,
        )

    def firm(self, number, *, bank=BANK_A, **changes):
        """The name of a firm's consent to be trained on, the firm's own key to it beside."""
        fields = {
            "taxpayer": Uscc(f"91440300MA5FIRM{number:03}"),
            "recipient": bank,
            "purpose": Purpose.MODEL_DEVELOPMENT,
            "modes": (Mode.TRAIN,),
            "items": ITEMS,
            "frequency": Frequency(count=4, unit=FrequencyUnit.YEAR),
            **PERIOD,
        }
        return self.granted(self.enterprise(number), **(fields | changes))

    def proposed(self, *, side=None, **changes):
        return (side or self.bank).propose(BUREAU, third=REGULATOR, items=ITEMS, **(PERIOD | changes))

    def agreed(self, signed, *, bureau=None):
        raw = self.third.sign(signed.transaction, signed.proposal.plan)
        return (bureau or self.bureau).agree(raw, signed.proposal)


@pytest.fixture(params=["intl", "gm"])
def world(request, tmp_path):
    made = TrainingWorld(tmp_path, request.param)
    yield made
    made.close()


@pytest.fixture
def firms(world):
    return [world.firm(number) for number in range(1, 6)]


def code_of(act, *arguments, **named):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments, **named)
    return refusal.value.code


def test_a_cohort_of_all_who_consented_is_agreed_by_three_signatures_and_names_nobody(world, firms):
    """[COHORT-1] [COHORT-4] [COHORT-6] [COHORT-7]"""
    signed = world.proposed()
    plan = signed.proposal.plan
    assert [f"{BUREAU}/{each.hex()}" for each in signed.proposal.cohort] == sorted(firms)
    assert decode_proposal(encode_proposal(signed.proposal)) == signed.proposal
    committed = world.agreed(signed)
    assert world.ledger.state().get(training_key(plan.name)) == {
        "provider": BUREAU,
        "third": REGULATOR,
        "plan": plan.commitment(world.suite),
    }
    for side, other in ((world.bank, BUREAU), (world.bureau, BANK_A)):
        (kept,) = side.all()
        assert (kept.training, kept.other, kept.size, kept.ended, kept.is_agreed) == (plan.name, other, 5, 0, True)
    raw = world.raw_transactions()[-1]
    assert committed.index > 0
    assert not any(bytes.fromhex(consent.partition("/")[2]) in raw for consent in firms)
    accounts = LeakageAccounts(
        ChargeStore(world.databases[BUREAU], cipher=world.cipher), now_ms=world.submitters[BUREAU].now_ms
    )
    (line,) = accounts.of("91440300MA5FIRM001").lines
    assert (line.recipient, line.purpose, line.mode, line.answers, line.millibits) == (
        BANK_A,
        Purpose.MODEL_DEVELOPMENT,
        Mode.TRAIN,
        1,
        0,
    )


def test_what_all_three_must_sign_nobody_puts_on_the_ledger_alone(world, firms):
    """[COHORT-4]"""
    signed = world.proposed()
    submitters = world.submitters
    with pytest.raises(ShuiqiaoError, match=r"^ledger\.") as alone:
        submitters[BANK_A].relay(signed.transaction)
    with pytest.raises(ShuiqiaoError, match=r"^ledger\.") as without_third:
        world.bureau.agree(signed.transaction, signed.proposal)
    assert alone.value.code == without_third.value.code
    assert world.bureau.all() == []
    world.agreed(signed)
    # What was agreed stays, whoever hands it in anew and however.
    assert code_of(world.agreed, signed) in {"exchange.training_repeated", "ledger.tx_replayed"}
    with suppress(Denied, Conflict, IntegrityError, InvalidInput):
        world.bureau.agree(signed.transaction, signed.proposal)
    assert [each.is_agreed for each in world.bureau.all()] == [True]


def test_only_a_bank_a_bureau_and_a_regulator_train(world, firms):
    """[COHORT-4]"""
    for changes in ({"provider": BANK_B}, {"third": BANK_B}, {"provider": REGULATOR, "third": BUREAU}):
        body = TrainingAgreeBody(
            **({"training": bytes(16), "provider": BUREAU, "third": REGULATOR, "plan": bytes(32)} | changes)
        )
        keys = [world.signing[each] for each in {BANK_A, body.provider, body.third}]
        raw = world.signed("training.agree", body, author=BANK_A, keys=keys)
        assert code_of(world.submitters[BUREAU].relay, raw) == "members.role_wrong"
    body = TrainingAgreeBody(training=bytes(16), provider=BUREAU, third=REGULATOR, plan=bytes(32))
    keys = [world.signing[each] for each in (BUREAU, REGULATOR)]
    raw = world.signed("training.agree", body, author=BUREAU, keys=keys)
    assert code_of(world.submitters[BUREAU].relay, raw) == "members.role_wrong"


@pytest.mark.parametrize(
    "changes",
    [
        {"modes": (Mode.DISCLOSE,)},
        {"recipient": BANK_B, "bank": BANK_B},
        {"purpose": Purpose.UNDERWRITING, "modes": (Mode.DISCLOSE,)},
        {"items": {"tax_credit_grade@1": ["core"]}},
        {"period_from": date(2024, 2, 1)},
        {"valid_from_ms": None},
    ],
)
def test_who_consented_to_something_else_is_in_no_cohort(world, firms, changes):
    """[COHORT-1]"""
    if "valid_from_ms" in changes:
        now_ms = world.clock.now_ms()
        changes = {"valid_from_ms": now_ms + MS_PER_DAY, "valid_to_ms": now_ms + 30 * MS_PER_DAY}
    other = world.firm(9, **changes)
    signed = world.proposed()
    assert other not in {f"{BUREAU}/{each.hex()}" for each in signed.proposal.cohort}
    assert signed.proposal.plan.size == 5

    # A bank that puts it into its cohort all the same is refused by the bureau, with the code of a request.
    if changes.get("bank") is None:
        lying = including(world, signed, other)
        assert code_of(world.agreed, lying).startswith("consent.")
        assert world.bureau.all() == []


def including(world, signed, consent):
    """The bank's proposal of another cohort, signed."""
    plan = signed.proposal.plan
    cohort = sorted({*signed.proposal.cohort, bytes.fromhex(consent.partition("/")[2])})
    digest = digest_of_cohort(cohort, salt=plan.salt, suite=world.suite)
    changed = msgspec.structs.replace(plan, training=world.entropy(16), size=len(cohort), consents=digest)
    proposal = TrainingProposal(plan=changed, cohort=cohort)
    return type(signed)(proposal=proposal, transaction=world.bank._sign(changed))


def test_a_consent_that_ends_between_proposal_and_agreement_stops_it_and_is_seen_afterwards(world, firms):
    """[COHORT-5] [COHORT-6]"""
    signed = world.proposed()
    world.consents.relay(world.enterprise(1).revoke(firms[0], now_ms=world.clock.now_ms()).raw)
    assert code_of(world.agreed, signed) == "consent.revoked"
    # Until the bank knows that it was refused, a cohort of one firm less is too close to it.
    assert code_of(world.proposed) == "exchange.cohorts_too_close"
    world.bank.withdraw(signed.proposal.plan.name)
    agreed = world.proposed()
    world.agreed(agreed)
    world.bank.withdraw(agreed.proposal.plan.name)
    world.consents.relay(world.enterprise(2).revoke(firms[1], now_ms=world.clock.now_ms()).raw)
    assert [(each.size, each.ended, each.is_agreed) for each in world.bureau.all()] == [(4, 1, True)]
    assert [(each.size, each.is_agreed) for each in world.bank.all()] == [(4, True)]


def test_a_cohort_that_is_too_small_is_refused_by_each(world):
    """[COHORT-2]"""
    for number in (1, 2):
        world.firm(number)
    assert code_of(world.proposed) == "exchange.cohort_too_small"
    careless = world.side(BANK_A, least_firms=1)
    signed = world.proposed(side=careless)
    assert code_of(world.third.sign, signed.transaction, signed.proposal.plan) == "exchange.cohort_too_small"
    raw = TrainingThird(
        submitter=world.submitters[REGULATOR], key=world.signing[REGULATOR], suite=world.suite, least_firms=1
    ).sign(signed.transaction, signed.proposal.plan)
    assert code_of(world.bureau.agree, raw, signed.proposal) == "exchange.cohort_too_small"


def test_two_cohorts_that_differ_by_one_firm_tell_of_it_and_are_stopped(world, firms):
    """[COHORT-3]: differencing, against a bureau that compares none, and against one that does."""
    naive, careless = world.side(BUREAU, least_firms=1), world.side(BANK_A, least_firms=1)
    first = world.proposed(side=careless)
    world.agreed(first)
    victim = world.firm(6)
    second = world.proposed(side=careless)
    assert {*second.proposal.cohort} ^ {*first.proposal.cohort} == {bytes.fromhex(victim.partition("/")[2])}
    assert code_of(world.agreed, second) == "exchange.cohorts_too_close"
    assert code_of(world.proposed) == "exchange.cohorts_too_close"
    world.agreed(second, bureau=naive)


def test_the_same_cohort_again_and_one_that_differs_by_enough_are_agreed(world, firms):
    """[COHORT-3]"""
    for _ in range(2):
        world.agreed(world.proposed())
    for number in (6, 7, 8):
        world.firm(number)
    world.agreed(world.proposed())
    assert sorted(each.size for each in world.bureau.all()) == [5, 5, 8]


def test_a_renewed_consent_makes_no_other_firm_and_another_bank_is_another_pair(world, firms):
    """[COHORT-3]"""
    world.agreed(world.proposed())
    world.firm(1)
    world.agreed(world.proposed())
    for number in range(1, 5):
        world.firm(number, bank=BANK_B)
    world.agreed(world.proposed(side=world.other_bank))
    assert sorted(each.other for each in world.bureau.all()) == [BANK_A, BANK_A, BANK_B]


def test_a_proposal_that_ran_out_counts_no_more(world, firms):
    """[COHORT-3]"""
    world.proposed()
    world.firm(6)
    assert code_of(world.proposed) == "exchange.cohorts_too_close"
    world.clock.advance(2 * MS_PER_DAY)
    world.firm(7)
    world.agreed(world.proposed())
    assert [each.is_agreed for each in world.bank.all()] == [False, True]


def test_a_consent_is_good_for_as_many_trainings_as_its_frequency_says(world):
    """[COHORT-5]"""
    for number in range(1, 5):
        world.firm(number, frequency=Frequency(count=1, unit=FrequencyUnit.YEAR))
    signed = world.proposed()
    world.agreed(signed)
    assert code_of(world.proposed) == "exchange.cohort_too_small"
    again = including(world, signed, f"{BUREAU}/{signed.proposal.cohort[0].hex()}")
    assert code_of(world.agreed, again) == "exchange.frequency_exceeded"


def test_a_plan_that_is_not_what_was_signed_is_refused(world, firms):
    """[COHORT-4] [COHORT-5]"""
    signed = world.proposed()
    plan, cohort = signed.proposal.plan, signed.proposal.cohort
    other = msgspec.structs.replace(plan, period_to=date(2024, 6, 30))
    assert code_of(world.third.sign, signed.transaction, other) == "exchange.plan_differs"
    raw = world.third.sign(signed.transaction, plan)
    for wrong in (
        TrainingProposal(plan=other, cohort=cohort),
        TrainingProposal(plan=plan, cohort=cohort[1:]),
        TrainingProposal(plan=plan, cohort=[*cohort[1:], cohort[0]]),
    ):
        assert code_of(world.bureau.agree, raw, wrong) == "exchange.plan_differs"
    assert code_of(world.other_bank.agree, raw, signed.proposal) == "exchange.plan_differs"
    assert code_of(decode_proposal, b"\xa0") == "exchange.plan_malformed"
    # Two consents of one firm make it count twice.
    twice = including(world, signed, world.firm(1))
    assert code_of(world.agreed, twice) == "exchange.cohort_repeated"

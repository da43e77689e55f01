from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId, owned_id, split_owned_id
from shuiqiao.consent.artefact import commitment_of
from shuiqiao.consent.contract import (
    GRANT,
    KINDS,
    MAX_LEAD_MS,
    PAUSE,
    RESUME,
    REVOKE,
    ConsentGrantBody,
    ConsentPauseBody,
    ConsentResumeBody,
    ConsentRevokeBody,
    grant_body,
)
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.consent.model import Purpose, RevokeReason, Status
from shuiqiao.ledger.model import BlockContext
from shuiqiao.members.contract import ROTATE_KEY, MemberRotateKeyBody
from shuiqiao.members.model import KeyPurpose

OTHER_BUREAU = MemberId("other-bureau")
BUREAU, BANK_A, BANK_B, REGULATOR = (MemberId(name) for name in ("bureau", "bank-a", "bank-b", "regulator"))
NOW_MS = 1_800_000_000_000


def consent_key(world, consent, number=1):
    keys = EnterpriseKeys(bytes([number]) * 32, suite=world.suite)
    return keys.consent_key(split_owned_id(consent)[1], network=world.network)


def test_a_consent_lives_through_every_valid_step(world):
    """[CONSENT-6] [CONSENT-9]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    assert world.grant(consent).status is Status.ACTIVE
    pause = enterprise.pause(consent, now_ms=world.clock.now_ms())
    world.consents.relay(pause.raw)
    assert world.grant(consent).status is Status.PAUSED
    world.consents.relay(enterprise.resume(consent, pause=pause.id, now_ms=world.clock.now_ms()).raw)
    assert world.grant(consent).status is Status.ACTIVE
    world.consents.relay(enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
    assert world.grant(consent).status is Status.REVOKED


@pytest.mark.parametrize("relay", ["bank-a", "bank-b", "regulator", "bureau"])
def test_any_member_may_relay_what_the_consent_key_says(world, relay):
    """[CONSENT-10]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    statement = enterprise.revoke(consent, now_ms=world.clock.now_ms())
    world.submitters[MemberId(relay)].relay(statement.raw)
    assert world.grant(consent).status is Status.REVOKED


@pytest.mark.parametrize(
    ("now_ms", "hours"),
    [(0, 12), (MS_PER_HOUR, 12), (MS_PER_HOUR + 1, 24), (7 * MS_PER_HOUR, 24), (47 * MS_PER_HOUR, 60)],
)
def test_a_statement_is_good_for_half_a_day_or_more_and_does_not_say_when_it_was_signed(world, now_ms, hours):
    """[CONSENT-33]: at most 23 hours, so that a clock that runs a little ahead does not spoil it."""
    statement = world.enterprise().revoke(owned_id(BUREAU, bytes(16)), now_ms=now_ms)
    assert world.submitters[BUREAU].decode(statement.raw).valid_until_ms == hours * MS_PER_HOUR


def test_a_desk_relays_control_statements_and_nothing_else(world):
    enterprise = world.enterprise()
    world.enrol(enterprise)
    submission = enterprise.submission(world.terms(), now_ms=world.clock.now_ms())
    with pytest.raises(InvalidInput, match=r"^consent\.statement_wrong"):
        world.consents.relay(submission.grant)


def test_what_a_provider_says_of_a_lost_key_is_not_relayed(world):
    """The ledger would take it from anybody: a provider says it through its own service, no other does it for it."""
    consent = world.granted()
    body = ConsentRevokeBody(consent=consent, reason=RevokeReason.KEY_LOST)
    raw = world.signed(REVOKE, body, author=BUREAU, keys=[world.signing[BUREAU]])
    for relay in (world.consents.relay, world.files[MemberId("bank-a")].relay):
        with pytest.raises(InvalidInput, match=r"^consent\.statement_wrong.*consent\.revoke by bureau"):
            relay(raw)
    assert world.grant(consent).status is Status.ACTIVE
    world.submitters[BUREAU].relay(raw)
    assert world.grant(consent).status is Status.REVOKED


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PAUSE, lambda consent: ConsentPauseBody(consent=consent)),
        (RESUME, lambda consent: ConsentResumeBody(consent=consent, pause=bytes(16))),
        (REVOKE, lambda consent: ConsentRevokeBody(consent=consent, reason=RevokeReason.WITHDRAWN)),
    ],
)
@pytest.mark.parametrize("author", ["bureau", "bank-a"])
def test_no_member_can_speak_for_the_consent_key(world, kind, body, author):
    """[CONSENT-10] [CONSENT-11]: not the recipient, and not the provider either."""
    consent = world.granted()
    member = MemberId(author)
    for name, code in ((member, "author_wrong"), (MemberId(consent), "signature_missing")):
        raw = world.signed(kind, body(consent), author=name, keys=[world.signing[member]])
        with pytest.raises(Denied, match=rf"^ledger\.{code}"):
            world.submitters[member].relay(raw)
    assert world.grant(consent).status is Status.ACTIVE


def test_another_enterprise_cannot_revoke(world):
    consent = world.granted()
    body = ConsentRevokeBody(consent=consent, reason=RevokeReason.WITHDRAWN)
    raw = world.signed(REVOKE, body, author=MemberId(consent), keys=[consent_key(world, consent, number=2)])
    with pytest.raises(Denied, match=r"^ledger\.signature_missing"):
        world.submitters[BANK_A].relay(raw)


def test_the_provider_revokes_for_a_lost_key_and_no_other_member_does(world):
    """[CONSENT-11]"""
    consent = world.granted()
    with pytest.raises(Denied, match=r"^consent\.provider_wrong"):
        world.submitters[BANK_A].submit(REVOKE, ConsentRevokeBody(consent=consent, reason=RevokeReason.KEY_LOST))
    world.consents.revoke_for_lost_key(consent)
    assert world.grant(consent).status is Status.REVOKED


def test_a_resume_that_was_kept_back_cannot_lift_a_later_pause(world):
    """[CONSENT-10]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    now_ms = world.clock.now_ms()
    first, second = (enterprise.pause(consent, now_ms=now_ms) for _ in range(2))
    kept_back = enterprise.resume(consent, pause=first.id, now_ms=now_ms)
    world.consents.relay(first.raw)
    world.consents.relay(enterprise.resume(consent, pause=first.id, now_ms=now_ms).raw)
    world.consents.relay(second.raw)
    with pytest.raises(Conflict, match=r"^consent\.pause_superseded"):
        world.files[BANK_B].relay(kept_back.raw)
    assert world.grant(consent).status is Status.PAUSED


def test_revoked_is_final(world):
    """[CONSENT-9]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    world.consents.relay(enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
    for statement in (
        enterprise.pause(consent, now_ms=world.clock.now_ms()),
        enterprise.resume(consent, pause=bytes(16), now_ms=world.clock.now_ms()),
        enterprise.revoke(consent, now_ms=world.clock.now_ms()),
    ):
        with pytest.raises(Conflict, match=r"^consent\.step_invalid"):
            world.consents.relay(statement.raw)


def test_a_consent_ends_by_block_time_alone(world):
    """[CONSENT-9] [CONSENT-12]: expired is derived, and final."""
    enterprise = world.enterprise()
    # A window ends at a full hour, so the clock stands at one.
    world.clock.advance(-world.clock.now_ms() % MS_PER_HOUR)
    consent = world.granted(enterprise, valid_to_ms=world.clock.now_ms() + MS_PER_DAY)
    assert world.grant(consent).status_at(world.clock.now_ms() + MS_PER_DAY) is Status.ACTIVE
    world.clock.advance(MS_PER_DAY + 1)
    assert world.grant(consent).status is Status.ACTIVE
    assert world.grant(consent).status_at(world.clock.now_ms()) is Status.EXPIRED
    with pytest.raises(Conflict, match=r"^consent\.step_invalid.*expired"):
        world.consents.relay(enterprise.pause(consent, now_ms=world.clock.now_ms()).raw)


def test_the_provider_cannot_grant_alone(world):
    """[CONSENT-6] [CONSENT-11]: it can make a key of its own, but then no enterprise endorsed it; with one it needs both."""
    enterprise = world.enterprise()
    world.enrol(enterprise)
    submission = enterprise.submission(world.terms(), now_ms=world.clock.now_ms())
    body = world.submitters[BUREAU].decode(submission.grant).body
    with pytest.raises(Denied, match=r"^ledger\.signature_missing"):
        world.submitters[BUREAU].submit(GRANT, body)


def test_the_enterprise_cannot_grant_alone(world):
    """[CONSENT-6]"""
    enterprise = world.enterprise()
    submission = enterprise.submission(world.terms(), now_ms=world.clock.now_ms())
    with pytest.raises(Denied, match=r"^ledger\.signature_missing"):
        world.submitters[BUREAU].relay(submission.grant)


def test_a_bank_cannot_be_provider_nor_a_regulator_recipient(world):
    """[CONSENT-6]"""
    enterprise = world.enterprise()
    now_ms = world.clock.now_ms()
    by_bank = enterprise.submission(world.terms(provider=BANK_B), now_ms=now_ms)
    with pytest.raises(Denied, match=r"^members\.role_wrong"):
        world.submitters[BANK_B].countersign(by_bank.grant)
    to_regulator = enterprise.submission(world.terms(recipient=REGULATOR), now_ms=now_ms)
    with pytest.raises(Denied, match=r"^members\.role_wrong"):
        world.submitters[BUREAU].countersign(to_regulator.grant)
    to_stranger = enterprise.submission(world.terms(recipient=MemberId("bank-z")), now_ms=now_ms)
    with pytest.raises(Denied, match=r"^members\.unknown"):
        world.submitters[BUREAU].countersign(to_stranger.grant)


def test_another_provider_cannot_countersign_a_grant_that_names_the_bureau(world):
    submission = world.enterprise().submission(world.terms(), now_ms=world.clock.now_ms())
    tx = world.submitters[BANK_A].decode(submission.grant)
    keys = [world.signing[BANK_A], consent_key(world, owned_id(BUREAU, tx.body.consent))]
    raw = world.signed(GRANT, tx.body, author=BANK_A, keys=keys)
    with pytest.raises(Denied, match=r"^consent\.provider_wrong"):
        world.submitters[BANK_A].relay(raw)


def test_consent_id_and_consent_key_are_used_once(world):
    """[CONSENT-13]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    decoded = map(world.submitters[BUREAU].decode, world.raw_transactions())
    tx = next(tx for tx in decoded if tx.kind == GRANT and owned_id(BUREAU, tx.body.consent) == consent)
    keys = [world.signing[BUREAU], consent_key(world, consent)]
    with pytest.raises(Conflict, match=r"^consent\.already_granted"):
        world.submitters[BUREAU].relay(world.signed(GRANT, tx.body, author=BUREAU, keys=keys))
    other = type(tx.body)(
        **{field: getattr(tx.body, field) for field in tx.body.__struct_fields__} | {"consent": bytes(16)}
    )
    with pytest.raises(Conflict, match=r"^consent\.key_reused"):
        world.submitters[BUREAU].relay(world.signed(GRANT, other, author=BUREAU, keys=keys))


@pytest.mark.parametrize(
    ("purpose", "owner"),
    [("signing", "bureau"), ("signing", "bank-a"), ("signing", "regulator"), ("sealing", "bureau")],
)
def test_no_member_has_the_key_of_a_consent(world, owner, purpose):
    """[CONSENT-13]: with a key of a member that member alone, or the provider itself, would speak for the enterprise."""
    held = getattr(world, purpose)[MemberId(owner)]
    if purpose == "sealing" and world.suite.name == "intl":
        held = world.suite.signing_key_from_seed(world.suite.digest(owner.encode()))
    submission = world.enterprise().submission(world.terms(), now_ms=world.clock.now_ms())
    body = msgspec.structs.replace(world.submitters[BUREAU].decode(submission.grant).body, key=held.public_key)
    keys = {key.key_id: key for key in (world.signing[BUREAU], world.signing[MemberId(owner)])}
    raw = world.signed(GRANT, body, author=BUREAU, keys=list(keys.values()))
    kind = next(kind for kind in KINDS if kind.name == GRANT)
    now = BlockContext(height=1, time_ms=world.clock.now_ms())
    with pytest.raises(Denied, match=rf"^consent\.key_of_member.*{owner}"):
        kind.check(world.submitters[BUREAU].decode(raw), world.ledger.state(), now)


def test_who_names_a_consents_key_as_its_sealing_key_keeps_it_from_nobody(world):
    """[CONSENT-13]: a sealing key may be anybody's, and naming one needs no proof of having it."""
    enterprise = world.enterprise()
    world.enrol(enterprise)
    submission = enterprise.submission(world.terms(), now_ms=world.clock.now_ms())
    key = world.submitters[BUREAU].decode(submission.grant).body.key
    body = MemberRotateKeyBody(purpose=KeyPurpose.SEALING, new_key=key, proof=b"")
    world.submitters[BANK_A].submit(ROTATE_KEY, body)
    assert world.grant(world.consents.receive(submission).artefact.name).status == Status.ACTIVE


def test_the_key_of_a_consent_becomes_no_members(world):
    """[CONSENT-13]: not afterwards either, though its holder signs the rotation with it."""
    key = consent_key(world, world.granted())
    body = MemberRotateKeyBody(purpose=KeyPurpose.SIGNING, new_key=key.public_key, proof=b"")
    with pytest.raises(Conflict, match=r"^members\.key_of_consent"):
        world.submitters[BANK_A].submit(ROTATE_KEY, body, extra_keys=(key,))


def test_a_consent_id_belongs_to_its_provider(world):
    """[CONSENT-13]: another bureau that grants under the same id first takes nothing, and speaks for its own alone."""
    enterprise, other = world.enterprise(), world.enterprise(2)
    world.enrol(enterprise)
    now_ms = world.clock.now_ms()
    submission = enterprise.submission(world.terms(), now_ms=now_ms)
    body = world.submitters[BUREAU].decode(submission.grant).body
    stolen = owned_id(OTHER_BUREAU, body.consent)
    key = consent_key(world, stolen, number=2)
    copy = msgspec.structs.replace(body, provider=OTHER_BUREAU, key=key.public_key)
    world.submitters[OTHER_BUREAU].submit(GRANT, copy, extra_keys=[key])
    consent = world.consents.receive(submission).artefact.name
    assert world.files[BANK_A].receive(submission.artefact).name == consent
    world.files[BANK_A].relay(other.pause(stolen, now_ms=now_ms).raw)
    assert (world.grant(stolen).status, world.grant(consent).status) == (Status.PAUSED, Status.ACTIVE)
    raw = world.signed(PAUSE, ConsentPauseBody(consent=consent), author=MemberId(stolen), keys=[key])
    with pytest.raises(Denied, match=r"^ledger\.author_wrong"):
        world.submitters[BUREAU].relay(raw)


def test_a_relayed_pause_uses_up_no_members_transaction_id(world):
    """[LEDGER-REPLAY-2]: whoever holds a consent cannot block what another member is about to say."""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    pending = world.signed(
        REVOKE,
        ConsentRevokeBody(consent=world.granted(), reason=RevokeReason.KEY_LOST),
        author=BUREAU,
        keys=[world.signing[BUREAU]],
    )
    taken = world.submitters[BUREAU].decode(pending).id
    key, body = consent_key(world, consent), ConsentPauseBody(consent=consent)
    naming = world.signed(PAUSE, body, author=BUREAU, keys=[key], id=taken)
    with pytest.raises(Denied, match=r"^ledger\.author_wrong"):
        world.submitters[BANK_B].relay(naming)
    world.submitters[BANK_B].relay(world.signed(PAUSE, body, author=MemberId(consent), keys=[key], id=taken))
    world.submitters[BUREAU].relay(pending)


def test_a_grant_uses_up_no_transaction_id_that_its_provider_chose(world):
    """[CONSENT-15]: the provider is its author, and the enterprise writes it down."""
    enterprise = world.enterprise()
    world.enrol(enterprise)
    submission = enterprise.submission(world.terms(), now_ms=world.clock.now_ms())
    tx = world.submitters[BUREAU].decode(submission.grant)
    key = consent_key(world, owned_id(BUREAU, tx.body.consent))
    taken = world.signed(GRANT, tx.body, author=BUREAU, keys=[key], id=bytes(16))
    with pytest.raises(InvalidInput, match=r"^consent\.grant_mismatch"):
        world.consents.receive(replace(submission, grant=taken))
    same = world.signed(GRANT, tx.body, author=BUREAU, keys=[key], id=tx.id)
    assert world.consents.receive(replace(submission, grant=same)).artefact.consent == tx.body.consent


@pytest.mark.parametrize(
    ("window", "code"),
    [
        (lambda now: (now - 10 * MS_PER_DAY, now), "consent.window_invalid"),
        (lambda now: (now + MAX_LEAD_MS + MS_PER_DAY, now + MAX_LEAD_MS + 2 * MS_PER_DAY), "consent.window_too_early"),
        (lambda now: (now, now + 180 * MS_PER_DAY + 1), "consent.ceiling_exceeded"),
    ],
)
def test_the_ledger_bounds_the_window(world, window, code):
    """[CONSENT-7]: whatever enterprise and bureau agree on."""
    valid_from_ms, valid_to_ms = window(world.clock.now_ms())
    terms = world.terms(valid_from_ms=valid_from_ms, valid_to_ms=valid_to_ms)
    submission = world.enterprise().submission(terms, now_ms=world.clock.now_ms())
    with pytest.raises((Denied, InvalidInput)) as refusal:
        world.submitters[BUREAU].countersign(submission.grant)
    assert refusal.value.code == code


@pytest.mark.parametrize("field", ["valid_from_ms", "valid_to_ms"])
def test_a_window_that_marks_its_consent_is_refused(world, field):
    """[CONSENT-7]: an end that is no full hour would be as good as a serial number."""
    submission = world.enterprise().submission(world.terms(), now_ms=world.clock.now_ms())
    body = world.submitters[BUREAU].decode(submission.grant).body
    uneven = msgspec.structs.replace(body, **{field: getattr(body, field) + 1})
    keys = [world.signing[BUREAU], consent_key(world, owned_id(BUREAU, body.consent))]
    with pytest.raises(InvalidInput, match=r"^consent\.window_uneven"):
        world.submitters[BUREAU].relay(world.signed(GRANT, uneven, author=BUREAU, keys=keys))


def test_windows_of_one_hour_look_alike_on_the_ledger(world):
    """[CONSENT-7]: who knows when an enterprise signed finds no consent by it."""
    windows = set()
    for _ in range(5):
        world.clock.advance(61_003)
        found = world.grant(world.granted())
        windows.add((found.valid_from_ms, found.valid_to_ms))
    assert len(windows) == 1


LEAD_HOURS = 90 * 24
LONGEST_HOURS = 180 * 24


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "late_ms", "code"),
    [
        (0, 0, 0, "consent.window_invalid"),
        (1, 0, 0, "consent.window_invalid"),
        (0, 1, 0, None),
        (-1, 0, 0, "consent.window_invalid"),
        (-1, 0, -1, None),
        (-2, -1, 0, "consent.window_invalid"),
        (LEAD_HOURS, LEAD_HOURS + 1, 0, None),
        (LEAD_HOURS, LEAD_HOURS + 1, -1, "consent.window_too_early"),
        (LEAD_HOURS, LEAD_HOURS, 0, "consent.window_invalid"),
        (LEAD_HOURS + 1, LEAD_HOURS + 2, 0, "consent.window_too_early"),
        (1, 1 + LONGEST_HOURS, 0, None),
        (0, 1 + LONGEST_HOURS, 0, "consent.ceiling_exceeded"),
    ],
)
def test_the_edges_of_a_window_belong_where_the_rule_says(world, valid_from, valid_to, late_ms, code):
    """[CONSENT-7]: in hours from a full one, at which the block is late_ms late; an empty window is none."""
    own = world.suite.signing_key_from_seed(world.entropy(32))
    body = ConsentGrantBody(
        consent=world.entropy(16),
        provider=BUREAU,
        recipient=BANK_A,
        purpose=Purpose.UNDERWRITING,
        valid_from_ms=NOW_MS + valid_from * MS_PER_HOUR,
        valid_to_ms=NOW_MS + valid_to * MS_PER_HOUR,
        key=own.public_key,
        commitment=bytes(32),
    )
    raw = world.signed(GRANT, body, author=BUREAU, keys=[world.signing[BUREAU], own])
    kind = next(kind for kind in KINDS if kind.name == GRANT)
    now = BlockContext(height=1, time_ms=NOW_MS + late_ms)
    acts = (world.submitters[BUREAU].decode(raw), world.ledger.state(), now)
    if code is None:
        assert kind.check(*acts) is None
        return
    with pytest.raises((Denied, InvalidInput)) as refusal:
        kind.check(*acts)
    assert refusal.value.code == code


def test_a_statement_for_a_consent_nobody_granted_is_refused(world):
    statement = world.enterprise().revoke(owned_id(BUREAU, bytes(16)), now_ms=world.clock.now_ms())
    with pytest.raises(Denied, match=r"^consent\.unknown"):
        world.consents.relay(statement.raw)


def test_a_broken_signature_of_the_consent_key_is_refused(world):
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    raw = bytearray(enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
    raw[-1] ^= 1
    with pytest.raises(IntegrityError, match=r"^ledger\.signature_invalid"):
        world.submitters[BUREAU].relay(bytes(raw))


def test_the_commitment_on_the_ledger_is_the_salted_hash_of_the_artefact(world):
    """[CONSENT-4]"""
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    artefact = world.consents.artefact(consent)
    stored = world.consents._store.artefact(consent).raw
    expected = world.suite.digest(b"shuiqiao/consent/commitment/1\x00" + artefact.salt + stored)
    assert expected == world.grant(consent).commitment
    assert expected == commitment_of(stored, salt=artefact.salt, suite=world.suite)
    assert grant_body(artefact, commitment=expected).purpose is Purpose.UNDERWRITING


def test_subscribers_are_told_of_every_step(world):
    told = []
    world.ledger.subscribe(
        lambda _block, events: told.extend((event.name, event.attributes["consent"]) for event in events)
    )
    enterprise = world.enterprise()
    consent = world.granted(enterprise)
    pause = enterprise.pause(consent, now_ms=world.clock.now_ms())
    for statement in (
        pause,
        enterprise.resume(consent, pause=pause.id, now_ms=world.clock.now_ms()),
        enterprise.revoke(consent, now_ms=world.clock.now_ms()),
    ):
        world.consents.relay(statement.raw)
    # The listener is called after the caller is answered: one more block makes sure that all before it was told.
    world.granted(enterprise)
    expected = ["consent.granted", "consent.paused", "consent.resumed", "consent.revoked"]
    assert [name for name, named in told if named == consent] == expected

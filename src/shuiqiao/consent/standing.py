"""Whether a consent stands, beyond what the ledger says of it alone: renewal 续期 and joint consent 共同授权.

The ledger says whether one consent is active, and never that two belong together: that would link them [CONSENT-14].
So bureau and bank, who hold the artefacts, ask this of them at each request:

- a consent that was renewed ends at the moment its renewal begins, whatever becomes of that one later [CONSENT-26];
- a consent that two enterprises give together is good only while data may flow under both [CONSENT-27];
- a consent that a former legal representative gave waits until the new one renews it [CONSENT-31].

Pure: the artefacts and the state are handed in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import ID_BYTES, OwnedId, owned_id
from shuiqiao.consent.model import (
    ConsentArtefact,
    Fetch,
    Grant,
    JointConsent,
    JointRole,
    grant_from_state,
    grant_key,
    verify_usable,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.model import StateView

_JOINT = b"shuiqiao/consent/joint/1\x00"

_OTHER_ROLE = {JointRole.BORROWER: JointRole.GUARANTOR, JointRole.GUARANTOR: JointRole.BORROWER}


def joint_consent_id(joint: bytes, role: JointRole, *, suite: CipherSuite) -> bytes:
    """Return the id of the consent that one of the two gives [CONSENT-27].

    joint: 16 random bytes that both enterprises know, and nobody else but their bureaus and their bank. So each
    artefact names the other consent before there is one, and no reader of the ledger tells that they belong together.
    """
    return suite.digest(_JOINT + joint + role.encode())[:ID_BYTES]


def other_consent(joint: JointConsent, *, suite: CipherSuite) -> OwnedId:
    """Return what the ledger knows the other of two joint consents by."""
    return owned_id(joint.other_provider, joint_consent_id(joint.id, _OTHER_ROLE[joint.role], suite=suite))


def verify_binding(artefact: ConsentArtefact, *, suite: CipherSuite) -> None:
    """Return if what an artefact says of other consents fits itself; raises InvalidInput ``consent.artefact_invalid``.

    [CONSENT-25] once means one answer, [CONSENT-26] nothing renews itself, [CONSENT-27] a joint consent has its id.
    """
    if artefact.fetch is Fetch.ONE_TIME and artefact.frequency.count != 1:
        raise _invalid(f"it is good for one answer, and {artefact.frequency.count} may be given")
    if artefact.renews == artefact.consent:
        raise _invalid(f"consent {artefact.consent.hex()} renews itself")
    joint = artefact.joint
    if joint is not None and artefact.consent != joint_consent_id(joint.id, joint.role, suite=suite):
        raise _invalid(f"{artefact.consent.hex()} is not the id of the {joint.role} in joint consent {joint.id.hex()}")


def verify_renewal(artefact: ConsentArtefact, before: ConsentArtefact | None, *, renewals: Iterable[bytes]) -> None:
    """Return if a consent may take the place of the one before [CONSENT-26].

    before: the artefact that it names, as it is on file; renewals: ids of the granted ones that name it already. Raises
    Denied ``consent.renewal_wrong``.
    """
    fields = ("taxpayer", "provider", "recipient", "purpose")
    if before is None or any(getattr(before, name) != getattr(artefact, name) for name in fields):
        raise _wrong_renewal(artefact, "no consent of this taxpayer to this bank for this purpose")
    if set(renewals) - {artefact.consent}:
        raise _wrong_renewal(artefact, "renewed already")


def verify_joint(artefact: ConsentArtefact, other: ConsentArtefact) -> None:
    """Return if two artefacts can stand together [CONSENT-27]; raises Denied ``consent.joint_wrong``."""
    fields = ("recipient", "purpose", "product")
    differing = [name for name in fields if getattr(artefact, name) != getattr(other, name)]
    if differing or artefact.taxpayer == other.taxpayer:
        what = ", ".join(differing) or "nothing, and both are of one taxpayer"
        raise Denied("consent.joint_wrong", f"consents {artefact.name} and {other.name} differ in {what}")


def verify_representative(artefact: ConsentArtefact, *, since_ms: int | None) -> None:
    """Return if a consent rests on a check of who represents the enterprise today [CONSENT-31].

    since_ms: when the representative of today was first identified, None where no change is known. Raises Denied
    ``consent.representative_changed``.
    """
    if since_ms is not None and artefact.identity_check.checked_ms < since_ms:
        raise Denied(
            "consent.representative_changed",
            f"consent {artefact.name} was given by a legal representative who was identified at "
            f"{artefact.identity_check.checked_ms} ms; since {since_ms} ms the enterprise has another one",
        )


def verify_standing(
    artefact: ConsentArtefact,
    filed: Iterable[ConsentArtefact],
    *,
    state: StateView,
    now_ms: int,
    suite: CipherSuite,
) -> None:
    """Return if a consent stands now beside the others; what the ledger says of it alone is ``verify_usable``.

    filed: the same taxpayer's artefacts on file here that name this one, or more of them. Raises Denied
    ``consent.renewed``, ``consent.joint_incomplete``.
    """
    for other in filed:
        is_renewal = other.renews == artefact.consent and other.provider == artefact.provider
        if is_renewal and other.valid_from_ms <= now_ms and state.get(grant_key(other.name)) is not None:
            raise Denied(
                "consent.renewed",
                f"consent {artefact.name} ended when consent {other.name} took its place, at {other.valid_from_ms} ms",
            )
    if artefact.joint is not None:
        _verify_other(artefact, other_consent(artefact.joint, suite=suite), state=state, now_ms=now_ms)


def _verify_other(artefact: ConsentArtefact, name: OwnedId, *, state: StateView, now_ms: int) -> None:
    try:
        other: Grant = grant_from_state(name, state.get(grant_key(name)))
        verify_usable(other, now_ms=now_ms)
    except Denied as error:
        raise Denied(
            "consent.joint_incomplete", f"consent {artefact.name} is good together with {name} alone: {error.message}"
        ) from error
    if (other.recipient, other.purpose) != (artefact.recipient, artefact.purpose):
        raise Denied(
            "consent.joint_incomplete",
            f"consent {name} is to {other.recipient} for {other.purpose}, and {artefact.name} is to "
            f"{artefact.recipient} for {artefact.purpose}",
        )


def _wrong_renewal(artefact: ConsentArtefact, what: str) -> Denied:
    before = b"" if artefact.renews is None else artefact.renews
    return Denied("consent.renewal_wrong", f"consent {artefact.name} renews {before.hex()}, which is {what}")


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("consent.artefact_invalid", message)

"""Maker and checker: propose an act, see what waits for me, approve its digest or reject it; then it is carried out.

1. a maker proposes the exact bytes of a registered act;
2. another person approves their digest, which they name themselves, or rejects it, within a week;
3. whoever registered the act carries those bytes out, once; after a crash it is taken up again. Nobody takes up what
   is being carried out, however long that lasts: acts need the ledger of the home, which one process has open at a
   time [STORE-3], and in that process one thread has an act;
4. what it returned, or what refused it, is kept with it.

Never the same user: not under another name, and not through a program that the user answers for. Makers and checkers
are told apart by ids, which never change. A program checks nothing. Each step is an entry of the journal in one
transaction with what it changes. LIMIT: a person who was given two accounts is two users here; who manages users gives
each person one.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import new_id
from shuiqiao.ledger.log.tree import hash_function
from shuiqiao.node.accounts.approvals.model import (
    MAX_REASON_CHARACTERS,
    MAX_WAITING,
    WAITING_MS,
    Approval,
    ApprovalState,
    ApprovedAct,
    RegisteredAct,
    decode_body,
    encode_body,
)
from shuiqiao.node.accounts.approvals.store import ID_CHARACTERS
from shuiqiao.node.accounts.model import ActName, PrincipalKind, act_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import msgspec
    from sqlalchemy import Connection

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.node.accounts.approvals.store import ApprovalStore
    from shuiqiao.node.accounts.journal.service import Journal
    from shuiqiao.node.accounts.model import ActRule, Permission, Principal

_LOOK_AGAIN_S: Final = 10.0
"""When to ask again what became of an act that is being carried out, in seconds."""

_CARRIED_OUT: Final = frozenset({ApprovalState.DONE, ApprovalState.FAILED})
_MAX_OUTCOME_CHARACTERS: Final = 8192
_BEGINNING: Final = re.compile(rf"[0-9a-f]{{4,{ID_CHARACTERS}}}")
"""Of an act's id, as people name it."""
_MAX_MS_DIGITS: Final = 15


class ApprovalService:
    """Acts of two people at one institution.

    ::

        proposed = approvals.propose(maker, ActName.FREEZE, body)
        done = approvals.approve(checker, proposed["approval"], digest=proposed["digest"])
        assert done["state"] == "done"
    """

    def __init__(
        self,
        store: ApprovalStore,
        *,
        journal: Journal,
        acts: Iterable[RegisteredAct[Any]],
        clock: Clock,
        entropy: Entropy,
        hash_name: str,
        height: Callable[[], int],
        name_of: Callable[[str], str],
        permissions_of: Callable[[str], Collection[Permission] | None],
    ) -> None:
        """acts: what can be carried out here. height: of the newest block. name_of: of a user or program by its id.

        permissions_of: what that one may do today, None for who has no account here.
        """
        self._store = store
        self._journal = journal
        self._acts = {act.name: act for act in acts}
        self._clock = clock
        self._entropy = entropy
        self._digest = hash_function(hash_name)
        self._height = height
        self._name_of = name_of
        self._permissions_of = permissions_of
        self._at_work = set[str]()
        self._taking = threading.Lock()

    def propose(
        self, by: Principal, name: ActName, body: msgspec.Struct, *, request: str = "", act: bytes = b""
    ) -> dict[str, Any]:
        """Put an act before a second person; return it as a JSON object, with the digest of its exact bytes.

        act: its id, so that the same request proposes it once however often it is sent; empty for a fresh one.

        Raises Denied ``node.permission_missing``, Unavailable ``node.act_unregistered``, InvalidInput
        ``node.act_invalid``, Conflict ``node.approval_repeated`` for the same bytes while they wait,
        ``node.approval_contradicts`` for others about what is decided once, Unavailable ``node.approvals_full``.
        """
        registered = self._registered(name)
        by.require(act_rules()[name].make)
        raw, now_ms = encode_body(body), self._clock.now_ms()
        decode_body(raw, registered.body)
        approval = Approval(
            id=(act or new_id(self._entropy)).hex(),
            act=str(name),
            digest=self._digest(f"{name}\0".encode() + raw),
            body=raw,
            maker_kind=str(by.kind),
            maker=by.id,
            maker_person=by.person,
            proposed_ms=now_ms,
            until_ms=now_ms + WAITING_MS,
            state=ApprovalState.WAITING,
            checker="",
            decided_ms=0,
            reason="",
            height=0,
            outcome="",
        )
        self._store.expire(now_ms=now_ms)
        if (before := self._store.approval(approval.id)) is not None:
            if (before.digest, before.maker) != (approval.digest, approval.maker):
                raise Conflict("node.approval_repeated", f"another act was proposed as {before.id}")
            return self._row(before)
        with self._store.begin() as connection:
            # The entry first: it locks the journal, so that the same bytes are not proposed twice at once.
            self._journal.append(connection, by, act="approvals.propose", subject=_subject(approval), request=request)
            if (same := self._store.waiting_with(connection, approval.digest)) is not None:
                raise Conflict("node.approval_repeated", f"{name} of these very bytes waits already as {same}")
            self._require_alone(connection, registered, body)
            if self._store.count_waiting(connection) >= MAX_WAITING:
                raise Unavailable("node.approvals_full", f"{MAX_WAITING} acts wait for a checker")
            self._store.add(connection, approval)
        return self._row(approval)

    def _require_alone(self, connection: Connection, act: RegisteredAct[Any], body: msgspec.Struct) -> None:
        """Return unless another act about the same waits, where of such acts one alone may."""
        if act.about is None:
            return
        about = act.about(body)
        for other in self._store.waiting_acts(connection, act.name):
            if act.about(decode_body(other.body, act.body)) == about:
                raise Conflict(
                    "node.approval_contradicts",
                    f"{self._name_of(other.maker)} proposed another {act.name} on {about} already, which waits as "
                    f"{other.id}",
                )

    def page(
        self, by: Principal, *, only_for_me: bool = False, after: str | None = None, at_most: int = 200
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Return acts that the caller may make or check as JSON objects, the newest first, and where the list goes on.

        only_for_me: what waits, was not made by the caller's person, and which the caller may check. after: where the
        page before says that the list goes on. Of others' acts not even how many there are is told.
        """
        self._store.expire(now_ms=self._clock.now_ms())
        found = self._store.in_states(
            [ApprovalState.WAITING] if only_for_me else [*ApprovalState],
            at_most=at_most + 1,
            after=_place_of(after),
            acts=[name for name, rule in act_rules().items() if _concerns(by, rule, only_for_me=only_for_me)],
            of_person="" if only_for_me else by.person,
            but_person=by.person if only_for_me else "",
        )
        shown = found[:at_most]
        following = _cursor_of(shown[-1]) if len(found) > at_most else None
        return [self._row(each) for each in shown], following

    def row(self, by: Principal, identifier: str) -> dict[str, Any]:
        """Return one act; raises InvalidInput ``node.approval_unknown`` also for one that the caller may not see."""
        found = self._found(identifier)
        if not _is_seen_by(by, found):
            raise _unknown(identifier)
        return self._row(found)

    def approve(self, by: Principal, identifier: str, *, digest: str, request: str = "") -> dict[str, Any]:
        """Approve an act by the digest of its bytes and carry it out; return what became of it.

        digest: in hex, as the checker saw it. The same checker once more is told what became of it, which an answer
        that was lost would have told. Raises Denied ``node.permission_missing``, ``node.same_person``,
        ``node.maker_gone``, InvalidInput ``node.approval_unknown``, Conflict ``node.digest_differs``,
        ``node.approval_closed``; Unavailable where it could not be carried out now: it is taken up again. What refuses
        the act itself is its outcome.
        """
        before = self._found(identifier)
        if (before.checker, before.digest.hex()) == (by.id, digest):
            if before.state is ApprovalState.APPROVED:
                return self._carry_out(before.id)
            if before.state in _CARRIED_OUT:
                return self._row(before)
        approval = self._require_checker(by, identifier)
        if digest != approval.digest.hex():
            raise Conflict(
                "node.digest_differs",
                f"digest {digest[:64]} is approved where act {approval.id} has {approval.digest.hex()}",
            )
        self._registered(ActName(approval.act))
        self._require_maker(approval)
        self._close(
            by, approval, "approvals.approve", request=request, state=ApprovalState.APPROVED, height=self._height()
        )
        return self._carry_out(approval.id)

    def reject(self, by: Principal, identifier: str, *, reason: str, request: str = "") -> dict[str, Any]:
        """Refuse an act, for good; its maker may withdraw it so as well. Raises as ``approve`` does."""
        if len(reason) > MAX_REASON_CHARACTERS:
            raise InvalidInput(
                "node.act_invalid", f"a reason of {len(reason)} characters where {MAX_REASON_CHARACTERS} are allowed"
            )
        approval = self._found(identifier)
        if by.person != approval.maker_person or by.kind is PrincipalKind.MACHINE:
            approval = self._require_checker(by, identifier)
        self._close(by, approval, "approvals.reject", request=request, state=ApprovalState.REJECTED, reason=reason)
        return self._row(self._found(identifier))

    def resume(self) -> list[dict[str, Any]]:
        """Carry out what was approved and not finished, e.g. after a crash; return what became of each act.

        What nobody foresaw of one is raised once all others were taken up: that one stays approved.
        """
        resumed: list[dict[str, Any]] = []
        broken: Exception | None = None
        for approval in self._store.in_states([ApprovalState.APPROVED], at_most=MAX_WAITING):
            try:
                resumed.append(self._carry_out(approval.id))
            except Unavailable:
                # Somebody else has it, or what it needs is away: it stays approved.
                resumed.append(self._row(self._found(approval.id)))
            except Exception as error:  # noqa: BLE001 - raised below
                broken = broken or error
        if broken is not None:
            raise broken
        return resumed

    def _carry_out(self, identifier: str) -> dict[str, Any]:
        with self._taken(identifier):
            approval = self._found(identifier)
            if approval.state is not ApprovalState.APPROVED:
                # Another thread finished it a moment ago.
                return self._row(approval)
            act = self._registered(ActName(approval.act))
            try:
                body = decode_body(approval.body, act.body)
                approved = ApprovedAct(
                    id=approval.id, body=body, height=approval.height, maker=approval.maker, checker=approval.checker
                )
                outcome = act.execute(approved)
            except Unavailable:
                raise
            except ShuiqiaoError as error:
                return self._finish(approval, ApprovalState.FAILED, error.as_dict())
            return self._finish(approval, ApprovalState.DONE, outcome)

    @contextmanager
    def _taken(self, identifier: str) -> Generator[None]:
        """Have an act for oneself inside; raises Unavailable ``node.act_taken`` while another thread has it."""
        with self._taking:
            if identifier in self._at_work:
                raise Unavailable(
                    "node.act_taken", f"act {identifier} is being carried out now", retry_after_s=_LOOK_AGAIN_S
                )
            self._at_work.add(identifier)
        try:
            yield
        finally:
            self._at_work.discard(identifier)

    def _finish(self, approval: Approval, state: ApprovalState, outcome: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(outcome, default=str, ensure_ascii=False)
        if len(text) > _MAX_OUTCOME_CHARACTERS:
            text = json.dumps({"is_left_out": f"{len(text)} characters"})
        with self._store.begin() as connection:
            self._store.change(connection, approval.id, seen=ApprovalState.APPROVED, state=str(state), outcome=text)
        return self._row(self._found(approval.id))

    def _close(self, by: Principal, approval: Approval, step: str, *, request: str, **values: Any) -> None:
        """Decide on what waits, with its entry; raises Conflict ``node.approval_closed``."""
        decided = {"checker": by.id, "decided_ms": self._clock.now_ms(), **values, "state": str(values["state"])}
        with self._store.begin() as connection:
            is_first = self._store.change(connection, approval.id, seen=ApprovalState.WAITING, **decided)
            if not is_first:
                raise _closed(approval.id, "was decided by another")
            self._journal.append(connection, by, act=step, subject=_subject(approval), request=request)

    def _require_checker(self, by: Principal, identifier: str) -> Approval:
        self._store.expire(now_ms=self._clock.now_ms())
        approval = self._found(identifier)
        if not _is_seen_by(by, approval):
            raise _unknown(identifier)
        by.require(act_rules()[ActName(approval.act)].check)
        if by.kind is not PrincipalKind.USER or by.person == approval.maker_person:
            raise Denied(
                "node.same_person", f"act {approval.id} was made by you or in your name: another person decides on it"
            )
        if approval.state is not ApprovalState.WAITING:
            raise _closed(approval.id, f"is {approval.state}")
        return approval

    def _require_maker(self, approval: Approval) -> None:
        """Return if whoever proposed an act might propose it today: an account can have ended since, or a role."""
        permissions = self._permissions_of(approval.maker)
        if permissions is not None and act_rules()[ActName(approval.act)].make not in permissions:
            raise Denied(
                "node.maker_gone",
                f"{self._name_of(approval.maker)}, who proposed act {approval.id}, may not propose it any more",
            )

    def _registered(self, name: ActName) -> RegisteredAct[Any]:
        act = self._acts.get(name)
        if act is None:
            raise Unavailable("node.act_unregistered", f"nobody here carries out {name}")
        return act

    def _found(self, identifier: str) -> Approval:
        found = self._store.approval(identifier) if _BEGINNING.fullmatch(identifier) else None
        if found is None:
            raise _unknown(identifier)
        return found

    def _row(self, approval: Approval) -> dict[str, Any]:
        """Return an act as a JSON object. what: the body in words, as whoever carries it out understands it."""
        act = self._acts.get(ActName(approval.act))
        return {
            "approval": approval.id,
            "act": approval.act,
            "digest": approval.digest.hex(),
            "what": {} if act is None else dict(act.describe(decode_body(approval.body, act.body))),
            "state": str(approval.state),
            "maker": approval.maker,
            "maker_name": self._name_of(approval.maker),
            "proposed": iso_from_ms(approval.proposed_ms),
            "until": iso_from_ms(approval.until_ms),
            "checker": approval.checker,
            "checker_name": self._name_of(approval.checker) if approval.checker else "",
            "decided": iso_from_ms(approval.decided_ms) if approval.decided_ms else "",
            "reason": approval.reason,
            "outcome": json.loads(approval.outcome) if approval.outcome else {},
        }


def _cursor_of(approval: Approval) -> str:
    return f"{approval.proposed_ms}.{approval.id}"


def _place_of(cursor: str | None) -> tuple[int, str] | None:
    """Return when the act at a cursor was proposed, and its id; of any other text the beginning of the list."""
    proposed, _, identifier = (cursor or "").partition(".")
    is_place = proposed.isascii() and proposed.isdigit() and len(proposed) <= _MAX_MS_DIGITS
    return (int(proposed), identifier) if is_place else None


def _is_seen_by(by: Principal, approval: Approval) -> bool:
    rule = act_rules()[ActName(approval.act)]
    return _concerns(by, rule, only_for_me=False) or by.person == approval.maker_person


def _concerns(by: Principal, rule: ActRule, *, only_for_me: bool) -> bool:
    """Tell whether a caller may check acts of a kind, or may make them where not only what it checks is meant."""
    if only_for_me:
        return by.may(rule.check) and by.kind is PrincipalKind.USER
    return by.may(rule.make) or by.may(rule.check)


def _subject(approval: Approval) -> str:
    return f"approval/{approval.id}/{approval.act}"


def _unknown(identifier: str) -> InvalidInput:
    return InvalidInput("node.approval_unknown", f"there is no act {identifier[:ID_CHARACTERS]!r} that you may see")


def _closed(identifier: str, how: str) -> Conflict:
    return Conflict("node.approval_closed", f"act {identifier} {how}; it is decided once")

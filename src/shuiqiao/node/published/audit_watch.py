"""Keeps a standing audit going: round after round, through outages, until something contradicts itself.

A round that failed is asked again after a pause that doubles, up to an hour. At a contradiction the evidence is written
to a file and posted to a webhook, where one is named, before the audit ends. Nothing of it is believed twice: an audit
that is started again over the same folder ends at once, and posts again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.durable import replace_file
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.client.http import JSON, HttpClient
from shuiqiao.node.published.http_tiles import split_url

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.base.ids import Entropy
    from shuiqiao.node.published.standing_audit import Round, StandingAudit

EVIDENCE_FILE: Final = "contradiction.json"
CONTRADICTED: Final = "node.audit_contradicted"
MAX_PAUSE_S: Final = 3_600.0
"""Longest pause after rounds that failed, in seconds; with a longer interval, that."""

POSTS: Final = 5
"""How often a webhook that does not answer is tried."""


class AuditWatch:
    """A standing audit that goes on by itself.

    ::

        AuditWatch(audit, interval_s=60, clock=SystemClock(), entropy=system_entropy, tell=print).run()
    """

    def __init__(
        self,
        audit: StandingAudit,
        *,
        interval_s: float,
        clock: Clock,
        entropy: Entropy,
        tell: Callable[[str], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """tell: is given a line whenever how it goes has changed. wait: pauses for seconds."""
        self._audit = audit
        self._interval_s = interval_s
        self._clock = clock
        self._entropy = entropy
        self._tell = tell
        self._wait = wait
        self._rounds = 0
        self._failed = 0
        self._failures = 0
        self._held_ms = 0
        self._last: Round | None = None
        self._told = ""

    def run(self) -> None:
        """Go round for ever; raises IntegrityError ``node.audit_contradicted`` at the first contradiction."""
        while True:
            try:
                self.go_round()
            except ShuiqiaoError as error:
                if error.code == CONTRADICTED:
                    raise
                self._tell_change(f"this round failed, and is tried again: {error}")
            self._wait(pause_s(self._failures, interval_s=self._interval_s, entropy=self._entropy))

    def go_round(self) -> Round:
        """Go one round, and count it; raises what ``StandingAudit.go_round`` raises."""
        self._rounds += 1
        try:
            found = self._audit.go_round()
        except Exception:
            self._failed += 1
            self._failures += 1
            raise
        self._failures, self._held_ms, self._last = 0, self._clock.now_ms(), found
        cosigners = ", ".join(found.cosigners) or "nobody"
        self._tell_change(f"holds 一致: {found.checkpoint.size} leaves, block {found.height}, cosigned by {cosigners}")
        return found

    def _tell_change(self, line: str) -> None:
        if line != self._told:
            self._tell(line)
            self._told = line

    def figures(self) -> Iterator[tuple[str, str, float]]:
        """Return what can be measured: name, words, value."""
        yield "audit_rounds", "Rounds begun since this process began", self._rounds
        yield "audit_rounds_failed", "Rounds that failed since this process began", self._failed
        yield "audit_failures_in_a_row", "Rounds that failed since the last one that held", self._failures
        yield "audit_held_time_seconds", "When a round last held, seconds since 1970", self._held_ms / MS_PER_SECOND
        yield "audit_contradicted", "1 once something that was signed contradicts itself", float(self._is_ended)
        if self._last is not None:
            yield "audit_log_size", "Leaves of the log that hold", self._last.checkpoint.size
            yield "audit_log_height", "Blocks of the log that hold", self._last.height
            yield "audit_log_time_seconds", "Time of their last block", self._last.time_ms / MS_PER_SECOND
            yield "audit_cosigners", "Members that cosigned their checkpoint", len(self._last.cosigners)

    @property
    def _is_ended(self) -> bool:
        return self._audit.contradiction is not None


def write_evidence(audit: StandingAudit, folder: Path, *, url: str) -> tuple[Path, dict[str, Any]]:
    """Write what contradicts itself into the auditor's folder; return the file and what is in it."""
    evidence = {**audit.evidence(), "followed": url}
    path = folder / EVIDENCE_FILE
    replace_file(path, json.dumps(evidence, ensure_ascii=False, indent=2).encode() + b"\n")
    return path, evidence


def post_evidence(
    webhook: str, evidence: dict[str, Any], *, entropy: Entropy, wait: Callable[[float], None] = time.sleep
) -> ShuiqiaoError | None:
    """Post evidence to a URL, a few times where nobody answers; return why it did not get there, None if it did."""
    server, path = split_url(webhook, may_ask=True)
    body = json.dumps(evidence, ensure_ascii=False).encode()
    refusal: ShuiqiaoError | None = None
    for attempt in range(1, POSTS + 1):
        try:
            with HttpClient(server) as client:
                client.request("POST", path or "/", content=body, content_type=JSON)
        except IntegrityError as error:
            return error
        except ShuiqiaoError as error:
            refusal = error
        else:
            return None
        if attempt < POSTS:
            wait(pause_s(attempt, interval_s=1.0, entropy=entropy))
    return refusal


def pause_s(failures: int, *, interval_s: float, entropy: Entropy) -> float:
    """Return how long to wait after so many failed rounds: doubling, up to an hour, drawn from its upper half.

    E.g. ``pause_s(0, interval_s=60, entropy=system_entropy) == 60``.
    """
    if failures == 0:
        return interval_s
    whole_s = min(max(MAX_PAUSE_S, interval_s), interval_s * 2.0 ** min(failures, 30))
    share = int.from_bytes(entropy(4), "big") / (1 << 32)
    return whole_s * (1 + share) / 2

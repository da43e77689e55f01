"""[CONSENT-9]: whatever happens in whatever order, the ledger is where the table of valid steps says."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import Status

BUREAU = MemberId("bureau")
STEPS = ("pause", "resume", "resume_wrong", "revoke", "key_lost", "wait", "end")
AFTER = {
    (Status.ACTIVE, "pause"): Status.PAUSED,
    (Status.PAUSED, "resume"): Status.ACTIVE,
    **{(status, "revoke"): Status.REVOKED for status in (Status.ACTIVE, Status.PAUSED)},
    **{(status, "key_lost"): Status.REVOKED for status in (Status.ACTIVE, Status.PAUSED)},
    **{(status, "end"): Status.EXPIRED for status in (Status.ACTIVE, Status.PAUSED)},
}
"""Every step that changes anything; all others leave the status as it is."""


class OneConsent:
    def __init__(self, world):
        self.world = world
        self.enterprise = world.enterprise()
        self.last_day_ms = world.clock.now_ms() + 20 * MS_PER_DAY
        self.consent = world.granted(self.enterprise, valid_to_ms=self.last_day_ms)
        self.pause_id = bytes(16)

    @property
    def status(self):
        return self.world.grant(self.consent).status_at(self.world.clock.now_ms())

    def take(self, step):
        now_ms = self.world.clock.now_ms()
        if step == "wait":
            self.world.clock.advance(1_000)
        elif step == "end":
            self.world.clock.advance(max(0, self.last_day_ms + 1 - now_ms))
        elif step == "key_lost":
            self.world.consents.revoke_for_lost_key(self.consent)
        else:
            self.world.consents.relay(self.statement(step, now_ms).raw)

    def statement(self, step, now_ms):
        if step == "pause":
            statement = self.enterprise.pause(self.consent, now_ms=now_ms)
            self.pause_id = statement.id if self.status is Status.ACTIVE else self.pause_id
            return statement
        if step == "revoke":
            return self.enterprise.revoke(self.consent, now_ms=now_ms)
        lifted = self.pause_id if step == "resume" else b"\xff" * 16
        return self.enterprise.resume(self.consent, pause=lifted, now_ms=now_ms)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(STEPS), max_size=10))
def test_only_valid_steps_move_a_consent(world, steps):
    life = OneConsent(world)
    expected = Status.ACTIVE
    for step in steps:
        changes = (expected, step) in AFTER
        try:
            life.take(step)
            assert changes or step in {"wait", "end"}
        except ShuiqiaoError:
            assert not changes
        expected = AFTER.get((expected, step), expected)
        assert expected is life.status

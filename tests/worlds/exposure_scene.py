"""Two banks, at which one enterprise consents, the second of which waits to be asked what it has lent to it."""

from __future__ import annotations

import msgspec

from peers_world import Doors
from shuiqiao.consent.model import Frequency, FrequencyUnit, Mode

LENT_FEN = 20_000_000
_MANY = Frequency(count=24, unit=FrequencyUnit.YEAR)


class Scene:
    """Bureau, both banks and regulator, each reached over HTTP; ``close`` when done."""

    def __init__(self, folder, suite_name):
        self.doors = Doors(folder, suite_name)
        self.world = self.doors.world
        self.bureau, self.bank, self.other = self.world.bureau, self.world.bank, self.world.other_bank
        try:
            for each, listen in ((self.bank, ""), (self.other, "127.0.0.1:0")):
                each.settings = msgspec.structs.replace(each.settings, secure_listen=listen, secure_timeout_ms=120_000)
            for each in (self.bureau, self.bank, self.other):
                self.doors.open(each)
        except BaseException:
            self.close()
            raise

    def consented(self, bank, *, modes=(Mode.DISCLOSE, Mode.EXPOSURE)):
        found = self.world.consent(bank, modes=modes, frequency=_MANY)
        for each in (self.bank, self.other):
            each.catch_up_with(self.bureau)
        return found

    def ask(self, *consents, way=None):
        return self.bank.exposures.ask(self.other.member, way=way or self.bank.exposure_way, consents=consents)

    def over(self, institution, links):
        """Let an institution compute over links of the test from now on."""
        if "secure_links" in institution.__dict__:
            institution.secure_links.close()
        institution.__dict__["secure_links"] = links

    def close(self):
        self.doors.stack.close()

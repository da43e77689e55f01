"""A bank and a bureau that compute scores together over real HTTP, with a regulator beside them."""

from __future__ import annotations

from functools import partial
from itertools import count

import msgspec

from models_world import BANDS
from offered_models import keep_model, runs_at_bureau
from peers_world import Doors
from shuiqiao.client.resources import models as api
from shuiqiao.client.resources.answers import ConsentRequest
from shuiqiao.consent.model import Frequency, FrequencyUnit, Mode, Output
from shuiqiao.node.computations import sealed_evidence
from shuiqiao.node.operations.answers import ask_provider

OUTPUTS = (Output.BAND, Output.POINTS, Output.YES_NO)
DECLARED = api.OutputsDeclared(**BANDS, points=True)


class Scene:
    """A bank with one card at a bureau twice: open, and with its weights kept at the bank."""

    def __init__(self, folder, suite_name):
        self.doors = Doors(folder, suite_name)
        self.bureau, self.bank = self.doors.world.bureau, self.doors.world.bank
        self._numbers = count(1)
        self.shown = []
        """Who showed evidence to whom, of which request."""
        try:
            self.bureau.settings = msgspec.structs.replace(
                self.bureau.settings, secure_listen="127.0.0.1:0", secure_timeout_ms=60_000
            )
            for each in (self.bureau, self.bank):
                # Made with the world, before there was anybody who shows evidence.
                each.__dict__.pop("peer_service", None)
                each.show_evidence = partial(self._show, each)
                self.doors.open(each)
            kept = keep_model(self.bank)
            self.open = runs_at_bureau(self.doors, model=kept, outputs=DECLARED)
            self.secure = runs_at_bureau(self.doors, model=kept, outputs=DECLARED, secure=True)
            self.consent = self.consented()
        except BaseException:
            self.close()
            raise

    def _show(self, party, request, regulator):
        self.shown.append((party.member, regulator, request))
        return sealed_evidence(party, request, regulator=regulator)

    def consented(self):
        many = Frequency(count=24, unit=FrequencyUnit.YEAR)
        return self.doors.world.consent(modes=(Mode.SCORE,), outputs=OUTPUTS, frequency=many)

    def asking(self, output, *, model=None):
        """A request that was not made before."""
        name, number = (model or self.secure).model, next(self._numbers)
        return ConsentRequest(request=f"{number:032x}", consent=self.consent, model=name, outputs=(str(output),))

    def score(self, output, *, model=None):
        return ask_provider(self.bank, self.asking(output, model=model)).score

    def over(self, institution, links):
        """Let an institution compute over links of the test from now on."""
        self.end_links()
        institution.__dict__["secure_links"] = links
        institution.__dict__.pop("_secure_runner", None)

    def end_links(self):
        for institution in (self.bureau, self.bank):
            if "secure_links" in institution.__dict__:
                institution.secure_links.close()

    def close(self):
        self.doors.stack.close()

"""A bank's applications on their way: which bureaus are asked, which models assess, which regulator learns.

The rooms beneath know what is done on an application; here stands whom this institution does it with.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.lending.processing import ApplicationProcess, Surroundings
from shuiqiao.members.model import Role
from shuiqiao.members.roster import roster

if TYPE_CHECKING:
    from shuiqiao.lending.assessment import Assessor
    from shuiqiao.node.institution import Institution

_SHORTEST_NAME = 4


@dataclass(frozen=True, slots=True)
class DeliveredOpenings:
    """Hands openings in by the outbox to other members: each is kept until the regulator has it, however long."""

    institution: Institution
    regulator: MemberId

    def hand_in(self, application: bytes, sealed: bytes) -> None:
        """Keep an opening for the regulator."""
        from shuiqiao.node.peers.exchange_link import opening_body
        from shuiqiao.node.peers.message import Act

        body = opening_body(application, sealed, engine=self.institution.engine)
        self.institution.deliveries.send(self.regulator, Act.OPENING, body)


@contextmanager
def applications_at(institution: Institution) -> Generator[ApplicationProcess]:
    """Give what takes a bank's applications to their end; its feature engines are closed with it.

    ::

        with applications_at(bank) as process:
            for application in process.open_applications():
                process.process(application)

    Raises Denied ``node.role_wrong``, ``node.regulator_unclear``.
    """
    opening, opened = threading.Lock(), dict[str, "Assessor"]()
    with ExitStack() as stack:

        def assessor(product: str) -> Assessor:
            with opening:
                if product not in opened:
                    found = institution.lending_models.assessor(product, as_of=day_of(institution))
                    opened[product] = stack.enter_context(found)
                return opened[product]

        regulator = regulator_of(institution)
        yield institution.application_process(
            Surroundings(
                provider=institution.provider_at,
                product=institution.lending_models.product,
                assessor=assessor,
                regulator=regulator,
                regulator_link=DeliveredOpenings(institution, regulator),
            )
        )


def day_of(institution: Institution) -> date:
    """Return the day on which an institution judges: that of its clock or of the newest block, whichever is later."""
    return datetime.fromtimestamp(institution.outbox.latest_ms() / MS_PER_SECOND, tz=UTC).date()


def regulator_of(institution: Institution) -> MemberId:
    """Return to whom a bank's decisions are sealed; raises Denied ``node.regulator_unclear``."""
    members = roster(institution.engine.state())
    regulators = sorted(member for member, role in members.items() if role == Role.REGULATOR)
    if len(regulators) != 1:
        raise Denied("node.regulator_unclear", f"this network has {len(regulators)} regulators where one is needed")
    return MemberId(regulators[0])


def find_application(institution: Institution, name: str) -> bytes:
    """Return the id of the application that begins so; raises InvalidInput ``node.application_unclear``."""
    known = [row.application.id for row in institution.application_store.applications()]
    found = [application for application in known if application.hex().startswith(name.lower())]
    if len(name) < _SHORTEST_NAME or len(found) != 1:
        raise InvalidInput(
            "node.application_unclear",
            f"{name[:64]!r} begins the id of {len(found)} of {len(known)} applications; {_SHORTEST_NAME} or more of "
            "its characters that begin no other are needed",
        )
    return found[0]

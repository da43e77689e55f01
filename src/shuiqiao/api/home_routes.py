"""The routes that the owner of a home has over its socket without a token: what runs there, and what is wrong.

A server's files are looked at from outside by ``shuiqiao doctor`` and copied by ``shuiqiao backup create``, each in a
process of its own: an index must not be opened twice in one.
"""

from __future__ import annotations

import os

from shuiqiao import __version__
from shuiqiao.api.access import OWNER_ONLY
from shuiqiao.api.door import Running
from shuiqiao.api.routing import Routes
from shuiqiao.client.resources.home import HomeStatus

home = Routes("home", prefix="/home")


@home.get("/status", permission=OWNER_ONLY)
def read_home_status(running: Running) -> HomeStatus:
    """Tell what runs here and where its ledger stands."""
    institution = running.institution
    height, time_ms = institution.engine.last_block()
    return HomeStatus(
        member=institution.member,
        role=institution.settings.role,
        engine=institution.settings.engine,
        suite=institution.parameters.suite,
        network=institution.parameters.network.hex(),
        version=__version__,
        pid=os.getpid(),
        height=height,
        block_time_ms=time_ms,
        entries=institution.engine.checkpoint().size,
        outbox_waiting=len(institution.outbox.rows()),
    )

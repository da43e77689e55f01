"""The folder of a network of validators, and a plan in it."""

from __future__ import annotations

import pytest

from shuiqiao.ledger.engine.cometbft.comet.localnet import free_ports
from shuiqiao.node.localnet.plan import NetworkFolder, NetworkPlan, RelayPlace, ValidatorPlace, encode_plan


@pytest.fixture
def folder(tmp_path):
    found = NetworkFolder(tmp_path)
    found.run.mkdir()
    return found


@pytest.fixture
def put_plan(folder):
    """Return what writes the plan of a network of these members into the folder."""

    def put(*names, engine="cometbft"):
        ports = iter(free_ports(4 * len(names) + len(names) ** 2))
        plan = NetworkPlan(
            network="ab" * 32,
            suite="intl",
            engine=engine,
            validators=tuple(ValidatorPlace(member=name, p2p_port=next(ports)) for name in names),
            relays=tuple(
                RelayPlace(near=near, far=far, port=next(ports))
                for number, near in enumerate(names)
                for far in names[number + 1 :]
            ),
        )
        folder.plan.write_bytes(encode_plan(plan))
        return plan

    return put

"""The folder of a network of validators, and a plan in it."""

from __future__ import annotations

import pytest

from shuiqiao.ledger.engine.cometbft.comet.localnet import Mesh
from shuiqiao.node.localnet.plan import NetworkFolder, NetworkPlan, encode_plan


@pytest.fixture
def folder(tmp_path):
    found = NetworkFolder(tmp_path)
    found.run.mkdir()
    return found


@pytest.fixture
def put_plan(folder):
    """Return what writes the plan of a network of these members into the folder."""

    def put(*names, engine="cometbft"):
        mesh = Mesh.planned(names)
        plan = NetworkPlan(network="ab" * 32, suite="intl", engine=engine, validators=mesh.nodes, relays=mesh.relays)
        folder.plan.write_bytes(encode_plan(plan))
        return plan

    return put

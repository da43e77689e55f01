"""A hostile server hands an enterprise's log-in on to another institution, and gets nothing there [API-24]."""

from __future__ import annotations

import json

import pytest

from firms_world import OTHER_TAXPAYER, PASSPHRASE
from shuiqiao.base.errors import Denied
from shuiqiao.client.resources.sessions import LOG_IN_ENTERPRISE
from shuiqiao.members.endpoint import endpoint_of_text
from web_server import lossy_line


class Relay:
    """A server that says to be whom it hands all on to, but for the end of a session, and keeps what it hears."""

    def __init__(self, line):
        self.url, self.heard = line.url, []
        line.alters[LOG_IN_ENTERPRISE.path] = self.hear
        line.loses = "/sessions/end"

    def hear(self, data):
        self.heard.append(json.loads(data))
        return data


@pytest.fixture(scope="module")
def firm(world):
    """An enterprise with a consent to the bank."""
    device = world.enrolled("relayed.key", OTHER_TAXPAYER)
    return device, world.consented(device)


def tokens(institution):
    """How many tokens an institution has given out."""
    with institution.running.institution.database.connect() as connection:
        return connection.exec_driver_sql("SELECT count(*) FROM accounts_token").scalar_one()


def test_a_hostile_bank_that_hands_a_log_in_on_gets_no_token_of_another_bank(world, firm, here, tmp_path, monkeypatch):
    """The enterprise names no consent: its program asks who answers, and proves each consent to whom that said."""
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE)
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(path))
    _, consent = firm
    before = tokens(world.bank)
    with lossy_line(world.bank_url) as line:
        hostile = Relay(line)
        for named in ([], ["--consent", consent]):
            words = ("applications", "--bank", hostile.url, *named, "--key", world.folder / "relayed.key", "--json")
            said = here("enterprise", *words)
            assert (said.code, said.json["error"]["code"]) == (1, "node.origin_foreign"), said.err
            assert all(each in said.json["error"]["message"] for each in (hostile.url, world.bank_url))
    assert [each["code"] for each in hostile.heard] == ["node.origin_foreign"] * 2
    assert tokens(world.bank) == before
    # The same key at the bank's own address.
    assert here("enterprise", "applications", "--bank", world.bank_url, *words[3:]).code == 0


def test_a_log_in_at_a_bureau_is_not_handed_on_either(world, firm):
    device, _ = firm
    before = tokens(world.bureau)
    with lossy_line(world.bureau_url) as line:
        hostile = Relay(line)
        with pytest.raises(Denied, match=r"^node\.origin_foreign"), device.at_bureau(endpoint_of_text(hostile.url)):
            pass
    assert [each["code"] for each in hostile.heard] == ["node.origin_foreign"]
    assert tokens(world.bureau) == before


def test_a_proxy_that_the_operator_named_may_stand_in_between(world, firm):
    device, consent = firm
    with world.line_to(world.bank) as line:
        with device.at_bank(endpoint_of_text(line.url), consent=consent) as session:
            assert session.get("/api/v1/me").status == 200

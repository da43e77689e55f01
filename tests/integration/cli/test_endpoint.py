"""A member says on the ledger where its server is reached, and everybody reads it there [MEMBER-28]."""

from __future__ import annotations

from consortium_world import solo_home
from shuiqiao.base.clock import SystemClock

PIN = "9b" * 32


def test_an_endpoint_is_put_on_the_ledger_moved_and_taken_back_by_one_command(here, tmp_path):
    home = solo_home(tmp_path / "home", clock=SystemClock()).folder

    def endpoint(*arguments):
        return here("members", "endpoint", *arguments, "--home", home, "--json")

    def listed():
        (member,) = here("members", "list", "--home", home, "--json").json["members"]
        return member["endpoint"], member["pin"]

    assert listed() == ("", "")
    done = endpoint("https://bureau.example:8700", "--pin", PIN)
    assert (done.code, done.json["endpoint"], done.json["pin"]) == (0, "https://bureau.example:8700", PIN)
    assert listed() == ("https://bureau.example:8700", PIN)
    assert endpoint("http://127.0.0.1:8700").code == 0
    assert listed() == ("http://127.0.0.1:8700", "")
    for wrong in ("https://user@bureau.example", "http://bureau.example", "bureau.example:8700"):
        refused = endpoint(wrong)
        assert (refused.code, refused.json["error"]["code"]) == (2, "members.endpoint_invalid")
    assert endpoint("https://bureau.example", "--pin", "9B").json["error"]["code"] == "members.endpoint_invalid"
    assert endpoint("").code == 0
    assert listed() == ("", "")
    assert endpoint("").json["error"]["code"] == "members.endpoint_absent"

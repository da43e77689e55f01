"""A demo replaces nothing: it takes a free folder, or says that the one named is in use."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Conflict
from shuiqiao.cli.demo import demo


@pytest.fixture
def stopped(monkeypatch):
    """A demo that stops where it would begin to play, and says in which folder."""

    def stop(*, out, **_):
        raise KeyboardInterrupt(str(out))

    monkeypatch.setattr("shuiqiao.cli.demo._play", stop)


def folder_of(out=None):
    with pytest.raises(KeyboardInterrupt) as ended:
        demo(out=out, json=True)
    return str(ended.value)


def test_each_demo_takes_the_next_free_folder(stopped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder_of() == "demo-out"
    # One that another demo has just made, and has written nothing into yet, is the other's.
    assert folder_of() == "demo-out-2"
    (tmp_path / "demo-out-2").rmdir()
    (tmp_path / "demo-out" / "report.html").write_text("the first one")
    (tmp_path / "demo-out-2").write_text("a file of that name")
    assert folder_of() == "demo-out-3"
    (tmp_path / "demo-out-3" / "report.html").write_text("the second one")
    assert folder_of() == "demo-out-4"
    assert (tmp_path / "demo-out" / "report.html").read_text() == "the first one"


@pytest.mark.parametrize("name", ["report.html", ".shuiqiao-demo"])
def test_a_folder_that_was_named_is_not_replaced(stopped, tmp_path, name):
    """On 1bf401a a folder with an earlier demo in it was removed without a word."""
    (tmp_path / name).write_text("an earlier run")
    with pytest.raises(Conflict) as caught:
        demo(out=tmp_path, json=True)
    assert caught.value.code == "cli.folder_in_use"
    assert "--out" in caught.value.next_step
    assert (tmp_path / name).read_text() == "an earlier run"


def test_an_empty_or_new_folder_is_taken(stopped, tmp_path):
    assert folder_of(tmp_path) == str(tmp_path)
    assert folder_of(tmp_path / "new") == str(tmp_path / "new")

from __future__ import annotations

from types import SimpleNamespace

from shuiqiao.sandbox.scenario.tampering import copy_ledger


def test_a_draft_that_is_gone_when_it_is_copied_stops_no_copy(tmp_path):
    """A node at work writes its checkpoint anew at any moment: listed, the draft may be renamed before it is read."""
    source = tmp_path / "ledger"
    for folder in ("checkpoints", "segments"):
        (source / folder).mkdir(parents=True)
        (source / folder / "latest").write_bytes(b"kept")
    (source / "checkpoints" / "latest.draft").symlink_to("gone")
    copy = copy_ledger(SimpleNamespace(home=SimpleNamespace(ledger=source)), tmp_path / "copy")
    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()) == [
        "checkpoints/latest",
        "segments/latest",
    ]

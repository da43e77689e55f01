"""``shuiqiao bench invoices``: every figure is of files that got the verdict they should."""

from __future__ import annotations

import json

import pytest

from shuiqiao.cli.door import run


def test_the_figures_have_their_names(capsys):
    with pytest.raises(SystemExit) as ended:
        run(["bench", "invoices", "--seconds", "0.1", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0
    assert set(figures) == {"xml_per_s_core", "xml_signed_per_s_core", "ofd_per_s_core"}
    assert all(figure > 0 for figure in figures.values())

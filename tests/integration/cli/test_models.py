"""Models on the ledger by commands of a bureau's own home: offered, reviewed, approved, shown, retired; and refusals."""

from __future__ import annotations

import pytest

from models_world import a_card
from shuiqiao.credit.scorecard import encode_scorecard
from shuiqiao.node.accounts.opening import open_accounts
from shuiqiao.node.home.settings import Home, load_settings

OUTPUTS = 'bands = ["C", "B", "A"]\ncuts = [560, 620]\nyes_from = 580\n'


@pytest.fixture
def files(tmp_path):
    card, outputs = tmp_path / "card.json", tmp_path / "outputs.toml"
    card.write_bytes(encode_scorecard(a_card()))
    outputs.write_text(OUTPUTS)
    return card, outputs


def refused(command):
    assert command.code == 1
    return command.json["error"]["code"]


def test_a_bureau_offers_a_model_to_itself_lets_it_run_and_ends_it(here, home, files):
    """[MODEL-2] [MODEL-3] [MODEL-4] [MODEL-5]"""
    card, outputs = files
    bureau = load_settings(Home(home)).member

    def models(*arguments):
        return here("models", *arguments, "--home", home, "--json")

    offer = ("offer", "--scorecard", card, "--to", bureau, "--outputs", outputs)
    told = models(*offer).json
    model = told["model"]
    assert (told["outputs"], told["purpose"], told["status"]) == (["band", "yes_no"], "underwriting", "registered")
    assert models(*offer).json["model"] == model
    assert [row["model"] for row in models("list", "--on-ledger").json["models"]] == [model]

    assert refused(models("approve", model)) == "models.step_invalid"
    reviewed = models("review", model, "--outcome", "accepted", "--findings", "Wide bands.").json
    assert [each["status"] for each in reviewed["providers"]] == ["reviewed"]
    assert [each["status"] for each in models("approve", model).json["providers"]] == ["approved"]
    shown = models("show", model).json
    assert shown["report"]["output_bits"] == {"band": 2, "yes_no": 1}
    assert '"cuts":[560,620]' in shown["content"]
    for command, words in (("show", "Wide bands."), ("list", f"{bureau}:approved")):
        arguments = (model,) if command == "show" else ("--on-ledger",)
        assert words in here("models", command, *arguments, "--home", home).out

    assert models("retire", model, "--here").json["providers"][0]["status"] == "retired"
    assert models("retire", model, "--reason", "ordered").json["status"] == "retired"
    assert refused(models("review", model, "--outcome", "rejected", "--findings", "Late.")) == "models.retired"
    assert refused(models("show", f"{bureau}/{'0' * 32}")) == "models.unknown"
    # What a bank's own models are asked by keeps its meaning.
    assert refused(models("list")) == "node.role_wrong"
    assert refused(models("retire", "tax-credit-loan")) == "node.role_wrong"


def test_outputs_that_cannot_be_are_refused_with_a_code_and_two_people_are_asked_for(here, home, files):
    card, outputs = files
    bureau = load_settings(Home(home)).member
    offer = ("offer", "--scorecard", card, "--to", bureau, "--outputs", outputs, "--home", home, "--json")
    for text in ("", "bands = [", 'bands = ["A", "A"]\ncuts = [500]\n'):
        outputs.write_text(text)
        assert refused(here("models", *offer)) == "credit.content_malformed"
    outputs.write_text(OUTPUTS)
    with open_accounts(Home(home)) as accounts:
        accounts.service.add_first_user("chen.wei")
    assert refused(here("models", *offer)) == "node.two_people_needed"

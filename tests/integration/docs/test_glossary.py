"""The glossary says of each reason code what the product says of it."""

from __future__ import annotations

from pathlib import Path

from shuiqiao.lending.model import PERSONS_WORDS, RULE_WORDS

GLOSSARY = Path(__file__).parents[3] / "docs" / "glossary.md"


def test_each_reason_code_stands_in_the_glossary_with_its_words():
    _, _, section = GLOSSARY.read_text(encoding="utf-8").partition("## Reason codes")
    rows = [line.split(" | ")[:3] for line in section.splitlines() if line.startswith("| `")]
    said = {**RULE_WORDS, **PERSONS_WORDS}
    assert rows == [[f"| `{code.value}`", words.en, words.zh] for code, words in said.items()]

"""The canonical form against the one of the standard library, which writes the newer Canonical XML 2.0.

For what an invoice may have (no comments, no instructions, no document type), the exclusive form is the same in both.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from hypothesis import given
from hypothesis import strategies as st

from shuiqiao.invoices.xml_tree import canonical, parse_xml

NAMES = st.sampled_from(["a", "b", "ds:c", "x:d", "发票"])
TEXTS = st.text(alphabet=st.sampled_from("a1<>&\"'\t\n 票é"), max_size=8)
ATTRIBUTES = st.dictionaries(st.sampled_from(["k", "l", "ds:k", "x:k"]), TEXTS, max_size=3)
# The standard library tells prefixes by their namespace, so no two of them stand for the same one here;
# and it sorts by namespaces with a brace behind them, so none of them begins as another one is.
DECLARED = st.dictionaries(st.sampled_from(["xmlns", "xmlns:ds", "xmlns:x", "xmlns:unused"]), st.integers(1, 2)).map(
    lambda chosen: {name: f"urn:{name}:{number}" for name, number in chosen.items()}
)


def write(name, attributes, declared, content):
    listed = "".join(f" {key}={quoteattr(value)}" for key, value in {**declared, **attributes}.items())
    return f"<{name}{listed}>{content}</{name}>"


ELEMENTS = st.recursive(
    st.builds(write, NAMES, ATTRIBUTES, DECLARED, TEXTS.map(escape)),
    lambda inner: st.builds(
        write, NAMES, ATTRIBUTES, DECLARED, st.lists(inner | TEXTS.map(escape), max_size=4).map("".join)
    ),
    max_leaves=8,
)


@given(ELEMENTS)
def test_the_exclusive_form_is_the_standard_librarys(inner):
    document = f'<r xmlns:ds="urn:xmlns:ds:0" xmlns:x="urn:xmlns:x:0">{inner}</r>'
    assert canonical(parse_xml(document.encode()), exclusive=True).decode() == ET.canonicalize(document)


@given(ELEMENTS)
def test_a_canonical_form_is_its_own(inner):
    document = f'<r xmlns:ds="urn:xmlns:ds:0" xmlns:x="urn:xmlns:x:0">{inner}</r>'
    for exclusive in (True, False):
        once = canonical(parse_xml(document.encode()), exclusive=exclusive)
        assert canonical(parse_xml(once), exclusive=exclusive) == once

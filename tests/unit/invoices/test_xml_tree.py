"""The canonical forms by the examples of their specifications, and values at their own place."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.invoices.xml_tree import canonical, parse_xml


def test_the_inclusive_form_brings_the_namespaces_around_and_the_exclusive_one_those_in_use():
    # Exclusive XML Canonicalization 1.0, section 2.2: the subtree of elem2 in another context.
    document = b"""<n2:pdu xmlns:n1="http://example.com" xmlns:n2="http://foo.example" xmlns:n3="http://n3">
    <n1:elem2 b="2" a="1"><n3:stuff/></n1:elem2></n2:pdu>"""
    element = next(parse_xml(document).elements())
    assert canonical(element, exclusive=False) == (
        b'<n1:elem2 xmlns:n1="http://example.com" xmlns:n2="http://foo.example" xmlns:n3="http://n3" a="1" b="2">'
        b"<n3:stuff></n3:stuff></n1:elem2>"
    )
    assert canonical(element, exclusive=True) == (
        b'<n1:elem2 xmlns:n1="http://example.com" a="1" b="2"><n3:stuff xmlns:n3="http://n3"></n3:stuff></n1:elem2>'
    )


def test_characters_are_written_as_canonical_xml_has_them():
    # Canonical XML 1.0, section 3.4.
    document = b"<doc><t>&#xD;&lt;&gt;&amp;\"</t><n attr=' &#39;&#9;&#xA;&#xD;\"&lt;'/></doc>"
    assert canonical(parse_xml(document), exclusive=False) == (
        b'<doc><t>&#xD;&lt;&gt;&amp;"</t><n attr=" \'&#x9;&#xA;&#xD;&quot;&lt;"></n></doc>'
    )


def test_a_default_namespace_is_taken_back():
    inner = next(next(parse_xml(b'<a xmlns="urn:a"><b xmlns=""><c/></b></a>').elements()).elements())
    assert canonical(inner, exclusive=True) == b"<c></c>"
    whole = parse_xml(b'<a xmlns="urn:a"><b xmlns=""><c/></b></a>')
    assert canonical(whole, exclusive=True) == b'<a xmlns="urn:a"><b xmlns=""><c></c></b></a>'


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_prefix_that_nobody_declared_is_refused(exclusive):
    with pytest.raises(InvalidInput) as refused:
        canonical(parse_xml(b'<a x:b="1"/>'), exclusive=exclusive)
    assert refused.value.code == "invoices.xml_malformed"


def test_an_attribute_of_xml_around_what_was_signed_is_refused():
    inner = next(parse_xml(b'<a xml:lang="zh"><b/></a>').elements())
    with pytest.raises(InvalidInput, match="xml: attribute"):
        canonical(inner, exclusive=True)


def test_a_value_is_read_at_its_own_place():
    root = parse_xml(b"<r><a><v>1</v></a><b><v>2</v></b></r>")
    assert (root.text("a", "v"), root.text("b", "v"), root.text("v")) == ("1", "2", "")


def test_a_value_that_holds_elements_is_no_text():
    with pytest.raises(InvalidInput, match="elements within it"):
        parse_xml(b"<r><v>1<w>2</w></v></r>").text("v")

from __future__ import annotations

import re
from importlib.resources import files

import pyarrow.compute as pc
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.model import FieldType, Series
from shuiqiao.standards.publication import load_catalogue, parse_catalogue

CODES = """
id = "colour"
name = "Colour"
name_zh = "颜色"
[[value]]
code = "red"
name = "Red"
name_zh = "红"
"""

TYPE = """
id = "sample"
version = 2
name = "Sample"
name_zh = "样本"
source_code = "YB"
natural_key = ["uscc", "day"]
period_field = "day"
supersedable = true

[[group]]
id = "core"
name = "Core"
name_zh = "核心"

[[group]]
id = "amounts"
name = "Amounts"
name_zh = "金额"

[[field]]
name = "uscc"
title = "Taxpayer"
name_zh = "纳税人识别号"
source_code = "NSRSBH"
type = "text"
group = "core"
level = 2
required = true
max_length = 20

[[field]]
name = "day"
title = "Day"
name_zh = "日期"
source_code = "RQ"
type = "date"
group = "core"
level = 2
required = true

[[field]]
name = "is_red"
title = "Is red"
name_zh = "是否红"
source_code = "SFH"
type = "boolean"
group = "core"
level = 2

[[field]]
name = "colour"
title = "Colour"
name_zh = "颜色"
source_code = "YS"
type = "code"
codes = "colour"
group = "core"
level = 1

[[field]]
name = "sum_fen"
title = "Sum"
name_zh = "合计"
source_code = "HJ"
type = "amount_fen"
unit = "fen"
group = "amounts"
level = 3

[[rule]]
name = "red_is_negative"
title = "Red is negative"
name_zh = "红为负"
kind = "negative_exactly_when"
field = "sum_fen"
flag = "is_red"
"""

PROFILE = """
id = "foreign"
name = "Foreign"
name_zh = "外部"
record_type = "sample"
[[column]]
source = "firm"
field = "uscc"
[[column]]
source = "when"
field = "day"
[[column]]
source = "yuan"
field = "sum_fen"
unit = "yuan"
[[ignored]]
source = "row"
reason = "Provenance."
"""


def publish(text=TYPE, codes=CODES, profile=PROFILE):
    return parse_catalogue(
        types={"sample.toml": text}, codes={"colour.toml": codes}, profiles={"foreign.toml": profile}
    )


def test_a_complete_file_becomes_a_record_type():
    # Holds [STD-1].
    sample = publish().get("sample")
    assert sample.standard_id == "sample@2"
    assert sample.group_ids == ("core", "amounts")
    assert sample.group("core").fields == ("uscc", "day", "is_red", "colour")
    assert sample.natural_key == ("uscc", "day")
    assert (sample.advances, sample.series) == ((), None)
    assert sample.standing is False
    assert sample.rules[0].fields == ("sum_fen", "is_red")
    assert sample.field("colour").code_list.spellings() == {"red": "red", "红": "red"}


def test_a_type_says_what_may_advance_and_what_names_the_series_of_a_number():
    # Holds [STD-8].
    more = 'supersedable = false\nadvances = ["colour"]\n[series]\nnumber = "uscc"\nunique_length = 18\nfields = ["colour"]'
    sample = publish(TYPE.replace("supersedable = true", more)).get("sample@2")
    assert sample.advances == ("colour",)
    assert sample.series == Series(number="uscc", unique_length=18, fields=("colour",))


SERIES = 'supersedable = true\n[series]\nnumber = "{}"\nunique_length = 18\nfields = ["{}"]'
GROUPS = "".join(f'\n[[group]]\nid = "g{n}"\nname = "G"\nname_zh = "组"\n' for n in range(3))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        # [STD-2] closed tables, right types
        ("supersedable = true", "supersedable = true\ncolour = 1", "unknown field `colour`"),
        ("supersedable = true", 'supersedable = "yes"', "Expected `bool`"),
        ("version = 2", "version = 0", ">= 1"),
        ("version = 2", "version = ", "Invalid value"),
        ('source_code = "YB"\n', "", "missing required field `source_code`"),
        # [STD-3] both languages
        ('name_zh = "样本"', 'name_zh = "Sample"', "expected is words in Chinese"),
        ('name_zh = "日期"', 'name_zh = ""', "expected is words in Chinese"),
        ('title = "Day"\n', "", "missing required field `title`"),
        ('source_code = "RQ"', 'source_code = "rq"', "a code of capital letters"),
        # [STD-4] one meaning per header
        ('source_code = "RQ"', 'source_code = "NSRSBH"', "header more than once: NSRSBH"),
        ('name = "day"', 'name = "uscc"', "header more than once"),
        # [STD-5] constraints where they belong
        ('unit = "fen"\n', "", "an amount has the unit fen"),
        ("max_length = 20\n", "", "max_length stands on every text"),
        ("max_length = 20\n", 'max_length = 20\npattern = "["\n', "faulty pattern"),
        ('type = "date"\n', 'type = "date"\npattern = "a"\n', "cannot have a pattern"),
        ('type = "date"\n', 'type = "date"\nminimum = 1\n', "cannot have a minimum"),
        ('codes = "colour"\n', "", "must name codes exactly when"),
        ('codes = "colour"\n', 'codes = "shape"\n', "unknown code list 'shape'"),
        ('type = "date"\n', 'type = "moment"\n', "Invalid enum value 'moment'"),
        # [STD-6] the taxpayer
        ('name = "uscc"', 'name = "other"', "'uscc' must be there"),
        # [STD-7] groups
        ('group = "amounts"', 'group = "nowhere"', "undeclared groups: sum_fen in nowhere"),
        ('group = "amounts"', 'group = "core"', "groups without a field: amounts"),
        ('id = "amounts"', 'id = "core"', "group more than once: core"),
        ('\n[[group]]\nid = "core"', GROUPS + '\n[[group]]\nid = "core"', "length <= 4"),
        (
            '\n[[group]]\nid = "core"',
            '\n[[group]]\nid = "a"\nname = "A"\nname_zh = "组"\n\n[[group]]\nid = "core"',
            "the first group is 'a'",
        ),
        # [STD-8] the natural key
        ('["uscc", "day"]', '["day"]', "must hold 'uscc'"),
        ('["uscc", "day"]', '["uscc", "colour"]', "not ['colour']"),
        ('["uscc", "day"]', '"all"', "Expected `array`, got `str`"),
        ("supersedable = true", 'supersedable = true\nadvances = ["colour"]', "of a type that is not supersedable"),
        ("supersedable = true", 'supersedable = false\nadvances = ["uscc"]', "fields outside the natural key"),
        ("supersedable = true", 'supersedable = false\nadvances = ["shape"]', "fields outside the natural key"),
        (
            "supersedable = true",
            'supersedable = false\nadvances = ["colour", "colour"]',
            "field more than once: colour",
        ),
        ("supersedable = true", SERIES.format("day", "colour"), "the number is a text of the natural key"),
        ("supersedable = true", SERIES.format("uscc", "sum_fen"), "the fields are texts or codes"),
        # [STD-9] the period
        ('period_field = "day"', 'period_field = "colour"', "must be a required date"),
        ('period_field = "day"', 'period_field = "month"', "must be a required date"),
        # [STD-10] level and class
        ("level = 3", "level = 6", "<= 5"),
        ("level = 3", 'level = 3\npersonal = "C4"', "Invalid enum value 'C4'"),
        # rules
        ('flag = "is_red"', 'flag = "day"', "no field of a fitting type"),
        ('flag = "is_red"\n', "", "reads ['field', 'flag'], not ['field']"),
        ('flag = "is_red"', 'flag = "is_red"\nvalue = "x"', "value stands on nonzero_unless"),
        ('kind = "negative_exactly_when"', 'kind = "sum_equals"', "reads ['total']"),
    ],
)
def test_a_faulty_type_file_is_refused_by_name_and_reason(old, new, reason):
    assert old in TYPE
    with pytest.raises(InvalidInput) as refused:
        publish(TYPE.replace(old, new, 1))
    assert refused.value.code == "standards.catalogue_invalid"
    assert refused.value.message.startswith("sample.toml: ")
    assert reason in refused.value.message


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('field = "day"', 'field = "night"', "no field of sample@2"),
        ('field = "day"', 'field = "uscc"', "field more than once: uscc"),
        ('source = "when"', 'source = "firm"', "column more than once: firm"),
        ('field = "day"', 'field = "day"\nunit = "yuan"', "is no amount"),
        ('[[column]]\nsource = "when"\nfield = "day"\n', "", "required fields without a column: day"),
        ('record_type = "sample"', 'record_type = "other"', "'other' is not in the catalogue"),
        ('reason = "Provenance."', "", "missing required field `reason`"),
    ],
)
def test_a_faulty_profile_is_refused_by_name_and_reason(old, new, reason):
    # Holds [STD-33].
    with pytest.raises(InvalidInput) as refused:
        publish(profile=PROFILE.replace(old, new, 1))
    assert refused.value.code == "standards.catalogue_invalid"
    assert refused.value.message.startswith("foreign.toml: ")
    assert reason in refused.value.message


def test_a_code_list_with_one_spelling_for_two_codes_is_refused():
    # Holds [STD-16].
    twice = CODES + '\n[[value]]\ncode = "crimson"\nname = "Crimson"\nname_zh = "红"\n'
    with pytest.raises(InvalidInput, match="spelling more than once: 红"):
        publish(codes=twice)


def test_the_same_type_or_code_list_in_two_files_is_refused():
    # Holds [STD-1].
    with pytest.raises(InvalidInput, match="two files publish the same record type"):
        parse_catalogue(types={"a.toml": TYPE, "b.toml": TYPE}, codes={"c.toml": CODES})
    with pytest.raises(InvalidInput, match="two files publish the code list 'colour'"):
        parse_catalogue(types={}, codes={"a.toml": CODES, "b.toml": CODES})


def test_an_oversized_file_is_refused():
    with pytest.raises(InvalidInput, match="200001 characters"):
        publish("#" * 200_001)


def test_the_published_catalogue_has_the_types_of_the_main_job(catalogue):
    assert sorted(catalogue.types) == [
        "arrears",
        "filing",
        "invoice_issued",
        "invoice_received",
        "payment",
        "registration",
        "tax_credit_grade",
        "violation",
    ]
    assert load_catalogue() is catalogue
    assert sorted(
        path.name for path in files("shuiqiao.standards").joinpath("catalogue").iterdir() if path.is_file()
    ) == [f"{type_id}.toml" for type_id in sorted(catalogue.types)]


def test_invoices_have_three_groups_and_are_known_by_issuer_and_number(catalogue):
    # Holds [STD-6], [STD-7], [STD-8], [STD-51].
    issuers = {"invoice_issued": ("uscc",), "invoice_received": ("uscc", "counterparty_id")}
    for type_id, issuer in issuers.items():
        invoice = catalogue.get(type_id)
        assert invoice.standard_id == f"{type_id}@2"
        assert invoice.natural_key == (*issuer, "invoice_no")
        assert invoice.series == Series(number="invoice_no", unique_length=20, fields=("invoice_code", "invoice_kind"))
        assert invoice.advances[0] == "status"
        assert invoice.field("status").code_list.codes == ("valid", "red_lettered_in_part", "red_lettered", "void")
        assert invoice.group_ids == ("core", "amounts", "counterparty")
        assert invoice.supersedable is False
        assert invoice.period_field == "issue_date"
        assert "uscc" in invoice.group("core").fields
        assert not any(name.startswith("counterparty") for name in invoice.group("core").fields)


def test_identity_data_of_the_legal_representative_stands_apart_and_is_classed(catalogue):
    # Holds [STD-10].
    registration = catalogue.get("registration@1")
    person = [registration.field(name) for name in registration.group("person").fields]
    assert {entry.personal.value for entry in person} == {"C2"}
    assert min(entry.level for entry in person) >= 3
    assert registration.standing is True


def test_unknown_names_are_refused_with_what_there_is(catalogue):
    with pytest.raises(InvalidInput, match="'nothing' is not published here: arrears@1"):
        catalogue.get("nothing")
    with pytest.raises(InvalidInput, match="'filing@2' is not published"):
        catalogue.get("filing@2")
    with pytest.raises(InvalidInput, match="filing@1 has no field 'x'"):
        catalogue.get("filing").field("x")
    with pytest.raises(InvalidInput, match="no disclosure group 'x', only core, amounts"):
        catalogue.get("filing").group("x")


def test_every_published_pattern_means_the_same_to_both_engines(catalogue):
    # [STD-15]: patterns run in RE2 over columns and are published for readers with other engines.
    samples = [
        "",
        "A",
        "24442000000012345678",
        "12345678",
        "1234567",
        "C2",
        "C26",
        "44",
        "320106",
        "a-b",
        "91440300MA5EXAMPL1",
        "ABC\n",
    ]
    for record_type in catalogue:
        for entry in record_type.fields:
            if entry.pattern is not None:
                expected = [re.fullmatch(entry.pattern, text) is not None for text in samples]
                actual = pc.match_substring_regex(samples, f"^(?:{entry.pattern})$").to_pylist()
                assert expected == actual, (record_type.id, entry.name)


def test_every_amount_is_sensitive_and_outside_core_or_a_registered_fact(catalogue):
    amounts = [
        (record_type.id, entry.name, entry.group)
        for record_type in catalogue
        for entry in record_type.fields
        if entry.type is FieldType.AMOUNT_FEN and entry.group == "core"
    ]
    assert amounts == [("registration", "registered_capital_fen", "core")]

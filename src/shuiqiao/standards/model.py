"""The shared data standard as frozen types: catalogue, record types, fields, disclosure groups, row rules, profiles.

Rule: docs/spec/standard.md. These types only describe; ``publication`` reads them from the catalogue files,
``readers`` find them in a source, ``validation`` applies them to rows and ``columns`` writes what is disclosed.
Every instance that ``publication`` built is consistent: each name it mentions exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from shuiqiao.base.errors import InvalidInput

MAX_GROUPS = 4
"""Most disclosure groups of one record type: the leaf formula of the vault has at most four parts."""

MAX_FIELDS = 64
"""Most fields of one record type: bounds the work per row."""

MAX_RANKS = 256
"""Most states that the advancing fields of a type may have together: a rank fits one byte of the vault's index."""

TAXPAYER_FIELD = "uscc"
"""The field that names the taxpayer in every record type. It is disclosed in the group ``core`` and nowhere else."""

CORE_GROUP = "core"


StandardId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{1,47}@[1-9][0-9]{0,3}\Z", max_length=53)]
"""A record type with its version, ``invoice_issued@2``."""

GroupId = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z", max_length=32)]


class FieldType(StrEnum):
    """How a value is written in canonical records and in disclosed JSON."""

    TEXT = "text"
    CODE = "code"
    INTEGER = "integer"
    AMOUNT_FEN = "amount_fen"
    RATE = "rate"
    DATE = "date"
    YEAR = "year"
    MONTH = "month"
    BOOLEAN = "boolean"


class PersonalClass(StrEnum):
    """Personal financial information class of JR/T 0171-2020; ``none`` for facts about a firm."""

    NONE = "none"
    C1 = "C1"
    C2 = "C2"
    C3 = "C3"


class AmountUnit(StrEnum):
    """The unit in which a source writes an amount."""

    FEN = "fen"
    YUAN = "yuan"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeValue:
    """One value of a code list. aliases: other spellings that sources use, e.g. the bureau's numeric code."""

    code: str
    name: str
    name_zh: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeList:
    """A closed list of codes."""

    id: str
    name: str
    name_zh: str
    values: tuple[CodeValue, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The canonical codes, in catalogue order."""
        return tuple(value.code for value in self.values)

    def spellings(self) -> dict[str, str]:
        """Return every accepted spelling (code, Chinese name, alias) with the canonical code it stands for."""
        return {
            spelling: value.code for value in self.values for spelling in (value.code, value.name_zh, *value.aliases)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a record type.

    name: canonical column name; source_code: the code of the tax system (NSRSBH, ...); aliases: further accepted
    headers. pattern: regular expression (RE2) that the whole text must match. max_length: in characters.
    minimum, maximum: bounds of integers, inclusive. level: sensitivity 1-5 (JR/T 0197-2020).
    """

    name: str
    title: str
    name_zh: str
    source_code: str
    type: FieldType
    group: str
    level: int
    personal: PersonalClass = PersonalClass.NONE
    required: bool = False
    unit: str = ""
    code_list: CodeList | None = None
    pattern: str | None = None
    max_length: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DisclosureGroup:
    """Fields that are granted, disclosed and proven together. fields: names in catalogue order."""

    id: str
    name: str
    name_zh: str
    fields: tuple[str, ...]


class RowRuleKind(StrEnum):
    """What a row rule compares; the parameters that each kind reads stand beside it.

    sum_equals: the sum of ``terms`` (sign, field) equals ``total`` within ``tolerance``.
    negative_exactly_when: ``field`` is negative where the boolean ``flag`` is true, and only there.
    not_after: the date ``field`` is not after the date ``other``.
    absent_unless: ``field`` is empty unless the boolean ``flag`` is true.
    nonzero_unless: ``field`` is not zero unless the code ``other`` has the value ``value``.
    """

    SUM_EQUALS = "sum_equals"
    NEGATIVE_EXACTLY_WHEN = "negative_exactly_when"
    NOT_AFTER = "not_after"
    ABSENT_UNLESS = "absent_unless"
    NONZERO_UNLESS = "nonzero_unless"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """A named rule across the fields of one row. terms: (+1 or -1, field name)."""

    name: str
    title: str
    name_zh: str
    kind: RowRuleKind
    field: str = ""
    other: str = ""
    flag: str = ""
    value: str = ""
    total: str = ""
    terms: tuple[tuple[int, str], ...] = ()
    tolerance: int = 0

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields it reads, each once."""
        named = (*(name for _, name in self.terms), self.total, self.field, self.other, self.flag)
        return tuple(dict.fromkeys(name for name in named if name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A number that is unique by itself where it has ``unique_length`` characters, else within a series.

    fields: what can name the series; the first of them that is filled does. number: a text field of the natural key.
    """

    number: str
    unique_length: int
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordType:
    """One kind of tax fact, closed and versioned.

    natural_key: field names that identify a record, the taxpayer among them, and with it what ``series`` adds.
    period_field: the date, year or month that places a record in time.
    supersedable: whether other values under the same key are a newer version (else they are a conflict).
    advances: fields that may go forward under the same key where all others stay: a code along its code list, any
    other from empty to filled. The earlier in this list decides first.
    standing: whether a record holds until it is superseded, so that it belongs to every data period after its date.
    """

    id: str
    version: int
    name: str
    name_zh: str
    source_code: str
    fields: tuple[Field, ...]
    groups: tuple[DisclosureGroup, ...]
    natural_key: tuple[str, ...]
    period_field: str
    supersedable: bool
    advances: tuple[str, ...] = ()
    series: Series | None = None
    standing: bool = False
    rules: tuple[RowRule, ...] = ()
    taxpayer_field: str = TAXPAYER_FIELD
    _fields_by_name: Mapping[str, Field] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_fields_by_name", {entry.name: entry for entry in self.fields})

    @property
    def standard_id(self) -> str:
        """Type and version as they stand in anchors and disclosed groups, e.g. ``invoice_issued@2``."""
        return f"{self.id}@{self.version}"

    @property
    def field_names(self) -> tuple[str, ...]:
        """Canonical column names, in catalogue order."""
        return tuple(self._fields_by_name)

    @property
    def group_ids(self) -> tuple[str, ...]:
        """Disclosure group ids, in the order of the leaf formula."""
        return tuple(group.id for group in self.groups)

    def field(self, name: str) -> Field:
        """Return a field by name, or raise InvalidInput ``standards.field_unknown``."""
        found = self._fields_by_name.get(name)
        if found is None:
            raise InvalidInput("standards.field_unknown", f"{self.standard_id} has no field {name[:60]!r}")
        return found

    def group(self, group_id: str) -> DisclosureGroup:
        """Return a disclosure group by id, or raise InvalidInput ``standards.group_unknown``."""
        for group in self.groups:
            if group.id == group_id:
                return group
        raise InvalidInput(
            "standards.group_unknown",
            f"{self.standard_id} has no disclosure group {group_id[:60]!r}, only {', '.join(self.group_ids)}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileColumn:
    """How one column of a foreign source becomes a field. unit: of amounts only."""

    source: str
    field: str
    unit: AmountUnit = AmountUnit.FEN


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceProfile:
    """A foreign layout, as data: its columns, and those that are deliberately not taken (with the reason).

    natural_key_is_all: its rows are known by all their fields, because the numbers of this source repeat.
    """

    id: str
    name: str
    name_zh: str
    record_type: str
    columns: tuple[ProfileColumn, ...]
    ignored: Mapping[str, str]
    natural_key_is_all: bool = False

    @property
    def sources(self) -> frozenset[str]:
        """Names of the columns that must be present."""
        return frozenset(column.source for column in self.columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All published record types and source profiles."""

    types: Mapping[str, RecordType]
    profiles: tuple[SourceProfile, ...] = ()

    def __iter__(self) -> Iterator[RecordType]:
        return iter(self.types.values())

    def get(self, type_id: str) -> RecordType:
        """Return a record type by id (``filing``) or standard id (``filing@1``).

        Raises InvalidInput ``standards.type_unknown`` for another name or version.
        """
        found = self.types.get(type_id.partition("@")[0])
        if found is None or ("@" in type_id and found.standard_id != type_id):
            known = ", ".join(entry.standard_id for entry in self)
            raise InvalidInput("standards.type_unknown", f"{type_id[:60]!r} is not published here: {known}")
        return found

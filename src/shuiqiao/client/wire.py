"""What all wire types of the API share: they are closed and cannot be changed, and each shows an example."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import no_info_before_validator_function

MAX_EXACT: int = 2**53 - 1
"""The largest whole number that every JSON reader holds exactly."""

Count = Annotated[int, Field(ge=0, le=MAX_EXACT)]
"""A number of things, a height or an index."""

TimeMs = Annotated[int, Field(ge=0, le=MAX_EXACT, description="UTC, milliseconds since 1970")]

Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$", max_length=131_072)]
"""Bytes, two lower-case digits each."""

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
"""Sixteen random bytes."""

Name = Annotated[str, StringConstraints(max_length=200)]


def example(**fields: Any) -> ConfigDict:
    """Return the settings of a wire type that shows one example of itself in the reference."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


_SECRETS: Final = frozenset({"code", "key_file", "new", "old", "passphrase", "password", "secret", "token"})
_IN_NAMES: Final = ("passphrase", "password", "secret", "token")
"""A field whose name has one of these in it holds a secret too, also where a message has no such field."""


def holds_secret(place: Iterable[object]) -> bool:
    """Tell whether a field holds what is nobody else's, by its place in a message: a refusal does not repeat it."""
    names = [str(part).lower() for part in place]
    return not _SECRETS.isdisjoint(names) or any(word in name for name in names for word in _IN_NAMES)


def names_secret(text: str) -> bool:
    """Tell whether a text that is no message, for it cannot be read, names a field that holds a secret."""
    return any(name in text.lower() for name in _SECRETS)


def _no_text(value: Any) -> Any:
    """Return what may be a number; JSON Schema takes 3.0 for a whole one, and so does this."""
    if isinstance(value, str | bytes | bool):
        raise PydanticCustomError("number_type", "this is no number")
    return value


def _make_strict(schema: Any) -> None:
    """Let no text be taken for a number or for yes and no in a schema of pydantic's core, at any depth.

    The schema of a message within others comes by again with each of them, strict already.
    """
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if str(found.get("type")) == "bool":
                found["strict"] = True
            elif str(found.get("type")) in {"int", "float"}:
                plain: Any = dict(found)
                found.clear()
                found |= no_info_before_validator_function(_no_text, plain)
            if found.get("type") == "function-before" and found["function"]["function"] is _no_text:
                continue
            waiting += [each for name, each in found.items() if name not in {"metadata", "default"}]
        elif isinstance(found, list):
            waiting += found


class Wire(BaseModel):
    """A message of the API: unknown fields are refused, no text is a number, nothing changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Callable[[Any], Any]) -> Any:
        """Return the schema whose numbers are strict: ``"1_0"`` is ten to Python, and to no other reader."""
        schema = handler(source)
        _make_strict(schema)
        return schema


class Nothing(Wire):
    """A question or an act that says nothing but itself."""

    model_config = example()

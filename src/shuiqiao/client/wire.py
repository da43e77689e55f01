"""What all wire types of the API share: they are closed and cannot be changed, and each shows an example."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

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


class Wire(BaseModel):
    """A message of the API: unknown fields are refused, and nothing changes after it was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Wire):
    """A question or an act that says nothing but itself."""

    model_config = example()

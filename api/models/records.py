"""What all records have in common: their base, and the types of ids, points in time and graphs."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    WithJsonSchema,
)

from ..shapes import parse_json

_TIMESTAMP = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r"\s*(?P<zone>Z|[+-]\d\d(?::?\d\d)?Z?)?"
)
_USUAL_ID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def parse_timestamp(value: Any) -> Any:
    """A point in time from any of the five shapes that the hosted platform writes, one of which is not valid ISO 8601.

    All of them are UTC: with a blank or a `T`, with no zone, `Z`, `+00:00`, or `+00Z`. Other values are returned as
    they are, for pydantic to accept or refuse.
    """
    if not isinstance(value, str) or not (match := _TIMESTAMP.fullmatch(value.strip())):
        return value
    fraction = (match["fraction"] or "0")[:6].ljust(6, "0")
    zone = (match["zone"] or "Z").rstrip("Z") or "+00:00"
    zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:] or '00'}"
    return datetime.fromisoformat(f"{match['date']}T{match['time']}.{fraction}{zone}").astimezone(timezone.utc)


def write_timestamp(value: datetime) -> str:
    """UTC with microseconds and `Z`, the most common of the platform's shapes."""
    return value.astimezone(timezone.utc).isoformat("T", "microseconds").removesuffix("+00:00") + "Z"


def canonical_id(value: str) -> str:
    """An id of the platform in its usual spelling; ValueError when it is none."""
    if _USUAL_ID.fullmatch(value):
        return value  # which nearly all are, and lists have hundreds of them
    try:
        return str(UUID(value.strip()))
    except ValueError:
        raise ValueError(f"{value[:80]!r} is not an id of the platform, which looks like {UUID(int=0)}") from None


Timestamp = Annotated[
    datetime,
    BeforeValidator(parse_timestamp),
    PlainSerializer(write_timestamp, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Id = Annotated[str, AfterValidator(canonical_id), WithJsonSchema({"type": "string", "format": "uuid"})]
Graph = dict[str, Any]
"""A workflow or workflow_api. Its values are ComfyUI's and any node may add to them, hence Any."""


def _from_text(value: Any) -> Any:
    return parse_json(value) if isinstance(value, str) else value


GraphOrText = Annotated[
    Graph,
    BeforeValidator(_from_text),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string", "contentMediaType": "application/json"}]}),
]
"""A graph in a request: an object, or, as the hosted platform wants it in some places, its JSON in a text."""


def _printable(value: str) -> str:
    if any(ord(each) < 32 or ord(each) == 127 for each in value):
        raise ValueError("holds a control character, such as a line break")
    return value


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character, which cannot be kept")
    return value


def _with_a_host(value: str) -> str:
    try:
        urlsplit(value)
    except ValueError:
        raise ValueError("is no URL: its host is not written as hosts are") from None
    return value


_PRINTABLE: dict[str, JsonValue] = {"pattern": r"^[^\x00-\x1f\x7f]*$"}
_WITHOUT_NUL: dict[str, JsonValue] = {"pattern": r"^[^\x00]*$"}
# As patterns in the document only: what they would say about a wrong text is not for people.
Name = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=_PRINTABLE), AfterValidator(_printable)]
"""What people call a thing: one line, in any script."""
Text = Annotated[str, Field(max_length=10_000, json_schema_extra=_WITHOUT_NUL), AfterValidator(_without_nul)]
"""What people write about a thing."""
Search = Annotated[str, Field(max_length=200, json_schema_extra=_WITHOUT_NUL), AfterValidator(_without_nul)]
"""Words to look for; capitals and small letters are the same."""
WebUrl = Annotated[
    str,
    Field(max_length=2000, pattern=r"^https?://[^\s\x00-\x1f\x7f/]+[^\s\x00-\x1f\x7f]*$"),
    AfterValidator(_with_a_host),
]
"""An http or https URL."""


class Record(BaseModel):
    """Base of the records: immutable, tolerant of fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, protected_namespaces=())

    def given(self) -> dict[str, Any]:
        """The fields that the sender has named, null ones too; for changes, where absence means to leave as it is."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Page(Record):
    """Which part of a list to answer."""

    limit: int = Field(default=100, ge=0, le=1000)
    """Most rows to answer."""
    offset: int = Field(default=0, ge=0, le=1_000_000)
    """Rows to pass over."""


class Message(Record):
    """Answer to something that leaves nothing to show."""

    message: str


class Health(Record):
    """Answer to the question whether the platform is there."""

    status: str = "ok"
    version: str | None = None
    """Of the server. The hosted platform does not tell."""

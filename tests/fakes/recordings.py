"""What the hosted platform has answered, as it was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "contract" / "recordings"


def exchanges(name: str) -> list[dict[str, Any]]:
    """The recorded exchanges of one endpoint: each has a `case`, a `request` and a `response`."""
    return [each for each in cases(name) if "response" in each]


def cases(name: str) -> list[dict[str, Any]]:
    """Everything recorded of one endpoint."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def exchange(name: str, case: str) -> dict[str, Any]:
    """The first exchange whose case begins like this."""
    return next(each for each in exchanges(name) if each["case"].startswith(case))


def body(name: str, case: str) -> Any:
    """The recorded answer's JSON or text."""
    return exchange(name, case)["response"]["body"]


def stream(name: str) -> bytes:
    """The bytes of an event stream, exactly as they came."""
    return (FOLDER / f"stream_{name}.sse").read_bytes()


def encoded(body: Any) -> bytes:
    """A recorded body as it was on the wire."""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()

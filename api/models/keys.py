"""API keys."""

from __future__ import annotations

from enum import Enum

from pydantic import Field

from .records import Name, Record, Timestamp


class KeyScope(str, Enum):
    """What a key is good for.

    - `full`: everything.
    - `run`: running deployments: their inputs, uploads, and runs, of which it needs to know the id.
    - `read`: looking at everything and changing nothing.
    """

    FULL = "full"
    RUN = "run"
    READ = "read"


class ApiKey(Record):
    """A key, without what opens the door."""

    id: str
    name: str | None = None
    scope: KeyScope = KeyScope.FULL
    created_at: Timestamp | None = None
    expires_at: Timestamp | None = None
    revoked_at: Timestamp | None = None


class NewApiKey(Record):
    """Body of `POST /platform/api-keys`."""

    name: Name = Field(examples=["my website"])
    """What you call it."""
    scope: KeyScope = KeyScope.FULL
    expires_in: float | None = Field(default=None, gt=0, le=10 * 366 * 24 * 3600)
    """Seconds from now after which it stops working; without one it works until it is revoked."""


class CreatedApiKey(ApiKey):
    """Answer to creating a key. Both secrets are told only here."""

    key: str = Field(repr=False)
    webhook_secret: str = Field(repr=False)
    """What the webhooks of this key's runs are signed with, in the form of Standard Webhooks (`whsec_…`)."""

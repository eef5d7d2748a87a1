"""Files on servers that are neither this computer nor the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..api.errors import ConfigurationError
from ..api.settings import load_connection

if TYPE_CHECKING:
    from ..api.client.foreign import ForeignFiles


def foreign_files() -> ForeignFiles:
    """What opens URLs, as this computer's user has set it up."""
    from ..api.client.border import allows_private_addresses
    from ..api.client.foreign import ForeignFiles

    try:
        trusted_url = load_connection().base_url
    except ConfigurationError:
        trusted_url = None
    return ForeignFiles(trusted_url=trusted_url, allow_private=allows_private_addresses())

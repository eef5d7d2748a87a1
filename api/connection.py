"""One platform and the key for it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from .addresses import is_written_address, leads_outside
from .errors import ConfigurationError

DEFAULT_BASE_URL = "https://api.comfydeploy.com"
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")
_PATH = re.compile(r"[A-Za-z0-9_.~+,=:@%/-]*")
"""Nothing that has to be quoted where the URL is pasted into a command or a program."""
_WITHOUT_SCHEME = re.compile(r"(?P<host>[\w-]+(\.[\w-]+)*|\[[0-9a-fA-F:]+\])(:\d+)?(/.*)?")
SHORTEST_KEY = 8
"""Characters of a key. What is shorter may be a word, which cannot be kept out of what people are told."""
_SHOWN_FROM = 12
_SHOWN = 4


@dataclass(frozen=True)
class Connection:
    """A platform and the key for it. Raises ConfigurationError for what cannot be either."""

    base_url: str
    """Normalised: `https://host[:port][/path]`, with no slash at the end."""
    api_key: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", normalised(self.base_url))
        _check_key(self.api_key)

    @classmethod
    def given(cls, address: str, api_key: str) -> Connection:
        """A connection as a person has given it: the address without a scheme, too, and a key that can be one.

        Raises ConfigurationError.
        """
        connection = cls(completed(address), api_key)
        if len(api_key) < SHORTEST_KEY:
            raise ConfigurationError(
                f"The API key has {len(api_key)} characters, and a key has at least {SHORTEST_KEY}. Copy all of it."
            )
        return connection

    @property
    def api_root(self) -> str:
        """What the paths of the API are appended to."""
        return self.base_url if self.base_url.endswith("/api") else f"{self.base_url}/api"

    @property
    def origin(self) -> str:
        """Scheme, host and port: the only place the key is sent to."""
        parts = urlsplit(self.base_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def id(self) -> str:
        """A short name for this pair of platform and key, from which neither can be read; for caches."""
        return hashlib.sha256(f"{self.base_url}\0{self.api_key}".encode()).hexdigest()[:16]

    @property
    def key_ending(self) -> str | None:
        """What may be shown of the key, so that its owner knows which one it is; nothing of a short one."""
        return self.api_key[-_SHOWN:] if len(self.api_key) >= _SHOWN_FROM else None


def completed(address: str) -> str:
    """An address with the scheme that it needs: http on this computer and in its network, https on the internet."""
    address = address.strip()
    found = _WITHOUT_SCHEME.fullmatch(address)
    if found is None:
        return address
    return f"{'http' if _is_near(found['host'].strip('[]').lower()) else 'https'}://{address}"


def _is_near(host: str) -> bool:
    if is_written_address(host):
        try:
            return not leads_outside(host)
        except ValueError:
            return False
    # Nobody can have a certificate for such a name.
    return "." not in host or host.endswith((".local", ".localhost"))


def normalised(url: str) -> str:
    """A base URL in one spelling. Raises ConfigurationError, which does not repeat it."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigurationError("The base URL is not a URL. It looks like https://api.example.com") from None
    _check_parts(parts)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port_suffix = f":{port}" if port is not None and port != _PORTS[parts.scheme] else ""
    return f"{parts.scheme}://{host}{port_suffix}{parts.path.rstrip('/')}"


def _check_parts(parts: SplitResult) -> None:
    if parts.scheme not in _PORTS:
        raise ConfigurationError("The base URL must begin with http:// or https://, such as http://127.0.0.1:8190")
    if "@" in parts.netloc:
        raise ConfigurationError("The base URL must not hold a user name or password; the API key has its own setting.")
    if parts.query or parts.fragment:
        raise ConfigurationError("The base URL must end before the '?' or '#': it is only host, port and path.")
    if not _HOST.fullmatch(parts.hostname or "") or not _PATH.fullmatch(parts.path):
        raise ConfigurationError("The base URL has no valid host or path. It looks like https://api.example.com")


def _check_key(key: str) -> None:
    if not key:
        raise ConfigurationError("The API key is empty.")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigurationError("The API key holds a blank, a line break or a letter outside of ASCII. Copy it again.")

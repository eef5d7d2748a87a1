"""Where the platform is and the key for it: from the environment, else from a private file. Never from the browser."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .errors import ConfigurationError
from .shapes import is_object

DEFAULT_BASE_URL = "https://api.comfydeploy.com"
_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")


@dataclass(frozen=True)
class Connection:
    """A platform and the key for it. Raises ConfigurationError for what cannot be either."""

    base_url: str
    """Normalised: `https://host[:port][/path]`, with no slash at the end."""
    api_key: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", _base_url(self.base_url))
        _check_key(self.api_key)

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


def load_connection(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> Connection:
    """The connection from OUTPOST_BASE_URL and OUTPOST_API_KEY, else from the settings file.

    A base URL in the environment without a key takes the file's key only if the file is about the same platform, so
    that a key never goes to a platform it was not made for.
    """
    base_url, api_key = environ.get("OUTPOST_BASE_URL", "").strip(), environ.get("OUTPOST_API_KEY", "")
    if api_key and base_url:
        return Connection(base_url, api_key)
    path = path or settings_path(environ)
    saved = _read(path)
    if api_key and saved:
        raise ConfigurationError(
            f"OUTPOST_API_KEY is set and does not say for which platform: set OUTPOST_BASE_URL too, or remove {path}."
        )
    if api_key:
        return Connection(DEFAULT_BASE_URL, api_key)
    if saved and (not base_url or _base_url(base_url) == saved.base_url):
        return saved
    if base_url:
        raise ConfigurationError(
            f"There is no API key for {_base_url(base_url)}. Set OUTPOST_API_KEY too, or save the connection in {path}."
        )
    raise ConfigurationError(
        "No platform is set up. Set OUTPOST_BASE_URL and OUTPOST_API_KEY in the environment, "
        f"or save a connection with the command: outpost connect URL (which writes {path})."
    )


def save_connection(connection: Connection, path: Path) -> None:
    """Keep the connection in a file that only its owner can read, from the moment it exists."""
    if not path.parent.exists():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    content = json.dumps({"base_url": connection.base_url, "api_key": connection.api_key}, indent=2)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def settings_path(environ: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> Path:
    """The settings file: OUTPOST_SETTINGS, else where programs of this operating system keep their settings."""
    if chosen := environ.get("OUTPOST_SETTINGS"):
        return Path(chosen).expanduser()
    return _settings_folder(environ, platform) / "comfyui-outpost" / "connection.json"


def _settings_folder(environ: Mapping[str, str], platform: str) -> Path:
    if platform == "win32":
        appdata = environ.get("APPDATA")
        return Path(appdata) if appdata else Path.home() / "AppData" / "Roaming"
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    xdg = environ.get("XDG_CONFIG_HOME")
    return Path(xdg) if xdg else Path.home() / ".config"


def _read(path: Path) -> Connection | None:
    """The saved connection; None when there is no file."""
    try:
        with path.open(encoding="utf-8") as file:
            _check_mode(os.fstat(file.fileno()).st_mode, path)
            data: Any = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        # Neither the file's text nor the parser's message may be shown: both can hold the key.
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ConfigurationError(
            f"{path} cannot be read: {reason}. Correct it, or save the connection again."
        ) from None
    base_url, api_key = _text(data, "base_url") or DEFAULT_BASE_URL, _text(data, "api_key")
    if not api_key:
        raise ConfigurationError(f'{path} has no "api_key". Correct it, or save the connection again.')
    return Connection(base_url, api_key)


def _text(data: Any, name: str) -> str:
    value = data.get(name) if is_object(data) else None
    return value if isinstance(value, str) else ""


def _check_mode(mode: int, path: Path) -> None:
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(f"{path} holds an API key and others can read it. Run: chmod 600 '{path}'")


def _base_url(url: str) -> str:
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
        raise ConfigurationError("The base URL must begin with http:// or https://")
    if "@" in parts.netloc:
        raise ConfigurationError("The base URL must not hold a user name or password; the API key has its own setting.")
    if parts.query or parts.fragment:
        raise ConfigurationError("The base URL must end before the '?' or '#': it is only host, port and path.")
    if not _HOST.fullmatch(parts.hostname or "") or re.search(r"[\s\\]|[^\x20-\x7e]", parts.path):
        raise ConfigurationError("The base URL has no valid host or path. It looks like https://api.example.com")


def _check_key(key: str) -> None:
    if not key:
        raise ConfigurationError("The API key is empty.")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise ConfigurationError("The API key holds a blank, a line break or a letter outside of ASCII. Copy it again.")

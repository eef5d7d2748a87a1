"""Whether a request comes from ComfyUI's own page, and not from some other one that the same browser shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

PAGE_HEADER = "Outpost-Page"
"""Sent by the page with each request. Another page cannot send it without asking ComfyUI first, which says no."""
HOSTS_VARIABLE = "OUTPOST_PAGE_HOSTS"
"""Names, separated by commas, by which ComfyUI's page is opened without https."""

_LOCAL_ENDINGS = ("localhost", "local", "lan", "home", "internal", "home.arpa", "test")
"""Ends of names that nobody can register."""


def objection(headers: Mapping[str, str], *, is_picture: bool = False, hosts: Collection[str] = ()) -> str | None:
    """Why a request is not answered; None for one of the page's own.

    A picture (`<img src=…>`) is asked for without our header. Browsers tell where such a request comes from by
    `Sec-Fetch-Site`, but not where ComfyUI is reached by plain http over a network: there its `Referer` has to do.
    There, too, somebody's own page can be made to seem ComfyUI's by a name that leads to this machine (DNS rebinding),
    so a name counts only if it is an address, one that nobody can register, or one of `hosts`.
    """
    host = headers.get("Host", "").lower()
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site not in (None, "same-origin"):
        return "This is for ComfyUI's own page only, and the request came from another place."
    if origin is not None and _authority(origin) != host:
        return "This is for ComfyUI's own page only, and the request came from a page of another origin."
    if site is None and not _is_own(name := _name(host), hosts):
        return (
            "A name that anybody could have registered may lead here, so without https this is answered only at an "
            f"address or a local name. Open ComfyUI's page by one, or set {HOSTS_VARIABLE}={name} for ComfyUI."
        )
    if headers.get(PAGE_HEADER) == "1":
        return None
    if is_picture:
        is_known = site is not None or _authority(headers.get("Referer", "")) == host
        return None if is_known else "This picture is for ComfyUI's own page only."
    return f"This is for ComfyUI's own page only: the header {PAGE_HEADER} is missing."


def hosts_of(setting: str) -> frozenset[str]:
    """The names in the setting."""
    return frozenset(name.strip().lower() for name in setting.split(",") if name.strip())


def _is_own(name: str, hosts: Collection[str]) -> bool:
    if name in hosts:
        return True
    try:
        ip_address(name)
    except ValueError:
        return bool(name) and ("." not in name or name.endswith(tuple(f".{end}" for end in _LOCAL_ENDINGS)))
    return True


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _authority(url: str) -> str | None:
    try:
        return urlsplit(url).netloc.lower() or None
    except ValueError:
        return None

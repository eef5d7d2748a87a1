"""Who gets an answer: ComfyUI's own page, and no other one that the same browser shows."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.panel import attach
from comfyui_outpost.api.panel.origin import hosts_of, objection
from comfyui_outpost.tests.panel.conftest import OWN, Page

ID = "0b3c2a10-0000-4000-8000-000000000001"
HOST = "192.168.1.5:8188"
TABLES = ["/outpost/deployments", f"/outpost/deployments/{ID}", "/outpost/assets?path=&query="]
PICTURE = "/outpost/assets/img_1/thumbnail"
SAME = {"Sec-Fetch-Site": "same-origin"}

# Name, what a request has besides its host, and whether it is answered: a table's, a picture's. A browser tells
# `Sec-Fetch-Site` only where the page came by https or from this computer.
REQUESTS: list[tuple[str, dict[str, str], bool, bool]] = [
    ("the page's own", OWN, True, True),
    ("the page's own, by https", {**OWN, **SAME}, True, True),
    ("the page's own, with its origin", {**OWN, "Origin": f"http://{HOST}"}, True, True),
    ("the page's picture, by https", SAME, False, True),
    ("the page's picture, over a network", {"Referer": f"http://{HOST}/"}, False, True),
    ("the page's picture, behind a path", {"Referer": f"http://{HOST}/comfy/?x=1#y"}, False, True),
    ("nothing", {}, False, False),
    ("another value of the header", {"Outpost-Page": "true"}, False, False),
    ("a picture on another page", {"Referer": "http://evil.example/"}, False, False),
    ("a picture on another port", {"Referer": "http://192.168.1.5:9000/"}, False, False),
    ("a picture on a page that hides", {"Referer": ""}, False, False),
    ("a picture on a page with our name in it", {"Referer": f"http://evil.example/{HOST}/"}, False, False),
    ("a picture on a page with our name before it", {"Referer": f"http://{HOST}@evil.example/"}, False, False),
    ("a picture on a page with no address", {"Referer": "http://[::1/"}, False, False),
    ("another site", {**OWN, "Sec-Fetch-Site": "cross-site"}, False, False),
    ("another site of the same name", {**OWN, "Sec-Fetch-Site": "same-site"}, False, False),
    ("the address bar", {"Sec-Fetch-Site": "none"}, False, False),
    ("another site's picture", {"Sec-Fetch-Site": "cross-site", "Referer": f"http://{HOST}/"}, False, False),
    ("another origin", {**OWN, "Origin": "http://evil.example"}, False, False),
    ("another origin, by https", {**OWN, **SAME, "Origin": "https://evil.example"}, False, False),
    ("another port", {**OWN, "Origin": "http://192.168.1.5:9000"}, False, False),
    ("a page without an origin", {**OWN, "Origin": "null"}, False, False),
    ("an origin that is none", {**OWN, "Origin": ""}, False, False),
]


@pytest.mark.parametrize(("name", "sent", "is_answered", "is_picture_answered"), REQUESTS, ids=lambda each: str(each))
async def test_only_the_page_itself_is_answered(
    page: Page, name: str, sent: dict[str, str], is_answered: bool, is_picture_answered: bool
):
    # Whoever is let in hears that no platform is set up.
    for path, expected in [*((path, is_answered) for path in TABLES), (PICTURE, is_picture_answered)]:
        answer = await page.get(path, {"Host": HOST, **sent})
        assert answer.status == (503 if expected else 403), (name, path)
        assert answer.data["code"] == ("no_connection" if expected else "forbidden")
        assert "Access-Control-Allow-Origin" not in answer.headers


# Host, and whether the page is answered there by plain http. By https the browser has seen a certificate for the name.
HOSTS = [
    ("127.0.0.1:8188", True),
    ("[::1]:8188", True),
    ("[fe80::1%25eth0]:8188", True),
    ("192.168.1.5", True),
    ("localhost:8188", True),
    ("studio:8188", True),
    ("studio.local:8188", True),
    ("Studio.LAN", True),
    ("comfy.studio.home.arpa", True),
    ("comfy.studio.example", True),  # set by the user
    ("evil.example:8188", False),
    ("127.0.0.1.evil.example:8188", False),
    ("localhost.evil.example", False),
    ("evil.example.", False),
    ("notlocal.evillocal", False),
    ("evil.example@127.0.0.1", True),  # the name is the address: no browser sends this
    ("[::1", False),
    ("", False),
]


@pytest.mark.parametrize(("host", "is_own"), HOSTS)
def test_a_name_that_anybody_may_have_registered_counts_only_by_https(host: str, is_own: bool):
    hosts = hosts_of(" comfy.studio.example, ,other.example")
    for headers in (OWN, {"Referer": f"http://{host}/"}):
        assert (objection({"Host": host, **headers}, is_picture=True, hosts=hosts) is None) is (is_own and bool(host))
    assert objection({"Host": host, **OWN, **SAME}, hosts=hosts) is None


async def test_a_page_that_is_opened_by_such_a_name_is_told_what_to_do(page: Page):
    answer = await page.get("/outpost/deployments", {**OWN, "Host": "comfy.example.org:8188"})

    assert answer.status == 403
    assert "OUTPOST_PAGE_HOSTS=comfy.example.org" in answer.data["detail"]


async def test_no_other_method_is_answered(page: Page):
    for method in ("PUT", "OPTIONS", "TRACE"):
        async with page._session.request(method, page.url + "/outpost/deployments", headers=OWN) as response:
            assert response.status == 405
            assert "Access-Control-Allow-Headers" not in response.headers


def test_a_second_copy_of_the_package_adds_nothing(caplog: pytest.LogCaptureFixture):
    routes = web.RouteTableDef()
    routes.get("/outposts")(_nothing)  # somebody else's
    routes.static("/outpost/static", ".")

    assert attach(routes) is not None
    first = list(routes)
    assert attach(routes) is None

    assert list(routes) == first
    assert "installed twice" in caplog.text
    web.Application().add_routes(routes)  # raises for two equal routes


async def _nothing(request: Any) -> web.Response:
    return web.Response()

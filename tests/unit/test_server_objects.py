"""Names and signatures of objects, without a server."""

from __future__ import annotations

import itertools
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from comfyui_outpost.api.errors import Forbidden, NotFound
from comfyui_outpost.api.server.objects import Folder, Grant, Objects, safe_name

NAMES = [
    "cat.png",
    "../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\system.ini",
    "C:\\x.png",
    "a/../b",
    "",
    ".",
    "..",
    "...",
    ".hidden",
    " ",
    "\0",
    "a\0b.png",
    "a\r\nSet-Cookie: x",
    "a\u2028b",
    "\ud800.png",
    "%2e%2e%2f",
    "あ" * 300 + ".png",
    "🙂.png",
    "x" * 5000 + ".png",
    "x.png" + "." * 200,
    "a;b|c`d$e'f\"g",
    "-rf",
    "~root",
]


@pytest.fixture
def objects(tmp_path: Path) -> Objects:
    return Objects(Folder(tmp_path / "objects"), b"a secret of this server alone...", clock=lambda: 1000.0)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "objects")


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:24])
def test_a_safe_name_is_one_harmless_part_of_a_path(folder: Folder, tmp_path: Path, name: str):
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= 100
    assert safe == safe_name(safe)
    assert not safe.startswith(".")
    assert not set(safe) & set("/\\\0\r\n:;|`$'\"% ")
    assert folder.path(f"files/x/{safe}").parent == tmp_path / "objects" / "files" / "x"


def test_a_safe_name_keeps_what_people_know_it_by():
    assert safe_name("My cat.final.png") == "My_cat.final.png"
    assert safe_name("猫.png") == "猫.png"
    assert safe_name("x" * 5000 + ".png").endswith(".png")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "..",
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "a//b",
        "a/",
        "./a",
        "a/.hidden",
        "a\0",
        "a\nb",
        "a/.x.part",
    ],
    ids=ascii,
)
def test_no_key_leads_out_of_the_folder_or_to_a_part(folder: Folder, key: str):
    with pytest.raises((NotFound, ValueError)):
        folder.path(key)


def _query(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    key = unquote(parts.path.partition("/objects/")[2])
    return key, {name: values[0] for name, values in parse_qs(parts.query).items()}


def test_a_signature_of_one_grant_fits_no_other(objects: Objects):
    """Every way of moving a piece of one field into its neighbour gives another signature."""
    methods, keys = ("GET", "PUT"), ("a/b", "a/b1", "a", "b")
    kinds, sizes, moments = ("image/png", "image/pn", "a/b"), (0, 1, 11), (1, 11, 111)
    grants = [Grant(*fields) for fields in itertools.product(methods, keys, kinds, sizes, moments)]
    grants += [Grant("GET\na/b", "image/png", "1", 1, 1), Grant("GET", "a/b\nimage/png", "0", 1, 1)]
    signatures = {objects._signature(grant) for grant in grants}
    assert len(signatures) == len(grants)


@pytest.mark.parametrize("key", ["files/x/cat.png", "files/x/猫 .png", "runs/1/a+b&c=d?e#f.png"])
def test_what_was_signed_is_what_is_granted(objects: Objects, key: str):
    url = objects.sign("http://x/api", method="PUT", key=key, content_type="image/png", seconds=10, size=7)
    found, query = _query(url)
    assert objects.check(found, query, method="PUT") == Grant("PUT", key, "image/png", 7, 1010)
    assert quote(key) in url


def test_a_grant_ends_with_its_time(tmp_path: Path):
    now = 1000.0
    objects = Objects(Folder(tmp_path), bytes(32), clock=lambda: now)
    key, query = _query(objects.sign("http://x", method="GET", key="a", content_type="a/b", seconds=10))
    now = 1010.0
    assert objects.check(key, query, method="GET").expires == 1010
    now = 1010.5
    with pytest.raises(Forbidden, match="has expired"):
        objects.check(key, query, method="GET")


def test_the_key_of_a_url_is_told_only_for_downloads_of_this_server(objects: Objects, tmp_path: Path):
    options = {"key": "files/x/a.png", "content_type": "image/png", "seconds": 10}
    url = objects.sign("http://x/api", method="GET", **options)
    assert objects.key_of(url) == "files/x/a.png"
    assert objects.key_of(url.replace("http://x", "https://elsewhere:9/p")) == "files/x/a.png"
    assert objects.key_of(objects.sign("http://x/api", method="PUT", size=1, **options)) is None
    assert Objects(Folder(tmp_path), bytes(32)).key_of(url) is None
    for other in ("", "x", "//[", "http://[::1", "data:image/png;base64,xx", "http://x/objects/a", url[:-1], "\ud800"):
        assert objects.key_of(other) is None

"""Small pictures in memory: of assets, covers and outputs, together within so many bytes."""

from __future__ import annotations

from comfyui_outpost.api.panel.desk import Desk
from comfyui_outpost.api.panel.files.kept import MAX_BYTES, Pictures

SIZE = 10_000


def numbered(number: int) -> tuple[str, ...]:
    return "asset", str(number)


def test_all_pictures_together_have_no_more_than_so_many_bytes():
    pictures = Pictures(max_bytes=20 * SIZE)
    for number in range(100):
        pictures.keep((("asset", "run", "output")[number % 3], str(number)), bytes([number]) * SIZE)

    found = list(pictures._kept.values())
    assert 15 < len(found) < 20
    assert sum(len(each.data) for each in found) <= 20 * SIZE
    assert [each.data[0] for each in found] == list(range(100 - len(found), 100))


def test_many_pictures_of_nothing_take_room_too():
    pictures = Pictures(max_bytes=100 * 1000)
    for number in range(10_000):
        pictures.keep(numbered(number), b"")

    assert len(pictures._kept) <= 200


def test_what_was_asked_for_last_stays():
    pictures = Pictures(max_bytes=3 * SIZE)
    pictures.keep(numbered(0), b"a" * SIZE)
    pictures.keep(numbered(1), b"b" * SIZE)
    assert pictures.get(numbered(0)) == b"a" * SIZE
    pictures.keep(numbered(2), b"c" * SIZE)

    assert [bool(pictures.get(numbered(number))) for number in range(3)] == [True, False, True]


def test_a_picture_that_takes_the_place_of_another_takes_no_other_room():
    pictures = Pictures(max_bytes=2 * SIZE)
    for size in (SIZE, SIZE // 2, 1, SIZE, SIZE):
        pictures.keep(numbered(0), bytes(size))
    pictures.keep(numbered(1), bytes(SIZE // 2))

    assert len(pictures.get(numbered(0)) or b"") == SIZE
    assert len(pictures.get(numbered(1)) or b"") == SIZE // 2


def test_a_picture_that_has_no_room_at_all_is_given_and_not_kept():
    pictures = Pictures(max_bytes=SIZE)
    assert pictures.keep(numbered(0), bytes(2 * SIZE)) == bytes(2 * SIZE)
    assert pictures.get(numbered(0)) is None

    pictures.keep(numbered(1), b"small")
    assert pictures.get(numbered(1)) == b"small", "what was not kept takes no room"


def test_a_picture_is_kept_until_its_time_is_over():
    pictures = Pictures()
    pictures.keep(numbered(0), b"x", until=10.0)

    assert pictures.get(numbered(0), now=9.9) == b"x"
    assert pictures.get(numbered(0), now=10.0) is None


async def test_all_pictures_of_a_panel_share_one_limit():
    desk = Desk(None)
    try:
        assert desk.thumbnails.pictures is desk.pictures
        assert desk.covers._thumbnails.pictures is desk.pictures
        assert desk.pictures._max == MAX_BYTES <= 32 * 1024 * 1024
    finally:
        await desk.aclose()

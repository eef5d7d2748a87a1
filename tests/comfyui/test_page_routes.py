"""The routes of our part of the page, on the server of a real ComfyUI."""

from __future__ import annotations

import aiohttp
import pytest

from .lane import INVERT, Lane

pytestmark = pytest.mark.asyncio(loop_scope="session")

OWN = {"Outpost-Page": "1"}


async def test_comfyui_answers_its_page_and_nobody_else(lane: Lane):
    deployment_id = await lane.deploy(INVERT)
    assert await lane.comfyui.object_info("OutpostRunDeployment")
    kept = [each.name for each in await lane.client.assets.list()]
    log = lane.comfyui.log()
    assert "installed twice" not in log

    async with aiohttp.ClientSession(lane.comfyui.url) as page:
        async with page.get("/api/object_info/SaveImage") as response:
            has_prefix = response.status == 200
        for prefix in ("", "/api") if has_prefix else ("",):
            async with page.get(f"{prefix}/outpost/deployments", headers=OWN) as response:
                listed = await response.json()
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Cache-Control"] == "no-store"
            assert deployment_id in {each["id"] for each in listed["deployments"]}

            async with page.get(f"{prefix}/outpost/deployments/{deployment_id}", headers=OWN) as response:
                form = await response.json()
            assert [each["input_id"] for each in form["inputs"]] == ["image"]
            assert [each["name"] for each in form["outputs"]] == ["inverted"]

            async with page.get(f"{prefix}/outpost/assets", headers=OWN) as response:
                library = await response.json()
            assert (library["path"], [each["name"] for each in library["assets"]]) == ("", kept)

            for headers in ({}, {**OWN, "Origin": "http://evil.example"}, {**OWN, "Host": "evil.example"}):
                async with page.get(f"{prefix}/outpost/deployments", headers=headers) as response:
                    assert response.status == 403
                    assert deployment_id not in await response.text()

    assert lane.api_key not in lane.comfyui.log()

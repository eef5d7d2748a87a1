"""What a node shows of its deployment survives everything that people do to graphs."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS

from .desk import CHROMIUM, TRACKER, Desk
from .forms import HOSTILE, PORTRAIT, Routes, answered, deployment, input_field, output

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
    # The page is the same on each ComfyUI, and answers its own questions here.
    pytest.mark.parametrize("shared_desk", INSTALLATIONS[-1:], indirect=True, ids=lambda found: found.name),
]
RUN = "OutpostRunDeployment"
AWAY = ("status of 503", "No platform is set up")
VALUES = {"prompt": "two cats", "steps": 33, "strength": 0.25, "is_on": False, "style": "ink", "seed": 77}
CHOSEN = {"control_after_generate": "fixed", "input:deployment_id": "mine", HOSTILE: "x"}


@pytest_asyncio.fixture(loop_scope="session")
async def routes(desk: Desk) -> AsyncGenerator[Routes, None]:
    async with answered(desk.page) as routes:
        yield routes


async def _drawn(desk: Desk) -> str:
    """A graph of a picture, the node with values of its own, and a node that takes its output; the node's id."""
    load, run, save = [await desk.add(kind, x) for kind, x in (("LoadImage", 60), (RUN, 480), ("SaveImage", 900))]
    await desk.choose(run, PORTRAIT)
    await desk.set(run, **VALUES, **CHOSEN)
    await desk.connect(load, 0, run, "image")
    await desk.connect(load, 1, run, "image:alpha")
    await desk.connect(run, "picture", save, "images")
    return run


def _inputs(prompt: dict, node: str | None = None) -> dict:
    found = {key: each["inputs"] for key, each in prompt.items() if each["class_type"] == RUN}
    return found[node] if node else next(iter(found.values()))


SHOWN = """
(id) => { const ours = app.graph.nodes.filter((each) => each.type === "OutpostRunDeployment");
          return ours.length === 1 && ours[0].widgets[0].value === id
                 && (ours[0].widgets.length > 8) === (id !== ""); }
"""


async def test_choosing_a_deployment_is_one_step_to_undo_and_to_do_again(desk: Desk, routes: Routes) -> None:
    node = await desk.add(RUN)
    await desk.rest()
    await desk.choose(node, PORTRAIT)
    await desk.rest()

    await desk.page.evaluate(f"() => {TRACKER}.undo()")
    await desk.until(SHOWN, "")
    await desk.page.evaluate(f"() => {TRACKER}.redo()")
    await desk.until(SHOWN, PORTRAIT)

    assert _inputs(await desk.prompt())["deployment_id"] == PORTRAIT


async def test_a_chosen_deployment_becomes_sockets_and_widgets(desk: Desk, routes: Routes) -> None:
    node = await desk.add(RUN)
    before = await desk.look(node)
    await desk.choose(node, PORTRAIT)

    after = await desk.look(node)
    sockets = {name: (label, kind) for name, label, kind in after["inputs"]}
    assert sockets["image"] == ("Photo", "IMAGE,MASK,OUTPOST_FILE,STRING")
    assert sockets["image:alpha"] == ("Photo alpha", "MASK")
    assert sockets["clip"] == ("clip", "VIDEO,OUTPOST_FILE,STRING")
    assert {"prompt", "steps", "strength", "is_on", "style", "seed"} <= sockets.keys()  # widgets are sockets as well
    values = dict(after["widgets"])
    assert (values["prompt"], values["steps"], values["strength"], values["is_on"]) == ("a cat", 20, 0.5, True)
    assert (values["style"], values["seed"], values["control_after_generate"]) == ("oil", 5, "randomize")
    assert values["input:deployment_id"] == "cat" and values["deployment_id"] == PORTRAIT
    assert [each[0] for each in after["outputs"]] == [*(each[0] for each in before["outputs"]), "picture", "caption"]
    assert values["outputs"] == '["picture","caption"]'
    assert not any(name.endswith(".text") for name in [*sockets, *values])  # 300 open values are not shown
    each = await desk.add("OutpostRunDeploymentForEach", 900)
    await desk.choose(each, PORTRAIT)
    assert [name for name, _, _ in (await desk.look(each))["outputs"][4:]] == ["picture", "caption"]
    assert await desk.page.evaluate("() => window.pwned") is None


async def test_a_saved_graph_is_the_same_when_it_is_opened_with_and_without_the_platform(
    desk: Desk, routes: Routes
) -> None:
    await _drawn(desk)
    prompt, saved = await desk.prompt(), await desk.saved()
    assert {**VALUES, "input:deployment_id": "mine"}.items() <= _inputs(prompt).items()

    await desk.load(saved)
    assert await desk.prompt() == prompt
    routes.is_away = True
    desk.expected += AWAY
    await desk.open()
    await desk.load(saved)

    assert await desk.prompt() == prompt
    label = """() => { const node = app.graph.nodes.find((each) => each.type === "OutpostRunDeployment");
                       const list = node.widgets[0]; return list.options.getOptionLabel(list.value); }"""
    assert await desk.page.evaluate(label) == "Portrait · production"
    assert await desk.page.get_by_text("No platform is set up").count() == 0  # nobody has asked for anything


async def test_a_copied_node_has_the_values_of_the_first(desk: Desk, routes: Routes) -> None:
    node = await _drawn(desk)
    copy = """([id]) => { app.canvas.selectNodes([app.graph.getNodeById(id)]); app.canvas.copyToClipboard();
                         app.canvas.pasteFromClipboard(); }"""
    await desk.page.evaluate(copy, [node])
    clone = """([id]) => { const clone = app.graph.getNodeById(id).clone(); app.graph.add(clone); }"""
    await desk.page.evaluate(clone, [node])

    prompt = await desk.prompt()
    ours = [each["inputs"] for each in prompt.values() if each["class_type"] == RUN]
    unlinked = [{name: value for name, value in each.items() if not name.startswith("image")} for each in ours]
    assert len(ours) == 3 and unlinked[0] == unlinked[1] == unlinked[2]
    assert {**VALUES, "input:deployment_id": "mine"}.items() <= unlinked[0].items()


async def test_a_node_works_inside_a_subgraph_and_after_that_was_saved(desk: Desk, routes: Routes) -> None:
    node = await _drawn(desk)
    outside = _inputs(await desk.prompt())
    await desk.page.evaluate("([id]) => void app.graph.convertToSubgraph(new Set([app.graph.getNodeById(id)]))", [node])
    prompt = await desk.prompt()

    await desk.load(await desk.saved())

    assert await desk.prompt() == prompt
    (ours,) = [key for key, each in prompt.items() if each["class_type"] == RUN]
    assert ":" in ours and _inputs(prompt) == outside
    text = "(id) => app.api.dispatchEvent(new CustomEvent('outpost.text', { detail: { node: id, text: 'at work' } }))"
    await desk.page.evaluate(text, ours)  # the node is found, which is in no graph that is shown


async def test_a_deployment_that_has_changed_keeps_links_and_says_what_is_gone(desk: Desk, routes: Routes) -> None:
    node = await _drawn(desk)
    form = routes.forms[PORTRAIT]
    form["inputs"] = [each for each in form["inputs"] if each["input_id"] not in ("image", "steps")]
    strength = next(each for each in form["inputs"] if each["input_id"] == "strength")
    strength.update(kind="text", socket="STRING", widget={"type": "text", "default": "weak"})
    form["inputs"].append(input_field("added", "text", "STRING", {"type": "text", "default": "new"}))
    form["outputs"] = [output("caption", "text", "STRING"), output("extra", "image", "IMAGE")]
    before, saved = await desk.prompt(), await desk.saved()
    await desk.open()

    await desk.load(saved)
    await desk.until("() => document.querySelectorAll('.outpost-remark').length > 3")

    look, prompt = await desk.look(node), await desk.prompt()
    labels = {name: label for name, label, _ in [*look["inputs"], *look["outputs"][3:]]}
    assert labels["image"] == "⚠ Photo (gone)" and labels["steps"] == "⚠ steps (gone)"
    assert labels["strength"] == "⚠ strength (changed)" and labels["picture"] == "⚠ picture (gone)"
    assert dict(look["widgets"])["strength"] == "0.25" and dict(look["widgets"])["added"] == "new"
    assert "The input “image” is gone from the deployment." in await desk.note()
    assert _inputs(prompt)["image"] == _inputs(before)["image"]
    assert _inputs(prompt)["outputs"] == '["picture","caption","extra"]'
    routes.is_away = True
    desk.expected += AWAY
    await desk.load(await desk.saved())
    assert await desk.prompt() == prompt and "The input “image” is gone from the deployment." in await desk.note()
    routes.is_away = False
    await desk.page.evaluate(
        """([id]) => { const entries = []; app.graph.getNodeById(id).getExtraMenuOptions(app.canvas, entries);
                       entries.find((each) => each?.content === "Remove what is gone").callback(); }""",
        [node],
    )
    tidy = await desk.look(node)
    assert not any("⚠" in label for _, label, _ in [*tidy["inputs"], *tidy["outputs"]])
    assert {"image", "steps"}.isdisjoint(_inputs(await desk.prompt())) and await desk.note() == []


async def test_another_deployment_takes_over_what_has_the_same_name(desk: Desk, routes: Routes) -> None:
    other = {**routes.forms[PORTRAIT], "id": "other", "name": "Other"}
    other["inputs"] = [each for each in other["inputs"] if each["input_id"] in ("steps", "image")]
    other["outputs"] = []
    routes.forms["other"] = other
    node = await _drawn(desk)

    await desk.choose(node, "other")

    look = await desk.look(node)
    assert dict(look["widgets"])["steps"] == 33
    assert "prompt" not in dict(look["widgets"]) and "clip" not in {each[0] for each in look["inputs"]}
    assert [each[1] for each in look["outputs"][3:]] == ["⚠ picture (gone)"]  # something is connected to it
    assert "image" in _inputs(await desk.prompt())


async def test_one_of_many_open_values_is_added_and_one_of_any_name(desk: Desk, routes: Routes) -> None:
    node = await desk.add(RUN)
    await desk.choose(node, PORTRAIT)
    press = """([id]) => { const node = app.graph.getNodeById(id);
                           node.widgets.find((each) => each.name === "Add input").callback(); }"""

    await desk.page.evaluate(press, [node])
    await desk.page.locator(".outpost-dialog input").fill("29.text")
    await desk.page.keyboard.press("ArrowDown")
    await desk.page.keyboard.press("Enter")
    await desk.until("([id]) => app.graph.getNodeById(id).widgets.some((each) => each.name.endsWith('9.text'))", [node])
    await desk.page.evaluate(press, [node])
    await desk.page.locator(".outpost-dialog input").fill("by hand")
    await desk.page.keyboard.press("Enter")
    await desk.until("([id]) => app.graph.getNodeById(id).inputs.some((each) => each.name === 'by hand')", [node])
    prompt = await desk.prompt()
    await desk.load(await desk.saved())

    assert _inputs(await desk.prompt()) == _inputs(prompt) and _inputs(prompt)["29.text"] == "cat"
    assert "by hand" in {each[0] for each in (await desk.look(node))["inputs"]}


async def test_a_seed_changes_after_each_run_as_that_of_a_sampler_does(desk: Desk, routes: Routes) -> None:
    node = await desk.add(RUN)
    await desk.choose(node, PORTRAIT)
    await desk.set(node, control_after_generate="increment")
    await desk.page.evaluate(
        """([id]) => { for (const widget of app.graph.getNodeById(id).widgets) widget.afterQueued?.({}); }""", [node]
    )
    assert dict((await desk.look(node))["widgets"])["seed"] == 6


async def test_a_graph_of_before_there_was_a_list_is_kept_as_it_is(desk: Desk, routes: Routes) -> None:
    inputs = [{"name": "anything", "type": "*", "link": None}]
    outputs = [{"name": name, "type": name.upper(), "links": []} for name in ("image", "mask", "run")]
    place = {"id": 2, "type": RUN, "pos": [60, 140], "size": [330, 300], "flags": {}, "order": 0, "mode": 0}
    old = {**place, "inputs": inputs, "outputs": outputs, "properties": {}, "widgets_values": ["an id of old", 7.5]}
    graph = {"last_node_id": 2, "last_link_id": 0, "nodes": [old], "links": [], "groups": [], "config": {}, "extra": {}}

    await desk.load({**graph, "version": 0.4})

    prompt = _inputs(await desk.prompt())
    assert (prompt["deployment_id"], prompt["deadline_minutes"]) == ("an id of old", 7.5)
    assert "anything" in {each[0] for each in (await desk.look("2"))["inputs"]}


async def test_names_that_are_meant_ill_are_shown_as_text(desk: Desk, routes: Routes) -> None:
    routes.others = [
        deployment("hostile", HOSTILE, HOSTILE),
        deployment("long", "x" * 10_000),
        deployment("reversed", "\u202egnp.exe"),
        deployment("right-to-left", "صورة"),
    ]
    routes.assets = [{"id": "a", "name": HOSTILE, "path": HOSTILE, "is_folder": False, "kind": "file", "size": 1}]
    node = await desk.add(RUN)
    await desk.open_list(node)
    entries = await desk.page.locator(".litemenu-entry").all_text_contents()
    await desk.page.keyboard.press("Escape")
    asset = await desk.add("OutpostLoadAsset", 700)
    await desk.page.evaluate("(id) => app.graph.getNodeById(id).widgets.at(-1).callback()", asset)
    tile = desk.page.locator(".outpost-tile")
    await tile.wait_for()

    assert f"{HOSTILE} · {HOSTILE}" in entries and "صورة · production" in entries
    assert "gnp.exe · production" in entries and max(map(len, entries)) < 200
    assert await tile.text_content() == HOSTILE
    assert await desk.page.evaluate("() => window.pwned") is None
    assert await desk.page.locator("img[src=x]").count() == 0
    await desk.page.keyboard.press("Escape")


async def test_a_platform_that_is_away_is_told_once_and_the_value_is_kept(desk: Desk, routes: Routes) -> None:
    routes.is_away = True
    desk.expected += AWAY
    await desk.open()
    await desk.clear()
    node = await desk.add(RUN)
    await desk.set(node, deployment_id="kept")
    for _ in range(2):
        await desk.click_list(node)
        await desk.page.locator("li").filter(has_text="No platform is set up").wait_for()

    assert await desk.page.locator("li").filter(has_text="No platform is set up").count() == 1
    assert _inputs(await desk.prompt())["deployment_id"] == "kept"


async def test_an_asset_is_picked_by_the_keyboard(desk: Desk, routes: Routes) -> None:
    def asset(name: str, **more: object) -> dict:
        return {"id": name, "name": name, "path": name, "is_folder": False, "kind": "image", "size": 1, **more}

    routes.assets = [asset("refs", is_folder=True), asset("one.png"), asset("two.png")]
    desk.expected.append("/thumbnail")  # there are no pictures of these assets
    node = await desk.add("OutpostLoadAsset")
    await desk.page.evaluate("(id) => app.graph.getNodeById(id).widgets.at(-1).callback()", node)
    await desk.page.locator(".outpost-tile").first.wait_for()

    await desk.page.keyboard.press("ArrowDown")
    async with desk.page.expect_request("**/outpost/assets?path=refs&query="):
        await desk.page.keyboard.press("Enter")
    await desk.page.locator(".outpost-trail button").nth(1).wait_for()
    async with desk.page.expect_request("**/outpost/assets?path=refs&query=two"):
        await desk.page.keyboard.type("two")
    await desk.page.locator(".outpost-tile").nth(2).focus()
    await desk.page.keyboard.press("Enter")
    await desk.page.locator(".outpost-dialog").wait_for(state="detached")

    assert dict((await desk.look(node))["widgets"])["asset_id"] == "two.png"
    assert await desk.note() == ["two.png"]
    await desk.load(await desk.saved())
    assert await desk.note() == ["two.png"]


async def test_the_sockets_for_runs_grow_as_they_are_connected(desk: Desk, routes: Routes) -> None:
    queue, wait = await desk.add("OutpostQueueDeployment"), await desk.add("OutpostWaitForRuns", 700)
    names = (
        "([id]) => app.graph.getNodeById(id).inputs.map((each) => each.name).filter((each) => /^run_\\d/.test(each))"
    )

    await desk.connect(queue, "run", wait, "run_1")
    await desk.until(f"(node) => ({names})(node).length === 2", [wait])
    await desk.connect(queue, "run", wait, "run_2")
    await desk.until(f"(node) => ({names})(node).length === 3", [wait])
    prompt = await desk.prompt()
    await desk.load(await desk.saved())

    assert await desk.prompt() == prompt
    assert prompt[wait]["inputs"]["run_2"] == [queue, 0]
    cut = "([id]) => { const node = app.graph.getNodeById(id); node.disconnectInput(node.findInputSlot('run_2')); }"
    await desk.page.evaluate(cut, [wait])
    await desk.until(f"(node) => ({names})(node).length === 2", [wait])


async def test_a_person_sets_what_becomes_of_runs_when_comfyui_closes(desk: Desk, routes: Routes) -> None:
    get = "() => app.ui.settings.getSettingValue('Outpost.OnClose')"
    assert await desk.page.evaluate(get) == "leave"
    async with desk.page.expect_response(lambda answer: "Outpost.OnClose" in answer.url or "settings" in answer.url):
        await desk.page.evaluate("() => app.ui.settings.setSettingValueAsync('Outpost.OnClose', 'cancel')")
    kept = await desk.comfyui.get("/settings")
    assert kept["Outpost.OnClose"] == "cancel"

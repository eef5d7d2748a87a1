"""A desk to work at: a platform, a real ComfyUI with this package, and today's front end of it in a real browser."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfyui_outpost.api.client import Client
from comfyui_outpost.api.connections import Book, change_book, read_book
from comfyui_outpost.api.settings import Connection, load_connection, save_connection
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.bench.server import Server, serve
from comfyui_outpost.tests.comfyui.conftest import REPOSITORY
from comfyui_outpost.tests.comfyui.installations import PYPI_VERSION, Installation
from comfyui_outpost.tests.comfyui.instance import Instance, start
from comfyui_outpost.tests.comfyui.process import find_python
from comfyui_outpost.tests.server.process import Launch, started
from playwright.async_api import BrowserContext, Locator, Page, async_playwright

from . import front_ends
from .proxy import todays_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
STORED = "cookies,local_storage,indexeddb,service_workers,cache_storage"
FRONT_ENDS = REPOSITORY / ".cache" / "front-ends"
PICTURE = "landscape.png"
IS_READY = """
() => !!(window.app?.graph && window.LiteGraph?.registered_node_types?.OutpostRunDeployment
         && document.querySelector("canvas")
         // Today's page opens the last graph when all this is there, in place of what is on it.
         && (!document.querySelector("#vue-app") || app.extensionManager?.workflow?.activeWorkflow))
"""
ADD = """
([type, x]) => { const node = LiteGraph.createNode(type); node.pos = [x, 140]; app.graph.add(node);
                 return String(node.id); }
"""
CONNECT = """
([from, output, to, input]) => {
    const [source, target] = [from, to].map((id) => app.graph.getNodeById(id));
    const slot = typeof output === "number" ? output : source.outputs.findIndex((each) => each.name === output);
    source.connect(slot, target, target.inputs.findIndex((each) => each.name === input)); }
"""
CHOOSE = """
async ([id, deployment]) => { const list = app.graph.getNodeById(id).widgets.find((w) => w.name === "deployment_id");
                              list.value = deployment; list.callback(deployment); }
"""
LOOK = """
(id) => { const node = app.graph.getNodeById(id); return {
    inputs: (node.inputs ?? []).map((each) => [each.name, each.label ?? each.name, String(each.type)]),
    outputs: node.outputs.map((each) => [each.name, each.label ?? each.name, String(each.type)]),
    widgets: node.widgets.map((each) => [each.name, each.value]), }; }
"""
WHERE_LIST = """
(id) => { const node = app.graph.getNodeById(id), list = node.widgets[0], [x, y] = app.canvas.ds.offset;
          const box = app.canvas.canvas.getBoundingClientRect();
          return [box.x + node.pos[0] + x + node.size[0] / 2, box.y + node.pos[1] + y + list.y + 10]; }
"""
SHOW = """
async ([view, about]) => { const { sidebarTab } = app.extensionManager;
    if (sidebarTab.activeSidebarTabId !== "outpost") sidebarTab.toggleSidebarTab("outpost");
    while (!document.querySelector("outpost-panel")) await new Promise(requestAnimationFrame);
    document.querySelector("outpost-panel").state.panel.go(view, about); }
"""
TRACKER = "app.extensionManager.workflow.activeWorkflow.changeTracker"
NOTE_GRAPH = f"""
async () => {{ const tracker = {TRACKER};
               if (tracker.captureCanvasState) tracker.captureCanvasState(); else tracker.checkState();
               // What comes within 50 ms of a change is the same step for today's page.
               await tracker.squashState?.(); }}
"""
FOLLOWS = "(id) => document.querySelector('outpost-panel').state.panel.connection === id"
NOTE = "() => [...document.querySelectorAll('.outpost-line')].map((each) => each.textContent)"


@dataclass
class Desk:
    """What a test works with. Ids of nodes are texts."""

    context: BrowserContext
    url: str
    comfyui: Instance
    page: Page = field(init=False)
    client: Client = field(init=False)
    server: Server = field(init=False)
    console: list[str] = field(default_factory=list)
    """What the page has said in the browser's console."""
    expected: list[str] = field(default_factory=list)
    """Parts of what the console says in this test for a good reason."""
    sent: list[str] = field(default_factory=list)
    """Every request of the page: its address, headers and body."""
    settings: Path | None = None
    """The file with the connection, where it is not in ComfyUI's environment."""

    async def begin(self, server: Server, client: Client) -> None:
        """Open a new page, on a platform; what somebody else has left in the browser and in ComfyUI is gone."""
        self.server, self.client = server, client
        if self.settings:
            change_book(self.settings, lambda _: Book(), replaces_broken=True)
            save_connection(server.connection, self.settings)
            await _look(self)  # or a page would begin with the one before, and anew when that is seen
        for left in self.context.pages:
            await left.close()
        self.page = await self.context.new_page()
        await forget(self.page, self.url)
        shutil.rmtree(self.comfyui.workspace / "user" / "default", ignore_errors=True)
        await self.page.request.post(f"{self.comfyui.url}/settings", data={"Comfy.TutorialCompleted": True})
        await self.page.request.post(f"{self.comfyui.url}/history", data={"clear": True})
        self.sent.clear()
        _listen(self)
        await self.open()

    @property
    def panel(self) -> Locator:
        return self.page.locator("outpost-panel")

    async def show(self, view: str, **about: Any) -> None:
        """Open the panel and let it show a view, such as `workflows`."""
        await self.page.evaluate(SHOW, [view, about])
        await self.panel.locator(f"[data-view={view}]").wait_for()

    async def is_connected(self) -> None:
        """Wait until the open panel shows what the chosen connection leads to: for another it does nothing."""
        await self.until(FOLLOWS, load_connection({}, self.settings).id)

    async def hide(self) -> None:
        """Close the panel."""
        await self.page.evaluate("() => app.extensionManager.sidebarTab.activeSidebarTabId = null")
        await self.panel.wait_for(state="detached")

    async def clear(self) -> None:
        """An empty graph, seen from its corner."""
        await self.page.evaluate("() => { app.graph.clear(); app.canvas.ds.offset = [0, 0]; app.canvas.ds.scale = 1; }")

    async def add(self, class_type: str, x: int = 60) -> str:
        return await self.page.evaluate(ADD, [class_type, x])

    async def connect(self, source: str, output: str | int, target: str, name: str) -> None:
        await self.page.evaluate(CONNECT, [source, output, target, name])

    async def choose(self, node: str, deployment_id: str) -> None:
        """Choose a deployment as its list does, and wait for what the node becomes."""
        await self.page.evaluate(CHOOSE, [node, deployment_id])
        await self.until(
            "([id, chosen]) => app.graph.getNodeById(id).properties.outpost_deployment?.id === chosen",
            [node, deployment_id],
        )

    async def rest(self) -> None:
        """Let the page note the graph as it does when the mouse rests: what comes next is a step of its own to undo."""
        await self.page.evaluate(NOTE_GRAPH)

    async def click_list(self, node: str) -> None:
        await self.until("(id) => app.graph.getNodeById(id).widgets[0].y > 0", node)
        await self.page.mouse.click(*await self.page.evaluate(WHERE_LIST, node))

    async def open_list(self, node: str) -> None:
        """Open the list of deployments and wait for its entries."""
        await self.click_list(node)
        await self.page.locator(".litemenu-entry").first.wait_for()

    async def look(self, node: str) -> dict[str, Any]:
        return await self.page.evaluate(LOOK, node)

    async def set(self, node: str, **values: Any) -> None:
        for name, value in values.items():
            await self.page.evaluate(
                "([id, name, value]) => app.graph.getNodeById(id).widgets.find((w) => w.name === name).value = value",
                [node, name, value],
            )

    async def prompt(self) -> dict[str, Any]:
        """The graph as the page would queue it."""
        return json.loads(await self.page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)"))

    async def saved(self) -> dict[str, Any]:
        """The graph as the page would save it."""
        return json.loads(await self.page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).workflow)"))

    async def load(self, graph: Mapping[str, Any]) -> None:
        await self.page.evaluate("async (graph) => app.loadGraphData(JSON.parse(graph))", json.dumps(graph))

    async def until(self, condition: str, argument: Any = None, *, seconds: float = 20) -> None:
        """Wait until a function of the page says yes."""
        await self.page.wait_for_function(condition, arg=argument, timeout=seconds * 1000)

    async def note(self) -> list[str]:
        """The lines that are on nodes."""
        return await self.page.evaluate(NOTE)

    async def queue(self) -> None:
        await self.page.evaluate("() => void app.queuePrompt(0)")

    async def open(self) -> None:
        """Open the page, as after a restart of the browser."""
        await self.page.goto(self.url)
        await self.until(IS_READY, seconds=60)

    def complaints(self) -> list[str]:
        """What the console says about this package."""
        ours = [line for line in self.console if "utpost" in line]
        return [line for line in ours if not any(part in line for part in self.expected)]


@asynccontextmanager
async def open_desk(
    installation: Installation,
    folder: Path,
    *,
    has_own_page: bool = False,
    keeps_connection: bool = False,
    launch: Launch | None = None,
) -> AsyncGenerator[Desk, None]:
    """A desk on one ComfyUI, whose page is today's or its own.

    The connection is in ComfyUI's environment, where nobody can change it, or with `keeps_connection` in a file.
    `launch` begins the platform, by default as its user does.
    """
    platform = open_platform(folder / "platform", launch) if launch else serve(folder / "platform")
    async with platform as server, server.client() as client:
        settings = folder / "settings" / "connection.json"
        environment = {
            "OUTPOST_BASE_URL": server.connection.base_url,
            "OUTPOST_API_KEY": server.connection.api_key,
        }
        if keeps_connection:
            environment = {"OUTPOST_SETTINGS": str(settings)}
        async with furnish(installation, environment, has_own_page=has_own_page) as desk:
            desk.settings = settings if keeps_connection else None
            await desk.begin(server, client)
            yield desk


@asynccontextmanager
async def open_platform(data: Path, launch: Launch) -> AsyncGenerator[Server, None]:
    """A platform in a process of its own, which has to end well."""
    async with started(data, launch=launch) as server:
        await server.begin()
        yield Server(server.process.pid, Connection(server.url, server.api_key or ""))
        assert await server.end(signal.SIGTERM) == 0


@asynccontextmanager
async def furnish(
    installation: Installation, environment: Mapping[str, str], *, has_own_page: bool = False
) -> AsyncGenerator[Desk, None]:
    """A desk at which nobody has begun: a ComfyUI and a browser."""
    is_old = installation.version == PYPI_VERSION
    front_end = front_ends.own(installation, FRONT_ENDS) if has_own_page and not is_old else front_ends.todays()
    async with AsyncExitStack() as stack:
        comfyui = await stack.enter_async_context(
            start(
                installation,
                find_python(REPOSITORY),
                custom_nodes={"ComfyUI-Outpost": REPOSITORY},
                environment=environment,
                arguments=[] if is_old else ["--front-end-root", str(front_end)],
            )
        )
        (comfyui.workspace / "input" / PICTURE).write_bytes(contact_sheet.made_up_picture())
        url = comfyui.url
        if not has_own_page:
            url = await stack.enter_async_context(todays_page(comfyui.url, front_end, is_old=is_old))
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        stack.push_async_callback(browser.close)
        yield Desk(await browser.new_context(viewport={"width": 1600, "height": 900}), url, comfyui)


async def forget(page: Page, origin: str) -> None:
    """Remove what pages of this address have kept in the page's browser. What it has loaded it may take again."""
    storage = await page.context.new_cdp_session(page)
    await storage.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": STORED})
    await storage.detach()


@asynccontextmanager
async def connected(desk: Desk, connection: Connection) -> AsyncGenerator[Client, None]:
    """Let ComfyUI be connected with another platform during the block."""
    assert desk.settings
    before = read_book(desk.settings)
    save_connection(connection, desk.settings)
    await _look(desk)
    try:
        async with Client(connection) as client:
            yield client
    finally:
        change_book(desk.settings, lambda _: before)
        await _look(desk)


async def _look(desk: Desk) -> None:
    """Let ComfyUI see at once which connection its file says now, as if it had been chosen in another window."""
    assert desk.settings
    chosen = read_book(desk.settings).current
    where = f"{desk.comfyui.url}/outpost/connections/{chosen}/use"
    answer = await desk.context.request.post(where, headers={"Outpost-Page": "1"})
    assert answer.ok, await answer.text()


def _listen(desk: Desk) -> None:
    page = desk.page
    page.on("console", lambda said: desk.console.append(f"{said.type}: {said.text} ({said.location.get('url', '')})"))
    page.on("pageerror", lambda error: desk.console.append(f"uncaught: {error.stack or error}"))
    page.on(
        "request", lambda sent: desk.sent.append(f"{sent.method} {sent.url} {sent.headers} {sent.post_data_buffer}")
    )

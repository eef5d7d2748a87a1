// What this package adds to ComfyUI's page.

import * as comfy from "./comfyui/comfyui.js";
import { Feed } from "./feed.js";
import { containErrors, guarding } from "./guard.js";
import { TAB } from "./kit/context.js";
import { makePage } from "./page.js";
import { pickAsset } from "./panel/assets/library.js";
import { watchRuns } from "./panel/badge.js";
import { commandsOf, show } from "./panel/commands.js";
import { exposeMenu } from "./panel/deploy/expose.js";
import { PanelState, showPanel } from "./panel/panel.js";
import { oldSetting, settingsOf } from "./settings.js";
import { readTexts, t } from "./texts.js";
import { makeAssetNodes } from "./views/asset_node.js";
import { makeDeploymentNodes } from "./views/deployment_node.js";
import { makeGrowingNodes } from "./views/growing_node.js";
import { withoutNote } from "./views/note.js";
import { forgetRun, sayEnded, sayFailed, sayProgress } from "./views/run_report.js";

const PREFIX = "Outpost"; // of the names of this package's classes of nodes
const guard = guarding(comfy.tell);
const page = { ...makePage(comfy, guard), pickAsset };
const feed = new Feed();
const state = new PanelState({ comfy, routes: page.routes, feed });
const { panel } = state;

/** @type {Record<string, (nodeType: ComfyUI.NodeType, nodeData: ComfyUI.NodeData, page: Page) => void>} what nodes get */
const NODES = {
  OutpostRunDeployment: makeDeploymentNodes,
  OutpostQueueDeployment: makeDeploymentNodes,
  OutpostRunDeploymentForEach: makeDeploymentNodes,
  OutpostWaitForRuns: makeGrowingNodes,
  OutpostLoadAsset: makeAssetNodes,
};

/** @type {Record<string, (detail: any) => [string | null, (node: ComfyUI.Node) => void]>} what the page hears, of which node */
const EVENTS = {
  "outpost.text": ({ node, text }) => [node, (found) => sayProgress(found, text)],
  executing: (id) => [id, forgetRun],
  execution_error: ({ node_id: id, exception_message: message }) => [id, (found) => sayFailed(found, message)],
};

/** What the menu of a node has of the panel's. @param {ComfyUI.Node} node */
function nodeMenu(node) {
  /** @type {ComfyUI.MenuOption[]} */
  const options = [];
  guard(() => options.push(...exposeMenu(panel, node)))();
  return options;
}

function addStyles() {
  for (const name of ["outpost.css", "panel.css"]) {
    const href = new URL(`./${name}`, import.meta.url).href;
    document.head.append(Object.assign(document.createElement("link"), { rel: "stylesheet", href }));
  }
}

function addPanel() {
  comfy.addTab({
    id: TAB,
    title: t("panel.title"),
    tooltip: t("panel.tooltip"),
    icon: "pi pi-send",
    iconBadge: () => null,
    render: guard((place) => showPanel(place, state)),
  });
  watchRuns(panel, comfy);
  window.addEventListener("pagehide", () => void panel.deletions.flush());
}

function hearOfNodes() {
  for (const [name, read] of Object.entries(EVENTS)) {
    comfy.api.addEventListener(
      name,
      guard(({ detail }) => {
        const [id, act] = read(detail);
        const node = id == null ? null : comfy.findNode(id);
        if (node?.comfyClass?.startsWith(PREFIX)) act(node);
      }),
    );
  }
}

/** Nodes offer the deployments of the connection that is used. Who opens their list is told why there is none. */
function keepDeployments() {
  const refresh = () => page.deployments.refresh().catch(() => {});
  let former = panel.connection;
  feed.on("connection", ({ id }) => {
    if (former !== undefined && former !== id) refresh();
    former = id;
  });
  refresh();
}

hearOfNodes(); // before the page connects: it complains of what nobody listens to
await readTexts();

comfy.app.registerExtension({
  name: "outpost.nodes",
  settings: settingsOf(guard(() => show(panel, "connect"))),
  ...commandsOf(panel, guard),
  getNodeMenuItems: nodeMenu,
  setup: guard(() => {
    const tell = guard((/** @type {unknown} */ error) => {
      if (!comfy.isTabOpen(TAB)) throw error;
      panel.fail(error);
    });
    containErrors(new URL("./", import.meta.url).href, tell);
    addStyles();
    addPanel();
    comfy.addOldSetting(oldSetting());
    comfy.makeMenusSafe();
    keepDeployments();
  }),
  afterConfigureGraph: guard(comfy.graphOpened),
  afterLoadGraph: guard(comfy.graphOpened), // which newer pages call when its tab is there, too
  beforeRegisterNodeDef: guard((nodeType, nodeData) => {
    if (!comfy.asksForNodeMenus())
      page.around(nodeType.prototype, {
        getExtraMenuOptions: {
          after(_, options) {
            options.push(...nodeMenu(this));
          },
        },
      });
    if (!nodeData.name.startsWith(PREFIX)) return;
    NODES[nodeData.name]?.(nodeType, nodeData, page);
    page.around(nodeType.prototype, {
      onSerialize: {
        after(saved) {
          withoutNote(this, saved);
        },
      },
      onExecuted: {
        after(output) {
          if (output?.outpost_run) sayEnded(this, output.outpost_run);
        },
      },
    });
  }),
});

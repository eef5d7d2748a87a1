// What the page itself exports, and the graphs in it.

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

export { api, app };

/** The open graph; on newer pages `app.graph` may be one inside it. */
export const openedGraph = () => app.rootGraph ?? app.graph;

/** The graph that is in sight, which may be inside a node. */
export const shownGraph = () => app.canvas.graph ?? app.graph;

/** @param {ComfyUI.Graph} graph */
export const nodesOf = (graph) => graph.nodes ?? graph._nodes ?? [];

/** The page's workflows in tabs, where it has some. */
export const tabs = () => app.extensionManager?.workflow;

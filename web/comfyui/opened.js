// The graph that is open: what it is, what it is called, and what it remembers of itself.

import { rememberedOf, remembering } from "../model/remembered.js";
import { api, app, openedGraph, tabs } from "./app.js";
import { findNode } from "./nodes.js";

/** The open graph, as the editor keeps it and as it is executed. What is muted or bypassed is not executed. */
export async function readGraph() {
  const graph = await app.graphToPrompt();
  // The page gives no class to nodes that this ComfyUI has not. A machine may have them, and else they have to be named.
  for (const [id, node] of Object.entries(graph.output)) node.class_type ||= findNode(id)?.type ?? "";
  return graph;
}

/** @typedef {string | null | undefined} Connection the id of one */

/** The version that the open graph is on a connection. It survives saving the graph. @param {Connection} connection */
export const remembered = (connection) => rememberedOf(openedGraph().extra?.outpost, connection);

/**
 * What is kept with a graph, and that it is a version on a connection.
 * @param {ComfyUI.Extra | undefined} extra @param {ComfyUI.Remembered} what @param {Connection} connection
 */
export const withMemory = (extra, what, connection) => ({
  ...extra,
  outpost: remembering(extra?.outpost, what, connection),
});

/**
 * Keep in the open graph which version it is.
 * @param {ComfyUI.Remembered} what replaces what was kept for the connection
 * @param {Connection} connection
 */
export function remember(what, connection) {
  const graph = openedGraph();
  graph.extra = withMemory(graph.extra, what, connection);
  const tracker = tabs()?.activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.(); // as older pages call it
}

/** What the page calls the graph that is open; empty for one without a name. */
export function graphName() {
  const open = tabs()?.activeWorkflow;
  return open?.isTemporary ? "" : (open?.filename ?? "").replace(/\.json$/, "");
}

/** @type {Set<() => void>} */
const listeners = new Set();

/**
 * Hear of changes of the open graph, and of another one being opened.
 * @param {() => void} listener
 * @returns {() => void} hear them no more
 */
export function onGraphChange(listener) {
  listeners.add(listener);
  api.addEventListener("graphChanged", listener);
  return () => {
    listeners.delete(listener);
    api.removeEventListener("graphChanged", listener);
  };
}

/** Another graph is open. The page does not always tell of it as a change. */
export function graphOpened() {
  for (const listener of listeners) listener();
}

/**
 * What tells the open graph from others. Pages with tabs have one object for the graphs of all of them; on those
 * without, every graph that is opened brings an `extra` of its own.
 */
const markOf = () => tabs()?.activeWorkflow ?? openedGraph().extra;

/**
 * The open graph, with what it remembers and something to know it by.
 * @param {Connection} connection @returns {Promise<ComfyUI.Opened>}
 */
export async function readOpened(connection) {
  const [mark, here] = [markOf(), remembered(connection)]; // as they were when it was asked for
  return { graph: await readGraph(), here, mark };
}

/**
 * Whether a graph is still the open one, and remembers what it did.
 * @param {Pick<ComfyUI.Opened, "here" | "mark">} opened @param {Connection} connection
 */
export function isOpened({ here, mark }, connection) {
  const now = remembered(connection);
  return markOf() === mark && now.workflow_id === here.workflow_id && now.version === here.version;
}

// The nodes of the graph: finding, placing, changing and showing them.

import { app, nodesOf, openedGraph, shownGraph } from "./app.js";

const LONGEST_CHANGE_MS = 10_000;

/**
 * The node that a prompt calls by this id: `5`, or `5:3` for node 3 in the subgraph of node 5.
 * @param {string} promptId
 */
export function findNode(promptId) {
  /** @type {ComfyUI.Graph | undefined} */
  let graph = openedGraph();
  /** @type {ComfyUI.Node | null | undefined} */
  let node;
  for (const part of String(promptId).split(":")) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
    graph = node?.subgraph;
  }
  return node;
}

/** All nodes of the open graph, those inside others, too, each with what a prompt calls it. */
export function allNodes(graph = openedGraph(), within = "") {
  /** @type {{node: ComfyUI.Node, id: string}[]} */
  const found = nodesOf(graph).flatMap((node) => [
    { node, id: within + node.id },
    ...(node.subgraph ? allNodes(node.subgraph, `${within}${node.id}:`) : []),
  ]);
  return found;
}

/** The nodes that are in sight and executed. */
export const shownNodes = () => nodesOf(shownGraph()).filter((node) => !node.mode);

/**
 * Begin a change of the graph that can be undone in one step, also when it takes a while.
 * @param {ComfyUI.Node} node
 * @returns {() => void} ends it; after ten seconds it has ended by itself
 */
export function beginChange(node) {
  const { canvas } = app;
  const { graph } = node;
  let isOpen = true;
  const end = () => {
    if (!isOpen) return;
    isOpen = false;
    clearTimeout(timer);
    canvas?.emitAfterChange?.();
    graph?.afterChange?.(node);
  };
  const timer = setTimeout(end, LONGEST_CHANGE_MS);
  graph?.beforeChange?.(node);
  canvas?.emitBeforeChange?.();
  return end;
}

/**
 * Let a change of the graph be one step that can be undone.
 * @template Result
 * @param {ComfyUI.Node} node
 * @param {() => Result} change
 */
export function changing(node, change) {
  const end = beginChange(node);
  try {
    return change();
  } finally {
    end();
  }
}

/** Let a node be drawn again, and as large as what is in it. @param {ComfyUI.Node} node */
export function redraw(node) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(width, node.size[0]), Math.max(height, node.size[1])]);
  node.graph?.setDirtyCanvas?.(true, true);
}

/**
 * Add a widget to a node as the page adds those of ComfyUI's own nodes.
 * @param {ComfyUI.Node} node
 * @param {string} name
 * @param {ComfyUI.Input} input
 */
export function addWidget(node, name, [type, options = {}]) {
  const makers = app.widgets;
  const isSeed = options.control_after_generate && makers["INT:seed"]; // pages of before 2024-08
  const make = Array.isArray(type) ? makers.COMBO : isSeed ? makers["INT:seed"] : makers[type];
  return make(node, name, [type, options], app).widget;
}

/**
 * Give a widget a value, as if a person had.
 * @param {ComfyUI.Node} node
 * @param {string} name
 * @param {unknown} value
 * @returns {boolean} whether there is one
 */
export function setWidget(node, name, value) {
  const widget = node.widgets?.find((each) => each.name === name);
  if (!widget) return false;
  const { values } = widget.options ?? {};
  if (Array.isArray(values) && !values.includes(String(value))) values.push(String(value));
  widget.value = value;
  widget.callback?.(value);
  return true;
}

/** The value of a widget; undefined where there is none. @param {string} promptId @param {string} name */
export const widgetValue = (promptId, name) => findNode(promptId)?.widgets?.find((each) => each.name === name)?.value;

/**
 * Put a node into the middle of what is in sight of the graph, and select it.
 * @param {string} type
 * @param {(node: ComfyUI.Node) => void} [prepare] what it is given before it is shown
 * @returns {ComfyUI.Node | null} null where the page does not know its class
 */
export function placeNode(type, prepare) {
  const node = window.LiteGraph.createNode(type);
  if (!node) return null;
  const { ds, canvas } = app.canvas;
  const { width, height } = canvas.getBoundingClientRect();
  node.pos = [width / 2 / ds.scale - ds.offset[0] - 100, height / 2 / ds.scale - ds.offset[1] - 60];
  const graph = shownGraph();
  graph.beforeChange?.();
  graph.add(node);
  prepare?.(node);
  app.canvas.selectNode?.(node);
  graph.afterChange?.();
  redraw(node);
  return node;
}

/**
 * Select a node and bring it to the middle of what is in sight.
 * @param {string} promptId
 * @returns {boolean} whether it is there
 */
export function showNode(promptId) {
  const { canvas } = app;
  const node = findNode(promptId);
  if (!node) return false;
  if (node.graph && canvas.graph && canvas.graph !== node.graph) canvas.setGraph?.(node.graph);
  canvas.centerOnNode?.(node);
  canvas.selectNode?.(node);
  canvas.setDirty?.(true, true);
  return true;
}

/**
 * Let a node load a file for an input of another one. A node of that class which is there already is taken for it.
 * @param {ComfyUI.Node} node
 * @param {string} input
 * @param {[type: string, widget: string]} loader
 * @param {string} file
 * @returns {boolean} whether the page can do that
 */
export function loadInto(node, input, [type, widget], file) {
  const slot = node.inputs?.findIndex((each) => each.name === input) ?? -1;
  const graph = node.graph ?? shownGraph();
  if (slot < 0) return false;
  const link = node.getInputLink?.(slot);
  const before = link && graph.getNodeById(link.origin_id);
  if (before?.comfyClass === type) return setWidget(before, widget, file);
  const loader = window.LiteGraph.createNode(type);
  if (!loader) return false;
  return changing(node, () => {
    loader.pos = [node.pos[0] - loader.size[0] - 60, node.pos[1]];
    graph.add(loader);
    setWidget(loader, widget, file);
    loader.connect(0, node, slot);
    return true;
  });
}

// Widgets that become inputs of a deployment: which there are, and how a node comes to stand for one.

import { app, nodesOf, shownGraph } from "./app.js";
import { allNodes, changing, redraw } from "./nodes.js";

const EXTERNAL = "ComfyUIDeployExternal"; // what the classes of nodes that stand for something begin with

/** @param {ComfyUI.Node} node @param {string} name of a widget @returns {number} -1 where it has no socket */
const slotOf = (node, name) => node.inputs?.findIndex((each) => each.widget?.name === name) ?? -1;

/**
 * What a node has that could come from elsewhere: widgets that nothing is connected to, and the image that it loads.
 * @param {ComfyUI.Node} node
 * @returns {Exposable[]}
 */
export function exposablesOf(node) {
  const { required = {}, optional = {} } = node.constructor?.nodeData?.input ?? {};
  const declared = { ...required, ...optional };
  const about = { node, title: node.title ?? "", isSelected: !!app.canvas.selected_nodes?.[node.id] };
  if (node.comfyClass === "LoadImage") {
    const isUsed = consumersOf(node).some(([{ comfyClass }]) => !comfyClass?.startsWith(EXTERNAL));
    return isUsed ? [{ ...about, name: "image", type: "IMAGE", value: node.widgets[0]?.value }] : [];
  }
  return (node.widgets ?? []).flatMap(({ name, value, options = {} }) => {
    const [kind, { min, max, multiline } = {}] = declared[name] ?? [];
    const slot = slotOf(node, name);
    if (!kind || (slot >= 0 && node.isInputConnected(slot))) return [];
    const choices = Array.isArray(options.values) ? options.values : undefined;
    const type = Array.isArray(kind) ? "COMBO" : kind;
    return [{ ...about, name, type, value, min, max, options: choices, isMultiline: multiline === true }];
  });
}

/** The ids of all inputs of the open graph. */
export const takenIds = () =>
  allNodes().flatMap(({ node }) =>
    (node.widgets ?? []).filter(({ name }) => name === "input_id").map(({ value }) => String(value)),
  );

/** The inputs that the first output of a node goes to. @param {ComfyUI.Node} node */
function consumersOf(node) {
  const nodes = nodesOf(node.graph ?? shownGraph());
  /** @type {[node: ComfyUI.Node, slot: number][]} */
  const slots = nodes.flatMap((other) => (other.inputs ?? []).map((_, slot) => [other, slot]));
  return slots.filter(([other, slot]) => {
    const link = other.getInputLink?.(slot);
    return link && String(link.origin_id) === String(node.id) && link.origin_slot === 0;
  });
}

/**
 * Let a node stand for a widget, or behind a node that loads an image: one step that can be undone.
 * @param {Exposable} what
 * @param {{class_type: string, values: Record<string, unknown>}} stand
 * @param {(box: number[], boxes: number[][]) => number[]} choosePlace
 * @returns {boolean} whether the page can do that
 */
export function standIn({ node, name, type }, { class_type: classType, values }, choosePlace) {
  const stand = window.LiteGraph.createNode(classType);
  if (!stand) return false;
  const isBehind = type === "IMAGE";
  return changing(node, () => {
    if (!isBehind && !hasSocket(node, name)) return false;
    for (const each of stand.widgets ?? []) if (each.name in values) each.value = values[each.name];
    putBeside(stand, node, isBehind, choosePlace);
    if (isBehind) putBehind(stand, node);
    else stand.connect(0, node, slotOf(node, name));
    redraw(stand);
    return true;
  });
}

/** Whether a widget has a socket; it is given one. @param {ComfyUI.Node} node @param {string} name */
function hasSocket(node, name) {
  const widget = node.widgets?.find((each) => each.name === name);
  if (slotOf(node, name) < 0 && widget) node.convertWidgetToInput?.(widget); // pages of before 2025-04
  return slotOf(node, name) >= 0;
}

/**
 * @param {ComfyUI.Node} stand
 * @param {ComfyUI.Node} node
 * @param {boolean} isBehind it on its right, else on its left
 * @param {(box: number[], boxes: number[][]) => number[]} choosePlace
 */
function putBeside(stand, node, isBehind, choosePlace) {
  const graph = node.graph ?? shownGraph();
  const [width, height] = stand.size;
  const left = isBehind ? node.pos[0] + node.size[0] + 40 : node.pos[0] - width - 60;
  const boxes = nodesOf(graph).map((each) => [...each.pos, ...each.size]);
  const [x, y] = choosePlace([left, node.pos[1], width, height], boxes);
  stand.pos = [x, y];
  graph.add(stand);
}

/** What a node gives goes through another one now. @param {ComfyUI.Node} stand @param {ComfyUI.Node} node */
function putBehind(stand, node) {
  const consumers = consumersOf(node);
  const slot = stand.inputs.findIndex((each) => each.name === "default_value");
  node.connect(0, stand, slot);
  for (const [consumer, at] of consumers) stand.connect(0, consumer, at);
}

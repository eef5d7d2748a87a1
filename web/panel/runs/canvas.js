// What comes of a run onto the canvas: its graph with its inputs, or its outputs.

import { t } from "../../kit/kit.js";
import { LOADERS, placeFor } from "../../model/run_graph.js";
import { runPath } from "../../model/runs.js";
import { openGraphs } from "../graph.js";

const STEP = 32; // pixels between nodes that are put on the canvas together
const TEXT_NODES = ["PrimitiveStringMultiline", "PrimitiveString", "Note"];

/** Open the graph that a run executes, with the values that it was given. @param {Panel} panel @param {string} id */
export async function openGraph(panel, id) {
  const { comfy, routes, say } = panel;
  const found = await routes.get(`${runPath(id)}/graph`);
  const { workflow_id, version, name } = found;
  const isOpen = await openGraphs(panel, found, name || t("runs.nameless"), { workflow_id, version });
  if (isOpen === null) return say(t("runs.no_graph"));
  if (!isOpen) return;
  // Bringing files takes a while, in which another graph may be opened: these are the nodes of this one.
  const nodes = comfy.allNodes().map(({ node, id: promptId }) => {
    const inputId = node.widgets?.find((each) => each.name === "input_id")?.value;
    return { node, id: promptId, type: node.comfyClass ?? "", inputId };
  });
  const left = [];
  for (const input of /** @type {RunInput[]} */ (found.inputs)) {
    const place = placeFor(input, nodes);
    if (!place || !(await put(panel, id, input, place))) left.push(input.input_id);
  }
  say(left.length ? t("runs.partly", { names: left.join(", ") }) : t("runs.opened"));
}

/**
 * @param {Panel} panel
 * @param {string} id
 * @param {RunInput} input
 * @param {NonNullable<ReturnType<typeof placeFor<ComfyUI.Node>>>} place
 * @returns {Promise<boolean>} whether it is there now
 */
async function put({ comfy, routes }, id, { input_id: inputId, value, files }, place) {
  const { node, widget = "", slot, kind = "", clear = {} } = place;
  if (!files) return comfy.setWidget(node, widget, value);
  if (files.length > 1 || files[0].kind !== kind) return false;
  const path = `${runPath(id)}/inputs/${encodeURIComponent(inputId)}/bring`;
  const file = await routes.send("POST", path).catch(() => null);
  if (!file || !node.graph) return false;
  const isThere = slot
    ? comfy.loadInto(node, slot, LOADERS[kind], file.name)
    : comfy.setWidget(node, widget, file.name);
  if (isThere) for (const [name, empty] of Object.entries(clear)) comfy.setWidget(node, name, empty);
  return isThere;
}

/** Whether ComfyUI has a node for an output. @param {RunOutput} output */
export const mayPlace = ({ kind, text }) => text !== null || kind in LOADERS;

/** @param {Panel} panel @param {RunDetail} run */
export async function placeAll(panel, { id, outputs }) {
  const fit = outputs.filter(mayPlace);
  for (const [count, output] of fit.entries()) await placeOutput(panel, id, output, count);
  panel.say(fit.length ? t("runs.placed", { count: fit.length }) : t("runs.nothing"));
}

/**
 * Put an output on the canvas, as a node that gives it.
 * @param {Panel} panel
 * @param {string} id of the run
 * @param {RunOutput} output that may be placed
 * @param {number} [count] how many have been put there before
 */
export async function placeOutput({ comfy, routes }, id, { number, kind, text }, count = 0) {
  const [types, widget] = text === null ? [[LOADERS[kind][0]], LOADERS[kind][1]] : [TEXT_NODES];
  const value = text ?? (await routes.send("POST", `${runPath(id)}/outputs/${number}/bring`)).name;
  const isPlaced = types.some((type) =>
    comfy.placeNode(type, (node) => {
      node.pos = [node.pos[0] + count * STEP, node.pos[1] + count * STEP];
      comfy.setWidget(node, widget ?? node.widgets?.[0]?.name ?? "", value);
    }),
  );
  if (!isPlaced) throw Object.assign(new Error(t("runs.no_loader", { type: types[0] })), { isExpected: true });
}

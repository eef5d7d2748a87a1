// Brings the sockets and widgets of a node to what its shape says. Links and values stay where they are.

import { describe, fit } from "../model/fields.js";
import { inputName } from "../model/names.js";
import { marked, outputLabel, ports } from "../model/ports.js";
import { removeWidget } from "./note.js";

const HOLLOW = 7; // LiteGraph's shape of a socket that may stay empty
const MARK_COLOUR = "#d9822b";

/** The ports of a shape, in the order of its inputs. @param {Shape} shape @param {Build} build */
const portsOf = (shape, { own }) => shape.inputs.flatMap((field) => ports(field, inputName(field.input_id, own)));

/**
 * Give a node that is about to be read from a saved graph the widgets that it had: their values are read by their
 * places. The sockets are in the saved graph themselves.
 * @param {ComfyUI.Node} node
 * @param {Shape} shape
 * @param {Build} build
 */
export function restoreWidgets(node, shape, build) {
  const wanted = portsOf(shape, build);
  for (const port of wanted) if (port.widget) giveWidget(node, port, build);
  arrange(node, wanted);
}

/**
 * Put the widgets of a node into the order of its shape, with those that are not saved behind the others: the page finds
 * saved values by their places.
 * @param {ComfyUI.Node} node
 * @param {Port[]} wanted
 */
function arrange(node, wanted) {
  const ranks = new Map(wanted.map((port, index) => [port.name, index + 1]));
  /** @type {Map<ComfyUI.Widget, number>} */
  const places = new Map();
  for (const widget of node.widgets) {
    const rank = widget.serialize === false ? Infinity : (ranks.get(widget.name) ?? 0);
    if (!places.has(widget)) places.set(widget, rank);
    for (const linked of widget.linkedWidgets ?? []) places.set(linked, rank);
  }
  const place = (/** @type {ComfyUI.Widget} */ widget) => places.get(widget) ?? 0;
  const sorted = [...node.widgets].sort((one, other) => (place(one) === place(other) ? 0 : place(one) - place(other)));
  if (sorted.some((widget, index) => widget !== node.widgets[index])) node.widgets.splice(0, sorted.length, ...sorted);
}

/**
 * @param {ComfyUI.Node} node
 * @param {{before: Shape | null, shape: Shape}} change the shape that the node had, and the one that it gets
 * @param {Build} build
 */
export function reshape(node, { before, shape }, build) {
  const wanted = portsOf(shape, build);
  const names = new Set(wanted.map((port) => port.name));
  const old = before ? portsOf(before, build) : [];
  for (const { name } of old) if (!names.has(name)) removePort(node, name);
  for (const port of wanted) givePort(node, port, build);
  arrange(node, wanted);
  giveOutputs(node, shape, build);
}

/** @param {ComfyUI.Node} node @param {Port} port @param {Build} build */
function givePort(node, port, build) {
  const widget = giveWidget(node, port, build);
  const hasSocket = !widget || node.inputs?.some((input) => input.widget && build.own.includes(input.name));
  let slot = slotOf(node, port.name);
  if (slot < 0 && hasSocket) {
    node.addInput(port.name, port.type, widget ? { widget: { name: port.name } } : {});
    slot = slotOf(node, port.name);
  }
  if (slot < 0) return;
  const input = node.inputs[slot];
  if (widget) input.widget ??= { name: port.name };
  dress(input, port.label, port.isMarked);
  Object.assign(input, { type: port.type, tooltip: port.tooltip });
  if (!port.isRequired && !widget) input.shape = HOLLOW;
}

/**
 * @param {ComfyUI.Node} node
 * @param {Port} port
 * @param {Build} build
 * @returns {ComfyUI.Widget | null} null for a port without one
 */
function giveWidget(node, port, build) {
  const known = findWidget(node, port.name);
  if (!port.widget) {
    if (known) removeWidget(node, known);
    return null;
  }
  const description = describe(port.widget);
  const kind = Array.isArray(description[0]) ? "COMBO" : `${description[0]} ${description[1].multiline ?? ""}`;
  const isSame = known?.outpostKind === kind;
  if (known && !isSame) removeWidget(node, known); // first: pages give a second widget of a name another name
  const widget = isSame ? known : build.addWidget(node, port.name, description);
  if (isSame) renewOptions(widget, port.widget, description[1]);
  else if (known) widget.value = fit(port.widget, known.value);
  return Object.assign(widget, { outpostKind: kind, label: port.label, tooltip: port.tooltip });
}

/** @param {ComfyUI.Widget} widget @param {Widget} field @param {ComfyUI.InputOptions} options */
function renewOptions(widget, field, options) {
  if (field.type === "combo") {
    const choices = (field.options ?? []).map(String);
    // A choice that is gone stays chosen until a person chooses another: it is not for us to say what is meant.
    widget.options.values = choices.includes(widget.value) ? choices : [widget.value, ...choices];
  }
  for (const limit of /** @type {const} */ (["min", "max"]))
    if (limit in options && limit in widget.options) widget.options[limit] = options[limit];
}

/** @param {ComfyUI.Node} node @param {string} name */
function removePort(node, name) {
  const widget = findWidget(node, name);
  if (widget) removeWidget(node, widget);
  const slot = slotOf(node, name);
  if (slot >= 0) node.removeInput(slot);
}

/** @param {ComfyUI.Node} node @param {Shape} shape @param {Build} build */
function giveOutputs(node, shape, build) {
  const list = findWidget(node, "outputs");
  if (!list) return; // this kind of node does not wait for outputs
  const before = readNames(list.value);
  const wanted = shape.outputs.map((output) => output.name);
  for (let index = before.length - 1; index >= 0; index--) {
    if (!wanted.includes(before[index])) node.removeOutput(build.firstOutput + index);
  }
  shape.outputs.forEach((output, index) => {
    const { name, socket, mark } = output;
    const slot = build.firstOutput + index;
    const type = socket || "*";
    if (slot >= node.outputs.length) node.addOutput(name, type);
    Object.assign(node.outputs[slot], { name, type });
    dress(node.outputs[slot], marked(outputLabel(output), mark), mark !== undefined);
  });
  list.value = JSON.stringify(wanted);
}

/** @param {ComfyUI.Slot} slot @param {string} label @param {boolean} isMarked */
function dress(slot, label, isMarked) {
  slot.label = label;
  if (isMarked) slot.color_on = slot.color_off = MARK_COLOUR;
  else if (slot.color_on === MARK_COLOUR) slot.color_on = slot.color_off = undefined;
}

/** @param {unknown} value of the widget `outputs` @returns {string[]} */
function readNames(value) {
  try {
    const names = JSON.parse(String(value || "[]"));
    return Array.isArray(names) ? names.map(String) : [];
  } catch {
    return [];
  }
}

/** @param {ComfyUI.Node} node @param {string} name */
export const findWidget = (node, name) => node.widgets?.find((widget) => widget.name === name);

/** @param {ComfyUI.Node} node @param {string} name @returns {number} -1 when there is no such input */
export const slotOf = (node, name) => (node.inputs ?? []).findIndex((input) => input.name === name);

/**
 * Add a button to a node. It has no value that could be saved.
 * @param {ComfyUI.Node} node
 * @param {string} text
 * @param {() => void} act
 */
export function addButton(node, text, act) {
  node.addWidget("button", text, null, act, { serialize: false }).serialize = false;
}

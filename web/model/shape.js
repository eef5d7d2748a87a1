// What a node shows of a deployment: its shape. It is kept with the graph, and brought up to date when the deployment
// has changed. What is gone from the deployment stays until a person removes it: something may be connected to it.

import { t } from "../texts.js";

/**
 * A shape after a look at the deployment as it is now.
 * @param {Shape | null} shape what the node shows; null when it shows nothing yet
 * @param {Shape} form the deployment as it is now
 * @param {(side: "input" | "output", name: string) => boolean} isConnected
 * @returns {Shape}
 */
export function renewed(shape, form, isConnected) {
  const isSame = shape?.id === form.id;
  /** @param {"input" | "output"} side */
  const stays = (side) => (/** @type {string} */ name) => isSame || isConnected(side, name);
  const { id, name, environment } = form;
  const inputs = merged(shape?.inputs ?? [], form.inputs, (field) => field.input_id, stays("input"));
  const outputs = merged(shape?.outputs ?? [], form.outputs, (output) => output.name, stays("output"));
  return { id, name, environment, inputs, outputs };
}

/**
 * @template {Field | Output} Item
 * @param {Item[]} known
 * @param {Item[]} fresh
 * @param {(item: Item) => string} nameOf
 * @param {(name: string) => boolean} stays whether an item that is gone is kept
 * @returns {Item[]}
 */
function merged(known, fresh, nameOf, stays) {
  const names = (/** @type {Item[]} */ items) => new Map(items.map((item) => [nameOf(item), item]));
  const now = names(fresh);
  const before = names(known);
  const kept = [...before].flatMap(([name, item]) => {
    const found = now.get(name);
    if (found) return [compared(item, found)];
    return stays(name) ? [{ ...item, mark: /** @type {const} */ ("gone") }] : [];
  });
  const added = [...now].filter(([name, item]) => !before.has(name) && !("is_open" in item && item.is_open));
  return [...kept, ...added.map(([, item]) => item)];
}

/** @template {Field | Output} Item @param {Item} before @param {Item} now @returns {Item} */
function compared(before, now) {
  const was = before.mark === "changed" ? before.was : before.kind;
  return was === now.kind ? now : { ...now, mark: "changed", was };
}

/** A shape without what is gone from its deployment, and without marks. @param {Shape} shape @returns {Shape} */
export const tidied = (shape) => ({ ...shape, inputs: unmarked(shape.inputs), outputs: unmarked(shape.outputs) });

/** @template {Field | Output} Item @param {Item[]} items */
function unmarked(items) {
  const kept = items.filter(({ mark }) => mark !== "gone");
  return kept.map(({ mark, was, ...rest }) => /** @type {Item} */ (rest));
}

/** A shape that shows one more of the deployment's open values. @param {Shape} shape @param {Field} field */
export const withInput = (shape, field) => ({ ...shape, inputs: [...shape.inputs, field] });

/** A shape that shows an input no longer. @param {Shape} shape @param {string} id */
export const withoutInput = (shape, id) => ({
  ...shape,
  inputs: shape.inputs.filter((field) => field.input_id !== id),
});

/** What a person should know about a shape, one sentence for each thing. @param {Shape} shape */
export function remarks({ inputs, outputs }) {
  /** @param {"input" | "output"} side @param {string} name @param {Field | Output} item */
  const remark = (side, name, { mark, kind, was = "" }) =>
    mark ? [t(`node.${side}_is_${mark}`, { name, kind, was })] : [];
  return [
    ...inputs.flatMap((field) => remark("input", field.input_id, field)),
    ...outputs.flatMap((output) => remark("output", output.name, output)),
  ];
}

/**
 * A shape as it was saved with a graph, or null for anything else that is found in its place.
 * @param {unknown} saved
 * @returns {Shape | null}
 */
export function readShape(saved) {
  const shape = /** @type {Partial<Shape> | null | undefined} */ (saved);
  if (typeof shape?.id !== "string") return null;
  return {
    id: shape.id,
    name: String(shape.name ?? ""),
    environment: String(shape.environment ?? ""),
    inputs: list(shape.inputs).filter((field) => typeof field?.input_id === "string"),
    outputs: list(shape.outputs).filter((output) => typeof output?.name === "string"),
  };
}

/** @template Item @param {Item[] | undefined} value @returns {Item[]} */
const list = (value) => (Array.isArray(value) ? value : []);

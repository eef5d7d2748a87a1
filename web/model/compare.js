// How two executable graphs differ.

import { canonical } from "./canonical.js";

/**
 * What of one graph is different in a later one. A node that only has another id is the same node.
 * @param {Graph} earlier @param {Graph} later @returns {Comparison}
 */
export function compared(earlier, later) {
  const [before, after] = [tidied(earlier), tidied(later)];
  const partners = partnersOf(before, after);
  const taken = new Set(partners.values());
  const changed = [...partners]
    .map(([id, partner]) => ({ ...named(partner, after), changes: changesOf(before[id], after[partner], partners) }))
    .filter(({ changes }) => changes.length);
  return {
    added: ids(after, (id) => !taken.has(id)).map((id) => named(id, after)),
    removed: ids(before, (id) => !partners.has(id)).map((id) => named(id, before)),
    changed,
    same: partners.size - changed.length,
  };
}

/**
 * A graph that somebody may have written by hand, with its nodes only. Objects that inherit nothing have no names but
 * those that were given. @param {Graph} graph @returns {Graph}
 */
function tidied(graph) {
  const bare = (/** @type {object | undefined} */ from) => Object.assign(Object.create(null), from);
  const nodes = Object.entries(graph).filter(([, node]) => typeof node?.class_type === "string");
  return bare(Object.fromEntries(nodes.map(([id, node]) => [id, { ...node, inputs: bare(node.inputs) }])));
}

/**
 * Which node of the one graph is which of the other: by id and class, and what is left by class and inputs.
 * @param {Graph} before @param {Graph} after
 */
function partnersOf(before, after) {
  const partners = new Map(ids(before, (id) => before[id].class_type === after[id]?.class_type).map((id) => [id, id]));
  let found = -1;
  while (found !== partners.size) {
    found = partners.size; // a node's inputs are known when the nodes have been found that they come from
    const taken = new Set(partners.values());
    /** @type {Map<string, string[]>} */
    const left = new Map();
    for (const id of ids(after, (each) => !taken.has(each))) {
      const key = signature(after[id], (source) => source);
      left.set(key, [...(left.get(key) ?? []), id]);
    }
    for (const id of ids(before, (each) => !partners.has(each))) {
      const partner = left.get(signature(before[id], (source) => partners.get(source)))?.shift();
      if (partner) partners.set(id, partner);
    }
  }
  return partners;
}

/** @typedef {(source: string) => string | undefined} Find the node of the later graph that a link comes from */

/** @param {ComfyUI.PromptNode} node @param {Find} find */
function signature({ class_type, inputs }, find) {
  return canonical([
    class_type,
    Object.entries(inputs)
      .map(([name, value]) => [name, textOf(value, find)])
      .sort(),
  ]);
}

/** @param {unknown} value of an input @param {Find} find */
function textOf(value, find) {
  return canonical(isLink(value) ? { from: find(String(value[0])) ?? null, slot: value[1] } : { value });
}

/** @param {ComfyUI.PromptNode} before @param {ComfyUI.PromptNode} after @param {Map<string, string>} partners */
function changesOf({ inputs: before }, { inputs: after }, partners) {
  const was = (/** @type {string} */ name) => textOf(before[name], (source) => partners.get(source) ?? source);
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((name) => was(name) !== textOf(after[name], (source) => source))
    .map((name) => ({ name, before: before[name], after: after[name] }));
}

/**
 * Whether the value of an input is the output of another node.
 * @param {unknown} value @returns {value is [string | number, number]}
 */
export function isLink(value) {
  if (!Array.isArray(value) || value.length !== 2 || typeof value[1] !== "number") return false;
  return typeof value[0] === "string" || typeof value[0] === "number";
}

/** @param {string} id @param {Graph} graph */
function named(id, graph) {
  const { class_type, _meta } = graph[id];
  return { id, class_type, title: _meta?.title || class_type };
}

/** @param {Graph} graph @param {(id: string) => boolean} isMeant */
function ids(graph, isMeant) {
  return Object.keys(graph).filter(isMeant);
}

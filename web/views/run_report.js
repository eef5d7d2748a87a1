// What a node says about its run while it is at work and afterwards, and about its deployment.

import { ended, firstLine, isFailed } from "../model/lines.js";
import { shown } from "../model/names.js";
import { showLines } from "./note.js";

/** Say something on a node. What is not given stays as it was. @param {ComfyUI.Node} node @param {News} news */
export function say(node, news) {
  const all = { ...node.outpostSaid, ...news };
  node.outpostSaid = all;
  /** @type {Line[]} */
  const remarks = (all.remarks ?? []).map((text) => ({ text, kind: "remark" }));
  showLines(node, [...[all.status, all.run].filter((line) => line != null), ...remarks]);
}

/**
 * Say what a node is doing, on pages that do not show it themselves.
 * @param {ComfyUI.Node} node
 * @param {unknown} text
 */
export function sayProgress(node, text) {
  say(node, { run: { text: shown(text, 200) } });
}

/** Say how the runs of a node have ended. @param {ComfyUI.Node} node @param {RunReport[]} reports */
export function sayEnded(node, reports) {
  const text = shown(ended(reports), 200);
  const told = (/** @type {RunReport} */ { run_id: id, status, message }) =>
    `run ${id}: ${status}${message ? ` (${shown(message, 200)})` : ""}`;
  const kind = reports.some(isFailed) ? "failed" : "status";
  say(node, { run: text ? { text, kind, hint: reports.map(told).join("\n") } : null });
}

/** Say that a node has failed, and why. @param {ComfyUI.Node} node @param {unknown} message */
export function sayFailed(node, message) {
  say(node, {
    run: { text: `failed · ${shown(firstLine(message), 200)}`, kind: "failed", hint: shown(message, 2000) },
  });
}

/** A node is being executed: how its run was before is no longer so. @param {ComfyUI.Node} node */
export function forgetRun(node) {
  if (node.outpostSaid?.run) say(node, { run: null });
}

// Making a widget an input of the deployment that the graph will become.

import { t } from "../../kit/kit.js";
import { freePlace, rank, standFor } from "../../model/exposing.js";

const MOST = 12;

/** Put a node in front of a widget, so that its value can come from outside. @param {Panel} panel @param {Exposable} what */
export function expose({ comfy, say }, what) {
  const { name, title } = what;
  const stand = standFor(what, comfy.takenIds());
  const isDone = stand && comfy.standIn(what, stand, freePlace);
  say(t(!isDone ? "expose.impossible" : stand.isOther ? "expose.other" : "expose.done", { name, title }));
}

/** What somebody is likely to want as an input, the likeliest first. @param {Panel} panel @returns {Exposable[]} */
export function likely({ comfy }) {
  const found = comfy.shownNodes().flatMap((node) => exposablesOf(comfy, node));
  const offered = found.filter((each) => rank(each) !== null);
  return offered.sort((one, other) => Number(rank(one)) - Number(rank(other))).slice(0, MOST);
}

/**
 * The entry of a node's menu; none for a node without anything that could be an input.
 * @param {Panel} panel @param {ComfyUI.Node} node @returns {ComfyUI.MenuOption[]}
 */
export function exposeMenu(panel, node) {
  const options = exposablesOf(panel.comfy, node).map((each) => ({
    content: each.name,
    callback: () => expose(panel, each),
  }));
  return options.length ? [{ content: t("expose.menu"), has_submenu: true, submenu: { options } }] : [];
}

/** @param {Panel["comfy"]} comfy @param {ComfyUI.Node} node */
function exposablesOf(comfy, node) {
  if (/^(ComfyUIDeployExternal|ComfyDeployOutput|Outpost)/.test(node.comfyClass ?? "")) return [];
  return comfy.exposablesOf(node).filter((each) => standFor(each, []));
}

// Names: how an input of a deployment is called on a node, and how what somebody else has named is shown.

import { t } from "../texts.js";

const LONGEST = 60;
// Control characters and those that turn the direction of writing round: they could make one name look like another.
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+/g;

/** A name as it is shown: one line of limited length. @param {unknown} name @param {number} longest in characters */
export function shown(name, longest = LONGEST) {
  const text = String(name ?? "")
    .slice(0, longest * 20)
    .replace(INVISIBLE, " ")
    .replace(/\s+/g, " ")
    .trim();
  const letters = Array.from(text);
  return letters.length > longest ? `${letters.slice(0, longest - 1).join("")}…` : text;
}

/** As an entry of a menu of the page shows it: those take what has something like a tag in it for HTML. @param {unknown} name */
export function inMenu(name) {
  return shown(name).replaceAll("<", "‹").replaceAll(">", "›");
}

/**
 * What the input of a deployment is called on a node. The node's own inputs have their names already.
 * @param {string} inputId @param {string[]} own their names
 */
export function inputName(inputId, own) {
  return own.includes(inputId) ? `input:${inputId}` : inputId;
}

/**
 * Why a name cannot become an input of a node, or an empty text when it can.
 * @param {string} name @param {{name: string}[]} inputs that the node has @param {string[]} own names of its own inputs
 */
export function objection(name, inputs, own) {
  if (!name) return t("node.add_none");
  if (own.includes(name)) return t("node.add_own", { name: shown(name) });
  return inputs.some((input) => input.name === name) ? t("node.add_twice", { name: shown(name) }) : "";
}

/** The names of a node's own inputs. @param {Partial<Pick<ComfyUI.NodeData, "input">>} nodeData ComfyUI's description of it */
export function ownInputs(nodeData) {
  const { required = {}, optional = {}, hidden = {} } = nodeData.input ?? {};
  return [required, optional, hidden].flatMap((inputs) => Object.keys(inputs));
}

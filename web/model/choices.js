// The list of deployments: what each entry is called, and which entries a list has.

import { t } from "../texts.js";
import { shown } from "./names.js";
import { joined } from "./words.js";

const SHORT = 8; // characters of an id that mostly tell it from others

/**
 * What the entries of a list say: “name · environment”, and more where two would say the same.
 * @param {Deployment[]} deployments
 * @returns {Map<string, string>} by the deployments' ids
 */
export function labels(deployments) {
  /** @type {Map<string, string[]>} */
  const alike = new Map();
  for (const deployment of deployments) {
    const text = label(deployment);
    alike.set(text, [...(alike.get(text) ?? []), deployment.id]);
  }
  /** @type {[string, string][]} */
  const said = [...alike].flatMap(([text, ids]) => {
    const length = new Set(ids.map((id) => id.slice(0, SHORT))).size === ids.length ? SHORT : Infinity;
    return ids.map((id) => [id, ids.length > 1 ? joined(text, id.slice(0, length)) : text]);
  });
  return new Map(said);
}

/** @param {Deployment} deployment */
export function label({ name, environment, is_active: isActive }) {
  const text = joined(shown(name) || t("node.nameless"), shown(environment));
  return isActive === false ? t("node.inactive", { text }) : text;
}

/**
 * The values of a list: every deployment, and the value that is chosen, also when there is no such deployment.
 * @param {Deployment[]} deployments
 * @param {unknown} chosen
 */
export function values(deployments, chosen) {
  const ids = deployments.map(({ id }) => id);
  const current = typeof chosen === "string" ? chosen : "";
  return ids.includes(current) ? ids : [current, ...ids];
}

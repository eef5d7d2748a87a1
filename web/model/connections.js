// What is known of connections without a page.

import { t } from "../texts.js";
import { joined } from "./words.js";

export const HOSTED = "https://api.comfydeploy.com";
const AWAY = ["connection_failed", "unavailable", "server_error"];

/** @param {string} id */
export const pathOf = (id) => `/connections/${encodeURIComponent(id)}`;

/** Whether a platform is away, rather than the connection wrong. @param {{code?: string}} error */
export const isAway = ({ code = "" }) => AWAY.includes(code);

/** What a form says of a connection; what is empty is left out. @param {Iterable<[string, unknown]>} fields */
export function wishOf(fields) {
  const given = [...fields].map(([name, value]) => [name, String(value).trim()]);
  return Object.fromEntries(given.filter(([, value]) => value));
}

/**
 * The steps of a test after another line has come: a step is told again when it has ended.
 * @param {TrialStep[]} steps
 * @param {TrialStep} step
 */
export function stepsAfter(steps, step) {
  const last = steps.at(-1);
  return last?.name === step.name && last.state === "begun" ? [...steps.slice(0, -1), step] : [...steps, step];
}

/** What is shown below the name of a connection. @param {ConnectionRow} row */
export function about({ base_url: address, key_ending: ending, kind }) {
  const key = ending ? t("connect.key_ending", { ending }) : t("connect.key_hidden");
  return joined(address?.replace(/^https?:\/\//, ""), key, t(`connect.kind_${kind}`));
}

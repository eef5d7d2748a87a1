// Runs: how they are, in words, and how a list of them follows what happens.

import { t } from "../texts.js";
import { span } from "./time.js";
import { joined } from "./words.js";

/** @typedef {{status: string, deployment_id?: string, workflow_id?: string}} Filter */

const WAITING = { icon: "pi-hourglass", tone: "outpost-warning" };
/** @type {Record<string, typeof WAITING>} any other works */
const STATES = {
  success: { icon: "pi-check-circle", tone: "outpost-good" },
  failed: { icon: "pi-times-circle", tone: "outpost-bad" },
  timeout: { icon: "pi-clock", tone: "outpost-bad" },
  cancelled: { icon: "pi-ban", tone: "" },
  queued: WAITING,
  "not-started": WAITING,
};
/** The filters, by the word that the route takes. */
export const FILTERS = ["", "active", "failed", "done", "cancelled"];
/** @type {Record<string, string>} by the status of a run that has ended, the filter that shows it */
const ENDS = { failed: "failed", timeout: "failed", success: "done", cancelled: "cancelled" };

/** @param {string} id */
export const runPath = (id) => /** @type {const} */ (`/runs/${encodeURIComponent(id)}`);

/** @param {{status: string}} run */
export const isActive = ({ status }) => !ENDS[status];

/** @param {{status: string}} run */
export const hasFailed = ({ status }) => ENDS[status] === "failed";

/** How a run is. @param {{status: string}} run */
export function stateOf({ status }) {
  const state = STATES[status] ?? { icon: "pi-spin pi-spinner", tone: "" };
  return { ...state, text: t(`runs.state_${STATES[status] ? status : "running"}`) };
}

/** What a run is called. @param {Pick<RunRow, "name" | "environment">} run */
export const titleOf = ({ name, environment }) => joined(name || t("runs.nameless"), environment);

/**
 * How long a run has taken, or has been going on; empty where that is not known.
 * @param {RunRow} run
 * @param {number} now milliseconds
 */
export function tookOf(run, now) {
  const to = isActive(run) ? now : Date.parse(run.ended_at ?? "");
  const seconds = (to - Date.parse(run.started_at ?? run.created_at)) / 1000;
  return span(Math.max(0, seconds)); // another computer's clock may be behind
}

/** What it is doing, or why it waits: that it waits is said beside it. @param {RunRow} run */
export function doingOf(run) {
  const said = `${stateOf(run).text}: `;
  return isActive(run) && run.doing && (run.doing.startsWith(said) ? run.doing.slice(said.length) : run.doing);
}

/**
 * A run after news of it. Not every piece of news says why one still waits.
 * @template {RunRow} Run
 * @param {Run} before @param {RunRow} run @returns {Run}
 */
export const withNews = (before, run) => ({
  ...before,
  ...run,
  doing: run.doing ?? (before.status === run.status && STATES[run.status] === WAITING ? before.doing : null),
});

/** How many runs come before one that waits. @param {RunRow} run */
export function waitOf({ status, queue_position: count }) {
  return STATES[status] === WAITING && count ? t("runs.position", { count }) : "";
}

/**
 * What is said below a run's name.
 * @param {RunRow} run
 * @param {number} now milliseconds
 */
export function aboutOf(run, now) {
  return joined(run.error, doingOf(run), waitOf(run), tookOf(run, now), run.machine);
}

/**
 * Whether a run belongs to a list.
 * @param {RunRow} run
 * @param {Filter} filter
 */
export function fits(run, { status, deployment_id: deployment, workflow_id: workflow }) {
  const isIts = (!deployment || run.deployment_id === deployment) && (!workflow || run.workflow_id === workflow);
  return isIts && (!status || status === (ENDS[run.status] ?? "active"));
}

/**
 * A list, newest first, after news of a run.
 * @param {RunRow[]} rows
 * @param {RunRow} run
 * @param {Filter} filter
 * @param {boolean} hasMore whether older ones may follow the last row
 */
export function merged(rows, run, filter, hasMore = false) {
  const at = rows.findIndex(({ id }) => id === run.id);
  if (at >= 0) return fits(run, filter) ? rows.with(at, withNews(rows[at], run)) : rows.toSpliced(at, 1);
  if (!fits(run, filter)) return rows;
  const place = rows.findIndex(({ created_at: time }) => time < run.created_at);
  if (place < 0 && hasMore) return rows; // it comes with the rest
  return rows.toSpliced(place < 0 ? rows.length : place, 0, run);
}

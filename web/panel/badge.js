// What runs tell while the panel is closed: their number on its tab, and what has become of those that were started here.

import { TAB } from "../kit/context.js";
import { isActive, titleOf } from "../model/runs.js";
import { TOASTS } from "../settings.js";
import { t } from "../texts.js";

const MOST_TOASTS = 3; // at about the same time
const FORGOTTEN_MS = 10_000;
const MOST_ENDED = 1000;

/** Listen to the server from now on. @param {Panel} panel @param {Panel["comfy"]} comfy */
export function watchRuns({ feed, routes }, comfy) {
  /** @type {Map<string, RunRow>} */
  const active = new Map();
  /** @type {Set<string>} runs that were told to have ended */
  const ended = new Set();
  /** @type {number[]} */
  let told = [];
  let wasAway = false;
  /** @type {string | null | undefined} */
  let connection;

  const tell = (/** @type {string} */ text, /** @type {"success" | "error" | "warn"} */ severity) => {
    told = told.filter((time) => time > Date.now() - FORGOTTEN_MS);
    if (told.length >= MOST_TOASTS || comfy.isTabOpen(TAB) || comfy.settingOf(TOASTS) === false) return;
    told.push(Date.now());
    comfy.tell(text, severity);
  };
  const badge = () => comfy.setBadge(TAB, active.size ? String(active.size) : "");
  const heard = (/** @type {RunRow} */ run) => {
    const before = active.get(run.id);
    if (isActive(run)) active.set(run.id, run);
    else active.delete(run.id);
    if (!!before !== isActive(run)) badge();
    // One that failed at once was never heard of before.
    if (isActive(run) || !run.is_ours || ended.has(run.id)) return;
    ended.add(run.id);
    if (ended.size > MOST_ENDED) ended.delete([...ended][0]);
    const about = { name: titleOf(run), error: (run.error ?? "").slice(0, 200) };
    if (run.status === "success") tell(t("runs.toast_success", about), "success");
    else if (run.status !== "cancelled") tell(t("runs.toast_failed", about), "error");
  };
  feed.on("run", heard);
  feed.on("changed", ({ kind, id }) => {
    if (kind !== "run" || id) return;
    // Something was missed: what is still at work is told anew, and what has ended meanwhile is asked for.
    const ours = [...active.values()].filter((each) => each.is_ours);
    active.clear();
    badge();
    for (const run of ours.slice(0, MOST_TOASTS)) {
      const ended = (/** @type {RunRow} */ row) => {
        if (!isActive(row)) active.set(row.id, run);
        heard(row);
      };
      routes.get(`/runs/${encodeURIComponent(run.id)}`).then(ended, () => {}); // it is told of later, or not at all
    }
  });
  feed.on("connection", ({ state, id, message = "" }) => {
    if (state === "away" && !wasAway) tell(t("runs.toast_away", { message }), "warn");
    if (id !== connection) active.clear();
    connection = id;
    wasAway = state === "away";
    badge();
  });
  const start = () => feed.start(routes, comfy.api);
  if ("requestIdleCallback" in window) requestIdleCallback(start, { timeout: 5000 });
  else setTimeout(start, 1000); // ComfyUI's own start comes first
}

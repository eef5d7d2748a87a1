// What machines are told of, in words.

import { t } from "../texts.js";
import { memory } from "./time.js";

const GOOD = { icon: "pi-check-circle", tone: "outpost-good" };
/** @type {Record<string, typeof GOOD>} by the state's name; any other is one in between */
const STATES = {
  ready: GOOD,
  running: GOOD,
  error: { icon: "pi-exclamation-circle", tone: "outpost-bad" },
  building: { icon: "pi-cog", tone: "outpost-warning" },
  asleep: { icon: "pi-moon", tone: "" },
  "not-started": { icon: "pi-moon", tone: "" },
};
/** @type {Record<string, string>} */
const ICONS = {
  builtin: "pi-box",
  comfyui: "pi-server",
  classic: "pi-server",
  managed: "pi-bolt",
  pool: "pi-clone",
  serverless: "pi-cloud",
  "comfy-deploy-serverless": "pi-cloud",
};
const VERSIONS = /** @type {const} */ (["comfyui", "python", "pytorch"]);
const TEXTS = ["name", "endpoint", "auth_token", "comfyui", "gpu"];
const NUMBERS = ["concurrency_limit", "idle_timeout"];

/** How a machine is. @param {MachineRow} machine */
export function stateOf({ status, processes }) {
  const state = status === "ready" && processes === 0 ? "asleep" : status;
  if (!STATES[state]) return { icon: "pi-question-circle", tone: "", text: status };
  return { ...STATES[state], text: t(`machine.state_${state}`) };
}

/** @param {string} kind */
export const iconOf = (kind) => ICONS[kind] ?? "pi-server";

/** What a kind of machine is called. @param {string} kind */
export const kindOf = (kind) => (ICONS[kind] ? t(`machine.kind_${kind}`) : kind);

/** What it is at; empty where that is not known or nothing. @param {MachineRow} machine */
export function workOf({ working, queue, slots }) {
  const work = working && t(slots ? "machine.working" : "machine.working_pool", { count: working, slots: slots ?? 0 });
  return [work, queue && t("machine.queue", { count: queue })].filter(Boolean).join(", ");
}

/** Its memory: what is free of all. @param {MachineRow} machine */
export function memoryOf({ vram_total: total, vram_free: free }) {
  if (!total) return "";
  return free == null ? memory(total) : t("machine.memory_free", { free: memory(free), total: memory(total) });
}

/**
 * What it is made of, in the order of its importance; what is not known is left out.
 * @param {MachineRow} machine
 * @returns {[key: string, value: string][]}
 */
export function factsOf(machine) {
  // The hosted platform knows a ComfyUI by the hash of its commit.
  const short = (version = "") => version.replace(/^([0-9a-f]{7})[0-9a-f]{33}$/, "$1");
  /** @type {[string, string][]} */
  const facts = [
    ["gpu", machine.gpu ?? ""],
    ["memory", memoryOf(machine)],
    ...VERSIONS.map((name) => /** @type {[string, string]} */ ([name, short(machine[`${name}_version`] ?? "")])),
  ];
  return facts.filter(([, value]) => value);
}

/** What a form says of a machine, as the route takes it: empty fields are left out. @param {FormData} form */
export function wishOf(form) {
  const told = [...TEXTS, ...NUMBERS].map((name) => [name, String(form.get(name) ?? "").trim()]);
  /** @type {Record<string, unknown>} */
  const wish = Object.fromEntries(told.filter(([, value]) => value));
  for (const name of NUMBERS) if (name in wish) wish[name] = Number(wish[name]);
  if (form.has("has_warmth")) wish.keep_warm = form.has("keep_warm");
  if (form.has("machine_ids")) wish.machine_ids = form.getAll("machine_ids").filter(Boolean);
  if (form.has("no_token")) wish.auth_token = "";
  return wish;
}

// Deploying a graph step by step. What was done before a failure is not done again.

import { signOf } from "./canonical.js";
import { newKey } from "./keys.js";
import { noneFor, workflowPath } from "./paths.js";

const ORDER = ["production", "staging", "preview"];

/** The environments that can be chosen, as they are listed: production first. @param {DeploymentRow[]} rows */
export function environmentsOf(rows) {
  const others = rows.map(({ environment }) => environment).sort();
  return [...new Set([...ORDER, ...others])].filter(Boolean);
}

/**
 * The machine that is meant: the first that is wanted and still there, or else one that does real work.
 * @param {MachineRow[]} machines @param {(string | null | undefined)[]} wanted
 */
export function machineFor(machines, wanted) {
  const ready = machines.filter(({ status }) => status === "ready" || status === "running");
  const found = wanted.map((id) => machines.find((each) => each.id === id));
  return found.find(Boolean) ?? ready.find(({ kind }) => kind !== "builtin") ?? ready[0] ?? machines[0];
}

/**
 * Deployments by the workflow that they are of, each with the environments in order.
 * @param {DeploymentRow[]} rows @param {string} search @returns {(DeploymentRow & {isFirst: boolean})[]}
 */
export function grouped(rows, search) {
  const words = search.toLowerCase().split(/\s+/);
  const found = rows.filter((row) => {
    const text = [row.name, row.workflow, row.environment, row.machine, row.id].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const groupOf = (/** @type {DeploymentRow} */ row) => row.workflow_id ?? row.id;
  /** @type {Map<string, number>} */
  const places = new Map();
  for (const row of found) if (!places.has(groupOf(row))) places.set(groupOf(row), places.size);
  const names = environmentsOf(found);
  const placeOf = (/** @type {DeploymentRow} */ row) =>
    Number(places.get(groupOf(row))) + (names.indexOf(row.environment) + 1) / (names.length + 1);
  return found
    .sort((one, other) => placeOf(one) - placeOf(other))
    .map((row, index) => ({ ...row, isFirst: !index || groupOf(found[index - 1]) !== groupOf(row) }));
}

/**
 * A request that is repeated as it was, with its key, until it is answered. Whoever asks meanwhile waits for that.
 * @template Answer
 */
class Deed {
  /** @type {Answer | undefined} */
  answer;
  /** @type {Promise<Answer> | null} */
  #asked = null;

  /** @param {string} sign what is meant @param {() => Promise<Answer>} ask */
  constructor(sign, ask) {
    this.sign = sign;
    this.ask = ask;
  }

  done() {
    this.#asked ??= this.#answered();
    return this.#asked;
  }

  async #answered() {
    try {
      this.answer = await this.ask();
      return this.answer;
    } catch (error) {
      this.#asked = null;
      throw error;
    }
  }
}

/** Saves versions and deploys them; a repetition of either is none. */
export class Deploying {
  /** @type {Deed<Version> | undefined} */
  #version;
  /** @type {Deed<DeploymentRow> | undefined} */
  #deployment;

  /** @param {Pick<Panel["routes"], "get" | "send">} routes */
  constructor(routes) {
    this.routes = routes;
  }

  /**
   * Keep a graph as a version of a workflow, or of a new one.
   * @param {{workflow_id?: string | null, name: string, comment: string, graph: Drawn}} what
   */
  save({ workflow_id: id, name, comment, graph: { workflow, output } }) {
    const sign = JSON.stringify([id, id ? "" : name, comment, signOf(output)]);
    if (this.#version?.sign !== sign) {
      const path = id ? `${workflowPath(id)}/versions` : "/workflows";
      const body = { workflow, workflow_api: output, comment, key: newKey(), ...(id ? {} : { name }) };
      this.#version = new Deed(sign, async () => {
        const made = await this.routes.send("POST", path, body);
        const ids = id ? { id, version: made.id } : { id: made.id, version: made.workflow_version_id };
        return { workflow_id: ids.id, version: made.version, workflow_version_id: ids.version };
      });
    }
    return this.#version.done();
  }

  /** @param {Omit<Version, "version"> & {machine_id: string, environment: string, force: boolean}} what */
  async deploy(what) {
    const sign = JSON.stringify(what);
    if (this.#deployment?.sign !== sign) {
      const body = { ...what, key: newKey() };
      this.#deployment = new Deed(sign, async () => this.routes.send("POST", "/deployments", body));
    }
    const deed = this.#deployment;
    const made = await deed.done().catch(async (error) => {
      if (error.status === 404) await this.#forgetDeleted(what.workflow_id);
      throw error;
    });
    if (this.#deployment === deed) this.#deployment = undefined;
    if (this.#version?.answer?.workflow_version_id === what.workflow_version_id) this.#version = undefined;
    return made;
  }

  /** What was kept may have been deleted since; then it has to be kept anew. @param {string} workflowId */
  async #forgetDeleted(workflowId) {
    const isThere = await this.routes.get(workflowPath(workflowId)).catch(noneFor(404));
    if (!isThere && this.#version?.answer?.workflow_id === workflowId) this.#version = undefined;
  }
}

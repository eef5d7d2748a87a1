// Starting runs from a form: each once.

import { newKey } from "./keys.js";

/** Starts runs. Whoever asks again while one is being started, or after its answer was lost, starts no second one. */
export class Starting {
  /** @type {Map<string, {key: string, isLost: boolean, made: Promise<RunRow> | null}>} by what is asked for, until it is
   * known which run that is */
  #starts = new Map();

  /** @param {Pick<Panel["routes"], "send">} routes */
  constructor(routes) {
    this.routes = routes;
  }

  /**
   * Whether a run of just this may be going on already. Not every platform can tell a repetition from a second run.
   * @param {object} body
   */
  isLost(body) {
    return !!this.#starts.get(JSON.stringify(body))?.isLost;
  }

  /**
   * @param {object} body the deployment, and what it is given
   * @returns {Promise<RunRow>}
   */
  start(body) {
    const sign = JSON.stringify(body);
    const start = this.#starts.get(sign) ?? { key: newKey(), isLost: false, made: null };
    this.#starts.set(sign, start);
    start.made ??= this.routes.send("POST", "/runs", { ...body, key: start.key }).then(
      (run) => {
        this.#starts.delete(sign);
        return run;
      },
      (error) => {
        Object.assign(start, { isLost: error.code === "run_lost", made: null });
        throw error;
      },
    );
    return start.made;
  }
}

// Live events: one stream for the whole page, while the page is in sight.

import { eventsOf } from "./model/sse.js";

const PAUSES_MS = [500, 1000, 2000, 5000, 10_000, 30_000]; // then nothing is tried until ComfyUI is there again
const KINDS = /** @type {LiveEvents["changed"]["kind"][]} */ (["workflow", "deployment", "run", "machine", "asset"]);

export class Feed {
  /** @type {Map<string, Set<(event: any) => void>>} */
  #listeners = new Map();
  /** @type {AbortController | null} what ends the stream that is open */
  #open = null;
  #last = "";
  #failures = 0;
  #timer = 0;

  /**
   * Hear events of a name.
   * @template {keyof LiveEvents} Name
   * @param {Name} name
   * @param {(event: LiveEvents[Name]) => void} listener
   * @returns {() => void} hear them no more
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  /** @template {keyof LiveEvents} Name @param {Name} name @param {LiveEvents[Name]} event */
  tell(name, event) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        reportError(error); // one view's failure is not that of the others
      }
    }
  }

  /**
   * Hear the server from now on, while the page is in sight. A browser opens only six connections to a server, so pages
   * that nobody sees hold none.
   * @param {import("./routes.js").Routes} routes
   * @param {{addEventListener(name: string, listener: () => void): void}} api ComfyUI's, which knows when it is back
   */
  start(routes, api) {
    const look = () => {
      this.#failures = 0;
      if (document.visibilityState === "visible") this.#listen(routes);
      else this.#stop();
    };
    document.addEventListener("visibilitychange", look);
    window.addEventListener("pagehide", () => this.#stop());
    api.addEventListener("reconnected", look);
    look();
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#open?.abort();
    this.#open = null;
  }

  /** @param {import("./routes.js").Routes} routes */
  async #listen(routes) {
    if (this.#open) return;
    clearTimeout(this.#timer);
    this.#open = new AbortController();
    const { signal } = this.#open;
    try {
      await this.#read(await routes.open("/events", { signal, headers: { "Last-Event-ID": this.#last } }));
    } catch {
      // Whatever it was: it is tried again, or the page is going away.
    }
    if (signal.aborted) return;
    this.#open = null;
    const pause = PAUSES_MS[this.#failures++];
    if (pause) this.#timer = setTimeout(() => this.#listen(routes), pause);
  }

  /** @param {Response} answer */
  async #read(answer) {
    for await (const { id, name, data } of eventsOf(answer)) {
      this.#failures = 0;
      this.#last = id || this.#last;
      if (name !== "hello") this.tell(/** @type {keyof LiveEvents} */ (name), data);
      else for (const kind of KINDS) this.tell("changed", { kind });
    }
  }
}

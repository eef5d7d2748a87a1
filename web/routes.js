// What this package's own routes tell the page.

import { t } from "./texts.js";

/** A route has answered with an error, or not at all. The message is a sentence for the person at the page. */
export class RouteError extends Error {
  isExpected = true;

  /**
   * @param {string} message
   * @param {number} status 0 when there was no answer
   * @param {string} [code] of the kind of error, such as `no_connection` where no platform is set up
   */
  constructor(message, status, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class Routes {
  /** @type {Map<string, Promise<Shape>>} those that are being asked for */
  #forms = new Map();

  /** The connection that the page shows: nothing is done at another one. @type {string | null | undefined} */
  connection;

  /** @param {(path: string, options?: RequestInit) => Promise<Response>} request */
  constructor(request) {
    this.request = request;
  }

  /** @returns {Promise<Deployment[]>} */
  async deployments() {
    return (await this.get("/deployments")).deployments ?? [];
  }

  /** The inputs and outputs of a deployment. Many nodes of a graph ask for the same one at once. @param {string} id */
  form(id) {
    const asked = this.#forms.get(id);
    if (asked) return asked;
    /** @type {Promise<Shape>} */
    const answer = this.get(`/deployments/${encodeURIComponent(id)}`).finally(() => this.#forms.delete(id));
    this.#forms.set(id, answer);
    return answer;
  }

  /**
   * What is in a folder of the library, or what is found by a query.
   * @param {{path: string, query: string}} where
   * @returns {Promise<Asset[]>}
   */
  async assets({ path, query }) {
    return (await this.get(`/assets?${new URLSearchParams({ path, query })}`)).assets ?? [];
  }

  /**
   * Ask a route for something.
   * @template {string} Path
   * @param {Path} path below `/outpost`
   * @param {Record<string, string | number | undefined | null>} [query] what is empty is left out
   * @param {RequestInit} [options]
   * @returns {Promise<Answer<Path>>}
   */
  get(path, query = {}, options = {}) {
    const asked = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value || value === 0) asked.set(name, String(value));
    return this.#ask(asked.size ? `${path}?${asked}` : path, options);
  }

  /**
   * Let a route do something.
   * @param {"POST" | "PATCH" | "DELETE"} method
   * @param {string} path below `/outpost`
   * @param {unknown} [body]
   * @returns {Promise<any>}
   */
  send(method, path, body = {}) {
    // A deed that is asked for while the page is being left is done all the same.
    const keepalive = method === "DELETE";
    const headers = { "Content-Type": "application/json" };
    return this.#ask(path, { method, keepalive, headers, body: JSON.stringify(body) });
  }

  /**
   * Ask a route for an answer that comes bit by bit.
   * @param {string} path below `/outpost`
   * @param {RequestInit} [options]
   */
  async open(path, options = {}) {
    const headers = { ...options.headers, ...headersOf(options.method && this.connection) };
    const failed = (/** @type {Error} */ error) => {
      throw error.name === "AbortError" ? error : new RouteError(t("route.silent"), 0);
    };
    const answer = await this.request(`/outpost${path}`, { cache: "no-store", ...options, headers }).catch(failed);
    if (answer.ok) return answer;
    const body = await answer.json().catch(() => null);
    const said = typeof body?.detail === "string" ? body.detail : t("route.odd", { status: answer.status });
    throw new RouteError(said, answer.status, body?.code);
  }

  /** @param {string} path @param {RequestInit} options */
  async #ask(path, options) {
    const answer = await this.open(path, options);
    const odd = () => {
      throw new RouteError(t("route.odd", { status: answer.status }), answer.status);
    };
    return answer.json().catch(odd);
  }
}

/**
 * What tells a route who asks, and where what it is to do is meant to be done.
 * @param {string | null} [connection]
 * @returns {Record<string, string>}
 */
export const headersOf = (connection) => ({
  "Outpost-Page": "1",
  ...(connection && { "Outpost-Connection": connection }),
});

/** The path of a small picture of an asset. @param {string} id */
export const thumbnailPath = (id) => `/outpost/assets/${encodeURIComponent(id)}/thumbnail`;

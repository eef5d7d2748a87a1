// What came back: sends a request and shows its answer, also one that comes bit by bit.

import { eventReader } from "./answer.js";
import { element, folding, jsonView, picture, textBox } from "./dom.js";
import { STREAM } from "./request.js";

/**
 * @typedef {import("./request.js").Request} Request
 * @typedef {import("./request.js").Content} Content
 * @typedef {import("./answer.js").StreamEvent} StreamEvent
 */

const MAX_EVENTS = 500;

/** A place for answers. `send` returns when the answer is complete, or the signal has stopped it. */
export function resultPane() {
  const outcome = element("p", { role: "status", class: "outcome" }, "Nothing sent yet.");
  const body = element("div", { class: "result" });
  /** @type {string[]} */
  let urls = [];

  /** @param {Blob} blob */
  function urlOf(blob) {
    const url = URL.createObjectURL(blob);
    urls.push(url);
    return url;
  }

  function clear() {
    urls.forEach((each) => URL.revokeObjectURL(each));
    urls = [];
    body.replaceChildren();
  }

  /** @param {Request} request @param {string} key @param {AbortSignal} signal */
  async function send(request, key, signal) {
    clear();
    outcome.replaceChildren("Sending…");
    const started = performance.now();
    const took = () => duration(performance.now() - started);
    try {
      const response = await fetch(request.url, optionsOf(request, key, signal));
      body.append(headersOf(response));
      if (typeOf(response) === STREAM && response.body) {
        outcome.replaceChildren(badge(response), " The stream is open");
        const count = await showEvents(response.body, body, started);
        outcome.replaceChildren(badge(response), ` The stream ended after ${took()} and ${count} events`);
      } else {
        const blob = await response.blob();
        outcome.replaceChildren(badge(response), ` ${took()} · ${size(blob.size)}`);
        body.prepend(...(await contentOf(blob, typeOf(response), urlOf)));
      }
    } catch (error) {
      if (signal.aborted) outcome.replaceChildren(`Stopped after ${took()}`);
      else outcome.replaceChildren(element("span", { class: "problem" }, reason(error)));
    }
  }

  return { node: element("div", {}, outcome, body), send };
}

/** @param {unknown} error */
function reason(error) {
  // Every failure of the network is a TypeError, and a browser does not tell more about it.
  const isNetwork = error instanceof TypeError;
  return isNetwork ? "No answer: the server cannot be reached, or the connection broke off." : String(error);
}

/** @param {Request} request @param {string} key @param {AbortSignal} signal @returns {RequestInit} */
function optionsOf({ method, headers, credential, content }, key, signal) {
  /** @type {[string, string][]} */
  const access = credential && key ? [[credential.header, credential.scheme + key]] : [];
  return {
    method,
    headers: [...headers, ...access],
    body: content ? payload(content) : undefined,
    signal,
    mode: "same-origin",
    credentials: "omit",
    cache: "no-store",
    referrerPolicy: "no-referrer",
  };
}

/** @param {Content} content @returns {BodyInit | undefined} */
function payload({ text, fields }) {
  if (!fields) return text;
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  return form;
}

/** @param {Response} response */
function typeOf(response) {
  return (response.headers.get("Content-Type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}

/** @param {Response} response */
function badge(response) {
  const text = `${response.status} ${response.statusText}`.trim();
  return element("span", { class: `status status-${Math.floor(response.status / 100)}` }, text);
}

/** @param {Response} response */
function headersOf(response) {
  return folding({ title: ["Headers"], class: "fields" }, () => {
    const rows = [...response.headers].flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
    return [element("dl", { class: "headers" }, ...rows)];
  });
}

/** @param {Blob} blob @param {string} type @param {(blob: Blob) => string} urlOf @returns {Promise<Node[]>} */
async function contentOf(blob, type, urlOf) {
  if (!blob.size) return [];
  if (/[/+]json$/.test(type)) return jsonView(await blob.text());
  if (type.startsWith("text/")) return [textBox("Answer", await blob.text())];
  if (type.startsWith("image/")) return [element("div", { class: "pictures" }, picture(urlOf(blob), "The answer"))];
  return [element("a", { href: urlOf(blob), download: "answer" }, `Save ${type || "the answer"}, ${size(blob.size)}`)];
}

/**
 * Show the events of a stream as they come; how many there were.
 * @param {ReadableStream<Uint8Array>} stream
 * @param {HTMLElement} place
 * @param {number} started
 */
async function showEvents(stream, place, started) {
  const list = element("ol", { class: "events", tabindex: 0, "aria-label": "Events" });
  const left = element("p", { class: "hint" });
  place.prepend(left, list);
  const [reader, read, decoder] = [stream.getReader(), eventReader(), new TextDecoder()];
  let count = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 4;
    const events = read(decoder.decode(part.value, { stream: true }));
    list.append(...events.map((each) => eventItem(each, performance.now() - started)));
    count += events.length;
    while (list.childElementCount > MAX_EVENTS) list.firstElementChild?.remove();
    if (count > MAX_EVENTS) left.textContent = `The last ${MAX_EVENTS} of ${count} events`;
    if (isAtEnd) list.scrollTop = list.scrollHeight;
  }
  return count;
}

/** @param {StreamEvent} event @param {number} time */
function eventItem(event, time) {
  const title = [
    element("span", { class: "time" }, duration(time)),
    element("code", { class: "name" }, event.event),
    event.id && element("span", { class: "kind" }, `#${event.id}`),
    element("span", { class: "preview" }, event.data.slice(0, 200)),
  ];
  return element(
    "li",
    {},
    folding({ title }, () => jsonView(event.data)),
  );
}

/** @param {number} milliseconds */
function duration(milliseconds) {
  return milliseconds < 1000 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(2)} s`;
}

/** @param {number} bytes */
function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// One operation: what it does, a form to try it, and what it answers.

import { copyButton, element, folding, prose, schemaTree, textBox, withCode } from "./dom.js";
import { operationForm } from "./form.js";
import { curlOf, requestOf } from "./request.js";
import { resultPane } from "./result.js";
import { exampleOf, kindOf, membersOf } from "./schema.js";

/**
 * @typedef {import("./request.js").Operation} Operation
 * @typedef {import("./request.js").Answer} Answer
 * @typedef {{root: object, base: string, key: () => string}} Api `key` gives what was typed last
 */

/**
 * An operation as a line that opens.
 * @param {Api} api
 * @param {Operation} operation
 */
export function operationItem(api, operation) {
  const { id, method, path, summary, credential, isWebhook } = operation;
  const title = [
    element("span", { class: `method method-${method.toLowerCase()}` }, method),
    element("code", { class: "path" }, ...withBreaks(path)),
    element("span", { class: "summary" }, summary),
    credential || isWebhook ? "" : element("span", { class: "mark" }, "no key"),
  ];
  const item = folding({ title, class: "operation" }, () => [(isWebhook ? webhookPanel : panel)(api, operation)]);
  item.id = id;
  return item;
}

/** @param {string} path @returns {(Node | string)[]} a path that can go on in the next line after each slash */
function withBreaks(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, element("wbr")]);
}

/** @param {Api} api @param {Operation} operation */
function panel(api, operation) {
  const form = operationForm(api.root, operation);
  const result = resultPane();
  const command = textBox("Request for a shell");
  const send = element("button", { type: "button", class: "primary" }, "Send");
  const stop = element("button", { type: "button", hidden: true }, "Stop");
  /** @type {AbortController | null} */
  let underWay = null;

  function preview() {
    command.textContent = curlOf(requestOf(operation, { base: api.base, ...form.peek() }));
  }

  async function submit() {
    const filled = underWay ? null : form.read();
    if (!filled) return;
    underWay = new AbortController();
    send.setAttribute("aria-disabled", "true"); // not `disabled`, which would take the focus away
    stop.hidden = false;
    await result.send(requestOf(operation, { base: api.base, ...filled }), api.key(), underWay.signal);
    underWay = null;
    send.removeAttribute("aria-disabled");
    if (document.activeElement === stop) send.focus();
    stop.hidden = true;
  }

  send.addEventListener("click", submit);
  stop.addEventListener("click", () => underWay?.abort());
  form.node.addEventListener("input", preview);
  form.node.addEventListener("change", preview);
  form.node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void submit();
  });
  preview();
  return element(
    "div",
    { class: "panel" },
    element(
      "div",
      { class: "ask" },
      prose(operation.description),
      form.node,
      form.problem,
      element("div", { class: "buttons" }, send, stop),
    ),
    element(
      "div",
      { class: "see" },
      element("div", { class: "title" }, element("h3", {}, "Request"), copyButton(command, "the request")),
      command,
      element("h3", {}, "Answer"),
      result.node,
    ),
    answers(api.root, operation, "What it answers"),
  );
}

/**
 * What the server sends by itself, to read only.
 * @param {Api} api
 * @param {Operation} operation
 */
function webhookPanel({ root }, operation) {
  const { parameters, body } = operation;
  const schema = Object.values(body?.content ?? {})[0]?.schema;
  const headers = {
    type: "object",
    properties: Object.fromEntries(
      parameters.map(({ name, description, schema: own }) => [name, { ...own, description }]),
    ),
    required: parameters.filter((each) => each.required).map((each) => each.name),
  };
  return element(
    "div",
    { class: "panel" },
    element(
      "div",
      { class: "ask" },
      prose(operation.description),
      element("h3", {}, "Headers"),
      schemaTree(root, headers),
    ),
    element(
      "div",
      { class: "see" },
      element("h3", {}, "Message"),
      textBox("Example of a message", JSON.stringify(exampleOf(root, schema), null, 2) ?? ""),
      schemaTree(root, schema),
    ),
    answers(root, operation, "What you answer"),
  );
}

/** @param {object} root @param {Operation} operation @param {string} title */
function answers(root, operation, title) {
  return element(
    "div",
    { class: "answers" },
    element("h3", {}, title),
    ...operation.answers.map((each) => answerItem(root, each)),
  );
}

/** @param {object} root @param {Answer} answer */
function answerItem(root, { status, description, content }) {
  const types = Object.entries(content);
  const title = [
    element("span", { class: `status status-${status[0]}` }, status),
    element("span", { class: "about" }, ...withCode(description)),
    ...types.map(([type, { schema }]) => {
      return element("span", { class: "kind" }, schema && /json/.test(type) ? kindOf(root, schema) : type);
    }),
  ];
  const schemas = types.flatMap(([, { schema }]) => (schema && membersOf(root, schema).length ? [schema] : []));
  if (!schemas.length) return element("div", { class: "leaf" }, ...title);
  return folding({ title, class: "answer" }, () => schemas.map((each) => schemaTree(root, each)));
}

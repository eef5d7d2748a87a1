// The page: reads the API's description from beside its own address, and shows all of it.

import { element, newId, prose } from "./dom.js";
import { operationItem } from "./operation.js";
import { baseOf, groupsOf, isFound } from "./request.js";
import { lookUp } from "./schema.js";

/**
 * @typedef {import("./request.js").Group} Group
 * @typedef {import("./request.js").Operation} Operation
 * @typedef {{group: Group, node: HTMLElement, items: {operation: Operation, node: HTMLDetailsElement}[]}} Section
 */

const SOURCE = new URL("openapi.json", document.baseURI).href;

try {
  const response = await fetch(SOURCE, { credentials: "omit" });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  show(await response.json());
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error);
  const text = `The description of this API could not be read from ${SOURCE}. ${reason} Reload the page to try again.`;
  document.body.replaceChildren(element("main", {}, element("p", { role: "alert", class: "problem" }, text)));
}

/** @param {any} root the OpenAPI document, from outside */
function show(root) {
  const { title = "API", version = "", description = "" } = root.info ?? {};
  const key = keyField();
  const api = { root, base: baseOf(root, SOURCE), key: key.read };
  const groups = groupsOf(root, (reference) => lookUp(root, reference));
  const sections = groups.map((group) => sectionOf(group, api));
  const filter = filterField(sections);
  document.title = String(title);
  document.body.replaceChildren(
    element("a", { class: "skip", href: "#content" }, "Skip to the endpoints"),
    element(
      "header",
      {},
      element(
        "div",
        { class: "bar" },
        element("strong", {}, title),
        element("span", { class: "version" }, version),
        filter.node,
        key.node,
      ),
    ),
    element(
      "div",
      { class: "columns" },
      element("nav", { "aria-label": "Groups" }, ...sections.map(linkTo)),
      element(
        "main",
        { id: "content", tabindex: -1 },
        element("div", { class: "intro" }, element("h1", {}, title), prose(description), sources(api.base)),
        filter.found,
        ...sections.map((each) => each.node),
      ),
    ),
  );
  openNamed();
  addEventListener("hashchange", openNamed);
}

/** @param {string} base */
function sources(base) {
  const link = element("a", { href: SOURCE }, "openapi.json");
  return element("p", { class: "sources" }, "Base URL ", element("code", {}, base), " · described by ", link);
}

/** @param {Group} group @param {Parameters<typeof operationItem>[0]} api @returns {Section} */
function sectionOf(group, api) {
  const items = group.operations.map((operation) => ({ operation, node: operationItem(api, operation) }));
  for (const { node } of items) {
    node.addEventListener("toggle", () => node.open && history.replaceState(null, "", `#${node.id}`));
  }
  const id = newId();
  const heading = element("h2", { id }, group.name);
  const about = group.description ? [prose(group.description)] : [];
  const list = element("div", { class: "operations" }, ...items.map((each) => each.node));
  return { group, items, node: element("section", { "aria-labelledby": id }, heading, ...about, list) };
}

/** @param {Section} section */
function linkTo({ group, node }) {
  const count = element("span", { class: "count", "aria-hidden": "true" }, String(group.operations.length));
  const link = { href: `#${node.getAttribute("aria-labelledby")}` };
  return element("a", link, element("span", {}, group.name), count);
}

/** Open the operation that the address names. */
function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (named instanceof HTMLDetailsElement) {
    named.open = true;
    named.scrollIntoView();
  }
}

/** @param {Section[]} sections */
function filterField(sections) {
  const all = sections.flatMap((each) => each.items);
  const found = element("p", { role: "status", class: "found" });
  const input = element("input", { type: "search", placeholder: "Filter, press /", "aria-label": "Filter endpoints" });
  input.addEventListener("input", () => {
    for (const { operation, node } of all) node.hidden = !isFound(operation, input.value);
    for (const { node, items } of sections) node.hidden = items.every((each) => each.node.hidden);
    const count = all.filter((each) => !each.node.hidden).length;
    found.textContent = input.value.trim() ? `${count} of ${all.length} endpoints` : "";
  });
  addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof Element && event.target.closest("input, textarea, select");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    input.focus();
  });
  return { node: input, found };
}

/** The API key: kept in a variable only, and taken out of the field as soon as it is complete. */
function keyField() {
  let key = "";
  const input = element("input", {
    type: "password",
    "aria-label": "API key",
    placeholder: "API key",
    autocomplete: "off",
    spellcheck: "false",
  });
  const said = element("span", { role: "status" });
  const forget = element(
    "button",
    { type: "button", class: "quiet", hidden: true, "aria-label": "Forget the API key" },
    "Forget",
  );

  function take() {
    const typed = input.value.trim();
    if (!typed) return;
    input.value = "";
    const isKey = /^[\x21-\x7e]+$/.test(typed); // a header takes no other characters
    if (isKey) key = typed;
    said.textContent = isKey ? "Key in use" : "That is no API key";
    said.className = isKey ? "" : "problem";
    forget.hidden = !key;
    input.placeholder = key ? "Another API key" : "API key";
  }

  input.addEventListener("change", take);
  forget.addEventListener("click", () => {
    key = "";
    said.textContent = "";
    forget.hidden = true;
    input.placeholder = "API key";
    input.focus();
  });
  const read = () => {
    take();
    return key;
  };
  return { node: element("div", { class: "key" }, said, forget, input), read };
}

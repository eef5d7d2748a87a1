// Small parts that the page is made of. Whatever comes from outside becomes text, never markup.

import { jsonPieces, picturesIn } from "./answer.js";
import { kindOf, limitsOf, membersOf, shapeOf } from "./schema.js";

/** @typedef {import("./schema.js").Schema} Schema */

const FOLD_AT = 240; // characters of a text in JSON
const COLOUR_UP_TO = 300_000; // characters; more of them make a browser slow
const MAX_PICTURES = 12;

/**
 * An element with attributes and children. A function is a listener, true an attribute without a value, and false or
 * undefined none at all.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {{[name: string]: string | number | boolean | undefined | ((event: any) => void)}} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== false && value !== undefined) made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((each) => each !== ""));
  return made;
}

let ids = 0;

/** An id that no other element of the page has. */
export function newId() {
  ids += 1;
  return `part-${ids}`;
}

/**
 * Paragraphs, lists and `code`, which is what descriptions have; everything else stays as it was written.
 * @param {string} text
 */
export function prose(text) {
  const blocks = text
    .trim()
    .split(/\n\s*\n/)
    .filter(Boolean);
  return element(
    "div",
    { class: "prose" },
    ...blocks.map((block) => {
      const lines = block.split("\n").map((line) => line.trim());
      const isList = lines.every((line) => /^[-*] /.test(line));
      if (!isList) return element("p", {}, ...withCode(lines.join(" ")));
      return element("ul", {}, ...lines.map((line) => element("li", {}, ...withCode(line.slice(2)))));
    }),
  );
}

/** @param {string} text @returns {(Node | string)[]} */
export function withCode(text) {
  return text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

/**
 * A part that can be folded away, made when it is opened first.
 * @param {{title: (Node | string)[], class?: string, isOpen?: boolean}} head
 * @param {() => Node[]} build
 */
export function folding(head, build) {
  const made = element("details", { class: head.class, open: head.isOpen }, element("summary", {}, ...head.title));
  const fill = () => made.open && made.childElementCount === 1 && made.append(...build());
  made.addEventListener("toggle", fill);
  fill();
  return made;
}

/**
 * A button that copies a text; where the browser does not let it, it marks the text for the person to copy.
 * @param {HTMLElement} source
 * @param {string} name what is copied
 */
export function copyButton(source, name) {
  const button = element("button", { type: "button", class: "quiet", "aria-label": `Copy ${name}` }, "Copy");
  const said = element("span", { role: "status", class: "said" });
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent ?? "");
      said.textContent = "Copied";
    } catch {
      // No permission, or a page that did not come over https: then there is no clipboard at all.
      getSelection()?.selectAllChildren(source);
      said.textContent = "Marked: now press Ctrl+C";
    }
  });
  button.addEventListener("blur", () => said.replaceChildren());
  return element("span", { class: "copy" }, said, button);
}

/**
 * A text for reading and copying, in a box that scrolls and that the keyboard reaches.
 * @param {string} name
 * @param {...(Node | string)} children
 */
export function textBox(name, ...children) {
  return element("pre", { tabindex: 0, role: "region", "aria-label": name }, ...children);
}

/**
 * A JSON answer: set out in lines, long texts folded, with the pictures that it names; other text as it is.
 * @param {string} text
 * @returns {Node[]}
 */
export function jsonView(text) {
  if (text.length > COLOUR_UP_TO) return [textBox("Answer", text)];
  let pieces;
  try {
    pieces = jsonPieces(text);
  } catch {
    return [textBox("Answer", text)];
  }
  const parts = pieces.map((each) => (each.kind === "mark" ? each.text : jsonPart(each.kind, each.text)));
  const pictures = picturesIn(text, location.origin).slice(0, MAX_PICTURES);
  const gallery = pictures.map((url, index) => picture(url, `Picture ${index + 1} of this answer`));
  return [textBox("Answer", ...parts), ...(gallery.length ? [element("div", { class: "pictures" }, ...gallery)] : [])];
}

/** @param {string} kind @param {string} text */
function jsonPart(kind, text) {
  if (text.length <= FOLD_AT) return element("span", { class: `json-${kind}` }, text);
  const rest = text.length - FOLD_AT / 2;
  const more = element("button", { type: "button", class: "more" }, `… ${rest.toLocaleString("en")} more characters`);
  const part = element("span", { class: `json-${kind}` }, text.slice(0, FOLD_AT / 2), more);
  more.addEventListener("click", () => part.replaceChildren(text));
  return part;
}

/** @param {string} url @param {string} name */
export function picture(url, name) {
  return element("img", { src: url, alt: name, loading: "lazy" });
}

/**
 * The fields of a schema, each of which opens into its own.
 * @param {object} root
 * @param {Schema | undefined} schema
 * @returns {HTMLElement}
 */
export function schemaTree(root, schema) {
  const members = membersOf(root, schema);
  if (!members.length) return element("ul", { class: "tree" }, treeItem(root, "", schema, false));
  return element(
    "ul",
    { class: "tree" },
    ...members.map((each) => {
      return treeItem(root, each.name, each.schema, each.isRequired);
    }),
  );
}

/** @param {object} root @param {string} name @param {Schema | undefined} schema @param {boolean} isRequired */
function treeItem(root, name, schema, isRequired) {
  const title = [
    name ? element("code", { class: "name" }, name) : "",
    element("span", { class: "kind" }, kindOf(root, schema)),
    isRequired ? element("span", { class: "required" }, "required") : "",
  ];
  const { description = "" } = shapeOf(root, schema);
  const about = [
    description ? prose(description) : "",
    element("p", { class: "limits" }, limitsOf(root, schema).join(" · ")),
  ];
  if (!name || !membersOf(root, schema).length) {
    return element("li", {}, element("div", { class: "leaf" }, ...title), ...about);
  }
  return element(
    "li",
    {},
    folding({ title }, () => [schemaTree(root, schema)]),
    ...about,
  );
}

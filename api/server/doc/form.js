// The form of one operation: its parameters and its body.

import { element, folding, newId, prose, schemaTree, withCode } from "./dom.js";
import { FORM, keyOf, missingIn } from "./request.js";
import { exampleOf, isFile, kindOf, limitsOf, plainly, shapeOf } from "./schema.js";

/**
 * @typedef {import("./request.js").Operation} Operation
 * @typedef {import("./request.js").Media} Media
 * @typedef {import("./request.js").Body} Body
 * @typedef {import("./request.js").Content} Content
 * @typedef {import("./request.js").FormField} FormField
 * @typedef {import("./request.js").Values} Values
 * @typedef {import("./schema.js").Schema} Schema
 * @typedef {HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement} Control
 * @typedef {{name: string, schema?: Schema, isRequired: boolean, description: string, example?: unknown}} Field
 * @typedef {{node: Node, controls: Control[], read: () => Content | null, draft: () => Content | null}} Editor
 * `read` raises an Error that says what is wrong with what was typed; `draft` takes it, right or wrong
 */

const PLACES = { path: "In the path", query: "In the query", header: "Headers" };
const MAX_LINES = 24;

/**
 * @param {object} root
 * @param {Operation} operation
 */
export function operationForm(root, operation) {
  /** @type {Map<string, Control>} */
  const controls = new Map();
  const parts = Object.entries(PLACES).flatMap(([place, title]) => {
    const fields = operation.parameters
      .filter((each) => each.in === place)
      .map((each) => {
        const { name, schema, example, description = "" } = each;
        const isRequired = place === "path" || (each.required ?? false);
        const field = fieldOf(root, { name, schema, isRequired, description, example });
        controls.set(keyOf(each), field.control);
        return field.node;
      });
    return fields.length ? [element("fieldset", {}, element("legend", {}, title), ...fields)] : [];
  });
  const body = operation.body && bodyForm(root, operation.body);
  const problem = element("p", { class: "problem", role: "alert" });
  const values = () => Object.fromEntries([...controls].map(([key, control]) => [key, control.value]));

  /** What was filled in; null after it was said what is wrong. */
  function read() {
    forget();
    const filled = values();
    const missing = missingIn(operation, filled)[0];
    const control = missing && controls.get(keyOf(missing));
    if (missing && control) return object(control, `${missing.name} is needed.`);
    try {
      return { values: filled, content: body?.read() ?? null };
    } catch (error) {
      return object(body?.controls()[0], error instanceof Error ? error.message : String(error));
    }
  }

  /** The same for a preview, which takes what there is. */
  function peek() {
    return { values: values(), content: body?.draft() ?? null };
  }

  /** @param {Control | undefined} control @param {string} text @returns {null} */
  function object(control, text) {
    problem.textContent = text;
    control?.setAttribute("aria-invalid", "true");
    control?.focus();
    return null;
  }

  function forget() {
    problem.textContent = "";
    for (const each of [...controls.values(), ...(body?.controls() ?? [])]) each.removeAttribute("aria-invalid");
  }

  return { node: element("div", { class: "form" }, ...parts, ...(body ? [body.node] : [])), problem, read, peek };
}

/**
 * One value with its name, its kind, and what it has to keep to.
 * @param {object} root
 * @param {Field} field
 */
function fieldOf(root, { name, schema, isRequired, description, example }) {
  const [id, hintId] = [newId(), newId()];
  const shape = shapeOf(root, schema);
  const options = shape.enum ?? (shape.type === "boolean" ? [true, false] : null);
  const common = { id, "aria-describedby": hintId, "aria-required": isRequired ? "true" : undefined };
  const control = options ? choice(options, common) : entry();

  function entry() {
    if (isFile(shape) || isFile(shapeOf(root, shape.items))) {
      return element("input", { ...common, type: "file", multiple: shape.type === "array" });
    }
    const suggestion = example ?? shape.example ?? shape.examples?.[0] ?? shape.default ?? undefined;
    return element("input", {
      ...common,
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      inputmode: shape.type === "integer" || shape.type === "number" ? "decimal" : undefined,
      placeholder: suggestion === undefined ? undefined : plainly(suggestion),
    });
  }

  const about = (description || shape.description) ?? "";
  const limits = [...limitsOf(root, schema), ...(shape.type === "array" && !isFile(shape) ? ["with commas"] : [])];
  const hint = [limits.join(" · "), about && limits.length ? " — " : "", ...withCode(about)];
  const head = element(
    "div",
    { class: "field-head" },
    element("label", { for: id }, name),
    element("span", { class: "kind" }, kindOf(root, schema)),
    isRequired ? element("span", { class: "required" }, "required") : "",
  );
  return {
    control,
    node: element("div", { class: "field" }, head, control, element("p", { class: "hint", id: hintId }, ...hint)),
  };
}

/** @param {unknown[]} options @param {{[name: string]: string | undefined}} attributes */
function choice(options, attributes) {
  const items = options.map((each) => element("option", { value: String(each) }, plainly(each)));
  return element("select", attributes, element("option", { value: "" }, "—"), ...items);
}

/**
 * The body, in one of the types that it may have.
 * @param {object} root
 * @param {Body} body
 */
function bodyForm(root, body) {
  const types = Object.keys(body.content);
  const place = element("div", { class: "editor" });
  let editor = open(types[0] ?? "application/json");

  /** @param {string} type @returns {Editor} */
  function open(type) {
    const media = body.content[type] ?? {};
    const made = (type === FORM ? formEditor : jsonEditor)(root, type, media);
    const fields = folding({ title: ["Fields"], class: "fields" }, () => [schemaTree(root, media.schema)]);
    place.replaceChildren(made.node, ...(media.schema ? [fields] : []));
    return made;
  }

  const chooser = element(
    "select",
    { "aria-label": "Type of the body" },
    ...types.map((each) => element("option", {}, each)),
  );
  chooser.addEventListener("change", () => (editor = open(chooser.value)));
  const legend = element("legend", {}, "Body", body.required ? "" : element("span", { class: "kind" }, " optional"));
  const about = body.description ? [prose(body.description)] : [];
  const head = types.length > 1 ? [chooser] : [element("span", { class: "kind" }, types[0] ?? "")];
  return {
    node: element("fieldset", { class: "body" }, legend, ...head, ...about, place),
    controls: () => editor.controls,
    read() {
      const content = editor.read();
      if (!content && body.required) throw new Error("A body is needed.");
      return content;
    },
    draft: () => editor.draft(),
  };
}

/** @param {object} root @param {string} type @param {Media} media @returns {Editor} */
function jsonEditor(root, type, media) {
  const first = media.example ?? Object.values(media.examples ?? {})[0]?.value ?? exampleOf(root, media.schema) ?? {};
  const area = element("textarea", { "aria-label": "Body", spellcheck: "false", autocomplete: "off", wrap: "off" });
  const fit = () => (area.rows = Math.min(MAX_LINES, area.value.split("\n").length + 1));
  area.addEventListener("input", fit);
  area.value = JSON.stringify(first, null, 2);
  fit();
  const draft = () => (area.value.trim() ? { type, text: area.value } : null);
  return {
    node: area,
    controls: [area],
    draft,
    read() {
      const content = draft();
      try {
        if (content) JSON.parse(content.text);
      } catch (error) {
        throw new Error(`The body is not JSON: ${error instanceof Error ? error.message : error}`);
      }
      return content;
    },
  };
}

/** @param {object} root @param {string} type @param {Media} media @returns {Editor} */
function formEditor(root, type, media) {
  const shape = shapeOf(root, media.schema);
  const made = Object.entries(shape.properties ?? {}).map(([name, schema]) => {
    const isRequired = shape.required?.includes(name) ?? false;
    return { name, isRequired, ...fieldOf(root, { name, schema, isRequired, description: "" }) };
  });
  const missing = () => made.find((each) => each.isRequired && !valuesOf(each.control).length);
  const draft = () => {
    const fields = made.flatMap(({ name, control }) =>
      valuesOf(control).map((each) => /** @type {FormField} */ ([name, each])),
    );
    return fields.length ? { type, fields } : null;
  };
  return {
    node: element("div", {}, ...made.map((each) => each.node)),
    controls: made.map((each) => each.control),
    draft,
    read() {
      const empty = missing();
      if (empty) throw new Error(`${empty.name} is needed.`);
      return draft();
    },
  };
}

/** @param {Control} control @returns {(string | File)[]} */
function valuesOf(control) {
  if (control instanceof HTMLInputElement && control.files) return [...control.files];
  return control.value ? [control.value] : [];
}

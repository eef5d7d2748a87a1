// From an OpenAPI document to requests. Pure: knows no page and no network.

/**
 * @typedef {import("./schema.js").Schema} Schema
 * @typedef {{schema?: Schema, example?: unknown, examples?: {[name: string]: {value?: unknown}}}} Media
 * @typedef {{name: string, in: string, required?: boolean, description?: string, schema?: Schema,
 *   example?: unknown, explode?: boolean}} Parameter
 * @typedef {{required?: boolean, description?: string, content: {[type: string]: Media}}} Body
 * @typedef {{status: string, description: string, content: {[type: string]: Media}}} Answer
 * @typedef {{header: string, scheme: string}} Credential where the API key goes: a header, and the word before it
 *
 * @typedef {object} Operation one method of one path
 * @property {string} id
 * @property {string} method
 * @property {string} path
 * @property {string} summary
 * @property {string} description
 * @property {string} tag
 * @property {Parameter[]} parameters
 * @property {Body | null} body
 * @property {Answer[]} answers
 * @property {Credential | null} credential null when it needs no API key
 * @property {boolean} isWebhook whether it is the server that sends it, to somebody's own address
 *
 * @typedef {{name: string, description: string, operations: Operation[]}} Group
 *
 * @typedef {{[key: string]: string}} Values by the key of a parameter, see `keyOf`
 * @typedef {[string, string | File]} FormField
 * @typedef {{type: string, text?: string, fields?: FormField[]}} Content
 * @typedef {object} Request
 * @property {string} method
 * @property {string} url
 * @property {[string, string][]} headers without the API key
 * @property {Credential | null} credential
 * @property {Content | null} content
 * @property {boolean} isStream whether the answer comes bit by bit
 */

const METHODS = ["get", "post", "put", "patch", "delete"];
const OWN_HEADERS = ["accept", "content-type", "authorization"]; // OpenAPI: parameters of these names mean nothing
export const FORM = "multipart/form-data";
export const STREAM = "text/event-stream";

/**
 * Every operation of a document, in groups by its first tag, in the order of the document; webhooks come last.
 * @param {any} root the OpenAPI document, from outside
 * @param {(reference: string) => any} lookUp
 * @returns {Group[]}
 */
export function groupsOf(root, lookUp) {
  /** @type {Map<string, Group>} */
  const groups = new Map();
  for (const tag of root.tags ?? []) {
    groups.set(tag.name, { name: tag.name, description: tag.description ?? "", operations: [] });
  }
  for (const isWebhook of [false, true]) {
    const items = /** @type {{[path: string]: any}} */ ((isWebhook ? root.webhooks : root.paths) ?? {});
    for (const [path, item] of Object.entries(items)) {
      for (const method of METHODS.filter((each) => item[each])) {
        const operation = operationOf(root, lookUp, { path, method, item, isWebhook });
        const group = groups.get(operation.tag) ?? { name: operation.tag, description: "", operations: [] };
        groups.set(operation.tag, group);
        group.operations.push(operation);
      }
    }
  }
  return [...groups.values()].filter((group) => group.operations.length);
}

/**
 * @param {any} root
 * @param {(reference: string) => any} lookUp
 * @param {{path: string, method: string, item: any, isWebhook: boolean}} where
 * @returns {Operation}
 */
function operationOf(root, lookUp, { path, method, item, isWebhook }) {
  const follow = (/** @type {any} */ each) => (each?.$ref ? lookUp(each.$ref) : each);
  const operation = item[method];
  /** @type {Map<string, Parameter>} */
  const parameters = new Map();
  for (const each of [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(follow)) {
    if (!(each.in === "header" && OWN_HEADERS.includes(each.name.toLowerCase()))) parameters.set(keyOf(each), each);
  }
  const body = follow(operation.requestBody);
  return {
    id: `${isWebhook ? "webhook-" : method}${path.replace(/[{}]/g, "").replace(/[^\w-]+/g, "-")}`,
    method: method.toUpperCase(),
    path,
    summary: operation.summary ?? "",
    description: operation.description ?? "",
    tag: operation.tags?.[0] ?? (isWebhook ? "Webhooks" : "Other"),
    parameters: [...parameters.values()],
    body: body ? { ...body, content: body.content ?? {} } : null,
    answers: Object.entries(operation.responses ?? {}).map(([status, each]) => {
      const answer = follow(each);
      return { status, description: answer.description ?? "", content: answer.content ?? {} };
    }),
    credential: isWebhook ? null : credentialOf(root, operation.security ?? root.security ?? []),
    isWebhook,
  };
}

/** @param {any} root @param {{[scheme: string]: string[]}[]} security @returns {Credential | null} */
function credentialOf(root, security) {
  for (const name of security.flatMap((each) => Object.keys(each))) {
    const scheme = root.components?.securitySchemes?.[name];
    if (scheme?.type === "http" && scheme.scheme?.toLowerCase() === "bearer") {
      return { header: "Authorization", scheme: "Bearer " };
    }
    if (scheme?.type === "apiKey" && scheme.in === "header" && /^[\w-]+$/.test(scheme.name)) {
      return { header: scheme.name, scheme: "" };
    }
  }
  return null;
}

/**
 * The name of a parameter among all of an operation: one in the path and one in the query may be called the same.
 * @param {{name: string, in: string}} parameter
 */
export function keyOf(parameter) {
  return `${parameter.in}.${parameter.name}`;
}

/**
 * Whether an operation has every word of a text in its method, path, summary or tag.
 * @param {Operation} operation
 * @param {string} text
 */
export function isFound(operation, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const { method, path, summary, tag } = operation;
  const all = `${method} ${path} ${summary} ${tag}`.toLowerCase();
  return words.every((word) => all.includes(word));
}

/**
 * Where the paths of a document start: its server, or else its own folder; never another origin than its own.
 * @param {{servers?: {url: string}[]}} root
 * @param {string} address where the document was read
 * @returns {string} without a slash at its end
 */
export function baseOf(root, address) {
  const folder = new URL(".", address);
  const server = new URL(root.servers?.[0]?.url ?? ".", address);
  return (server.origin === folder.origin ? server : folder).href.replace(/\/+$/, "");
}

/**
 * The request for what was filled in. A part of the path that is empty stays in its braces.
 * @param {Operation} operation
 * @param {{base: string, values: Values, content: Content | null}} filled
 * @returns {Request}
 */
export function requestOf(operation, { base, values, content }) {
  const path = operation.path.replace(/\{([^}]+)\}/g, (whole, name) => {
    const value = values[`path.${name}`];
    return value ? encodeURIComponent(value) : whole;
  });
  const query = new URLSearchParams();
  /** @type {[string, string][]} */
  const headers = [];
  for (const parameter of operation.parameters) {
    const value = values[keyOf(parameter)] ?? "";
    if (value && parameter.in === "header") headers.push([parameter.name, value]);
    if (value && parameter.in === "query") {
      const isList = parameter.schema?.type === "array" && parameter.explode !== false;
      for (const each of isList ? value.split(",") : [value]) query.append(parameter.name, each.trim());
    }
  }
  // The browser itself writes the type of a form, with the boundary between its parts.
  if (content && content.type !== FORM) headers.push(["Content-Type", content.type]);
  return {
    method: operation.method,
    url: [base + path, ...(query.toString() ? [query] : [])].join("?"),
    headers,
    credential: operation.credential,
    content,
    isStream: operation.answers.some((each) => STREAM in each.content),
  };
}

/**
 * The names of the parameters that a request needs and that are empty.
 * @param {Operation} operation
 * @param {Values} values
 * @returns {Parameter[]}
 */
export function missingIn(operation, values) {
  const isNeeded = (/** @type {Parameter} */ each) => each.in === "path" || each.required;
  return operation.parameters.filter((each) => isNeeded(each) && !values[keyOf(each)]);
}

/**
 * The same request for a shell, with the API key left to the environment.
 * @param {Request} request
 * @returns {string}
 */
export function curlOf(request) {
  const { method, url, headers, credential, content } = request;
  const lines = [`curl${request.isStream ? " -N" : ""}${method === "GET" ? "" : ` -X ${method}`} ${quoted(url)}`];
  // In double quotes, so that the shell puts the key in.
  if (credential) lines.push(`-H "${credential.header}: ${credential.scheme}$PLATFORM_API_KEY"`);
  lines.push(...headers.map(([name, value]) => `-H ${quoted(`${name}: ${value}`)}`));
  if (content?.text !== undefined) lines.push(`--data-raw ${quoted(content.text)}`);
  for (const [name, value] of content?.fields ?? []) {
    if (typeof value === "string") lines.push(`--form-string ${quoted(`${name}=${value}`)}`);
    else lines.push(`-F ${quoted(`${name}=@"${value.name.replace(/["\\]/g, "\\$&")}"`)}`);
  }
  return lines.join(" \\\n  ");
}

/** @param {string} text @returns {string} one word of a shell */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

// What the JSON schemas of an OpenAPI document say, for people. Pure: knows no page and no network.

/**
 * @typedef {object} Schema
 * @property {string} [$ref]
 * @property {string | string[]} [type]
 * @property {string} [format]
 * @property {string} [contentMediaType]
 * @property {string} [description]
 * @property {unknown} [default]
 * @property {unknown} [const]
 * @property {unknown[]} [enum]
 * @property {unknown} [example]
 * @property {unknown[]} [examples]
 * @property {number} [minimum]
 * @property {number} [maximum]
 * @property {number} [exclusiveMinimum]
 * @property {number} [exclusiveMaximum]
 * @property {number} [minLength]
 * @property {number} [maxLength]
 * @property {number} [minItems]
 * @property {number} [maxItems]
 * @property {string} [pattern]
 * @property {boolean} [deprecated]
 * @property {boolean} [readOnly]
 * @property {{[name: string]: Schema}} [properties]
 * @property {string[]} [required]
 * @property {boolean | Schema} [additionalProperties]
 * @property {Schema} [items]
 * @property {Schema[]} [allOf]
 * @property {Schema[]} [anyOf]
 * @property {Schema[]} [oneOf]
 *
 * @typedef {Schema & {refs: string[], isNullable: boolean, choices: Schema[]}} Shape
 * A schema without references: `refs` are those that led to it, `choices` what it may be if that is not one thing.
 *
 * @typedef {{name: string, schema: Schema, isRequired: boolean}} Member
 */

const MAX_STEPS = 50; // from reference to reference: a document may lead in a circle
const JSON_TYPE = "application/json";
const FORMATS = {
  uuid: "00000000-0000-0000-0000-000000000000",
  date: "2026-01-31",
  "date-time": "2026-01-31T12:00:00Z",
  uri: "https://example.com/",
  email: "name@example.com",
};

/**
 * What a reference inside the document points at; an empty schema when there is nothing.
 * @param {object} root the OpenAPI document
 * @param {string} reference such as `#/components/schemas/Run`
 * @returns {any} whatever stands there: schemas, parameters and answers can all be referred to
 */
export function lookUp(root, reference) {
  let found = /** @type {any} */ (root);
  for (const part of reference.replace(/^#\//, "").split("/")) {
    const name = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return {};
    found = found[name];
  }
  return found;
}

/**
 * A schema with its references followed, its parts joined, and null told apart from what it may be otherwise.
 * @param {object} root
 * @param {Schema | boolean | undefined} schema
 * @returns {Shape}
 */
export function shapeOf(root, schema) {
  let found = typeof schema === "object" && schema ? schema : /** @type {Schema} */ ({});
  /** @type {string[]} */
  const refs = [];
  let isNullable = false;
  for (let step = 0; step < MAX_STEPS; step += 1) {
    const { $ref, allOf, anyOf, oneOf, ...own } = found;
    const alternatives = anyOf ?? oneOf;
    if ($ref !== undefined) {
      refs.push($ref);
      found = { ...lookUp(root, $ref), ...own };
    } else if (allOf) {
      const { refs: inner, isNullable: _, choices: __, ...joined } = join(allOf.map((each) => shapeOf(root, each)));
      if (allOf.length === 1) refs.push(...inner);
      found = { ...joined, ...own };
    } else if (alternatives) {
      const choices = alternatives.filter((each) => each.type !== "null");
      isNullable ||= choices.length < alternatives.length;
      if (choices.length !== 1) return { ...own, refs, isNullable, choices };
      found = { ...choices[0], ...own };
    } else if (Array.isArray(own.type)) {
      const types = own.type.filter((each) => each !== "null");
      isNullable ||= types.length < own.type.length;
      if (types.length > 1) return { ...own, refs, isNullable, choices: types.map((type) => ({ type })) };
      found = { ...own, type: types[0] ?? "null" };
    } else break;
  }
  return { ...found, refs, isNullable, choices: [] };
}

/** @param {Shape[]} shapes @returns {Shape} what has all of their members */
function join(shapes) {
  const whole = /** @type {Shape} */ (Object.assign({}, ...shapes));
  const properties = Object.assign({}, ...shapes.map((each) => each.properties));
  if (Object.keys(properties).length) whole.properties = properties;
  whole.required = shapes.flatMap((each) => each.required ?? []);
  return whole;
}

/**
 * What kind of value it is, in few words: `array of Run`, `string (uuid) or null`.
 * @param {object} root
 * @param {Schema | boolean | undefined} schema
 * @returns {string}
 */
export function kindOf(root, schema, depth = 0) {
  const shape = shapeOf(root, schema);
  const types = shape.choices.length ? shape.choices.map((each) => kindOf(root, each, depth + 1)) : [oneKind()];
  return [...new Set(types), ...(shape.isNullable ? ["null"] : [])].join(" or ");

  function oneKind() {
    const name = shape.refs.at(-1)?.split("/").at(-1);
    if (shape.type === "array") return depth < 3 ? `array of ${kindOf(root, shape.items, depth + 1)}` : "array";
    if (name && (shape.type === "object" || shape.properties)) return name;
    if (isFile(shape)) return "file";
    if (shape.contentMediaType === JSON_TYPE) return "JSON as text";
    const type = String(shape.type ?? (shape.properties ? "object" : "any"));
    return shape.format ? `${type} (${shape.format})` : type;
  }
}

/**
 * Whether it stands for the bytes of a file.
 * @param {Schema} shape
 */
export function isFile(shape) {
  const holds = shape.contentMediaType ?? JSON_TYPE;
  return shape.type === "string" && (shape.format === "binary" || holds !== JSON_TYPE);
}

/**
 * What values have to keep to, and what is taken when there is none, in few words each.
 * @param {object} root
 * @param {Schema | boolean | undefined} schema
 * @returns {string[]}
 */
export function limitsOf(root, schema) {
  const shape = shapeOf(root, schema);
  const item = shape.type === "array" ? shapeOf(root, shape.items) : shape;
  const options = item.const !== undefined ? [item.const] : item.enum;
  return [
    range(shape.minimum, shape.maximum, ""),
    shape.exclusiveMinimum !== undefined ? `more than ${shape.exclusiveMinimum}` : "",
    shape.exclusiveMaximum !== undefined ? `less than ${shape.exclusiveMaximum}` : "",
    range(shape.minLength, shape.maxLength, " characters"),
    range(shape.minItems, shape.maxItems, " items"),
    shape.pattern !== undefined ? `pattern ${shape.pattern}` : "",
    options ? `one of ${options.map(plainly).join(", ")}` : "",
    shape.default !== undefined && shape.default !== null ? `default ${plainly(shape.default)}` : "",
  ].filter(Boolean);
}

/** @param {number | undefined} low @param {number | undefined} high @param {string} unit */
function range(low, high, unit) {
  if (low !== undefined && high !== undefined) return `${low} to ${high}${unit}`;
  if (low !== undefined) return `at least ${low}${unit}`;
  return high !== undefined ? `at most ${high}${unit}` : "";
}

/**
 * A value as one writes it in a sentence.
 * @param {unknown} value
 * @returns {string}
 */
export function plainly(value) {
  return typeof value === "string" ? value || "an empty text" : JSON.stringify(value);
}

/**
 * What is inside: the fields of an object, also of each item of an array; what it may be, where there is a choice.
 * @param {object} root
 * @param {Schema | boolean | undefined} schema
 * @returns {Member[]}
 */
export function membersOf(root, schema, depth = 0) {
  const shape = shapeOf(root, schema);
  if (shape.type === "array" && depth < 3) return membersOf(root, shape.items, depth + 1);
  const choices = shape.choices.filter((each) => membersOf(root, each, depth + 1).length > 0 && depth < 3);
  const fields = Object.entries(shape.properties ?? {}).map(([name, each]) => ({
    name,
    schema: each,
    isRequired: shape.required?.includes(name) ?? false,
  }));
  const rest = shape.additionalProperties;
  if (typeof rest === "object" && Object.keys(rest).length) {
    fields.push({ name: "(any name)", schema: rest, isRequired: false });
  }
  return [...choices.map((each) => ({ name: "either", schema: each, isRequired: false })), ...fields];
}

/**
 * A value that it could have: what the document gives as an example, else one made from the types. Of the fields of an
 * object those come that a request needs or that have a value already; all of them when this leaves none.
 * @param {object} root
 * @param {Schema | boolean | undefined} schema
 * @param {string[]} above the references that led here, which are not followed again
 * @returns {unknown} undefined where a schema contains itself
 */
export function exampleOf(root, schema, above = []) {
  const shape = shapeOf(root, schema);
  if (shape.refs.some((each) => above.includes(each))) return undefined;
  const path = [...above, ...shape.refs];
  const given = givenIn(shape);
  if (given !== undefined && given !== null) return given;
  if (shape.choices.length) return exampleOf(root, shape.choices[0], path);
  switch (shape.type ?? (shape.properties ? "object" : "any")) {
    case "object":
      return exampleObject(root, shape, path);
    case "array":
      return [exampleOf(root, shape.items, path)].filter((each) => each !== undefined);
    case "string":
      return FORMATS[/** @type {keyof typeof FORMATS} */ (shape.format)] ?? "text".padEnd(shape.minLength ?? 0, ".");
    case "integer":
    case "number":
      return Math.min(shape.minimum ?? (shape.exclusiveMinimum ?? -1) + 1, shape.maximum ?? Infinity);
    case "boolean":
      return false;
    default:
      return given === undefined ? {} : given;
  }
}

/** @param {Shape} shape */
function givenIn(shape) {
  return shape.example ?? shape.examples?.[0] ?? shape.const ?? shape.default ?? shape.enum?.[0] ?? shape.default;
}

/** @param {object} root @param {Shape} shape @param {string[]} path */
function exampleObject(root, shape, path) {
  const fields = Object.entries(shape.properties ?? {}).filter(([, each]) => {
    const { readOnly, deprecated } = shapeOf(root, each);
    return !readOnly && !deprecated;
  });
  const needed = fields.filter(([name, each]) => {
    const given = givenIn({ ...shapeOf(root, each), enum: undefined });
    return shape.required?.includes(name) || (given !== undefined && given !== null);
  });
  const made = (needed.length ? needed : fields).map(([name, each]) => [name, exampleOf(root, each, path)]);
  return Object.fromEntries(made.filter(([, value]) => value !== undefined));
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { exampleOf, kindOf, limitsOf, lookUp, membersOf, shapeOf } = await load("api/server/doc/schema.js");

const root = {
  components: {
    schemas: {
      Status: { type: "string", enum: ["queued", "running"] },
      Run: {
        type: "object",
        description: "A run",
        properties: { id: { type: "string", format: "uuid" }, parent: { $ref: "#/components/schemas/Run" } },
        required: ["id"],
      },
      Circle: { $ref: "#/components/schemas/Circle" },
      Tree: { type: "array", items: { $ref: "#/components/schemas/Tree" } },
      "a/b~c": { type: "boolean" },
    },
  },
};
const run = { $ref: "#/components/schemas/Run" };
const orNull = (schema) => ({ anyOf: [schema, { type: "null" }] });

test("a reference is followed, and what stands beside it comes first", () => {
  const shape = shapeOf(root, { ...run, description: "The run itself" });
  assert.equal(shape.type, "object");
  assert.equal(shape.description, "The run itself");
});

test("a reference with escaped characters is found, and one to nothing or to a prototype is empty", () => {
  assert.deepEqual(lookUp(root, "#/components/schemas/a~1b~0c"), { type: "boolean" });
  assert.deepEqual(lookUp(root, "#/components/schemas/Nothing"), {});
  assert.deepEqual(lookUp(root, "#/__proto__/constructor"), {});
});

test("references in a circle come to an end", () => {
  const circle = { $ref: "#/components/schemas/Circle" };
  assert.equal(kindOf(root, circle), "any");
  assert.deepEqual(membersOf(root, circle), []);
  assert.equal(exampleOf(root, run).parent, undefined);
  assert.deepEqual(exampleOf(root, { $ref: "#/components/schemas/Tree" }), []);
  assert.deepEqual(membersOf(root, { $ref: "#/components/schemas/Tree" }), []);
});

test("the kind of a value is told in few words", () => {
  const json = { type: "string", contentMediaType: "application/json" };
  const kinds = [
    [{ type: "string" }, "string"],
    [{ type: "string", format: "uuid" }, "string (uuid)"],
    [{ type: "string", format: "binary" }, "file"],
    [{ type: "string", contentMediaType: "image/png" }, "file"],
    [orNull({ anyOf: [{ type: "object" }, json] }), "object or JSON as text or null"],
    [{ type: ["integer", "null"] }, "integer or null"],
    [orNull(run), "Run or null"],
    [{ type: "array", items: run }, "array of Run"],
    [{ anyOf: [{ type: "string" }, { type: "array", items: { type: "number" } }] }, "string or array of number"],
    [{ allOf: [run] }, "Run"],
    [{ $ref: "#/components/schemas/Status" }, "string"],
    [{}, "any"],
    [true, "any"],
    [undefined, "any"],
  ];
  for (const [schema, words] of kinds) assert.equal(kindOf(root, schema), words);
});

test("limits, choices and defaults are told", () => {
  assert.deepEqual(limitsOf(root, { type: "integer", minimum: 0, maximum: 10, default: 5 }), ["0 to 10", "default 5"]);
  assert.deepEqual(limitsOf(root, { type: "string", maxLength: 80 }), ["at most 80 characters"]);
  assert.deepEqual(limitsOf(root, { type: "number", exclusiveMinimum: 0 }), ["more than 0"]);
  assert.deepEqual(limitsOf(root, { $ref: "#/components/schemas/Status" }), ["one of queued, running"]);
  assert.deepEqual(limitsOf(root, { type: "array", items: { enum: ["a"] }, minItems: 1 }), [
    "at least 1 items",
    "one of a",
  ]);
  assert.deepEqual(limitsOf(root, { ...orNull({ type: "string" }), default: null }), []);
  assert.deepEqual(limitsOf(root, { type: "string", default: "" }), ["default an empty text"]);
});

test("the members of an array are those of its items, and a choice lists what it may be", () => {
  const names = (schema) => membersOf(root, schema).map((each) => each.name);
  assert.deepEqual(names({ type: "array", items: run }), ["id", "parent"]);
  assert.deepEqual(names({ oneOf: [run, { type: "string" }] }), ["either"]);
  assert.deepEqual(names({ type: "object", additionalProperties: run }), ["(any name)"]);
  assert.deepEqual(names({ type: "string" }), []);
  assert.deepEqual(
    membersOf(root, run).map((each) => each.isRequired),
    [true, false],
  );
});

test("members of all the parts of a schema are joined", () => {
  const parts = [run, { properties: { name: { type: "string" } }, required: ["name"] }];
  const members = membersOf(root, { allOf: parts });
  assert.deepEqual(
    members.map((each) => [each.name, each.isRequired]),
    [
      ["id", true],
      ["parent", false],
      ["name", true],
    ],
  );
});

test("an example takes what the document gives before it makes one up", () => {
  assert.equal(exampleOf(root, { type: "string", example: "one", default: "two" }), "one");
  assert.equal(exampleOf(root, { type: "string", examples: ["first", "second"] }), "first");
  assert.equal(exampleOf(root, { type: "integer", default: 7 }), 7);
  assert.equal(exampleOf(root, { type: "boolean", default: false }), false);
  assert.equal(exampleOf(root, { const: "fixed" }), "fixed");
  assert.equal(exampleOf(root, { $ref: "#/components/schemas/Status" }), "queued");
  assert.equal(exampleOf(root, { ...orNull({ type: "integer", minimum: 3 }), default: null }), 3);
});

test("an example keeps to the limits", () => {
  assert.equal(exampleOf(root, { type: "integer", minimum: 5 }), 5);
  assert.equal(exampleOf(root, { type: "integer", exclusiveMinimum: 5 }), 6);
  assert.equal(exampleOf(root, { type: "integer", maximum: -2 }), -2);
  assert.equal(exampleOf(root, { type: "string", minLength: 8 }).length, 8);
  assert.match(exampleOf(root, { type: "string", format: "uuid" }), /^[0-9a-f-]{36}$/);
});

test("an example of an object has the fields that are needed or have a value, and else all of them", () => {
  const field = { type: "string" };
  const optional = { ...orNull(field), default: null };
  const object = (required) => ({
    type: "object",
    properties: {
      name: field,
      limit: { type: "integer", default: 2 },
      note: optional,
      id: { ...field, readOnly: true },
    },
    required,
  });
  assert.deepEqual(exampleOf(root, object(["name"])), { name: "text", limit: 2 });
  const changes = { type: "object", properties: { name: optional, note: optional } };
  assert.deepEqual(exampleOf(root, changes), { name: "text", note: "text" });
});

test("an example with a field named like a prototype has it as a field and changes nothing else", () => {
  const schema = JSON.parse('{"type": "object", "properties": {"__proto__": {"type": "string"}}}');
  const example = exampleOf(root, schema);
  assert.deepEqual(Object.keys(example), ["__proto__"]);
  assert.equal({}.constructor, Object);
});

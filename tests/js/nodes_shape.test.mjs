import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { readShape, remarks, renewed, tidied, withInput, withoutInput } = await load("web/model/shape.js");

const field = (input_id, kind = "text", more = {}) => ({
  input_id,
  kind,
  label: input_id,
  socket: "STRING",
  widget: null,
  ...more,
});
const output = (name, kind = "image") => ({ name, kind, socket: "IMAGE" });
const form = (id, inputs, outputs = []) => ({ id, name: "Portrait", environment: "production", inputs, outputs });
const nothing = () => false;
const marks = (items) => items.map((item) => [item.input_id ?? item.name, item.mark]);

test("a node that shows nothing yet gets everything but the open values", () => {
  const shape = renewed(
    null,
    form("1", [field("image"), field("6.text", "text", { is_open: true })], [output("picture")]),
    nothing,
  );
  assert.deepEqual(marks(shape.inputs), [["image", undefined]]);
  assert.deepEqual(marks(shape.outputs), [["picture", undefined]]);
});

test("what is gone from a deployment stays and is marked, what is new is added behind", () => {
  const before = renewed(
    null,
    form("1", [field("image"), field("steps", "integer")], [output("a"), output("b")]),
    nothing,
  );
  const after = renewed(
    before,
    form("1", [field("new"), field("steps", "text")], [output("c"), output("b", "text")]),
    nothing,
  );
  assert.deepEqual(marks(after.inputs), [
    ["image", "gone"],
    ["steps", "changed"],
    ["new", undefined],
  ]);
  assert.deepEqual(marks(after.outputs), [
    ["a", "gone"],
    ["b", "changed"],
    ["c", undefined],
  ]);
  assert.deepEqual(remarks(after), [
    "The input “image” is gone from the deployment.",
    "The input “steps” is of the kind text now, it was integer.",
    "The output “a” is gone from the deployment.",
    "The output “b” is of the kind text now, it was image.",
  ]);
});

test("a mark stays until it is tidied, or until the deployment is as it was", () => {
  const before = renewed(null, form("1", [field("steps", "integer"), field("image")]), nothing);
  const changed = renewed(before, form("1", [field("steps", "text")]), nothing);
  const again = renewed(changed, form("1", [field("steps", "text")]), nothing);
  assert.deepEqual(again, changed);
  assert.deepEqual(marks(renewed(again, form("1", [field("steps", "integer"), field("image")]), nothing).inputs), [
    ["steps", undefined],
    ["image", undefined],
  ]);
  const clean = tidied(changed);
  assert.deepEqual(marks(clean.inputs), [["steps", undefined]]);
  assert.deepEqual(remarks(renewed(clean, form("1", [field("steps", "text")]), nothing)), []);
});

test("another deployment takes over what has the same name, and what is connected stays", () => {
  const before = renewed(
    null,
    form("1", [field("image"), field("mask"), field("text")], [output("a"), output("b")]),
    nothing,
  );
  const isConnected = (side, name) => (side === "input" ? name === "mask" : name === "a");
  const after = renewed(before, form("2", [field("image")], [output("b")]), isConnected);
  assert.equal(after.id, "2");
  assert.deepEqual(marks(after.inputs), [
    ["image", undefined],
    ["mask", "gone"],
  ]);
  assert.deepEqual(marks(after.outputs), [
    ["a", "gone"],
    ["b", undefined],
  ]);
});

test("an open value that was added is kept up to date, and can be taken away", () => {
  const open = field("6.text", "text", { is_open: true });
  const shape = withInput(renewed(null, form("1", [open]), nothing), open);
  assert.deepEqual(marks(renewed(shape, form("1", [open]), nothing).inputs), [["6.text", undefined]]);
  assert.deepEqual(marks(renewed(shape, form("1", []), nothing).inputs), [["6.text", "gone"]]);
  assert.deepEqual(withoutInput(shape, "6.text").inputs, []);
});

test("a shape survives being saved, and what is no shape is none", () => {
  const shape = renewed(null, form("1", [field("image")], [output("a")]), nothing);
  assert.deepEqual(readShape(JSON.parse(JSON.stringify(shape))), shape);
  for (const other of [null, undefined, "1", {}, { id: 7 }, []]) assert.equal(readShape(other), null);
  assert.deepEqual(readShape({ id: "1", inputs: [null, 7, {}], outputs: "x" }), {
    id: "1",
    name: "",
    environment: "",
    inputs: [],
    outputs: [],
  });
});

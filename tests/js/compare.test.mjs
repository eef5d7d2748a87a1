import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { compared } = await load("web/model/compare.js");

const node = (class_type, inputs = {}, title = undefined) => ({
  class_type,
  inputs,
  ...(title && { _meta: { title } }),
});
const graph = () => ({
  1: node("CheckpointLoader", { name: "a.safetensors" }),
  2: node("CLIPTextEncode", { text: "a cat", clip: ["1", 1] }, "Prompt"),
  3: node("KSampler", { seed: 5, model: ["1", 0], positive: ["2", 0] }),
});
const idsOf = (differences) => differences.map(({ id }) => id);

test("a graph is equal to itself, whatever the order of its nodes and inputs", () => {
  const { 3: sampler, ...others } = graph();
  const reordered = { 3: node("KSampler", { positive: ["2", 0], model: ["1", 0], seed: 5 }), ...others };
  assert.deepEqual(sampler.inputs.seed, 5);
  assert.deepEqual(compared(graph(), reordered), { added: [], removed: [], changed: [], same: 3 });
  assert.deepEqual(compared({}, {}), { added: [], removed: [], changed: [], same: 0 });
});

test("nodes that came and went are told with their names, and their values where they stayed", () => {
  const after = { ...graph(), 4: node("SaveImage", { images: ["3", 0] }, "Keep it") };
  delete after[2];
  after[3] = node("KSampler", { seed: 6, model: ["1", 0], steps: 20 });
  const { added, removed, changed, same } = compared(graph(), after);
  assert.deepEqual(added, [{ id: "4", class_type: "SaveImage", title: "Keep it" }]);
  assert.deepEqual(removed, [{ id: "2", class_type: "CLIPTextEncode", title: "Prompt" }]);
  assert.deepEqual(changed, [
    {
      id: "3",
      class_type: "KSampler",
      title: "KSampler",
      changes: [
        { name: "seed", before: 5, after: 6 },
        { name: "positive", before: ["2", 0], after: undefined },
        { name: "steps", before: undefined, after: 20 },
      ],
    },
  ]);
  assert.equal(same, 1);
});

test("a whole graph with other ids is the same graph", () => {
  const moved = {
    31: node("KSampler", { seed: 5, model: ["11", 0], positive: ["21", 0] }),
    21: node("CLIPTextEncode", { text: "a cat", clip: ["11", 1] }),
    11: node("CheckpointLoader", { name: "a.safetensors" }),
  };
  assert.deepEqual(compared(graph(), moved), { added: [], removed: [], changed: [], same: 3 });
});

test("a link to a node that only has another id is the same link, one to another output is not", () => {
  const after = graph();
  after[9] = after[1];
  delete after[1];
  after[2].inputs.clip = ["9", 1];
  after[3].inputs.model = ["9", 1];
  const { added, removed, changed } = compared(graph(), after);
  assert.deepEqual([added, removed], [[], []]);
  assert.deepEqual(idsOf(changed), ["3"]);
  assert.deepEqual(changed[0].changes, [{ name: "model", before: ["1", 0], after: ["9", 1] }]);
});

test("a node of another class under the same id is another node", () => {
  const after = graph();
  after[3] = node("KSamplerAdvanced", after[3].inputs);
  const { added, removed, changed } = compared(graph(), after);
  assert.deepEqual([idsOf(added), idsOf(removed), idsOf(changed)], [["3"], ["3"], []]);
});

test("equal nodes are paired one to one", () => {
  const twins = { 1: node("EmptyImage", { width: 8 }), 2: node("EmptyImage", { width: 8 }) };
  const { added, removed, same } = compared(twins, { 7: node("EmptyImage", { width: 8 }) });
  assert.equal(same, 1);
  assert.equal(removed.length, 1);
  assert.deepEqual(added, []);
});

test("values of any shape are compared by what is in them", () => {
  const before = { 1: node("A", { curve: { b: [1, { y: 2, x: 1 }], a: null }, list: ["x", "y"], on: false }) };
  const alike = { 1: node("A", { curve: { a: null, b: [1, { x: 1, y: 2 }] }, list: ["x", "y"], on: false }) };
  const other = { 1: node("A", { curve: { a: null, b: [1, { x: 1, y: 3 }] }, list: ["y", "x"], on: 0 }) };
  assert.equal(compared(before, alike).same, 1);
  assert.deepEqual(
    compared(before, other).changed[0].changes.map(({ name }) => name),
    ["curve", "list", "on"],
  );
});

test("graphs with a circle in them, and large ones, are compared all the same", () => {
  const circle = (id, other) => ({ [id]: node("A", { from: [other, 0] }), [other]: node("A", { from: [id, 0] }) });
  assert.equal(compared(circle("1", "2"), circle("1", "2")).same, 2);
  assert.equal(compared(circle("1", "2"), circle("3", "4")).same, 0);
  const chain = (first) =>
    Object.fromEntries(
      Array.from({ length: 400 }, (_, n) => [first + n, node("A", n ? { from: [String(first + n - 1), 0] } : {})]),
    );
  assert.deepEqual(compared(chain(1), chain(1001)), { added: [], removed: [], changed: [], same: 400 });
});

test("what somebody has written by hand is compared as far as it is a graph", () => {
  const odd = JSON.parse(
    '{"1": {"class_type": "A"}, "2": null, "3": 7, "note": {}, "constructor": {"class_type": "A", "inputs": null}, ' +
      '"__proto__": {"class_type": "B", "inputs": {"constructor": 1, "__proto__": 2}}}',
  );
  assert.equal(compared(odd, odd).same, 3);
  const { added, removed, changed } = compared({ 1: node("A", { value: 1 }) }, odd);
  assert.deepEqual([idsOf(added).sort(), removed], [["__proto__", "constructor"], []]);
  assert.deepEqual(changed[0].changes, [{ name: "value", before: 1, after: undefined }]);
  const other = JSON.parse('{"__proto__": {"class_type": "B", "inputs": {}}}');
  const names = compared(odd, other).changed[0].changes.map(({ name }) => name);
  assert.deepEqual(names.sort(), ["__proto__", "constructor"]);
});

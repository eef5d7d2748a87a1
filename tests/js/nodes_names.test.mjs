import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { inMenu, inputName, objection, ownInputs, shown } = await load("web/model/names.js");
const { label, labels, values } = await load("web/model/choices.js");

test("a name is shown as one line of limited length, without characters that are not to be seen", () => {
  const table = [
    ["a cat", "a cat"],
    ["two\nlines\tand more", "two lines and more"],
    ["\u202eevil\u2066 name\u0000", "evil name"],
    ["صورة", "صورة"],
    ["x".repeat(10000), `${"x".repeat(59)}…`],
    ["😀".repeat(100), `${"😀".repeat(59)}…`],
    [null, ""],
    [undefined, ""],
    [7, "7"],
  ];
  for (const [name, expected] of table) assert.equal(shown(name), expected);
});

test("a menu, which takes tags for HTML, gets none", () => {
  assert.equal(inMenu('<img src=x onerror="alert(1)">'), '‹img src=x onerror="alert(1)"›');
});

test("an input with the name of one of the node's own is told apart from it", () => {
  assert.equal(inputName("deployment_id", ["deployment_id"]), "input:deployment_id");
  assert.equal(inputName("image", ["deployment_id"]), "image");
});

test("names that cannot be inputs are refused with a reason", () => {
  const reasons = ["", "deployment_id", "mask", "image"].map((name) =>
    objection(name, [{ name: "mask" }], ["deployment_id"]),
  );
  assert.deepEqual(reasons.map(Boolean), [true, true, true, false]);
});

test("a node's own inputs are all that ComfyUI lists for it", () => {
  const input = { required: { a: ["STRING"] }, optional: { b: ["INT"] }, hidden: { unique_id: "UNIQUE_ID" } };
  assert.deepEqual(ownInputs({ input }), ["a", "b", "unique_id"]);
  assert.deepEqual(ownInputs({}), []);
});

test("entries say name and environment, and whether a deployment is active", () => {
  assert.equal(label({ id: "1", name: "Portrait", environment: "staging" }), "Portrait · staging");
  assert.equal(label({ id: "1", name: "", environment: "" }), "without a name");
  assert.equal(
    label({ id: "1", name: "Portrait", environment: "production", is_active: false }),
    "Portrait · production (not active)",
  );
});

test("no two entries say the same", () => {
  const same = { name: "Portrait", environment: "production" };
  const told = labels([
    { id: "aaaaaaaa-1", ...same },
    { id: "bbbbbbbb-2", ...same },
    { id: "c", ...same, name: "Other" },
  ]);
  assert.deepEqual(
    [...told],
    [
      ["aaaaaaaa-1", "Portrait · production · aaaaaaaa"],
      ["bbbbbbbb-2", "Portrait · production · bbbbbbbb"],
      ["c", "Other · production"],
    ],
  );
  const alike = labels([
    { id: "aaaaaaaa-1", ...same },
    { id: "aaaaaaaa-2", ...same },
  ]);
  assert.equal(new Set(alike.values()).size, 2);
});

test("500 deployments of one name are told apart at once", () => {
  const many = Array.from({ length: 500 }, (_, index) => ({
    id: `${index}-${"0".repeat(30)}`,
    name: "x",
    environment: "y",
  }));
  assert.equal(new Set(labels(many).values()).size, 500);
});

test("a list keeps the value that is chosen, also when there is no such deployment", () => {
  const deployments = [{ id: "1" }, { id: "2" }];
  assert.deepEqual(values(deployments, "2"), ["1", "2"]);
  assert.deepEqual(values(deployments, "gone"), ["gone", "1", "2"]);
  assert.deepEqual(values([], "gone"), ["gone"]);
  assert.deepEqual(values(deployments, undefined), ["", "1", "2"]);
});

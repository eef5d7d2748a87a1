// What is filled into the form of a run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { acceptOf, bodyOf, firstOf, isSeed, problemOf, randomOf, rawOf, sentOf } from "../../web/model/run_values.js";

const number = { input_id: "n", widget: { type: "int", default: 20, min: 1, max: 50 } };
const seed = { input_id: "s", widget: { type: "seed", default: -1, min: 1, max: 2 ** 60 } };
const share = { input_id: "f", widget: { type: "float", default: 0.5, min: 0, max: 1 } };

test("the deployment's own values are valid, whatever they are, and are not sent", () => {
  for (const field of [number, seed, share]) {
    assert.equal(problemOf(field, undefined), null);
    assert.equal(problemOf(field, firstOf(field.widget)), null);
    assert.equal(sentOf(field, firstOf(field.widget)), undefined);
  }
});

test("a number is one, and within its limits", () => {
  const keys = ["x", "1.5", "0", "51", "7"].map((raw) => problemOf(number, raw)?.[0]);
  assert.deepEqual(keys, ["run.no_integer", "run.no_integer", "run.too_small", "run.too_large", undefined]);
  assert.deepEqual(problemOf(share, "two"), ["run.no_number", {}]);
  assert.deepEqual(problemOf(share, "1.01"), ["run.too_large", { max: 1 }]);
  assert.equal(sentOf(number, " 7 "), 7);
  assert.equal(sentOf(share, "0.25"), 0.25);
  assert.equal(sentOf(number, ""), undefined);
});

test("a seed that a page cannot count is sent digit by digit", () => {
  assert.equal(
    sentOf({ ...seed, widget: { type: "seed", default: -1 } }, "+18446744073709551615"),
    "18446744073709551615",
  );
});

test("a yes or no is sent when it is another", () => {
  const field = { input_id: "b", widget: { type: "boolean", default: true } };
  assert.equal(sentOf(field, false), false);
  assert.equal(sentOf(field, true), undefined);
});

test("what is required is asked for", () => {
  const file = { input_id: "i", kind: "image", widget: null, is_required: true };
  assert.deepEqual(problemOf(file, undefined), ["run.missing", {}]);
  assert.equal(problemOf(file, [{}]), null);
  assert.equal(problemOf({ ...file, is_required: false }, undefined), null);
  const text = { input_id: "t", is_required: true, widget: { type: "text", default: "" } };
  assert.deepEqual(problemOf(text, ""), ["run.missing", {}]);
  assert.equal(problemOf(text, "a"), null);
});

test("a list begins with its first choice where the deployment has none", () => {
  assert.equal(firstOf({ type: "combo", options: ["a", "b"] }), "a");
  assert.equal(firstOf({ type: "combo", default: "b", options: ["a", "b"] }), "b");
});

test("a random number is within the limits, and one that a page can count", () => {
  assert.equal(
    randomOf(seed.widget, () => 0),
    "1",
  );
  assert.equal(Number(randomOf(seed.widget, () => 0.999999)) <= 2 ** 50, true);
  assert.equal(
    randomOf({ type: "int", min: 3, max: 3 }, () => 0.5),
    "3",
  );
  assert.deepEqual([isSeed(seed), isSeed(number), isSeed({ ...number, input_id: "noise_seed" })], [true, false, true]);
});

test("browsers offer the files that fit", () => {
  const of = (kind, socket) => acceptOf({ kind, socket });
  assert.equal(of("image", "IMAGE,MASK"), "image/*");
  assert.equal(of("image batch", "IMAGE"), "image/*,.zip");
  assert.equal(of("file", "VIDEO,OUTPOST_FILE,STRING"), "video/*");
  assert.equal(of("file", "AUDIO,OUTPOST_FILE,STRING"), "audio/*");
  assert.equal(of("file", "IMAGE,OUTPOST_FILE,STRING"), ".exr");
  assert.equal(of("file", "IMAGE,MASK,VIDEO,AUDIO,LATENT,OUTPOST_FILE,STRING"), "");
});

test("an input may be called as what every object has, and has no value of its own then", () => {
  const names = ["constructor", "toString", "valueOf", "__proto__", "hasOwnProperty"];
  const fields = names.map((id) => ({ input_id: id, kind: "text", widget: { type: "text", default: "" } }));
  assert.deepEqual([...rawOf(fields, {})], []);
  assert.deepEqual(bodyOf(fields, rawOf(fields, {})), { inputs: {}, files: {}, assets: {} });

  const first = JSON.parse(JSON.stringify(Object.fromEntries(names.map((id) => [id, `my ${id}`]))));
  const { inputs } = JSON.parse(JSON.stringify(bodyOf(fields, rawOf(fields, first))));
  assert.deepEqual(Object.entries(inputs).sort(), names.map((id) => [id, `my ${id}`]).sort());

  const files = names.map((id) => ({ input_id: id, kind: "image", widget: null }));
  assert.deepEqual(bodyOf(files, new Map()), { inputs: {}, files: {}, assets: {} });
});

test("files and assets are sent by their ids, and of a batch all", () => {
  const fields = [
    { input_id: "one", kind: "image", widget: null },
    { input_id: "many", kind: "image batch", widget: null },
    { input_id: "none", kind: "image", widget: null },
  ];
  const values = new Map([
    ["one", [{ asset_id: "a1" }]],
    ["many", [{ file_id: "f1" }, { file_id: "f2" }]],
  ]);
  const told = JSON.parse(JSON.stringify(bodyOf(fields, values)));
  assert.deepEqual(told, { inputs: {}, files: { many: ["f1", "f2"] }, assets: { one: "a1" } });
});

// What machines are told of, in words, and what a form says of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const MIB = 1024 ** 2;

const { factsOf, kindOf, memoryOf, stateOf, wishOf, workOf } = await load("web/model/machines.js");
const { folderOf, mayMove, trailOf } = await load("web/model/assets.js");

function form(fields) {
  const made = new FormData();
  for (const [name, value] of fields) made.append(name, value);
  return made;
}

test("a state is told in words, and one that nobody knows by its own name", () => {
  assert.equal(stateOf({ status: "ready" }).text, "Ready");
  assert.equal(stateOf({ status: "ready", processes: 1 }).text, "Ready");
  assert.equal(stateOf({ status: "ready", processes: 0 }).text, "Asleep, starts with a run");
  assert.equal(stateOf({ status: "error", processes: 0 }).text, "Not ready");
  assert.equal(stateOf({ status: "error" }).tone, "outpost-bad");
  assert.equal(stateOf({ status: "not-started" }).text, "Not started");
  assert.deepEqual(stateOf({ status: "dreaming" }), { icon: "pi-question-circle", tone: "", text: "dreaming" });
  assert.equal(kindOf("pool"), "Pool of machines");
  assert.equal(kindOf("of-tomorrow"), "of-tomorrow");
});

test("what is not known is left out", () => {
  assert.equal(workOf({ working: null, queue: null, slots: 2 }), "");
  assert.equal(workOf({ working: 1, queue: 3, slots: 2 }), "1 of 2 at work, 3 wait");
  assert.equal(memoryOf({ vram_total: null, vram_free: 5 }), "");
  assert.equal(memoryOf({ vram_total: 24_564 * MIB, vram_free: 0 }), "0 B of 24 GB free");
  assert.equal(memoryOf({ vram_total: 8192 * MIB, vram_free: 512 * MIB }), "512 MB of 8.0 GB free");
  assert.deepEqual(factsOf({ gpu: "RTX", vram_total: 8192 * MIB, vram_free: null, python_version: "3.12" }), [
    ["gpu", "RTX"],
    ["memory", "8.0 GB"],
    ["python", "3.12"],
  ]);
});

test("a form says only what was filled in", () => {
  const wish = wishOf(
    form([
      ["name", " Studio "],
      ["endpoint", "http://127.0.0.1:8188"],
      ["auth_token", ""],
      ["concurrency_limit", "2"],
    ]),
  );
  assert.deepEqual(wish, { name: "Studio", endpoint: "http://127.0.0.1:8188", concurrency_limit: 2 });
});

test("a token that is not needed any more is taken away, and an empty field leaves it", () => {
  assert.deepEqual(wishOf(form([["auth_token", ""]])), {});
  const taken = form([
    ["auth_token", ""],
    ["no_token", "on"],
  ]);
  assert.deepEqual(wishOf(taken), { auth_token: "" });
});

test("a box that is not ticked says no, and one that is not there says nothing", () => {
  assert.deepEqual(wishOf(form([["has_warmth", "1"]])), { keep_warm: false });
  const ticked = form([
    ["has_warmth", "1"],
    ["keep_warm", "on"],
  ]);
  assert.deepEqual(wishOf(ticked), { keep_warm: true });
  const pool = form([
    ["machine_ids", "a"],
    ["machine_ids", "b"],
    ["idle_timeout", "0"],
  ]);
  assert.deepEqual(wishOf(pool), { machine_ids: ["a", "b"], idle_timeout: 0 });
});

test("a trail leads from the topmost folder to a path", () => {
  assert.deepEqual(trailOf(""), [{ name: "", path: "" }]);
  assert.deepEqual(trailOf("/refs/hands/"), [
    { name: "", path: "" },
    { name: "refs", path: "refs" },
    { name: "hands", path: "refs/hands" },
  ]);
});

test("nothing is moved to where it is, and no folder into itself", () => {
  const file = { path: "refs/img_1.png", is_folder: false };
  const folder = { path: "refs/hands", is_folder: true };
  assert.equal(folderOf(file), "refs");
  assert.deepEqual(
    ["refs", "", "refs/hands"].map((to) => mayMove(file, to)),
    [false, true, true],
  );
  assert.deepEqual(
    ["refs", "refs/hands", "refs/hands/left", "refs/handsome", ""].map((to) => mayMove(folder, to)),
    [false, false, false, true, true],
  );
});

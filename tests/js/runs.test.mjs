// How runs are said, how a list of them follows events, and where their values belong in a graph.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { aboutOf, doingOf, fits, isActive, merged, stateOf, titleOf, tookOf } = await load("web/model/runs.js");
const { placeFor } = await load("web/model/run_graph.js");

const run = (id, status, more = {}) => ({
  id,
  status,
  name: "Portraits",
  environment: "staging",
  created_at: `2026-01-01T00:00:0${id}.000000Z`,
  ...more,
});
const ALL = { status: "" };

test("a run is said in words, also one whose status is not known here", () => {
  assert.deepEqual(stateOf(run(1, "failed")), { icon: "pi-times-circle", tone: "outpost-bad", text: "Failed" });
  assert.equal(stateOf(run(1, "uploading")).text, "Running");
  assert.equal(stateOf(run(1, "something new")).text, "Running");
  assert.ok(isActive(run(1, "something new")));
  assert.ok(!isActive(run(1, "timeout")));
  assert.equal(titleOf(run(1, "queued")), "Portraits · staging");
  assert.equal(titleOf({ name: "", environment: null }), "Deployment that is gone");
});

test("the time of a run is that of its work, and goes on until it ends", () => {
  const at = (second) => Date.parse(`2026-01-01T00:00:${second}Z`);
  assert.equal(tookOf(run(1, "running"), at(11)), "10 s");
  const ended = { started_at: "2026-01-01T00:00:05Z", ended_at: "2026-01-01T00:00:08Z" };
  assert.equal(tookOf(run(1, "success", ended), at(59)), "3.0 s");
  assert.equal(tookOf(run(1, "success"), at(59)), "");
  assert.equal(tookOf(run(9, "running"), at(11) - 60_000), "0.0 s"); // another computer's clock
  const waiting = run(1, "queued", { queue_position: 2, machine: "box" });
  assert.equal(aboutOf(waiting, at(11)), "2 before it · 10 s · box");
  assert.equal(aboutOf(run(1, "failed", { error: "no memory", doing: "old" }), at(11)), "no memory");
});

test("why a run waits is said once, and as long as it waits", () => {
  const waiting = run(1, "queued", { doing: "Waiting: The machine is broken." });
  assert.equal(doingOf(waiting), "The machine is broken.");
  assert.equal(doingOf(run(1, "running", { doing: "Sampling" })), "Sampling");
  const after = (status, doing = null) => merged([waiting], run(1, status, { doing }), ALL)[0].doing;
  assert.equal(after("queued"), waiting.doing);
  assert.equal(after("queued", "Waiting: Another is"), "Waiting: Another is");
  assert.equal(after("running"), null);
});

test("news of a run replace its row, put in a new one by its age, and take out what fits no more", () => {
  const rows = [run(5, "running"), run(3, "success"), run(1, "failed")];
  const ids = (found) => found.map(({ id }) => id);
  assert.equal(merged(rows, run(5, "success"), ALL)[0].status, "success");
  assert.deepEqual(ids(merged(rows, run(7, "queued"), ALL)), [7, 5, 3, 1]);
  assert.deepEqual(ids(merged(rows, run(2, "queued"), ALL)), [5, 3, 2, 1]);
  assert.deepEqual(ids(merged(rows, run(0, "queued"), ALL)), [5, 3, 1, 0]);
  assert.deepEqual(ids(merged(rows, run(0, "queued"), ALL, true)), [5, 3, 1]);
  assert.deepEqual(ids(merged(rows, run(5, "success"), { status: "active" })), [3, 1]);
  assert.equal(merged(rows, run(9, "success"), { status: "failed" }), rows);
  assert.equal(rows[0].status, "running");
  assert.ok(fits(run(1, "timeout"), { status: "failed" }));
  assert.ok(!fits(run(1, "success", { deployment_id: "a" }), { status: "", deployment_id: "b" }));
});

test("a value belongs to the External node of its id, a file to that node's input, and an open value to its widget", () => {
  const external = (id, kind, inputId) => ({ node: id, id, type: `ComfyUIDeployExternal${kind}`, inputId });
  const nodes = [
    external("1", "Text", "prompt"),
    external("2", "Image", "photo"),
    external("3", "Lora", "style"),
    external("6", "File", "archive"),
    { node: "4", id: "5:3", type: "KSampler", inputId: undefined },
  ];
  const files = [{ name: "a.png", kind: "image" }];
  assert.deepEqual(placeFor({ input_id: "prompt", value: "x" }, nodes), { node: "1", widget: "default_value" });
  assert.deepEqual(placeFor({ input_id: "style", value: "x" }, nodes), { node: "3", widget: "lora_url" });
  const place = placeFor({ input_id: "photo", files }, nodes);
  assert.deepEqual([place.node, place.slot, place.clear], ["2", "default_value", { default_value_url: "" }]);
  assert.equal(placeFor({ input_id: "archive", files }, nodes), null);
  assert.deepEqual(placeFor({ input_id: "5:3.seed", value: 1 }, nodes), { node: "4", widget: "seed" });
  assert.equal(placeFor({ input_id: "7.seed", value: 1 }, nodes), null);
  assert.equal(placeFor({ input_id: "gone", value: 1 }, nodes), null);
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { describe, fit } = await load("web/model/fields.js");
const { marked, outputLabel, ports } = await load("web/model/ports.js");
const { grown } = await load("web/model/growing.js");
const { ended, firstLine, isFailed } = await load("web/model/lines.js");

const LARGEST = Number.MAX_SAFE_INTEGER;

test("widgets are described as ComfyUI describes its own inputs", () => {
  const table = [
    [{ type: "text", default: "cat" }, ["STRING", { default: "cat", dynamicPrompts: false }]],
    [{ type: "text", default: null }, ["STRING", { default: "", dynamicPrompts: false }]],
    [{ type: "multiline", default: "{a|b}" }, ["STRING", { default: "{a|b}", multiline: true, dynamicPrompts: false }]],
    [{ type: "boolean", default: true }, ["BOOLEAN", { default: true }]],
    [{ type: "combo", options: ["a", "b"], default: "b" }, [["a", "b"], { default: "b" }]],
    [{ type: "combo", options: [], default: null }, [[""], { default: "" }]],
    [{ type: "int", default: 3, min: 1, max: 9, step: 2 }, ["INT", { default: 3, min: 1, max: 9, step: 2 }]],
    [{ type: "int", default: null }, ["INT", { default: 0, min: -LARGEST, max: LARGEST, step: 1 }]],
    [{ type: "int", default: 99, min: 1.5, max: 9.5 }, ["INT", { default: 10, min: 2, max: 9, step: 1 }]],
    [
      { type: "float", default: 0.5, min: 0, max: 1, step: 0.1, is_slider: true },
      ["FLOAT", { default: 0.5, min: 0, max: 1, step: 0.1, display: "slider", round: false }],
    ],
    [
      { type: "seed", default: 2 ** 64, max: 2 ** 64 },
      ["INT", { default: LARGEST, min: 0, max: LARGEST, step: 1, control_after_generate: true }],
    ],
    [{ type: "nobody knows", default: "x" }, ["STRING", { default: "x", dynamicPrompts: false }]],
  ];
  for (const [widget, expected] of table) assert.deepEqual(describe(widget), expected);
});

test("a slider without limits is a number", () => {
  assert.equal(describe({ type: "float", default: 1, is_slider: true })[1].display, undefined);
});

test("a value goes over into a widget of another kind where it means something there", () => {
  const int = { type: "int", default: 1, min: 0, max: 10 };
  const table = [
    [int, "5", 5],
    [int, 4.6, 5],
    [int, 99, 10],
    [int, "five", 1],
    [int, "", 1],
    [int, null, 1],
    [{ type: "text", default: "d" }, 0.25, "0.25"],
    [{ type: "text", default: "d" }, true, "d"],
    [{ type: "boolean", default: true }, false, false],
    [{ type: "boolean", default: true }, "false", true],
    [{ type: "combo", options: ["a", "b"], default: "a" }, "b", "b"],
    [{ type: "combo", options: ["a", "b"], default: "a" }, "c", "a"],
  ];
  for (const [widget, value, expected] of table) assert.deepEqual(fit(widget, value), expected);
});

test("an image whose transparency comes apart has a socket for it", () => {
  const field = {
    input_id: "image",
    kind: "image",
    label: "Photo",
    socket: "IMAGE,STRING",
    has_alpha: true,
    widget: null,
  };
  const [image, alpha] = ports(field, "image");
  assert.deepEqual([image.name, image.type, image.label], ["image", "IMAGE,STRING", "Photo"]);
  assert.deepEqual([alpha.name, alpha.type, alpha.label], ["image:alpha", "MASK", "Photo alpha"]);
});

test("what is gone or has changed is marked", () => {
  assert.equal(marked("Photo", "gone"), "⚠ Photo (gone)");
  assert.equal(marked("Photo", undefined), "Photo");
  const field = { input_id: "a", kind: "text", label: "", socket: "", mark: "changed", was: "image", widget: null };
  const [port] = ports(field, "a");
  assert.deepEqual([port.label, port.type, port.isMarked], ["⚠ a (changed)", "*", true]);
  assert.match(port.tooltip, /was of the kind image/);
});

test("behind the last connected socket there is one free one", () => {
  const sockets = (text) =>
    text.split(" ").map((name) => ({ name: name.replace("*", ""), isConnected: name.endsWith("*") }));
  const table = [
    ["run_1", [], []],
    ["run_1*", ["run_2"], []],
    ["run_1* run_ids run_2", [], []],
    ["run_1 run_2 run_3", [], ["run_2", "run_3"]],
    ["run_1 run_2*", ["run_3"], []],
    ["run_1* run_2 run_3* run_4 run_5", [], ["run_5"]],
    ["run_9* run_10*", ["run_11"], []],
  ];
  for (const [text, add, remove] of table) assert.deepEqual(grown(sockets(text), "run_"), { add, remove });
});

test("the end of runs is told in a line", () => {
  const run = (status, seconds) => ({ run_id: "1", status, seconds });
  const table = [
    [[], ""],
    [[run("success", 3.21)], "success · 3.2 s"],
    [[run("success", null)], "success"],
    [[run("success", 83)], "success · 1 min 23 s"],
    [[run("success", 3), run("failed", 9), run("success", 1)], "3 runs: 2 success, 1 failed · 9.0 s"],
  ];
  for (const [reports, expected] of table) assert.equal(ended(reports), expected);
});

test("a run that goes on has no time and has not failed", () => {
  assert.equal(ended([{ run_id: "a", status: "queued", seconds: 0 }]), "queued");
  assert.deepEqual(
    ["queued", "running", "success", "failed", "timeout", "cancelled", "late"].map((status) => isFailed({ status })),
    [false, false, false, true, true, true, true],
  );
});

test("a run that has failed says why in one line", () => {
  const failed = { run_id: "a", status: "failed", seconds: 1, message: "\nOut of memory\r\nTraceback" };
  assert.equal(ended([failed]), "failed · 1.0 s · Out of memory");
  assert.equal(ended([failed, { run_id: "b", status: "success", seconds: 2 }]), "2 runs: 1 failed, 1 success · 2.0 s");
  assert.deepEqual([null, "", "one", "one\ntwo"].map(firstLine), ["", "", "one", "one"]);
});

test("an output without a name is called by its node, and one of an older graph by what it is called there", () => {
  assert.equal(outputLabel({ name: "picture", is_named: true }), "picture");
  assert.equal(outputLabel({ name: "9", is_named: false, class_type: "SaveImage" }), "SaveImage 9");
  assert.equal(outputLabel({ name: "9", is_named: false, class_type: "" }), "node 9");
  assert.equal(outputLabel({ name: "9" }), "9");
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { about, isAway, stepsAfter, wishOf } = await load("web/model/connections.js");
const { eventsOf, linesOf } = await load("web/model/sse.js");

const answer = (...texts) => ({
  body: new ReadableStream({
    start(controller) {
      for (const text of texts) controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  }),
});
const all = async (parts) => {
  const found = [];
  for await (const part of parts) found.push(part);
  return found;
};

test("lines are read however they are cut into pieces, and half a line at the end is left out", async () => {
  assert.deepEqual(await all(linesOf(answer('{"a":', '1}\n{"b":2}\n', '\n{"c":'))), [{ a: 1 }, { b: 2 }]);
});

test("a stream that comes in pieces gives its events whole, and no signs of life", async () => {
  const pieces = [
    'id: a-1\nevent: run\ndata: {"id":',
    '"x: y"}\n\n: still here\n\nid: a-2\nevent: hello\ndata: {}\n',
    "\n",
  ];
  assert.deepEqual(await all(eventsOf(answer(...pieces, "event: run\n"))), [
    { id: "a-1", name: "run", data: { id: "x: y" } },
    { id: "a-2", name: "hello", data: {} },
  ]);
});

test("a step that has ended takes the place of its beginning", () => {
  const begun = stepsAfter([], { name: "the upload", state: "begun", text: "" });
  const done = stepsAfter(begun, { name: "the upload", state: "ok", text: "x" });
  assert.deepEqual(done, [{ name: "the upload", state: "ok", text: "x" }]);
  assert.equal(stepsAfter(done, { name: "the run", state: "begun", text: "" }).length, 2);
});

test("only a platform that is away may be kept anyway", () => {
  assert.equal(isAway({ code: "connection_failed" }), true);
  assert.equal(isAway({ code: "unauthorized" }), false);
  assert.equal(isAway({}), false);
});

test("a form says only what was filled in", () => {
  assert.deepEqual(
    wishOf([
      ["name", "  "],
      ["api_key", " k "],
    ]),
    { api_key: "k" },
  );
});

test("of a key only its end is shown, and of a short one nothing", () => {
  const row = { kind: "server", base_url: "https://a.example/x", key_ending: "wxyz" };
  assert.match(about(row), /^a\.example\/x · .*wxyz · server$/);
  assert.match(about({ ...row, key_ending: null }), /^a\.example\/x · [^·]+ · server$/);
});

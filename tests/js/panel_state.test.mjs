// What is still to be done when another platform is chosen, or the page is left: done before, or not at all.

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { load } from "./load.mjs";

globalThis.HTMLElement ??= class {};
const { Deletions } = await load("web/kit/undo.js");
const { Feed } = await load("web/feed.js");
const { Routes } = await load("web/routes.js");
const { PanelState } = await load("web/panel/panel.js");
const { uploadsOf } = await load("web/panel/assets/uploads.js");

let sent = [];
globalThis.XMLHttpRequest = class {
  upload = {};
  status = 0;
  open = (_, url) => Object.assign(this, { url });
  headers = {};
  setRequestHeader(name, value) {
    this.headers[name] = value;
  }
  send() {
    sent.push(this);
  }
  abort() {
    this.isAborted = true;
    this.onloadend();
  }
  arrive() {
    Object.assign(this, { status: 200, response: {} });
    this.onloadend();
  }
};

const settled = () => new Promise((resolve) => setImmediate(resolve));

function made() {
  const [feed, toasts] = [new Feed(), []];
  const comfy = { isTabOpen: () => true, tell: (text) => toasts.push(text), addressOf: (path) => path };
  const state = new PanelState({ comfy, routes: {}, feed });
  feed.tell("connection", { state: "well", id: "one" });
  return { feed, state, panel: state.panel };
}

beforeEach(() => {
  sent = [];
});

test("a flush is over when the platform has answered, whatever it says", async () => {
  const failures = [];
  const deletions = new Deletions(
    () => {},
    (error) => failures.push(error.message),
  );
  const done = [];
  let answer = () => {};
  const slow = new Promise((resolve) => {
    answer = resolve;
  });
  deletions.add("a", "A", () => slow.then(() => done.push("a")));
  deletions.add("b", "B", () => Promise.reject(new Error("not b")));

  const flushed = deletions.flush().then(() => done.push("flushed"));
  await settled();
  assert.deepEqual([done, deletions.has("b")], [[], false]);
  answer();
  await flushed;
  assert.deepEqual(done, ["a", "flushed"]);
  assert.deepEqual(failures, ["not b"]);
  assert.deepEqual([deletions.has("a"), deletions.has("b")], [true, false]);
});

test("what waits to be deleted is not asked of another platform, and that is said", async () => {
  const { feed, state, panel } = made();
  const told = [];
  panel.deletions.add("a", "My workflow", async () => told.push("deleted"));

  feed.tell("connection", { state: "well", id: "two" });
  await panel.deletions.flush();

  assert.deepEqual(told, []);
  assert.equal(state.pending.length, 0);
  assert.equal(panel.deletions.has("a"), false);
  assert.match(state.notices[0].text, /not deleted: My workflow/);
  assert.equal(state.notices[0].isError, true);
});

test("uploads are ended when another platform is chosen, and each says which it was meant for", async () => {
  const { feed, state, panel } = made();
  const uploads = uploadsOf(panel);
  uploads.add(
    ["a", "b", "c"].map((name) => ({ name, size: 1 })),
    "",
  );
  assert.equal(sent.length, 2);
  assert.ok(sent.every(({ headers }) => headers["Outpost-Connection"] === "one"));

  feed.tell("connection", { state: "well", id: "two" });
  await settled();

  assert.deepEqual(
    sent.map(({ isAborted }) => isAborted),
    [true, true],
  );
  assert.equal(uploads.list.length, 0);
  assert.match(state.notices[0].text, /3 uploads/);
});

test("what is to be done says at which connection, and what is only read does not", async () => {
  const asked = [];
  const routes = new Routes(async (_, { method = "GET", headers }) => {
    asked.push([method, headers["Outpost-Connection"]]);
    return new Response("{}");
  });
  const feed = new Feed();
  new PanelState({ comfy: {}, routes, feed });
  await routes.send("POST", "/runs");
  feed.tell("connection", { state: "well", id: "one" });
  await routes.get("/runs");
  await routes.send("DELETE", "/runs/1");
  feed.tell("connection", { state: "none", id: null });
  await routes.send("POST", "/runs");
  assert.deepEqual(asked, [
    ["POST", undefined],
    ["GET", undefined],
    ["DELETE", "one"],
    ["POST", undefined],
  ]);
});

test("a list that fails to be read anew does not make a file fail that has arrived", async () => {
  const { panel } = made();
  const uploads = uploadsOf(panel);
  panel.feed.on("changed", () => {
    throw new Error("of the list");
  });
  const said = [];
  globalThis.reportError = (error) => said.push(error.message);
  uploads.add([{ name: "a", size: 1 }], "");
  sent[0].arrive();
  await settled();
  assert.deepEqual([uploads.list, said], [[], ["of the list"]]);
});

test("each notice has its own time, and what went wrong stays", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { state, panel } = made();
  panel.say("Copied");
  panel.fail(Object.assign(new Error("No"), { isExpected: true }));
  panel.say("Saved");
  mock.timers.tick(6000);
  assert.deepEqual(
    state.notices.map(({ text }) => text),
    ["No"],
  );
  mock.timers.reset();
});

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { eventReader, jsonPieces, picturesIn } = await load("api/server/doc/answer.js");

const shown = (text) =>
  jsonPieces(text)
    .map((each) => each.text)
    .join("");

test("events are read as they come, however the stream is cut", () => {
  const stream = 'id: 1\nevent: event_update\ndata: {"a": 1}\n\n: keep-alive\n\ndata: one\r\ndata: two\r\n\r\n';
  for (const length of [1, 2, 7, stream.length]) {
    const read = eventReader();
    const chunks = stream.match(new RegExp(`[^]{1,${length}}`, "g"));
    assert.deepEqual(
      chunks.flatMap((chunk) => read(chunk)),
      [
        { event: "event_update", id: "1", data: '{"a": 1}' },
        { event: "message", id: "", data: "one\ntwo" },
      ],
    );
  }
});

test("an event is given as soon as it is complete and not before", () => {
  const read = eventReader();
  assert.deepEqual(read("data: x\n"), []);
  assert.deepEqual(read("\n"), [{ event: "message", id: "", data: "x" }]);
});

test("JSON is set out like JavaScript sets it out", () => {
  const value = { a: [1, { b: [] }, {}], "c:d": 'e, [f]: {g} " \\', h: [true, false, null, -1.5e-7], i: [[[]]] };
  assert.equal(shown(JSON.stringify(value)), JSON.stringify(value, null, 2));
  assert.equal(shown(' "text" '), '"text"');
});

test("a number keeps all of its digits", () => {
  assert.equal(shown('{"seed":18446744073709551615,"x":1.0}'), '{\n  "seed": 18446744073709551615,\n  "x": 1.0\n}');
});

test("escaped characters are shown as what they are", () => {
  assert.equal(shown('"caf\\u00e9 \\n \\ud800"'), '"café \\n \\ud800"');
});

test("what is no JSON is refused", () => {
  for (const text of ["", "{", "Internal Server Error", "{'a': 1}"]) assert.throws(() => jsonPieces(text), SyntaxError);
});

test("keys, texts, numbers and words are told apart", () => {
  const kinds = jsonPieces('{"k": ["s", 1, null]}').filter((each) => each.kind !== "mark");
  assert.deepEqual(
    kinds.map((each) => each.kind),
    ["key", "string", "number", "word"],
  );
});

test("pictures are shown from the page's own origin only", () => {
  const own = "http://host:1/objects/a.png?signature=1";
  const data = "data:image/png;base64,AAAA";
  const others = [
    "http://elsewhere/a.png",
    "http://host:1/a.svg",
    "data:image/svg+xml;base64,AAAA",
    "javascript:a.png",
    "a.png",
  ];
  assert.deepEqual(picturesIn(JSON.stringify([own, own, data, ...others, 1]), "http://host:1"), [own, data]);
});

// A list that is read page by page, and again where something has changed.

import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.mjs";

const { withPage } = await load("web/model/pages.js");

const rowsOf = (ids) => ids.split("").map((id) => ({ id }));
const idsOf = ({ rows }) => rows.map(({ id }) => id).join("");
const read = (known, offset, page, { more = true, hasMore = true } = {}) =>
  withPage({ rows: rowsOf(known), hasMore }, offset, { rows: rowsOf(page), more });

test("the first page and the next ones follow each other, until there are no more", () => {
  assert.deepEqual(read("", 0, "abc"), { rows: rowsOf("abc"), hasMore: true });
  assert.deepEqual(read("abc", 3, "de", { more: false }), { rows: rowsOf("abcde"), hasMore: false });
  assert.deepEqual(read("abc", 3, ""), { rows: rowsOf("abc"), hasMore: false });
});

test("a page that is read again takes the place of what it was, and the rest stays", () => {
  const known = { rows: rowsOf("abcdef"), hasMore: false };
  const page = { rows: [{ id: "a", name: "new" }, { id: "b" }], more: true };
  const { rows, hasMore } = withPage(known, 0, page);
  assert.deepEqual(rows, [{ id: "a", name: "new" }, ...rowsOf("bcdef")]);
  assert.equal(hasMore, false);
});

test("what was added comes in, and nothing is there twice", () => {
  assert.equal(idsOf(read("abcdef", 0, "xab")), "xabcdef");
  assert.equal(idsOf(read("abcdef", 2, "bcd")), "abcdef");
  assert.equal(idsOf(read("abc", 3, "cde")), "abcde");
});

test("what was deleted goes", () => {
  assert.equal(idsOf(read("abcdef", 0, "acd")), "acdef");
  assert.equal(idsOf(read("abcdef", 3, "ef", { more: false })), "abcef");
  assert.deepEqual(read("abcdef", 3, "", { more: false }), { rows: rowsOf("abc"), hasMore: false });
});

test("what has moved up leaves its old place, and what lies between stays", () => {
  assert.equal(idsOf(read("abcdef", 0, "eab")), "eabcdf");
});

test("a page of which nothing is known is followed by what is still to be read", () => {
  assert.deepEqual(read("abcdef", 0, "xyz", { hasMore: false }), { rows: rowsOf("xyz"), hasMore: true });
});
